"""Datasets go into the index: once each, whatever happened before."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datacube.index.hl import Doc2Dataset
from datacube.utils.documents import read_documents
from sqlalchemy.exc import DBAPIError

from odc_bdc.errors import DatabaseError, InvalidValueError, SceneError
from odc_bdc.indexing.documents import write_document
from odc_bdc.indexing.items import document_path, item_document
from odc_bdc.indexing.normalise import normalise_item

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from datacube import Datacube
    from datacube.model import Dataset

    from odc_bdc.indexing.recipe import IngestRecipe


@dataclass(frozen=True, slots=True)
class Failure:
    """An item that did not go in, and why."""

    source: str
    reason: str


@dataclass(slots=True)
class IndexReport:
    """What became of the items of one run."""

    added: int = 0
    unchanged: int = 0
    failed: list[Failure] = field(default_factory=list)


def index_items(
    dc: Datacube,
    recipe: IngestRecipe,
    sources: Sequence[Path],
    *,
    out: Path | None = None,
    progress: Callable[[Path], None] | None = None,
) -> IndexReport:
    """Write an EO3 document for each STAC item and add it to the index.

    Parameters
    ----------
    sources
        Item files, or folders that are searched for them.
    out
        Folder for the documents; None writes each beside its item.
    progress
        Called with each item's path when it is done.

    Returns
    -------
    IndexReport
        Items that are in the index already are left alone. One that cannot be used is reported with
        its reason; the rest go in.

    Raises
    ------
    InvalidValueError
        If a source does not exist, or the index lacks the recipe's product.
    """
    product = dc.index.products.get_by_name(recipe.product)
    if product is None:
        raise InvalidValueError(
            f"the index has no product {recipe.product}; add it with "
            f"`odc-bdc product add {recipe.product}`"
        )
    report = IndexReport()
    for path in find_items(sources):
        try:
            added = _index_item(dc, recipe, product.definition, path, out)
        except (SceneError, InvalidValueError) as e:
            report.failed.append(Failure(str(path), str(e)))
        else:
            report.added += added
            report.unchanged += not added
        if progress:
            progress(path)
    return report


def _index_item(
    dc: Datacube, recipe: IngestRecipe, product: dict[str, Any], path: Path, out: Path | None
) -> bool:
    item = normalise_item(read_item(path), recipe, href=str(path.resolve()))
    location = document_path(path, item, out)
    if location.is_file() and _is_active(dc, item.dataset_id):
        return False
    document = item_document(item, recipe, product, location=location)
    write_document(document, location)
    return add_document(dc, location)


def find_items(sources: Sequence[Path]) -> Iterator[Path]:
    """Give the STAC item files among `sources`: files as they are, folders searched for items.

    Raises
    ------
    InvalidValueError
        If a source does not exist, or a folder holds no item.
    """
    for source in sources:
        if source.is_file():
            yield source
        elif source.is_dir():
            found = [p for p in sorted(source.rglob("*.json")) if _is_feature(p)]
            if not found:
                raise InvalidValueError(f"{source}: no STAC item (*.json) in this folder")
            yield from found
        else:
            raise InvalidValueError(f"{source}: no such file or folder")


def _is_feature(path: Path) -> bool:
    """Tell items from collections and catalogs; what cannot be read counts, to be reported."""
    try:
        return read_item(path).get("type") == "Feature"
    except SceneError:
        return True


def read_item(path: Path) -> dict[str, Any]:
    """Read a STAC item; `SceneError` says why it cannot be read."""
    try:
        doc = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise SceneError(f"{path}: cannot be read as JSON: {e}") from e
    return doc if isinstance(doc, dict) else {}


def add_document(dc: Datacube, path: Path) -> bool:
    """Add the EO3 document at `path` to the index; False if it was there and visible already.

    A dataset that had been archived is made visible again.

    Raises
    ------
    SceneError
        If the document fits no product, or its sources are not in the index.
    DatabaseError
        If the index refuses it.
    """
    for _, doc in read_documents(path):
        dataset, error = Doc2Dataset(dc.index)(doc, path.resolve().as_uri())
        if dataset is None:
            raise SceneError(f"{path}: {error}")
        known = dc.index.datasets.get(dataset.id)
        if known is None:
            return _add(dc, dataset)
        if known.is_archived:
            dc.index.datasets.restore([dataset.id])
        else:
            return False
    return True


def _add(dc: Datacube, dataset: Dataset) -> bool:
    """Add a dataset; False if another process was quicker.

    PostgreSQL ends one of two transactions that write the same rows at once; that one tries again.
    """
    for pause in (0.05, 0.2, 0.8, 2.0, None):
        try:
            dc.index.datasets.add(dataset)
        except DBAPIError as e:
            if dc.index.datasets.has(dataset.id):
                return False
            if pause is None:
                reason = str(e.orig).strip().splitlines()[0]
                raise DatabaseError(f"the index refuses dataset {dataset.id}: {reason}") from e
            time.sleep(pause)
        else:
            return True
    return False


def archive(dc: Datacube, ids: Iterable[uuid.UUID]) -> None:
    """Hide datasets from searches; their documents stay, so that lineage can be told."""
    if found := list(ids):
        dc.index.datasets.archive(found)


def _is_active(dc: Datacube, dataset_id: uuid.UUID) -> bool:
    known = dc.index.datasets.get(dataset_id)
    return known is not None and not known.is_archived
