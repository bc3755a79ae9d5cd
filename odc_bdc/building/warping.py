"""Pixels of one grid on another, with results that do not depend on how the work is cut.

GDAL's warper interpolates coordinates along each window that it is given, so that its pixels change
with the window; here a pixel follows from its place alone (`odc_bdc.building.positions`). Where
each lies is computed once for all bands and scenes of one grid.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from odc_bdc.compositing.kernels.jit import kernel

if TYPE_CHECKING:
    from odc_bdc.building.positions import Positions

NEAR = 1e-6
"""What a position may be short of the next pixel and still count as in it, in pixels."""

ALIKE = 1.06
"""Up to how many source pixels along a target pixel bilinear and cubic are as on the same grid.

From UTM to the BDC's Albers pixels of one size span 0.963 to 1.039.
"""

BLOCK = 64
"""Side of the blocks of target pixels that have a mesh of their own."""

_UP = 0.5 + 2e-5
"""What is added before whole numbers are cut: a half, and what rounding may take from one.

Positions of up to a million pixels are off by 1e-10, means of 16 bits by 1e-5. Of pixels whose
sizes are as whole numbers up to 100 no other mean is so near to a half.
"""

_LEAST = 1e-12
"""Shares of pixels below this are rounding."""

_MODES = {"nearest": 0, "bilinear": 1, "cubic": 2, "average": 3, "mode": 4}


def width(ratio: float) -> float:
    """Give how much wider bilinear and cubic are than on the same grid.

    Parameters
    ----------
    ratio
        Source pixels along a target pixel. The width grows from `ALIKE` on, without a step and
        hardly faster than the ratio, and is the ratio itself from 2 on, as GDAL has it.

    Examples
    --------
    >>> [round(width(ratio), 6) for ratio in (0.5, 1.06, 1.53, 2.0, 3.0)]
    [1.0, 1.0, 1.5, 2.0, 3.0]
    """
    return 1.0 if ratio <= ALIKE else min(ratio, 1.0 + (ratio - ALIKE) / (2.0 - ALIKE))


_width = kernel(width)


def resample(
    pixels: npt.NDArray[Any],
    corner: tuple[int, int],
    where: Positions,
    out: npt.NDArray[Any],
    resampling: str,
    *,
    nodata: float | None,
) -> None:
    """Fill `out` with pixels of a source.

    Parameters
    ----------
    pixels
        (y, x), the part of the source that is there, at least `Positions.touched`.
    corner
        Row and column of its first pixel.
    where
        Positions of the pixels of `out`.
    out
        (y, x), of the dtype of `pixels`. Left as it is where there is nothing of the source: beyond
        its edges, and where its nearest pixel is nodata. So no resampling widens a scene.
    resampling
        ``nearest``, ``bilinear``, ``cubic`` (Keys, 1981, a = -0.5), ``average`` (by the area that
        pixels share with the target's) or ``mode`` (the most frequent value of the pixels whose
        centres lie in the target's; of equals the first in order of rows; the nearest if there is
        none). A target's pixel is the parallelogram that it is in the source by the first
        derivatives. Where the target is coarser, bilinear and cubic reach as much farther along
        each axis (`width`), so that all pixels count. Nodata takes no
        part: weights are those of the other pixels; where cubic meets nodata or an edge it becomes
        bilinear. A position up to 1e-6 short of the next pixel counts as in it, a centre that much
        short of the next target pixel too. Whole numbers are rounded, halves up.
    nodata
        Value of the source and of `out`; None for none. A result that comes to equal it is moved
        by one. NaN is no data in any case.
    """
    if not (pixels.size and out.size):
        return
    mode = _MODES[resampling]
    kind = out.dtype
    whole = kind.kind != "f"
    limits = np.iinfo(kind) if whole else None
    low, high = (float(limits.min), float(limits.max)) if limits else (-np.inf, np.inf)
    # Machine code is made for each layout of arrays: all that come here have one.
    made = np.ascontiguousarray(out)
    _resample(
        np.ascontiguousarray(pixels),
        float(corner[0]),
        float(corner[1]),
        np.ascontiguousarray(where.x),
        np.ascontiguousarray(where.y),
        np.ascontiguousarray(where.corners),
        where.first,
        mode,
        max(where.ratios) < ALIKE - NEAR,
        nodata is not None,
        kind.type(0 if nodata is None else nodata),
        (whole, low, high, math.nan if nodata is None else float(nodata)),
        *_room(where, resampling, pixels.dtype),
        made,
    )
    if made is not out:
        out[:] = made


def _room(
    where: Positions, resampling: str, dtype: np.dtype[Any]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
    """Give room for the weights of what is looked at, and for the values that mode counts."""
    columns, rows = (2 * math.ceil(reach) + 5 for reach in where.reach(resampling))
    size = columns * rows if resampling in ("average", "mode") else columns
    return np.zeros(size), np.empty(size if resampling == "mode" else 0, dtype)


@kernel
def _resample(
    pixels: Any,
    row: float,
    column: float,
    x: Any,
    y: Any,
    corners: Any,
    first: Any,
    mode: int,
    alike: bool,  # noqa: FBT001 (compiled functions take no keywords)
    has_nodata: bool,  # noqa: FBT001
    nodata: Any,
    ends: Any,
    room: Any,
    values: Any,
    out: Any,
) -> None:
    height, width = pixels.shape
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            # Of no place, each comparison is false.
            px, py = x[i, j] - column, y[i, j] - row
            if not (px > -NEAR and py > -NEAR and px < width and py < height):
                continue
            r, c = math.floor(py + NEAR), math.floor(px + NEAR)
            if r >= height or c >= width:
                continue
            value = pixels[r, c]
            if value != value or (has_nodata and value == nodata):
                continue
            if mode == 0:
                out[i, j] = value
                continue
            if mode == 1 and alike:
                found = _bilinear(pixels, px, py, has_nodata, nodata)
                out[i, j] = _stored(found, value, ends)
                continue
            footprint = _footprint(corners, first[0] + i, first[1] + j)
            if mode == 4:
                out[i, j] = _most_frequent(
                    pixels, px, py, footprint, has_nodata, nodata, value, room, values
                )
                continue
            if mode == 3:
                found = _mean(pixels, px, py, footprint, has_nodata, nodata, room)
            else:
                found = _filtered(pixels, px, py, footprint, mode, has_nodata, nodata, room)
            out[i, j] = _stored(found, value, ends)


@kernel
def _footprint(corners: Any, row: int, column: int) -> Any:
    """Give how a position moves by a column and a row: x by both, then y by both.

    Of corners that have no place none is taken; if there is no other, the pixel is one of the
    source.
    """
    m, n, v, u = row // BLOCK, column // BLOCK, (row % BLOCK) / BLOCK, (column % BLOCK) / BLOCK
    xc, xr = _lerp(corners[0], m, n, v, u), _lerp(corners[1], m, n, v, u)
    yc, yr = _lerp(corners[2], m, n, v, u), _lerp(corners[3], m, n, v, u)
    known = _lerp(corners[4], m, n, v, u)
    if known == 1.0:
        return xc, xr, yc, yr
    if known > 0.0:
        return xc / known, xr / known, yc / known, yr / known
    return 1.0, 0.0, 0.0, 1.0


@kernel
def _lerp(at: Any, m: int, n: int, v: float, u: float) -> float:
    left = at[m, n] + (at[m + 1, n] - at[m, n]) * v
    right = at[m, n + 1] + (at[m + 1, n + 1] - at[m, n + 1]) * v
    return float(left + (right - left) * u)


@kernel
def _stored(found: float, nearest: Any, ends: Any) -> Any:
    """Round to the nearest whole number, upward in the middle, within the limits of the type."""
    whole, low, high, fill = ends
    if found != found:
        return float(nearest)
    if whole:
        found = min(max(math.floor(found + _UP), low), high)
        if found == fill:
            found = fill + 1.0 if fill < high else fill - 1.0
    return found


@kernel
def _filtered(
    pixels: Any,
    px: float,
    py: float,
    footprint: Any,
    mode: int,
    has_nodata: Any,
    nodata: Any,
    room: Any,
) -> float:
    """Give what bilinear and cubic make, as wide as the footprint along each axis."""
    xc, xr, yc, yr = footprint
    wx, wy = _width(math.hypot(xc, xr)), _width(math.hypot(yc, yr))
    if mode == 2:
        total, weights, complete = _sum(pixels, px, py, wx, wy, 2, has_nodata, nodata, room)
        if complete:
            return float(total / weights)
    if wx == 1.0 and wy == 1.0:
        return _bilinear(pixels, px, py, has_nodata, nodata)
    total, weights, _ = _sum(pixels, px, py, wx, wy, 1, has_nodata, nodata, room)
    return float(total / weights) if weights > 0.0 else math.nan


@kernel
def _bilinear(pixels: Any, px: float, py: float, has_nodata: Any, nodata: Any) -> float:
    """Interpolate between four pixels, the nearest among them."""
    r0, c0 = math.floor(py - 0.5), math.floor(px - 0.5)
    v, u = py - 0.5 - r0, px - 0.5 - c0
    total, weights = 0.0, 0.0
    for r in range(max(r0, 0), min(r0 + 2, pixels.shape[0])):
        wy = v if r > r0 else 1.0 - v
        for c in range(max(c0, 0), min(c0 + 2, pixels.shape[1])):
            value = pixels[r, c]
            if value == value and not (has_nodata and value == nodata):
                weight = wy * (u if c > c0 else 1.0 - u)
                total += weight * value
                weights += weight
    return float(total / weights) if weights > 0.0 else math.nan


@kernel
def _mean(
    pixels: Any,
    px: float,
    py: float,
    footprint: Any,
    has_nodata: Any,
    nodata: Any,
    room: Any,
) -> float:
    """Give the mean over a footprint, each pixel by the area that it shares with it."""
    xc, xr, yc, yr = footprint
    if (xr == 0.0 and yc == 0.0) or (xc == 0.0 and yr == 0.0):
        wx, wy = abs(xc) + abs(xr), abs(yc) + abs(yr)
        total, weights, _ = _sum(pixels, px, py, wx, wy, 3, has_nodata, nodata, room)
    else:
        total, weights = _covered(pixels, px, py, footprint, has_nodata, nodata, room)
    return float(total / weights) if weights > 0.0 else math.nan


@kernel
def _sum(
    pixels: Any,
    px: float,
    py: float,
    wx: float,
    wy: float,
    mode: int,
    has_nodata: Any,
    nodata: Any,
    room: Any,
) -> Any:
    """Add up what a filter weighs; tell also whether all of it has data."""
    reach = 2.0 if mode == 2 else (0.5 if mode == 3 else 1.0)
    r0, r1 = math.floor(py - reach * wy), math.ceil(py + reach * wy)
    c0, c1 = math.floor(px - reach * wx), math.ceil(px + reach * wx)
    for c in range(c0, c1):
        room[c - c0] = _weight(c, px, wx, mode)
    total, weights, complete = 0.0, 0.0, True
    for r in range(r0, r1):
        weight_y = _weight(r, py, wy, mode)
        if weight_y == 0.0:
            continue
        for c in range(c0, c1):
            weight = weight_y * room[c - c0]
            if weight == 0.0:
                continue
            if r < 0 or c < 0 or r >= pixels.shape[0] or c >= pixels.shape[1]:
                complete = False
                continue
            value = pixels[r, c]
            if value != value or (has_nodata and value == nodata):
                complete = False
                continue
            total += weight * value
            weights += weight
    return total, weights, complete


@kernel
def _weight(pixel: int, at: float, width: float, mode: int) -> float:
    """Weigh a pixel by its distance from a position along one axis."""
    if mode == 3:
        low, high = at - 0.5 * width, at + 0.5 * width
        return max(0.0, min(pixel + 1.0, high) - max(float(pixel), low))
    d = abs(pixel + 0.5 - at) / width
    if mode == 1:
        return max(0.0, 1.0 - d)
    if d < 1.0:
        return (1.5 * d - 2.5) * d * d + 1.0
    if d < 2.0:
        return ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
    return 0.0


@kernel
def _covered(
    pixels: Any, px: float, py: float, footprint: Any, has_nodata: Any, nodata: Any, room: Any
) -> Any:
    """Add up pixels by the area that a parallelogram covers of each.

    As rasterisers of fonts do: each edge adds to the pixels that it crosses the area to its right,
    downward positive and upward negative, and sums along rows are the areas covered.
    """
    xc, xr, yc, yr = footprint
    ax, ay = px - 0.5 * (xc + xr), py - 0.5 * (yc + yr)
    bx, by = px + 0.5 * (xc - xr), py + 0.5 * (yc - yr)
    dx, dy = px + 0.5 * (xc + xr), py + 0.5 * (yc + yr)
    ex, ey = px - 0.5 * (xc - xr), py - 0.5 * (yc - yr)
    c0, r0 = math.floor(min(ax, bx, dx, ex)), math.floor(min(ay, by, dy, ey))
    r1, size = math.ceil(max(ay, by, dy, ey)), math.floor(max(ax, bx, dx, ex)) - c0 + 2
    side = 1.0 if xc * yr < xr * yc else -1.0  # whether what is covered is right of a way down
    _cross(room, size, ax - c0, ay - r0, bx - c0, by - r0, side)
    _cross(room, size, bx - c0, by - r0, dx - c0, dy - r0, side)
    _cross(room, size, dx - c0, dy - r0, ex - c0, ey - r0, side)
    _cross(room, size, ex - c0, ey - r0, ax - c0, ay - r0, side)
    total, weights, at = 0.0, 0.0, 0
    for r in range(r0, r1):
        weight = 0.0
        for c in range(c0, c0 + size):
            weight += room[at]
            room[at] = 0.0
            at += 1
            if weight < _LEAST or r < 0 or c < 0 or r >= pixels.shape[0] or c >= pixels.shape[1]:
                continue
            value = pixels[r, c]
            if value == value and not (has_nodata and value == nodata):
                total += weight * value
                weights += weight
    return total, weights


@kernel
def _cross(room: Any, size: int, x0: float, y0: float, x1: float, y1: float, side: float) -> None:
    """Add the area to the right of an edge, row by row."""
    if y0 == y1:
        return
    if y0 > y1:
        x0, y0, x1, y1, side = x1, y1, x0, y0, -side
    slope, low, high = (x1 - x0) / (y1 - y0), min(x0, x1), max(x0, x1)
    start = x0
    for r in range(math.floor(y0), math.ceil(y1)):
        top, bottom = max(float(r), y0), min(r + 1.0, y1)
        stop = min(max(x0 + slope * (bottom - y0), low), high)
        _cross_row(room, r * size, min(start, stop), max(start, stop), (bottom - top) * side)
        start = stop


@kernel
def _cross_row(room: Any, at: int, left: float, right: float, height: float) -> None:
    """Add the area to the right of an edge within a row, as differences from pixel to pixel."""
    c = math.floor(left)
    if right <= c + 1:
        area = height * (c + 1 - 0.5 * (left + right))
        room[at + c] += area
        room[at + c + 1] += height - area
        return
    # Up to x the edge has the area steep * (x - left)**2 to its left.
    steep, before, whole = 0.5 * height / (right - left), 0.0, 0.0
    while c < right:
        x = c + 1.0
        upto = steep * (x - left) ** 2 if x < right else height * (x - 0.5 * (left + right))
        room[at + c] += upto - whole - before
        before, whole = upto - whole, upto
        c += 1
    room[at + c] += height - before


@kernel
def _most_frequent(
    pixels: Any,
    px: float,
    py: float,
    footprint: Any,
    has_nodata: Any,
    nodata: Any,
    nearest: Any,
    counts: Any,
    values: Any,
) -> Any:
    """Give the most frequent value of the pixels whose centres lie in the target's pixel."""
    xc, xr, yc, yr = footprint
    hx, hy = 0.5 * (abs(xc) + abs(xr)), 0.5 * (abs(yc) + abs(yr))
    area = xc * yr - xr * yc
    n = 0
    for r in range(max(math.floor(py - hy), 0), min(math.ceil(py + hy), pixels.shape[0])):
        for c in range(max(math.floor(px - hx), 0), min(math.ceil(px + hx), pixels.shape[1])):
            value = pixels[r, c]
            if value != value or (has_nodata and value == nodata):
                continue
            # In the target's columns and rows; neighbours share no centre.
            x, y = c + 0.5 - px, r + 0.5 - py
            across, down = (yr * x - xr * y) / area + NEAR, (xc * y - yc * x) / area + NEAR
            if not (-0.5 <= across < 0.5 and -0.5 <= down < 0.5):
                continue
            k = 0
            while k < n and values[k] != value:
                k += 1
            if k == n:
                values[n], counts[n] = value, 0.0
                n += 1
            counts[k] += 1.0
    best, most = nearest, 0.0
    for k in range(n):
        if counts[k] > most:
            best, most = values[k], counts[k]
    return best


