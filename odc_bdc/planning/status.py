"""What is built of a plan, and what is not."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from odc_bdc.indexing.known import KnownImage, image_bounds, known_images
from odc_bdc.planning.plan import EmptyPeriod, Plan, survey_cube
from odc_bdc.planning.task import CompositeTask
from odc_bdc.timeline import Period

if TYPE_CHECKING:
    from datacube import Datacube

    from odc_bdc.grid import BBox


class State(StrEnum):
    """What there is of a tile and period; in the order in which they want to be looked at.

    ``live`` and ``done`` are of what the plan says now: a recipe, and a built image.
    """

    FAILED = "failed"
    MISSING = "missing"
    STALE = "stale"
    LIVE = "live"
    DONE = "done"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class PeriodStatus:
    """What there is of a tile and period of a cube.

    Attributes
    ----------
    scenes
        How many it is to be made of.
    image
        Id of the image that is visible in the index.
    remark
        Why the state is what it is, where that is not plain.
    """

    cube: str
    tile_id: str
    period: Period
    state: State
    scenes: int = 0
    image: uuid.UUID | None = None
    remark: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give it as a line of JSON."""
        return {
            "cube": self.cube,
            "tile": self.tile_id,
            "start": self.period.start.isoformat(),
            "end": self.period.end.isoformat(),
            "status": str(self.state),
            "scenes": self.scenes,
            "image": str(self.image) if self.image else None,
            "remark": self.remark,
        }


def cube_status(
    dc: Datacube, plan: Plan, failures: Mapping[uuid.UUID, str] | None = None
) -> list[PeriodStatus]:
    """Tell of each tile and period of a plan what there is, sorted by tile and period.

    Images of a part of their tile, as the cube clipped to a box has them, count as what they are,
    with a remark that names the box.

    Parameters
    ----------
    failures
        Reasons of tasks that failed when they were last tried, by their ids.

    Notes
    -----
    What is visible in the index counts; archived images do not.
    """
    images, noted = known_images(dc, plan.cube.name), failures or {}
    found = status_of(plan, images, noted)
    clip, tiles = _clip(dc, plan, found)
    if clip is None:
        return found
    part = survey_cube(
        dc,
        plan.cube.patch(extent=clip),
        min(entry.period.start for entry in plan.entries),
        max(entry.period.end for entry in plan.entries),
        tiles=tiles,
        access=plan.tasks[0].access,
    )
    box = " ".join(f"{edge:.10g}" for edge in clip)
    clipped = {
        (one.tile_id, one.period): replace(one, remark=one.remark or f"of --clip {box}")
        for one in status_of(part, images, noted)
        if one.state in {State.DONE, State.LIVE}
    }
    return [clipped.get((one.tile_id, one.period), one) for one in found]


def _clip(dc: Datacube, plan: Plan, found: Sequence[PeriodStatus]) -> tuple[BBox | None, list[str]]:
    """Give the box that the images of a plan are cut to which look stale, and their tiles.

    Whoever built a part of the grid and asks for the whole is not to be told that all is stale.
    """
    stale = {one.image: one.tile_id for one in found if one.state is State.STALE and one.image}
    tolerance = plan.cube.resolution / 1000
    cut = {}
    for image, bounds in image_bounds(dc, stale).items() if stale else ():
        whole = plan.cube.geobox(stale[image])
        if whole is not None and _is_part(bounds, whole.boundingbox.bbox, tolerance):
            cut[image] = bounds
    if not cut or not plan.tasks:
        return None, []
    edges = list(zip(*cut.values(), strict=True))
    clip = (min(edges[0]), min(edges[1]), max(edges[2]), max(edges[3]))
    return clip, sorted({stale[image] for image in cut})


def _is_part(inner: BBox, outer: BBox, tolerance: float) -> bool:
    """Tell if a box lies in another and is smaller."""
    inward = [inner[0] - outer[0], inner[1] - outer[1], outer[2] - inner[2], outer[3] - inner[3]]
    return min(inward) > -tolerance and max(inward) > tolerance


