"""STAC items of all versions become EO3 documents, and files that are not theirs are found out.

The items are those that were recorded from the BDC's servers; where they tell a footprint, the grid
that follows from the tile must have it.
"""

import contextlib
import copy
import hashlib
import json
import sys
import tarfile
import uuid
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from eodatasets3.validate import validate_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from rasterio.transform import Affine, from_origin

from odc_bdc import OdcBdcError
from odc_bdc.errors import SceneError
from odc_bdc.grid import BDC_CRS
from odc_bdc.indexing import (
    IngestRecipe,
    belongs_to,
    find_recipe,
    item_document,
    normalise_item,
    read_header,
    shipped_recipes,
    write_document,
)
from odc_bdc.product import product_document

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
RECORDED = DATA / "stac_items_bdc"
needs_data = pytest.mark.skipif(
    not RECORDED.is_dir(),
    reason=f"the folder of recorded items, {DATA.parent.name}/data, is absent",
)
BASE = "https://example.org/items/item.json"


def recorded(name):
    return json.loads(next(RECORDED.glob(f"{name}*.json")).read_text("utf-8"))


def product_of(name, bands, **load):
    """Give the document of a product that does not come with odc_bdc."""
    return {
        "name": name,
        "description": "A collection of 2020",
        "license": "CC-BY-4.0",
        "metadata_type": "eo3",
        "metadata": {"product": {"name": name}},
        "measurements": [
            {"name": band, "dtype": dtype, "nodata": nodata, "units": "1"}
            for band, (dtype, nodata) in bands.items()
        ],
        **({"load": load} if load else {}),
    }


def recipe_of(collection, product, assets, **more):
    return IngestRecipe.from_dict(
        {"collection": collection, "product": product, "assets": assets, **more}, "own"
    )


def convert(document, recipe, product=None, href=None, **options):
    product = product or product_document(recipe.product)
    assets = document.get("assets") if isinstance(document, dict) else None
    local = isinstance(assets, dict) and any("'href': '/" in str(a) for a in assets.values())
    item = normalise_item(document, recipe, href=href or ("/data/item.json" if local else BASE))
    return item_document(item, recipe, product, **{"location": None, **options})


def complaints(document, product):
    """Give what eo3-validate says of a document; it runs as a whole only on names in small letters.

    Absolute paths are meant here: the document has no file. CRSs without code are the BDC's.
    """
    name = product["name"].lower()
    document, product = {**document, "product": {"name": name}}, {**product, "name": name}
    product["metadata"] = {"product": {"name": name}}
    found = [str(m) for m in validate_dataset(document, product_definition=product)]
    return [m for m in found if not m.startswith(("absolute_path", "non_epsg"))]


def footprint(document):
    """Give the box in degrees of the pixels of a document."""
    grid = document["grids"]["default"]
    box = GeoBox(grid["shape"], Affine(*grid["transform"]), document["crs"])
    # Edges of a tile are curves in degrees.
    lonlat = box.extent.to_crs("EPSG:4326", resolution=box.extent.boundingbox.span_x / 50)
    return list(lonlat.boundingbox)


@contextlib.contextmanager
def closed_files():
    """Let nobody open a raster file."""

    def refuse(href, *_band):
        raise SceneError(f"{href}: somebody opened it")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("odc_bdc.indexing.items.read_header", refuse)
        yield


REFLECTANCE, COUNT, CODES = ("int16", -9999), ("uint8", 0), ("uint8", 255)
SHIPPED = [
    ("v0.9_CB4_64_16D_STK_v001", "cb4_64_16d_stk_1_full"),
    ("v0.9_CB4_64_16D_STK_v001", "cb4_64_16d_stk_1"),
    ("v0.9_LC8_30-1", "lc8_30_1"),
    ("v0.9_S2_10-1", "s2_10_1"),
    ("v1.0_RENDERED_S2-16D", "s2_16d_2"),
]
OWN = [
    (
        "v0.8_CB4A_55_1M_STK",
        recipe_of(
            "CB4A_55_1M_STK",
            "own_cube",
            ["blue", "green", "red", "nir", "ndvi", "evi", "quality", "TotalOb"],
            grid={"name": "BDC_LG_V1", "resolution": 55},
            quirks=["period_from_id", "whole_days"],
        ),
        dict.fromkeys(["blue", "green", "red", "nir", "ndvi", "evi"], REFLECTANCE)
        | {"quality": CODES, "TotalOb": COUNT},
    ),
    (
        "v0.8_CB4MOSBR_64",
        recipe_of(
            "CB4MOSBR_64",
            "own_mosaic",
            ["blue", "nir", "red", "quality"],
            grid={"name": "BDC_LG_V1", "resolution": 64},
        ),
        dict.fromkeys(["blue", "nir", "red"], REFLECTANCE) | {"quality": CODES},
    ),
    (
        "v0.9_CB4_64-1",
        find_recipe("cb4_64_1"),
        dict.fromkeys(["BAND13", "BAND14", "BAND15", "BAND16", "NDVI", "EVI"], REFLECTANCE)
        | {"CMASK": CODES},
    ),
]


@needs_data
@pytest.mark.parametrize(("source", "name"), SHIPPED)
def test_recorded_items_convert(source, name):
    document, recipe = recorded(source), find_recipe(name)
    product = product_document(recipe.product)
    made = convert(document, recipe)
    assert complaints(made, product) == []
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert CRS(made["crs"]) == BDC_CRS
    assert footprint(made) == pytest.approx(document["bbox"], abs=2e-3)
    assert made["label"] == document["id"]
    for m in product["measurements"]:
        key = recipe.assets[m["name"]]
        assert made["measurements"][m["name"]] == {"path": document["assets"][key]["href"]}
        told = document["assets"][key].get("bdc:raster_size")
        assert told is None or made["grids"]["default"]["shape"] == [told["y"], told["x"]]


