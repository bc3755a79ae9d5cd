"""Opens the files of scenes, each as one version of it."""

from __future__ import annotations

import os
import re
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import rasterio
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
from odc_bdc.indexing.archive import Member
from odc_bdc.indexing.sources.access import plain_href
from odc_bdc.indexing.sources.web import Patience

_REMOTE = ("http://", "https://", "s3://")
# GDAL's own spellings of addresses.
_VIRTUAL = {"/vsicurl/": "", "/vsis3/": "s3://"}
# Names that only GDAL understands, such as those of a part of an HDF file.
_GDAL = re.compile(r"/vsi[a-z0-9]+[/?]|[A-Za-z][A-Za-z0-9_+.-]+:")
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
    """

    def __init__(
        self,
        access: Access | None = None,
        environ: Mapping[str, str] | None = None,
        patience: Patience = PATIENCE,
    ) -> None:
        self._servers = Servers(access or Access(), environ or {}, patience)

    @staticmethod
    def is_local(href: str) -> bool:
        """Tell if a file lies on a disk of this machine, so that looking at it costs nothing."""
        return not _address(href).startswith(_REMOTE)

    def version(self, href: str) -> FileVersion:
        """Look which version of a file there is; of a file in an archive, that of the archive.

        Raises
        ------
        SceneError
            If there is none, or it cannot be asked.
        """
        address = _address(href)
        if address.startswith(_REMOTE):
            return self._servers.version(address)
        if _GDAL.match(address):
            return _UNKNOWN
        try:
            return FileVersion.of_status(Path(address).stat())
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
        address = _address(href)
        return (self._servers, address) if address.startswith(_REMOTE) else None


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
        return plain_href(_gdal_name(self.href))

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
            handle = os.open(_gdal_name(self.href), os.O_RDONLY | os.O_CLOEXEC)
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
        how = {} if overview is None else {"overview_level": overview}
        self._file = file
        self._opener: RemoteOpener | None = None
        self._dataset: Any = None
        with self.reading():
            # rasterio keeps its openers in a context variable: whoever closes has to have the same.
            context = copy_context()
            self._dataset = context.run(self._opened, how)
            # What nobody closes is closed when it is collected, by whichever thread does that.
            self.close = weakref.finalize(self, _close, context, self._dataset)
            self.close.atexit = False

    def _opened(self, how: Mapping[str, int]) -> Any:
        file = self._file
        # Archives elsewhere are left to GDAL.
        remote = None if Member.from_href(file.href) else file.files.remote(file.href)
        if remote is None:
            return rasterio.open(_gdal_name(file.href), **how)
        self._opener = RemoteOpener(RemoteFile(*remote, file.version))
        # rasterio does not clean up well after a file that cannot be opened.
        self._opener.read(0, 1)
        self._check()
        # GDAL keeps and shows the name.
        return rasterio.open(plain_href(remote[1]), opener=self._opener.open, **how)

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
            return room[: os.preadv(self._handle, [room], offset)]
        except OSError as e:
            raise _unreadable(self._file.href, e) from e


_own = threading.local()


def _room(size: int) -> memoryview:
    """Give memory of this thread; it is used again and again."""
    if len(getattr(_own, "room", b"")) < size:
        _own.room = bytearray(size)
    return memoryview(_own.room)[:size]


@cache
def scene_files(access: Access | None = None) -> SceneFiles:
    """Give the files of scenes as all of this process see them, with its environment."""
    return SceneFiles(access, os.environ)


def _address(href: str) -> str:
    """Give the path or address of the file, or of the archive that it is in."""
    member = Member.from_href(href)
    found = href if member is None else member.archive
    for virtual, scheme in _VIRTUAL.items():
        if found.startswith(virtual):
            found = scheme + found.removeprefix(virtual)
    return unquote(urlsplit(found).path) if found.startswith("file://") else found


def _gdal_name(href: str) -> str:
    return unquote(urlsplit(href).path) if href.startswith("file://") else href


def _unreadable(href: str, error: OSError) -> SceneError:
    return SceneError(f"{_gdal_name(href)}: cannot be read: {error.strerror}")
