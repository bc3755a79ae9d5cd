"""Composites of plain numpy blocks; all observations of a period in, one image out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from odc_bdc.cube import DATASOURCE, PROVENANCE, Measurement
from odc_bdc.function import CompositeFunction, Rounding
from odc_bdc.quality import QualityPolicy

_COUNT_LIMIT = 255


@dataclass(frozen=True, slots=True)
class CompositeBlock:
    """What `composite_block` has to know besides the pixels.

    Attributes
    ----------
    function, rounding, quality
        How to composite; `rounding` None means the function's own.
    nodata
        Nodata value by band, the quality band included; None where a band has none.
    """

    function: CompositeFunction
    quality: QualityPolicy
    nodata: Mapping[str, int | None]
    rounding: Rounding | None = None


@dataclass(frozen=True, slots=True)
class Composited:
    """The image of a period: arrays (y, x)."""

    bands: dict[str, npt.NDArray[Any]]
    clearob: npt.NDArray[np.uint8]
    totalob: npt.NDArray[np.uint8]
    provenance: npt.NDArray[np.int16] | None = None
    datasource: npt.NDArray[np.uint8] | None = None

    def by_name(self) -> dict[str, npt.NDArray[Any]]:
        """Give all arrays under the names they have in a cube."""
        out = {**self.bands, "CLEAROB": self.clearob, "TOTALOB": self.totalob}
        if self.provenance is not None:
            out["PROVENANCE"] = self.provenance
        if self.datasource is not None:
            out["DATASOURCE"] = self.datasource
        return out


def composite_block(
    bands: Mapping[str, npt.NDArray[Any]],
    quality: npt.NDArray[Any],
    how: CompositeBlock,
    *,
    days_of_year: Sequence[int] | npt.NDArray[Any],
    order: Sequence[int] | npt.NDArray[Any],
    datasources: Sequence[int] | npt.NDArray[Any] | None = None,
) -> Composited:
    """Composite the observations of one period.

    An observation of a pixel counts as a whole: it has data only where *every* band has, and it is
    clear where it has data and the quality band says so. So all bands of a pixel come from the same
    observations. (cube-builder comes to the same by setting the quality band to nodata wherever a
    band is nodata, before it composites.)

    Parameters
    ----------
    bands
        Integer arrays (time, y, x) by name.
    quality
        Integer array (time, y, x) of the quality band.
    how
        Function, quality policy, nodata values and rounding.
    days_of_year
        1 to 366 for each time; what PROVENANCE tells.
    order
        Positions along time, best scene first; only looked at by functions that pick a date.
    datasources
        0 to 254 for each time, what DATASOURCE tells; None for no such band.

    Returns
    -------
    Composited
        Bands in their own dtypes, their nodata (or 0) where nothing could be computed. Functions
        that pick a date give the quality band too, and PROVENANCE and DATASOURCE, their nodata
        where there is no data. Where no observation is clear they take the first of the order that
        has data, though cloudy.
    """
    shape = quality.shape
    has_data = np.ones(shape, dtype=bool)
    for name, band in bands.items():
        nodata = how.nodata.get(name)
        if nodata is not None:
            has_data &= band != nodata
    clear = has_data & how.quality.is_clear(quality)
    counts = _count(clear), _count(has_data & how.quality.has_data(quality))
    if how.function.picks_date:
        picked = _first(clear, order)
        unclear = picked < 0
        picked[unclear] = _first(has_data[:, unclear], order)
        every = {**bands, how.quality.band: quality}
        out = {n: _take(b, picked, how.nodata.get(n)) for n, b in every.items()}
        provenance = _take_time(days_of_year, picked, PROVENANCE)
        source = None if datasources is None else _take_time(datasources, picked, DATASOURCE)
        return Composited(out, *counts, provenance, source)
    reduce = _mean if how.function.name == "AVG" else _median
    rounding = how.rounding or how.function.rounding or "half_even"
    n = clear.sum(axis=0)
    out = {
        name: _store(reduce(band, clear, n), n, band.dtype, how.nodata.get(name), rounding)
        for name, band in bands.items()
    }
    return Composited(out, *counts)


def _count(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    out: npt.NDArray[np.uint8] = np.minimum(mask.sum(axis=0), _COUNT_LIMIT).astype(np.uint8)
    return out


def _first(
    mask: npt.NDArray[np.bool_], order: Sequence[int] | npt.NDArray[Any]
) -> npt.NDArray[np.intp]:
    """Give the position of the first true observation in `order`, or -1; time is axis 0."""
    found = np.full(mask.shape[1:], -1, dtype=np.intp)
    for position in reversed(np.asarray(order).tolist()):
        found[mask[position]] = position
    return found


def _take(
    stack: npt.NDArray[Any], picked: npt.NDArray[np.intp], nodata: int | None
) -> npt.NDArray[Any]:
    """Take from each pixel's `picked` observation; nodata (or 0) where that is -1."""
    out: npt.NDArray[Any] = np.take_along_axis(stack, np.maximum(picked, 0)[np.newaxis], axis=0)[0]
    out[picked < 0] = 0 if nodata is None else nodata
    return out


def _take_time(
    values: Sequence[int] | npt.NDArray[Any], picked: npt.NDArray[np.intp], band: Measurement
) -> npt.NDArray[Any]:
    """Take one of the values by time, for each pixel that of its `picked` observation."""
    out: npt.NDArray[Any] = np.asarray(values, dtype=band.dtype)[np.maximum(picked, 0)]
    out[picked < 0] = band.nodata
    return out


def _mean(
    band: npt.NDArray[Any], clear: npt.NDArray[np.bool_], n: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    total = np.sum(band, axis=0, where=clear, dtype=np.int64)
    mean: npt.NDArray[np.float64] = total / np.maximum(n, 1)
    return mean


def _median(
    band: npt.NDArray[Any], clear: npt.NDArray[np.bool_], n: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    # What is not clear sorts behind all that is; a clear value as high as the filler is its equal.
    ordered = np.sort(np.where(clear, band, np.iinfo(band.dtype).max), axis=0)
    middle = [np.maximum(n - 1, 0) // 2, np.minimum(n // 2, np.maximum(n - 1, 0))]
    low, high = (
        np.take_along_axis(ordered, at[np.newaxis], axis=0)[0].astype(np.int64) for at in middle
    )
    out: npt.NDArray[np.float64] = (low + high) / 2.0
    return out


def _store(
    values: npt.NDArray[np.float64],
    n: npt.NDArray[Any],
    dtype: npt.DTypeLike,
    nodata: int | None,
    rounding: Rounding,
) -> npt.NDArray[Any]:
    round_ = {"trunc": np.trunc, "half_even": np.rint, "floor": np.floor}[rounding]
    out = round_(values).astype(dtype)
    out[n == 0] = 0 if nodata is None else nodata
    return out
