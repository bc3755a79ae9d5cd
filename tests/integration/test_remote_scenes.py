"""Scenes on servers and in buckets give the images that local ones give; replaced ones are seen."""

from __future__ import annotations

import gc
import os
import shutil
import threading
from dataclasses import replace
from functools import cache
from pathlib import Path

import fsspec
import numpy as np
import pytest
from file_server import FileServer
from made_tasks import TILE, cube_at, make_task, utm_grid

from odc_bdc import find_cube
from odc_bdc.building.efficacy import EfficacyStore
from odc_bdc.building.tile import composite_tile
from odc_bdc.building.work import fault_of
from odc_bdc.errors import InvalidValueError, ReplacedFileError, UnreadableSceneError
from odc_bdc.files import Access, OpenDataset, SceneFiles, Versions, access_of
from odc_bdc.files import remote as remote_files
from odc_bdc.files.remote import replaced
from odc_bdc.indexing.sources import HOSTS_VARIABLE, Patience
from odc_bdc.live.image import LiveImage
from odc_bdc.live.recipe import parse_recipe, recipe_document, recipe_text

SHAPE = (300, 520)
SECRET = "s3cr3t-t0ken"  # noqa: S105 (of the test's own server)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Wait for servers no longer than a test should."""
    from odc_bdc.files import opening

    quick = Patience(tries=2, pause=0.001, longest=0.1, timeout=2)
    opening.scene_files.cache_clear()
    monkeypatch.setattr(
        opening.SceneFiles.__init__, "__defaults__", (None, {HOSTS_VARIABLE: "127.0.0.0/8"}, quick)
    )
    monkeypatch.setenv(HOSTS_VARIABLE, "127.0.0.0/8")
    yield
    opening.scene_files.cache_clear()


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    with FileServer(folder) as running:
        yield running


def moved(task, prefix, access=None):
    """Give a task whose scenes are looked for elsewhere."""

    def source(band):
        return replace(band, href=prefix + Path(band.href).name)

    scenes = tuple(
        replace(s, sources=tuple((name, source(band)) for name, band in s.sources))
        for s in task.scenes
    )
    return replace(task, scenes=scenes, access=Access.from_dict(access or {}))


def live(task, **how):
    recipe = parse_recipe(recipe_text(recipe_document(task, **how)), "x.json", task.access)
    return LiveImage(recipe)


def assert_same(image, expected):
    assert image.keys() == expected.keys()
    for name, pixels in expected.items():
        np.testing.assert_array_equal(image[name], pixels, err_msg=name)


def read_all(image, window=None):
    return {m.name: image.read(m.name, window) for m in image.outputs}


def path_of(scene, band):
    return Path(scene.source(band).href.removeprefix("file://"))


@pytest.mark.parametrize("cube", ["CB4_64_1M_STK_v1", "CB4_64_1M_MED_v1"])
@pytest.mark.parametrize("warped", [False, True])
def test_an_image_of_scenes_on_a_server(server, cube, warped):
    cube = cube_at(*SHAPE, cube=find_cube(cube))
    grids = [utm_grid(cube, margin=-3000.0)] if warped else None
    task = make_task(server.folder, cube, scenes=3, grids=grids, days=(1, 2, 2))
    remote = moved(task, f"{server.url}/")
    expected = composite_tile(task)
    assert_same(composite_tile(remote), expected)
    image, near = live(remote), live(task)
    assert_same(read_all(image), expected)
    coarse = image.read("BAND14", None, (75, 130))
    np.testing.assert_array_equal(coarse, near.read("BAND14", None, (75, 130)))


def test_what_gdal_must_read_is_the_same(server, monkeypatch):
    cube = cube_at(*SHAPE)
    task = make_task(server.folder, cube, scenes=2)
    expected = composite_tile(task)
    monkeypatch.setattr("odc_bdc.building.reading.block_file", lambda *_: None)
    assert_same(composite_tile(moved(task, f"{server.url}/")), expected)


