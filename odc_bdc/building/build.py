"""Building a cube: what is missing is computed and written, what is finished is left alone."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import TYPE_CHECKING

from odc_bdc.building.writing import document_path, remove_partial, write_image
from odc_bdc.errors import OdcBdcError
from odc_bdc.indexing import Failure, add_document, archive
from odc_bdc.planning import built_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from datacube import Datacube

    from odc_bdc.planning import CompositeTask


@dataclass(slots=True)
class BuildReport:
    """What became of the tasks of one run."""

    built: int = 0
    unchanged: int = 0
    archived: int = 0
    failed: list[Failure] = field(default_factory=list)


def build_task(task: CompositeTask, root: Path, processed: datetime) -> Path:
    """Compute and write one image unless it is there; give the path of its EO3 document.

    Needs no index. Raises `SceneError` if a scene cannot be read or the image cannot be written.
    """
    path = document_path(task, root)
    if not path.is_file():
        write_image(task, root, processed=processed)
    return path


def build_cube(
    dc: Datacube,
    tasks: Sequence[CompositeTask],
    root: Path,
    *,
    now: Callable[[], datetime],
    workers: int = 1,
    progress: Callable[[CompositeTask], None] | None = None,
) -> BuildReport:
    """Build and index images; older versions of the same tile and period are archived.

    Parameters
    ----------
    tasks
        From `odc_bdc.planning.plan_cube`.
    root
        Folder of the cubes.
    now
        The clock, for the time of processing.
    workers
        Processes that compute and write; only this one talks to the index.
    progress
        Called with each task that is finished.

    Returns
    -------
    BuildReport
        Tasks that failed are reported with their reason; the rest are built.
    """
    remove_partial(root)
    report = BuildReport()
    images = {name: built_images(dc, name) for name in {task.cube.name for task in tasks}}
    for task, outcome in _outcomes(tasks, root, now, workers):
        indexed = images[task.cube.name].get((task.tile_id, task.period.start), set())
        try:
            path = outcome()
            new = task.id not in indexed and add_document(dc, path)
            archive(dc, others := indexed - {task.id})
            report.archived += len(others)
        except OdcBdcError as e:
            report.failed.append(Failure(task.item_id, str(e)))
        except BrokenProcessPool:
            reason = "a worker process was killed; is there memory for so many --workers?"
            report.failed.append(Failure(task.item_id, reason))
        else:
            report.built += new
            report.unchanged += not new
        if progress:
            progress(task)
    return report


def _outcomes(
    tasks: Sequence[CompositeTask], root: Path, now: Callable[[], datetime], workers: int
) -> Iterator[tuple[CompositeTask, Callable[[], Path]]]:
    """Give each task with a function that returns its document or raises, as they finish."""
    waiting = []
    for task in tasks:
        path = document_path(task, root)
        if path.is_file():
            yield task, lambda path=path: path  # type: ignore[misc]  # a default binds the value
        else:
            waiting.append(task)
    if workers <= 1 or len(waiting) <= 1:
        for task in waiting:
            yield task, lambda task=task: build_task(task, root, now())  # type: ignore[misc]  # same
        return
    # Spawned, not forked: GDAL and the database connection of this process must not be shared.
    with ProcessPoolExecutor(min(workers, len(waiting)), get_context("spawn")) as pool:
        futures = {pool.submit(build_task, task, root, now()): task for task in waiting}
        for future in as_completed(futures):
            yield futures[future], future.result
