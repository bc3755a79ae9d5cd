"""Scenes to a cube that plain `dc.load` reads, on both index drivers."""

import json
import shutil
from datetime import UTC, date, datetime
from functools import partial
from importlib.resources import files
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import xarray as xr
import yaml
from datacube.index.hl import Doc2Dataset
from datacube.utils.documents import read_documents
from eodatasets3.validate import validate_dataset
from odc.geo.geom import point

from odc_bdc import CubeSpec, OdcBdcError, composite_cube, find_cube
from odc_bdc.building import build_cube
from odc_bdc.building.writing import document_path, image_folder
from odc_bdc.cog import write_cog
from odc_bdc.grid import BDC_CRS
from odc_bdc.indexing import add_products, find_recipe, index_collection
from odc_bdc.planning import cube_status, plan_cube, survey_cube, task_status
from odc_bdc.product import shipped_products
from odc_bdc.scenes import demo_extent, make_scenes

SIZE = 48
SPAN = (date(2019, 12, 3), date(2019, 12, 31))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RECIPE = find_recipe("cb4_wfi_l4_sr")
CUBES = ("CB4_64_16D_STK_v1", "CB4_64_16D_MED_v1", "CB4_64_16D_AVG_v1", "CB4_64_1M_STK_v1")


def cube_of(name):
    return find_cube(name).patch(extent=demo_extent(SIZE))


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Give a folder of small scenes of December 2019 over two tiles."""
    folder = tmp_path_factory.mktemp("scenes")
    make_scenes(folder, size=SIZE, start=date(2019, 12, 1), end=date(2019, 12, 31))
    return folder


@pytest.fixture(scope="module")
def scenes(made, tmp_path_factory):
    """Give a copy of the scenes that a module may add documents to and spoil."""
    folder = tmp_path_factory.mktemp("own") / "scenes"
    shutil.copytree(made, folder)
    return folder


@pytest.fixture(scope="module")
def eo3(tmp_path_factory):
    return tmp_path_factory.mktemp("eo3")


@pytest.fixture(scope="module")
def indexed(dc, scenes, eo3):
    """Give the index with all products and the scenes."""
    assert set(add_products(dc, shipped_products().values())) == set(shipped_products())
    report = index_collection(dc, RECIPE, [scenes], out=eo3)
    assert report.failed == []
    assert report.added == 24
    return dc


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("cubes")


@pytest.fixture(scope="module")
def built(indexed, root):
    """Give the tasks of all demo cubes, which are built."""
    tasks = [
        t
        for name in CUBES
        for t in plan_cube(indexed, cube_of(name), date(2019, 12, 1), date(2019, 12, 31))
    ]
    report = build_cube(indexed, tasks, root, now=lambda: NOW)
    assert report.failed == []
    assert report.built == len(tasks) == 2 * (2 + 2 + 2 + 1)
    return tasks


def load(dc, **query):
    return dc.load(**query)


def faults(doc, product):
    """Give the errors of eo3-validate, but not its wish for product names in lower case.

    The names are BDC's own, and datacube takes them.
    """
    messages = validate_dataset(doc, product_definition=product)
    errors = [m.reason for m in messages if m.level.name == "error"]
    return [e for e in errors if not e.startswith("(product.name)")]


def test_products_again_changes_nothing(indexed):
    assert add_products(indexed, shipped_products().values()) == []


def test_product_that_differs_is_refused(indexed):
    doc = json.loads(json.dumps(shipped_products()["CB4_64_16D_STK_v1"]))
    doc["measurements"][0]["nodata"] = 0
    with pytest.raises(OdcBdcError, match="CB4_64_16D_STK_v1 is in the index already but differs"):
        add_products(indexed, [doc])


def test_indexing_again_adds_nothing(indexed, scenes, eo3):
    report = index_collection(indexed, RECIPE, [scenes], out=eo3)
    assert (report.added, report.unchanged, report.failed) == (0, 24, [])
    assert indexed.index.datasets.count(product=RECIPE.product) == 24


def test_documents_are_valid_and_give_the_same_datasets(indexed, eo3):
    product = shipped_products()[RECIPE.product]
    documents = sorted(eo3.rglob("*.odc-metadata.yaml"))
    assert len(documents) == 24
    for path in documents:
        doc = yaml.safe_load(path.read_text("utf-8"))
        assert faults(doc, product) == []
        # What `datacube dataset add` makes of the document.
        _, parsed = next(iter(read_documents(path)))
        dataset, error = Doc2Dataset(indexed.index)(parsed, path.as_uri())
        assert error is None
        known = indexed.index.datasets.get(dataset.id)
        assert known.metadata_doc["grids"] == dataset.metadata_doc["grids"]
        assert known.uri == dataset.uri


def test_scenes_load_as_they_are_on_disk(indexed, scenes):
    path = next(p for p in sorted(scenes.rglob("*_BAND15.tif")) if "007004" in p.name)
    item = pystac.Item.from_file(str(path).replace("_BAND15.tif", ".json"))
    when = item.datetime
    ds = load(indexed, product=RECIPE.product, time=(when, when), region_code="007004")
    with rasterio.open(path) as src:
        np.testing.assert_array_equal(ds.BAND15.values[0], src.read(1))
    assert ds.odc.geobox.crs == BDC_CRS


@pytest.mark.parametrize("name", CUBES)
def test_built_equals_composite_bit_for_bit(indexed, built, name):
    cube = cube_of(name)
    for task in (t for t in built if t.cube.name == name):
        stack = load(
            indexed,
            datasets=[indexed.index.datasets.get(s.id) for s in task.scenes],
            like=task.geobox,
        )
        wanted = composite_cube(stack, cube)
        image = load(indexed, datasets=[indexed.index.datasets.get(task.id)])
        assert list(image.data_vars) == [m.name for m in cube.outputs]
        assert list(wanted.data_vars) == list(image.data_vars)
        for m in cube.outputs:
            assert image[m.name].dtype == np.dtype(m.dtype)
            np.testing.assert_array_equal(image[m.name].values, wanted[m.name].values, m.name)
        assert (image.CLEAROB.values > 0).any()


def test_the_query_of_the_seed(indexed, built):
    ds = load(
        indexed,
        product="CB4_64_16D_STK_v1",
        measurements=["red", "green", "blue", "nir"],
        time=("2019-12-19", "2019-12-31"),
    )
    assert list(ds.data_vars) == ["red", "green", "blue", "nir"]
    assert dict(ds.sizes) == {"time": 1, "y": SIZE, "x": 2 * SIZE}
    assert (ds.red.values != -9999).any()
    assert ds.odc.geobox.crs == BDC_CRS


def test_search_by_place(indexed, built):
    tile = find_cube(CUBES[0]).grid.geobox("007004", 64).extent
    x, y, *_ = demo_extent(SIZE)
    inside = point(x + 640, y + 640, BDC_CRS).to_crs("EPSG:4326").coords[0]
    found = indexed.find_datasets(
        product=CUBES[0], lon=(inside[0], inside[0] + 1e-6), lat=(inside[1], inside[1] + 1e-6)
    )
    assert {d.metadata.region_code for d in found} == {"007004"}
    assert tile.contains(point(x + 640, y + 640, BDC_CRS))


def test_files_of_an_image(built, root):
    for task in built:
        folder = image_folder(task, root)
        names = {p.name for p in folder.iterdir()}
        tifs = {f"{task.item_id}_{m.name}.tif" for m in task.cube.outputs}
        others = (".json", ".odc-metadata.yaml", ".png", ".sha1")
        assert names == tifs | {task.item_id + suffix for suffix in others}
        doc = yaml.safe_load(document_path(task, root).read_text("utf-8"))
        assert faults(doc, task.cube.to_product()) == []
        assert {str(s.id) for s in task.scenes} == {str(i) for i in doc["lineage"]["scenes"]}
        item = pystac.Item.from_file(folder / f"{task.item_id}.json")
        bands = {m.name for m in task.cube.outputs}
        assert set(item.assets) == bands | {"thumbnail", "metadata"}
        item.make_asset_hrefs_absolute()
        assert all(Path(a.href).is_file() for a in item.assets.values())
        with rasterio.open(folder / f"{task.item_id}_CLEAROB.tif") as src:
            assert src.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert not list((root / ".partial").glob("*"))


def test_float_index_is_loaded_as_nan_where_there_is_no_data(indexed, tmp_path):
    shipped = Path(str(files("odc_bdc.product_defs"))) / "cubes" / "CB4_64_16D_MED_v1.yaml"
    doc = yaml.safe_load(shipped.read_text("utf-8")) | {"name": "OWN_CUBE"}
    savi = {"name": "SAVI", "constants": {"L": 0.5}, "dtype": "float32"}
    cube = CubeSpec.from_dict(doc | {"outputs": {"indices": [savi, "OSAVI"]}})
    cube = cube.patch(extent=demo_extent(SIZE))
    assert add_products(indexed, [cube.to_product()]) == ["OWN_CUBE"]
    tasks = plan_cube(indexed, cube, date(2019, 12, 1), date(2019, 12, 31))
    assert build_cube(indexed, tasks, tmp_path, now=lambda: NOW).failed == []
    # The index has NaN as text, and knows it again.
    assert add_products(indexed, [cube.to_product()]) == []
    for task in tasks:
        document = yaml.safe_load(document_path(task, tmp_path).read_text("utf-8"))
        assert faults(document, cube.to_product()) == []
        item = pystac.Item.from_file(image_folder(task, tmp_path) / f"{task.item_id}.json")
        (band,) = item.assets["SAVI"].extra_fields["raster:bands"]
        assert (band["data_type"], band["nodata"]) == ("float32", "nan")
        image = load(indexed, datasets=[indexed.index.datasets.get(task.id)])
        assert image.SAVI.dtype == "float32"
        assert np.isnan(image.SAVI.attrs["nodata"])
        red, nir = (image[b].where(image[b] != -9999) / 10000 for b in ("BAND15", "BAND16"))
        wanted = 1.5 * (nir - red) / (nir + red + 0.5)
        np.testing.assert_allclose(image.SAVI, wanted, rtol=1e-5, atol=1e-6)
        assert wanted.notnull().any()
        larger = task.geobox.pad(3)
        padded = load(indexed, datasets=[indexed.index.datasets.get(task.id)], like=larger)
        assert np.isnan(padded.SAVI.values[0, 0]).all()
        stack = [indexed.index.datasets.get(s.id) for s in task.scenes]
        composed = composite_cube(load(indexed, datasets=stack, like=task.geobox), cube)
        for name in ("SAVI", "OSAVI"):
            np.testing.assert_array_equal(image[name].values, composed[name].values)


def test_large_images_have_overviews_of_chosen_pixels(tmp_path):
    geobox = find_cube(CUBES[0]).patch(extent=demo_extent(1100)).geobox("007004")
    pixels = np.random.default_rng(0).choice([1, 366], tuple(geobox.shape)).astype("int16")
    write_cog(tmp_path / "a.tif", pixels, geobox, nodata=-1)
    with rasterio.open(tmp_path / "a.tif") as src:
        assert src.overviews(1)[0] == 2
        np.testing.assert_array_equal(src.read(1), pixels)
    with rasterio.open(tmp_path / "a.tif", overview_level=0) as src:
        assert set(np.unique(src.read(1))) == {1, 366}


def test_building_again_changes_nothing(indexed, built, root):
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    report = build_cube(indexed, built, root, now=lambda: NOW)
    assert (report.built, report.unchanged, report.failed) == (0, len(built), [])
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before
    assert {state for _, state in task_status(indexed, built)} == {"done"}


def test_images_of_a_part_of_their_tile_are_not_stale(indexed, built):
    whole = survey_cube(indexed, find_cube(CUBES[0]), *SPAN)
    told = [one for one in cube_status(indexed, whole) if one.state != "missing"]
    mine = {(t.tile_id, t.period): t.id for t in built if t.cube.name == CUBES[0]}
    assert {(one.tile_id, one.period): one.image for one in told} == mine
    assert {str(one.state) for one in told} == {"done"}
    box = " ".join(f"{edge:.10g}" for edge in demo_extent(SIZE))
    assert {one.remark for one in told} == {f"of --clip {box}"}


def test_workers_give_the_same_files(indexed, built, root, tmp_path):
    some = [t for t in built if t.cube.name == CUBES[0]][:2]
    clock = partial(datetime.fromtimestamp, NOW.timestamp(), UTC)  # unlike a lambda, it travels
    report = build_cube(indexed, some, tmp_path, now=clock, workers=2)
    assert report.failed == []
    for task in some:
        for path in image_folder(task, tmp_path).glob("*.tif"):
            twin = image_folder(task, root) / path.name
            assert path.read_bytes() == twin.read_bytes()


def test_virtual_product_equals_composite(indexed, built, recwarn):
    from datacube.virtual import construct

    from odc_bdc.virtual import catalogue

    for name in CUBES:
        cube = cube_of(name)
        recipe = catalogue()[name]
        task = next(t for t in built if t.cube.name == name)
        query = {
            "time": (task.period.start_datetime, task.period.end_datetime),
            "like": task.geobox,
            "region_code": task.tile_id,
        }
        wanted = load(indexed, datasets=[indexed.index.datasets.get(task.id)])
        eager = recipe.load(indexed, **query)
        lazy = recipe.load(indexed, dask_chunks={"time": 1, "x": 17, "y": 20}, **query)
        assert eager.time.values.astype("datetime64[D]").tolist() == [task.period.start]
        assert lazy[cube.bands[0].name].chunks
        for m in cube.outputs:
            np.testing.assert_array_equal(eager[m.name].values, wanted[m.name].values, m.name)
        xr.testing.assert_equal(lazy.compute(), eager)
    assert construct is not None


def test_virtual_cube_is_refused_on_pixels_that_are_not_its_own(indexed, built, recwarn):
    """Composited on another grid it would differ from the built cube that is loaded there."""
    from odc_bdc.virtual import catalogue

    cube = cube_of(CUBES[1])
    task = next(t for t in built if t.cube.name == cube.name)
    query = {"time": (task.period.start_datetime, task.period.end_datetime)}
    recipe = catalogue()[cube.name]
    part = task.geobox[3:30, 5:41]
    image = recipe.load(indexed, like=part, region_code=task.tile_id, **query)
    wanted = load(indexed, datasets=[indexed.index.datasets.get(task.id)], like=part)
    np.testing.assert_array_equal(image.BAND15.values, wanted.BAND15.values)
    for foreign in (
        task.geobox.zoom_out(2),
        task.geobox.pad(1).to_crs("EPSG:32723"),
        part.translate_pix(0.5, 0),
    ):
        with pytest.raises(OdcBdcError, match="is defined on the pixels of grid BDC_LG_V2"):
            recipe.load(indexed, like=foreign, **query)


def test_new_scene_rebuilds_only_its_period(dc, indexed, built, root, scenes):
    """A scene less, then again: only its own period is built, and the old image goes."""
    task = next(t for t in built if t.cube.name == "CB4_64_16D_MED_v1")
    gone = task.scenes[0]
    dc.index.datasets.archive([gone.id])
    fewer = plan_cube(dc, task.cube, date(2019, 12, 3), date(2019, 12, 31))
    states = {(t.tile_id, t.period.start): s for t, s in task_status(dc, fewer)}
    assert states.pop((task.tile_id, task.period.start)) == "stale"
    assert set(states.values()) <= {"done"}
    report = build_cube(dc, fewer, root, now=lambda: NOW)
    assert (report.built, report.archived) == (1, 1)
    assert dc.index.datasets.get(task.id).is_archived

    dc.index.datasets.restore([gone.id])
    again = plan_cube(dc, task.cube, date(2019, 12, 3), date(2019, 12, 31))
    report = build_cube(dc, again, root, now=lambda: NOW)
    assert (report.built, report.archived) == (1, 1)
    assert not dc.index.datasets.get(task.id).is_archived
    assert {state for _, state in task_status(dc, again)} == {"done"}