def raster(path, dtype="int16", nodata=-9999, shape=(40, 30), **profile):
    """Write a file; large ones are sparse, with no block on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = profile.pop("count", 1)
    given = {"crs": "EPSG:32723", "transform": from_origin(500000, 8000000, 30, 30)} | profile
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=shape[0], width=shape[1], dtype=dtype,
        nodata=nodata, sparse_ok=True, tiled=True, compress="deflate", **given,
    ) as out:  # fmt: skip
        if shape[0] <= 512:
            ramp = np.arange(shape[0] * shape[1]).reshape(shape) % 100
            for band in range(1, count + 1):
                out.write(ramp.astype(dtype), band)
    return path


@needs_data
@pytest.mark.parametrize(("source", "recipe", "bands"), OWN, ids=[case[0] for case in OWN])
def test_recorded_items_of_2020_lie_elsewhere(source, recipe, bands, tmp_path):
    """Tiles lay a degree further south then: their files are asked, not the grid of today."""
    document, product = recorded(source), product_of(recipe.product, bands)
    told = document["assets"]
    for name, (dtype, nodata) in bands.items():
        path = raster(tmp_path / f"{name}.tif", dtype, nodata, crs=BDC_CRS.to_wkt())
        told[name]["href"] = str(path)
    made = convert(document, recipe, product, verify="none")
    assert complaints(made, product) == []
    assert made["grids"]["default"]["shape"] == [40, 30]
    assert made["properties"]["odc:region_code"] == document["properties"]["bdc:tile"]
    box = footprint(convert(document | {"bbox": None}, recipe, product, verify="none"))
    assert box[1] - document["bbox"][1] == pytest.approx(1.07, abs=0.06)
    if "_STK_" in document["id"]:
        assert made["properties"]["dtr:start_datetime"] == "2020-07-01T00:00:00Z"
        assert made["properties"]["dtr:end_datetime"] == "2020-07-31T23:59:59Z"


@needs_data
def test_recorded_scenes_without_grid_take_it_from_a_header(tmp_path):
    document, recipe = recorded("v0.9_LC8SR-1"), find_recipe("lc8sr_1")
    product = product_document(recipe.product)
    for key, asset in document["assets"].items():
        if key != "thumbnail":
            told = {"dtype": "uint8", "nodata": 255} if key == "Fmask4" else {}
            asset["href"] = str(raster(tmp_path / f"{key}.tif", shape=(7801, 7671), **told))
            assert asset.pop("bdc:size") > 100_000  # that of INPE's file
    made = convert(document, recipe)
    assert complaints(made, product) == []
    assert made["crs"] == "epsg:32723"
    assert made["grids"] == {
        "default": {
            "shape": [7801, 7671],
            "transform": [30, 0, 500000, 0, -30, 8000000, 0, 0, 1],
        }
    }
    # One header is enough, and the only file that is opened: the others are not there.
    for key in recipe.assets:
        if key != "band1":
            (tmp_path / f"{key}.tif").unlink()
    assert convert(document, recipe, verify="none") == made
    with pytest.raises(SceneError, match=r"band2.tif: no such file"):
        convert(document, recipe)


@needs_data
def test_recorded_modis_item_takes_its_grid_from_a_header(tmp_path):
    document = recorded("v0.8_MOD13Q1")
    names = [key for key in document["assets"] if key != "thumbnail"]
    bands = dict.fromkeys(names, REFLECTANCE) | {"reliability": CODES}
    crs = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"
    for name, (dtype, nodata) in bands.items():
        path = raster(tmp_path / f"{name}.tif", dtype, nodata, crs=crs)
        document["assets"][name]["href"] = str(path)
    product = product_of("own_modis", bands)
    made = convert(document, recipe_of("MOD13Q1", "own_modis", names), product)
    assert complaints(made, product) == []
    assert CRS(made["crs"]) == CRS(crs)
    assert made["properties"]["datetime"] == "2000-02-18T00:00:00Z"


@needs_data
def test_recorded_map_without_tile_converts(tmp_path):
    document = recorded("v0.9_LCC")
    assert document["properties"]["bdc:tiles"] == [None]
    document["assets"]["lcc"]["href"] = str(raster(tmp_path / "lcc.tif", crs=BDC_CRS.to_wkt()))
    product = product_of("own_map", {"lcc": REFLECTANCE})
    made = convert(document, recipe_of(document["collection"], "own_map", ["lcc"]), product)
    assert complaints(made, product) == []
    assert CRS(made["crs"]) == BDC_CRS
    assert "odc:region_code" not in made["properties"]


def packed(path, files):
    """Put files into an archive, by their names in it; the originals go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
        if path.suffix == ".zip"
        else tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w")
    ) as archive:
        add = archive.write if path.suffix == ".zip" else archive.add
        for name, file in files.items():
            add(file, name)
            file.unlink()
    return path


def bundle_at(document, folder, files):
    """Let the one asset of an item be an archive on disk, of other size than INPE's."""
    asset = document["assets"]["asset"]
    path = packed(folder / Path(asset["href"]).name, files)
    asset |= {"href": str(path), "bdc:size": path.stat().st_size}
    asset["checksum:multihash"] = f"1220{hashlib.sha256(path.read_bytes()).hexdigest()}"
    return path


def landsat_bundle(folder, **changes):
    """Give the recorded item of Landsat with an archive, of scenes as USGS packs them."""
    document = recorded("v0.9_LC8_DN-1")
    files = {}
    for name in [*(f"B{n}" for n in range(1, 12)), "BQA"]:
        # Pixels of 15 m share the centre of the first one with those of 30 m, not its corner.
        told = {"shape": (79, 59), "transform": from_origin(199492.5, -1650007.5, 15, 15)}
        told = told if name == "B8" else {"transform": from_origin(199485, -1650000, 30, 30)}
        told |= {"dtype": "uint16", "nodata": None, "crs": "EPSG:32624", **changes.get(name, {})}
        files[f"{document['id']}_{name}.TIF"] = raster(folder / name, **told)
    return document, bundle_at(document, folder, files)


SAFE = "S2A_MSIL1C_20250505T132251_N0511_R038_T23KLP_20250505T230941.SAFE"
IMAGE = f"{SAFE}/GRANULE/L1C_T23KLP_A051544_20250505T132516/IMG_DATA/T23KLP_20250505T132251"
METRES = {60: ["B01", "B09", "B10"], 20: ["B05", "B06", "B07", "B8A", "B11", "B12"]}
METRES[10] = ["B02", "B03", "B04", "B08"]


