"""Documents from HTTP servers: patiently, and without a word about the token."""

from __future__ import annotations

import json
import logging
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from types import TracebackType
from typing import IO, Any, Self, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

import requests
import tenacity
from requests.exceptions import (
    ChunkedEncodingError,
    ConnectTimeout,
    RequestException,
    SSLError,
    Timeout,
)
from requests.models import PreparedRequest, Response
from urllib3 import Retry
from urllib3.exceptions import (
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
)

from odc_bdc import __version__
from odc_bdc.errors import SourceError
from odc_bdc.indexing.sources.access import TOKEN_VARIABLE, AccessToken, Discretion
from odc_bdc.indexing.sources.hosts import Hosts, RefusedError
from odc_bdc.indexing.sources.transport import BoundedAdapter

_LOGGERS = ("urllib3.connectionpool", "urllib3.util.retry", "pystac_client.stac_api_io")
_TRIES_TO_CONNECT = 2
_CONNECT = 20.0
_MOST_REDIRECTS = 5
_PIECE = 1 << 16
# What a request has of us; whatever else it has was named by the server that it was meant for.
_OWN_HEADERS = {"range", "accept-encoding"}
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_log = logging.getLogger(__name__)
_Given = TypeVar("_Given")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is waited for.

    Attributes
    ----------
    tries
        Requests for one answer. A server that has never answered is tried twice to connect to.
    pause
        Seconds before the second; doubled each time, with some chance in it.
    longest
        Most seconds of a pause. A server that asks for more (``Retry-After``) is left alone.
    timeout
        Seconds to connect, and of silence in the midst of an answer.
    """

    tries: int = 6
    pause: float = 1.0
    longest: float = 300.0
    timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is read of what others have written.

    Attributes
    ----------
    document_mb
        Megabytes of a document, of a page of a search or of a line of a file, unpacked.
    file_mb
        Megabytes of a file that is read as a whole, such as a table of items.
    documents
        Documents that a source leads to, or pages of a search.
    depth
        Catalogs below each other.
    """

    document_mb: int = 128
    file_mb: int = 4096
    documents: int = 1_000_000
    depth: int = 32

    @property
    def document(self) -> int:
        """Bytes of a document."""
        return self.document_mb << 20

    @property
    def file(self) -> int:
        """Bytes of a file."""
        return self.file_mb << 20


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a request has no useful answer."""

    reason: str
    status: int | None = None
    wait: float = 0.0
    passing: bool = False
    unreached: bool = False


# What is raised on the way, in this order: some are wrapped in others.
_FAULTS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], Failed], ...] = (
    (
        NameResolutionError,
        Failed("no host of this name is known; check the address", passing=True, unreached=True),
    ),
    (SSLError, Failed("the server's certificate cannot be trusted")),
    (
        (ConnectTimeout, NewConnectionError),
        Failed("no server answers there; check the address", passing=True, unreached=True),
    ),
    ((Timeout, ReadTimeoutError), Failed("no answer within {timeout:g} s", passing=True)),
    (
        (
            requests.ConnectionError,
            ChunkedEncodingError,
            HTTPError,
            zlib.error,
        ),
        Failed("the connection was dropped", passing=True),
    ),
)


class WebError(SourceError):
    """An address that gives no useful answer; `status` is that of HTTP, if there was one."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class _Again(Exception):  # noqa: N818 (a signal to tenacity, which never gets out)
    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.reason)
        self.failed = failed


class _Session(requests.Session):
    """A session that leaves redirects to `Web`; its parent reads all of an answer that is one."""

    def resolve_redirects(self, *_: Any, **__: Any) -> Iterator[Any]:
        return iter(())


