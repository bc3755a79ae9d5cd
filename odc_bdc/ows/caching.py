"""What a client, a worker or all workers may keep: validators of answers, documents, images.

Nothing is kept under the request alone, but under what the answer is made of as well
(`odc_bdc.ows.freshness`), so that it is not found any more when that has changed.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from odc_bdc.ows.requests import operation_of, protocol_of, query_if_readable, service_of
from odc_bdc.ows.whole import whole_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from odc_bdc.ows.requests import WSGI
    from odc_bdc.ows.store import Store

    Headers = list[tuple[str, str]]

MAX_AGE = 60
"""Seconds that an image may be shown without asking for it anew."""

KEPT = 32
"""Documents that a worker keeps in memory: services, versions, languages and names of the host."""

STATUS = "Cache-Status"
"""Header that tells whether an answer was kept (RFC 9211)."""

HIT, STORED = "odc_bdc; hit", "odc_bdc; fwd=miss; stored"

_DOCUMENTS = frozenset({"getcapabilities", "describecoverage", "getlegendgraphic"})
_IMAGES = {"getmap": "layers", "gettile": "layer"}
_MAY_NOT = ("no-store", "no-cache", "private")


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer with status 200."""

    headers: Headers
    body: bytes

    def pack(self) -> bytes:
        """Write it into one piece."""
        head = json.dumps(self.headers).encode()
        return len(head).to_bytes(4, "big") + head + self.body

    @classmethod
    def unpack(cls, content: bytes) -> Kept:
        """Read what `pack` wrote."""
        end = 4 + int.from_bytes(content[:4], "big")
        return cls([(name, value) for name, value in json.loads(content[4:end])], content[end:])

    def get(self, name: str) -> str:
        """Give a header in small letters; empty if it is not there."""
        return next((v.lower() for n, v in self.headers if n.lower() == name), "")

    @property
    def may_be_kept(self) -> bool:
        """Whether the answer itself allows it."""
        return not any(word in self.get("cache-control") for word in _MAY_NOT)


class Images:
    """WSGI middleware that keeps maps and tiles, for all workers.

    It stands inside of what turns times into those of composites and paths into parameters, so that
    requests which mean the same find the same image, and around what checks requests.

    Parameters
    ----------
    application
        The services.
    store
        Where images are kept.
    version
        Tells what an image of a layer and some times is made of; None if nobody knows.
    """

    def __init__(
        self,
        application: WSGI,
        store: Store,
        version: Callable[[str, Sequence[str]], str | None],
    ) -> None:
        self.application = application
        self.store = store
        self.version = version

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer from what is kept; else pass the request on, and keep the answer."""
        key = self._key(environ)
        if key is None:
            return self.application(environ, start_response)
        content = self.store.get(key)
        if content is not None:
            kept = Kept.unpack(content)
            start_response("200 OK", [*kept.headers, (STATUS, HIT)])
            return [kept.body]
        status, made = _ask(self.application, environ)
        told = []
        if (
            status.startswith("200")
            and made.get("content-type").startswith("image/")
            and made.may_be_kept
            and self.store.put(key, made.pack())
        ):
            told.append((STATUS, STORED))
        start_response(status, [*made.headers, *told])
        return [made.body]

    def _key(self, environ: Mapping[str, Any]) -> bytes | None:
        asked = query_if_readable(environ)
        layer = asked and asked.get(_IMAGES.get(operation_of(asked), ""))
        if not asked or not layer or environ.get("REQUEST_METHOD", "GET") != "GET":
            return None
        version = self.version(layer, [t for t in asked.get("time").split(",") if t])
        if version is None:
            return None
        return _digest([service_of(environ, asked), sorted(asked.pairs), version])


class Caching:
    """WSGI middleware around all others: it keeps documents, and lets clients keep what they have.

    Parameters
    ----------
    application
        The services.
    version
        Tells what documents are made of; None if nobody knows, then they are not kept.
    store
        Where documents are kept for all workers; each keeps some in memory in any case.
    """

    def __init__(
        self,
        application: WSGI,
        version: Callable[[], str | None],
        store: Store | None = None,
    ) -> None:
        self.application = application
        self.version = version
        self.store = store
        self.documents: OrderedDict[bytes, Kept] = OrderedDict()
        self.lock = threading.Lock()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer from what is kept; else pass the request on, and give the answer a validator."""
        if environ.get("REQUEST_METHOD", "GET") not in {"GET", "HEAD"}:
            return self.application(environ, start_response)
        key = self._key(environ)
        kept = self._find(key) if key else None
        if kept is None:
            status, made = _ask(self.application, {**environ, "REQUEST_METHOD": "GET"})
            if not status.startswith("200") or environ.get("PATH_INFO") == "/ping":
                start_response(status, made.headers)
                return [] if environ.get("REQUEST_METHOD") == "HEAD" else [made.body]
            kept = _with_validator(made)
            if key:
                self._keep(key, kept)
        return _send(kept, environ, start_response)

    def _key(self, environ: Mapping[str, Any]) -> bytes | None:
        asked = _document(environ)
        version = self.version() if asked else None
        return _digest([asked, version]) if version is not None else None

    def _find(self, key: bytes) -> Kept | None:
        with self.lock:
            kept = self.documents.get(key)
            if kept is not None:
                self.documents.move_to_end(key)
                return kept
        content = self.store.get(key) if self.store is not None else None
        return None if content is None else self._remember(key, Kept.unpack(content))

    def _keep(self, key: bytes, kept: Kept) -> None:
        self._remember(key, kept)
        if self.store is not None:
            self.store.put(key, kept.pack())

    def _remember(self, key: bytes, kept: Kept) -> Kept:
        with self.lock:
            self.documents[key] = kept
            while len(self.documents) > KEPT:
                self.documents.popitem(last=False)
        return kept


