"""One batch of items on its way into the index: decided together, written in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy.exc import DBAPIError

from odc_bdc.errors import OdcBdcError
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
from odc_bdc.indexing.faults import refusal, unexpected
from odc_bdc.indexing.known import (
    FINGERPRINT,
    TEXT_FINGERPRINT,
    KnownDataset,
    known_datasets,
)
from odc_bdc.indexing.transaction import PendingDataset, Transactions

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Sequence

    from datacube import Datacube
    from datacube.model import Product

    from odc_bdc.indexing.found import FoundItem

_Known: TypeAlias = "dict[uuid.UUID, KnownDataset | None]"


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
    text_fingerprint: str | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"item {_name(self)}"

    @property
    def is_filed(self) -> bool:
        """Whether its document is where it belongs, if it belongs anywhere."""
        return self.location is None or self.location.is_file()


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
            Transactions(self.dc, self.product, self._look).write(entries)
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
        except Exception:  # noqa: BLE001 (as in _identify, which says what is wrong)
            return False
        return entry.text_fingerprint == known.text_fingerprint and entry.is_filed

    def _identify(self, entry: Entry) -> None:
        """Say which item it is, and what its document would be made from."""
        found = entry.found
        try:
            if found.document is None:
                entry.fail(found.error or "it cannot be read")
                return
            entry.key = self.conversion.identify(found)
            entry.id = entry.key.dataset_id
            self._place(entry, entry.key)
            entry.fingerprint = fingerprint(found, entry.uri, self.conversion.version)
        except OdcBdcError as e:
            entry.fail(str(e))
        except Exception as e:  # noqa: BLE001 (whatever an item does to what reads it)
            entry.fail(f"{found.source}: cannot be read: {unexpected(e)}")

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
        except Exception as e:  # noqa: BLE001 (whatever an item does to what reads it)
            entry.fail(f"{entry.name}: cannot be read: {unexpected(e)}")
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
