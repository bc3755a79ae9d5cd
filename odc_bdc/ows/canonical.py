"""The outermost piece of the application: one form of a request, before anything decides on it.

A path is written in one way, and what is at none of the known places is not there. The host is one
of those that the services are configured with, the language one of those that there are, and
parameters that no operation knows are gone. So what checks, keeps and answers requests sees the
same request, and nobody makes entries of caches with headers and parameters that mean nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from odc_bdc.ows.guard import MAX_QUERY
from odc_bdc.ows.languages import language_of
from odc_bdc.ows.requests import Query, known_parameters, protocol_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from odc_bdc.ows.requests import WSGI

MAX_PATH = 1000
"""Longest path, in characters: that of a RESTful tile has 200."""

_SERVICES = frozenset({"/wms", "/wmts", "/wcs"})
_PLACES = re.compile(r"/|/ping|/wmts/1\.0\.0/.+|/page/.+|/legend/[^/]+/[^/]+/legend\.png")
# A proxy keeps them from strangers by their name, so they have no other one.
_FOR_THE_OPERATOR = frozenset({"/health", "/metrics"})
# Parameters of what is none of the services.
_OWN = {"/": frozenset({"lang"}), "/legend": frozenset({"ndates"})}
_LONGEST_WISH = 200
_FORWARDED = "HTTP_X_FORWARDED_"
_NOT_FOUND = b"There is nothing here: the services are at /wms, /wmts and /wcs.\n"


class Canonical:
    """WSGI middleware that passes each request on in its canonical form.

    Parameters
    ----------
    application
        The services, with all that is around them.
    urls
        Base URLs that the services may advertise, the public one first. A request for any other
        host is one for the first.
    headers
        Headers of every answer.
    """

    def __init__(
        self, application: WSGI, urls: Sequence[str], headers: dict[str, str] | None = None
    ) -> None:
        self.application = application
        hosts = (urlsplit(url).netloc.lower() for url in urls)
        self.hosts = [host for host in hosts if host]
        self.headers = headers or {}

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Pass a request on; answer 404 to one for a place that there is not."""
        mounted = bool(environ.get("SCRIPT_NAME")) and not environ.get("PATH_INFO")
        path = "" if mounted else canonical_path(str(environ.get("PATH_INFO", "")))
        if path is None:
            return self._not_found(environ, start_response)
        # Where a proxy says that it got the request is nothing to the services: `urls` tells.
        inner = {key: value for key, value in environ.items() if not key.startswith(_FORWARDED)}
        inner.pop("HTTP_FORWARDED", None)
        inner |= {"PATH_INFO": path, "QUERY_STRING": canonical_query(path, environ)}
        if self.hosts:
            asked = str(environ.get("HTTP_HOST", "")).lower()
            inner["HTTP_HOST"] = asked if asked in self.hosts else self.hosts[0]
        wish = str(environ.get("HTTP_ACCEPT_LANGUAGE", ""))[:_LONGEST_WISH]
        inner["HTTP_ACCEPT_LANGUAGE"] = language_of({"HTTP_ACCEPT_LANGUAGE": wish})
        return self.application(inner, start_response)

    def _not_found(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        told = {
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Length": str(len(_NOT_FOUND)),
            "Cache-Control": "no-store",
        }
        start_response("404 Not Found", list({**self.headers, **told}.items()))
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [_NOT_FOUND]


def canonical_path(path: str) -> str | None:
    """Give the one form of a path that has been percent-decoded; None if nothing is there.

    Repeated slashes are one, ``.`` and ``..`` are followed (RFC 3986, 5.2.4), and a slash at the
    end of a service is left out. Case, dots and parameters of segments count, and what is for the
    operator is found under its very name only.

    Examples
    --------
    >>> [canonical_path(p) for p in ("//wms", "/./wms/", "/page/../wcs", "/", "/WMS", "/wms;a=1")]
    ['/wms', '/wms', '/wcs', '/', None, None]
    >>> [canonical_path(p) for p in ("/metrics", "//metrics", "/metrics/")]
    ['/metrics', None, None]
    """
    if path in _FOR_THE_OPERATOR:
        return path
    if not path.startswith("/") or len(path) > MAX_PATH:
        return None
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            kept = kept[:-1]
        elif segment not in {"", "."}:
            kept.append(segment)
    found = "/" + "/".join(kept)
    if found in _SERVICES:
        return found
    if kept and path.endswith("/"):
        found += "/"
    return found if _PLACES.fullmatch(found) else None


def canonical_query(path: str, environ: dict[str, Any]) -> str:
    """Give the query string of a request in one form, without what means nothing at its path.

    What is too long or cannot be read, and what asks for an operation that there is not, stays as
    it is: it will
    be refused in the words of its protocol.
    """
    text = str(environ.get("QUERY_STRING", ""))
    if len(text) > MAX_QUERY:
        return text
    try:
        query = Query.parse(text)
    except ValueError:
        return text
    protocol = protocol_of(path, query)
    if protocol is None:
        place = "/legend" if path.startswith("/legend/") else path
        return query.only(_OWN.get(place, frozenset())).encode()
    known = known_parameters(protocol, query)
    return text if known is None else query.only(known).normal().encode()
