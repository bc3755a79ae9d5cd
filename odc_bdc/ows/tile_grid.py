"""Pictures of the tiles of the BDC's grids, with their ids. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from odc.geo.crs import CRS

from odc_bdc.grid import BDC_CRS, BBox, bdc_grid, published_tiles
from odc_bdc.ows.languages import Text
from odc_bdc.ows.legends import font

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL import Image

GRID_LAYERS = {
    "BDC_SM_V2": Text("BDC grid, small tiles (BDC_SM_V2)", "Grade BDC, tiles pequenos (BDC_SM_V2)"),
    "BDC_MD_V2": Text("BDC grid, medium tiles (BDC_MD_V2)", "Grade BDC, tiles médios (BDC_MD_V2)"),
    "BDC_LG_V2": Text("BDC grid, large tiles (BDC_LG_V2)", "Grade BDC, tiles grandes (BDC_LG_V2)"),
}
"""Titles of the layers; their names are those of the grids."""

STYLE = "outline"
"""The one style."""

_PER_SIDE = 16  # points along a side of a tile: straight in the grid's CRS, bent in others
_INK, _HALO = (18, 53, 91, 255), (255, 255, 255, 200)


@dataclass(frozen=True, slots=True)
class View:
    """What part of the world is shown: bounds (x first in any CRS) and size in pixels."""

    crs: CRS
    bbox: BBox
    width: int
    height: int

    def to_pixels(self, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> tuple[Any, Any]:
        """Give columns and rows of points in the CRS."""
        left, bottom, right, top = self.bbox
        return (
            (x - left) / (right - left) * self.width,
            (top - y) / (top - bottom) * self.height,
        )

    def to_world(self, column: float, row: float) -> tuple[float, float]:
        """Give x and y of the middle of a pixel."""
        left, bottom, right, top = self.bbox
        return (
            left + (column + 0.5) / self.width * (right - left),
            top - (row + 0.5) / self.height * (top - bottom),
        )


def draw_grid(grid: str, view: View) -> Image.Image:
    """Draw the published tiles of a grid: lines, and ids where there is room for them.

    Returns
    -------
    PIL.Image.Image
        RGBA, transparent where nothing is drawn.
    """
    from PIL import Image, ImageDraw  # noqa: PLC0415 (an extra)

    image = Image.new("RGBA", (view.width, view.height))
    draw = ImageDraw.Draw(image)
    tiles, rings = _outlines(grid)
    forth = BDC_CRS.transformer_to_crs(view.crs)
    columns, rows = view.to_pixels(*forth(rings[..., 0], rings[..., 1]))
    for tile, xs, ys in zip(tiles, columns, rows, strict=True):
        if not (np.isfinite(xs).all() and np.isfinite(ys).all()):
            continue
        if xs.max() < 0 or ys.max() < 0 or xs.min() > view.width or ys.min() > view.height:
            continue
        draw.line([*zip(xs, ys, strict=True)], fill=_INK, width=1)
        wide = draw.textlength(tile, font=font())
        if xs.max() - xs.min() > 1.3 * wide:
            at = (float(xs[:-1].mean()), float(ys[:-1].mean()))
            draw.text(
                at, tile, fill=_INK, font=font(), anchor="mm", stroke_width=2, stroke_fill=_HALO
            )
    return image


def tile_at(grid: str, view: View, column: int, row: int) -> str | None:
    """Give the published tile under a pixel; None if there is none."""
    x, y = view.crs.transformer_to_crs(BDC_CRS)(*view.to_world(column, row))
    if not (math.isfinite(x) and math.isfinite(y)):
        return None
    tiles, _ = _outlines(grid)
    for tile in tiles:
        left, bottom, right, top = bdc_grid(grid).bbox(tile)
        if left <= x < right and bottom < y <= top:
            return tile
    return None


def tile_features(grid: str, tile: str | None) -> list[dict[str, Any]]:
    """Give a tile as GeoJSON features, in degrees: one, or none if there is no tile."""
    if tile is None:
        return []
    tiles, rings = _outlines(grid)
    ring = rings[tiles.index(tile)]
    lon, lat = BDC_CRS.transformer_to_crs(CRS("EPSG:4326"))(ring[:, 0], ring[:, 1])
    outline = [[float(x), float(y)] for x, y in zip(lon, lat, strict=True)]
    return [
        {
            "type": "Feature",
            "properties": {"grid": grid, "tile": tile, "bbox": list(bdc_grid(grid).bbox(tile))},
            "geometry": {"type": "Polygon", "coordinates": [outline]},
        }
    ]


@cache
def _outlines(grid: str) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Give the published tiles, and their closed outlines (tile, point, xy) in the BDC's CRS."""
    tiles = published_tiles(grid)
    boxes = np.array([bdc_grid(grid).bbox(tile) for tile in tiles])
    along = np.arange(_PER_SIDE) / _PER_SIDE
    zero, one = np.zeros(_PER_SIDE), np.ones(_PER_SIDE)
    unit_x = np.concatenate([along, one, 1 - along, zero, [0.0]])
    unit_y = np.concatenate([zero, along, one, 1 - along, [0.0]])
    x = boxes[:, 0, None] + unit_x * (boxes[:, 2] - boxes[:, 0])[:, None]
    y = boxes[:, 1, None] + unit_y * (boxes[:, 3] - boxes[:, 1])[:, None]
    return tiles, np.stack([x, y], axis=-1)


@cache
def lonlat_bounds(grid: str) -> BBox:
    """Give west, south, east and north of the published tiles, in degrees."""
    _, rings = _outlines(grid)
    to_degrees = BDC_CRS.transformer_to_crs(CRS("EPSG:4326"))
    lon, lat = to_degrees(rings[..., 0].ravel(), rings[..., 1].ravel())
    return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())
