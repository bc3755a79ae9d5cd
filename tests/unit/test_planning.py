"""Planning in pure functions: where scenes lie, what there is of a plan, coarse images of tiles."""

import json
import pickle
import uuid
from collections import Counter
from datetime import UTC, date, datetime

import fiona
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geom import Geometry
from PIL import Image

from odc_bdc import find_cube
from odc_bdc.building.overview import overview_strips
from odc_bdc.building.pruning import Kind, Leftover
from odc_bdc.cli.status_picture import COLOURS, cell_size, write_status_picture
from odc_bdc.cog import write_cog
from odc_bdc.errors import InvalidValueError, SceneError
from odc_bdc.grid import BDC_CRS, bdc_grid, tiles_from_file
from odc_bdc.indexing.known import KnownImage
from odc_bdc.planning import (
    CompositeTask,
    EmptyPeriod,
    OverviewTask,
    OverviewTile,
    PeriodStatus,
    Plan,
    SceneRef,
    State,
    overview_factor,
    overview_product,
    status_of,
)
from odc_bdc.planning.footprints import areas_in, footprint, tiles_near, tiles_with_scenes

CUBE = find_cube("CB4_64_16D_MED_v1")
LG = bdc_grid("BDC_LG_V2")
PERIODS = CUBE.timeline.periods(date(2020, 1, 1), date(2020, 2, 28))
TILES = ("007004", "008004", "007005")
CERRADO = {"type": "Polygon", "coordinates": [[[-47, -12], [-46, -12], [-46, -11], [-47, -12]]]}


def scene(label, when=datetime(2020, 1, 3, 13, tzinfo=UTC)):
    return SceneRef(uuid.uuid5(uuid.NAMESPACE_URL, label), label, when, None, "P", ())


def document(area, crs):
    projection = {"spatial_reference": crs, "valid_data": shapely.geometry.mapping(area)}
    return {"id": "x", "grid_spatial": {"projection": projection}}


# Where scenes lie


@st.composite
def areas(draw):
    """Areas within a few tiles of the grid, some crossing themselves."""
    corner = st.floats(5_200_000, 6_400_000), st.floats(9_400_000, 10_300_000)
    points = draw(st.lists(st.tuples(*corner), min_size=3, max_size=5, unique=True))
    return shapely.Polygon(points)


@settings(max_examples=60)
@given(st.lists(areas(), min_size=1, max_size=6))
def test_scenes_are_on_the_tiles_that_they_share_half_a_pixel_with(given_areas):
    found = areas_in(BDC_CRS, [footprint(document(a, BDC_CRS.to_wkt())) for a in given_areas])
    tiles = tiles_near(CUBE, found)
    pairs = tiles_with_scenes(CUBE, tiles, found)
    assert list(zip(pairs[1].tolist(), pairs[0].tolist(), strict=True)) == sorted(
        (t, s)
        for t, tile in enumerate(tiles)
        for s, area in enumerate(given_areas)
        if shapely.make_valid(area).intersection(shapely.box(*LG.bbox(tile))).area > 64 * 64 / 2
    )
    # No tile further away has a part of one.
    everywhere = LG.tile_ids((4_000_000, 8_500_000, 7_500_000, 11_500_000))
    far = sorted(set(everywhere) - set(tiles))
    assert len(tiles_with_scenes(CUBE, far, found)[0]) == 0


def test_tiles_end_at_the_extent_of_the_cube():
    west, south, east, north = LG.bbox("007004")
    clipped = CUBE.patch(extent=(east - 640, south, east + 640, south + 640))
    beside = shapely.box(west, south, east - 700, north)
    inside = shapely.box(east - 650, south, east, south + 10)
    found = np.array([beside, inside], dtype=object)
    assert tiles_near(clipped, found) == ["007004"]
    scenes, tiles, shares = tiles_with_scenes(clipped, ["007004"], found)
    assert (scenes.tolist(), tiles.tolist()) == ([1], [0])
    geobox = clipped.geobox("007004")
    tile = shapely.box(*geobox.boundingbox.bbox)
    assert shares.tolist() == pytest.approx([inside.intersection(tile).area / tile.area])


