"""Parameters of a request, as datacube-ows takes them: names in any case, the last of several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qsl, urlencode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    WSGI: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def parameters(environ: Mapping[str, Any]) -> dict[str, str]:
    """Give the parameters of a WSGI request by name in lower case.

    Examples
    --------
    >>> parameters({"QUERY_STRING": "LAYERS=a&layers=b%20c&time="})
    {'layers': 'b c', 'time': ''}
    """
    pairs = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    return {key.lower(): value for key, value in pairs}


def with_parameters(
    environ: Mapping[str, Any], changes: Mapping[str, str | None]
) -> dict[str, Any]:
    """Give a request with some parameters changed, or taken out where the value is None.

    Examples
    --------
    >>> with_parameters({"QUERY_STRING": "TIME=2019&styles=x"}, {"time": "2020", "styles": None})
    {'QUERY_STRING': 'time=2020'}
    """
    changed = {**parameters(environ), **changes}
    kept = {key: value for key, value in changed.items() if value is not None}
    return {**environ, "QUERY_STRING": urlencode(kept)}


def service_of(environ: Mapping[str, Any], asked: Mapping[str, str]) -> str:
    """Give the service that a request is for in lower case: ``wms``, ``wmts``, ``wcs`` or empty.

    Examples
    --------
    >>> service_of({"PATH_INFO": "/wmts"}, {}), service_of({"PATH_INFO": "/"}, {"service": "WMS"})
    ('wmts', 'wms')
    """
    named = asked.get("service", "").lower()
    path = str(environ.get("PATH_INFO", "")).strip("/").lower()
    return named or (path if path in {"wms", "wmts", "wcs"} else "")


def operation_of(asked: Mapping[str, str]) -> str:
    """Give the operation of a request in lower case, such as ``getmap``."""
    return asked.get("request", "").lower()
