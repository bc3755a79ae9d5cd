# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 8. Scale
#
# **You learn** to open a cube of scenes without any index, and to compute it on a cluster: here one
# of two processes on this machine; with an address, one of any size.
#
# **What must be there:** the folder of scenes that `make demo` leaves, and to compare with, its
# cubes.
# The scenes are made, not observed.

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pystac
from distributed import Client, LocalCluster

from odc_bdc import find_cube, open_cube
from odc_bdc import notebook as nb
from odc_bdc.scenes import demo_extent

home = nb.find_home()
items = [
    pystac.Item.from_file(path) for path in sorted((home / "scenes").glob("*/v001/*/*/*.json"))
]
print(len(items), "scenes; the first is", items[0].id)

# %% [markdown]
# ## A cube of items
#
# `open_cube` takes STAC items, from a folder as here or from a search
# (`pystac_client.Client.open(url).search(...).items()`), and the definition of a cube.
# It reads nothing but the headers that it needs; what comes back are dask arrays.
#
# The demo cut its cubes to the scenes' extent, and a stack's order is that of the image, so we cut
# ours too.

# %%
definition = find_cube("CB4_64_16D_STK_v1").patch(extent=demo_extent())
began = time.perf_counter()
cube = open_cube(
    definition,
    items,
    time=("2019-12-19", "2020-02-17"),
    measurements=["red", "nir", "NDVI", "CLEAROB"],
    chunks={"y": 256, "x": 256},
)
print(f"{cube.nbytes / 1e6:.0f} MB in {cube.NDVI.data.npartitions} pieces of each band, "
      f"opened in {time.perf_counter() - began:.1f} s")  # fmt: skip
cube

# %% [markdown]
# ## A cluster
#
# `LocalCluster` starts workers on this machine.
# For another cluster give its address instead, `Client("tcp://scheduler:8786")`; its workers need
# odc_bdc, and must reach the scenes by the same paths or addresses.

# %%
cluster = LocalCluster(
    n_workers=2,
    threads_per_worker=1,
    memory_limit="2GiB",
    dashboard_address=None,
    silence_logs="ERROR",
)
client = Client(cluster)
print(len(client.scheduler_info()["workers"]), "workers")

# %% [markdown]
# The highest NDVI of the season, and the period of it, for each pixel.
# Workers composite their pieces of the scenes themselves; only the two small results come back.

# %%
ndvi = cube.NDVI.where(cube.NDVI != -9999) / np.float32(10000)
peak = ndvi.max("time").rename("peak")
when = ndvi.fillna(-1).argmax("time").rename("when")

began = time.perf_counter()
peak, when = client.compute([peak, when], sync=True)
print(f"composited and reduced in {time.perf_counter() - began:.1f} s")

# %%
starts = cube.time.dt.strftime("%d %b").values
figure, axes = plt.subplots(2, 1, figsize=(10, 9.6), layout="constrained")
shown = axes[0].imshow(peak, cmap="YlGn", vmin=0, vmax=1)
axes[0].set_title("highest NDVI, 19 December 2019 to 17 February 2020 (made scenes)")
figure.colorbar(shown, ax=axes[0], shrink=0.9)
colours = plt.get_cmap("viridis", len(starts))
shown = axes[1].imshow(when, cmap=colours, vmin=-0.5, vmax=len(starts) - 0.5)
axes[1].set_title("period of the highest NDVI")
bar = figure.colorbar(shown, ax=axes[1], ticks=range(len(starts)), shrink=0.9)
bar.set_ticklabels([f"from {start}" for start in starts])
for axis in axes:
    axis.axis("off")

# %% [markdown]
# ## The same numbers
#
# The cube that `make demo` built, loaded by `dc.load` on the same cluster, has the same NDVI in
# **100 %** of the pixels.

# %%
dc = nb.connect()
built = dc.load(
    "CB4_64_16D_STK_v1",
    measurements=["NDVI"],
    time=("2019-12-19", "2020-02-17"),
    dask_chunks={"time": 1, "y": 256, "x": 256},
)
same = (cube.NDVI.data == built.NDVI.data).mean().compute()
print(f"{same:.2%} of {cube.NDVI.size:,} values are equal")

# %% [markdown]
# The mean of the highest NDVI is **0.70**; **86 %** of all pixels have it after the end of the
# year.

# %%
mean_peak = float(peak.mean())
late = float((when >= list(starts).index("01 Jan")).mean())
print(f"mean {mean_peak:.2f}; {late:.0%} from January on")

# %%
client.close()
cluster.close()

# %% [markdown]
# Larger areas want larger pieces (1024 by 1024 pixels, which is the default) and as many workers as
# there are cores.
# What many people read again and again is better built once:
# `odc-bdc cube build` runs on the same cluster by `--scheduler`, and on batch systems by `--shard`.
