"""What becomes of items in the index, on both drivers: new, changed, gone, back, broken."""

from __future__ import annotations

import copy
import json
import sys
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import pytest
import shapely.geometry
from made_items import BANDS, COLLECTION, CONVERSION, PRODUCT, document, identify, made_items

from odc_bdc import OdcBdcError
from odc_bdc.indexing import (
    Conversion,
    Coverage,
    FoundItem,
    MadeDocument,
    add_documents,
    add_products,
    index_items,
)
from odc_bdc.indexing.conversion import key_guess
from odc_bdc.product import product_document

DERIVED = "CB4_64_16D_MED_v1"
COUNT = 12


@pytest.fixture
def empty(dc):
    """Give the index with two products and without datasets."""
    add_products(dc, [product_document(PRODUCT), product_document(DERIVED)])
    # What is made of others goes first.
    for product in (DERIVED, PRODUCT):
        found = dc.index.datasets.search(product=product, archived=None)
        dc.index.datasets.purge([d.id for d in found], allow_delete_active=True)
    return dc


@pytest.fixture
def items():
    """Give items that a test may change."""
    return list(made_items(COUNT))


def parsed(source, href, item):
    return FoundItem(source, href, item)


def line(source, href, item):
    """Give an item as a line of a file gives it: parsed when it is looked into."""
    return FoundItem.unread(
        source, href, json.dumps(item).encode(), lambda text, _: json.loads(text)
    )


@pytest.fixture(autouse=True, params=[parsed, line])
def form(request, monkeypatch):
    """Let each test meet items that were parsed when they were found, and items that were not."""
    monkeypatch.setattr(sys.modules[__name__], "item_as_found", request.param)


item_as_found = parsed


def found(items, href="/data/items.ndjson"):
    return [item_as_found(f"{href}:{n}", href, item) for n, item in enumerate(items, 1)]


def run(dc, items, **options):
    """Index items, given as documents or as found; give the counts and the records."""
    records = []
    given = found(items) if all(isinstance(i, dict) for i in items) else items
    conversion = replace(options.pop("conversion", CONVERSION), guess=key_guess(COLLECTION))
    report = index_items(dc, given, conversion, report=records.append, **options)
    assert len(records) == sum(report.counts.values())
    return dict(report.counts), records


def id_of(item):
    return identify(FoundItem("", "", item)).dataset_id


def visible(dc):
    return {d.id for d in dc.index.datasets.search(product=PRODUCT)}


def stored(dc):
    """Give all that the index says of the datasets."""
    ids = dc.index.datasets.get_all_dataset_ids(archived=None)
    return {
        d.id: (d.metadata_doc, d.uri, d.indexed_time, d.is_archived)
        for d in dc.index.datasets.bulk_get(ids)
    }


def test_second_run_changes_nothing(empty, items):
    assert run(empty, items, batch=5)[0] == {"added": COUNT}
    before = stored(empty)
    assert set(before) == {id_of(i) for i in items}
    assert {uri for _, uri, _, _ in before.values()} == {"file:///data/items.ndjson"}
    counts, records = run(empty, items, batch=7)
    assert counts == {"unchanged": COUNT}
    assert [r.item for r in records] == [i["id"] for i in items]
    assert stored(empty) == before


def test_second_run_converts_nothing(empty, items):
    def never(_found, _location):
        raise AssertionError("an item that did not change is converted")

    run(empty, items)
    idle = Conversion(PRODUCT, identify, never)
    assert run(empty, items, conversion=idle)[0] == {"unchanged": COUNT}


def unreadable(text, where):
    raise AssertionError(f"{where} is parsed")


def as_lines(texts, parse=unreadable, href="/data/items.ndjson"):
    return [FoundItem.unread(f"{href}:{n}", href, t, parse) for n, t in enumerate(texts, 1)]


def texts_of(items, **how):
    return [json.dumps(item, **how).encode() for item in items]


def test_texts_of_last_time_are_not_parsed(empty, items):
    def parse(text, _where):
        looked.append(text)
        return json.loads(text)

    looked = []
    texts = texts_of(items)
    assert run(empty, as_lines(texts, parse))[0] == {"added": COUNT}
    before = stored(empty)
    counts, records = run(empty, [*as_lines(texts), *as_lines(texts[:2])], batch=7)
    assert counts == {"unchanged": COUNT + 2}
    assert [r.item for r in records[:COUNT]] == [i["id"] for i in items]
    assert [r.id for r in records[:COUNT]] == [id_of(i) for i in items]
    assert stored(empty) == before
    looked.clear()
    items[2]["properties"]["gsd"] = 10
    items[5]["links"] = []
    changed = texts_of(items)
    assert run(empty, as_lines(changed, parse))[0] == {"updated": 1, "unchanged": COUNT - 1}
    assert looked == [changed[2], changed[5]]
    # A text that says the same in another way is no change of the item.
    assert run(empty, as_lines(texts_of(items, sort_keys=True, indent=1), parse))[0] == {
        "unchanged": COUNT
    }


