"""Grids against the boxes that the Brazil Data Cube printed, and CRSs under all their names."""

import pyproj
import pytest
import rasterio.crs
from odc.geo.crs import CRS

from odc_bdc import OdcBdcError, bdc_grid
from odc_bdc.grid import BDC_CRS, BDC_PROJ, Grid, clip_geobox, normalise_crs

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


@pytest.mark.parametrize(
    "crs",
    [
        BDC_PROJ,
        BDC_PROJ + " +type=crs",
        BDC_CRS,
        BDC_CRS.to_wkt(),
        BDC_CRS.to_wkt(version="WKT1_GDAL"),
        rasterio.crs.CRS.from_string(BDC_PROJ),
        BDC_PROJ.replace("+ellps=GRS80", "+ellps=GRS80 +towgs84=0,0,0,0,0,0,0"),
        BDC_PROJ.replace("+lat_1=-2 +lat_2=-22", "+lat_1=-22 +lat_2=-2"),
        "EPSG:10857",
        "epsg:10857",
        "EPSG:100001",
        "100001",
    ],
)
def test_all_names_of_the_bdc_crs(crs):
    assert normalise_crs(crs) is BDC_CRS


@pytest.mark.parametrize(
    "crs", ["EPSG:32631", "EPSG:4674", BDC_PROJ.replace("lat_0=-12", "lat_0=0")]
)
def test_other_crs_stays_itself(crs):
    assert normalise_crs(crs) == CRS(crs)


def test_what_is_no_crs_is_named():
    with pytest.raises(OdcBdcError, match="'EPSG:0' is not a CRS"):
        normalise_crs("EPSG:0")


def test_own_grid():
    rd = Grid.from_dict(
        {"name": "RD", "crs": "EPSG:28992", "origin": [0, 625000], "tile_size": [10000, 10000]}
    )
    assert rd.tile_id(155000, 463000) == "015016"
    with pytest.raises(OdcBdcError, match="lacks origin"):
        Grid.from_dict({"name": "RD", "crs": "EPSG:28992", "tile_size": [1, 1]})
