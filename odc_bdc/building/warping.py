"""Pixels of one grid on another, with results that do not depend on how the work is cut.

GDAL's warper interpolates coordinates along each window that it is given, so that its pixels change
with the window; here they are interpolated on a mesh that is fixed to the target grid. Where each
pixel lies is computed once for all bands and scenes of one grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from odc_bdc.compositing.kernels.jit import kernel

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from odc_bdc.cog import Window

_MESH = 8
"""Pixels between the points of the mesh; between them positions are interpolated linearly."""

_NEAR = 1e-6
"""What a position may be short of the next pixel by rounding, in pixels."""

_COARSER = 1.5
"""From how many source pixels in a target pixel on a filter reaches farther for it."""

_MODES = {"nearest": 0, "bilinear": 1, "cubic": 2, "average": 3, "mode": 4}
_REACH = {"nearest": 0.0, "bilinear": 1.0, "cubic": 2.0, "average": 0.5, "mode": 0.5}


@dataclass(frozen=True, slots=True)
class Positions:
    """Where the centres of target pixels lie in a source, in its pixels from its first corner.

    Attributes
    ----------
    x, y
        float64 (y, x); not finite where the source's CRS has no such place.
    scale
        Source pixels along a target pixel, across and down.
    """

    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    scale: tuple[float, float]

    def part(self, window: Window) -> Positions:
        """Give a window of the pixels."""
        return Positions(self.x[window], self.y[window], self.scale)

    def touched(self, resampling: str, extent: Window) -> Window:
        """Give the rows and columns that a resampling looks at, of those that the source has."""
        found = []
        for at, whole, scale in zip((self.y, self.x), extent, self.scale[::-1], strict=True):
            known = at[np.isfinite(at)]
            if not known.size:
                return slice(0, 0), slice(0, 0)
            reach = _REACH[resampling] * scale + 1
            start, stop = math.floor(known.min() - reach), math.ceil(known.max() + reach)
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
    source, target
        Whole grids; what is found for a pixel does not depend on the window.
    window
        Rows and columns of the target.
    """
    meshes = [
        np.arange(part.start // _MESH, -(-part.stop // _MESH) + 1) * _MESH + 0.5 for part in window
    ]
    x, y = _project(source, target, *meshes)
    scale = _scale(source, target)
    weights = [_between(part, mesh) for part, mesh in zip(window, meshes, strict=True)]
    return Positions(_interpolated(x, *weights), _interpolated(y, *weights), scale)


def _project(
    source: GeoBox, target: GeoBox, rows: npt.NDArray[Any], columns: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Give source pixels (across, down) of rows and columns of the target."""
    column, row = np.meshgrid(columns, rows)
    x, y = target.affine * (column, row)
    if source.crs != target.crs:
        x, y = target.crs.transformer_to_crs(source.crs)(x, y)
    with np.errstate(invalid="ignore"):  # what has no place is infinite
        across, down = ~source.affine * (np.asarray(x), np.asarray(y))
    return across, down


def _scale(source: GeoBox, target: GeoBox) -> tuple[float, float]:
    """Give how many source pixels a target pixel in the middle spans, 1 if hardly more."""
    row, column = (size / 2 for size in target.shape)
    x, y = _project(source, target, np.array([row, row + 1]), np.array([column, column + 1]))
    spans = (abs(a[0, 1] - a[0, 0]) + abs(a[1, 0] - a[0, 0]) for a in (x, y))
    # Of infinity too, which is no number of pixels.
    across, down = (float(s) if _COARSER <= s < np.inf else 1.0 for s in spans)
    return across, down


def _between(
    part: slice, mesh: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Give for each pixel the point of the mesh before it, and how far it is to the next."""
    pixels = np.arange(part.start, part.stop)
    return pixels // _MESH - int(mesh[0] // _MESH), (pixels % _MESH) / _MESH


def _interpolated(
    at: npt.NDArray[np.float64],
    down: tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]],
    across: tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]],
) -> npt.NDArray[np.float64]:
    # Where a point of the mesh has no place, inf - inf is NaN: no place either.
    with np.errstate(invalid="ignore"):
        (i, v), (j, u) = down, across
        rows = at[i] + (at[i + 1] - at[i]) * v[:, np.newaxis]
        out: npt.NDArray[np.float64] = rows[:, j] + (rows[:, j + 1] - rows[:, j]) * u
    return out


def resample(
    pixels: npt.NDArray[Any],
    corner: tuple[int, int],
    where: Positions,
    out: npt.NDArray[Any],
    resampling: str,
    *,
    nodata: float | None,
    fill: float,
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
        pixels share) or ``mode`` (the most frequent value; of equals the first in order of rows).
        Where the target is coarser, bilinear and cubic reach as much farther, so that all pixels
        count. Nodata takes no part: weights are those of the other pixels; where cubic meets
        nodata or an edge it becomes bilinear.
    nodata
        Value of the source; None for none. NaN is no data in any case.
    fill
        What stands for no data in `out`: a result that comes to equal it is moved by one.
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
        where.scale,
        mode,
        nodata is not None,
        kind.type(0 if nodata is None else nodata),
        (whole, low, high, float(fill)),
        made,
    )
    if made is not out:
        out[:] = made


