"""What coarse images of a whole country there are to make of a cube's tiles."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from affine import Affine
from datacube.utils.uris import uri_resolve
from odc.geo.geobox import GeoBox

from odc_bdc.cube import CubeSpec
from odc_bdc.errors import InvalidValueError
from odc_bdc.formats import LIVE_FORMAT
from odc_bdc.indexing.spatial import find_near
from odc_bdc.naming import dataset_id, period_folder
from odc_bdc.planning.plan import whole_periods
from odc_bdc.planning.scenes import begin
from odc_bdc.timeline import Period

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from datacube import Datacube
    from datacube.model import Dataset

OVERVIEW_VERSION = "1"
"""Changes when the same tiles would give other pixels."""


@dataclass(frozen=True, slots=True)
class OverviewTile:
    """A finished image of a cube, as a part of an overview.

    Attributes
    ----------
    row, column
        Of its north-western pixel, counted from the origin of the cube's grid.
    shape
        Rows and columns.
    files
        Pairs of a band and the address of its file.
    """

    id: uuid.UUID
    tile_id: str
    row: int
    column: int
    shape: tuple[int, int]
    files: tuple[tuple[str, str], ...]

    def file(self, band: str) -> str:
        """Give the address of a band's file."""
        return dict(self.files)[band]


@dataclass(frozen=True)
class OverviewTask:
    """One overview: a period of a cube, and its finished tiles, sorted by id of the tile.

    Attributes
    ----------
    factor
        Pixels of the cube along the side of one of the overview.
    """

    # No slots: what follows from the fields is worked out once.

    cube: CubeSpec
    factor: int
    period: Period
    tiles: tuple[OverviewTile, ...]

    @property
    def product(self) -> str:
        """Name of the ODC product."""
        return overview_name(self.cube.name)

    @property
    def item_id(self) -> str:
        """Name of the image: ``<cube>_overview_<start>_<end>``."""
        return f"{self.product}_{period_folder(self.period)}"

    @cached_property
    def corner(self) -> tuple[int, int]:
        """Row and column of the north-western pixel, counted from the origin of the grid."""
        k = self.factor
        return min(t.row // k for t in self.tiles), min(t.column // k for t in self.tiles)

    @cached_property
    def geobox(self) -> GeoBox:
        """Pixels of the overview: those that tiles have a part of, and what lies between."""
        k, (row, column) = self.factor, self.corner
        rows = max(-(-(t.row + t.shape[0]) // k) for t in self.tiles) - row
        columns = max(-(-(t.column + t.shape[1]) // k) for t in self.tiles) - column
        (x0, y0), (px, py) = self.cube.grid.origin, self.cube.grid.pixel_size(self.cube.resolution)
        place = Affine(k * px, 0, x0 + column * k * px, 0, -k * py, y0 - row * k * py)
        return GeoBox((rows, columns), place, self.cube.grid.odc_crs)

    @cached_property
    def id(self) -> uuid.UUID:
        """Id of the dataset, which follows from the tiles and the resolution."""
        return dataset_id(
            "overview",
            OVERVIEW_VERSION,
            self.cube.name,
            str(self.factor),
            self.period.label,
            *sorted(str(tile.id) for tile in self.tiles),
        )


def overview_name(cube: str) -> str:
    """Name the product of a cube's overviews."""
    return f"{cube}_overview"


def overview_factor(cube: CubeSpec, resolution: float) -> int:
    """Give how many pixels of a cube make one of an overview, along a side.

    Raises
    ------
    InvalidValueError
        If it is no whole number of them, or one.
    """
    ratio = resolution / cube.resolution if math.isfinite(resolution) else 0.0
    factor = max(2, round(ratio))
    if abs(ratio - factor) > 1e-6 * factor:
        raise InvalidValueError(
            f"resolution {resolution:g}: must be a whole multiple of {cube.resolution:g}, the "
            f"cube's own, such as {factor * cube.resolution:g}"
        )
    return factor


def overview_product(cube: CubeSpec, factor: int) -> dict[str, Any]:
    """Render the ODC product document of a cube's overviews."""
    document = cube.to_product()
    name = overview_name(cube.name)
    px, py = (factor * size for size in cube.grid.pixel_size(cube.resolution))
    x0, y0 = cube.grid.origin
    return {
        **document,
        "name": name,
        "description": f"Overview at {factor * cube.resolution:g} of {document['description']}",
        "metadata": {"product": {"name": name}},
        "load": {
            **document["load"],
            "resolution": {"x": px, "y": -py},
            "align": {"x": x0 % px, "y": y0 % py},
        },
    }


def plan_overviews(
    dc: Datacube, cube: CubeSpec, start: date, end: date, factor: int
) -> list[OverviewTask]:
    """Give the overviews that can be made of the images in the index.

    Parameters
    ----------
    start, end
        Both inclusive. Only periods that lie wholly between them are meant.
    factor
        See `overview_factor`.

    Returns
    -------
    list
        Sorted by period; periods without an image are left out.

    Raises
    ------
    InvalidValueError
        If no whole period lies in the range, or the index does not have the cube.
    """
    periods = {period.start: period for period in whole_periods(cube, start, end)}
    if dc.index.products.get_by_name(cube.name) is None:
        raise InvalidValueError(
            f"the index has no cube {cube.name}; build it with `odc-bdc cube build`"
        )
    ordered = sorted(periods)
    time = (periods[ordered[0]].start_datetime, periods[ordered[-1]].end_datetime)
    found: dict[Period, list[Dataset]] = {}
    for dataset in find_near(dc, cube.name, None, time=time):
        if dataset.metadata_doc["properties"].get("odc:file_format") == LIVE_FORMAT:
            continue  # it has no files
        if period := periods.get(begin(dataset).date()):
            found.setdefault(period, []).append(dataset)
    return [
        OverviewTask(cube, factor, period, _tiles(cube, datasets))
        for period, datasets in sorted(found.items())
    ]


def _tiles(cube: CubeSpec, datasets: Iterable[Dataset]) -> tuple[OverviewTile, ...]:
    # For an instant a tile has two images: the new one, and the old one about to be archived.
    newest = {
        _region(d): d for d in sorted(datasets, key=lambda d: (_processed(d), d.metadata_doc["id"]))
    }
    return tuple(_tile(cube, tile, dataset) for tile, dataset in sorted(newest.items()))


def _region(dataset: Dataset) -> str:
    return str(dataset.metadata_doc["properties"].get("odc:region_code", ""))


def _processed(dataset: Dataset) -> str:
    return str(dataset.metadata_doc["properties"].get("odc:processing_datetime", ""))


def _tile(cube: CubeSpec, tile_id: str, dataset: Dataset) -> OverviewTile:
    doc = dataset.metadata_doc
    grid = doc["grids"]["default"]
    (x0, y0), (px, py) = cube.grid.origin, cube.grid.pixel_size(cube.resolution)
    left, top = grid["transform"][2], grid["transform"][5]
    rows, columns = grid["shape"]
    return OverviewTile(
        uuid.UUID(doc["id"]),
        tile_id,
        round((y0 - top) / py),
        round((left - x0) / px),
        (rows, columns),
        tuple(
            (m.name, uri_resolve(dataset.uri, doc["measurements"][m.name]["path"]))
            for m in cube.outputs
        ),
    )
