"""Files on disks and servers, each read as one version; access, and secrets that stay secret."""

import json
import logging
import multiprocessing
import os
import pickle
import sys
import time
import types
from itertools import pairwise

import numpy as np
import pytest
import rasterio
from affine import Affine
from file_server import FileServer
from hypothesis import given
from hypothesis import strategies as st
from made_plugins import install

from odc_bdc.errors import InvalidValueError, OdcBdcError, ReplacedFileError, SceneError
from odc_bdc.files import Access, AccessRule, SceneFiles, Versions, plain_href, read_access
from odc_bdc.files.remote import _merged
from odc_bdc.indexing.sources import HOSTS_VARIABLE, Patience

QUICK = Patience(tries=3, pause=0.001, longest=0.5, timeout=0.3)
SECRET = "s3cr3t-t0ken"  # noqa: S105 (of the test's own server)
TEXT = bytes(range(256)) * 2000


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "a.bin").write_bytes(TEXT)
    with FileServer(folder) as running:
        yield running


def files(access=None, environ=None):
    environ = {HOSTS_VARIABLE: "127.0.0.0/8", **(environ or {})}
    return SceneFiles(Access.from_dict(access or {}), environ, QUICK)


def read(href, *places, using=None):
    with (using or files()).get(href).open(places) as opened:
        return [bytes(opened.read(*place)) for place in places]


def write_tif(path, pixels, **how):
    shape = {"height": pixels.shape[0], "width": pixels.shape[1], "count": 1}
    how = {"tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "DEFLATE"} | how
    where = {"transform": Affine.translation(7, 9), "crs": "EPSG:32723"}
    with rasterio.open(
        path, "w", driver="GTiff", dtype=pixels.dtype.name, **shape, **where, **how
    ) as out:
        out.write(pixels, 1)
    return pixels


# Parts


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**6)), max_size=20))
def test_parts_are_joined_so_that_each_lies_in_one(places):
    spans = _merged(places)
    assert all(start < stop for start, stop in spans)
    for offset, size in places:
        inside = [a <= offset and offset + size <= b for a, b in spans]
        assert any(inside) or not size
    assert all(a[1] < b[0] or b[1] - a[0] > 1 << 23 for a, b in pairwise(spans))


@pytest.mark.parametrize("marks", [("ETag",), ("Last-Modified",), ()])
def test_bytes_are_those_of_the_file(server, marks):
    server.marks = marks
    places = [(0, 10), (300_000, 7), (40, 60), (511_990, 50), (600_000, 5)]
    found = read(f"{server.url}/a.bin", *places)
    assert found == [TEXT[offset : offset + size] for offset, size in places]
    # One to see the version, and one for what lies near each other.
    assert len(server.asked) == 4


def test_any_name_that_http_can_carry(server):
    (server.folder / "ä b+%.bin").write_bytes(b"hello")
    assert read(f"{server.url}/%C3%A4%20b+%25.bin", (0, 9)) == [b"hello"]


def test_a_local_file_is_read_the_same_way(server):
    path = server.folder / "a.bin"
    for href in (str(path), path.as_uri()):
        assert read(href, (300, 20), (511_990, 50)) == [TEXT[300:320], TEXT[511_990:]]


@pytest.mark.parametrize("fault", [429, 500, 503, "dropped", "cut", "silent"])
def test_what_passes_is_waited_for(server, fault):
    server.faults = [fault, fault]
    assert read(f"{server.url}/a.bin", (5, 5)) == [TEXT[5:10]]


FOR_GOOD = [
    (404, "HTTP 404 Not Found"),
    (403, "HTTP 403 Forbidden: it wants a token or a signature; .*ODC_BDC_ACCESS"),
    (500, "HTTP 500 Internal Server Error"),
    ("silent", "no answer within 0.3 s"),
    ("dropped", "the connection was dropped"),
    ("cut", "the connection was dropped"),
    ("drip", "the answer comes too slowly"),
]


