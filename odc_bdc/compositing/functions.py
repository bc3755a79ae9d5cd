"""The composite functions: many observations of a period become one image.

An implementation is named by a `odc_bdc.function.CompositeFunction`. It is given `Observations` and
the function's parameters by name. One that picks a date gives the position along time of each
pixel's observation, -1 where there is none; any other gives arrays (y, x) by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from odc_bdc.function import CompositeFunction, Rounding


@dataclass(frozen=True, slots=True)
class Observations:
    """The observations of one period, block by block.

    Attributes
    ----------
    bands
        Arrays (time, y, x) by name, without the quality band.
    nodata
        Nodata value by band; None where a band has none. Floating point also has NaN.
    clear, has_data
        bool (time, y, x): which observations count, and which have data in every band.
    order
        Positions along time in the function's ordering, the first to be preferred first.
    common
        Name of the band for each of the function's common names.
    function, rounding
        What is computed, and how a number between two integers becomes one.
    """

    bands: Mapping[str, npt.NDArray[Any]]
    nodata: Mapping[str, float | None]
    clear: npt.NDArray[np.bool_]
    has_data: npt.NDArray[np.bool_]
    order: npt.NDArray[np.intp]
    common: Mapping[str, str]
    function: CompositeFunction
    rounding: Rounding

    @property
    def n_clear(self) -> npt.NDArray[np.int64]:
        """Number of clear observations of each pixel."""
        out: npt.NDArray[np.int64] = self.clear.sum(axis=0, dtype=np.int64)
        return out

    def by_band(
        self, reduce: Callable[[npt.NDArray[Any], str], npt.NDArray[Any]]
    ) -> dict[str, npt.NDArray[Any]]:
        """Reduce each band; nodata where no observation is clear."""
        none = ~self.clear.any(axis=0)
        out = {}
        for name, band in self.bands.items():
            out[name] = reduce(band, name)
            out[name][none] = empty_value(out[name].dtype, self.nodata.get(name))
        return out


def empty_value(dtype: npt.DTypeLike, nodata: float | None) -> float:
    """Give what stands where there is no data: the nodata value, else NaN or 0."""
    if np.dtype(dtype).kind == "f" and nodata is None:
        return np.nan
    return 0 if nodata is None else nodata


def first_clear(seen: Observations, *, cloudy_fallback: bool, **_: Any) -> npt.NDArray[np.intp]:
    """Pick the first clear observation in order; else, if wished, the first that has data."""
    picked = _first(seen.clear, seen.order)
    if cloudy_fallback:
        unclear = picked < 0
        picked[unclear] = _first(seen.has_data[:, unclear], seen.order)
    return picked


def latest(seen: Observations) -> npt.NDArray[np.intp]:
    """Pick the latest observation that has data, clear or not: the daily mosaic of the BDC."""
    return _first(seen.has_data, seen.order[::-1])


def maximum_ndvi(seen: Observations) -> npt.NDArray[np.intp]:
    """Pick the clear observation of the highest NDVI, the earlier of equals (Holben, 1986)."""
    return _best(_difference_index(seen, "nir", "red"), seen)


def maximum_ndi(seen: Observations) -> npt.NDArray[np.intp]:
    """Pick by the larger of two indices: the maximum-NDI composite of the JRC's toolbox.

    Of the highest NDI of near infrared and red, V, and the highest of near infrared and shortwave
    infrared, W, the observation of W is taken where 2 V <= W, else that of V. An index is -1 where
    either band is 0.
    """
    v, w = _difference_index(seen, "nir", "red"), _difference_index(seen, "nir", "swir16")
    of_v, of_w = _best(v, seen), _best(w, seen)
    at_v, at_w = (_at(score, best) for score, best in ((v, of_v), (w, of_w)))
    picked: npt.NDArray[np.intp] = np.where(2 * at_v <= at_w, of_w, of_v)
    return picked


def mean(seen: Observations) -> dict[str, npt.NDArray[Any]]:
    """Give the mean of the clear observations."""
    n = np.maximum(seen.n_clear, 1)

    def reduce(band: npt.NDArray[Any], _: str) -> npt.NDArray[Any]:
        if band.dtype.kind == "f":
            total = np.sum(band, axis=0, where=seen.clear, dtype=np.float64)
            return np.asarray(total / n, dtype=band.dtype)
        whole = np.asarray(np.sum(band, axis=0, where=seen.clear, dtype=np.int64))
        return round_ratio(whole, n, seen.rounding).astype(band.dtype)

    return seen.by_band(reduce)


def median(seen: Observations) -> dict[str, npt.NDArray[Any]]:
    """Give the median of the clear observations; of an even number the mean of the middle two."""
    n = np.maximum(seen.n_clear, 1)

    def reduce(band: npt.NDArray[Any], _: str) -> npt.NDArray[Any]:
        ordered = _sorted(band, seen.clear)
        low, high = (_row(ordered, at) for at in ((n - 1) // 2, n // 2))
        if band.dtype.kind == "f":
            return _between(low, high, np.float64(0.5)).astype(band.dtype)
        total = low.astype(np.int64) + high
        return round_ratio(total, np.int64(2), seen.rounding).astype(band.dtype)

    return seen.by_band(reduce)


def percentiles(seen: Observations, *, percentiles: tuple[int, ...]) -> dict[str, npt.NDArray[Any]]:
    """Give percentiles of the clear observations, with linear interpolation between two.

    That of Hyndman and Fan (1996), type 7, numpy's default.
    """
    steps = np.maximum(seen.n_clear, 1) - 1
    none = ~seen.clear.any(axis=0)
    out: dict[str, npt.NDArray[Any]] = {}
    for name, band in seen.bands.items():
        ordered = _sorted(band, seen.clear)
        for number, suffix in zip(percentiles, seen.function.suffixes, strict=True):
            # In hundredths of a step, so that whole numbers decide where to cut.
            at = steps * number
            low, high = _row(ordered, at // 100), _row(ordered, -(-at // 100))
            part = at % 100
            if band.dtype.kind == "f":
                value = _between(low, high, part / 100).astype(band.dtype)
            else:
                total = low.astype(np.int64) * (100 - part) + high.astype(np.int64) * part
                value = round_ratio(total, np.int64(100), seen.rounding).astype(band.dtype)
            value[none] = empty_value(value.dtype, seen.nodata.get(name))
            out[name + suffix] = value
    return out


def minimum(seen: Observations) -> dict[str, npt.NDArray[Any]]:
    """Give the lowest of the clear observations."""
    return seen.by_band(lambda band, _: _extreme(band, seen.clear, np.min))


def maximum(seen: Observations) -> dict[str, npt.NDArray[Any]]:
    """Give the highest of the clear observations."""
    return seen.by_band(lambda band, _: _extreme(band, seen.clear, np.max))


def value_range(seen: Observations) -> dict[str, npt.NDArray[Any]]:
    """Give the highest less the lowest clear observation; at most what the band's type holds."""

    def reduce(band: npt.NDArray[Any], _: str) -> npt.NDArray[Any]:
        low, high = (_extreme(band, seen.clear, f) for f in (np.min, np.max))
        if band.dtype.kind == "f":
            return np.asarray(high - low)
        span = high.astype(np.int64) - low.astype(np.int64)
        return np.minimum(span, np.iinfo(band.dtype).max).astype(band.dtype)

    return seen.by_band(reduce)


