"""Medians and percentiles: reducers that put the observations of a pixel in order."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from odc_bdc.compositing.kernels import arrays
from odc_bdc.compositing.kernels.blocks import STRIP, sort_rows
from odc_bdc.compositing.kernels.jit import kernel
from odc_bdc.compositing.kernels.network import median_network, sorting_network
from odc_bdc.compositing.kernels.strips import (
    finish_median,
    load,
    network_rows,
    pad,
    rows,
    store_percentile,
    tallies,
)
from odc_bdc.errors import InvalidValueError
from odc_bdc.function import Rounding

_MOST_PARTS = 1 << 20


def median(
    band: npt.ArrayLike,
    clear: npt.ArrayLike,
    *,
    nodata: float | None = None,
    rounding: Rounding = "trunc",
    threads: int = 1,
) -> npt.NDArray[Any]:
    """Give the median over time of what is clear.

    Parameters
    ----------
    band
        (time, y, x) of one of `DTYPES`.
    clear
        bool or uint8 of the same shape, from `observe`. NaN is never clear.
    nodata
        Value where nothing is clear; None means 0, or NaN in floats.
    rounding
        Of an even number the mean of the middle two is taken, exactly, and rounded so; floats are
        not rounded.
    threads
        How many work at it.

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
    run = partial(
        _median,
        values,
        mask,
        median_network(len(values)).tables,
        arrays.ends(values.dtype),
        arrays.rounding_code(rounding),
        arrays.filler(nodata, values.dtype),
        out,
    )
    arrays.over_pixels(run, out.size, threads)
    return out.reshape(np.shape(band)[1:])


def percentiles(
    band: npt.ArrayLike,
    clear: npt.ArrayLike,
    percents: Sequence[float],
    *,
    nodata: float | None = None,
    rounding: Rounding = "half_even",
    threads: int = 1,
) -> npt.NDArray[Any]:
    """Give percentiles over time of what is clear, several at once.

    Parameters
    ----------
    band, clear, nodata, threads
        As of `median`.
    percents
        0 to 100. A float counts as the decimal number that it is written as: 2.5 is 5/2.
    rounding
        Of what lies between two observations, worked out exactly; floats are not rounded.

    Returns
    -------
    numpy.ndarray
        (percent, y, x) in the band's dtype.

    Raises
    ------
    InvalidValueError
        As of `median`; or if a percent is not in 0 to 100 or has more than four decimals.

    Notes
    -----
    Linear interpolation between the observations at either side of rank (n - 1) p / 100, numpy's
    method "linear": definition 7 of Hyndman and Fan, The American Statistician 50 (1996).
    """
    values = arrays.flat(band, "band")
    mask = arrays.flat_mask(clear, np.asarray(band), "clear")
    places = [_places(p, len(values)) for p in percents]
    out = np.empty((len(places), values.shape[1]), values.dtype)
    if places:
        run = partial(
            _percentiles,
            values,
            mask,
            sorting_network(len(values)).tables,
            arrays.ends(values.dtype)[[0, 0]],
            tuple(np.stack(column) for column in zip(*places, strict=True)),
            arrays.rounding_code(rounding),
            arrays.filler(nodata, values.dtype),
            out,
        )
        arrays.over_pixels(run, values.shape[1], threads)
    return out.reshape(len(places), *np.shape(band)[1:])


def _places(percent: float, times: int) -> tuple[Any, Any, Any]:
    """Give whole and broken part of a percentile's rank for each count, and what breaks it."""
    share = Fraction(str(percent)) / 100
    if not 0 <= share <= 1:
        raise InvalidValueError(f"percentile {percent} is not in 0 to 100")
    if share.denominator > _MOST_PARTS:
        raise InvalidValueError(f"percentile {percent} has more than four decimals")
    before = np.maximum(np.arange(times + 1) - 1, 0) * share.numerator
    whole, part = np.divmod(before, share.denominator)
    return whole.astype(np.intp), part.astype(np.int64), np.int64(share.denominator)


# band, clear (T, N), network, ends (2,) -> out (N,)
@kernel
def _median(
    band: Any,
    clear: Any,
    network: Any,
    ends: Any,
    rounding: int,
    nodata: Any,
    out: Any,
    start: int,
    stop: int,
) -> None:
    work, filler = rows(network_rows(network) + 2, band), rows(1, band)[0]
    pad(work, network, ends, 1)
    room = tallies()
    for p in range(start, stop, STRIP):
        n = min(STRIP, stop - p)
        load(band, clear, p, p, n, network[1], ends, filler, work, room)
        finish_median(work, 0, network, ends, room[0], n, rounding, nodata, out, p)


# band, clear (T, N), network, highs (2,), places ((P, T + 1), (P, T + 1), (P,)) -> out (P, N)
@kernel
def _percentiles(
    band: Any,
    clear: Any,
    network: Any,
    highs: Any,
    places: Any,
    rounding: int,
    nodata: Any,
    out: Any,
    start: int,
    stop: int,
) -> None:
    ranks, shares, parts = places
    work, filler = rows(network_rows(network), band), rows(1, band)[0]
    pad(work, network, highs, 1)
    room, flat = tallies(), work.reshape(work.size)
    sides, share = rows(2, band), np.zeros(STRIP, np.float32)
    for p in range(start, stop, STRIP):
        n = min(STRIP, stop - p)
        load(band, clear, p, p, n, network[1], highs, filler, work, room)
        sort_rows(flat, 0, len(work), n, network[0])
        for j in range(len(parts)):
            place = ranks[j], shares[j], parts[j]
            store_percentile(work, room[0], n, place, sides, share, rounding, nodata, out[j], p)
