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

These two classes composite what datacube loads. A cube's own product, from `catalogue` or
`cube_product`, reads the scenes as building does, and has the pixels of the built cube, bit for
bit, also where scenes lie on other grids.

`datacube.virtual` ends with datacube 2.0; this module is the only one that knows it.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
import odc.geo.xr  # noqa: F401 (gives datasets the attribute `odc`)
import xarray as xr
import yaml
from datacube.api.core import output_geobox
from datacube.api.query import Query
from datacube.model import Measurement
from datacube.virtual import DEFAULT_RESOLVER, NameResolver, Transformation, catalog_from_yaml
from datacube.virtual.catalog import Catalog
from datacube.virtual.impl import Aggregate, VirtualDatasetBag, VirtualDatasetBox
from odc.geo.geobox import GeoBox

from odc_bdc.compositing import composite, composite_cube, harmonise
from odc_bdc.cube import CubeSpec, find_cube, shipped_cubes
from odc_bdc.cube import Measurement as Band
from odc_bdc.cube.measurement import measurement_keys, results, usual_auxiliary
from odc_bdc.errors import InvalidValueError, LoadedByDatacubeWarning, NothingFoundError
from odc_bdc.files import access_of
from odc_bdc.function import Rounding, composite_function
from odc_bdc.live.opened import open_tasks, outputs_named
from odc_bdc.live.region import Region, around
from odc_bdc.planning import begin, find_scenes, given_scene, plan_scenes
from odc_bdc.quality import QualityPolicy
from odc_bdc.timeline import NAMED_TIMELINES, Timeline, find_timeline

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from datacube import Datacube
    from datacube.model import Dataset

    from odc_bdc.planning import CompositeTask


_LOADED = (
    "cube {name}: datacube loads the scenes of this recipe, and where they do not lie on the "
    "cube's pixels it warps them to other ones than a built cube has: take the cube's product from "
    "`odc_bdc.virtual.catalogue()` or `odc_bdc.virtual.cube_product`, or load the scenes by "
    "`odc_bdc.load_scenes`"
)


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
        Instead of these, a shipped cube by name, the YAML file of one, or a definition: the input
        must be scenes from `Harmonise` then, and the outputs are the cube's. Scenes of one day and
        satellite are joined, as `odc_bdc.composite_cube` does.

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
        cube: str | CubeSpec | None = None,
        common: Mapping[str, str] | None = None,
        timeline: str | Mapping[str, Any] | None = None,
    ) -> None:
        if (cube is None) != (function is not None and quality is not None) or (cube and rounding):
            raise InvalidValueError("a Composite takes either `function` and `quality`, or `cube`")
        self._cube = None if cube is None else _definition(cube)
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
            _check_grid(data.odc.geobox, self._cube)
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
        return _told(image.isel(time=0, drop=True), self._cube)


def _told(made: xr.Dataset, cube: CubeSpec | None) -> xr.Dataset:
    """Say that datacube has loaded the scenes, and warn once where a cube's pixels are promised."""
    if cube is not None:
        _warn_once(cube.name)
    return made.assign_attrs(loaded_by="datacube")


@cache
def _warn_once(name: str) -> None:
    # Python's own "once" does not hold where a library resets filters, as datacube's do.
    warnings.warn(_LOADED.format(name=name), LoadedByDatacubeWarning, stacklevel=2)


def _definition(cube: str | CubeSpec) -> CubeSpec:
    return find_cube(cube) if isinstance(cube, str) else cube


def _check_grid(geobox: GeoBox | None, cube: CubeSpec) -> None:
    """Refuse other pixels than the cube's.

    The pixels of a cube are composites of scenes on its own grid. What is composited on another
    grid, of scenes that were warped to it one by one, is something else than the cube on that grid.
    """
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
        A shipped cube by name, the YAML file of one, or a definition.
    source
        ODC product of the scenes.
    """

    def __init__(self, cube: str | CubeSpec, source: str | None = None) -> None:
        self._cube = _definition(cube)
        self._source = source

    def measurements(self, _input: Mapping[str, Measurement]) -> dict[str, Measurement]:
        """Give the cube's measurements."""
        return {m.name: Measurement(**m.to_odc()) for m in self._cube.measurements}

    def compute(self, data: xr.Dataset) -> xr.Dataset:
        """Rename, convert and recode the bands."""
        return _told(harmonise(data, self._cube, self._source), self._cube)


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


