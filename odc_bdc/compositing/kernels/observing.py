"""From quality and bands to what counts: clear observations, and how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from odc_bdc.compositing.kernels import arrays
from odc_bdc.compositing.kernels.blocks import STRIP
from odc_bdc.compositing.kernels.images import Images, images, pixels_at
from odc_bdc.compositing.kernels.jit import kernel
from odc_bdc.compositing.kernels.strips import (
    clear_tallies,
    data_row,
    decode,
    observe_row,
    store_count,
    tallies,
)
from odc_bdc.errors import InvalidValueError

NODATA, SEEN, CLEAR = 0, 1, 2
"""Entries of a quality table."""

_MOST_RUNS = 5
"""Runs of values up to which comparisons are quicker than a look-up."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What `observe` finds.

    Attributes
    ----------
    clear, has_data
        bool (time, y, x).
    clearob, totalob
        uint8 (y, x): how many observations are clear, and how many have data and a quality that is
        not nodata. Beyond 255 they stay 255.
    """

    clear: npt.NDArray[np.bool_]
    has_data: npt.NDArray[np.bool_]
    clearob: npt.NDArray[np.uint8]
    totalob: npt.NDArray[np.uint8]


def observe(
    quality: npt.ArrayLike,
    table: npt.NDArray[np.uint8],
    bands: Sequence[npt.ArrayLike],
    nodata: Sequence[float | None],
    *,
    threads: int = 1,
) -> Observed:
    """Tell which observations count.

    An observation has data where every band differs from its nodata value, and NaN. It is clear
    where it has data and the quality says so.

    Parameters
    ----------
    quality
        (time, y, x), integer of 8 or 16 bits; or a list of images (y, x), which are not joined.
    table
        What the values of `quality` mean, by their bits read as unsigned: uint8 (256,) or
        (65536,), 0 nodata, 1 seen, 2 clear; from `odc_bdc.quality.QualityPolicy.table`. Pixels of
        a wider type may be classed before, and given as 0, 1, 2 with a table that says the same.
    bands
        Arrays, or lists of images, of the same shape and of any of `DTYPES`.
    nodata
        Of each band; None if it has none.
    threads
        How many work at it.

    Raises
    ------
    InvalidValueError
        If shapes, dtypes or nodata values do not fit.

    Notes
    -----
    Rules: Semantics, "Observation" and "Counts" (`docs/why/semantics.md`).
    """
    codes, meaning = quality_codes(quality, table)
    stacks, shape, pixels = band_images(bands, codes.shape), codes.shape, codes.pixels
    source = data_source(stacks, nodata, threads=threads)
    has_data, clear = (np.empty((shape[0], pixels), np.uint8) for _ in range(2))
    clearob, totalob = (np.empty(pixels, np.uint8) for _ in range(2))
    run = partial(_observe, codes.table, meaning, source, has_data, clear, clearob, totalob)
    arrays.over_pixels(run, pixels, threads)
    return Observed(
        clear.view(np.bool_).reshape(shape),
        has_data.view(np.bool_).reshape(shape),
        clearob.reshape(shape[1:]),
        totalob.reshape(shape[1:]),
    )


def count_clear(quality: npt.ArrayLike, table: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Count the pixels of each time that the quality calls clear, whatever the bands hold.

    Parameters
    ----------
    quality, table
        As of `observe`.

    Returns
    -------
    numpy.ndarray
        int64 (time,).

    Raises
    ------
    InvalidValueError
        As of `observe`.
    """
    codes, meaning = quality_codes(quality, table)
    out = np.zeros(codes.shape[0], np.int64)
    _count_clear(codes.table, meaning, codes.pixels, out)
    return out


