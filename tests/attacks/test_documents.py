"""One bad document among good ones: it fails alone, and a line of JSON says where."""

from __future__ import annotations

import copy
import json
import os
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_index import own_index

from odc_bdc.cube import CubeSpec
from odc_bdc.document import MOST_BYTES
from odc_bdc.errors import InvalidValueError, SceneError
from odc_bdc.indexing import (
    IngestRecipe,
    add_documents,
    add_products,
    find_recipe,
    folder_items,
    index_collection,
)
from odc_bdc.indexing.documents import read_document
from odc_bdc.product import product_document
from odc_bdc.scenes import make_scenes

WENT_IN = {"added", "updated", "unchanged"}
RECIPE = find_recipe("cb4_wfi_l4_sr")
LAUGHS = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
)
MERGES = "a0: &a0 {k: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 30)
)
DEEP = "[" * 5000 + "]" * 5000
YAML = {
    "aliases of aliases": LAUGHS,
    "merged aliases of aliases": MERGES,
    "an alias of itself": "a: &a [*a]\n",
    "lists in lists": f"a: {DEEP}\n",
    "a number of 5,000 digits": f"a: {'9' * 5000}\n",
    "a date that cannot be": "a: 2020-13-45\n",
    "a list as key": "? [a, b]\n: c\n",
    "a mapping as key": "? {a: b}\n: c\n",
    "text without end": "a: '" + "x" * (MOST_BYTES + 10) + "'\n",
    "bytes that are no text": "a: \x00",
}


@pytest.mark.parametrize("name", YAML)
@pytest.mark.parametrize("read", [IngestRecipe.from_yaml, CubeSpec.from_yaml, read_document])
def test_a_document_without_bounds_is_refused(tmp_path, record_property, name, read):
    """A YAML document is given that stands for more than any memory holds, or for nothing."""
    path = tmp_path / "document.yaml"
    path.write_text(YAML[name], "utf-8")
    # Documents of datasets are read by another parser, which takes this; it holds no dataset.
    if read is read_document and name == "a date that cannot be":
        assert "id" not in read(path)[0]
        return
    with pytest.raises((InvalidValueError, SceneError)) as caught:
        read(path)
    record_property("answer", str(caught.value).splitlines()[0][-120:])
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 2000


def test_a_pipe_is_no_document(tmp_path, record_property):
    """A recipe is read from a pipe, into which nobody writes."""
    os.mkfifo(tmp_path / "recipe.yaml")
    with pytest.raises(InvalidValueError, match="is no file") as caught:
        IngestRecipe.from_yaml(tmp_path / "recipe.yaml")
    record_property("answer", str(caught.value)[-60:])


@pytest.mark.parametrize("text", ["{" * 3000, "9" * 5000, "x" * (MOST_BYTES + 10), "[1]", "\xff"])
def test_metadata_beside_a_scene_is_bounded(tmp_path, record_property, text):
    """The metadata file of a scene without STAC is not what it should be; another scene is good."""
    name = "LC08_L2SP_218068_202008{}_20200905_02_T1_SR_B2.TIF"
    for day in ("28", "12"):
        (tmp_path / name.format(day)).touch()
    bad = name.format("28").removesuffix("_SR_B2.TIF")
    bad = next(
        i.source.rpartition("/")[2] for i in folder_items(RECIPE, tmp_path) if bad in i.source
    )
    (tmp_path / f"{bad}_MTL.json").write_text(text, "latin-1")
    found = {i.source.rpartition("/")[2]: i.error for i in folder_items(RECIPE, tmp_path)}
    record_property("answer", found[bad][-100:])
    assert found.pop(bad)
    assert list(found.values()) == [None]


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    """Give the documents of three made scenes, which name files of a folder."""
    root = tmp_path_factory.mktemp("scenes")
    report = make_scenes(
        root,
        size=32,
        tiles=("007004",),
        start=date(2020, 1, 1),
        end=date(2020, 1, 31),
        dates_per_month=3,
    )
    found = []
    for path in sorted(report.items)[:3]:
        item = json.loads(path.read_text("utf-8"))
        for asset in item["assets"].values():
            asset["href"] = str((path.parent / asset["href"]).resolve())
        found.append(item)
    assert len(found) == 3
    return root, found


@pytest.fixture(scope="module")
def dc(tmp_path_factory):
    """Open an index with the product of the scenes."""
    with own_index(tmp_path_factory.mktemp("home"), "documents") as (_, opened):
        add_products(opened, [product_document(RECIPE.product)])
        yield opened


def run(dc, items, bad, folder, *, dry_run):
    """Index a bad item, as JSON has it, between two good ones; give what became of the three."""
    root, (first, _, last) = items
    path = folder / "items.ndjson"
    path.write_text("\n".join((json.dumps(first), bad, json.dumps(last))), "utf-8")
    records = []
    index_collection(
        dc,
        RECIPE,
        [path],
        dry_run=dry_run,
        verify="none",
        files=str(root),
        report=records.append,
    )
    told = [json.loads(record.to_json()) for record in records]
    assert [t["source"].rpartition(":")[2] for t in told] == ["1", "2", "3"]
    return told


def nested(depth, inner=1):
    for _ in range(depth):
        inner = [inner]
    return inner


def change(path, value):
    def changed(item):
        *parents, last = path
        for key in parents:
            item = item[key]
        item[last] = value
        return item

    return changed


