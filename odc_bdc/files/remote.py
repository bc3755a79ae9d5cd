"""Parts of files on HTTP servers and in buckets, with whatever their access rules ask for.

They are asked for by range requests of our own rather than by GDAL's: each answer says of which
version of the file it is, tokens stay out of names that GDAL shows, and a server that is gone is
told in bounded time.
"""

from __future__ import annotations

import io
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

from odc_bdc.errors import InvalidValueError, OdcBdcError, ReplacedFileError, SceneError
from odc_bdc.files.access import ACCESS_VARIABLE, Access, AccessRule
from odc_bdc.files.version import FileVersion
from odc_bdc.indexing.sources.access import plain_href
from odc_bdc.indexing.sources.files import access_advice, asked, file_system
from odc_bdc.indexing.sources.hosts import HOSTS_VARIABLE, Hosts
from odc_bdc.indexing.sources.web import Limits, Part, Patience, Web, WebError, origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

PATIENCE = Patience(tries=3, pause=0.5, longest=10.0, timeout=20.0)
"""With servers of pixels, for which somebody is waiting."""

FILES_VARIABLE = "ODC_BDC_FILES"
"""Environment variable with folders, buckets and addresses that files may be read from."""

_DOWN = 10.0
"""Seconds for which a server that did not answer is not asked again."""

_SIGNED = 60.0
"""Seconds for which a signed address is used again."""

_PRESIGNED = 3600
_CONNECTIONS = 32
_NEAR = 1 << 15
"""Bytes between two parts that are rather read along than asked for apart."""

_LONGEST = 1 << 23
_LIMITS = Limits(document_mb=1, file_mb=256)  # far above what a part may have
_AT_ONCE = 6
_MOST = 20_000
_DENIED = {401, 403}


@dataclass(slots=True)
class _State:
    """What belongs to one process: connections do not live on in those that it forks."""

    webs: dict[tuple[str, AccessRule | None], Web] = field(default_factory=dict)
    down: dict[str, tuple[float, str]] = field(default_factory=dict)
    signed: dict[str, tuple[float, str]] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)
    process: int = field(default_factory=os.getpid)


