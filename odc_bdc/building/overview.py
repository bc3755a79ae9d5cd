"""Coarse images of a whole country, made of the finished tiles of a cube."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pystac
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window

from odc_bdc.building.documents import (
    band_fields,
    footprint,
    period_properties,
    projection_fields,
)
from odc_bdc.building.layout import matches
from odc_bdc.building.partial import partial_folder
from odc_bdc.building.reading import GDAL_OPTIONS
from odc_bdc.building.store import ImageStore
from odc_bdc.cog import CogWriter
from odc_bdc.errors import OdcBdcError, SceneError, first_line
from odc_bdc.indexing import (
    Failure,
    add_documents,
    dataset_document,
    read_header,
    write_document,
)
from odc_bdc.indexing.documents import DOCUMENT_SUFFIX
from odc_bdc.indexing.href import Href
from odc_bdc.indexing.known import known_images
from odc_bdc.indexing.raster import local_path, open_raster
from odc_bdc.naming import period_folder

if TYPE_CHECKING:
    from datacube import Datacube

    from odc_bdc.cube import Measurement
    from odc_bdc.planning import OverviewTask, OverviewTile

Rows: TypeAlias = slice

_STRIP = 512
"""Rows of an overview that are made at once."""
_MOST_ROWS = 2048
"""Rows of a tile that are read at once."""


@dataclass(slots=True)
class OverviewReport:
    """What became of the overviews of one run."""

    built: int = 0
    unchanged: int = 0
    archived: int = 0
    failed: list[Failure] = field(default_factory=list)


def build_overviews(
    dc: Datacube,
    tasks: Sequence[OverviewTask],
    root: Path | ImageStore,
    *,
    now: Callable[[], datetime],
    progress: Callable[[OverviewTask], None] | None = None,
) -> OverviewReport:
    """Make and index overviews; older versions of the same period are archived.

    What is there already is left alone. One that fails is reported with its reason.

    Parameters
    ----------
    tasks
        From `odc_bdc.planning.plan_overviews`, of one cube; the index has their product.
    root
        Where the cubes are; a path stands for the root there.
    now
        The clock, for the time of processing.
    progress
        Called with each task that is finished.
    """
    store = ImageStore.at(root)
    store.remove_partial()
    report = OverviewReport()
    known = known_images(dc, tasks[0].product) if tasks else []
    for task in tasks:
        others = {i.id for i in known if i.start == task.period.start} - {task.id}
        try:
            if not store.storage.exists(document_path(task)):
                write_overview(task, store, processed=now())
            uri = store.storage.uri(document_path(task))
            [record] = add_documents(dc, [uri], replacing={uri: others})
            if record.status == "failed":
                raise SceneError(record.reason or "the index refuses it")
            report.archived += len(others)
            report.built += record.status != "unchanged"
            report.unchanged += record.status == "unchanged"
        except OdcBdcError as e:
            report.failed.append(Failure(task.item_id, str(e)))
        if progress:
            progress(task)
    return report


def document_path(task: OverviewTask) -> str:
    """Give where the EO3 document belongs: ``<product>/<period>/<start of the id>/<item>``."""
    folder = f"{task.product}/{period_folder(task.period)}/{str(task.id)[:8]}"
    return f"{folder}/{task.item_id}{DOCUMENT_SUFFIX}"


def is_of_overview(path: str, product: str) -> bool:
    """Tell whether a file lies and is called as one of an overview of a product."""
    return matches(path, f"{product}/*/*/{product}_*")


def write_overview(task: OverviewTask, root: Path | ImageStore, *, processed: datetime) -> str:
    """Make an overview and publish its folder whole; give the address of its EO3 document.

    Raises
    ------
    SceneError
        If a tile cannot be read, or `root` cannot be written, a full disk included; nothing stays
        behind then.
    """
    store = ImageStore.at(root)
    storage, document = store.storage, document_path(task)
    to, _, name = document.rpartition("/")
    try:
        with rasterio.Env(**GDAL_OPTIONS), partial_folder(store.work, task.id) as partial:
            _write_files(task, partial, name, processed)
            # Same id, same pixels: where another was quicker, its folder is as good as ours.
            if not storage.publish(partial, to, last=name) and not storage.exists(document):
                raise SceneError(f"{storage.place(to)}: is there already, and is no overview")
    except OdcBdcError:
        raise
    except OSError as e:
        raise SceneError(f"{storage.place(to)}: cannot be written: {e.strerror or e}") from e
    return storage.uri(document)


def overview_strips(
    task: OverviewTask, measurement: Measurement
) -> Iterator[tuple[Rows, npt.NDArray[Any]]]:
    """Give an overview of a band from north to south, some rows at a time.

    A pixel is that one of the cube's pixels below it which lies at its north-western corner, as in
    the overviews within the files (nearest): so these are read, as far as they have the same
    pixels, and where they have not, the files' own.

    Returns
    -------
    Iterator
        Rows, and their pixels (y, x) over the full width; the band's missing value, or 0, where
        no tile is.

    Raises
    ------
    SceneError
        If a file cannot be read.
    """
    height, width = task.geobox.shape
    for start in range(0, height, _STRIP):
        rows = slice(start, min(start + _STRIP, height))
        out = np.full((rows.stop - start, width), measurement.missing or 0, measurement.dtype)
        for tile in task.tiles:
            _paint(task, tile, measurement.name, rows, out)
        yield rows, out


def _paint(
    task: OverviewTask, tile: OverviewTile, band: str, rows: Rows, out: npt.NDArray[Any]
) -> None:
    """Put the pixels of a tile into some rows of an overview."""
    (top, left), k = task.corner, task.factor
    # Of the overview's pixels, those whose corners lie in the tile, counted from the grid's origin.
    first, last = -(-tile.row // k), -(-(tile.row + tile.shape[0]) // k)
    begin, end = -(-tile.column // k), -(-(tile.column + tile.shape[1]) // k)
    first, last = max(first, top + rows.start), min(last, top + rows.stop)
    if first >= last or begin >= end:
        return
    address = tile.file(band)
    path = str(local_path(address) or address)
    at = first * k - tile.row, begin * k - tile.column
    try:
        pixels = _every(path, k, at, (last - first, end - begin))
    except RasterioError as e:
        raise SceneError(f"{path}: cannot be read: {first_line(e)}") from e
    row, column = first - top - rows.start, begin - left
    out[row : row + pixels.shape[0], column : column + pixels.shape[1]] = pixels


def _every(path: str, step: int, at: tuple[int, int], shape: tuple[int, int]) -> npt.NDArray[Any]:
    """Read every n-th row and column of a file, from a row and column on."""
    href = Href.parse(path)
    with open_raster(href) as src:
        level, f = _level(src, step, at)
        dtype = src.dtypes[0]
    row, column, step = at[0] // f, at[1] // f, step // f
    out = np.empty(shape, dtype)
    at_once = max(1, _MOST_ROWS // step)
    with open_raster(href, overview=level) as src:
        for i in range(0, shape[0], at_once):
            part = out[i : i + at_once]
            high, wide = ((n - 1) * step + 1 for n in part.shape)
            part[:] = src.read(1, window=Window(column, row + i * step, wide, high))[::step, ::step]
    return out


def _level(src: Any, step: int, at: Sequence[int]) -> tuple[int | None, int]:
    """Give the coarsest overview of a file that has all pixels wanted, and its factor.

    It is every f-th pixel of the file only where halving never met an odd size.
    """
    best: tuple[int | None, int] = (None, 1)
    for number, f in enumerate(src.overviews(1)):
        if all(n % f == 0 for n in (step, *at, src.height, src.width)):
            best = number, f
    return best


def _write_files(task: OverviewTask, folder: Path, document: str, processed: datetime) -> None:
    files = {}
    for measurement in task.cube.outputs:
        path = folder / f"{task.item_id}_{measurement.name}.tif"
        _write_band(task, measurement, path)
        files[measurement.name] = read_header(str(path))
    properties = {
        **period_properties(task.period, processed),
        "odc:product_family": "overview",
        "eo:platform": task.cube.platform,
        "eo:instrument": task.cube.instrument,
        "eo:gsd": task.factor * task.cube.resolution,
        "odc_bdc:tiles": len(task.tiles),
    }
    properties = {key: value for key, value in properties.items() if value is not None}
    location = folder / document
    write_document(
        dataset_document(
            dataset_id=task.id,
            product=task.product,
            label=task.item_id,
            files=files,
            properties=properties,
            location=location,
            lineage={"tiles": [tile.id for tile in task.tiles]},
        ),
        location,
    )
    item = overview_item(task, processed)
    (folder / f"{task.item_id}.json").write_text(
        json.dumps(item.to_dict(include_self_link=False), indent=2) + "\n", "utf-8"
    )


def _write_band(task: OverviewTask, measurement: Measurement, path: Path) -> None:
    with CogWriter(
        path,
        task.geobox,
        measurement.dtype,
        nodata=measurement.missing,
        description=measurement.name,
    ) as cog:
        for rows, strip in overview_strips(task, measurement):
            cog.write((rows, slice(0, strip.shape[1])), strip)


def overview_item(task: OverviewTask, processed: datetime) -> pystac.Item:
    """Make the STAC item of an overview, its files beside it."""
    cube = task.cube
    resolution = task.factor * cube.resolution
    geometry, bbox = footprint(task.geobox)
    item = pystac.Item(
        id=task.item_id,
        geometry=geometry,
        bbox=bbox,
        datetime=task.period.start_datetime,
        start_datetime=task.period.start_datetime,
        end_datetime=task.period.end_datetime,
        stac_extensions=[
            "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
            "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
            "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
        ],
        properties={
            "created": processed.isoformat().replace("+00:00", "Z"),
            "gsd": resolution,
            "bdc:tiles": [tile.tile_id for tile in task.tiles],
            "bdc:composite_function": cube.function.name,
            **projection_fields(task.geobox),
            **({"platform": cube.platform} if cube.platform else {}),
        },
    )
    for measurement in cube.outputs:
        asset = pystac.Asset(
            href=f"./{task.item_id}_{measurement.name}.tif",
            title=measurement.name,
            media_type=pystac.MediaType.COG,
            roles=["data", "overview"],
            extra_fields=band_fields(measurement, resolution),
        )
        item.add_asset(measurement.name, asset)
    return item