def sentinel_bundle(folder):
    """Give the recorded item of Sentinel-2 with an archive whose images are on the tile's grid."""
    document, files = recorded("v1.0_S2_L1C_BUNDLE-1"), {}
    for metres, bands in METRES.items():
        grid = from_origin(300000, 7400020, metres, metres)
        shape = (109800 // metres,) * 2
        told = {"dtype": "uint16", "nodata": None, "crs": "EPSG:32723", "transform": grid}
        for band in bands:
            files[f"{IMAGE}_{band}.jp2"] = raster(folder / band, shape=shape, **told)
    return document, bundle_at(document, folder, files)


@needs_data
def test_recorded_bundle_of_landsat_is_read_in_its_archive(tmp_path):
    document, path = landsat_bundle(tmp_path)
    recipe = find_recipe("lc8_dn_1")
    product = product_document(recipe.product)
    made = convert(document, recipe, verify="pixels")
    assert complaints(made, product) == []
    assert list(tmp_path.iterdir()) == [path]
    assert made["grids"] == {
        "default": {"shape": [40, 30], "transform": [30, 0, 199485, 0, -30, -1650000, 0, 0, 1]},
        "B8": {"shape": [79, 59], "transform": [15, 0, 199492.5, 0, -15, -1650007.5, 0, 0, 1]},
    }
    for name, told in made["measurements"].items():
        assert told.get("grid") == ("B8" if name == "B8" else None)
        with rasterio.open(told["path"]) as src:
            grid = made["grids"][told.get("grid", "default")]
            assert (list(src.shape), list(src.transform)) == (grid["shape"], grid["transform"])
    properties = made["properties"]
    assert properties["odc:region_code"] == "217071"
    assert properties["odc:file_format"] == "GeoTIFF"
    assert (properties["eo:platform"], properties["eo:instrument"]) == ("landsat-8", "oli_tirs")
    for verify in ("none", "header", "auto"):
        assert convert(document, recipe, verify=verify) == made


@needs_data
def test_recorded_bundle_of_sentinel_is_read_in_its_archive(tmp_path):
    """`stac_extensions` as a bare string does no harm."""
    document, path = sentinel_bundle(tmp_path)
    recipe = find_recipe("s2_l1c_bundle_n0400")
    product = product_document(recipe.product)
    assert not belongs_to(document, find_recipe("s2_l1c_bundle_before_n0400"))
    made = convert(document, recipe)
    assert complaints(made, product) == []
    assert made == convert(document, recipe, verify="none")
    assert made["crs"] == "epsg:32723"
    # The grid of the tile has the box that the item tells.
    assert footprint(made) == pytest.approx(document["bbox"], abs=2e-3)
    assert {m["name"] for m in product["measurements"]} == set(made["measurements"])
    for metres, bands in METRES.items():
        for band in bands:
            told = made["measurements"][band]
            assert told["path"] == f"/vsizip/{{{path}}}/{IMAGE}_{band}.jp2"
            grid = made["grids"][told.get("grid", "default")]
            assert grid["shape"] == [109800 // metres] * 2
            assert grid["transform"] == [metres, 0, 300000, 0, -metres, 7400020, 0, 0, 1]
    properties = made["properties"]
    assert properties["odc:region_code"] == "23KLP"
    assert properties["odc:file_format"] == "JPEG2000"
    assert (properties["eo:platform"], properties["eo:instrument"]) == ("sentinel-2a", "msi")


@needs_data
def test_a_header_of_each_resolution_does(tmp_path):
    document, _ = landsat_bundle(tmp_path)
    opened = []

    def watched(href, band=1):
        opened.append(href.rpartition("_")[2])
        return read_header(href, band)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("odc_bdc.indexing.items.read_header", watched)
        convert(document, find_recipe("lc8_dn_1"), verify="none")
    assert opened == ["B1.TIF", "B8.TIF"]


@needs_data
def test_no_recorded_item_is_left_out():
    """What else is recorded are definitions of collections, and a record of a database."""
    tested = {case[0] for case in (*SHIPPED, *OWN)}
    tested |= {"v0.9_LC8SR-1", "v0.8_MOD13Q1", "v0.9_LCC", "v0.9_LC8_DN-1", "v1.0_S2_L1C_BUNDLE-1"}
    assert len(tested) == 12
    others = []
    for path in RECORDED.glob("*.json"):
        if path.name.startswith(tuple(tested)):
            continue
        others.append(path.name.split("_")[1])
        with pytest.raises(SceneError, match="not a STAC item"):
            normalise_item(json.loads(path.read_text("utf-8")), UTM, href=BASE)
    assert sorted(others) == ["RAW-fixture", "metadata", "metadata", "v0.8", "v0.9"]


@needs_data
@pytest.mark.parametrize(
    "name",
    [
        "cb4_64_16d_stk_1", "cb4_64_16d_stk_vi_1", "lc8_l1tp_ny", "le7_etm_olinda",
        "mod13q1_6_sinop_lossy", "mod13q1_sinop", "s2_l2a_30tum", "s2_l2a_31ues",
    ],
)  # fmt: skip
def test_real_scenes_pass_every_check(name):
    recipe = find_recipe(name)
    product = product_document(recipe.product)
    paths = sorted((DATA / recipe.collection).glob("*/**/*.json"))
    for path in paths[:: len(paths) // 3 + 1]:
        document = json.loads(path.read_text("utf-8"))
        told = convert(document, recipe, href=str(path), verify="none")
        made = convert(document, recipe, href=str(path), verify="pixels")
        assert complaints(made, product) == []
        for band, file in made["measurements"].items():
            with rasterio.open(file["path"]) as src:
                # The item tells the same pixels, but for the last digits.
                grid = made["grids"][file.get("grid", "default")]
                assert tuple(grid["shape"]) == src.shape
                assert grid["transform"] == pytest.approx(list(src.transform), rel=1e-12)
                assert told["grids"]["default"]["shape"] == grid["shape"], band


CUBE = find_recipe("cb4_64_16d_stk_1")


def item(**changes):
    """Give a small valid item of the cube, with changes of its properties."""
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "CB4_64_16D_STK_v001_021027_2020-07-11_2020-07-26",
        "collection": CUBE.collection,
        "properties": {"bdc:tiles": ["021027"], "datetime": "2020-07-11T00:00:00Z", **changes},
        "assets": {name: {"href": f"{name}.tif"} for name in CUBE.assets},
    }


def properties(recipe=CUBE, **changes):
    return convert(item(**changes), recipe)["properties"]


@pytest.mark.parametrize("tile", ["021027", ["021027"], ["021027", "021028"]])
@pytest.mark.parametrize("name", ["bdc:tile", "bdc:tiles", "own:tile"])
def test_tile_is_text_or_a_list(name, tile):
    recipe = recipe_of(
        CUBE.collection, CUBE.product, list(CUBE.assets), tile_property=name,
        grid={"name": "BDC_LG_V1", "resolution": 64},
    )  # fmt: skip
    document = item(**{"bdc:tiles": None, name: tile})
    assert convert(document, recipe)["properties"]["odc:region_code"] == "021027"


@pytest.mark.parametrize(
    ("given_time", "meant"),
    [
        ("2020-07-11", "2020-07-11T00:00:00Z"),
        ("2020-07-11T13:20:01", "2020-07-11T13:20:01Z"),
        ("2020-07-11T00:00:00.000000Z", "2020-07-11T00:00:00Z"),
        ("2020-07-11T10:20:01.5-03:00", "2020-07-11T13:20:01.500000Z"),
    ],
)
def test_dates_without_zone_are_utc(given_time, meant):
    assert properties(datetime=given_time)["datetime"] == meant


def test_period_is_told_or_read_from_the_id():
    """The midnight with which a period ends is that of its last day's end."""
    found = properties()
    assert found["dtr:start_datetime"] == "2020-07-11T00:00:00Z"
    assert found["dtr:end_datetime"] == "2020-07-26T23:59:59Z"
    told = properties(start_datetime="2020-07-12T00:00:00", end_datetime="2020-07-13T11:00:00")
    assert told["dtr:start_datetime"] == "2020-07-12T00:00:00Z"
    assert told["dtr:end_datetime"] == "2020-07-13T11:00:00Z"
    plain = recipe_of(
        CUBE.collection, CUBE.product, list(CUBE.assets),
        grid={"name": "BDC_LG_V1", "resolution": 64},
    )  # fmt: skip
    assert "dtr:end_datetime" not in properties(plain)


def test_items_without_date_take_the_start():
    found = properties(datetime=None, start_datetime="2020-07-11", end_datetime="2020-07-26")
    assert found["datetime"] == "2020-07-11T00:00:00Z"


def test_ids_follow_from_collection_and_item():
    namespace = uuid.UUID("6f1b6a0e-9c1a-5f5e-8a3e-0b7d2f4c9e11")
    document = item()
    name = "\x1f".join(["scene", document["collection"], document["id"]])
    assert convert(document, CUBE)["id"] == str(uuid.uuid5(namespace, name))
    recipe = recipe_of(
        CUBE.collection, CUBE.product, list(CUBE.assets), id="Name",
        grid={"name": "BDC_LG_V1", "resolution": 64},
    )  # fmt: skip
    name = "\x1f".join(["scene", document["collection"], "scene 7"])
    assert convert(item(Name="scene 7"), recipe)["id"] == str(uuid.uuid5(namespace, name))
    with pytest.raises(SceneError, match="has no Name"):
        convert(document, recipe)


def test_tokens_do_not_get_into_documents():
    document = item()
    for name, asset in document["assets"].items():
        asset["href"] = f"https://example.org/{name}.tif?v=2&access_token=SECRET"
    assert "SECRET" not in json.dumps(convert(document, CUBE))
    assert convert(document, CUBE)["measurements"]["CMASK"]["path"].endswith("CMASK.tif?v=2")
    relative = convert(item(), CUBE, href=f"{BASE}?access_token=SECRET")
    assert relative["measurements"]["CMASK"]["path"] == "https://example.org/items/CMASK.tif"


@pytest.mark.parametrize(
    ("base", "href", "path"),
    [
        ("s3://bucket/a/b/item.json", "../x.tif", "s3://bucket/a/x.tif"),
        ("https://example.org/a/item.json", "/x.tif", "https://example.org/x.tif"),
        ("https://example.org/a/item.json", "s3://bucket/x.tif", "s3://bucket/x.tif"),
        ("https://example.org/a/item.json", "/vsis3/bucket/x.tif", "s3://bucket/x.tif"),
        ("/data/a/item.json", "/vsicurl/https://example.org/x.tif", "https://example.org/x.tif"),
        ("/data/a/item.json", "./b c/../x y.tif", "file:///data/a/x%20y.tif"),
        ("/data/a/item.json", "/data/x.tif", "file:///data/x.tif"),
        ("/data/a/item.json", "file:///data/x%20y.tif", "file:///data/x%20y.tif"),
    ],
)
def test_hrefs_are_made_absolute(base, href, path):
    document = item()
    document["assets"]["CMASK"]["href"] = href
    made = convert(document, CUBE, href=base, verify="none")
    assert made["measurements"]["CMASK"]["path"] == path


SCENE = find_recipe("cb4_wfi_l4_sr")
UTM = recipe_of("S-1", "own_scenes", ["red", "swir"])
UTM_PRODUCT = product_of("own_scenes", {"red": REFLECTANCE, "swir": REFLECTANCE})
PROJ = {"proj:shape": [40, 30], "proj:transform": [30, 0, 500000, 0, -30, 8000000]}


def scene(folder=None, **changes):
    """Give an item in UTM, with its two files if there is a folder."""
    return {
        "type": "Feature",
        "id": "one",
        "collection": "S-1",
        "properties": {"datetime": "2020-07-11", "proj:epsg": 32723, **PROJ, **changes},
        "assets": {n: {"href": str(folder / f"{n}.tif") if folder else n} for n in UTM.assets},
    }


@pytest.mark.parametrize(
    "told",
    [
        {"proj:code": "EPSG:10857"},
        {"proj:epsg": 10857},
        {"proj:epsg": 100001},
        {"proj:epsg": None, "proj:wkt2": BDC_CRS.to_wkt()},
        {"proj:epsg": None, "proj:projjson": BDC_CRS.proj.to_json_dict()},
        {"proj:code": None, "proj:wkt2": BDC_CRS.to_wkt(version="WKT1_GDAL")},
    ],
)
def test_the_crs_of_the_bdc_is_always_the_same_text(told):
    document = scene(**{"proj:epsg": None, **told})
    made = convert(document, UTM, UTM_PRODUCT)
    assert made["crs"] == BDC_CRS.to_wkt()
    assert complaints(made, UTM_PRODUCT) == []


def test_other_crs_are_codes():
    assert convert(scene(), UTM, UTM_PRODUCT)["crs"] == "epsg:32723"
    told = {"proj:epsg": None, "proj:wkt2": CRS("EPSG:32723").to_wkt()}
    assert convert(scene(**told), UTM, UTM_PRODUCT)["crs"] == "epsg:32723"


def test_assets_have_grids_of_their_own():
    document = scene()
    document["assets"]["swir"] |= {
        "proj:shape": [20, 15],
        "proj:transform": [60, 0, 500000, 0, -60, 8000000, 0, 0, 1],
    }
    made = convert(document, UTM, UTM_PRODUCT)
    assert made["grids"]["swir"]["shape"] == [20, 15]
    assert made["measurements"]["swir"] == {
        "path": "https://example.org/items/swir",
        "grid": "swir",
    }
    assert made["geometry"]["coordinates"][0][2] == [500000, 8000000]
    assert complaints(made, UTM_PRODUCT) == []


def test_a_box_tells_the_transform():
    document = scene(**{"proj:bbox": [500000, 7998800, 500900, 8000000]})
    del document["properties"]["proj:transform"]
    assert convert(document, UTM, UTM_PRODUCT) == convert(scene(), UTM, UTM_PRODUCT)


def test_bands_of_one_file(tmp_path):
    recipe = recipe_of(
        "S-1", "own_scenes", {"red": {"asset": "all"}, "swir": {"asset": "all", "band": 2}}
    )
    document = scene()
    document["assets"] = {"all": {"href": str(raster(tmp_path / "all.tif", count=2))}}
    made = convert(document, recipe, UTM_PRODUCT)
    assert made["measurements"]["swir"]["band"] == 2
    assert complaints(made, UTM_PRODUCT) == []
    raster(tmp_path / "all.tif")
    with pytest.raises(SceneError, match="no band 2; it has 1"):
        convert(document, recipe, UTM_PRODUCT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"datetime": None}, "item one: the item has no datetime"),
        ({"datetime": "soon"}, "item one: datetime: 'soon' is not a date"),
        ({"datetime": "0001-01-01T00:00:00+10:00"}, "is not a date"),
        (
            {"start_datetime": "2020-02-01", "end_datetime": "2020-01-01"},
            "ends on 2020-01-01, before it starts",
        ),
        ({"proj:epsg": 0}, "its CRS cannot be read"),
        ({"proj:epsg": True}, "its CRS cannot be read"),
        ({"proj:code": "EPSG:5773"}, "neither a projected nor a geographic CRS"),
        ({"proj:shape": [40]}, "proj:shape .* is not a number of rows and columns"),
        ({"proj:shape": [0, 10**30]}, "is not a number of rows and columns"),
        ({"proj:transform": [1, 2, 3]}, "is not 6 or 9 numbers"),
        ({"proj:transform": [0, 0, 0, 0, 0, 0]}, "gives pixels no size"),
        ({"platform": {}}, "platform: {} is not text"),
        ({"platform": "a\x00b"}, "no database stores"),
    ],
)
def test_what_cannot_be_is_named(change, message):
    with pytest.raises(SceneError, match=message):
        convert(scene(**change), UTM, UTM_PRODUCT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(type="Collection"), "not a STAC item"),
        (lambda d: d.pop("id"), "it has no id"),
        (lambda d: d.update(id="\ud800"), "no database stores"),
        (lambda d: d.update(properties=[]), "it has no properties"),
        (lambda d: d.pop("assets"), "it has no assets"),
        (lambda d: d.update(collection="S-2"), "is of collection 'S-2'; recipe own is for 'S-1'"),
        (lambda d: d["assets"].pop("red"), "no asset 'red' for red; it has: swir"),
        (lambda d: d["assets"].update(red="red.tif"), "asset 'red' has no href"),
        (lambda d: d["assets"]["red"].update({"bdc:raster_size": 7}), None),
    ],
)
def test_what_is_missing_is_named(change, message):
    document = scene()
    change(document)
    if message is None:  # the projection extension comes first
        assert convert(document, UTM, UTM_PRODUCT)
        return
    with pytest.raises(SceneError, match=message):
        convert(document, UTM, UTM_PRODUCT)


