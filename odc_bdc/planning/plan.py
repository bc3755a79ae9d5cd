"""What there is to build: tiles and periods with their scenes, and why some have none."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from odc_bdc.cube import CubeSpec, Encoding, Source, source_encodings
from odc_bdc.errors import InvalidValueError
from odc_bdc.files import Access
from odc_bdc.indexing.spatial import find_near, union
from odc_bdc.naming import cube_item_id
from odc_bdc.planning.cloudiness import clear_share, cloud_cover
from odc_bdc.planning.footprints import (
    Footprint,
    areas_in,
    footprint,
    geoboxes_of,
    tiles_near,
    tiles_with_scenes,
)
from odc_bdc.planning.scenes import begin, scene_ref
from odc_bdc.planning.task import CompositeTask, SceneRef, time_and_name
from odc_bdc.timeline import Period

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date, datetime

    import numpy as np
    import numpy.typing as npt
    from datacube import Datacube
    from datacube.model import Dataset
    from odc.geo.geom import Geometry


@dataclass(frozen=True, slots=True)
class EmptyPeriod:
    """A tile and period of a cube for which there is nothing to build.

    Attributes
    ----------
    reason
        Why there is no scene, in a line.
    """

    cube: CubeSpec
    tile_id: str
    period: Period
    reason: str

    @property
    def item_id(self) -> str:
        """Name that the image would have."""
        return cube_item_id(self.cube.name, self.tile_id, self.period)

    def to_dict(self) -> dict[str, Any]:
        """Give it as a line of a plan."""
        return {
            "status": "empty",
            "item": self.item_id,
            "cube": self.cube.name,
            "tile": self.tile_id,
            "start": self.period.start.isoformat(),
            "end": self.period.end.isoformat(),
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Plan:
    """All that a request for some tiles and a range of time means, sorted by tile and period.

    Attributes
    ----------
    periods
        All that were asked for.
    is_whole
        Whether no tiles were asked for, so that all are meant that have a scene.
    """

    cube: CubeSpec
    periods: tuple[Period, ...]
    tasks: tuple[CompositeTask, ...]
    empty: tuple[EmptyPeriod, ...]
    is_whole: bool = False

    @cached_property
    def entries(self) -> tuple[CompositeTask | EmptyPeriod, ...]:
        """Tasks and empty periods in one order."""
        return tuple(sorted((*self.tasks, *self.empty), key=lambda e: (e.tile_id, e.period.start)))


def plan_cube(
    dc: Datacube,
    cube: CubeSpec,
    start: date,
    end: date,
    *,
    tiles: Sequence[str] | None = None,
    access: Access | None = None,
) -> list[CompositeTask]:
    """Give the images of a cube that can be made from the scenes in the index.

    Parameters
    ----------
    start, end
        Both inclusive. Only periods that lie wholly between them are planned.
    tiles
        Tile ids; None for every tile that has a scene.
    access
        How to get at the files of scenes.

    Returns
    -------
    list
        Sorted by tile and period; tiles and periods without a scene are left out.

    Raises
    ------
    InvalidValueError
        If no whole period lies in the range, a tile id is malformed or outside of the cube's
        extent, or the index has none of the source products.
    """
    return list(_Survey(dc, cube, start, end, tiles, access=access).tasks)


def survey_cube(
    dc: Datacube,
    cube: CubeSpec,
    start: date,
    end: date,
    *,
    tiles: Sequence[str] | None = None,
    access: Access | None = None,
) -> Plan:
    """Do as `plan_cube`, and tell also why there is nothing to build where no scene is.

    Without `tiles`, empty periods are told of those tiles that have a scene in any period.
    """
    survey = _Survey(dc, cube, start, end, tiles, access=access)
    return Plan(
        cube, tuple(survey.periods), survey.tasks, tuple(survey.empty()), is_whole=tiles is None
    )


class _Survey:
    """The scenes of a cube in a range of time, by tile and period."""

    def __init__(
        self,
        dc: Datacube,
        cube: CubeSpec,
        start: date,
        end: date,
        tiles: Sequence[str] | None,
        *,
        access: Access | None = None,
    ) -> None:
        self._dc, self._cube, self._access = dc, cube, access or Access()
        self.periods = whole_periods(cube, start, end)
        self._lacking = missing_sources(dc, cube)
        scenes, covers, areas = self._scenes(tiles)
        self._tiles = tiles_near(cube, areas) if tiles is None else sorted(set(tiles))
        self._found = Counter((s.product, self._period(s.datetime)) for s in scenes)
        self._members = self._by_tile_and_period(scenes, covers, areas)
        if tiles is None:
            used = {tile for tile, _ in self._members}
            self._tiles = [tile for tile in self._tiles if tile in used]

    @property
    def tasks(self) -> tuple[CompositeTask, ...]:
        return tuple(
            CompositeTask(
                self._cube,
                tile,
                period,
                tuple(scene for scene, _ in members),
                self._access,
                {scene.id: clear for scene, clear in members},
            )
            for (tile, period), members in sorted(self._members.items(), key=lambda kv: kv[0])
        )

    def empty(self) -> Iterable[EmptyPeriod]:
        """Tell why tiles that are wanted, or have scenes at other times, have nothing."""
        reasons: dict[Period, str] = {}
        for tile in self._tiles:
            for period in self.periods:
                if (tile, period) in self._members:
                    continue
                if period not in reasons:
                    reasons[period] = self._reason(period)
                yield EmptyPeriod(self._cube, tile, period, reasons[period])

    def _scenes(
        self, tiles: Sequence[str] | None
    ) -> tuple[list[SceneRef], list[float | None], npt.NDArray[np.object_]]:
        """Find the scenes that begin in one of the periods, sorted, and where they lie.

        The clouds are per cent of each scene, None where it does not tell.
        """
        cube = self._cube
        time = (self.periods[0].start_datetime, self.periods[-1].end_datetime)
        scenes: list[SceneRef] = []
        covers: list[float | None] = []
        places: list[Footprint] = []
        for source, found in find_scenes(self._dc, cube, tiles=tiles, time=time):
            encodings = self._encodings(source)
            for dataset in found:
                if self._period(begin(dataset)) is not None:
                    scenes.append(scene_ref(dataset, cube, source, encodings))
                    covers.append(cloud_cover(dataset.metadata_doc))
                    places.append(footprint(dataset.metadata_doc))
        areas = areas_in(cube.grid.odc_crs, places)
        order = sorted(range(len(scenes)), key=lambda i: time_and_name(scenes[i]))
        return [scenes[i] for i in order], [covers[i] for i in order], areas[order]

    def _encodings(self, source: Source) -> dict[str, Encoding]:
        product = self._dc.index.products.get_by_name_unsafe(source.product).definition
        return source_encodings(self._cube, source, product)

    def _by_tile_and_period(
        self,
        scenes: Sequence[SceneRef],
        covers: Sequence[float | None],
        areas: npt.NDArray[np.object_],
    ) -> dict[tuple[str, Period], list[tuple[SceneRef, float | None]]]:
        members: dict[tuple[str, Period], list[tuple[SceneRef, float | None]]] = {}
        periods = [self._period(scene.datetime) for scene in scenes]
        pairs = tiles_with_scenes(self._cube, self._tiles, areas)
        for i, j, share in zip(*(numbers.tolist() for numbers in pairs), strict=True):
            if (period := periods[i]) is not None:
                clear = clear_share(share, covers[i])
                members.setdefault((self._tiles[j], period), []).append((scenes[i], clear))
        return members

    @cached_property
    def _starts(self) -> list[date]:
        return [period.start for period in self.periods]

    def _period(self, when: datetime) -> Period | None:
        """Give the period that holds a time (UTC)."""
        day = when.date()
        at = bisect_right(self._starts, day) - 1
        return self.periods[at] if at >= 0 and day in self.periods[at] else None

    def _reason(self, period: Period) -> str:
        """Tell why a tile has no scene in a period."""
        return "; ".join(self._why(source, period) for source in self._cube.sources)

    def _why(self, source: Source, period: Period) -> str:
        name = source.product
        if name in self._lacking:
            return f"the index has no product {name}"
        # What was searched may be only the area of some tiles.
        near = self._found[name, period]
        if there := near or self._begun(source, period, **dict(source.where)):
            return f"{_count(there)} of {name} in this period, none of them on this tile"
        if source.where and (others := self._begun(source, period)):
            wanted = ", ".join(f"{key} {value}" for key, value in source.where)
            return f"{_count(others)} of {name} in this period, none of them with {wanted}"
        return f"no scene of {name} in this period"

    def _begun(self, source: Source, period: Period, **where: Any) -> int:
        """Count the scenes of a source that begin in a period, anywhere."""
        time = (period.start_datetime, period.end_datetime)
        found = find_near(self._dc, source.product, None, time=time, **where)
        return sum(begin(dataset).date() in period for dataset in found)


def find_scenes(
    dc: Datacube,
    cube: CubeSpec,
    *,
    tiles: Iterable[str] | None = None,
    time: tuple[datetime, datetime] | None = None,
    **terms: Any,
) -> Iterator[tuple[Source, Iterator[Dataset]]]:
    """Give the scenes of each of a cube's sources about some tiles, and maybe some beside them.

    Parameters
    ----------
    tiles
        Tile ids; None for all scenes.
    time
        Both inclusive (UTC): scenes that share some time with it, though they may begin before.
    terms
        More that the index is asked for, besides what the sources say.

    Raises
    ------
    InvalidValueError
        If the index has none of the source products, or a tile id is malformed or lies outside of
        the cube's extent.
    """
    lacking = missing_sources(dc, cube)
    if len(lacking) == len(cube.sources):
        names = " ".join(lacking)
        raise InvalidValueError(
            f"the index has no product {names}, the source of cube {cube.name}; add it with "
            f"`odc-bdc product add {names}` and index its scenes with `odc-bdc index`"
        )
    area = None if tiles is None else _area(cube, tiles)
    asked = terms if time is None else {**terms, "time": time}
    for source in cube.sources:
        if source.product not in lacking:
            yield source, find_near(dc, source.product, area, **{**asked, **dict(source.where)})


def missing_sources(dc: Datacube, cube: CubeSpec) -> list[str]:
    """Give the products of a cube's scenes that the index does not have."""
    return [name for name in cube.products if dc.index.products.get_by_name(name) is None]


def whole_periods(cube: CubeSpec, start: date, end: date) -> list[Period]:
    """Give the periods of a cube that lie wholly between two days, both inclusive."""
    if end < start:
        raise InvalidValueError(f"the time range ends on {end}, before it starts on {start}")
    touched = list(cube.timeline.covering(start, end))
    periods = [p for p in touched if p.start >= start and p.end <= end]
    if not periods:
        near = ", ".join(f"{p.start} to {p.end}" for p in touched)
        raise InvalidValueError(
            f"no whole period of cube {cube.name} lies between {start} and {end}; "
            f"periods that touch this range: {near or 'none'}"
        )
    return periods


def _area(cube: CubeSpec, tiles: Iterable[str]) -> Geometry:
    """Give the area of some tiles, as far as it lies in the cube's extent."""
    return union(geobox.extent for geobox in geoboxes_of(cube, tiles))


def _count(scenes: int) -> str:
    return "1 scene" if scenes == 1 else f"{scenes} scenes"
