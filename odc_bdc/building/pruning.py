"""What of a cube nobody needs any more: found, told, and taken away."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from odc_bdc.building.failures import failure_path, failures, forget_failure
from odc_bdc.building.layout import HOLDER
from odc_bdc.building.overview import is_of_overview
from odc_bdc.building.partial import is_partial, left_over, partial_folder
from odc_bdc.building.storage import Disk, StoredFile
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

if TYPE_CHECKING:
    from datacube import Datacube

FRESH = timedelta(hours=1)
"""Age below which a folder without a dataset may be that of a builder who is about to index it, or
that one is uploading."""


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
        that was killed, or its upload; ``failure``: the record of an image that has been built
        since.
    product
        Of the datasets.
    id
        Of the dataset; None where it is not known.
    path
        Path or address of the folder or file to be removed; None if there is none.
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
    path: str | None
    size: int
    reason: str
    kept: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give it as a line of JSON."""
        return {
            "kind": str(self.kind),
            "product": self.product,
            "id": str(self.id) if self.id else None,
            "path": self.path,
            "bytes": self.size,
            "reason": self.reason,
            **({"kept": self.kept} if self.kept else {}),
        }


@database_refusals()
def find_leftovers(
    dc: Datacube,
    products: Iterable[str],
    root: Path | ImageStore,
    *,
    now: datetime,
    older_than: timedelta,
) -> list[Leftover]:
    """Find what can go of some products below a root; changes nothing.

    What lies outside of the root is left alone, in the index too.

    Parameters
    ----------
    products
        Those that are made of others first: a dataset that another was made of stays while that
        other one does.
    root
        Where the cubes are; a path stands for the root there.
    now
        The time (UTC).
    older_than
        Age that archived versions and orphans must have; orphans at least an hour.

    Raises
    ------
    InvalidValueError
        If there is nothing at the root: then all datasets would seem to be lost.
    SceneError
        If it cannot be read.
    DatabaseError
        If the index cannot be read.
    """
    store = ImageStore.at(root)
    if not store.storage.exists(""):
        why = "no such folder; is its disk mounted?" if store.is_local else "there is nothing"
        raise InvalidValueError(f"{store.root}: {why} (--root says where the cubes are)")
    found: list[Leftover] = []
    for product in products:
        going = {one.id for one in found if one.id and not one.kept}
        search = _Search(dc, product, store, now, older_than)
        found += search.leftovers(going)
    found += [
        Leftover(Kind.PARTIAL, "", None, str(path), _size_here(path), "its builder was killed")
        for path in sorted(left_over(store.work))
    ]
    return found


@database_refusals()
def remove_leftover(dc: Datacube, root: Path | ImageStore, one: Leftover) -> None:
    """Take away a leftover. Killed at any point, the next run completes it.

    Raises
    ------
    SceneError
        If a file cannot be removed, or the dataset is in use again: then nothing is.
    DatabaseError
        If the index refuses.
    """
    store = ImageStore.at(root)
    try:
        if one.kind is Kind.FAILURE and one.id:
            forget_failure(store.work, one.id)
        elif one.kind is Kind.PARTIAL and one.path:
            _remove_partial(store, one.path)
        elif one.kind is Kind.LOST and one.id:
            archive(dc, [one.id])
            dc.index.datasets.purge([one.id])
        elif one.id:
            _remove_image(dc, store, one.id, one.path)
    except OSError as e:
        raise SceneError(f"{one.path}: cannot be removed: {e.strerror or e}") from e


def _remove_partial(store: ImageStore, place: str) -> None:
    """Remove what a builder left that was killed, unless another goes on with it."""
    if "://" not in place:
        if not is_partial(store.work, Path(place)):
            raise SceneError(f"{place}: stays, as it is no folder of a builder in {store.work}")
        shutil.rmtree(place)
        return
    folder = _folder_at(store, place)
    if any(_is_document(file.path) for file in store.storage.files(folder)):
        raise SceneError(f"{place}: a builder has completed it; it stays")
    store.storage.remove(folder, last=HOLDER)


