"""The configuration of datacube-ows that cubes and products give."""

from __future__ import annotations

import pytest

from odc_bdc.cube import shipped_cubes
from odc_bdc.errors import InvalidValueError
from odc_bdc.grid import BDC_CRS, bdc_grid
from odc_bdc.ows import SceneLayer, Service, build_config
from odc_bdc.ows.styles import stretch, styles
from odc_bdc.ows.tiles import BDC, CRS84, TILE_MATRIX_SETS, WEB_MERCATOR
from odc_bdc.product import product_document

CUBES = shipped_cubes()
SCENES = SceneLayer(product_document("CB4_WFI_L4_SR_1"), "solar", "CBERS-4", "AWFI")


@pytest.fixture
def config():
    return build_config(tuple(CUBES.values()), (SCENES,))


def layers(config):
    return {layer["name"]: layer for folder in config["layers"] for layer in folder["layers"]}


def test_datacube_ows_accepts_the_configuration_of_all_shipped_cubes(config, caplog):
    from datacube_ows.ows_configuration import OWSConfig

    ows = OWSConfig(refresh=True, cfg=config)
    assert set(ows.layer_index) == {*CUBES, "CB4_WFI_L4_SR_1"}
    assert [r.getMessage() for r in caplog.records if r.levelname != "INFO"] == []
    assert (ows.wms, ows.wmts, ows.wcs) == (True, True, True)


def test_each_layer_has_the_bands_of_its_product_by_their_own_names_first(config):
    for name, cube in CUBES.items():
        bands = layers(config)[name]["bands"]
        assert list(bands) == [m.name for m in cube.outputs]
        assert all(labels[0] == band for band, labels in bands.items())
    assert layers(config)["CB4_64_16D_STK_v1"]["bands"]["BAND16"] == ["BAND16", "nir"]


def test_the_own_crs_of_each_layer_is_published(config):
    published = config["global"]["published_CRSs"]
    assert all(layer["native_crs"] in published for layer in layers(config).values())
    assert published["EPSG:10857"] == {"alias": str(BDC_CRS)}
    assert published["EPSG:32631"]["vertical_coord_first"] is False
    assert published["EPSG:4674"]["vertical_coord_first"] is True
    assert published["OGC:CRS84"]["vertical_coord_first"] is False


def test_composites_go_by_their_start_and_scenes_by_local_date(config):
    found = layers(config)
    assert {found[name]["time_resolution"] for name in CUBES} == {"summary"}
    assert found["CB4_WFI_L4_SR_1"]["time_resolution"] == "solar"


def test_titles_and_addresses_are_those_of_the_service():
    service = Service(title="Maps", urls=("https://maps.example.org", "http://inside"))
    config = build_config((), (), service=service)
    assert config["global"]["title"] == "Maps"
    assert config["global"]["allowed_urls"] == ["https://maps.example.org", "http://inside"]


def test_a_product_without_load_hints_cannot_be_a_layer():
    product = {k: v for k, v in SCENES.product.items() if k != "load"}
    with pytest.raises(InvalidValueError, match="CB4_WFI_L4_SR_1: `load` must give crs and"):
        build_config((), (SceneLayer(product),))


def test_styles_need_their_bands():
    def bands(*aliases):
        return [{"name": a.upper(), "dtype": "int16", "aliases": [a]} for a in aliases]

    assert [s["name"] for s in styles(bands("red", "nir"))] == ["ndvi"]
    assert [s["name"] for s in styles(bands("red", "green", "blue"))] == ["true_colour"]
    assert [s["name"] for s in styles(bands("elevation"))] == ["grey"]


@pytest.mark.parametrize(
    ("band", "name", "expected"),
    [
        ({"dtype": "int16", "scale_factor": 0.0001}, "red", (0, 3000)),
        ({"dtype": "int16", "scale_factor": 0.0001}, "nir", (0, 5000)),
        ({"dtype": "uint16", "scale_factor": 0.0001, "add_offset": -0.1}, "red", (1000, 4000)),
        ({"dtype": "uint16", "scale_factor": 2e-5, "add_offset": -0.1}, "green", (5000, 20000)),
        ({"dtype": "uint16"}, "green", (0, 3000)),
        ({"dtype": "uint8"}, "grey", (0, 255)),
    ],
)
def test_a_stretch_covers_the_same_reflectances_whatever_the_scale(band, name, expected):
    assert stretch(band, name) == pytest.approx(expected)


def test_the_first_level_of_the_bdc_tiles_holds_all_grids_and_pixels_match():
    left, bottom, right, top = BDC.bbox(0, 0, 0)
    for name, corner in (("BDC_LG_V2", "000000"), ("BDC_LG_V2", "012010"), ("BDC_LG_V1", "022024")):
        xmin, ymin, xmax, ymax = bdc_grid(name).bbox(corner)
        assert left <= xmin < xmax <= right
        assert bottom <= ymin < ymax <= top
    tile = bdc_grid("BDC_LG_V2").bbox("007004")
    level = BDC.level_at(64)
    assert BDC.pixel / 2**level == 64
    assert (tile[0] - left) % 64 == (top - tile[3]) % 64 == 0


def test_levels_and_tiles_are_those_of_the_web():
    # OpenStreetMap's formula for Brasilia at zoom 10.
    row_column = WEB_MERCATOR.tile_at(10, -5333000.0, -1781000.0)
    assert row_column == (557, 375)
    xmin, ymin, xmax, ymax = WEB_MERCATOR.bbox(10, *row_column)
    assert xmin < -5333000 < xmax
    assert ymin < -1781000 < ymax
    assert CRS84.tile_at(0, 10, 10) == (0, 1)
    assert CRS84.tile_at(0, 10, -100) is None


def test_scale_denominators_are_those_of_the_standard():
    # OGC 07-057r7 annex E.4 (GoogleMapsCompatible), OGC 17-083r4 annex D (WorldCRS84Quad).
    mercator, crs84, bdc = (t.to_ows() for t in TILE_MATRIX_SETS)
    assert mercator["scale_set"][10] == pytest.approx(545978.7734655447, rel=1e-12)
    assert crs84["scale_set"][1] == pytest.approx(139770566.00717944, rel=1e-12)
    assert bdc["scale_set"][10] * 0.00028 == pytest.approx(64)
    for doc in (mercator, crs84, bdc):
        numbers = (*doc["matrix_origin"], *doc["scale_set"], *doc["unit_coefficients"])
        assert all(type(n) is float for n in numbers)  # datacube-ows refuses integers
