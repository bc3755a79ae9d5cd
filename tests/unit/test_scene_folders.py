"""Folders of scenes without STAC: names as the agencies give them, pixels made here."""

import json

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from odc_bdc.errors import InvalidValueError, SceneError
from odc_bdc.grid import BDC_CRS
from odc_bdc.indexing import (
    IngestRecipe,
    find_recipe,
    folder_items,
    item_document,
    normalise_item,
)
from odc_bdc.product import product_document


def raster(path, dtype="int16", nodata=-9999, size=20, crs="EPSG:32723", driver="GTiff"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver=driver, count=1, height=size, width=size, dtype=dtype, nodata=nodata,
        crs=crs, transform=from_origin(500000, 8000000, 1200 / size, 1200 / size),
    ) as out:  # fmt: skip
        out.write(np.ones((1, size, size), dtype))
    return path


def files(folder, recipe, name, keys=None, **told):
    """Write a file for each measurement of a recipe, of the type that its product has."""
    for m in product_document(recipe.product)["measurements"]:
        key = (keys or {}).get(m["name"], m["name"])
        raster(folder / name.format(key), m["dtype"], m["nodata"], **told)


def documents(recipe, folder):
    found = list(folder_items(recipe, folder))
    assert [item.error for item in found] == [None] * len(found)
    product = product_document(recipe.product)
    return [
        item_document(
            normalise_item(item.document, recipe, href=item.href), recipe, product, location=None
        )
        for item in found
    ]


def test_layout_of_bdc_v1(tmp_path):
    recipe = find_recipe("cb4_64_16d_stk_1")
    for start, end in (("2020-07-11", "2020-07-26"), ("2020-07-27", "2020-08-11")):
        folder = tmp_path / f"CB4_64_16D_STK/v001/021027/{start}_{end}"
        name = f"CB4_64_16D_STK_v001_021027_{start}_{end}"
        files(folder, recipe, f"{name}_{{}}.tif", crs=BDC_CRS.to_wkt())
        raster(folder / "notes.tif")
        (folder / f"{name}.png").write_bytes(b"")
    first, second = documents(recipe, tmp_path)
    assert first["label"] == "CB4_64_16D_STK_v001_021027_2020-07-11_2020-07-26"
    assert first["properties"] == {
        "datetime": "2020-07-11T00:00:00Z",
        "dtr:start_datetime": "2020-07-11T00:00:00Z",
        "dtr:end_datetime": "2020-07-26T23:59:59Z",
        "odc:processing_datetime": "2020-07-11T00:00:00Z",
        "odc:file_format": "GeoTIFF",
        "odc:region_code": "021027",
    }
    # The header is believed: this is a small part of the tile.
    assert first["grids"]["default"]["shape"] == [20, 20]
    assert second["properties"]["datetime"] == "2020-07-27T00:00:00Z"
    assert second["measurements"]["CMASK"]["path"].endswith(
        "/v001/021027/2020-07-27_2020-08-11/"
        "CB4_64_16D_STK_v001_021027_2020-07-27_2020-08-11_CMASK.tif"
    )


def test_layout_of_bdc_v2(tmp_path):
    recipe = find_recipe("s2_16d_2")
    folder = tmp_path / "s2-16d/v2/020/020/2021/12/19"
    files(folder, recipe, "S2-16D_V2_020020_20211219_{}.tif", crs=BDC_CRS.to_wkt())
    (made,) = documents(recipe, tmp_path)
    assert made["label"] == "S2-16D_V2_020020_20211219"
    assert made["properties"]["datetime"] == "2021-12-19T00:00:00Z"
    assert made["properties"]["odc:region_code"] == "020020"
    assert len(made["measurements"]) == 19


LANDSAT = "LC08_L2SP_218068_20200828_20200905_02_T1"
MTL = {
    "LANDSAT_METADATA_FILE": {
        "PRODUCT_CONTENTS": {"LANDSAT_PRODUCT_ID": LANDSAT},
        "IMAGE_ATTRIBUTES": {
            "SPACECRAFT_ID": "LANDSAT_8",
            "SENSOR_ID": "OLI_TIRS",
            "DATE_ACQUIRED": "2020-08-28",
            "SCENE_CENTER_TIME": "12:54:40.2590850Z",
            "CLOUD_COVER": "0.88",
        },
    }
}


