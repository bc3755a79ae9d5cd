"""Functions that take each pixel from one observation, and the values of that observation."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from odc_bdc.compositing.kernels import arrays
from odc_bdc.compositing.kernels.blocks import STRIP
from odc_bdc.compositing.kernels.images import images
from odc_bdc.compositing.kernels.jit import kernel
from odc_bdc.compositing.kernels.strips import pick, take
from odc_bdc.errors import InvalidValueError


def first(
    clear: npt.ArrayLike,
    order: npt.ArrayLike,
    *,
    fallback: npt.ArrayLike | None = None,
    threads: int = 1,
) -> npt.NDArray[np.int16]:
    """Give the position of the first observation in an order that is clear.

    Parameters
    ----------
    clear
        bool or uint8 (time, y, x).
    order
        Positions along time, best first. Those that it leaves out are not looked at.
    fallback
        Mask like `clear`: where no observation is clear, the first of these is taken. `has_data` of
        `observe` fills pixels that are never clear with the best scene, though cloudy.
    threads
        How many work at it.

    Returns
    -------
    numpy.ndarray
        int16 (y, x): positions along time, -1 where there is none.

    Raises
    ------
    InvalidValueError
        If shapes do not fit, or `order` holds what is no position.
    """
    mask = arrays.flat_mask(clear, np.asarray(clear), "clear")
    other = mask if fallback is None else arrays.flat_mask(fallback, np.asarray(clear), "fallback")
    out = np.empty(mask.shape[1], np.int16)
    run = partial(_first, mask, other, arrays.positions(order, len(mask)), out)
    arrays.over_pixels(run, out.size, threads)
    return out.reshape(np.shape(clear)[1:])


def best(
    score: npt.ArrayLike, clear: npt.ArrayLike, order: npt.ArrayLike, *, threads: int = 1
) -> npt.NDArray[np.int16]:
    """Give the position of the clear observation with the highest score.

    Parameters
    ----------
    score
        (time, y, x) of one of `DTYPES`, such as a vegetation index. NaN is never taken.
    clear, order, threads
        As of `first`. Of equal scores the first in the order is taken.

    Returns
    -------
    numpy.ndarray
        int16 (y, x): positions along time, -1 where there is none.

    Raises
    ------
    InvalidValueError
        As of `first`.
    """
    values = arrays.flat(score, "score")
    mask = arrays.flat_mask(clear, np.asarray(score), "clear")
    out = np.empty(values.shape[1], np.int16)
    run = partial(_best, values, mask, arrays.positions(order, len(values)), out)
    arrays.over_pixels(run, out.size, threads)
    return out.reshape(np.shape(score)[1:])


def gather(
    band: npt.ArrayLike,
    picked: npt.ArrayLike,
    *,
    nodata: float | None = None,
    threads: int = 1,
) -> npt.NDArray[Any]:
    """Take the value of each pixel's picked observation.

    Parameters
    ----------
    band
        (time, y, x) of one of `DTYPES`, or a list of images (y, x).
    picked
        int16 (y, x), from `first` or `best`.
    nodata
        Value where that is negative; None means 0, or NaN in floats.
    threads
        How many work at it.

    Returns
    -------
    numpy.ndarray
        (y, x) in the band's dtype.

    Raises
    ------
    InvalidValueError
        If shapes or dtypes do not fit, or a position is beyond the last.
    """
    values = images(band, "band")
    where = np.asarray(picked)
    shape = values.shape[1:]
    if where.shape != shape or where.dtype != np.int16:
        raise InvalidValueError(f"picked must be int16 {shape}, not {where.dtype} {where.shape}")
    if where.size and where.max() >= values.shape[0]:
        raise InvalidValueError(
            f"picked holds {where.max()}; the last position is {values.shape[0] - 1}"
        )
    out = np.empty(values.pixels, values.like.dtype)
    flat = arrays.read_only(where.reshape(-1), np.int16)
    run = partial(_gather, values.table, flat, arrays.filler(nodata, out.dtype), out)
    arrays.over_pixels(run, out.size, threads)
    return out.reshape(shape)


def of_time(
    values: npt.ArrayLike, picked: npt.NDArray[np.int16], *, dtype: npt.DTypeLike, nodata: int
) -> npt.NDArray[Any]:
    """Take one of the values by time, such as days of the year, for each pixel's observation.

    Parameters
    ----------
    values
        One for each time.
    picked
        From `first` or `best`.
    dtype, nodata
        Of the result, and its value where nothing is picked.

    Returns
    -------
    numpy.ndarray
        Of the shape of `picked`.
    """
    # Position -1 is the last entry.
    entries = np.append(np.asarray(values, dtype=dtype), np.asarray([nodata], dtype=dtype))
    out: npt.NDArray[Any] = entries[np.maximum(picked, -1)]
    return out


# clear, fallback (T, N), order (m,) -> out (N,) int16
@kernel
def _first(clear: Any, fallback: Any, order: Any, out: Any, start: int, stop: int) -> None:
    for p in range(start, stop, STRIP):
        n = min(STRIP, stop - p)
        picked = out[p : p + n]
        picked[:] = -1
        pick(clear, p, n, order, picked)
        pick(fallback, p, n, order, picked)


# score, clear (T, N), order (m,) -> out (N,) int16
@kernel
def _best(score: Any, clear: Any, order: Any, out: Any, start: int, stop: int) -> None:
    top = np.zeros(STRIP, score.dtype)
    for p in range(start, stop, STRIP):
        n = min(STRIP, stop - p)
        picked = out[p : p + n]
        picked[:] = -1
        for k in order:
            values, mask = score[k, p : p + n], clear[k, p : p + n]
            for x in range(n):
                value = values[x]
                use = (mask[x] != 0) & (value == value)  # false of NaN
                use &= (picked[x] < 0) | (value > top[x])
                top[x] = value if use else top[x]
                picked[x] = np.int16(k) if use else picked[x]


# band: table of Images, picked (N,) int16 -> out (N,)
@kernel
def _gather(band: Any, picked: Any, nodata: Any, out: Any, start: int, stop: int) -> None:
    for p in range(start, stop, STRIP):
        n = min(STRIP, stop - p)
        take(band, picked[p : p + n], n, nodata, out, p)
