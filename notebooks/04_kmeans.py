# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 4. K-means on a CBERS-4 stack
#
# **You learn** to group pixels by their colour without any sample, on a cube that is read piece by
# piece.
# It is the example that the Brazil Data Cube showed in 2020, with the same call of `dc.load`.
#
# **What must be there:** the cubes of `make demo`.
# Their scenes are made, not observed: what the clusters are called here says nothing of Bahia.

# %%
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.colors import ListedColormap
from rasterio.errors import NotGeoreferencedWarning
from sklearn.cluster import KMeans

from odc_bdc import notebook as nb

# rasterio warns of images that stand on their heads, as one of these does.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)
dc = nb.connect()

# %% [markdown]
# ## Load the product CB4_64_16D_STK_v1
#
# The stack of the last period of 2019, which lasts from 19 to 31 December.
# `dask_chunks` says that nothing is read yet; pieces of 256 by 256 pixels are read when they are
# needed.

# %%
PRODUCT_NAME = "CB4_64_16D_STK_v1"
BANDS = ["red", "green", "blue", "nir"]

cb4 = dc.load(
    PRODUCT_NAME,
    measurements=BANDS,
    time=("2019-12-19", "2019-12-31"),
    resolution=(64, -64),
    dask_chunks={"y": 256, "x": 256},
)
cb4

# %% [markdown]
# The slides' `resolution=(64, -64)` says that y grows downwards, so this image stands on its head;
# the usual order is `(-64, 64)`, or no `resolution` at all, since the product has one.
# The pixels are the same, so we turn the image round for the eye.

# %%
cb4 = cb4.sortby("y", ascending=False).sortby("x")
usual = dc.load(PRODUCT_NAME, measurements=BANDS, time=("2019-12-19", "2019-12-31"))
assert cb4.equals(usual)

n_pixels = cb4.sizes["y"] * cb4.sizes["x"]
print(f"{n_pixels:,} pixels in {cb4.red.data.npartitions} pieces")

# %% [markdown]
# ## Cluster
#
# A pixel is four numbers.
# K-means looks for the middle of each of so many clusters; a sample of the **524,288** pixels is
# enough for that.
# Pixels that no scene saw are left out, and clouds that the stack could not avoid are a cluster of
# their own, if there are enough of them.

# %%
NODATA, N_CLUSTERS = -9999, 6

stacked = cb4.isel(time=0).to_array("band").transpose("y", "x", "band")
every_9th = stacked[::3, ::3].values.reshape(-1, len(BANDS))
sample = every_9th[(every_9th != NODATA).all(axis=1)]
kmeans = KMeans(N_CLUSTERS, n_init=4, random_state=0).fit(sample)
len(sample)

# %% [markdown]
# The numbers of clusters mean nothing, so we sort them by the NDVI of their middles: cluster 1 is
# the least green.

# %%
middles = pd.DataFrame(kmeans.cluster_centers_ / 10000, columns=BANDS)
middles["NDVI"] = (middles.nir - middles.red) / (middles.nir + middles.red)
rank = middles.NDVI.rank().astype(int).to_numpy()

# %% [markdown]
# Each piece is clustered when it is computed; the whole image is never in memory at once.


# %%
def cluster(pixels):
    """Give the cluster of each pixel (y, x, band), 0 where there is no data."""
    seen = (pixels != NODATA).all(axis=-1)
    codes = np.zeros(seen.shape, "uint8")
    if seen.any():
        codes[seen] = rank[kmeans.predict(pixels[seen])]
    return codes


clusters = xr.apply_ufunc(
    cluster,
    stacked.chunk(band=-1),
    input_core_dims=[["band"]],
    dask="parallelized",
    output_dtypes=["uint8"],
)
clusters

# %%
found = clusters.compute()

COLOURS = ["#4b6f9e", "#b8734a", "#e3c07c", "#a9b665", "#6a9a52", "#1f6b3a"]
figure, axes = plt.subplots(2, 1, figsize=(10, 9.6), layout="constrained")
picture = cb4[["red", "green", "blue"]].isel(time=0).to_array().transpose("y", "x", "variable")
axes[0].imshow(np.clip(picture.values / 2200, 0, 1))
axes[0].set_title("true colour, 19 to 31 December 2019 (made scenes)")
shown = axes[1].imshow(found, cmap=ListedColormap(COLOURS), vmin=0.5, vmax=N_CLUSTERS + 0.5)
axes[1].set_title("clusters, from the least to the most green")
for axis in axes:
    axis.axis("off")
_ = figure.colorbar(shown, ax=axes[1], ticks=range(1, N_CLUSTERS + 1), shrink=0.8, label="cluster")
# %%
middles.index = pd.Index(rank, name="cluster")
middles["share of pixels"] = [float((found == code).mean()) for code in middles.index]
middles = middles.sort_index()
middles.round(3)

# %% [markdown]
# The greenest cluster has an NDVI of **0.78** in its middle.
#
# ## What are they?
#
# K-means does not know.
# Of made scenes the truth is known, though: `made_cover` tells what each pixel was made of.
# The table says which part of each cluster is what.

# %%
from odc_bdc.scenes import COVERS, made_cover

truth = made_cover(found.odc.geobox)
table = pd.crosstab(
    pd.Series(found.values.ravel(), name="cluster"),
    pd.Series(truth.values.ravel(), name="cover").map(COVERS),
    normalize="index",
)
table.round(2)

# %% [markdown]
# The greenest cluster is cropland to **100 %** (rounded), and so are the bare fields of cluster 2;
# water has a cluster of its own.
# Cluster 3 is a mixture, and its largest part, savanna, has but **44 %** of it: fields, pastures
# and savanna look alike on one day.
# What tells them apart is the course of the year, which notebooks 5 and 6 are about.
