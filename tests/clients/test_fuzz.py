"""No request gives an internal error, a traceback, a path of the server or a hang."""

from __future__ import annotations

from itertools import islice
from urllib.parse import parse_qsl

import pytest
from answers import check_content, leaks, read_report
from fuzzing import requests
from test_bad_requests import LEGEND, VALID

pytestmark = pytest.mark.integration

CAPABILITIES = {
    service: {"service": service.upper(), "request": "GetCapabilities"}
    for service in ("wms", "wmts", "wcs")
}
DESCRIBE = (
    {"service": "WCS", "version": "1.0.0", "request": "DescribeCoverage"},
    {
        "service": "WCS",
        "version": "2.0.1",
        "request": "DescribeCoverage",
        "coverageid": "CB4_64_16D_STK_v1",
    },
)
GOODS = {
    "wms": (*VALID["wms"], LEGEND, CAPABILITIES["wms"]),
    "wmts": (*VALID["wmts"], CAPABILITIES["wmts"]),
    "wcs": (*VALID["wcs"], *DESCRIBE, CAPABILITIES["wcs"]),
}
STATUSES = {200, 400, 404, 501}


def spoken(path: str, query: str) -> tuple[str, str] | None:
    """Tell the service and version that a request speaks, as the standards have it."""
    given = {name.lower(): value for name, value in parse_qsl(query, keep_blank_values=True)}
    service = path.upper()
    if not service:
        service = given.get("service", "").upper()
        operation = given.get("request", "").lower()
        if not service and "request" not in given:
            return None
        by_operation = {"describecoverage": "WCS", "getcoverage": "WCS", "gettile": "WMTS"}
        service = service or by_operation.get(operation, "WMS")
        service = service if service in {"WMS", "WMTS", "WCS"} else "WMS"
    version = given.get("version", "").strip()
    if service == "WMTS":
        return service, "1.0.0"
    if service == "WMS":
        return service, "1.1.1" if version[:3] in {"1.0", "1.1"} else "1.3.0"
    return service, "1.0.0" if version[:1] in {"0", "1"} else "2.0.1"


@pytest.fixture
def count(request):
    """Give how many requests to make: ``--fuzz``."""
    return request.config.getoption("--fuzz")


@pytest.mark.timeout(7200)
def test_every_answer_is_one_that_the_protocol_knows(ask, count, request):
    seed = request.config.getoption("--fuzz-seed")
    statuses = dict.fromkeys(STATUSES, 0)
    for path, query in islice(requests(seed, GOODS), count):
        answer = ask(path, query)
        told = f"{path}?{query} -> {answer.status} {answer.body[:300]!r}"
        assert answer.status in STATUSES, told
        assert not leaks(answer), told
        statuses[answer.status] += 1
        service = spoken(path, query)
        if answer.status == 200 or service is None:
            check_content(answer)
        else:
            read_report(answer, *service)
    # Otherwise the requests would all stumble over the same thing.
    assert statuses[200] > count / 20
    assert statuses[400] > count / 20
