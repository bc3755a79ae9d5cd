"""One batch of items on its way into the index: decided together, written in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from odc_bdc.errors import OdcBdcError
from odc_bdc.indexing.conversion import HREF, ITEM, Conversion, ItemKey, fingerprint, finished
from odc_bdc.indexing.documents import write_document
from odc_bdc.indexing.faults import refusal
from odc_bdc.indexing.known import FINGERPRINT, known_datasets
from odc_bdc.indexing.transaction import PendingDataset, Transactions

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Sequence

    from datacube import Datacube
    from datacube.model import Product

    from odc_bdc.indexing.found import FoundItem


@dataclass(slots=True)
class Entry(PendingDataset):
    """An item and what becomes of it.

    Attributes
    ----------
    key
        None if the item cannot be told apart from others.
    twin
        The same item, earlier in the batch.
    """

    found: FoundItem
    key: ItemKey | None = None
    twin: Entry | None = None
    location: Path | None = None
    fingerprint: str = ""

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"item {_name(self)}"


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
        entries = [self._entry(found) for found in items]
        self._fail_conflicts(entries)
        self._look(entries)
        return entries

    def complete(self, entries: list[Entry]) -> list[Entry]:
        """Do what must be done; what became of each item, in their order.

        Raises
        ------
        DatabaseError
            If the database cannot be written; then nothing of the batch is.
        """
        if not self.dry_run:
            Transactions(self.dc, self.product, self._look).write(entries)
        for entry in entries:
            if entry.twin is not None and entry.twin.status == "failed":
                entry.fail(entry.twin.reason or "")
        return entries

    def _entry(self, found: FoundItem) -> Entry:
        entry = Entry(found)
        if found.document is None:
            entry.fail(found.error or "it cannot be read")
            return entry
        try:
            entry.key = self.conversion.identify(found)
            entry.id = entry.key.dataset_id
            if self.out is not None:
                entry.location = entry.key.location(self.out)
        except (OdcBdcError, UnicodeEncodeError) as e:  # the latter of half a character in an id
            entry.fail(f"{found.source}: {e}" if isinstance(e, UnicodeEncodeError) else str(e))
            return entry
        entry.uri = _uri(found.href if entry.location is None else str(entry.location))
        entry.fingerprint = fingerprint(found, entry.uri, self.conversion.version)
        return entry

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

    def _look(self, entries: Sequence[Entry]) -> None:
        """See what the index has of the entries, and say what must be done."""
        wanted = [e for e in entries if e.id and not e.twin and e.status != "failed"]
        try:
            known = known_datasets(self.dc, [e.id for e in wanted if e.id])
        except DBAPIError as e:
            raise refusal(e) from e
        for entry in wanted:
            entry.known = known.get(entry.id) if entry.id else None
            self._decide(entry)
        if self.conversion.always:
            self._compare(wanted)

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
        filed = entry.location is None or entry.location.is_file()
        made = entry.stored is not None
        if not made and not (same and filed and not self.conversion.always):
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


def _name(entry: Entry) -> str:
    return entry.key.item if entry.key else entry.found.source


@lru_cache(maxsize=1024)  # items of one file share it
def _uri(href: str) -> str:
    return href if "://" in href else Path(href).resolve().as_uri()
