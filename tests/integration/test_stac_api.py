"""Items from a STAC API that is really asked over HTTP, whatever the server does."""

import gzip
import json
import logging
import os
import threading
import traceback
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

import fsspec
import pystac_client
import pytest
import shapely
import stac_server
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from stac_server import FAULTS, STYLES, StacServer

from odc_bdc import OdcBdcError
from odc_bdc.indexing.sources import AccessToken, Patience, Progress, Resume, Search, find_items

COLLECTION = "CB4_64_16D_STK-1"
TILES = ("021027", "022024", "020022")
# A token with all that addresses escape.
SECRET = "s3cr3t/with+all=of&it"  # noqa: S105
QUICK = Patience(tries=12, pause=0.001, timeout=5.0)


def made_items(count=23, collection=COLLECTION):
    """Give items of three tiles side by side, 16 days apart, as the BDC's 0.9 has them."""
    items = []
    for n in range(count):
        tile, west = TILES[n % 3], -54.0 + 2 * (n % 3)
        day = date(2020, 1, 1) + timedelta(days=16 * (n // 3))
        name = f"CB4_64_16D_STK_v001_{tile}_{day}_{day + timedelta(days=15)}"
        ring = [[west, -10], [west + 1, -10], [west + 1, -9], [west, -9], [west, -10]]
        items.append(
            {
                "type": "Feature",
                "stac_version": "0.9.0",
                "id": name,
                "collection": collection,
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "bbox": [west, -10, west + 1, -9],
                "properties": {
                    "datetime": f"{day}T00:00:00",
                    "start_datetime": f"{day}T00:00:00",
                    "end_datetime": f"{day + timedelta(days=15)}T00:00:00",
                    "bdc:tile": tile,
                    "eo:cloud_cover": float(n),
                },
                "assets": {
                    band: {"href": f"https://data.example/{name}_{band}.tif"}
                    for band in ("BAND13", "BAND14", "CMASK")
                },
                "links": [],
            }
        )
    return items


ITEMS = made_items()
IDS = [item["id"] for item in ITEMS]


def find(server, *, patience=QUICK, **more):
    search = Search(**more.pop("asking", {}))
    return list(
        find_items(
            [more.pop("at", None) or server.url],
            collection=more.pop("collection", COLLECTION),
            search=search,
            patience=patience,
            **more,
        )
    )


def ids(found):
    found = list(found)
    assert [f.error for f in found if f.error] == []
    return [f.document["id"] for f in found]


def assert_one_line(error, *words):
    assert isinstance(error, OdcBdcError)
    assert "\n" not in str(error)
    for word in words:
        assert word in str(error)


@pytest.fixture(params=STYLES)
def server(request):
    with StacServer(ITEMS, request.param) as running:
        yield running


def test_server_of_these_tests_is_a_stac_api():
    """A client of others reads it as we do; so it is no private dialect."""
    with StacServer(ITEMS) as server:
        client = pystac_client.Client.open(server.url)
        for method in ("GET", "POST"):
            found = client.search(
                method=method, collections=[COLLECTION], limit=4, datetime="2020-01-10/2020-03-10"
            )
            theirs = [item["id"] for item in found.items_as_dicts()]
            assert theirs == [i for i in IDS if "2020-01-17" <= i.split("_")[-2] <= "2020-03-10"]


@given(
    style=st.sampled_from(STYLES),
    limit=st.integers(1, 30),
    most=st.integers(1, 30),
    faults=st.lists(st.sampled_from((*FAULTS[:-1], None)), max_size=9),
)
@example(style="1.0", limit=5, most=99, faults=list(FAULTS))
@example(style="0.9", limit=5, most=3, faults=[None, *FAULTS])
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
def test_each_item_comes_once_whatever_the_pages_and_the_faults(style, limit, most, faults):
    patience = Patience(tries=12, pause=0.001, timeout=0.3 if "silent" in faults else 5.0)
    with StacServer(ITEMS, style) as server:
        server.faults, server.most = list(faults), most
        assert ids(find(server, patience=patience, asking={"limit": limit})) == IDS
        assert server.faults == [] or len(server.searches()) < len(faults) + 1


def test_filters_are_asked_of_the_server(server):
    asking = {"tile": "022024", "time": "2020-02", "bbox": (-53, -11, -50, -8), "limit": 2}
    wanted = [i for i in IDS if "_022024_2020-02" in i or "_022024_2020-01-17" in i]
    assert len(wanted) == 3
    # The made server looks at the datetime only, a real one at the whole period.
    server.ignores = ("datetime",)
    assert ids(find(server, asking=asking)) == wanted
    method, path, _, body = server.searches()[0]
    asked = json.dumps(body) if method == "POST" else path
    for word in ("022024", "2020-02-01", "2020-02-29", "-53", COLLECTION):
        assert word in asked


@pytest.mark.parametrize(
    ("asking", "wanted"),
    [
        ({"tile": "021027"}, [i for i in IDS if "_021027_" in i]),
        ({"tile": ["021027", "020022"]}, [i for i in IDS if "_022024_" not in i]),
        ({"time": "2020-03-01/.."}, [i for i in IDS if i.split("_")[-1] >= "2020-03-01"]),
        ({"bbox": (-54, -9.5, -53.5, -9.2)}, [i for i in IDS if "_021027_" in i]),
        (
            {"geometry": shapely.Polygon([(-54, -9), (-53, -9), (-54, -10)])},
            [i for i in IDS if "_021027_" in i],
        ),
        ({"query": {"eo:cloud_cover": {"lt": 5}}}, IDS[:5]),
        ({"ids": IDS[3:5]}, IDS[3:5]),
        ({"max_items": 7}, IDS[:7]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("obedient", [True, False])
def test_what_the_server_ignores_is_done_here(server, asking, wanted, obedient):
    server.ignores = (
        ("datetime",) if obedient else ("datetime", "bbox", "intersects", "query", "ids")
    )
    assert ids(find(server, asking=asking | {"limit": 4})) == wanted


def test_server_that_knows_no_query_is_asked_without(server):
    server.refuses = ("query",)
    assert ids(find(server, asking={"tile": "021027"})) == [i for i in IDS if "_021027_" in i]


def test_server_that_finds_no_tile_is_asked_for_all(server, monkeypatch):
    monkeypatch.setitem(stac_server._CHECKS, "query", lambda *_: False)
    assert ids(find(server, asking={"tile": "021027"})) == [i for i in IDS if "_021027_" in i]
    assert find(server, asking={"tile": "999999"}) == []


def test_collection_of_an_api_is_a_source(server):
    found = find(server, at=f"{server.url}/collections/{COLLECTION}", asking={"limit": 5})
    assert ids(found) == IDS


def test_other_collections_stay_out():
    with StacServer([*made_items(4, "OTHER-1"), *ITEMS]) as server:
        assert ids(find(server)) == IDS


def test_recorded_items_come_as_they_were_recorded(stac_documents):
    recorded = [d for d in stac_documents if d.get("type") == "Feature"]
    assert len(recorded) > 9
    for style in STYLES:
        with StacServer(recorded, style) as server:
            for document in recorded:
                found = find(server, collection=document["collection"])
                assert document in [f.document for f in found]


def test_pages_are_told(server):
    told = []
    find(server, asking={"limit": 10}, progress=told.append)
    assert told == [
        Progress(server.url, 0),
        *(Progress(server.url, n, len(IDS)) for n in (10, 20, 23)),
    ]


# Faults


@pytest.mark.parametrize("fault", FAULTS)
def test_server_that_never_recovers_is_named(server, fault):
    server.fail_always = fault
    patience = Patience(tries=3, pause=0.001, timeout=0.3 if fault == "silent" else 5.0)
    with pytest.raises(OdcBdcError) as raised:
        find(server, patience=patience)
    assert_one_line(raised.value, server.url)
    assert len(server.searches()) == 3


@pytest.mark.parametrize("is_date", [True, False])
def test_retry_after_is_heeded(server, monkeypatch, is_date):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    later = datetime.now(UTC) + timedelta(seconds=100)
    server.faults = ["429", "503"]
    server.retry_after = format_datetime(later, usegmt=True) if is_date else "70"
    assert ids(find(server)) == IDS
    assert len(slept) == 2
    assert all(60 < s <= 100 for s in slept)


def test_server_that_wants_to_be_left_alone_is_left_alone(server):
    server.faults, server.retry_after = ["429"], "86400"
    with pytest.raises(OdcBdcError, match=r"429 .* over 300 s; try later"):
        find(server)
    assert len(server.searches()) == 1


@pytest.mark.parametrize("sent_as", ["header", "query"])
def test_access_denied_says_what_to_set(server, sent_as):
    server.token, server.token_place = SECRET, sent_as
    with pytest.raises(OdcBdcError) as raised:
        find(server)
    assert_one_line(raised.value, "401", "ODC_BDC_STAC_TOKEN")
    other = "query" if sent_as == "header" else "header"
    for token in (AccessToken("not-the-one", sent_as), AccessToken(SECRET, other)):
        with pytest.raises(OdcBdcError) as raised:
            find(server, token=token)
        assert_one_line(raised.value, f"as {token.sent_as}", "ODC_BDC_STAC_TOKEN")
        assert token.value not in str(raised.value)
    # None of these is worth asking twice.
    assert len(server.asked) == 3


def test_failure_on_the_way_is_an_item_with_an_error(server):
    found = find_items(
        [server.url, server.url],
        collection=COLLECTION,
        search=Search(limit=10),
        patience=Patience(tries=2, pause=0.001),
    )
    given = [next(found) for _ in range(10)]
    server.faults = ["503", "503"]
    given += found
    assert [n for n, f in enumerate(given) if f.error] == [10]
    assert "503" in given[10].error
    # The other source is read in spite of it.
    assert ids(given[11:]) == IDS


def test_unknown_collection_is_told_with_the_known_ones(server):
    with pytest.raises(OdcBdcError) as raised:
        find(server, collection="CB4_64_16D_STK-2")
    assert_one_line(raised.value, "'CB4_64_16D_STK-2'", f"it has: {COLLECTION}")


def test_nothing_that_matches_is_no_error(server):
    assert find(server, asking={"time": "1999"}) == []


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://nobody.invalid/stac", "no host of this name"),
        ("http://127.0.0.1:1/stac", "no server listens there|no server answers there"),
        ("{host}/files/page.html", "not JSON"),
        ("{host}/files/list.json", "not a STAC item, catalog or collection"),
        ("{host}/files/none.json", "HTTP 404"),
        ("{host}/files/broken.json", "not JSON"),
        ("http://[::1", "cannot be"),
    ],
)
def test_address_that_is_no_source_is_named(address, words):
    with StacServer([]) as server:
        server.files = {
            "/files/page.html": b"<!doctype html><p>Our data",
            "/files/list.json": [1, 2],
            "/files/broken.json": b'{"type": "Fea',
        }
        address = address.format(host=server.host)
        with pytest.raises(OdcBdcError, match=words) as raised:
            find(server, at=address)
        assert_one_line(raised.value, address)


def test_server_that_goes_round_in_circles_is_told():
    with StacServer(ITEMS, "0.9") as server:
        server.ignores = ("page",)
        search = server.search
        server.search = lambda method, path, asked: search(method, path, {**asked, "page": 1})
        found = find(server, asking={"limit": 5})
    assert ids(found[:5]) == IDS[:5]
    assert "again and again" in found[-1].error


# Tokens


def everything_of(error):
    """Give all texts of an exception, and of those that it came from."""
    return "".join(traceback.format_exception(error)) + repr(error.__dict__)


@pytest.fixture
def nothing_hidden(caplog):
    """Give what was logged, by all loggers and of all levels."""
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "requests", "pystac_client", "tenacity"):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


def assert_no_secret(text):
    for form in (SECRET, "s3cr3t", "of&it", "of%26it", "access_token"):
        assert form not in text


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("sent_as", ["header", "query"])
@pytest.mark.parametrize("echoes", [True, False])
def test_token_is_in_no_item_and_no_log(nothing_hidden, tmp_path, style, sent_as, echoes):
    resume = Resume(tmp_path / "state.json")
    with StacServer(ITEMS, style) as server:
        server.token, server.token_place, server.echoes = SECRET, sent_as, echoes
        server.faults = ["429", "503", "dropped", "cut"]
        states = ""
        items = find_items(
            [server.url],
            collection=COLLECTION,
            search=Search(limit=5),
            token=AccessToken(SECRET, sent_as),
            resume=resume,
            patience=QUICK,
        )
        found = []
        for item in items:
            found.append(item)
            resume.done(len(found) - 1)
            states += resume.path.read_text("utf-8") if resume.path.exists() else ""
    assert ids(found) == IDS
    assert "next" in states
    logged = [f"{r.getMessage()} {r.args} {r.msg} {r.exc_info}" for r in nothing_hidden.records]
    assert any("urllib3" in r.name for r in nothing_hidden.records)
    for text in (states, repr(found), json.dumps([f.document for f in found]), *logged):
        assert_no_secret(text)
    # What is about the data stays.
    if echoes:
        hrefs = [f.document["assets"]["BAND14"]["href"] for f in found]
        assert hrefs[0] == ITEMS[0]["assets"]["BAND14"]["href"] + "?v=1&w=2"
    else:
        assert [f.document for f in found] == ITEMS


@pytest.mark.parametrize("sent_as", ["header", "query"])
@pytest.mark.parametrize("fault", FAULTS)
def test_token_is_in_no_error(nothing_hidden, sent_as, fault):
    with StacServer(ITEMS) as server:
        server.token, server.token_place, server.fail_always = SECRET, sent_as, fault
        patience = Patience(tries=2, pause=0.001, timeout=0.3 if fault == "silent" else 5.0)
        with pytest.raises(OdcBdcError) as raised:
            find(server, token=AccessToken(SECRET, sent_as), patience=patience)
        host = server.host
    # And now nobody listens there.
    with pytest.raises(OdcBdcError) as gone:
        find(server, token=AccessToken(SECRET, sent_as), patience=patience)
    for error in (raised.value, gone.value):
        assert host in str(error)
        assert_no_secret(everything_of(error))
        assert error.__cause__ is None
        assert error.__context__ is None
    assert_no_secret("".join(r.getMessage() + repr(r.args) for r in nothing_hidden.records))


def test_token_of_an_address_is_a_token(nothing_hidden):
    with StacServer(ITEMS) as server:
        server.token, server.token_place = SECRET, "query"
        address = f"{server.url}?access_token=s3cr3t%2Fwith%2Ball%3Dof%26it"
        found = find(server, at=address)
    assert ids(found) == IDS
    assert_no_secret(repr(found) + "".join(r.getMessage() for r in nothing_hidden.records))


@pytest.mark.parametrize("sent_as", ["header", "query"])
def test_token_is_for_its_host_only(sent_as):
    with StacServer(ITEMS) as server, StacServer(ITEMS) as other:
        server.token, server.token_place = SECRET, sent_as
        server.redirects = {"/stac/search": f"{other.url}/search"}
        find(server, token=AccessToken(SECRET, sent_as), asking={"limit": 4}, hosts=[other.host])
        assert other.searches()
        assert "s3cr3t" in json.dumps(server.asked)
        assert "s3cr3t" not in json.dumps(other.asked)


# Where a search goes on


@pytest.mark.parametrize("limit", [1, 7, 50])
@pytest.mark.parametrize("stop", [0, 1, 8, 23])
def test_search_goes_on_where_it_stopped(server, tmp_path, limit, stop):
    """A run ends after some items that are safe; two runs together have all of them."""
    path = tmp_path / "state" / "search.json"

    def run(resume):
        return find_items(
            [server.url], collection=COLLECTION, search=Search(limit=limit), resume=resume
        )

    first = Resume(path)
    items = run(first)
    before = [next(items).document["id"] for _ in range(stop)]
    first.done(stop)
    items.close()

    asked = len(server.searches())
    second = Resume(path)
    after = ids(run(second))
    assert [*before, *(i for i in after if i not in before)] == IDS
    safe = (stop // limit) * limit
    if stop == len(IDS):
        # The generator was closed before it knew that there is no more.
        assert len(after) in {len(IDS), len(IDS) - (stop - 1) // limit * limit, 0}
    else:
        # What another run has to see again is less than a page; where the last
        # item of a page was given, the page behind it had not been asked for yet.
        assert len(after) <= len(IDS) - safe + limit
    assert second.resumed is path.exists()
    second.done(len(after))
    assert not path.exists()
    assert len(server.searches()) > asked


def test_items_that_are_not_safe_come_again(server, tmp_path):
    """Whoever takes items may still hold some; a run that is killed then loses none."""
    path = tmp_path / "search.json"
    resume = Resume(path)
    search = Search(limit=5)
    items = find_items([server.url], collection=COLLECTION, search=search, resume=resume)
    taken = [next(items).document["id"] for _ in range(17)]
    resume.done(11)
    items.close()
    again = Resume(path)
    rest = ids(find_items([server.url], collection=COLLECTION, search=search, resume=again))
    assert again.resumed
    assert rest == IDS[10:]
    assert set(taken[:11]) | set(rest) == set(IDS)


def test_other_search_begins_anew_and_other_files_are_left_alone(server, tmp_path):
    path = tmp_path / "search.json"
    resume = Resume(path)
    items = find_items([server.url], collection=COLLECTION, search=Search(limit=5), resume=resume)
    for _ in range(6):
        next(items)
    resume.done(6)
    assert path.exists()
    other = Resume(path)
    assert ids(find(server, asking={"limit": 6}, resume=other)) == IDS
    assert not other.resumed
    path.write_text('{"type": "Feature"}', "utf-8")
    with pytest.raises(OdcBdcError, match="not the state of a search"):
        find(server, resume=Resume(path))
    assert path.read_text("utf-8") == '{"type": "Feature"}'


def test_place_that_the_server_forgot_is_the_beginning(tmp_path):
    path = tmp_path / "search.json"
    with StacServer(ITEMS) as server:
        resume = Resume(path)
        items = find_items(
            [server.url], collection=COLLECTION, search=Search(limit=5), resume=resume
        )
        for _ in range(6):
            next(items)
        resume.done(6)
        items.close()
        server.refuses = ("token",)
        again = Resume(path)
        items = find_items(
            [server.url], collection=COLLECTION, search=Search(limit=5), resume=again
        )
        assert [next(items).document["id"] for _ in range(5)] == IDS[:5]
        assert not again.resumed


@pytest.mark.parametrize(("stop", "again"), [(24, 0), (35, 10)])
def test_resume_knows_which_source_it_was(tmp_path, stop, again):
    path = tmp_path / "search.json"
    with StacServer(ITEMS) as one, StacServer(made_items(30)) as two:
        resume = Resume(path)
        sources = [one.url, two.url]
        items = find_items(sources, collection=COLLECTION, search=Search(limit=10), resume=resume)
        for _ in range(stop):
            next(items)
        resume.done(stop)
        items.close()
        asked = len(one.asked)
        rest = find_items(
            sources, collection=COLLECTION, search=Search(limit=10), resume=Resume(path)
        )
        assert ids(rest) == [i["id"] for i in made_items(30)][again:]
        assert len(one.asked) == asked


# Static STAC on a server


def catalog(*hrefs, rel="item", **more):
    return {
        "type": "Catalog",
        "id": "c",
        "description": "c",
        "stac_version": "1.0.0",
        "links": [{"rel": rel, "href": href} for href in hrefs],
        **more,
    }


def test_static_catalog_on_a_server_is_walked():
    with StacServer([]) as server:
        server.files = {
            "/files/catalog.json": catalog("a/catalog.json", "none.json", "loop.json", rel="child"),
            "/files/a/catalog.json": catalog("1.json", "../2.json", "file:///etc/passwd"),
            "/files/loop.json": catalog("catalog.json", "loop.json", rel="child"),
            "/files/a/1.json": ITEMS[0],
            "/files/2.json": ITEMS[1],
        }
        server.faults = ["503", "dropped", "cut", "cut JSON"]
        found = find(server, at=f"{server.host}/files/catalog.json")
        assert [f.document["id"] for f in found if f.document] == IDS[:2]
        errors = [f.error for f in found if f.error]
        assert len(errors) == 2
        assert "leads to no place that a server may link to" in errors[0]
        assert "404" in errors[1]
        assert len([a for a in server.asked if a[1] == "/files/catalog.json"]) <= 5


def test_catalog_on_a_disk_may_lead_to_a_server(tmp_path):
    with StacServer([]) as server:
        server.files = {"/files/1.json": ITEMS[0]}
        path = tmp_path / "catalog.json"
        path.write_text(json.dumps(catalog(f"{server.host}/files/1.json")), "utf-8")
        found = find(server, at=str(path), token=AccessToken(SECRET), hosts=[server.host])
        assert ids(found) == IDS[:1]
        # The token is for hosts that somebody has named, not for those that a file names.
        assert "s3cr3t" not in json.dumps(server.asked)


def test_lines_on_a_server_come_once_though_it_breaks_off():
    lines = b"".join(json.dumps(item).encode() + b"\n" for item in ITEMS)
    with StacServer([]) as server:
        server.files = {"/files/items.ndjson": lines}
        server.faults = ["cut", "dropped", "503"]
        found = find(server, at=f"{server.host}/files/items.ndjson")
    assert ids(found) == IDS
    assert found[4].source == f"{server.host}/files/items.ndjson:5"


def test_result_of_a_search_is_followed_page_by_page():
    with StacServer(ITEMS) as server:
        found = find(server, at=f"{server.url}/search?collections={COLLECTION}&limit=5")
    assert ids(found) == IDS


# Static STAC in a bucket


class _Bucket(BaseHTTPRequestHandler):
    """As much of S3 as a reader needs: lists, heads and objects, whole or in part."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        parts = urlsplit(self.path)
        key = unquote(parts.path).removeprefix("/bucket").strip("/")
        if not key:
            return self.give(200, self.listed(dict(parse_qsl(parts.query)).get("prefix", "")))
        if key.startswith("closed/"):
            return self.give(403, b"<Error><Code>AccessDenied</Code></Error>")
        if key not in self.server.objects:
            return self.give(404, b"<Error><Code>NoSuchKey</Code></Error>")
        content = self.server.objects[key]
        if asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            return self.give(206, content[int(first) : int(last or len(content)) + 1])
        return self.give(200, content)

    def listed(self, prefix):
        found = "".join(
            f"<Contents><Key>{k}</Key><Size>{len(v)}</Size><ETag>&quot;{len(v)}&quot;</ETag>"
            "<LastModified>2020-01-01T00:00:00.000Z</LastModified></Contents>"
            for k, v in sorted(self.server.objects.items())
            if k.startswith(prefix)
        )
        return (
            f"<ListBucketResult><Name>bucket</Name><Prefix>{prefix}</Prefix>"
            f"<IsTruncated>false</IsTruncated>{found}</ListBucketResult>"
        ).encode()

    def give(self, status, content):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", "application/xml")
        self.send_header("Last-Modified", "Wed, 01 Jan 2020 00:00:00 GMT")
        self.send_header("ETag", f'"{len(content)}"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@pytest.fixture
def bucket(monkeypatch):
    """Give the objects of a bucket that s3fs finds on loopback."""
    pytest.importorskip("s3fs", reason="the extra [s3] is absent")
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Bucket)
    server.objects = {}
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.objects
    server.shutdown()
    thread.join()
    server.server_close()
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_bucket_is_a_source(bucket):
    lines = b"".join(json.dumps(item).encode() + b"\n" for item in ITEMS)
    bucket |= {
        "v1/catalog.json": json.dumps(catalog("./a/1.json", "a/2.json", "a/none.json")).encode(),
        "v1/a/1.json": json.dumps(ITEMS[0]).encode(),
        "v1/a/2.json": json.dumps(ITEMS[1]).encode(),
        "items.ndjson.gz": gzip.compress(lines),
    }
    found = find(None, at="s3://bucket/v1/catalog.json")
    assert [f.document["id"] for f in found if f.document] == IDS[:2]
    assert found[0].href == "s3://bucket/v1/a/1.json"
    assert found[2].error == "s3://bucket/v1/a/none.json: no such file"
    assert ids(find(None, at="s3://bucket/items.ndjson.gz")) == IDS
    folder = find(None, at="s3://bucket/v1/a")
    assert ids(folder) == IDS[:2]
    assert folder[1].href == "s3://bucket/v1/a/2.json"


def test_bucket_that_is_closed_is_named(bucket):
    for name in ("closed/catalog.json", "none.json"):
        with pytest.raises(OdcBdcError) as raised:
            find(None, at=f"s3://bucket/{name}")
        assert_one_line(raised.value, f"s3://bucket/{name}")
