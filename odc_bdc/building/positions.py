"""Where pixels of a target lie in a source: by place only, however the work is cut.

Positions count pixels of the target's *grid*, from the origin of its CRS, not those of a tile or a
window. So a pixel has one position, to the last bit, in each tile and each window that holds it.
Projecting each pixel would take longer than reading it: positions are interpolated on a mesh, and
projected where that could make a difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo.geobox import GeoBox

from odc_bdc.building.warping import BLOCK, between, width

if TYPE_CHECKING:
    from collections.abc import Callable

    from odc_bdc.building.blocks import Place
    from odc_bdc.cog import Window

    Project = Callable[[npt.NDArray[Any], npt.NDArray[Any]], tuple["Floats", "Floats"]]
    Floats = npt.NDArray[np.float64]

ALIGNED = 1e-3
"""A shift between two pixel grids, in pixels, that is taken for rounding of their coordinates."""

_STEPS = (8, 4, 2)
"""Pixels between the points of a mesh, the coarsest that will do; else each pixel is projected."""

_OFF = 1e-3
"""What interpolated positions may be off, in source pixels."""

_SAFETY = 2.0
"""The bound of what they are off is made of differences between points, and is made larger."""

_NOISE = 1e-9
"""What positions of a million pixels are off by rounding."""

_SPLIT = 2.0**22
"""Parts of a pixel that a grid's origin is rounded to, if it is at no simple fraction."""


