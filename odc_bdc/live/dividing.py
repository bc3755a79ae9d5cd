"""Which images are declared or built already, and which are to be declared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Literal, TypeAlias

from odc_bdc.indexing.faults import database_refusals
from odc_bdc.indexing.known import KnownImage, known_images
from odc_bdc.live.documents import LiveTerms, QualityStamps
from odc_bdc.live.records import LiveStatus

if TYPE_CHECKING:
    import uuid

    from datacube import Datacube

    from odc_bdc.planning import CompositeTask

ReplaceBuilt: TypeAlias = Literal["none", "stale", "all"]
"""Which built images a declaration takes the place of."""

Place: TypeAlias = "tuple[str, str, date]"
"""Cube, tile and first day of an image."""


@dataclass(frozen=True, slots=True)
class LiveDivision:
    """Tasks by what there is to declare.

    Attributes
    ----------
    kept
        What stays as it is, with the id of its dataset.
    waiting
        What must be declared.
    visible
        Ids of all datasets that are visible where the image of a task belongs.
    surplus
        Ids of datasets beside those which are kept: of runs that met.
    """

    kept: tuple[tuple[CompositeTask, LiveStatus, uuid.UUID], ...]
    waiting: tuple[CompositeTask, ...]
    visible: Mapping[Place, frozenset[uuid.UUID]]
    surplus: frozenset[uuid.UUID]


def divide_live(
    dc: Datacube,
    tasks: Sequence[CompositeTask],
    terms: LiveTerms,
    *,
    quick: bool = False,
    replace_built: ReplaceBuilt = "none",
) -> LiveDivision:
    """Tell what is declared, or built, from what is to be declared; `declare_cube` explains it.

    Raises
    ------
    DatabaseError
        If the index cannot be read.
    """
    visible: dict[Place, list[KnownImage]] = {}
    with database_refusals():
        for cube in {task.cube.name for task in tasks}:
            for image in known_images(dc, cube):
                visible.setdefault((cube, image.tile, image.start), []).append(image)
    kept, waiting, surplus, stamps = [], [], set[KnownImage](), QualityStamps()
    for task in tasks:
        images = visible.get(place_of(task), [])
        found = _kept_built(task, images, replace_built)
        if found is None and all(image.live for image in images):
            found = _kept_live(task, images, terms, stamps, quick=quick)
        if found is None:
            waiting.append(task)
            continue
        kept.append((task, _status(task, found), found.id))
        surplus |= {image for image in images if image.live and image.id != found.id}
    ids = {place: frozenset(i.id for i in images) for place, images in visible.items()}
    return LiveDivision(tuple(kept), tuple(waiting), ids, frozenset(i.id for i in surplus))


def _kept_built(
    task: CompositeTask, images: Sequence[KnownImage], replace_built: ReplaceBuilt
) -> KnownImage | None:
    """Give the built image that stays, if there is one."""
    built = [image for image in images if not image.live]
    current = [image for image in built if image.planned == task.id]
    stays = {"none": current or built, "stale": current, "all": []}[replace_built]
    return stays[0] if stays else None


def _kept_live(
    task: CompositeTask,
    images: Sequence[KnownImage],
    terms: LiveTerms,
    stamps: QualityStamps,
    *,
    quick: bool,
) -> KnownImage | None:
    """Give the live image that stays as it is, if there is one."""
    mine = [image for image in images if image.planned == task.id and image.fingerprint]
    if not mine:
        return None
    wanted = terms.fingerprint(task)
    if needs_counts(task) and not quick:
        wanted = f"{wanted}.{stamps.of(task)}"
    for image in mine:
        found = image.fingerprint or ""
        # Exact or not, and whichever files were counted: those are not even looked at.
        same = found.partition(".")[0] if quick else found
        if same == wanted and terms.is_written(task, image.id, image.path or ""):
            return image
    return None


def _status(task: CompositeTask, image: KnownImage) -> LiveStatus:
    if image.live:
        return "unchanged"
    return "built" if image.planned == task.id else "stale"


def needs_counts(task: CompositeTask) -> bool:
    """Tell whether the order of a task's scenes takes their clear pixels."""
    return task.cube.function.ordering == "efficacy"


def place_of(task: CompositeTask) -> Place:
    """Tell where the image of a task belongs."""
    return task.cube.name, task.tile_id, task.period.start
