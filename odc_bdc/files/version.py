"""Versions of files: what tells that one was replaced in its place."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from odc_bdc.errors import SceneError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping

    from odc_bdc.files.opening import SceneFile, SceneFiles

LOCAL_INTERVAL = 1.0
"""Seconds for which a version of a file on a disk is believed."""

REMOTE_INTERVAL = 15.0
"""Seconds for which a version of a file elsewhere is believed; asking takes a request."""

_AT_ONCE = 16
_FEW = 4
_MOST = 50_000  # files that a server remembers


@dataclass(frozen=True, slots=True)
class FileVersion:
    """What a file was when somebody looked; another file in its place has another version.

    Attributes
    ----------
    size
        In bytes.
    mark
        On a disk, the time of its last change in ns; on a server, its ``ETag`` or
        ``Last-Modified``, empty if the server tells neither.
    """

    size: int
    mark: str

    @classmethod
    def of_status(cls, status: os.stat_result) -> FileVersion:
        """Give the version of a file on a disk."""
        return cls(status.st_size, str(status.st_mtime_ns))


class Versions:
    """Versions of files, each looked at only from time to time; for all threads.

    Parameters
    ----------
    files
        Looks at them.
    local, remote
        Seconds for which a version is believed; infinite to look once.
    clock
        Gives seconds.
    known
        Versions that somebody has just looked at, by path or address.
    """

    def __init__(
        self,
        files: SceneFiles,
        *,
        local: float = LOCAL_INTERVAL,
        remote: float = REMOTE_INTERVAL,
        clock: Callable[[], float] = time.monotonic,
        known: Mapping[str, FileVersion] | None = None,
    ) -> None:
        self._files, self._clock = files, clock
        self._interval = {True: local, False: remote}
        self._known: dict[str, tuple[float, FileVersion]] = {}
        self._lock = Lock()
        for href, version in (known or {}).items():
            self._keep(href, version)

    def get(self, href: str) -> FileVersion:
        """Give the version of a file.

        Raises
        ------
        SceneError
            If there is no such file, or it cannot be asked.
        """
        known = self._known.get(href)
        if known is not None and known[0] > self._clock():
            return known[1]
        version = self._files.version(href)
        self._keep(href, version)
        return version

    def file(self, href: str) -> SceneFile:
        """Give the version of a file that is believed to be there.

        Raises
        ------
        SceneError
            If there is no such file, or it cannot be asked.
        """
        return self._files.get(href, self.get(href))

    def known(self, hrefs: Iterable[str]) -> dict[str, FileVersion | None]:
        """Give the versions of files; None where there is none, or it cannot be asked.

        Those elsewhere are asked for at once.
        """
        hrefs = list(dict.fromkeys(hrefs))
        now = self._clock()
        stale = [h for h in hrefs if h not in self._known or self._known[h][0] <= now]
        remote = [h for h in stale if not self._files.is_local(h)]
        if len(remote) < _FEW:
            return {href: self._tried(href) for href in hrefs}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            asked = dict(zip(remote, pool.map(self._tried, remote), strict=True))
        return {href: asked[href] if href in asked else self._tried(href) for href in hrefs}

    def forget(self, hrefs: Iterable[str]) -> None:
        """Look at files anew when they are next asked for."""
        with self._lock:
            for href in hrefs:
                self._known.pop(href, None)

    def _keep(self, href: str, version: FileVersion) -> None:
        until = self._clock() + self._interval[self._files.is_local(href)]
        with self._lock:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[href] = until, version

    def _tried(self, href: str) -> FileVersion | None:
        try:
            return self.get(href)
        except SceneError:
            return None