def mtl_text(group, depth=1):
    lines = []
    for key, value in group.items():
        if isinstance(value, dict):
            inner = mtl_text(value, depth + 1)
            lines += [f"GROUP = {key}", *inner, f"END_GROUP = {key}"]
        else:
            lines.append(
                "  " * depth
                + (f'{key} = "{value}"' if key != "CLOUD_COVER" else f"{key} = {value}")
            )
    return lines


def landsat(tmp_path):
    recipe = find_recipe("landsat_2_oli")
    keys = {f"OLI_B{n}": f"SR_B{n}" for n in range(1, 8)}
    files(tmp_path / LANDSAT, recipe, f"{LANDSAT}_{{}}.TIF", keys)
    return recipe, tmp_path / LANDSAT / f"{LANDSAT}_MTL"


@pytest.mark.parametrize("form", ["json", "txt"])
def test_layout_of_landsat_collection_2(tmp_path, form):
    recipe, mtl = landsat(tmp_path)
    text = json.dumps(MTL) if form == "json" else "\n".join([*mtl_text(MTL), "END"])
    mtl.with_suffix(f".{form}").write_text(text, "utf-8")
    (made,) = documents(recipe, tmp_path)
    assert made["label"] == LANDSAT
    assert made["properties"] == {
        "datetime": "2020-08-28T12:54:40.259085Z",
        "odc:processing_datetime": "2020-08-28T12:54:40.259085Z",
        "odc:file_format": "GeoTIFF",
        "odc:region_code": "218068",
        "eo:platform": "landsat-8",
        "eo:instrument": "oli_tirs",
        "eo:cloud_cover": 0.88,
        "landsat:wrs_path": 218,
        "landsat:wrs_row": 68,
    }
    assert made["measurements"]["OLI_B2"]["path"].endswith("_SR_B2.TIF")


def test_landsat_without_or_with_broken_metadata(tmp_path):
    recipe, mtl = landsat(tmp_path)
    (made,) = documents(recipe, tmp_path)
    assert made["properties"]["datetime"] == "2020-08-28T00:00:00Z"
    for text in ("{", "[]", '{"DATE_ACQUIRED": "2020-08-28"}'):
        mtl.with_suffix(".json").write_text(text, "utf-8")
        (found,) = folder_items(recipe, tmp_path)
        assert found.document is None
        assert "_MTL.json: cannot be read" in found.error


def test_another_sensor_is_refused(tmp_path):
    _, _ = landsat(tmp_path)
    recipe = find_recipe("landsat_2_etm")
    with pytest.raises(SceneError, match="it is of another product"):
        documents(recipe, tmp_path)


SAFE = "S2A_MSIL2A_20230101T131251_N0509_R138_T23LLJ_20230101T181254"
SIZES = {"B01": 60, "B09": 60, "B05": 20, "B06": 20, "B07": 20, "B8A": 20, "B11": 20, "B12": 20}


