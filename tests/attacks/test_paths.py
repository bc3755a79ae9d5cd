"""Ways around the checks: other names of a service's path, and places that are not meant to be."""

from __future__ import annotations

import http.client
from urllib.parse import urlencode, urlsplit

import pytest
from test_bad_requests import WMS

pytestmark = pytest.mark.integration

# datacube-ows itself draws a box whose minima come last, and says nothing of it.
REFUSED = urlencode(WMS | {"bbox": "6012800,10012800,5993600,10000000"})
NAMES = (
    *(
        "//wms",
        "///wms",
        "/%2Fwms",
        "/%2f%2fwms",
        "/./wms",
        "/%2e/wms",
        "/wms/",
        "/wms/.",
        "/wms//",
    ),
    *(
        "/x/../wms",
        "/page/../wms",
        "/../wms",
        "/wms.",
        "/wms..",
        "/WMS",
        "/Wms",
        "/wms;",
        "/wms;x=1",
    ),
    *(
        "/wms%00",
        "/wms%20",
        "/wms%09",
        "/wms%2e",
        "/%77ms",
        "/\\wms",
        "/wms\\",
        "/wms%5c",
        "/%252Fwms",
    ),
    *("/;x/wms", "/wms/x", "/wms%23", "/wms%3f", "//wms//", "//localhost/wms"),
)


def raw(url: str, target: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Ask with a request line as it is, which no library has put in order."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
    try:
        connection.putrequest("GET", target, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def test_a_service_has_no_back_door(services, record_property):
    """GetMap that is refused, by 34 other names of /wms."""
    answered = {name: raw(services.url, f"{name}?{REFUSED}")[0] for name in NAMES}
    record_property("answer", f"statuses {sorted(set(answered.values()))}")
    assert {n: s for n, s in answered.items() if s not in {400, 404}} == {}


def test_no_back_door_feeds_the_cache(services, record_property):
    """GetMap that is refused, by //wms, then by /wms: whether the first answer is kept."""
    for name in ("//wms", "/%2Fwms", "/wms"):
        status, headers, _ = raw(services.url, f"{name}?{REFUSED}")
        assert (status, headers["Cache-Status"]) in {(400, None), (404, None)}, name
    record_property("answer", f"status {status}, nothing kept")
    assert status == 400


def test_the_request_line_of_a_proxy_is_none_of_ours(services, record_property):
    """GetMap that is refused, as a request line with another host, path or prefix."""
    told = set()
    for target, headers in (
        (f"http://evil.example/wms?{REFUSED}", {}),
        (f"http://evil.example//wms?{REFUSED}", {"Host": "evil.example"}),
        (f"http://evil.example:1/%2Fwms?{REFUSED}", {}),
        (f"/wms/wms?{REFUSED}", {"SCRIPT_NAME": "/wms"}),
        (f"/x/wms?{REFUSED}", {"SCRIPT_NAME": "/x"}),
        (f"/x//wms?{REFUSED}", {"SCRIPT_NAME": "/x"}),
        (f"/x?{REFUSED}", {"PATH_INFO": "/wms", "X-Original-URL": "/wms", "X-Rewrite-URL": "/wms"}),
        (f"/x?{REFUSED}", {"Script-Name": "/x", "X-Script-Name": "/x", "X-Forwarded-Prefix": "/x"}),
    ):
        status, _, body = raw(services.url, target, **headers)
        told.add(status)
        assert status in {400, 404}, (target, headers, body[:200])
        assert b"evil" not in body
    record_property("answer", f"statuses {sorted(told)}")


def test_what_is_the_operators_has_one_name(services, record_property):
    """/metrics and /health by names that a proxy's rule does not know, and files."""
    names = (
        *("//metrics", "/./metrics", "/metrics/", "/x/../metrics", "/metrics/.", "/METRICS"),
        *("//health", "/health/", "/page/../health"),
        *("/static/x", "/page/../../etc/passwd", "/page/%2e%2e/%2e%2e/etc/passwd", "//ping/"),
        *("/page/x/..%2f..%2fpage.py", "/legend/../../x/legend.png", "/templates/landing.html"),
    )
    told = {}
    for name in names:
        status, headers, body = raw(services.url, name)
        told[name] = status
        assert status == 404, (name, body[:100])
        # Of one piece, which says so before anything else is asked.
        assert headers["Content-Type"].startswith("text/plain"), name
    assert raw(services.url, "/metrics")[0] == raw(services.url, "/health")[0] == 200
    record_property("answer", "404")