def test_a_server_that_wants_a_token_gets_it_from_the_environment(server, monkeypatch):
    task = make_task(server.folder, cube_at(*SHAPE), scenes=2)
    server.wants = lambda headers, _: headers.get("x-api-key") == SECRET
    access = {f"{server.url}/": {"token": "ODC_BDC_OF_A_TEST"}}
    remote = moved(task, f"{server.url}/", access)
    with pytest.raises(UnreadableSceneError, match="set ODC_BDC_OF_A_TEST"):
        composite_tile(remote)
    monkeypatch.setenv("ODC_BDC_OF_A_TEST", SECRET)
    from odc_bdc.files import scene_files

    scene_files.cache_clear()
    assert_same(composite_tile(remote), composite_tile(task))
    assert_same(read_all(live(remote)), composite_tile(task))
    assert SECRET not in recipe_text(recipe_document(remote))


def test_the_command_line_takes_rules_from_a_file(tmp_path):
    assert access_of({}) == Access()
    path = tmp_path / "access.yaml"
    path.write_text("https://host.example/: {token: ODC_BDC_OF_A_TEST}", "utf-8")
    assert access_of({"ODC_BDC_ACCESS": str(path)}) == Access.from_dict(
        {"https://host.example/": {"token": "ODC_BDC_OF_A_TEST"}}
    )
    with pytest.raises(InvalidValueError, match=r"none\.yaml: cannot be read"):
        access_of({"ODC_BDC_ACCESS": str(tmp_path / "none.yaml")})


@pytest.mark.parametrize(
    ("fault", "message"), [(404, "404"), (500, "500"), ("silent", "no answer"), (403, "403")]
)
def test_a_server_that_fails_is_told_with_the_scene(server, fault, message):
    task = make_task(server.folder, cube_at(*SHAPE), scenes=2)
    remote = moved(task, f"{server.url}/")
    server.fail_always = fault
    for read in (lambda: composite_tile(remote), lambda: live(remote).read("BAND13")):
        with pytest.raises(UnreadableSceneError, match=rf"_\w+\.tif: cannot .*{message}") as told:
            read()
        assert told.value.scene in {s.id for s in task.scenes}
        assert "\n" not in str(told.value)


def test_scenes_in_a_bucket(s3, tmp_path):
    task = make_task(tmp_path, cube_at(*SHAPE), scenes=2)
    bucket = fsspec.filesystem("s3")
    bucket.mkdir("scenes")
    for path in tmp_path.glob("*.tif"):
        bucket.put_file(str(path), f"scenes/a b/{path.name}")
    remote = moved(task, "s3://scenes/a b/")
    expected = composite_tile(task)
    assert_same(composite_tile(remote), expected)
    assert_same(read_all(live(remote)), expected)
    bucket.rm(f"scenes/a b/{path_of(task.scenes[0], 'BAND13').name}")
    told = r"^s3://scenes/a b/\w+BAND13\.tif: cannot be read: HTTP 404"
    with pytest.raises(UnreadableSceneError, match=told):
        composite_tile(remote)


# Replaced scenes


@pytest.fixture
def pair(tmp_path):
    """Give a task, and another of the same files with other pixels; `swap` puts those there."""
    cube = cube_at(*SHAPE)
    for name in ("now", "other"):
        (tmp_path / name).mkdir()
    task = make_task(tmp_path / "now", cube, scenes=4, seed=1)
    other = make_task(tmp_path / "other", cube, scenes=4, seed=2)
    return task, other


def swap(task, other, *scenes, bands=None):
    for n in scenes:
        for name, source in task.scenes[n].sources:
            if bands is None or name in bands:
                new = Path(source.href.removeprefix("file://")).with_suffix(".new")
                shutil.copyfile(path_of(other.scenes[n], name), new)
                new.replace(path_of(task.scenes[n], name))


