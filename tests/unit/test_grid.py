"""Grids against the boxes that the Brazil Data Cube printed, and tiles by place."""

import json
import pickle
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geom import BoundingBox, Geometry
from odc.geo.gridspec import GridSpec

from odc_bdc import OdcBdcError, bdc_grid
from odc_bdc.grid import (
    BDC_CRS,
    BDC_GRIDS,
    BDC_PROJ,
    clip_geobox,
    find_grid,
    published_tiles,
    shipped_grids,
)

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
real = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"the folder of real scenes, {DATA.parent.name}/data, is not here"
)
GRIDS = st.sampled_from(sorted(shipped_grids().values(), key=lambda grid: grid.name))
INDICES = st.integers(0, 998)

V2 = {
    ("BDC_SM_V2", "001014"): (2729600, 10369600, 2835200, 10475200),
    ("BDC_SM_V2", "020020"): (4736000, 9736000, 4841600, 9841600),
    ("BDC_SM_V2", "008013"): (3468800, 10475200, 3574400, 10580800),
    ("BDC_MD_V2", "003004"): (3257600, 10897600, 3468800, 11108800),
    ("BDC_LG_V2", "003005"): (3891200, 9419200, 4313600, 9841600),
    ("BDC_LG_V2", "007004"): (5580800, 9841600, 6003200, 10264000),
}
V1 = {
    ("BDC_LG_V1", "021027"): (4962615.729, 8338855.431, 5634843.842, 8778231.491),
    ("BDC_LG_V1", "022024"): (5634843.842, 9656983.613, 6307071.955, 10096359.673),
    ("BDC_MD_V1", "044049"): (5634766.538, 9656841.005, 5970885.426, 9876557.557),
    ("BDC_SM_V1", "083099"): (4794446.971, 9656805.354, 4962507.019, 9766667.195),
}


@pytest.mark.parametrize(("tile", "box"), V2.items())
def test_v2_tiles_exactly(tile, box):
    assert bdc_grid(tile[0]).bbox(tile[1]) == box


@pytest.mark.parametrize(("tile", "box"), V1.items())
def test_v1_tiles_to_the_millimetre(tile, box):
    assert bdc_grid(tile[0]).bbox(tile[1]) == pytest.approx(box, abs=6e-4)


@pytest.mark.parametrize(("size", "degrees"), {"SM": (1.5, 1), "MD": (3, 2), "LG": (6, 4)}.items())
def test_v1_grids_are_images_of_tiles_in_degrees(size, degrees):
    grid = bdc_grid(f"BDC_{size}_V1")
    project, (dx, dy) = pyproj.Proj(BDC_PROJ), degrees
    width = project(-54 + dx / 2, 0)[0] - project(-54 - dx / 2, 0)[0]
    height = project(-54, dy / 2)[1] - project(-54, -dy / 2)[1]
    x, y = project(0, 0)
    assert grid.tile_size == pytest.approx((width, height), abs=1e-6)
    assert grid.origin == pytest.approx((x - width * 180 / dx, y + height * 90 / dy), abs=1e-5)


def test_v1_grids_are_the_same_with_each_release_of_proj():
    # Written into the products of cubes that were built with PROJ 9.5.
    assert bdc_grid("BDC_LG_V1").pixel_size(64) == (63.99734512856062, 64.00233949373319)


def test_corners_of_a_v2_tile_in_degrees():
    # The footprint in BDC's own STAC.
    xmin, ymin, xmax, ymax = bdc_grid("BDC_SM_V2").bbox("020020")
    to_degrees = pyproj.Proj(BDC_PROJ)
    assert to_degrees(xmin, ymax, inverse=True) == pytest.approx((-56.474327, -13.399905), abs=1e-6)
    assert to_degrees(xmax, ymin, inverse=True) == pytest.approx((-55.489892, -14.347017), abs=1e-6)


def test_pixels_of_v1_are_not_square():
    grid = bdc_grid("BDC_LG_V1")
    assert tuple(grid.geobox("021027", 64).shape) == (6865, 10504)
    assert grid.pixel_size(64) == pytest.approx((63.99735, 64.00234), abs=5e-6)


@pytest.mark.parametrize(
    ("grid", "resolution", "shape"),
    [("BDC_LG_V2", 64, 6600), ("BDC_LG_V2", 55, 7680), ("BDC_MD_V2", 30, 7040)],
)
def test_pixels_of_v2_tiles(grid, resolution, shape):
    geobox = bdc_grid(grid).geobox("007004", resolution)
    assert tuple(geobox.shape) == (shape, shape)
    assert geobox.crs == BDC_CRS


