"""Requests that datacube-ows would answer with an internal error, a wrong image, or not in time.

`checked` looks at the parameters of a request before datacube-ows does, and refuses what cannot be
served, in words and codes of the standard. What datacube-ows refuses well by itself (unknown names
of layers, styles and formats) is left to it. Some requests are written anew, so that datacube-ows
understands them as the standard means them: WMS 1.1.1, ``SCALEFACTOR`` of WCS 2.0, ``STYLE`` of
GetLegendGraphic.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from dateutil.parser import parse as parse_time
from pyproj import Transformer

from odc_bdc.ows.exceptions import INVALID, MISSING, UNSUPPORTED, Refusal, shown
from odc_bdc.ows.requests import WCS_100, WMS_111

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt
    from odc.geo.crs import CRS

    from odc_bdc.ows.requests import Protocol, Query

_WORDS = frozenset({"", "now", "current", "present", "latest"})
_DURATION = re.compile(
    r"P(?=[\dT])(\d{1,3}Y)?(\d{1,4}M)?(\d{1,4}W)?(\d{1,5}D)?(T(\d{1,4}H)?(\d{1,4}M)?(\d{1,5}S)?)?"
)
_YEARS = range(1900, 2101)
_WHOLE = re.compile(r"\s*[+-]?\d{1,12}\s*", re.ASCII)
_VERSIONS = {
    "WMS": ("1.1.1", "1.3.0"),
    "WMTS": ("1.0.0",),
    "WCS": ("1.0.0", "2.0.0", "2.0.1", "2.1.0"),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for.

    Attributes
    ----------
    side
        Width and height of an image, in pixels.
    pixels
        Pixels of an image times its dates, each of which is computed on.
    coverage_side
        Width and height of a coverage; its bytes are limited by the configuration of its layer.
    times, series
        Dates in a list; of a feature info, which computes one pixel of each.
    code
        Characters of an expression (``CODE``), where the configuration allows them at all.
    """

    side: int = 4096
    pixels: int = 4096 * 4096
    coverage_side: int = 2**16
    times: int = 64
    series: int = 250
    code: int = 200


@dataclass(frozen=True, slots=True)
class PublishedCrs:
    """A CRS of the services, and whether the standards order its axes latitude first."""

    crs: CRS
    latitude_first: bool = False


@dataclass(frozen=True, slots=True)
class PublishedTiles:
    """A tile matrix set: rows and columns of each level, and width and height of a tile."""

    levels: Sequence[tuple[int, int]]
    size: tuple[int, int] = (256, 256)


@dataclass(frozen=True, slots=True)
class Published:
    """What the services have that a check must know.

    Attributes
    ----------
    crss
        By the names that clients use.
    tiles
        The tile matrix sets by their names.
    limits
        What one request may ask for.
    """

    crss: Mapping[str, PublishedCrs]
    tiles: Mapping[str, PublishedTiles] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)


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


def _as_asked(protocol: Protocol, query: Query, published: Published) -> Query:  # noqa: ARG001
    return query


def _map(protocol: Protocol, query: Query, published: Published) -> Query:
    query = _view(protocol, query, published)
    width, height = int(query.get("width")), int(query.get("height"))
    dates = _check_times(query, "time", published.limits.times)
    if width * height * dates > published.limits.pixels:
        raise Refusal(
            f"{width} x {height} pixels of {dates} dates are too many: "
            f"{published.limits.pixels} pixels in all are the limit",
            INVALID,
            "width",
        )
    return query


def _view(protocol: Protocol, query: Query, published: Published) -> Query:
    """Check what a map and a feature info have in common."""
    query = _as_130(query, published) if protocol == WMS_111 else query
    _check_styles(query, published)
    _check_box(query, _crs(query, "crs", published, "InvalidCRS"))
    _size(query, published.limits.side)
    return query


def _feature_info(protocol: Protocol, query: Query, published: Published) -> Query:
    query = _view(protocol, query, published)
    _check_times(query, "time", published.limits.series)
    _needed(query, "query_layers")
    for name, side in (("i", "width"), ("j", "height")):
        asked = {"i": "x", "j": "y"}[name] if protocol == WMS_111 else name
        _check_pixel(query, name, asked, int(query.get(side)), "InvalidPoint")
    return query


