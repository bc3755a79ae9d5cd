"""Grids out of YAML, tiles out of GeoJSON and into it."""

import json

import numpy as np
import pyproj
import pytest
import shapely

from odc_bdc import OdcBdcError, bdc_grid
from odc_bdc.grid import (
    BDC_CRS,
    BDC_PROJ,
    Grid,
    centre_lonlat,
    find_grid,
    published_tiles,
    tiles_from_geojson,
    tiles_to_geojson,
)

RD = {"name": "RD", "crs": "EPSG:28992", "origin": [0, 625000], "tile_size": [10000, 10000]}
LG = bdc_grid("BDC_LG_V2")


def collection(*features):
    return {"type": "FeatureCollection", "features": list(features)}


def feature(geometry=None, **others):
    return {"type": "Feature", "properties": {}, "geometry": geometry, **others}


def test_own_grid():
    rd = Grid.from_dict(RD)
    assert rd.tile_id(155000, 463000) == "015016"
    assert rd.geobox("015016", 10).crs.epsg == 28992
    assert Grid.from_dict({**RD, "crs": 28992}) == rd


def test_own_grid_in_degrees_and_in_the_bdc_crs():
    degrees = Grid.from_dict(
        {"name": "D", "crs": "EPSG:4326", "origin": [-180, 90], "tile_size": [1, 1]}
    )
    assert degrees.tile_id(-46.5, -11.5) == "133101"
    assert degrees.tile_ids((-47, -12, -46, -11)) == ["133101"]
    ours = Grid.from_dict({**RD, "crs": "EPSG:10857"})
    assert ours.odc_crs is BDC_CRS


def test_own_grid_from_a_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: RD\ncrs: EPSG:28992\norigin: [0, 625000]\ntile_size: [10000, 10000]\n")
    assert find_grid(str(path)) == find_grid(path) == Grid.from_yaml(path) == Grid.from_dict(RD)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": ""}, r"name: '' does not match .* \(text, such as RD_NEW_10KM\)"),
        ({"name": 5}, "name: 5 is not of type 'string'"),
        ({"crs": "EPSG:0"}, "crs: 'EPSG:0' is not a CRS"),
        ({"crs": [28992]}, r"crs: \[28992\] is not of type .* \(text, such as EPSG:28992\)"),
        ({"crs": True}, "crs: True is not of type"),
        ({"crs": "EPSG:5773"}, "is neither a projected nor a geographic CRS"),
        ({"origin": 5}, r"origin: 5 is not of type 'array' \(two numbers, \[x, y\]\)"),
        ({"origin": [0, "625000"]}, r"origin.1: '625000' is not of type 'number' \(two numbers"),
        ({"origin": [0, float("nan")]}, "origin.1: not a finite number"),
        ({"origin": None}, "origin: None is not of type 'array'"),
        ({"tile_size": [10000]}, r"tile_size: \[10000\] is too short \(two positive numbers"),
        ({"tile_size": [10000, 0]}, r"tile_size.1: 0 is less than .* \(two positive numbers"),
        ({"tile_size": [True, 1]}, "tile_size.0: True is not of type 'number'"),
        ({"title": "x"}, "title: 'title' is no key here.* keys: name, crs, origin, tile_size"),
    ],
)
def test_each_fault_of_an_own_grid_is_named(changes, said):
    with pytest.raises(OdcBdcError, match=f"^mine: .*{said}"):
        Grid.from_dict({**RD, **changes}, where="mine")


def test_all_faults_at_once_a_line_each(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: RD\ntile_size: [0, 1]\nextra: 1\n")
    with pytest.raises(OdcBdcError) as caught:
        Grid.from_yaml(path)
    lines = str(caught.value).splitlines()
    wanted = [
        ": (top level): 'crs' is a required property (a mapping with name",
        ": (top level): 'origin' is a required property (a mapping with name",
        ":2: tile_size.0: 0 is less than or equal to the minimum of 0 (two positive numbers",
        ":3: extra: 'extra' is no key here; keys: name, crs, origin, tile_size",
    ]
    for line, start in zip(lines, wanted, strict=True):
        assert line.startswith(f"{path}{start}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read as YAML"),
        ("{", "cannot be read"),
        ("- 1\n", "is not of type 'object'"),
    ],
)
def test_what_is_no_grid_file(tmp_path, text, said):
    path = tmp_path / "mine.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(OdcBdcError, match=said):
        find_grid(path)


