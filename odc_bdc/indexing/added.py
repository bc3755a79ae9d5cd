"""EO3 documents that are written already go into the index, many at once."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from odc_bdc.errors import SceneError
from odc_bdc.indexing.conversion import stored_document
from odc_bdc.indexing.documents import read_document
from odc_bdc.indexing.faults import database_refusals, unexpected
from odc_bdc.indexing.index import Record
from odc_bdc.indexing.known import FINGERPRINT, known_datasets
from odc_bdc.indexing.transaction import PendingDataset, Transactions

if TYPE_CHECKING:
    from datacube import Datacube
    from datacube.model import Product


@dataclass(frozen=True, slots=True)
class MadeDocument:
    """An EO3 document that is at hand, so that it need not be read.

    Attributes
    ----------
    uri
        Address at which it has been written.
    document
        What it holds.
    """

    uri: str
    document: Mapping[str, Any]

    def __str__(self) -> str:
        return self.uri


@dataclass(slots=True)
class _Written(PendingDataset):
    """A document that has been written."""

    source: str
    product: str = ""
    fingerprint: str | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.source


@database_refusals()
def add_documents(
    dc: Datacube,
    documents: Iterable[Path | str | MadeDocument],
    *,
    replacing: Mapping[str, Iterable[uuid.UUID]] | None = None,
) -> list[Record]:
    """Add EO3 documents to the index; those of a product in one transaction.

    A dataset that is there and visible is left alone, unless its document tells another fingerprint
    (`odc_bdc.indexing.known.FINGERPRINT`): then it is updated. One that had been archived is made
    visible again, with the document and the location that it has now.

    Parameters
    ----------
    documents
        Paths or addresses, or what lies there.
    replacing
        Ids of datasets by the path or address of the document that takes their place: they are
        archived in the moment in which its dataset becomes visible.

    Returns
    -------
    list of Record
        ``added``, ``updated``, ``restored``, ``unchanged`` or ``failed``, in the order of
        `documents`. One that cannot be read or that the index refuses fails alone.

    Raises
    ------
    DatabaseError
        If the database cannot be used.
    """
    others = replacing or {}
    entries = [_entry(document, others.get(str(document), ())) for document in documents]
    for name in sorted({e.product for e in entries if e.product}):
        mine = [e for e in entries if e.product == name]
        product = dc.index.products.get_by_name(name)
        if product is None:
            for entry in mine:
                entry.fail(f"{entry.source}: the index has no product {name}")
            continue
        _add(dc, product, mine)
    return [Record(e.status, e.source, id=e.id, reason=e.reason) for e in entries]


def _add(dc: Datacube, product: Product, entries: Sequence[_Written]) -> None:
    external = dc.index.supports_external_lineage

    def look(some: Sequence[_Written]) -> None:
        known = known_datasets(dc, [e.id for e in some if e.id])
        for entry in some:
            entry.known = known.get(entry.id) if entry.id else None
            if entry.known is None:
                entry.status = "added"
            elif entry.known.product != product.name:
                entry.fail(f"{entry.source}: is in the index as a dataset of {entry.known.product}")
            elif entry.known.archived:
                entry.status = "restored"
            else:
                same = entry.fingerprint in {None, entry.known.fingerprint}
                entry.status = "unchanged" if same else "updated"

    for entry in entries:
        _prepare(entry, product, external_lineage=external)
    usable = [e for e in entries if e.status != "failed"]
    look(usable)
    Transactions(dc, product, look).write(usable)
    # What a run that was killed has left: the new one is there, and the old one too.
    left = sorted({i for e in usable if e.status == "unchanged" for i in e.replaces}, key=str)
    if left:
        dc.index.datasets.archive(left)


def _entry(document: Path | str | MadeDocument, replaces: Iterable[uuid.UUID]) -> _Written:
    """Take a document, or read it."""
    entry = _Written(str(document), replaces=frozenset(replaces))
    try:
        if isinstance(document, MadeDocument):
            plain, entry.uri = dict(document.document), document.uri
        else:
            plain, entry.uri = read_document(document)
        # Through JSON, as the index stores it: what YAML has more becomes text.
        entry.stored = plain = orjson.loads(orjson.dumps(plain))
        entry.id, entry.product = uuid.UUID(plain["id"]), str(plain["product"]["name"])
        entry.fingerprint = (plain.get("properties") or {}).get(FINGERPRINT)
        sources = (plain.get("lineage") or {}).items()
        entry.lineage = {name: [uuid.UUID(i) for i in ids] for name, ids in sources}
    except SceneError as e:
        entry.fail(str(e))
    except Exception as e:  # noqa: BLE001 (whatever a document does to what reads it)
        entry.fail(f"{document}: is no EO3 document: {unexpected(e)}")
    return entry


def _prepare(entry: _Written, product: Product, *, external_lineage: bool) -> None:
    """Let a document become what the index stores."""
    if (plain := entry.stored) is None:
        return
    try:
        told = plain.get("measurements", {})
        if lacking := [name for name in product.measurements if name not in told]:
            entry.fail(f"{entry.source}: it has no measurement {', '.join(lacking)}")
            return
        entry.stored = stored_document(plain, external_lineage=external_lineage)
    except Exception as e:  # noqa: BLE001 (whatever a document does to what reads it)
        entry.fail(f"{entry.source}: is not valid EO3: {unexpected(e)}")
