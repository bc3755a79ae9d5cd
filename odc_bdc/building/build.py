"""Building a cube: what is missing is computed and written, what is finished is left alone."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import TYPE_CHECKING

from odc_bdc.building.store import ImageStore
from odc_bdc.building.writing import write_image
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


def build_task(task: CompositeTask, store: ImageStore, processed: datetime) -> str:
    """Compute and write one image unless it is there; give the address of its EO3 document.

    Needs no index. Raises `SceneError` if a scene cannot be read or the image cannot be written.
    """
    if store.is_written(task):
        return store.document_uri(task)
    return write_image(task, store, processed=processed)


def build_cube(
    dc: Datacube,
    tasks: Sequence[CompositeTask],
    root: Path | ImageStore,
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
        Where the images go; a path stands for the root there, in the layout that it has.
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
    store = root if isinstance(root, ImageStore) else ImageStore.open(root)
    store.prepare(task.cube.name for task in tasks)
    store.remove_partial()
    report = BuildReport()
    images = {name: built_images(dc, name) for name in {task.cube.name for task in tasks}}
    for task, outcome in _outcomes(tasks, store, now, workers):
        indexed = images[task.cube.name].get((task.tile_id, task.period.start), set())
        try:
            document = outcome()
            new = task.id not in indexed and add_document(dc, document)
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
    tasks: Sequence[CompositeTask], store: ImageStore, now: Callable[[], datetime], workers: int
) -> Iterator[tuple[CompositeTask, Callable[[], str]]]:
    """Give each task with a function that returns its document or raises, as they finish."""
    waiting = []
    for task in tasks:
        if store.is_written(task):
            uri = store.document_uri(task)
            yield task, lambda uri=uri: uri  # type: ignore[misc]  # a default binds the value
        else:
            waiting.append(task)
    if workers <= 1 or len(waiting) <= 1:
        for task in waiting:
            yield task, lambda task=task: build_task(task, store, now())  # type: ignore[misc]  # same
        return
    # Spawned, not forked: GDAL and the database connection of this process must not be shared.
    with ProcessPoolExecutor(min(workers, len(waiting)), get_context("spawn")) as pool:
        futures = {pool.submit(build_task, task, store, now()): task for task in waiting}
        for future in as_completed(futures):
            yield futures[future], future.result
