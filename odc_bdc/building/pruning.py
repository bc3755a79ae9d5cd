"""What of a cube nobody needs any more: found, told, and taken away."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odc_bdc.building.failures import failure_path, failures, forget_failure
from odc_bdc.building.partial import left_over, partial_folder
from odc_bdc.building.store import LIVE_FOLDER, ImageStore
from odc_bdc.errors import InvalidValueError, SceneError
from odc_bdc.indexing import archive
from odc_bdc.indexing.documents import DOCUMENT_SUFFIX, read_document
from odc_bdc.indexing.faults import database_refusals
from odc_bdc.indexing.known import (
    StoredDataset,
    derived_datasets,
    known_datasets,
    known_images,
    stored_datasets,
)
from odc_bdc.indexing.raster import local_path

if TYPE_CHECKING:
    from datacube import Datacube

FRESH = timedelta(hours=1)
"""Age below which a folder without a dataset may be that of a builder who is about to index it."""


class Kind(StrEnum):
    """Why nobody needs something."""

    VERSION = "version"
    LOST = "lost"
    ORPHAN = "orphan"
    PARTIAL = "partial"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something of a cube that nobody needs any more.

    Attributes
    ----------
    kind
        ``version``: an archived dataset and its folder; ``lost``: a dataset whose files are gone;
        ``orphan``: a folder of which the index has no dataset; ``partial``: what a builder left
        that was killed; ``failure``: the record of an image that has been built since.
    product
        Of the datasets.
    id
        Of the dataset; None where it is not known.
    path
        Folder or file to be removed; None if there is none.
    size
        Bytes of it.
    reason
        Why it can go, in a line.
    kept
        Why it stays all the same; None if it goes.
    """

    kind: Kind
    product: str
    id: uuid.UUID | None
    path: Path | None
    size: int
    reason: str
    kept: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give it as a line of JSON."""
        return {
            "kind": str(self.kind),
            "product": self.product,
            "id": str(self.id) if self.id else None,
            "path": str(self.path) if self.path else None,
            "bytes": self.size,
            "reason": self.reason,
            **({"kept": self.kept} if self.kept else {}),
        }


@database_refusals()
def find_leftovers(
    dc: Datacube, products: Iterable[str], root: Path, *, now: datetime, older_than: timedelta
) -> list[Leftover]:
    """Find what can go of some products below a root; changes nothing.

    What lies outside of the root is left alone, in the index too.

    Parameters
    ----------
    products
        Those that are made of others first: a dataset that another was made of stays while that
        other one does.
    root
        Folder of the cubes.
    now
        The time (UTC).
    older_than
        Age that archived versions and orphans must have; orphans at least an hour.

    Raises
    ------
    InvalidValueError
        If there is no such folder: then all datasets would seem to be lost.
    DatabaseError
        If the index cannot be read.
    """
    if not root.is_dir():
        raise InvalidValueError(
            f"{root}: no such folder; is its disk mounted? (--root says where the cubes are)"
        )
    found: list[Leftover] = []
    for product in products:
        going = {one.id for one in found if one.id and not one.kept}
        found += _of_product(dc, product, root, now=now, older_than=older_than, going=going)
    found += [
        Leftover(Kind.PARTIAL, "", None, path, _size(path), "its builder was killed")
        for path in sorted(left_over(root))
    ]
    return found


@database_refusals()
def remove_leftover(dc: Datacube, root: Path, one: Leftover) -> None:
    """Take away a leftover. Killed at any point, the next run completes it.

    Raises
    ------
    SceneError
        If a file cannot be removed, or the dataset is in use again: then nothing is.
    DatabaseError
        If the index refuses.
    """
    try:
        if one.kind is Kind.FAILURE and one.id:
            forget_failure(root, one.id)
        elif one.kind is Kind.PARTIAL and one.path:
            shutil.rmtree(one.path)
        elif one.kind is Kind.LOST and one.id:
            archive(dc, [one.id])
            dc.index.datasets.purge([one.id])
        elif one.id:
            _remove_image(dc, root, one.id, one.path)
    except OSError as e:
        raise SceneError(f"{one.path}: cannot be removed: {e.strerror or e}") from e


def _remove_image(dc: Datacube, root: Path, dataset_id: uuid.UUID, folder: Path | None) -> None:
    """Remove a folder and its archived dataset, or neither."""
    with partial_folder(root, dataset_id) as aside:
        # One rename hides all files at once; if we are killed now, the dataset is a lost one.
        hidden = aside / "image"
        if folder is not None:
            folder.rename(hidden)
        dc.index.datasets.purge([dataset_id])
        if dataset_id in known_datasets(dc, [dataset_id]):
            if folder is not None:
                hidden.rename(folder)
            raise SceneError(f"dataset {dataset_id} is in use again; it stays")


def _of_product(
    dc: Datacube,
    product: str,
    root: Path,
    *,
    now: datetime,
    older_than: timedelta,
    going: Collection[uuid.UUID],
) -> Iterator[Leftover]:
    stored = stored_datasets(dc, product)
    below = [(one, path) for one in stored if (path := _below(one.uri, root))]
    found = [*_versions(product, below, now - older_than), *_lost(product, below)]
    derived = derived_datasets(dc, [one.id for one in found if one.id])
    for one in found:
        made = {i: of for i, of in derived.get(one.id, {}).items() if i not in going}  # type: ignore[arg-type]  # all of these have ids
        if made:
            first, of = min(made.items(), key=str)
            more = f" and {len(made) - 1} more" if len(made) > 1 else ""
            yield replace(one, kept=f"dataset {first} of {of}{more} was made of it")
        else:
            yield one
    known = {path for _, path in below}
    limit = now - max(older_than, FRESH)
    own = _documents(root / product, root / LIVE_FOLDER / product)
    there = own | _laid_out(root, product)
    yield from _orphans(dc, product, there - known, limit)
    yield from _failures(dc, product, root)


def _versions(
    product: str, below: Iterable[tuple[StoredDataset, Path]], limit: datetime
) -> Iterator[Leftover]:
    for one, document in below:
        if one.archived is None or one.archived > limit:
            continue
        reason = f"archived {one.archived.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        folder = document.parent if document.exists() else None
        shared = folder is not None and len(list(folder.glob(f"*{DOCUMENT_SUFFIX}"))) > 1
        yield Leftover(
            Kind.VERSION,
            product,
            one.id,
            folder,
            _size(folder),
            reason,
            "its folder holds other datasets too" if shared else None,
        )


def _lost(product: str, below: Iterable[tuple[StoredDataset, Path]]) -> Iterator[Leftover]:
    for one, document in below:
        if one.archived is not None:
            continue
        files = [document, *(document.parent / path for path in one.paths if "://" not in path)]
        # The measurements of a live dataset share a file.
        gone = [file for file in dict.fromkeys(files) if not file.exists()]
        if gone:
            reason = f"{gone[0]} is gone" + (f", and {len(gone) - 1} more" if gone[1:] else "")
            yield Leftover(Kind.LOST, product, one.id, None, 0, reason)


def _orphans(
    dc: Datacube, product: str, documents: Iterable[Path], limit: datetime
) -> Iterator[Leftover]:
    """Give the folders of documents that the index does not have, here or elsewhere."""
    ids = {path: found for path in sorted(documents) if (found := _id_of(path, product))}
    known = known_datasets(dc, ids.values())
    for path, dataset_id in ids.items():
        if dataset_id not in known and _changed(path) < limit:
            folder = path.parent
            reason = "the index has no such dataset"
            yield Leftover(Kind.ORPHAN, product, dataset_id, folder, _size(folder), reason)


def _failures(dc: Datacube, product: str, root: Path) -> Iterator[Leftover]:
    noted = [record for record in failures(root) if record.cube == product]
    images = known_images(dc, product) if noted else []
    built = {image.planned for image in images if not image.live}
    for record in noted:
        if record.id in built:
            path = failure_path(root, record.id)
            yield Leftover(
                Kind.FAILURE, product, record.id, path, _size(path), "it has been built since"
            )


def _documents(*tops: Path) -> set[Path]:
    """Give the documents below some folders, as resolved paths."""
    found = set()
    for folder, names, files in chain.from_iterable(os.walk(top.resolve()) for top in tops):
        names[:] = [name for name in names if not name.startswith(".")]
        found |= {
            Path(folder, name)
            for name in files
            if name.endswith(DOCUMENT_SUFFIX) and not name.startswith(".")
        }
    return found


def _laid_out(root: Path, product: str) -> set[Path]:
    """Give the documents of a product that lie where the layout of the root has them."""
    documents = ImageStore.open(root).documents(product)
    return {(root / path).resolve() for path in documents}


def _id_of(document: Path, product: str) -> uuid.UUID | None:
    """Read the id of a document; None if it is no dataset of the product."""
    try:
        doc, _ = read_document(document)
        return uuid.UUID(doc["id"]) if doc["product"]["name"] == product else None
    except (SceneError, KeyError, TypeError, ValueError):
        return None


def _below(uri: str | None, root: Path) -> Path | None:
    """Give the path of a file if it lies below a folder."""
    path = local_path(uri or "")
    if path is None:
        return None
    # The folder may be gone, or reached by another name.
    path = path.parent.resolve() / path.name
    return path if path.is_relative_to(root.resolve()) else None


def _changed(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except FileNotFoundError:
        return datetime.max.replace(tzinfo=UTC)


def _size(path: Path | None) -> int:
    if path is None:
        return 0
    total = 0
    for file in [path, *path.rglob("*")]:
        with suppress(FileNotFoundError):
            total += file.stat().st_size if file.is_file() else 0
    return total
