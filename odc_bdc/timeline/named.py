"""The usual timelines by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from odc_bdc.errors import UnknownNameError, did_you_mean
from odc_bdc.timeline.period import Interval
from odc_bdc.timeline.rule import Timeline

NAMED_TIMELINES = {
    "p1d": Timeline("cyclic", "day", 1),
    "p5d": Timeline("cyclic", "day", 5),
    "p8d": Timeline("cyclic", "day", 8),
    "p16d": Timeline("cyclic", "day", 16),
    "p1m": Timeline("continuous", "month", 1),
    "p2m": Timeline("cyclic", "month", 2),
    "p3m": Timeline("cyclic", "month", 3),
    "p1y": Timeline("continuous", "year", 1),
    # The example of BDC's own documents: southern summer, autumn, winter and spring.
    "bdc_seasons": Timeline(
        "continuous",
        "month",
        3,
        (
            Interval.parse("12-21_03-20", "summer"),
            Interval.parse("03-21_06-20", "autumn"),
            Interval.parse("06-21_09-21", "winter"),
            Interval.parse("09-22_12-20", "spring"),
        ),
    ),
    # EcoDataCube (Witjes et al., 2023, doi:10.7717/peerj.15478): unequal quarters by phenology.
    "ecodatacube_quarters": Timeline(
        "continuous",
        "month",
        3,
        (
            Interval.parse("12-02_03-20", "Q1"),
            Interval.parse("03-21_06-24", "Q2"),
            Interval.parse("06-25_09-12", "Q3"),
            Interval.parse("09-13_12-01", "Q4"),
        ),
    ),
}
"""The usual timelines: those of a step by ISO 8601 duration, in lower case as names of functions.

The 5 and 8 days are cyclic, as the 16 days are; for five days counted on from a day of one's own
write ``{schema: Continuous, unit: day, step: 5, start: 2016-04-03}``.
"""


def find_timeline(timeline: str | Mapping[str, Any]) -> Timeline:
    """Give a usual timeline by its name (`NAMED_TIMELINES`), or read BDC's JSON form.

    Raises
    ------
    InvalidValueError, UnknownNameError
        If it is neither; the message says what is known.
    """
    if not isinstance(timeline, str):
        return Timeline.from_dict(timeline)
    if timeline.lower() not in NAMED_TIMELINES:
        known = ", ".join(NAMED_TIMELINES)
        guess = did_you_mean(timeline.lower(), NAMED_TIMELINES)
        raise UnknownNameError(f"{timeline!r} is not a usual timeline{guess}; known: {known}")
    return NAMED_TIMELINES[timeline.lower()]