@pytest.mark.parametrize(("fault", "message"), FOR_GOOD)
def test_what_does_not_is_told_in_bounded_time(server, fault, message):
    using = files()
    file = using.get(f"{server.url}/a.bin?sig=abc")
    server.fail_always = fault
    begun = time.monotonic()
    with pytest.raises(SceneError, match=message) as told, file.open([(0, 400)]):
        pass
    assert str(told.value).startswith(f"{server.url}/a.bin: cannot be read: ")
    assert "sig=" not in str(told.value)
    assert len(str(told.value).splitlines()) == 1
    # Three silences, or three times as long for an answer that drips in.
    assert time.monotonic() - begun < 30 * QUICK.timeout


def test_a_server_that_is_gone_is_not_asked_again_and_again(server, monkeypatch):
    using = files()
    server.fail_always = "dropped"
    for _ in range(5):
        with pytest.raises(SceneError, match="dropped"):
            using.version(f"{server.url}/a.bin")
    assert len(server.asked) == QUICK.tries
    # After a while it is.
    server.fail_always = None
    now = time.monotonic()
    monkeypatch.setattr(using._servers, "_clock", lambda: now + 11)
    assert using.version(f"{server.url}/a.bin").size == len(TEXT)


def test_a_file_that_is_missing_says_nothing_of_its_server(server):
    using = files()
    with pytest.raises(SceneError, match="404"):
        using.version(f"{server.url}/none.bin")
    assert using.version(f"{server.url}/a.bin").size == len(TEXT)


def test_nobody_listens():
    with pytest.raises(SceneError, match=r"^http://127\.0\.0\.1:9/a\.tif: .*no server answers"):
        files().version("http://127.0.0.1:9/a.tif")


def test_a_server_without_parts_is_told(server):
    server.has_ranges = False
    with pytest.raises(SceneError, match="gives no parts of files"):
        files().version(f"{server.url}/a.bin")


# Access


def test_a_token_is_sent_as_the_rule_says(server):
    ways = [
        ({}, lambda headers, _: headers.get("x-api-key") == SECRET),
        (
            {"name": "Authorization", "scheme": "Bearer"},
            lambda headers, _: headers.get("Authorization") == f"Bearer {SECRET}",
        ),
        ({"sent_as": "query"}, lambda _, query: query.get("access_token") == SECRET),
        ({"sent_as": "query", "name": "key"}, lambda _, query: query.get("key") == SECRET),
    ]
    for rule, wants in ways:
        server.wants = wants
        access = {f"{server.url}/a": {"token": "ODC_BDC_A_TOKEN", **rule}}
        using = files(access, {"ODC_BDC_A_TOKEN": SECRET})
        assert read(f"{server.url}/a.bin", (5, 5), using=using) == [TEXT[5:10]]


def test_a_token_goes_nowhere_else(server, tmp_path):
    with FileServer(server.folder) as other:
        using = files(
            {f"{server.url}/sub/": {"token": "ODC_BDC_A_TOKEN"}}, {"ODC_BDC_A_TOKEN": SECRET}
        )
        using.version(f"{server.url}/a.bin")
        using.version(f"{other.url}/a.bin")
        with pytest.raises(SceneError, match="404"):
            using.version(f"{server.url}/sub/a.bin")
    has_token = ["X-Api-Key" in {k.title() for k in headers} for _, headers in server.asked]
    assert has_token == [False, True]
    assert not any("X-Api-Key" in {k.title() for k in headers} for _, headers in other.asked)


def test_a_token_that_is_wrong_or_missing_is_told_and_not_shown(server, caplog):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "urllib3.connectionpool")
    server.wants = lambda *_: False
    access = {server.url: {"token": "ODC_BDC_A_TOKEN", "sent_as": "query", "name": "key"}}
    with pytest.raises(SceneError, match=r"see that ODC_BDC_A_TOKEN is valid") as told:
        files(access, {"ODC_BDC_A_TOKEN": SECRET}).version(f"{server.url}/a.bin?sig=abcdef")
    assert SECRET in server.asked[-1][0]
    assert SECRET not in str(told.value) + caplog.text
    with pytest.raises(SceneError, match="need an access token; set ODC_BDC_A_TOKEN"):
        files(access).version(f"{server.url}/a.bin")
    with pytest.raises(SceneError, match="ODC_BDC_A_TOKEN: an access token has") as told:
        files(access, {"ODC_BDC_A_TOKEN": "abc"}).version(f"{server.url}/a.bin")


