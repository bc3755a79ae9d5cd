"""The grids of the Brazil Data Cube and any other regular tile grid.

A tile id is ``hhhvvv``: column from west to east, then row from north to south.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import pyproj
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox

from odc_bdc.errors import InvalidValueError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BDC_PROJ = (
    "+proj=aea +lat_0=-12 +lon_0=-54 +lat_1=-2 +lat_2=-22 "
    "+x_0=5000000 +y_0=10000000 +ellps=GRS80 +units=m +no_defs"
)
"""The CRS of both generations of BDC grids (SIRGAS 2000 / Brazil Albers)."""

BDC_CRS = CRS(BDC_PROJ)
"""`BDC_PROJ` as an `odc.geo` CRS. It has no EPSG code that every PROJ in use knows."""

_BDC_CODES = frozenset({"EPSG:10857", "EPSG:100001", "SR-ORG:100001"})
_BDC_CF = {
    "grid_mapping_name": "albers_conical_equal_area",
    "latitude_of_projection_origin": -12.0,
    "longitude_of_central_meridian": -54.0,
    "false_easting": 5000000.0,
    "false_northing": 10000000.0,
    "semi_major_axis": 6378137.0,
}

BBox: TypeAlias = tuple[float, float, float, float]
"""xmin, ymin, xmax, ymax in the units of a CRS."""


def normalise_crs(crs: Any) -> CRS:
    """Give the CRS that `crs` means, and `BDC_CRS` for every spelling of it.

    Parameters
    ----------
    crs
        Anything `odc.geo.crs.CRS` takes (EPSG code, proj string, WKT, pyproj or rasterio CRS), or
        one of the codes under which the BDC's CRS is known (``EPSG:10857``, SRID 100001), which
        many PROJ versions cannot look up.

    Raises
    ------
    InvalidValueError
        If `crs` is not a CRS.
    """
    # Not `str` of a CRS object: rasterio's searches all EPSG codes for a name first.
    text = crs.to_wkt() if hasattr(crs, "to_wkt") else str(crs).strip()
    if text.upper() in _BDC_CODES or text == "100001":
        return BDC_CRS
    try:
        known = CRS(text)
    except Exception as e:
        raise InvalidValueError(f"{text[:120]!r} is not a CRS: {e}") from e
    return BDC_CRS if _is_bdc(known) else known


def _is_bdc(crs: CRS) -> bool:
    if crs == BDC_CRS:
        return True
    if not crs.projected:
        return False
    cf: dict[str, Any] = pyproj.CRS(crs.to_wkt()).to_cf()
    parallels = cf.get("standard_parallel")
    return (
        isinstance(parallels, (tuple, list))
        and sorted(parallels) == [-22.0, -2.0]
        and all(cf.get(k) == v for k, v in _BDC_CF.items())
    )


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
    def from_dict(cls, doc: Mapping[str, Any]) -> Grid:
        """Make a user's own grid from its YAML form: name, crs, origin [x, y], tile_size [w, h]."""
        missing = [k for k in ("name", "crs", "origin", "tile_size") if k not in doc]
        if missing:
            raise InvalidValueError(f"grid {dict(doc)!r} lacks {', '.join(missing)}")
        x, y = (float(v) for v in doc["origin"])
        w, h = (float(v) for v in doc["tile_size"])
        if w <= 0 or h <= 0:
            raise InvalidValueError(
                f"grid {doc['name']}: tile_size must be positive, not {w} x {h}"
            )
        return cls(str(doc["name"]), str(normalise_crs(doc["crs"])), (x, y), (w, h))

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

    def tile_id(self, x: float, y: float) -> str:
        """Give the tile that holds a point in the grid's CRS; west and north edges belong to it."""
        (x0, y0), (w, h) = self.origin, self.tile_size
        return _format_tile_id(math.floor((x - x0) / w), math.floor((y0 - y) / h), self.name)

    def tile_ids(self, bbox: BBox) -> Iterator[str]:
        """Give the tiles that share an area with `bbox` (in the grid's CRS), row by row.

        Overlaps thinner than a millionth of a tile are taken for rounding of the coordinates.
        """
        xmin, ymin, xmax, ymax = bbox
        (x0, y0), (w, h) = self.origin, self.tile_size
        eps = 1e-6
        columns = range(math.floor((xmin - x0) / w + eps), math.ceil((xmax - x0) / w - eps))
        rows = range(math.floor((y0 - ymax) / h + eps), math.ceil((y0 - ymin) / h - eps))
        for row in rows:
            for column in columns:
                yield _format_tile_id(column, row, self.name)


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


def _count(size: float, resolution: float) -> int:
    if not resolution > 0:
        raise InvalidValueError(f"resolution must be positive, not {resolution}")
    return max(1, round(size / resolution))


def _parse_tile_id(tile_id: str) -> tuple[int, int]:
    if len(tile_id) != 6 or not (tile_id.isascii() and tile_id.isdigit()):
        raise InvalidValueError(
            f"{tile_id!r} is not a tile id: it has six digits, hhhvvv (column, then row), as 007004"
        )
    return int(tile_id[:3]), int(tile_id[3:])


def _format_tile_id(h: int, v: int, grid: str) -> str:
    if not (0 <= h <= 999 and 0 <= v <= 999):
        raise InvalidValueError(f"column {h}, row {v} lies outside of grid {grid} (0 to 999)")
    return f"{h:03d}{v:03d}"


_V2_ORIGIN = (2624000.0, 11953600.0)
_V2_SIZES = {"SM": 105600.0, "MD": 211200.0, "LG": 422400.0}
_V1_DEGREES = {"SM": (1.5, 1.0), "MD": (3.0, 2.0), "LG": (6.0, 4.0)}

BDC_GRIDS = tuple(
    f"BDC_{size}_{version}" for version in ("V1", "V2") for size in ("SM", "MD", "LG")
)
"""The names that `bdc_grid` knows."""


@cache
def bdc_grid(name: str) -> Grid:
    """Give a grid of the Brazil Data Cube by name (see `BDC_GRIDS`).

    V2 grids are hierarchical squares in whole metres. V1 grids are the Albers images of tiles in
    degrees, measured at the equator and laid out from the image of longitude 0, latitude 0, as
    the cube-builder of 2020 did (its release 0.4 to 0.6).

    Raises
    ------
    UnknownNameError
        If there is no such grid.

    Examples
    --------
    >>> bdc_grid("BDC_LG_V2").bbox("007004")
    (5580800.0, 9841600.0, 6003200.0, 10264000.0)
    """
    if name not in BDC_GRIDS:
        raise UnknownNameError(f"{name!r} is not a BDC grid; known: {', '.join(BDC_GRIDS)}")
    _, size, version = name.split("_")
    if version == "V2":
        side = _V2_SIZES[size]
        return Grid(name, str(BDC_CRS), _V2_ORIGIN, (side, side))
    dgx, dgy = _V1_DEGREES[size]
    # The geographic side is the GRS80 ellipsoid itself: no datum shift may enter here.
    project = pyproj.Proj(BDC_PROJ)
    w = project(-54 + dgx / 2, 0)[0] - project(-54 - dgx / 2, 0)[0]
    h = project(-54, dgy / 2)[1] - project(-54, -dgy / 2)[1]
    xc, yc = project(0, 0)
    return Grid(name, str(BDC_CRS), (xc - w * 180 / dgx, yc + h * 90 / dgy), (w, h))