def _document(environ: Mapping[str, Any]) -> list[Any] | None:
    """Tell the documents apart that are kept; None for other requests."""
    query = query_if_readable(environ) if len(environ.get("QUERY_STRING", "")) <= 1000 else None
    if query is None:
        return None
    path = environ.get("PATH_INFO", "/")
    if operation_of(query) not in _DOCUMENTS or protocol_of(path, query) is None:
        return None
    places = ("wsgi.url_scheme", "HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "SCRIPT_NAME")
    proxies = ("HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_PORT")
    asked = (*places, *proxies, "HTTP_X_FORWARDED_PREFIX", "HTTP_ACCEPT_LANGUAGE")
    return [path, sorted(query.pairs), *(str(environ.get(n, ""))[:200] for n in asked)]


def _digest(value: Any) -> bytes:
    return hashlib.blake2b(repr(value).encode(), digest_size=16).digest()


def _ask(application: WSGI, environ: dict[str, Any]) -> tuple[str, Kept]:
    status, headers, body = whole_answer(application, environ)
    return status, Kept(headers, body)


def _with_validator(made: Kept) -> Kept:
    mime = made.get("content-type")
    added = [("ETag", f'"{hashlib.blake2b(made.body, digest_size=12).hexdigest()}"')]
    if mime.startswith("image/") and not made.get("cache-control"):
        added.append(("Cache-Control", f"public, max-age={MAX_AGE}"))
    if "xml" in mime and not made.get("vary"):
        added.append(("Vary", "Accept-Language"))
    return Kept([*made.headers, *added], made.body)


def _send(
    kept: Kept, environ: dict[str, Any], start_response: Callable[..., Any]
) -> Iterable[bytes]:
    known = environ.get("HTTP_IF_NONE_MATCH", "")
    tags = (tag.strip().removeprefix("W/") for tag in known.split(","))
    etag = next(value for name, value in kept.headers if name == "ETag")
    if known.strip() == "*" or etag in tags:
        dropped = {"content-length", "content-type", "content-disposition"}
        start_response("304 Not Modified", [h for h in kept.headers if h[0].lower() not in dropped])
        return []
    start_response("200 OK", kept.headers)
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [kept.body]
