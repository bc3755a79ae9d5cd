"""Mean, standard deviation, extremes and counts."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from odc_bdc.compositing.kernels import arrays
from odc_bdc.compositing.kernels.blocks import STRIP
from odc_bdc.compositing.kernels.jit import kernel
from odc_bdc.compositing.kernels.strips import add, rows, store_mean, tallies
from odc_bdc.errors import InvalidValueError
from odc_bdc.function import Rounding

_LOWEST, _HIGHEST, _RANGE = 0, 1, 2

_WIDER = {
    "int8": "int16",
    "uint8": "int16",
    "int16": "int32",
    "uint16": "int32",
    "int32": "int64",
    "uint32": "int64",
}


def mean(
    band: npt.ArrayLike,
    clear: npt.ArrayLike,
    *,
    nodata: float | None = None,
    rounding: Rounding = "half_even",
    threads: int = 1,
) -> npt.NDArray[Any]:
    """Give the mean over time of what is clear.

    Parameters
    ----------
    band, clear, nodata, threads
        As of `median`.
    rounding
        How the exact mean becomes an integer; floats are summed in float64 and not rounded.

    Returns
    -------
    numpy.ndarray
        (y, x) in the band's dtype.

    Raises
    ------
    InvalidValueError
        If shapes, dtypes, `nodata` or `rounding` do not fit.
    """
    values = arrays.flat(band, "band")
    mask = arrays.flat_mask(clear, np.asarray(band), "clear")
    out = np.empty(values.shape[1], values.dtype)
    code, empty = arrays.rounding_code(rounding), arrays.filler(nodata, values.dtype)
    run = partial(_mean, values, mask, arrays.accumulator(values.dtype), code, empty, out)
    arrays.over_pixels(run, out.size, threads)
    return out.reshape(np.shape(band)[1:])


def std(
    band: npt.ArrayLike,
    clear: npt.ArrayLike,
    *,
    ddof: int = 0,
    min_count: int = 1,
    nodata: float | None = None,
    threads: int = 1,
) -> npt.NDArray[np.float32]:
    """Give the standard deviation over time of what is clear.

    Parameters
    ----------
    band, clear, threads
        As of `median`.
    ddof
        0 divides by n, 1 by n - 1.
    min_count
        With fewer clear observations there is no result, nor with `ddof` or fewer.
    nodata
        Value where there is no result; None means NaN.

    Returns
    -------
    numpy.ndarray
        float32 (y, x), worked out in float64 from the differences to the mean.

    Raises
    ------
    InvalidValueError
        If shapes, dtypes or numbers do not fit.
    """
    if ddof not in (0, 1):
        raise InvalidValueError(f"ddof must be 0 or 1, not {ddof}")
    values = arrays.flat(band, "band")
    mask = arrays.flat_mask(clear, np.asarray(band), "clear")
    out = np.empty(values.shape[1], np.float32)
    empty = arrays.filler(nodata, np.float32)
    run = partial(_std, values, mask, ddof, max(min_count, ddof + 1), empty, out)
    arrays.over_pixels(run, out.size, threads)
    return out.reshape(np.shape(band)[1:])


def minimum(
    band: npt.ArrayLike,
    clear: npt.ArrayLike,
    *,
    nodata: float | None = None,
    threads: int = 1,
) -> npt.NDArray[Any]:
    """Give the lowest value over time of what is clear; all as of `median`."""
    return _extreme(_LOWEST, band, clear, nodata, threads)


def maximum(
    band: npt.ArrayLike,
    clear: npt.ArrayLike,
    *,
    nodata: float | None = None,
    threads: int = 1,
) -> npt.NDArray[Any]:
    """Give the highest value over time of what is clear; all as of `median`."""
    return _extreme(_HIGHEST, band, clear, nodata, threads)


def value_range(
    band: npt.ArrayLike,
    clear: npt.ArrayLike,
    *,
    nodata: float | None = None,
    threads: int = 1,
) -> npt.NDArray[Any]:
    """Give the highest minus the lowest value over time of what is clear; all as of `median`.

    The result of integers is of the next wider signed type (int16 of 8 bits, int32 of 16, int64 of
    32), for the range of int16 does not fit into int16; so is `nodata`.
    """
    return _extreme(_RANGE, band, clear, nodata, threads)


def count(clear: npt.ArrayLike) -> npt.NDArray[np.uint16]:
    """Give the number of clear observations as uint16 (y, x), which does not saturate."""
    mask = arrays.flat_mask(clear, np.asarray(clear), "clear")
    out: npt.NDArray[np.uint16] = np.count_nonzero(mask, axis=0).astype(np.uint16)
    return out.reshape(np.shape(clear)[1:])


def _extreme(
    which: int, band: npt.ArrayLike, clear: npt.ArrayLike, nodata: float | None, threads: int
) -> npt.NDArray[Any]:
    values = arrays.flat(band, "band")
    mask = arrays.flat_mask(clear, np.asarray(band), "clear")
    name = values.dtype.name
    dtype = np.dtype(_WIDER.get(name, name) if which == _RANGE else name)
    out = np.empty(values.shape[1], dtype)
    ends, empty = arrays.ends(values.dtype), arrays.filler(nodata, dtype)
    run = partial(_extremes, values, mask, ends, which, empty, out)
    arrays.over_pixels(run, out.size, threads)
    return out.reshape(np.shape(band)[1:])


# band, clear (T, N), like (0,) -> out (N,)
@kernel
def _mean(
    band: Any,
    clear: Any,
    like: Any,
    rounding: int,
    nodata: Any,
    out: Any,
    start: int,
    stop: int,
) -> None:
    total, room = rows(1, like)[0], tallies()
    for p in range(start, stop, STRIP):
        n = min(STRIP, stop - p)
        add(band, clear, p, n, total, room)
        store_mean(total, room[0], n, len(band), rounding, nodata, out, p)


# band, clear (T, N) -> out (N,) float32
@kernel
def _std(
    band: Any,
    clear: Any,
    ddof: int,
    min_count: int,
    nodata: Any,
    out: Any,
    start: int,
    stop: int,
) -> None:
    total, room = np.zeros(STRIP, np.float64), tallies()
    count = room[0]
    squares = np.zeros(STRIP, np.float64)
    for p in range(start, stop, STRIP):
        n = min(STRIP, stop - p)
        add(band, clear, p, n, total, room)
        squares[:] = 0
        for x in range(n):
            total[x] /= max(count[x], 1)
        for t in range(len(band)):
            values, mask = band[t, p : p + n], clear[t, p : p + n]
            for x in range(n):
                value = values[x]
                use = (mask[x] != 0) & (value == value)  # false of NaN
                away = np.float64(value) - total[x]
                squares[x] += away * away if use else 0.0
        for x in range(n):
            spread = np.sqrt(squares[x] / max(count[x] - ddof, 1))
            out[p + x] = spread if count[x] >= min_count else nodata


# band, clear (T, N), ends (2,) -> out (N,)
@kernel
def _extremes(
    band: Any, clear: Any, ends: Any, which: int, nodata: Any, out: Any, start: int, stop: int
) -> None:
    lowest, highest = np.full(STRIP, ends[0]), np.full(STRIP, ends[1])
    count = np.zeros(STRIP, np.int16)
    for p in range(start, stop, STRIP):
        n = min(STRIP, stop - p)
        lowest[:], highest[:], count[:] = ends[0], ends[1], 0
        for t in range(len(band)):
            values, mask = band[t, p : p + n], clear[t, p : p + n]
            for x in range(n):
                value = values[x]
                use = (mask[x] != 0) & (value == value)  # false of NaN
                lowest[x] = min(lowest[x], value) if use else lowest[x]
                highest[x] = max(highest[x], value) if use else highest[x]
                count[x] += use
        target = out[p : p + n]
        for x in range(n):
            low, high = lowest[x], highest[x]
            value = low if which == _LOWEST else high if which == _HIGHEST else high - low
            target[x] = value if count[x] > 0 else nodata
