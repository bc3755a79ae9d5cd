# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2. Tile viewer
#
# **You learn** to see on a map where the images of an index lie, on which tiles of the BDC's grid,
# and to read what the index knows of each.
#
# **What must be there:** the cubes of `make demo`.
# Their scenes are made, not observed.

# %%
import matplotlib.pyplot as plt
import pandas as pd

from odc_bdc import bdc_grid
from odc_bdc import notebook as nb

dc = nb.connect()

# %% [markdown]
# ## Footprints
#
# The call is that of the Brazil Data Cube's own notebook.
# Countries and the tiles of the cube's grid are drawn from files that come with odc_bdc: the map
# asks no other host for anything.
# A click on a footprint tells which images lie there.

# %%
datasets = dc.find_datasets(product="CB4_64_16D_STK_v1")
tiles = nb.bdc_plot_datasets(datasets, zoom=4)
tiles

# %% [markdown]
# The map has a feature for each of the **16** datasets, which lie on top of each other: eight
# periods on each of two tiles.

# %%
(footprints,) = [layer for layer in tiles.layers if layer.name == "Footprints"]
n_footprints = len(footprints.data["features"])
print(n_footprints, "footprints")

# %% [markdown]
# ## As a table
#
# `clear_fraction` is the share of pixels that any observation shows clear, `cloud_cover` the
# percentage of those seen that none does.

# %%
table = nb.datasets_table(datasets)
table[["date", "end", "tile", "function", "kind", "clear_fraction", "cloud_cover", "satellite"]]

# %% [markdown]
# It is a table of pandas, so it can be asked: the worst image of the cube has only **77 %** of its
# pixels clear.

# %%
worst = table.loc[table.clear_fraction.idxmin()]
worst[["date", "end", "tile", "clear_fraction"]]

# %% [markdown]
# ## Scenes
#
# The scenes are datasets as well: **96** of them, 48 days on two tiles.
# Zoomed to, one sees that they cover but a corner of the tiles; the demo makes no more.

# %%
scenes = dc.find_datasets(product="CB4_WFI_L4_SR_1")
nb.bdc_plot_datasets(scenes, zoom=None, grid="BDC_LG_V2")

# %%
scene_table = nb.datasets_table(scenes)
figure, axis = plt.subplots(figsize=(10, 3.4), layout="constrained")
for number, (tile, of_tile) in enumerate(scene_table.groupby("tile")):
    days = (of_tile.date - pd.Timestamp("2019-11-01")).dt.days
    axis.bar(days + 0.4 * number, 100 - of_tile.cloud_cover, width=0.4, label=tile)
axis.set_xlabel("days since 1 November 2019")
axis.set_ylabel("clear, of what was seen (%)")
_ = axis.legend(title="tile")
# %% [markdown]
# ## The grid
#
# Tiles are squares in the BDC's equal-area projection; those of the large grid are 422.4 km wide.
# `bdc_grid` knows all of them: which tiles does a box touch, and where does a tile lie?

# %%
grid = bdc_grid("BDC_LG_V2")
touched = grid.tile_ids((-46, -13, -44, -12), "EPSG:4326")
touched

# %%
geobox = grid.geobox("007004", 64)
side_km = geobox.shape.x * 64 / 1000
print(geobox.shape, f"{side_km:g} km", geobox.extent.to_crs("EPSG:4326").boundingbox)