def test_tiles_of_a_point_and_of_a_box():
    grid = bdc_grid("BDC_LG_V2")
    box = grid.bbox("007004")
    assert grid.tile_id(box[0], box[3]) == "007004"
    assert grid.tile_id(box[2], box[3] - 1) == "008004"
    assert list(grid.tile_ids(box)) == ["007004"]
    wider = (box[0] - 1, box[1] - 1, box[2], box[3])
    assert list(grid.tile_ids(wider)) == ["006004", "007004", "006005", "007005"]


def test_clip_snaps_to_pixels():
    geobox = bdc_grid("BDC_LG_V2").geobox("007004", 64)
    clipped = clip_geobox(geobox, (5580800 + 65, 10264000 - 130, 5580800 + 190, 10264000 - 63))
    assert tuple(clipped.shape) == (3, 2)
    assert tuple(clipped.boundingbox.bbox) == (5580864, 10263808, 5580992, 10264000)
    assert clip_geobox(geobox, (0, 0, 1, 1)) is None


@pytest.mark.parametrize("tile", ["7004", "00700x", "-07004", "0070041", ""])
def test_bad_tile_id_is_named(tile):
    with pytest.raises(OdcBdcError, match="is not a tile id"):
        bdc_grid("BDC_LG_V2").bbox(tile)


def test_unknown_grid_lists_the_known():
    with pytest.raises(OdcBdcError, match="BDC_SM_V1, BDC_MD_V1"):
        bdc_grid("BDC_XL_V2")


@real
def test_all_tiles_of_the_reference_vectors():
    vectors = json.loads((DATA / "bdc_grid_vectors.json").read_text("utf-8"))
    for name, tiles in vectors["V2"]["tiles"].items():
        for tile, box in tiles.items():
            assert bdc_grid(name).bbox(tile) == tuple(box)
    for name, size in vectors["V1"].items():
        grid = bdc_grid(f"{name}_V1")
        assert grid.origin == pytest.approx(size["origin"], abs=1e-6)
        assert grid.tile_size == pytest.approx(size["tile_size"], abs=1e-6)
        for tile, box in size["tiles"].items():
            assert grid.bbox(tile) == pytest.approx(box, abs=1e-6)


@real
@pytest.mark.parametrize(
    ("item", "grid"),
    [
        ("v0.9_CB4_64_16D_STK_v001_021027_2020-07-11_2020-07-26", "BDC_LG_V1"),
        ("v0.9_S2_10-1__S2_10_v001_083099_2018-06-01", "BDC_SM_V1"),
        ("v1.0_RENDERED_S2-16D_V2_020020_20211219", "BDC_SM_V2"),
    ],
)
def test_corners_of_items_that_the_bdc_published(item, grid):
    doc = json.loads((DATA / "stac_items_bdc" / f"{item}.json").read_text("utf-8"))
    tile = doc["properties"].get("bdc:tile") or doc["properties"]["bdc:tiles"][0]
    xmin, ymin, xmax, ymax = bdc_grid(grid).bbox(tile)
    to_degrees = pyproj.Proj(BDC_PROJ)
    ours = [to_degrees(x, y, inverse=True) for x in (xmin, xmax) for y in (ymin, ymax)]
    theirs = doc["geometry"]["coordinates"][0][:-1]
    assert np.array(sorted(ours)) == pytest.approx(np.array(sorted(theirs)), abs=2e-6)


@real
def test_pixels_of_a_real_v1_file_are_pixels_of_the_grid():
    path = next((DATA / "CB4_64_16D_STK-1" / "v001" / "022024").rglob("*_BAND15.tif"))
    whole = bdc_grid("BDC_LG_V1").geobox("022024", 64)
    with rasterio.open(path) as src:
        assert (src.transform.a, -src.transform.e) == pytest.approx(
            bdc_grid("BDC_LG_V1").pixel_size(64), abs=1e-9
        )
        corner = ~whole.affine * (src.transform.c, src.transform.f)
    assert corner == pytest.approx((2500, 5000), abs=1e-6)


@settings(deadline=None)
@given(GRIDS, INDICES, INDICES)
def test_neighbours_share_their_edge_to_the_last_bit(grid, h, v):
    here = grid.bbox(f"{h:03d}{v:03d}")
    assert grid.bbox(f"{h + 1:03d}{v:03d}")[0] == here[2]
    assert grid.bbox(f"{h:03d}{v + 1:03d}")[3] == here[1]