class CubeProduct(Aggregate):
    """A cube as a virtual product with the pixels of the built cube.

    Datasets are found and grouped as by any virtual product, but for whole tiles and periods: an
    image follows from all scenes of its tile and period, however little of it is asked for. Its
    pixels are those of a live image. Pixels that are asked for (``like``) must be the cube's; if
    nothing says which, all of the tiles that have a scene are meant, or the part of them that the
    area asked for touches.
    """

    _INPUT_ONLY = ("resampling", "fuse_func")

    @property
    def cube(self) -> CubeSpec:
        """The definition."""
        return _definition(self["cube"])

    def output_measurements(self, _: Mapping[str, Any]) -> dict[str, Measurement]:
        """Give the cube's outputs."""
        return {m.name: Measurement(**m.to_odc()) for m in self.cube.outputs}

    def query(self, dc: Datacube, **search_terms: Any) -> VirtualDatasetBag:
        """Find the scenes of all tiles and periods that are touched.

        Raises
        ------
        InvalidValueError
            If ``like`` has other pixels than the cube, nothing of what is asked for lies in it, or
            the index has none of the source products.
        """
        cube = self.cube
        known = {*self._NON_QUERY_KEYS, *self._ADDITIONAL_SEARCH_KEYS, "product"}
        terms = {key: value for key, value in search_terms.items() if key not in known}
        query = Query(dc.index, **terms)
        others = {key: value for key, value in query.search.items() if key != "time"}
        region = self._region(_geobox(search_terms.get("like")), query.geopolygon)
        periods = None
        if (time := query.search.get("time")) is not None:
            periods = list(cube.timeline.covering(time.begin.date(), time.end.date()))
            if not periods:
                raise InvalidValueError(f"no period of cube {cube.name} lies in the time asked for")
        span = (periods[0].start_datetime, periods[-1].end_datetime) if periods else None
        wanted = search_terms.get("dataset_predicate") or (lambda _: True)
        found, products = [], {}
        for source, near in find_scenes(dc, cube, tiles=region.tiles, time=span, **others):
            products[source.product] = dc.index.products.get_by_name_unsafe(source.product)
            found += [
                dataset
                for dataset in near
                if (periods is None or any(begin(dataset).date() in p for p in periods))
                and wanted(dataset)
            ]
        return VirtualDatasetBag(found, query.geopolygon, products)

    def group(self, datasets: VirtualDatasetBag, **group_settings: Any) -> VirtualDatasetBox:
        """Group the scenes by the periods of the cube.

        Raises
        ------
        InvalidValueError
            If the pixels asked for are not the cube's.
        NothingFoundError
            If no scene lies on them.
        """
        found = list(datasets.contained_datasets())
        geobox = _geobox(group_settings.get("like"))
        said = {k: v for k, v in group_settings.items() if k in self._GEOBOX_KEYS}
        if geobox is None and said:
            geobox = output_geobox(
                datasets=found, grid_spec=None, geopolygon=datasets.geopolygon, **said
            )
        region = self._region(geobox, datasets.geopolygon)
        tasks = self._tasks(found, region)
        if not tasks:
            raise NothingFoundError(
                f"the index has no scene of {', '.join(self.cube.products)} for cube "
                f"{self.cube.name} in the area and time asked for"
            )
        return VirtualDatasetBox(
            _box(found, tasks),
            region.geobox or around(task.geobox for task in tasks),
            False,
            datasets.product_definitions,
        )

    def fetch(self, grouped: VirtualDatasetBox, **load_settings: Any) -> xr.Dataset:
        """Read the images.

        Parameters
        ----------
        grouped
            From `group`, or a part of that.
        load_settings
            ``measurements``, ``dask_chunks`` and ``skip_broken_datasets`` are heeded; how scenes
            are warped and joined is the cube's to say.

        Raises
        ------
        InvalidValueError
            If a setting would give other pixels than the cube's.
        UnreadableSceneError
            If a scene cannot be read; of lazy ones when they are computed.
        """
        if told := [key for key in self._INPUT_ONLY if load_settings.get(key) is not None]:
            raise InvalidValueError(
                f"{', '.join(told)}: cube {self.cube.name} says how its scenes are warped and "
                "joined; change its definition"
            )
        starts = grouped.box["time"].values.astype("datetime64[D]").tolist()
        periods = [p for start in starts if (p := self.cube.timeline.period_of(start))]
        found = {dataset.id: dataset for one in grouped.box.values for dataset in one}
        region = self._region(grouped.geobox, None)
        tasks = [t for t in self._tasks(found.values(), region) if t.period in periods]
        chunks = load_settings.get("dask_chunks")
        lazy = open_tasks(
            tasks,
            grouped.geobox,
            cube=self.cube,
            outputs=outputs_named(self.cube, load_settings.get("measurements")),
            chunks=chunks,
            periods=periods,
            unreadable="skip" if load_settings.get("skip_broken_datasets") else "fail",
        )
        lazy["time"].attrs.update(grouped.box["time"].attrs)
        return lazy if chunks is not None else lazy.load(scheduler="threads")

    def _region(self, geobox: GeoBox | None, area: Any) -> Region:
        if geobox is not None:
            _check_grid(geobox, self.cube)
            return Region.of(self.cube, geobox=geobox)
        return Region.of(self.cube, geometry=area)

    def _tasks(self, datasets: Iterable[Dataset], region: Region) -> list[CompositeTask]:
        given = [given_scene(d, d.product.definition, self.cube) for d in datasets]
        access = access_of(os.environ)
        return plan_scenes(self.cube, given, tiles=region.tiles, access=access)

    def _reconstruct(self) -> dict[str, Any]:
        return self.cube.to_virtual_recipe()


