"""Recipes of live images: they hold all of a task, and what is none is told."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odc_bdc import find_cube
from odc_bdc.building.storage import storage_at
from odc_bdc.building.store import ImageStore
from odc_bdc.cube import CubeSpec, Encoding, shipped_cubes
from odc_bdc.errors import InvalidValueError, OdcBdcError, SourceError
from odc_bdc.files import Access
from odc_bdc.indexing.documents import document_text
from odc_bdc.live.documents import LiveTerms, live_documents, live_text
from odc_bdc.live.knowledge import LIVE_PATH
from odc_bdc.live.recipe import (
    RECIPE_VERSION,
    parse_recipe,
    read_recipe,
    recipe_document,
    recipe_text,
    with_digest,
    write_recipe,
)
from odc_bdc.live.roots import Roots
from odc_bdc.planning import BandSource, CompositeTask, SceneRef

CUBES = sorted(shipped_cubes())
FUNCTIONS = ["AVG", "LCF", "P25,P50", "GEOMED", "IDT", {"name": "STD", "ddof": 1}]
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12)
NUMBERS = st.none() | st.floats(-9e9, 9e9, allow_nan=False).filter(bool)
ENCODINGS = st.builds(
    Encoding,
    st.sampled_from(["int16", "uint8", "float32"]),
    st.none() | st.integers(-32768, 32767),
    NUMBERS,
    NUMBERS,
)
YEARS = datetime(1999, 1, 1), datetime(2030, 1, 1)  # noqa: DTZ001 (hypothesis adds a zone)
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=-3))])


@st.composite
def tasks(draw):
    cube = find_cube(draw(st.sampled_from(CUBES)))
    grid = cube.grid
    tile = "000000" if cube.extent is None else grid.tile_ids(cube.extent)[0]
    period = cube.timeline.period_of(datetime(2020, 7, 5, tzinfo=UTC).date())
    scenes = [_scene(draw, cube, number) for number in range(draw(st.integers(1, 5)))]
    return CompositeTask(cube, tile, period, tuple(sorted(scenes, key=lambda s: s.datetime)))


def _scene(draw, cube, number):
    source = draw(st.sampled_from(cube.sources))
    names = [*(m.name for m in cube.measurements), *source.quality.bands[1:]]
    when = draw(st.datetimes(YEARS[0], YEARS[1], timezones=ZONES))
    bands = [
        (n, BandSource(draw(WORDS), draw(ENCODINGS), draw(st.integers(1, 9)), draw(st.booleans())))
        for n in names
    ]
    return SceneRef(
        uuid.uuid5(uuid.NAMESPACE_URL, str(number)),
        draw(WORDS),
        when,
        draw(st.none() | WORDS),
        source.product,
        tuple(bands),
        draw(st.none() | WORDS),
    )


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(tasks())
def test_texts_of_documents_are_as_if_nothing_were_kept(tmp_path_factory, task):
    terms = LiveTerms(ImageStore.open(tmp_path_factory.getbasetemp() / "root"))
    made = live_documents(terms, task, None, processed=YEARS[1].replace(tzinfo=UTC), planned=task)
    assert live_text(made) == document_text(made.document)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(tasks(), st.data())
def test_a_recipe_holds_all_of_a_task(task, data):
    counts = [data.draw(st.none() | st.integers(0, 10**9)) for _ in task.observations]
    read = parse_recipe(recipe_text(recipe_document(task, n_clear=counts)), "x.json")
    assert read.task == task
    assert read.task.id == task.id == read.id
    assert read.task.observations == task.observations
    assert list(read.n_clear) == counts
    assert (read.unreadable, read.task.access, read.knowledge) == ("fail", Access(), None)


@pytest.mark.parametrize("name", CUBES)
def test_the_yaml_form_of_a_cube_gives_the_cube(name):
    cube = find_cube(name)
    assert CubeSpec.from_dict(cube.to_dict()) == cube


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_yaml_form_holds_other_functions_and_parts_too(function):
    doc = find_cube("CB4_64_1M_MED_v1").to_dict() | {
        "name": "mine",
        "function": function,
        "mask": "my-clouds",
        "rounding": "floor",
        "extent": [0, 0, 1e6, 1e6],
        "grid": {"name": "mine", "crs": "EPSG:31983", "origin": [0, 1e7], "tile_size": [1e5, 1e5]},
        "outputs": {"auxiliary": [], "indices": []},
    }
    doc["sources"] = [{**doc["sources"][0], "where": {"region_code": "220", "gsd": 64}}]
    cube = CubeSpec.from_dict(doc)
    assert (cube.mask, cube.rounding, cube.auxiliary) == ("my-clouds", "floor", ())
    assert CubeSpec.from_dict(json.loads(json.dumps(cube.to_dict(), default=str))).function == (
        cube.function
    )
    assert CubeSpec.from_dict(cube.to_dict()) == cube


@pytest.fixture
def task():
    cube = find_cube("CB4_64_1M_STK_v1")
    sources = tuple((m.name, BandSource(f"/{m.name}.tif", m.encoding)) for m in cube.measurements)
    scenes = tuple(
        SceneRef(
            uuid.uuid5(uuid.NAMESPACE_URL, str(day)),
            f"of day {day}",
            datetime(2020, 1, day, 13, tzinfo=UTC),
            "cbers-4",
            cube.products[0],
            sources,
        )
        for day in (3, 8)
    )
    period = cube.timeline.period_of(scenes[0].datetime.date())
    return CompositeTask(cube, "007004", period, scenes)


def test_a_recipe_is_written_beside_others_and_read_again(task, tmp_path):
    access = Access.from_dict({"https://host.example/": {"sign": "planetary-computer"}})
    doc = recipe_document(replace(task, access=access), unreadable="skip")
    uri = write_recipe(doc, storage_at(str(tmp_path)), "a/b.json")
    roots = Roots.of(tmp_path)
    read = read_recipe(uri, roots)
    assert read.task == task
    # Rules are those of who reads, never the recipe's.
    assert (read.unreadable, read.task.access) == ("skip", Access())
    assert read_recipe(uri, roots, access).task.access == access
    assert "planetary" not in (tmp_path / "a/b.json").read_text("utf-8")
    assert read.knowledge is None
    assert uri.endswith(f"#sha256={read.checksum}")
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["b.json"]


def test_what_is_known_of_scenes_is_that_of_the_root(task, tmp_path):
    storage, path = storage_at(str(tmp_path)), f"{LIVE_PATH}/x.json"
    uri = write_recipe(recipe_document(task), storage, path)
    assert read_recipe(uri, Roots.of(tmp_path)).knowledge == tmp_path / ".efficacy"
    (tmp_path / ".efficacy").symlink_to("/")
    assert read_recipe(uri, Roots.of(tmp_path)).knowledge is None
    # Only what lies below the roots is looked at.
    assert read_recipe(uri, Roots.of(tmp_path / "live")).knowledge is None


def test_numbers_are_of_observations(task):
    with pytest.raises(InvalidValueError, match="1 numbers of clear pixels for 2 observations"):
        recipe_document(task, n_clear=[1])


def test_a_cube_that_has_no_yaml_form_is_refused(task):
    odd = replace(task.cube.measurements[0], scale=None)
    cube = task.cube.patch(measurements=(odd, *task.cube.measurements[1:]))
    with pytest.raises(InvalidValueError, match="has no YAML form"):
        recipe_document(replace(task, cube=cube))


def test_a_file_that_is_not_there_is_told(tmp_path):
    uri = with_digest((tmp_path / "none.json").as_uri(), "")
    with pytest.raises(SourceError, match=r"none\.json: no such file"):
        read_recipe(uri, Roots.of(tmp_path))


def _without(key):
    return lambda doc: doc.pop(key)


def _with(**changes):
    return lambda doc: doc.update(changes)


def _in_scene(**changes):
    return lambda doc: doc["scenes"][0].update(changes)


FAULTS = [
    (_with(recipe_version=RECIPE_VERSION + 1), "version 3, .* up to 2: update odc_bdc"),
    (_with(recipe_version="1"), "is no recipe of a live cube"),
    (_without("recipe_version"), "is no recipe of a live cube"),
    (_without("scenes"), "'scenes' is a required property"),
    (_with(scenes=[]), "scenes: .* non-empty"),
    (_with(unreadble="skip"), "'unreadble' is no key here, do you mean unreadable"),
    (_with(unreadable="maybe"), "unreadable: .*fail, or skip"),
    (_with(tile="000001"), "grid: is not that of tile 000001"),
    (_with(tile="x"), "not a tile id"),
    (_with(period={"start": "2020-02-30", "end": "2020-03-01"}), "day"),
    (_with(period={"start": "2020-02-20", "end": "2020-01-01"}), "ends on"),
    (_with(access={"https://h/": {"token": "ODC_BDC_A"}}), "says access, .* ODC_BDC_ACCESS"),
    (_with(access={}, knowledge="../x"), "says access and knowledge, .* cube declare"),
    (lambda doc: doc["cube"].update(mask="os:system"), "mask: .* module:function is not taken"),
    (_with(outputs=[{"name": "BAND13", "dtype": "int16"}]), "outputs: are not those of the cube"),
    (_with(observations=[{"scenes": [0, 1], "n_clear": 0}]), "observations: are not what days"),
    (_in_scene(datetime="2020-01-03T13:00:00"), "lacks its zone"),
    (_in_scene(datetime="yesterday"), "yesterday"),
    (_in_scene(product="strange"), "observations: are not what days"),
    (_in_scene(id="no"), r"scenes\.0\.id"),
    (lambda doc: doc["cube"].update(function="LFC"), "function: .* do you mean LCF"),
    (lambda doc: doc["cube"].pop("grid"), "'grid' is a required property"),
]


@pytest.mark.parametrize(("change", "message"), FAULTS, ids=[m for _, m in FAULTS])
def test_what_is_wrong_with_a_recipe_is_told_on_a_line(task, change, message):
    doc = json.loads(recipe_text(recipe_document(task)))
    change(doc)
    with pytest.raises(OdcBdcError, match=message) as told:
        parse_recipe(json.dumps(doc), "there/x.json")
    assert isinstance(told.value, InvalidValueError)
    assert all(line.startswith("there/x.json: ") for line in str(told.value).splitlines())


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"\xff\xfe", b"null"])
def test_what_is_no_json_is_told(text):
    with pytest.raises(InvalidValueError, match=r"x\.json: (cannot be read as JSON|is no recipe)"):
        parse_recipe(text, "x.json")
