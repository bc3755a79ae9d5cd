"""Tasks of scenes that are files of random pixels; they need no index."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox

from odc_bdc import find_cube
from odc_bdc.cog import write_cog
from odc_bdc.planning import BandSource, CompositeTask, SceneRef
from odc_bdc.timeline import Period

TILE = "007004"
CUBE = find_cube("CB4_64_1M_STK_v1")
PERIOD = Period(date(2020, 1, 1), date(2020, 1, 31))
CLEAR, CLOUD, NODATA = 127, 255, 0


def cube_at(rows, columns, cube=CUBE):
    """Give a cube cut to some pixels of a tile."""
    xmin, _, _, ymax = cube.grid.bbox(TILE)
    size = cube.resolution
    left, top = xmin + 1000 * size, ymax - 1000 * size
    return cube.patch(extent=(left, top - rows * size, left + columns * size, top))


def for_function(cube, function):
    """Give a cube with another function; a band has the names that it wants and the cube lacks."""
    lacking = [name for name in function.common_names if name not in cube.labels]
    first, *others = cube.measurements
    named = replace(first, aliases=(*first.aliases, *lacking))
    return cube.patch(function=function, measurements=(named, *others))


def random_scene(rng, shape, measurements, *, gaps=0.02):
    """Make patches of clear, cloudy and unseen pixels; some bands lack data by themselves."""
    rows, columns = shape
    coarse = rng.choice(
        [CLEAR, CLOUD, NODATA], (-(-rows // 8), -(-columns // 8)), p=[0.5, 0.4, 0.1]
    )
    quality = np.kron(coarse, np.ones((8, 8), int))[:rows, :columns]
    out = {}
    for m in measurements:
        if m.name == "CMASK":
            out[m.name] = quality.astype("uint8")
            continue
        pixels = rng.integers(-200, 9000, shape)
        pixels[(quality == NODATA) | (rng.random(shape) < gaps)] = m.nodata
        out[m.name] = pixels.astype(m.dtype)
    return out


def write_scene(folder, cube, when, geobox, bands, *, label=None, write=write_cog):
    """Write a scene's bands, and give the reference that a task has."""
    label = label or f"{when:%Y%m%dT%H%M%S}"
    sources = []
    for m in cube.measurements:
        path = Path(folder) / f"{label}_{m.name}.tif"
        write(path, bands[m.name], geobox, nodata=m.nodata)
        sources.append((m.name, BandSource(path.as_uri(), m.encoding)))
    key = uuid.uuid5(uuid.NAMESPACE_URL, f"{folder}/{label}")
    return SceneRef(key, label, when, "cbers-4", cube.products[0], tuple(sources))


def make_task(folder, cube, *, scenes=5, seed=0, grids=None, days=None, gaps=0.02):
    """Write scenes of one month, and give the task of their composite.

    Parameters
    ----------
    grids
        Pixel grids of the scenes, taken in turn; default that of the tile.
    days
        Day of each scene; two of one day are one observation.
    """
    rng = np.random.default_rng(seed)
    grids = grids or [cube.geobox(TILE)]
    refs = []
    for n, day in enumerate(days or range(1, scenes + 1)):
        grid = grids[n % len(grids)]
        bands = random_scene(rng, tuple(grid.shape), cube.measurements, gaps=gaps)
        when = datetime(2020, 1, day, 13, n, tzinfo=UTC)
        refs.append(write_scene(folder, cube, when, grid, bands))
    return CompositeTask(cube, TILE, PERIOD, tuple(refs))


def utm_grid(cube, resolution=60.0, margin=0.0):
    """Give a grid of UTM 23S that covers the tile, or less of it with a negative margin."""
    box = cube.geobox(TILE).extent.to_crs("EPSG:32723").boundingbox
    edges = (box.left - margin, box.bottom - margin, box.right + margin, box.top + margin)
    return GeoBox.from_bbox(edges, "EPSG:32723", resolution=resolution)


def pixels_of(scene, name):
    """Read all of a scene's band with rasterio."""
    with rasterio.open(scene.source(name).href.removeprefix("file://")) as src:
        return src.read(1)
