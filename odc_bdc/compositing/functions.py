"""The composite functions: many observations of a period become one image.

An implementation is named by a `odc_bdc.function.CompositeFunction`. It is given `Observations` and
the function's parameters by name. One that picks a date gives the position along time of each
pixel's observation, -1 where there is none; any other gives arrays (y, x) by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from odc_bdc.compositing import kernels
from odc_bdc.errors import InvalidValueError
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
    scale
        Scale and offset of reflectance by band, as far as they are known.
    clear, has_data
        bool (time, y, x): which observations count, and which have data in every band.
    order
        Positions along time in the function's ordering, the first to be preferred first.
    common
        Name of the band for each of the function's common names.
    function, rounding
        What is computed, and how a number between two integers becomes one.
    threads
        How many may work at it.
    """

    bands: Mapping[str, npt.NDArray[Any]]
    nodata: Mapping[str, float | None]
    scale: Mapping[str, tuple[float, float]]
    clear: npt.NDArray[np.bool_]
    has_data: npt.NDArray[np.bool_]
    order: npt.NDArray[np.intp]
    common: Mapping[str, str]
    function: CompositeFunction
    rounding: Rounding
    threads: int = 1

    def by_band(self, reduce: Callable[..., npt.NDArray[Any]], **how: Any) -> dict[str, Any]:
        """Reduce each band with a kernel, which is told the band's nodata value."""
        return {
            name: reduce(
                band, self.clear, nodata=self.nodata.get(name), threads=self.threads, **how
            )
            for name, band in self.bands.items()
        }


def empty_value(dtype: npt.DTypeLike, nodata: float | None) -> float:
    """Give what stands where there is no data: the nodata value, else NaN or 0."""
    if np.dtype(dtype).kind == "f" and nodata is None:
        return np.nan
    return 0 if nodata is None else nodata


def first_clear(seen: Observations, *, cloudy_fallback: bool, **_: Any) -> npt.NDArray[Any]:
    """Pick the first clear observation in order; else, if wished, the first that has data."""
    fallback = seen.has_data if cloudy_fallback else None
    return kernels.first(seen.clear, seen.order, fallback=fallback, threads=seen.threads)


def latest(seen: Observations) -> npt.NDArray[Any]:
    """Pick the latest observation that has data, clear or not: the daily mosaic of the BDC."""
    return kernels.first(seen.has_data, seen.order[::-1], threads=seen.threads)


def maximum_ndvi(seen: Observations) -> npt.NDArray[Any]:
    """Pick the clear observation of the highest NDVI, the earlier of equals (Holben, 1986).

    That of reflectances, whatever scale and offset the bands are stored with.
    """
    score = _difference_index(seen, "nir", "red")
    return kernels.best(score, seen.clear, seen.order, threads=seen.threads)


def maximum_ndi(seen: Observations) -> npt.NDArray[Any]:
    """Pick by the larger of two indices: the maximum-NDI composite of the JRC's toolbox.

    Of the highest NDI of near infrared and red, V, and the highest of near infrared and shortwave
    infrared, W, the observation of W is taken where 2 V <= W, else that of V. An index is -1 where
    either reflectance is 0.
    """
    v, w = _difference_index(seen, "nir", "red"), _difference_index(seen, "nir", "swir16")
    of_v, of_w = (kernels.best(s, seen.clear, seen.order, threads=seen.threads) for s in (v, w))
    at_v, at_w = (_at(score, best) for score, best in ((v, of_v), (w, of_w)))
    picked: npt.NDArray[Any] = np.where(2 * at_v <= at_w, of_w, of_v)
    return picked


def mean(seen: Observations) -> dict[str, npt.NDArray[Any]]:
    """Give the mean of the clear observations."""
    return seen.by_band(kernels.mean, rounding=seen.rounding)


def median(seen: Observations) -> dict[str, npt.NDArray[Any]]:
    """Give the median of the clear observations; of an even number the mean of the middle two."""
    return seen.by_band(kernels.median, rounding=seen.rounding)


def percentiles(seen: Observations, *, percentiles: tuple[int, ...]) -> dict[str, npt.NDArray[Any]]:
    """Give percentiles of the clear observations, with linear interpolation between two.

    That of Hyndman and Fan (1996), type 7, numpy's default.
    """
    found = seen.by_band(kernels.percentiles, percents=percentiles, rounding=seen.rounding)
    suffixes = seen.function.suffixes
    return {
        name + suffix: row
        for name, rows in found.items()
        for suffix, row in zip(suffixes, rows, strict=True)
    }


