"""What a client asks for: the parameters of a request, and the protocol that it speaks.

Names of parameters have no case (OGC 06-121r9, 11.5.2). Of one that is given twice, the last
counts, as in datacube-ows; only ``subset`` of WCS 2 may be repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeAlias
from urllib.parse import parse_qsl, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

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
_COMMON = frozenset({"service", "version", "request", "exceptions"})
_CAPABILITIES = frozenset(
    {"acceptversions", "acceptformats", "section", "sections", "updatesequence", "format"}
)
_MAP = frozenset(
    {
        *("layers", "styles", "crs", "srs", "bbox", "width", "height", "format", "time"),
        *("transparent", "bgcolor", "code", "colorscheme", "colorscalerange"),
    }
)
_TILE = frozenset(
    {"layer", "style", "format", "tilematrixset", "tilematrix", "tilerow", "tilecol", "time"}
)
# What the standards and datacube-ows have; all else means nothing, and is not passed on.
_PARAMETERS: dict[tuple[str, str], frozenset[str]] = {
    ("WMS", "getcapabilities"): _CAPABILITIES,
    ("WMS", "getmap"): _MAP,
    ("WMS", "getfeatureinfo"): _MAP
    | {"query_layers", "info_format", "feature_count", "i", "j", "x", "y"},
    ("WMS", "getlegendgraphic"): frozenset(
        {"layer", "style", "styles", "format", "width", "height", "time"}
    ),
    ("WMTS", "getcapabilities"): _CAPABILITIES,
    ("WMTS", "gettile"): _TILE,
    ("WMTS", "getfeatureinfo"): _TILE | {"infoformat", "i", "j"},
    ("WCS", "getcapabilities"): _CAPABILITIES,
    ("WCS", "describecoverage"): frozenset({"coverage", "coverageid"}),
    ("WCS", "getcoverage"): frozenset(
        {
            *("coverage", "crs", "response_crs", "bbox", "time", "width", "height", "resx", "resy"),
            *("format", "interpolation", "measurements", "styles", "coverageid", "mediatype"),
            *("subset", "subsettingcrs", "outputcrs", "rangesubset"),
            *("scaleaxes", "scalesize", "scaleextent", "scalefactor"),
            *(
                f"geotiff:{name}"
                for name in (
                    *("compression", "jpeg_quality", "predictor", "interleave"),
                    *("tiling", "tilewidth", "tileheight"),
                )
            ),
        }
    ),
}
_WHOLE = frozenset({"width", "height", "tilematrix", "tilerow", "tilecol"})


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

    def only(self, names: Collection[str]) -> Self:
        """Give the parameters of these names.

        Examples
        --------
        >>> Query.parse("layers=a&cachebuster=17").only({"layers"}).encode()
        'layers=a'
        """
        return type(self)(tuple(pair for pair in self.pairs if pair[0] in names))

    def normal(self) -> Self:
        """Give the parameters so that requests which mean the same have the same values.

        Numbers are as Python writes them, names of services and operations in one case. Nothing
        else is changed, so that what is refused never equals what is served.

        Examples
        --------
        >>> Query.parse("width=064&request=GetMap&service=wms&bbox=1.0,2,3e0,4").normal().encode()
        'width=64&request=getmap&service=WMS&bbox=1.0%2C2.0%2C3.0%2C4.0'
        """
        return type(self)(tuple((name, _normal(name, value)) for name, value in self.pairs))

    def encode(self) -> str:
        """Write the query string."""
        return "&".join(f"{quote(key)}={quote(value, safe='')}" for key, value in self.pairs)


def _normal(name: str, value: str) -> str:
    if name == "request":
        return value.lower()
    if name == "service":
        return value.upper()
    if name in _WHOLE and value.isascii() and value.isdigit():
        return value.lstrip("0") or "0"
    if name == "bbox":
        try:
            return ",".join(str(float(part)) for part in value.split(","))
        except ValueError:
            return value
    return value


def known_parameters(protocol: Protocol, query: Query) -> frozenset[str] | None:
    """Give the names that an operation has parameters of; None if there is no such operation.

    Examples
    --------
    >>> "tilerow" in known_parameters(WMTS_100, Query.parse("request=GetTile"))
    True
    """
    known = _PARAMETERS.get((protocol.service, operation_of(query)))
    return None if known is None else known | _COMMON


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
