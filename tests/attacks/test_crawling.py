"""Servers of items and files that lead elsewhere, do not end, or want what is not theirs."""

from __future__ import annotations

import gzip
import itertools
import json
import logging
import socket
import sys
import time
import zlib
from urllib.parse import urlsplit

import pytest
from raw_server import RawServer
from stac_server import StacServer

from odc_bdc.errors import OdcBdcError
from odc_bdc.files import Access, SceneFiles
from odc_bdc.indexing.sources import AccessToken, Limits, Patience, Search, find_items

COLLECTION = "CB4-1"
QUICK = Patience(tries=2, pause=0.001, longest=0.1, timeout=0.5)
SMALL = Limits(document_mb=1, file_mb=2, documents=50, depth=5)
SECRET = "s3cr3t-t0ken"  # noqa: S105 (of the test's own server)

# Spellings of this machine, its network and the machinery of clouds.
PRIVATE = (
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/",
    "http://192.168.0.1:8080/",
    "http://127.0.0.1:1/",
    "http://127.1:1/",
    "http://[::1]:1/",
    "http://[fd00::1]/",
    "http://[fe80::1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://0.0.0.0:1/",
    "http://2852039166/",
    "http://0251.0376.0251.0376/",
    "http://0xa9fea9fe/",
    "http://localhost:1/",
    "http://metadata.example/",  # a name that leads to 169.254.169.254
)
ELSEWHERE = ("https://other.example/", "s3://other-bucket/1.json", "ftp://other.example/")

_watched = None


def _hook(event, args):
    if event == "socket.connect" and _watched is not None and isinstance(args[1], tuple):
        _watched.append(args[1][:2])
        if not args[1][0].startswith("127.") or args[1][1] == 1:
            raise PermissionError(f"the test lets nobody connect to {args[1]}")


sys.addaudithook(_hook)


@pytest.fixture
def connections():
    """Give host and port of all connections that are tried; those that leave loopback fail."""
    global _watched  # noqa: PLW0603 (a hook cannot be taken off)
    _watched = []
    yield _watched
    _watched = None