@settings(deadline=None)
@given(GRIDS, INDICES, INDICES, st.floats(0, 1, exclude_max=True), st.floats(0, 1))
def test_a_point_of_a_tile_lies_in_that_tile(grid, h, v, right, down):
    tile = f"{h:03d}{v:03d}"
    xmin, ymin, xmax, ymax = grid.bbox(tile)
    x, y = xmin + right * (xmax - xmin), ymax - down * (ymax - ymin)
    if x < xmax and y > ymin:
        assert grid.tile_id(x, y) == tile
    assert grid.tile_id(xmin, ymax) == tile


@settings(deadline=None)
@given(GRIDS, INDICES, INDICES)
def test_the_geometry_of_a_tile_gives_that_tile(grid, h, v):
    tile = f"{h:03d}{v:03d}"
    box = grid.bbox(tile)
    assert grid.tile_ids(box) == [tile]
    assert grid.tile_ids(shapely.box(*box), grid.crs) == [tile]
    assert grid.tile_ids(Geometry(shapely.box(*box), grid.odc_crs)) == [tile]


@settings(deadline=None)
@given(
    st.sampled_from(BDC_GRIDS),
    st.lists(
        st.tuples(st.floats(-70, -35), st.floats(-30, 4)), min_size=3, max_size=8, unique=True
    ),
)
def test_tiles_cover_the_area_and_each_holds_some_of_it(name, points):
    grid = bdc_grid(name)
    to_metres = pyproj.Proj(BDC_PROJ)
    area = shapely.Polygon([to_metres(*p) for p in points]).convex_hull
    if area.area < 1:
        return
    tiles = {tile: shapely.box(*grid.bbox(tile)) for tile in grid.tile_ids(area, BDC_CRS)}
    shared = [area.intersection(box).area for box in tiles.values()]
    assert min(shared) > 0
    # What is thinner than a millionth of a tile counts for rounding.
    assert sum(shared) == pytest.approx(area.area, rel=1e-6, abs=4e-6 * area.length * 7e5)
    assert list(tiles) == sorted(tiles, key=lambda t: (t[3:], t[:3]))


def test_it_is_the_geometry_that_counts_not_its_box():
    grid = bdc_grid("BDC_SM_V2")
    x, y, side = 4736000, 9736000, 105600
    corner = shapely.Polygon([(x, y), (x + 2 * side, y), (x, y - 2 * side)])
    assert grid.tile_ids(corner, "EPSG:10857") == ["020021", "021021", "020022"]
    ring = shapely.box(x, y - 3 * side, x + 3 * side, y).difference(
        shapely.box(x + side, y - 2 * side, x + 2 * side, y - side)
    )
    assert "021022" not in grid.tile_ids(ring, BDC_CRS)
    assert len(grid.tile_ids(ring, BDC_CRS)) == 8


def test_a_parallel_is_a_curve():
    # By its four corners this box would miss the tiles that the bend of its edge reaches.
    grid, box = bdc_grid("BDC_SM_V2"), (-74, -12, -34, -11.9)
    to_metres = pyproj.Proj(BDC_PROJ)
    corners = shapely.Polygon(
        [to_metres(box[i], box[j]) for i, j in ((0, 1), (2, 1), (2, 3), (0, 3))]
    )
    middle = grid.tile_id(*to_metres(-54, -11.95))
    assert middle in grid.tile_ids(box, "EPSG:4326")
    assert middle not in grid.tile_ids(corners, BDC_CRS)
    for lon in np.arange(-73.95, -34, 0.5):
        assert grid.tile_id(*to_metres(lon, -11.95)) in grid.tile_ids(box, "EPSG:4326")


def test_all_ways_to_say_the_same_area():
    grid = bdc_grid("BDC_LG_V2")
    box = (-47.0, -12.0, -46.0, -11.0)
    polygon = shapely.box(*box)
    doc = shapely.geometry.mapping(polygon)
    feature = {"type": "Feature", "properties": None, "geometry": doc}
    nothing = {"type": "Feature", "properties": {}, "geometry": None}
    old = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
    areas = [
        polygon,
        doc,
        feature,
        {"type": "FeatureCollection", "features": [feature, nothing]},
        {"type": "FeatureCollection", "crs": old, "features": [feature]},
        BoundingBox(*box, crs="EPSG:4326"),
        Geometry(polygon, "EPSG:4326"),
        shapely.MultiPolygon([polygon]),
    ]
    for area in areas:
        assert grid.tile_ids(area) == ["007004"]
    for crs in ("EPSG:4326", 4674, "OGC:CRS84"):
        assert grid.tile_ids(np.array(box), crs) == ["007004"]
        assert grid.tile_ids(list(box), crs) == ["007004"]
    metres = {"type": "Polygon", "coordinates": [[[5.6e6, 1e7], [5.7e6, 1e7], [5.6e6, 1.01e7]]]}
    metres["coordinates"][0].append(metres["coordinates"][0][0])
    declared = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::10857"}}
    assert grid.tile_ids(metres, "EPSG:10857") == ["007004"]
    assert grid.tile_ids({**metres, "crs": declared}) == ["007004"]
    bowtie = shapely.Polygon([(-47, -12), (-46, -11), (-46, -12), (-47, -11)])
    assert grid.tile_ids(bowtie) == ["007004"]


