"""Requests of WMS."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from odc_bdc.ows.checks.parameters import WHOLE, check_pixel, check_size, needed
from odc_bdc.ows.checks.places import check_box, check_crs
from odc_bdc.ows.checks.times import check_times
from odc_bdc.ows.exceptions import INVALID, Refusal, shown
from odc_bdc.ows.requests import WMS_111

if TYPE_CHECKING:
    from odc_bdc.ows.checks.published import Published
    from odc_bdc.ows.requests import Protocol, Query

_COLOUR = re.compile("0[xX][0-9A-Fa-f]{6}")


def check_map(protocol: Protocol, query: Query, published: Published) -> Query:
    """Check a GetMap; give it as one of WMS 1.3.0.

    Raises
    ------
    Refusal
        If its view or its dates cannot be served, or are too many pixels.
    """
    query = _view(protocol, query, published)
    width, height = int(query.get("width")), int(query.get("height"))
    dates = check_times(query, "time", published.limits.times)
    if width * height * dates > published.limits.pixels:
        raise Refusal(
            f"{width} x {height} pixels of {dates} dates are too many: "
            f"{published.limits.pixels} pixels in all are the limit",
            INVALID,
            "width",
        )
    colour = query.get("bgcolor")
    if colour and not _COLOUR.fullmatch(colour):
        raise Refusal(f"BGCOLOR={shown(colour)} is no colour: 0xRRGGBB is", INVALID, "bgcolor")
    return query


def _view(protocol: Protocol, query: Query, published: Published) -> Query:
    """Check what a map and a feature info have in common."""
    query = _as_130(query, published) if protocol == WMS_111 else query
    _check_styles(query, published)
    check_box(query, check_crs(query, "crs", published, "InvalidCRS"))
    check_size(query, published.limits.side)
    return query


def _check_styles(query: Query, published: Published) -> None:
    longest = published.limits.code
    if len(query.get("code")) > longest:
        raise Refusal(f"CODE is too long: {longest} characters are the limit", INVALID, "code")


def check_feature_info(protocol: Protocol, query: Query, published: Published) -> Query:
    """Check a GetFeatureInfo; give it as one of WMS 1.3.0.

    Raises
    ------
    Refusal
        If its view, dates or pixel cannot be served.
    """
    query = _view(protocol, query, published)
    check_times(query, "time", published.limits.series)
    needed(query, "query_layers")
    for name, side in (("i", "width"), ("j", "height")):
        asked = {"i": "x", "j": "y"}[name] if protocol == WMS_111 else name
        check_pixel(query, name, asked, int(query.get(side)), "InvalidPoint")
    return query


def check_legend_request(protocol: Protocol, query: Query, published: Published) -> Query:  # noqa: ARG001
    """Check a GetLegendGraphic; give it with the parameter that datacube-ows reads.

    Raises
    ------
    Refusal
        If the layer is missing, or the dates are none.
    """
    needed(query, "layer")
    check_times(query, "time", published.limits.times)
    # datacube-ows reads STYLES, the standard (OGC 05-078r4) has STYLE.
    if "style" in query and not query.get("styles"):
        query = query.replace({"styles": query.get("style"), "style": None})
    return query


def check_legend_page(query: Query, published: Published) -> None:
    """Check the parameter of a legend's own page, which is none of WMS: the number of dates.

    Raises
    ------
    Refusal
        If it is no number, or too large.
    """
    text = query.get("ndates", "0")
    if not WHOLE.fullmatch(text) or not 0 <= int(text) <= published.limits.times:
        most = published.limits.times
        raise Refusal(f"NDATES={shown(text)} is none of 0 to {most}", INVALID, "ndates")


def _as_130(query: Query, published: Published) -> Query:
    """Write a request of WMS 1.1.1 as one of 1.3.0: other names, and always x before y."""
    renamed = {"srs": "crs", "x": "i", "y": "j"}
    values: dict[str, str | None] = {"version": "1.3.0"}
    for old, new in renamed.items():
        if old in query:
            values |= {old: None, new: query.get(old)}
    served = published.crss.get(query.get("srs"))
    box = query.get("bbox").split(",")
    if served and served.latitude_first and len(box) == 4:
        values["bbox"] = ",".join(box[n] for n in (1, 0, 3, 2))
    return query.replace(values)
