"""Composites as virtual products of `datacube.virtual`.

A thin adapter over `odc_bdc.composite`, to be named in a recipe by its dotted path::

    aggregate: odc_bdc.virtual.Composite
    group_by: odc_bdc.virtual.p16d
    function: MED
    quality: {band: CMASK, clear: [127], not_clear: [255], nodata: 0}
    input: {product: CB4_WFI_L4_SR_1, measurements: [BAND15, BAND16, CMASK], group_by: time}

or by the name of a cube, as the shipped catalogue does::

    aggregate: odc_bdc.virtual.Composite
    group_by: odc_bdc.virtual.p16d
    cube: CB4_64_16D_MED_v1
    input:
      transform: odc_bdc.virtual.Harmonise
      cube: CB4_64_16D_MED_v1
      input: {product: CB4_WFI_L4_SR_1, measurements: [BAND13, BAND14, ...], group_by: time}

`datacube.virtual` ends with datacube 2.0; this module is the only one that knows it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

import odc.geo.xr  # noqa: F401 (gives datasets the attribute `odc`)
import xarray as xr
import yaml
from datacube.model import Measurement
from datacube.virtual import Transformation, catalog_from_yaml
from datacube.virtual.catalog import Catalog

from odc_bdc.compositing import composite, composite_cube, harmonise
from odc_bdc.cube import CubeSpec, find_cube, shipped_cubes
from odc_bdc.cube import Measurement as Band
from odc_bdc.cube.measurement import measurement_keys, results, usual_auxiliary
from odc_bdc.errors import InvalidValueError
from odc_bdc.function import Rounding, composite_function
from odc_bdc.quality import QualityPolicy
from odc_bdc.timeline import NAMED_TIMELINES, Timeline, find_timeline


class Composite(Transformation):
    """The composite of one group of scenes, for use under ``aggregate``.

    Parameters
    ----------
    function, rounding, common
        As of `odc_bdc.composite`.
    quality
        Keys of `odc_bdc.QualityPolicy`.
    timeline
        That of ``group_by``, by name or in the BDC's form, for functions that look at the period
        (``MEDSTK``); without it, a period lasts from its first to its last scene.
    cube
        Instead of these, a shipped cube by name or the YAML file of one: the input must be scenes
        from `Harmonise` then, and the outputs are the cube's.

    Raises
    ------
    InvalidValueError, UnknownNameError
        If a parameter is not allowed; when it is loaded, if the pixels asked for are not those of
        `cube`.
    """

    def __init__(
        self,
        function: str | Mapping[str, Any] | None = None,
        quality: Mapping[str, Any] | None = None,
        *,
        rounding: Rounding | None = None,
        cube: str | None = None,
        common: Mapping[str, str] | None = None,
        timeline: str | Mapping[str, Any] | None = None,
    ) -> None:
        if (cube is None) != (function is not None and quality is not None) or (cube and rounding):
            raise InvalidValueError("a Composite takes either `function` and `quality`, or `cube`")
        self._cube = None if cube is None else find_cube(cube)
        if self._cube is None:
            self._function = composite_function(function or "")
            self._common = dict(common or {})
            self._timeline = None if timeline is None else find_timeline(timeline)
            self._quality = QualityPolicy.from_dict(quality or {})
            self._rounding = rounding

    def measurements(self, input_measurements: Mapping[str, Measurement]) -> dict[str, Measurement]:
        """Give the output bands: those of the input, the counts, and for LCF the provenance."""
        if self._cube is not None:
            return {m.name: Measurement(**m.to_odc()) for m in self._cube.outputs}
        picks = self._function.picks_date
        quality = {n: m for n, m in input_measurements.items() if picks and n == self._quality.band}
        bands = [
            Band(**measurement_keys(m))
            for n, m in input_measurements.items()
            if n != self._quality.band
        ]
        made = {m.name: m for m in results(self._function, bands)}
        auxiliary = usual_auxiliary(self._function, several_platforms=False)
        made |= {m.name: m for m in auxiliary}
        return {n: Measurement(**m.to_odc()) for n, m in made.items()} | quality

    def compute(self, data: xr.Dataset) -> xr.Dataset:
        """Composite the scenes of a group into one image, without a time axis."""
        if self._cube is not None:
            _check_grid(data, self._cube)
            image = composite_cube(data, self._cube)
        else:
            image = composite(
                data,
                function=self._function.to_dict(),
                quality=self._quality,
                rounding=self._rounding,
                common=self._common,
                timeline=self._timeline,
            )
        return image.isel(time=0, drop=True)


def _check_grid(data: xr.Dataset, cube: CubeSpec) -> None:
    """Refuse scenes that were loaded on other pixels than the cube's.

    The pixels of a cube are composites of scenes on its own grid. What is composited on another
    grid, of scenes that were warped to it one by one, is something else than the cube on that grid.
    """
    geobox = data.odc.geobox
    if geobox is None or not cube.grid.holds(geobox, cube.resolution):
        raise InvalidValueError(
            f"cube {cube.name} is defined on the pixels of grid {cube.grid.name} at "
            f"{cube.resolution:g}, and other ones were asked for: load with "
            f"`like=find_cube({cube.name!r}).geobox(TILE)` or a part of it, and warp the result "
            "(`.odc.reproject`), or declare or build the cube, for `dc.load` warps its images"
        )


class Harmonise(Transformation):
    """Scenes of one of a cube's sources in the cube's terms, for use under ``transform``.

    Parameters
    ----------
    cube
        A shipped cube by name, or the YAML file of one.
    source
        ODC product of the scenes.
    """

    def __init__(self, cube: str, source: str | None = None) -> None:
        self._cube = find_cube(cube)
        self._source = source

    def measurements(self, _input: Mapping[str, Measurement]) -> dict[str, Measurement]:
        """Give the cube's measurements."""
        return {m.name: Measurement(**m.to_odc()) for m in self._cube.measurements}

    def compute(self, data: xr.Dataset) -> xr.Dataset:
        """Rename, convert and recode the bands."""
        return harmonise(data, self._cube, self._source)


def _grouping(name: str, timeline: Timeline, what: str) -> Callable[[xr.DataArray], xr.DataArray]:
    def group(time: xr.DataArray) -> xr.DataArray:
        return time.copy(data=timeline.period_starts(time.values).astype("datetime64[ns]"))

    group.__name__ = group.__qualname__ = name
    group.__doc__ = f"Group times by the periods of {what}: give the start of each time's."
    return group


def __getattr__(name: str) -> Callable[[xr.DataArray], xr.DataArray]:
    """Give a function for ``group_by``: a usual timeline's, or ``periods_of_<cube>``."""
    if name in NAMED_TIMELINES:
        return _grouping(name, NAMED_TIMELINES[name], f"the timeline {name}")
    cube = name.removeprefix("periods_of_")
    if cube != name and cube in shipped_cubes():
        return _grouping(name, shipped_cubes()[cube].timeline, f"the cube {cube}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def catalogue() -> Catalog:
    """Give the shipped catalogue: a virtual product for each shipped cube."""
    text = (files("odc_bdc.product_defs") / "virtual" / "catalogue.yaml").read_text("utf-8")
    return catalog_from_yaml(yaml.safe_dump(yaml.safe_load(text)))


__all__ = ["Composite", "Harmonise", "catalogue"]