def test_footprints_of_other_crss_follow_their_edges():
    """Against odc.geo, which puts points on the edges as well; a straight line would be off."""
    box = shapely.box(300_000, 8_700_000, 500_000, 8_900_000)
    (found,) = areas_in(BDC_CRS, [footprint(document(box, "EPSG:32723"))])
    wanted = Geometry(box, "EPSG:32723").to_crs(BDC_CRS, resolution=1000).geom
    assert found.symmetric_difference(wanted).area / wanted.area < 1e-5
    coarse = Geometry(box, "EPSG:32723").to_crs(BDC_CRS).geom
    assert found.symmetric_difference(coarse).area > 5 * found.symmetric_difference(wanted).area


def test_footprint_by_corners_and_none():
    corners = {"ll": (0, 0), "lr": (2, 0), "ur": (2, 1), "ul": (0, 1)}
    points = {k: {"x": x, "y": y} for k, (x, y) in corners.items()}
    doc = {"id": "x", "grid_spatial": {"projection": {"geo_ref_points": points}}}
    doc["grid_spatial"]["projection"]["spatial_reference"] = "EPSG:32723"
    assert footprint(doc).area.equals(shapely.box(0, 0, 2, 1))
    for broken in ({"id": "x"}, {"id": "x", "grid_spatial": {"projection": {"valid_data": 3}}}):
        with pytest.raises(SceneError, match="dataset x does not say where it lies"):
            footprint(broken)


def test_what_follows_from_a_task_is_kept_and_goes_along():
    task = CompositeTask(CUBE, "007004", PERIODS[0], (scene("a"), scene("b")))
    assert task.id is task.id
    other = pickle.loads(pickle.dumps(task))  # noqa: S301
    assert (other, other.id, other.geobox) == (task, task.id, task.geobox)
    assert hash(other) == hash(task)


# Areas out of files


@pytest.mark.parametrize(("suffix", "driver"), [(".gpkg", "GPKG"), (".shp", "ESRI Shapefile")])
def test_tiles_of_files_that_gdal_reads(tmp_path, suffix, driver):
    path = tmp_path / f"biomes{suffix}"
    schema = {"geometry": "Polygon", "properties": {"bioma": "str", "code": "int"}}
    boxes = {"Cerrado": LG.bbox("007004"), "Caatinga": LG.bbox("009003")}
    with fiona.open(path, "w", driver=driver, schema=schema, crs_wkt=BDC_CRS.to_wkt()) as sink:
        for number, (name, (xmin, ymin, xmax, ymax)) in enumerate(boxes.items()):
            area = shapely.box(xmin + 9, ymin + 9, xmax - 9, ymax - 9)
            sink.write(
                {
                    "geometry": shapely.geometry.mapping(area),
                    "properties": {"bioma": name, "code": number},
                }
            )
    assert tiles_from_file(path, LG) == ["009003", "007004"]
    assert tiles_from_file(path, LG, name="cerrado") == ["007004"]
    with pytest.raises(InvalidValueError, match="there are Caatinga, Cerrado"):
        tiles_from_file(path, LG, name="Pampa")


def test_layers_are_named(tmp_path):
    path = tmp_path / "two.gpkg"
    schema = {"geometry": "Polygon", "properties": {}}
    for layer in ("a", "b"):
        with fiona.open(path, "w", "GPKG", schema, "EPSG:4326", layer=layer) as sink:
            sink.write({"geometry": CERRADO, "properties": {}})
    with pytest.raises(InvalidValueError, match="has the layers a, b; name one behind the file"):
        tiles_from_file(path, LG)
    assert tiles_from_file(path, LG, name="b") == LG.tile_ids(CERRADO)


def test_files_that_are_none(tmp_path):
    text = tmp_path / "a.gpkg"
    text.write_text("no database")
    with pytest.raises(InvalidValueError, match=r"a\.gpkg: cannot be read as a file of vectors"):
        tiles_from_file(text, LG)
    with pytest.raises(InvalidValueError, match="no such file"):
        tiles_from_file(tmp_path / "none.shp", LG)
    empty = tmp_path / "a.geojson"
    empty.write_text(json.dumps({"type": "Feature", "properties": None, "geometry": CERRADO}))
    with pytest.raises(InvalidValueError, match="there are no texts"):
        tiles_from_file(empty, LG, name="x")