def landsat(item_id, sensor, **told):
    recipe = find_recipe(f"landsat_2_{sensor}")
    document = scene(**told) | {"id": item_id, "collection": "landsat-2"}
    document["assets"] = {key: {"href": "x.tif"} for key in recipe.assets.values()}
    return convert(document, recipe)["properties"]


def test_landsat_scenes_become_the_product_of_their_sensor():
    name = "LC08_L2SP_218068_20200828_20200905_02_T1"
    found = landsat(name, "oli", platform="LANDSAT_8")
    assert found["eo:platform"] == "landsat-8"
    assert landsat(name.replace("LC08", "LT05"), "tm")["eo:instrument"] == "tm"
    with pytest.raises(SceneError, match="platform is 'landsat-8', so it is of another product"):
        landsat(name, "etm")


def test_scenes_of_sibling_products_are_no_faults():
    recipe = find_recipe("landsat_2_oli")
    document = scene() | {"id": "LE07_L2SP_218068_20200828_20200905_02_T1"}
    assert not belongs_to(document, recipe)
    assert belongs_to(document, find_recipe("landsat_2_etm"))
    # What is broken, or does not tell, is to be reported.
    for reported in (document | {"id": "one"}, document | {"properties": 7}, [], None):
        assert belongs_to(reported, recipe)
    assert belongs_to(document, CUBE)


