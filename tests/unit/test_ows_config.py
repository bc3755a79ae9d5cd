"""The configuration of datacube-ows that cubes and products give."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from odc.geo.crs import CRS

from odc_bdc.cli import main
from odc_bdc.cube import shipped_cubes
from odc_bdc.errors import InvalidValueError, UnknownNameError
from odc_bdc.grid import BDC_CRS, bdc_grid
from odc_bdc.ows import SceneLayer, Service, build_config
from odc_bdc.ows.parsed import named_layers
from odc_bdc.ows.style_types import register_styles
from odc_bdc.ows.tiles import BDC, CRS84, TILE_MATRIX_SETS, WEB_MERCATOR
from odc_bdc.product import product_document

CUBES = shipped_cubes()
SCENES = SceneLayer(product_document("CB4_WFI_L4_SR_1"), "solar", "cbers4")


@pytest.fixture
def config():
    return build_config(tuple(CUBES.values()), (SCENES,))


def layers(config):
    return {layer["name"]: layer for layer in named_layers(config["layers"])}


def test_datacube_ows_accepts_the_configuration_of_all_shipped_cubes(config, caplog):
    from odc_bdc.ows.upstream import OWSConfig

    register_styles()
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
    with pytest.raises(InvalidValueError, match="SR_1 has no native crs and no resolution"):
        build_config((), (SceneLayer(product),))


def test_layers_are_in_folders_by_sensor_then_by_period_and_scenes_come_last(config):
    (root,) = config["layers"]
    tree = {f["title"]: {p["title"]: p["layers"] for p in f["layers"]} for f in root["layers"]}
    assert list(tree) == ["CBERS-4", "Landsat-8", "Sentinel-2", "Combined sensors"]
    assert list(tree["CBERS-4"]) == ["16 days", "Monthly", "2 years", "Scenes"]
    assert [layer["name"] for layer in tree["CBERS-4"]["Monthly"]] == [
        f"CB4_64_1M_{function}_v1" for function in ("AVG", "MED", "STK")
    ]
    assert [layer["name"] for layer in tree["CBERS-4"]["Scenes"]] == ["CB4_WFI_L4_SR_1"]


def test_a_product_of_another_cube_is_under_its_sensor_and_period():
    product = product_document("CB4_64_16D_STK_1")
    (root,) = build_config((), (SceneLayer(product, "summary", "cbers4"),))["layers"]
    ((cbers,), ((days,),)) = (root["layers"], [f["layers"] for f in root["layers"]])
    assert (cbers["title"], days["title"]) == ("CBERS-4", "16 days")
    assert days["layers"][0]["time_resolution"] == "summary"


def test_every_text_of_cubes_has_its_portuguese(config):
    portuguese = config["odc_bdc"]["portuguese"]
    for cube in CUBES.values():
        assert portuguese[cube.title["en"]] == cube.title["pt"]
        layer = layers(config)[cube.name]
        assert portuguese[layer["abstract"]].startswith(cube.description["pt"])
        for style in layer["styling"]["styles"]:
            assert style["abstract"] in portuguese
    assert portuguese["Monthly"] == "Mensal"
    assert portuguese["Near infrared, red, green: vegetation is red"].startswith("Infravermelho")


def test_a_configuration_is_plain_data_that_names_its_functions(config):
    def leaves(part):
        if isinstance(part, dict):
            return [leaf for value in part.values() for leaf in leaves(value)]
        if isinstance(part, list):
            return [leaf for value in part for leaf in leaves(value)]
        return [part]

    kinds = {type(leaf) for leaf in leaves(config)}
    assert kinds <= {str, int, float, bool, type(None)}


def test_indices_of_spyndex_may_be_asked_for():
    config = build_config((CUBES["S2_10_16D_STK_v1"],), (), service=Service(indices=("SAVI",)))
    names = {s["name"] for s in layers(config)["S2_10_16D_STK_v1"]["styling"]["styles"]}
    assert "savi" in names
    assert "ndvi" not in names
    with pytest.raises(UnknownNameError, match="'NDVII' is not a spectral index"):
        build_config(tuple(CUBES.values()), (), service=Service(indices=("NDVII",)))


def test_a_wrong_index_is_told_before_the_server_starts(monkeypatch, tmp_path):
    monkeypatch.setenv("ODC_BDC_OWS_INDICES", "NDVI,NDVII")
    done = CliRunner().invoke(main, ["ows", "serve", "--home", str(tmp_path)])
    assert done.exit_code != 0
    assert "'NDVII' is not a spectral index, do you mean" in done.output
    assert "Traceback" not in done.output


def test_utm_zones_of_brazil_are_published_under_both_datums(config):
    published = config["global"]["published_CRSs"]
    names = {
        key: CRS(key).proj.name for key in published if key.startswith(("EPSG:327", "EPSG:319"))
    }
    assert {names[f"EPSG:{32700 + zone}"] for zone in range(18, 26)} == {
        f"WGS 84 / UTM zone {zone}S" for zone in range(18, 26)
    }
    assert {names[f"EPSG:{31960 + zone}"] for zone in range(18, 26)} == {
        f"SIRGAS 2000 / UTM zone {zone}S" for zone in range(18, 26)
    }
    assert CRS("EPSG:5880").proj.name == "SIRGAS 2000 / Brazil Polyconic"
    assert "EPSG:5880" in published


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
    mercator, crs84, bdc = (t.to_ows() for t in TILE_MATRIX_SETS[:3])
    assert mercator["scale_set"][10] == pytest.approx(545978.7734655447, rel=1e-12)
    assert crs84["scale_set"][1] == pytest.approx(139770566.00717944, rel=1e-12)
    assert bdc["scale_set"][10] * 0.00028 == pytest.approx(64)
    for doc in (mercator, crs84, bdc):
        numbers = (*doc["matrix_origin"], *doc["scale_set"], *doc["unit_coefficients"])
        assert all(type(n) is float for n in numbers)  # datacube-ows refuses integers


@pytest.mark.parametrize("tms", TILE_MATRIX_SETS[:3], ids=lambda t: t.name)
def test_a_tile_of_512_pixels_has_four_of_the_next_level(tms):
    large = tms.with_large_tiles()
    assert large.to_ows()["tile_size"] == [512, 512]
    level = 9
    x, y = {"EPSG:3857": (-5e6, -2e6), "OGC:CRS84": (-50.0, -15.0)}.get(tms.crs, (5.2e6, 9.9e6))
    row, column = large.tile_at(level, x, y)
    left, bottom, right, top = large.bbox(level, row, column)
    pixel = (right - left) / 512
    quarters = [tms.bbox(level + 1, 2 * row + i, 2 * column + j) for i in (0, 1) for j in (0, 1)]
    assert quarters[0][0] == pytest.approx(left)
    assert quarters[0][3] == pytest.approx(top)
    assert quarters[3][2] == pytest.approx(right)
    assert quarters[3][1] == pytest.approx(bottom)
    assert (quarters[0][2] - quarters[0][0]) / 256 == pytest.approx(pixel)
    scales = large.to_ows()["scale_set"]
    assert scales[level] == pytest.approx(tms.to_ows()["scale_set"][level + 1])
