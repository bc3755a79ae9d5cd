"""Composites of plain numpy blocks; all observations of a period in, one image out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from odc_bdc.compositing.functions import Observations, empty_value
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
    common
        Name of the band for each common name that the function has to know.
    """

    function: CompositeFunction
    quality: QualityPolicy
    nodata: Mapping[str, float | None]
    rounding: Rounding | None = None
    common: Mapping[str, str] = field(default_factory=dict)


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
        Integer or floating point arrays (time, y, x) by name; NaN is no data. No time is allowed:
        the image is empty then.
    quality
        Integer array (time, y, x) of the quality band.
    how
        Function, quality policy, nodata values and rounding.
    days_of_year
        1 to 366 for each time; what PROVENANCE tells.
    order
        Positions along time in the function's ordering, the first to be preferred first.
    datasources
        0 to 254 for each time, what DATASOURCE tells; None for no such band.

    Returns
    -------
    Composited
        Bands in their own dtypes, or the function's; their nodata (or 0, or NaN) where nothing
        could be computed. Functions that pick a date give the quality band too, and PROVENANCE and
        DATASOURCE, their nodata where there is no data.
    """
    has_data = np.ones(quality.shape, dtype=bool)
    for name, band in bands.items():
        has_data &= _has_data(band, how.nodata.get(name))
    clear = has_data & how.quality.is_clear(quality)
    counts = _count(clear), _count(has_data & how.quality.has_data(quality))
    seen = Observations(
        bands,
        how.nodata,
        clear,
        has_data,
        np.asarray(order, dtype=np.intp),
        how.common,
        how.function,
        how.rounding or how.function.rounding or "half_even",
    )
    compute = _implementation(how.function.implementation)
    result = compute(seen, **dict(how.function.parameters))
    if not how.function.picks_date:
        return Composited(dict(result), *counts)
    every = {**bands, how.quality.band: quality}
    out = {n: _take(b, result, how.nodata.get(n)) for n, b in every.items()}
    provenance = _take_time(days_of_year, result, PROVENANCE)
    source = None if datasources is None else _take_time(datasources, result, DATASOURCE)
    return Composited(out, *counts, provenance, source)


@cache
def _implementation(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    return cast("Callable[..., Any]", getattr(import_module(module), name))


def _has_data(band: npt.NDArray[Any], nodata: float | None) -> npt.NDArray[np.bool_]:
    out = np.ones(band.shape, dtype=bool) if nodata is None else band != nodata
    return out & ~np.isnan(band) if band.dtype.kind == "f" else out


def _count(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    out: npt.NDArray[np.uint8] = np.minimum(mask.sum(axis=0), _COUNT_LIMIT).astype(np.uint8)
    return out


def _take(
    stack: npt.NDArray[Any], picked: npt.NDArray[np.intp], nodata: float | None
) -> npt.NDArray[Any]:
    """Take from each pixel's `picked` observation; nodata (or 0, or NaN) where that is -1."""
    if not len(stack):
        return np.full(picked.shape, empty_value(stack.dtype, nodata), dtype=stack.dtype)
    out: npt.NDArray[Any] = np.take_along_axis(stack, np.maximum(picked, 0)[np.newaxis], axis=0)[0]
    out[picked < 0] = empty_value(stack.dtype, nodata)
    return out


def _take_time(
    values: Sequence[int] | npt.NDArray[Any], picked: npt.NDArray[np.intp], band: Measurement
) -> npt.NDArray[Any]:
    """Take one of the values by time, for each pixel that of its `picked` observation."""
    known = np.append(np.asarray(values, dtype=band.dtype), np.array(band.nodata, band.dtype))
    out: npt.NDArray[Any] = known[picked]
    return out