def test_a_continent_is_not_torn():
    # From the Pacific to Greenwich; column 0 of the grid begins west of Peru.
    tiles = bdc_grid("BDC_LG_V2").tile_ids((-100, -60, 0, 30), "EPSG:4326")
    assert set(published_tiles("BDC_LG_V2")) <= set(tiles)


def test_a_utm_box_in_its_own_crs():
    # UTM 23S; its corners as PROJ places them lie in one tile of 422 km.
    assert bdc_grid("BDC_LG_V2").tile_ids((2e5, 8.65e6, 4e5, 8.75e6), "EPSG:31983") == ["007004"]


def test_points_and_lines_count_for_all_that_they_touch():
    grid = bdc_grid("BDC_LG_V2")
    xmin, ymin, xmax, ymax = grid.bbox("007004")
    assert grid.tile_ids(shapely.Point(xmin + 1, ymin + 1), BDC_CRS) == ["007004"]
    corner = ["006003", "007003", "006004", "007004"]
    assert grid.tile_ids(shapely.Point(xmin, ymax), BDC_CRS) == corner
    line = shapely.LineString([(xmin + 1, ymax - 1), (xmax + 1, ymax - 1)])
    assert grid.tile_ids(line, BDC_CRS) == ["007004", "008004"]


def test_overlaps_that_are_rounding_do_not_count():
    grid = bdc_grid("BDC_LG_V1")
    xmin, ymin, xmax, ymax = grid.bbox("021027")
    assert grid.tile_ids((xmin - 0.1, ymin - 0.1, xmax + 0.1, ymax + 0.1)) == ["021027"]
    assert len(grid.tile_ids((xmin - 1, ymin - 1, xmax + 1, ymax + 1))) == 9


def test_where_no_column_and_row_is_there_is_no_tile():
    grid = bdc_grid("BDC_LG_V2")
    assert grid.tile_ids((0, 0, 1e5, 1e5)) == []
    x0, y0 = grid.origin
    assert grid.tile_ids((x0 - 1e6, y0 - 1, x0 + 1, y0 + 1e6)) == ["000000"]


@pytest.mark.parametrize(
    ("area", "crs", "said"),
    [
        ((1, 2, 1, 4), None, "xmin, xmax are 1, 1, but the first must be smaller"),
        ((1, 4, 2, 3), None, "ymin, ymax are 4, 3"),
        ((1, 2, 3), None, "is not a bbox: it has four numbers"),
        ((1, 2, 3, "4"), None, "is not a bbox"),
        ((1, 2, 3, float("nan")), None, "not all four are finite"),
        ((-200, 0, -190, 1), "EPSG:4326", "longitudes -200 to -190, .* longitude comes first"),
        (shapely.box(5e6, 9e6, 6e6, 1e7), None, "are not on Earth"),
        (shapely.Polygon(), None, "the area is empty"),
        (shapely.Point(float("inf"), 0), None, "not finite"),
        ({"type": "FeatureCollection", "features": []}, None, "the area is empty"),
        ({"type": "FeatureCollection", "features": [1]}, None, "not a list of features"),
        ({"type": "Rectangle", "coordinates": []}, None, "type 'Rectangle' cannot be read"),
        ({"type": "Feature", "geometry": 5}, None, "cannot be read"),
        ({"type": "Point", "coordinates": [0, 0], "crs": {}}, None, "names no CRS"),
        ("007004", None, "'007004' is not an area"),
        (None, None, "'None' is not an area"),
        ((1, 2, 3, 4), "EPSG:0", "'EPSG:0' is not a CRS"),
        ((1, -91, 3, 4), "EPSG:4674", "latitudes -91 to 4"),
        ((100, -10, 140, 10), "EPSG:4326", "far side of the Earth"),
    ],
)
def test_what_is_no_area_is_named(area, crs, said):
    with pytest.raises(OdcBdcError, match=said):
        bdc_grid("BDC_LG_V2").tile_ids(area, crs)


