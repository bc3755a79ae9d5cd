"""Tiles built window by window: the pixels are those of the composite of all that is loaded."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
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
    pixels_of,
    random_scene,
    utm_grid,
    write_scene,
)
from odc.geo.geobox import GeoBox
from rio_cogeo import cog_validate

from odc_bdc import composite_cube
from odc_bdc.building import efficacy as kept
from odc_bdc.building import reading
from odc_bdc.building.efficacy import EfficacyStore
from odc_bdc.building.image import write_bands
from odc_bdc.building.tile import composite_tile, composite_windows
from odc_bdc.cog import DEFLATE
from odc_bdc.errors import UnreadableSceneError
from odc_bdc.files import Versions, scene_files
from odc_bdc.function import _OWN, composite_function
from odc_bdc.planning import BandSource, CompositeTask

FUNCTIONS = [*(f.name for f in _OWN), "P25,P50,P75"]
SHAPE = (90, 75)


def cube_of(function, cube=None):
    """Give a cube with another function, its usual outputs and no indices."""
    found = composite_function(function)
    extra = ("PROVENANCE",) if found.picks_date else ()
    parts = {"indices": (), "auxiliary": ("CLEAROB", "TOTALOB", *extra)}
    return for_function(cube or cube_at(*SHAPE), found).patch(**parts)


def loaded(task, read):
    """Join the scenes of each day as the BDC does, in plain numpy, into a stack of all times."""
    cube = task.cube
    images, times = [], []
    for group in task.observations:
        whole = {}
        for scene in group:
            pixels = {m.name: read(scene, m) for m in cube.measurements}
            has_data = np.logical_and.reduce(
                [pixels[m.name] != m.nodata for m in cube.measurements]
            )
            for name, band in pixels.items():
                whole[name] = np.where(has_data, band, whole[name]) if name in whole else band
        images.append(whole)
        times.append(np.datetime64(group[0].datetime.replace(tzinfo=None), "ns"))
    dims = ("time", "y", "x")
    return xr.Dataset(
        {
            m.name: (dims, np.stack([i[m.name] for i in images]), {"nodata": m.nodata})
            for m in cube.measurements
        },
        coords={"time": times},
    )


def same_grid(scene, measurement):
    return pixels_of(scene, measurement.name)


def composed(task, read=same_grid):
    wanted = composite_cube(loaded(task, read), task.cube)
    return {m.name: wanted[m.name].values[0] for m in task.cube.outputs}


def assert_same(found, wanted):
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array, name)


def drop(*_):
    """Do nothing with a window of an image."""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Give the scenes of a task on the tile's grid, two days of which have several."""
    folder = tmp_path_factory.mktemp("scenes")
    return make_task(folder, cube_at(*SHAPE), days=(1, 4, 4, 9, 12, 20, 20, 20, 28)).scenes


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """Give the scenes of a task on three other grids, one of which covers a part of the tile."""
    cube = cube_at(*SHAPE)
    grids = [utm_grid(cube), utm_grid(cube, 25.0), utm_grid(cube, 64.0, -700.0)]
    folder = tmp_path_factory.mktemp("foreign")
    return make_task(folder, cube, days=(1, 4, 4, 9, 12, 20, 21), grids=grids).scenes