def standard_deviation(
    seen: Observations, *, ddof: int, min_count: int
) -> dict[str, npt.NDArray[Any]]:
    """Give the standard deviation of the clear observations, NaN where there are too few.

    Parameters
    ----------
    ddof
        The sum of squares is divided by the number less this.
    min_count
        Fewer clear observations than this, or than `ddof` + 1, give NaN.
    """
    n = seen.n_clear
    out = {}
    for name, band in seen.bands.items():
        values = band.astype(np.float64)
        average = np.sum(values, axis=0, where=seen.clear) / np.maximum(n, 1)
        # Two passes: squares of large values lose what the differences keep.
        squares = np.sum((values - average) ** 2, axis=0, where=seen.clear)
        value = np.sqrt(squares / np.maximum(n - ddof, 1)).astype(np.float32)
        value[n < max(min_count, ddof + 1)] = np.nan
        out[name] = value
    return out


def count(seen: Observations) -> dict[str, npt.NDArray[Any]]:
    """Give the number of clear observations, up to 65535."""
    return {"COUNT": np.minimum(seen.n_clear, 65535).astype(np.uint16)}


def round_ratio(
    above: npt.NDArray[np.int64], below: npt.NDArray[np.int64] | np.int64, rounding: Rounding
) -> npt.NDArray[np.int64]:
    """Divide whole numbers, `below` positive, and round exactly."""
    down: npt.NDArray[np.int64] = above // below
    if rounding == "floor":
        return down
    rest = above - down * below
    if rounding == "trunc":
        up = (above < 0) & (rest != 0)
    else:
        up = (2 * rest > below) | ((2 * rest == below) & (down % 2 != 0))
    rounded: npt.NDArray[np.int64] = down + up
    return rounded


