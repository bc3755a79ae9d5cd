"""What is built of a plan, and what is not."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from odc_bdc.indexing.known import KnownImage, known_images
from odc_bdc.planning.plan import EmptyPeriod, Plan
from odc_bdc.planning.task import CompositeTask
from odc_bdc.timeline import Period

if TYPE_CHECKING:
    from datacube import Datacube


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

    Parameters
    ----------
    failures
        Reasons of tasks that failed when they were last tried, by their ids.

    Notes
    -----
    What is visible in the index counts; archived images do not.
    """
    return status_of(plan, known_images(dc, plan.cube.name), failures or {})


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