@dataclass(frozen=True, slots=True)
class Positions:
    """Where the centres of target pixels lie in a source, in its pixels from its first corner.

    Attributes
    ----------
    x, y
        float64 (y, x); not finite where the source's CRS has no such place.
    corners
        float64 (5, y, x), at the first pixels of blocks of 64 by 64 pixels of the grid, of all
        blocks that the pixels are of, and at those behind: source pixels across by a column of the
        target and by a row, source pixels down by a column and by a row, and 1; all 0 where the
        source's CRS has no such place. Between the corners they are interpolated.
    first
        Row and column of the first pixel, from the first corner.
    """

    x: Floats
    y: Floats
    corners: Floats
    first: Place

    def part(self, window: Window) -> Positions:
        """Give a window of the pixels."""
        within: list[slice] = []
        first: list[int] = []
        for at, part in zip(self.first, window, strict=True):
            start, stop, _ = part.indices(self.x.shape[len(within)])
            block = (at + start) // BLOCK
            within.append(slice(block, (at + max(start, stop - 1)) // BLOCK + 2))
            first.append(at + start - block * BLOCK)
        corners = self.corners[:, within[0], within[1]]
        return Positions(self.x[window], self.y[window], corners, (first[0], first[1]))

    @property
    def ratios(self) -> tuple[float, float]:
        """Most source pixels along a target pixel, across and down."""
        xc, xr, yc, yr, _ = self.corners
        return float(np.hypot(xc, xr).max()), float(np.hypot(yc, yr).max())

    def reach(self, resampling: str) -> tuple[float, float]:
        """Give how far a resampling looks from a position at most, across and down."""
        if resampling == "nearest":
            return 0.0, 0.0
        if resampling in ("average", "mode"):
            xc, xr, yc, yr, _ = np.abs(self.corners)
            return max(1.0, float((xc + xr).max())) / 2, max(1.0, float((yc + yr).max())) / 2
        across, down = (width(ratio) for ratio in self.ratios)
        return (2 * across, 2 * down) if resampling == "cubic" else (across, down)

    def touched(self, resampling: str, extent: Window) -> Window:
        """Give the rows and columns that a resampling looks at, of those that the source has."""
        found = []
        reaches = self.reach(resampling)[::-1]
        for at, whole, reach in zip((self.y, self.x), extent, reaches, strict=True):
            known = at[np.isfinite(at)]
            if not known.size:
                return slice(0, 0), slice(0, 0)
            start = math.floor(known.min() - reach - 1)
            stop = math.ceil(known.max() + reach + 1)
            found.append(
                slice(
                    max(whole.start, min(whole.stop, start)),
                    max(whole.start, min(whole.stop, stop)),
                )
            )
        return found[0], found[1]


def positions(source: GeoBox, target: GeoBox, window: Window) -> Positions:
    """Tell where pixels of a target grid lie in a source.

    Parameters
    ----------
    source
        Whole grid.
    target
        Any part of a grid; what is found for a pixel does not depend on the part.
    window
        Rows and columns of the target.

    Returns
    -------
    Positions
        Within a thousandth of a source pixel. Where a position is so near to the edge of a pixel
        that it matters, it is the projected one.
    """
    grid, place = raster_of(target)
    rows, columns = (
        np.arange(part.start + at, part.stop + at) for part, at in zip(window, place, strict=True)
    )
    edges = [np.arange(a[0] // BLOCK, a[-1] // BLOCK + 2) * BLOCK for a in (rows, columns)]
    project = partial(_project, source, grid)
    if source.crs == grid.crs:
        x, y = project(rows[:, np.newaxis], columns)
        step = ~source.affine * grid.affine
        linear = np.array([step.a, step.b, step.d, step.e, 1.0])[:, np.newaxis, np.newaxis]
        corners = np.broadcast_to(linear, (5, len(edges[0]), len(edges[1])))
    else:
        x, y = _interpolated(project, rows, columns, edges)
        corners = _corners(project, edges)
    return Positions(x, y, corners, (int(rows[0] - edges[0][0]), int(columns[0] - edges[1][0])))


def raster_of(grid: GeoBox) -> tuple[GeoBox, Place]:
    """Give the raster that a grid is a part of, and row and column of its first pixel there.

    The raster is the same, to the last bit, for all parts of it: its origin is that of the CRS and
    a rest of a pixel, from which the rounding of coordinates (1e-9 pixels) is taken.
    """
    a = grid.affine
    # The CRS's origin in pixels of the grid, split into whole pixels and the rest.
    across, down = ~Affine(a.a, a.b, 0, a.d, a.e, 0) * (a.c, a.f)
    column, row = math.floor(across + ALIGNED), math.floor(down + ALIGNED)
    rest = Affine.translation(_plain(across - column), _plain(down - row))
    return GeoBox((1, 1), Affine(a.a, a.b, 0, a.d, a.e, 0) * rest, grid.crs), (row, column)


def _plain(rest: float) -> float:
    """Give the number that a rest is but for rounding: a simple fraction, else a rounded one.

    The grids of the BDC begin at thirds of a pixel of 30 m, coarser views at halves of halves.
    """
    near = float(Fraction(rest).limit_denominator(1024))
    return near if abs(near - rest) < _NOISE else round(rest * _SPLIT) / _SPLIT


def _project(
    source: GeoBox, grid: GeoBox, row: npt.NDArray[Any], column: npt.NDArray[Any]
) -> tuple[Floats, Floats]:
    """Give source pixels (across, down) of the centres of target pixels."""
    a, b = grid.affine, source.affine
    x = _sum(a.a, column + 0.5, a.b, row + 0.5, a.c)
    y = _sum(a.e, row + 0.5, a.d, column + 0.5, a.f)
    if source.crs != grid.crs:
        transform = grid.crs.transformer_to_crs(source.crs)
        x, y = (np.asarray(v) for v in transform(*np.broadcast_arrays(x, y)))
    with np.errstate(invalid="ignore"):  # what has no place is infinite
        if b.b == b.d == 0:  # is rounded once; a product with the reciprocal would be twice
            across, down = (x - b.c) / b.a, (y - b.f) / b.e
        else:
            across, down = ~b * (x, y)
    shape = np.broadcast_shapes(across.shape, down.shape)
    return np.broadcast_to(across, shape).copy(), np.broadcast_to(down, shape).copy()


def _sum(a: float, x: Floats, b: float, y: Floats, c: float) -> Floats:
    """Give ax + by + c, in the shape of x where b is nothing."""
    return a * x + c if b == 0 else a * x + b * y + c


def _interpolated(
    project: Project,
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
    edges: list[npt.NDArray[np.int64]],
) -> tuple[Floats, Floats]:
    """Give positions on a mesh, and projected ones where the mesh is not good enough."""
    x, y = np.empty((len(rows), len(columns))), np.empty((len(rows), len(columns)))
    exact = np.ones(x.shape, bool)
    first = int(rows[0] - edges[0][0]), int(columns[0] - edges[1][0])
    mesh = _mesh(project, edges, _STEPS[0])
    coarse = _off(mesh)
    steps = np.ones(coarse.shape, np.int64)
    for step in reversed(_STEPS):  # of infinity and NaN the comparison is false
        steps[coarse * (step / _STEPS[0]) ** 2 <= _OFF] = step
    for step in (s for s in _STEPS if (steps == s).any()):
        points = mesh if step == _STEPS[0] else _mesh(project, edges, step)
        off = np.where(steps == step, coarse * (step / _STEPS[0]) ** 2 + _NOISE, np.inf)
        between(*points, step, off, first, x, y, exact)
    at = np.nonzero(exact)
    if at[0].size:
        x[at], y[at] = project(rows[at[0]], columns[at[1]])
    return x, y


def _mesh(project: Project, edges: list[npt.NDArray[np.int64]], step: int) -> tuple[Floats, Floats]:
    rows, columns = (np.arange(edge[0], edge[-1] + 1, step) for edge in edges)
    return project(rows[:, np.newaxis], columns)


def _off(mesh: tuple[Floats, Floats]) -> Floats:
    """Bound what interpolation is off in each block, in source pixels.

    Linear interpolation is off by an eighth of the second difference between points, along each
    axis; a block's bound is made of its own points.
    """
    points = BLOCK // _STEPS[0] + 1
    worst: Floats = np.zeros(())
    with np.errstate(invalid="ignore"):
        for at in mesh:
            view = np.lib.stride_tricks.sliding_window_view(at, (points, points))
            blocks = view[:: points - 1, :: points - 1]
            bends = [np.abs(np.diff(blocks, 2, axis)).max(axis=(2, 3)) for axis in (2, 3)]
            worst = np.maximum(worst, (bends[0] + bends[1]) / 8)
    return _SAFETY * worst


def _corners(project: Project, edges: list[npt.NDArray[np.int64]]) -> Floats:
    """Give how positions move by a pixel of the target, by differences from edge to edge."""
    row, column = edges[0][:, np.newaxis], edges[1]
    out = np.ones((5, row.size, column.size))
    at = np.array(project(row, column))
    for n, (down, across) in enumerate(((0.0, 0.5), (0.5, 0.0))):
        ahead = np.array(project(row + down, column + across))
        behind = np.array(project(row - down, column - across))
        out[n], out[n + 2] = _moved(behind, at, ahead)
    out[:, ~np.isfinite(out).all(axis=0)] = 0
    return out


def _moved(behind: Floats, at: Floats, ahead: Floats) -> Floats:
    """Give the difference between both ends.

    Where a half of it leaps, as longitudes do at 180 degrees, or has no place, twice the other.
    """
    with np.errstate(invalid="ignore"):
        first, second = at - behind, ahead - at
        sizes = np.abs(first).max(axis=0), np.abs(second).max(axis=0)
        # Of infinity and NaN the comparison is false.
        alike = np.abs(second - first).max(axis=0) <= np.minimum(*sizes)
        shorter = np.where(sizes[0] < sizes[1], first, second)
        return np.where(alike, first + second, 2 * shorter)