@pytest.fixture
def signer(monkeypatch, tmp_path_factory):
    """Install a module whose function signs with a number that only the last server knows."""
    names = {name: name for name in ("sign", "nothing", "fails", "elsewhere")}
    folder = tmp_path_factory.mktemp("installed")
    install(folder, "my_signer", "", signers={"my-signer": "sign", **names})
    install(folder, "lost", "raise ImportError('it is broken')", signers={"lost": "sign"})
    for name in ("one", "two"):
        install(folder, f"signer_{name}", "", signers={"double": "sign"})
    monkeypatch.syspath_prepend(str(folder))
    module = types.ModuleType("my_signer")
    module.number = 1

    def sign(href):
        module.asked += 1
        return f"{href}?signature={SECRET}{module.number}"

    module.asked, module.sign = 0, sign
    monkeypatch.setitem(sys.modules, "my_signer", module)
    return module


def test_addresses_are_signed_and_signed_again_when_that_has_ended(server, signer, caplog):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "urllib3.connectionpool")
    server.wants = lambda _, query: query.get("signature") == f"{SECRET}{signer.number}"
    using = files({server.url: {"sign": "my-signer"}})
    for _ in range(3):
        assert read(f"{server.url}/a.bin", (5, 5), using=using) == [TEXT[5:10]]
    assert signer.asked == 1
    signer.number = 2
    assert read(f"{server.url}/a.bin", (5, 5), using=using) == [TEXT[5:10]]
    assert signer.asked == 2
    assert "/a.bin HTTP/1.1" in caplog.text
    server.wants = lambda *_: False
    with pytest.raises(SceneError, match="does not take what my-signer has signed") as told:
        using.version(f"{server.url}/a.bin")
    assert SECRET not in str(told.value) + caplog.text


@pytest.mark.parametrize(
    ("sign", "message"),
    [
        ("no-such", "`sign` 'no-such' is no installed entry point of odc_bdc.signers; .*my-signer"),
        ("my-sigmer", "do you mean my-signer.*; there is .*: install the package that has it"),
        ("lost", "'lost' .* cannot be imported: it is broken"),
        ("double", "is installed more than once .*signer_one:sign, signer_two:sign"),
        ("nothing", "has no attribute 'nothing'"),
        ("fails", "fails fails: ValueError"),
        ("elsewhere", "elsewhere gives no address"),
    ],
)
def test_a_function_that_does_not_sign_is_told(server, signer, sign, message):
    def fails(href):
        raise ValueError(SECRET)

    signer.fails, signer.elsewhere = fails, lambda _: "/etc/passwd"
    with pytest.raises(SceneError, match=message) as told:
        files({server.url: {"sign": sign}}).version(f"{server.url}/a.bin")
    assert SECRET not in str(told.value)


def test_a_function_may_sign_where_python_gives_the_rules(server, signer):
    server.wants = lambda _, query: query.get("signature") == f"{SECRET}{signer.number}"
    access = Access.from_dict({f"{server.url}/": {"sign": signer.sign}})
    assert pickle.loads(pickle.dumps(Access.from_dict({"s3://b/": {"sign": len}})))  # noqa: S301
    using = SceneFiles(access, {HOSTS_VARIABLE: "127.0.0.0/8"}, QUICK)
    assert read(f"{server.url}/a.bin", (5, 5), using=using) == [TEXT[5:10]]
    with pytest.raises(InvalidValueError, match="do you mean token"):
        Access.from_dict({"https://h/": {"sign": len, "tokn": "ODC_BDC_A"}})


def test_the_signer_that_comes_along_says_what_it_needs(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "planetary_computer", None)
    with pytest.raises(SceneError, match="pip install planetary-computer"):
        files({server.url: {"sign": "planetary-computer"}}).version(f"{server.url}/a.bin")
    module = types.ModuleType("planetary_computer")
    module.sign = lambda href: f"{href}?sig=1"
    monkeypatch.setitem(sys.modules, "planetary_computer", module)
    files({server.url: {"sign": "planetary-computer"}}).version(f"{server.url}/a.bin")
    assert server.asked[-1][0] == "/a.bin?sig=1"


