"""Where finished images are kept: on a disk, or in a bucket."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

from odc_bdc.errors import InvalidValueError, SceneError
from odc_bdc.indexing.sources.files import asked, file_system
from odc_bdc.indexing.sources.stac import protocol_of
from odc_bdc.indexing.whole_file import whole_file

_T = TypeVar("_T")


class Storage(Protocol):
    """Files below a root, by their paths relative to it, with ``/`` between folders.

    All methods raise `SceneError` where the root refuses, a full disk included.
    """

    def uri(self, path: str) -> str:
        """Give the address of a file, as an index has it."""

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

    def find(self, pattern: str) -> list[str]:
        """Give the paths of the files that a glob matches, sorted."""


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

    def find(self, pattern: str) -> list[str]:
        """Give the paths of the files that a glob matches, sorted."""
        return sorted(p.relative_to(self.root).as_posix() for p in self.root.glob(pattern))

    def _written(self, path: str, write: Callable[[], _T]) -> _T:
        try:
            return write()
        except OSError as e:
            raise SceneError(f"{self.root / path}: cannot be written: {e.strerror or e}") from e


@dataclass(frozen=True, slots=True)
class Bucket:
    """A prefix of a bucket of s3.

    It has no rename: a folder is uploaded file by file, and the one that matters last.
    """

    root: str

    def uri(self, path: str) -> str:
        """Give the address of a file, as an index has it."""
        return f"{self.root}/{path}"

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

    def find(self, pattern: str) -> list[str]:
        """Give the paths of the objects that a glob matches, sorted."""
        start = len(self.root.partition("://")[2]) + 1
        return sorted(key[start:] for key in self._ask(pattern, lambda s3, at: s3.glob(at)))

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
