"""Keeping a cube: what is there, what is left over, and what can go; on both index drivers."""

import json
import os
import uuid
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial

import numpy as np
import psycopg2
import pystac
import pytest
from click.testing import CliRunner
from datacube.utils.documents import read_documents
from eodatasets3.validate import validate_dataset
from PIL import Image

from odc_bdc import find_cube
from odc_bdc.building import build_cube
from odc_bdc.building.overview import build_overviews, write_overview
from odc_bdc.building.overview import document_path as document_path_of_overview
from odc_bdc.building.pruning import Kind, Leftover, find_leftovers, remove_leftover
from odc_bdc.building.storage import Bucket
from odc_bdc.building.store import ImageStore
from odc_bdc.building.writing import document_path, image_folder
from odc_bdc.cli import main
from odc_bdc.cli.status_picture import COLOURS
from odc_bdc.errors import SceneError
from odc_bdc.indexing import add_products, find_recipe, index_collection
from odc_bdc.indexing.known import derived_datasets
from odc_bdc.planning import (
    EmptyPeriod,
    State,
    cube_status,
    overview_product,
    plan_cube,
    plan_overviews,
    survey_cube,
)
from odc_bdc.product import shipped_products
from odc_bdc.scenes import demo_extent, make_scenes

SIZE = 48
NAME = "CB4_64_16D_MED_v1"
CUBE = find_cube(NAME).patch(extent=demo_extent(SIZE))
TIME = date(2019, 12, 3), date(2019, 12, 31)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime.now(UTC) + timedelta(days=2)
DAY = timedelta(days=1)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    make_scenes(folder, size=SIZE, start=date(2019, 12, 1), end=date(2019, 12, 31))
    return folder


@pytest.fixture(scope="module")
def indexed(dc, scenes):
    add_products(dc, shipped_products().values())
    assert index_collection(dc, find_recipe("cb4_wfi_l4_sr"), [scenes]).failed == []
    return dc


@pytest.fixture
def clean(indexed):
    """Give the index without images; scenes are visible again afterwards."""
    yield indexed
    datasets = indexed.index.datasets
    ids = [d.id for p in (f"{NAME}_overview", NAME) for d in _all(indexed, p)]
    datasets.archive(ids)
    datasets.purge(ids)
    scenes = [d.id for d in datasets.search(product=CUBE.sources[0].product, archived=True)]
    datasets.restore(scenes)


def _all(dc, product):
    if dc.index.products.get_by_name(product) is None:
        return []
    return list(dc.index.datasets.search(product=product, archived=None))


@pytest.fixture
def built(clean, tmp_path):
    """Give the tasks of a cube that is built below `tmp_path`."""
    tasks = plan_cube(clean, CUBE, *TIME)
    assert build_cube(clean, tasks, tmp_path, now=lambda: NOW).failed == []
    return tasks


def states(dc, failures=None, **options):
    found = cube_status(dc, survey_cube(dc, CUBE, *TIME, **options), failures)
    return {(s.tile_id, s.period.start): s for s in found}


def rebuild_without_a_scene(dc, tasks, root):
    """Make the first task's image an old version; give the task in its place."""
    dc.index.datasets.archive([tasks[0].scenes[0].id])
    again = plan_cube(dc, CUBE, *TIME)
    report = build_cube(dc, again, root, now=lambda: NOW)
    assert report.failed == []
    new = next(t for t in again if (t.tile_id, t.period) == (tasks[0].tile_id, tasks[0].period))
    assert new.id != tasks[0].id
    return new


def leftovers(dc, root, older_than=DAY, now=LATER, products=(f"{NAME}_overview", NAME)):
    products = [p for p in products if dc.index.products.get_by_name(p) is not None]
    return find_leftovers(dc, products, root, now=now, older_than=older_than)


def run(index, root, *words):
    arguments = ["cube", *words, "--home", str(index.config_path.parent)]
    if words[0] != "plan":
        arguments += ["--root", str(root)]
    return CliRunner().invoke(main, arguments)