@pytest.mark.parametrize(
    ("baseline", "told", "name"),
    [("N0301", {}, "S2_L2A_1"), ("N0509", {}, "S2_L2A_1_N0400"), ("N0400", {}, "S2_L2A_1_N0400")],
)
def test_sentinel_scenes_become_the_product_of_their_baseline(baseline, told, name):
    item_id = f"S2A_MSIL2A_20230101T131251_{baseline}_R138_T23LLJ_20230101T181254"
    taken = []
    for recipe in [r for r in shipped_recipes().values() if r.collection == "S2_L2A-1"]:
        document = scene(**told) | {"id": item_id, "collection": "S2_L2A-1"}
        document["assets"] = {key: {"href": "x.tif"} for key in recipe.assets.values()}
        try:
            taken.append(convert(document, recipe)["product"]["name"])
        except SceneError as e:
            assert "s2:processing_baseline" in str(e)  # noqa: PT017 (one of both recipes refuses)
    assert taken == [name]


def test_what_items_say_of_encodings_is_compared_with_the_product():
    document = scene()
    document["assets"]["red"]["raster:bands"] = [{"data_type": "uint16"}]
    with pytest.raises(SceneError, match="dtype uint16; product own_scenes says int16 for red"):
        convert(document, UTM, UTM_PRODUCT)
    document["assets"]["red"]["raster:bands"] = [{"data_type": "int16", "nodata": 0}]
    with pytest.raises(SceneError, match="nodata 0; product own_scenes says -9999"):
        convert(document, UTM, UTM_PRODUCT)
    document["assets"]["red"]["raster:bands"] = [{"scale": 0.0001, "offset": -0.1}]
    with pytest.raises(SceneError, match=r"scale 0.0001; product own_scenes says 1"):
        convert(document, UTM, UTM_PRODUCT)