def _remove_image(
    dc: Datacube, store: ImageStore, dataset_id: uuid.UUID, place: str | None
) -> None:
    """Remove a folder and its archived dataset, or neither."""
    with partial_folder(store.work, dataset_id) as aside:
        # Killed behind this, the dataset is one without files, or the folder a partial one.
        bring_back = _withdraw(store, place, aside) if place else None
        dc.index.datasets.purge([dataset_id])
        if dataset_id in known_datasets(dc, [dataset_id]):
            if bring_back:
                bring_back()
            raise SceneError(f"dataset {dataset_id} is in use again; it stays")
        if place:
            store.storage.remove(_folder_at(store, place), last=HOLDER)


def _withdraw(store: ImageStore, place: str, aside: Path) -> Callable[[], None]:
    """Hide the folder of one document; give what brings it back."""
    folder = _folder_at(store, place)
    found = [f.path for f in store.storage.files(folder) if _is_document(f.path)]
    first = PurePosixPath(found[0]).name if found else ""
    return store.storage.withdraw(folder, aside, first=first)


def _folder_at(store: ImageStore, place: str) -> str:
    """Give a folder below the root by its path or address."""
    folder = store.storage.relative(place if "://" in place else Path(place).as_uri())
    if not folder or folder == ".":
        raise SceneError(f"{place}: does not lie below {store.root}")
    return folder


