"""The pixel grid of an item's files: told by the item, or that of its tile."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from odc.geo.geom import box as box_geometry

from odc_bdc.errors import InvalidValueError, SceneError
from odc_bdc.grid import BBox, Grid, is_tile_id
from odc_bdc.indexing.crs import crs_name

if TYPE_CHECKING:
    from odc_bdc.indexing.recipe import IngestRecipe

Shape = tuple[int, int]
Transform = tuple[float, float, float, float, float, float]
_LARGEST = 1 << 24
_SLACK = 0.05
_CRS_FIELDS = ("proj:code", "proj:epsg", "proj:wkt2", "proj:projjson")
_FIELDS = frozenset({*_CRS_FIELDS, "proj:shape", "proj:transform", "proj:bbox"})


@dataclass(frozen=True, slots=True)
class PixelGrid:
    """Where the pixels of a file lie.

    Attributes
    ----------
    shape
        Rows and columns.
    transform
        As `affine.Affine` has it.
    crs
        EPSG code, or a text that `odc.geo` reads.
    """

    shape: Shape
    transform: Transform
    crs: str


@dataclass(frozen=True, slots=True)
class Place:
    """What an item tells of where it lies: its tile, and its box in degrees."""

    tile: str | None
    bbox: BBox | None


@dataclass(frozen=True, slots=True)
class Projection:
    """What STAC's projection extension tells, of an item or of an asset; None where it is silent.

    Attributes
    ----------
    crs, shape, transform
        As in `PixelGrid`.
    bbox
        xmin, ymin, xmax, ymax in the CRS.
    """

    crs: str | None = None
    shape: Shape | None = None
    transform: Transform | None = None
    bbox: BBox | None = None

    @classmethod
    def told_by(cls, fields: Mapping[str, Any], where: str) -> Projection:
        """Read the fields of an item or an asset; `SceneError` if they cannot be."""
        return cls(
            _crs(fields, where),
            _shape(fields, where),
            _transform(fields, where),
            _bbox(fields, where),
        )

    def or_of(self, item: Projection) -> Projection:
        """Give what an asset tells, and else what its item does."""
        return Projection(
            self.crs or item.crs,
            self.shape or item.shape,
            self.transform or item.transform,
            self.bbox or item.bbox,
        )

    @property
    def grid(self) -> PixelGrid | None:
        """The pixel grid, if enough is told."""
        if self.crs is None or self.shape is None:
            return None
        if self.transform is not None:
            return PixelGrid(self.shape, self.transform, self.crs)
        return None if self.bbox is None else _covering(self.bbox, self.shape, self.crs)


def item_grid(
    asset: Mapping[str, Any], item: Projection, place: Place, recipe: IngestRecipe, where: str
) -> tuple[Shape | None, PixelGrid | None]:
    """Give the shape that an item tells of an asset, and its pixel grid, if they can be known.

    STAC's projection extension comes first, at the asset, then at the item; else the grid follows
    from the tile and the number of its pixels: ``bdc:raster_size``, or the recipe's resolution. A
    tile is believed only where the item's box lies in it: the BDC's items of early 2020 have ids of
    tiles that lay elsewhere then.

    Raises
    ------
    SceneError
        If what is told cannot be.
    """
    told = item
    if not _FIELDS.isdisjoint(asset):
        told = Projection.told_by(asset, where).or_of(item)
    if (grid := told.grid) is not None:
        return told.shape, grid
    shape = told.shape or _raster_size(asset, where)
    if recipe.grid is None or not is_tile_id(place.tile):
        return shape, None
    tile = str(place.tile)
    if place.bbox and not _is_in(place.bbox, _tile_box(recipe.grid, tile)):
        return shape, None
    grid = _tile_grid(recipe.grid, tile, shape or recipe.resolution)
    if told.crs is not None and told.crs != grid.crs:
        raise SceneError(
            f"{where}: is in {told.crs[:80]}; grid {recipe.grid.name} is in {grid.crs}"
        )
    return shape, grid


def box_of(value: Any) -> BBox | None:
    """Give an item's ``bbox``, without heights; None if it is none."""
    numbers = _numbers(value)
    if len(numbers) not in {4, 6}:
        return None
    (xmin, ymin), (xmax, ymax) = numbers[:2], numbers[len(numbers) // 2 :][:2]
    return xmin, ymin, xmax, ymax


def shown(value: Any) -> str:
    """Show a value of an item in a message, however long or deep it is."""
    try:
        text = ascii(value)
    except RecursionError:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def size_of(value: Any) -> int | None:
    """Give a number of bytes or pixels as a whole number; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if is_finite(value) and value > 0 and value == int(value) else None


def is_finite(value: float) -> bool:
    """Tell if a number is one that a file can hold; JSON has integers of any length."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


@lru_cache(maxsize=4096)
def _tile_grid(grid: Grid, tile: str, pixels: Shape | float | None) -> PixelGrid:
    if not isinstance(pixels, tuple):
        pixels = tuple(grid.geobox(tile, float(pixels or 0)).shape)
    rows, columns = pixels
    return _covering(grid.bbox(tile), (rows, columns), crs_name(grid.crs))


def _covering(box: BBox, shape: Shape, crs: str) -> PixelGrid:
    xmin, ymin, xmax, ymax = box
    rows, columns = shape
    transform = ((xmax - xmin) / columns, 0.0, xmin, 0.0, -(ymax - ymin) / rows, ymax)
    return PixelGrid(shape, transform, crs)


@lru_cache(maxsize=4096)
def _tile_box(grid: Grid, tile: str) -> BBox:
    extent = box_geometry(*grid.bbox(tile), grid.odc_crs)
    # The edges of a tile are curves in degrees.
    lonlat = extent.to_crs("EPSG:4326", resolution=extent.boundingbox.span_x / 16)
    xmin, ymin, xmax, ymax = lonlat.boundingbox
    return xmin, ymin, xmax, ymax


def _is_in(box: BBox, tile: BBox) -> bool:
    """Tell whether a box lies in a tile; footprints are rounded, and hulls lie a little outside."""
    slack = _SLACK * (tile[2] - tile[0]), _SLACK * (tile[3] - tile[1])
    return all(
        box[i] >= tile[i] - slack[i] and box[i + 2] <= tile[i + 2] + slack[i] for i in (0, 1)
    )


def _crs(told: Mapping[str, Any], where: str) -> str | None:
    for key in _CRS_FIELDS:
        value = told.get(key)
        # null is STAC's way to say that there is no code.
        if value is None or value == "":
            continue
        if isinstance(value, bool) or not isinstance(value, str | int | Mapping):
            raise SceneError(f"{where}: its CRS cannot be read: {key} is {shown(value)}")
        try:
            return crs_name(f"EPSG:{value}" if isinstance(value, int) else value)
        except InvalidValueError as e:
            raise SceneError(f"{where}: its CRS cannot be read: {e}") from e
    return None


def _shape(fields: Mapping[str, Any], where: str) -> Shape | None:
    told = fields.get("proj:shape")
    if told is None:
        return None
    sizes = [size_of(n) for n in told] if isinstance(told, list) else []
    return _checked(sizes, f"{where}: proj:shape {shown(told)}")


def _raster_size(asset: Mapping[str, Any], where: str) -> Shape | None:
    told = asset.get("bdc:raster_size")
    if told is None:
        return None
    sizes = [size_of(told.get(k)) for k in ("y", "x")] if isinstance(told, Mapping) else []
    return _checked(sizes, f"{where}: bdc:raster_size {shown(told)}")


def _checked(sizes: list[int | None], where: str) -> Shape:
    rows, columns = sizes if len(sizes) == 2 else (None, None)
    if rows is None or columns is None or max(rows, columns) > _LARGEST:
        raise SceneError(f"{where} is not a number of rows and columns")
    return rows, columns


def _transform(fields: Mapping[str, Any], where: str) -> Transform | None:
    told = fields.get("proj:transform")
    if told is None:
        return None
    numbers = _numbers(told)
    if len(numbers) not in {6, 9}:
        raise SceneError(f"{where}: proj:transform {shown(told)} is not 6 or 9 numbers")
    a, b, c, d, e, f = numbers[:6]
    if a * e - b * d == 0:
        raise SceneError(f"{where}: proj:transform {shown(told)} gives pixels no size")
    return a, b, c, d, e, f


def _bbox(fields: Mapping[str, Any], where: str) -> BBox | None:
    told = fields.get("proj:bbox")
    if told is None:
        return None
    numbers = _numbers(told)
    if len(numbers) != 4 or numbers[0] >= numbers[2] or numbers[1] >= numbers[3]:
        raise SceneError(f"{where}: proj:bbox {shown(told)} is not xmin, ymin, xmax, ymax")
    xmin, ymin, xmax, ymax = numbers
    return xmin, ymin, xmax, ymax


def _numbers(told: Any) -> list[float]:
    given = told if isinstance(told, list) else []
    plain = [n for n in given if isinstance(n, int | float) and not isinstance(n, bool)]
    finite = [float(n) for n in plain if abs(n) < 1e15]
    return finite if len(finite) == len(given) else []