def task_of(cube, scenes):
    return CompositeTask(cube, TILE, PERIOD, scenes)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_built_is_the_composite_of_the_stack(scenes, tmp_path, function):
    task = task_of(cube_of(function), scenes)
    wanted = composed(task)
    assert (wanted["CLEAROB"] > 0).any()
    assert_same(composite_tile(task), wanted)
    assert_same(composite_tile(task, block=17, threads=3), wanted)
    store = EfficacyStore.below(tmp_path)
    for _ in range(2):  # what is found out of scenes, and then known, changes nothing
        assert_same(composite_tile(task, block=32, threads=2, store=store), wanted)
    summary = write_bands(task, tmp_path, threads=2, store=store)
    for name, path in summary.files.items():
        with rasterio.open(path) as src:
            np.testing.assert_array_equal(src.read(1), wanted[name], name)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_warped_scenes_do_not_depend_on_windows(foreign, tmp_path, function):
    task = task_of(cube_of(function), foreign)
    files = reading.SourceFiles(task.geobox)
    window = tuple(slice(0, size) for size in SHAPE)

    def whole(scene, measurement):
        with reading.SourceReader(files) as reader:
            return reader.read(scene.source(measurement.name), measurement.resampling, window)

    wanted = composed(task, whole)
    assert (wanted["CLEAROB"] > 0).any()
    assert_same(composite_tile(task), wanted)
    store = EfficacyStore.below(tmp_path)
    for block, threads in ((13, 3), (40, 1)):
        assert_same(composite_tile(task, block=block, threads=threads, store=store), wanted)


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic"])
def test_what_a_scene_covers_does_not_move_its_pixels(tmp_path, resampling):
    """Scenes of one raster share positions, though each begins and ends elsewhere."""
    cube = cube_of("MED")
    grid = utm_grid(cube, 60.0, 1000.0)
    rows, columns = grid.shape
    bands = random_scene(np.random.default_rng(8), grid.shape, cube.measurements)
    inner = slice(7, rows - 11), slice(13, columns - 5)
    crop = {name: band[inner] for name, band in bands.items()}
    when = datetime(2020, 1, 3, tzinfo=UTC)
    scenes = [
        write_scene(tmp_path, cube, when, grid, bands, label="whole"),
        write_scene(tmp_path, cube, when, grid[inner], crop, label="part"),
    ]
    files = reading.SourceFiles(cube.geobox(TILE))
    known = [files.get(scene.source("BAND15")) for scene in scenes]
    assert known[0].raster == known[1].raster
    assert np.subtract(known[1].place, known[0].place).tolist() == [7, 13]
    window = tuple(slice(0, size) for size in SHAPE)
    with reading.SourceReader(files) as reader:
        whole, part = (reader.read(s.source("BAND15"), resampling, window) for s in scenes)
    assert (whole != -9999).any()
    np.testing.assert_array_equal(part, whole)


@pytest.mark.parametrize("function", ["MED", "LCF", "IDT", "MAXNDVI"])
def test_without_imagecodecs_the_pixels_are_the_same(scenes, foreign, monkeypatch, function):
    tasks = [task_of(cube_of(function), some) for some in (scenes, foreign)]
    wanted = [composite_tile(task) for task in tasks]
    monkeypatch.setattr(reading, "block_file", lambda *_: None)
    monkeypatch.setattr(reading, "OPEN_FILES", 3)
    for task, image in zip(tasks, wanted, strict=True):
        assert_same(composite_tile(task, block=30, threads=2), image)


@pytest.mark.parametrize("auxiliary", [(), ("PROVENANCE",), ("TOTALOB",)])
@pytest.mark.parametrize("function", ["MED", "LCF", "MEDSTK"])
def test_cubes_without_counts(scenes, function, auxiliary):
    if function == "MED" and auxiliary == ("PROVENANCE",):
        return
    task = task_of(cube_of(function).patch(auxiliary=auxiliary), scenes)
    assert_same(composite_tile(task, block=32), composed(task))


def half_clear(tmp_path, scenes, **how):
    """Give a task of scenes without gaps, all clear on their left half."""
    cube = cube_of(**how)
    rng = np.random.default_rng(5)
    refs = []
    for day in range(1, scenes + 1):
        bands = random_scene(rng, SHAPE, cube.measurements, gaps=0)
        bands["CMASK"][:, :40], bands["CMASK"][:, 40:] = CLEAR, CLOUD
        for m in cube.bands:
            bands[m.name][bands[m.name] == m.nodata] = 7
        refs.append(write_scene(tmp_path, cube, datetime(2020, 1, day, tzinfo=UTC),
                                cube.geobox(TILE), bands))  # fmt: skip
    return task_of(cube, tuple(refs))


