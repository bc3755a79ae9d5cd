"""Live images are declared, built and unbuilt: one of each tile and period is visible always."""

from __future__ import annotations

import errno
import json
import os
import shutil
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import rasterio
from builders import (
    CLOCK,
    CUBE,
    SPAN,
    cube,
    fill,
    indexed_images,
    make_small_scenes,
    tasks_of,
    visible_files,
)
from click.testing import CliRunner
from datacube.index.hl import Doc2Dataset
from datacube.storage._base import measurement_paths
from datacube.utils.documents import read_documents
from eodatasets3.validate import validate_dataset

from odc_bdc import database
from odc_bdc.building import ImageStore, build_cube, composite_tile
from odc_bdc.building.pruning import Kind, find_leftovers, remove_leftover
from odc_bdc.cli import main
from odc_bdc.cube import find_cube
from odc_bdc.errors import DatabaseError, SourceError
from odc_bdc.files import Access
from odc_bdc.indexing import add_products
from odc_bdc.indexing.known import derived_datasets
from odc_bdc.live.checking import check_live, declared_images
from odc_bdc.live.declaring import declare_cube, unbuild_cube
from odc_bdc.live.recipe import RECIPE_SUFFIX, read_recipe
from odc_bdc.live.roots import Roots
from odc_bdc.planning import cube_status, expected_clear, plan_cube, survey_cube

IMAGES = 4


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    make_small_scenes(folder)
    return folder


@pytest.fixture(scope="module")
def filled(dc, scenes):
    fill(dc, scenes)
    return dc


@pytest.fixture
def clean(filled):
    """Give the index with all scenes and without images."""
    yield filled
    datasets = filled.index.datasets
    ids = list(indexed_images(filled))
    datasets.purge(ids, allow_delete_active=True)
    source = cube().products[0]
    datasets.restore([d.id for d in datasets.search(product=source, archived=True)])


def declare(dc, root, tasks=None, **options):
    report = declare_cube(dc, tasks or tasks_of(dc), root, now=CLOCK, **options)
    assert report.failed == []
    return report


def visible(dc):
    """Give the visible images by tile and period; there is at most one of each."""
    found = list(dc.index.datasets.search(product=CUBE))
    by_place = {(d.metadata.region_code, str(d.center_time)): d for d in found}
    assert len(by_place) == len(found)
    return by_place


def formats(dc):
    return {d.metadata_doc["properties"]["odc:file_format"] for d in visible(dc).values()}


def recipe_of(dataset):
    (uri,) = set(measurement_paths(dataset).values())
    root, _, rest = uri.rpartition("/live/")
    assert rest
    return read_recipe(uri, Roots.of(root.removeprefix("file://")))


def states(dc, failures=None):
    found = cube_status(dc, survey_cube(dc, cube(), *SPAN), failures)
    return {(s.tile_id, s.period.start): str(s.state) for s in found}


def without_a_scene(dc):
    """Hide the first scene of the first image; give the images that had it."""
    tasks = tasks_of(dc)
    gone = tasks[0].scenes[0].id
    dc.index.datasets.archive([gone])
    return [task for task in tasks if gone in {scene.id for scene in task.scenes}]


def clear_pixels(task):
    """Count by hand: the scenes of these tasks lie on their grid, one for each observation."""
    counts = []
    for group in task.observations:
        assert len(group) == 1
        with rasterio.open(group[0].source("CMASK").href.removeprefix("file://")) as src:
            window = rasterio.windows.from_bounds(*task.geobox.boundingbox.bbox, src.transform)
            pixels = src.read(1, window=window.round_offsets().round_lengths(), boundless=True)
        counts.append(int((pixels == 127).sum()))
    return counts


