# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3. Compose it yourself
#
# **You learn** how several scenes of a period become one image: by average, by median, and by the
# stack, which takes the clearest scene first; and how to define a cube of your own.
#
# **What must be there:** for the first part nothing; for the rest the cubes of `make demo`.
# Their scenes are made, not observed.

# %%
import warnings

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from odc_bdc import CubeSpec, QualityPolicy, composite, composite_cube, find_cube
from odc_bdc import notebook as nb

# %% [markdown]
# ## One pixel, by hand
#
# The example is that of the Brazil Data Cube's own slides: six scenes of a month.
# Each has a share of clear pixels, and our pixel is clear in three of them.
# We make a tiny image of ten pixels that has just these shares; the pixel we look at is the first.

# %%
days = [3, 8, 13, 18, 23, 28]
shares = [0.5, 0.7, 0.6, 1.0, 0.8, 0.1]
values = [480, 2900, 510, 3150, 3100, 495]
clear_here = [False, True, False, True, True, False]

CLEAR, CLOUD = 127, 255
red = np.full((6, 1, 10), 1000, "int16")
cmask = np.full((6, 1, 10), CLOUD, "uint8")
for scene in range(6):
    red[scene, 0, 0] = values[scene]
    cmask[scene, 0, 0] = CLEAR if clear_here[scene] else CLOUD
    still_to_be_clear = round(shares[scene] * 10) - clear_here[scene]
    cmask[scene, 0, 1 : 1 + still_to_be_clear] = CLEAR

(cmask == CLEAR).mean(axis=(1, 2))

# %% [markdown]
# By hand: the average and the median are those of the three clear values.
# The stack puts the scenes in order, that with the largest share of clear pixels first, and takes
# the first value that is clear.

# %%
clear_values = red[:, 0, 0][cmask[:, 0, 0] == CLEAR]
order = np.argsort(shares)[::-1]
by_hand = {
    "AVG": clear_values.mean(),
    "MED": np.median(clear_values),
    "STK": next(red[s, 0, 0] for s in order if cmask[s, 0, 0] == CLEAR),
}
print("clear values", clear_values, "scenes in order: days", [days[s] for s in order])
by_hand

# %% [markdown]
# `composite` does it for whole images.
# It wants to know which codes of the quality band are clear; time and nodata it finds in the data.

# %%
times = np.array([f"2019-01-{day:02}" for day in days], "datetime64[ns]")
scenes = xr.Dataset(
    {
        "red": (("time", "y", "x"), red, {"nodata": -9999}),
        "CMASK": (("time", "y", "x"), cmask, {"nodata": 0}),
    },
    coords={"time": times},
)
quality = QualityPolicy("CMASK", clear=(CLEAR,), not_clear=(CLOUD,), nodata=0)
pixel = {
    function: composite(scenes, function=function, quality=quality).red.values[0, 0, 0]
    for function in ("AVG", "MED", "STK")
}
pixel

# %% [markdown]
# The average is **3050**, the median **3100**, and the stack gives **3150**, the value of day 18,
# whose scene is wholly clear.
# The stack also tells the day of the year that each pixel is from.

# %%
stack = composite(scenes, function="STK", quality=quality)
provenance = int(stack.PROVENANCE[0, 0, 0])
print("day of the year", provenance, "- clear observations", int(stack.CLEAROB[0, 0, 0]))

# %% [markdown]
# ## Scenes of the index
#
# Now the scenes of the demo, in the sixteen days from 18 February 2020 on.
# The order of a stack depends on the whole tile, so we load just one tile, on its own pixels.

# %%
dc = nb.connect()
built = dc.load(
    product="CB4_64_16D_STK_v1", region_code="007004", time=("2020-02-18", "2020-03-04")
)
scenes = dc.load(
    product="CB4_WFI_L4_SR_1",
    region_code="007004",
    time=("2020-02-18", "2020-03-04"),
    group_by="time",
)
{name: scenes[name].dtype.name for name in scenes}, scenes.sizes["time"]


# %%
def rgb(ds, n=0):
    """Blue, green and red of CBERS-4 WFI as a picture; full brightness is a reflectance of 0.22."""
    bands = [ds[name].isel(time=n).values for name in ("BAND15", "BAND14", "BAND13")]
    return np.clip(np.stack(bands, axis=-1) / 2200, 0, 1)