def test_a_plan_tells_why_a_period_is_empty(clean):
    source = CUBE.sources[0].product
    both = survey_cube(clean, CUBE, *TIME)
    assert both.tasks == tuple(plan_cube(clean, CUBE, *TIME))
    assert both.empty == ()
    assert [e.tile_id for e in both.entries] == ["007004"] * 2 + ["008004"] * 2
    # The scenes of the first tile in the first period go: those of its neighbour are still there.
    task = both.tasks[0]
    only = {s.id for s in task.scenes} - {s.id for s in both.tasks[2].scenes}
    clean.index.datasets.archive({s.id for s in task.scenes})
    (entry, *others) = survey_cube(clean, CUBE, *TIME, tiles=["007004"]).entries
    assert isinstance(entry, EmptyPeriod)
    assert [type(e).__name__ for e in others] == ["CompositeTask"]
    there = len(both.tasks[2].scenes) - (len(task.scenes) - len(only))
    assert there > 0
    assert entry.reason == f"{there} scenes of {source} in this period, none of them on this tile"
    # Planned with its neighbour, the same is said.
    assert survey_cube(clean, CUBE, *TIME).empty[0] == entry
    # Then all others of that period.
    clean.index.datasets.archive({s.id for s in both.tasks[2].scenes})
    found = survey_cube(clean, CUBE, *TIME, tiles=["007004", "008004"]).empty
    assert {e.reason for e in found} == {f"no scene of {source} in this period"}
    assert {e.tile_id for e in found} == {"007004", "008004"}
    assert found[0].to_dict()["status"] == "empty"


def test_a_plan_tells_of_scenes_that_the_cube_does_not_want(clean):
    (source,) = CUBE.sources
    choosy = CUBE.patch(
        sources=(type(source)(source.product, source.quality, where=(("platform", "other"),)),)
    )
    (first, *_) = survey_cube(clean, choosy, *TIME, tiles=["007004"]).entries
    assert first.reason.endswith("none of them with platform other")


def test_areas_choose_tiles(index, clean, tmp_path):
    def tiles(*options):
        done = run(index, tmp_path, "plan", NAME, "--time", "2019-12-03", "2019-12-18", *options)
        assert done.exit_code == 0, done.output
        return [json.loads(line)["tile"] for line in done.stdout.splitlines()]

    assert tiles() == ["007004", "008004"]
    lonlat = CUBE.grid.geobox("007004", 64).extent.to_crs("EPSG:4326").centroid.coords[0]
    west, south = (v - 0.1 for v in lonlat)
    east, north = (v + 0.1 for v in lonlat)
    assert tiles("--bbox", *map(str, (west, south, east, north))) == ["007004"]
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    area = tmp_path / "area.geojson"
    feature = {
        "type": "Feature",
        "properties": {"name": "Cerrado"},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }
    area.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    assert tiles("--geometry", str(area)) == tiles("--biome", f"{area}:cerrado") == ["007004"]
    wrong = run(
        index, tmp_path, "plan", NAME, "--time", "2019-12-03", "2019-12-18",
        "--biome", f"{area}:Cerado",
    )  # fmt: skip
    assert wrong.exit_code == 2
    assert "do you mean Cerrado?" in wrong.stderr


def test_states_of_a_cube(built, clean, tmp_path):
    before = states(clean)
    assert {s.state for s in before.values()} == {State.DONE}
    assert {s.image for s in before.values()} == {t.id for t in built}
    # A scene less: one image is stale, and when it fails, it is failed.
    clean.index.datasets.archive([built[0].scenes[0].id])
    key = built[0].tile_id, built[0].period.start
    stale = states(clean)[key]
    assert (stale.state, stale.image) == (State.STALE, built[0].id)
    now = next(t for t in plan_cube(clean, CUBE, *TIME) if t.tile_id == key[0])
    failed = states(clean, {now.id: "disk full"})[key]
    assert (failed.state, failed.remark) == (State.FAILED, "disk full")
    # No image at all: missing. An archived image is none.
    clean.index.datasets.archive([t.id for t in built])
    assert {s.state for s in states(clean).values()} == {State.MISSING}