def test_the_longest_prefix_counts_and_hosts_are_whole():
    access = Access.from_dict(
        {
            "https://host.example": {"token": "ODC_BDC_A"},
            "https://host.example/b/": {"sign": "m.f"},
            "s3://bucket/": {"sign": "m-g"},
        }
    )
    found = {
        href: access.rule(href)
        for href in (
            "https://host.example/a.tif",
            "https://HOST.example/b/a.tif",
            "s3://bucket/a.tif",
            "https://host.example.evil.com/a.tif",
            "http://host.example/a.tif",
            "https://host.example:444/a.tif",
            "https://host.example@evil.com/a.tif",
            "s3://bucket2/a.tif",
            "/host.example/a.tif",
        )
    }
    assert [r and (r.sign or r.token) for r in found.values()] == [
        "ODC_BDC_A", "m.f", "m-g", *[None] * 6,
    ]  # fmt: skip


RULES = st.builds(
    AccessRule,
    st.sampled_from(["https://a.example/", "http://b.example/c/", "s3://d/"]),
    st.sampled_from(["m.n-f", "m-g"]),
)


@given(st.lists(RULES, unique_by=lambda rule: rule.prefix))
def test_rules_are_written_and_read(rules):
    access = Access(tuple(rules))
    assert Access.from_dict(json.loads(json.dumps(access.to_dict()))) == access
    assert pickle.loads(pickle.dumps(access)) == access  # noqa: S301


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"https://h/": {"token": "AWS_SECRET_ACCESS_KEY"}}, "begins with ODC_BDC_"),
        ({"https://h/": {"token": SECRET}}, "never the token itself"),
        ({"https://h/": {"sign": "os:system"}}, "module:function is not taken"),
        ({"https://h/": {"tokn": "ODC_BDC_A"}}, "do you mean token"),
        ({"https://h/": {}}, "names how addresses are signed"),
        ({"h": {"sign": "a-b"}}, "beginning of addresses"),
        ({"https://user@h/": {"sign": "a-b"}}, "beginning of addresses"),
        ({"s3://b/": {"token": "ODC_BDC_A"}}, "buckets take no token"),
        ({"https://h/": {"sign": "a-b", "name": "key"}}, "are of a `token`"),
        (
            {"https://h/": {"token": "ODC_BDC_A", "sent_as": "query", "scheme": "Bearer"}},
            "is of a header",
        ),
        ([], "rules by the beginning"),
    ],
)
def test_a_rule_that_is_none_is_told(rules, message, tmp_path):
    path = tmp_path / "access.yaml"
    path.write_text(json.dumps(rules), "utf-8")
    with pytest.raises(InvalidValueError, match=message) as told:
        read_access(path)
    assert str(told.value).startswith(str(path))


def test_queries_are_not_shown():
    assert plain_href("https://me:pw@h/a.tif?x=1#y") == "https://h/a.tif"
    assert plain_href("/data/what?.tif") == "/data/what?.tif"


# Versions


@pytest.mark.parametrize("marks", [("ETag",), ()])
@pytest.mark.parametrize("kind", ["http", "file"])
def test_a_file_that_is_replaced_is_noticed_and_never_mixed(server, kind, marks):
    server.marks = marks
    path = server.folder / "a.bin"
    href = f"{server.url}/a.bin" if kind == "http" else str(path)
    using = files()
    before = using.get(href)
    # Without a mark only the size tells; and a disk must see that time has passed.
    path.write_bytes(TEXT[::-1] + (b"" if marks and kind == "http" else b"!"))
    told = r"a\.bin: was replaced while it was read"
    with pytest.raises(ReplacedFileError, match=told), before.open() as opened:
        opened.read(300_000, 10)
    assert using.version(href) != before.version


