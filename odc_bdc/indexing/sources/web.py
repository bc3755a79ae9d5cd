"""Documents from HTTP servers: patiently, and without a word about the token."""

from __future__ import annotations

import json
import logging
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from types import TracebackType
from typing import IO, Any, Self, TypeVar
from urllib.parse import urlencode, urlsplit

import requests
import tenacity
from requests.adapters import HTTPAdapter
from requests.exceptions import (
    ChunkedEncodingError,
    ConnectTimeout,
    ContentDecodingError,
    RequestException,
    SSLError,
    Timeout,
)
from requests.models import PreparedRequest, Response
from urllib3 import Retry
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError

from odc_bdc import __version__
from odc_bdc.errors import SourceError
from odc_bdc.indexing.sources.access import TOKEN_VARIABLE, AccessToken, Discretion

_LOGGERS = ("urllib3.connectionpool", "urllib3.util.retry", "pystac_client.stac_api_io")
_TRIES_TO_CONNECT = 2
_CONNECT = 20.0
_SLOW = 3  # times the patience with silence, that a part of a file may take
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
    (Timeout, Failed("no answer within {timeout:g} s", passing=True)),
    (
        (requests.ConnectionError, ChunkedEncodingError, ContentDecodingError, HTTPError),
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


class _TokenAdapter(HTTPAdapter):
    """Adds the token when a request leaves: nobody who holds the request has seen it."""

    def __init__(self, token: AccessToken, connections: int) -> None:
        super().__init__(pool_maxsize=connections)
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
    ) -> None:
        self._origin = origin(address)
        self._token = token
        self._patience = patience
        self._advice = advice
        self._answered = False
        self.discretion = Discretion(token, queries=signed)
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"odc_bdc/{__version__}"
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=connections))
        if token:
            self._session.mount(f"{self._origin}/", _TokenAdapter(token, connections))

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
            response = self._send(address, method=method, headers=headers, json=body)
            return self._parsed(response.content)

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
                with self._send(address, stream=True) as response:
                    for part in response.iter_content(1 << 20):
                        file.write(part)

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
            with self._send(address, stream=True, headers=headers) as response:
                return self._received(response, start)

        return self._patiently(fetch, address)

    def _received(self, response: Response, start: int) -> Part:
        """Read the answer that holds a part; an answer that drips in is as bad as none."""
        told = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if response.status_code != HTTPStatus.PARTIAL_CONTENT or not told:
            reason = "the server gives no parts of files (HTTP range requests)"
            raise _Again(Failed(reason, response.status_code))
        first, last, size = (int(number) for number in told.groups())
        until = time.monotonic() + _SLOW * self._patience.timeout
        content = bytearray()
        # As it comes: to wait for more would be to wait for a server that drips.
        while piece := response.raw.read1(1 << 18):
            content += piece
            if time.monotonic() > until:
                raise _Again(Failed("the answer comes too slowly"))
        if len(content) < last + 1 - first:
            raise _Again(Failed("the connection was dropped", passing=True))
        if first != start or len(content) != last + 1 - first:
            raise _Again(Failed("the answer is another part than was asked for", passing=True))
        mark = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        return Part(bytes(content), size, mark)

    def _send(self, address: str, *, method: str = "GET", **kwargs: Any) -> Response:
        address = self._as_secure_as_asked(address)
        response = self._session.request(
            method,
            address,
            timeout=(min(_CONNECT, self._patience.timeout), self._patience.timeout),
            **kwargs,
        )
        self._answered = True
        if not response.ok:
            raise _Again(self._refused(response))
        return response

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
            except (RequestException, HTTPError, UnicodeError) as e:
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