@pytest.fixture(autouse=True)
def names(monkeypatch):
    """Let names lead somewhere without asking anybody; give where, as lists to be taken in turn."""
    known = {"metadata.example": ["169.254.169.254"], "localhost": ["127.0.0.1"]}
    real = socket.getaddrinfo

    def look_up(host, port, *args, **kwargs):
        found = known.get(host)
        if found is None:
            kwargs["flags"] = socket.AI_NUMERICHOST
            return real(host, port, *args, **kwargs)
        address = found.pop(0) if len(found) > 1 else found[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


def items(count=6, collection=COLLECTION):
    return [
        {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": f"scene-{n}",
            "collection": collection,
            "geometry": {"type": "Point", "coordinates": [-50, -10]},
            "bbox": [-50, -10, -50, -10],
            "properties": {"datetime": "2020-01-01T00:00:00Z"},
            "assets": {"B1": {"href": f"https://data.example/{n}.tif"}},
            "links": [],
        }
        for n in range(count)
    ]


def find(source, limits=SMALL, patience=QUICK, **more):
    more.setdefault("search", Search(limit=2))
    return list(
        find_items([source], collection=COLLECTION, patience=patience, limits=limits, **more)
    )


def error_of(source, **more):
    """Give what is said in the end, which is one line of no great length."""
    try:
        said = find(source, **more)[-1].error
    except OdcBdcError as e:
        said = str(e)
    assert said
    assert "\n" not in said
    assert len(said) < 500
    return said


def assert_only(connections, *servers):
    """See that nobody else was connected to, not even tried."""
    assert connections
    assert {(host, port) for host, port in connections} <= {
        ("127.0.0.1", urlsplit(server.host).port) for server in servers
    }


@pytest.mark.parametrize("address", [*PRIVATE, *ELSEWHERE])
def test_next_page_is_elsewhere(address, connections, record_property):
    """A link to the next page that leads into this network, or to another host."""
    with StacServer(items()) as server:
        server.next_link = lambda *_: {"rel": "next", "href": address}
        found = find(server.url)
        assert [f.document["id"] for f in found[:-1]] == ["scene-0", "scene-1"]
        assert_only(connections, server)
    assert any(word in found[-1].error for word in ("not asked", "no place"))
    record_property("answer", found[-1].error.partition(": ")[2])


@pytest.mark.parametrize("address", [*PRIVATE, *ELSEWHERE, "file:///etc/passwd", "gopher://h/"])
def test_redirect_leads_elsewhere(address, connections, record_property):
    """A search that is redirected into this network, or to another host."""
    with StacServer(items()) as server:
        server.redirects = {"/stac/search": address}
        said = error_of(server.url)
        assert_only(connections, server)
    assert "redirect is not followed" in said
    record_property("answer", said.partition(": ")[2])


@pytest.mark.parametrize("address", [*PRIVATE, *ELSEWHERE])
def test_catalog_leads_elsewhere(address, connections, record_property):
    """A static catalog whose links lead into this network, or to another host."""
    catalog = {"type": "Catalog", "stac_version": "1.0.0", "id": "c", "links": []}
    catalog["links"] = [{"rel": "item", "href": href} for href in (address, "1.json")]
    with StacServer([]) as server:
        server.files = {"/files/catalog.json": catalog, "/files/1.json": items(1)[0]}
        found = find(f"{server.host}/files/catalog.json")
        assert_only(connections, server)
    assert [f.document["id"] for f in found if f.document] == ["scene-0"]
    said = next(f.error for f in found if f.error)
    assert "not asked" in said or "no place" in said
    record_property("answer", said.partition(": ")[2] or said)


def test_name_leads_elsewhere_the_second_time(names, connections, record_property):
    """A name that is public when it is checked, and private when it is connected to."""
    names["rebind.example"] = ["93.184.216.34", "169.254.169.254"]
    with pytest.raises(OdcBdcError) as told:
        find("http://rebind.example/stac", patience=Patience(tries=1, pause=0.001))
    assert connections == [("93.184.216.34", 80)]
    record_property("answer", "the address that was checked is the one that is connected to")
    assert "rebind.example" in str(told.value)


def test_source_by_name_leads_into_the_network(names, connections, record_property):
    """A source whose owner lets its name lead into this network."""
    names["stac.example"] = ["10.1.2.3"]
    said = error_of("http://stac.example/stac")
    assert not connections
    assert "10.1.2.3" in said
    record_property("answer", said)


def test_private_server_that_is_named_is_asked(names, connections):
    """No attack: a server of this network that the admin names, by its address or as localhost."""
    with StacServer(items()) as server:
        port = urlsplit(server.host).port
        names["stac.intern"] = ["127.0.0.1"]
        assert len(find(server.url)) == 6
        assert len(find(f"http://localhost:{port}/stac", hosts=[server.host])) == 6
        assert len(find(f"http://stac.intern:{port}/stac", hosts=[server.host])) == 6
        with pytest.raises(OdcBdcError, match="no public address"):
            find(f"http://stac.intern:{port}/stac", hosts=["127.0.0.1:1"])
        assert_only(connections, server)


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "TRACE", "POST /x HTTP/1.1\r\nX:"])
def test_next_page_by_another_method(method, record_property):
    """A link to the next page that asks for a method that changes something."""
    with StacServer(items()) as server:
        server.next_link = lambda *_: {"rel": "next", "href": server.url, "method": method}
        said = error_of(server.url)
        assert {asked[0] for asked in server.asked} <= {"GET", "POST"}
    assert "method" in said
    record_property("answer", said.partition(": ")[2])