def test_a_recipe_corrects_what_items_say():
    """CMASK has no data where it is 0; the BDC's definition of 2026 says 255."""
    recipe = find_recipe("cbers4_wfi_16d_2")
    document = item() | {"id": "CBERS4-WFI-16D_V2_007004_20200711", "collection": recipe.collection}
    document["properties"]["bdc:tiles"] = ["007004"]
    document["assets"] = {
        name: {"href": name, "eo:bands": [{"name": name}]} for name in recipe.assets
    }
    document["assets"]["CMASK"]["eo:bands"] = [{"data_type": "uint8", "nodata": 255.0}]
    assert convert(document, recipe)["grids"]["default"]["shape"] == [6600, 6600]
    plain = recipe_of(
        recipe.collection, recipe.product, list(recipe.assets),
        grid={"name": "BDC_LG_V2", "resolution": 64},
    )  # fmt: skip
    with pytest.raises(SceneError, match="nodata 255; product CBERS4_WFI_16D_2 says 0 for CMASK"):
        convert(document, plain)


@needs_data
def test_bands_as_positions_in_the_list_of_the_item():
    document, recipe = recorded("v0.9_CB4_64_16D_STK_v001"), find_recipe("cb4_64_16d_stk_1")
    position = document["assets"]["BAND14"]["eo:bands"][0]
    document["properties"]["eo:bands"][position]["data_type"] = "float32"
    with pytest.raises(SceneError, match=r"_BAND14.tif: dtype float32"):
        convert(document, recipe)


@pytest.fixture
def good(tmp_path):
    """Give the item of two files on disk, and their folder."""
    for name in UTM.assets:
        raster(tmp_path / f"{name}.tif")
    return scene(tmp_path), tmp_path


def test_remote_files_are_not_opened_unless_somebody_asks():
    with closed_files():
        assert convert(scene(), UTM, UTM_PRODUCT) == convert(
            scene(), UTM, UTM_PRODUCT, verify="none"
        )
        with pytest.raises(SceneError, match="somebody opened it"):
            convert(scene(), UTM, UTM_PRODUCT, verify="header")
        with pytest.raises(SceneError, match="red: somebody opened it"):
            convert(scene(**{"proj:shape": None}), UTM, UTM_PRODUCT)


def test_good_files_pass_every_check(good):
    document, _ = good
    made = {v: convert(document, UTM, UTM_PRODUCT, verify=v) for v in ("none", "header", "pixels")}
    assert made["none"] == made["header"] == made["pixels"]
    assert convert(document, UTM, UTM_PRODUCT) == made["header"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "uint16", "nodata": 0}, "dtype uint16; product own_scenes says int16 for swir"),
        ({"crs": "EPSG:32722"}, "wrong CRS EPSG:32722; item one says EPSG:32723"),
        ({"shape": (40, 31)}, r"shape \(40, 31\); item one says \(40, 30\)"),
        ({"transform": from_origin(500300, 8000000, 30, 30)}, "lies 10 pixels from where item one"),
    ],
)
def test_headers_tell_other_files(good, change, message):
    document, folder = good
    raster(folder / "swir.tif", **change)
    with pytest.raises(SceneError, match=message):
        convert(document, UTM, UTM_PRODUCT)
    assert convert(document, UTM, UTM_PRODUCT, verify="none")


def test_the_nodata_value_of_a_header_is_believed_but_not_that_of_codes(good):
    document, folder = good
    raster(folder / "swir.tif", nodata=7208)
    assert convert(document, UTM, UTM_PRODUCT, verify="pixels")["measurements"]["swir"]
    codes = replace(UTM, quality="swir")
    with pytest.raises(SceneError, match="nodata 7208; product own_scenes says -9999 for swir"):
        convert(document, codes, UTM_PRODUCT)


def test_a_product_of_one_crs_is_held_to_it(good):
    document, _ = good
    product = product_of("own_scenes", {"red": REFLECTANCE, "swir": REFLECTANCE}, crs="EPSG:32722")
    with pytest.raises(
        SceneError, match="wrong CRS EPSG:32723; product own_scenes says EPSG:32722"
    ):
        convert(document, UTM, product)


def test_truncated_and_missing_files(good):
    document, folder = good
    path = folder / "swir.tif"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SceneError, match=r"swir.tif: truncated"):
        convert(document, UTM, UTM_PRODUCT)
    path.write_text("no raster", "utf-8")
    with pytest.raises(SceneError, match=r"swir.tif: cannot be read as a raster"):
        convert(document, UTM, UTM_PRODUCT)
    path.unlink()
    with pytest.raises(SceneError, match=r"swir.tif: no such file"):
        convert(document, UTM, UTM_PRODUCT)


def test_swapped_files_that_are_named_inside(good):
    document, folder = good
    for path, name in ((folder / "red.tif", "swir"), (folder / "swir.tif", "red")):
        with rasterio.open(path, "r+") as out:
            out.set_band_description(1, name)
    with pytest.raises(SceneError, match="asset 'red' of item one, but calls itself swir"):
        convert(document, UTM, UTM_PRODUCT)


def test_swapped_files_that_differ_in_size(good):
    document, folder = good
    for name, asset in document["assets"].items():
        asset["bdc:size"] = (folder / f"{name}.tif").stat().st_size
    assert convert(document, UTM, UTM_PRODUCT)
    document["assets"]["swir"]["bdc:size"] += 1
    with pytest.raises(SceneError, match=r"swir.tif: truncated: \d+ bytes on disk, the item says"):
        convert(document, UTM, UTM_PRODUCT)


def test_swapped_files_that_differ_in_pixels_only(good):
    document, folder = good
    with rasterio.open(folder / "swir.tif", "r+") as out:
        out.write(np.full((1, 40, 30), 7, "int16"))
    for name, asset in document["assets"].items():
        digest = hashlib.sha256((folder / f"{name}.tif").read_bytes()).hexdigest()
        asset["checksum:multihash"] = f"1220{digest}"
    assert convert(document, UTM, UTM_PRODUCT, verify="pixels")
    red, swir = folder / "red.tif", folder / "swir.tif"
    red.rename(folder / "other.tif")
    swir.rename(red)
    (folder / "other.tif").rename(swir)
    assert convert(document, UTM, UTM_PRODUCT, verify="header")
    with pytest.raises(SceneError, match=r"red.tif: its checksum is not the item's"):
        convert(document, UTM, UTM_PRODUCT, verify="pixels")


