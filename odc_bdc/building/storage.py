"""Where finished images are kept: on a disk, or in a bucket."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

from odc_bdc.errors import InvalidValueError, SceneError
from odc_bdc.indexing.raster import local_path
from odc_bdc.indexing.sources.files import asked, file_system
from odc_bdc.indexing.sources.stac import protocol_of
from odc_bdc.indexing.whole_file import whole_file

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file below a root.

    Attributes
    ----------
    path
        Relative to the root.
    size
        In bytes.
    changed
        When it was written (UTC).
    """

    path: str
    size: int
    changed: datetime


class Storage(Protocol):
    """Files below a root, by their paths relative to it, with ``/`` between folders.

    All methods raise `SceneError` where the root refuses, a full disk included.
    """

    def uri(self, path: str) -> str:
        """Give the address of a file, as an index has it."""

    def place(self, path: str) -> str:
        """Name a file or folder as a person does, a path of this machine without a scheme."""

    def relative(self, uri: str) -> str | None:
        """Give the path of a file by its address; None if it does not lie below the root."""

    def holds(self, path: str) -> bool:
        """Tell whether a file or folder really lies below the root, wherever links lead."""

    def exists(self, path: str) -> bool:
        """Tell whether there is such a file, or a folder that holds any."""

    def read(self, path: str) -> str | None:
        """Give what a small file holds; None if there is none."""

    def write(self, path: str, text: str) -> None:
        """Write a small file, whole or not at all."""

    def claim(self, path: str, text: str) -> str:
        """Write a small file unless there is one; give what it holds then."""

    def publish(self, folder: Path, to: str, *, last: str) -> bool:
        """Make a folder of this machine visible; False if there is something already.

        Parameters
        ----------
        last
            Name of the file without which nobody looks at the others.
        """

    def withdraw(self, folder: str, aside: Path, *, first: str) -> Callable[[], None]:
        """Make a folder invisible; give what brings it back until it is removed.

        Parameters
        ----------
        aside
            Folder of this machine for what must be kept until then.
        first
            Name of the file without which nobody looks at the others.
        """

    def remove(self, folder: str, *, last: str = "") -> None:
        """Remove a folder and all below it, if there is one; the file of a name after all others.

        No other files may come to it meanwhile.
        """

    def files(self, folder: str) -> list[StoredFile]:
        """Give all files below a folder, hidden ones too, sorted; none if there is no such."""


def storage_at(root: str) -> Storage:
    """Give the storage at a path, or at an address of s3.

    Raises
    ------
    InvalidValueError
        If the address is of another kind, or the path that of a file.
    MissingDependencyError
        If s3fs is missing.
    """
    protocol = protocol_of(root)
    if protocol == "file":
        path = Path(unquote(urlsplit(root).path) if "://" in root else root).absolute()
        if path.is_file():
            raise InvalidValueError(f"{path}: is a file; images are written to a folder")
        return Disk(path)
    if protocol != "s3" or not urlsplit(root).netloc:
        raise InvalidValueError(
            f"{root}: images are written to a folder, or to s3://BUCKET or s3://BUCKET/PREFIX"
        )
    file_system(root)
    return Bucket(root.rstrip("/"))