def test_only_what_contributes_is_decoded(tmp_path):
    """Without counts a stack takes one scene where all are clear, and one where none is."""
    task = half_clear(tmp_path, 6, function="LCF")
    bare = replace(task, cube=task.cube.patch(auxiliary=("PROVENANCE",)))
    tally = composite_windows(bare, drop, block=40)
    windows = 3 * 2
    assert tally.blocks_read == 4 * windows
    assert tally.blocks_skipped == 4 * windows * 5
    assert len(tally.scenes) == 1
    median = replace(bare, cube=bare.cube.patch(function=composite_function("MED"), auxiliary=()))
    tally = composite_windows(median, drop, block=40)
    # Windows without a clear pixel take nothing.
    assert (tally.blocks_read, tally.blocks_skipped) == (4 * 3 * 6, 4 * 3 * 6)


def test_counts_take_all_bands_once(tmp_path):
    """Where it is known that no band has gaps, quality tells the counts."""
    task = half_clear(tmp_path / "..", 6, function="LCF")
    store = EfficacyStore.below(tmp_path)
    wanted = composed(task)
    first = composite_windows(task, drop, store=store)
    assert first.blocks_skipped == 0
    again = composite_windows(task, drop, store=store)
    assert again.blocks_read == 4
    assert again.bytes_read < first.bytes_read / 2
    assert_same(composite_tile(task, store=store), wanted)
    assert_same(composite_tile(task, store=store, block=20), wanted)


@pytest.mark.parametrize("function", ["LCF", "MEDSTK", "IDT", "MED"])
def test_gaps_are_looked_at_once(scenes, tmp_path, function):
    """Where bands have gaps that quality does not show, these are kept and taken off the counts."""
    task, store = task_of(cube_of(function), scenes), EfficacyStore.below(tmp_path)
    wanted = composed(task)
    first = composite_windows(task, drop, store=store)
    known = known_of(task, store)
    assert any(packed for k in known for packed in k.gaps.values())
    again = composite_windows(task, drop, store=store)
    assert again.blocks_read <= first.blocks_read
    assert (again.seen, again.clear) == (first.seen, first.clear)
    for block in (None, 17):
        assert_same(composite_tile(task, store=store, block=block), wanted)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_gaps_of_any_window(data):
    shape = (kept.CELL + 70, 2 * kept.CELL)
    gaps = np.zeros(shape, bool)
    for _ in range(data.draw(st.integers(0, 3))):
        y, x = (data.draw(st.integers(0, size - 1)) for size in shape)
        gaps[y : y + 40, x : x + 300] = True
    known = kept.Known()
    for rows in (slice(0, kept.CELL), slice(kept.CELL, shape[0])):
        window = rows, slice(0, shape[1])
        known.learn(window, shape, gaps[window])
    known = kept.Known.from_dict(json.loads(json.dumps(known.to_dict())))
    window = []
    for size in shape:
        start = data.draw(st.integers(0, size - 1))
        window.append(slice(start, data.draw(st.integers(start + 1, size))))
    np.testing.assert_array_equal(known.gaps_in(tuple(window)), gaps[tuple(window)])


def test_only_whole_cells_are_learned_and_no_large_gaps():
    shape, known = (2 * kept.CELL, 2 * kept.CELL), kept.Known()
    known.learn((slice(0, kept.CELL), slice(1, 2 * kept.CELL)), shape, None)
    assert list(known.gaps) == [(0, 1)]
    noise = np.random.default_rng(0).random((kept.CELL, kept.CELL)) < 0.5
    known.learn((slice(0, kept.CELL), slice(0, kept.CELL)), shape, noise)
    assert known.gaps_in((slice(0, 9), slice(0, 9))) is None
    assert not known.gaps_in((slice(0, 9), slice(kept.CELL, kept.CELL + 9))).any()


def known_of(task, store):
    """Give what a store knows of the observations of a task."""
    stamps = Versions(scene_files()).known([b.href for s in task.scenes for _, b in s.sources])
    keys = [kept.observation_key(task.cube, task.geobox, g, stamps) for g in task.observations]
    return [store.get(key) for key in keys]