def status_of(
    plan: Plan, images: Iterable[KnownImage], failures: Mapping[uuid.UUID, str]
) -> list[PeriodStatus]:
    """Tell what there is of a plan; `cube_status` with all that it asks for."""
    visible: dict[tuple[str, date], list[KnownImage]] = {}
    for image in images:
        visible.setdefault((image.tile, image.start), []).append(image)
    found = []
    for entry in plan.entries:
        there = visible.pop((entry.tile_id, entry.period.start), [])
        if isinstance(entry, EmptyPeriod):
            found.append(_without_scenes(entry, there))
        else:
            found.append(_of_task(entry, there, failures))
    if plan.is_whole:
        found += _left(plan, visible)
    return sorted(found, key=lambda s: (s.tile_id, s.period.start))


def _of_task(
    task: CompositeTask, there: Sequence[KnownImage], failures: Mapping[uuid.UUID, str]
) -> PeriodStatus:
    # For an instant a live image and the built one may both be there.
    of_task = min((i for i in there if i.planned == task.id), key=lambda i: i.live, default=None)
    remark = None
    if of_task is not None:
        state = State.LIVE if of_task.live else State.DONE
        if of_task.skipped:
            remark = "scenes that could not be read are left out"
        elif of_task.live and task.id in failures:
            remark = f"building it failed: {failures[task.id]}"
        elif of_task.has_old_id:
            remark = "its id is that of an earlier release: `odc-bdc cube declare` gives it its own"
    elif task.id in failures:
        state, remark = State.FAILED, failures[task.id]
    elif there:
        state, remark = State.STALE, "what it was made of is not what the plan says now"
    else:
        state = State.MISSING
    image = of_task or (there[0] if there else None)
    return PeriodStatus(
        task.cube.name,
        task.tile_id,
        task.period,
        state,
        len(task.scenes),
        image.id if image else None,
        remark,
    )


def _without_scenes(entry: EmptyPeriod, there: Sequence[KnownImage]) -> PeriodStatus:
    name, tile, period = entry.cube.name, entry.tile_id, entry.period
    if there:
        return PeriodStatus(name, tile, period, State.STALE, 0, there[0].id, entry.reason)
    return PeriodStatus(name, tile, period, State.EMPTY, remark=entry.reason)


def _left(
    plan: Plan, visible: Mapping[tuple[str, date], Sequence[KnownImage]]
) -> Iterator[PeriodStatus]:
    """Give the images of tiles that have no scene any more."""
    periods = {period.start: period for period in plan.periods}
    for (tile, start), there in visible.items():
        if start in periods:
            remark = "no scene of this tile is in the index"
            yield PeriodStatus(
                plan.cube.name, tile, periods[start], State.STALE, 0, there[0].id, remark
            )


def built_images(dc: Datacube, cube: str) -> dict[tuple[str, date], set[uuid.UUID]]:
    """Give the ids of a cube's datasets in the index by tile and start of the period."""
    found: dict[tuple[str, date], set[uuid.UUID]] = {}
    for image in known_images(dc, cube):
        found.setdefault((image.tile, image.start), set()).add(image.id)
    return found


def task_status(
    dc: Datacube, tasks: Sequence[CompositeTask]
) -> Iterator[tuple[CompositeTask, State]]:
    """Tell of each task what there is."""
    known: dict[tuple[str, str, Period], State] = {}
    for name in {task.cube.name for task in tasks}:
        of_cube = tuple(task for task in tasks if task.cube.name == name)
        for status in cube_status(dc, Plan(of_cube[0].cube, (), of_cube, ())):
            known[name, status.tile_id, status.period] = status.state
    for task in tasks:
        yield task, known[task.cube.name, task.tile_id, task.period]