def test_blocks_that_cannot_be_read(good):
    document, folder = good
    path = folder / "swir.tif"
    with rasterio.open(path) as src:
        offset = int(src.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
    spoilt = bytearray(path.read_bytes())
    spoilt[offset : offset + 60] = b"\xff" * 60
    path.write_bytes(spoilt)
    assert convert(document, UTM, UTM_PRODUCT, verify="header")
    with pytest.raises(SceneError, match=r"swir.tif: cannot be read as a raster"):
        convert(document, UTM, UTM_PRODUCT, verify="pixels")


def test_quality_of_another_coding(tmp_path):
    """A file of counts passes for CMASK by its header; 3 is no code of CMASK."""
    recipe = SCENE
    document = scene(**{"proj:epsg": None, "proj:wkt2": BDC_CRS.to_wkt()})
    document |= {"collection": recipe.collection, "assets": {}}
    for name in recipe.assets:
        told = {"dtype": "uint8", "nodata": 0} if name == "CMASK" else {}
        path = raster(tmp_path / f"{name}.tif", crs=BDC_CRS.to_wkt(), **told)
        document["assets"][name] = {"href": str(path)}
    assert convert(document, recipe)
    with pytest.raises(SceneError, match=r"holds the value 1, .* \(0, 127, 255\)"):
        convert(document, recipe, verify="pixels")
    with rasterio.open(tmp_path / "CMASK.tif", "r+") as out:
        out.write(np.full((1, 40, 30), 127, "uint8"))
    assert convert(document, recipe, verify="pixels")


IN_ARCHIVE = {"asset": "all", "member": "{id}/{own:part}_{measurement}.tif"}
BUNDLE = recipe_of("S-1", "own_scenes", {"red": IN_ARCHIVE, "swir": IN_ARCHIVE})


def bundle(href="all.zip", **properties):
    """Give an item whose files are all in one archive, with their pixel grid."""
    document = scene(**{"own:part": 7, **properties})
    document["assets"] = {"all": {"href": href}}
    return document


@pytest.mark.parametrize(
    ("href", "paths"),
    [
        ("all.zip", "/vsizip/{/vsicurl/https://example.org/items/all.zip}/one/7_red.tif"),
        ("all.tar", "/vsitar/{/vsicurl/https://example.org/items/all.tar}/one/7_red.tif"),
        (
            "all.tar.gz?v=1&access_token=secret",
            "/vsitar/{/vsigzip//vsicurl/https://example.org/items/all.tar.gz?v=1}/one/7_red.tif",
        ),
        ("s3://bucket/all.TGZ", "/vsitar/{/vsigzip//vsis3/bucket/all.TGZ}/one/7_red.tif"),
        ("/vsicurl/http://a.b/all.zip", "/vsizip/{/vsicurl/http://a.b/all.zip}/one/7_red.tif"),
    ],
)
def test_members_have_the_names_that_gdal_has_for_them(href, paths):
    with closed_files():
        made = convert(bundle(href), BUNDLE, UTM_PRODUCT, verify="none")
    assert made["measurements"]["red"]["path"] == paths


def test_members_on_a_disk_are_named_by_items_on_a_disk():
    document = bundle("file:///data/all%20of%20it.zip")
    found = normalise_item(document, BUNDLE, href="/items/one.json").files["red"].path
    assert found == "/vsizip/{/data/all of it.zip}/one/7_red.tif"
    with pytest.raises(SceneError, match="is a file of this machine"):
        normalise_item(document, BUNDLE, href=BASE)


@pytest.mark.parametrize("name", ["all.zip", "all.tar", "all.tar.gz", "all.tgz"])
def test_archives_without_members_in_the_recipe_are_refused(name):
    plain = recipe_of("S-1", "own_scenes", {"red": "all"})
    with pytest.raises(SceneError) as raised:
        normalise_item(bundle(name), plain, href=BASE)
    assert str(raised.value) == (
        f"item one: asset 'all' is an archive, https://example.org/items/{name}; recipe own must "
        "name the member in it that is red, as in {asset: all, member: '{id}_red.TIF'}"
    )


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (bundle("all.7z"), r"item one: red is a member of .*/all.7z, which is no archive \(.zip"),
        (bundle(**{"own:part": None}), "item one: has no own:part, which the recipe wants in the"),
        (bundle(**{"own:part": [7]}), r"item one: own:part: \[7\] is not text"),
        (bundle("ftp://host/all.zip"), "ftp://host/all.zip: is no path and no address of a file"),
    ],
)
def test_members_that_cannot_be_named(document, message):
    with pytest.raises(SceneError, match=message):
        convert(document, BUNDLE, UTM_PRODUCT, verify="none")


@pytest.fixture(params=["all.zip", "all.tar", "all.tar.gz"])
def good_bundle(request, tmp_path):
    """Give the item of an archive on disk, and its path."""
    files = {f"one/7_{name}.tif": raster(tmp_path / name) for name in ("red", "swir")}
    path = packed(tmp_path / request.param, files)
    return bundle(str(path)), path


def refused(document, path, **options):
    """Give why an item is refused, without the path of the archive that comes first."""
    with pytest.raises(SceneError) as raised:
        convert(document, BUNDLE, UTM_PRODUCT, **options)
    reason = str(raised.value)
    assert reason.startswith(f"{path}: ")
    assert "\n" not in reason
    return reason.removeprefix(f"{path}: ")


def test_faulty_archives_are_named_with_the_member(good_bundle):
    document, path = good_bundle
    assert convert(document, BUNDLE, UTM_PRODUCT, verify="pixels")
    other = copy.deepcopy(document)
    other["properties"]["own:part"] = 8
    reason = refused(other, path)
    assert reason == "has no member one/8_red.tif, do you mean one/7_red.tif?"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    document["assets"]["all"]["bdc:size"] = len(whole)
    reason = refused(document, path)
    assert reason.startswith(("cannot be read as an archive: ", "truncated: "))
    path.write_text("nothing of the kind", "utf-8")
    assert refused(document, path).startswith("cannot be read as an archive: ")
    path.unlink()
    assert refused(document, path) == "no such file"


def test_archives_are_compared_with_size_and_checksum(good_bundle):
    document, path = good_bundle
    asset = document["assets"]["all"]
    asset |= {"file:size": path.stat().st_size, "file:checksum": f"1220{'0' * 64}"}
    assert convert(document, BUNDLE, UTM_PRODUCT)
    assert "its checksum is not the item's" in refused(document, path, verify="pixels")
    asset["file:size"] -= 1
    assert "another file" in refused(document, path)


