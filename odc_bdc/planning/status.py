"""What is built of a plan, and what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from odc_bdc.indexing.known import known_images

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Sequence
    from datetime import date

    from datacube import Datacube

    from odc_bdc.planning.task import CompositeTask


def task_status(
    dc: Datacube, tasks: Sequence[CompositeTask]
) -> Iterator[tuple[CompositeTask, str]]:
    """Tell of each task if its image is ``built``, ``stale`` (another is) or ``missing``."""
    images = {name: built_images(dc, name) for name in {task.cube.name for task in tasks}}
    for task in tasks:
        found = images[task.cube.name].get((task.tile_id, task.period.start), set())
        yield task, "built" if task.id in found else "stale" if found else "missing"


def built_images(dc: Datacube, cube: str) -> dict[tuple[str, date], set[uuid.UUID]]:
    """Give the ids of a cube's datasets in the index by tile and start of the period."""
    found: dict[tuple[str, date], set[uuid.UUID]] = {}
    for image in known_images(dc, cube):
        found.setdefault((image.tile, image.start), set()).add(image.id)
    return found
