"""`Grid`: where the tiles of a regular grid lie, and what pixels they have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import shapely
from affine import Affine
from odc.geo import resxy_, xy_
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox
from odc.geo.gridspec import GridSpec
from odc.geo.types import ixy_

from odc_bdc.document import Faults, check_against_schema, read_document
from odc_bdc.errors import InvalidValueError
from odc_bdc.grid.area import Area, area_in
from odc_bdc.grid.crs import normalise_crs

BBox: TypeAlias = tuple[float, float, float, float]
"""xmin, ymin, xmax, ymax in the units of a CRS."""

_LAST = 999
# Overlaps thinner than this part of a tile are taken for rounding of the coordinates.
_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Grid:
    """A regular grid of tiles.

    Attributes
    ----------
    name
        What the grid is called, for example ``BDC_LG_V2``.
    crs
        A string that `odc.geo.crs.CRS` understands; a string so that a grid can be pickled,
        hashed and written to a document.
    origin
        x and y of the top left corner of tile 000000, in CRS units.
    tile_size
        Width and height of a tile, in CRS units.
    """

    name: str
    crs: str
    origin: tuple[float, float]
    tile_size: tuple[float, float]

    @classmethod
    def from_yaml(cls, path: str | Path) -> Grid:
        """Read a user's own grid: a YAML file with name, crs, origin [x, y], tile_size [w, h].

        Raises
        ------
        InvalidValueError
            With one line per fault: file, key, value and what is allowed.
        """
        return cls._checked(*read_document(Path(path)))

    @classmethod
    def from_dict(cls, doc: Mapping[str, Any], *, where: str = "grid") -> Grid:
        """Make a grid from its YAML form; `where` names it in messages.

        Raises
        ------
        InvalidValueError
            With one line per fault: `where`, key, value and what is allowed.
        """
        return cls._checked(doc, Faults(where))

    @classmethod
    def _checked(cls, doc: Any, faults: Faults) -> Grid:
        check_against_schema(doc, "odc_bdc.grid", "grid.schema.yaml", faults)
        _check_crs(doc, faults)
        faults.check()
        x, y = map(float, doc["origin"])
        w, h = map(float, doc["tile_size"])
        return cls(doc["name"], str(normalise_crs(doc["crs"])), (x, y), (w, h))

    @property
    def odc_crs(self) -> CRS:
        """The grid's CRS as an `odc.geo` object."""
        return normalise_crs(self.crs)

    def bbox(self, tile_id: str) -> BBox:
        """Give xmin, ymin, xmax, ymax of a tile in CRS units."""
        h, v = _parse_tile_id(tile_id)
        (x0, y0), (w, s) = self.origin, self.tile_size
        return x0 + h * w, y0 - (v + 1) * s, x0 + (h + 1) * w, y0 - v * s

    def pixel_size(self, resolution: float) -> tuple[float, float]:
        """Give the true width and height of a pixel for a nominal `resolution`, both positive.

        A tile holds a whole number of pixels, ``round(size / resolution)``, so the pixels of the
        BDC's V1 grids are not square (cube-builder recomputes them likewise).
        """
        w, h = self.tile_size
        return w / _count(w, resolution), h / _count(h, resolution)

    def geobox(self, tile_id: str, resolution: float) -> GeoBox:
        """Give the pixel grid of a tile at a nominal `resolution` in CRS units."""
        w, h = self.tile_size
        xmin, _, _, ymax = self.bbox(tile_id)
        px, py = self.pixel_size(resolution)
        shape = (_count(h, resolution), _count(w, resolution))
        return GeoBox(shape, Affine(px, 0, xmin, 0, -py, ymax), self.odc_crs)

    def holds(self, geobox: GeoBox, resolution: float) -> bool:
        """Tell if the pixels of a geobox are those of the grid, whichever tiles they lie in.

        Within a thousandth of a pixel.
        """
        (px, py), (x0, y0), at = self.pixel_size(resolution), self.origin, geobox.affine
        if geobox.crs is None or normalise_crs(geobox.crs) != self.odc_crs:
            return False
        columns, rows = geobox.shape.x, geobox.shape.y
        apart = [
            ((at.a - px) * columns) / px,
            ((at.e + py) * rows) / py,
            at.b,
            at.d,
            math.remainder((at.c - x0) / px, 1),
            math.remainder((y0 - at.f) / py, 1),
        ]
        return bool(max(map(abs, apart)) < 1e-3)

    def gridspec(self, resolution: float) -> GridSpec:
        """Give the grid at a nominal `resolution` in CRS units as `odc.geo` has it.

        Its index is column, row, both from 0 and the row downwards: ``gridspec(64)[7, 4]`` is
        ``geobox("007004", 64)``. Of a point on the edge between two rows ``pt2idx`` gives the
        upper tile, `tile_id` the lower one.
        """
        return _TileGridSpec(self, resolution)

    def tile_id(self, x: float, y: float) -> str:
        """Give the tile that holds a point in the grid's CRS; west and north edges belong to it.

        Raises
        ------
        InvalidValueError
            If the point lies outside of columns and rows 0 to 999.
        """
        if not (math.isfinite(x) and math.isfinite(y)):
            raise InvalidValueError(f"x {x}, y {y} is not a point: both must be finite numbers")
        (x0, y0), (w, h) = self.origin, self.tile_size
        return format_tile_id(_bin(x, x0, w), _bin(-y, -y0, h), self.name)

    def tile_ids(self, area: Area, crs: Any = None) -> list[str]:
        """Give the tiles that share an area with `area`, row by row.

        It is the area itself that counts, not its bounding box. Overlaps thinner than a millionth
        of a tile are taken for rounding of the coordinates. What has no area, points and lines,
        counts for every tile that it touches.

        Parameters
        ----------
        area
            A bbox (xmin, ymin, xmax, ymax), a geometry of `odc.geo` or shapely, or GeoJSON.
        crs
            Of `area`. Without it a bbox is in the grid's CRS, a geometry of `odc.geo` in its own,
            and one of shapely or GeoJSON in longitude and latitude (RFC 7946).

        Raises
        ------
        InvalidValueError
            If `area` is no such thing, is empty, or has longitudes and latitudes that there are
            not.

        Examples
        --------
        >>> from odc_bdc import bdc_grid
        >>> bdc_grid("BDC_LG_V2").tile_ids((-49, -16, -48, -15), "EPSG:4326")
        ['006005', '007005']
        """
        geometry = area_in(self.odc_crs, area, crs)
        columns, rows = self._block(geometry.bounds)
        (x0, y0), (w, h) = self.origin, self.tile_size
        eps = _EPS if geometry.area > 0 else -_EPS
        v, c = (index.ravel() for index in np.meshgrid(rows, columns, indexing="ij"))
        tiles = shapely.box(
            x0 + (c + eps) * w, y0 - (v + 1 - eps) * h, x0 + (c + 1 - eps) * w, y0 - (v + eps) * h
        )
        shapely.prepare(geometry)
        hit = np.flatnonzero(shapely.intersects(geometry, tiles))
        return [format_tile_id(int(c[i]), int(v[i]), self.name) for i in hit]

    def _block(self, bounds: BBox) -> tuple[range, range]:
        """Give the columns and rows that touch bounds in the grid's CRS, and may be too many."""
        xmin, ymin, xmax, ymax = bounds
        (x0, y0), (w, h) = self.origin, self.tile_size
        return (
            _indices((xmin - x0) / w, (xmax - x0) / w),
            _indices((y0 - ymax) / h, (y0 - ymin) / h),
        )