def test_texts_of_last_time_are_parsed_where_something_else_changed(empty, items, tmp_path):
    texts = texts_of(items)

    def lines(href="/data/items.ndjson"):
        return as_lines(texts, lambda text, _: json.loads(text), href)

    run(empty, lines())
    assert run(empty, lines("/data/moved.ndjson"))[0] == {"updated": COUNT}
    mended = replace(CONVERSION, version="another recipe")
    assert run(empty, lines("/data/moved.ndjson"), conversion=mended)[0] == {"updated": COUNT}
    assert run(empty, lines(), out=tmp_path)[0] == {"updated": COUNT}
    assert run(empty, as_lines(texts), out=tmp_path)[0] == {"unchanged": COUNT}
    paths = sorted(tmp_path.rglob("*.yaml"))
    paths[0].unlink()
    assert run(empty, lines(), out=tmp_path)[0] == {"unchanged": COUNT}
    assert sorted(tmp_path.rglob("*.yaml")) == paths
    empty.index.datasets.archive([id_of(items[0])])
    assert run(empty, lines(), out=tmp_path)[0] == {"unchanged": COUNT - 1, "restored": 1}


def test_wrong_guesses_do_no_harm(empty, items):
    """An id that stands before the item's own is that of another item, or of none."""
    for number, item in enumerate(items):
        item["links"] = [{"id": items[number - 1]["id"] if number % 2 else f"none {number}"}]
    texts = [json.dumps(dict(reversed(item.items()))).encode() for item in items]
    assert all(texts[n].index(b'"links"') < texts[n].index(b'"type"') for n in range(COUNT))
    for wanted in ("added", "unchanged"):
        counts, records = run(empty, as_lines(texts, lambda text, _: json.loads(text)))
        assert counts == {wanted: COUNT}
        assert [r.item for r in records] == [i["id"] for i in items]
    assert visible(empty) == {id_of(i) for i in items}


def test_datasets_are_found_by_place_time_and_properties(empty, items):
    run(empty, items)
    one = items[3]["properties"]
    query = {"product": PRODUCT, "region_code": one["bdc:tiles"][0]}
    assert [d.id for d in empty.find_datasets(**query)] == [id_of(items[3])]
    area = empty.index.datasets.get(id_of(items[3])).extent.buffer(-1000).to_crs("EPSG:4326")
    near = {d.id for d in empty.find_datasets(product=PRODUCT, geopolygon=area)}
    assert id_of(items[3]) in near
    assert len(near) < COUNT


@pytest.mark.parametrize(
    "change",
    [
        lambda i: i["assets"]["BAND13"].update(href="https://elsewhere.org/BAND13.tif"),
        lambda i: i["properties"].update({"eo:cloud_cover": 77.5}),
        lambda i: i["properties"].update({"bdc:tiles": ["999999"]}),
    ],
)
def test_changed_item_is_updated_and_its_cube_keeps_it(empty, items, change):
    run(empty, items)
    cube = derive(empty, id_of(items[0]))
    before = stored(empty)
    change(items[0])
    counts, records = run(empty, items)
    assert counts == {"updated": 1, "unchanged": COUNT - 1}
    assert records[0].status == "updated"
    after = stored(empty)
    assert after.keys() == before.keys()
    assert [i for i in after if after[i] != before[i]] == [id_of(items[0])]
    wanted = document(FoundItem("", "", items[0]), None)
    got = after[id_of(items[0])][0]
    assert got["measurements"] == wanted["measurements"]
    assert got["properties"]["eo:cloud_cover"] == wanted["properties"]["eo:cloud_cover"]
    assert cube in derived_of(empty, id_of(items[0]))
    tile = wanted["properties"]["odc:region_code"]
    assert id_of(items[0]) in {d.id for d in empty.find_datasets(product=PRODUCT, region_code=tile)}
    assert run(empty, items)[0] == {"unchanged": COUNT}