def test_a_file_that_somebody_writes_into_while_it_is_read_is_noticed(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(TEXT)
    file = files().get(str(path))

    def read_and_write():
        with file.open() as opened:
            opened.read(0, 10)
            with path.open("r+b") as other:
                other.write(b"other")
            os.utime(path, ns=(1, 1))
            opened.read(10, 10)

    with pytest.raises(ReplacedFileError):
        read_and_write()


def test_versions_are_looked_at_only_from_time_to_time(server):
    now = [0.0]
    versions = Versions(files(), local=1.0, remote=5.0, clock=lambda: now[0])
    path = server.folder / "a.bin"
    hrefs = {"local": str(path), "remote": f"{server.url}/a.bin"}
    first = {kind: versions.get(href) for kind, href in hrefs.items()}
    path.write_bytes(TEXT + b"more")
    assert {kind: versions.get(href) for kind, href in hrefs.items()} == first
    now[0] = 1.5
    assert versions.get(hrefs["local"]).size == len(TEXT) + 4
    assert versions.get(hrefs["remote"]) == first["remote"]
    versions.forget([hrefs["remote"]])
    assert versions.get(hrefs["remote"]).size == len(TEXT) + 4
    assert len(server.asked) == 2


def test_versions_of_many_are_asked_at_once_and_none_is_none(server):
    for n in range(8):
        (server.folder / f"{n}.bin").write_bytes(b"x" * (n + 1))
    hrefs = [f"{server.url}/{n}.bin" for n in range(9)] + [str(server.folder / "none")]
    found = Versions(files()).known(hrefs)
    sizes = [None if version is None else version.size for version in found.values()]
    assert sizes == [*range(1, 9), None, None]
    assert list(found) == hrefs


# GDAL


@pytest.mark.parametrize("how", [{}, {"compress": "LERC"}])
def test_gdal_reads_a_remote_file_as_it_reads_a_local_one(server, how, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 9000, (700, 500)).astype("u2")
    write_tif(server.folder / "a.tif", pixels, **how)
    file = files().get(f"{server.url}/a.tif?sig=abc")
    with file.dataset() as src:
        np.testing.assert_array_equal(src.read(1), pixels)
        assert src.crs.to_epsg() == 32723
        assert "sig" not in src.name


def test_what_goes_wrong_beneath_gdal_is_told_in_our_words(server):
    pixels = np.random.default_rng(0).integers(0, 9000, (2000, 500)).astype("u2")
    path = server.folder / "a.tif"
    write_tif(path, pixels, compress="LZMA")
    using = files()
    file = using.get(f"{server.url}/a.tif")

    def read_all(then):
        with file.dataset() as src:
            src.read(1, window=((0, 10), (0, 10)))
            then()
            src.read(1)

    with pytest.raises(SceneError, match=r"a\.tif: cannot be read: HTTP 404"):
        read_all(lambda: setattr(server, "fail_always", 404))
    server.fail_always = None
    content = path.read_bytes()
    with pytest.raises(ReplacedFileError):
        read_all(lambda: path.write_bytes(content + b"!"))
    path.write_bytes(b"<html>" * 1000)
    with pytest.raises(
        SceneError, match=r"a\.tif: cannot be read as a raster: it is no GeoTIFF"
    ) as told:
        using.get(f"{server.url}/a.tif").dataset().__enter__()
    assert not isinstance(told.value, ReplacedFileError)


def test_connections_are_not_shared_with_a_child(server):
    using = files()
    href = f"{server.url}/a.bin"
    assert read(href, (0, 4), using=using) == [TEXT[:4]]
    _FORKED["using"] = using
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(_read, [href] * 8) == [TEXT[:4]] * 8
    assert read(href, (0, 4), using=using) == [TEXT[:4]]


_FORKED = {}


def _read(href):
    return read(href, (0, 4), using=_FORKED["using"])[0]


def test_kinds_of_names():
    assert SceneFiles.is_local("/a/b.tif")
    assert SceneFiles.is_local("/vsizip/{/a/b.zip}/c.tif")
    assert not SceneFiles.is_local("/vsis3/bucket/b.tif")
    assert not SceneFiles.is_local("/vsitar/{/vsigzip//vsicurl/https://host/b.tar.gz}/c.tif")
    with pytest.raises(OdcBdcError, match="no-such-file"):
        SceneFiles().version("/no-such-file")
