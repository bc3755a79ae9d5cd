"""What a client asks for: the parameters of a request, and the protocol that it speaks.

Names of parameters have no case (OGC 06-121r9, 11.5.2). Of one that is given twice, the last
counts, as in datacube-ows; only ``subset`` of WCS 2 may be repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeAlias
from urllib.parse import parse_qsl, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    WSGI: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

MAX_PARAMETERS = 64
"""No operation has half as many."""

_REPEATED = "subset"
_SERVICES = {"/wms": "WMS", "/wmts": "WMTS", "/wcs": "WCS"}
# A request without SERVICE says by its operation whom it is for.
_OPERATIONS = {
    **dict.fromkeys(("getmap", "getfeatureinfo", "getlegendgraphic"), "WMS"),
    **dict.fromkeys(("describecoverage", "getcoverage"), "WCS"),
    "gettile": "WMTS",
}


@dataclass(frozen=True, slots=True)
class Protocol:
    """A service and the version of it that the answer must be written in."""

    service: str
    version: str


WMS_111 = Protocol("WMS", "1.1.1")
WMS_130 = Protocol("WMS", "1.3.0")
WMTS_100 = Protocol("WMTS", "1.0.0")
WCS_100 = Protocol("WCS", "1.0.0")
WCS_201 = Protocol("WCS", "2.0.1")


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters of a request: names in small letters, with their values."""

    pairs: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a query string.

        Raises
        ------
        ValueError
            If it has more than `MAX_PARAMETERS` parameters.

        Examples
        --------
        >>> Query.parse("LAYERS=a&layers=b&x=%2B").pairs
        (('layers', 'b'), ('x', '+'))
        """
        found = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
        pairs = [(name.lower(), value) for name, value in found]
        last = {name: number for number, (name, _) in enumerate(pairs)}
        kept = (p for n, p in enumerate(pairs) if p[0] == _REPEATED or last[p[0]] == n)
        return cls(tuple(kept))

    def __contains__(self, name: str) -> bool:
        return any(key == name for key, _ in self.pairs)

    def get(self, name: str, default: str = "") -> str:
        """Give the value of a parameter, `default` if it is not there."""
        return next((value for key, value in self.pairs if key == name), default)

    def all(self, name: str) -> list[str]:
        """Give all values of a parameter that may be repeated."""
        return [value for key, value in self.pairs if key == name]

    def replace(self, values: Mapping[str, str | None]) -> Self:
        """Give the parameters with others in the place of some; None takes one out.

        Examples
        --------
        >>> Query.parse("srs=EPSG:4326&x=1").replace({"srs": None, "crs": "EPSG:4326"}).encode()
        'x=1&crs=EPSG%3A4326'
        """
        kept = [(key, value) for key, value in self.pairs if key not in values]
        added = [(key, value) for key, value in values.items() if value is not None]
        return type(self)((*kept, *added))

    def encode(self) -> str:
        """Write the query string."""
        return "&".join(f"{quote(key)}={quote(value, safe='')}" for key, value in self.pairs)


def protocol_of(path: str, query: Query) -> Protocol | None:
    """Tell the protocol of a request; None if it is for none of the services.

    The version is the one that datacube-ows answers in: it serves WMS 1.3.0 and lower, and takes
    WCS versions below 2 for 1.0.0 and others for 2.0.1.

    Examples
    --------
    >>> protocol_of("/wcs", Query.parse("version=1.1.0&request=GetCapabilities"))
    Protocol(service='WCS', version='1.0.0')
    """
    stem = path.rstrip("/") or "/"
    operation = query.get("request").lower()
    if stem == "/":
        service = query.get("service").upper() or _OPERATIONS.get(operation, "")
        if not service and "request" not in query:
            return None  # the page for people
        # What names no service that there is, is answered as the oldest of them.
        service = service if service in _SERVICES.values() else "WMS"
    elif stem in _SERVICES:
        service = _SERVICES[stem]
    else:
        return None
    version = query.get("version").strip()
    if service == "WMS":
        return WMS_111 if version.startswith(("1.0", "1.1")) else WMS_130
    if service == "WMTS":
        return WMTS_100
    return WCS_100 if version[:1] in {"0", "1"} else WCS_201


def service_of(environ: Mapping[str, Any], asked: Query | Mapping[str, str]) -> str:
    """Give the service that a request names in small letters, else that of its path, or nothing.

    Examples
    --------
    >>> service_of({"PATH_INFO": "/wmts"}, {}), service_of({"PATH_INFO": "/"}, {"service": "WMS"})
    ('wmts', 'wms')
    """
    path = "/" + str(environ.get("PATH_INFO", "")).strip("/").lower()
    return asked.get("service", "").lower() or _SERVICES.get(path, "").lower()


def operation_of(asked: Query | Mapping[str, str]) -> str:
    """Give the operation of a request in small letters, such as ``getmap``."""
    return asked.get("request", "").lower()


def query_if_readable(environ: Mapping[str, Any]) -> Query | None:
    """Read the parameters of a WSGI request; None if it has more than `MAX_PARAMETERS`."""
    try:
        return query_of(environ)
    except ValueError:
        return None


def query_of(environ: Mapping[str, Any]) -> Query:
    """Read the parameters of a WSGI request; raises as `Query.parse`."""
    return Query.parse(environ.get("QUERY_STRING", ""))