def derive(dc, source):
    """Add a dataset that is derived from another; give its id."""
    from datacube.index.hl import Doc2Dataset

    made = made_of({"scene": [source]})
    dataset, error = Doc2Dataset(dc.index)(dict(made.document), made.uri)
    assert error is None
    dc.index.datasets.add(dataset)
    return dataset.id


def derived_of(dc, source):
    if not dc.index.supports_external_lineage:
        return {d.id for d in dc.index.datasets.get_derived(source)}
    tree = dc.index.lineage.get_derived_tree(source)
    return {child.dataset_id for children in (tree.children or {}).values() for child in children}


def made_of(lineage, dataset_id=None):
    """Give the document of a dataset that is made of others."""
    doc = document(FoundItem("", "", next(made_items(1))), None)
    doc |= {"id": str(dataset_id or uuid.uuid4()), "product": {"name": DERIVED}}
    names = [m["name"] for m in product_document(DERIVED)["measurements"]]
    doc["measurements"] = {name: {"path": f"{name}.tif"} for name in names}
    doc["lineage"] = {name: [str(i) for i in ids] for name, ids in lineage.items()}
    return MadeDocument(f"file:///cubes/{doc['id']}.yaml", doc)


def test_what_images_are_made_of_is_stored_with_them(empty, items):
    run(empty, items)
    one, two, three = (id_of(item) for item in items[:3])
    first = made_of({"scenes": [one, two], "mask": [three]})
    second = made_of({"scenes": [two]})
    records = add_documents(empty, [first, second])
    assert [r.status for r in records] == ["added", "added"]
    ids = [r.id for r in records]
    # `postgis` keeps the lineage of datasets that are gone.
    found = [derived_of(empty, i) & set(ids) for i in (one, two, three)]
    assert found == [{ids[0]}, set(ids), {ids[0]}]
    # As datacube's own way writes it.
    ours = empty.index.lineage.get_source_ids(ids[0])
    assert {i for told in ours.values() for i in told} == {one, two, three}
    assert sorted(ours) == (
        ["mask", "scenes"]
        if empty.index.supports_external_lineage
        else ["mask", "scenes1", "scenes2"]
    )
    assert [r.status for r in add_documents(empty, [first])] == ["unchanged"]


def test_sources_that_no_index_has_are_kept_where_they_can_be(empty, items):
    run(empty, items)
    known, gone = id_of(items[0]), uuid.uuid4()
    (record,) = add_documents(empty, [made_of({"scenes": [known, gone]})])
    assert record.status == "added"
    told = empty.index.lineage.get_source_ids(record.id)
    external = empty.index.supports_external_lineage
    assert {i for ids in told.values() for i in ids} == ({known, gone} if external else {known})


def test_lineage_that_contradicts_itself_is_refused_alone(empty, items):
    run(empty, items)
    source, itself = id_of(items[0]), uuid.uuid4()
    documents = [
        made_of({"scenes": [source]}),
        made_of({"scenes": [source], "mask": [source]}),
        made_of({"scenes": [itself]}, itself),
    ]
    records = add_documents(empty, documents)
    assert [r.status for r in records] == ["added", "failed", "failed"]
    assert "by two names" in records[1].reason
    assert "is made of itself" in records[2].reason
    assert derived_of(empty, source) & {r.id for r in records} == {records[0].id}


def test_what_an_item_no_longer_says_is_not_searched(empty, items):
    def clear(found, location):
        if "eo:cloud_cover" in found.document["properties"]:
            return document(found, location)
        given = copy.deepcopy(found.document)
        given["properties"]["eo:cloud_cover"] = None
        doc = document(FoundItem("", "", given), location)
        del doc["properties"]["eo:cloud_cover"]
        return doc

    conversion = Conversion(PRODUCT, identify, clear)
    for item in items:
        item["properties"]["eo:cloud_cover"] = 50.0
    run(empty, items, conversion=conversion)
    search = partial(empty.index.datasets.search, product=PRODUCT, cloud_cover=50.0)
    assert len(list(search())) == COUNT
    del items[0]["properties"]["eo:cloud_cover"]
    assert run(empty, items, conversion=conversion)[0]["updated"] == 1
    assert {d.id for d in search()} == {id_of(i) for i in items[1:]}


