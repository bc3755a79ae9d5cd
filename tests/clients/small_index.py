"""A small index of made pixels: cubes, and scenes of two tiles."""

from __future__ import annotations

import os
import uuid
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox

from odc_bdc import database
from odc_bdc.cube import CubeSpec, find_cube
from odc_bdc.grid import BDC_CRS
from odc_bdc.product import product_document

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from datacube import Datacube

    from odc_bdc.database import Index

# A band of 300 pixels on each side of the border of two neighbouring tiles of the LG_V2 grid.
EAST_WEST = (6003200 - 300 * 64, 10000000, 6003200 + 300 * 64, 10000000 + 260 * 64)
SCENES = "CB4_WFI_L4_SR_1"
STK = "CB4_64_16D_STK_v1"
BBOX = (5993600.0, 10000000.0, 6012800.0, 10012800.0)  # 300 x 200 pixels of 64 m over both tiles
GEOBOX = GeoBox.from_bbox(BBOX, BDC_CRS, resolution=64)
VIEW = {
    "service": "WMS",
    "version": "1.3.0",
    "request": "GetMap",
    "layers": STK,
    "crs": "EPSG:10857",
    "bbox": ",".join(map(str, BBOX)),
    "width": 300,
    "height": 200,
    "format": "image/png",
    "time": "2020-01-01",
}
"""A map of the whole of `GEOBOX`, but for its style."""


@dataclass(frozen=True)
class Made:
    """A cube of the small index: its tiles and periods, and the pixels that were written."""

    cube: CubeSpec
    tiles: tuple[str, ...]
    days: tuple[date, ...]


CUBES = (
    Made(
        find_cube("CB4_64_16D_STK_v1").patch(extent=EAST_WEST),
        ("007004", "008004"),
        (date(2019, 12, 19), date(2020, 1, 1)),
    ),
    Made(
        find_cube("CB4_64_16D_MED_v1").patch(extent=EAST_WEST),
        ("007004", "008004"),
        # That of 2 February is missing.
        (date(2019, 12, 19), date(2020, 1, 1), date(2020, 1, 17), date(2020, 2, 18)),
    ),
    Made(find_cube("CB4_64_2Y_STK_v1"), ("",), (date(2017, 1, 1),)),
    Made(find_cube("S2_31UES_10_16D_STK_v1"), ("",), (date(2023, 10, 16),)),
    Made(find_cube("LC8_NY_3000_1M_MED_v1"), ("",), (date(2018, 4, 1),)),
)


SCENE_TILES = ("007004", "008004")


@contextmanager
def own_index(home: Path, app: str) -> Iterator[tuple[Index, Datacube]]:
    """Bring up a private index of a test's own, with nothing in it; deleted at the end."""
    index = database.bring_up(home, environ={"PATH": os.environ["PATH"]}, driver="postgis")
    try:
        database.initialise(index)
        with database.open_datacube(index, app=app) as dc:
            yield index, dc
    finally:
        database.delete(home)


def fill_index(
    dc: Datacube,
    folder: Path,
    cubes: Sequence[Made] = CUBES,
    scene_tiles: Sequence[str] = SCENE_TILES,
) -> None:
    """Write COGs with their EO3 documents, and index them: cubes, and scenes of some tiles."""
    from datacube.index.hl import Doc2Dataset

    products = {made.cube.name: made.cube.to_product() for made in cubes}
    products[SCENES] = product_document(SCENES)
    for product in products.values():
        dc.index.products.add_document(product)
    resolve = Doc2Dataset(dc.index, skip_lineage=True, eo3=True)
    for path, document in _datasets(products, folder, cubes, scene_tiles):
        dataset, problem = resolve(document, path.as_uri())
        assert dataset is not None, problem
        dc.index.datasets.add(dataset, with_lineage=False)