def test_members_that_are_no_rasters(tmp_path):
    (tmp_path / "text").write_text("no raster", "utf-8")
    files = {"one/7_red.tif": raster(tmp_path / "red"), "one/7_swir.tif": tmp_path / "text"}
    path = packed(tmp_path / "all.zip", files)
    reason = refused(bundle(str(path)), path)
    assert reason.startswith("its member one/7_swir.tif cannot be read as a raster: ")


def test_members_are_compared_with_item_and_product(tmp_path):
    files = {"one/7_red.tif": raster(tmp_path / "red", "uint16", 0)}
    files["one/7_swir.tif"] = raster(tmp_path / "swir")
    path = packed(tmp_path / "all.tar.gz", files)
    with pytest.raises(SceneError, match=r"all.tar.gz\}/one/7_red.tif: dtype uint16; product own"):
        convert(bundle(str(path)), BUNDLE, UTM_PRODUCT)
    document = bundle(**{"eo:bands": [{"name": "swir"}, {"name": "red", "data_type": "uint8"}]})
    with pytest.raises(SceneError, match=r"one/7_red.tif: dtype uint8; product own_scenes says"):
        convert(document, BUNDLE, UTM_PRODUCT)


def test_mixed_resolutions_without_grids_read_every_header(tmp_path):
    document = scene(tmp_path)
    for key in ("proj:epsg", *PROJ):
        del document["properties"][key]
    raster(tmp_path / "red.tif")
    raster(tmp_path / "swir.tif", shape=(20, 15), transform=from_origin(500000, 8000000, 60, 60))
    mixed = recipe_of("S-1", "own_scenes", ["red", "swir"], mixed_resolutions=True)
    made = convert(document, mixed, UTM_PRODUCT, verify="none")
    assert made["grids"]["swir"] == {
        "shape": [20, 15],
        "transform": [60, 0, 500000, 0, -60, 8000000, 0, 0, 1],
    }
    # The number of pixels alone tells it as well: the ground is the same.
    document["assets"]["swir"]["bdc:raster_size"] = {"x": 15, "y": 20}
    assert convert(document, UTM, UTM_PRODUCT, verify="none") == made


def test_documents_are_written_as_they_are(good, tmp_path):
    from datacube.utils.documents import read_documents

    document, folder = good
    location = folder / "one.odc-metadata.yaml"
    made = convert(document, UTM, UTM_PRODUCT, location=location)
    assert made["measurements"]["red"] == {"path": "red.tif"}
    write_document(made, location)
    ((_, read),) = read_documents(location)
    assert read == made


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


def try_to_convert(document):
    cases = (UTM, UTM_PRODUCT), (BUNDLE, UTM_PRODUCT), (CUBE, product_document(CUBE.product))
    for recipe, product in cases:
        made, reason = None, "none"
        with closed_files():
            try:
                made = convert(document, recipe, product, verify="none")
            except OdcBdcError as e:
                reason = str(e)
        reason.encode()  # a report can be printed
        assert reason
        if made is not None:
            assert complaints(made, product) == []
            json.dumps(made, allow_nan=False).encode()


@given(JSON)
def test_any_json_gives_a_document_or_an_error(document):
    try_to_convert(document)


@pytest.mark.parametrize(
    "path",
    [
        ("id",), ("collection",), ("properties", "datetime"), ("properties", "platform"),
        ("properties", "proj:projjson"), ("properties", "proj:shape"),
        ("properties", "proj:transform"), ("assets", "red"), ("assets", "red", "href"),
    ],
)  # fmt: skip
def test_values_may_be_nested_as_deeply_as_json_is_read(path):
    document, deep = scene(**{"proj:epsg": None}), {}
    for _ in range(sys.getrecursionlimit() + 100):
        deep = {"a": deep}
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = deep
    with pytest.raises(SceneError):
        normalise_item(document, UTM, href=BASE)


NAMES = st.sampled_from(
    [
        "type", "id", "collection", "properties", "assets", "datetime", "start_datetime",
        "end_datetime", "updated", "bdc:tile", "bdc:tiles", "proj:epsg", "proj:code", "proj:wkt2",
        "proj:projjson", "proj:shape", "proj:transform", "proj:bbox", "platform", "instruments",
        "gsd", "eo:gsd", "eo:cloud_cover", "eo:bands", "raster:bands", "bands", "data_type",
        "nodata", "scale", "bdc:raster_size", "x", "y", "href", "file:size", "checksum:multihash",
        "red", "swir", "CMASK", "BAND13", "landsat:wrs_path", "own:part", "all",
    ]
)  # fmt: skip
TYPICAL = st.sampled_from(
    [
        "", "nan", "\x00", "\ud800", "é", "EPSG:4326", "EPSG:10857", "EPSG:5773", "urn:x", "2020",
        "x{}.zip", "2020-01-01T00:00:00", "9999-12-31T23:59:59-12:00", "021027", "http://[x", "//", "s3://",
        "https://x/?access_token=%", 0, -1, 2**70, 1e308, 10857, [], {}, [None], [1, 2], [0] * 6,
        [1, 0, 0, 0, -1, 0], [[]], [{}], {"x": 5, "y": 5}, {"x": -5}, float("inf"), float("nan"),
    ]
)  # fmt: skip


def places(value, at=()):
    """Give the paths to all values below one."""
    parts = value.items() if isinstance(value, dict) else ()
    parts = enumerate(value) if isinstance(value, list) else parts
    for key, part in parts:
        yield (*at, key)
        yield from places(part, (*at, key))


def start_documents():
    found = [item(), scene(), bundle()]
    if RECORDED.is_dir():
        found += [recorded(name) for name, _ in SHIPPED]
    return found


@given(st.data())
@settings(max_examples=300)
def test_spoilt_items_give_a_document_or_an_error(data):
    document = copy.deepcopy(data.draw(st.sampled_from(start_documents())))
    if document["collection"] != CUBE.collection and data.draw(st.booleans()):
        document["collection"] = CUBE.collection
    for _ in range(data.draw(st.integers(1, 4))):
        path = data.draw(st.sampled_from(list(places(document)) or [()]))
        if not path:
            break
        place = document
        for key in path[:-1]:
            place = place[key]
        value = copy.deepcopy(data.draw(TYPICAL | JSON))
        if isinstance(place, dict) and data.draw(st.booleans()):
            place[data.draw(NAMES)] = value
        else:
            place[path[-1]] = value
    try_to_convert(document)