def _geobox(like: Any) -> GeoBox | None:
    """Give the pixels that are asked for, as datacube takes them: a geobox, or what has one."""
    if like is None or isinstance(like, GeoBox):
        return like
    found = like.odc.geobox if hasattr(like, "odc") else getattr(like, "geobox", None)
    if not isinstance(found, GeoBox):
        raise InvalidValueError(f"like: {type(like).__name__} has no pixel grid; give a geobox")
    return found


def _box(datasets: Sequence[Dataset], tasks: Sequence[CompositeTask]) -> xr.DataArray:
    """Give the datasets of each period that has an image."""
    known = {dataset.id: dataset for dataset in datasets}
    periods: dict[date, dict[Any, Dataset]] = {}
    for task in sorted(tasks, key=lambda t: t.period):
        here = periods.setdefault(task.period.start, {})
        here |= {scene.id: known[scene.id] for scene in task.scenes}
    values = np.empty(len(periods), object)
    values[:] = [tuple(found.values()) for found in periods.values()]
    box = xr.DataArray(values, dims=["time"], coords=[np.array(list(periods), "datetime64[ns]")])
    box["time"].attrs["units"] = "seconds since 1970-01-01 00:00:00"
    return box


def cube_product(cube: str | CubeSpec) -> CubeProduct:
    """Give the virtual product of a cube.

    Parameters
    ----------
    cube
        A definition, the name of a shipped one, or the path of a YAML file.
    """
    spec = _definition(cube)
    grouping = _grouping(f"periods_of_{spec.name}", spec.timeline, f"the cube {spec.name}")
    recipe = _for_cube(spec.to_virtual_recipe(), cube) | {"group_by": grouping}
    return CubeProduct(dict(DEFAULT_RESOLVER.construct(**recipe)))


def _for_cube(recipe: Any, cube: str | CubeSpec) -> Any:
    """Give a recipe whose parts all have the same definition, which may have no name or file."""
    if isinstance(recipe, list):
        return [_for_cube(part, cube) for part in recipe]
    if not isinstance(recipe, dict) or "product" in recipe:
        return recipe
    made = {key: _for_cube(value, cube) for key, value in recipe.items()}
    return made | {"cube": cube} if "cube" in made else made


class _CubeResolver(NameResolver):
    """Makes `CubeProduct` of recipes that name a cube."""

    def construct(self, **recipe: Any) -> Any:
        """Make the virtual product of a recipe."""
        return (
            cube_product(recipe["cube"]) if "aggregate" in recipe else super().construct(**recipe)
        )


def catalogue() -> Catalog:
    """Give the shipped catalogue: a virtual product (`CubeProduct`) for each shipped cube."""
    text = (files("odc_bdc.product_defs") / "virtual" / "catalogue.yaml").read_text("utf-8")
    resolver = _CubeResolver(DEFAULT_RESOLVER.clone().lookup_table)
    return catalog_from_yaml(yaml.safe_dump(yaml.safe_load(text)), name_resolver=resolver)


__all__ = ["Composite", "CubeProduct", "Harmonise", "catalogue", "cube_product"]