# What there is of a plan


@st.composite
def plans(draw):
    entries, images, failures = [], [], {}
    for tile in TILES:
        for period in PERIODS:
            kind = draw(st.sampled_from(["task", "empty", "none"]))
            if kind == "none":
                continue
            if kind == "task":
                entry = CompositeTask(CUBE, tile, period, (scene(tile + period.label),))
                if draw(st.booleans()):
                    failures[entry.id] = "disk full"
                own = draw(st.sampled_from(["no", "own", "skipped", "live"]))
                if own != "no":
                    made = entry.id if own == "own" else uuid.uuid4()
                    how = (own == "skipped", own == "live", draw(st.sampled_from(["0", "2-0"])))
                    images.append(KnownImage(made, tile, period.start, entry.id, *how))
            else:
                entry = EmptyPeriod(CUBE, tile, period, "no scene")
            entries.append(entry)
            if draw(st.booleans()):
                old = uuid.uuid4()
                images.append(KnownImage(old, tile, period.start, old))
    left = draw(st.booleans())
    if left:
        other = uuid.uuid4()
        images.append(KnownImage(other, "009009", PERIODS[0].start, other))
    plan = Plan(
        CUBE, tuple(PERIODS),
        tuple(e for e in entries if isinstance(e, CompositeTask)),
        tuple(e for e in entries if isinstance(e, EmptyPeriod)),
        is_whole=draw(st.booleans()),
    )  # fmt: skip
    return plan, draw(st.permutations(images)), failures, left


@given(plans())
def test_states_follow_from_images_and_failures(case):
    plan, images, failures, left = case
    found = {(s.tile_id, s.period): s for s in status_of(plan, images, failures)}
    assert list(found) == sorted(found)
    assert len(found) == len(plan.entries) + (left and plan.is_whole)
    for entry in plan.entries:
        status = found[entry.tile_id, entry.period]
        there = [i for i in images if (i.tile, i.start) == (entry.tile_id, entry.period.start)]
        if isinstance(entry, EmptyPeriod):
            assert status.state == ("stale" if there else "empty")
            assert status.remark == "no scene"
        elif mine := [i for i in there if i.planned == entry.id]:
            (image,) = mine
            assert (status.state, status.image) == ("live" if image.live else "done", image.id)
            failed = image.live and entry.id in failures
            old = image.live and image.fingerprint == "0"
            assert (status.remark is not None) == (image.skipped or failed or old)
        elif entry.id in failures:
            assert (status.state, status.remark) == ("failed", "disk full")
        else:
            assert status.state == ("stale" if there else "missing")
        assert (status.image is None) == (not there)
        assert json.loads(json.dumps(status.to_dict()))["status"] == status.state
    if left and plan.is_whole:
        assert found["009009", PERIODS[0]].state == "stale"


@pytest.mark.parametrize(("tiles", "years"), [(1, 1), (40, 1), (200, 3)])
def test_picture_has_a_cell_for_each_tile_and_period(tmp_path, tiles, years):
    periods = CUBE.timeline.periods(date(2020, 1, 1), date(2019 + years, 12, 31))
    kinds = list(State)
    found = [
        PeriodStatus(CUBE.name, f"{t:06d}", p, kinds[(3 * t + i) % len(kinds)])
        for t in range(tiles)
        for i, p in enumerate(periods)
    ]
    path = tmp_path / "status.png"
    write_status_picture(CUBE.name, found, path)
    pixels = np.asarray(Image.open(path).convert("RGB"))
    high, wide = cell_size(tiles, len(periods))
    # The cells stand 70 pixels from the left and 45 from the bottom.
    top = pixels.shape[0] - 45 - high * tiles
    names = {tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)): s for s, c in COLOURS.items()}
    for status in found:
        row, column = int(status.tile_id), periods.index(status.period)
        y, x = top + row * high + high // 2, 70 + column * wide + wide // 2
        assert names.get(tuple(pixels[y, x].tolist())) == status.state, (row, column)
    again = tmp_path / "again.png"
    write_status_picture(CUBE.name, found, again)
    assert again.read_bytes() == path.read_bytes()


