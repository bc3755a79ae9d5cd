"""WSGI middleware that lets clients request any time inside a composite's period."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from odc_bdc.errors import InvalidValueError
from odc_bdc.ows.exceptions import shown
from odc_bdc.ows.requests import operation_of, query_if_readable, service_of
from odc_bdc.ows.times import Chosen, choose, choose_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from odc_bdc.ows.requests import WSGI, Query
    from odc_bdc.timeline import Period

_LAYER = {"getmap": "layers", "gettile": "layer", "getcoverage": "coverage"}
"""Parameter that names the layer, by operation."""

_INFO = "getfeatureinfo"

MAX_SERIES = 250
"""Images that a feature info may be of: ten years of 16 days. Each has all its bands read."""


class TimeAxis:
    """Turns the time of a request into the first days of composites (`odc_bdc.ows.times`).

    In a feature info a range means all composites in it: the answer is a time series.
    """

    def __init__(
        self, application: WSGI, periods: Callable[[str], Sequence[Period] | None]
    ) -> None:
        """Wrap an application.

        Parameters
        ----------
        periods
            Gives the periods of a layer by its name, in order; None if there is no such layer.
        """
        self.application = application
        self.periods = periods

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Pass the request on with its time rewritten, and tell of it in the answer's header."""
        asked = query_if_readable(environ)
        periods = asked and self._periods(environ, asked)
        if not asked or not periods:
            return self.application(environ, start_response)
        changes, warnings = rewrite(asked, periods)

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            told = [("Warning", warning) for warning in warnings] if status < "3" else []
            return start_response(status, [*headers, *told], *more)

        if changes:
            environ = {**environ, "QUERY_STRING": asked.replace(changes).encode()}
        return self.application(environ, start)

    def _periods(self, environ: Mapping[str, Any], asked: Query) -> Sequence[Period] | None:
        operation = operation_of(asked)
        if operation == _INFO:
            key = "layer" if service_of(environ, asked) == "wmts" else "query_layers"
        elif operation in _LAYER:
            key = _LAYER[operation]
        else:
            return None
        return self.periods(asked.get(key, ""))


def rewrite(
    asked: Query | Mapping[str, str], periods: Sequence[Period]
) -> tuple[dict[str, str | None], list[str]]:
    """Give the parameters that change, and the warnings of WMS 1.3.0, C.4.2, for the answer.

    Parameters
    ----------
    asked
        Parameters of a request for a layer.
    periods
        Of the layer.
    """
    requested = asked.get("time", "").strip()
    if not requested:
        if operation_of(asked) == "getcoverage":
            return {}, []
        return {}, [f"99 Default value used: time={periods[-1].start} ISO8601"]
    try:
        if operation_of(asked) == _INFO:
            return _series(_bounded(choose_all(periods, requested))), []
        chosen = choose(periods, requested)
    except InvalidValueError as e:
        # datacube-ows answers with InvalidDimensionValue, which quotes what it was given; so the
        # reason is put there, without what it would take for another time.
        reason = str(e).replace("/", " to ").replace(",", ";")
        return {
            "time": f"{shown(requested, 40)} ({reason})".replace("/", " to ").replace(",", " ")
        }, []
    starts = [str(c.period.start) for c in chosen]
    if len(set(starts)) < len(starts):
        same = f"{shown(requested, 40)} (two of these times mean the same image)"
        return {"time": same.replace("/", " to ").replace(",", " ")}, []
    return {"time": ",".join(starts)}, [_nearest(c) for c in chosen if c.nearest]


def _bounded(periods: list[Period]) -> list[Period]:
    if len(periods) > MAX_SERIES:
        raise InvalidValueError(f"{len(periods)} images are in it, of {MAX_SERIES} allowed")
    return periods


def _series(periods: Sequence[Period]) -> dict[str, str | None]:
    times = {"time": ",".join(str(p.start) for p in periods)}
    # A style would have to allow for as many times, though a feature info needs none.
    return times | ({"styles": None, "style": None} if len(periods) > 1 else {})


def _nearest(chosen: Chosen) -> str:
    return f"99 Nearest value used: time={chosen.period.start} ISO8601"
