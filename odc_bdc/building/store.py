"""The root of built images: its layout, and what is in it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from odc_bdc.building.efficacy import EfficacyStore
from odc_bdc.building.layout import HOLDER, LAYOUTS, Layout
from odc_bdc.building.partial import partial_folder, remove_partial
from odc_bdc.building.storage import Disk, Storage, StoredFile, storage_at
from odc_bdc.errors import InvalidValueError, OdcBdcError, SceneError
from odc_bdc.indexing.documents import DOCUMENT_SUFFIX

if TYPE_CHECKING:
    from odc_bdc.planning import CompositeTask

LIVE_FOLDER = "live"
"""Below the root: what live images have instead of pixels, whatever the layout of built ones."""

_RECORD = ".layout.json"


@dataclass(frozen=True, slots=True)
class ImageStore:
    """The root of built images. Small and frozen, so that it goes to workers as it is.

    Attributes
    ----------
    root
        Absolute path of a folder, or ``s3://BUCKET/PREFIX``.
    layout
        Where an image lies below it.
    work
        Folder of this machine for what is not finished, and for what builders note. On a disk it
        is the root itself, so that a rename publishes an image.
    """

    root: str
    layout: Layout
    work: Path

    @classmethod
    def at(cls, root: Path | ImageStore) -> ImageStore:
        """Give a root that is open, or open it: functions take either."""
        return root if isinstance(root, ImageStore) else cls.open(root)

    @classmethod
    def open(
        cls, root: str | Path, *, layout: str | None = None, work: str | Path | None = None
    ) -> Self:
        """Open a root with the layout that it has, or is to have.

        Parameters
        ----------
        root
            A folder, or an address of s3; it need not exist.
        layout
            Name of a layout or a template, see `Layout.named`; None for the root's own, which is
            ``odc-bdc`` where there is none yet.
        work
            See `ImageStore`; asked for with s3 only, else a folder of the system for temporary
            files.

        Raises
        ------
        InvalidValueError
            If the root has another layout already, or either is not what it must be.
        """
        storage = storage_at(str(root))
        recorded = _recorded(storage)
        chosen = recorded or Layout.named(LAYOUTS[0]) if layout is None else Layout.named(layout)
        if recorded and chosen != recorded:
            raise _refused(storage, recorded, chosen)
        if isinstance(storage, Disk):
            return cls(str(storage.root), chosen, storage.root)
        place = Path(work) if work else Path(tempfile.gettempdir()) / "odc_bdc"
        return cls(str(root).rstrip("/"), chosen, place.absolute())

    @property
    def storage(self) -> Storage:
        """The files below the root."""
        return storage_at(self.root)

    @property
    def efficacy(self) -> EfficacyStore:
        """What is known of scenes on tiles."""
        return EfficacyStore.below(self.work)

    @property
    def is_local(self) -> bool:
        """Whether the images lie on a disk."""
        return isinstance(self.storage, Disk)

    def prepare(self, cubes: Iterable[str]) -> None:
        """See that cubes can be written, and note the layout, so that no other is mixed with it.

        Raises
        ------
        InvalidValueError
            If the layout cannot name a cube, or another run has noted another one meanwhile.
        SceneError
            If the root cannot be written.
        """
        for cube in sorted(set(cubes)):
            self.layout.check(cube)
        text = json.dumps(asdict(self.layout), indent=2) + "\n"
        held = self.storage.claim(_RECORD, text)
        if held != text and (recorded := _recorded(self.storage)) != self.layout:
            raise _refused(self.storage, recorded or self.layout, self.layout)

    def folder(self, task: CompositeTask) -> str:
        """Give where a task's files belong, relative to the root.

        Where the layout does not tell versions apart, the first one has the layout's own folder,
        and others lie beside it; they stay there when the first one goes.
        """
        folder = self.layout.folder(task)
        if self.layout.has_versions or self._holder(folder) == str(task.id):
            return folder
        beside = self.layout.beside(task)
        if self.storage.exists(folder) or self._holder(beside) == str(task.id):
            return beside
        return folder

    def document(self, task: CompositeTask) -> str:
        """Give where a task's EO3 document belongs, relative to the root."""
        return f"{self.folder(task)}/{self.layout.item_id(task)}{DOCUMENT_SUFFIX}"

    def document_uri(self, task: CompositeTask) -> str:
        """Give the address of a task's EO3 document, as an index has it."""
        return self.storage.uri(self.document(task))

    def is_written(self, task: CompositeTask) -> bool:
        """Tell whether a task's image is there."""
        return self.storage.exists(self.document(task))

    def documents(self, cube: str) -> list[str]:
        """Give the paths of the EO3 documents of a cube, relative to the root, sorted."""
        return [file.path for file in self.files(cube) if file.path.endswith(DOCUMENT_SUFFIX)]

    def files(self, cube: str) -> list[StoredFile]:
        """Give all files that lie where the layout has those of a cube's images, sorted."""
        found = self.storage.files(self.layout.above(cube))
        return [file for file in found if self.layout.holds(file.path, cube)]

    @contextmanager
    def partial(self, task: CompositeTask) -> Iterator[Path]:
        """Give an empty folder for a task's files, which is gone at the end.

        Raises
        ------
        SceneError
            If it cannot be made or written, a full disk included.
        """
        try:
            with partial_folder(self.work, task.id) as folder:
                yield folder
        except OdcBdcError:
            raise
        except OSError as e:
            raise SceneError(
                f"{self.root}: {self.layout.item_id(task)} cannot be written: {e.strerror or e}"
            ) from e

    def publish(self, task: CompositeTask, folder: Path) -> None:
        """Make the files of a folder visible as the image of a task, all at once.

        Same id, same pixels: where another builder was quicker, its files are as good.

        Raises
        ------
        SceneError
            If the root cannot be written.
        """
        last = f"{self.layout.item_id(task)}{DOCUMENT_SUFFIX}"
        if not self.layout.has_versions:
            (folder / HOLDER).write_text(str(task.id), "utf-8")
        storage = self.storage
        # Another version may take the layout's own folder meanwhile: then beside it, once more.
        for _ in range(2):
            to = self.folder(task)
            if not self.layout.has_versions and not self.is_local:
                storage.claim(f"{to}/{HOLDER}", str(task.id))
                to = self.folder(task)
            if storage.publish(folder, to, last=last):
                return
            if self.folder(task) == to and storage.exists(f"{to}/{last}"):
                return
        raise SceneError(f"{storage.uri(to)}: is there already, and is no image of odc_bdc")

    def remove_partial(self) -> None:
        """Remove what builders left that were killed; leave those at work alone."""
        remove_partial(self.work)

    def _holder(self, folder: str) -> str | None:
        """Give the id of the image that a folder holds; None if nobody has it."""
        return self.storage.read(f"{folder}/{HOLDER}")


def _recorded(storage: Storage) -> Layout | None:
    """Give the layout that a root is noted to have."""
    text = storage.read(_RECORD)
    if text is None:
        return None
    try:
        return Layout(**json.loads(text))
    except (ValueError, TypeError) as e:
        raise InvalidValueError(
            f"{storage.uri(_RECORD)}: holds no layout; remove it if the root has no images"
        ) from e


def _refused(storage: Storage, recorded: Layout, chosen: Layout) -> InvalidValueError:
    where = storage.uri("").rstrip("/")
    return InvalidValueError(
        f"{where}: has images in layout {recorded.name}, so {chosen.name} cannot be written there; "
        "leave --layout out, or give another --root"
    )
