"""Where target pixels lie in a source, against projecting each, and however the target is cut."""

import math

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from made_tasks import TILE, cube_at, utm_grid
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from odc_bdc.building.positions import positions, raster_of
from odc_bdc.building.warping import NEAR, resample
from odc_bdc.grid import BDC_CRS, find_grid, normalise_crs, shipped_grids

SINUSOIDAL = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"
DEGREE = 111320.0
RESAMPLINGS = ("nearest", "bilinear", "cubic", "average", "mode")


def whole(geobox):
    return tuple(slice(0, n) for n in geobox.shape)


def around(target, crs, size, margin=3):
    """Give a grid of another CRS that the target lies wholly in, of pixels of a size in metres."""
    box = target.extent.to_crs(crs).boundingbox
    size = size / DEGREE if crs == "EPSG:4326" else size
    edge = margin * size
    edges = (box.left - edge, box.bottom - edge, box.right + edge, box.top + edge)
    return GeoBox.from_bbox(edges, crs, resolution=size)


def exact(source, target):
    """Give source pixels of the centres of the target's, each projected."""
    column, row = np.meshgrid(np.arange(target.shape[1]) + 0.5, np.arange(target.shape[0]) + 0.5)
    x, y = target.affine * (column, row)
    move = Transformer.from_crs(target.crs.to_wkt(), source.crs.to_wkt(), always_xy=True)
    with np.errstate(invalid="ignore"):  # what has no place is infinite
        return ~source.affine * move.transform(x, y)


def target_in(crs, lon, lat, size, shape=(130, 150)):
    """Give a grid of pixels of a size in metres about a place, on whole pixels of its CRS."""
    x, y = Transformer.from_crs("EPSG:4326", crs.to_wkt(), always_xy=True).transform(lon, lat)
    column, row = (math.floor(v / size) for v in (x, y))
    return GeoBox(shape, Affine(size, 0, (column - 70) * size, 0, -size, (row + 60) * size), crs)


@pytest.mark.parametrize("size", [10, 30, 231.65635826375, 1100, 3300])
@pytest.mark.parametrize(
    ("place", "crs"),
    [
        ((-44.7, -12.3), "EPSG:32723"),
        ((-60.9, 3.1), "EPSG:32620"),
        ((-48.2, -27.6), "EPSG:4326"),
        ((-35.5, -7.5), SINUSOIDAL),
    ],
)
@pytest.mark.parametrize("onto", [BDC_CRS, normalise_crs("EPSG:3857")])
def test_positions_are_within_a_thousandth_and_in_the_right_pixel(place, crs, size, onto):
    target = target_in(onto, *place, size)
    for ratio in (1, 3):
        source = around(target, crs, size / ratio)
        where = positions(source, target, whole(target))
        for found, wanted in zip((where.x, where.y), exact(source, target), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-3)
            # But for those that rounding of coordinates puts on the other side.
            told = np.abs(wanted + NEAR - np.round(wanted + NEAR)) > 1e-8
            np.testing.assert_array_equal(
                np.floor(found + NEAR)[told], np.floor(wanted + NEAR)[told]
            )
            assert told.mean() > 0.999


def test_the_code_of_the_bdc_is_its_crs():
    target = target_in(BDC_CRS, -44.7, -12.3, 30)
    source = around(target, "EPSG:32723", 30)
    coded = GeoBox(target.shape, target.affine, normalise_crs("EPSG:10857"))
    np.testing.assert_array_equal(
        positions(source, coded, whole(coded)).x, positions(source, target, whole(target)).x
    )


@pytest.mark.parametrize("resolution", [10, 20, 30, 55, 64, 231.65635826375])
@pytest.mark.parametrize("name", shipped_grids())
def test_all_tiles_of_a_grid_are_parts_of_one_raster(name, resolution):
    grid = find_grid(name)
    rasters, places = set(), set()
    for column in range(0, 40, 3):
        for row in range(0, 40, 3):
            raster, place = raster_of(grid.geobox(f"{column:03d}{row:03d}", resolution))
            rasters.add(tuple(raster.affine))
            places.add(place)
    assert len(rasters) == 1
    assert len(places) == 14 * 14
    if columns_of(grid, resolution) % 8 == 0:
        views = set()
        for column in range(40):
            tile = grid.geobox(f"{column:03d}003", resolution)
            view = GeoBox((9, 9), tile.affine * Affine.scale(8), tile.crs)
            views.add(tuple(raster_of(view)[0].affine))
        assert len(views) == 1


