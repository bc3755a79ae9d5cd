"""Live images are declared, built and unbuilt: one of a tile and period is visible at any moment."""

from __future__ import annotations

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
from datacube.utils.documents import read_documents
from eodatasets3.validate import validate_dataset

from odc_bdc.building import build_cube, composite_tile
from odc_bdc.function import composite_function
from odc_bdc.live.declaring import declare_cube, unbuild_cube
from odc_bdc.live.recipe import read_recipe
from odc_bdc.planning import cube_status, plan_cube, survey_cube

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
    found = [d for d in dc.index.datasets.search(product=CUBE)]
    by_place = {(d.metadata.region_code, str(d.center_time)): d for d in found}
    assert len(by_place) == len(found)
    return by_place


def formats(dc):
    return {d.metadata_doc["properties"]["odc:file_format"] for d in visible(dc).values()}


def recipe_of(dataset):
    document = Path(dataset.uri.removeprefix("file://"))
    (path,) = {m["path"] for m in dataset.metadata_doc["measurements"].values()}
    return read_recipe(document.parent / path)


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
        source = task.scenes[0].id
        assert dataset.id in {d.id for d in clean.index.datasets.get_derived(source)}
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
    dated = cube().patch(function=composite_function("MEDSTK"))
    tasks = plan_cube(clean, dated, *SPAN)
    declare(clean, tmp_path, tasks)
    for dataset in visible(clean).values():
        assert set(recipe_of(dataset).n_clear) == {None}
