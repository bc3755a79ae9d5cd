# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 7. QGIS and OGC from Python
#
# **You learn** to start the map server, to ask it for maps and coverages as any OGC client does, to
# swipe between two dates, and to make an animation and a page that needs no server.
#
# **What must be there:** the cubes of `make demo`.
# Their scenes are made, not observed.

# %%
import os
from io import BytesIO
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from owslib.wcs import WebCoverageService
from owslib.wms import WebMapService
from rasterio.io import MemoryFile

from odc_bdc import database
from odc_bdc import notebook as nb
from odc_bdc.ows import start_server

dc = nb.connect()

# %% [markdown]
# ## The server
#
# `odc-bdc ows serve` starts it in a terminal; here it lives as long as this notebook.
# Port 0 takes a free one.

# %%
index = database.find_index(nb.find_home(), environ=os.environ)
server = start_server(index, port=0, workers=1, log=Path("map_server.log"))
print("The map server answers.")

# %% [markdown]
# In QGIS, add its address as a WMS, WMTS or WCS connection: `/wms`, `/wmts` and `/wcs` behind what
# `server.url` says.
# In a browser, the address alone is a page with all layers.
#
# ## WMS: a picture
#
# Layers have the names of products, styles are those of all maps of odc_bdc.

# %%
wms = WebMapService(f"{server.url}/wms", version="1.3.0", timeout=120)
layer = wms["CB4_64_16D_STK_v1"]
print(layer.title)
print("styles:", ", ".join(layer.styles))
print("times:", ", ".join(str(time)[:10] for time in layer.timepositions))

# %%
cube = nb.load(dc, "CB4_64_16D_STK_v1", measurements=["red", "green", "blue", "NDVI"])
box = cube.odc.geobox.extent.to_crs("EPSG:3857").boundingbox

figure, axes = plt.subplots(1, 2, figsize=(13, 3.9), layout="constrained")
for axis, style in zip(axes, ("true_colour", "ndvi"), strict=True):
    answer = wms.getmap(
        layers=["CB4_64_16D_STK_v1"],
        styles=[style],
        srs="EPSG:3857",
        bbox=tuple(box),
        size=(800, 410),
        format="image/png",
        time="2019-12-19",
        transparent=True,
    )
    axis.imshow(plt.imread(BytesIO(answer.read()), format="png"))
    axis.set_title(f"{style}, the period from 19 December 2019")
    axis.set_axis_off()

# %% [markdown]
# ## WCS: numbers
#
# A coverage has the pixels themselves, as GeoTIFF.
# Asked for on the cube's own grid, they are those of `dc.load`, all of them: **100 %**.

# %%
loaded = nb.load(
    dc, "CB4_64_16D_STK_v1", time="2019-12-25", region_code="007004", measurements=["NDVI"]
)
wcs = WebCoverageService(f"{server.url}/wcs", version="1.0.0", timeout=120)
grid = loaded.odc.geobox
answer = wcs.getCoverage(
    identifier="CB4_64_16D_STK_v1",
    bbox=tuple(grid.boundingbox),
    crs="EPSG:10857",
    time=["2019-12-19"],
    format="GeoTIFF",
    width=grid.shape.x,
    height=grid.shape.y,
    measurements="NDVI",
)
with MemoryFile(answer.read()) as file, file.open() as image:
    coverage = image.read(1)
same = float(np.mean(coverage == loaded.NDVI.values[0]))
print(f"{coverage.shape}, {same:.2%} as loaded")

# %% [markdown]
# ## Swipe
#
# `show` puts layers of the server on a map with a slider of times and a legend; with `swipe`, two
# times lie side by side, and the border can be moved.
# The map needs nothing from any other host.

# %%
swiped = nb.show("CB4_64_16D_STK_v1", "true_colour", dc=dc, server=server.url, swipe=True)
swiped

# %% [markdown]
# The same from arrays, without a server: early November beside late January, as NDVI.

# %%
nb.show(cube, "ndvi", time=("2019-11-01", "2020-01-31"), swipe=True)

# %% [markdown]
# ## Animation
#
# A frame for each of the **8** periods, with date and scale bar, in the projection of web maps;
# `.mp4` and `.webp` work as well as `.gif`.
# It knows where it lies, so it can be put on a map.

# %%
animation = nb.animate(cube, "season.gif", "true_colour", delay=0.8, most_pixels=250_000)
n_frames = len(animation.times)
animation

# %%
on_map = nb.show(cube.isel(time=[0]), "ndvi")
nb.overlay(on_map, animation)
on_map

# %% [markdown]
# ## A page to send
#
# One file with the images, a slider of times and a swipe; it opens from a disk, without a server
# and without network.

# %%
page = nb.export_html(
    cube,
    "season.html",
    "true_colour",
    title="A season of made scenes",
    about="Made scenes, not observed.",
    swipe=True,
    most_pixels=2_000_000,
)
print(f"{page}: {page.stat().st_size / 1e6:.1f} MB")

# %%
server.stop()
