"""Answers on disk: bounded, shared by processes, and no loss if they are lost.

One SQLite file. Of files as small as tiles SQLite reads and writes more per second than a file
system does, its locks make it safe for several processes, and the size of its file is the size of
what it holds. It must lie on a disk of this machine: SQLite shares nothing over a network.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from odc_bdc.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FILE = "answers.sqlite"
FOLDER_VARIABLE = "ODC_BDC_OWS_CACHE"
"""Folder of the store; there is none if it is not set."""
SIZE_VARIABLE = "ODC_BDC_OWS_CACHE_SIZE"
DEFAULT_SIZE = "2G"
SMALLEST = 2**20
"""Bytes that a store must be allowed to have."""

_PAGE = 8192
_FULL_AFTER_EVICTION = 0.9
# An entry that is read counts as used at most once while so many others come in: a read that
# writes nothing is ten times as quick.
_COARSE = 256
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answer (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key BLOB NOT NULL UNIQUE,
    used INTEGER NOT NULL,
    size INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    content BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS answer_used ON answer (used, size);
"""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a store holds: bytes on disk that are in use, and answers."""

    size: int
    answers: int


class Store:
    """Contents by key, at most so many bytes; those that were not used for longest go first.

    Whatever goes wrong with the file, the store only forgets: an answer can be made anew.

    Parameters
    ----------
    folder
        Made if it is not there, readable by its owner only.
    limit
        Bytes of the file in use; the file itself is larger by at most a tenth, and has a journal
        of some megabytes beside it.

    Raises
    ------
    InvalidValueError
        If the folder cannot be written to, or the limit is less than `SMALLEST`.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        if limit < SMALLEST:
            raise InvalidValueError(
                f"a cache of {limit} bytes is too small: {SMALLEST} are the least, or 0 for none"
            )
        self.path = folder / FILE
        self.limit = limit
        self._local = threading.local()
        try:
            with self._connected():
                pass
        except (OSError, sqlite3.Error) as e:
            raise InvalidValueError(
                f"the cache {folder} cannot be used: {e}; choose another folder with "
                "ODC_BDC_OWS_CACHE, or none with ODC_BDC_OWS_CACHE_SIZE=0"
            ) from e

    def get(self, key: bytes) -> bytes | None:
        """Give a content; None if it is not there."""
        with self._forgiving(), self._connected() as connection:
            row = connection.execute(
                "SELECT id, used, content, crc, (SELECT max(id) FROM answer) FROM answer "
                "WHERE key = ?",
                (key,),
            ).fetchone()
            if row is None:
                return None
            number, used, content, crc, newest = row
            if crc32(content) != crc:
                # SQLite does not look at what lies beside its trees.
                raise sqlite3.DatabaseError("an answer is not what was put in")
            if newest - used > _COARSE:
                with self._forgiving():
                    connection.execute("UPDATE answer SET used = ? WHERE id = ?", (newest, number))
            return bytes(content)
        return None

    def put(self, key: bytes, content: bytes) -> bool:
        """Keep a content, in place of another under this key; tell whether it is kept."""
        size = _size(key, content)
        if size > self.limit // 8:
            return False
        with self._forgiving(), self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.execute("DELETE FROM answer WHERE key = ?", (key,))
                if self._used(connection) + size > self.limit:
                    self._evict(connection, size)
                added = connection.execute(
                    "INSERT INTO answer (key, used, size, crc, content) VALUES (?, 0, ?, ?, ?)",
                    (key, size, crc32(content), content),
                )
                connection.execute("UPDATE answer SET used = id WHERE id = ?", (added.lastrowid,))
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
            return True
        return False

    def clear(self) -> int:
        """Forget everything; give how many answers there were."""
        with self._connected() as connection:
            gone = connection.execute("DELETE FROM answer").rowcount
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return gone

    def usage(self) -> Usage:
        """Tell what the store holds."""
        with self._connected() as connection:
            (answers,) = connection.execute("SELECT count(*) FROM answer").fetchone()
            return Usage(self._used(connection), answers)

    def _used(self, connection: sqlite3.Connection) -> int:
        pages, free = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count")
        )
        return int(pages - free) * _PAGE

    def _evict(self, connection: sqlite3.Connection, wanted: int) -> None:
        """Take out what was not used for longest, until there is room for `wanted` bytes more."""
        goal = int(self.limit * _FULL_AFTER_EVICTION) - wanted
        while (excess := self._used(connection) - goal) > 0:
            gone = connection.execute(
                "DELETE FROM answer WHERE id IN (SELECT id FROM (SELECT id, sum(size) OVER "
                "(ORDER BY used, id) - size AS before FROM answer) WHERE before < ?)",
                (excess,),
            ).rowcount
            if not gone:
                return

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """Give this thread's connection, opened anew after a fork, and where the file is another.

        Somebody may have removed it, and whoever has it open would go on with one that nobody sees.
        """
        local = self._local
        if getattr(local, "of", None) != (os.getpid(), self._file()):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            local.connection = self._open()
            local.of = os.getpid(), self._file()
        yield local.connection

    def _file(self) -> tuple[int, int] | None:
        """Tell which file there is; None if none."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _open(self) -> sqlite3.Connection:
        try:
            return self._opened()
        except sqlite3.DatabaseError as e:
            if isinstance(e, sqlite3.OperationalError):
                raise
            self._discard()  # it is no database, or of another page size
            return self._opened()

    def _opened(self) -> sqlite3.Connection:
        # Used by one thread, but closed in any.
        connection = sqlite3.connect(
            self.path,
            timeout=1.0,
            isolation_level=None,
            check_same_thread=False,
            factory=_Connection,
        )
        for setting in (
            f"page_size = {_PAGE}",
            "journal_mode = WAL",
            "synchronous = NORMAL",
            f"journal_size_limit = {2**22}",
        ):
            connection.execute(f"PRAGMA {setting}")
        connection.executescript(_SCHEMA)
        return connection

    @contextmanager
    def _forgiving(self) -> Iterator[None]:
        """Take a failure of the file for an answer that is not there; a broken file is removed."""
        try:
            yield
        except (OSError, sqlite3.OperationalError) as e:
            _LOG.warning("the cache %s: %s", self.path, e)  # busy, or the disk is full
        except sqlite3.DatabaseError as e:
            _LOG.warning("the cache %s is broken (%s), so it is begun anew", self.path, e)
            self._discard()

    def _discard(self) -> None:
        with suppress(AttributeError, sqlite3.Error):
            self._local.connection.close()
        self._local.of = None
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)


class _Connection(sqlite3.Connection):
    """Is closed with its thread or its store: Python warns of those that nobody closed."""

    def __del__(self) -> None:
        self.close()


def _size(key: bytes, content: bytes) -> int:
    """Give the bytes that an answer takes in the file: whole pages, but for small ones."""
    length = len(content) + 2 * len(key) + 64
    return length if length < _PAGE // 4 else -(-length // _PAGE) * _PAGE


def named_store(environ: Mapping[str, str]) -> Store | None:
    """Open the store that the environment names; None if it names none.

    Raises as `Store` and `parse_size`.
    """
    folder = environ.get(FOLDER_VARIABLE)
    limit = parse_size(environ.get(SIZE_VARIABLE) or DEFAULT_SIZE)
    return Store(Path(folder), limit) if folder and limit else None


def parse_size(text: str) -> int:
    """Read a number of bytes, such as ``500M`` or ``2G`` (powers of 1024); ``0`` means none.

    Raises
    ------
    InvalidValueError
        If it is none.

    Examples
    --------
    >>> parse_size("2G"), parse_size("1.5k"), parse_size("0")
    (2147483648, 1536, 0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", text, re.IGNORECASE)
    if not match:
        raise InvalidValueError(f"{text!r} is no size such as 500M or 2G")
    return int(float(match[1]) * 1024 ** " kmgt".index(match[2].lower() or " "))
