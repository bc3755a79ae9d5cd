"""WSGI middleware before datacube-ows, for answers that the protocols know.

It refuses what cannot be served, and catches what goes wrong nevertheless.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from odc_bdc.ows.checks import check_legend_page, checked
from odc_bdc.ows.exceptions import INVALID, UNSUPPORTED, Answer, Refusal, answer
from odc_bdc.ows.requests import MAX_PARAMETERS, WMS_130, Protocol, Query, protocol_of, query_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from odc_bdc.ows.checks import Published
    from odc_bdc.ows.requests import WSGI

PROTOCOL = "odc_bdc.ows.protocol"
"""Key of the WSGI environment under which the request's `Protocol` stands."""

OUTAGE = "odc_bdc.ows.outage"
"""Key of the WSGI environment of a request that failed because the index was not to be reached."""

MAX_QUERY = 8000
"""Longest query string, in characters."""

_METHODS = "GET, HEAD, OPTIONS"
_LOG = logging.getLogger(__name__)


class Guard:
    """Checks requests before datacube-ows gets them.

    Parameters
    ----------
    application
        The services.
    published
        What they publish.
    headers
        Headers of every answer, as of those of datacube-ows.
    """

    def __init__(
        self, application: WSGI, published: Published, headers: dict[str, str] | None = None
    ) -> None:
        self.application = application
        self.published = published
        self.headers = headers or {}

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Pass the request on if it can be served; else answer it."""
        if environ.get("REQUEST_METHOD") == "OPTIONS":
            # A browser asks whether it may ask.
            return self.application(environ, start_response)
        protocol = protocol_of(environ.get("PATH_INFO", "/"), _beginning(environ))
        try:
            if protocol is None:
                # A page for people, a legend, a sign of life.
                check_legend_page(_query(environ), self.published)
                return self.application(environ, start_response)
            _check_method(environ)
            query = checked(protocol, _query(environ), self.published)
        except Refusal as e:
            sent = answer(protocol or WMS_130, [e])
            return _send(sent, self.headers, environ, start_response)
        inner = {**environ, "QUERY_STRING": query.encode(), PROTOCOL: protocol}
        return self._ask(inner, start_response)

    def _ask(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Ask datacube-ows; once more if a connection of before turned out to be dead.

        After a restart of the database each worker still holds connections to the old one. The
        first that fails takes all others out of the pool.
        """
        body, started = self._try(environ)
        if environ.pop(OUTAGE, False):
            close = getattr(body, "close", None)
            if close:
                close()
            body, started = self._try(environ)
        start_response(*started)
        return body

    def _try(self, environ: dict[str, Any]) -> tuple[Iterable[bytes], tuple[Any, ...]]:
        started: list[tuple[Any, ...]] = []
        body = self.application(environ, lambda *args: started.append(args))
        return body, started[-1]


class Net:
    """Catches what goes wrong in anything that it holds.

    Parameters
    ----------
    application
        The services, with all that rewrites requests and answers.
    headers
        Headers of every answer.
    """

    def __init__(self, application: WSGI, headers: dict[str, str] | None = None) -> None:
        self.application = application
        self.headers = headers or {}

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Pass the request on; an unexpected error is logged, and answered without details."""
        try:
            return self.application(environ, start_response)
        except Exception:  # noqa: BLE001 (the last net)
            _LOG.exception("unexpected error at %s", environ.get("PATH_INFO"))
            sent = answer(protocol_in(environ), [internal_error()])
            return _send(sent, self.headers, environ, start_response)


def _send(
    sent: Answer,
    headers: dict[str, str],
    environ: dict[str, Any],
    start_response: Callable[..., Any],
) -> Iterable[bytes]:
    both = {**headers, **sent.headers, "Content-Length": str(len(sent.body))}
    start_response(f"{sent.status} {HTTPStatus(sent.status).phrase}", list(both.items()))
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [sent.body]


def internal_error() -> Refusal:
    """Make the answer to a request that met an error of ours; the log says which."""
    return Refusal("Internal server error.", status=500)


def protocol_in(environ: dict[str, Any]) -> Protocol:
    """Give the protocol of a request that the guard let pass, or that never came by it."""
    known = environ.get(PROTOCOL)
    if isinstance(known, Protocol):
        return known
    return protocol_of(environ.get("PATH_INFO", "/"), _beginning(environ)) or WMS_130


def _beginning(environ: dict[str, Any]) -> Query:
    """Read the first parameters, which tell the protocol even of a request that is too long."""
    text = environ.get("QUERY_STRING", "")[:MAX_QUERY]
    return Query.parse("&".join(text.split("&")[:MAX_PARAMETERS]))


def _query(environ: dict[str, Any]) -> Query:
    if len(environ.get("QUERY_STRING", "")) > MAX_QUERY:
        raise Refusal(
            f"the request is too long: {MAX_QUERY} characters are the limit", INVALID, status=414
        )
    try:
        return query_of(environ)
    except ValueError as e:
        raise Refusal("the request has too many parameters", INVALID) from e


def _check_method(environ: dict[str, Any]) -> None:
    if environ.get("REQUEST_METHOD", "GET") not in _METHODS.split(", "):
        headers = {"Allow": _METHODS}
        raise Refusal(
            f"only {_METHODS} are served", UNSUPPORTED, "method", status=405, headers=headers
        )
