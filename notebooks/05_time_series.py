# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 5. Time series
#
# **You learn** to read a cube over time at points and within polygons, to compare the courses of
# natural vegetation, agriculture and pasture, and to smooth a series that has gaps.
#
# **What must be there:** the cubes of `make demo`, whose scenes are made, not observed.
# If there is a folder of labelled real series, in the variable `ODC_BDC_SAMPLES` or at
# `../shared/data/samples`, the third part uses it; else it takes series of the demo.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from pyproj import Transformer

from odc_bdc import notebook as nb
from odc_bdc.scenes import COVERS, made_cover

PRODUCT = "CB4_64_16D_MED_v1"
dc = nb.connect()

# %% [markdown]
# ## Points
#
# Three places as pairs of longitude and latitude: savanna, a field, and a pasture.
# `timeseries` gives a row for each place and time; where all observations were clouded, a median
# has no value.

# %%
points = [(-44.4839, -12.3303), (-44.3989, -12.3167), (-44.3815, -12.5174)]
series = nb.timeseries(dc, PRODUCT, points, measurements=["red", "nir", "NDVI", "CLEAROB"])
series.head(8)

# %% [markdown]
# Measurements are numbers as they are stored: NDVI times ten thousand.
# An index that is asked for as such is computed from reflectance.
# The two agree to the last digit that is stored: at most **0.0001** lies between them.

# %%
computed = nb.timeseries(dc, PRODUCT, points, indices=["NDVI", "EVI2"])
furthest = float((computed.NDVI - series.NDVI / 10000).abs().max())
print(f"furthest apart: {furthest:.6f}")

figure, axis = plt.subplots(figsize=(9, 3.6), layout="constrained")
for point, of_point in computed.groupby("point"):
    axis.plot(of_point.time, of_point.NDVI, "o-", label=str(points[point]))
axis.set_ylabel("NDVI")
axis.set_ylim(0, 1)
_ = axis.legend(title="longitude, latitude", loc="upper left")
# %% [markdown]
# ## Polygons
#
# Within a polygon each pixel counts as much as lies within: mean and standard deviation are
# weighted by that share, `count` is the sum of shares of pixels with data, and `valid_fraction`
# what part of the polygon that is.

# %%
farm = {
    "type": "Polygon",
    "coordinates": [
        [[-44.50, -12.49], [-44.46, -12.48], [-44.45, -12.52], [-44.49, -12.53], [-44.50, -12.49]]
    ],
}
profile = nb.timeseries(dc, PRODUCT, polygons=[farm], indices=["NDVI"])
profile.round({"mean": 3, "std": 3, "count": 1, "valid_fraction": 3})

# %%
figure, axis = plt.subplots(figsize=(9, 3.6), layout="constrained")
axis.fill_between(
    profile.time, profile["mean"] - profile["std"], profile["mean"] + profile["std"], alpha=0.25
)
axis.plot(profile.time, profile["mean"], "o-")
for _, row in profile[profile.valid_fraction < 0.999].iterrows():
    axis.annotate(f"{row.valid_fraction:.0%} valid", (row.time, row["mean"]), (-20, 12),
                  textcoords="offset points")  # fmt: skip
axis.set_ylabel("NDVI, mean and standard deviation")
_ = axis.set_ylim(0, 1)
# %% [markdown]
# ## Three classes
#
# The Brazil Data Cube's slides of 2020 show the courses of NDVI of three classes.
# We draw them anew, of labelled series of CBERS-4 in western Bahia, August 2018 to August 2019, if
# they are here, else of the demo's own cube at places of which we know the cover.

# %%
CLASSES = {
    "Cerrado": "natural vegetation",
    "Cerradao": "natural vegetation",
    "Savanna": "natural vegetation",
    "Forest": "natural vegetation",
    "Cropland": "agriculture",
    "Pasture": "pasture",
}


def find_samples():
    """Give the folder of labelled series, or None."""
    named = os.environ.get("ODC_BDC_SAMPLES")
    if named is not None:
        return Path(named) if named else None
    near = [top / "shared" / "data" / "samples" for top in (Path.cwd(), *Path.cwd().parents)]
    return next((folder for folder in near if folder.is_dir()), None)


def real_series(folder):
    """Give point, time, NDVI and cover of labelled series."""
    table = pd.read_parquet(folder / "cbers_samples_022024.parquet")
    table = table.rename(columns={"sample_id": "point", "Index": "time", "label": "cover"})
    return table.assign(time=pd.to_datetime(table.time))[["point", "time", "NDVI", "cover"]]


