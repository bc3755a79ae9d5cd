"""A picture of tiles in the plane of their grid, for BDC grids with the outline of Brazil."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shapely

from odc_bdc.cli._picture import new_figure, save_figure
from odc_bdc.grid import BDC_GRIDS, BBox, Grid, area_in, bdc_grid, published_tiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_IDS = 150
_CELLS = "BDC_SM_V2"
_INK, _LAND, _THIN, _SHORE = "#12355b", "#e9efdf", "#a3b194", "#5d6d4e"


def write_grid_picture(grid: Grid, tiles: Sequence[str], path: Path) -> None:
    """Draw tiles, with their ids if they are few enough to be read.

    Behind the tiles of a BDC grid lies Brazil, and behind those of the coarser V2 grids also the
    published tiles of BDC_SM_V2.

    Parameters
    ----------
    path
        PNG file to write.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    InvalidValueError
        If the file cannot be written.
    """
    boxes = [grid.bbox(tile) for tile in tiles]
    left, bottom = (min(box[i] for box in boxes) for i in (0, 1))
    right, top = (max(box[i] for box in boxes) for i in (2, 3))
    tall = (top - bottom) / (right - left)
    figure = new_figure(9, min(max(9 * tall, 3), 18) + 0.6, dpi=110, layout="constrained")
    import matplotlib as mpl

    with mpl.rc_context({"font.family": "DejaVu Sans"}):
        ax = figure.subplots()
        title = _background(ax, grid)
        _draw_tiles(ax, grid, tiles)
        ax.set_title(f"Tiles of {grid.name} ({len(tiles)}){title}", fontsize=13, color=_INK)
        pad = 0.02 * max(right - left, top - bottom)
        ax.set(xlim=(left - pad, right + pad), ylim=(bottom - pad, top + pad), aspect="equal")
        ax.set_axis_off()
    save_figure(figure, path)


def _background(ax: Axes, grid: Grid) -> str:
    """Draw what lies behind the tiles; give what the title is to say of it."""
    if grid.name not in BDC_GRIDS:
        return ""
    outline = (files("odc_bdc.product_defs") / "grids" / "brazil.geojson").read_text("utf-8")
    for part in shapely.get_parts(area_in(grid.odc_crs, json.loads(outline))):
        ax.fill(*part.exterior.xy, facecolor=_LAND, edgecolor=_SHORE, linewidth=0.8)
    if grid.name not in ("BDC_MD_V2", "BDC_LG_V2"):
        return ""
    cells = bdc_grid(_CELLS)
    listed = published_tiles(_CELLS)
    _outlines(ax, (cells.bbox(t) for t in listed), edgecolor=_THIN, linewidth=0.5)
    return f" and, thin, of {_CELLS} ({len(listed)})"


def _draw_tiles(ax: Axes, grid: Grid, tiles: Sequence[str]) -> None:
    _outlines(ax, (grid.bbox(t) for t in tiles), edgecolor=_INK, linewidth=1.1)
    if len(tiles) > _MOST_IDS:
        return
    from matplotlib.patheffects import withStroke

    size = min(10.0, max(4.0, 110 / len({t[:3] for t in tiles})))
    for tile in tiles:
        xmin, ymin, xmax, ymax = grid.bbox(tile)
        centre = (xmin + xmax) / 2, (ymin + ymax) / 2
        text = ax.annotate(tile, centre, ha="center", va="center", fontsize=size, color=_INK)
        # A white rim keeps an id readable where a coast crosses it.
        text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def _outlines(ax: Axes, boxes: Iterable[BBox], **style: Any) -> None:
    from matplotlib.collections import PolyCollection

    corners = [[(a, b), (c, b), (c, d), (a, d)] for a, b, c, d in boxes]
    ax.add_collection(PolyCollection(corners, facecolor="none", **style))