def test_bad_items_stop_neither_the_rest_nor_their_batch(empty, items):
    items[1]["properties"]["platform"] = "CBERS\x00"  # PostgreSQL stores no such character
    items[4]["properties"]["platform"] = " ".join(str(uuid.uuid4()) for _ in range(900))
    items[6]["assets"].pop("BAND14")
    del items[8]["id"]
    given = found(items)
    given[10] = FoundItem("broken.json", "broken.json", None, "broken.json: cannot be read as JSON")

    def strict(found, location):
        if missing := set(BANDS) - set(found.document["assets"]):
            raise OdcBdcError(f"item {found.document['id']}: no asset {missing}")
        return document(found, location)

    def named(found):
        if "id" not in found.document:
            raise OdcBdcError(f"{found.source}: it has no id")
        return identify(found)

    conversion = Conversion(PRODUCT, named, strict)
    counts, records = run(empty, given, conversion=conversion)
    bad = {n: r.reason for n, r in enumerate(records) if r.status == "failed"}
    # Only the driver postgis has an index that cannot hold so long a text.
    long = {4} if empty.index.supports_external_lineage else set()
    assert set(bad) == {1, 6, 8, 10} | long
    assert counts == {"failed": len(bad), "added": COUNT - len(bad)}
    assert "the index refuses it" in bad[1]
    assert "BAND14" in bad[6]
    assert "no id" in bad[8]
    assert bad[10] == "broken.json: cannot be read as JSON"
    assert all("\n" not in reason for reason in bad.values())
    assert visible(empty) == {id_of(i) for n, i in enumerate(items) if n not in bad}


def test_documents_that_are_no_eo3_are_named(empty, items):
    def spoilt(found, location):
        doc = document(found, location)
        number = int(found.source.rsplit(":", 1)[1])
        if number == 1:
            doc["crs"] = "no CRS"
        if number == 2:
            doc["geometry"] = {"type": "Point", "coordinates": [0, 0]}
        if number == 3:
            doc["grids"] = {}
        if number == 4:
            del doc["measurements"]["CMASK"]
        return doc

    counts, records = run(empty, items, conversion=Conversion(PRODUCT, identify, spoilt))
    assert counts == {"failed": 4, "added": COUNT - 4}
    assert "no measurement CMASK" in records[3].reason
    assert all(items[n]["id"] in records[n].reason for n in range(4))


def test_item_that_is_given_twice(empty, items):
    other = copy.deepcopy(items[0])
    other["properties"]["gsd"] = 10
    counts, records = run(empty, [*found(items), *found([items[1], other], "/data/more.ndjson")])
    assert counts == {"added": COUNT, "failed": 2}
    assert "/data/items.ndjson:1 gives another" in records[-1].reason
    counts, records = run(empty, [*items, items[1]])
    assert counts == {"unchanged": COUNT + 1}
    assert visible(empty) == {id_of(i) for i in items}


def test_item_of_another_product_stays_there(empty, items):
    run(empty, items)
    bands = [m["name"] for m in product_document(DERIVED)["measurements"]]

    def other(found, location):
        doc = document(found, location) | {"product": {"name": DERIVED}}
        return doc | {"measurements": {b: {"path": "https://x.org/b.tif"} for b in bands}}

    before = stored(empty)
    counts, records = run(empty, items, conversion=Conversion(DERIVED, identify, other))
    assert counts == {"failed": COUNT}
    assert f"is in the index as a dataset of {PRODUCT}" in records[0].reason
    assert stored(empty) == before