def test_next_page_sets_headers(record_property):
    """A link to the next page with headers that say who asks, or of whom."""
    wanted = {
        "Authorization": "Bearer x", "Cookie": "a=b", "Host": "intern", "X-Forwarded-For": "::1",
        "Metadata-Flavor": "Google", "X-aws-ec2-metadata-token": "x", "Content-Length": "9",
        "Transfer-Encoding": "chunked", "X-HTTP-Method-Override": "DELETE", "X-Api-Key": "x",
        "bad name": "x", "Two\r\nLines": "x", "Split": "a\r\nb: c",
    }  # fmt: skip
    with StacServer(items()) as server:
        real = server.next_link
        server.next_link = lambda *asked: {
            **real(*asked), "headers": {**wanted, "Search-After": "x"},
        }  # fmt: skip
        found = find(server.url)
        headers = {k.lower(): v for k, v in server.searches()[-1][2].items()}
    assert [f.error for f in found if f.error] == []
    assert len(found) == 6
    assert headers["search-after"] == "x"
    for name, value in wanted.items():
        assert headers.get(name.lower()) != value
    record_property("answer", "only headers that are of a search are sent")


def test_pages_that_hold_the_same_items(record_property):
    """Pages without end, each with another link, that hold the same items."""
    most = 10**6
    with StacServer(items(2)) as server:
        count = itertools.count(1)
        server.next_link = lambda *_: {
            "rel": "next",
            "href": f"{server.url}/search?n={next(count)}",
        }
        search = server.search
        server.search = lambda method, path, asked: {
            **search(method, path, asked),
            "links": [server.next_link()] if len(server.asked) < most else [],
        }
        found = find(server.url, limits=Limits())
        assert len(server.asked) < 30
    assert "again and again" in found[-1].error
    record_property("answer", f"left after {len(server.asked)} of {most} pages")


def test_pages_without_end(record_property):
    """Pages without end, each with one more item."""
    with StacServer(items(1)) as server:
        count = itertools.count(1)

        def search(*_):
            n = next(count)
            return {
                "type": "FeatureCollection",
                "features": [{**server.items[0], "id": f"scene-{n}"}],
                "links": [{"rel": "next", "href": f"{server.url}/search?n={n}"}],
            }

        server.search = search
        said = error_of(server.url)
        assert len(server.searches()) <= SMALL.documents + 1
    assert "more than 50 pages" in said
    record_property("answer", said.partition(": ")[2])


@pytest.mark.parametrize("shape", ["deep", "wide"])
def test_catalogs_without_end(shape, record_property):
    """A static catalog that leads to ever new catalogs, deeper or side by side."""

    def answer(head):
        path = head.split()[1].strip("/")
        names = [f"{path}x"] if shape == "deep" else [f"{path}{n}" for n in range(9)]
        catalog = {"type": "Catalog", "stac_version": "1.0.0", "id": path}
        catalog["links"] = [{"rel": "child", "href": f"/{name}"} for name in names]
        text = json.dumps(catalog).encode()
        yield b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(text)
        yield text

    with RawServer(answer) as server:
        said = error_of(f"{server.host}/c")
        assert len(server.asked) <= 60
    assert "deep" in said if shape == "deep" else "more than 50 documents" in said
    record_property("answer", said)


def head(**headers):
    lines = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items())
    return f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode()


def bomb(begin=b"[", rest=b" " * (1 << 20), count=400):
    """Give few bytes that unpack into many."""
    pack = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    yield pack.compress(begin)
    for _ in range(count):
        yield pack.compress(rest)
    yield pack.flush()


def slowly(text, pause=0.1):
    for n in range(len(text)):
        yield text[n : n + 1]
        time.sleep(pause)


