"""Items from static STAC on disk and in buckets, what a search lets through, and hidden tokens."""

import gzip
import json
import sys
import tracemalloc
import uuid
from datetime import date, datetime, timedelta, timezone

import fsspec
import pystac
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from odc_bdc import OdcBdcError
from odc_bdc.indexing.sources import AccessToken, Limits, Patience, Resume, Search, find_items
from odc_bdc.indexing.sources.access import Discretion
from odc_bdc.indexing.sources.web import Web

COLLECTION = "CB4_64_16D_STK-1"


def item(name="CB4_64_16D_STK_v001_021027_2020-07-11_2020-07-26", **more):
    """Give an item as STAC 1.0 has it."""
    made = pystac.Item(
        name,
        {"type": "Point", "coordinates": [-51.0, -24.0]},
        [-51.0, -24.0, -51.0, -24.0],
        datetime(2020, 7, 11, tzinfo=timezone.utc),  # noqa: UP017 (pystac's own)
        {"bdc:tiles": ["021027"], "eo:cloud_cover": 12.5, **more},
        collection=COLLECTION,
        assets={"B": pystac.Asset("./b.tif")},
    )
    return made.to_dict(include_self_link=False)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, str | bytes):
        content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def find(*sources, collection=COLLECTION, limits=None, **asking):
    places, search = [str(s) for s in sources], Search(**asking)
    return list(find_items(places, collection=collection, search=search, limits=limits))


def ids(found):
    found = list(found)
    assert [f.error for f in found if f.error] == []
    return [f.document["id"] for f in found]


# Files and folders


def test_folder_is_searched_for_items(tmp_path):
    write(tmp_path / "b" / "c" / "2.json", item("2"))
    write(tmp_path / "a" / "1.json", item("1"))
    write(
        tmp_path / "collection.json", {"type": "Collection", "stac_version": "1.0.0", "links": []}
    )
    write(tmp_path / "area.json", {"type": "FeatureCollection", "features": [{"type": "Feature"}]})
    write(tmp_path / "all.json", {"type": "FeatureCollection", "features": [item("3"), item("4")]})
    write(tmp_path / "list.json", [1, 2])
    write(tmp_path / "a" / "notes.txt", "no JSON at all")
    found = find(tmp_path)
    assert ids(found) == ["3", "4", "1", "2"]
    assert found[2].href == found[2].source == str(tmp_path / "a" / "1.json")


def test_relative_path_is_shown_as_it_was_given(tmp_path, monkeypatch):
    write(tmp_path / "a" / "1.json", item("1"))
    monkeypatch.chdir(tmp_path)
    for source in ("a", "a/1.json"):
        (found,) = find(source)
        assert (found.source, found.href) == ("a/1.json", str(tmp_path / "a" / "1.json"))
    links = [{"rel": "item", "href": "./a/1.json"}]
    catalog = {"type": "Catalog", "stac_version": "1.0.0", "links": links}
    at = write(tmp_path / "ünd so" / ".." / "catalog.json", catalog)
    for source in ((tmp_path / "a" / "1.json").as_uri(), at.as_uri(), at):
        (found,) = find(source)
        assert found.document["id"] == "1"
        assert found.href == str(tmp_path / "a" / "1.json")


