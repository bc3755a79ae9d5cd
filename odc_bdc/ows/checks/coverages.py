"""Requests of WCS."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from dateutil.parser import parse as parse_time

from odc_bdc.ows.checks.parameters import check_size, finite_number, needed
from odc_bdc.ows.checks.places import check_box, check_crs
from odc_bdc.ows.checks.times import YEARS, check_times
from odc_bdc.ows.exceptions import INVALID, Refusal, shown
from odc_bdc.ows.requests import WCS_100

if TYPE_CHECKING:
    from odc_bdc.ows.checks.published import Published
    from odc_bdc.ows.requests import Protocol, Query


def check_describe(protocol: Protocol, query: Query, published: Published) -> Query:  # noqa: ARG001
    """Check a DescribeCoverage: WCS 2 needs a name, WCS 1.0 without one describes all.

    Raises
    ------
    Refusal
        If the name is missing.
    """
    if protocol != WCS_100:
        needed(query, "coverageid")
    return query


def check_coverage(protocol: Protocol, query: Query, published: Published) -> Query:
    """Check a GetCoverage; give it as datacube-ows is to get it.

    Raises
    ------
    Refusal
        If its place, dates or scale cannot be served.
    """
    if protocol == WCS_100:
        return _coverage_1(query, published)
    return _coverage_2(query, published)


def _coverage_1(query: Query, published: Published) -> Query:
    needed(query, "coverage")
    crs = check_crs(query, "crs", published)
    # Boxes of WCS 1.0 are x before y in every CRS (OGC 03-065r6, 8.3.2.3).
    box = check_box(query, crs, crs_order=False)
    if "response_crs" in query:
        check_crs(query, "response_crs", published)
    check_times(query, "time", published.limits.times, INVALID)
    side = published.limits.coverage_side
    if "width" in query and "height" in query:
        check_size(query, side)
    for number, name in enumerate(("resx", "resy")):
        if name not in query:
            continue
        pixel = finite_number(query, name)
        span = abs(box[number + 2] - box[number])
        if pixel <= 0 or span / pixel > side:
            raise Refusal(
                f"{name.upper()}={shown(query.get(name))} makes no coverage of 1 to {side} pixels",
                INVALID,
                name,
            )
    return query


def _coverage_2(query: Query, published: Published) -> Query:
    needed(query, "coverageid")
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
    if moment is None or moment.year not in YEARS:
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
    factor = finite_number(query, "scalefactor", "InvalidScaleFactor")
    if not _FEWEST <= factor <= 1 / _FEWEST:
        raise Refusal(
            f"SCALEFACTOR={shown(factor)} makes no coverage", "InvalidScaleFactor", "scalefactor"
        )
    if any(query.get(name) for name in ("scaleaxes", "scalesize", "scaleextent")):
        raise Refusal("give one of the scalings, not two", "InvalidScaleFactor", "scalefactor")
    return query.replace({"scalefactor": None, "scaleaxes": f"x({factor!r}),y({factor!r})"})