def columns_of(grid, resolution):
    return grid.geobox("000000", resolution).shape[1]


@pytest.mark.parametrize(("grid", "resolution"), [("BDC_SM_V2", 30), ("BDC_SM_V1", 64)])
@pytest.mark.parametrize("step", [(1, 0), (0, 1), (1, 1)])
def test_neighbouring_tiles_are_equal_where_they_overlap(grid, resolution, step):
    grid, margin = find_grid(grid), 40
    column, row = (29, 19) if grid.origin[0] > 0 else (87, 97)
    one = grid.geobox(f"{column:03d}{row:03d}", resolution)
    rows, columns = one.shape
    other = grid.geobox(f"{column + step[0]:03d}{row + step[1]:03d}", resolution)
    move = step[1] * rows, step[0] * columns
    corner = [m or size // 2 for m, size in zip(move, one.shape, strict=True)]
    wide = [box.pad(margin) for box in (one, other)]
    parts = []
    for box, at in ((wide[0], (0, 0)), (wide[1], move)):
        first = [c - m for c, m in zip(corner, at, strict=True)]
        window = tuple(slice(f, f + 2 * margin) for f in first)
        parts.append((box, window))
    middle = wide[0][parts[0][1]]
    source = around(middle, "EPSG:32723", 20, margin=20)
    pixels = np.random.default_rng(0).integers(0, 9000, tuple(source.shape)).astype("int16")
    found = [positions(source, box, window) for box, window in parts]
    np.testing.assert_array_equal(found[0].x, found[1].x)
    np.testing.assert_array_equal(found[0].y, found[1].y)
    for resampling in RESAMPLINGS:
        made = [np.zeros((2 * margin, 2 * margin), "int16") for _ in found]
        for where, out in zip(found, made, strict=True):
            resample(pixels, (0, 0), where, out, resampling, nodata=None)
        np.testing.assert_array_equal(made[0], made[1])
        assert made[0].std() > 100 or resampling == "average"


TARGET = cube_at(90, 110).geobox(TILE)
GRIDS = {
    "like": utm_grid(cube_at(90, 110), 63.0, 500.0),
    "finer": utm_grid(cube_at(90, 110), 20.0, 500.0),
    "lonlat": around(TARGET, "EPSG:4326", 55),
    "same crs": GeoBox((120, 120), TARGET.affine * Affine.translation(-2.3, -1.1), TARGET.crs),
    "rotated": GeoBox((200, 200), TARGET.affine * Affine.rotation(11), TARGET.crs),
    "of afar": around(target_in(BDC_CRS, -54.0, -12.0, 64), "EPSG:32723", 64),
}


@settings(max_examples=60)
@given(data=st.data(), name=st.sampled_from(sorted(GRIDS)))
def test_a_window_is_a_part_of_the_whole(data, name):
    window = []
    for size in TARGET.shape:
        start = data.draw(st.integers(0, size - 1))
        window.append(slice(start, data.draw(st.integers(start + 1, size))))
    at = positions(GRIDS[name], TARGET, whole(TARGET)).part(tuple(window))
    parts = [
        at,
        positions(GRIDS[name], TARGET, tuple(window)),
        positions(GRIDS[name], TARGET[tuple(window)], whole(TARGET[tuple(window)])),
    ]
    for part in parts[1:]:
        np.testing.assert_array_equal(part.x, at.x)
        np.testing.assert_array_equal(part.y, at.y)
        np.testing.assert_array_equal(part.corners, at.corners)
        assert part.first == at.first


@pytest.mark.parametrize("resampling", RESAMPLINGS)
@pytest.mark.parametrize("name", ["like", "finer", "lonlat", "same crs", "rotated"])
def test_what_is_touched_is_all_that_is_looked_at(name, resampling):
    source = GRIDS[name]
    pixels = np.random.default_rng(0).integers(0, 99, tuple(source.shape)).astype("int16")
    where = positions(source, TARGET, whole(TARGET)).part((slice(20, 71), slice(30, 42)))
    rows, columns = where.touched(resampling, whole(source))
    made = np.full((2, 51, 12), -1, "int16")
    resample(pixels, (0, 0), where, made[0], resampling, nodata=None)
    corner = rows.start, columns.start
    resample(pixels[rows, columns], corner, where, made[1], resampling, nodata=None)
    np.testing.assert_array_equal(made[0], made[1])
    assert (rows.stop - rows.start) * (columns.stop - columns.start) < pixels.size


def test_places_that_a_crs_does_not_know_stay_empty():
    # Beside the globe as it is seen from afar.
    globe = "+proj=ortho +lat_0=0 +lon_0=0 +R=6371007.181 +units=m +no_defs"
    nowhere = GeoBox.from_bbox((7.0e6, 1.0e6, 7.01e6, 1.01e6), globe, resolution=1000)
    source = GeoBox.from_bbox((-180, -90, 180, 90), "EPSG:4326", resolution=1)
    where = positions(source, nowhere, whole(nowhere))
    assert not np.isfinite(where.x).any()
    assert where.touched("bilinear", (slice(0, 9), slice(0, 9))) == (slice(0, 0), slice(0, 0))


def test_blocks_that_are_partly_of_no_place_are_projected_pixel_by_pixel():
    globe = "+proj=ortho +lat_0=0 +lon_0=0 +R=6371007.181 +units=m +no_defs"
    edge = GeoBox.from_bbox((6.2e6, -2e5, 6.4e6, 0), globe, resolution=1000)
    source = GeoBox.from_bbox((-180, -90, 180, 90), "EPSG:4326", resolution=0.05)
    where = positions(source, edge, whole(edge))
    x, y = exact(source, edge)
    assert 0.1 < np.isfinite(x).mean() < 0.95
    known = np.isfinite(x)
    np.testing.assert_array_equal(np.isfinite(where.x), known)
    np.testing.assert_allclose(where.x[known], x[known], rtol=0, atol=1e-3)
    np.testing.assert_allclose(where.y[known], y[known], rtol=0, atol=1e-3)
    # What a pixel spans is that of the corners that have a place.
    out = np.full(tuple(edge.shape), -1, "int16")
    columns = np.arange(source.shape[1], dtype="int16")
    pixels = np.broadcast_to(columns, tuple(source.shape))
    resample(pixels, (0, 0), where, out, "average", nodata=None)
    np.testing.assert_array_equal(out == -1, ~known)


def test_a_pixel_at_180_degrees_is_no_wider_than_others():
    # Longitude leaps within the pixel at a corner of a block.
    pacific = normalise_crs("EPSG:3832")
    edge = Transformer.from_crs("EPSG:4326", "EPSG:3832", always_xy=True).transform(180, -18)[0]
    size = edge / (64 * 52 + 0.6)
    left, top = 64 * 52 - 70, -2_000_000
    target = GeoBox((90, 150), Affine(size, 0, left * size, 0, -size, top), pacific)
    source = GeoBox.from_bbox((-180, -90, 180, 90), "EPSG:4326", resolution=0.01)
    where = positions(source, target, whole(target))
    np.testing.assert_allclose(where.x, exact(source, target)[0], rtol=0, atol=1e-3)
    assert np.ptp(where.x) > 35000
    assert max(where.ratios) < 1
    values = np.broadcast_to(np.arange(18000)[:, np.newaxis], tuple(source.shape)).astype("int16")
    out = np.full(tuple(target.shape), -1, "int16")
    resample(values, (0, 0), where, out, "average", nodata=None)
    assert (np.abs(out - (where.y - 0.5)) <= 0.6).all()


@pytest.mark.parametrize("resampling", RESAMPLINGS)
def test_a_pixel_is_the_same_from_any_window(resampling):
    # In a part of it filters are as wide as on the same grid, elsewhere wider.
    ratio = positions(GRIDS["like"], TARGET, whole(TARGET)).ratios[0]
    source = utm_grid(cube_at(90, 110), 63.0 * ratio / 1.06001, 500.0)
    pixels = np.random.default_rng(1).integers(-99, 9000, tuple(source.shape)).astype("int16")
    where = positions(source, TARGET, whole(TARGET))
    ratios = np.hypot(*where.corners[:2])
    assert ratios.min() < 1.06 < ratios.max()
    made = np.full((2, *TARGET.shape), -1, "int16")
    resample(pixels, (0, 0), where, made[0], resampling, nodata=-50)
    for row in range(0, 90, 25):
        for column in range(0, 110, 25):
            window = slice(row, min(row + 25, 90)), slice(column, min(column + 25, 110))
            part = positions(source, TARGET, window)
            resample(pixels, (0, 0), part, made[1][window], resampling, nodata=-50)
    np.testing.assert_array_equal(made[0], made[1])