class TestStore:
    @pytest.fixture
    def task(self, tmp_path):
        return half_clear(tmp_path, 3, function="LCF")

    def known(self, task, root):
        return known_of(task, EfficacyStore.below(root))

    def test_efficacy_is_that_of_the_whole_tile(self, task, tmp_path):
        composite_tile(task, store=EfficacyStore.below(tmp_path))
        clear = [np.count_nonzero(pixels_of(s, "CMASK") == CLEAR) for s in task.scenes]
        known = self.known(task, tmp_path)
        assert [k.n_clear for k in known] == clear
        assert all(k.gaps == {(0, 0): b""} for k in known)

    def test_known_efficacy_spares_a_look(self, task, tmp_path):
        store = EfficacyStore.below(tmp_path)
        for _ in range(2):
            tally = composite_windows(task, drop, store=store)
        quality = 3 * np.prod(SHAPE)
        assert tally.bytes_read == quality + 4 * 2 * np.prod(SHAPE)

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", '{"key": 1}', "null", '{"n_clear": "x"}', "GAPS"]
    )
    def test_broken_files_are_made_anew(self, task, tmp_path, text):
        store = EfficacyStore.below(tmp_path)
        wanted = composite_tile(task, store=store)
        files = list(store.folder.rglob("*.json"))
        assert len(files) == 3
        for path in files:
            doc = json.loads(path.read_text("utf-8")) | {"gaps": {"0,0": "AAAA"}}
            path.write_text(json.dumps(doc) if text == "GAPS" else text, "utf-8")
        assert [k.n_clear for k in self.known(task, tmp_path)] == [None] * 3
        assert_same(composite_tile(task, store=store), wanted)
        assert None not in [k.n_clear for k in self.known(task, tmp_path)]

    def test_files_of_something_else_are_not_believed(self, task, tmp_path):
        store = EfficacyStore.below(tmp_path)
        composite_tile(task, store=store)
        for path in store.folder.rglob("*.json"):
            doc = json.loads(path.read_text("utf-8"))
            path.write_text(json.dumps(doc | {"key": doc["key"].replace("CMASK", "SCL")}), "utf-8")
        assert [k.n_clear for k in self.known(task, tmp_path)] == [None] * 3

    def test_a_scene_written_anew_is_looked_at_anew(self, task, tmp_path):
        composite_tile(task, store=EfficacyStore.below(tmp_path))
        quality = task.scenes[1].source("CMASK").href.removeprefix("file://")
        with Path(quality).open("ab") as file:
            file.write(b"\0")
        found = [k.n_clear for k in self.known(task, tmp_path)]
        assert [n is None for n in found] == [False, True, False]

    def test_another_grid_or_policy_is_another_matter(self, task, tmp_path):
        composite_tile(task, store=EfficacyStore.below(tmp_path))
        strict = replace(task.cube.quality, dilation=2)
        for cube in (
            task.cube.patch(extent=None),
            task.cube.patch(
                quality=strict, sources=tuple(replace(s, quality=strict) for s in task.cube.sources)
            ),
        ):
            assert {k.n_clear for k in self.known(replace(task, cube=cube), tmp_path)} == {None}


def test_dilation_reaches_over_windows(scenes):
    cube = cube_of("LCF")
    strict = replace(cube.quality, dilation=3)
    cube = cube.patch(
        quality=strict, sources=tuple(replace(s, quality=strict) for s in cube.sources)
    )
    task = task_of(cube, scenes)
    wanted = composite_tile(task)
    plain = composite_tile(task_of(cube_of("LCF"), scenes))
    assert wanted["CLEAROB"].sum() < plain["CLEAROB"].sum()
    np.testing.assert_array_equal(wanted["TOTALOB"], plain["TOTALOB"])
    for block in (5, 33):
        assert_same(composite_tile(task, block=block, threads=2), wanted)