def classify(quality: npt.ArrayLike, table: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Say what each pixel is by its quality: 0 nodata, 1 seen, 2 clear.

    Parameters
    ----------
    quality, table
        As of `observe`.

    Returns
    -------
    numpy.ndarray
        uint8 (time, y, x).

    Raises
    ------
    InvalidValueError
        As of `observe`.
    """
    codes, meaning = quality_codes(quality, table)
    out = np.empty((codes.shape[0], codes.pixels), np.uint8)
    _classify(codes.table, meaning, out)
    return out.reshape(codes.shape)


def quality_codes(
    quality: npt.ArrayLike, table: npt.NDArray[np.uint8]
) -> tuple[Images, tuple[npt.NDArray[Any], ...]]:
    """Give a quality band as unsigned images, and what it means, as kernels take it."""
    codes = images(quality, "quality", ("uint8", "int8", "uint16", "int16"))
    size = 256**codes.like.itemsize
    if np.shape(table) != (size,):
        raise InvalidValueError(
            f"the table of {codes.like.dtype} quality has {size} entries, not {np.shape(table)}"
        )
    if np.max(table) > CLEAR:
        raise InvalidValueError(f"a quality table holds 0, 1 and 2, not {np.max(table)}")
    unsigned = replace(codes, like=codes.like.view(f"uint{8 * codes.like.itemsize}"))
    return unsigned, (arrays.read_only(table, np.uint8), *_runs(table, unsigned.like.dtype))


def _runs(table: npt.NDArray[np.uint8], dtype: np.dtype[Any]) -> tuple[Any, Any, Any]:
    """Give the runs of values that are seen (bit 0) and clear (bit 1): first, length - 1, bit.

    None at all if there are many: a look-up is quicker then.
    """
    found = []
    for bit, wanted in ((1, table != NODATA), (2, table == CLEAR)):
        edges = np.flatnonzero(np.diff(np.concatenate(([False], wanted, [False]))))
        found += [(a, b - 1 - a, bit) for a, b in edges.reshape(-1, 2).tolist()]
    if len(found) > _MOST_RUNS:
        found = []
    low, width, bits = np.array(found, dtype=np.int64).reshape(-1, 3).T
    return low.astype(dtype), width.astype(dtype), bits.astype(np.uint8)


def band_images(bands: Sequence[npt.ArrayLike], shape: tuple[int, ...]) -> list[Images]:
    """Give bands as images of the shape of the quality band."""
    out = [images(band, f"band {i}") for i, band in enumerate(bands)]
    if not out:
        raise InvalidValueError("no band is given")
    for i, band in enumerate(out):
        if band.shape != shape:
            raise InvalidValueError(f"band {i} has shape {band.shape}, quality {shape}")
    return out


Source = tuple[
    npt.NDArray[np.int64], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.uint8], Any
]
"""Addresses and `like` of bands of one dtype, nodata values, which have none, what others say."""


def data_source(
    bands: Sequence[Images],
    nodata: Sequence[float | None],
    *,
    known: npt.ArrayLike | None = None,
    threads: int = 1,
) -> Source:
    """Give what a kernel needs to tell where there is data, as long as the bands are held.

    A kernel takes bands of one dtype. Those of the first band's dtype become it; what the others
    say is worked out here, and joins `known`, a mask of what has data elsewhere.
    """
    if len(nodata) != len(bands):
        raise InvalidValueError(f"{len(nodata)} nodata values are given for {len(bands)} bands")
    groups: dict[Any, list[int]] = {}
    for i, band in enumerate(bands):
        groups.setdefault(band.like.dtype, []).append(i)
    first, *others = groups.values()
    for group in others:
        source = _source([bands[i] for i in group], [nodata[i] for i in group], known)
        has_data = np.empty((bands[0].shape[0], bands[0].pixels), np.uint8)
        arrays.over_pixels(partial(_has_data, source, has_data), bands[0].pixels, threads)
        known = has_data.reshape(bands[0].shape)
    return _source([bands[i] for i in first], [nodata[i] for i in first], known)


def _source(
    bands: Sequence[Images], nodata: Sequence[float | None], known: npt.ArrayLike | None
) -> Source:
    like = bands[0].like
    values, any_value = arrays.nodata_values(nodata, like.dtype, len(bands))
    addresses = arrays.read_only(np.stack([band.addresses for band in bands]), np.int64)
    if known is None:
        known = np.empty((0, 0, 0), np.uint8)
    return addresses, like, values, any_value, arrays.flat_mask(known, np.asarray(known), "known")


# quality: table of Images, meaning, source
# -> has_data, clear (T, N) uint8, clearob, totalob (N,) uint8
@kernel
def _observe(
    quality: Any,
    meaning: Any,
    source: Any,
    has_data: Any,
    clear: Any,
    clearob: Any,
    totalob: Any,
    start: int,
    stop: int,
) -> None:
    room = tallies()
    count, seen = room[0], room[1]
    for p in range(start, stop, STRIP):
        n = min(STRIP, stop - p)
        clear_tallies(room)
        for t in range(has_data.shape[0]):
            has, is_clear = has_data[t, p : p + n], clear[t, p : p + n]
            observe_row(quality, meaning, source, t, p, has, is_clear, room)
        store_count(count, n, clearob, p)
        store_count(seen, n, totalob, p)


# source -> has_data (T, N) uint8
@kernel
def _has_data(source: Any, has_data: Any, start: int, stop: int) -> None:
    for t in range(has_data.shape[0]):
        for p in range(start, stop, STRIP):
            n = min(STRIP, stop - p)
            data_row(source, t, p, n, has_data[t, p : p + n])


# quality: table of Images, meaning -> out (T,) int64
@kernel
def _count_clear(quality: Any, meaning: Any, pixels: int, out: Any) -> None:
    (addresses, like), code = quality, tallies()[4]
    for t in range(len(out)):
        for p in range(0, pixels, STRIP):
            n = min(STRIP, pixels - p)
            decode(pixels_at(addresses[t], like, p, n), meaning, code)
            clear = 0
            for x in range(n):
                clear += code[x] >> 1
            out[t] += clear


# quality: table of Images, meaning -> out (T, N) uint8
@kernel
def _classify(quality: Any, meaning: Any, out: Any) -> None:
    addresses, like = quality
    for t in range(out.shape[0]):
        for p in range(0, out.shape[1], STRIP):
            n = min(STRIP, out.shape[1] - p)
            row = out[t, p : p + n]
            decode(pixels_at(addresses[t], like, p, n), meaning, row)
            for x in range(n):
                # Bits of clear and seen: clear is 3 or 2.
                row[x] = min(row[x], 2)
