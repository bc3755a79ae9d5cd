"""Declaring live images: recipes and datasets for tiles and periods, in place of pixels."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from odc_bdc.building.partial import partial_folder
from odc_bdc.building.store import ImageStore
from odc_bdc.building.tile import count_clear
from odc_bdc.building.work import Fault, fault_of, with_readable
from odc_bdc.errors import SceneError
from odc_bdc.indexing import MadeDocument, add_documents, archive
from odc_bdc.indexing.faults import database_refusals
from odc_bdc.indexing.known import KnownImage, known_images
from odc_bdc.live.dividing import Place, ReplaceBuilt, divide_live, needs_counts, place_of
from odc_bdc.live.documents import (
    LiveDocuments,
    LiveTerms,
    QualityStamps,
    live_documents,
    live_text,
)
from odc_bdc.live.recipe import Unreadable, with_digest
from odc_bdc.live.records import LiveRecord, LiveReport, LiveStatus
from odc_bdc.naming import cube_item_id
from odc_bdc.planning import Plan, expected_clear
from odc_bdc.planning.status import status_of

if TYPE_CHECKING:
    import uuid

    from datacube import Datacube

    from odc_bdc.planning import CompositeTask

_BATCH = 100
"""Images that are indexed in one transaction."""
_COUNTED = 8
"""The same for each worker where pixels must be counted: that takes so long that few are lost."""

_AHEAD = 2
"""Batches that are written while one is indexed."""


def declare_cube(
    dc: Datacube,
    tasks: Sequence[CompositeTask],
    root: Path | ImageStore,
    *,
    now: Callable[[], datetime],
    quick: bool = False,
    workers: int = 1,
    unreadable: Unreadable = "fail",
    replace_built: ReplaceBuilt = "none",
    starting: Callable[[Sequence[CompositeTask]], None] = lambda _: None,
    progress: Callable[[LiveRecord], None] = lambda _: None,
) -> LiveReport:
    """Write recipes and index live images; older versions of a tile and period are archived.

    No band is read. Where the function takes the best scenes first, the quality of each scene is
    read once for each tile, unless it has been counted before. A recipe is published by one rename
    and indexed once; a run that is killed is completed by the next.

    Parameters
    ----------
    tasks
        From `odc_bdc.planning.plan_cube`.
    root
        Where the recipes go, below its folder ``live``: that of built images.
    now
        The clock, for the time of processing.
    quick
        Read no quality either: the order of scenes is taken from their cloud cover and footprint,
        so that pixels may be others than those of a built image. What was declared exactly stays.
    workers
        Threads that read quality.
    unreadable
        With scenes that cannot be read: fail, or leave them out (``skip``), now and when the image
        is read.
    replace_built
        Which built images to take the place of: none, those that are not of what the plan says now,
        or all. Their files stay.
    starting
        Called with the tasks that are to be declared, before the first of them begins.
    progress
        Called once with what became of each tile and period, when that is in the index.

    Returns
    -------
    LiveReport
        What cannot be declared is reported with its reason; the rest is.

    Raises
    ------
    DatabaseError
        If the index cannot be used; what was reported is in it.
    SceneError
        If the root cannot be written at all.
    """
    store = ImageStore.at(root)
    store.prepare(task.cube.name for task in tasks)
    store.remove_partial()
    terms = LiveTerms(store, unreadable)
    what = divide_live(dc, tasks, terms, quick=quick, replace_built=replace_built)
    report = LiveReport()

    def tell(record: LiveRecord) -> None:
        report.note(record)
        progress(record)

    if what.surplus:
        archive(dc, what.surplus)
        report.archived += len(what.surplus)
    for task, status, image in what.kept:
        tell(LiveRecord(task.item_id, status, image, len(task.scenes)))
    starting(what.waiting)
    declaring = _Declaring(dc, terms, now, what.visible, quick=quick, workers=workers)
    for record in declaring.run(what.waiting):
        tell(record)
    return report


def unbuild_cube(dc: Datacube, plan: Plan, root: Path | ImageStore, **options: Any) -> LiveReport:
    """Let live images take the place of the built ones of a plan; the files of these stay.

    Parameters
    ----------
    plan
        From `odc_bdc.planning.survey_cube`.
    options
        As of `declare_cube`.

    Returns
    -------
    LiveReport
        A built image that has no scene any more stays, and is reported as failed.
    """
    built = _built(dc, plan)
    report = declare_cube(dc, _among(plan, built), root, **options, replace_built="all")
    for one in status_of(plan, built, {}):
        if one.image and not one.scenes:
            fault = Fault(f"{one.remark}: it stays built", lasting=True)
            item = cube_item_id(one.cube, one.tile_id, one.period)
            record = LiveRecord(item, "failed", one.image, fault=fault)
            report.note(record)
            options.get("progress", lambda _: None)(record)
    return report


def built_tasks(dc: Datacube, plan: Plan) -> list[CompositeTask]:
    """Give the tasks of a plan where a built image is visible: what `unbuild_cube` declares.

    Raises
    ------
    DatabaseError
        If the index cannot be read.
    """
    return _among(plan, _built(dc, plan))


def _built(dc: Datacube, plan: Plan) -> list[KnownImage]:
    with database_refusals():
        return [image for image in known_images(dc, plan.cube.name) if not image.live]


def _among(plan: Plan, images: Sequence[KnownImage]) -> list[CompositeTask]:
    places = {(image.tile, image.start) for image in images}
    return [task for task in plan.tasks if (task.tile_id, task.period.start) in places]


@dataclass(frozen=True, slots=True)
class _Ready:
    """A live image whose files are there."""

    task: CompositeTask
    skipped: tuple[uuid.UUID, ...]
    id: uuid.UUID
    document: MadeDocument | str


_Failed: TypeAlias = "tuple[CompositeTask, Fault]"


class _Declaring:
    """Writes files of one batch while those of another go into the index."""

    def __init__(
        self,
        dc: Datacube,
        terms: LiveTerms,
        now: Callable[[], datetime],
        visible: Mapping[Place, frozenset[uuid.UUID]],
        *,
        quick: bool,
        workers: int,
    ) -> None:
        self._dc, self._terms, self._now, self._visible = dc, terms, now, visible
        self._quick, self._workers = quick, workers
        self._stamps = QualityStamps()

    def run(self, tasks: Sequence[CompositeTask]) -> Iterator[LiveRecord]:
        """Declare some images."""
        counting = not self._quick and any(map(needs_counts, tasks))
        size = _COUNTED * self._workers if counting else _BATCH
        batches = [tasks[start : start + size] for start in range(0, len(tasks), size)]
        with ThreadPoolExecutor(self._workers) as counters, ThreadPoolExecutor(1) as ahead:
            following = iter(batches)
            waiting = deque(
                ahead.submit(self._write, batch, counters) for batch in islice(following, _AHEAD)
            )
            try:
                while waiting:
                    written = waiting.popleft().result()
                    waiting += [
                        ahead.submit(self._write, batch, counters) for batch in islice(following, 1)
                    ]
                    yield from self._index(*written)
            finally:
                for future in waiting:
                    future.cancel()

    def _write(
        self, tasks: Sequence[CompositeTask], counters: ThreadPoolExecutor
    ) -> tuple[list[_Ready], list[_Failed]]:
        """Write the files of some images, and tell which cannot be made."""
        made, failed = self._make(tasks, counters)
        ready: list[_Ready] = []
        if not made:
            return ready, failed
        try:
            with partial_folder(self._terms.store.work, made[0][1].id) as aside:
                for number, (task, documents, skipped) in enumerate(made):
                    try:
                        found = self._publish(documents, aside / str(number))
                        ready.append(_Ready(task, skipped, documents.id, found))
                    except OSError as e:
                        failed.append((task, self._refused(e)))
        except OSError as e:  # the folder itself
            failed += [(task, self._refused(e)) for task, _, _ in made]
        return ready, failed

    def _make(
        self, tasks: Sequence[CompositeTask], counters: ThreadPoolExecutor
    ) -> tuple[list[tuple[CompositeTask, LiveDocuments, tuple[uuid.UUID, ...]]], list[_Failed]]:
        made, failed = [], list[_Failed]()
        for task, counted in zip(tasks, self._counts(tasks, counters), strict=True):
            if isinstance(counted, Fault):
                failed.append((task, counted))
                continue
            wanted, skipped, n_clear, stamp = counted
            documents = live_documents(
                self._terms, wanted, n_clear, processed=self._now(), planned=task, stamp=stamp
            )
            made.append((task, documents, skipped))
        return made, failed

    def _counts(
        self, tasks: Sequence[CompositeTask], counters: ThreadPoolExecutor
    ) -> Iterator[_Counted | Fault]:
        """Give the clear pixels of observations, as far as the order of scenes needs them."""
        unordered = [task for task in tasks if needs_counts(task)]
        if self._quick:
            expected = dict(
                zip(map(id, unordered), expected_clear(self._dc, unordered), strict=True)
            )
            for task in tasks:
                yield task, (), expected.get(id(task)), None
            return
        counts = {id(task): counters.submit(self._count, task) for task in unordered}
        for task in tasks:
            yield counts[id(task)].result() if id(task) in counts else (task, (), None, None)

    def _count(self, task: CompositeTask) -> _Counted | Fault:
        """Count the clear pixels of the observations of a task."""
        # A file that changes while it is read is seen by the next run.
        stamps: list[str] = []

        def count(wanted: CompositeTask, _: Any) -> list[int]:
            stamps.append(self._stamps.of(wanted))
            return count_clear(wanted, store=self._terms.store.efficacy)

        skip = self._terms.unreadable == "skip"
        try:
            wanted, skipped, n_clear = with_readable(task, count, skip_scenes=skip)
        except Exception as e:  # noqa: BLE001 (whatever befalls one image, the others go on)
            return fault_of(e)
        return wanted, skipped, n_clear, stamps[-1]

    def _publish(self, documents: LiveDocuments, folder: Path) -> MadeDocument | str:
        """Make the files of an image visible, both at once; give what is to be indexed."""
        storage = self._terms.storage
        texts = {
            documents.recipe_name: documents.recipe,
            documents.document_name: live_text(documents),
        }
        folder.mkdir()
        for name, text in texts.items():
            (folder / name).write_text(text, "utf-8")
        uri = f"{self._terms.place}/{documents.folder}/{documents.document_name}"
        if storage.publish(folder, documents.folder, last=documents.document_name):
            return MadeDocument(uri, documents.document)
        # Another run has published the same, maybe at another time; somebody may have removed or
        # changed some, or a release whose datasets told no digest has written it.
        recipe, document = (f"{documents.folder}/{name}" for name in texts)
        same = storage.read(recipe) == documents.recipe
        if not same:
            storage.write(recipe, documents.recipe)
        told = storage.read(document)
        if told is None or with_digest(documents.recipe_name, documents.recipe) not in told:
            storage.write(document, texts[documents.document_name])
        return uri

    def _refused(self, error: OSError) -> Fault:
        """Say why nothing can be written."""
        if isinstance(error, SceneError):
            return fault_of(error)
        root = self._terms.store.root
        return Fault(f"{root}: cannot be written: {error.strerror or error}", lasting=True)

    def _index(self, ready: Sequence[_Ready], failed: Sequence[_Failed]) -> Iterator[LiveRecord]:
        """Index images, each in place of what is visible there; tell what became of them."""
        others = [self._visible.get(place_of(one.task), frozenset()) - {one.id} for one in ready]
        documents = [one.document for one in ready]
        replacing = dict(zip(map(str, documents), others, strict=True))
        records = add_documents(self._dc, documents, replacing=replacing)
        for one, record, ids in zip(ready, records, others, strict=True):
            item, scenes = one.task.item_id, len(one.task.scenes) - len(one.skipped)
            if record.status == "failed":
                yield LiveRecord(item, "failed", fault=Fault(record.reason or ""))
            else:
                new = record.status != "unchanged"
                status: LiveStatus = "declared" if new else "unchanged"
                yield LiveRecord(item, status, one.id, scenes, len(ids), one.skipped)
        for task, fault in failed:
            yield LiveRecord(task.item_id, "failed", fault=fault)


_Counted: TypeAlias = (
    "tuple[CompositeTask, tuple[uuid.UUID, ...], Sequence[int | None] | None, str | None]"
)
"""A task without the scenes that cannot be read, their ids, the counts, and what they depend on."""
