"""What a worker keeps of documents."""

from __future__ import annotations

import pytest

from odc_bdc.ows.caching import KEPT, Caching


class Services:
    """An application that counts its answers."""

    def __init__(self, status="200 OK", mime="application/xml"):
        self.asked = 0
        self.status, self.mime = status, mime

    def __call__(self, _environ, start_response):
        self.asked += 1
        start_response(self.status, [("Content-Type", self.mime)])
        return [str(self.asked).encode()]


def ask(application, query="service=WMS&request=GetCapabilities", **environ):
    seen = {}
    environ = {"PATH_INFO": "/wms", "QUERY_STRING": query, "HTTP_HOST": "a", **environ}
    body = application(environ, lambda status, headers: seen.update(status=status, **dict(headers)))
    return seen["status"], b"".join(body), seen


def test_documents_are_made_once():
    services = Services()
    caching = Caching(services, lambda: True)
    assert {ask(caching)[:2] for _ in range(5)} == {("200 OK", b"1")}
    assert ask(caching, "REQUEST=getcapabilities&SERVICE=WMS")[1] == b"2"  # other spelling
    assert services.asked == 2


@pytest.mark.parametrize(
    "environ",
    [{"HTTP_HOST": "b"}, {"HTTP_ACCEPT_LANGUAGE": "pt"}, {"HTTP_X_FORWARDED_PROTO": "https"}],
)
def test_other_hosts_and_languages_have_documents_of_their_own(environ):
    caching = Caching(Services(), lambda: True)
    assert ask(caching)[1] == b"1"
    assert ask(caching, **environ)[1] == b"2"
    assert ask(caching)[1] == b"1"


def test_nothing_else_is_kept():
    for services, query, settled in (
        (Services("503 Service Unavailable"), "service=WMS&request=GetCapabilities", True),
        (Services(), "service=WMS&request=GetMap", True),
        (Services(), "service=WMS&request=GetCapabilities", False),
        (Services(), "service=WMS&request=GetCapabilities&x=" + "a" * 2000, True),
    ):
        caching = Caching(services, lambda settled=settled: settled)
        ask(caching, query)
        assert ask(caching, query)[1] == b"2"


def test_what_is_kept_is_bounded_and_the_oldest_goes_first():
    caching = Caching(Services(), lambda: True)
    for number in range(KEPT + 3):
        ask(caching, HTTP_HOST=f"host{number}")
    assert len(caching.documents) == KEPT
    assert ask(caching, HTTP_HOST="host5")[1] == b"6"
    assert ask(caching, HTTP_HOST="host0")[1] == str(KEPT + 4).encode()


def test_a_head_has_no_body_and_spoils_nothing():
    caching = Caching(Services(), lambda: True)
    assert ask(caching, REQUEST_METHOD="HEAD")[1] == b""
    assert ask(caching)[1] == b"1"


def test_other_methods_are_passed_on():
    assert ask(Caching(Services(), lambda: True), REQUEST_METHOD="POST")[1] == b"1"