class Servers:
    """HTTP servers and buckets, asked for parts of files; for all threads.

    Parameters
    ----------
    environ
        Where access rules find what they name.
    """

    def __init__(
        self,
        access: Access,
        environ: Mapping[str, str],
        patience: Patience = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._access, self._environ = access, environ
        self._patience, self._clock = patience, clock
        self._own = _State()
        # Files may lie on any server of the internet, and on those of this network that are named.
        self._hosts = Hosts.of(_named_hosts(environ), only=False)

    def version(self, href: str) -> FileVersion:
        """Give the version of a file, by the shortest part of it.

        Raises
        ------
        SceneError
            If it cannot be asked.
        """
        part = self.part(href, 0, 1)
        return FileVersion(part.size, part.mark)

    def part(self, href: str, start: int, stop: int) -> Part:
        """Give a part of a file.

        Raises
        ------
        SceneError
            If it cannot be had; the message names the file, without secrets.
        """
        rule = self._access.rule(href)
        try:
            address, is_fresh = self._address(href, rule)
            try:
                return self._asked(href, address, rule, start, stop)
            except WebError as e:
                if is_fresh or e.status not in _DENIED:
                    raise
            # What was signed a while ago may not be valid any more.
            self._state.signed.pop(href, None)
            return self._asked(href, self._address(href, rule)[0], rule, start, stop)
        except OdcBdcError as e:
            raise SceneError(f"{plain_href(href)}: cannot be read: {e}") from e

    @property
    def _state(self) -> _State:
        if self._own.process != os.getpid():
            self._own = _State()
        return self._own

    def _asked(
        self, href: str, address: str, rule: AccessRule | None, start: int, stop: int
    ) -> Part:
        state, host = self._state, origin(address)
        until, reason = state.down.get(host, (0.0, ""))
        if self._clock() < until:
            raise WebError(reason)
        try:
            return self._web(href, host, rule).part(address, start, stop)
        except WebError as e:
            # Its own name of the file is another one, if it was signed.
            told = str(e).removeprefix(f"{address.partition('?')[0]}: ")
            if e.status is None:
                state.down[host] = self._clock() + _DOWN, told
            raise WebError(told, e.status) from e

    def _web(self, href: str, host: str, rule: AccessRule | None) -> Web:
        state = self._state
        with state.lock:
            if (host, rule) not in state.webs:
                token = rule.access_token(self._environ) if rule else None
                web = Web(
                    rule.prefix if rule and token else host,
                    token,
                    self._patience,
                    advice=_advice(href, rule),
                    connections=_CONNECTIONS,
                    signed=True,
                    hosts=Hosts.of([host], trusted=True) if is_bucket(href) else self._hosts,
                    limits=_LIMITS,
                )
                state.webs[host, rule] = web.__enter__()
            return state.webs[host, rule]

    def _address(self, href: str, rule: AccessRule | None) -> tuple[str, bool]:
        """Give the address that is asked for, and whether it was not signed a while ago."""
        if not is_bucket(href) and (rule is None or rule.sign is None):
            return href, True
        signed, now = self._state.signed, self._clock()
        until, address = signed.get(href, (0.0, ""))
        if now < until:
            return address, False
        address = _signed(href, rule) if rule and rule.sign else _presigned(href)
        if not address.startswith(("https://", "http://")):
            by = rule.signed_by if rule and rule.sign else "s3fs"
            raise InvalidValueError(f"{by} gives no address of http(s)")
        if len(signed) >= _MOST:
            signed.clear()
        signed[href] = now + _SIGNED, address
        return address, True


class RemoteFile:
    """One version of a file on a server; not for use by several threads at once.

    Parameters
    ----------
    version
        Parts of any other are refused.
    places
        Offset and size of the parts that will be asked for, if they are known: they come at once.
    """

    def __init__(
        self,
        servers: Servers,
        href: str,
        version: FileVersion,
        places: Iterable[Sequence[int]] = (),
    ) -> None:
        self._servers, self.href, self.version = servers, href, version
        self._held: list[tuple[int, bytes]] = []
        spans = _merged(places)
        if len(spans) > 1:
            with ThreadPoolExecutor(min(_AT_ONCE, len(spans))) as pool:
                parts = list(pool.map(lambda span: self._fetched(*span), spans))
        else:
            parts = [self._fetched(*span) for span in spans]
        self._held = [(start, part) for (start, _), part in zip(spans, parts, strict=True)]

    def read(self, offset: int, size: int) -> bytes:
        """Give some bytes; those beyond the end are left out.

        Raises
        ------
        SceneError
            If they cannot be had.
        ReplacedFileError
            If the file is of another version by now.
        """
        stop = min(offset + size, self.version.size)
        for start, part in self._held:
            if start <= offset and stop <= start + len(part):
                return part[offset - start : stop - start]
        return self._fetched(offset, stop)

    def _fetched(self, start: int, stop: int) -> bytes:
        stop = min(stop, self.version.size)
        if start >= stop:
            return b""
        part = self._servers.part(self.href, start, stop)
        if FileVersion(part.size, part.mark) != self.version:
            raise replaced(self.href)
        return part.content


class RemoteOpener:
    """Opens a remote file for GDAL, and keeps some of it.

    Attributes
    ----------
    fault
        Why it could not be read, which GDAL does not pass on.
    """

    _PAGE = 1 << 16
    _KEPT = 8

    def __init__(self, file: RemoteFile) -> None:
        self._file = file
        self._pages: dict[int, bytes] = {}
        self.size = file.version.size
        self.fault: OdcBdcError | None = None

    def open(self, name: str, mode: str = "rb") -> io.BufferedIOBase:
        """Open it, as rasterio asks for it.

        Raises
        ------
        FileNotFoundError
            If another file is meant: GDAL looks for some beside it.
        """
        # The first name is what rasterio tries an opener with.
        if name not in {"test", plain_href(self._file.href)} or mode != "rb":
            raise FileNotFoundError(name)
        return _Stream(self)

    def read(self, at: int, size: int) -> bytes:
        """Give some bytes; nothing, once there is a `fault`."""
        wanted = min(size, self.size - at)
        try:
            return self._read(at, wanted) if wanted > 0 and not self.fault else b""
        except OdcBdcError as e:
            self.fault = e
            return b""

    def _read(self, at: int, size: int) -> bytes:
        first, last = at // self._PAGE, (at + size - 1) // self._PAGE
        if last - first >= self._KEPT:
            return self._file.read(at, size)
        missing = [n for n in range(first, last + 1) if n not in self._pages]
        if missing:
            start, stop = missing[0] * self._PAGE, (missing[-1] + 1) * self._PAGE
            found = self._file.read(start, stop - start)
            for n in range(missing[0], missing[-1] + 1):
                self._pages[n] = found[(n - missing[0]) * self._PAGE :][: self._PAGE]
        text = b"".join(self._pages[n] for n in range(first, last + 1))
        while len(self._pages) > self._KEPT:
            del self._pages[next(iter(self._pages))]
        start = at - first * self._PAGE
        return text[start : start + size]


class _Stream(io.BufferedIOBase):
    """A remote file with a position."""

    def __init__(self, opener: RemoteOpener) -> None:
        super().__init__()
        self._opener, self._at = opener, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        starts = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._opener.size}
        self._at = starts[whence] + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        wanted = self._opener.size if size is None or size < 0 else size
        found = self._opener.read(self._at, wanted)
        self._at += len(found)
        return found


