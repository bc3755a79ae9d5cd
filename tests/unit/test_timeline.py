"""Timelines against the lists of the Brazil Data Cube's own builder."""

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odc_bdc import OdcBdcError, Period, Timeline
from odc_bdc.timeline import NAMED_TIMELINES

CYCLIC = {"schema": "Cyclic", "step": "16", "unit": "day", "cycle": {"unit": "year", "step": 1}}
SEASONS = ["12-21_03-20", "03-21_06-20", "06-21_09-21", "09-22_12-20"]
YEAR_2019 = (date(2019, 1, 1), date(2019, 12, 31))
YEAR_2020 = (date(2020, 1, 1), date(2020, 12, 31))


def starts(doc, begin, end):
    return [f"{p.start:%m-%d}" for p in Timeline.from_dict(doc).periods(begin, end)]


def test_cyclic_16_days_of_2019_and_2020():
    assert " ".join(starts(CYCLIC, *YEAR_2019)) == (
        "01-01 01-17 02-02 02-18 03-06 03-22 04-07 04-23 05-09 05-25 06-10 06-26 07-12 07-28 08-13 "
        "08-29 09-14 09-30 10-16 11-01 11-17 12-03 12-19"
    )
    assert " ".join(starts(CYCLIC, *YEAR_2020)) == (
        "01-01 01-17 02-02 02-18 03-05 03-21 04-06 04-22 05-08 05-24 06-09 06-25 07-11 07-27 08-12 "
        "08-28 09-13 09-29 10-15 10-31 11-16 12-02 12-18"
    )


def test_last_cyclic_period_is_short():
    timeline = Timeline.from_dict(CYCLIC)
    assert timeline.period_of(date(2019, 12, 25)) == Period(date(2019, 12, 19), date(2019, 12, 31))
    assert timeline.period_of(date(2020, 12, 31)) == Period(date(2020, 12, 18), date(2020, 12, 31))


@pytest.mark.parametrize(
    ("doc", "begin", "end", "first", "last", "n"),
    [
        (CYCLIC, "2020-06-15", "2020-12-31", "2020-06-25 2020-07-10", "2020-12-18 2020-12-31", 12),
        (CYCLIC, "2019-01-01", "2019-02-10", "2019-01-01 2019-01-16", "2019-02-02 2019-02-17", 3),
        (
            {"schema": "continuous", "step": 16, "unit": "day"},
            *("2019-01-01", "2019-12-31", "2019-01-01 2019-01-16", "2019-12-19 2020-01-03", 23),
        ),
        (
            {"schema": "Continuous", "step": 1, "unit": "month"},
            *("2019-01-15", "2019-12-31", "2019-01-15 2019-01-31", "2019-12-01 2019-12-31", 12),
        ),
        (
            {"schema": "cyclic", "step": 8, "unit": "day"},
            *("2019-01-01", "2019-12-31", "2019-01-01 2019-01-08", "2019-12-27 2019-12-31", 46),
        ),
        (
            {"schema": "cyclic", "step": 3, "unit": "month"},
            *("2020-01-01", "2020-12-31", "2020-01-01 2020-03-31", "2020-10-01 2020-12-31", 4),
        ),
        (
            {"schema": "Continuous", "unit": "month", "step": 3, "intervals": SEASONS},
            *("2019-01-01", "2019-12-31", "2018-12-21 2019-03-20", "2019-12-21 2020-03-20", 5),
        ),
        (
            {"schema": "Cyclic", "cycle": {"unit": "year", "intervals": ["08-01_10-31"]}},
            *("2019-01-01", "2020-12-31", "2019-08-01 2019-10-31", "2020-08-01 2020-10-31", 2),
        ),
        (
            {"schema": "continuous", "step": 2, "unit": "year", "start": "2017-01-01"},
            *("2017-01-01", "2018-12-31", "2017-01-01 2018-12-31", "2017-01-01 2018-12-31", 1),
        ),
    ],
)
def test_lists_of_cube_builder(doc, begin, end, first, last, n):
    timeline = Timeline.from_dict(doc)
    periods = timeline.periods(date.fromisoformat(begin), date.fromisoformat(end))
    assert f"{periods[0].start} {periods[0].end}" == first
    assert f"{periods[-1].start} {periods[-1].end}" == last
    assert len(periods) == n
    assert Timeline.from_dict(timeline.to_dict()) == timeline


DAYS = st.dates(date(1999, 1, 1), date(2031, 12, 31))
TIMELINES = st.sampled_from(
    [*NAMED_TIMELINES.values(), Timeline("continuous", "day", 5, (), date(2010, 3, 4))]
)


@given(timeline=TIMELINES, begin=DAYS, length=st.integers(0, 900))
def test_periods_are_sorted_disjoint_and_hold_their_days(timeline, begin, length):
    end = begin + timedelta(days=length)
    periods = list(timeline.covering(begin, end))
    assert periods == sorted(periods)
    days = [p.start + timedelta(days=i) for p in periods for i in range((p.end - p.start).days + 1)]
    assert len(days) == len(set(days))
    inside = [d for d in days if begin <= d <= end]
    assert all(timeline.period_of(d) in periods for d in inside)
    times = np.array(inside, dtype="datetime64[D]") + np.timedelta64(23, "h")
    wanted = [timeline.period_of(d).start for d in inside]
    assert timeline.period_starts(times).tolist() == wanted


@given(first=st.integers(2000, 2028), n=st.integers(1, 4))
def test_cyclic_year_by_year_equals_at_once(first, n):
    timeline = NAMED_TIMELINES["p16d"]
    at_once = timeline.periods(date(first, 1, 1), date(first + n - 1, 12, 31))
    yearly = [
        p for y in range(first, first + n) for p in timeline.periods(date(y, 1, 1), date(y, 12, 31))
    ]
    assert at_once == yearly
    assert len(at_once) == 23 * n


@pytest.mark.parametrize(
    ("doc", "message"),
    [
        ({"schema": "rolling"}, "schema 'rolling' is not one of cyclic, continuous"),
        ({"schema": "cyclic", "unit": "week"}, "unit 'week' is not one of day, month, year"),
        ({"schema": "cyclic", "step": "0"}, "step '0' is not a whole number from 1 on"),
        ({"schema": "cyclic", "stepp": 1}, "unknown key stepp"),
        ({"schema": "cyclic", "intervals": ["2-1_3-1"]}, "is not of the form MM-DD_MM-DD"),
        ({"schema": "cyclic", "intervals": ["02-31_03-01"]}, "day is out of range"),
    ],
)
def test_bad_timeline_is_named(doc, message):
    with pytest.raises(OdcBdcError, match=message):
        Timeline.from_dict(doc)


def test_continuous_days_without_anchor_cannot_place_a_day():
    with pytest.raises(OdcBdcError, match="needs `start`"):
        Timeline.from_dict({"schema": "continuous", "step": 16}).period_of(date(2020, 1, 1))
