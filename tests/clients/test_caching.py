"""Validators of answers, and documents that a worker keeps."""

from __future__ import annotations

import pytest
from test_bad_requests import WMS, WMTS

pytestmark = pytest.mark.integration

CAPABILITIES = [
    (service, {"service": service.upper(), "request": "GetCapabilities"})
    for service in ("wms", "wmts", "wcs")
]


@pytest.mark.parametrize(
    ("path", "query"), [*CAPABILITIES, ("wms", WMS), ("wmts", WMTS)], ids=lambda v: str(v)[:5]
)
def test_who_has_an_answer_is_told_that_it_holds(ask, path, query):
    first = ask(path, query)
    assert first.status == 200
    etag = first.headers["ETag"]
    again = ask(path, query, **{"If-None-Match": f'"x", W/{etag}'})
    assert (again.status, again.body) == (304, b"")
    assert again.headers["ETag"] == etag
    assert ask(path, query).body == first.body
    other = ask(path, query, **{"If-None-Match": '"x"'})
    assert (other.status, other.body) == (200, first.body)


def test_images_may_be_kept_for_a_while_and_exceptions_never(ask):
    assert ask("wms", WMS).headers["Cache-Control"] == "public, max-age=60"
    assert ask("wms", WMS | {"width": "0"}).headers["Cache-Control"] == "no-store"


def test_different_pixels_have_different_validators(ask):
    tags = {ask("wms", WMS | {"time": day}).headers["ETag"] for day in ("2019-12-19", "2020-01-01")}
    assert len(tags) == 2


def test_capabilities_are_those_of_the_host_that_is_asked(ask):
    query = CAPABILITIES[0][1]
    here = ask("wms", query)
    there = ask("wms", query, Host="localhost:1")
    assert here.status == there.status == 200
    assert ask("wms", query, Host="localhost:1").body == there.body
    assert ask("wms", query).body == here.body