def test_dry_run_tells_and_changes_nothing(empty, items, tmp_path):
    run(empty, items[:8])
    before = stored(empty)
    items[0]["properties"]["gsd"] = 10
    coverage = Coverage(COLLECTION)
    counts, _ = run(empty, items[:1] + items[2:], dry_run=True, archive_missing=coverage, out=None)
    assert counts == {"updated": 1, "unchanged": 6, "added": 4, "archived": 1}
    assert stored(empty) == before
    run(empty, items, dry_run=True, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_gone_item_is_archived_and_restored_when_it_is_back(empty, items):
    run(empty, items)
    counts, records = run(empty, items[2:], archive_missing=Coverage(COLLECTION), batch=4)
    assert counts == {"unchanged": COUNT - 2, "archived": 2}
    assert {r.item for r in records if r.status == "archived"} == {i["id"] for i in items[:2]}
    assert visible(empty) == {id_of(i) for i in items[2:]}
    items[1]["properties"]["gsd"] = 10  # it comes back changed
    counts, _ = run(empty, items)
    assert counts == {"unchanged": COUNT - 2, "restored": 2}
    assert visible(empty) == {id_of(i) for i in items}
    doc = empty.index.datasets.get(id_of(items[1])).metadata_doc
    assert doc["properties"]["eo:gsd"] == 10
    assert run(empty, items)[0] == {"unchanged": COUNT}


def test_nothing_is_archived_where_an_item_may_only_be_unreadable(empty, items):
    run(empty, items)
    everywhere = {"archive_missing": Coverage(COLLECTION)}
    unread = FoundItem("x.json", "x.json", None, "x.json: cannot be read")
    report = index_items(empty, [*found(items[1:]), unread], CONVERSION, **everywhere)
    assert report.archived == 0
    assert "could not be read" in report.not_archived
    report = index_items(empty, [], CONVERSION, **everywhere)
    assert report.not_archived == "the source gave no item at all"

    def ends():
        yield from found(items[:3])
        raise OdcBdcError("the API does not answer")

    items[0]["properties"]["gsd"] = 10
    with pytest.raises(OdcBdcError, match="does not answer"):
        index_items(empty, ends(), CONVERSION, **everywhere)
    assert visible(empty) == {id_of(i) for i in items}
    # What came before the error went in.
    assert empty.index.datasets.get(id_of(items[0])).metadata_doc["properties"]["eo:gsd"] == 10


def test_only_what_a_search_covers_is_archived(empty, items):
    run(empty, items)
    tile = items[0]["properties"]["bdc:tiles"][0]
    box = empty.index.datasets.get(id_of(items[0])).metadata_doc["extent"]
    lon, lat = box["lon"], box["lat"]
    around = shapely.geometry.box(
        lon["begin"] - 0.01, lat["begin"] - 0.01, lon["end"] + 0.01, lat["end"] + 0.01
    )
    day = datetime(2016, 1, 1, tzinfo=UTC), datetime(2016, 1, 1, 12, tzinfo=UTC)
    narrow = [
        (Coverage(COLLECTION, tiles=(tile,)), {0}),
        (Coverage(COLLECTION, ids=(items[2]["id"], items[1]["id"])), {2}),
        (Coverage(COLLECTION, geometry=around), {0}),
        (Coverage(COLLECTION, geometry=around.buffer(-0.05)), set()),  # only cuts it
        (Coverage(COLLECTION, time=day), set()),
        (Coverage(COLLECTION, under=("/data",)), {0, 2, 3}),
        (Coverage(COLLECTION, under=("/dat", "/data/items.ndjso")), set()),
        (Coverage("ANOTHER-1"), set()),
    ]
    kept = [items[1], *items[4:]]
    for coverage, gone in narrow:
        _, records = run(empty, kept, archive_missing=coverage, dry_run=True)
        assert {r.item for r in records if r.status == "archived"} == {
            items[n]["id"] for n in gone
        }, coverage


def test_documents_lie_in_the_folder_and_name_the_place(empty, items, tmp_path):
    run(empty, items, out=tmp_path)
    path = tmp_path / COLLECTION / f"{items[0]['id']}.odc-metadata.yaml"
    assert empty.index.datasets.get(id_of(items[0])).uri == path.as_uri()
    text = path.read_text("utf-8")
    assert run(empty, items, out=tmp_path)[0] == {"unchanged": COUNT}
    path.unlink()
    assert run(empty, items, out=tmp_path)[0] == {"unchanged": COUNT}
    assert path.read_text("utf-8") == text
    # Without a folder the place of a dataset is another.
    assert run(empty, items)[0] == {"updated": COUNT}
    items[0]["id"] = "../../outside"
    items[1]["id"] = "long" * 99
    items[2]["id"] = "half of a character \ud800"
    counts, records = run(empty, items, out=tmp_path / "eo3")
    assert counts["failed"] == 3
    assert all("cannot be a file's name" in r.reason for r in records[:2])
    assert "surrogates not allowed" in records[2].reason


def test_files_that_changed_are_seen_when_asked(empty, items):
    grown = {"rows": None}

    def looks(found, location):
        doc = document(found, location)
        if grown["rows"]:
            doc["grids"]["default"]["shape"][0] = grown["rows"]
        return doc

    run(empty, items, conversion=Conversion(PRODUCT, identify, looks))
    looking = Conversion(PRODUCT, identify, looks, always=True)
    assert run(empty, items, conversion=looking)[0] == {"unchanged": COUNT}
    grown["rows"] = 99
    assert run(empty, items, conversion=looking)[0] == {"updated": COUNT}
    doc = empty.index.datasets.get(id_of(items[0])).metadata_doc
    assert doc["grids"]["default"]["shape"][0] == 99


def test_tells_how_far_it_came(empty, items):
    told = []
    index_items(empty, found(items), CONVERSION, batch=5, finished=told.append)
    assert told == [5, 10, 12]