class _TokenAdapter(BoundedAdapter):
    """Adds the token when a request leaves: nobody who holds the request has seen it."""

    def __init__(self, token: AccessToken, *args: Any) -> None:
        super().__init__(*args)
        self._token = token

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """Send a copy: the request itself may be sent to another host by a redirect."""
        sent = request.copy()
        sent.headers.update(self._token.headers)
        response = super().send(sent, *args, **kwargs)
        response.request = request
        return response

    def request_url(self, request: PreparedRequest, proxies: Any) -> str:
        """Give the address as it is sent."""
        url = str(super().request_url(request, proxies))
        extra = urlencode(self._token.parameters)
        return f"{url}{'&' if '?' in url else '?'}{extra}" if extra else url


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a file, and what the answer says of the whole.

    Attributes
    ----------
    size
        Bytes of the file.
    mark
        Its ``ETag``, else ``Last-Modified``; empty if the server tells neither.
    """

    content: bytes
    size: int
    mark: str


class Web:
    """A session with HTTP servers; the token goes to the host of `address` only.

    Parameters
    ----------
    advice
        What to do about an answer of 401 or 403 where no token was sent.
    connections
        To one host that are kept open.
    signed
        Addresses may hold signatures, which are kept out of all logs.
    hosts
        Those that may be asked, by an address, a link or a redirect; None for that of `address`.
    limits
        Of answers.
    """

    def __init__(
        self,
        address: str,
        token: AccessToken | None,
        patience: Patience,
        *,
        advice: str = f"the server wants an access token; set {TOKEN_VARIABLE}",
        connections: int = 10,
        signed: bool = False,
        hosts: Hosts | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._origin = origin(address)
        self._token = token
        self._patience = patience
        self._advice = advice
        self._answered = False
        self.discretion = Discretion(token, queries=signed)
        self._session = _Session()
        self._session.headers["User-Agent"] = f"odc_bdc/{__version__}"
        self._session.headers["Accept-Encoding"] = "gzip, deflate"
        self.hosts = Hosts.of([address]) if hosts is None else hosts
        self.limits = limits or Limits()
        how = self.hosts, patience.timeout, self.limits.file + self.limits.document, connections
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, BoundedAdapter(*how))
        if token:
            self._session.mount(f"{self._origin}/", _TokenAdapter(token, *how))

    def __enter__(self) -> Self:
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self.discretion)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._session.close()
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self.discretion)

    def json(
        self,
        address: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> Any:
        """Give the JSON at an address, without tokens in it.

        Raises
        ------
        WebError
            If there is no answer, or it is no JSON.
        """

        def ask() -> Any:
            with self._send(address, method=method, headers=headers, json=body) as response:
                return self._parsed(b"".join(_pieces(response, self.limits.document)))

        return self._patiently(ask, address)

    @contextmanager
    def download(self, address: str) -> Iterator[IO[bytes]]:
        """Give the whole file at an address, as a temporary one.

        Raises
        ------
        WebError
            If it cannot be had.
        """
        with tempfile.TemporaryFile() as file:

            def fetch() -> None:
                file.seek(0)
                file.truncate()
                with self._send(address) as response:
                    for piece in _pieces(response, self.limits.file):
                        file.write(piece)

            self._patiently(fetch, address)
            file.seek(0)
            yield file

    def part(self, address: str, start: int, stop: int) -> Part:
        """Give a part of a file, as far as the file goes: from a byte to the one before another.

        Raises
        ------
        WebError
            If it cannot be had, or the server gives files only as a whole.
        """
        # Packed on its way, it would be a part of something else.
        headers = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}

        def fetch() -> Part:
            with self._send(address, headers=headers) as response:
                return _received(response, start, stop)

        return self._patiently(fetch, address)

    def _send(
        self,
        address: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> Response:
        """Ask, and go where the server leads, as far as that may be asked."""
        for _ in range(_MOST_REDIRECTS + 1):
            address = self._as_secure_as_asked(address)
            self.hosts.check(address)
            response = self._session.request(
                method,
                address,
                timeout=(min(_CONNECT, self._patience.timeout), self._patience.timeout),
                # What is behind the head is only read where it is known what it may be.
                stream=True,
                allow_redirects=False,
                headers=headers,
                **kwargs,
            )
            self._answered = True
            if not response.is_redirect:
                break
            response.close()
            asked, address = address, self._led_to(address, response)
            if response.status_code not in {307, 308} and method != "GET":
                method, kwargs = "GET", {}
            if origin(address) != origin(asked):
                headers = {k: v for k, v in (headers or {}).items() if k.lower() in _OWN_HEADERS}
        else:
            raise _Again(Failed(f"more than {_MOST_REDIRECTS} redirects", response.status_code))
        if not response.ok:
            response.close()
            raise _Again(self._refused(response))
        return response

    def _led_to(self, address: str, response: Response) -> str:
        """Give where a redirect leads."""
        target = urljoin(address, self._session.get_redirect_target(response) or "")
        target = self._as_secure_as_asked(target)
        secure = ("https://",) if origin(address).startswith("https:") else ("https://", "http://")
        reason = "" if target.lower().startswith(secure) else f"no address of {secure[-1]}"
        try:
            self.hosts.check(target)
        except RefusedError as e:
            reason = str(e)
        if reason:
            raise _Again(Failed(f"its redirect is not followed: {reason}", response.status_code))
        return target

    def _parsed(self, content: bytes) -> Any:
        try:
            return self.discretion.hide(json.loads(content))
        except (ValueError, RecursionError):
            # What starts like JSON has been cut off on its way; what does not is a page for people.
            cut = content.lstrip()[:1] in {b"{", b"["}
            reason = "the answer is not JSON; give the address of a STAC API or document"
            raise _Again(Failed(reason, passing=cut)) from None

    def _refused(self, response: Response) -> Failed:
        status = response.status_code
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return Failed(self._about_token(status), status)
        passing = status in {408, 425, 429} or (status >= 500 and status != 501)
        wait = _retry_after(response)
        said = f"HTTP {status} {_phrase(status)}"
        if wait > self._patience.longest:
            longest = f"{self._patience.longest:g} s"
            return Failed(f"{said}: asks not to be asked for over {longest}; try later", status)
        return Failed(said, status, wait, passing)

    def _about_token(self, status: int) -> str:
        said = f"HTTP {status} {_phrase(status)}"
        if self._token is None:
            return f"{said}: {self._advice}"
        return (
            f"{said}: the server does not take the access token as {self._token.sent_as}; see that "
            f"{self._token.variable} is valid, and that the server takes it so"
        )

    def _patiently(self, do: Callable[[], _Given], address: str) -> _Given:
        """Do it until it is done, or there is no hope; no exception but ours gets out."""

        def attempt() -> _Given | Failed:
            try:
                return do()
            except _Again as e:
                return e.failed
            except RefusedError as e:
                return Failed(str(e))
            except (RequestException, HTTPError, UnicodeError, zlib.error) as e:
                return _failed(e, self._patience.timeout)

        pause, longest = self._patience.pause, self._patience.longest
        # Some chance, so that several processes do not come back at once.
        backoff = tenacity.wait_exponential(pause, longest) + tenacity.wait_random(0, pause)
        found = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda r: isinstance(r, Failed) and r.passing),
            stop=self._is_hopeless,
            wait=lambda state: max(backoff(state), _last(state).wait),
            before_sleep=lambda state: self._tell(address, state),
            retry_error_callback=_last,
        )(attempt)
        if isinstance(found, Failed):
            # What is asked for may be long, or signed.
            where = address.partition("?")[0]
            raise WebError(self.discretion.hide(f"{where}: {found.reason}"), found.status)
        return found

    def _tell(self, address: str, state: tenacity.RetryCallState) -> None:
        pause = state.next_action.sleep if state.next_action else 0.0
        text = f"{address.partition('?')[0]}: {_last(state).reason}; next try in {pause:.0f} s"
        _log.info("%s", self.discretion.hide(text))

    def _is_hopeless(self, state: tenacity.RetryCallState) -> bool:
        cold = _last(state).unreached and not self._answered
        most = _TRIES_TO_CONNECT if cold else self._patience.tries
        return state.attempt_number >= min(most, self._patience.tries)

    def _as_secure_as_asked(self, address: str) -> str:
        """Give https for a host that was asked by https: servers behind proxies link to http."""
        if self._origin.startswith("https:") and address.startswith("http:"):
            secure = address.replace("http:", "https:", 1)
            return secure if origin(secure) == self._origin else address
        return address


def _pieces(response: Response, most: int) -> Iterator[bytes]:
    """Give what an answer holds, unpacked; a small one may unpack into one without end."""
    packed = response.headers.get("Content-Encoding", "").strip().lower()
    if packed not in {"", "identity", "gzip", "x-gzip", "deflate"}:
        raise RefusedError("the answer is packed in a way that was not asked for")
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32) if packed not in {"", "identity"} else None
    count = 0
    while piece := response.raw.read(_PIECE, decode_content=False):
        while piece:
            found = unpack.decompress(piece, 1 << 20) if unpack else piece
            piece = unpack.unconsumed_tail if unpack else b""
            count += len(found)
            if count > most:
                raise RefusedError(f"the answer is longer than {most >> 20} MB; see `limits`")
            yield found
    if unpack and (rest := unpack.flush()):
        yield rest
    if unpack and not unpack.eof:
        raise _Again(Failed("the connection was dropped", passing=True))


def _received(response: Response, start: int, stop: int) -> Part:
    """Read the answer that holds a part, and no more than was asked for."""
    told = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status_code != HTTPStatus.PARTIAL_CONTENT or not told:
        reason = "the server gives no parts of files (HTTP range requests)"
        raise _Again(Failed(reason, response.status_code))
    first, last, size = (int(number) for number in told.groups())
    count = last + 1 - first
    other = Failed("the answer is another part than was asked for", response.status_code, 0.0, True)
    if first != start or not 0 < count <= stop - start:
        raise _Again(other)
    content = bytearray()
    # As it comes: to wait for more would be to wait for a server that drips.
    while len(content) <= count and (piece := response.raw.read1(1 << 18)):
        content += piece
    if len(content) < count:
        raise _Again(Failed("the connection was dropped", passing=True))
    if len(content) > count:
        raise _Again(other)
    mark = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
    return Part(bytes(content), size, mark)


def origin(address: str) -> str:
    """Give scheme, host and port of an address."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _last(state: tenacity.RetryCallState) -> Failed:
    found = state.outcome.result() if state.outcome else None
    return found if isinstance(found, Failed) else Failed("no answer")


def _retry_after(response: Response) -> float:
    try:
        return Retry().get_retry_after(response.raw) or 0.0
    except HTTPError:
        return 0.0


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _failed(error: Exception, timeout: float) -> Failed:
    """Say in words what went wrong on the way, without the address: it may hold the token."""
    causes = list(_causes(error))
    for kinds, failed in _FAULTS:
        if any(isinstance(c, kinds) for c in causes):
            return replace(failed, reason=failed.reason.format(timeout=timeout))
    return Failed(f"it cannot be asked ({type(error).__name__}); check the address")


def _causes(error: object) -> Iterator[object]:
    """Give an exception and what it wraps."""
    seen: list[object] = []
    todo = [error]
    while todo:
        one = todo.pop()
        if isinstance(one, BaseException) and not any(one is s for s in seen):
            seen.append(one)
            todo += [*one.args, one.__cause__, one.__context__, getattr(one, "reason", None)]
            yield one
