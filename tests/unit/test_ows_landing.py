"""The page for people as WSGI sees it; what the browser makes of it is in tests/clients."""

from __future__ import annotations

import gzip
import json
import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest

pytest.importorskip("jinja2")

from odc_bdc.ows.landing import Landing
from odc_bdc.ows.landing.page import POLICY, static_files, static_version
from odc_bdc.ows.landing.words import WORDS

EVIL = "<script>alert('1')</script>&\""


def services(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"services {environ['PATH_INFO']}".encode()]


class Elements(HTMLParser):
    """All start tags of a document, with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def of(self, *tags):
        return [attributes for tag, attributes in self.found if tag in tags]


@pytest.fixture
def ask():
    """Ask a page for something; gives status, headers and body."""
    described = []

    def describe(language):
        described.append(language)
        return {"language": language, "number": len(described)}, len(described) > 1

    page = Landing(
        services, describe, lambda language: (f"{language} {EVIL}", EVIL), "https://d.org/?a&b"
    )

    def get(path="/", query="", method="GET", **environ):
        given = {"PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": method, **environ}
        started = []
        body = b"".join(page(given, lambda *args: started.append(args)))
        return started[0][0], dict(started[0][1]), body

    return get


def test_titles_are_text_whatever_they_hold(ask):
    _, _, body = ask()
    text = body.decode()
    assert EVIL not in text
    tags = Elements(text)
    assert [a["content"] for a in tags.of("meta") if a.get("name") == "description"] == [EVIL]
    assert len(tags.of("script")) == 1
    (page,) = tags.of("body")
    assert json.loads(page["data-words"]) == {key: word.en for key, word in WORDS.items()}


def test_nothing_is_inline_or_of_another_host(ask):
    _, headers, body = ask()
    assert headers["Content-Security-Policy"] == POLICY
    assert "unsafe" not in POLICY
    assert "http" not in POLICY
    tags = Elements(body.decode())
    assert all("src" in script for script in tags.of("script"))
    assert tags.of("style") == []
    assert not [a for _, a in tags.found if any(k == "style" or k.startswith("on") for k in a)]
    loaded = [a.get("src") or a.get("href") for a in tags.of("script", "link", "img") if len(a) > 1]
    own = [name for name in loaded if name]
    assert own
    assert all(name.startswith(f"page/{static_version()}/") for name in own)
    assert all(name.rpartition("/")[2] in static_files() for name in own)


def test_modules_import_only_what_is_there():
    for name, body in static_files().items():
        if name.endswith(".js") and name != "map_library.js":
            imported = re.findall(r"from '\./([^']+)'", body.decode())
            assert set(imported) <= set(static_files()), name
    library = static_files()["map_library.js"].decode().rpartition("export{")[2]
    exported = set(re.findall(r"as (\w+)", library)) | set(
        re.findall(r"[{,](\w+)[,}]", "{" + library)
    )
    wanted = re.search(
        r"import \{([^}]*)\} from './map_library", static_files()["map_view.js"].decode()
    )
    assert {w.strip() for w in wanted[1].split(",") if w.strip()} <= exported


def test_every_word_is_there_and_used():
    text = (files("odc_bdc.ows") / "templates" / "landing.html").read_text()
    used = set(re.findall(r"words\.(\w+)", text)) - {"words_json"}
    said = set()
    for name, body in static_files().items():
        if name.endswith(".js") and name != "map_library.js":
            used |= set(re.findall(r"\bsay\('(\w+)'", body.decode()))
            said |= set(re.findall(r"'([\w ]+)'", body.decode()))
    computed = {"set_BDC_Albers", "set_WholeWorld_WebMercator", "no data", "not clear", "clear"}
    assert used - set(WORDS) == set()
    assert set(WORDS) - used - said - computed == set()


@pytest.mark.parametrize("key", WORDS)
def test_both_languages_have_the_same_gaps(key):
    word = WORDS[key]
    assert word.en.strip()
    assert word.pt.strip()
    assert sorted(re.findall(r"\{\w+\}", word.en)) == sorted(re.findall(r"\{\w+\}", word.pt))


@pytest.mark.parametrize(
    ("query", "wish", "language"),
    [
        ("", "pt-BR,pt;q=0.9,en;q=0.8", "pt"),
        ("", "de", "en"),
        ("", "", "en"),
        ("lang=pt", "en", "pt"),
        ("lang=en", "pt", "en"),
        ("lang=xx", "pt", "pt"),
    ],
)
def test_the_language_is_the_one_chosen_else_the_one_wished(ask, query, wish, language):
    status, headers, body = ask(query=query, HTTP_ACCEPT_LANGUAGE=wish)
    assert status == "200 OK"
    assert headers["Content-Language"] == language
    assert headers["Vary"] == "Accept-Language"
    assert f'<html lang="{language}">' in body.decode()


@pytest.mark.parametrize(
    "given",
    [
        {"query": "service=WMS&request=GetCapabilities"},
        {"query": "request=nonsense"},
        {"path": "/wms"},
        {"path": "/pages"},
        {"method": "POST"},
        {"method": "OPTIONS", "path": "/page/layers.en.json"},
    ],
)
def test_other_requests_are_for_the_services(ask, given):
    assert ask(**given)[2].startswith(b"services /")


def test_files_of_today_are_kept_for_good_and_others_not(ask):
    for version, lasting in ((static_version(), "immutable"), ("older", "no-cache")):
        status, headers, body = ask(f"/page/{version}/main.js")
        assert status == "200 OK"
        assert lasting in headers["Cache-Control"]
        assert headers["Content-Type"].startswith("text/javascript")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert body == static_files()["main.js"]
    _, headers, body = ask(f"/page/{static_version()}/page.css", HTTP_ACCEPT_ENCODING="gzip, br")
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == static_files()["page.css"]


@pytest.mark.parametrize(
    "name",
    [
        "x/none.js",
        "x/../page.py",
        "x/..%2Fpage.py",
        "x//etc/passwd",
        "main.js",
        "",
        "layers.de.json",
    ],
)
def test_there_are_no_other_files(ask, name):
    status, _, body = ask(f"/page/{name}")
    assert status == "404 Not Found"
    assert body == b"There is no such file.\n"


def test_head_has_no_body(ask):
    status, headers, body = ask(method="HEAD")
    assert (status, body) == ("200 OK", b"")
    assert int(headers["Content-Length"]) == len(ask()[2])


def test_a_path_without_its_slash_leads_to_the_one_with_it(ask):
    status, headers, _ = ask("", SCRIPT_NAME="/geo/maps")
    assert status.startswith("308")
    assert headers["Location"] == "maps/"


def test_the_list_of_layers_is_kept_once_it_may_be(ask):
    numbers = [json.loads(ask("/page/layers.pt.json")[2])["number"] for _ in range(4)]
    assert numbers == [1, 2, 2, 2]
    assert json.loads(ask("/page/layers.en.json")[2])["language"] == "en"


def test_licences_of_what_others_made_are_there():
    text = static_files()["LICENCES.txt"].decode()
    for name in ("ol ", "proj4 ", "rbush ", "quickselect ", "Natural Earth"):
        assert name in text
