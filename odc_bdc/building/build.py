"""Building a cube: what is missing is computed and written, what is finished is left alone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from odc_bdc.building.failures import failures, forget_failure, note_failure
from odc_bdc.building.report import BuildReport, TaskRecord, TaskStatus
from odc_bdc.building.running import Here, Processes, Runner
from odc_bdc.building.store import ImageStore
from odc_bdc.building.work import Fault, Job, Outcome
from odc_bdc.building.writing import write_collection
from odc_bdc.cog import ZSTD, Compression
from odc_bdc.errors import ClusterError, DatabaseError, SceneError
from odc_bdc.indexing import add_documents
from odc_bdc.indexing.faults import database_refusals
from odc_bdc.indexing.known import KnownImage, known_images

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterable, Sequence
    from datetime import date, datetime
    from pathlib import Path

    from datacube import Datacube

    from odc_bdc.building.running.runner import Finished
    from odc_bdc.cube import CubeSpec
    from odc_bdc.planning import CompositeTask
    from odc_bdc.timeline import Period

_BATCH = 200
"""Images that an earlier run left on disk and that are indexed in one transaction."""


_Place: TypeAlias = "tuple[str, str, date]"
"""Cube, tile and first day: what there is one visible image of."""


def build_cube(
    dc: Datacube,
    tasks: Sequence[CompositeTask],
    root: Path | ImageStore,
    *,
    now: Callable[[], datetime],
    workers: int = 1,
    threads: int = 1,
    runner: Runner | None = None,
    retries: int = 0,
    skip_scenes: bool = False,
    compression: Compression = ZSTD,
    starting: Callable[[Sequence[CompositeTask]], None] = lambda _: None,
    progress: Callable[[TaskRecord], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> BuildReport:
    """Build and index images; older versions of the same tile and period are archived.

    Only this process talks to the index. Several runs may work on the same tasks, and one that is
    killed is completed by the next: each image is published by one rename, and indexed once.

    Parameters
    ----------
    tasks
        From `odc_bdc.planning.plan_cube`.
    root
        Where the images go; a path stands for the root there, in the layout that it has. Where
        tasks run on other machines, these must have it by the same path or address.
    now
        The clock, for the time of processing. With `workers` or `runner` it is sent to others, so
        it must be something that can be pickled.
    workers
        Processes of this machine that compute and write.
    threads
        Of each process, that work at one image.
    runner
        What runs tasks instead, such as `odc_bdc.building.running.Cluster`.
    retries
        How often tasks that failed are tried again, after all others; not if that cannot help.
    skip_scenes
        Make images without scenes that cannot be read, after all retries; see `build_task`.
    compression
        Of the files; images that are there stay as they are.
    starting
        Called with the tasks that are not done, before the first of them begins.
    progress
        Called once with each task and what became of it, when that is in the index.
    sleep
        Waits for some seconds.

    Returns
    -------
    BuildReport
        Tasks that failed are reported with their reason, here and in ``<root>/.failed``; the rest
        are built. If the index goes away meanwhile, images are written all the same, and the next
        run indexes them.

    Raises
    ------
    DatabaseError
        If the index cannot be read at the beginning.
    ClusterError
        If there is nobody left to run tasks; what is built stays.
    """
    store = ImageStore.at(root)
    store.prepare(task.cube.name for task in tasks)
    store.remove_partial()
    what = divide_tasks(dc, tasks, store, skip_scenes=skip_scenes)
    book = _Book(dc, store, now, progress)
    waiting = [*what.waiting, *book.open(what)]
    starting(waiting)
    runner = runner or (Processes(workers) if min(workers, len(waiting)) > 1 else Here())
    for attempt in range(retries + 1):
        if not waiting:
            break
        if attempt:
            sleep(_pause(attempt))
        last = attempt == retries
        again: list[Finished] = []
        try:
            job = Job(store, now, skip_scenes and last, threads, compression)
            for finished in runner.run(job, waiting):
                again += book.take(finished, last=last)
        except ClusterError:
            for task, outcome in again:
                book.fail(task, outcome)
            raise
        waiting = [task for task, _ in again]
    book.close(retries, sleep)
    return book.report


@dataclass(frozen=True, slots=True)
class Division:
    """Tasks by what there is to do for them.

    Attributes
    ----------
    done
        With the id of the image, which is in the index.
    written
        On disk, but not in the index, or with an older version still beside it there.
    waiting
        To be computed.
    replaced
        Ids of visible images that stand where a task's own belongs.
    """

    done: tuple[tuple[CompositeTask, uuid.UUID], ...]
    written: tuple[CompositeTask, ...]
    waiting: tuple[CompositeTask, ...]
    replaced: Mapping[_Place, frozenset[uuid.UUID]]


def divide_tasks(
    dc: Datacube, tasks: Iterable[CompositeTask], store: ImageStore, *, skip_scenes: bool = False
) -> Division:
    """Tell tasks that are done from those that are not, in one query for each cube.

    Parameters
    ----------
    skip_scenes
        Take an image that was made without unreadable scenes for done.

    Raises
    ------
    DatabaseError
        If the index cannot be read.
    """
    tasks = list(tasks)
    visible: dict[_Place, dict[uuid.UUID, KnownImage]] = {}
    with database_refusals():
        for cube in {task.cube.name for task in tasks}:
            for image in known_images(dc, cube):
                visible.setdefault((cube, image.tile, image.start), {})[image.id] = image
    done, written, waiting = [], [], []
    for task in tasks:
        images = visible.get(_place(task), {})
        built = (image for image in images.values() if not image.live)
        made = next((image for image in built if image.planned == task.id), None)
        if store.is_written(task):
            if images.keys() == {task.id}:
                done.append((task, task.id))
            else:
                written.append(task)
        elif skip_scenes and made and made.id != task.id:
            done.append((task, made.id))
        else:
            waiting.append(task)
    replaced = {place: frozenset(images) for place, images in visible.items()}
    return Division(tuple(done), tuple(written), tuple(waiting), replaced)


class _Book:
    """Indexes what is new, and notes what became of each task."""

    def __init__(
        self,
        dc: Datacube,
        store: ImageStore,
        now: Callable[[], datetime],
        progress: Callable[[TaskRecord], None],
    ) -> None:
        self.report = BuildReport()
        self._dc, self._store, self._now, self._progress = dc, store, now, progress
        self._replaced: Mapping[_Place, frozenset[uuid.UUID]] = {}
        self._failures: dict[_Place, list[uuid.UUID]] = {}
        for known in failures(store.work):
            place = (known.cube, known.tile, known.start)
            self._failures.setdefault(place, []).append(known.id)
        self._unindexed: list[Finished] = []
        self._there: dict[CubeSpec, set[Period]] = {}
        self._index_at = 1  # so many images: an index that is away is not asked for each of them

    def open(self, what: Division) -> list[CompositeTask]:
        """Note what is done and index what is written; give the tasks that must be done anew."""
        self._replaced = what.replaced
        for task, image_id in what.done:
            self._note(task, "unchanged", Outcome(id=image_id))
        again: list[Finished] = []
        for start in range(0, len(what.written), _BATCH):
            some = what.written[start : start + _BATCH]
            there = [(task, Outcome(self._store.document_uri(task), task.id)) for task in some]
            again += self.take(there, last=False)
        return [task for task, _ in again]

    def take(self, finished: Iterable[Finished], *, last: bool) -> list[Finished]:
        """Index images that are written; give the tasks that should be tried again."""
        failed: list[Finished] = []
        for task, outcome in finished:
            (failed if outcome.fault else self._unindexed).append((task, outcome))
        if len(self._unindexed) >= self._index_at:
            failed += self._index()
        again = []
        for task, outcome in failed:
            if last or (outcome.fault and outcome.fault.lasting):
                self.fail(task, outcome)
            else:
                again.append((task, outcome))
        return again

    def fail(self, task: CompositeTask, outcome: Outcome) -> None:
        """Note that a task has failed for good."""
        fault = outcome.fault or Fault("")
        with suppress(OSError):  # such as a full disk, which may be why it failed
            note_failure(self._store.work, task, fault.reason, scene=fault.scene, at=self._now())
        self._tell(TaskRecord(task, "failed", outcome))

    def close(self, retries: int, sleep: Callable[[float], None]) -> None:
        """Index what could not be indexed so far, or note that it is not."""
        for attempt in range(retries + 1):
            if not self._unindexed:
                break
            if attempt:
                sleep(_pause(attempt))
            for task, outcome in self._index():
                self.fail(task, outcome)
        for task, outcome in self._unindexed:
            self._note(task, "written", outcome)
        for cube, periods in self._there.items():
            with suppress(SceneError):  # such as a full disk; the next run writes it
                write_collection(cube, periods, self._store)

    def _index(self) -> list[Finished]:
        """Index all images that are written; give those that the index does not take."""
        if not self._unindexed:
            return []
        others = [self._others(task, outcome) for task, outcome in self._unindexed]
        documents = [outcome.document or "" for _, outcome in self._unindexed]
        try:
            replacing = dict(zip(documents, others, strict=True))
            records = add_documents(self._dc, documents, replacing=replacing)
        except DatabaseError as e:
            self.report.index_fault = str(e)
            self._index_at = 2 * len(self._unindexed)
            return []
        indexed, self._unindexed = self._unindexed, []
        self._index_at, self.report.index_fault = 1, None
        refused = []
        for (task, outcome), record, ids in zip(indexed, records, others, strict=True):
            if record.status == "failed":
                fault = self._refusal(task, outcome, record.reason or "")
                refused.append((task, replace(outcome, fault=fault)))
                continue
            self.report.archived += len(ids)
            self._note(task, "unchanged" if record.status == "unchanged" else "built", outcome)
        return refused

    def _refusal(self, task: CompositeTask, outcome: Outcome, reason: str) -> Fault:
        """Say why an image that a worker wrote cannot be indexed."""
        if outcome.skipped or self._store.is_written(task):
            return Fault(reason)
        return Fault(
            f"{outcome.document}: written by a worker on {outcome.host}, but not seen here: --root "
            "must be a place that all machines share by the same path"
        )

    def _others(self, task: CompositeTask, outcome: Outcome) -> frozenset[uuid.UUID]:
        """Give the visible images that an image takes the place of."""
        return self._replaced.get(_place(task), frozenset()) - {outcome.id}

    def _note(self, task: CompositeTask, status: TaskStatus, outcome: Outcome) -> None:
        """Note that a task has not failed: what was noted of its image earlier is over."""
        for task_id in self._failures.pop(_place(task), ()):
            with suppress(OSError):
                forget_failure(self._store.work, task_id)
        self._there.setdefault(task.cube, set()).add(task.period)
        self._tell(TaskRecord(task, status, outcome))

    def _tell(self, record: TaskRecord) -> None:
        self.report.note(record)
        self._progress(record)


def _pause(attempt: int) -> float:
    """Give the seconds to wait before trying again, for the n-th time."""
    return 5.0 * 3.0 ** (attempt - 1)


def _place(task: CompositeTask) -> _Place:
    return task.cube.name, task.tile_id, task.period.start