def made_series(n=600):
    """Give the same of the demo's cube, at places by chance."""
    truth = made_cover(nb.load(dc, PRODUCT, measurements=["NDVI"], dask_chunks={}).odc.geobox)
    rng = np.random.default_rng(5)
    rows, columns = (rng.integers(size, size=n) for size in truth.shape)
    degrees = Transformer.from_crs(truth.odc.crs.proj, "EPSG:4326", always_xy=True)
    places = degrees.transform(truth.x.values[columns], truth.y.values[rows])
    table = nb.timeseries(dc, PRODUCT, np.column_stack(places), indices=["NDVI"])
    covers = np.array([COVERS[code] for code in truth.values[rows, columns]])
    return table.assign(cover=covers[table.point])[["point", "time", "NDVI", "cover"]]


folder = find_samples()
real = folder is not None
labelled = real_series(folder) if real else made_series()
labelled["class"] = labelled.cover.astype(object).map(CLASSES)
labelled = labelled.dropna(subset="class")
print("real series of CBERS-4" if real else "series of made scenes")
labelled.groupby("class").point.nunique()

# %%
courses = labelled.groupby(["class", "time"]).NDVI.describe(percentiles=[0.1, 0.5, 0.9])
COLOURS = {"natural vegetation": "#1f6b3a", "agriculture": "#d9a520", "pasture": "#b5651d"}

figure, axis = plt.subplots(figsize=(10, 4.4), layout="constrained")
for name, colour in COLOURS.items():
    course = courses.loc[name]
    axis.fill_between(course.index, course["10%"], course["90%"], color=colour, alpha=0.15)
    axis.plot(course.index, course["50%"], color=colour, label=name)
axis.set_ylabel("NDVI: median, and 10th to 90th percentile")
axis.set_ylim(0, 1)
_ = axis.legend(loc="lower center", ncols=3)
# %% [markdown]
# Of the real series, the median of agriculture swings by **0.61** in the year, that of pasture by
# **0.43**, that of natural vegetation by **0.22**: crops are sown and harvested, grass dries up,
# trees keep their leaves.

# %%
medians = courses["50%"].unstack("class")
swing = (medians.max() - medians.min()).round(2)
swing

# %% [markdown]
# ## Smoothing
#
# Clouds leave gaps, and haze leaves noise.
# `smooth` puts a smooth line through what there is (Whittaker's method): a larger `lmbda` is
# smoother, and a gap simply has no weight.
# To see how good that is we hide a fifth of the values by chance, and compare.

# %%
rng = np.random.default_rng(0)
hidden = rng.random(len(labelled)) < 0.2
gappy = labelled[["point", "time", "NDVI"]].reset_index(drop=True)
truth = gappy.NDVI.copy()
gappy.loc[hidden, "NDVI"] = np.nan
smoothed = nb.smooth(gappy, lmbda=0.3)

errors = (smoothed.NDVI - truth)[hidden].dropna()
rmse = float(np.sqrt((errors**2).mean()))
n_times = gappy.time.nunique()
days = gappy.time.drop_duplicates().sort_values().dt.day_of_year.to_numpy()
days = days + 365 * (np.arange(n_times) > days.argmax())
lines = nb.fill_gaps(gappy.NDVI.to_numpy().reshape(-1, n_times), days).ravel()
rmse_of_lines = float(np.sqrt(np.nanmean((lines - truth)[hidden] ** 2)))
print(f"{len(errors)} hidden values: smoothing finds them to {rmse:.3f}")
print(f"straight lines between the values around to {rmse_of_lines:.3f}")

# %%
figure, axes = plt.subplots(1, 3, figsize=(13, 3.6), sharey=True, layout="constrained")
for axis, (name, colour) in zip(axes, COLOURS.items(), strict=True):
    point = labelled[labelled["class"] == name].point.iloc[0]
    at = (gappy.point == point).to_numpy()
    time = gappy.time[at]
    axis.plot(time, smoothed.NDVI[at], color=colour, label="smoothed")
    axis.plot(time, gappy.NDVI[at], "o", color="black", markersize=4, label="given")
    axis.plot(time[hidden[at]], truth[at][hidden[at]], "o", mfc="white", mec="black",
              markersize=5, label="hidden")  # fmt: skip
    axis.set_title(name)
    axis.tick_params(axis="x", rotation=45)
axes[0].set_ylabel("NDVI")
_ = axes[0].legend()

# %% [markdown]
# Of the real series, hidden values are found to **0.08** (root of the mean square).
# Straight lines between the values around find them as well, to **0.08**: to fill a single gap
# needs no more.
# What lines do not do is to take noise out of the values that are given.
# Before the first value and after the last the smooth line just goes on: trust it not there.
