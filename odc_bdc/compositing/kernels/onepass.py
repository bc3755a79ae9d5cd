"""Several composites of several bands from one pass over the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from odc_bdc.compositing.kernels import arrays
from odc_bdc.compositing.kernels.jit import kernel
from odc_bdc.compositing.kernels.network import median_network
from odc_bdc.compositing.kernels.observing import data_source, quality_codes
from odc_bdc.compositing.kernels.strips import (
    STRIP,
    add,
    load,
    observe_strip,
    pick,
    rows,
    sort_rows,
    store_count,
    store_mean,
    store_median,
    take,
)
from odc_bdc.function import Rounding


@dataclass(frozen=True, slots=True)
class Composites:
    """What `composites` gives; None what was not asked for.

    Attributes
    ----------
    clearob, totalob
        uint8 (y, x), as of `observe`.
    median, mean, first
        Bands (y, x) in the order given and in their dtype.
    picked
        int16 (y, x): the position along time that `first` is from, -1 where there is none.
    """

    clearob: npt.NDArray[np.uint8]
    totalob: npt.NDArray[np.uint8]
    median: tuple[npt.NDArray[Any], ...] | None
    mean: tuple[npt.NDArray[Any], ...] | None
    first: tuple[npt.NDArray[Any], ...] | None
    picked: npt.NDArray[np.int16] | None


def composites(
    quality: npt.ArrayLike,
    table: npt.NDArray[np.uint8],
    bands: Sequence[npt.ArrayLike],
    nodata: Sequence[float | None],
    *,
    median: Rounding | None = None,
    mean: Rounding | None = None,
    order: npt.ArrayLike | None = None,
    fallback: bool = True,
    known: npt.ArrayLike | None = None,
    threads: int = 1,
) -> Composites:
    """Composite bands of one dtype, and read each of them but once.

    Gives the same as `observe` with `median`, `mean`, `first` and `gather`, one after the other, in
    less time and without masks in memory.

    Parameters
    ----------
    quality, table, bands, nodata, threads
        As of `observe`, but that all bands are of one dtype.
    median, mean
        Rounding of either; None if it is not wanted.
    order
        Positions along time, best first, for the first clear observation; None if it is not wanted.
    fallback
        Take the first that has data, though cloudy, where none is clear.
    known
        bool or uint8 like `quality`: where observations have data in bands that are not given here.

    Raises
    ------
    InvalidValueError
        If shapes, dtypes, nodata values, roundings or positions do not fit.
    """
    shape = np.shape(quality)
    codes, meaning = quality_codes(quality, table)
    arrays.flat_bands(bands, shape)  # one dtype
    source = data_source(bands, nodata, shape, known=known)
    number, pixels = len(bands), codes.shape[1]
    dtype = source[0][0].dtype
    wanted = median is not None, mean is not None, order is not None
    out = [np.empty((number if want else 0, pixels), dtype) for want in wanted]
    picked = np.empty(pixels if wanted[2] else 0, np.int16)
    counts = np.empty(pixels, np.uint8), np.empty(pixels, np.uint8)
    run = partial(
        _composites,
        codes,
        meaning,
        source,
        arrays.positions(() if order is None else order, len(codes)),
        fallback,
        median_network(len(codes)),
        arrays.ends(dtype),
        arrays.accumulator(dtype),
        (arrays.rounding_code(median or "trunc"), arrays.rounding_code(mean or "half_even")),
        np.array([arrays.filler(v, dtype) for v in nodata], dtype=dtype),
        (*out, picked, *counts),
    )
    arrays.over_pixels(run, pixels, threads)
    image = shape[1:]
    made = [
        tuple(a.reshape(image) for a in o) if w else None for o, w in zip(out, wanted, strict=True)
    ]
    return Composites(
        counts[0].reshape(image),
        counts[1].reshape(image),
        made[0],
        made[1],
        made[2],
        picked.reshape(image) if wanted[2] else None,
    )


# quality (T, N), meaning, source, order (m,), network, ends (2,), like (0,), two roundings, nodata
# by band -> results: median, mean and first, each (bands, N) or (0, N), picked (N,) or (0,),
# then clearob and totalob (N,)
@kernel
def _composites(
    quality: Any,
    meaning: Any,
    source: Any,
    order: Any,
    fallback: bool,  # noqa: FBT001  # kernels take no keywords
    network: Any,
    ends: Any,
    like: Any,
    roundings: Any,
    nodata: Any,
    results: Any,
    start: int,
    stop: int,
) -> None:
    bands, number = source[0], source[1]
    medians, means, firsts, picks, clearob, totalob = results
    times = len(quality)
    data, clear, work = rows(times, clearob), rows(times, clearob), rows(times, bands[0])
    count, seen = np.zeros(STRIP, np.int16), np.zeros(STRIP, np.int16)
    picked, code = np.zeros(STRIP, np.int16), np.zeros(STRIP, np.uint8)
    total = np.zeros(STRIP, like.dtype)
    for p in range(start, stop, STRIP):
        n = min(STRIP, stop - p)
        observe_strip(quality, meaning, source, p, 0, n, (data, clear, count, seen, code))
        store_count(count, n, clearob, p)
        store_count(seen, n, totalob, p)
        if len(firsts):
            picked[:n] = -1
            pick(clear, 0, n, order, picked)
            if fallback:
                pick(data, 0, n, order, picked)
            picks[p : p + n] = picked[:n]
        for b in range(number):
            band = bands[b]
            if len(medians):
                load(band, clear, p, 0, n, ends, work, count)
                sort_rows(work, n, network)
                store_median(work, count, n, roundings[0], nodata[b], medians[b], p)
            if len(means):
                add(band, clear, p, 0, n, total, count)
                store_mean(total, count, n, roundings[1], nodata[b], means[b], p)
            if len(firsts):
                take(band, picked, n, nodata[b], firsts[b], p)
