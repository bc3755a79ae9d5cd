"""Live images: pixels of the built ones, by whatever windows, scales and readers they are read."""

from __future__ import annotations

import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from dask_cluster import started_cluster
from datacube.drivers.readers import reader_drivers
from hypothesis import given, settings
from hypothesis import strategies as st
from made_tasks import (
    CLEAR,
    CLOUD,
    NODATA,
    PERIOD,
    TILE,
    cube_at,
    for_function,
    make_task,
    utm_grid,
)

from odc_bdc.building.storage import storage_at
from odc_bdc.building.tile import Worker, composite_tile
from odc_bdc.cog import Pyramid, write_cog
from odc_bdc.errors import (
    InvalidValueError,
    SourceError,
    UnknownNameError,
    UnreadableSceneError,
)
from odc_bdc.function import _OWN, composite_function
from odc_bdc.indexing import add_products
from odc_bdc.live import LIVE_FORMAT, RECIPE_SUFFIX
from odc_bdc.live.cache import SharedCache
from odc_bdc.live.image import LiveImage
from odc_bdc.live.opening import open_image
from odc_bdc.live.recipe import parse_recipe, recipe_document, recipe_text, write_recipe
from odc_bdc.live.scales import pyramid_of
from odc_bdc.live.workers import limit_cache, process_state
from odc_bdc.planning import BandSource
from odc_bdc.timeline import NAMED_TIMELINES

FUNCTIONS = [*(f.name for f in _OWN), "P25,P50"]
SHAPE = (530, 640)
DAYS = (1, 3, 3, 9, 20, 21)


def cube_of(function, **changes):
    """Give a cube of its own name; with indices where the bands that these need are made."""
    cube, found = cube_at(*SHAPE), composite_function(function)
    auxiliary = ["CLEAROB", "TOTALOB", *(["PROVENANCE"] if found.picks_date else [])]
    indices = cube.indices if found.suffixes == ("",) and found.dtype is None else ()
    parts = {"name": "mine", "indices": indices, "auxiliary": tuple(auxiliary)}
    return for_function(cube, found).patch(**parts, **changes)


def live(task, **options):
    """Give the image of a task by way of its recipe's text."""
    return LiveImage(parse_recipe(recipe_text(recipe_document(task, **options)), "x.json"))


def same(got, wanted):
    return got.dtype == wanted.dtype and np.array_equal(
        got, wanted, equal_nan=got.dtype.kind == "f"
    )


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return make_task(tmp_path_factory.mktemp("scenes"), cube_of("LCF"), days=DAYS)


@pytest.fixture(scope="module")
def images(task):
    """Give for each function the live image and all pixels as building computes them."""
    made = {}

    def get(function):
        if function not in made:
            wanted = replace(task, cube=cube_of(function))
            made[function] = live(wanted), composite_tile(wanted)
        return made[function]

    return get


@st.composite
def spans(draw, size):
    start = draw(st.integers(0, size - 1))
    return slice(start, draw(st.integers(start + 1, size)))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_live_image_is_the_composite(images, function):
    image, wanted = images(function)
    assert [m.name for m in image.outputs] == list(wanted)
    for name, pixels in wanted.items():
        assert same(image.read(name), pixels), name
        assert np.unique(pixels).size > 1, name


@settings(max_examples=60)
@given(st.data())
def test_windows_show_the_same_pixels(images, data):
    image, wanted = images(data.draw(st.sampled_from(["LCF", "MED", "STD", "IDT"])))
    name = data.draw(st.sampled_from(sorted(wanted)))
    window = tuple(data.draw(spans(size)) for size in SHAPE)
    if data.draw(st.booleans()):
        process_state().blocks.clear()
    assert same(image.read(name, window), wanted[name][window])


@pytest.mark.parametrize("function", ["LCF", "MED"])
def test_scenes_of_other_grids_are_warped_as_when_built(tmp_path, function):
    cube = cube_of(function)
    made = make_task(tmp_path, cube, scenes=3, grids=[utm_grid(cube), cube.geobox(TILE)])
    image, wanted = live(made), composite_tile(made)
    for name, pixels in wanted.items():
        assert same(image.read(name), pixels), name
    coarse = image.read("BAND13", None, (265, 320))
    level = pyramid_of(image.geobox).levels[1]
    fine = wanted["BAND13"][np.ix_(level.rows, level.columns)]
    assert ((coarse == -9999) == (fine == -9999)).mean() > 0.9