@dataclass(frozen=True)
class _Search:
    """What can go of a product."""

    dc: Datacube
    product: str
    store: ImageStore
    now: datetime
    older_than: timedelta

    def leftovers(self, going: Collection[uuid.UUID]) -> Iterator[Leftover]:
        """Give them all; what other datasets were made of, which do not go, is kept."""
        storage = self.store.storage
        files = {f.path: f for f in self._files()}
        stored = stored_datasets(self.dc, self.product)
        below = [(one, path) for one in stored if (path := storage.relative(one.uri or ""))]
        found = [*self._versions(below), *self._lost(below, files)]
        derived = derived_datasets(self.dc, [one.id for one in found if one.id])
        for one in found:
            made = {i: of for i, of in derived.get(one.id, {}).items() if i not in going}  # type: ignore[arg-type]  # all of these have ids
            if made:
                first, of = min(made.items(), key=str)
                more = f" and {len(made) - 1} more" if len(made) > 1 else ""
                yield replace(one, kept=f"dataset {first} of {of}{more} was made of it")
            else:
                yield one
        known = {path for _, path in below}
        yield from self._orphans([f for f in files.values() if f.path not in known])
        if not self.store.is_local:
            yield from self._uploads(files.values(), {_folder(path) for path in known})
        yield from self._failures()

    def _files(self) -> Iterator[StoredFile]:
        """Give the files below the folder of the product, and where the layout has its images."""
        for folder in (self.product, f"{LIVE_FOLDER}/{self.product}"):
            for file in self.store.storage.files(folder):
                if "/." not in f"/{file.path}":
                    yield file
        yield from self.store.files(self.product)

    def _versions(self, below: Iterable[tuple[StoredDataset, str]]) -> Iterator[Leftover]:
        limit = self.now - self.older_than
        for one, document in below:
            if one.archived is None or one.archived > limit:
                continue
            reason = f"archived {one.archived.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
            yield self._image(Kind.VERSION, one.id, document, reason)

    def _lost(
        self, below: Iterable[tuple[StoredDataset, str]], files: Collection[str]
    ) -> Iterator[Leftover]:
        storage = self.store.storage
        for one, document in below:
            if one.archived is not None:
                continue
            folder = _folder(document)
            # Behind # stands what a recipe is checked by.
            told = (path.partition("#")[0] for path in one.paths if "://" not in path)
            paths = (f"{folder}/{path}" for path in told)
            all_of_it = dict.fromkeys((document, *paths))  # measurements of live ones share a file
            gone = [path for path in all_of_it if path not in files and not storage.exists(path)]
            if gone:
                more = f", and {len(gone) - 1} more" if gone[1:] else ""
                reason = f"{storage.place(gone[0])} is gone{more}"
                yield Leftover(Kind.LOST, self.product, one.id, None, 0, reason)

    def _orphans(self, files: Iterable[StoredFile]) -> Iterator[Leftover]:
        """Give the folders of documents that the index does not have, here or elsewhere."""
        limit = self._limit
        documents = [f for f in files if _is_document(f.path) and f.changed < limit]
        ids = {f.path: i for f in documents if (i := self._id_of(f.path))}
        known = known_datasets(self.dc, ids.values())
        for path, dataset_id in ids.items():
            if dataset_id not in known:
                yield self._image(Kind.ORPHAN, dataset_id, path, "the index has no such dataset")

    def _image(self, kind: Kind, dataset_id: uuid.UUID, document: str, reason: str) -> Leftover:
        """Give the folder of a document, which stays if it is that of others too."""
        folder = _folder(document)
        files = self.store.storage.files(folder)
        place = self.store.storage.place(folder) if files else None
        others = any(_is_document(f.path) and f.path != document for f in files)
        kept = "its folder holds other datasets too" if others or not folder else None
        if folder and not self.store.storage.holds(folder):
            kept = "it lies elsewhere: a link, or .., leads out of the root"
        return Leftover(kind, self.product, dataset_id, place, _size(files), reason, kept)

    def _uploads(self, files: Iterable[StoredFile], known: Collection[str]) -> Iterator[Leftover]:
        """Give the folders of a bucket that hold files of an image, and no document."""
        folders: dict[str, list[StoredFile]] = {}
        for file in files:
            folders.setdefault(_folder(file.path), []).append(file)
        for folder, there in sorted(folders.items()):
            ours = all(self._is_ours(f.path) for f in there)
            whole = folder in known or any(_is_document(f.path) for f in there)
            if ours and not whole and max(f.changed for f in there) < self._limit:
                place, size = self.store.storage.place(folder), _size(there)
                reason = "its upload was broken off"
                yield Leftover(Kind.PARTIAL, self.product, None, place, size, reason)

    def _failures(self) -> Iterator[Leftover]:
        work = self.store.work
        noted = [record for record in failures(work) if record.cube == self.product]
        images = known_images(self.dc, self.product) if noted else []
        built = {image.planned for image in images if not image.live}
        for record in noted:
            if record.id in built:
                path, reason = failure_path(work, record.id), "it has been built since"
                size = _size_here(path)
                yield Leftover(Kind.FAILURE, self.product, record.id, str(path), size, reason)

    def _is_ours(self, path: str) -> bool:
        if path.startswith(f"{LIVE_FOLDER}/{self.product}/"):
            return True
        return self.store.layout.holds(path, self.product) or is_of_overview(path, self.product)

    @property
    def _limit(self) -> datetime:
        return self.now - max(self.older_than, FRESH)

    def _id_of(self, document: str) -> uuid.UUID | None:
        """Read the id of a document; None if it is no dataset of the product."""
        try:
            doc, _ = read_document(self.store.storage.uri(document))
            return uuid.UUID(doc["id"]) if doc["product"]["name"] == self.product else None
        except (SceneError, KeyError, TypeError, ValueError):
            return None


def _is_document(path: str) -> bool:
    name = PurePosixPath(path).name
    return name.endswith(DOCUMENT_SUFFIX) and not name.startswith(".")


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _size(files: Iterable[StoredFile]) -> int:
    return sum(file.size for file in files)


def _size_here(path: Path) -> int:
    """Give the bytes of a file or folder of this machine."""
    with suppress(OSError):
        return path.stat().st_size if path.is_file() else _size(Disk(path).files(""))
    return 0