@kernel
def between(
    mesh_x: Any, mesh_y: Any, step: int, off: Any, first: Any, x: Any, y: Any, exact: Any
) -> None:
    """Interpolate in those blocks for which it is known what that is off.

    `exact` becomes false where it cannot move a position over the edge of a pixel.
    """
    for i in range(x.shape[0]):
        row = first[0] + i
        m, v = row // step, (row % step) / step
        j = 0
        while j < x.shape[1]:
            column = first[1] + j
            n, k = column // step, column % step
            stop = min(x.shape[1], j + step - k)
            bound = off[row // BLOCK, column // BLOCK]
            if bound < 1.0:
                x0 = mesh_x[m, n] + (mesh_x[m + 1, n] - mesh_x[m, n]) * v
                y0 = mesh_y[m, n] + (mesh_y[m + 1, n] - mesh_y[m, n]) * v
                dx = mesh_x[m, n + 1] + (mesh_x[m + 1, n + 1] - mesh_x[m, n + 1]) * v - x0
                dy = mesh_y[m, n + 1] + (mesh_y[m + 1, n + 1] - mesh_y[m, n + 1]) * v - y0
                for p in range(j, stop):
                    u = (k + p - j) / step
                    px, py = x0 + dx * u, y0 + dy * u
                    x[i, p], y[i, p] = px, py
                    exact[i, p] = _is_close(px, bound) or _is_close(py, bound)
            j = stop


@kernel
def _is_close(at: float, bound: float) -> bool:
    """Tell whether what a position is off may decide in which pixel it lies."""
    rest = at + NEAR - math.floor(at + NEAR)
    return rest < bound or rest > 1.0 - bound