def test_layout_of_sentinel_2_safe(tmp_path):
    recipe = find_recipe("s2_l2a_n0400")
    images = tmp_path / f"{SAFE}.SAFE/GRANULE/L2A_T23LLJ_A039328_20230101T131249/IMG_DATA"
    for m in product_document(recipe.product)["measurements"]:
        name = m["name"]
        finest = SIZES.get(name, 20 if name == "SCL" else 10)
        for size in (s for s in (10, 20, 60) if s >= finest):
            path = images / f"R{size}m/T23LLJ_20230101T131251_{name}_{size}m.jp2"
            # JPEG 2000 has no nodata value, and so do ESA's files.
            raster(path, m["dtype"], None, 1200 // size, driver="JP2OpenJPEG")
            path.with_suffix(".jp2.aux.xml").unlink(missing_ok=True)
    (tmp_path / f"{SAFE}.SAFE/MTD_MSIL2A.xml").write_text(
        "<a><Cloud_Coverage_Assessment>7.25</Cloud_Coverage_Assessment></a>", "utf-8"
    )
    (made,) = documents(recipe, tmp_path)
    assert made["label"] == SAFE
    assert made["properties"]["datetime"] == "2023-01-01T13:12:51Z"
    assert made["properties"]["odc:region_code"] == "23LLJ"
    assert made["properties"]["eo:platform"] == "sentinel-2a"
    assert made["properties"]["eo:cloud_cover"] == 7.25
    shapes = {
        name: made["grids"][m.get("grid", "default")]["shape"][0]
        for name, m in made["measurements"].items()
    }
    assert (shapes["B01"], shapes["B05"], shapes["B04"], shapes["SCL"]) == (20, 60, 120, 60)
    with pytest.raises(SceneError, match=r"s2:processing_baseline is '05.09'"):
        documents(find_recipe("s2_l2a_before_n0400"), tmp_path)


@pytest.mark.parametrize(
    "name",
    [f"{SAFE}/{{}}.tif", f"{SAFE}/{SAFE}_{{}}.tif", f"{SAFE}/T23LLJ_20230101T131251_{{}}_10m.tif"],
)
def test_layout_of_sentinel_2_cogs(tmp_path, name):
    recipe = find_recipe("s2_l2a_n0400")
    files(tmp_path, recipe, name)
    raster(tmp_path / name.format("TCI"), "uint8", None)
    (made,) = documents(recipe, tmp_path)
    assert made["label"] == SAFE
    assert made["properties"]["datetime"] == "2023-01-01T13:12:51Z"


def test_layout_of_sentinel_2_cogs_by_tile(tmp_path):
    """Names without baseline: the recipe must do without as well."""
    recipe = IngestRecipe.from_dict(
        {
            "collection": "sentinel-s2-l2a-cogs",
            "product": "S2_L2A_31UES_1",
            "assets": ["B02", "B03", "B04", "B08", "SCL"],
        },
        "own",
    )
    folder = tmp_path / "31/U/ES/2020/7/S2A_31UES_20200701_0_L2A"
    files(folder, recipe, "{}.tif", crs="EPSG:32631")
    (made,) = documents(recipe, tmp_path)
    assert made["label"] == "S2A_31UES_20200701_0_L2A"
    assert made["properties"]["datetime"] == "2020-07-01T00:00:00Z"
    assert made["properties"]["odc:region_code"] == "31UES"


@pytest.mark.parametrize(
    ("recipe", "scene", "suffix", "platform", "instrument"),
    [
        ("cb4a_wfi_l4_sr", "CBERS_4A_WFI_20200801_221_156_L4", "", "cbers-4a", "wfi"),
        ("cb4_mux_l4_sr", "CBERS_4_MUX_20200828_157_118_L4", "_GRID_SURFACE", "cbers-4", "mux"),
    ],
)
def test_layout_of_inpes_catalogue(tmp_path, recipe, scene, suffix, platform, instrument):
    recipe = find_recipe(recipe)
    files(tmp_path / scene, recipe, f"{scene}_{{}}{suffix}.tif")
    (made,) = documents(recipe, tmp_path)
    assert made["label"] == scene
    assert made["properties"]["odc:region_code"] == scene[-10:-3].replace("_", "")
    assert made["properties"]["eo:platform"] == platform
    assert made["properties"]["eo:instrument"] == instrument
    assert made["properties"]["datetime"].startswith(f"{scene[-19:-15]}-08-")


def test_a_scene_that_lacks_a_file_is_named(tmp_path):
    recipe = find_recipe("cb4a_wfi_l4_sr")
    scene = "CBERS_4A_WFI_20200801_221_156_L4"
    files(tmp_path / scene, recipe, f"{scene}_{{}}.tif")
    (tmp_path / scene / f"{scene}_CMASK.tif").unlink()
    with pytest.raises(SceneError, match="no asset 'CMASK' for CMASK; it has: BAND13, BAND14"):
        documents(recipe, tmp_path)


def test_names_that_are_no_dates_are_no_scenes(tmp_path):
    raster(tmp_path / "CBERS_4A_WFI_20201399_221_156_L4_BAND13.tif")
    recipe = find_recipe("cb4a_wfi_l4_sr")
    with pytest.raises(InvalidValueError, match=r"no scene in this folder; .* cbers-inpe"):
        list(folder_items(recipe, tmp_path))
    with pytest.raises(InvalidValueError, match="no such folder"):
        list(folder_items(recipe, tmp_path / "none"))


def test_a_recipe_may_name_the_layout(tmp_path):
    scene = "CBERS_4A_WFI_20200801_221_156_L4"
    raster(tmp_path / f"{scene}_BAND13.tif")
    given = {"collection": "A-1", "product": "A_1", "assets": ["BAND13"]}
    for layout, number in (("cbers-inpe", 1), ("bdc-v1", 0)):
        source = {"kind": "folder", "layout": layout}
        recipe = IngestRecipe.from_dict({**given, "source": source}, "own")
        if number:
            assert len(list(folder_items(recipe, tmp_path))) == number
        else:
            with pytest.raises(InvalidValueError, match="no scene"):
                list(folder_items(recipe, tmp_path))