def test_image_of_scenes_that_are_gone_is_stale(built, clean):
    tile = built[0].tile_id
    others = {s.id for t in built if t.tile_id != tile for s in t.scenes}
    own = {s.id for t in built if t.tile_id == tile for s in t.scenes} - others
    clean.index.datasets.archive(own)
    for options in ({}, {"tiles": [tile]}):
        found = states(clean, **options)
        gone = [found[key] for key in found if key[0] == tile and not found[key].scenes]
        assert gone
        assert {s.state for s in gone} == {State.STALE}


def test_status_as_table_lines_and_picture(built, clean, index, tmp_path):
    clean.index.datasets.archive([built[-1].id])
    words = ("status", NAME, "--time", "2019-12-03", "2019-12-31", "--clip", *map(str, CUBE.extent))
    table = run(index, tmp_path, *words)
    assert table.exit_code == 0, table.output
    head, *rows = [line.split() for line in table.stdout.splitlines()]
    assert head[:4] == ["tile", "start", "end", "status"]
    assert [row[3] for row in rows] == ["done", "done", "done", "missing"]
    assert table.stderr.strip() == "3 done, 1 missing"
    picture = tmp_path / "deep" / "status.png"
    lines = run(index, tmp_path, *words, "--json", "--picture", str(picture))
    assert [json.loads(line)["status"] for line in lines.stdout.splitlines()] == [
        "done", "done", "done", "missing",
    ]  # fmt: skip
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    assert len(_pixels(pixels, State.MISSING)) > 300
    # The cell of the last tile and period lies right of and below those that are done.
    cells = pixels[60:]
    assert (_middle(cells, State.MISSING) > _middle(cells, State.DONE)).all()
    assert len(_pixels(cells, State.DONE)) == pytest.approx(
        3 * len(_pixels(cells, State.MISSING)), rel=0.1
    )


def _pixels(picture, state):
    colour = [int(COLOURS[state][i : i + 2], 16) for i in (1, 3, 5)]
    return np.argwhere((picture == colour).all(axis=2))


def _middle(picture, state):
    return _pixels(picture, state).mean(axis=0)


def test_nothing_is_left_over_of_a_cube_that_is_built(built, clean, tmp_path):
    assert leftovers(clean, tmp_path) == []


def test_old_versions_go_and_nothing_else(built, clean, tmp_path):
    new = rebuild_without_a_scene(clean, built, tmp_path)
    (one,) = leftovers(clean, tmp_path)
    old = image_folder(built[0], tmp_path)
    assert (one.kind, one.id, one.path) == (Kind.VERSION, built[0].id, str(old.resolve()))
    assert one.size == sum(p.stat().st_size for p in old.iterdir())
    assert leftovers(clean, tmp_path, now=datetime.now(UTC)) == []  # not a day old
    kept = sorted(p for p in tmp_path.rglob("*.tif") if old not in p.parents)
    remove_leftover(clean, tmp_path, one)
    assert not old.exists()
    assert clean.index.datasets.get(built[0].id) is None
    assert sorted(tmp_path.rglob("*.tif")) == kept
    assert leftovers(clean, tmp_path) == []
    assert {s.state for s in states(clean).values()} == {State.DONE}
    assert clean.index.datasets.get(new.id) is not None
    # What was taken away can be built again.
    clean.index.datasets.restore([built[0].scenes[0].id])
    assert build_cube(clean, built, tmp_path, now=lambda: NOW).built == 1


def test_a_version_that_is_used_again_stays(built, clean, tmp_path):
    rebuild_without_a_scene(clean, built, tmp_path)
    (one,) = leftovers(clean, tmp_path)
    clean.index.datasets.restore([one.id])
    with pytest.raises(OSError, match="in use again"):
        remove_leftover(clean, tmp_path, one)
    assert document_path(built[0], tmp_path).is_file()
    assert clean.index.datasets.get(one.id) is not None


