"""Documents of the services are valid against the schemas of the OGC."""

from __future__ import annotations

import pytest
from answers import REPORTS
from ogc_schemas import faults
from test_capabilities import LAYERS

pytestmark = pytest.mark.integration

WMS = "wms/1.3.0/capabilities_1_3_0.xsd"
WMTS = "wmts/1.0/wmtsGetCapabilities_response.xsd"
WCS_2 = "wcs/2.0/wcsAll.xsd"
CAPABILITIES = {
    ("WMS", "1.3.0"): WMS,
    ("WMS", "1.1.1"): "wms/1.1.1/capabilities_1_1_1.dtd",
    ("WMTS", "1.0.0"): WMTS,
    ("WCS", "1.0.0"): "wcs/1.0.0/wcsCapabilities.xsd",
    ("WCS", "2.0.1"): WCS_2,
}
EXCEPTIONS = {
    ("WMS", "1.3.0"): "wms/1.3.0/exceptions_1_3_0.xsd",
    ("WMS", "1.1.1"): "wms/1.1.1/exception_1_1_1.dtd",
    ("WMTS", "1.0.0"): "ows/1.1.0/owsExceptionReport.xsd",
    ("WCS", "1.0.0"): "wcs/1.0.0/OGC-exception.xsd",
    ("WCS", "2.0.1"): "ows/2.0/owsExceptionReport.xsd",
}
WRONG = [
    {"request": "GetMap"},
    {"request": "Nothing"},
    {"request": "GetCoverage", "coverage": "a<b", "coverageid": "a<b", "bbox": "1,2"},
    {"request": "GetTile", "layer": "x", "style": "", "format": "&", "tilematrixset": "<>"},
]


def of(protocol, **more):
    return {"service": protocol[0], "version": protocol[1], **more}


def named(protocol):
    return " ".join(protocol)


@pytest.mark.parametrize("language", ["en", "pt-BR"])
@pytest.mark.parametrize("protocol", CAPABILITIES, ids=named)
def test_capabilities_are_valid(ask, protocol, language):
    query = of(protocol, request="GetCapabilities")
    answer = ask(protocol[0].lower(), query, **{"Accept-Language": language})
    assert answer.status == 200
    assert faults(answer.body, CAPABILITIES[protocol]) == []
    assert b"CB4_64_16D_STK_v1" in answer.body


def test_capabilities_at_their_own_path_are_valid(ask):
    answer = ask("wmts/1.0.0/WMTSCapabilities.xml", "")
    assert faults(answer.body, WMTS) == []


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_descriptions_of_coverages_are_valid(ask, name):
    older = ask("wcs", of(("WCS", "1.0.0"), request="DescribeCoverage", coverage=name))
    assert faults(older.body, "wcs/1.0.0/describeCoverage.xsd") == []
    newer = ask("wcs", of(("WCS", "2.0.1"), request="DescribeCoverage", coverageid=name))
    assert faults(newer.body, WCS_2) == []
    assert name.encode() in older.body
    assert name.encode() in newer.body


def test_a_description_of_all_coverages_is_valid(ask):
    body = ask("wcs", of(("WCS", "1.0.0"), request="DescribeCoverage")).body
    assert faults(body, "wcs/1.0.0/describeCoverage.xsd") == []
    assert body.count(b"<CoverageOffering>") == len(LAYERS)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda q: q["request"])
@pytest.mark.parametrize("protocol", REPORTS, ids=named)
def test_exceptions_are_valid(ask, protocol, wrong):
    answer = ask(protocol[0].lower(), of(protocol, **wrong))
    assert answer.status in {400, 404, 501}
    assert faults(answer.body, EXCEPTIONS[protocol]) == []


def test_what_is_not_valid_is_found(ask):
    body = ask("wms", of(("WMS", "1.3.0"), request="GetCapabilities")).body
    assert faults(body.replace(b"<Title>", b"<Titles>").replace(b"</Title>", b"</Titles>"), WMS)
    assert faults(body.replace(b'queryable="1"', b'queryable="perhaps"'), WMS)
    old = ask("wms", of(("WMS", "1.1.1"), request="GetCapabilities")).body
    assert faults(
        old.replace(b"<SRS>", b"<CRS>").replace(b"</SRS>", b"</CRS>"), CAPABILITIES["WMS", "1.1.1"]
    )