@pytest.mark.parametrize("kind", ["file", "http"])
def test_a_scene_that_is_replaced_under_a_reader_is_noticed(pair, server, kind):
    task, other = pair
    shutil.rmtree(server.folder)
    server.folder = path_of(task.scenes[0], "BAND13").parent
    used = task if kind == "file" else moved(task, f"{server.url}/")
    before = composite_tile(task)
    n_clear = [int(c) for c in _counts(task)]
    recipe = parse_recipe(recipe_text(recipe_document(used, n_clear=n_clear)), "x.json")
    now = [0.0]
    versions = Versions(SceneFiles(environ=os.environ), clock=lambda: now[0])
    image = LiveImage(recipe, versions, lambda: now[0])
    assert_same(read_all(image), before)
    # The order of scenes, which follows from the counts of the recipe, changes as well.
    swap(task, other, 0, 2)
    now[0] += 60
    after = composite_tile(task)
    assert not np.array_equal(after["BAND13"], before["BAND13"])
    assert_same(read_all(image), after)
    assert sorted(_counts(task)) != sorted(n_clear)
    asked = len(server.asked)
    assert_same(read_all(image), after)
    assert len(server.asked) == asked


def _counts(task):
    from odc_bdc.building.tile import count_clear

    return count_clear(task)


def test_files_are_looked_at_seldom(pair):
    task, _ = pair
    now, looked = [0.0], []

    class Counting(SceneFiles):
        def version(self, href):
            looked.append(href)
            return super().version(href)

    versions = Versions(Counting(), clock=lambda: now[0])
    image = LiveImage(
        parse_recipe(recipe_text(recipe_document(task)), "x"), versions, lambda: now[0]
    )
    for _ in range(50):
        image.read("BAND13", (slice(0, 10), slice(0, 10)))
    files = sum(len(s.sources) for s in task.scenes)
    assert len(looked) == files
    now[0] += 1.5
    image.read("BAND13", (slice(0, 10), slice(0, 10)))
    assert len(looked) == 2 * files


@pytest.mark.parametrize("kind", ["file", "http"])
def test_a_file_that_is_replaced_while_it_is_read_is_never_mixed(pair, server, kind):
    task, other = pair
    server.folder = path_of(task.scenes[0], "BAND13").parent
    used = task if kind == "file" else moved(task, f"{server.url}/")
    one = composite_tile(task)["BAND13"]
    kept = other.__class__(task.cube, TILE, task.period, task.scenes)
    copies = path_of(task.scenes[0], "BAND13").parent.parent / "copies"
    shutil.copytree(path_of(task.scenes[0], "BAND13").parent, copies)
    first = replace_folder(task, copies)
    swap(task, other, 0, 1, bands={"BAND13"})
    two = composite_tile(kept)["BAND13"]
    assert not np.array_equal(one, two)
    stop, seen = threading.Event(), set()

    def keep_swapping():
        while not stop.is_set():
            for source in (first, other):
                swap(task, source, 0, 1, bands={"BAND13"})
                stop.wait(0.02)

    mixed = _either(task, first, other)
    thread = threading.Thread(target=keep_swapping)
    thread.start()
    try:
        for _ in range(10):
            image = live(used)
            try:
                pixels = image.read("BAND13")
            except ReplacedFileError:
                seen.add("error")
                continue
            seen.add(mixed(pixels))
    finally:
        stop.set()
        thread.join()
    assert seen <= {"error", "whole"}


def test_what_gdal_opened_is_closed_by_any_thread_and_if_it_was_replaced(server, monkeypatch):
    task = make_task(server.folder, cube_at(*SHAPE), scenes=1)
    used = moved(task, f"{server.url}/").scenes[0].source("BAND13").href
    opened = []
    thread = threading.Thread(
        target=lambda: opened.append(OpenDataset(SceneFiles(environ=os.environ).get(used)))
    )
    thread.start()
    thread.join()
    opened.pop().close()
    checks = iter([None, replaced(used)])

    def check(self):
        if error := next(checks):
            raise error

    monkeypatch.setattr(OpenDataset, "_check", check)

    def open_replaced():
        with pytest.raises(ReplacedFileError):
            OpenDataset(SceneFiles(environ=os.environ).get(used))

    thread = threading.Thread(target=open_replaced)
    thread.start()
    thread.join()
    # rasterio complains while what nobody closed is collected; warnings fail tests.
    gc.collect()