class _TileGridSpec(GridSpec):  # type: ignore[misc]  # odc.geo has no types
    """A `GridSpec` whose tiles are those of a `Grid` to the last bit.

    `GridSpec` adds pixel sizes up, which for tiles like those of the V1 grids ends a rounding
    error beside their edges.
    """

    def __init__(self, grid: Grid, resolution: float) -> None:
        (x0, y0), (w, h) = grid.origin, grid.tile_size
        px, py = grid.pixel_size(resolution)
        super().__init__(
            grid.odc_crs,
            (_count(h, resolution), _count(w, resolution)),
            resolution=resxy_(px, -py),
            origin=xy_(x0, y0 - h),
            flipy=True,
        )
        self._grid, self._nominal = grid, resolution

    def tile_geobox(self, tile_index: Any) -> GeoBox:
        """Give the pixel grid of a tile by its column and row."""
        column, row = ixy_(tile_index).xy
        return self._grid.geobox(format_tile_id(column, row, self._grid.name), self._nominal)


def clip_geobox(geobox: GeoBox, bbox: BBox) -> GeoBox | None:
    """Cut a pixel grid to the pixels that `bbox` (same CRS) touches; None if there are none."""
    box = BoundingBox(*bbox, crs=geobox.crs)
    inverse = ~geobox.affine
    c0, r0 = inverse * (box.left, box.top)
    c1, r1 = inverse * (box.right, box.bottom)
    eps = 1e-6
    height, width = geobox.shape
    rows = max(0, math.floor(r0 + eps)), min(height, math.ceil(r1 - eps))
    columns = max(0, math.floor(c0 + eps)), min(width, math.ceil(c1 - eps))
    if rows[0] >= rows[1] or columns[0] >= columns[1]:
        return None
    return geobox[rows[0] : rows[1], columns[0] : columns[1]]


def format_tile_id(h: int, v: int, grid: str) -> str:
    """Write column and row as a tile id; `grid` is its name, for the message."""
    if not (0 <= h <= _LAST and 0 <= v <= _LAST):
        raise InvalidValueError(f"column {h}, row {v} lies outside of grid {grid} (0 to 999)")
    return f"{h:03d}{v:03d}"


def is_tile_id(text: Any) -> bool:
    """Tell if `text` has the form of a tile id: a string of six digits."""
    return isinstance(text, str) and len(text) == 6 and text.isascii() and text.isdigit()


def _parse_tile_id(tile_id: str) -> tuple[int, int]:
    if not is_tile_id(tile_id):
        raise InvalidValueError(
            f"{tile_id!r} is not a tile id: it has six digits, hhhvvv (column, then row), as 007004"
        )
    return int(tile_id[:3]), int(tile_id[3:])


def _count(size: float, resolution: float) -> int:
    if not resolution > 0:
        raise InvalidValueError(f"resolution must be positive, not {resolution}")
    return max(1, round(size / resolution))


def _bin(value: float, start: float, size: float) -> int:
    """Give the interval that holds a value; the division may err by one at the very edge."""
    index = math.floor((value - start) / size)
    if value < start + index * size:
        return index - 1
    return index + 1 if value >= start + (index + 1) * size else index


def _indices(low: float, high: float) -> range:
    first, last = math.floor(low - _EPS), math.ceil(high + _EPS)
    return range(max(0, first), min(_LAST + 1, last))


def _check_crs(doc: Any, faults: Faults) -> None:
    crs = doc.get("crs") if isinstance(doc, Mapping) else None
    if isinstance(crs, bool) or not isinstance(crs, str | int):
        return
    try:
        known = normalise_crs(crs)
    except InvalidValueError as e:
        faults.add(("crs",), str(e))
        return
    if not (known.projected or known.geographic):
        faults.add(("crs",), f"{crs!r} is neither a projected nor a geographic CRS")