def test_broken_file_is_told_and_the_rest_goes_on(tmp_path):
    write(tmp_path / "1.json", item("1"))
    write(tmp_path / "2.json", "{")
    write(tmp_path / "3.json", b'{"type": "Feature", "id": "\xff"}')
    write(tmp_path / "4.json", "[" * 100_000)
    (tmp_path / "5.json").symlink_to(tmp_path / "gone")
    write(tmp_path / "6.json", item("6"))
    found = find(tmp_path)
    assert ids([found[0], found[-1]]) == ["1", "6"]
    assert [f.source for f in found[1:-1]] == [str(tmp_path / f"{n}.json") for n in range(2, 6)]
    for broken in found[1:-1]:
        assert broken.document is None
        assert "cannot be read as JSON" in broken.error or "no such file" in broken.error
        assert "\n" not in broken.error


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file or folder"),
        ("{", "cannot be read as JSON"),
        ("[]", "not a STAC item, catalog or collection"),
        ('{"type": "Catalog", "links": []}', "no STAC item"),
        ('{"type": "FeatureCollection", "features": []}', "no STAC item"),
        (json.dumps(item("1")) + "\n" + json.dumps(item("2")), r"call it \*.ndjson"),
    ],
)
def test_source_that_is_none_is_named(tmp_path, content, words):
    path = tmp_path / "source.json"
    if content is not None:
        write(path, content)
    with pytest.raises(OdcBdcError, match=words) as raised:
        find(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_folder_without_items_is_named(tmp_path):
    with pytest.raises(OdcBdcError, match="no STAC item"):
        find(tmp_path)


def test_source_of_another_kind_is_named():
    with pytest.raises(OdcBdcError, match="gopher:// is not known"):
        find("gopher://host/items.json")


def test_source_that_fails_after_others_is_an_item_with_an_error(tmp_path):
    one, two = write(tmp_path / "1.json", item("1")), write(tmp_path / "2.json", item("2"))
    found = find(one, tmp_path / "none", two)
    assert [f.document and f.document["id"] for f in found] == ["1", None, "2"]
    assert "no such file or folder" in found[1].error


# Items on lines, in collections and in tables


@pytest.mark.parametrize("name", ["items.ndjson", "items.jsonl", "items.ndjson.gz"])
def test_items_on_lines(tmp_path, name):
    good = [json.dumps(item(str(n))) for n in range(3)]
    text = "\n".join([good[0], "", "{", "[1]", f"\x1e{good[1]}\r", good[2]]).encode()
    path = write(tmp_path / name, gzip.compress(text) if name.endswith("gz") else text)
    found = find(path)
    assert ids([found[0], *found[3:]]) == ["0", "1", "2"]
    assert [f.source for f in found] == [f"{path}:{n}" for n in (1, 3, 4, 5, 6)]
    assert "cannot be read as JSON" in found[1].error
    assert found[2].error == "not a STAC item"
    assert {f.href for f in found} == {str(path)}


def test_lines_that_break_off_are_told(tmp_path):
    text = gzip.compress(b"".join(json.dumps(item(str(n))).encode() + b"\n" for n in range(2000)))
    path = write(tmp_path / "items.ndjson.gz", text[: len(text) // 2])
    found = find(path)
    assert 0 < len(ids(found[:-1])) < 2000
    assert "cannot be read" in found[-1].error


def test_lines_are_not_held_in_memory(tmp_path):
    line = json.dumps(item("1", note="x" * 50_000)).encode() + b"\n"
    path = write(tmp_path / "items.ndjson", line * 400)
    tracemalloc.start()
    try:
        count = sum(1 for _ in find_items([str(path)], collection=COLLECTION))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 400
    assert path.stat().st_size > 20_000_000 > 5 * peak


def test_collection_of_items(tmp_path):
    path = write(
        tmp_path / "items.json",
        {"type": "FeatureCollection", "features": [item("1"), 7, {"type": "x"}, item("2")]},
    )
    found = find(path)
    assert ids([found[0], found[3]]) == ["1", "2"]
    assert [f.error for f in found[1:3]] == ["not a STAC item"] * 2


def test_table_of_stac_geoparquet(tmp_path):
    arrow = pytest.importorskip("stac_geoparquet.arrow", reason="the extra [geoparquet] is absent")
    items = [item(str(n), number=n) for n in range(1234)]
    path = tmp_path / "items.parquet"
    arrow.to_parquet(arrow.parse_stac_items_to_arrow(items), path)
    found = find(path)
    assert ids(found) == [i["id"] for i in items]
    for a, b in zip(found, items, strict=True):
        for key in ("collection", "geometry", "assets"):
            assert a.document[key] == b[key]
        assert a.document["properties"]["number"] == b["properties"]["number"]
    assert found[700].source == f"{path}: row 701"
    assert ids(find(path, query={"number": {"gte": 1000}})) == [str(n) for n in range(1000, 1234)]


def test_table_that_is_none_is_named(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet", reason="the extra [geoparquet] is absent")
    import pyarrow as pa

    for name, content in (("a.parquet", b"PAR1 not really PAR1"), ("b.parquet", b"")):
        with pytest.raises(OdcBdcError, match="not a table of STAC items"):
            find(write(tmp_path / name, content))
    pq.write_table(pa.table({"x": [1, 2]}), tmp_path / "c.parquet")
    with pytest.raises(OdcBdcError, match="not a table of STAC items"):
        find(tmp_path / "c.parquet")


@pytest.mark.parametrize(
    ("source", "package", "extra"),
    [("items.parquet", "pyarrow", "geoparquet"), ("s3://bucket/items.json", "s3fs", "s3")],
)
def test_missing_extra_is_named(tmp_path, monkeypatch, source, package, extra):
    # This is how Python marks what cannot be imported.
    monkeypatch.setitem(sys.modules, package, None)
    # Other tests may have loaded it; fsspec remembers.
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    if "://" not in source:
        source = write(tmp_path / source, b"")
    with pytest.raises(OdcBdcError, match=rf"pip install 'odc_bdc\[{extra}\]'"):
        find(source)


# Catalogs


@pytest.fixture
def static_catalog(tmp_path):
    """Give a catalog as pystac writes it: two collections with a sub-catalog for each tile."""
    root = pystac.Catalog("bdc", "a catalog")
    extent = pystac.Extent(
        pystac.SpatialExtent([[-60, -30, -40, 0]]), pystac.TemporalExtent([[None, None]])
    )
    for name in (COLLECTION, "S2-16D-2"):
        collection = pystac.Collection(name, name, extent)
        root.add_child(collection)
        for tile in ("021027", "022024"):
            folder = pystac.Catalog(f"{name}-{tile}", tile)
            collection.add_child(folder)
            for n in range(3):
                one = pystac.Item.from_dict(item(f"{name}_{tile}_{n}", **{"bdc:tiles": [tile]}))
                folder.add_item(one)
    root.normalize_and_save(str(tmp_path / "catalog"), pystac.CatalogType.SELF_CONTAINED)
    return tmp_path / "catalog" / "catalog.json"


def wanted_of(collection):
    return [f"{collection}_{tile}_{n}" for tile in ("021027", "022024") for n in range(3)]


@pytest.mark.parametrize("collection", [COLLECTION, "S2-16D-2"])
def test_catalog_is_walked_in_order_for_one_collection(static_catalog, collection):
    assert ids(find(static_catalog, collection=collection)) == wanted_of(collection)
    at = static_catalog.parent / collection / "collection.json"
    assert ids(find(at, collection=collection)) == wanted_of(collection)
    only = find(static_catalog, collection=collection, tile="022024")
    assert ids(only) == wanted_of(collection)[3:]


def test_unknown_collection_is_told_nearest_first(static_catalog):
    with pytest.raises(OdcBdcError) as raised:
        find(static_catalog, collection="S2-16D-1")
    assert "no collection 'S2-16D-1'; it has: S2-16D-2, CB4_64_16D_STK-1" in str(raised.value)


def test_broken_links_are_told_and_the_rest_goes_on(static_catalog):
    folder = static_catalog.parent / COLLECTION / f"{COLLECTION}-021027"
    paths = [folder / f"{name}/{name}.json" for name in wanted_of(COLLECTION)[:3]]
    paths[0].unlink()
    paths[1].write_text("{", "utf-8")
    found = find(static_catalog)
    assert [f.href for f in found[:2]] == [str(p) for p in paths[:2]]
    assert "no such file" in found[0].error
    assert "cannot be read as JSON" in found[1].error
    assert ids(found[2:]) == wanted_of(COLLECTION)[2:]


def test_links_in_circles_and_deep_chains(tmp_path):
    """A chain is longer than Python's stack; each document leads back to the first."""
    length = 3000
    for n in range(length):
        links = [{"rel": "child", "href": f"./{n + 1}.json"}, {"rel": "child", "href": "./0.json"}]
        catalog = {"type": "Catalog", "stac_version": "1.0.0", "id": str(n), "links": links}
        write(tmp_path / f"{n}.json", catalog)
    write(tmp_path / f"{length}.json", item("deep"))
    assert "more than 32 deep" in find(tmp_path / "0.json")[0].error
    assert ids(find(tmp_path / "0.json", limits=Limits(depth=length))) == ["deep"]


def test_links_are_followed_when_it_is_their_turn(static_catalog):
    found = find_items([str(static_catalog)], collection=COLLECTION)
    first = next(found)
    # What has not been asked for has not been read.
    last = static_catalog.parent / COLLECTION / f"{COLLECTION}-022024"
    write(last / "catalog.json", "{")
    rest = list(found)
    assert ids([first, *rest[:2]]) == wanted_of(COLLECTION)[:3]
    assert "cannot be read as JSON" in rest[2].error


@pytest.mark.parametrize(
    "links", [None, 7, [7], [{"rel": "item"}], [{"rel": "item", "href": 7}], [{"href": "a"}]]
)
def test_links_that_are_none_lead_nowhere(tmp_path, links):
    path = write(tmp_path / "c.json", {"type": "Catalog", "stac_version": "1.0.0", "links": links})
    with pytest.raises(OdcBdcError, match="no STAC item"):
        find(path)


def test_link_of_an_unknown_kind_is_told_and_the_rest_goes_on(tmp_path):
    hrefs = ["gopher://host/1.json", "./1.json"]
    links = [{"rel": "item", "href": href} for href in hrefs]
    catalog = {"type": "Catalog", "stac_version": "1.0.0", "links": links}
    write(tmp_path / "1.json", item("1"))
    found = find(write(tmp_path / "catalog.json", catalog))
    assert "gopher://host is not asked" in found[0].error
    assert ids(found[1:]) == ["1"]


def test_bucket_is_read_like_a_disk(static_catalog):
    """A file system in memory, through the same calls as S3."""
    base = f"memory://{uuid.uuid4()}"
    memory = fsspec.filesystem("memory")
    memory.put(str(static_catalog.parent), base, recursive=True)
    lines = "\n".join(json.dumps(item(str(n))) for n in range(3))
    memory.pipe_file(f"{base}/lines/items.ndjson", lines.encode())
    found = find(f"{base}/catalog.json")
    assert ids(found) == wanted_of(COLLECTION)
    assert found[0].href.startswith(f"{base}/{COLLECTION}/")
    assert len(ids(find(base))) == 12
    assert ids(find(f"{base}/lines/items.ndjson")) == ["0", "1", "2"]
    with pytest.raises(OdcBdcError, match="no such file or folder"):
        find(f"{base}/none.json")


def test_remote_catalog_does_not_lead_to_files_of_this_machine(tmp_path):
    write(tmp_path / "secret.json", item("secret"))
    base = f"memory://{uuid.uuid4()}"
    local = (tmp_path / "secret.json").as_uri()
    hrefs = [local, local.replace("file", "local"), f"simplecache::{local}", "./1.json"]
    links = [{"rel": "item", "href": href} for href in hrefs]
    memory = fsspec.filesystem("memory")
    catalog = {"type": "Catalog", "stac_version": "1.0.0", "links": links}
    memory.pipe_file(f"{base}/catalog.json", json.dumps(catalog).encode())
    memory.pipe_file(f"{base}/1.json", json.dumps(item("1")).encode())
    found = find(f"{base}/catalog.json")
    assert [f.document["id"] for f in found if f.document] == ["1"]
    assert len([f for f in found if f.error]) == 3


def test_recorded_documents_come_as_they_are(real_data, stac_documents):
    found = find(real_data / "stac_items_bdc")
    assert [f.document for f in found] == [d for d in stac_documents if d.get("type") == "Feature"]


def test_real_scenes_of_a_month(real_data):
    found = find(real_data / COLLECTION, time="2018-01")
    # 16-day periods that begin on 1 January.
    assert sorted(i.split("_")[-2] for i in ids(found)) == ["2018-01-01", "2018-01-17"]


# Searches

DAY = timedelta(days=1)
days = st.dates(date(1985, 1, 1), date(2040, 12, 31))


@given(days, st.integers(0, 40), days, st.integers(0, 40), st.booleans())
def test_periods_match_if_they_share_a_day(start, length, from_day, days_asked, zoned):
    end, to_day = start + length * DAY, from_day + days_asked * DAY
    zone = ".000000Z" if zoned else ""
    properties = {
        "datetime": f"{start}T00:00:00{zone}",
        "start_datetime": f"{start}T00:00:00{zone}",
        "end_datetime": f"{end}T00:00:00{zone}",
    }
    asked = {start + n * DAY for n in range(length + 1)}
    given_days = {from_day + n * DAY for n in range(days_asked + 1)}
    for time in (f"{from_day}/{to_day}", (from_day, to_day), (str(from_day), str(to_day))):
        assert Search(time=time).matches({"properties": properties}) == bool(asked & given_days)


@pytest.mark.parametrize(
    ("time", "sent"),
    [
        ("2020", "2020-01-01T00:00:00Z/2020-12-31T23:59:59Z"),
        ("2020-02", "2020-02-01T00:00:00Z/2020-02-29T23:59:59Z"),
        ("2020-02-03", "2020-02-03T00:00:00Z/2020-02-03T23:59:59Z"),
        (date(2020, 2, 3), "2020-02-03T00:00:00Z/2020-02-03T23:59:59Z"),
        ("2020-02-03T10:00:00-03:00/..", "2020-02-03T13:00:00Z/.."),
        (("", "2019-12"), "../2019-12-31T23:59:59Z"),
        ((None, datetime(2019, 12, 1, 6)), "../2019-12-01T06:00:00Z"),  # noqa: DTZ001 (means UTC)
    ],
)
def test_times_as_they_are_sent(time, sent):
    assert Search(time=time).datetime == sent


@pytest.mark.parametrize(
    ("asking", "words"),
    [
        ({"time": "yesterday"}, "'yesterday' cannot be read"),
        ({"time": "2020-13"}, "cannot be read"),
        ({"time": "2020/2019"}, "ends before it starts"),
        ({"time": "../.."}, "neither start nor end"),
        ({"time": "2019/2020/2021"}, "not one moment"),
        ({"bbox": (-40, -10, -50, 0)}, "xmin, xmax"),
        ({"bbox": (1, 2, 3)}, "not a bbox"),
        ({"geometry": {"type": "Polygon"}}, "cannot be read"),
        ({"geometry": shapely.box(5_000_000, 1, 5_000_001, 2)}, "not on Earth"),
        ({"query": {"eo:cloud_cover": {"less": 5}}}, "'less' is no operator"),
        ({"query": {"eo:cloud_cover": 5}}, "must be an operator and a value"),
        ({"limit": 0}, "limit 0"),
        ({"max_items": 0}, "max_items 0"),
        ({"ids": "abc"}, "give a list"),
    ],
)
def test_search_that_cannot_be_read_is_named(asking, words):
    with pytest.raises(OdcBdcError, match=words) as raised:
        Search(**asking)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("properties", "name", "is_it"),
    [
        ({"bdc:tile": "021027"}, "x", True),
        ({"bdc:tiles": ["021027"]}, "x", True),
        ({"bdc:tiles": "021027"}, "x", True),
        ({"bdc:tiles": ["022024"]}, "x", False),
        # Map of the land cover: its tile is in its name only.
        ({"bdc:tiles": [None]}, "LCC_v001_021027_2018-09-01_2019-08-31", True),
        ({}, "CB4A_55_1M_STK_021027_2020-07-01_2020-07-31", True),
        ({}, "CB4A_55_1M_STK_022024_2020-07-01_2020-07-31", False),
    ],
)
def test_tile_stands_where_each_generation_has_it(properties, name, is_it):
    document = {"id": name, "properties": properties}
    assert Search(tile="021027").matches(document) is is_it
    assert Search(tile=["1", "021027"]).matches(document) is is_it


def test_tile_of_others_stands_where_the_recipe_says():
    search = Search(tile="31UES", tile_property="s2:mgrs_tile")
    assert search.matches({"id": "x", "properties": {"s2:mgrs_tile": "31UES"}})
    assert not search.matches({"id": "x", "properties": {"s2:mgrs_tile": "31UET"}})
    assert search.conditions == {"s2:mgrs_tile": {"eq": "31UES"}}
    # What a server does not show it may have heeded.
    assert not search.matches({"id": "x", "properties": {}})
    assert search.matches({"id": "x", "properties": {}}, from_api=True)


@pytest.mark.parametrize(
    ("condition", "is_it"),
    [
        ({"eq": 12.5}, True), ({"neq": 12.5}, False), ({"lt": 12.5}, False), ({"lte": 12.5}, True),
        ({"gt": 12}, True), ({"gte": 13}, False), ({"gt": 12, "lt": 13}, True),
        ({"in": [1]}, False), ({"startsWith": "1"}, False), ({"lt": "a"}, False),
    ],
)  # fmt: skip
def test_queries(condition, is_it):
    assert Search(query={"eo:cloud_cover": condition}).matches(item()) is is_it


def test_area_is_that_of_box_and_geometry():
    triangle = shapely.Polygon([(-52, -25), (-50, -25), (-52, -23)])
    assert Search(bbox=(-51.5, -24.5, -50.5, -23.5)).matches(item())
    assert Search(geometry=triangle).matches(item())
    assert Search(geometry=shapely.geometry.mapping(triangle)).matches(item())
    far = shapely.box(-50.9, -23.9, -50, -23)
    assert not Search(geometry=far).matches(item())
    assert not Search(geometry=far, bbox=(-52, -25, -50, -23)).matches(item())
    boxed = {"bbox": [-51, -24, -50.5, -23.5]}
    assert Search(geometry=far).matches(boxed)
    assert Search(geometry=far).matches({"bbox": [-51, -24, 0, -50.5, -23.5, 9]})
    assert not Search(geometry=far).matches({"geometry": None})


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "properties", "datetime", "bdc:tile", "geometry", "type", "bbox"]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
)


@given(st.dictionaries(st.sampled_from(["id", "properties", "geometry", "bbox"]), json_values))
def test_any_item_is_let_through_or_not(document):
    search = Search(
        bbox=(-50, -20, -40, -10), time="2020", tile="021027", query={"a": {"lt": 1}}, ids=["1"]
    )
    assert search.matches(document) in {True, False}


def test_searches_have_fingerprints():
    asking = [
        {}, {"bbox": (0, 0, 1, 1)}, {"geometry": shapely.box(0, 0, 1, 1)}, {"tile": "021027"},
        {"time": "2020"}, {"query": {"a": {"lt": 1}}}, {"ids": ["a"]}, {"limit": 7},
    ]  # fmt: skip
    prints = [Search(**a).fingerprint("c", "s") for a in asking]
    assert len(set(prints)) == len(asking)
    assert Search(time="2020-01/2020-12").fingerprint("c", "s") == prints[4]
    assert Search().fingerprint("c", "other") != prints[0]


# Tokens

tokens = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=8, max_size=40)


