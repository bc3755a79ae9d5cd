"""Several composites of several bands from one pass over the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from odc_bdc.compositing.kernels import arrays
from odc_bdc.compositing.kernels.arithmetic import is_whole
from odc_bdc.compositing.kernels.blocks import STRIP
from odc_bdc.compositing.kernels.images import pixels_at
from odc_bdc.compositing.kernels.jit import inner, kernel
from odc_bdc.compositing.kernels.network import median_network
from odc_bdc.compositing.kernels.observing import band_images, data_source, quality_codes
from odc_bdc.compositing.kernels.strips import (
    NO_PLACE,
    add_row,
    add_rows,
    choose_row,
    clear_tallies,
    compare_row,
    fill_row,
    finish_median,
    network_rows,
    observe_row,
    pad,
    place_row,
    rows,
    store_count,
    store_mean,
    take_out,
    tallies,
    turn_row,
)
from odc_bdc.errors import InvalidValueError
from odc_bdc.function import Rounding


@dataclass(frozen=True, slots=True)
class Composites:
    """What `composites` gives; None what was not asked for.

    Attributes
    ----------
    clearob, totalob
        uint8 (y, x), as of `observe`.
    median, mean, first
        (band, y, x), in the order and the dtype of the bands.
    picked
        int16 (y, x): the position along time that `first` is from, -1 where there is none.
    """

    clearob: npt.NDArray[np.uint8]
    totalob: npt.NDArray[np.uint8]
    median: npt.NDArray[Any] | None
    mean: npt.NDArray[Any] | None
    first: npt.NDArray[Any] | None
    picked: npt.NDArray[np.int16] | None

    @classmethod
    def empty(
        cls,
        shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        *,
        median: bool = False,
        mean: bool = False,
        first: bool = False,
    ) -> Self:
        """Give memory for composites of images (band, y, x) that are not computed yet."""
        image = shape[1:]
        return cls(
            clearob=np.empty(image, np.uint8),
            totalob=np.empty(image, np.uint8),
            median=np.empty(shape, dtype) if median else None,
            mean=np.empty(shape, dtype) if mean else None,
            first=np.empty(shape, dtype) if first else None,
            picked=np.empty(image, np.int16) if first else None,
        )

    def is_like(self, other: Self) -> bool:
        """Tell whether the same is asked for, of bands of the same shape and dtype."""
        return all(
            _form(getattr(self, f.name)) == _form(getattr(other, f.name)) for f in fields(self)
        )


def _form(array: npt.NDArray[Any] | None) -> tuple[Any, ...] | None:
    return None if array is None else (array.shape, array.dtype, array.flags.c_contiguous)


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
    out: Composites | None = None,
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
    out
        Memory for the result: what an earlier call gave that asked for the same, or
        `Composites.empty`. Fresh memory has to be cleared by the system first, which takes up to a
        third of the time.

    Raises
    ------
    InvalidValueError
        If shapes, dtypes, nodata values, roundings, positions or `out` do not fit.
    """
    codes, meaning = quality_codes(quality, table)
    stacks, (times, *image), pixels = band_images(bands, codes.shape), codes.shape, codes.pixels
    for i, band in enumerate(stacks):
        if band.like.dtype != stacks[0].like.dtype:
            kinds = f"band {i} is {band.like.dtype}, band 0 {stacks[0].like.dtype}"
            raise InvalidValueError(f"{kinds}: one dtype")
    source = data_source(stacks, nodata, known=known)
    number, dtype = len(bands), source[1].dtype
    wanted = {"median": median is not None, "mean": mean is not None, "first": order is not None}
    fresh = Composites.empty((number, *image), dtype, **wanted)
    if out is not None and not out.is_like(fresh):
        raise InvalidValueError("out is no memory for what is asked for: use Composites.empty")
    made = fresh if out is None else out
    run = partial(
        _composites,
        (codes.table, meaning, source),
        _ranks(arrays.positions(() if order is None else order, times), times, fallback),
        median_network(times).tables,
        arrays.ends(dtype),
        arrays.accumulator(dtype),
        (arrays.rounding_code(median or "trunc"), arrays.rounding_code(mean or "half_even")),
        np.array([arrays.filler(v, dtype) for v in nodata], dtype=dtype),
        _flat(made, dtype),
    )
    arrays.over_pixels(run, pixels, threads)
    return made


def _flat(made: Composites, dtype: npt.DTypeLike) -> tuple[npt.NDArray[Any], ...]:
    """Give the memory of composites as a kernel takes it: nothing is of no length."""
    stacks = (made.median, made.mean, made.first)
    bands = [np.empty((0, 0), dtype) if a is None else a.reshape(len(a), -1) for a in stacks]
    picked = np.empty(0, np.int16) if made.picked is None else made.picked.reshape(-1)
    return (*bands, picked, made.clearob.reshape(-1), made.totalob.reshape(-1))


def _ranks(order: npt.NDArray[np.intp], times: int, fallback: bool) -> npt.NDArray[np.uint16]:  # noqa: FBT001
    """Give each time's place if it is clear, and if it is cloudy: after all that are clear."""
    ranks = np.full((2, times), NO_PLACE, np.uint16)
    # Of what is named twice, the first counts.
    ranks[0, order[::-1]] = np.arange(len(order))[::-1]
    if fallback:
        ranks[1, order[::-1]] = ranks[0, order[::-1]] + times
    return arrays.read_only(ranks, np.uint16)