@pytest.mark.parametrize("key", ["tile", "bdc:tile", "id", "name"])
def test_subset_by_the_ids_of_the_features(key):
    doc = collection(*(feature(properties={key: t}) for t in ("008004", "007003", "008004")))
    assert tiles_from_geojson(doc, LG) == ["007003", "008004"]


def test_subset_by_the_features_own_ids_in_a_file(tmp_path):
    path = tmp_path / "tiles.geojson"
    doc = collection(feature(id="007004", properties=None), feature(id="008004"))
    path.write_text(json.dumps(doc), encoding="utf-8-sig")
    assert tiles_from_geojson(path, LG) == tiles_from_geojson(str(path), LG) == ["007004", "008004"]


def test_without_ids_the_geometries_count():
    box = shapely.geometry.mapping(shapely.box(-47, -12, -46, -11))
    doc = collection(feature(box, properties={"name": "Farm", "id": 123456}))
    assert tiles_from_geojson(doc, LG) == ["007004"]
    metres = shapely.geometry.mapping(shapely.box(*LG.bbox("007004")))
    assert tiles_from_geojson(metres, LG, "EPSG:10857") == ["007004"]


def test_some_ids_are_a_mistake():
    doc = collection(feature(id="007004"), feature(id="7004"))
    with pytest.raises(OdcBdcError, match=r"feature 1 \(from 0\) has no tile id, but others have"):
        tiles_from_geojson(doc, LG)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read as GeoJSON"),
        ("{", "cannot be read as GeoJSON"),
        ("[]", "is not GeoJSON"),
        ('{"type": "FeatureCollection"}', "is not a list of features"),
        ('{"type": "FeatureCollection", "features": []}', "the area is empty"),
    ],
)
def test_what_is_no_geojson(tmp_path, text, said):
    path = tmp_path / "tiles.geojson"
    if text is not None:
        path.write_text(text)
    with pytest.raises(OdcBdcError, match=f"^{path}: .*{said}"):
        tiles_from_geojson(path, LG)


def test_export_is_geojson_of_rfc_7946():
    doc = tiles_to_geojson(bdc_grid("BDC_SM_V2"), ["020020"])
    (tile,) = doc["features"]
    assert tile["properties"] == {
        "tile": "020020",
        "grid": "BDC_SM_V2",
        "bbox": [4736000, 9736000, 4841600, 9841600],
    }
    polygon = shapely.geometry.shape(tile["geometry"])
    assert polygon.exterior.is_ccw
    # The corners of the footprint in BDC's own STAC.
    corners = {
        (-56.474327, -13.399905),
        (-56.483111, -14.340337),
        (-55.489892, -14.347017),
        (-55.484621, -13.406559),
    }
    assert {(round(x, 6), round(y, 6)) for x, y in polygon.exterior.coords} >= corners


def test_exported_edges_follow_the_curve():
    (tile,) = tiles_to_geojson(LG, ["007004"])["features"]
    lon, lat = np.array(tile["geometry"]["coordinates"][0]).T
    x, y = pyproj.Proj(BDC_PROJ)(lon, lat)
    xmin, ymin, xmax, ymax = LG.bbox("007004")
    off = np.min([abs(x - xmin), abs(x - xmax), abs(y - ymin), abs(y - ymax)], axis=0)
    assert off.max() < 0.02
    assert len(lon) == 4 * 32 + 1


def test_export_and_back():
    tiles = list(published_tiles("BDC_LG_V2"))
    doc = json.loads(json.dumps(tiles_to_geojson(LG, tiles)))
    assert tiles_from_geojson(doc, LG) == tiles


def test_centre():
    # The seed of the V2 grids: the centre of this tile is 54 W, 12 S.
    assert centre_lonlat(bdc_grid("BDC_SM_V2"), "022018") == pytest.approx((-54, -12), abs=1e-7)


def test_a_tile_beyond_the_projection_is_named():
    with pytest.raises(OdcBdcError, match="has no longitude and latitude"):
        tiles_to_geojson(LG, ["999999"])