def test_images_are_declared_once(clean, tmp_path):
    report = declare(clean, tmp_path)
    assert report.to_dict() == {"declared": IMAGES, "unchanged": 0, "archived": 0, "failed": 0}
    assert set(states(clean).values()) == {"live"}
    tasks = {(t.tile_id, t.period.start): t for t in tasks_of(clean)}
    product = clean.index.products.get_by_name(CUBE)
    for dataset in visible(clean).values():
        recipe = recipe_of(dataset)
        task = tasks[recipe.task.tile_id, recipe.task.period.start]
        assert recipe.task == task
        assert list(recipe.n_clear) == clear_pixels(task)
        (doc,) = (d for _, d in read_documents(dataset.uri.removeprefix("file://")))
        messages = validate_dataset(doc, product_definition=product.definition)
        errors = [m.reason for m in messages if m.level.name == "error"]
        assert [e for e in errors if not e.startswith("(product.name)")] == []
        assert {m["layer"] for m in doc["measurements"].values()} == {
            m.name for m in task.cube.outputs
        }
        assert doc["lineage"]["scenes"] == [str(scene.id) for scene in task.scenes]
        assert (Path(recipe.knowledge) / ".").is_dir()
        derived = derived_datasets(clean, [scene.id for scene in task.scenes])
        assert all(dataset.id in of for of in derived.values())
        assert len(derived) == len(task.scenes)
    files, ids = visible_files(tmp_path), indexed_images(clean)
    again = declare(clean, tmp_path)
    assert again.to_dict() == {"declared": 0, "unchanged": IMAGES, "archived": 0, "failed": 0}
    assert (visible_files(tmp_path), indexed_images(clean)) == (files, ids)


def test_scenes_that_come_and_go_replace_the_images_concerned(clean, tmp_path):
    concerned = without_a_scene(clean)
    assert 0 < len(concerned) < IMAGES
    declare(clean, tmp_path)
    before = {d.id for d in visible(clean).values()}
    source = cube().products[0]
    hidden = [d.id for d in clean.index.datasets.search(product=source, archived=True)]
    clean.index.datasets.restore(hidden)
    assert sorted(states(clean).values()) == ["live"] * (IMAGES - len(concerned)) + (
        ["stale"] * len(concerned)
    )
    report = declare(clean, tmp_path)
    assert (report.counts["declared"], report.archived) == (len(concerned), len(concerned))
    assert len({d.id for d in visible(clean).values()} & before) == IMAGES - len(concerned)
    assert set(states(clean).values()) == {"live"}


def test_build_and_unbuild_swap_one_for_the_other(clean, tmp_path):
    declare(clean, tmp_path)
    recipes = {d.id: recipe_of(d) for d in visible(clean).values()}
    seen = []

    def look(_):
        seen.append(len(visible(clean)))

    tasks = tasks_of(clean)
    report = build_cube(clean, tasks, tmp_path, now=CLOCK, progress=look)
    assert (report.built, report.archived, report.failed) == (IMAGES, IMAGES, [])
    assert formats(clean) == {"GeoTIFF"}
    # What the recipes say is what was built.
    for recipe in recipes.values():
        dataset = clean.index.datasets.get(recipe.task.id)
        pixels = composite_tile(recipe.task)
        for name, array in pixels.items():
            path = Path(dataset.uri.removeprefix("file://")).parent
            with rasterio.open(path / dataset.metadata_doc["measurements"][name]["path"]) as src:
                np.testing.assert_array_equal(src.read(1), array)
    # To declare leaves built images alone.
    kept = declare(clean, tmp_path)
    assert kept.to_dict()["built"] == IMAGES
    assert formats(clean) == {"GeoTIFF"}
    plan = survey_cube(clean, cube(), *SPAN)
    report = unbuild_cube(clean, plan, tmp_path, now=CLOCK, progress=look)
    assert (report.counts["declared"], report.archived) == (IMAGES, IMAGES)
    assert {d.id for d in visible(clean).values()} == recipes.keys()
    # Back again: the files are there, and nothing is computed.
    report = build_cube(clean, tasks, tmp_path, now=CLOCK, progress=look, skip_scenes=True)
    assert (report.built, report.computed, report.archived) == (IMAGES, 0, IMAGES)
    assert formats(clean) == {"GeoTIFF"}
    assert set(seen) == {IMAGES}


