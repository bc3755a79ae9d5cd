"""What the services say that they have, read by OWSLib."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from answers import pixels
from owslib.wcs import WebCoverageService
from owslib.wms import WebMapService
from owslib.wmts import WebMapTileService

pytestmark = pytest.mark.integration

LAYERS = {
    "CB4_64_16D_MED_v1",
    "CB4_64_16D_STK_v1",
    "CB4_64_2Y_STK_v1",
    "CB4_WFI_L4_SR_1",
    "LC8_NY_3000_1M_MED_v1",
    "S2_31UES_10_16D_STK_v1",
}


@pytest.fixture(scope="module")
def wms(server):
    return WebMapService(f"{server.url}/wms", version="1.3.0")


def test_wms_lists_every_product_with_datasets_in_a_folder_per_sensor(wms):
    assert {name for name in wms.contents if name in LAYERS} == LAYERS
    folders = {layer.parent.title for name, layer in wms.contents.items() if name in LAYERS}
    assert folders == {"16 days", "Monthly", "2 years", "Scenes"}
    sensors = {wms[name].parent.parent.title for name in LAYERS}
    assert sensors == {"CBERS-4", "Landsat-8", "Sentinel-2"}


def test_wms_layers_have_the_styles_that_their_bands_allow(wms):
    for name in LAYERS:
        assert list(wms[name].styles)[:2] == ["true_colour", "false_colour"]
        assert {"ndvi", "evi", "ndwi"} <= set(wms[name].styles)
        assert ("shortwave" in wms[name].styles) == name.startswith("LC8")
        assert ("clearob" in wms[name].styles) == ("v1" in name)
        assert ("provenance" in wms[name].styles) == ("STK" in name)
        # Of a median nobody can say whether it was clear.
        assert ("quality" in wms[name].styles) == ("STK" in name or name == "CB4_WFI_L4_SR_1")


def test_wms_gives_the_starts_of_composites_and_the_latest_is_default(wms):
    layer = wms["CB4_64_16D_STK_v1"]
    assert layer.timepositions == ["2019-12-19", "2020-01-01"]
    assert layer.defaulttimeposition == "2020-01-01"


def test_wms_publishes_the_crs_of_the_bdc_and_the_usual_ones(wms):
    published = set(wms["CB4_64_16D_STK_v1"].crsOptions)
    assert published >= {"EPSG:10857", "EPSG:3857", "EPSG:4326", "EPSG:4674"}
    assert published >= {"EPSG:32618", "EPSG:32631"}  # of the other cubes


def test_wms_extent_is_that_of_the_two_tiles(wms):
    boxes = {box[4]: box[:4] for box in wms["CB4_64_16D_STK_v1"].crs_list}
    assert boxes["EPSG:10857"] == (5984000.0, 10000000.0, 6022400.0, 10016640.0)


def test_wmts_lists_the_layers_on_three_tile_matrix_sets_of_two_sizes(server):
    wmts = WebMapTileService(f"{server.url}/wmts")
    assert set(wmts.contents) == LAYERS | {"BDC_SM_V2", "BDC_MD_V2", "BDC_LG_V2"}
    sets = {"WholeWorld_WebMercator", "WorldCRS84Quad", "BDC_Albers"}
    sets |= {f"{name}_512" for name in sets}
    assert set(wmts.tilematrixsets) == sets
    assert set(wmts["CB4_64_16D_STK_v1"].tilematrixsetlinks) == sets


def test_wcs_describes_bands_by_the_names_of_the_product_on_its_grid(server):
    wcs = WebCoverageService(f"{server.url}/wcs", version="1.0.0")
    assert set(wcs.contents) == LAYERS
    coverage = wcs["CB4_64_16D_STK_v1"]
    bands = coverage.axisDescriptions[0].values
    assert bands == [
        *[f"BAND{n}" for n in (13, 14, 15, 16)],
        "CMASK",
        "NDVI",
        "EVI",
        "CLEAROB",
        "TOTALOB",
        "PROVENANCE",
    ]
    grid = coverage.grid
    # The centre of the upper left pixel, and the last column and row.
    assert [float(v) for v in grid.origin] == [5984032.0, 10016608.0]
    assert [int(v) for v in grid.highlimits] == [599, 259]
    assert [[float(v) for v in o] for o in grid.offsetvectors] == [[64.0, 0.0], [0.0, -64.0]]


def test_wcs_2_has_capabilities(fetch):
    text = fetch("wcs", service="WCS", version="2.0.1", request="GetCapabilities").decode()
    assert all(f"<wcs:CoverageId>{name}<" in text for name in LAYERS)
    assert "None" not in text


def test_the_version_that_owslib_asks_for_has_the_same_layers(server, wms):
    old = WebMapService(f"{server.url}/wms")
    assert old.version == "1.1.1"
    assert set(old.contents) == set(wms.contents)
    for name in LAYERS:
        mine, theirs = old[name], wms[name]
        assert (mine.title, mine.abstract) == (theirs.title, theirs.abstract)
        assert mine.timepositions == theirs.timepositions
        assert mine.defaulttimeposition == theirs.defaulttimeposition
        assert list(mine.styles) == list(theirs.styles)
        assert mine.boundingBoxWGS84 == theirs.boundingBoxWGS84
        assert mine.parent.title == theirs.parent.title
    formats = ["image/png", "image/jpeg", "image/webp"]
    assert old.getOperationByName("GetMap").formatOptions == formats
    assert wms.getOperationByName("GetMap").formatOptions == formats


def test_boxes_of_the_older_version_have_the_longitude_first(fetch):
    def boxes(version, attribute):
        text = fetch("wms", service="WMS", version=version, request="GetCapabilities")
        space = "{http://www.opengis.net/wms}" if version == "1.3.0" else ""
        for layer in ET.fromstring(text).iter(f"{space}Layer"):
            if layer.findtext(f"{space}Name") == "CB4_64_16D_STK_v1":
                found = layer.findall(f"{space}BoundingBox")
                return {b.get(attribute): [float(b.get(s)) for s in SIDES] for b in found}
        return {}

    new, old = boxes("1.3.0", "CRS"), boxes("1.1.1", "SRS")
    assert new["EPSG:4326"] == [old["EPSG:4326"][n] for n in (1, 0, 3, 2)]
    assert new["EPSG:3857"] == old["EPSG:3857"]
    assert old["EPSG:4326"][0] == pytest.approx(-44.83, abs=0.01)


SIDES = ("minx", "miny", "maxx", "maxy")


def test_a_map_of_the_older_version_is_that_of_the_newer(server):
    asked = {"layers": ["CB4_64_16D_STK_v1"], "styles": ["ndvi"], "srs": "EPSG:4326"}
    asked |= {"bbox": (-44.8, -11.85, -44.5, -11.7), "size": (200, 100), "format": "image/png"}
    bodies = [
        WebMapService(f"{server.url}/wms", version=version).getmap(**asked).read()
        for version in ("1.1.1", "1.3.0")
    ]
    assert bodies[0] == bodies[1]
    assert pixels(bodies[0])[3].any()


@pytest.mark.parametrize("version", ["1.1.1", "1.3.0"])
def test_layers_say_whom_they_are_to_be_attributed_to(server, version):
    wms = WebMapService(f"{server.url}/wms", version=version)
    for name in LAYERS:
        assert wms[name].attribution["title"] == "Brazil Data Cube"
        assert wms[name].attribution["url"].startswith("http")


def test_crs84_has_the_name_that_wms_has_for_it(wms, fetch):
    layer = wms["CB4_64_16D_STK_v1"]
    assert "CRS:84" in layer.crsOptions
    assert not any(name.startswith(("OGC:", "+")) for name in layer.crsOptions)
    query = {"layers": "CB4_64_16D_STK_v1", "styles": "", "request": "GetMap", "service": "WMS"}
    query |= {"version": "1.3.0", "bbox": "-44.8,-11.85,-44.5,-11.7", "width": 90, "height": 60}
    maps = [fetch("wms", **query, format="image/png", crs=crs) for crs in ("CRS:84", "OGC:CRS84")]
    assert maps[0] == maps[1]
    assert pixels(maps[0])[3].any()
