"""The demo's picture: each cube from `dc.load`, and beside it the same from WMS."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt

from odc_bdc.cli._picture import new_figure, save_figure
from odc_bdc.cube import CubeSpec, Measurement
from odc_bdc.errors import SceneError
from odc_bdc.indices import ndvi
from odc_bdc.ows.bands import stretch
from odc_bdc.ows.endpoints import fetch, map_query
from odc_bdc.ows.ramps import VEGETATION

if TYPE_CHECKING:
    import xarray as xr
    from datacube import Datacube

_TRUE_COLOUR = ("red", "green", "blue")


def write_contact_sheet(dc: Datacube, cubes: Sequence[CubeSpec], url: str, path: Path) -> None:
    """Draw true colour and NDVI of each cube: left from `dc.load`, right from its WMS layer.

    Parameters
    ----------
    cubes
        Each must have a dataset in the index; that of the clearest period is shown.
    url
        Base of the map server.
    path
        PNG file to write.
    """
    first = _load(dc, cubes[0], _clearest(dc, cubes[0]))
    height = 4 * first.sizes[first.odc.spatial_dims[0]] / first.sizes[first.odc.spatial_dims[1]]
    figure = new_figure(16, (height + 0.6) * len(cubes), dpi=80, layout="constrained")
    axes = figure.subplots(len(cubes), 4, squeeze=False)
    for row, cube in zip(axes, cubes, strict=True):
        day = _clearest(dc, cube)
        ds = _load(dc, cube, day)
        pictures = {
            "true colour, dc.load": rgb(ds, cube),
            "true colour, WMS": _get_map(url, cube, ds, day, "true_colour"),
            "NDVI, dc.load": _ndvi(ds, cube),
            "NDVI, WMS": _get_map(url, cube, ds, day, "ndvi"),
        }
        for ax, (title, picture) in zip(row, pictures.items(), strict=True):
            ax.imshow(picture)
            ax.set_title(f"{cube.name}  {day}\n{title}", fontsize=10)
            ax.set_axis_off()
    save_figure(figure, path)


def rgb(ds: xr.Dataset, cube: CubeSpec) -> npt.NDArray[np.uint8]:
    """Give a picture (y, x, 4) of the bands red, green, blue; transparent where one has no data."""
    bands = [ds[_band(cube, alias)].values for alias in _TRUE_COLOUR]
    ranges = [
        stretch(_measurement(cube, alias).to_odc(), alias, cube.mission) for alias in _TRUE_COLOUR
    ]
    scaled = [
        np.clip((b.astype(np.float32) - low) / (high - low), 0, 1) * 255
        for b, (low, high) in zip(bands, ranges, strict=True)
    ]
    missing = [b == _measurement(cube, a).nodata for a, b in zip(_TRUE_COLOUR, bands, strict=True)]
    alpha = np.where(np.any(missing, axis=0), 0, 255)
    return np.dstack([*scaled, alpha]).astype(np.uint8)


def _ndvi(ds: xr.Dataset, cube: CubeSpec) -> npt.NDArray[np.uint8]:
    """Give a picture (y, x, 4) of the NDVI in the colours of the map style."""
    from matplotlib.colors import LinearSegmentedColormap

    red, nir = (_reflectance(ds, _measurement(cube, alias)) for alias in ("red", "nir"))
    values = ndvi(red, nir)
    low, high = VEGETATION[0][0], VEGETATION[-1][0]
    stops = [((value - low) / (high - low), colour) for value, colour in VEGETATION]
    colours = LinearSegmentedColormap.from_list("ndvi", stops, N=1024)
    out: npt.NDArray[np.uint8] = colours((values - low) / (high - low), bytes=True)
    return out


def _reflectance(ds: xr.Dataset, band: Measurement) -> npt.NDArray[np.float32]:
    values = ds[band.name].values
    scaled = values.astype(np.float32) * (band.scale or 1.0) + (band.offset or 0.0)
    out: npt.NDArray[np.float32] = np.where(values == band.nodata, np.nan, scaled)
    return out


def _clearest(dc: Datacube, cube: CubeSpec) -> date:
    datasets = dc.find_datasets(product=cube.name)
    if not datasets:
        raise SceneError(f"cube {cube.name} has no image in the index")
    covers: dict[date, list[float]] = {}
    for dataset in datasets:
        cover = dataset.metadata_doc["properties"].get("eo:cloud_cover", 100.0)
        covers.setdefault(dataset.time.begin.date(), []).append(float(cover))
    # Of periods that are equally clear the latest: it shows the most of a season.
    return min(
        covers, key=lambda day: (round(sum(covers[day]) / len(covers[day])), -day.toordinal())
    )


def _load(dc: Datacube, cube: CubeSpec, day: date) -> xr.Dataset:
    datasets = [d for d in dc.find_datasets(product=cube.name) if d.time.begin.date() == day]
    names = [_band(cube, alias) for alias in (*_TRUE_COLOUR, "nir")]
    image: xr.Dataset = dc.load(datasets=datasets, measurements=names).isel(time=0)
    return image


def _band(cube: CubeSpec, alias: str) -> str:
    return _measurement(cube, alias).name


def _measurement(cube: CubeSpec, alias: str) -> Measurement:
    return next(m for m in cube.bands if alias in m.aliases)


def _get_map(url: str, cube: CubeSpec, ds: xr.Dataset, day: date, style: str) -> Any:
    from PIL import Image

    query = urlencode(map_query(cube.name, style, ds.odc.geobox, day.isoformat()))
    return np.asarray(Image.open(io.BytesIO(fetch(f"{url}/wms?{query}"))).convert("RGBA"))
