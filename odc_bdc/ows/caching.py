"""What a client or a worker may keep: validators of answers, and capabilities that do not change.

A worker reads the ranges of its layers when it starts, so its capabilities are the same until it
ends; a reload after `odc-bdc ows update` begins with new workers.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from odc_bdc.ows.requests import protocol_of, query_if_readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from odc_bdc.ows.requests import WSGI

    Headers = list[tuple[str, str]]

MAX_AGE = 60
"""Seconds that an image may be shown without asking for it anew."""

KEPT = 32
"""Documents that a worker keeps: services, versions, languages and names of the host."""

_DOCUMENTS = frozenset({"getcapabilities", "describecoverage"})


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer with status 200."""

    headers: Headers
    body: bytes
    etag: str


class Caching:
    """WSGI middleware around all others: it keeps documents, and lets clients keep what they have.

    Parameters
    ----------
    application
        The services.
    is_settled
        Tells whether documents stay as they are while this process lives.
    """

    def __init__(self, application: WSGI, is_settled: Callable[[], bool]) -> None:
        self.application = application
        self.is_settled = is_settled
        self.documents: OrderedDict[tuple[Any, ...], Kept] = OrderedDict()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer from what is kept; else pass the request on, and give the answer a validator."""
        if environ.get("REQUEST_METHOD", "GET") not in {"GET", "HEAD"}:
            return self.application(environ, start_response)
        key = _document_key(environ)
        kept = self.documents.get(key) if key else None
        if kept is None:
            started: list[tuple[Any, ...]] = []
            body = b"".join(
                self.application(
                    {**environ, "REQUEST_METHOD": "GET"}, lambda *args: started.append(args)
                )
            )
            status, headers = started[-1][:2]
            if not status.startswith("200") or environ.get("PATH_INFO") == "/ping":
                start_response(status, headers)
                return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]
            kept = _with_validator(headers, body)
            if key and self.is_settled():
                self._keep(key, kept)
        elif key:
            self.documents.move_to_end(key)
        return _send(kept, environ, start_response)

    def _keep(self, key: tuple[Any, ...], kept: Kept) -> None:
        self.documents[key] = kept
        while len(self.documents) > KEPT:
            self.documents.popitem(last=False)


def _document_key(environ: dict[str, Any]) -> tuple[Any, ...] | None:
    """Tell the documents apart that a worker keeps; None for other requests."""
    query = query_if_readable(environ) if len(environ.get("QUERY_STRING", "")) <= 1000 else None
    if query is None:
        return None
    path = environ.get("PATH_INFO", "/")
    if query.get("request").lower() not in _DOCUMENTS or protocol_of(path, query) is None:
        return None
    places = ("wsgi.url_scheme", "HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "SCRIPT_NAME")
    proxies = ("HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_PORT")
    asked = (*places, *proxies, "HTTP_X_FORWARDED_PREFIX", "HTTP_ACCEPT_LANGUAGE")
    return (path, tuple(sorted(query.pairs)), *(str(environ.get(n, ""))[:200] for n in asked))


def _with_validator(headers: Headers, body: bytes) -> Kept:
    etag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    lower = {name.lower(): value for name, value in headers}
    added = [("ETag", etag)]
    if lower.get("content-type", "").startswith("image/") and "cache-control" not in lower:
        added.append(("Cache-Control", f"public, max-age={MAX_AGE}"))
    if "xml" in lower.get("content-type", ""):
        added.append(("Vary", "Accept-Language"))
    return Kept([*headers, *added], body, etag)


def _send(
    kept: Kept, environ: dict[str, Any], start_response: Callable[..., Any]
) -> Iterable[bytes]:
    known = environ.get("HTTP_IF_NONE_MATCH", "")
    if known.strip() == "*" or kept.etag in (
        tag.strip().removeprefix("W/") for tag in known.split(",")
    ):
        dropped = {"content-length", "content-type", "content-disposition"}
        start_response("304 Not Modified", [h for h in kept.headers if h[0].lower() not in dropped])
        return []
    start_response("200 OK", kept.headers)
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [kept.body]
