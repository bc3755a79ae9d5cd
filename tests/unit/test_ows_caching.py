"""What is kept of documents and images."""

from __future__ import annotations

import pytest

from odc_bdc.ows.caching import HIT, KEPT, STATUS, STORED, Caching, Images
from odc_bdc.ows.store import Store


class Services:
    """An application that counts its answers."""

    def __init__(self, status="200 OK", mime="application/xml", control=""):
        self.asked = 0
        self.status = status
        self.headers = [("Content-Type", mime)]
        if control:
            self.headers.append(("Cache-Control", control))

    def __call__(self, _environ, start_response):
        self.asked += 1
        start_response(self.status, self.headers)
        return [str(self.asked).encode()]


def ask(application, query="service=WMS&request=GetCapabilities", **environ):
    seen = {}
    environ = {"PATH_INFO": "/wms", "QUERY_STRING": query, "HTTP_HOST": "a", **environ}
    body = application(environ, lambda status, headers: seen.update(status=status, **dict(headers)))
    return seen["status"], b"".join(body), seen


def test_documents_are_made_once():
    services = Services()
    caching = Caching(services, lambda: "1")
    assert {ask(caching)[:2] for _ in range(5)} == {("200 OK", b"1")}
    assert ask(caching, "REQUEST=getcapabilities&SERVICE=WMS")[1] == b"2"  # other spelling
    assert services.asked == 2


@pytest.mark.parametrize(
    "environ",
    [{"HTTP_HOST": "b"}, {"HTTP_ACCEPT_LANGUAGE": "pt"}, {"HTTP_X_FORWARDED_PROTO": "https"}],
)
def test_other_hosts_and_languages_have_documents_of_their_own(environ):
    caching = Caching(Services(), lambda: "1")
    assert ask(caching)[1] == b"1"
    assert ask(caching, **environ)[1] == b"2"
    assert ask(caching)[1] == b"1"


def test_nothing_else_is_kept():
    for services, query, version in (
        (Services("503 Service Unavailable"), "service=WMS&request=GetCapabilities", "1"),
        (Services(), "service=WMS&request=GetMap", "1"),
        (Services(), "service=WMS&request=GetCapabilities", None),
        (Services(), "service=WMS&request=GetCapabilities&x=" + "a" * 2000, "1"),
    ):
        caching = Caching(services, lambda version=version: version)
        ask(caching, query)
        assert ask(caching, query)[1] == b"2"


def test_what_is_kept_is_bounded_and_the_oldest_goes_first():
    caching = Caching(Services(), lambda: "1")
    for number in range(KEPT + 3):
        ask(caching, HTTP_HOST=f"host{number}")
    assert len(caching.documents) == KEPT
    assert ask(caching, HTTP_HOST="host5")[1] == b"6"
    assert ask(caching, HTTP_HOST="host0")[1] == str(KEPT + 4).encode()


def test_a_head_has_no_body_and_spoils_nothing():
    caching = Caching(Services(), lambda: "1")
    assert ask(caching, REQUEST_METHOD="HEAD")[1] == b""
    assert ask(caching)[1] == b"1"


def test_other_methods_are_passed_on():
    assert ask(Caching(Services(), lambda: "1"), REQUEST_METHOD="POST")[1] == b"1"


def test_documents_are_made_anew_when_what_they_tell_of_has_changed():
    state = ["1"]
    caching = Caching(Services(), lambda: state[0])
    assert ask(caching)[1] == b"1"
    state[0] = "2"
    assert [ask(caching)[1] for _ in range(2)] == [b"2"] * 2


def test_workers_share_documents(tmp_path):
    services = Services()
    for _ in range(3):
        caching = Caching(services, lambda: "1", Store(tmp_path, 2**20))
        status, body, headers = ask(caching)
        assert (status, body) == ("200 OK", b"1")
        etag = headers["ETag"]
    assert ask(caching, HTTP_IF_NONE_MATCH=etag)[0] == "304 Not Modified"
    assert services.asked == 1


TILE = "service=WMTS&request=GetTile&layer=a&time=2020-01-01&tilerow=1"


@pytest.fixture
def images(tmp_path):
    """Keep images of a service; `versions` says what they are made of, by layer and times."""
    versions = {"a": "1"}
    services = Services(mime="image/png")
    made = Images(
        services,
        Store(tmp_path, 2**20),
        lambda layer, times: versions.get((layer, *times), versions.get(layer)),
    )
    return made, versions


def test_an_image_is_made_once_however_it_is_asked_for(images):
    kept, _ = images
    first = ask(kept, TILE)
    assert (first[1], first[2][STATUS]) == (b"1", STORED)
    again = ask(kept, "TileRow=1&TIME=2020-01-01&LAYER=a&REQUEST=GetTile&Service=WMTS")
    assert (again[1], again[2][STATUS]) == (b"1", HIT)
    assert again[2]["Content-Type"] == "image/png"
    assert ask(kept, TILE.replace("tilerow=1", "tilerow=2"))[1] == b"2"


def test_an_image_is_made_anew_when_its_datasets_change_and_no_other_is(images):
    kept, versions = images
    other = TILE.replace("2020-01-01", "2020-01-17")
    assert [ask(kept, q)[1] for q in (TILE, other)] == [b"1", b"2"]
    versions["a", "2020-01-01"] = "2"
    assert [ask(kept, q)[1] for q in (TILE, other)] == [b"3", b"2"]
    versions["a", "2020-01-01"] = None  # nobody knows: the index is away
    assert [ask(kept, TILE)[1] for _ in range(2)] == [b"4", b"5"]


@pytest.mark.parametrize(
    ("status", "mime", "control"),
    [
        ("503 Service Unavailable", "image/png", ""),
        ("400 Bad Request", "text/xml", ""),
        ("200 OK", "text/xml", ""),
        ("200 OK", "image/png", "no-store"),
        ("200 OK", "image/png", "max-age=0, no-cache"),
    ],
)
def test_no_failure_is_kept_nor_what_forbids_it(tmp_path, status, mime, control):
    services = Services(status, mime, control)
    kept = Images(services, Store(tmp_path, 2**20), lambda *_: "1")
    for number in (b"1", b"2"):
        found, body, headers = ask(kept, TILE)
        assert (found, body) == (status, number)
        assert STATUS not in headers


def test_other_requests_are_passed_on(images):
    kept, _ = images
    for query in (
        TILE.replace("layer=a", "layer=unknown"),
        TILE.replace("GetTile", "GetFeatureInfo"),
        "service=WMS&request=GetMap",
        "x",
    ):
        first, second = (ask(kept, query)[1] for _ in range(2))
        assert first != second
