# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 6. Classify
#
# **You learn** to go from samples to a map: time series as features, two models of scikit-learn (a
# random forest, and a network of several layers), an accuracy that is honest about space, and a map
# with the probability of each class.
#
# **What must be there:** the cubes of `make demo`, whose scenes are made, not observed.
# If there is a folder of labelled real series, in the variable `ODC_BDC_SAMPLES` or at
# `../shared/data/samples`, the second part uses it; else it takes made samples there too.

# %%
import os
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from pyproj import Transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, classification_report, cohen_kappa_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from odc_bdc import notebook as nb
from odc_bdc.scenes import COVERS, made_cover

# The network's training is stopped before it is at its end: it would learn the samples by heart.
warnings.filterwarnings("ignore", category=ConvergenceWarning)
dc = nb.connect()

# %% [markdown]
# ## Samples
#
# A sample is a place of which somebody knows what grows there.
# For the made scenes that is easy: `made_cover` tells what each pixel was made of.
# We ask it at 1,000 places drawn by chance, as a survey would be asked.

# %%
PRODUCT, VARIABLES = "CB4_64_16D_MED_v1", ["red", "nir", "NDVI", "EVI"]

cube = dc.load(PRODUCT, measurements=VARIABLES, dask_chunks={"y": 256, "x": 256})
truth = made_cover(cube.odc.geobox)
classes = list(COVERS.values())

rng = np.random.default_rng(6)
rows, columns = (rng.integers(size, size=1000) for size in truth.shape)
places = cube.odc.geobox.affine * (columns + 0.5, rows + 0.5)
degrees = Transformer.from_crs(cube.odc.crs.proj, "EPSG:4326", always_xy=True)
longitude, latitude = degrees.transform(*places)
samples = pd.DataFrame(
    {
        "longitude": longitude,
        "latitude": latitude,
        "label": [COVERS[code] for code in truth.values[rows, columns]],
    }
)
samples.label.value_counts()

# %% [markdown]
# ## Features
#
# `timeseries` reads the cube at the samples, `features` lays each series side by side: a column for
# each variable and time, and one for each change from a time to the next.
# Where clouds left a gap it is filled linearly between the times around it.

# %%
series = nb.timeseries(dc, PRODUCT, samples, measurements=VARIABLES)
X = nb.features(series, VARIABLES, changes=True)
y = samples.label.to_numpy(object)
print(f"{series.NDVI.isna().mean():.1%} of the series were gaps")
X.iloc[:3, -15:].round(0)

# %% [markdown]
# ## Accuracy
#
# Five times, four fifths of the samples train a model, and the other fifth tests it.
# There are two ways to cut: by chance, or by blocks of land, so that no sample is tested whose
# neighbour was trained on.
# The second tells what to expect where nobody took samples.


# %%
def forest():
    return RandomForestClassifier(200, n_jobs=-1, random_state=0)


def network():
    layers = MLPClassifier((64, 64), solver="lbfgs", alpha=1, max_iter=60, random_state=0)
    return make_pipeline(StandardScaler(), layers)


def assess(model, X, y, blocks):
    """Give accuracy, kappa and the predictions of a model, cut by chance and by blocks."""
    rows, predicted = [], {}
    cuts = {
        "by chance": (StratifiedKFold(5, shuffle=True, random_state=0), None),
        "by blocks": (StratifiedGroupKFold(5, shuffle=True, random_state=0), blocks),
    }
    for cut, (folds, groups) in cuts.items():
        found = cross_val_predict(model, X, y, cv=folds, groups=groups)
        predicted[cut] = found
        rows.append((cut, accuracy_score(y, found), cohen_kappa_score(y, found)))
    return pd.DataFrame(rows, columns=["cut", "accuracy", "kappa"]).set_index("cut"), predicted


blocks = nb.spatial_blocks(samples.longitude, samples.latitude, size=8_000)
made, predictions = {}, {}
for name, model in {"random forest": forest(), "network": network()}.items():
    made[name], predictions[name] = assess(model, X, y, blocks)
made = pd.concat(made, names=["model"])
made.round(3)

# %% [markdown]
# By class, of the random forest, cut by blocks: precision is the user's accuracy (what part of what
# is called so is so), recall the producer's (what part of what is so was found).

# %%
report = classification_report(
    y, predictions["random forest"]["by blocks"], output_dict=True, zero_division=0
)
pd.DataFrame(report).T.round(3)

# %% [markdown]
# Cut by blocks, the forest is right in **98 %** of the made samples.
# That is more than a real landscape would give: made fields are more alike than grown ones, and
# made land covers know no neighbours that the two cuts could tell apart.
# Of pastures it finds **76 %**; the others it takes for savanna.
#
# ## The map
#
# Now the model learns from all samples, and classifies the cube.
# `classify` is lazy: each piece of the cube is read, its gaps are filled in the same way, and it is
# classified when somebody asks for it.

