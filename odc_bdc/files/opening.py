"""Opens the files of scenes, each as one version of it."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from rasterio.errors import RasterioError

from odc_bdc.errors import SceneError, first_line
from odc_bdc.files.access import Access
from odc_bdc.files.remote import (
    PATIENCE,
    RemoteFile,
    RemoteOpener,
    Servers,
    replaced,
)
from odc_bdc.files.version import FileVersion
from odc_bdc.indexing.href import FILES_VARIABLE, Href, Reach
from odc_bdc.indexing.raster import READ_ONLY, open_raster
from odc_bdc.indexing.sources.access import plain_href
from odc_bdc.indexing.sources.hosts import HOSTS_VARIABLE
from odc_bdc.indexing.sources.web import Patience

_ASKED = ("http", "https", "s3")
"""Schemes of what is asked for by requests of our own; others are left to GDAL."""

_HEAD = 16
_UNKNOWN = FileVersion(0, "")


class OpenFile(Protocol):
    """A file of one version that is open."""

    def read(self, offset: int, size: int) -> bytes | memoryview:
        """Give some bytes, until others are read; those beyond the end are left out."""


class SceneFiles:
    """Files of scenes, wherever they lie; for all threads.

    Parameters
    ----------
    access
        How to get at those that not everybody may read.
    environ
        Holds what `access` names.
    patience
        With servers.

    Raises
    ------
    InvalidValueError
        If ``ODC_BDC_FILES`` or ``ODC_BDC_HOSTS`` cannot be read, which in `environ` say what may be
        read at all.
    """

    def __init__(
        self,
        access: Access | None = None,
        environ: Mapping[str, str] | None = None,
        patience: Patience = PATIENCE,
    ) -> None:
        environ = environ or {}
        self._servers = Servers(access or Access(), environ, patience)
        hosts = environ.get(HOSTS_VARIABLE, "").split(",")
        self._reach = Reach.named(environ.get(FILES_VARIABLE), hosts)

    @staticmethod
    def is_local(href: str) -> bool:
        """Tell if a file lies on a disk of this machine, so that looking at it costs nothing."""
        try:
            return Href.parse(href).scheme not in _ASKED
        except SceneError:
            return True  # to find that out costs nothing either

    def allowed(self, href: str) -> Href:
        """Read an href, and see that it may be followed.

        Raises
        ------
        SceneError
            If not.
        """
        parsed = Href.parse(href)
        self._reach.check(parsed)
        return parsed

    def version(self, href: str) -> FileVersion:
        """Look which version of a file there is; of a file in an archive, that of the archive.

        Raises
        ------
        SceneError
            If there is none, it may not be read, or it cannot be asked.
        """
        parsed = self.allowed(href)
        if parsed.scheme in _ASKED:
            return self._servers.version(parsed.whole)
        if not parsed.is_local:
            return _UNKNOWN
        try:
            return FileVersion.of_status(Path(parsed.path).stat())
        except OSError as e:
            raise _unreadable(href, e) from e

    def get(self, href: str, version: FileVersion | None = None) -> SceneFile:
        """Give a file as one version of it; that which there is now, if none is given.

        Raises
        ------
        SceneError
            If there is none, or it cannot be asked.
        """
        return SceneFile(self, href, version or self.version(href))

    def remote(self, href: str) -> tuple[Servers, str] | None:
        """Give who is asked for a file, by which address; None for one that lies on a disk."""
        parsed = Href.parse(href)
        return (self._servers, parsed.whole) if parsed.scheme in _ASKED else None


@dataclass(frozen=True, slots=True)
class SceneFile:
    """One version of a file.

    Attributes
    ----------
    files
        Open it.
    href
        Path or address.
    """

    files: SceneFiles
    href: str
    version: FileVersion

    @property
    def name(self) -> str:
        """What people are shown: without what may be secret."""
        return _name(self.href)

    @contextmanager
    def open(self, places: Iterable[Sequence[int]] = ()) -> Iterator[OpenFile]:
        """Open it, unless it is a member of an archive, to read bytes of it.

        Parameters
        ----------
        places
            As of `RemoteFile`.

        Raises
        ------
        SceneError
            If it cannot be read.
        ReplacedFileError
            If it is of another version by now, or at the end.
        """
        remote = self.files.remote(self.href)
        if remote is not None:
            yield RemoteFile(*remote, self.version, places)
            return
        with self._handle() as handle:
            yield _LocalFile(handle, self)

    @contextmanager
    def stream(self) -> Iterator[Any]:
        """Open it as a binary file that can be read anywhere.

        Raises
        ------
        SceneError, ReplacedFileError
            As `open`.
        """
        remote = self.files.remote(self.href)
        if remote is None:
            with self._handle() as handle, open(handle, "rb", closefd=False) as file:
                yield file
            return
        opener = RemoteOpener(RemoteFile(*remote, self.version))
        yield opener.open("test")
        if opener.fault is not None:
            raise opener.fault

    @contextmanager
    def _handle(self) -> Iterator[int]:
        try:
            handle = os.open(str(Href.parse(self.href)), READ_ONLY)
        except OSError as e:
            raise _unreadable(self.href, e) from e
        try:
            self._check(handle)
            yield handle
            # Somebody may have written into it meanwhile.
            self._check(handle)
        finally:
            os.close(handle)

    def _check(self, handle: int) -> None:
        if FileVersion.of_status(os.fstat(handle)) != self.version:
            raise replaced(self.name)

    @contextmanager
    def dataset(self, overview: int | None = None) -> Iterator[Any]:
        """Open it with rasterio; what goes wrong while it is open is told by `SceneError`.

        Parameters
        ----------
        overview
            Number of the overview that is meant, from 0; None for the image itself.

        Raises
        ------
        SceneError
            If it cannot be read.
        ReplacedFileError
            If it is of another version by now.
        """
        opened = OpenDataset(self, overview)
        try:
            with opened.reading() as src:
                yield src
        finally:
            opened.close()


class OpenDataset:
    """A file that is open with rasterio, as one version of it.

    Parameters
    ----------
    overview
        As of `SceneFile.dataset`.

    Attributes
    ----------
    close
        Called without arguments, closes it; any thread may.

    Raises
    ------
    SceneError
        If it cannot be opened.
    """

    def __init__(self, file: SceneFile, overview: int | None = None) -> None:
        self._file = file
        self._opener: RemoteOpener | None = None
        self._dataset: Any = None
        with self.reading():
            # rasterio keeps its openers in a context variable: whoever closes has to have the same.
            context = copy_context()
            self._dataset = context.run(self._opened, overview)
            # What nobody closes is closed when it is collected, by whichever thread does that.
            self.close = weakref.finalize(self, _close, context, self._dataset)
            self.close.atexit = False

    def _opened(self, overview: int | None) -> Any:
        file = self._file
        href = file.files.allowed(file.href)
        # Archives elsewhere are left to GDAL.
        remote = None if href.member else file.files.remote(file.href)
        if remote is None:
            return open_raster(href, overview=overview)
        self._opener = RemoteOpener(RemoteFile(*remote, file.version))
        # rasterio does not clean up well after a file that cannot be opened.
        head = self._opener.read(0, _HEAD)
        self._check()
        # GDAL keeps and shows the name.
        return open_raster(
            href,
            name=plain_href(remote[1]),
            opener=self._opener.open,
            head=head,
            overview=overview,
        )

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """Give the dataset of rasterio for a while; then see that it was one file all the time.

        Raises
        ------
        SceneError
            If GDAL fails.
        ReplacedFileError
            If the file is of another version by now.
        """
        try:
            yield self._dataset
        except (RasterioError, IndexError) as e:
            self._check()
            raise SceneError(f"{self._file.name}: cannot be read: {first_line(e)}") from e
        self._check()

    def _check(self) -> None:
        file = self._file
        if self._opener is not None:
            if self._opener.fault is not None:
                raise self._opener.fault
        elif file.files.is_local(file.href) and file.files.version(file.href) != file.version:
            raise replaced(file.href)


def _close(context: Context, dataset: Any) -> None:
    with suppress(RasterioError):
        context.run(dataset.close)


class _LocalFile:
    def __init__(self, handle: int, file: SceneFile) -> None:
        self._handle, self._file = handle, file

    def read(self, offset: int, size: int) -> memoryview:
        room = _room(size)
        try:
            return room[: _read_into(room, self._handle, offset)]
        except OSError as e:
            raise _unreadable(self._file.href, e) from e


_own = threading.local()
_moving = threading.Lock()


def _read_into(room: memoryview, handle: int, offset: int) -> int:
    """Fill memory with what lies at an offset of a file; give the number of bytes found."""
    if hasattr(os, "preadv"):
        return os.preadv(handle, [room], offset)
    with _moving:  # all threads move the same position, where the system knows no other way
        os.lseek(handle, offset, os.SEEK_SET)
        found = os.read(handle, len(room))
    room[: len(found)] = found
    return len(found)


def _room(size: int) -> memoryview:
    """Give memory of this thread; it is used again and again."""
    if len(getattr(_own, "room", b"")) < size:
        _own.room = bytearray(size)
    return memoryview(_own.room)[:size]


@cache
def scene_files(access: Access | None = None) -> SceneFiles:
    """Give the files of scenes as all of this process see them, with its environment."""
    return SceneFiles(access, os.environ)


def _name(href: str) -> str:
    try:
        return plain_href(str(Href.parse(href)))
    except SceneError:
        return plain_href(href)


def _unreadable(href: str, error: OSError) -> SceneError:
    return SceneError(f"{_name(href)}: cannot be read: {error.strerror}")
