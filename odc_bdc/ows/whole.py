"""Asks a WSGI application, and gives its answer when it is complete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from odc_bdc.ows.requests import WSGI


class WholeAnswer(NamedTuple):
    """What an application answered.

    Attributes
    ----------
    status
        Such as ``200 OK``.
    """

    status: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def good(self) -> bool:
        """Whether its status is 200."""
        return self.status.startswith("200")

    def without(self, *names: str) -> list[tuple[str, str]]:
        """Give the headers but some, which are named in small letters."""
        return [(name, value) for name, value in self.headers if name.lower() not in names]

    def get(self, name: str) -> str:
        """Give a header that is named in small letters; empty if it is not there."""
        return next((value for key, value in self.headers if key.lower() == name), "")


def whole_answer(application: WSGI, environ: dict[str, Any]) -> WholeAnswer:
    """Ask an application for all that it answers; what it raises is raised."""
    started: list[tuple[Any, ...]] = []

    def start(*given: Any) -> Any:
        started.append(given)
        return lambda _: None

    answer = application(environ, start)
    try:
        body = b"".join(answer)
    finally:
        getattr(answer, "close", lambda: None)()
    # An application that fails half-way may start a second time.
    status, headers = started[-1][:2]
    return WholeAnswer(status, list(headers), body)