def test_leftover_as_a_line():
    one = Leftover(Kind.ORPHAN, "C", uuid.UUID(int=1), None, 3, "why", "in use")
    assert one.to_dict() == {
        "kind": "orphan", "product": "C", "id": str(uuid.UUID(int=1)), "path": None, "bytes": 3,
        "reason": "why", "kept": "in use",
    }  # fmt: skip


# Coarse images


def overview_of(places, folder, factor, measurement, pixels):
    """Write tiles of random pixels; give the task of their overview."""
    made = []
    grid, cube = CUBE.grid, CUBE.patch(indices=(), auxiliary=())
    px, _ = grid.pixel_size(cube.resolution)
    base = grid.geobox("007004", cube.resolution)
    for number, ((row, column), array) in enumerate(zip(places, pixels, strict=True)):
        path = folder / f"{number}_{factor}.tif"
        geobox = base.translate_pix(column, row)[: array.shape[0], : array.shape[1]]
        write_cog(path, array, geobox, nodata=measurement.missing)
        left, top = geobox.affine.c, geobox.affine.f
        made.append(
            OverviewTile(
                uuid.UUID(int=number), f"{number:06d}",
                round((grid.origin[1] - top) / px), round((left - grid.origin[0]) / px),
                array.shape, ((measurement.name, path.as_uri()),),
            )
        )  # fmt: skip
    return OverviewTask(cube, factor, PERIODS[0], tuple(made))


@pytest.mark.parametrize("shape", [(2048, 1200), (1031, 2049)])
@pytest.mark.parametrize("factor", [2, 3, 4, 10, 16, 40])
def test_overview_is_every_nth_pixel_of_the_mosaic(tmp_path, shape, factor):
    """With overviews in the files that have these pixels, and with others; tiles side by side."""
    measurement = CUBE.bands[0]
    random = np.random.default_rng(factor)
    pixels = [random.integers(1, 10_000, shape, dtype=np.int16) for _ in range(3)]
    places = [(0, 0), (0, shape[1]), (shape[0] + 64, 16)]
    task = overview_of(places, tmp_path, factor, measurement, pixels)
    strips = list(overview_strips(task, measurement))
    assert [rows.start for rows, _ in strips] == list(range(0, task.geobox.shape[0], 512))
    found = np.concatenate([strip for _, strip in strips])
    (top, left), (rows, columns) = task.corner, task.geobox.shape
    whole = np.full((rows * factor, columns * factor), measurement.missing, np.int16)
    for tile, array in zip(task.tiles, pixels, strict=True):
        r, c = tile.row - top * factor, tile.column - left * factor
        whole[r : r + shape[0], c : c + shape[1]] = array
    np.testing.assert_array_equal(found, whole[::factor, ::factor])


def test_resolution_is_a_multiple_of_the_cube_own():
    assert overview_factor(CUBE, 640) == 10
    for wrong in (64, 100, 0, -640, float("nan"), float("inf")):
        with pytest.raises(InvalidValueError, match="whole multiple of 64"):
            overview_factor(CUBE, wrong)


def test_overview_of_other_tiles_is_another(tmp_path):
    pixels = [np.ones((8, 8), np.int16)] * 2
    task = overview_of([(0, 0), (8, 8)], tmp_path, 2, CUBE.bands[0], pixels)
    fewer = OverviewTask(task.cube, 2, task.period, task.tiles[:1])
    other = OverviewTask(task.cube, 4, task.period, task.tiles)
    turned = OverviewTask(task.cube, 2, task.period, task.tiles[::-1])
    assert Counter(t.id for t in (task, fewer, other, turned)).most_common(1) == [(task.id, 2)]
    assert overview_product(CUBE, 10)["load"]["resolution"] == {"x": 640, "y": -640}
    assert overview_product(CUBE, 10)["name"] == "CB4_64_16D_MED_v1_overview"