ENDLESS = {
    "gzip bomb": lambda: itertools.chain([head(Content_Encoding="gzip")], bomb()),
    "gzip in gzip": lambda: [
        head(Content_Encoding="gzip, gzip", Connection="close"), gzip.compress(b"".join(bomb()))
    ],
    "chunks": lambda: itertools.chain(
        [head(Transfer_Encoding="chunked")], itertools.repeat(b"10000\r\n" + b" " * 65536 + b"\r\n")
    ),
    "extensions of chunks": lambda: itertools.chain(
        [head(Transfer_Encoding="chunked")], itertools.repeat(b"1;" + b"x" * 65000 + b"\r\n \r\n")
    ),
    "body": lambda: itertools.chain([head(Connection="close")], itertools.repeat(b" " * 65536)),
    "headers": lambda: itertools.chain([b"HTTP/1.1 200 OK\r\n"], itertools.repeat(b"A: b\r\n")),
    "a header": lambda: itertools.chain([b"HTTP/1.1 200 OK\r\nA: "], itertools.repeat(b"x" * 4096)),
    "100 Continue": lambda: itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "slow head": lambda: slowly(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000),
    "slow body": lambda: itertools.chain([head(Content_Length="9999")], slowly(b" " * 9999)),
    "body of a redirect": lambda: itertools.chain(
        [b"HTTP/1.1 302 No\r\nLocation: http://10.0.0.1/\r\n\r\n"], itertools.repeat(b" " * 65536)
    ),
    "body of a refusal": lambda: itertools.chain(
        [b"HTTP/1.1 500 No\r\n\r\n"], itertools.repeat(b" " * 65536)
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ENDLESS)
def test_answer_without_end(what, connections, record_property):
    """A document whose answer does not end, or comes drop by drop."""
    with RawServer(lambda _: ENDLESS[what]()) as server:
        said = error_of(f"{server.host}/catalog.json")
        assert server.sent < 64 << 20
        assert len(server.asked) <= QUICK.tries
        assert_only(connections, server)
    record_property("answer", f"{said.partition(': ')[2]} ({server.sent >> 10} KB were sent)")


@pytest.mark.parametrize("name", ["items.ndjson", "items.ndjson.gz", "catalog.json.gz"])
def test_line_without_end(name, tmp_path, record_property):
    """A file of items whose line, packed or not, does not end."""
    text = b'{"type": ' + b" " * (3 << 20)
    packed = gzip.compress(text) if name.endswith(".gz") else text[: 2 << 20]
    path = tmp_path / name
    path.write_bytes(packed)
    said = error_of(str(path))
    assert "longer than 1 MB" in said
    with StacServer([]) as server:
        server.files = {f"/{name}": packed}
        said = error_of(f"{server.host}/{name}")
    assert "longer than" in said or "not JSON" in said
    record_property("answer", said)


# Files of pixels


def pixels(url, access=None, environ=None, *, named=True):
    hosts = {"ODC_BDC_HOSTS": "127.0.0.1/32"} if named else {}
    files = SceneFiles(Access.from_dict(access or {}), {**hosts, **(environ or {})}, QUICK)
    with files.get(url).open([(0, 4)]) as opened:
        return opened.read(0, 4)


@pytest.mark.parametrize("told", ["more", "the truth", "another part", "all"])
def test_part_that_is_longer_than_asked(told, record_property):
    """A range of a file that brings more than was asked for, without end."""
    spans = {"more": "0-0", "the truth": "0-999999999", "another part": "5-5", "all": "0-*"}

    def answer(_):
        length = {"more": 1 << 30, "the truth": 10**9, "another part": 1, "all": 1 << 30}[told]
        span = f"Content-Range: bytes {spans[told]}/1000000000\r\nContent-Length: {length}\r\n\r\n"
        yield f"HTTP/1.1 206 Partial Content\r\n{span}".encode()
        yield from itertools.repeat(b"x" * 65536)

    with RawServer(answer) as server:
        if told == "more":
            # No more is read than was asked for.
            files = SceneFiles(None, {"ODC_BDC_HOSTS": "127.0.0.1/32"}, QUICK)
            try:
                assert files.version(f"{server.host}/a.tif").size == 10**9
                said = "what is behind it is not read"
            except OdcBdcError as e:
                said = str(e)
        else:
            with pytest.raises(OdcBdcError) as raised:
                pixels(f"{server.host}/a.tif")
            said = str(raised.value)
        assert server.sent < 16 << 20
    record_property("answer", said)


@pytest.mark.parametrize("address", PRIVATE)
def test_pixels_are_elsewhere(address, connections, record_property):
    """A file whose address, or whose redirect, leads into this network."""
    with pytest.raises(OdcBdcError, match="not asked") as told:
        pixels(f"{address}a.tif", named=False)
    assert not connections
    with StacServer([]) as server:
        server.redirects = {"/a.tif": f"{address}a.tif?sig={SECRET}"}
        named = {"ODC_BDC_HOSTS": server.host}
        with pytest.raises(OdcBdcError, match=r"not followed|not asked") as led:
            pixels(f"{server.host}/a.tif", environ=named)
        assert_only(connections, server)
    assert SECRET not in str(led.value)
    record_property("answer", str(told.value).partition(": cannot be read: ")[2])


# Tokens and signatures


@pytest.mark.parametrize("sent_as", ["header", "query"])
@pytest.mark.parametrize("way", ["redirect", "next"])
def test_token_is_asked_for_by_another_host(sent_as, way, record_property):
    """A redirect, or a link, to another host that may be asked, and would like the token."""
    with StacServer(items()) as server, StacServer(items()) as other:
        server.token, server.token_place = SECRET, sent_as
        if way == "redirect":
            server.redirects = {"/stac/search": f"{other.url}/search"}
        else:
            server.next_link = lambda *_: {
                "rel": "next",
                "href": f"{other.url}/search?token=next:2",
            }
        found = find(server.url, token=AccessToken(SECRET, sent_as), hosts=[other.host])
        assert len(found) == 6
        assert SECRET in json.dumps(server.asked)
        assert other.asked
        assert SECRET not in json.dumps(other.asked)
    record_property("answer", "the other host gives its items, and sees no token")


SIGNED = {
    "SAS": f"sv=2022&se=2030-01-01&sr=b&sp=r&sig={SECRET}%3D",
    "AWS": f"X-Amz-Credential=C&X-Amz-Security-Token=t0k&X-Amz-Signature={SECRET}",
    "AWS 2": f"AWSAccessKeyId=C&Expires=9&Signature={SECRET}",
    "CloudFront": f"Policy=p&Key-Pair-Id=k&Signature={SECRET}",
    "Google": f"X-Goog-Algorithm=A&X-Goog-Credential=C&X-Goog-Signature={SECRET}",
    "key": f"api_key={SECRET}",
}


@pytest.mark.parametrize("kind", SIGNED)
@pytest.mark.parametrize("place", ["API", "file", "disk"])
def test_signature_of_an_address_is_given_on(kind, place, tmp_path, caplog, record_property):
    """Items whose addresses are signed, for the index and the logs to show."""
    caplog.set_level(logging.DEBUG)
    made = items(3)
    for item in made:
        item["assets"]["B1"]["href"] += f"?v=1&{SIGNED[kind]}"
        item["links"] = [{"rel": "self", "href": f"https://data.example/i.json?{SIGNED[kind]}"}]
    text = json.dumps({"type": "FeatureCollection", "features": made})
    with StacServer(made) as server:
        server.files = {"/items.json": text.encode()}
        (tmp_path / "items.json").write_text(text)
        found = find({
            "API": server.url, "file": f"{server.host}/items.json", "disk": tmp_path / "items.json"
        }[place])  # fmt: skip
    assert len(found) == 3
    for one in found:
        shown = f"{one.source} {one.href} {json.dumps(one.document)} {one.error}"
        assert SECRET not in shown
        assert one.document["assets"]["B1"]["href"].endswith(".tif?v=1")
    assert SECRET not in caplog.text
    record_property("answer", "the address is indexed without it")


def test_signed_source_is_asked_and_not_shown(caplog, record_property):
    """A source whose address is signed, for messages and logs to show."""
    caplog.set_level(logging.DEBUG)
    catalog = {"type": "Catalog", "stac_version": "1.0.0", "id": "c"}
    catalog["links"] = [{"rel": "item", "href": href} for href in ("1.json", "none.json", "http:[")]
    with StacServer([]) as server:
        server.files = {"/catalog.json": catalog, "/1.json": items(1)[0]}
        found = find(f"{server.host}/catalog.json?{SIGNED['SAS']}")
        asked = [path for _, path, _, _ in server.asked]
    assert all(f"sig={SECRET}%3D" in path for path in asked)
    assert len(asked) == 3
    assert SECRET not in repr([(f.source, f.href, f.document, f.error) for f in found])
    assert SECRET not in caplog.text
    record_property("answer", "it is sent to its host, and shown nowhere")
