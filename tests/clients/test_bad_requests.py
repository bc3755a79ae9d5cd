"""Requests that cannot be served: each gets the exception that its standard has for it.

The table is that of a probe of datacube-ows 1.9.14, which answered 15 of its requests with status
500 and a traceback, and 17 with an image or a coverage that was not what had been asked for.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlencode

import pytest
from answers import leaks, read_report

pytestmark = pytest.mark.integration

STK = "CB4_64_16D_STK_v1"
BBOX = "5993600,10000000,6012800,10012800"
WMS = {
    "service": "WMS",
    "version": "1.3.0",
    "request": "GetMap",
    "layers": STK,
    "styles": "",
    "crs": "EPSG:10857",
    "bbox": BBOX,
    "width": "30",
    "height": "20",
    "format": "image/png",
    "time": "2020-01-01",
}
WMS111 = {k: v for k, v in WMS.items() if k != "crs"} | {"version": "1.1.1", "srs": "EPSG:10857"}
INFO = WMS | {
    "request": "GetFeatureInfo",
    "query_layers": STK,
    "info_format": "application/json",
    "i": "3",
    "j": "4",
}
LEGEND = {
    "service": "WMS",
    "version": "1.3.0",
    "request": "GetLegendGraphic",
    "layer": STK,
    "style": "ndvi",
    "format": "image/png",
}
WMTS = {
    "service": "WMTS",
    "version": "1.0.0",
    "request": "GetTile",
    "layer": STK,
    "style": "true_colour",
    "tilematrixset": "BDC_Albers",
    "tilematrix": "10",
    "tilerow": "375",
    "tilecol": "461",
    "format": "image/png",
    "time": "2020-01-01",
}
TILEINFO = WMTS | {
    "request": "GetFeatureInfo",
    "infoformat": "application/json",
    "i": "1",
    "j": "1",
}
WCS1 = {
    "service": "WCS",
    "version": "1.0.0",
    "request": "GetCoverage",
    "coverage": STK,
    "crs": "EPSG:10857",
    "bbox": BBOX,
    "width": "30",
    "height": "20",
    "format": "GeoTIFF",
    "time": "2020-01-01",
}
WCS2 = {
    "service": "WCS",
    "version": "2.0.1",
    "request": "GetCoverage",
    "coverageid": STK,
    "format": "image/geotiff",
    "subset": [
        'time("2020-01-01")',
        "x(5993600,5996800)",
        "y(10000000,10003200)",
    ],
}
VALID = {
    "wms": (WMS, WMS111, INFO, LEGEND),
    "wmts": (WMTS, TILEINFO),
    "wcs": (WCS1, WCS2),
}
MISSING, INVALID = "MissingParameterValue", "InvalidParameterValue"


class Bad(NamedTuple):
    """A request that cannot be served: what differs from a good one (None: left out)."""

    good: dict
    change: dict
    code: str
    locator: str
    status: int = 400


def other(**change: object) -> dict:
    return change


BAD = [
    # WMS 1.3.0 GetMap
    *(
        Bad(WMS, other(bbox=bbox), INVALID, "bbox")
        for bbox in (
            "a,b,c,d",
            "1,2,3",
            "1,2,3,4,5",
            "nan,0,1,1",
            "inf,0,1,1",
            "0,0,inf,inf",
            "0,0,1e300,1e300",
            "0,0,0,0",
            "6012800,10012800,5993600,10000000",
            "1e400,0,2e400,1",
            ",,,",
            "0x10,0,20,20",
        )
    ),
    *(Bad(WMS, other(**{name: None}), MISSING, name) for name in ("bbox", "width", "height")),
    *(
        Bad(WMS, other(width=width), INVALID, "width")
        for width in ("0", "-5", "abc", "99999", "1.5", "1e9", "9" * 400, "٣")
    ),
    Bad(WMS, other(height="0"), INVALID, "height"),
    Bad(WMS, other(layers="nowhere"), "LayerNotDefined", "layer"),
    Bad(WMS, other(layers=None), "LayerNotDefined", "layer"),
    Bad(WMS, other(styles="nothing"), "StyleNotDefined", "style"),
    Bad(WMS, other(crs="EPSG:99999"), "InvalidCRS", "crs"),
    Bad(WMS, other(crs=None), MISSING, "crs"),
    Bad(WMS, other(format="image/bmp"), "InvalidFormat", "format"),
    Bad(WMS, other(version="9.9.9"), INVALID, "version"),
    Bad(WMS, other(version=None), MISSING, "version"),
    Bad(WMS, other(service="WPS"), INVALID, "service"),
    Bad(WMS, other(request="GetNothing"), "OperationNotSupported", "request"),
    Bad(WMS, other(request=None), MISSING, "request"),
    *(
        Bad(WMS, other(time=time), "InvalidDimensionValue", "time")
        for time in (
            "yesterday-ish",
            "9" * 30,
            "2020-13-45",
            "2020-01-01/P99999999999Y",
            "a/b/c/d",
            ",".join(["2020-01-01"] * 65),
            "2020-01-01'; DROP TABLE odc.dataset; --",
        )
    ),
    Bad(WMS, other(code="a+" * 300 + "a", colorscheme="viridis"), INVALID, "code"),
    Bad(WMS, other(code="(" * 200 + "a" + ")" * 200, colorscheme="viridis"), INVALID, "code"),
    # WMS 1.1.1: its own format
    Bad(WMS111, other(srs="EPSG:99999"), "InvalidSRS", ""),
    Bad(WMS111, other(bbox="1,2,3"), INVALID, ""),
    Bad(WMS111, other(layers="<b>&'\"\x00"), "LayerNotDefined", ""),
    # GetFeatureInfo
    *(Bad(INFO, other(i=i), "InvalidPoint", "i") for i in ("abc", "-1", "30", "", "1e3")),
    Bad(INFO, other(j=None), MISSING, "j"),
    Bad(INFO, other(query_layers=None), MISSING, "query_layers"),
    Bad(INFO, other(info_format="text/plain"), "InvalidFormat", "info_format"),
    # Legends
    Bad(LEGEND, other(layer=None), MISSING, "layer"),
    Bad(LEGEND, other(style="nothing"), "StyleNotDefined", "style"),
    # WMTS
    *(
        Bad(WMTS, other(**{name: None}), MISSING, name)
        for name in ("tilematrix", "tilerow", "tilecol", "tilematrixset", "layer", "style")
    ),
    Bad(WMTS, other(tilematrixset="nothing"), INVALID, "tilematrixset"),
    Bad(WMTS, other(tilematrix="99"), INVALID, "tilematrix"),
    Bad(WMTS, other(tilematrix="x"), INVALID, "tilematrix"),
    Bad(WMTS, other(tilerow="1000000000"), "TileOutOfRange", "tilerow"),
    Bad(WMTS, other(tilecol="-1"), "TileOutOfRange", "tilecol"),
    Bad(WMTS, other(layer="nowhere"), INVALID, "layer"),
    Bad(WMTS, other(request="GetMap"), "OperationNotSupported", "request", 501),
    Bad(TILEINFO, other(i="256"), "PointIJOutOfRange", "i"),
    # WCS 1.0.0
    *(
        Bad(WCS1, other(bbox=bbox), INVALID, "bbox")
        for bbox in ("nan,nan,nan,nan", "1,2,3", "0,0,0,0", "-inf,0,inf,1")
    ),
    Bad(WCS1, other(coverage="nowhere"), "CoverageNotDefined", "coverage"),
    Bad(WCS1, other(crs="EPSG:99999"), INVALID, "crs"),
    Bad(WCS1, other(format="PNG"), INVALID, "format"),
    Bad(WCS1, other(time="abc"), INVALID, "time"),
    Bad(WCS1, other(width="100000000", height="100000000"), INVALID, "width"),
    Bad(WCS1, other(width=None, height=None, resx="1e-300", resy="1"), INVALID, "resx"),
    Bad(WCS1, other(width=None, height=None, resx="nan", resy="1"), INVALID, "resx"),
    Bad(WCS1, other(width="30", height=None), MISSING, "width/height"),
    Bad(WCS1, other(measurements="nothing"), INVALID, "measurements"),
    # WCS 2.0.1
    *(
        Bad(WCS2, other(subset=[subset]), "InvalidSubsetting", locator, 404)
        for subset, locator in (
            ("x(", "subset"),
            ('time("abc")', "time"),
            ("time(2020-01-01)", "time"),
            ("x(5,1)", "x"),
            ("x(nan)", "x"),
            ('x("a","b")', "x"),
            ('time("2020-01-01","2019-01-01")', "time"),
        )
    ),
    Bad(WCS2, other(coverageid="nowhere"), "NoSuchCoverage", "coverage", 404),
    Bad(WCS2, other(coverageid=None), MISSING, "coverageid"),
    Bad(WCS2, other(subset=['time("2020-01-01")', "w(1,2)"]), "InvalidAxisLabel", "w", 404),
    Bad(WCS2, other(scalefactor="0"), "InvalidScaleFactor", "scalefactor", 404),
    Bad(WCS2, other(scalefactor="-1"), "InvalidScaleFactor", "scalefactor", 404),
    Bad(WCS2, other(scaleaxes="x("), "InvalidScaleFactor", "scaleaxes", 404),
    Bad(WCS2, other(scaleaxes="w(2)"), "InvalidAxisLabel", "w", 404),
    Bad(WCS2, other(scalesize="x(5),i(5)"), "InvalidScaleFactor", "scale", 404),
    Bad(WCS2, other(scaleextent="x(5:1)"), "InvalidExtent", "scaleextent", 404),
    Bad(WCS2, other(rangesubset="nothing"), "NoSuchField", "nothing", 404),
    Bad(WCS2, other(rangesubset="a:b:c"), INVALID, "rangesubset"),
    *(
        Bad(WCS2, other(rangesubset=bands), "IllegalFieldSequence", "rangesubset", 404)
        for bands in ("BAND15:BAND13", "BAND13:nothing", ":")
    ),
    Bad(WCS2, other(subsettingcrs="x"), "NotACrs", "x", 404),
    Bad(
        WCS2,
        other(outputcrs="EPSG:99999"),
        "OutputCrs-NotSupported",
        "epsg:99999",
        404,
    ),
    Bad(WCS2, other(format="image/bmp"), INVALID, "format"),
    Bad(WCS2, other(version="9.9"), INVALID, "version"),
    Bad(WCS2, other(request="GetNothing"), "OperationNotSupported", "request", 501),
    Bad(
        {"service": "WCS", "request": "GetCapabilities", "acceptversions": "9.9.9"},
        {},
        "VersionNegotiationFailed",
        "",
    ),
]


def path_of(query: dict) -> str:
    return query["service"].lower()


def version_of(query: dict) -> tuple[str, str]:
    service, version = query["service"], query.get("version", "9")
    service = service if service in {"WMS", "WMTS", "WCS"} else "WMS"
    if service == "WMTS":
        return service, "1.0.0"
    if service == "WMS":
        return service, "1.1.1" if version == "1.1.1" else "1.3.0"
    return service, "1.0.0" if version[0] == "1" else "2.0.1"


@pytest.mark.parametrize("bad", BAD, ids=lambda b: f"{b.good['request']}-{b.change}"[:60])
def test_what_cannot_be_served_gets_the_exception_of_its_standard(ask, bad):
    query = {k: v for k, v in (bad.good | bad.change).items() if v is not None}
    answer = ask(path_of(bad.good), query)
    assert answer.status == bad.status, answer.body[:500]
    report = read_report(answer, *version_of(query if "version" in query else bad.good))
    assert (report.codes[0], report.locators[0]) == (bad.code, bad.locator)
    assert not leaks(answer)


@pytest.mark.parametrize(
    "good", [g for goods in VALID.values() for g in goods], ids=lambda g: g["request"]
)
def test_the_requests_that_the_bad_ones_are_made_of_are_served(ask, good):
    answer = ask(path_of(good), good)
    assert answer.status == 200, answer.body[:500]
    assert not leaks(answer)


@pytest.mark.parametrize("service", ["wms", "wmts", "wcs"])
def test_only_reading_is_allowed(ask, service):
    good = VALID[service][0]
    answer = ask(service, good, "POST")
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
    read_report(answer, *version_of(good))
    head = ask(service, good, "HEAD")
    assert (head.status, head.body) == (200, b"")


def test_a_request_that_is_too_long_is_refused(ask):
    assert ask("wcs", urlencode(WCS1 | {"x": "y" * 7000})).status == 200
    answer = ask("wcs", urlencode(WCS1 | {"x": "y" * 7900}))
    assert answer.status == 414
    read_report(answer, "WCS", "1.0.0")
    many = ask("wcs", "version=1.0.0&" + "&".join(f"p{n}=1" for n in range(80)))
    assert many.status == 400
    assert "too many parameters" in read_report(many, "WCS", "1.0.0").texts[0]


def test_a_browser_may_ask_whether_it_may_ask(ask):
    answer = ask("wms", "", "OPTIONS", Origin="http://elsewhere")
    assert answer.status == 200
    assert "GET" in answer.headers["Allow"]


def test_repeated_names_count_once_whatever_their_case(ask):
    text = f"WIDTH=0&LAYERS=nowhere&{urlencode(WMS)}"
    assert ask("wms", text).status == 200
    assert ask("wms", f"{text}&WIDTH=0").status == 400


def test_expressions_of_clients_are_not_evaluated(ask):
    plain = ask("wms", WMS)
    for code in ("BAND16/BAND13", "BAND16**9", "nothing+1", "1e400*BAND13", "__import__('os')"):
        answer = ask("wms", WMS | {"code": code, "colorscheme": "viridis"})
        assert answer.body == plain.body, code


def test_what_a_client_wrote_stands_in_the_answer_as_text(ask):
    answer = ask("wms", WMS | {"layers": "<script>alert(1)</script>\x01\x00\ud7ff"})
    report = read_report(answer, "WMS", "1.3.0")
    assert "<script>" in report.texts[0]
    assert b"<script>" not in answer.body


def test_views_that_reach_beyond_their_crs_are_drawn(ask):
    """A map that is zoomed out shows what there is, in every CRS."""
    for crs, bbox in (
        ("EPSG:3857", "-4e7,-4e7,4e7,4e7"),
        ("EPSG:4326", "-100,-200,100,200"),
        ("EPSG:10857", "-1e8,-1e8,1e8,1e8"),
        ("EPSG:32631", "-1e7,-1e7,1e7,1e7"),
    ):
        answer = ask("wms", WMS | {"crs": crs, "bbox": bbox, "width": "64", "height": "64"})
        assert (answer.status, answer.mime) == (200, "image/png"), (crs, answer.body[:300])


def test_requests_of_wms_1_1_1_have_x_first(ask):
    box = (-51.5, -12.2, -51.3, -12.0)
    new = WMS | {"crs": "EPSG:4326", "bbox": "-12.2,-51.5,-12.0,-51.3"}
    old = WMS111 | {"srs": "EPSG:4326", "bbox": ",".join(map(str, box))}
    assert ask("wms", old).body == ask("wms", new).body
    point = {"request": "GetFeatureInfo", "query_layers": STK, "info_format": "application/json"}
    assert ask("wms", old | point | {"x": "3", "y": "4"}).body == (
        ask("wms", new | point | {"i": "3", "j": "4"}).body
    )


def test_legends_take_the_standards_name_of_the_style(ask):
    by_style = ask("wms", LEGEND)
    by_styles = ask("wms", {k: v for k, v in LEGEND.items() if k != "style"} | {"styles": "ndvi"})
    assert by_style.status == 200
    assert by_style.body == by_styles.body


@pytest.mark.parametrize("ndates", ["abc", "-1", "1e9", "65", ""])
def test_a_legend_has_a_number_of_dates(ask, ndates):
    answer = ask(f"legend/{STK}/ndvi/legend.png", {"ndates": ndates})
    assert answer.status == 400
    assert not leaks(answer)


def test_legends_have_addresses_of_their_own(ask):
    assert ask(f"legend/{STK}/ndvi/legend.png", {}).mime == "image/png"
    for path in (f"legend/{STK}/nothing/legend.png", "legend/nothing/ndvi/legend.png", "nothing"):
        answer = ask(path, {"ndates": "3"})
        assert answer.status == 404
        assert not leaks(answer)