# %%
model = forest().set_params(n_jobs=1).fit(X, y)
lazy = nb.classify(model, cube, VARIABLES)
lazy

# %%
mapped = lazy.compute()
names = mapped.class_code.attrs["flag_meanings"].split()
names

# %%
COLOURS = {
    "no_data": "#ffffff",
    "Cropland": "#e3c04c",
    "Forest": "#1f6b3a",
    "Pasture": "#c98f5a",
    "Savanna": "#8fb36a",
    "Water": "#3f6fb5",
}
palette = ListedColormap([COLOURS[name] for name in names])

figure, axes = plt.subplots(2, 1, figsize=(10, 9.6), layout="constrained")
shown = axes[0].imshow(mapped.class_code, cmap=palette, vmin=-0.5, vmax=len(names) - 0.5)
axes[0].plot(columns, rows, ".", color="black", markersize=1.5)
axes[0].set_title("classes, and where the samples are")
bar = figure.colorbar(shown, ax=axes[0], ticks=range(len(names)), shrink=0.9)
bar.set_ticklabels(names)
sure = axes[1].imshow(mapped.probability.max("class"), cmap="magma", vmin=0.2, vmax=1)
axes[1].set_title("probability of the class shown")
figure.colorbar(sure, ax=axes[1], shrink=0.9)
for axis in axes:
    axis.axis("off")

# %% [markdown]
# Of the made landscape we know every pixel, so we may ask how good the map is in truth:
# **99 %** of all pixels.
# Where the model is sure (a probability of 0.9 or more) it is right in **100 %** (rounded), where
# it is not in **91 %**: the probabilities are worth looking at.

# %%
labels = np.array([0, *model.classes_], object)[mapped.class_code.values]
right = labels == pd.Series(truth.values.ravel()).map(COVERS).to_numpy(object).reshape(truth.shape)
is_sure = (mapped.probability.max("class") >= 0.9).values
map_accuracy, sure_accuracy, unsure_accuracy = (
    right.mean(), right[is_sure].mean(), right[~is_sure].mean()
)  # fmt: skip
print(f"all {map_accuracy:.1%}; {is_sure.mean():.0%} of them are sure")
print(f"sure {sure_accuracy:.1%}, others {unsure_accuracy:.1%}")

# %% [markdown]
# ## Real samples
#
# Series of 922 places in western Bahia, of the CBERS-4 cube of 2018 and 2019, and of 1,218 places
# in Mato Grosso, of MODIS, both labelled by INPE's people for the R package sits.
# They are not part of odc_bdc; without them the cell below says so.


# %%
def find_samples():
    """Give the folder of labelled series, or None."""
    named = os.environ.get("ODC_BDC_SAMPLES")
    if named is not None:
        return Path(named) if named else None
    near = [top / "shared" / "data" / "samples" for top in (Path.cwd(), *Path.cwd().parents)]
    return next((folder for folder in near if folder.is_dir()), None)


def read_samples(path, bands):
    """Give features, labels and places of a table of labelled series."""
    table = pd.read_parquet(path).rename(columns={"Index": "time"}).astype({"label": object})
    table["time"] = pd.to_datetime(table["time"])
    X = nb.features(table, bands, by="sample_id", changes=True)
    return X, table.groupby("sample_id")[["label", "longitude", "latitude"]].first().loc[X.index]


folder = find_samples()
real = folder is not None
if real:
    sets = {
        "CBERS-4": read_samples(
            folder / "cbers_samples_022024.parquet",
            ["BAND13", "BAND14", "BAND15", "BAND16", "NDVI", "EVI"],
        ),
        "MODIS": read_samples(folder / "samples_modis_ndvi.parquet", ["NDVI"]),
    }
else:
    print("no real samples are here; the made ones of above stand in for them")
    sets = {"made": (X, samples)}

# %%
found = {}
for name, (features, known) in sets.items():
    groups = nb.spatial_blocks(known.longitude, known.latitude, size=50_000 if real else 8_000)
    labels = known.label.to_numpy(object)
    found[name, "random forest"], _ = assess(forest(), features, labels, groups)
    found[name, "network"], _ = assess(network(), features, labels, groups)
real_table = pd.concat(found, names=["samples", "model"]).unstack("cut")
of_forests = real_table.accuracy.xs("random forest", level="model")
chance, blocked = of_forests["by chance"], of_forests["by blocks"]
real_table.round(3)

# %% [markdown]
# On the real series the random forest is right in more than **0.949** (CBERS-4) and **0.902**
# (MODIS) of the samples, if they are cut by chance; these are the figures of a forest without the
# changes from time to time.
# Cut by blocks of 50 km it is **0.93** and **0.77**: the samples of MODIS lie in clusters, and much
# of what a model seems to know of them it knows from the neighbour.
# Quote the second number for a map.
#
# The Brazil Data Cube's own maps of 2020 were made by a network of five layers of 512 neurons.
# `MLPClassifier((512,) * 5)` is one; it takes minutes, and on so few samples is no better.