def test_what_others_were_made_of_stays(built, clean, tmp_path):
    rebuild_without_a_scene(clean, built, tmp_path)
    other = _derive(clean, built[0], CUBE.patch(name="OF_OTHERS_v1"))
    (one,) = leftovers(clean, tmp_path)
    assert str(other) in one.kept
    assert "OF_OTHERS_v1" in one.kept
    clean.index.datasets.archive([other])
    clean.index.datasets.purge([other])
    (one,) = leftovers(clean, tmp_path)
    assert one.kept is None


def _derive(dc, task, cube):
    """Index a dataset of another product that was made of a task's image."""
    from datacube.index.hl import Doc2Dataset

    add_products(dc, [cube.to_product()])
    doc = json.loads(json.dumps(dc.index.datasets.get(task.id).metadata_doc))
    for key in ("extent", "grid_spatial"):
        doc.pop(key, None)
    other = uuid.uuid4()
    doc |= {
        "id": str(other),
        "product": {"name": cube.name},
        "lineage": {"tiles": [str(task.id)]},
    }
    dataset, error = Doc2Dataset(dc.index)(doc, "file:///elsewhere/other.odc-metadata.yaml")
    assert error is None
    dc.index.datasets.add(dataset)
    return other


def test_orphans_lost_datasets_partial_folders_and_failures(built, clean, tmp_path):
    lost, orphan, *_ = built
    next(image_folder(lost, tmp_path).glob("*_BAND13.tif")).unlink()
    clean.index.datasets.archive([orphan.id])
    clean.index.datasets.purge([orphan.id])
    dead = tmp_path / ".partial" / f"{uuid.uuid4()}.x"
    dead.mkdir(parents=True)
    os.utime(dead, (0, 0))
    record = {
        "item": built[2].item_id, "id": str(built[2].id), "cube": NAME, "tile": built[2].tile_id,
        "start": built[2].period.start.isoformat(), "reason": "disk full", "scene": None,
        "at": NOW.isoformat(),
    }  # fmt: skip
    failed = tmp_path / ".failed"
    failed.mkdir()
    (failed / f"{built[2].id}.json").write_text(json.dumps(record))
    still = {**record, "id": str(uuid.uuid4())}
    (failed / f"{still['id']}.json").write_text(json.dumps(still))
    found = {one.kind: one for one in leftovers(clean, tmp_path)}
    assert set(found) == {Kind.LOST, Kind.ORPHAN, Kind.PARTIAL, Kind.FAILURE}
    assert found[Kind.LOST].id == lost.id
    assert "BAND13.tif is gone" in found[Kind.LOST].reason
    assert found[Kind.ORPHAN].path == str(image_folder(orphan, tmp_path).resolve())
    assert found[Kind.PARTIAL].path == str(dead)
    # A builder may be about to index what was written just now, whatever age is asked for.
    now = {one.kind for one in leftovers(clean, tmp_path, timedelta(0), datetime.now(UTC))}
    assert Kind.ORPHAN not in now
    for one in found.values():
        remove_leftover(clean, tmp_path, one)
    # The files of the dataset that was lost are an orphan of the next run.
    (rest,) = leftovers(clean, tmp_path)
    assert (rest.kind, rest.id) == (Kind.ORPHAN, lost.id)
    assert [p.name for p in failed.iterdir()] == [f"{still['id']}.json"]
    assert not dead.exists()
    remove_leftover(clean, tmp_path, rest)
    assert leftovers(clean, tmp_path) == []
    assert {t.id for t in built[2:]} == {d.id for d in _all(clean, NAME)}


def test_other_cubes_and_other_roots_are_left_alone(built, clean, tmp_path):
    clean.index.datasets.archive([t.id for t in built])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert leftovers(clean, elsewhere) == []
    stranger = tmp_path / NAME / "mine"
    stranger.mkdir()
    (stranger / "x.odc-metadata.yaml").write_text("id: no uuid\nproduct: {name: other}\n")
    assert {one.kind for one in leftovers(clean, tmp_path)} == {Kind.VERSION}


def test_a_folder_goes_only_if_no_other_dataset_is_in_it(built, clean, tmp_path):
    # A document that somebody put beside the folders of all images, and none of those.
    lone = tmp_path / NAME / "lone.odc-metadata.yaml"
    doc = document_path(built[0], tmp_path).read_text("utf-8")
    lone.write_text(doc.replace(str(built[0].id), str(uuid.uuid4())), "utf-8")
    (one,) = leftovers(clean, tmp_path)
    assert (one.kind, one.kept) == (Kind.ORPHAN, "its folder holds other datasets too")