@dataclass(frozen=True, slots=True)
class Disk:
    """A folder of this machine, or one that it shares with others."""

    root: Path

    def uri(self, path: str) -> str:
        """Give the address of a file, as an index has it."""
        return (self.root.resolve() / path).as_uri()

    def place(self, path: str) -> str:
        """Give the path of a file or folder."""
        return str(self.root.resolve() / path)

    def relative(self, uri: str) -> str | None:
        """Give the path of a file by its address; None if it does not lie below the root."""
        path, root = local_path(uri), self.root.resolve()
        if path is None:
            return None
        if ".." in path.parts:  # which may lead anywhere
            path = path.resolve()
        if not path.is_relative_to(root):  # then perhaps by the name that a link leads to
            path = path.parent.resolve() / path.name
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else None

    def holds(self, path: str) -> bool:
        """Tell whether a file or folder really lies below the root, wherever links lead."""
        real = (self.root / path).resolve()
        return real.is_relative_to(self.root.resolve()) and real != self.root.resolve()

    def exists(self, path: str) -> bool:
        """Tell whether there is such a file or folder."""
        return (self.root / path).exists()

    def read(self, path: str) -> str | None:
        """Give what a small file holds; None if there is none."""
        try:
            return (self.root / path).read_text("utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as e:
            raise SceneError(f"{self.root / path}: cannot be read: {e.strerror}") from e

    def write(self, path: str, text: str) -> None:
        """Write a small file, whole or not at all."""

        def write() -> None:
            with whole_file(self.root / path) as stream:
                _fill(stream, text)

        self._written(path, write)

    def claim(self, path: str, text: str) -> str:
        """Write a small file unless there is one; give what it holds then."""

        def claim() -> None:
            file = self.root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=f".{file.name}.") as new:
                _fill(new, text)
                # A link, unlike a renamed file, takes nobody's place.
                with suppress(FileExistsError):
                    os.link(new.name, file)

        held = self.read(path)
        if held is None:
            self._written(path, claim)
            held = self.read(path)
        return text if held is None else held

    def publish(self, folder: Path, to: str, *, last: str) -> bool:
        """Rename a folder, which must be on the same disk: all of it is visible at once."""
        del last
        final = self.root / to

        def rename() -> bool:
            final.parent.mkdir(parents=True, exist_ok=True)
            try:
                folder.rename(final)
            except OSError:
                if not final.is_dir():
                    raise
                return False
            return True

        return self._written(to, rename)

    def withdraw(self, folder: str, aside: Path, *, first: str) -> Callable[[], None]:
        """Rename a folder: all of it is invisible at once. What is aside must be on this disk."""
        del first
        self._check(folder)
        there, hidden = self.root / folder, aside / "withdrawn"

        def bring_back() -> None:
            self._written(folder, lambda: hidden.rename(there))

        self._written(folder, lambda: there.rename(hidden), doing="removed")
        return bring_back

    def remove(self, folder: str, *, last: str = "") -> None:
        """Remove a folder and all below it, if there is one."""
        del last

        self._check(folder)

        def remove() -> None:
            with suppress(FileNotFoundError):
                shutil.rmtree(self.root / folder)

        self._written(folder, remove, doing="removed")

    def files(self, folder: str) -> list[StoredFile]:
        """Give all files below a folder, hidden ones too, sorted; none if there is no such."""
        found = []
        # Unlike a glob this bears folders that come and go meanwhile.
        for at, _, names in os.walk(self.root / folder):
            for path in (Path(at, name) for name in names):
                with suppress(FileNotFoundError):
                    known = path.stat()
                    changed = datetime.fromtimestamp(known.st_mtime, UTC)
                    inside = path.relative_to(self.root).as_posix()
                    found.append(StoredFile(inside, known.st_size, changed))
        return sorted(found, key=lambda file: file.path)

    def _check(self, path: str) -> None:
        """See that what is to go lies below the root; what a link leads to is not ours."""
        if not self.holds(path):
            reason = f"a link, or .., leads out of {self.root.resolve()}"
            raise SceneError(f"{self.root / path}: stays as it is: {reason}")

    def _written(self, path: str, write: Callable[[], _T], *, doing: str = "written") -> _T:
        try:
            return write()
        except OSError as e:
            raise SceneError(f"{self.root / path}: cannot be {doing}: {e.strerror or e}") from e


