# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1. First steps
#
# **You learn** to find what an index holds, to load a cube, to look at it in colour and as NDVI, to
# see which day each pixel is from, and what a live cube is.
#
# **What must be there:** the cubes of `make demo`.
# Their scenes are made, not observed: take no number from here for one of Bahia.

# %%
import matplotlib.pyplot as plt
import numpy as np

from odc_bdc import composite_cube, find_cube
from odc_bdc import notebook as nb

dc = nb.connect()

# %% [markdown]
# ## What there is
#
# A *product* is a kind of image: scenes of a satellite, or a cube made of them.
# `CB4_64_16D_STK_v1` reads: CBERS-4, pixels of 64 m, periods of 16 days, composited as a stack,
# version 1.

# %%
products = dc.list_products()[["name", "description"]].reset_index(drop=True)
products.description = products.description.str.partition(".")[0]
products

# %% [markdown]
# A *dataset* is one image of a product: here that of a tile of the BDC's grid in a period.
# The cube has **16** of them: **2** tiles in **8** periods.

# %%
datasets = dc.find_datasets(product="CB4_64_16D_STK_v1")
images = nb.datasets_table(datasets)
images[["date", "end", "tile", "function", "kind", "clear_fraction", "cloud_cover"]]

# %% [markdown]
# ## Load it
#
# `nb.load` is `dc.load` with a progress bar, and with a clear message if there is nothing.
# The tiles come as one image; the time of an image is the middle of its period.

# %%
cube = nb.load(dc, "CB4_64_16D_STK_v1")
cube

# %% [markdown]
# ## Look at it
#
# In true colour, four of the eight periods: fields are sown, and grow green.
# Pixels are stored as reflectance times ten thousand; `limits` are the reflectances that are black
# and full.

# %%
figure, axes = plt.subplots(2, 2, figsize=(12, 7), layout="constrained")
for n, axis in zip((0, 2, 3, 5), axes.flat, strict=True):
    cube.bdc.plot_rgb(time=cube.time.values[n], limits=(0, 0.22), ax=axis)
    axis.set_axis_off()

# %% [markdown]
# The cube stores NDVI, the index of vegetation, too: bare soil has about 0.2, a dense crop 0.9.

# %%
figure, axis = plt.subplots(figsize=(10, 5), layout="constrained")
_ = cube.bdc.plot("NDVI", time="2019-12-25", ax=axis, cmap="YlGn", vmin=0, vmax=1)
# %% [markdown]
# Over all pixels, NDVI rises from **0.29** in early November to **0.68** in January.

# %%
ndvi = cube.bdc.to_reflectance().NDVI
mean_ndvi = ndvi.mean(("y", "x"))

figure, axis = plt.subplots(figsize=(8, 3), layout="constrained")
axis.plot(mean_ndvi.time, mean_ndvi, "o-", color="tab:green")
axis.set_ylim(0, 1)
axis.set_ylabel("mean NDVI")
figure.autofmt_xdate()
# %% [markdown]
# ## Where a pixel is from
#
# A stack takes each pixel from one scene, the clearest that shows it.
# `PROVENANCE` tells the day of the year, `CLEAROB` how often the pixel was seen clearly in the
# period, and `TOTALOB` how often at all.
# In the last period, **12 %** of the pixels were never clear: there the stack shows the best scene
# it has, cloud and all.

# %%
last = cube.isel(time=-1)
never_clear = float((last.CLEAROB == 0).mean())

figure, axes = plt.subplots(1, 3, figsize=(14, 3.2), layout="constrained")
cube.bdc.plot_rgb(time=last.time.values, limits=(0, 0.22), ax=axes[0])
days, number = np.unique(last.PROVENANCE, return_inverse=True)
shown = axes[1].imshow(
    number.reshape(last.PROVENANCE.shape),
    cmap=plt.get_cmap("viridis", len(days)),
    vmin=-0.5,
    vmax=len(days) - 0.5,
)
bar = figure.colorbar(
    shown, ax=axes[1], shrink=0.7, label="day of the year", ticks=range(len(days))
)
bar.set_ticklabels(days)
shown = axes[2].imshow(last.CLEAROB, cmap="Blues", vmin=0)
figure.colorbar(shown, ax=axes[2], shrink=0.7, label="clear observations")
for axis, title in zip(axes, ("true colour", "PROVENANCE", "CLEAROB"), strict=True):
    axis.set_title(title)
    axis.set_axis_off()

# %% [markdown]
# ## Live and built
#
# The images above were *built*: they are files.
# A *live* image has no pixels of its own, only a recipe; it is composited when somebody reads it.
# That costs no disk, and is ready at once.
# The command below declares the medians of January 2020; run again, it finds them declared.
# (`--clip` keeps to the part of the tiles that has scenes.)

# %%
home = nb.find_home()
clip = "5970432 9919936 6035968 9952704"
# !odc-bdc cube declare CB4_64_1M_MED_v1 --time 2020-01-01 2020-01-31 --clip {clip} --home {home}

# %%
live = nb.datasets_table(dc.find_datasets(product="CB4_64_1M_MED_v1"))
live[["date", "end", "tile", "function", "kind"]]

# %% [markdown]
# It is loaded as any other product.
# To see that nothing is lost, we composite the scenes ourselves: **100 %** of the values are equal.

# %%
january = nb.load(dc, "CB4_64_1M_MED_v1", time="2020-01", region_code="007004")
scenes = nb.load(dc, "CB4_WFI_L4_SR_1", time="2020-01", region_code="007004", group_by="time")
by_hand = composite_cube(scenes, find_cube("CB4_64_1M_MED_v1"))
equal = [float((january[name].values == by_hand[name].values).mean()) for name in january]
least_equal = min(equal)
print(f"{least_equal:.2%} of the values of the band that differs most are equal")

# %% [markdown]
# Where an image is read often, `odc-bdc cube build CB4_64_1M_MED_v1` writes it to files and swaps
# it in; users notice only that it is quicker.
