"""The tile matrix sets of the WMTS.

datacube-ows makes matrices of ``2**z`` tiles from the origin; so level 0 must hold the whole
extent, or QGIS draws nothing. Each set is there with tiles of 256 pixels and with tiles of 512,
which want a quarter of the requests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from odc_bdc.grid import BBox, bdc_grid
from odc_bdc.ows.crs import BDC_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

TILE = 256
"""Width and height of a tile in pixels, where a set says no other."""

# OGC 07-057r7, table in annex E: the standardised size of a pixel on a screen, in metres.
SCREEN_PIXEL = 0.00028
METRES_PER_DEGREE = 6378137.0 * math.pi / 180


@dataclass(frozen=True, slots=True)
class TileMatrixSet:
    """Tiles at several scales, each halving the pixel size of the one before.

    Attributes
    ----------
    name, crs
        Identifier, and key of a published CRS; coordinates are x, y whatever the CRS's axis order.
    origin
        x and y of the top left corner of tile 0, 0 of all levels.
    pixel
        Pixel size at level 0, in CRS units.
    levels
        Number of scales.
    metres
        Metres per CRS unit, after which scale denominators are computed.
    wide
        Level 0 has two tiles side by side instead of one.
    scale_set
        URN of the well-known scale set, if it is one.
    size
        Width and height of a tile in pixels.
    """

    name: str
    crs: str
    origin: tuple[float, float]
    pixel: float
    levels: int
    metres: float = 1.0
    wide: bool = False
    scale_set: str | None = None
    size: int = TILE

    def with_large_tiles(self) -> TileMatrixSet:
        """Give the set with tiles of 512 pixels, ``NAME_512``: level z has the pixels of z + 1.

        Examples
        --------
        >>> WEB_MERCATOR.with_large_tiles().bbox(3, 4, 2) == WEB_MERCATOR.bbox(3, 4, 2)
        True
        """
        return replace(
            self,
            name=f"{self.name}_512",
            pixel=self.pixel / 2,
            levels=self.levels - 1,
            scale_set=None,
            size=2 * TILE,
        )

    def to_ows(self) -> dict[str, Any]:
        """Write the set as datacube-ows wants it: numbers must be floats."""
        scales = [self.pixel * self.metres / SCREEN_PIXEL / 2**z for z in range(self.levels)]
        doc: dict[str, Any] = {
            "crs": self.crs,
            "matrix_origin": [float(v) for v in self.origin],
            "tile_size": [self.size, self.size],
            "scale_set": scales,
            "unit_coefficients": [1 / self.metres, -1 / self.metres],
            "matrix_exponent_initial_offsets": [1 if self.wide else 0, 0],
        }
        return doc | ({"wkss": self.scale_set} if self.scale_set else {})

    def level_at(self, pixel: float) -> int:
        """Give the coarsest level whose pixels are not larger than `pixel`, else the finest."""
        level = math.ceil(math.log2(self.pixel / pixel) - 1e-9)
        return min(max(level, 0), self.levels - 1)

    def tile_at(self, level: int, x: float, y: float) -> tuple[int, int] | None:
        """Give row and column of the tile that holds a point; None if the set has none there."""
        side = self._side(level)
        row, column = (
            math.floor((self.origin[1] - y) / side),
            math.floor((x - self.origin[0]) / side),
        )
        rows, columns = 2**level, 2 ** (level + self.wide)
        return (row, column) if 0 <= row < rows and 0 <= column < columns else None

    def bbox(self, level: int, row: int, column: int) -> BBox:
        """Give xmin, ymin, xmax, ymax of a tile."""
        side = self._side(level)
        x, y = self.origin[0] + column * side, self.origin[1] - row * side
        return x, y - side, x + side, y

    def _side(self, level: int) -> float:
        return float(self.pixel / 2**level * self.size)


_SHIFT = 256 * 64.0 * TILE
_GRID_X, _GRID_Y = bdc_grid("BDC_LG_V2").origin

WEB_MERCATOR = TileMatrixSet(
    "WholeWorld_WebMercator",
    "EPSG:3857",
    (-20037508.3427892, 20037508.3427892),
    559082264.0287178 * SCREEN_PIXEL,
    levels=19,
    scale_set="urn:ogc:def:wkss:OGC:1.0:GoogleMapsCompatible",
)
"""As OGC 07-057r7, annex E.4."""

CRS84 = TileMatrixSet(
    "WorldCRS84Quad",
    "OGC:CRS84",
    (-180.0, 90.0),
    180 / TILE,
    levels=18,
    metres=METRES_PER_DEGREE,
    wide=True,
)
"""EPSG:4326 with longitude first: of a set with latitude first, datacube-ows prints the corner in
an order that GDAL and QGIS do not expect."""

BDC = TileMatrixSet(
    "BDC_Albers",
    BDC_KEY,
    (_GRID_X - _SHIFT, _GRID_Y + _SHIFT),
    65536.0,
    levels=14,
)
"""The BDC's CRS at 64 m times a power of two (level 10 is 64 m). The origin of the V2 grids is a
corner of tiles from level 2 on, so at level 10 pixels are those of the cubes of 64 m. Level 0 holds
what of America and Western Europe the projection can show, not only Brazil."""

_SETS = (WEB_MERCATOR, CRS84, BDC)
TILE_MATRIX_SETS = (*_SETS, *(s.with_large_tiles() for s in _SETS))


def map_of_tile(
    wmts_args_to_wms: Callable[..., dict[str, Any]], args: Any, cfg: Any
) -> dict[str, Any]:
    """Turn a GetTile or GetFeatureInfo of WMTS into the same of WMS.

    Parameters
    ----------
    wmts_args_to_wms
        The function of datacube-ows that does so, for a map of 256 x 256 pixels whatever the set
        says; here it has the size of the set's tiles.
    args
        Parameters of the request.
    cfg
        The `OWSConfig` of datacube-ows.
    """
    found = wmts_args_to_wms(args, cfg)
    tms = cfg.tile_matrix_sets.get(args.get("tilematrixset"))
    if tms is not None:
        found["width"], found["height"] = tms.tile_size
    return found