def _legend(protocol: Protocol, query: Query, published: Published) -> Query:  # noqa: ARG001
    _needed(query, "layer")
    _check_times(query, "time", published.limits.times)
    # datacube-ows reads STYLES, the standard (OGC 05-078r4) has STYLE.
    if "style" in query and not query.get("styles"):
        query = query.replace({"styles": query.get("style"), "style": None})
    return query


def check_legend(query: Query, published: Published) -> None:
    """Check the parameter of a legend's own page, which is none of WMS: the number of dates.

    Raises
    ------
    Refusal
        If it is no number, or too large.
    """
    text = query.get("ndates", "0")
    if not _WHOLE.fullmatch(text) or not 0 <= int(text) <= published.limits.times:
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


def _tile(protocol: Protocol, query: Query, published: Published) -> Query:  # noqa: ARG001
    for name in ("layer", "format", "tilematrixset", "tilematrix", "tilerow", "tilecol"):
        _needed(query, name)
    if "style" not in query:
        raise Refusal("STYLE is missing: give one, or none for the default", MISSING, "style")
    _check_times(query, "time", published.limits.times)
    tiles = published.tiles.get(query.get("tilematrixset"))
    if tiles is None:
        raise Refusal(
            f"tile matrix set {shown(query.get('tilematrixset'))} is not served: "
            f"{', '.join(published.tiles)} are",
            INVALID,
            "tilematrixset",
        )
    level, levels = query.get("tilematrix"), tiles.levels
    if not _WHOLE.fullmatch(level) or not 0 <= int(level) < len(levels):
        raise Refusal(
            f"tile matrix {shown(level)} does not exist: 0 to {len(levels) - 1} do",
            INVALID,
            "tilematrix",
        )
    for name, count in zip(("tilerow", "tilecol"), levels[int(level)], strict=True):
        number = _whole(query, name)
        if not 0 <= number < count:
            raise Refusal(
                f"{name.upper()} {shown(number)} does not exist: 0 to {count - 1} do",
                "TileOutOfRange",
                name,
            )
    return query


def _tile_info(protocol: Protocol, query: Query, published: Published) -> Query:
    query = _tile(protocol, query, published)
    size = published.tiles[query.get("tilematrixset")].size
    for name, side in zip(("i", "j"), size, strict=True):
        _check_pixel(query, name, name, side, "PointIJOutOfRange")
    return query


def _describe(protocol: Protocol, query: Query, published: Published) -> Query:  # noqa: ARG001
    if protocol != WCS_100:
        _needed(query, "coverageid")
    return query


def _coverage(protocol: Protocol, query: Query, published: Published) -> Query:
    if protocol == WCS_100:
        return _coverage_1(query, published)
    return _coverage_2(query, published)


def _coverage_1(query: Query, published: Published) -> Query:
    _needed(query, "coverage")
    crs = _crs(query, "crs", published)
    # Boxes of WCS 1.0 are x before y in every CRS (OGC 03-065r6, 8.3.2.3).
    box = _check_box(query, crs, crs_order=False)
    if "response_crs" in query:
        _crs(query, "response_crs", published)
    _check_times(query, "time", published.limits.times, INVALID)
    side = published.limits.coverage_side
    if "width" in query and "height" in query:
        _size(query, side)
    for number, name in enumerate(("resx", "resy")):
        if name not in query:
            continue
        pixel = _number(query, name)
        span = abs(box[number + 2] - box[number])
        if pixel <= 0 or span / pixel > side:
            raise Refusal(
                f"{name.upper()}={shown(query.get(name))} makes no coverage of 1 to {side} pixels",
                INVALID,
                name,
            )
    return query


def _coverage_2(query: Query, published: Published) -> Query:
    _needed(query, "coverageid")
    for name in ("subsettingcrs", "outputcrs"):
        if len(query.get(name)) > 1000:
            raise Refusal(f"{name.upper()} is too long for a CRS", "NotACrs", name)
    for subset in query.all("subset"):
        _check_subset(subset)
    for name in ("scaleaxes", "scalesize", "scaleextent"):
        _check_scales(query, name, published.limits.coverage_side)
    return _with_scale_factor(query)


_SUBSET = re.compile(r"\s*(\w+)\s*(?:,[^(]*)?\(([^,()]*)(?:,([^,()]*))?\)\s*", re.ASCII)


