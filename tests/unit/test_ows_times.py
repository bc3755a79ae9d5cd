"""Which composites a requested time means, against a plain count of shared hours."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odc_bdc.errors import InvalidValueError
from odc_bdc.ows.time_axis import TimeAxis, rewrite
from odc_bdc.ows.times import choose, choose_all, periods_from
from odc_bdc.timeline import NAMED_TIMELINES, Period

YEAR = NAMED_TIMELINES["p16d"].periods(date(2019, 1, 1), date(2019, 12, 31))
MONTHS = NAMED_TIMELINES["p1m"].periods(date(2019, 1, 1), date(2020, 12, 31))
# 17 January to 17 February are missing.
GAP = [YEAR[0], YEAR[3], YEAR[4]]


def starts(periods, requested):
    return [str(c.period.start) for c in choose(periods, requested)]


@pytest.mark.parametrize(
    ("requested", "start"),
    [
        ("2019-01-01", "2019-01-01"),
        ("2019-01-01T00:00:00Z", "2019-01-01"),
        ("2019-01-05T00:00:00.000Z", "2019-01-01"),
        ("2019-01-16T23:59:59Z", "2019-01-01"),
        ("2019-01-17", "2019-01-17"),
        ("2019-01-16T22:00:00-03:00", "2019-01-17"),  # one o'clock of the 17th, UTC
        ("2019-12-31", "2019-12-19"),  # the year's last period has 13 days
        ("current", "2019-12-19"),
        ("CURRENT", "2019-12-19"),
        ("2019-02", "2019-02-02"),  # wholly in February
        ("2019", "2019-12-19"),  # all are in it, so the latest
        ("2019-01-01/2019-01-31", "2019-01-01"),
        ("2019-01-20/2019-01-20", "2019-01-17"),
        ("2019-01-10/2019-02-10", "2019-01-17"),
        ("2019-01-01T00:00:00Z/2019-01-17T00:00:00Z", "2019-01-01"),
        ("2019-02-10/P1M", "2019-02-18"),
        ("P16D/2019-02-01", "2019-01-17"),
        ("2019-12-01/present", "2019-12-19"),
    ],
)
def test_a_time_means_the_composite_that_a_client_wants_to_see(requested, start):
    assert starts(YEAR, requested) == [start]


def test_months_and_lists():
    assert starts(MONTHS, "2019-02-28T12:00:00Z") == ["2019-02-01"]
    assert starts(MONTHS, "2019-01-17/2019-02-01") == ["2019-01-01"]
    assert starts(MONTHS, "2019-06-15, 2019-01-31") == ["2019-06-01", "2019-01-01"]
    assert starts(MONTHS, "2020-02-29") == ["2020-02-01"]


def test_a_range_with_a_resolution_is_a_list():
    assert starts(MONTHS, "2019-01-01/2019-12-31/P3M") == [
        "2019-01-01",
        "2019-04-01",
        "2019-07-01",
        "2019-10-01",
    ]
    assert starts(YEAR, "2019-01-01/2019-02-28/P1D") == [str(p.start) for p in YEAR[:4]]
    assert starts(GAP, "2019-01-01/2019-02-28/P16D") == ["2019-01-01", "2019-02-18"]


def test_in_a_gap_the_nearest_is_meant_and_said():
    (early,) = choose(GAP, "2019-01-20")
    (late,) = choose(GAP, "2019-02-10")
    (range_,) = choose(GAP, "2019-01-20/2019-02-16")
    assert (early.period, early.nearest) == (GAP[0], True)
    assert (late.period, late.nearest) == (GAP[1], True)
    assert (range_.period, range_.nearest) == (GAP[1], True)
    assert not choose(GAP, "2019-01-16")[0].nearest


@pytest.mark.parametrize(
    ("requested", "reason"),
    [
        ("yesterday", "is not a time of ISO 8601"),
        ("2019-02-30", "is not a time of ISO 8601"),
        ("2019-1-1", "is not a time of ISO 8601"),
        ("", "is not a time of ISO 8601"),
        ("2019-01-01,", "is not a time of ISO 8601"),
        ("9999", "is not a time of ISO 8601"),
        ("2018-12-31", "from 2019-01-01 to 2019-12-31 only"),
        ("2020-01-01T00:00:00Z", "from 2019-01-01 to 2019-12-31 only"),
        ("2017/2018", "from 2019-01-01 to 2019-12-31 only"),
        ("2019-02-01/2019-01-01", "ends before it starts"),
        ("P1M/P1M", "no date"),
        ("2019-01-01/P", "is not a length of time"),
        ("2019-01-01/2019-02-01/P0D", "is not a length of time"),
        ("2019-01-01/2019-02-01/16", "is not a length of time"),
        ("1/2/3/4", "is not start/end"),
        ("2019-01-01/P9999Y", "leaves the calendar"),
        ("2019-01-01/2019-12-31/PT1S", "more than 1000 steps"),
        ("2017-01-01/2018-01-01/P1M", "no image"),
    ],
)
def test_what_is_no_time_or_outside_is_refused_with_the_reason(requested, reason):
    with pytest.raises(InvalidValueError, match=reason):
        choose(YEAR, requested)


@st.composite
def layers(draw):
    """Give periods with gaps, of one of three timelines."""
    name = draw(st.sampled_from(["p16d", "p1m", "bdc_seasons"]))
    every = NAMED_TIMELINES[name].periods(date(2018, 1, 1), date(2020, 12, 31))
    kept = draw(st.sets(st.integers(0, len(every) - 1), min_size=1))
    return [every[i] for i in sorted(kept)]


HOURS = st.integers(-24 * 40, 24 * 1200)


def hours_of(period):
    first = datetime.combine(period.start, datetime.min.time(), UTC)
    return [first + timedelta(hours=h) for h in range(24 * ((period.end - period.start).days + 1))]


@given(layers(), HOURS, st.integers(1, 24 * 100))
def test_a_range_means_the_composite_of_which_it_covers_most(periods, begin, length):
    low = datetime(2018, 1, 1, tzinfo=UTC) + timedelta(hours=begin)
    high = low + timedelta(hours=length)
    requested = f"{low:%Y-%m-%dT%H:%M:%SZ}/{high:%Y-%m-%dT%H:%M:%SZ}"
    if high <= hours_of(periods[0])[0] or low > hours_of(periods[-1])[-1]:
        with pytest.raises(InvalidValueError, match="only"):
            choose(periods, requested)
        return
    covered = {}
    for period in periods:
        hours = hours_of(period)
        covered[period] = sum(low <= h < high for h in hours) / len(hours)
    (chosen,) = choose(periods, requested)
    most = max(covered.values())
    if most:
        assert chosen.period == max(p for p, share in covered.items() if share == most)
        assert choose_all(periods, requested) == [p for p, share in covered.items() if share]
    else:
        assert choose_all(periods, requested) == [chosen.period]
    assert chosen.nearest == (most == 0)


@given(layers(), st.dates(date(2017, 12, 1), date(2021, 2, 1)))
def test_a_day_means_the_composite_that_holds_it_else_the_nearest(periods, day):
    if not periods[0].start <= day <= periods[-1].end:
        with pytest.raises(InvalidValueError, match="only"):
            choose(periods, str(day))
        return
    (chosen,) = choose(periods, str(day))
    holding = [p for p in periods if day in p]
    if holding:
        assert [chosen.period] == holding
        assert not chosen.nearest
    else:
        away = {p: min(abs((p.start - day).days), abs((p.end - day).days)) for p in periods}
        nearest = [p for p in periods if away[p] == min(away.values())]
        assert chosen.period == nearest[0]
        assert chosen.nearest


@given(layers(), st.text(alphabet="0123456789-/,PTZDM: ", max_size=24))
def test_any_text_is_a_time_or_refused(periods, text):
    try:
        chosen = choose(periods, text)
    except InvalidValueError:
        return
    assert all(c.period in periods for c in chosen)


def test_a_layer_without_a_rule_has_periods_until_the_next_begins():
    first = [date(2019, 1, 1), date(2019, 1, 17), date(2019, 2, 2)]
    found = periods_from(first, None, composites=True)
    assert [p.end for p in found] == [date(2019, 1, 16), date(2019, 2, 1), date(2019, 2, 17)]
    assert periods_from(first[:1], None, composites=True) == [Period(first[0], first[0])]
    assert periods_from([], None, composites=True) == []
    assert periods_from(first, None, composites=False) == [Period(d, d) for d in first]


def test_with_a_rule_a_missing_image_leaves_a_gap():
    found = periods_from([YEAR[0].start, YEAR[3].start], NAMED_TIMELINES["p16d"], composites=True)
    assert found == [YEAR[0], YEAR[3]]


MAP = {"request": "GetMap", "layers": "cube", "styles": "ndvi"}


def test_a_map_gets_first_days_and_a_feature_info_all_of_a_range_without_a_style():
    assert rewrite(MAP | {"time": "2019-01-05"}, YEAR) == ({"time": "2019-01-01"}, [])
    info = MAP | {"request": "GetFeatureInfo", "time": "2019-01-05/2019-02-05"}
    changes, warnings = rewrite(info, YEAR)
    assert changes["time"] == "2019-01-01,2019-01-17,2019-02-02"
    assert changes["styles"] is None
    assert warnings == []
    one, _ = rewrite(info | {"time": "2019-01-05"}, YEAR)
    assert one == {"time": "2019-01-01"}


def test_a_series_has_a_bound():
    days = [Period(d, d) for d in (date(2019, 1, 1) + timedelta(days=i) for i in range(300))]
    info = MAP | {"request": "GetFeatureInfo", "time": "2019"}
    changes, _ = rewrite(info, days)
    assert "300 images are in it; of 250 allowed" in changes["time"].replace(",", ";")
    assert rewrite(info, days[:250])[0]["time"].count(",") == 249


def test_the_answer_is_told_to_be_the_nearest_or_the_default():
    # The wording of OGC 06-042, C.4.2.
    _, warnings = rewrite(MAP | {"time": "2019-01-20"}, GAP)
    assert warnings == ["99 Nearest value used: time=2019-01-01 ISO8601"]
    assert rewrite(MAP, GAP) == ({}, ["99 Default value used: time=2019-03-06 ISO8601"])


@pytest.mark.parametrize("time", ["2018", "a,b", "2019-01-01/x", "2019-01-01,2019-01-02"])
def test_a_wrong_time_reaches_datacube_ows_as_one_that_it_must_refuse(time):
    from dateutil.parser import ParserError, parse

    changes, _ = rewrite(MAP | {"time": time}, YEAR)
    assert not set(changes["time"]) & {",", "/"}
    with pytest.raises(ParserError):
        parse(changes["time"])


def test_the_middleware_rewrites_requests_for_its_layers_only():
    seen, told = [], []

    def application(environ, start_response):
        seen.append(parse_qs(environ["QUERY_STRING"], keep_blank_values=True))
        start_response("200 OK", [("Content-Type", "image/png")])
        return [b"body"]

    axis = TimeAxis(application, {"cube": GAP}.get)

    def ask(path, query):
        body = axis(
            {"PATH_INFO": path, "QUERY_STRING": query}, lambda _, headers: told.append(headers)
        )
        assert list(body) == [b"body"]
        return seen[-1]

    assert ask("/wms", "REQUEST=GetMap&LAYERS=cube&TIME=2019-01-20")["time"] == ["2019-01-01"]
    assert ("Warning", "99 Nearest value used: time=2019-01-01 ISO8601") in told[-1]
    tile = ask("/wmts", "request=GetTile&layer=cube&time=2019-02-19T00:00:00Z")
    assert tile["time"] == ["2019-02-18"]
    info = ask("/wmts", "request=GetFeatureInfo&layer=cube&style=x&time=2019-01-01/2019-03-06")
    assert info["time"] == ["2019-01-01,2019-02-18,2019-03-06"]
    assert "style" not in info
    coverage = ask("/wcs", "request=GetCoverage&coverage=cube&time=2019-01-02")
    assert coverage["time"] == ["2019-01-01"]
    other = "request=GetMap&layers=other&time=x"
    assert ask("/wms", other) == parse_qs(other)
    assert ask("/wms", "request=GetCapabilities") == {"request": ["GetCapabilities"]}