def _datasets(
    products: Mapping[str, dict[str, Any]],
    folder: Path,
    cubes: Sequence[Made],
    scene_tiles: Sequence[str],
) -> Iterator[tuple[Path, dict[str, Any]]]:
    for made in cubes:
        for tile in made.tiles:
            geobox = _geobox(made.cube, tile)
            for day in made.days:
                period = made.cube.timeline.period_of(day)
                times = (f"{period.start}T00:00:00Z", f"{period.end}T23:59:59Z")
                yield write_dataset(products[made.cube.name], tile, geobox, times, folder)
    for number, tile in enumerate(scene_tiles):
        geobox = _geobox(cubes[0].cube, tile)
        # Instants of one overpass: the neighbour was seen 20 seconds later.
        times = (f"2020-01-03T13:40:{20 * number:02d}Z",) * 2
        yield write_dataset(products[SCENES], tile, geobox, times, folder)


def _geobox(cube: CubeSpec, tile: str) -> GeoBox:
    if tile:
        return cube.geobox(tile)
    xmin, ymin, xmax, ymax = cube.extent or (450000, 4350000, 750000, 4650000)
    tile = cube.grid.tile_id((xmin + xmax) / 2, (ymin + ymax) / 2)
    return cube.geobox(tile)


def write_dataset(
    product: Mapping[str, Any], tile: str, geobox: GeoBox, times: Sequence[str], folder: Path
) -> tuple[Path, dict[str, Any]]:
    """Write a dataset of made pixels; give its EO3 document, and where that would be."""
    name = f"{product['name']}_{tile or 'whole'}_{times[0][:10]}"
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    seed = [*name.encode()]
    for number, band in enumerate(product["measurements"]):
        _write_cog(
            target / f"{band['name']}.tif", band, geobox, np.random.default_rng([*seed, number])
        )
    return target / "doc.yaml", describe_dataset(product, name, tile, geobox, times)


def describe_dataset(
    product: Mapping[str, Any], name: str, tile: str, geobox: GeoBox, times: Sequence[str]
) -> dict[str, Any]:
    """Give the EO3 document of a dataset with a file for each band beside it."""
    ring = geobox.extent.exterior.coords
    return {
        "$schema": "https://schemas.opendatacube.org/dataset",
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
        "label": name,
        "product": {"name": product["name"]},
        "crs": str(geobox.crs) if geobox.crs.epsg else geobox.crs.to_wkt(),
        "geometry": {"type": "Polygon", "coordinates": [[list(xy) for xy in ring]]},
        "grids": {"default": {"shape": list(geobox.shape), "transform": list(geobox.affine)}},
        "properties": {
            "datetime": times[0],
            "dtr:start_datetime": times[0],
            "dtr:end_datetime": times[1],
            "odc:processing_datetime": times[1],
            "odc:file_format": "GeoTIFF",
            "odc:region_code": tile or "000000",
        },
        "measurements": {m["name"]: {"path": f"{m['name']}.tif"} for m in product["measurements"]},
        "lineage": {},
    }


def _write_cog(
    path: Path, band: Mapping[str, Any], geobox: GeoBox, rng: np.random.Generator
) -> None:
    """Write smooth blobs with noise in the range of the band; a corner of it is nodata."""
    y, x = np.mgrid[0 : geobox.height, 0 : geobox.width] / 40.0
    phase = rng.uniform(0, 6, 2)
    wave = (np.sin(x + phase[0]) * np.cos(y + phase[1]) + 1) / 2
    low, high = _range(band)
    values = low + wave * (high - low) + rng.normal(0, (high - low) / 40, wave.shape)
    pixels = np.clip(values, low, high).astype(band["dtype"])
    pixels[: geobox.height // 4, : geobox.width // 4] = band["nodata"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.RasterioDeprecationWarning)
        with rasterio.open(
            path,
            "w",
            driver="COG",
            dtype=band["dtype"],
            nodata=band["nodata"],
            width=geobox.width,
            height=geobox.height,
            count=1,
            crs=geobox.crs.to_wkt(),
            transform=geobox.affine,
            blocksize=128,
            overview_resampling="nearest",
        ) as target:
            target.write(pixels, 1)


def _range(band: Mapping[str, Any]) -> tuple[float, float]:
    if band["dtype"] == "uint8":
        return 1, 12
    if band["name"] == "PROVENANCE":
        return 1, 366
    if not band.get("scale_factor"):
        return 5500, 21000
    return (1500, 6000) if "nir" in band.get("aliases", ()) else (100, 3300)