n_scenes = scenes.sizes["time"]
figure, axes = plt.subplots(2, (n_scenes + 1) // 2, figsize=(10, 5.4), layout="constrained")
for axis in axes.flat:
    axis.axis("off")
for n, axis in zip(range(n_scenes), axes.flat, strict=False):
    part = float((scenes.CMASK.isel(time=n) == CLEAR).mean())
    axis.imshow(rgb(scenes, n))
    axis.set_title(f"{scenes.time.dt.strftime('%d %b %Y').values[n]}: {part:.0%} clear")

# %% [markdown]
# `composite_cube` composites scenes by the definition of a cube: which codes are clear, which
# function, which periods, and which indices to compute.
# The three cubes differ in their function alone.

# %%
made = {
    name: composite_cube(scenes, find_cube(f"CB4_64_16D_{name}_v1"))
    for name in ("AVG", "MED", "STK")
}
figure, axes = plt.subplots(1, 4, figsize=(14, 3.8), layout="constrained")
for axis, (name, image) in zip(axes, made.items(), strict=False):
    axis.imshow(rgb(image))
    axis.set_title({"AVG": "average", "MED": "median", "STK": "stack"}[name])
    axis.axis("off")
taken = made["STK"].PROVENANCE[0].values
taken_days = np.unique(taken)
colours = plt.get_cmap("viridis", len(taken_days))
picked = axes[-1].imshow(np.searchsorted(taken_days, taken), cmap=colours)
axes[-1].set_title("day of the year that the stack took")
axes[-1].axis("off")
bar = figure.colorbar(picked, ax=axes[-1], shrink=0.8, ticks=range(len(taken_days)))
bar.mappable.set_clim(-0.5, len(taken_days) - 0.5)
_ = bar.set_ticklabels(taken_days)
# %% [markdown]
# The image that `make demo` built of the same scenes has the same pixels, all of them, in each
# band: **100 %**.

# %%
equal = np.mean([(made["STK"][name].values == built[name].values).mean() for name in built])
print(f"{equal:.2%} of the values of {len(built)} bands are equal")

# %% [markdown]
# ## The same when it is loaded: a virtual product
#
# A recipe of `datacube.virtual` composites scenes at the moment in which they are loaded.
# (datacube gives up virtual products with its version 2.0; a live cube,
# `odc-bdc cube declare`, does the same and stays.)

# %%
warnings.filterwarnings("ignore", message="Virtual products are deprecated")
from datacube.virtual import construct_from_yaml

median = construct_from_yaml("""
    aggregate: odc_bdc.virtual.Composite
    group_by: odc_bdc.virtual.p16d
    function: MED
    quality: {band: CMASK, clear: [127], not_clear: [255], nodata: 0}
    input:
      product: CB4_WFI_L4_SR_1
      measurements: [BAND13, BAND14, BAND15, BAND16, CMASK]
      group_by: time
""")
virtual = median.load(dc, region_code="007004", time=("2020-02-18", "2020-03-04"))
same_as_made = bool((virtual.BAND16.values == made["MED"].BAND16.values).all())
print("the near infrared is that of `composite_cube`:", same_as_made)

# %% [markdown]
# ## A cube of your own
#
# A cube is a few lines: the scenes, the grid, the periods, the function, the bands.
# This one takes, in each month, the day on which the pixel was greenest, and stores NDVI.

# %%
greenest = CubeSpec.from_dict(
    {
        "name": "MY_64_1M_GREEN_v1",
        "title": {"en": "CBERS-4 WFI 64 m, monthly, the greenest day"},
        "description": {"en": "Each pixel is its observation of the highest NDVI in the month."},
        "license": "CC-BY-4.0",
        "sources": [{"product": "CB4_WFI_L4_SR_1"}],
        "grid": "BDC_LG_V2",
        "resolution": 64,
        "timeline": {"schema": "Continuous", "step": 1, "unit": "month"},
        "function": "MAXNDVI",
        "quality": {"band": "CMASK", "clear": [127], "not_clear": [255], "nodata": 0},
        "measurements": ["BAND13", "BAND14", "BAND15", "BAND16", "CMASK"],
        "outputs": {"indices": ["NDVI"]},
    },
    where="this notebook",
)
month = dc.load(
    product="CB4_WFI_L4_SR_1",
    region_code="007004",
    time=("2020-01-01", "2020-01-31"),
    group_by="time",
)
green = composite_cube(month, greenest)
ndvi = green.NDVI[0].where(green.NDVI[0] != -9999) / 10000

figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
axes[0].imshow(rgb(green))
axes[0].set_title("January 2020, the greenest day")
shown = axes[1].imshow(ndvi, cmap="YlGn", vmin=0, vmax=1)
axes[1].set_title("NDVI")
for axis in axes:
    axis.axis("off")
_ = figure.colorbar(shown, ax=axes[1])
# %% [markdown]
# Its NDVI is nowhere below that of the monthly stack, which took the clearest day instead: on
# average **0.70** against **0.68**.

# %%
stacked = dc.load(
    product="CB4_64_1M_STK_v1",
    region_code="007004",
    time="2020-01",
    measurements=["NDVI", "CLEAROB"],
)
both = (stacked.CLEAROB[0].values > 0) & (green.NDVI[0].values != -9999)
ours, theirs = green.NDVI[0].values[both] / 10000, stacked.NDVI[0].values[both] / 10000
lowest_gain = float((ours - theirs).min())
print(
    f"mean {ours.mean():.2f} against {theirs.mean():.2f}; the least difference is {lowest_gain:.4f}"
)

# %% [markdown]
# To have it as a product, save the definition as a YAML file and say
#
# ```sh
# odc-bdc cube declare my_cube.yaml --time 2019-11-01 2020-02-29
# odc-bdc cube build my_cube.yaml --time 2019-11-01 2020-02-29
# ```
#
# `declare` publishes it at once, computed whenever somebody reads it; `build` writes files.
# The how-to *Define your own cube* explains all keys.
