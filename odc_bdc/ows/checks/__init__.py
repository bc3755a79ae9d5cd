"""Requests that datacube-ows would answer with an internal error, a wrong image, or not in time.

`checked` looks at the parameters of a request before datacube-ows does, and refuses what cannot be
served, in words and codes of the standard. What datacube-ows refuses well by itself (unknown names
of layers, styles and formats) is left to it. Some requests are written anew, so that datacube-ows
understands them as the standard means them: WMS 1.1.1, ``SCALEFACTOR`` of WCS 2.0, ``STYLE`` of
GetLegendGraphic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from odc_bdc.ows.checks.coverages import check_coverage, check_describe
from odc_bdc.ows.checks.maps import (
    check_feature_info,
    check_legend_page,
    check_legend_request,
    check_map,
)
from odc_bdc.ows.checks.published import Limits, Published, PublishedCrs, PublishedTiles
from odc_bdc.ows.checks.tiles import check_tile, check_tile_info
from odc_bdc.ows.exceptions import INVALID, MISSING, UNSUPPORTED, Refusal, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from odc_bdc.ows.requests import Protocol, Query

__all__ = [
    "Limits",
    "Published",
    "PublishedCrs",
    "PublishedTiles",
    "check_legend_page",
    "checked",
]

_VERSIONS = {
    "WMS": ("1.1.1", "1.3.0"),
    "WMTS": ("1.0.0",),
    "WCS": ("1.0.0", "2.0.0", "2.0.1", "2.1.0"),
}


def checked(protocol: Protocol, query: Query, published: Published) -> Query:
    """Check the parameters of a request; give them as datacube-ows is to get them.

    Raises
    ------
    Refusal
        If it cannot be served.
    """
    service = query.get("service").upper()
    if service and service != protocol.service:
        raise Refusal(
            f"SERVICE={shown(service)} is not served here: {protocol.service} is",
            INVALID,
            "service",
        )
    # Statistics are for developers: they double the work, and show ids and products.
    query = query.replace({"ows_stats": None, "service": protocol.service})
    operation = query.get("request").lower()
    if not operation:
        raise Refusal("REQUEST is missing: give an operation", MISSING, "request")
    check = _CHECKS.get((protocol.service, operation))
    if check is None:
        known = ", ".join(_NAMES[o] for s, o in _CHECKS if s == protocol.service)
        raise Refusal(
            f"{protocol.service} has no operation {shown(query.get('request'))}: it has {known}",
            UNSUPPORTED,
            "request",
        )
    if operation != "getcapabilities":
        _check_version(protocol, query)
    return check(protocol, query, published)


def _check_version(protocol: Protocol, query: Query) -> None:
    known, version = _VERSIONS[protocol.service], query.get("version").strip()
    if not version:
        # datacube-ows has always taken a tile's or a legend's version for granted.
        if protocol.service == "WMTS" or query.get("request").lower() == "getlegendgraphic":
            return
        raise Refusal(f"VERSION is missing: give one of {', '.join(known)}", MISSING, "version")
    if version not in known:
        raise Refusal(
            f"version {shown(version)} is not served: {', '.join(known)} are", INVALID, "version"
        )


def _capabilities(protocol: Protocol, query: Query, published: Published) -> Query:  # noqa: ARG001
    accepted = [v for v in query.get("acceptversions").split(",") if v]
    if accepted and not set(accepted) & set(_VERSIONS[protocol.service]):
        known = ", ".join(_VERSIONS[protocol.service])
        raise Refusal(
            f"none of the accepted versions is served: {known}", "VersionNegotiationFailed"
        )
    # WCS 2 would read them once more, and stumble over what is no number.
    return query.replace({"acceptversions": None, "acceptformats": None})


_CHECKS: dict[tuple[str, str], Callable[[Protocol, Query, Published], Query]] = {
    ("WMS", "getcapabilities"): _capabilities,
    ("WMS", "getmap"): check_map,
    ("WMS", "getfeatureinfo"): check_feature_info,
    ("WMS", "getlegendgraphic"): check_legend_request,
    ("WMTS", "getcapabilities"): _capabilities,
    ("WMTS", "gettile"): check_tile,
    ("WMTS", "getfeatureinfo"): check_tile_info,
    ("WCS", "getcapabilities"): _capabilities,
    ("WCS", "describecoverage"): check_describe,
    ("WCS", "getcoverage"): check_coverage,
}
_NAMES = {
    "getcapabilities": "GetCapabilities",
    "getmap": "GetMap",
    "getfeatureinfo": "GetFeatureInfo",
    "getlegendgraphic": "GetLegendGraphic",
    "gettile": "GetTile",
    "describecoverage": "DescribeCoverage",
    "getcoverage": "GetCoverage",
}
