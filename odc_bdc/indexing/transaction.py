"""Datasets are written together, in one transaction, whatever other processes do meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from datacube.index.abstract import DatasetTuple
from datacube.model import Dataset
from datacube.utils.changes import allow_any
from sqlalchemy.exc import DBAPIError

from odc_bdc.errors import DatabaseError
from odc_bdc.indexing.faults import blame, reason, refusal
from odc_bdc.indexing.lineage import Lineage, add_lineage

if TYPE_CHECKING:
    import uuid

    from datacube import Datacube
    from datacube.model import Product

    from odc_bdc.indexing.known import KnownDataset

Status: TypeAlias = Literal["added", "updated", "unchanged", "restored", "archived", "failed"]

# How long to wait before looking again, each time that another process wrote the same rows.
PAUSES = (0.0, 0.05, 0.2, 0.8, 2.0, 5.0)


class _RacedError(Exception):
    """Another process added a dataset between our look and our write."""


@dataclass(slots=True, kw_only=True)
class PendingDataset:
    """A dataset on its way into the index, and what becomes of it.

    Attributes
    ----------
    id
        None if it cannot be told apart from others.
    uri
        Its location.
    stored
        Its document as the index stores it, once it is made.
    lineage
        Ids of its sources, by what they are to it.
    replaces
        Ids of datasets that are archived when this one is visible.
    known
        What the index has of it.
    """

    id: uuid.UUID | None = None
    uri: str = ""
    stored: dict[str, Any] | None = None
    lineage: Mapping[str, Sequence[uuid.UUID]] = field(default_factory=dict)
    replaces: frozenset[uuid.UUID] = frozenset()
    known: KnownDataset | None = None
    status: Status = "unchanged"
    reason: str | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"dataset {self.id}"

    def fail(self, why: str) -> None:
        """Leave the dataset out."""
        self.status, self.reason, self.stored = "failed", why, None


@dataclass(frozen=True, slots=True)
class Transactions:
    """Writes datasets of one product.

    Attributes
    ----------
    look
        Sees what the index has of some datasets, and says what must be done for each.
    """

    dc: Datacube
    product: Product
    look: Callable[[Sequence[Any]], None]

    def write(self, entries: Iterable[PendingDataset]) -> None:
        """Write what must be written: together if possible, else without what the index refuses.

        Raises
        ------
        DatabaseError
            If the database cannot be written; then nothing of a transaction is.
        """
        waiting = pending(entries)
        for pause in PAUSES:
            if pause:
                time.sleep(pause)
            try:
                self._commit(waiting)
            except Exception as e:  # noqa: BLE001 (whatever a document does to the driver)
                if not isinstance(e, _RacedError) and blame(e) != "others":
                    self._leave_out(waiting, e)
                    return
            else:
                return
            self.look(waiting)
            waiting = pending(waiting)
        raise DatabaseError(
            "the index cannot be written: other processes write the same datasets all the time; "
            "run the command again when they are done"
        )

    def _leave_out(self, entries: Sequence[PendingDataset], error: Exception) -> None:
        """Find by halves the documents that the index refuses; the rest go in."""
        if isinstance(error, DBAPIError) and blame(error) == "database":
            raise refusal(error) from error
        if len(entries) == 1:
            entries[0].fail(f"{entries[0].name}: the index refuses it: {reason(error)}")
            return
        middle = len(entries) // 2
        self.write(entries[:middle])
        self.write(entries[middle:])

    def _commit(self, entries: Sequence[PendingDataset]) -> None:
        """Write all entries in one transaction, in the order of ids: no two writers wait in a ring.

        Raises
        ------
        _RacedError
            If one that should be new is there meanwhile.
        """
        if not entries:
            return
        index = self.dc.index.datasets
        new = [e for e in entries if e.known is None]
        changed = [e for e in entries if e.known is not None and e.stored is not None]
        restored = [e.id for e in entries if e.known is not None and e.known.archived]
        replaced = sorted({i for e in entries for i in e.replaces}, key=str)
        with self.dc.index.transaction():
            if self.dc.index.supports_external_lineage and changed:
                # Its tables of search fields keep what a document no longer says after an update.
                index.purge([e.id for e in changed], allow_delete_active=True)
                new = sorted([*new, *changed], key=_by_id)
            else:
                for entry in changed:
                    dataset = Dataset(self.product, entry.stored, uri=entry.uri)
                    index.update(dataset, updates_allowed={(): allow_any})
            if new and index.bulk_add(map(self._tuple, new), batch_size=len(new)).skipped:
                raise _RacedError
            add_lineage(self.dc, {e.id: self._lineage(e) for e in new if e.id})
            if restored:
                index.restore(restored)
            if replaced:
                index.archive(replaced)

    def _tuple(self, entry: PendingDataset) -> DatasetTuple:
        return DatasetTuple(self.product, entry.stored, entry.uri)

    def _lineage(self, entry: PendingDataset) -> Lineage:
        """Give lineage as the driver wants it: the older one takes one source for each name."""
        if self.dc.index.supports_external_lineage:
            return entry.lineage
        lineage: dict[str, Sequence[uuid.UUID]] = {}
        for name, sources in entry.lineage.items():
            many = len(sources) > 1
            lineage |= {f"{name}{n}" if many else name: [s] for n, s in enumerate(sources, 1)}
        return lineage


def pending(entries: Iterable[PendingDataset]) -> list[PendingDataset]:
    """Give those that must be written, in the order of ids."""
    wanted = ("added", "updated", "restored")
    return sorted((e for e in entries if e.id and e.status in wanted), key=_by_id)


def _by_id(entry: PendingDataset) -> str:
    return str(entry.id)