def _check_subset(text: str) -> None:
    match = _SUBSET.fullmatch(text)
    if not match:
        raise Refusal(
            f"SUBSET={shown(text)} is none: axis(value) or axis(low,high)",
            "InvalidSubsetting",
            "subset",
        )
    axis, *parts = match.groups()
    values = [part for part in parts if part is not None]
    if axis.lower() == "time":
        ends = [_time_of(value.strip('"'), axis) for value in values if value != "*"]
        if any(not v.startswith('"') and v != "*" for v in values):
            raise Refusal('times stand in quotes: time("2020-01-01")', "InvalidSubsetting", axis)
    else:
        ends = [_axis_number(value, axis) for value in values if value != "*"]
        if len(ends) < len(values):
            raise Refusal(f"give both ends of {axis}", "InvalidSubsetting", axis)
    if len(values) == 2 and len(ends) == 2 and not ends[0] <= ends[1]:
        raise Refusal(f"{axis}: the low end is above the high one", "InvalidSubsetting", axis)


def _time_of(text: str, axis: str) -> float:
    try:
        moment = parse_time(text)
    except (ValueError, OverflowError, TypeError):
        moment = None
    if moment is None or moment.year not in _YEARS:
        raise Refusal(f"{shown(text)} is no ISO 8601 time", "InvalidSubsetting", axis)
    return moment.toordinal() + (moment.hour * 60 + moment.minute) / 1440


