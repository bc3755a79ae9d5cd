"""What the public functions do to their arguments before a kernel sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from odc_bdc.compositing.kernels.arithmetic import ROUNDING_CODES
from odc_bdc.compositing.kernels.blocks import STRIP
from odc_bdc.errors import InvalidValueError
from odc_bdc.function import Rounding, check_rounding

DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")
"""What a band may be."""

BANDS_AT_ONCE = 16
"""Bands come to a kernel as a tuple of a multiple of so many, that few sizes are compiled."""

_MOST_TIMES = 32767
"""Counts and positions are int16, and sums of 16-bit values int32."""


def flat(stack: npt.ArrayLike, what: str, dtypes: Sequence[str] = DTYPES) -> npt.NDArray[Any]:
    """Give a stack (time, y, x) as a read-only array (time, pixels) in C order.

    No copy is made of what lies in C order, aligned and in the byte order of the machine.
    """
    array = np.asarray(stack)
    if array.ndim != 3:
        raise InvalidValueError(f"{what} must be (time, y, x), not of shape {array.shape}")
    native = array.dtype.newbyteorder("=")
    if native.name not in dtypes:
        raise InvalidValueError(f"{what} is {native}; known: {', '.join(dtypes)}")
    times, height, width = array.shape
    check_times(times, what)
    return read_only(array.reshape(times, height * width), native)


def check_times(times: int, what: str) -> None:
    """See that counts and positions along time can be held."""
    if times > _MOST_TIMES:
        raise InvalidValueError(f"{what} has {times} times; {_MOST_TIMES} are the most")


def read_only(array: npt.NDArray[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Give a view that a kernel takes: numba compiles anew for each kind of layout and flags."""
    view = np.require(array, dtype, ["C", "A"]).view()
    view.setflags(write=False)
    return view


def flat_mask(mask: npt.ArrayLike, like: npt.NDArray[Any], what: str) -> npt.NDArray[np.uint8]:
    """Give a mask as read-only uint8 (time, pixels), for a stack given as `like`."""
    array = np.asarray(mask)
    if array.shape != np.shape(like):
        raise InvalidValueError(f"{what} has shape {array.shape}, the band {np.shape(like)}")
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    return flat(array, what, ("uint8",))


def flat_bands(
    bands: Sequence[npt.ArrayLike], shape: tuple[int, ...]
) -> tuple[npt.NDArray[Any], ...]:
    """Give bands of one dtype and shape as a tuple that is padded by its first."""
    out = [flat(band, f"band {i}") for i, band in enumerate(bands)]
    if not out:
        raise InvalidValueError("no band is given")
    for i, (given, band) in enumerate(zip(bands, out, strict=True)):
        if np.shape(given) != shape:
            raise InvalidValueError(f"band {i} has shape {np.shape(given)}, quality {shape}")
        if band.dtype != out[0].dtype:
            raise InvalidValueError(f"band {i} is {band.dtype}, band 0 {out[0].dtype}: one dtype")
    return padded(out)


def padded(arrays: Sequence[npt.NDArray[Any]]) -> tuple[npt.NDArray[Any], ...]:
    """Give a tuple of a multiple of `BANDS_AT_ONCE`; what is added repeats the first."""
    return (*arrays, *[arrays[0]] * (-len(arrays) % BANDS_AT_ONCE))


def filler(nodata: float | None, dtype: npt.DTypeLike) -> Any:
    """Give the value of pixels without a result, as a scalar of a dtype.

    None becomes 0 in integers and NaN in floats.
    """
    kind: np.dtype[Any] = np.dtype(dtype)
    if nodata is None:
        return kind.type(np.nan if kind.kind == "f" else 0)
    if kind.kind != "f":
        info = np.iinfo(kind)
        if not float(nodata).is_integer() or not info.min <= nodata <= info.max:
            raise InvalidValueError(f"nodata {nodata} is not a value of {kind}")
    return kind.type(nodata)


def nodata_values(
    nodata: Sequence[float | None], dtype: npt.DTypeLike, number: int
) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]:
    """Give nodata values of bands as an array, and 1 for each band that has none."""
    if len(nodata) != number:
        raise InvalidValueError(f"{len(nodata)} nodata values are given for {number} bands")
    values = np.array([filler(v, dtype) for v in nodata], dtype=dtype)
    return values, np.array([v is None for v in nodata], dtype=np.uint8)


def ends(dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Give the highest and the lowest value of a dtype."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return np.array([np.inf, -np.inf], dtype=kind)
    return np.array([np.iinfo(kind).max, np.iinfo(kind).min], dtype=kind)


def accumulator(dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Give an empty array of the dtype in which sums are exact (of floats: float64)."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return np.empty(0, np.float64)
    return np.empty(0, np.int32 if kind.itemsize <= 2 else np.int64)


def positions(order: npt.ArrayLike, times: int) -> npt.NDArray[np.intp]:
    """Check positions along time."""
    array = np.asarray(order)
    if array.size == 0:
        array = array.astype(np.intp)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InvalidValueError("order must be a list of positions along time")
    if array.size and not (array.min() >= 0 and array.max() < times):
        raise InvalidValueError(f"order holds positions that are not in 0 to {times - 1}")
    return read_only(array, np.intp)


def rounding_code(rounding: Rounding) -> int:
    """Give the number by which kernels know a rounding."""
    check_rounding(rounding)
    return ROUNDING_CODES[rounding]


def over_pixels(run: Callable[[int, int], None], pixels: int, threads: int = 1) -> None:
    """Call `run(start, stop)` for ranges that make up all pixels, in several threads.

    `run` must release the GIL, as kernels do, and write nothing outside of its range. The pool
    lives as long as the call: nothing is left that a fork could break.
    """
    if threads < 1:
        raise InvalidValueError(f"threads must be 1 or more, not {threads}")
    strips = -(-pixels // STRIP)
    if threads == 1 or strips < 2:
        run(0, pixels)
        return
    # More parts than threads: one that is held up does not hold up the others.
    parts = min(strips, 4 * threads)
    bounds = [min(pixels, STRIP * (strips * i // parts)) for i in range(parts + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, bounds[:-1], bounds[1:]))