@given(tokens, json_values, st.sampled_from(["header", "query"]))
def test_no_json_keeps_a_token(secret, value, sent_as):
    from urllib.parse import quote, quote_plus

    hidden = Discretion(AccessToken(secret, sent_as))
    forms = [secret, quote(secret), quote(secret, safe=""), quote_plus(secret).lower()]
    document = {
        "value": value,
        "links": [f"https://a.b/c?x=1&access_token={f}&y=2#z" for f in forms],
        "text": [f"<<{f}>>" for f in forms],
        f"key {secret}": 1,
        "X-API-Key": secret,
    }
    clean = hidden.hide(document)
    assert set(clean["links"]) == {"https://a.b/c?x=1&y=2#z"}
    assert set(clean["text"]) == {"<<REDACTED>>"}
    assert not any(secret in key or key.lower() == "x-api-key" for key in clean)
    assert hidden.may_be_in(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("href", "plain"),
    [
        ("https://a/b.tif?access_token=abc", "https://a/b.tif"),
        ("https://a/b.tif?access_token=abc#x", "https://a/b.tif#x"),
        ("https://a/b.tif?access_token=abc&c=1", "https://a/b.tif?c=1"),
        ("https://a/b.tif?c=1&ACCESS_TOKEN=abc", "https://a/b.tif?c=1"),
        ("https://a/b.tif?c=1", "https://a/b.tif?c=1"),
        ("what access_token= means", "what access_token= means"),
    ],
)
def test_tokens_of_others_do_not_stay_in_addresses(href, plain):
    assert Discretion(None).hide({"href": href}) == {"href": plain}