@kernel
def _resample(
    pixels: Any,
    row: float,
    column: float,
    x: Any,
    y: Any,
    scale: Any,
    mode: int,
    has_nodata: bool,  # noqa: FBT001 (compiled functions take no keywords)
    nodata: Any,
    ends: Any,
    out: Any,
) -> None:
    height, width = pixels.shape
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            # Of no place, each comparison is false.
            px, py = x[i, j] - column, y[i, j] - row
            if not (px > -_NEAR and py > -_NEAR and px < width and py < height):
                continue
            r, c = math.floor(py + _NEAR), math.floor(px + _NEAR)
            if r >= height or c >= width:
                continue
            value = pixels[r, c]
            if value != value or (has_nodata and value == nodata):
                continue
            if mode == 0:
                out[i, j] = value
            elif mode == 4:
                out[i, j] = _most_frequent(pixels, px, py, scale, has_nodata, nodata, value)
            elif mode == 1 and scale[0] == 1.0 and scale[1] == 1.0:
                found = _bilinear(pixels, px, py, has_nodata, nodata)
                out[i, j] = _stored(found, value, ends)
            else:
                found = _weighted(pixels, px, py, scale, mode, has_nodata, nodata)
                out[i, j] = _stored(found, value, ends)


@kernel
def _stored(found: float, nearest: Any, ends: Any) -> Any:
    """Round to the nearest whole number, upward in the middle, within the limits of the type."""
    whole, low, high, fill = ends
    if found != found:
        return float(nearest)
    if whole:
        found = min(max(math.floor(found + 0.5), low), high)
        if found == fill:
            found = fill + 1.0 if fill < high else fill - 1.0
    return found


@kernel
def _weighted(
    pixels: Any, px: float, py: float, scale: Any, mode: int, has_nodata: Any, nodata: Any
) -> float:
    total, weights, complete = _sum(pixels, px, py, scale, mode, has_nodata, nodata)
    if mode == 2 and not complete:
        total, weights, complete = _sum(pixels, px, py, scale, 1, has_nodata, nodata)
    if weights <= 0.0:
        return math.nan
    return float(total / weights)


@kernel
def _bilinear(pixels: Any, px: float, py: float, has_nodata: Any, nodata: Any) -> float:
    """Do as `_weighted`, for a target that is not coarser: four pixels, the nearest among them."""
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
def _sum(
    pixels: Any, px: float, py: float, scale: Any, mode: int, has_nodata: Any, nodata: Any
) -> Any:
    """Add up what a filter weighs; tell also whether all of it has data."""
    reach = 2.0 if mode == 2 else (0.5 if mode == 3 else 1.0)
    sx, sy = scale
    r0, r1 = math.floor(py - reach * sy), math.ceil(py + reach * sy)
    c0, c1 = math.floor(px - reach * sx), math.ceil(px + reach * sx)
    total, weights, complete = 0.0, 0.0, True
    for r in range(r0, r1):
        wy = _weight(r, py, sy, mode)
        if wy == 0.0:
            continue
        for c in range(c0, c1):
            weight = wy * _weight(c, px, sx, mode)
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
def _weight(pixel: int, at: float, scale: float, mode: int) -> float:
    """Weigh a pixel by its distance from a position along one axis."""
    if mode == 3:
        low, high = at - 0.5 * scale, at + 0.5 * scale
        return max(0.0, min(pixel + 1.0, high) - max(float(pixel), low))
    d = abs(pixel + 0.5 - at) / scale
    if mode == 1:
        return max(0.0, 1.0 - d)
    if d < 1.0:
        return (1.5 * d - 2.5) * d * d + 1.0
    if d < 2.0:
        return ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
    return 0.0


@kernel
def _most_frequent(
    pixels: Any, px: float, py: float, scale: Any, has_nodata: Any, nodata: Any, nearest: Any
) -> Any:
    """Give the most frequent value of the pixels whose centres lie in the target's pixel."""
    sx, sy = scale
    r0, r1 = math.ceil(py - 0.5 * sy - 0.5), math.ceil(py + 0.5 * sy - 0.5)
    c0, c1 = math.ceil(px - 0.5 * sx - 0.5), math.ceil(px + 0.5 * sx - 0.5)
    r0, r1 = max(r0, 0), min(r1, pixels.shape[0])
    c0, c1 = max(c0, 0), min(c1, pixels.shape[1])
    best, most = nearest, 0
    for r in range(r0, r1):
        for c in range(c0, c1):
            value = pixels[r, c]
            if value != value or (has_nodata and value == nodata):
                continue
            count = 0
            for q in range(r0, r1):
                for d in range(c0, c1):
                    count += pixels[q, d] == value
            if count > most:
                best, most = value, count
    return best
