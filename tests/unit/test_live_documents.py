"""What makes a live image another one, what its document says, and what status calls it."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import yaml
from datacube.utils.uris import uri_resolve
from made_tasks import CUBE, TILE, cube_at, make_task

from odc_bdc import live
from odc_bdc.building import ImageStore, composite_tile, count_clear
from odc_bdc.building.efficacy import EfficacyStore
from odc_bdc.cube import find_cube
from odc_bdc.files import Access
from odc_bdc.indexing import known
from odc_bdc.indexing.known import KnownImage
from odc_bdc.live.documents import LiveTerms, QualityStamps, live_documents, live_text
from odc_bdc.live.recipe import read_recipe
from odc_bdc.live.roots import Roots
from odc_bdc.planning import BandSource, CompositeTask, Plan, SceneRef
from odc_bdc.planning.status import status_of

MONTHLY = "CB4_64_1M_STK_v1"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return make_task(tmp_path_factory.mktemp("scenes"), cube_at(40, 56), scenes=3)


def documents(task, root, n_clear=(5, 6, 7), **terms):
    made = LiveTerms(ImageStore.open(root), **terms)
    return live_documents(made, task, n_clear, processed=NOW, planned=task)


def test_both_names_of_the_file_format_are_one():
    assert live.LIVE_FORMAT == known.LIVE_FORMAT


def test_a_live_image_is_another_one_if_its_recipe_is(task, tmp_path):
    made = documents(task, tmp_path)
    assert documents(task, tmp_path) == made
    others = [
        documents(replace(task, scenes=task.scenes[1:]), tmp_path, (6, 7)),
        documents(task, tmp_path, (5, 6, 8)),
        documents(task, tmp_path, unreadable="skip"),
    ]
    assert len({made.id, task.id, *(other.id for other in others)}) == len(others) + 2
    assert len({made.folder, *(other.folder for other in others)}) == len(others) + 1
    # The clock is no part of it.
    terms = LiveTerms(ImageStore.open(tmp_path))
    later = live_documents(terms, task, (5, 6, 7), processed=NOW.replace(year=2027), planned=task)
    assert (later.id, later.recipe) == (made.id, made.recipe)


def moved(task, folder):
    """Give the task with all files of its scenes elsewhere."""
    scenes = []
    for scene in task.scenes:
        sources = [
            (name, replace(band, href=f"{folder}/{band.href.rpartition('/')[2]}"))
            for name, band in scene.sources
        ]
        scenes.append(replace(scene, sources=tuple(sources)))
    return replace(task, scenes=tuple(scenes))


def test_ids_do_not_depend_on_places_nor_on_when_files_were_written(task, tmp_path):
    rules = {"https://host.example/": {"token": "ODC_BDC_X"}}
    layout = ImageStore.open(tmp_path).layout
    found = [
        live_documents(
            LiveTerms(ImageStore(root, layout, tmp_path)), one, (5, 6, 7), processed=NOW,
            planned=one, stamp=stamp,
        )
        for root in ("/nowhere/cubes", "/other/home/cubes", "s3://bucket/cubes")
        for one in (task, replace(task, access=Access.from_dict(rules)), moved(task, "/other"))
        for stamp in ("abcd", "ef01")
    ]  # fmt: skip
    (one_id,) = {one.id for one in found}
    # Counts that were guessed are not those that were counted.
    assert one_id != documents(task, tmp_path).id
    # Whoever declares notices all of it, but the rules, which recipes do not hold.
    prints = {one.document["properties"][known.FINGERPRINT] for one in found}
    assert len(prints) == 3 * 2 * 2


def test_id_of_a_live_image_is_pinned(tmp_path):
    cube = find_cube(MONTHLY)
    sources = tuple((m.name, BandSource(f"/{m.name}.tif", m.encoding)) for m in cube.measurements)
    scenes = tuple(
        SceneRef(
            uuid.uuid5(uuid.NAMESPACE_URL, str(day)), f"of day {day}",
            datetime(2020, 1, day, 13, tzinfo=UTC), "cbers-4", cube.products[0], sources,
        )
        for day in (3, 8)
    )  # fmt: skip
    task = CompositeTask(cube, "007004", cube.timeline.period_of(date(2020, 1, 3)), scenes)
    assert str(documents(task, tmp_path, (5, 6)).id) == "fb34949c-e3f7-5e90-88f4-499de28bc258"


def test_fingerprint_does_not_depend_on_counts(task, tmp_path):
    terms = LiveTerms(ImageStore.open(tmp_path))
    for counts in ((1, 2, 3), None):
        document = live_documents(terms, task, counts, processed=NOW, planned=task).document
        assert document["properties"][known.FINGERPRINT] == terms.fingerprint(task)


def test_recipe_and_document_lie_side_by_side(task, tmp_path):
    made = documents(task, tmp_path)
    ((path,), folder) = ({m["path"] for m in made.document["measurements"].values()}, made.folder)
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / made.recipe_name).write_text(made.recipe, "utf-8")
    uri = uri_resolve((tmp_path / folder / made.document_name).as_uri(), path)
    recipe = read_recipe(uri, Roots.of(tmp_path))
    assert recipe.task == task
    assert recipe.n_clear == (5, 6, 7)
    assert recipe.knowledge == EfficacyStore.below(tmp_path).folder
    assert path.partition("#")[0] == made.recipe_name
    (read,) = (yaml.safe_load(live_text(made)),)
    assert {m["path"] for m in read["measurements"].values()} == {path}
    assert made.document["properties"][known.PLANNED] == str(task.id)
    assert json.loads(made.recipe)["item"] == made.document["label"]
    fewer = replace(task, scenes=task.scenes[:2])
    terms = LiveTerms(ImageStore.open(tmp_path))
    rest = live_documents(terms, fewer, (5, 6), processed=NOW, planned=task).document
    assert rest["properties"][known.SKIPPED] == [str(task.scenes[2].id)]
    assert rest["properties"][known.PLANNED] == str(task.id)


def test_clear_pixels_are_counted_once(task, tmp_path):
    store = EfficacyStore.below(tmp_path)
    counts = count_clear(task, store=store)
    assert counts == count_clear(task)
    files = {path: path.stat().st_mtime_ns for path in store.folder.rglob("*.json")}
    assert len(files) == len(counts)
    assert count_clear(task, store=store) == counts
    composite_tile(task, store=store)
    known_now = [json.loads(path.read_text())["n_clear"] for path in files]
    assert sorted(known_now) == sorted(counts)


def test_stamps_follow_the_files_of_quality(task):
    stamps = QualityStamps().of(task)
    assert QualityStamps().of(task) == stamps
    path = Path(task.scenes[1].source("CMASK").href.removeprefix("file://"))
    data = path.read_bytes()
    path.write_bytes(data + b" ")
    assert QualityStamps().of(task) != stamps
    path.write_bytes(data)
    other = Path(task.scenes[1].source("BAND14").href.removeprefix("file://"))
    before = QualityStamps().of(task)
    other.write_bytes(other.read_bytes() + b" ")
    assert QualityStamps().of(task) == before


def image(task, planned, *, is_live, skipped=False, fingerprint=known.LIVE_IDS):
    place = task.tile_id, task.period.start
    return KnownImage(uuid.uuid4(), *place, planned, skipped, is_live, fingerprint)


def test_status_tells_live_from_built(task):
    plan = Plan(task.cube, (task.period,), (task,), ())

    def state(*images, failures=()):
        (found,) = status_of(plan, images, dict(failures))
        return str(found.state), found.remark, found.image

    lives, built = image(task, task.id, is_live=True), image(task, task.id, is_live=False)
    assert state(lives) == ("live", None, lives.id)
    assert state(lives, built) == state(built, lives) == ("done", None, built.id)
    why = "building it failed: disk full"
    assert state(lives, failures=[(task.id, "disk full")]) == ("live", why, lives.id)
    for old in (None, "0" * 64):
        told = state(image(task, task.id, is_live=True, fingerprint=old))
        assert told[0] == "live"
        assert "its id is that of an earlier release: `odc-bdc cube declare`" in told[1]
        assert state(image(task, task.id, is_live=False, fingerprint=old))[:2] == ("done", None)
    without = image(task, task.id, is_live=True, skipped=True)
    assert state(without)[:2] == ("live", "scenes that could not be read are left out")
    assert state(image(task, uuid.uuid4(), is_live=True))[0] == "stale"
    assert state()[0] == "missing"
    assert (TILE, CUBE.function.name) == (task.tile_id, task.cube.function.name)
