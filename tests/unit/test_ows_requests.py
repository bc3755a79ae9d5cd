"""Reading, checking and refusing requests, without a server."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import quote_plus, urlencode
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.crs import CRS

from odc_bdc.ows.checks import Limits, Published, PublishedCrs, PublishedTiles, checked
from odc_bdc.ows.exceptions import Refusal, Unavailable, answer, report, status_of
from odc_bdc.ows.guard import Guard, Net
from odc_bdc.ows.requests import (
    WCS_100,
    WCS_201,
    WMS_111,
    WMS_130,
    WMTS_100,
    Query,
    protocol_of,
)

PROTOCOLS = (WMS_111, WMS_130, WMTS_100, WCS_100, WCS_201)
PUBLISHED = Published(
    {
        "EPSG:3857": PublishedCrs(CRS("EPSG:3857")),
        "EPSG:4326": PublishedCrs(CRS("EPSG:4326"), latitude_first=True),
    },
    {"web": PublishedTiles([(1, 1), (2, 4)], (256, 512))},
    Limits(side=1000, pixels=10**6, times=3, code=10),
)
NAMES = (
    *("service", "version", "request", "layers", "layer", "styles", "style", "crs", "srs", "bbox"),
    *("width", "height", "time", "i", "j", "x", "y", "tilematrixset", "tilematrix", "tilerow"),
    *("tilecol", "format", "coverage", "coverageid", "resx", "resy", "subset", "scaleaxes"),
    *("scalesize", "scaleextent", "scalefactor", "code", "query_layers", "acceptversions"),
)
OPERATIONS = (
    *("GetCapabilities", "GetMap", "GetFeatureInfo", "GetLegendGraphic", "GetTile"),
    *("GetCoverage", "DescribeCoverage"),
)
values = st.one_of(
    st.text(max_size=30),
    st.from_regex(r"[-+0-9eE.,:/()\"TZPD naif]{0,30}"),
    st.sampled_from(["1", "web", "EPSG:4326", "EPSG:3857", "0,0,10,10", "2020-01-01", *OPERATIONS]),
)


@given(st.sampled_from(PROTOCOLS), st.lists(st.tuples(st.sampled_from(NAMES), values), max_size=20))
def test_a_check_refuses_or_lets_pass_and_nothing_else(protocol, pairs):
    query = Query.parse(urlencode(pairs))
    with suppress(Refusal):
        passed = checked(protocol, query, PUBLISHED)
        assert Query.parse(passed.encode()) == passed


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), max_size=20))
def test_a_query_comes_back_as_it_was(pairs):
    text = "&".join(
        f"{quote_plus(n, errors='replace')}={quote_plus(v, errors='replace')}" for n, v in pairs
    )
    query = Query.parse(text)
    assert Query.parse(query.encode()) == query
    for name, _ in query.pairs:
        assert query.get(name) == next(v for n, v in query.pairs if n == name)


@given(st.sampled_from(PROTOCOLS), st.text(), st.text(max_size=20), st.text(max_size=20))
def test_every_report_can_be_read_whatever_stands_in_it(protocol, text, code, locator):
    _, body = report(protocol, [Refusal(text, code, locator), Refusal("two")])
    root = ET.fromstring(body)
    assert len(root) == 2


@pytest.mark.parametrize(
    ("protocol", "code", "status"),
    [
        (WMS_130, "OperationNotSupported", 400),
        (WCS_100, "CoverageNotDefined", 400),
        (WMTS_100, "OperationNotSupported", 501),
        (WMTS_100, "TileOutOfRange", 400),
        (WCS_201, "NoSuchCoverage", 404),
        (WCS_201, "SubsettingCrsNotSupported", 404),
        (WCS_201, "MissingParameterValue", 400),
        (WCS_201, "", 400),
    ],
)
def test_statuses_are_those_of_the_standards(protocol, code, status):
    assert status_of(protocol, code) == status


def test_what_may_be_tried_again_says_so():
    sent = answer(WMTS_100, [Unavailable("later")])
    assert sent.status == 503
    assert sent.headers["Retry-After"] == "30"
    assert sent.headers["Cache-Control"] == "no-store"


MAP = {
    "request": "GetMap",
    "version": "1.3.0",
    "layers": "a",
    "crs": "EPSG:4326",
    "bbox": "-10,20,-5,40",
    "width": "100",
    "height": "50",
}


def passed(protocol, query):
    return dict(checked(protocol, Query.parse(urlencode(query)), PUBLISHED).pairs)


def test_a_request_of_1_1_1_becomes_one_of_1_3_0():
    old = {k: v for k, v in MAP.items() if k != "crs"}
    old |= {"version": "1.1.1", "srs": "EPSG:4326", "bbox": "20,-10,40,-5"}
    new = passed(WMS_111, old)
    assert (new["crs"], new["bbox"], new["version"]) == ("EPSG:4326", "-10,20,-5,40", "1.3.0")
    assert "srs" not in new


def test_images_are_limited_by_pixels_times_dates():
    large = MAP | {"width": "1000", "height": "1000"}
    assert passed(WMS_130, large)["width"] == "1000"
    with pytest.raises(Refusal, match="1000 x 1000 pixels of 2 dates are too many"):
        passed(WMS_130, large | {"time": "2020-01-01,2020-02-01"})
    with pytest.raises(Refusal, match="WIDTH=1001 is not served: 1 to 1000 are"):
        passed(WMS_130, MAP | {"width": "1001"})
    with pytest.raises(Refusal, match="4 times are too many: 3 are the limit"):
        passed(WMS_130, MAP | {"time": ",".join(["2020-01-01"] * 4)})
    with pytest.raises(Refusal, match="CODE is too long"):
        passed(WMS_130, MAP | {"code": "a" * 11})


def test_tiles_are_counted_in_rows_and_columns():
    tile = {
        "request": "GetTile",
        "version": "1.0.0",
        "layer": "a",
        "style": "",
        "format": "image/png",
        "tilematrixset": "web",
        "tilematrix": "1",
        "tilerow": "1",
        "tilecol": "3",
    }
    assert passed(WMTS_100, tile)["tilecol"] == "3"
    info = tile | {"request": "GetFeatureInfo", "i": "255", "j": "511"}
    assert passed(WMTS_100, info)["j"] == "511"
    for change, code in (
        ({"tilerow": "2"}, "TileOutOfRange"),
        ({"tilecol": "4"}, "TileOutOfRange"),
        ({"tilematrix": "2"}, "InvalidParameterValue"),
    ):
        with pytest.raises(Refusal) as refused:
            passed(WMTS_100, tile | change)
        assert refused.value.code == code
    with pytest.raises(Refusal, match="I=256 lies outside: 0 to 255"):
        passed(WMTS_100, info | {"i": "256"})


def test_one_factor_scales_both_axes():
    query = {
        "request": "GetCoverage",
        "version": "2.0.1",
        "coverageid": "a",
        "scalefactor": "0.5",
    }
    new = passed(WCS_201, query)
    assert new["scaleaxes"] == "x(0.5),y(0.5)"
    assert "scalefactor" not in new


@pytest.mark.parametrize(
    "time",
    ["2020-01-01", "", "current", "2020", "2020-01-01T00:00:00.000Z", "2020-01-01/2020-02-01",
     "2020-01-01/2020-02-01/P16D", "2020-01-01/P1M", "P1M/present", "2020-01-01,2020-02-01"],
)  # fmt: skip
def test_times_that_the_standards_know_pass(time):
    assert passed(WMS_130, MAP | {"time": time})["time"] == time


@pytest.mark.parametrize(
    "time",
    ["abc", "9" * 30, "0001-01-01", "2020-13-01", "/", "P1D/P1D", "now/2020-01-01",
     "2020-01-01/2020-02-01/2020-03-01", "2020-01-01/P99999Y", "P", "a/b/c/d"],
)  # fmt: skip
def test_other_times_do_not(time):
    with pytest.raises(Refusal) as refused:
        passed(WMS_130, MAP | {"time": time})
    assert refused.value.code == "InvalidDimensionValue"


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("/wms", "", WMS_130),
        ("/wms/", "version=1.1.0", WMS_111),
        ("/", "service=WMTS", WMTS_100),
        ("/", "request=GetCoverage&version=1.0.0", WCS_100),
        ("/wcs", "version=2.1.0", WCS_201),
        ("/wcs", "", WCS_201),
        ("/", "service=WPS", WMS_130),
        ("/", "", None),
        ("/ping", "service=WMS", None),
        ("/legend/a/b/legend.png", "", None),
    ],
)
def test_the_protocol_follows_from_path_and_parameters(path, query, expected):
    assert protocol_of(path, Query.parse(query)) == expected


def ask(application, query="service=WMS&request=GetCapabilities", path="/wms", method="GET"):
    seen = []
    environ = {"PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": method}
    body = application(environ, lambda status, headers: seen.append((status, dict(headers))))
    return seen[-1][0], seen[-1][1], b"".join(body)


def test_an_error_of_the_application_is_told_without_details():
    def broken(_environ, _start_response):
        raise RuntimeError("/srv/secret")

    status, headers, body = ask(Net(broken, {"X-Own": "1"}))
    assert status == "500 Internal Server Error"
    assert headers["X-Own"] == "1"
    assert b"Internal server error." in body
    assert b"secret" not in body


def test_the_guard_asks_once_more_if_the_database_was_away():
    asked = []

    def services(environ, start_response):
        asked.append(environ["QUERY_STRING"])
        if len(asked) == 1:
            environ["odc_bdc.ows.outage"] = True
            start_response("503 Service Unavailable", [])
            return [b"away"]
        start_response("200 OK", [])
        return [b"here"]

    status, _, body = ask(Guard(services, PUBLISHED))
    assert (status, body, len(asked)) == ("200 OK", b"here", 2)


def test_the_guard_asks_no_more_than_twice():
    asked = []

    def services(environ, start_response):
        asked.append(1)
        environ["odc_bdc.ows.outage"] = True
        start_response("503 Service Unavailable", [])
        return [b"away"]

    assert ask(Guard(services, PUBLISHED))[0] == "503 Service Unavailable"
    assert len(asked) == 2