def killed_twice(monkeypatch, dc, store, task, one):
    """Begin to remove an image; give what is left of it after the second time."""

    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    for owner, name, kind in (
        (type(dc.index.datasets), "purge", Kind.VERSION),  # its document is gone, it is not
        (Bucket, "_remove", Kind.PARTIAL),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, kill)
            with pytest.raises(Killed):
                remove_leftover(dc, store, one)
        assert not store.is_written(task)
        (one,) = (new for new in leftovers(dc, store) if new.path == one.path)
        assert one.kind == kind
    return one


def forget_uses(index, dataset_id):
    """Let the driver postgres, which keeps datasets that others name as sources, delete one."""
    if index.driver == "postgres":
        with (
            closing(psycopg2.connect(index.url.replace("+psycopg2", ""))) as connection,
            connection,
        ):
            statement = "DELETE FROM agdc.dataset_source WHERE source_dataset_ref = %s"
            connection.cursor().execute(statement, [str(dataset_id)])


def test_a_cube_in_a_bucket_is_kept_like_one_on_a_disk(clean, index, bucket, tmp_path, monkeypatch):
    address, s3 = bucket
    layout = {"postgis": "bdc-v1", "postgres": "odc-bdc"}[index.driver]  # each of them once
    store = ImageStore.open(address, layout=layout, work=tmp_path)
    tasks = plan_cube(clean, CUBE, *TIME)
    assert build_cube(clean, tasks, store, now=lambda: NOW).failed == []
    run_there = partial(run, index, address)
    overview = ("overview", NAME, "--time", "2019-12-03", "2019-12-31", "--resolution", "256")
    for built_now in (2, 0):
        done = run_there(*overview)
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["built"] == built_now
    for task in overviews(clean):
        assert (
            clean.index.datasets.get(task.id).uri == f"{address}/{document_path_of_overview(task)}"
        )
        assert_every_fourth_pixel(clean, task, [t for t in tasks if t.period == task.period])
    assert leftovers(clean, store) == []
    # A version and the overview of it, an orphan, a lost dataset, and a broken upload.
    old, lost, orphan, broken = tasks
    old_overview = overviews(clean)[0]
    assert old.period == old_overview.period
    new = rebuild_without_a_scene(clean, [old], store)
    assert run_there(*overview).exit_code == 0
    s3.rm(f"{address}/{store.folder(lost)}/{store.layout.item_id(lost)}_BAND13.tif")
    for task in (orphan, broken):
        clean.index.datasets.archive([task.id])
        forget_uses(index, task.id)
        clean.index.datasets.purge([task.id])
    s3.rm(f"{address}/{store.document(broken)}")
    found = leftovers(clean, store)
    assert [(one.kind, one.id) for one in found if not one.kept] == [
        (Kind.VERSION, old_overview.id),
        (Kind.VERSION, old.id),
        (Kind.ORPHAN, orphan.id),
        (Kind.PARTIAL, None),
    ]
    assert [(one.kind, one.id) for one in found if one.kept] == [(Kind.LOST, lost.id)]
    assert found[-1].path == f"{address}/{store.folder(broken)}"
    for one in found:
        if one.path:
            assert one.size == s3.du(one.path)
    # A builder may be at work with what was written just now.
    now = leftovers(clean, store, timedelta(0), datetime.now(UTC))
    assert not {Kind.ORPHAN, Kind.PARTIAL} & {one.kind for one in now}
    found = [one for one in found if not one.kept]
    # What is made of another goes first, as postgres wants it.
    remove_leftover(clean, store, found[0])
    found[1] = killed_twice(monkeypatch, clean, store, old, found[1])
    for one in found[1:]:
        remove_leftover(clean, store, one)
    assert not any(s3.find(one.path) for one in found)
    (rest,) = leftovers(clean, store)
    assert rest.id == lost.id
    assert store.documents(NAME) == sorted(map(store.document, (new, lost)))
    assert {d.id for d in _all(clean, NAME)} == {new.id, lost.id}
    # The new version is still known where it is, though the old one's folder is free.
    assert build_cube(clean, [new], store, now=lambda: NOW).unchanged == 1
    # What is used again, or completed by a builder, stays.
    clean.index.datasets.archive([new.id])
    one = Leftover(Kind.VERSION, NAME, new.id, f"{address}/{store.folder(new)}", 0, "")
    clean.index.datasets.restore([new.id])
    there = s3.find(one.path)
    with pytest.raises(SceneError, match="in use again"):
        remove_leftover(clean, store, one)
    with pytest.raises(SceneError, match="has completed it"):
        remove_leftover(clean, store, replace(one, kind=Kind.PARTIAL))
    assert s3.find(one.path) == there