# observations: quality (table of Images), meaning, source; ranks (2, T): see `_ranks`; network:
# tables of a Network, ends (2,) -> results: median, mean and first, each (bands, N) or (0, N),
# picked (N,) or (0,), then clearob and totalob (N,)
@kernel
def _composites(
    observations: Any,
    ranks: Any,
    network: Any,
    ends: Any,
    like: Any,
    roundings: Any,
    nodata: Any,
    results: Any,
    start: int,
    stop: int,
) -> None:
    source = observations[2]
    number, band = len(source[0]), source[1]
    sorts, adds = min(len(results[0]), 1), min(len(results[1]), 1)
    size = network_rows(network) + 2
    work = rows(sorts * size * number, band)
    if sorts:
        pad(work, network, ends, number)
    observed, places = rows(3, np.empty(0, np.uint8)), rows(2, np.empty(0, np.uint16))
    room = observed, places, rows(1, band)[0], work, rows(adds * number, like), tallies()
    for p in range(start, stop, STRIP):
        n = min(STRIP, stop - p)
        _begin(ends, nodata, results, p, n, room)
        for t in range(ranks.shape[1]):
            _observe(observations, ranks, t, results, p, n, room)
            _keep(source, network[1][t], t, ends, results, p, n, room)
        _store(network, ends, roundings, nodata, results, p, n, room)


@inner
def _begin(ends: Any, nodata: Any, results: Any, p: int, n: int, room: Any) -> None:
    _, places, filler, _, totals, tally = room
    _, _, firsts, picks, _, _ = results
    clear_tallies(tally)
    filler[:] = ends[0]
    totals[:] = 0
    places[1] = NO_PLACE
    if len(picks):
        picks[p : p + n] = -1
    for b in range(len(firsts)):
        firsts[b, p : p + n] = nodata[b]


# -> has data, clear, better than before (uint8 rows of the room); counts; picked of the results
@inner
def _observe(
    observations: Any, ranks: Any, t: int, results: Any, p: int, n: int, room: Any
) -> None:
    """Look at all pixels of a strip at one time."""
    quality, meaning, source = observations
    observed, places, tally, picks = room[0], room[1], room[5], results[3]
    has, clear, better, none = observed[0, :n], observed[1, :n], observed[2, :n], np.uint8(0)
    observe_row(quality, meaning, source, t, p, has, clear, tally)
    if len(picks):
        place, target, k = places[0, :n], picks[p : p + n], np.int16(t)
        place_row(has, clear, ranks[0, t], ranks[1, t], place)
        compare_row(place, places[1, :n], better)
        for x in range(n):
            before = target[x]
            target[x] = k if better[x] != none else before


# -> work and totals of the room; firsts of the results
@inner
def _keep(
    source: Any, row: int, t: int, ends: Any, results: Any, p: int, n: int, room: Any
) -> None:
    """Keep what the composites need of one time, while it is in the nearest cache."""
    observed, _, filler, work, totals, _ = room
    addresses, like = source[0], source[1]
    medians, means, firsts = results[0], results[1], results[2]
    clear, better, turn, number = observed[1, :n], observed[2, :n], filler[:n], len(addresses)
    for b in range(number):
        values = pixels_at(addresses[b, t], like, p, n)
        if len(medians):
            fill_row(values, clear, turn, work[len(work) // number * b + row])
        if len(means) and not _sums_work(results, totals):
            add_row(values, clear, totals[b])
        if len(firsts):
            choose_row(better, values, firsts[b, p : p + n])
    if len(medians):
        turn_row(clear, ends, turn)


@inner
def _sums_work(results: Any, totals: Any) -> bool:
    """Tell whether means come from the rows kept for medians: with infinite fillers they cannot."""
    return len(results[0]) > 0 and len(results[1]) > 0 and is_whole(totals)


# -> medians, means, clearob and totalob of the results
@inner
def _store(
    network: Any, ends: Any, roundings: Any, nodata: Any, results: Any, p: int, n: int, room: Any
) -> None:
    _, _, _, work, totals, tally = room
    medians, means, _, _, clearob, totalob = results
    # NaN is never clear here, so that the count holds for each band.
    count, times, flat = tally[0], len(network[1]), work.reshape(work.size)
    size = network_rows(network) + 2
    store_count(count, n, clearob, p)
    store_count(tally[1], n, totalob, p)
    sums_work = _sums_work(results, totals)
    if sums_work:
        take_out(count, n, times, ends, totals[0])
        for b in range(1, len(means)):
            for x in range(n):
                totals[b, x] = totals[0, x]
    for b in range(len(means)):
        if sums_work:
            upper = times - times // 2
            add_rows(flat, b * size, upper, n, totals[b])
            add_rows(flat, (b + 1) * size - 2 - times // 2, times // 2, n, totals[b])
        store_mean(totals[b], count, n, times, roundings[1], nodata[b], means[b], p)
    for b in range(len(medians)):
        finish_median(
            work, b * size, network, ends, count, n, roundings[0], nodata[b], medians[b], p
        )
