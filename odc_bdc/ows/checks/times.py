"""Times: lists of dates, ranges and durations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dateutil.parser import parse as parse_time

from odc_bdc.ows.exceptions import Refusal, shown

if TYPE_CHECKING:
    from odc_bdc.ows.requests import Query

_WORDS = frozenset({"", "now", "current", "present", "latest"})
_DURATION = re.compile(
    r"P(?=[\dT])(\d{1,3}Y)?(\d{1,4}M)?(\d{1,4}W)?(\d{1,5}D)?(T(\d{1,4}H)?(\d{1,4}M)?(\d{1,5}S)?)?"
)
YEARS = range(1900, 2101)


def check_times(query: Query, name: str, limit: int, code: str = "InvalidDimensionValue") -> int:
    """Check a list of times; give how many there are.

    Raises
    ------
    Refusal
        If there are more than `limit`, or one is no time.
    """
    items = query.get(name).split(",")
    if len(items) > limit:
        raise Refusal(f"{len(items)} times are too many: {limit} are the limit", code, name)
    for item in items:
        if not _is_time_or_range(item):
            raise Refusal(
                f"{shown(item, 300)} is no time: a date as 2020-01-31, start/end, or a list",
                code,
                name,
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
        return parse_time(text).year in YEARS
    except (ValueError, OverflowError, TypeError):
        return False
