"""Datasets go into the index: once each, whatever happened before."""

from __future__ import annotations

import json
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import orjson

from odc_bdc.errors import OdcBdcError, SourceError
from odc_bdc.indexing.batch import Batches, Entry
from odc_bdc.indexing.faults import database_refusals, unexpected
from odc_bdc.indexing.products import find_product

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from datacube import Datacube

    from odc_bdc.indexing.conversion import Conversion
    from odc_bdc.indexing.coverage import Coverage, CoveredDataset
    from odc_bdc.indexing.found import FoundItem
    from odc_bdc.indexing.transaction import Status

BATCH = 500
"""Items in one transaction: more are no quicker, and fewer are lost when a run is killed."""


_AHEAD = 2
"""Batches that are under way while another one is read."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An item that did not go in, and why."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Record:
    """What became of one item, or of a dataset whose item is gone.

    Attributes
    ----------
    source
        Where the item was found; of one that is gone, where it had been.
    item, id
        Of the item and its dataset; None if it could not be read.
    reason
        Why it failed.
    """

    status: Status
    source: str
    item: str | None = None
    id: uuid.UUID | None = None
    reason: str | None = None

    def to_json(self) -> str:
        """Give the record as a line of the report, without what is not known."""
        told = {
            "status": self.status,
            "item": self.item,
            "id": self.id,
            "source": self.source,
            "reason": self.reason,
        }
        given = {key: value for key, value in told.items() if value is not None}
        try:
            return orjson.dumps(given).decode()
        except TypeError:  # halves of characters, which only ASCII can tell
            return json.dumps(given, default=str)


@dataclass(slots=True)
class IndexReport:
    """What became of the items of one run.

    Attributes
    ----------
    counts
        Number of items by status.
    failed
        Those that did not go in.
    not_archived
        Why missing items were not looked for, though that was asked.
    """

    counts: Counter[str] = field(default_factory=Counter)
    failed: list[Failure] = field(default_factory=list)
    not_archived: str | None = None

    @property
    def added(self) -> int:
        """Number of datasets that are new."""
        return self.counts["added"]

    @property
    def updated(self) -> int:
        """Number of datasets whose item changed."""
        return self.counts["updated"]

    @property
    def unchanged(self) -> int:
        """Number of datasets that were left alone."""
        return self.counts["unchanged"]

    @property
    def restored(self) -> int:
        """Number of datasets that had been archived, and whose item is back."""
        return self.counts["restored"]

    @property
    def archived(self) -> int:
        """Number of datasets whose item is gone."""
        return self.counts["archived"]

    def note(self, record: Record) -> None:
        """Count a record."""
        self.counts[record.status] += 1
        if record.status == "failed":
            self.failed.append(Failure(record.source, record.reason or ""))


def index_items(
    dc: Datacube,
    items: Iterable[FoundItem],
    conversion: Conversion,
    *,
    out: Path | None = None,
    dry_run: bool = False,
    archive_missing: Coverage | None = None,
    batch: int = BATCH,
    report: Callable[[Record], None] = lambda _: None,
    finished: Callable[[int], None] = lambda _: None,
) -> IndexReport:
    """Bring items into the index, each once: new, changed, gone, or as it was.

    Items are taken as they come, some at a time; each batch is one transaction. A run that is
    killed is completed by the next, and several may work on the same items.

    Parameters
    ----------
    items
        From a source. If it ends with an `OdcBdcError`, what came before goes in all the same.
    out
        Folder for EO3 documents, which then are the places of the datasets; None for none, and the
        place of a dataset is that of its item.
    dry_run
        Say what would be done, and do nothing.
    archive_missing
        What `items` cover: visible datasets of that which are not among them are archived, if all
        items could be read.
    report
        Called with what became of each item, when that is in the index.
    finished
        Called after each batch with the number of items that are done since the beginning.

    Returns
    -------
    IndexReport
        One item that cannot be used is reported with its reason; the rest go in.

    Raises
    ------
    InvalidValueError
        If the index lacks the product, or has another of that name.
    DatabaseError
        If the database cannot be used; what was reported is in the index, and maybe the two batches
        after that.
    """
    with database_refusals():
        product = find_product(dc, conversion.product)
        batches = Batches(dc, product, conversion, out, dry_run)
        result = IndexReport()
        missed = _Missed(archive_missing)
        done = 0

        def tell(record: Record) -> None:
            result.note(record)
            report(record)

        for entries in _overlapped(batches, _batches(items, batch)):
            for entry in entries:
                missed.saw(entry)
                tell(_record(entry))
            done += len(entries)
            finished(done)
        result.not_archived = missed.forbidden(done)
        if archive_missing is not None and not result.not_archived:
            for gone in missed.datasets(dc, product.name):
                if not dry_run:
                    archive(dc, [d.id for d in gone])
                for d in gone:
                    tell(Record("archived", d.uri, d.item, d.id))
    return result


def _overlapped(batches: Batches, found: Iterator[list[FoundItem]]) -> Iterator[list[Entry]]:
    """Index batches in their order: while one is written the next is converted, another read.

    The database works in processes of its own, so that most of its time is hidden behind ours.
    """
    waiting: deque[Future[list[Entry]]] = deque()
    failure: OdcBdcError | None = None
    with ThreadPoolExecutor(1) as preparing, ThreadPoolExecutor(1) as writing:
        try:
            while True:
                try:
                    some = next(found)
                except StopIteration:
                    break
                except OdcBdcError as e:
                    failure = e
                    break
                prepared = preparing.submit(batches.prepare, some)
                waiting.append(writing.submit(_complete, batches, prepared))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
    if failure is not None:
        raise failure


def _complete(batches: Batches, prepared: Future[list[Entry]]) -> list[Entry]:
    return batches.complete(prepared.result())


def _batches(items: Iterable[FoundItem], size: int) -> Iterator[list[FoundItem]]:
    """Give items some at a time; those before an error of their source come before the error."""
    some: list[FoundItem] = []
    try:
        for item in items:
            some.append(item)
            if len(some) >= size:
                yield some
                some = []
    except OdcBdcError:
        if some:
            yield some
        raise
    except Exception as e:
        if some:
            yield some
        raise SourceError(f"the source cannot be read on: {unexpected(e)}") from e
    if some:
        yield some


def _record(entry: Entry) -> Record:
    item = entry.key.item if entry.key else None
    return Record(entry.status, entry.found.source, item, entry.id, entry.reason)


class _Missed:
    """Finds the datasets whose items were not seen."""

    def __init__(self, coverage: Coverage | None) -> None:
        self._coverage = coverage
        self._seen: set[bytes] = set()
        self._unread = 0

    def saw(self, entry: Entry) -> None:
        """Remember an item; one that could not be read may be any."""
        if entry.id is None:
            self._unread += 1
        elif self._coverage is not None:
            self._seen.add(entry.id.bytes)

    def forbidden(self, done: int) -> str | None:
        """Say why nothing may be taken for gone."""
        if self._coverage is None:
            return None
        if not done:
            return "the source gave no item at all"
        if self._unread:
            return f"{self._unread} items could not be read, and may be those that are missed"
        return None

    def datasets(self, dc: Datacube, product: str) -> Iterator[list[CoveredDataset]]:
        """Give the datasets whose item is gone, some at a time, in the order of their ids."""
        if self._coverage is None:
            return
        gone = [d for d in self._coverage.datasets(dc, product) if d.id.bytes not in self._seen]
        waiting = iter(sorted(gone, key=lambda d: str(d.id)))
        while some := list(islice(waiting, BATCH)):
            yield some


@database_refusals()
def archive(dc: Datacube, ids: Iterable[uuid.UUID]) -> None:
    """Hide datasets from searches; their documents stay, so that lineage can be told.

    Raises
    ------
    DatabaseError
        If the database cannot be written.
    """
    if found := sorted(ids, key=str):
        dc.index.datasets.archive(found)
