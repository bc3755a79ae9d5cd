"""Timelines against the lists of the Brazil Data Cube's own builder."""

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odc_bdc import OdcBdcError, Period, Timeline
from odc_bdc.timeline import NAMED_TIMELINES, Interval, find_timeline

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
            {"schema": "continuous", "step": 16, "unit": "day"},
            *("2020-01-01", "2020-12-31", "2020-01-01 2020-01-16", "2020-12-18 2021-01-02", 23),
        ),
        (
            {"schema": "CYCLIC", "step": "1", "unit": "Month", "cycle": {"unit": "year"}},
            *("2020-01-01", "2020-12-31", "2020-01-01 2020-01-31", "2020-12-01 2020-12-31", 12),
        ),
        (
            {"schema": "cyclic", "step": 2, "unit": "month"},
            *("2019-01-01", "2019-12-31", "2019-01-01 2019-02-28", "2019-11-01 2019-12-31", 6),
        ),
        (
            {"schema": "continuous", "step": 1, "unit": "year"},
            *("2019-01-01", "2020-12-31", "2019-01-01 2019-12-31", "2020-01-01 2020-12-31", 2),
        ),
        (
            {"schema": "cyclic", "step": 5, "unit": "day"},
            *("2019-01-01", "2019-12-31", "2019-01-01 2019-01-05", "2019-12-27 2019-12-31", 73),
        ),
        (
            {"schema": "continuous", "step": 5, "unit": "day", "start": "2016-04-03"},
            *("2016-01-01", "2016-12-31", "2016-04-03 2016-04-07", "2016-12-29 2017-01-02", 55),
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


def test_months_have_their_days():
    months = NAMED_TIMELINES["p1m"].periods(date(2019, 1, 1), date(2020, 12, 31))
    assert [p.end.day for p in months if p.start.month == 2] == [28, 29]
    assert {p.start.day for p in months} == {1}


def test_seasons_of_bdc_in_2019():
    periods = Timeline.from_dict(
        {"schema": "Continuous", "unit": "month", "step": 3, "intervals": SEASONS}
    ).periods(*YEAR_2019)
    assert [f"{p.start} {p.end}" for p in periods] == [
        "2018-12-21 2019-03-20",
        "2019-03-21 2019-06-20",
        "2019-06-21 2019-09-21",
        "2019-09-22 2019-12-20",
        "2019-12-21 2020-03-20",
    ]


def test_quarters_of_ecodatacube():
    quarters = NAMED_TIMELINES["ecodatacube_quarters"]
    found = quarters.periods(date(2010, 12, 2), date(2012, 12, 1))
    assert [(p.end - p.start).days + 1 for p in found] == [109, 96, 80, 80, 110, 96, 80, 80]
    assert [quarters.title(p) for p in found] == [
        f"Q{n} {year}" for year in (2011, 2012) for n in (1, 2, 3, 4)
    ]
    # As in EcoDataCube's file names, such as raster_20101202..20110320.
    assert found[0] == Period(date(2010, 12, 2), date(2011, 3, 20))
    for day, quarter in (("12-01", 4), ("12-02", 1), ("03-20", 1), ("03-21", 2), ("02-29", 1)):
        period = quarters.period_of(date.fromisoformat(f"2012-{day}"))
        assert quarters.title(period).startswith(f"Q{quarter} ")


def test_29_february_bounds_an_interval_in_every_year():
    timeline = Timeline.from_dict(
        {"schema": "cyclic", "intervals": {"early": "01-01_02-28", "leap": "02-29_06-30"}}
    )
    periods = timeline.periods(date(2019, 1, 1), date(2020, 12, 31))
    assert [f"{p.start} {p.end}" for p in periods] == [
        "2019-01-01 2019-02-28",
        "2019-03-01 2019-06-30",
        "2020-01-01 2020-02-28",
        "2020-02-29 2020-06-30",
    ]
    ends = Interval.parse("12-01_02-29")
    assert [ends.in_year(y).end.day for y in (2018, 2019)] == [28, 29]
    assert Interval.parse("02-29_02-29").in_year(2019) is None


@pytest.mark.parametrize("unit", ["day", "month", "year"])
def test_nothing_lies_before_the_start(unit):
    timeline = Timeline("continuous", unit, 3, (), date(2017, 5, 20))
    assert timeline.period_of(date(2017, 5, 19)) is None
    assert timeline.period_of(date(2017, 5, 20)).start == date(2017, 5, 20)
    assert timeline.periods(date(2010, 1, 1), date(2017, 5, 30))[0].start == date(2017, 5, 20)


def test_temporal_composition_of_recorded_collections(stac_documents):
    found = []
    for doc in stac_documents:
        composition = doc.get("bdc:temporal_composition") or doc.get("temporal_composition_schema")
        if composition:
            found.append(Timeline.from_dict(composition))
    assert found
    assert all(len(t.periods(*YEAR_2020)) == 23 for t in found)


DAYS = st.dates(date(1999, 1, 1), date(2031, 12, 31))


@st.composite
def timelines(draw):
    """Draw any timeline: of a step, or of intervals cut from the year at random days."""
    schema = draw(st.sampled_from(["cyclic", "continuous"]))
    if draw(st.booleans()):
        unit = draw(st.sampled_from(["day", "month", "year"]))
        begin = draw(DAYS) if schema == "continuous" else None
        return Timeline(schema, unit, draw(st.integers(1, 40)), (), begin)
    days = st.dates(date(2000, 1, 1), date(2000, 12, 31))
    cuts = sorted(draw(st.lists(days, min_size=2, max_size=6, unique=True)))
    until = [*cuts[1:], cuts[0]]
    ends = [d - timedelta(days=1) if d > date(2000, 1, 1) else date(2000, 12, 31) for d in until]
    spans = [f"{a:%m-%d}_{b:%m-%d}" for a, b in zip(cuts, ends, strict=True)]
    kept = draw(st.lists(st.sampled_from(spans), min_size=1, unique=True))
    return Timeline.from_dict({"schema": schema, "intervals": kept})


TIMELINES = st.one_of(st.sampled_from([*NAMED_TIMELINES.values()]), timelines())


@given(timeline=TIMELINES, begin=DAYS, length=st.integers(0, 900))
def test_periods_are_sorted_disjoint_and_hold_their_days(timeline, begin, length):
    end = begin + timedelta(days=length)
    periods = list(timeline.covering(begin, end))
    assert periods == sorted(periods)
    days = [p.start + timedelta(days=i) for p in periods for i in range((p.end - p.start).days + 1)]
    assert len(days) == len(set(days))
    inside = [d for d in days if begin <= d <= end]
    assert all(timeline.period_of(d) in periods for d in inside)
    asked = [begin + timedelta(days=i) for i in range(length + 1)]
    times = np.array(asked, dtype="datetime64[D]") + np.timedelta64(23, "h")
    wanted = [p and p.start for p in map(timeline.period_of, asked)]
    assert timeline.period_starts(times).tolist() == wanted
    assert Timeline.from_dict(timeline.to_dict()) == timeline


def test_times_of_any_shape_and_unit():
    times = np.array([["2020-01-16T23:59:59.999", "2020-01-17T00:00"], ["NaT", "2019-12-31"]])
    for unit in ("ns", "us", "s"):
        starts = NAMED_TIMELINES["p16d"].period_starts(times.astype(f"datetime64[{unit}]"))
        assert starts.astype(str).tolist() == [["2020-01-01", "2020-01-17"], ["NaT", "2019-12-19"]]


@given(
    first=st.integers(2000, 2028),
    n=st.integers(1, 4),
    unit=st.sampled_from(["day", "month", "year"]),
    step=st.integers(1, 40),
)
def test_cyclic_year_by_year_equals_at_once(first, n, unit, step):
    timeline = Timeline("cyclic", unit, step)
    at_once = timeline.periods(date(first, 1, 1), date(first + n - 1, 12, 31))
    yearly = [
        p for y in range(first, first + n) for p in timeline.periods(date(y, 1, 1), date(y, 12, 31))
    ]
    assert at_once == yearly


@pytest.mark.parametrize(
    ("doc", "message"),
    [
        ({"schema": "rolling"}, "schema 'rolling' is not one of cyclic, continuous"),
        ({"schema": "cyclic", "unit": "week"}, "unit 'week' is not one of day, month, year"),
        ({"schema": "cyclic", "step": "0"}, "step '0' is not a whole number from 1 on"),
        ({"schema": "cyclic", "stepp": 1}, "unknown key stepp"),
        ({"schema": "cyclic", "intervals": ["2-1_3-1"]}, "is not of the form MM-DD_MM-DD"),
        ({"schema": "cyclic", "intervals": ["02-31_03-01"]}, "day is out of range"),
        ({"schema": "cyclic", "intervals": "02-01_03-01"}, "is no list of MM-DD_MM-DD"),
        ({"schema": "cyclic", "intervals": ["01-01_03-31", "03-31_06-30"]}, "intervals overlap"),
        ({"schema": "cyclic", "intervals": ["11-01_02-01", "01-31_06-30"]}, "intervals overlap"),
        ({"schema": "cyclic", "step": 1.5}, "step 1.5 is not a whole number"),
        ({"schema": "cyclic", "cycle": {"unit": "month"}}, "only a cycle of one year is known"),
        ({"schema": "cyclic", "cycle": "year"}, "only a cycle of one year is known"),
        ({"schema": "continuous", "start": "2020-13-01"}, "start '2020-13-01' is not a day"),
        ("cyclic", "'cyclic' is no mapping of schema, unit"),
    ],
)
def test_bad_timeline_is_named(doc, message):
    with pytest.raises(OdcBdcError, match=message):
        Timeline.from_dict(doc)


def test_continuous_days_without_anchor_cannot_place_a_day():
    with pytest.raises(OdcBdcError, match="needs `start`"):
        Timeline.from_dict({"schema": "continuous", "step": 16}).period_of(date(2020, 1, 1))


def test_usual_timelines_by_name():
    assert find_timeline("P16D") is NAMED_TIMELINES["p16d"]
    assert find_timeline(CYCLIC) == NAMED_TIMELINES["p16d"]
    with pytest.raises(OdcBdcError, match=r"'p17d' is not a usual timeline, .* p1d.; known: p1d"):
        find_timeline("p17d")