@dataclass(frozen=True, slots=True)
class Bucket:
    """A prefix of a bucket of s3.

    It has no rename: a folder is uploaded file by file, and the one that matters last.
    """

    root: str

    def uri(self, path: str) -> str:
        """Give the address of a file, as an index has it."""
        return f"{self.root}/{path}"

    def place(self, path: str) -> str:
        """Give the address of an object or prefix."""
        return self.uri(path)

    def relative(self, uri: str) -> str | None:
        """Give the path of an object by its address; None if it does not lie below the root."""
        start = self.root + "/"
        path = uri.removeprefix(start)
        return path if uri.startswith(start) and self.holds(path) else None

    def holds(self, path: str) -> bool:
        """Tell whether an object lies below the root: some programs take .. for a folder above."""
        return bool(path) and not {".", ".."} & set(path.split("/"))

    def exists(self, path: str) -> bool:
        """Tell whether there is such an object, or any below such a prefix."""
        return bool(self._ask(path, lambda s3, at: s3.exists(at)))

    def read(self, path: str) -> str | None:
        """Give what a small object holds; None if there is none."""

        def read(s3: Any, at: str) -> str | None:
            try:
                return str(s3.cat_file(at), "utf-8")
            except FileNotFoundError:
                return None

        return self._ask(path, read)

    def write(self, path: str, text: str) -> None:
        """Write a small object, whole or not at all."""
        self._ask(path, lambda s3, at: s3.pipe_file(at, text.encode()), doing="written")

    def claim(self, path: str, text: str) -> str:
        """Write a small object unless there is one; give what it holds then."""

        def claim(s3: Any, at: str) -> bool:
            try:
                s3.pipe_file(at, text.encode(), mode="create")
            except FileExistsError:
                return False
            return True

        held = self.read(path)
        if held is None and not self._ask(path, claim, doing="written"):
            held = self.read(path)
        return text if held is None else held

    def publish(self, folder: Path, to: str, *, last: str) -> bool:
        """Upload a folder; what a killed upload left is overwritten."""
        if self.exists(f"{to}/{last}"):
            return False
        names = sorted(p.name for p in folder.iterdir())
        for name in sorted(names, key=lambda name: name == last):
            self._upload(folder / name, f"{to}/{name}")
        return True

    def withdraw(self, folder: str, aside: Path, *, first: str) -> Callable[[], None]:
        """Remove the object that matters; the others stay until they are removed."""
        del aside
        path = f"{folder}/{first}"
        text = self.read(path)
        if text is None:
            return lambda: None
        self._ask(path, lambda s3, at: s3.rm_file(at), doing="removed")
        return lambda: self.write(path, text)

    def remove(self, folder: str, *, last: str = "") -> None:
        """Remove all objects below a prefix, if there are any; that of a name after all others."""
        if not self.holds(folder):
            raise SceneError(f"{self.uri(folder)}: stays, as it does not lie below {self.root}")
        paths = [file.path for file in self.files(folder)]
        self._remove([path for path in paths if path != f"{folder}/{last}"])
        self._remove([path for path in paths if path == f"{folder}/{last}"])

    def files(self, folder: str) -> list[StoredFile]:
        """Give all objects below a prefix, sorted; none if there are none."""
        start = len(self.uri("").partition("://")[2])
        found = self._ask(folder, lambda s3, at: s3.find(at.rstrip("/"), detail=True))
        return [
            StoredFile(key[start:], int(told["size"]), told["LastModified"])
            for key, told in sorted(found.items())
            # Consoles make empty objects that look like folders.
            if told["type"] == "file" and not key.endswith("/")
        ]

    def _remove(self, paths: list[str]) -> None:
        keys = [self.uri(path).partition("://")[2] for path in paths]
        if keys:
            self._ask(paths[0], lambda s3, _: s3.rm(keys), doing="removed")

    def _upload(self, file: Path, to: str) -> None:
        self._ask(to, lambda s3, at: s3.put_file(str(file), at), doing="written")

    def _ask(self, path: str, ask: Callable[[Any, str], _T], *, doing: str = "read") -> _T:
        # What other machines write must be seen, so no listing is remembered.
        s3, _ = file_system(self.root, use_listings_cache=False)
        at = self.uri(path)
        return asked(at, lambda: ask(s3, at.partition("://")[2]), doing=doing, error=SceneError)


def _fill(stream: IO[str], text: str) -> None:
    stream.write(text)
    stream.flush()
    os.fchmod(stream.fileno(), 0o644)
