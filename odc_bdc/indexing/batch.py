"""One batch of items on its way into the index: decided together, written in one transaction."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from datacube.index.abstract import DatasetTuple
from datacube.model import Dataset
from datacube.utils.changes import allow_any
from sqlalchemy.exc import DBAPIError

from odc_bdc.errors import DatabaseError, OdcBdcError
from odc_bdc.indexing.conversion import (
    HREF,
    ITEM,
    Conversion,
    ItemKey,
    fingerprint,
    finished,
    text_fingerprint,
)
from odc_bdc.indexing.documents import write_document
from odc_bdc.indexing.faults import blame, reason, refusal
from odc_bdc.indexing.known import (
    FINGERPRINT,
    TEXT_FINGERPRINT,
    KnownDataset,
    known_datasets,
)

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Sequence

    from datacube import Datacube
    from datacube.model import Product

    from odc_bdc.indexing.found import FoundItem

Status: TypeAlias = Literal["added", "updated", "unchanged", "restored", "archived", "failed"]

# How long to wait before looking again, each time that another process wrote the same rows.
PAUSES = (0.0, 0.05, 0.2, 0.8, 2.0, 5.0)


_Known: TypeAlias = "dict[uuid.UUID, KnownDataset | None]"


class _RacedError(Exception):
    """Another process added a dataset between our look and our write."""


@dataclass(slots=True)
class Entry:
    """An item and what becomes of it.

    Attributes
    ----------
    key, id
        None if the item cannot be told apart from others.
    stored
        Its document as the index stores it, once it is made.
    known
        What the index has of it.
    twin
        The same item, earlier in the batch.
    """

    found: FoundItem
    key: ItemKey | None = None
    id: uuid.UUID | None = None
    twin: Entry | None = None
    uri: str = ""
    location: Path | None = None
    fingerprint: str = ""
    text_fingerprint: str | None = None
    stored: dict[str, Any] | None = None
    known: KnownDataset | None = None
    status: Status = "unchanged"
    reason: str | None = None

    @property
    def is_filed(self) -> bool:
        """Whether its document is where it belongs, if it belongs anywhere."""
        return self.location is None or self.location.is_file()

    def fail(self, why: str) -> None:
        """Leave the item out."""
        self.status, self.reason, self.stored = "failed", why, None


@dataclass(frozen=True, slots=True)
class Batches:
    """Brings batches of items into one product of an index."""

    dc: Datacube
    product: Product
    conversion: Conversion
    out: Path | None
    dry_run: bool

    def prepare(self, items: Iterable[FoundItem]) -> list[Entry]:
        """Say what must be done for some items, and make the documents that will be written.

        Raises
        ------
        DatabaseError
            If the database cannot be read.
        """
        entries = [Entry(found) for found in items]
        known = self._recognise(entries)
        others = [entry for entry in entries if entry.known is None]
        for entry in others:
            self._identify(entry)
        self._fail_conflicts(entries)
        self._look(others, known)
        return entries

    def complete(self, entries: list[Entry]) -> list[Entry]:
        """Do what must be done; what became of each item, in their order.

        Raises
        ------
        DatabaseError
            If the database cannot be written; then nothing of the batch is.
        """
        if not self.dry_run:
            self._write(sorted(_pending(entries), key=_by_id))
        for entry in entries:
            if entry.twin is not None and entry.twin.status == "failed":
                entry.fail(entry.twin.reason or "")
        return entries

    def _recognise(self, entries: Iterable[Entry]) -> _Known:
        """Find the items whose text is that of last time: they need not even be parsed.

        Which item a text is of is guessed; that its checksum is that item's proves it. Gives what
        the index has of all that was guessed.
        """
        if self.conversion.always:
            return {}
        guessed = []
        for entry in entries:
            text = entry.found.text
            key = self.conversion.guess(text) if text is not None else None
            if key is not None:
                guessed.append((entry, key, key.dataset_id))
        known = self._ask(dataset_id for _, _, dataset_id in guessed)
        for entry, key, dataset_id in guessed:
            found = known[dataset_id]
            if found is not None and self._is_as_before(entry, key, found):
                entry.key, entry.id, entry.known = key, dataset_id, found
                entry.fingerprint = found.fingerprint or ""
        return known

    def _is_as_before(self, entry: Entry, key: ItemKey, known: KnownDataset) -> bool:
        if known.archived or known.product != self.product.name:
            return False
        try:
            self._place(entry, key)
        except OdcBdcError:
            return False
        return entry.text_fingerprint == known.text_fingerprint and entry.is_filed

    def _identify(self, entry: Entry) -> None:
        """Say which item it is, and what its document would be made from."""
        found = entry.found
        if found.document is None:
            entry.fail(found.error or "it cannot be read")
            return
        try:
            entry.key = self.conversion.identify(found)
            entry.id = entry.key.dataset_id
            self._place(entry, entry.key)
        except (OdcBdcError, UnicodeEncodeError) as e:  # the latter of half a character in an id
            entry.fail(f"{found.source}: {e}" if isinstance(e, UnicodeEncodeError) else str(e))
            return
        entry.fingerprint = fingerprint(found, entry.uri, self.conversion.version)

    def _place(self, entry: Entry, key: ItemKey) -> None:
        """Say where an item's document belongs, which its fingerprints depend on."""
        if self.out is not None:
            entry.location = key.location(self.out)
        entry.uri = _uri(entry.found.href if entry.location is None else str(entry.location))
        entry.text_fingerprint = text_fingerprint(entry.found, entry.uri, self.conversion.version)

    @staticmethod
    def _fail_conflicts(entries: Iterable[Entry]) -> None:
        """Let an item be in a batch once; two that differ would replace each other in each run."""
        first: dict[uuid.UUID, Entry] = {}
        for entry in entries:
            if entry.id is None or entry.status == "failed":
                continue
            other = first.setdefault(entry.id, entry)
            if other is entry:
                continue
            if other.fingerprint == entry.fingerprint:
                entry.twin = other
            else:
                entry.fail(f"item {_name(entry)}: {other.found.source} gives another of this id")

    def _look(self, entries: Sequence[Entry], known: _Known | None = None) -> None:
        """See what the index has of the entries, and say what must be done.

        `known` is what was asked just before.
        """
        wanted = [e for e in entries if e.id and not e.twin and e.status != "failed"]
        known = known or {}
        known |= self._ask(e.id for e in wanted if e.id and e.id not in known)
        for entry in wanted:
            entry.known = known[entry.id] if entry.id else None
            self._decide(entry)
        if self.conversion.always:
            self._compare(wanted)

    def _ask(self, ids: Iterable[uuid.UUID]) -> _Known:
        """Ask the index for some datasets; None stands for those that it lacks."""
        asked = list(ids)
        try:
            return dict.fromkeys(asked) | known_datasets(self.dc, asked)
        except DBAPIError as e:
            raise refusal(e) from e

    def _decide(self, entry: Entry) -> None:
        """Say what must be done for an entry, and make its document if it will be written."""
        known = entry.known
        if known and known.product != self.product.name:
            entry.fail(
                f"item {_name(entry)}: is in the index as a dataset of {known.product}; archive "
                f"and purge it there (`datacube dataset archive`), or use the recipe of that"
            )
            return
        same = known is not None and known.fingerprint == entry.fingerprint
        made = entry.stored is not None
        if not made and not (same and entry.is_filed and not self.conversion.always):
            made = self._convert(entry)
            if not made:
                return
        if known is None:
            entry.status = "added"
        elif known.archived:
            entry.status = "restored"
        else:
            entry.status = "unchanged" if same else "updated"

    def _convert(self, entry: Entry) -> bool:
        """Make an entry's document, and write its file if it has one; False if that fails."""
        properties = {
            FINGERPRINT: entry.fingerprint,
            HREF: entry.found.href,
            ITEM: _name(entry),
        }
        if entry.text_fingerprint is not None:
            properties[TEXT_FINGERPRINT] = entry.text_fingerprint
        try:
            plain, entry.stored = finished(
                self.conversion.document(entry.found, entry.location),
                measurements=self.product.measurements,
                external_lineage=self.dc.index.supports_external_lineage,
                properties=properties,
            )
            if entry.location is not None and not self.dry_run:
                write_document(plain, entry.location)
        except OdcBdcError as e:
            entry.fail(str(e))
            return False
        return True

    def _compare(self, entries: Iterable[Entry]) -> None:
        """See if files changed under items that did not: then documents differ."""
        same = {e.id: e for e in entries if e.status == "unchanged" and e.stored is not None}
        for dataset in self.dc.index.datasets.bulk_get(list(same)) if same else ():
            if dataset.metadata_doc != same[dataset.id].stored:
                same[dataset.id].status = "updated"

    def _write(self, entries: Sequence[Entry]) -> None:
        """Write what must be written: together if possible, else without what the index refuses."""
        for pause in PAUSES:
            if pause:
                time.sleep(pause)
            try:
                self._commit(entries)
            except Exception as e:  # noqa: BLE001 (whatever a document does to the driver)
                if not isinstance(e, _RacedError) and blame(e) != "others":
                    self._leave_out(entries, e)
                    return
            else:
                return
            self._look(entries)
            entries = _pending(entries)
        raise DatabaseError(
            "the index cannot be written: other processes write the same datasets all the time; "
            "run the command again when they are done"
        )

    def _leave_out(self, entries: Sequence[Entry], error: Exception) -> None:
        """Find by halves the documents that the index refuses; the rest go in."""
        if isinstance(error, DBAPIError) and blame(error) == "database":
            raise refusal(error) from error
        if len(entries) == 1:
            entries[0].fail(f"item {_name(entries[0])}: the index refuses it: {reason(error)}")
            return
        middle = len(entries) // 2
        self._write(entries[:middle])
        self._write(entries[middle:])

    def _commit(self, entries: Sequence[Entry]) -> None:
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
        archived = [e.id for e in entries if e.known is not None and e.known.archived]
        with self.dc.index.transaction():
            if self.dc.index.supports_external_lineage and changed:
                # Its tables of search fields keep what a document no longer says after an update.
                index.purge([e.id for e in changed], allow_delete_active=True)
                new = sorted([*new, *changed], key=_by_id)
            else:
                for entry in changed:
                    dataset = Dataset(self.product, entry.stored, uri=entry.uri)
                    index.update(dataset, updates_allowed={(): allow_any})
            if new:
                tuples = (DatasetTuple(self.product, e.stored, e.uri) for e in new)
                if index.bulk_add(tuples, batch_size=len(new)).skipped:
                    raise _RacedError
            if archived:
                index.restore(archived)


def _pending(entries: Iterable[Entry]) -> list[Entry]:
    return [e for e in entries if e.id and e.status in ("added", "updated", "restored")]


def _by_id(entry: Entry) -> str:
    return str(entry.id)


def _name(entry: Entry) -> str:
    return entry.key.item if entry.key else entry.found.source


@lru_cache(maxsize=1024)  # items of one file share it
def _uri(href: str) -> str:
    return href if "://" in href else Path(href).resolve().as_uri()