def test_token_in_a_file_is_not_given_on(tmp_path):
    one = item("1")
    one["assets"]["B"]["href"] = "https://host/b.tif?access_token=abc%2Fdef&v=1"
    other = json.dumps(one).replace("access_token", "\\u0061ccess_token")
    path = write(tmp_path / "items.ndjson", json.dumps(one) + "\n" + other)
    for found in find(path):
        assert found.document["assets"]["B"]["href"] == "https://host/b.tif?v=1"


@pytest.mark.parametrize(
    ("value", "sent_as"),
    [("short", "header"), ("with a space", "header"), ("läng enough", "query"),
     ("new\nline-in-it", "header"), ("good-enough", "cookie")],
)  # fmt: skip
def test_token_that_is_none_is_refused_and_not_shown(value, sent_as):
    with pytest.raises(OdcBdcError) as raised:
        AccessToken(value, sent_as)
    assert value not in str(raised.value)
    assert "good-enough" not in repr(AccessToken("good-enough"))


def test_password_in_an_address_is_refused_and_not_shown():
    with pytest.raises(OdcBdcError) as raised:
        find("https://user:p4ssword@host.example/stac")
    assert "p4ssword" not in str(raised.value)


def test_links_of_a_server_behind_a_proxy_are_as_secure_as_its_address():
    web = Web("https://host.example/stac", AccessToken("long-enough"), Patience())
    assert (
        web._as_secure_as_asked("http://host.example/next?a=1") == "https://host.example/next?a=1"
    )
    for other in ("http://other.example/next", "https://host.example/next"):
        assert web._as_secure_as_asked(other) == other


# State files


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "{}", '{"search": "x", "source": "1", "next": null}',
     '{"search": "x", "source": 0, "next": 7}', '{"search": "x", "source": 0, "next": {}}'],
)  # fmt: skip
def test_file_that_is_no_state_is_named_and_left_alone(tmp_path, content):
    path = write(tmp_path / "state.json", content)
    with pytest.raises(OdcBdcError, match=r"state\.json"):
        Resume(path).open("x")
    assert path.read_text("utf-8") == content


def test_state_that_cannot_be_written_is_named(tmp_path):
    resume = Resume(tmp_path / "folder" / "state.json")
    one = str(write(tmp_path / "1.json", item("1")))
    found = find_items([one, one], collection=COLLECTION, resume=resume)
    assert [next(found).document["id"] for _ in range(2)] == ["1", "1"]
    write(tmp_path / "folder", "a file where a folder has to be")
    with pytest.raises(OdcBdcError, match=r"state\.json: cannot keep the place"):
        resume.done(2)