def test_built_images_are_replaced_if_asked(clean, tmp_path):
    build_cube(clean, tasks_of(clean), tmp_path, now=CLOCK)
    concerned = without_a_scene(clean)
    report = declare(clean, tmp_path)
    assert report.counts == {"built": IMAGES - len(concerned), "stale": len(concerned)}
    report = declare(clean, tmp_path, replace_built="stale")
    assert report.counts == {"built": IMAGES - len(concerned), "declared": len(concerned)}
    assert sorted(states(clean).values()) == ["done"] * (IMAGES - len(concerned)) + (
        ["live"] * len(concerned)
    )
    report = declare(clean, tmp_path, replace_built="all")
    assert report.counts == {"unchanged": len(concerned), "declared": IMAGES - len(concerned)}
    assert formats(clean) == {"odc_bdc_live"}


def test_live_image_beside_a_built_one_goes(clean, tmp_path):
    """As runs leave it that met."""
    declare(clean, tmp_path)
    live = list(indexed_images(clean))
    build_cube(clean, tasks_of(clean), tmp_path, now=CLOCK)
    clean.index.datasets.restore(live)
    assert set(states(clean).values()) == {"done"}
    report = declare(clean, tmp_path)
    assert (report.counts, report.archived) == ({"built": IMAGES}, IMAGES)
    assert formats(clean) == {"GeoTIFF"}


def test_planned_clouds_are_those_that_the_index_tells(clean):
    planned = tasks_of(clean)
    asked = [replace(task, clear_shares={}) for task in planned]
    assert any(None not in counts for counts in expected_clear(clean, asked))
    assert expected_clear(clean, planned) == expected_clear(clean, asked)


def test_quick_declarations_give_way_to_exact_ones(clean, tmp_path):
    declare(clean, tmp_path, quick=True)
    assert not (tmp_path / ".efficacy").exists()
    for dataset in visible(clean).values():
        recipe = recipe_of(dataset)
        area = np.prod(recipe.task.geobox.shape)
        docs = [clean.index.datasets.get(s.id).metadata_doc for s in recipe.task.scenes]
        covers = [doc["properties"]["eo:cloud_cover"] for doc in docs]
        # The scenes of these tasks cover their tiles.
        assert [n / area for n in recipe.n_clear] == pytest.approx(
            [1 - cover / 100 for cover in covers], abs=0.01
        )
    report = declare(clean, tmp_path)
    assert (report.counts["declared"], report.archived) == (IMAGES, IMAGES)
    exact = {d.id for d in visible(clean).values()}
    assert declare(clean, tmp_path, quick=True).counts == {"unchanged": IMAGES}
    assert {d.id for d in visible(clean).values()} == exact


def test_functions_without_an_order_read_nothing(clean, tmp_path, monkeypatch):
    monkeypatch.setattr("odc_bdc.live.declaring.count_clear", None)
    median = find_cube("CB4_64_16D_MED_v1").patch(extent=cube().extent)
    add_products(clean, [median.to_product()])
    declare(clean, tmp_path, plan_cube(clean, median, *SPAN))
    found = list(clean.index.datasets.search(product=median.name))
    assert len(found) == IMAGES
    for dataset in found:
        assert set(recipe_of(dataset).n_clear) == {None}
    clean.index.datasets.purge([d.id for d in found], allow_delete_active=True)


