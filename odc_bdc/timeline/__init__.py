"""Periods of time, and the timelines that cut the calendar into them.

The forms and their meaning are those of the Brazil Data Cube's ``temporal_composition`` documents
(STAC property ``bdc:temporal_composition``): *cyclic* timelines start anew with each year,
*continuous* ones run on; both may give intervals of the year instead of a step.
"""

from odc_bdc.timeline.moment import INSTANT, span_of
from odc_bdc.timeline.named import NAMED_TIMELINES, find_timeline
from odc_bdc.timeline.period import Interval, Period
from odc_bdc.timeline.rule import Schema, Timeline, Unit

__all__ = [
    "INSTANT",
    "NAMED_TIMELINES",
    "Interval",
    "Period",
    "Schema",
    "Timeline",
    "Unit",
    "find_timeline",
    "span_of",
]