def replace_folder(task, folder):
    return moved(task, f"{folder}/")


def _either(task, first, other):
    """Tell if each scene's part of an image is of one of its two files, never of both."""
    images = {}
    for mask in range(4):
        scenes = tuple(
            replace(
                s,
                sources=tuple(
                    (
                        n,
                        (
                            (first, other)[mask >> k & 1 if k < 2 else 0].scenes[k].source(n)
                            if n == "BAND13"
                            else b
                        ),
                    )
                    for n, b in s.sources
                ),
            )
            for k, s in enumerate(task.scenes)
        )
        images[mask] = composite_tile(replace(first, scenes=_quality_of(first, scenes)))["BAND13"]

    def tell(pixels):
        return "whole" if any(np.array_equal(pixels, i) for i in images.values()) else "mixed"

    return tell


def _quality_of(first, scenes):
    """Let all bands but the one that is swapped come from files that stay."""
    return tuple(
        replace(
            s,
            sources=tuple(
                (n, b if n == "BAND13" else first.scenes[k].source(n)) for n, b in s.sources
            ),
        )
        for k, s in enumerate(scenes)
    )


def test_a_build_tells_of_it_and_may_be_tried_again(pair, monkeypatch):
    task, other = pair
    from odc_bdc.building import tile as tiles

    once = cache(lambda: swap(task, other, 1))
    honest = tiles.Worker.composite

    def composite(self, window, order, receive):
        once()
        return honest(self, window, order, receive)

    monkeypatch.setattr(tiles.Worker, "composite", composite)
    with pytest.raises(ReplacedFileError, match="was replaced while it was read") as told:
        composite_tile(task)
    fault = fault_of(told.value)
    assert (fault.scene, fault.lasting) == (None, False)
    composite_tile(task)


def test_what_is_known_of_a_scene_is_of_that_version(pair, tmp_path, server):
    task, other = pair
    server.folder = path_of(task.scenes[0], "BAND13").parent
    used = moved(task, f"{server.url}/")
    store = EfficacyStore.below(tmp_path / "store")
    assert_same(composite_tile(used, store=store), composite_tile(task))
    swap(task, other, *range(4))
    assert_same(composite_tile(used, store=store), composite_tile(task))


# Unreadable scenes


@pytest.mark.parametrize("how", ["missing", "no image", "cut"])
def test_an_unreadable_scene_fails_an_image_or_is_left_out(pair, how, caplog):
    task, _ = pair
    path = path_of(task.scenes[1], "BAND14")
    content = path.read_bytes()
    now = [0.0]

    def image(unreadable):
        recipe = parse_recipe(recipe_text(recipe_document(task, unreadable=unreadable)), "x.json")
        versions = Versions(SceneFiles(environ=os.environ), clock=lambda: now[0])
        return LiveImage(recipe, versions, lambda: now[0])

    whole, images = composite_tile(task), {kind: image(kind) for kind in ("fail", "skip")}
    for one in images.values():
        assert_same(read_all(one), whole)
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(b"<html>" * 100 if how == "no image" else content[:300])
    now[0] += 60
    with pytest.raises(UnreadableSceneError, match=r"_BAND14\.tif: cannot be read") as told:
        images["fail"].read("BAND13")
    assert told.value.scene == task.scenes[1].id
    rest = replace(task, scenes=tuple(s for n, s in enumerate(task.scenes) if n != 1))
    assert_same(read_all(images["skip"]), composite_tile(rest))
    assert images["skip"].left_out == (task.scenes[1].id,)
    assert path.name in caplog.text
    # It comes back.
    path.write_bytes(content)
    now[0] += 60
    for one in images.values():
        assert_same(read_all(one), whole)
    assert images["skip"].left_out == ()


def test_no_address_of_another_kind():
    with pytest.raises((InvalidValueError, OSError)):
        SceneFiles(environ=os.environ).get("gs://bucket/a.tif").dataset().__enter__()
    assert remote_files.PATIENCE.tries * remote_files.PATIENCE.timeout < 120