BAD = {
    "a gsd of 401 digits": change(("properties", "gsd"), 10**400),
    "a cloud cover without end": change(("properties", "eo:cloud_cover"), float("inf")),
    "a type that is a list": change(("type",), []),
    "an id with a control character": change(("id",), "a\x1b[2Jb"),
    "an id with a line break": change(("id",), "a\nb"),
    "an id of half a character": change(("id",), "\ud800"),
    "a date that is a list": change(("properties", "datetime"), nested(300)),
    "a date beyond time": change(("properties", "datetime"), "9999-12-31T23:59:59-23:59"),
    "an id of lists in lists": change(("id",), nested(900)),
    "assets that are a list": change(("assets",), [1] * 1000),
    "an asset of lists in lists": change(("assets", "BAND13"), nested(900)),
    "an href with a control character": change(("assets", "BAND13", "href"), "/a\x00b.tif"),
    "an href that is a VRT": change(("assets", "BAND13", "href"), "/vsistdin/"),
    "a CRS that names a file": change(
        ("properties", "proj:wkt2"), "+proj=longlat +nadgrids=/etc/passwd"
    ),
    "a CRS that is no CRS": change(("properties", "proj:code"), nested(100)),
    "a shape of 401 digits": change(("assets", "BAND13", "proj:shape"), [10**400, 1]),
    "a transform that is not finite": change(
        ("assets", "BAND13", "proj:transform"), [float("nan")] * 6
    ),
}


@pytest.mark.integration
@pytest.mark.parametrize("name", BAD)
def test_an_item_fails_alone(dc, items, tmp_path, record_property, name):
    """One item of a file is broken in a way of its own."""
    bad = copy.deepcopy(items[1][1])
    BAD[name](bad)
    before, told, after = run(dc, items, json.dumps(bad), tmp_path, dry_run=False)
    record_property("answer", told["reason"][-120:])
    assert told["status"] == "failed"
    assert len(told["reason"]) < 1000
    assert {before["status"], after["status"]} <= WENT_IN


@pytest.mark.integration
@pytest.mark.parametrize(
    "text", ["{", '{"id": ' + DEEP + "}", "[" * 100_000, '{"id": ' + "9" * 5000]
)
def test_a_line_that_is_no_json_fails_alone(dc, items, tmp_path, record_property, text):
    """One line of a file of items is no JSON, or nested without end."""
    before, told, after = run(dc, items, text, tmp_path, dry_run=True)
    record_property("answer", told["reason"][-120:])
    assert told["status"] == "failed"
    assert {before["status"], after["status"]} <= WENT_IN


@pytest.mark.integration
def test_a_dataset_document_fails_alone(dc, tmp_path, record_property):
    """Of some dataset documents each is broken in a way of its own."""
    texts = (
        *YAML.values(),
        "id: 5",
        "[]",
        "lineage: 5\nid: x\nproduct: {name: y}",
        "measurements: 5",
    )
    paths = []
    for number, text in enumerate(texts):
        paths.append(tmp_path / f"{number}.odc-metadata.yaml")
        paths[-1].write_text(text, "utf-8")
    found = add_documents(dc, paths)
    record_property("answer", f"{len(found)} failed, each with its reason")
    assert [r.status for r in found] == ["failed"] * len(texts)
    assert all(json.loads(r.to_json())["reason"] for r in found)


VALUES = st.sampled_from(
    [
        *(None, True, -1, 0, 10**400, -(10**400), 1e308, float("nan"), float("inf"), 0.1),
        *(
            "",
            "x",
            "x" * 10_000,
            "..",
            "../../x",
            "a/b",
            "\x00",
            "\ud800",
            "\n",
            "2020-99-99",
            "nan",
        ),
        *(
            "9" * 400,
            "file:///etc/passwd",
            "http://169.254.169.254/",
            "/vsistdin/",
            "http://[",
            "://",
        ),
        *([], {}, [None], [[]], {"": None}, {"type": 1}, nested(200), nested(900), [1] * 5000),
        *({"href": 5}, {"name": []}, {"type": "name", "properties": {}}),
    ]
)


@st.composite
def mutations(draw):
    """Give some steps into a document, each with what is done there."""
    return draw(
        st.lists(
            st.tuples(
                st.lists(st.integers(0, 40), min_size=1, max_size=5),
                st.sampled_from(["replace", "delete", "rename"]),
                VALUES,
            ),
            min_size=1,
            max_size=4,
        )
    )


def mutate(document, steps, action, value):
    """Change a part of a document, which steps lead to as far as there are some."""
    for number, step in enumerate(steps):
        keys = list(document) if isinstance(document, dict) else list(range(len(document)))
        if not keys:
            return
        key = keys[step % len(keys)]
        inside = document[key]
        if number + 1 < len(steps) and isinstance(inside, dict | list):
            document = inside
            continue
        if action == "delete":
            del document[key]
        elif action == "rename" and isinstance(document, dict) and isinstance(value, str):
            document[value] = document.pop(key)
        else:
            document[key] = copy.deepcopy(value)
        return


@pytest.mark.integration
def test_items_around_any_item_go_in(dc, items, tmp_path, record_property, request):
    """Items are changed at random, in one to four places; those around each must go in."""
    count = 3000 if request.config.getoption("--attack-long") else 60
    became = {"added": 0, "failed": 0, "unchanged": 0, "updated": 0}

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(mutations())
    def fuzz(changes):
        bad = copy.deepcopy(items[1][1])
        for steps, action, value in changes:
            mutate(bad, steps, action, value)
        before, told, after = run(dc, items, json.dumps(bad), tmp_path, dry_run=True)
        became[told["status"]] += 1
        # One that took the name of another is the only one that may harm it.
        if told.get("item") not in {before.get("item"), after.get("item")}:
            assert {before["status"], after["status"]} <= WENT_IN

    fuzz()
    record_property("answer", f"{count} items: {became}")
    assert became["failed"]