@pytest.mark.parametrize("point", [(0, 0), (float("nan"), 1e7), (5e6, float("inf"))])
def test_no_tile_at_such_a_point(point):
    with pytest.raises(OdcBdcError, match=r"lies outside of grid BDC_LG_V2|must be finite"):
        bdc_grid("BDC_LG_V2").tile_id(*point)


@settings(deadline=None)
@given(GRIDS, INDICES, INDICES)
def test_gridspec_has_the_very_same_pixels(grid, h, v):
    resolution = grid.tile_size[0] / 6600.4
    spec = grid.gridspec(resolution)
    assert isinstance(spec, GridSpec)
    assert spec[h, v] == grid.geobox(f"{h:03d}{v:03d}", resolution)
    assert spec.tile_geobox((h, v)).affine == spec[h, v].affine


def test_gridspec_counts_rows_downwards():
    grid = bdc_grid("BDC_LG_V1")
    spec = grid.gridspec(64)
    assert spec.crs == BDC_CRS
    assert tuple(spec.tile_shape) == (6865, 10504)
    box = grid.bbox("021027")
    assert spec.pt2idx(box[0] + 1, box[3] - 1).xy == (21, 27)
    found = dict(spec.tiles(BoundingBox(*box, crs=BDC_CRS).buffered(-1)))
    assert found == {(21, 27): grid.geobox("021027", 64)}
    assert pickle.loads(pickle.dumps(spec))[21, 27] == spec[21, 27]  # noqa: S301 (our own)
    with pytest.raises(OdcBdcError, match="column -1, row 0 lies outside of grid BDC_LG_V1"):
        spec[-1, 0]


def test_published_tiles_are_those_of_the_bdc():
    tiles = published_tiles("BDC_SM_V2")
    # Counted and read off in the list that the BDC's software carries.
    assert len(tiles) == len(set(tiles)) == 871
    assert {int(t[:3]) for t in tiles} >= {1, 48}
    assert min(tiles) == "001014"
    assert max(tiles) == "048006"
    assert {"020020", "008013", "015000", "045010", "047028", "023041"} <= set(tiles)
    assert not {"000014", "044010", "049006", "017000"} & set(tiles)
    assert list(tiles) == sorted(tiles, key=lambda t: (t[3:], t[:3]))


@pytest.mark.parametrize(("name", "number"), [("BDC_MD_V2", 242), ("BDC_LG_V2", 75)])
def test_coarser_published_tiles_hold_the_finer(name, number):
    grid, small = bdc_grid(name), bdc_grid("BDC_SM_V2")
    tiles = published_tiles(name)
    assert len(tiles) == number
    centres = [
        ((a + c) / 2, (b + d) / 2) for a, b, c, d in map(small.bbox, published_tiles(small.name))
    ]
    assert {grid.tile_id(*xy) for xy in centres} == set(tiles)


def test_published_tiles_cover_brazil():
    outline = Path(__file__).parents[2] / "product_defs" / "grids" / "brazil.geojson"
    brazil = json.loads(outline.read_text("utf-8"))
    for name in ("BDC_SM_V2", "BDC_MD_V2", "BDC_LG_V2"):
        assert set(bdc_grid(name).tile_ids(brazil)) <= set(published_tiles(name))


def test_what_is_published_of_other_grids_is_not_known():
    for name in ("BDC_LG_V1", "RD_NEW_10KM"):
        with pytest.raises(OdcBdcError, match="are not known, only those of BDC_SM_V2"):
            published_tiles(name)


def test_grids_by_name():
    assert tuple(shipped_grids())[:6] == BDC_GRIDS
    assert find_grid("BDC_LG_V2") is bdc_grid("BDC_LG_V2")
    with pytest.raises(OdcBdcError, match=r"no known grid and no .yaml file; known: BDC_SM_V1"):
        find_grid("RD")


def test_dutch_grid():
    rd = find_grid("RD_NEW_10KM")
    # The tower in Amersfoort is the origin of the RD before its shift: 155 000, 463 000.
    assert rd.tile_id(155000, 463000) == "015016"
    assert "015016" in rd.tile_ids(shapely.Point(5.38720621, 52.15517440))
    assert len(rd.tile_ids((3.31, 50.75, 7.23, 53.56), "EPSG:4326")) > 600
    assert all(int(t[:3]) < 30 for t in rd.tile_ids((3.31, 50.75, 7.1, 53.5), "EPSG:4326"))