def _first(mask: npt.NDArray[np.bool_], order: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Give the position of the first true observation in `order`, or -1; time is axis 0."""
    found = np.full(mask.shape[1:], -1, dtype=np.intp)
    for position in reversed(order.tolist()):
        found[mask[position]] = position
    return found


def _best(score: npt.NDArray[np.float64], seen: Observations) -> npt.NDArray[np.intp]:
    """Give the position of the clear observation with the highest score, of equals the first."""
    ranked = np.where(seen.clear, score, -np.inf)[seen.order]
    if not len(ranked):
        return np.full(score.shape[1:], -1, dtype=np.intp)
    best: npt.NDArray[np.intp] = seen.order[np.argmax(ranked, axis=0)]
    return np.where(seen.clear.any(axis=0), best, -1)


def _at(score: npt.NDArray[np.float64], best: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    if not len(score):
        return np.full(best.shape, -np.inf)
    found: npt.NDArray[np.float64] = np.take_along_axis(
        score, np.maximum(best, 0)[np.newaxis], axis=0
    )[0]
    return found


def _difference_index(seen: Observations, high: str, low: str) -> npt.NDArray[np.float64]:
    """Compute (high - low) / (high + low), -1 where either is 0 or they cancel each other."""
    a, b = (seen.bands[seen.common[name]].astype(np.float64) for name in (high, low))
    whole = (a != 0) & (b != 0) & (a + b != 0)
    out: npt.NDArray[np.float64] = np.where(whole, (a - b) / np.where(whole, a + b, 1), -1.0)
    return out


def _extreme(
    band: npt.NDArray[Any],
    clear: npt.NDArray[np.bool_],
    choose: Callable[..., npt.NDArray[Any]],
) -> npt.NDArray[Any]:
    worst = _limits(band.dtype)[0 if choose is np.max else 1]
    return choose(band, axis=0, where=clear, initial=worst)


def _sorted(band: npt.NDArray[Any], clear: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    # What is not clear sorts behind all that is; a clear value as high as the filler is its equal.
    filler = np.full((1, *band.shape[1:]), _limits(band.dtype)[1], dtype=band.dtype)
    kept = np.where(clear, band, filler)
    return np.sort(np.concatenate([kept, filler]), axis=0)


def _row(ordered: npt.NDArray[Any], at: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    row: npt.NDArray[Any] = np.take_along_axis(ordered, at[np.newaxis], axis=0)[0]
    return row


def _between(
    low: npt.NDArray[Any], high: npt.NDArray[Any], part: npt.NDArray[np.float64] | np.float64
) -> npt.NDArray[np.float64]:
    # Where nothing is clear both are infinite, and the caller writes nodata there.
    with np.errstate(invalid="ignore"):
        out: npt.NDArray[np.float64] = low + (high.astype(np.float64) - low) * part
    return out


def _limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    if dtype.kind == "f":
        return -np.inf, np.inf
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)