def _axis_number(text: str, axis: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Refusal(f"{axis}: {shown(text)} is no number", "InvalidSubsetting", axis)
    return value


_SCALE = re.compile(r"\s*(\w+)\s*\(([^()]*)\)\s*", re.ASCII)
_FEWEST = 1e-9


def _check_scales(query: Query, name: str, side: int) -> None:
    """Check SCALEAXES, SCALESIZE or SCALEEXTENT (OGC 12-039)."""
    if not query.get(name):
        return
    code = "InvalidExtent" if name == "scaleextent" else "InvalidScaleFactor"
    for part in query.get(name).split(","):
        match = _SCALE.fullmatch(part)
        numbers = match[2].split(":") if match else []
        try:
            values = [float(n) for n in numbers]
        except ValueError:
            values = []
        wanted = 2 if name == "scaleextent" else 1
        size = values[-1] - (values[0] if wanted == 2 else 0) if len(values) == wanted else math.nan
        most = side if name != "scaleaxes" else 1 / _FEWEST
        if not _FEWEST <= size <= most:
            raise Refusal(f"{name.upper()}={shown(part)} makes no coverage", code, name)


def _with_scale_factor(query: Query) -> Query:
    """Write SCALEFACTOR, which datacube-ows passes over, as SCALEAXES of both axes."""
    if not query.get("scalefactor"):
        return query
    factor = _number(query, "scalefactor", "InvalidScaleFactor")
    if not _FEWEST <= factor <= 1 / _FEWEST:
        raise Refusal(
            f"SCALEFACTOR={shown(factor)} makes no coverage", "InvalidScaleFactor", "scalefactor"
        )
    if any(query.get(name) for name in ("scaleaxes", "scalesize", "scaleextent")):
        raise Refusal("give one of the scalings, not two", "InvalidScaleFactor", "scalefactor")
    return query.replace({"scalefactor": None, "scaleaxes": f"x({factor!r}),y({factor!r})"})


def _needed(query: Query, name: str) -> str:
    value = query.get(name)
    if not value:
        raise Refusal(f"{name.upper()} is missing", MISSING, name)
    return value


def _number(query: Query, name: str, code: str = INVALID) -> float:
    text = _needed(query, name)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Refusal(f"{name.upper()}={shown(text)} is no number", code, name)
    return value


def _whole(query: Query, name: str, code: str = INVALID) -> int:
    text = _needed(query, name)
    if not _WHOLE.fullmatch(text):
        raise Refusal(f"{name.upper()}={shown(text)} is no whole number", code, name)
    return int(text)


def _check_pixel(query: Query, name: str, asked: str, side: int, code: str) -> None:
    if name not in query:
        raise Refusal(f"{asked.upper()} is missing", MISSING, asked)
    text = query.get(name)
    if not _WHOLE.fullmatch(text) or not 0 <= int(text) < side:
        raise Refusal(f"{asked.upper()}={shown(text)} lies outside: 0 to {side - 1}", code, asked)


def _size(query: Query, side: int) -> tuple[int, int]:
    sizes = []
    for name in ("width", "height"):
        value = _whole(query, name)
        if not 1 <= value <= side:
            raise Refusal(f"{name.upper()}={value} is not served: 1 to {side} are", INVALID, name)
        sizes.append(value)
    return sizes[0], sizes[1]


def _check_styles(query: Query, published: Published) -> None:
    longest = published.limits.code
    if len(query.get("code")) > longest:
        raise Refusal(f"CODE is too long: {longest} characters are the limit", INVALID, "code")


def _crs(query: Query, name: str, published: Published, code: str = INVALID) -> PublishedCrs:
    text = _needed(query, name)
    if text not in published.crss:
        raise Refusal(
            f"CRS {shown(text)} is not published: the capabilities list those that are",
            code,
            name,
        )
    return published.crss[text]


def _check_box(
    query: Query, served: PublishedCrs, *, crs_order: bool = True
) -> tuple[float, float, float, float]:
    """Check a box; give it as xmin, ymin, xmax, ymax."""
    parts = _needed(query, "bbox").split(",")
    try:
        values = tuple(float(part) for part in parts)
    except ValueError:
        values = ()
    if len(values) != 4 or not all(map(math.isfinite, values)):
        text = shown(",".join(parts))
        raise Refusal(f"BBOX={text} is no box: four numbers are", INVALID, "bbox")
    if values[0] >= values[2] or values[1] >= values[3]:
        raise Refusal("BBOX has no area: minima come first", INVALID, "bbox")
    swap = crs_order and served.latitude_first
    xmin, ymin, xmax, ymax = (values[n] for n in ((1, 0, 3, 2) if swap else (0, 1, 2, 3)))
    if not _on_earth(served.crs, (xmin, ymin, xmax, ymax)):
        raise Refusal("BBOX lies where its CRS shows nothing of the Earth", INVALID, "bbox")
    return xmin, ymin, xmax, ymax


def _on_earth(crs: CRS, box: tuple[float, float, float, float]) -> bool:
    """Tell whether a CRS shows anything of the Earth in a box: of 9 x 9 points of it, any."""
    if max(map(abs, box)) > 1e9:
        return False
    x, y = (v.ravel() for v in np.meshgrid(*(np.linspace(box[n], box[n + 2], 9) for n in (0, 1))))
    lon, lat = _to_degrees(str(crs))(x, y)
    inside = np.isfinite(lon) & np.isfinite(lat) & (np.abs(lat) <= 90) & (np.abs(lon) <= 360)
    return bool(inside.any())


@lru_cache(maxsize=64)
def _to_degrees(crs: str) -> Callable[..., tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    return Transformer.from_crs(crs, "OGC:CRS84", always_xy=True).transform


def _check_times(query: Query, name: str, limit: int, code: str = "InvalidDimensionValue") -> int:
    """Check a list of times; give how many there are."""
    items = query.get(name).split(",")
    if len(items) > limit:
        raise Refusal(f"{len(items)} times are too many: {limit} are the limit", code, name)
    for item in items:
        if not _is_time_or_range(item):
            raise Refusal(
                f"{shown(item)} is no time: a date as 2020-01-31, start/end, or a list", code, name
            )
    return len(items)


def _is_time_or_range(item: str) -> bool:
    first, *ends = item.split("/")
    if not ends:
        return first.lower() in _WORDS or _is_time(first)
    lasting = [bool(_DURATION.fullmatch(part)) for part in (first, ends[0])]
    bounds = all(
        part.lower() == "present" or is_long or _is_time(part)
        for part, is_long in zip((first, ends[0]), lasting, strict=True)
    )
    # What follows two bounds is the step of a period.
    return bounds and not all(lasting) and all(map(_DURATION.fullmatch, ends[1:])) and len(ends) < 3


def _is_time(text: str) -> bool:
    if len(text) > 40:
        return False
    try:
        return parse_time(text).year in _YEARS
    except (ValueError, OverflowError, TypeError):
        return False


_CHECKS: dict[tuple[str, str], Callable[[Protocol, Query, Published], Query]] = {
    ("WMS", "getcapabilities"): _capabilities,
    ("WMS", "getmap"): _map,
    ("WMS", "getfeatureinfo"): _feature_info,
    ("WMS", "getlegendgraphic"): _legend,
    ("WMTS", "getcapabilities"): _capabilities,
    ("WMTS", "gettile"): _tile,
    ("WMTS", "getfeatureinfo"): _tile_info,
    ("WCS", "getcapabilities"): _capabilities,
    ("WCS", "describecoverage"): _describe,
    ("WCS", "getcoverage"): _coverage,
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