def test_a_bucket_without_images_is_not_taken_for_an_empty_one(clean, index, bucket):
    address, _ = bucket
    done = run(index, address, "prune", NAME)
    assert done.exit_code == 2
    assert done.stderr.splitlines() == [
        f"odc-bdc: {address}: there is nothing (--root says where the cubes are)"
    ]


def test_prune_says_first_and_does_it_when_asked(built, clean, index, tmp_path):
    rebuild_without_a_scene(clean, built, tmp_path)
    said = run(index, tmp_path, "prune", NAME, "--older-than", "0")
    assert said.exit_code == 0, said.output
    line, summary = map(json.loads, said.stdout.splitlines())
    assert (line["status"], line["kind"], line["id"]) == ("would go", "version", str(built[0].id))
    assert (summary["status"], summary["version"]) == ("dry run", 1)
    assert summary["bytes"] == line["bytes"] > 0
    assert "--yes" in said.stderr
    assert image_folder(built[0], tmp_path).is_dir()
    done = run(index, tmp_path, "prune", NAME, "--older-than", "0", "--yes")
    assert [json.loads(line)["status"] for line in done.stdout.splitlines()] == ["removed", "done"]
    assert not image_folder(built[0], tmp_path).exists()
    again = run(index, tmp_path, "prune", NAME, "--older-than", "0", "--yes")
    assert json.loads(again.stdout)["bytes"] == 0


def overviews(dc, factor=4, cube=CUBE):
    tasks = plan_overviews(dc, cube, *TIME, factor)
    add_products(dc, [overview_product(cube, factor)])
    return tasks


def test_overview_is_every_nth_pixel_of_all_tiles(built, clean, tmp_path):
    tasks = overviews(clean)
    assert [t.period for t in tasks] == sorted({t.period for t in built})
    report = build_overviews(clean, tasks, tmp_path, now=lambda: NOW)
    assert (report.built, report.failed) == (2, [])
    for task in tasks:
        assert_every_fourth_pixel(clean, task, [t for t in built if t.period == task.period])


def assert_every_fourth_pixel(dc, task, images):
    """See that an overview holds every fourth pixel of images, and nothing beside them."""
    whole = dc.load(datasets=[dc.index.datasets.get(t.id) for t in images], group_by="time")
    ds = dc.load(product=task.product, time=task.period.start.isoformat())
    assert ds.odc.geobox.resolution.xy == (256, -256)
    assert ds.sizes["time"] == 1
    # Which of the cube's pixels lies at the corner of which of the overview's, by coordinates.
    x, y = ds.x.values - 128 + 32, ds.y.values + 128 - 32
    inside = np.isin(y, whole.y.values), np.isin(x, whole.x.values)
    assert min(part.sum() for part in inside) >= 10
    wanted = whole.sel(y=y[inside[0]], x=x[inside[1]]).isel(time=0)
    for m in CUBE.outputs:
        found = ds[m.name].values[0]
        rows, columns = np.ix_(*inside)
        np.testing.assert_array_equal(found[rows, columns], wanted[m.name].values, m.name)
        beside = np.ones(found.shape, bool)
        beside[rows, columns] = False
        assert (found[beside] == (m.missing or 0)).all()
    assert ds.BAND13.values.max() > 0


