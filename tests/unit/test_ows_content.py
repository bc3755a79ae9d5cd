"""What stands around datacube-ows: paths of tiles, languages, the tile grids. Without a server."""

from __future__ import annotations

from urllib.parse import parse_qsl

import numpy as np
import pyproj
import pytest
from odc.geo.crs import CRS

from odc_bdc.grid import BDC_CRS, BDC_PROJ, bdc_grid, published_tiles
from odc_bdc.ows.capabilities import Capabilities
from odc_bdc.ows.languages import Languages, Text, Translations, language_of
from odc_bdc.ows.restful import RestfulTiles, info_template, tile_template, to_query
from odc_bdc.ows.tile_grid import View, draw_grid, lonlat_bounds, tile_at

PARTS = {
    "{style}": "ndvi",
    "{Time}": "2020-01-01T00:00:00Z",
    "{TileMatrixSet}": "BDC_Albers",
    "{TileMatrix}": "10",
    "{TileRow}": "252",
    "{TileCol}": "249",
    "{J}": "7",
    "{I}": "9",
}
TILE = {
    "service": "WMTS",
    "version": "1.0.0",
    "request": "GetTile",
    "layer": "CB4_64_16D_STK_v1",
    "style": "ndvi",
    "time": "2020-01-01T00:00:00Z",
    "tilematrixset": "BDC_Albers",
    "tilematrix": "10",
    "tilerow": "252",
    "tilecol": "249",
    "format": "image/png",
}


def filled(template):
    for variable, value in PARTS.items():
        template = template.replace(variable, value)
    assert "{" not in template
    return template


def test_a_filled_template_is_the_request_with_parameters():
    path = filled(tile_template("", "CB4_64_16D_STK_v1"))
    assert dict(parse_qsl(to_query(path))) == TILE
    info = dict(parse_qsl(to_query(filled(info_template("", "CB4_64_16D_STK_v1")))))
    assert (info["request"], info["i"], info["j"]) == ("GetFeatureInfo", "9", "7")
    assert info["infoformat"] == "application/json"


def test_without_a_time_the_default_is_meant():
    path = filled(tile_template("", "BDC_SM_V2", timeless=True))
    assert "time" not in dict(parse_qsl(to_query(path)))


@pytest.mark.parametrize(
    "path",
    [
        "/wmts",
        "/wmts/1.0.0/",
        "/wmts/1.0.0/a.png",
        "/wmts/1.0.0/a/b/c/d/1/2/3.gif",
        "/wmts/1.0.0/a/b/c/d/1/2/3/4.png",
        "/wmts/1.0.0/a/b/c/d/1/2/3/4.json",
        "/wmts/2.0.0/a/b/c/d/1/2/3.png",
        "/legend/a/b/legend.png",
    ],
)
def test_other_paths_are_left_alone(path):
    assert to_query(path) is None
    seen = []
    environ = {"PATH_INFO": path, "QUERY_STRING": "a=b"}
    RestfulTiles(lambda e, _: seen.append(e) or [])(environ, None)
    assert seen == [environ]


def test_names_in_a_path_cannot_smuggle_parameters():
    query = to_query("/wmts/1.0.0/a%26layer%3Db/s/2020&x=y/set/1/2/3.png")
    assert dict(parse_qsl(query))["layer"] == "a&layer=b"
    assert "x" not in dict(parse_qsl(query))


def test_english_stands_in_the_configuration_and_portuguese_beside_it():
    translations = Translations()
    plain = translations.plain({"a": [Text("one", "um"), {"b": Text.same("NDVI")}], "c": 1})
    assert plain == {"a": ["one", {"b": "NDVI"}], "c": 1}
    assert translations.portuguese == {"one": "um"}


@pytest.mark.parametrize(
    ("wish", "language"),
    [
        (None, "en"),
        ("pt", "pt"),
        ("pt-BR", "pt"),
        ("pt-BR,pt;q=0.9,en;q=0.5", "pt"),
        ("de,en;q=0.9,pt;q=0.1", "en"),
        ("de", "en"),
        ("*", "en"),
        ("nonsense;q=x", "en"),
    ],
)
def test_the_language_is_the_clients_wish(wish, language):
    assert language_of({"HTTP_ACCEPT_LANGUAGE": wish} if wish else {}) == language


