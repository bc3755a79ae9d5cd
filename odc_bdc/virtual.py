"""Composites as virtual products of `datacube.virtual`.

A thin adapter over `odc_bdc.composite`, to be named in a recipe by its dotted path::

    aggregate: odc_bdc.virtual.Composite
    group_by: odc_bdc.virtual.p16d
    function: MED
    quality: {band: CMASK, clear: [127], not_clear: [255], nodata: 0}
    input: {product: CB4_WFI_L4_SR_1, measurements: [BAND15, BAND16, CMASK], group_by: time}

`datacube.virtual` ends with datacube 2.0; this module is the only one that knows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import xarray as xr
import yaml
from datacube.model import Measurement
from datacube.virtual import Transformation, catalog_from_yaml
from datacube.virtual.catalog import Catalog

from odc_bdc.compositing import composite
from odc_bdc.cube import CLEAROB, PROVENANCE, TOTALOB
from odc_bdc.function import Rounding, composite_function
from odc_bdc.quality import QualityPolicy
from odc_bdc.timeline import NAMED_TIMELINES, Timeline


class Composite(Transformation):
    """The composite of one group of scenes, for use under ``aggregate``.

    Parameters
    ----------
    function
        ``MED``, ``AVG`` or ``LCF`` (``STK``).
    quality
        Keys of `odc_bdc.QualityPolicy`.
    rounding
        As of `odc_bdc.composite`.

    Raises
    ------
    InvalidValueError, UnknownNameError
        If a parameter is not allowed.
    """

    def __init__(
        self, function: str, quality: Mapping[str, Any], rounding: Rounding | None = None
    ) -> None:
        self._function = composite_function(function)
        self._quality = QualityPolicy.from_dict(quality)
        self._rounding = rounding

    def measurements(self, input_measurements: Mapping[str, Measurement]) -> dict[str, Measurement]:
        """Give the output bands: those of the input, the counts, and for LCF the provenance."""
        picks = self._function.picks_date
        kept = {n: m for n, m in input_measurements.items() if picks or n != self._quality.band}
        extra = [CLEAROB, TOTALOB] + ([PROVENANCE] if picks else [])
        return kept | {m.name: Measurement(**m.to_odc()) for m in extra}

    def compute(self, data: xr.Dataset) -> xr.Dataset:
        """Composite the scenes of a group into one image, without a time axis."""
        image = composite(
            data, function=self._function.name, quality=self._quality, rounding=self._rounding
        )
        return image.isel(time=0, drop=True)


def _group(time: xr.DataArray, timeline: Timeline) -> xr.DataArray:
    return time.copy(data=timeline.period_starts(time.values).astype("datetime64[ns]"))


def p16d(time: xr.DataArray) -> xr.DataArray:
    """Group times by 16 days, beginning anew on 1 January of each year."""
    return _group(time, NAMED_TIMELINES["p16d"])


def p1m(time: xr.DataArray) -> xr.DataArray:
    """Group times by calendar month."""
    return _group(time, NAMED_TIMELINES["p1m"])


def p3m(time: xr.DataArray) -> xr.DataArray:
    """Group times by quarter of the year."""
    return _group(time, NAMED_TIMELINES["p3m"])


def p1y(time: xr.DataArray) -> xr.DataArray:
    """Group times by calendar year."""
    return _group(time, NAMED_TIMELINES["p1y"])


def catalogue() -> Catalog:
    """Give the shipped catalogue: a virtual product for each shipped cube of a usual timeline."""
    text = (files("odc_bdc.product_defs") / "virtual" / "catalogue.yaml").read_text("utf-8")
    return catalog_from_yaml(yaml.safe_dump(yaml.safe_load(text)))


__all__ = ["Composite", "catalogue", "p1m", "p1y", "p3m", "p16d"]