def test_a_coarser_cube_takes_pixels_not_overviews(tmp_path):
    """Overviews of a mask may hold codes that the mask has not; a coarser target must not."""
    cube = cube_of("LCF", cube_at(30, 25))
    target = cube.geobox(TILE)
    finer = target.affine * target.affine.scale(1 / 8)
    grid = GeoBox((30 * 8, 25 * 8), finer, target.crs)

    def cubic(path, pixels, geobox, *, nodata):
        with rasterio.open(
            path, "w", driver="COG", width=geobox.shape[1], height=geobox.shape[0], count=1,
            dtype=pixels.dtype.name, nodata=nodata, crs=geobox.crs.to_wkt(),
            transform=geobox.affine, blocksize=128, overview_resampling="CUBIC",
        ) as out:  # fmt: skip
            out.write(pixels, 1)

    bands = random_scene(np.random.default_rng(2), tuple(grid.shape), cube.measurements)
    rng = np.random.default_rng(3)
    bands["CMASK"] = rng.choice([CLEAR, CLOUD, NODATA], grid.shape).astype("uint8")
    bands["BAND15"] = rng.integers(0, 4000, grid.shape).astype("int16")
    bands["BAND15"][rng.random(grid.shape) < 0.1] = -9999
    when = datetime(2020, 1, 3, tzinfo=UTC)
    scene = write_scene(tmp_path, cube, when, grid, bands, write=cubic)
    path = scene.source("CMASK").href.removeprefix("file://")
    with rasterio.open(path, overview_level=0) as src:
        assert set(np.unique(src.read(1))) - {CLEAR, CLOUD, NODATA}  # that is what must not come in
    files = reading.SourceFiles(cube.geobox(TILE))
    window = slice(0, 30), slice(0, 25)
    with reading.SourceReader(files) as reader:
        found = reader.read(scene.source("CMASK"), "nearest", window)
        # The centre of a pixel is where four of the source meet: the lower right one is taken.
        np.testing.assert_array_equal(found, bands["CMASK"][4::8, 4::8])
        mean = reader.read(scene.source("BAND15"), "average", window)
    parts = bands["BAND15"].reshape(30, 8, 25, 8).astype(float)
    parts[parts == -9999] = np.nan
    wanted = np.floor(np.nanmean(parts, axis=(1, 3)) + 0.5)
    centre = bands["BAND15"][4::8, 4::8] == -9999
    np.testing.assert_array_equal(mean, np.where(centre, -9999, wanted))


def test_files_are_the_same_by_any_number_of_threads(scenes, tmp_path):
    task = task_of(cube_of("LCF"), scenes)
    # Other tests, and what they import, may have threads of their own.
    made, others = [], set(threading.enumerate())
    for threads in (1, 4):
        folder = tmp_path / str(threads)
        folder.mkdir()
        summary = write_bands(task, folder, threads=threads)
        made.append({name: path.read_bytes() for name, path in summary.files.items()})
        assert {p.name for p in folder.iterdir()} == {p.name for p in summary.files.values()}
        for path in summary.files.values():
            assert cog_validate(str(path), strict=True, quiet=True)[0]
    assert made[0] == made[1]
    assert set(threading.enumerate()) <= others


def test_what_is_said_of_an_image(scenes, tmp_path):
    task = task_of(cube_of("LCF"), scenes)
    summary = write_bands(task, tmp_path, compression=DEFLATE)
    wanted = composed(task)
    assert summary.pixels == np.prod(SHAPE)
    assert summary.seen == np.count_nonzero(wanted["TOTALOB"])
    assert summary.clear == np.count_nonzero(wanted["CLEAROB"])
    assert summary.clear_fraction == summary.clear / summary.pixels
    assert set(summary.seconds) == {"read", "composite", "write", "finish"}
    assert summary.scenes_read == len(scenes)
    assert summary.blocks_read + summary.blocks_skipped == 4 * len(task.observations)
    assert_same(dict(summary.preview), wanted)
    with rasterio.open(summary.files["CLEAROB"]) as src:
        assert src.tags(ns="IMAGE_STRUCTURE")["COMPRESSION"] == "DEFLATE"