def answer_of(app, query, path="/wms"):
    told = []
    body = app({"PATH_INFO": path, "QUERY_STRING": query}, lambda *given: told.append(given))
    return b"".join(body), told[0]


def test_answers_with_texts_vary_with_the_language_and_images_do_not():
    def inner(environ, start_response):
        start_response("200 OK", [])
        return [b""]

    app = Languages(inner)
    assert ("Vary", "Accept-Language") in answer_of(app, "request=GetCapabilities")[1][1]
    assert ("Vary", "Accept-Language") in answer_of(app, "", "/legend/a/b/legend.png")[1][1]
    assert answer_of(app, "request=GetMap")[1][1] == []


def test_an_error_in_place_of_capabilities_passes_unchanged():
    def inner(environ, start_response):
        start_response("500 Oh", [("Content-Length", "2")])
        return [b"no"]

    app = Capabilities(inner, {}, {}.get, bool)
    body, (status, headers) = answer_of(app, "service=WMS&request=GetCapabilities")
    assert (body, status, headers) == (b"no", "500 Oh", [("Content-Length", "2")])


# 400 pixels of 2 km, in the plane of the grid: borders are exactly straight there.
VIEW = View(BDC_CRS, (5200000.0, 9500000.0, 6000000.0, 10300000.0), 400, 400)


def test_lines_are_where_the_tiles_meet():
    image = np.asarray(draw_grid("BDC_LG_V2", VIEW))
    drawn = image[..., 3] > 0
    left, _, _, top = bdc_grid("BDC_LG_V2").bbox("007004")
    column, row = int((left - 5200000) / 2000), int((10300000 - top) / 2000)
    assert drawn[:, column - 1 : column + 2].any(axis=1).mean() > 0.98
    assert drawn[row - 1 : row + 2, :].any(axis=0).mean() > 0.98
    # Lines are thin; the ids are the only other ink.
    assert 0.005 < drawn.mean() < 0.1


def test_ids_are_written_only_where_there_is_room():
    wide = View(BDC_CRS, (2600000.0, 7700000.0, 7700000.0, 12000000.0), 300, 300)
    lines = np.asarray(draw_grid("BDC_LG_V2", wide))
    assert set(np.unique(lines[..., 3])) == {0, 255}  # the halo of a text is half transparent
    assert 200 in np.asarray(draw_grid("BDC_LG_V2", VIEW))[..., 3]


def test_the_tile_under_a_pixel_is_the_grids():
    rng = np.random.default_rng(3)
    grid, published = bdc_grid("BDC_SM_V2"), set(published_tiles("BDC_SM_V2"))
    for column, row in rng.integers(0, 400, (50, 2)):
        expected = grid.tile_id(*VIEW.to_world(column, row))
        found = tile_at("BDC_SM_V2", VIEW, int(column), int(row))
        assert found == (expected if expected in published else None)
    nowhere = View(CRS("EPSG:4326"), (100.0, 40.0, 110.0, 50.0), 10, 10)
    assert tile_at("BDC_SM_V2", nowhere, 5, 5) is None


def test_in_degrees_a_point_on_a_border_is_on_a_line():
    """A meridian of the grid's plane is no straight line in degrees."""
    view = View(CRS("EPSG:4326"), (-50.0, -14.0, -40.0, -4.0), 500, 500)
    drawn = np.asarray(draw_grid("BDC_LG_V2", view))[..., 3] > 0
    left, bottom, _, top = bdc_grid("BDC_LG_V2").bbox("008004")
    for share in (0.1, 0.37, 0.62, 0.9):
        lon, lat = pyproj.Proj(BDC_PROJ)(left, bottom + share * (top - bottom), inverse=True)
        column, row = int((lon + 50) / 10 * 500), int((-4 - lat) / 10 * 500)
        assert drawn[row - 2 : row + 3, column - 2 : column + 3].any()


def test_the_grids_hold_brazil():
    west, south, east, north = lonlat_bounds("BDC_SM_V2")
    assert west < -73.9
    assert south < -33.7
    assert east > -34.8
    assert north > 5.2