def _dilated(cube):
    policy = replace(cube.quality, dilation=3)
    sources = tuple(replace(s, quality=replace(s.quality, dilation=3)) for s in cube.sources)
    return cube.patch(quality=policy, sources=sources)


def _combined(cube):
    other = replace(cube.sources[0], product="mine_too", platform="OTHER-1")
    first = replace(cube.sources[0], platform="CBERS-4")
    return cube.patch(sources=(first, other), auxiliary=(*cube.auxiliary, "DATASOURCE"))


OTHERS = {
    "daily": lambda: cube_of("IDT", timeline=NAMED_TIMELINES["p1d"]),
    "seasons": lambda: cube_of("MED", timeline=NAMED_TIMELINES["bdc_seasons"]),
    "a year": lambda: cube_of("LCF", timeline=NAMED_TIMELINES["p1y"]),
    "widened clouds": lambda: _dilated(cube_of("LCF")),
    "two satellites": lambda: _combined(cube_of("LCF")),
    "no counts": lambda: cube_of("LCF").patch(auxiliary=("PROVENANCE",), indices=()),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_cubes_are_live_as_well(task, kind):
    cube = OTHERS[kind]()
    scenes = task.scenes
    if len(cube.sources) > 1:
        scenes = tuple(
            replace(s, product=cube.products[n % 2], platform=None) for n, s in enumerate(scenes)
        )
    day = scenes[3].datetime.date()
    period = cube.timeline.period_of(day)
    within = tuple(s for s in scenes if s.datetime.date() in period)
    wanted = replace(task, cube=cube, period=period, scenes=within)
    image, pixels = live(wanted), composite_tile(wanted)
    for name, array in pixels.items():
        assert same(image.read(name), array), name
    if "DATASOURCE" in pixels:
        assert {0, 1} <= set(np.unique(pixels["DATASOURCE"]))


@pytest.fixture(scope="module")
def built(images, tmp_path_factory):
    """Give the file of each band of the built image, by function."""
    folder = tmp_path_factory.mktemp("built")

    def get(function, name):
        path = folder / f"{function}_{name}.tif"
        if not path.exists():
            image, wanted = images(function)
            write_cog(path, wanted[name], image.geobox, nodata=image.output(name).missing)
        return path

    return get


@settings(max_examples=60)
@given(st.data())
def test_coarser_views_are_those_of_the_built_image(images, built, data):
    """Scenes have overviews of nearest pixels here."""
    function, name = data.draw(
        st.sampled_from([("LCF", "BAND14"), ("LCF", "CMASK"), ("MED", "EVI"), ("MED", "CLEAROB")])
    )
    image, _ = images(function)
    window = tuple(data.draw(spans(size)) for size in SHAPE)
    size = [part.stop - part.start for part in window]
    out = tuple(data.draw(st.integers(1, n)) for n in size)
    if data.draw(st.booleans()):
        out = tuple(max(1, n // 2) for n in size)
    pixels = image.read(name, window, out)
    with rasterio.open(built(function, name)) as src:
        part = rasterio.windows.Window.from_slices(*window)
        wanted = src.read(1, window=part, out_shape=out)
    assert pixels.shape == wanted.shape
    # GDAL chooses the overview by the width alone, and by tolerances of its own.
    factors = [n / m for n, m in zip(size, out, strict=True)]
    if all(f == 2 for f in factors) and all(part.start % 2 == 0 for part in window):
        assert same(pixels, wanted)
    assert set(np.unique(pixels)) <= set(np.unique(image.read(name))) | {-9999}


def test_the_overview_is_the_built_one(images):
    for function in ("LCF", "MED"):
        image, wanted = images(function)
        level = Pyramid.of(SHAPE, 512).levels[1]
        for name, pixels in wanted.items():
            found = image.read(name, None, level.shape)
            assert same(found, pixels[np.ix_(level.rows, level.columns)]), name


def test_overviews_that_invent_codes_are_not_read(task, tmp_path, monkeypatch):
    """Quality bands have overviews of cubic convolution here, the bands those of averages."""
    scenes = []
    for scene in task.scenes:
        sources = []
        for name, source in scene.sources:
            path = tmp_path / Path(source.href).name
            method = "CUBIC" if name == "CMASK" else "AVERAGE"
            rasterio.shutil.copy(
                source.href.removeprefix("file://"),
                path,
                driver="COG",
                OVERVIEW_RESAMPLING=method,
                OVERVIEWS="IGNORE_EXISTING",
            )
            sources.append((name, BandSource(path.as_uri(), source.encoding)))
        scenes.append(replace(scene, sources=tuple(sources)))
    with rasterio.open(tmp_path / Path(dict(scenes[0].sources)["CMASK"].href).name) as src:
        assert set(np.unique(src.read(1, out_shape=(265, 320)))) - {CLEAR, CLOUD, NODATA}
    changed = replace(task, scenes=tuple(scenes))
    image, wanted = live(changed), composite_tile(changed)
    level = pyramid_of(image.geobox).levels[1]
    assert set(np.unique(image.read("CMASK", None, level.shape))) <= {CLEAR, CLOUD, NODATA}
    fine = wanted["CLEAROB"][np.ix_(level.rows, level.columns)]
    counts = image.read("CLEAROB", None, level.shape)
    # Averages close gaps of bands: one more observation counts, or a cloud hides the scene before.
    assert (counts >= fine).mean() > 0.95
    assert (counts == fine).mean() > 0.7
    # It is the comparison of overviews that makes the difference.
    monkeypatch.setattr("odc_bdc.live.scales._are_nearest", lambda *_: True)
    deceived = live(changed).read("CMASK", None, level.shape)
    assert not set(np.unique(deceived)) <= {CLEAR, CLOUD, NODATA}


def test_a_level_needs_a_whole_window(images):
    image, _ = images("LCF")
    with pytest.raises(UnknownNameError, match=r"has no band 'red'; it has BAND13"):
        image.read("red")
    for window in ((slice(0, 531), slice(0, 9)), (slice(9, 9), slice(0, 9))):
        with pytest.raises(InvalidValueError, match="do not lie in it"):
            image.read("BAND13", window)
    with pytest.raises(InvalidValueError, match="array of shape"):
        image.read("BAND13", None, (0, 4))


@pytest.fixture
def computed(monkeypatch):
    """Note each block that is computed."""
    noted, whole = [], Worker.composite
    monkeypatch.setattr(Worker, "composite", lambda *a: (noted.append(a[1]), whole(*a))[1])
    return noted


def test_all_bands_share_one_pass(task, computed):
    image = live(replace(task, cube=cube_of("MED")))
    for measurement in image.outputs:
        image.read(measurement.name)
    assert len(computed) == 4


def test_bands_of_a_stack_do_not_wait_for_counts(task, computed):
    image = live(task)
    for name in ("BAND13", "BAND14", "NDVI", "PROVENANCE", "CLEAROB", "TOTALOB", "BAND15"):
        image.read(name, (slice(0, 9), slice(0, 9)))
    assert len(computed) == 2


def test_threads_that_want_one_block_wait_for_it(task, computed):
    image, start = live(task), threading.Barrier(6)

    def read(number):
        start.wait()
        return image.read(f"BAND{13 + number % 4}", (slice(0, 99), slice(0, 99)))

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(read, range(6)))
    assert len(computed) == 1
    assert same(found[0], found[4])


def test_what_is_kept_is_bounded(task):
    state = process_state()
    try:
        limit_cache(3_000_000)
        image = live(task)
        for _ in range(2):
            for measurement in image.outputs:
                image.read(measurement.name)
                assert state.blocks.nbytes <= 3_000_000
                assert state.idle.bytes_held <= 128_000_000
                assert len(state.idle) <= 16
    finally:
        limit_cache(256_000_000)


def test_a_value_that_cannot_be_computed_is_not_kept():
    cache = SharedCache(10, len)
    with pytest.raises(ZeroDivisionError):
        cache.get("a", lambda: b"" * (1 // 0))
    assert cache.get("a", lambda: b"12345678") == b"12345678"
    assert cache.get("b", lambda: b"123") == b"123"
    assert ("a" in cache, "b" in cache, cache.nbytes) == (False, True, 3)
    assert cache.get("c", lambda: b"more than it holds") == b"more than it holds"
    assert cache.nbytes <= 10


def test_a_child_process_begins_anew(images):
    image, wanted = images("LCF")
    image.read("BAND13")
    held, take = process_state().blocks, os.fork()
    if not take:
        try:
            fresh = process_state().blocks is not held
            pixels = image.read("BAND13")
            os._exit(0 if fresh and same(pixels, wanted["BAND13"]) else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(take, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert same(image.read("BAND14"), wanted["BAND14"])


def test_numbers_of_clear_pixels_spare_the_look_at_the_whole_tile(task):
    wanted = composite_tile(task)
    # Wrong numbers make another order, so they are believed.
    counts = [10, 20, 30, 40, 50]
    image = live(task, n_clear=counts)
    assert not same(image.read("PROVENANCE"), wanted["PROVENANCE"])
    assert same(live(task, n_clear=[None] * 5).read("PROVENANCE"), wanted["PROVENANCE"])


def _broken(task, tmp_path):
    """Give the task with a scene of which a band is cut short."""
    source = task.scenes[3].source("BAND14")
    path = tmp_path / "cut.tif"
    shutil.copy(source.href.removeprefix("file://"), path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    bands = dict(task.scenes[3].sources) | {"BAND14": BandSource(path.as_uri(), source.encoding)}
    scene = replace(task.scenes[3], sources=tuple(bands.items()))
    return replace(task, scenes=(*task.scenes[:3], scene, *task.scenes[4:]))


def test_a_scene_that_cannot_be_read_is_told(task, tmp_path):
    broken = _broken(replace(task, cube=cube_of("MED")), tmp_path)
    image = live(broken)
    with pytest.raises(UnreadableSceneError, match=r"cut\.tif: cannot be read") as told:
        image.read("BAND13")
    assert told.value.scene == broken.scenes[3].id


def test_or_left_out_if_the_recipe_says_so(task, tmp_path):
    broken = _broken(replace(task, cube=cube_of("MED")), tmp_path)
    image = live(broken, unreadable="skip")
    rest = tuple(s for s in broken.scenes if s.id != broken.scenes[3].id)
    wanted = composite_tile(replace(broken, scenes=rest))
    for name in ("TOTALOB", "BAND13"):
        assert same(image.read(name), wanted[name])
    assert image.left_out == (broken.scenes[3].id,)
    alone = live(replace(broken, scenes=(broken.scenes[3],)), unreadable="skip")
    with pytest.raises(UnreadableSceneError):
        alone.read("BAND13")


def test_a_recipe_that_is_written_anew_is_read_anew(task, tmp_path, monkeypatch):
    monkeypatch.setenv("ODC_BDC_ROOTS", str(tmp_path))
    storage = storage_at(str(tmp_path))
    uri = write_recipe(recipe_document(task), storage, "a.json")
    image = open_image(uri)
    assert open_image(uri) is image
    new = write_recipe(recipe_document(replace(task, scenes=task.scenes[:2])), storage, "a.json")
    assert len(open_image(new).recipe.task.scenes) == 2
    with pytest.raises(SourceError, match="is not the recipe that was declared"):
        open_image(uri)


def test_rules_of_access_are_those_of_the_reader(task, tmp_path, monkeypatch):
    monkeypatch.setenv("ODC_BDC_ROOTS", str(tmp_path))
    (tmp_path / "access.yaml").write_text("https://h.example/: {token: ODC_BDC_A}\n", "utf-8")
    monkeypatch.setenv("ODC_BDC_ACCESS", str(tmp_path / "access.yaml"))
    uri = write_recipe(recipe_document(task), storage_at(str(tmp_path)), "a.json")
    assert open_image(uri).recipe.task.access.rule("https://h.example/a").token == "ODC_BDC_A"  # noqa: S105


def write_live(folder, task, **options):
    """Write recipe and EO3 document of a live image, and give the document."""
    name = task.item_id + RECIPE_SUFFIX
    uri = write_recipe(recipe_document(task, **options), storage_at(str(folder)), name)
    path = uri.rpartition("/")[2]
    grid = {"shape": list(task.geobox.shape), "transform": list(task.geobox.affine)}
    return {
        "$schema": "https://schemas.opendatacube.org/dataset",
        "id": str(task.id),
        "label": task.item_id,
        "product": {"name": task.cube.name},
        "crs": str(task.geobox.crs),
        "grids": {"default": grid},
        "geometry": task.geobox.extent.json,
        "properties": {
            "datetime": PERIOD.start_datetime.isoformat(),
            "dtr:start_datetime": PERIOD.start_datetime.isoformat(),
            "dtr:end_datetime": PERIOD.end_datetime.isoformat(),
            "odc:processing_datetime": datetime(2026, 1, 1, tzinfo=UTC).isoformat(),
            "odc:file_format": LIVE_FORMAT,
        },
        "measurements": {m.name: {"path": path, "layer": m.name} for m in task.cube.outputs},
        "lineage": {},
    }


@pytest.fixture(scope="module")
def loadable(dc, task, tmp_path_factory):
    """Give the dataset of a live image, read from an index; this process reads below it."""
    folder = tmp_path_factory.mktemp("live")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ODC_BDC_ROOTS", str(folder))
        yield _indexed(dc, task, folder)


def _indexed(dc, task, folder):
    from datacube.index.hl import Doc2Dataset

    add_products(dc, [task.cube.to_product()])
    doc = write_live(folder, task)
    uri = (folder / "a.odc-metadata.yaml").as_uri()
    dataset, fault = Doc2Dataset(dc.index, verify_lineage=False, skip_lineage=True)(doc, uri)
    assert fault is None, fault
    dc.index.datasets.add(dataset, with_lineage=False)
    return list(dc.index.datasets.search(product=task.cube.name))


def test_datacube_finds_the_driver():
    assert "odc_bdc_live" in reader_drivers()


DRIVERS = [None, "odc_bdc.live.Driver"]


@pytest.mark.parametrize("driver", DRIVERS)
def test_datacube_loads_a_live_image(dc, loadable, task, images, driver):
    _, wanted = images("LCF")
    found = dc.load(datasets=loadable, like=task.geobox, driver=driver)
    for name, pixels in wanted.items():
        assert same(found[name].values[0], pixels), name
    part = task.geobox[100:301, 200:555]
    found = dc.load(datasets=loadable, like=part, measurements=["red", "NDVI"], driver=driver)
    assert same(found["red"].values[0], wanted["BAND15"][100:301, 200:555])
    assert same(found["NDVI"].values[0], wanted["NDVI"][100:301, 200:555])
    with_chunks = dc.load(
        datasets=loadable, like=task.geobox, dask_chunks={"x": 300, "y": 200}, driver=driver
    )
    computed = with_chunks.compute(scheduler="threads")
    for name, pixels in wanted.items():
        assert same(computed[name].values[0], pixels), name


@pytest.mark.parametrize("driver", DRIVERS)
def test_datacube_loads_coarser_and_warped_views(dc, loadable, task, images, driver):
    _, wanted = images("LCF")
    half = task.geobox.zoom_out(2)
    found = dc.load(datasets=loadable, like=half, measurements=["BAND13"], driver=driver)
    assert same(found["BAND13"].values[0], wanted["BAND13"][::2, ::2])
    mercator = dc.load(
        datasets=loadable,
        like=task.geobox.to_crs("EPSG:3857"),
        measurements=["BAND13"],
        driver=driver,
    )
    pixels = mercator["BAND13"].values
    assert set(np.unique(pixels)) <= set(np.unique(wanted["BAND13"])) | {-9999}
    assert (pixels != -9999).mean() > 0.7


@pytest.mark.parametrize("driver", DRIVERS)
def test_workers_of_a_dask_cluster_load_live_images(dc, loadable, task, images, driver, tmp_path):
    distributed = pytest.importorskip("distributed", reason="the extra [cluster] is absent")
    _, wanted = images("LCF")
    lazy = dc.load(
        datasets=loadable, like=task.geobox, dask_chunks={"x": 320, "y": 300}, driver=driver
    )
    with (
        started_cluster(tmp_path, 2) as (address, _, _),
        distributed.Client(address, set_as_default=False) as client,
    ):
        found = client.compute(lazy[["BAND13", "TOTALOB"]]).result()
    for name in ("BAND13", "TOTALOB"):
        assert same(found[name].values[0], wanted[name])


def test_a_missing_scene_is_told_by_datacube(dc, loadable, task, tmp_path, monkeypatch):
    monkeypatch.setenv("ODC_BDC_ROOTS", str(tmp_path))
    scenes = tuple(
        replace(s, sources=tuple((n, BandSource("/none.tif", b.encoding)) for n, b in s.sources))
        for s in task.scenes
    )
    name = task.item_id + RECIPE_SUFFIX
    uri = write_recipe(
        recipe_document(replace(task, scenes=scenes)), storage_at(str(tmp_path)), name
    )
    with pytest.raises(UnreadableSceneError, match=r"/none\.tif"):
        open_image(uri).read("BAND13")