def _named_hosts(environ: Mapping[str, str]) -> Iterator[str]:
    """Give the hosts that whoever runs this has named; where files may lie is said of them too."""
    yield from environ.get(HOSTS_VARIABLE, "").split(",")
    for place in environ.get(FILES_VARIABLE, "").split(","):
        if place.strip().startswith(("http://", "https://")):
            yield place


def is_bucket(href: str) -> bool:
    """Tell addresses of buckets, whose servers are those that this machine is configured for."""
    return href.startswith("s3://")


def replaced(href: str) -> ReplacedFileError:
    """Say that a file is of another version by now."""
    return ReplacedFileError(f"{plain_href(href)}: was replaced while it was read; try again")


def _merged(places: Iterable[Sequence[int]]) -> list[tuple[int, int]]:
    """Join parts that lie near each other; give the first byte of each and that after its last."""
    spans: list[tuple[int, int]] = []
    for offset, size in sorted((offset, size) for offset, size in places if size):
        stop = offset + size
        if spans and offset - spans[-1][1] <= _NEAR and stop - spans[-1][0] <= _LONGEST:
            spans[-1] = spans[-1][0], max(stop, spans[-1][1])
        else:
            spans.append((offset, stop))
    return spans


def _signed(href: str, rule: AccessRule) -> str:
    sign = rule.signer()
    if sign is None:
        return href
    try:
        return str(sign(href))
    except OdcBdcError:
        raise
    except Exception as e:
        raise SceneError(f"{rule.signed_by} fails: {type(e).__name__}") from e


def _presigned(href: str) -> str:
    """Give the address of an object that is asked for with the credentials of this machine."""
    s3, path = file_system(href)
    found: Any = asked(href, lambda: s3.url(path, expires=_PRESIGNED))
    return str(found)


def _advice(href: str, rule: AccessRule | None) -> str:
    if rule and rule.sign:
        return f"it does not take what {rule.signed_by} has signed"
    if is_bucket(href):
        return access_advice(href)
    return f"it wants a token or a signature; give a rule for it by {ACCESS_VARIABLE}"