def test_preview_takes_every_nth_pixel(tmp_path):
    task = make_task(tmp_path, cube_of("MED", cube_at(1100, 700)), scenes=2)
    summary = write_bands(task, tmp_path, threads=2)
    with rasterio.open(summary.files["BAND15"]) as src:
        np.testing.assert_array_equal(summary.preview["BAND15"], src.read(1)[::3, ::3])
        assert src.overviews(1) == [2, 4]


@pytest.mark.parametrize("band", ["CMASK", "BAND15"])
@pytest.mark.parametrize("threads", [1, 3])
def test_an_unreadable_scene_is_named_and_leaves_nothing(tmp_path, band, threads):
    task = make_task(tmp_path, cube_of("MED"), scenes=4, gaps=0)
    bad = task.scenes[2]
    source = bad.source(band)
    (tmp_path / "broken.tif").write_bytes(b"II*\0 this is no file of pixels")
    sources = dict(bad.sources) | {
        band: BandSource((tmp_path / "broken.tif").as_uri(), source.encoding)
    }
    broken = replace(bad, sources=tuple(sources.items()))
    scenes = tuple(broken if s is bad else s for s in task.scenes)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UnreadableSceneError, match=r"broken\.tif: cannot be read") as caught:
        write_bands(replace(task, scenes=scenes), out, threads=threads)
    assert caught.value.scene == bad.id
    assert list(out.iterdir()) == []


def with_encoding(scene, **changes):
    """Say otherwise how a scene's bands are stored."""
    sources = [
        (
            name,
            band if name == "CMASK" else replace(band, encoding=replace(band.encoding, **changes)),
        )
        for name, band in scene.sources
    ]
    return replace(scene, sources=tuple(sources))


@pytest.mark.parametrize("grids", [None, "utm"])
def test_a_file_that_its_product_cannot_hold_is_refused(tmp_path, grids):
    cube = cube_of("MED")
    task = make_task(tmp_path, cube, scenes=2, grids=grids and [utm_grid(cube)])
    said = tuple(with_encoding(scene, dtype="uint8", nodata=0) for scene in task.scenes)
    with pytest.raises(UnreadableSceneError, match="is int16, and its product says uint8"):
        composite_tile(task_of(cube, said))


@pytest.mark.parametrize("function", ["MED", "LCF"])
@pytest.mark.parametrize("grids", [None, "utm"])
def test_the_nodata_value_of_a_header_is_believed(tmp_path, function, grids):
    # The files say -9999, the product -32768: the image is the same as if it said so, too.
    cube = cube_of(function)
    task = make_task(tmp_path, cube, scenes=4, grids=grids and [utm_grid(cube)])
    wanted = composite_tile(task)
    said = tuple(with_encoding(scene, nodata=-32768) for scene in task.scenes)
    found = composite_tile(task_of(cube, said))
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name], name)
    without = tuple(with_encoding(scene, nodata=None) for scene in task.scenes)
    with pytest.raises(UnreadableSceneError, match="has nodata -9999, and its product says none"):
        composite_tile(task_of(cube, without))


@pytest.mark.parametrize("resampling", ["bilinear", "cubic", "average"])
def test_what_is_not_finite_spoils_no_neighbours(tmp_path, resampling):
    cube = cube_of("MED")
    measurements = tuple(
        m if m.name == "CMASK" else replace(m, dtype="float32", nodata=None, resampling=resampling)
        for m in cube.measurements
    )
    cube = cube.patch(measurements=measurements)
    grid = utm_grid(cube)
    bands = {m.name: np.full(tuple(grid.shape), CLEAR, m.dtype) for m in measurements}
    images = []
    for number, value in enumerate((np.nan, np.inf)):
        for name, band in bands.items():
            if name != "CMASK":
                band[40, 33] = value
        when = datetime(2020, 1, 3, 13, number, tzinfo=UTC)
        images.append(
            composite_tile(task_of(cube, (write_scene(tmp_path, cube, when, grid, bands),)))
        )
    for name in images[0]:
        np.testing.assert_array_equal(images[0][name], images[1][name], name)