def test_overview_is_made_anew_when_tiles_change(built, clean, tmp_path):
    first = overviews(clean)
    build_overviews(clean, first, tmp_path, now=lambda: NOW)
    again = build_overviews(clean, overviews(clean), tmp_path, now=lambda: NOW)
    assert (again.built, again.unchanged, again.archived) == (0, 2, 0)
    new = rebuild_without_a_scene(clean, built, tmp_path)
    (changed, same) = overviews(clean)
    assert changed.id != first[0].id
    assert same.id == first[1].id
    report = build_overviews(clean, [changed, same], tmp_path, now=lambda: NOW)
    assert (report.built, report.unchanged, report.archived) == (1, 1, 1)
    visible = {d.id for d in clean.index.datasets.search(product=changed.product)}
    assert visible == {changed.id, same.id}
    # Its tiles are its lineage; so the old tile can go with the old overview, not before.
    assert derived_datasets(clean, [new.id]) == {new.id: {changed.id: changed.product}}
    found = leftovers(clean, tmp_path)
    assert [(one.id, one.kept) for one in found] == [(first[0].id, None), (built[0].id, None)]
    alone = leftovers(clean, tmp_path, products=[NAME])
    assert [one.id for one in alone] == [built[0].id]
    assert str(first[0].id) in alone[0].kept
    for one in found:
        remove_leftover(clean, tmp_path, one)
    assert leftovers(clean, tmp_path) == []
    assert not list((tmp_path / ".partial").glob("*"))


def test_documents_of_an_overview(built, clean, tmp_path):
    (task, _) = overviews(clean)
    uri = write_overview(task, tmp_path, processed=NOW)
    path = tmp_path / document_path_of_overview(task)
    assert uri == path.resolve().as_uri()
    (doc,) = (doc for _, doc in read_documents(path))
    product = clean.index.products.get_by_name(task.product)
    messages = validate_dataset(doc, product_definition=product.definition)
    errors = [m.reason for m in messages if m.level.name == "error"]
    assert [e for e in errors if not e.startswith("(product.name)")] == []
    item = pystac.Item.from_file(str(path.parent / f"{task.item_id}.json"))
    assert item.properties["bdc:tiles"] == ["007004", "008004"]
    assert set(item.assets) == {m.name for m in CUBE.outputs}
    for asset in item.assets.values():
        assert (path.parent / asset.href).is_file()


def test_overview_of_a_tile_that_cannot_be_read_fails_alone(built, clean, tmp_path):
    tasks = overviews(clean)
    broken = next(t for t in built if t.period == tasks[0].period)
    next(image_folder(broken, tmp_path).glob("*_BAND14.tif")).write_bytes(b"II*\0broken")
    report = build_overviews(clean, tasks, tmp_path, now=lambda: NOW)
    assert report.built == 1
    (failure,) = report.failed
    assert failure.source == tasks[0].item_id
    assert "BAND14.tif: cannot be read" in failure.reason
    assert not (tmp_path / document_path_of_overview(tasks[0])).parent.exists()
    assert list((tmp_path / ".partial").glob("*")) == []


def test_overview_command(built, index, tmp_path):
    words = ("overview", NAME, "--time", "2019-12-03", "2019-12-31", "--resolution")
    wrong = run(index, tmp_path, *words, "100")
    assert wrong.exit_code == 2
    assert "whole multiple of 64" in wrong.stderr
    for built_now in (2, 0):
        done = run(index, tmp_path, *words, "256")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["built"] == built_now
    other = run(index, tmp_path, *words, "640")
    assert other.exit_code == 2
    assert "_overview" in other.stderr


def test_prune_of_what_is_not_there(index, clean, tmp_path):
    for words, said in (
        ((NAME, "--root", str(tmp_path / "none")), "is its disk mounted"),
        (("S2_10_16D_MED_v2",), "do you mean S2_10_16D_MED_v1"),
    ):
        done = CliRunner().invoke(
            main, ["cube", "prune", *words, "--home", str(index.config_path.parent)]
        )
        assert done.exit_code == 2
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