def minimum(seen: Observations) -> dict[str, npt.NDArray[Any]]:
    """Give the lowest of the clear observations."""
    return seen.by_band(kernels.minimum)


def maximum(seen: Observations) -> dict[str, npt.NDArray[Any]]:
    """Give the highest of the clear observations."""
    return seen.by_band(kernels.maximum)


def value_range(seen: Observations) -> dict[str, npt.NDArray[Any]]:
    """Give the highest less the lowest clear observation; at most what the band's type holds."""
    out = seen.by_band(kernels.value_range)
    for name, band in seen.bands.items():
        if band.dtype.kind != "f":
            most = np.iinfo(band.dtype).max
            out[name] = np.minimum(out[name], most).astype(band.dtype)
    return out


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
    return {
        name: kernels.std(band, seen.clear, ddof=ddof, min_count=min_count, threads=seen.threads)
        for name, band in seen.bands.items()
    }


def count(seen: Observations) -> dict[str, npt.NDArray[Any]]:
    """Give the number of clear observations, up to 65535."""
    return {"COUNT": kernels.count(seen.clear)}


def geometric_median(seen: Observations) -> dict[str, npt.NDArray[Any]]:
    """Give the spectrum nearest to all clear ones, and how far they lie from it.

    SMAD, EMAD and BCMAD are the medians of the cosine distances, the Euclidean distances (of
    reflectances, where the bands say their scale) and the Bray-Curtis dissimilarities.

    Raises
    ------
    InvalidValueError
        If bands differ in type, scale or offset.
    """
    scales = {seen.scale.get(name, (1.0, 0.0)) for name in seen.bands}
    if len(scales) > 1 or len({band.dtype for band in seen.bands.values()}) > 1:
        raise InvalidValueError("GEOMED needs bands of one type, scale and offset")
    scale, offset = scales.pop()
    found = kernels.geomedian(
        list(seen.bands.values()), seen.clear, scale=scale, offset=offset, threads=seen.threads
    )
    out: dict[str, npt.NDArray[Any]] = {}
    for (name, band), values in zip(seen.bands.items(), found.median, strict=True):
        stored = (values.astype(np.float64) - offset) / scale
        out[name] = _stored(stored, band.dtype, seen.nodata.get(name), seen.rounding)
    return out | {"SMAD": found.smad, "EMAD": found.emad, "BCMAD": found.bcmad}


def _stored(
    values: npt.NDArray[np.float64],
    dtype: np.dtype[Any],
    nodata: float | None,
    rounding: Rounding,
) -> npt.NDArray[Any]:
    none = np.isnan(values)
    if dtype.kind != "f":
        round_ = {"trunc": np.trunc, "half_even": np.rint, "floor": np.floor}[rounding]
        values = np.where(none, 0, round_(values))
    out: npt.NDArray[Any] = values.astype(dtype)
    out[none] = empty_value(dtype, nodata)
    return out


def _at(score: npt.NDArray[np.float64], best: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    if not len(score):
        return np.full(best.shape, -np.inf)
    found: npt.NDArray[np.float64] = np.take_along_axis(
        score, np.maximum(best, 0)[np.newaxis].astype(np.intp), axis=0
    )[0]
    return found


def _physical(seen: Observations, names: Sequence[str]) -> list[npt.NDArray[np.float64]]:
    """Give what bands mean, in a unit of their own that makes whole numbers of it.

    Quotients of whole numbers that are equal are equal in float64 too, so that of equal
    observations the earlier is found; what an offset does to a quotient is in them.
    """
    lines = [tuple(Fraction(str(n)) for n in seen.scale.get(name, (1.0, 0.0))) for name in names]
    unit = Fraction(1, math.lcm(*(n.denominator for line in lines for n in line)))
    common = math.gcd(*(int(n / unit) for line in lines for n in line)) * unit
    return [
        seen.bands[name].astype(np.float64) * float(scale / common) + float(offset / common)
        for name, (scale, offset) in zip(names, lines, strict=True)
    ]


def _difference_index(seen: Observations, high: str, low: str) -> npt.NDArray[np.float64]:
    """Compute (high - low) / (high + low), -1 where either is 0 or they cancel each other."""
    a, b = _physical(seen, [seen.common[name] for name in (high, low)])
    whole = (a != 0) & (b != 0) & (a + b != 0)
    out: npt.NDArray[np.float64] = np.where(whole, (a - b) / np.where(whole, a + b, 1), -1.0)
    return out
