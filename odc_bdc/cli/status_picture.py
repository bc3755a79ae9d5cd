"""The calendar picture: what there is of each tile (down) and period (across) of a cube."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from odc_bdc.cli._picture import new_figure, save_figure
from odc_bdc.planning import PeriodStatus, State

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes

COLOURS = {
    State.DONE: "#2f7d4f",
    State.LIVE: "#7a5195",
    State.STALE: "#e3b23c",
    State.MISSING: "#8fb8de",
    State.FAILED: "#c8312b",
    State.EMPTY: "#dddddd",
}
"""Told apart by lightness too, for those who see no difference of red and green."""

_DPI = 100
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 62, 45
"""Pixels about the cells, for titles, tiles and dates."""
_LEAST_WIDTH = 560
_INK = "#333333"


def write_status_picture(cube: str, found: Sequence[PeriodStatus], path: Path) -> None:
    """Draw a cell for each tile and period, in the colour of its state.

    Cells are smaller where there are many, but at least 10 pixels high, so that a tile can be read
    off: 560 tiles make a picture of about 5,700 pixels.

    Parameters
    ----------
    found
        At least one.
    path
        PNG file to write.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    InvalidValueError
        If the file cannot be written.
    """
    tiles = sorted({status.tile_id for status in found})
    starts = sorted({status.period.start for status in found})
    high, wide = cell_size(len(tiles), len(starts))
    rows, columns = high * len(tiles), wide * len(starts)
    width = max(_LEFT + columns + _RIGHT, _LEAST_WIDTH)
    height = _TOP + rows + _BOTTOM
    figure = new_figure(width / _DPI, height / _DPI, dpi=_DPI)
    place = (_LEFT / width, _BOTTOM / height, columns / width, rows / height)
    ax = figure.add_axes(place)
    # Each cell has whole pixels, so edges are sharp whatever their number.
    ax.imshow(_cells(found, tiles, starts), interpolation="nearest", aspect="auto")
    for edge in ax.spines.values():
        edge.set_visible(False)
    if min(high, wide) > 9:
        ax.set_xticks(np.arange(len(starts) + 1) - 0.5, minor=True)
        ax.set_yticks(np.arange(len(tiles) + 1) - 0.5, minor=True)
        ax.grid(which="minor", color="white", linewidth=1)
    _label_tiles(ax, tiles, high)
    _label_periods(ax, starts, wide)
    _legend(ax, found)
    figure.text(
        _LEFT / width, 1 - 22 / height, cube, fontsize=12, color=_INK, ha="left", va="center"
    )
    save_figure(figure, path)


def cell_size(tiles: int, periods: int) -> tuple[int, int]:
    """Give height and width of a cell in pixels."""
    high = min(24, max(10, 1200 // tiles))
    wide = min(28, max(5, 1400 // periods))
    return high, wide


def _cells(
    found: Sequence[PeriodStatus], tiles: Sequence[str], starts: Sequence[date]
) -> npt.NDArray[np.float64]:
    """Give colours (tile, period, RGB); white where nothing is told."""
    from matplotlib.colors import to_rgb

    out = np.ones((len(tiles), len(starts), 3))
    row = {tile: i for i, tile in enumerate(tiles)}
    column = {start: i for i, start in enumerate(starts)}
    for status in found:
        out[row[status.tile_id], column[status.period.start]] = to_rgb(COLOURS[status.state])
    return out


def _label_tiles(ax: Axes, tiles: Sequence[str], high: int) -> None:
    size = min(8.0, 0.72 * high * 72 / _DPI * 1.15)
    ax.set_yticks(range(len(tiles)), tiles, fontsize=size, color=_INK, family="monospace")
    ax.tick_params(axis="both", which="both", length=0, pad=4)


def _label_periods(ax: Axes, starts: Sequence[date], wide: int) -> None:
    """Write the first day of as many periods as have room; of each year's first, the year."""
    step = max(1, -(-54 // wide))
    shown = list(range(0, len(starts), step))
    labels, year = [], None
    for i in shown:
        new = starts[i].year != year
        year = starts[i].year
        labels.append(f"{starts[i]:%d %b}" + (f"\n{year}" if new else ""))
    ax.set_xticks(shown, labels, fontsize=8, color=_INK)


def _legend(ax: Axes, found: Sequence[PeriodStatus]) -> None:
    from matplotlib.patches import Patch

    counts = {state: sum(status.state == state for status in found) for state in COLOURS}
    handles = [
        Patch(facecolor=COLOURS[state], label=f"{state} {count}")
        for state, count in counts.items()
        if count
    ]
    ax.figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(_LEFT / ax.figure.bbox.width, 1 - 34 / ax.figure.bbox.height),
        ncols=len(handles),
        frameon=False,
        fontsize=9,
        borderpad=0,
        borderaxespad=0,
        handlelength=1.2,
        columnspacing=1.4,
        labelcolor=_INK,
    )
