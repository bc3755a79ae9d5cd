"""One form of each request, before anything decides on it."""

from __future__ import annotations

import pytest

from odc_bdc.ows.canonical import Canonical, canonical_path, canonical_query

URLS = ("https://maps.example.org", "http://127.0.0.1:8000")


def ask(**environ):
    """Give the status of an answer, and the request that the services got, if they did."""
    seen = {}

    def services(inner, start_response):
        seen.update(inner)
        start_response("200 OK", [])
        return [b"served"]

    status = []
    environ = {"PATH_INFO": "/wms", "QUERY_STRING": "", "HTTP_HOST": "127.0.0.1:8000", **environ}
    Canonical(services, URLS, {"X-All": "yes"})(environ, lambda *args: status.append(args))
    return status[0], seen


@pytest.mark.parametrize(
    "path",
    ["//wms", "/./wms", "/wms/", "/wms/.", "/a/../wms", "/../wms", "///.//wms//", "/wms/a/.."],
)
def test_other_names_of_a_service_are_its_name(path):
    assert ask(PATH_INFO=path)[1]["PATH_INFO"] == "/wms"


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/WMS",
            "/wms.",
            "/wms;a=b",
            "/wms\0",
            "/wms ",
            "/wmsx",
            "/wms/x",
            "wms",
            "\\wms",
            "/w\nms",
        ),
        *(
            "/static/x",
            "/..",
            "/page/",
            "/page",
            "/legend/a/b/c/legend.png",
            "/wmts/1.0.0",
            "/ping/",
        ),
        *("//health", "/health/", "/./metrics", "/metrics/", "/page/../metrics"),
        *("/page/" + "a" * 1000, "/page/a\nb"),
    ],
)
def test_what_is_no_place_is_not_found(path):
    if path == "/..":
        assert canonical_path(path) == "/"
        return
    (status, headers), seen = ask(PATH_INFO=path)
    assert status == "404 Not Found"
    assert dict(headers)["X-All"] == "yes"
    assert dict(headers)["Cache-Control"] == "no-store"
    assert seen == {}


def test_the_places_that_there_are_stay_as_they_are():
    for path in (
        *("/", "/wms", "/wmts", "/wcs", "/ping", "/health", "/metrics", "/page/abc/page.css"),
        "/legend/CB4_64_16D_STK_v1/ndvi/legend.png",
        "/wmts/1.0.0/a/ndvi/2020-01-01/BDC_Albers/10/252/249.png",
    ):
        assert canonical_path(path) == path


def test_a_service_below_a_place_of_another_server_is_found():
    _, seen = ask(PATH_INFO="", SCRIPT_NAME="/geo")
    assert (seen["PATH_INFO"], seen["SCRIPT_NAME"]) == ("", "/geo")


@pytest.mark.parametrize(
    "host", ["evil.example", "", "127.0.0.1:8001", "a b", "maps.example.org:80"]
)
def test_another_host_is_the_first_of_ours(host):
    assert ask(HTTP_HOST=host)[1]["HTTP_HOST"] == "maps.example.org"


def test_a_host_of_ours_stays():
    assert ask(HTTP_HOST="127.0.0.1:8000")[1]["HTTP_HOST"] == "127.0.0.1:8000"
    assert ask(HTTP_HOST="MAPS.example.org")[1]["HTTP_HOST"] == "maps.example.org"


def test_what_a_proxy_says_of_its_own_address_is_not_passed_on():
    given = {
        "HTTP_X_FORWARDED_HOST": "evil",
        "HTTP_X_FORWARDED_PREFIX": "/x",
        "HTTP_FORWARDED": "x",
    }
    _, seen = ask(**given)
    assert not given.keys() & seen.keys()


def test_a_language_is_one_of_those_that_there_are():
    wishes = {"pt-BR": "pt", "de": "en", "": "en", "x" * 9000: "en", "pt;q=nonsense": "en"}
    for wish, language in wishes.items():
        assert ask(HTTP_ACCEPT_LANGUAGE=wish)[1]["HTTP_ACCEPT_LANGUAGE"] == language, wish


@pytest.mark.parametrize(
    ("path", "text", "canonical"),
    [
        (
            "/wms",
            "LAYERS=a&request=GETMAP&service=wms&_=17&coverageid=x",
            "layers=a&request=getmap&service=WMS",
        ),
        ("/wms", "width=0030&request=GetMap&bbox=1,2.0,3,4", ("width=30&request=getmap&bbox="
         "1.0%2C2.0%2C3.0%2C4.0")),
        ("/wcs", "request=GetCoverage&subset=x(1,2)&subset=a(1)&x=1", ("request=getcoverage&subset="
         "x%281%2C2%29&subset=a%281%29")),
        ("/ping", "a=1", ""),
        ("/legend/a/b/legend.png", "ndates=2&a=1", "ndates=2"),
        ("/", "lang=pt&a=1", "lang=pt"),
        # What will be refused stays as it is.
        ("/wms", "request=GetNothing&a=1", "request=GetNothing&a=1"),
        ("/wms", "request=getmap&width=1_0&bbox=a&service=WPS", ("request=getmap&width=1_0&bbox=a"
         "&service=WPS")),
        ("/wms", "&".join(f"a{n}=1" for n in range(99)), "&".join(f"a{n}=1" for n in range(99))),
    ],
)  # fmt: skip
def test_parameters_that_mean_nothing_are_left_out(path, text, canonical):
    assert canonical_query(path, {"QUERY_STRING": text}) == canonical