def damaged(scenes, tmp_path, task):
    """Make the quality of a task's first scene unreadable; give its id, and what mends it."""
    path = Path(task.scenes[0].source("CMASK").href.removeprefix("file://"))
    kept = path.read_bytes()
    path.write_bytes(kept[: len(kept) // 2])
    return task.scenes[0].id, lambda: path.write_bytes(kept)


def test_scene_that_cannot_be_read_fails_or_is_left_out(clean, scenes, tmp_path):
    tasks = tasks_of(clean)
    scene, mend = damaged(scenes, tmp_path, tasks[0])
    concerned = [task for task in tasks if scene in {s.id for s in task.scenes}]
    try:
        report = declare_cube(clean, tasks, tmp_path, now=CLOCK)
        assert (report.counts["declared"], len(report.failed)) == (
            IMAGES - len(concerned),
            len(concerned),
        )
        assert {one.fault.scene for one in report.failed} == {scene}
        assert all("CMASK" in one.fault.reason for one in report.failed)
        report = declare(clean, tmp_path, unreadable="skip")
        # The policy is part of a recipe, so all are declared anew.
        assert (report.counts["declared"], report.skipped) == (IMAGES, len(concerned))
        for dataset in visible(clean).values():
            recipe = recipe_of(dataset)
            assert recipe.unreadable == "skip"
            assert scene not in {s.id for s in recipe.task.scenes}
        found = cube_status(clean, survey_cube(clean, cube(), *SPAN))
        assert {str(one.state) for one in found} == {"live"}
        assert sum(one.remark is not None for one in found) == len(concerned)
        again = declare(clean, tmp_path, unreadable="skip")
        assert again.counts == {"unchanged": IMAGES}
    finally:
        mend()
    report = declare(clean, tmp_path, unreadable="skip")
    assert (report.counts["declared"], report.skipped) == (len(concerned), 0)


def test_scene_that_is_replaced_is_counted_anew(clean, scenes, tmp_path):
    declare(clean, tmp_path)
    task = tasks_of(clean)[0]
    path = Path(task.scenes[0].source("CMASK").href.removeprefix("file://"))
    kept, status = path.read_bytes(), path.stat()
    with rasterio.open(path) as src:
        profile, pixels = src.profile, src.read()
    try:
        with rasterio.open(path, "w", **profile) as out:
            out.write(np.full_like(pixels, 255))
        faults = list(check_live(declared_images(clean, CUBE), roots=Roots.of(tmp_path)))
        assert {f.reason for f in faults if "replaced" in f.reason}
        report = declare(clean, tmp_path)
        assert 0 < report.counts["declared"] < IMAGES
        (dataset,) = (d for d in visible(clean).values() if recipe_of(d).task == task)
        assert recipe_of(dataset).n_clear[0] == 0
    finally:
        path.write_bytes(kept)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_disk_that_is_full_leaves_nothing_half_written(clean, tmp_path, monkeypatch):
    declare(clean, tmp_path, tasks_of(clean)[:1])
    files, ids = visible_files(tmp_path), indexed_images(clean)
    real = Path.write_text

    def full(path, text, *args):
        if path.name.endswith(".yaml"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, text, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        report = declare_cube(clean, tasks_of(clean), tmp_path, now=CLOCK)
    assert report.counts == {"unchanged": 1, "failed": IMAGES - 1}
    assert {one.fault.reason for one in report.failed} == {
        f"{tmp_path}: cannot be written: No space left on device"
    }
    assert (visible_files(tmp_path), indexed_images(clean)) == (files, ids)
    assert list((tmp_path / ".partial").glob("*")) == []
    assert declare(clean, tmp_path).counts == {"unchanged": 1, "declared": IMAGES - 1}


def test_index_that_goes_away_is_told_and_the_next_run_completes(clean, tmp_path, monkeypatch):
    def gone(*_, **__):
        raise DatabaseError("the index cannot be used")

    with monkeypatch.context() as patch:
        patch.setattr("odc_bdc.live.declaring.add_documents", gone)
        with pytest.raises(DatabaseError):
            declare(clean, tmp_path)
    files = visible_files(tmp_path)
    assert sum(name.endswith(RECIPE_SUFFIX) for name in files) == IMAGES
    assert indexed_images(clean) == {}
    assert declare(clean, tmp_path).counts == {"declared": IMAGES}
    assert visible_files(tmp_path) == files


def test_files_that_are_gone_are_written_again(clean, tmp_path):
    declare(clean, tmp_path)
    files = visible_files(tmp_path)
    victims = sorted(tmp_path.rglob(f"*{RECIPE_SUFFIX}"))
    victims[0].unlink()
    shutil.rmtree(victims[1].parent)
    assert declare(clean, tmp_path).counts == {"unchanged": IMAGES}
    assert visible_files(tmp_path) == files


def test_recipes_that_were_changed_are_written_again(clean, tmp_path):
    declare(clean, tmp_path)
    files = visible_files(tmp_path)
    victim = min(tmp_path.rglob(f"*{RECIPE_SUFFIX}"))
    victim.write_text(victim.read_text("utf-8").replace('"fail"', '"skip"'), "utf-8")
    (image,) = {
        f.images for f in check_live(declared_images(clean, CUBE), roots=Roots.of(tmp_path))
    }
    with pytest.raises(SourceError, match="is not the recipe that was declared"):
        recipe_of(clean.index.datasets.get(image[0]))
    assert declare(clean, tmp_path).counts == {"unchanged": IMAGES}
    assert visible_files(tmp_path) == files


def test_images_of_releases_without_digests_are_replaced_under_their_ids(clean, tmp_path):
    declare(clean, tmp_path)
    ids = indexed_images(clean)
    for dataset in visible(clean).values():
        doc = dataset.metadata_doc
        for told in doc["measurements"].values():
            told["path"] = told["path"].partition("#")[0]
        doc["properties"]["odc_bdc:fingerprint"] = "0" * 64
        clean.index.datasets.purge([dataset.id], allow_delete_active=True)
        clean.index.datasets.add(
            Doc2Dataset(clean.index, skip_lineage=True)(doc, dataset.uri)[0], with_lineage=False
        )
        folder = Path(dataset.uri.removeprefix("file://")).parent
        (recipe,) = folder.glob(f"*{RECIPE_SUFFIX}")
        old = json.loads(recipe.read_text("utf-8")) | {"knowledge": "../../../../../.efficacy"}
        recipe.write_text(json.dumps(old), "utf-8")
    for dataset in visible(clean).values():
        with pytest.raises(SourceError, match=r"does not say .* `odc-bdc cube declare`"):
            recipe_of(dataset)
    assert declare(clean, tmp_path).counts == {"declared": IMAGES}
    assert indexed_images(clean) == ids
    assert [recipe_of(d).task.access for d in visible(clean).values()] == [Access()] * IMAGES
    assert declare(clean, tmp_path).counts == {"unchanged": IMAGES}


def test_ids_of_earlier_releases_are_told_and_replaced_once(clean, tmp_path):
    declare(clean, tmp_path)
    wanted = {d.id for d in visible(clean).values()}
    for dataset in visible(clean).values():
        doc = dataset.metadata_doc | {"id": str(uuid.uuid5(uuid.NAMESPACE_URL, str(dataset.id)))}
        doc["properties"]["odc_bdc:fingerprint"] = "0" * 64
        clean.index.datasets.purge([dataset.id], allow_delete_active=True)
        clean.index.datasets.add(
            Doc2Dataset(clean.index, skip_lineage=True)(doc, dataset.uri)[0], with_lineage=False
        )
    told = cube_status(clean, survey_cube(clean, cube(), *SPAN))
    assert {(str(s.state), (s.remark or "").partition(":")[0]) for s in told} == {
        ("live", "its id is that of an earlier release")
    }
    assert declare(clean, tmp_path).counts == {"declared": IMAGES}
    assert {d.id for d in visible(clean).values()} == wanted
    told = cube_status(clean, survey_cube(clean, cube(), *SPAN))
    assert {(str(s.state), s.remark) for s in told} == {("live", None)}
    assert declare(clean, tmp_path).counts == {"unchanged": IMAGES}


def test_another_root_has_the_same_ids(clean, tmp_path):
    """Whoever declares elsewhere moves the images: under their ids, to what lies there now."""
    declare(clean, tmp_path / "one")
    ids = {d.id for d in visible(clean).values()}
    assert declare(clean, tmp_path / "other").counts == {"declared": IMAGES}
    assert {d.id for d in visible(clean).values()} == ids
    for dataset in visible(clean).values():
        assert dataset.uri.startswith((tmp_path / "other").as_uri())
        assert recipe_of(dataset).task.cube.name == CUBE
    assert declare(clean, tmp_path / "other").counts == {"unchanged": IMAGES}


def test_two_homes_with_the_same_scenes_have_the_same_ids(
    clean, scenes, fresh_index, tmp_path, request
):
    declare(clean, tmp_path / "one")
    copy = tmp_path / "copied"
    shutil.copytree(scenes, copy, copy_function=shutil.copyfile)  # at another time
    driver = request.node.callspec.params["index"]
    with database.open_datacube(fresh_index(driver)) as other:
        fill(other, copy)
        declare(other, tmp_path / "other")
        assert {d.id for d in visible(other).values()} == {d.id for d in visible(clean).values()}
        for dataset in visible(other).values():
            hrefs = {b.href for s in recipe_of(dataset).task.scenes for _, b in s.sources}
            assert all(href.startswith(copy.as_uri()) for href in hrefs)


def test_versions_orphans_and_lost_ones_can_be_pruned(clean, tmp_path):
    later, day = datetime.now(UTC) + timedelta(days=2), timedelta(days=1)

    def leftovers():
        return find_leftovers(clean, [CUBE], tmp_path, now=later, older_than=day)

    declare(clean, tmp_path, quick=True)
    declare(clean, tmp_path)
    found = leftovers()
    assert [one.kind for one in found] == [Kind.VERSION] * IMAGES
    live = [d.id for d in visible(clean).values()]
    clean.index.datasets.purge(live[:1], allow_delete_active=True)
    victim = clean.index.datasets.get(live[1])
    shutil.rmtree(Path(victim.uri.removeprefix("file://")).parent)
    found = leftovers()
    assert sorted({one.kind for one in found}) == [Kind.LOST, Kind.ORPHAN, Kind.VERSION]
    assert [one.id for one in found if one.kind is Kind.ORPHAN] == live[:1]
    assert [one.id for one in found if one.kind is Kind.LOST] == live[1:2]
    for one in found:
        remove_leftover(clean, tmp_path, one)
    assert leftovers() == []
    assert len(list(tmp_path.rglob(f"*{RECIPE_SUFFIX}"))) == IMAGES - 2
    assert declare(clean, tmp_path).counts == {"unchanged": IMAGES - 2, "declared": 2}


def test_check_finds_recipes_and_scenes_that_are_gone(clean, tmp_path):
    declare(clean, tmp_path)
    images = declared_images(clean, CUBE)
    assert len(images) == IMAGES
    assert list(check_live(images, roots=Roots.of(tmp_path))) == []
    scene = tasks_of(clean)[0].scenes[0]
    path = Path(scene.source("BAND14").href.removeprefix("file://"))
    recipes = [Path(image.recipe.removeprefix("file://").partition("#")[0]) for image in images]
    path.rename(path.with_suffix(".away"))
    recipes[-1].write_text('{"recipe_version": 1000}')
    try:
        by_what = {fault.what: fault for fault in check_live(images, roots=Roots.of(tmp_path))}
    finally:
        path.with_suffix(".away").rename(path)
    gone, broken = by_what.pop(path.as_uri()), by_what.pop(recipes[-1].as_uri())
    assert by_what == {}
    concerned = {t.item_id for t in tasks_of(clean)[:-1] if scene in t.scenes}
    assert len(gone.images) >= len(concerned) > 0
    assert "No such file" in gone.reason
    assert broken.images == (images[-1].id,)
    assert broken.reason == "is not the recipe that was declared"
    tile = images[0].tile
    assert {i.tile for i in declared_images(clean, CUBE, tiles=[tile])} == {tile}
    first = images[0].start
    assert {i.start for i in declared_images(clean, CUBE, time=(first, first))} == {first}


def test_declared_in_a_bucket(clean, bucket, tmp_path):
    store = ImageStore.open(bucket[0], work=tmp_path)
    declare(clean, store)
    for dataset in visible(clean).values():
        assert recipe_of(dataset).task in tasks_of(clean)
    assert declare(clean, store).counts == {"unchanged": IMAGES}


# Command line


def run(index, root, *words):
    extent = map(str, cube().extent)
    arguments = ["cube", words[0], CUBE, "--home", str(index.config_path.parent), *words[1:]]
    if words[0] != "check":
        arguments += ["--time", *map(str, SPAN), "--clip", *extent, "--root", str(root)]
    done = CliRunner().invoke(main, list(map(str, arguments)))
    assert "Traceback" not in done.output
    return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_commands(index, clean, tmp_path):
    code, lines, _ = run(index, tmp_path, "declare", "--dry-run")
    assert (code, lines[-1]) == (0, {"status": "dry run", "images": IMAGES})
    assert not list(tmp_path.iterdir())
    code, lines, said = run(index, tmp_path, "declare", "--json", "--workers", "2")
    assert (code, said.splitlines()[-1]) == (0, f"{IMAGES} declared")
    assert [line["status"] for line in lines] == ["declared"] * IMAGES + ["done"]
    code, lines, said = run(index, tmp_path, "status", "--json")
    assert ({line["status"] for line in lines}, said) == ({"live"}, f"{IMAGES} live\n")
    tile = lines[0]["tile"]
    assert run(index, tmp_path, "build", "--tile", tile)[0] == 0
    assert sorted(states(clean).values()) == ["done", "done", "live", "live"]
    code, lines, said = run(index, tmp_path, "declare")
    assert said.splitlines()[-1] == "2 unchanged, 2 left built"
    code, lines, _ = run(index, tmp_path, "unbuild", "--dry-run")
    assert lines[-1]["images"] == 2
    code, lines, said = run(index, tmp_path, "unbuild", "--tile", tile)
    assert (code, lines[-1]["declared"], lines[-1]["archived"]) == (0, 2, 2)
    assert set(states(clean).values()) == {"live"}
    code, lines, _ = run(index, tmp_path, "check")
    assert (code, lines[-1]["images"], lines[-1]["faults"]) == (0, IMAGES, 0)
    assert lines[-1]["files"] == sum(len(s) for s in all_files(tasks_of(clean)))
    recipe = min(tmp_path.rglob(f"*{RECIPE_SUFFIX}"))
    recipe.unlink()
    code, lines, _ = run(index, tmp_path, "check")
    assert code == 1
    assert lines[0]["what"] == recipe.as_uri()
    assert "declare" in lines[0]["cure"]


def all_files(tasks):
    """Give the files of each scene, once."""
    scenes = {scene.id: scene for task in tasks for scene in task.scenes}
    return [{band.href for _, band in scene.sources} for scene in scenes.values()]


def test_built_image_without_scenes_stays_when_it_is_unbuilt(index, clean, tmp_path):
    build_cube(clean, tasks_of(clean), tmp_path, now=CLOCK)
    source = cube().products[0]
    clean.index.datasets.archive([d.id for d in clean.index.datasets.search(product=source)])
    tile = "007004"
    code, lines, _ = run(index, tmp_path, "unbuild", "--tile", tile)
    assert (code, lines[-1]["failed"]) == (1, 2)
    assert all("it stays built" in line["reason"] for line in lines[:-1])
    assert formats(clean) == {"GeoTIFF"}
