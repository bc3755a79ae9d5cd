"""Ingest recipes: the shipped ones fit their products, and faulty ones are told line by line."""

import json
from pathlib import Path

import pytest

from odc_bdc.cube import shipped_cubes
from odc_bdc.errors import InvalidValueError, UnknownNameError
from odc_bdc.indexing import IngestRecipe, find_recipe, shipped_recipes
from odc_bdc.indexing.folders import LAYOUTS
from odc_bdc.indexing.items import quality_codes
from odc_bdc.product import product_document, shipped_products

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
RECIPES = shipped_recipes()
CORRECTED = {"dtype": "dtype", "nodata": "nodata", "scale": "scale_factor", "offset": "add_offset"}


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_recipe_fits_its_product(name):
    recipe = RECIPES[name]
    product = product_document(recipe.product)
    measurements = {m["name"]: m for m in product["measurements"]}
    assert set(recipe.assets) == set(measurements)
    for measurement, correction in recipe.corrections.items():
        for ours, theirs in CORRECTED.items():
            right = getattr(correction, ours)
            assert right in {None, measurements[measurement].get(theirs)}
    if recipe.grid is not None:
        hints = product["load"]
        size = recipe.grid.pixel_size(recipe.resolution)
        assert (hints["resolution"]["x"], -hints["resolution"]["y"]) == pytest.approx(size)


def test_every_product_that_is_not_made_here_has_a_recipe():
    taken = {recipe.product for recipe in RECIPES.values()}
    assert taken == set(shipped_products()) - set(shipped_cubes())


def test_conditions_of_one_collection_exclude_each_other():
    """An item becomes a dataset of one product; two recipes may only share a product."""
    said = {}
    for recipe in RECIPES.values():
        if recipe.conditions:
            said.setdefault(recipe.collection, []).append(str(recipe.conditions[0]))
    assert {collection: sorted(texts) for collection, texts in said.items()} == {
        "landsat-2": [
            "platform landsat-4 or landsat-5",
            "platform landsat-7",
            "platform landsat-8 or landsat-9",
        ],
        "S2_L2A-1": ["s2:processing_baseline before 04.00", "s2:processing_baseline from 04.00"],
        "S2_L1C_BUNDLE-1": [
            "s2:processing_baseline before 04.00",
            "s2:processing_baseline from 04.00",
        ],
    }


@pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real scenes is absent")
def test_every_folder_of_real_scenes_has_a_recipe():
    """The other folders hold time series, class maps, and recorded documents."""
    found = {json.loads(p.read_text("utf-8"))["id"] for p in DATA.glob("*/collection.json")}
    assert len(found) == 8
    assert found <= {recipe.collection for recipe in RECIPES.values()}


def test_codes_of_quality_are_those_that_cubes_know():
    checked = 0
    for cube in shipped_cubes().values():
        for source in cube.sources:
            recipe = next(r for r in RECIPES.values() if r.product == source.product)
            band, codes = quality_codes(recipe, product_document(source.product))
            policy = source.quality
            assert band == policy.band
            if policy.bits:
                assert codes is None
                continue
            checked += 1
            nodata = set() if policy.nodata is None else {policy.nodata}
            assert codes >= {*policy.clear, *policy.not_clear, *policy.saturated, *nodata}
    assert checked > 3


def test_recipes_are_found_by_name_collection_and_path(tmp_path):
    assert find_recipe("cb4_wfi_l4_sr").collection == "CB4-WFI-L4-SR-1"
    assert find_recipe("CB4-WFI-L4-SR-1").name == "cb4_wfi_l4_sr"
    # Of two recipes the one with the collection's name.
    assert find_recipe("CB4_64_16D_STK-1").product == "CB4_64_16D_STK_1_SR"
    with pytest.raises(UnknownNameError, match=r"landsat_2_etm \(product landsat_2_etm\) or "):
        find_recipe("landsat-2")
    with pytest.raises(UnknownNameError, match=r"no .yaml file, do you mean cb4_wfi_l4_sr"):
        find_recipe("cb4_wfi_l4_rs")
    path = tmp_path / "own.yaml"
    path.write_text("collection: A-1\nproduct: A_1\nassets: {red: [B4, B04], nir: B8}\n", "utf-8")
    recipe = find_recipe(str(path))
    assert recipe.assets == {"red": "B4", "nir": "B8"}
    assert recipe.rules["red"].keys == ("B4", "B04")
    assert hash(recipe) == hash(find_recipe(str(path)))


OWN = {"collection": "A-1", "product": "A_1", "assets": ["red", "mask"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"product": "A-1"}, "product: 'A-1' does not match .*letters, digits and _ only"),
        ({"assetz": ["a"]}, "'assetz' is no key here, do you mean assets?"),
        ({"assets": []}, r"assets: \[\] should be non-empty \(a mapping of the product's"),
        ({"assets": 7}, "assets: 7 is not a mapping of the product's measurements to asset keys"),
        ({"assets": {"red": 4}}, "assets.red: 4 is not an asset key"),
        (
            {"assets": {"red": {"asset": "a", "band": 0}}},
            "assets.red.band: 0 is less than the minimum",
        ),
        (
            {"assets": {"red": {"asset": "a", "member": "{id_B4.TIF"}}},
            r"assets.red.member: '{id_B4.TIF' does not match .* \(the name of the file in an",
        ),
        ({"assets": {"red": {"asset": "a", "member": "/B4.TIF"}}}, "assets.red.member: '/B4.TIF'"),
        ({"assets": {"red": {"asset": "a", "member": ""}}}, "assets.red.member: ''"),
        ({"assets": {"red": {"asset": "a", "resolution": 0}}}, "assets.red.resolution: 0 is less"),
        ({"source": {"kind": "ftp"}}, "source.kind: 'ftp' is not one of .* folder"),
        ({"source": {"kind": "folder", "layout": "x"}}, "source.layout: 'x' is not one of"),
        ({"grid": {"name": "BDC_XL_V9", "resolution": 64}}, "grid.name: 'BDC_XL_V9' is no known"),
        ({"grid": {"name": "BDC_LG_V1"}}, "grid: 'resolution' is a required property"),
        ({"corrections": {"blue": {"nodata": 0}}}, "corrections.blue: 'blue' is no measurement"),
        ({"corrections": {"red": {"dtype": "int12"}}}, "corrections.red.dtype: 'int12' is not"),
        ({"quality": "scl"}, "quality: 'scl' is no measurement in assets: red, mask"),
        ({"quality": {"band": "mask", "clear": [1], "not_clear": [1]}}, "quality: "),
        ({"where": {"platform": 8}}, "where.platform: 8 is not a value, a list of values"),
        ({"quirks": ["period_of_id"]}, "'period_of_id' is not known, do you mean period_from_id?"),
        ({"product": "S2_10_1"}, "product S2_10_1 has no measurement 'red'"),
        (
            {"product": "CB4_WFI_L4_SR_1", "assets": ["BAND13", "BAND14", "BAND15", "CMASK"]},
            "product CB4_WFI_L4_SR_1 also has BAND16, and a dataset must have all",
        ),
    ],
)
def test_faults_are_named(change, message):
    with pytest.raises(InvalidValueError, match=message):
        IngestRecipe.from_dict({**OWN, **change}, "own")


def test_faults_have_file_and_line(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("collection: A-1\nproduct: A_1\nassets: [B]\nquirks: [x]\nid: 7\n", "utf-8")
    with pytest.raises(InvalidValueError, match=r"own.yaml:5: id: 7 is not of type 'string'"):
        IngestRecipe.from_yaml(path)
    path.write_text("- a\n", "utf-8")
    with pytest.raises(InvalidValueError, match="a mapping with collection, product and assets"):
        IngestRecipe.from_yaml(path)


def test_layouts_of_the_schema_are_those_that_there_are():
    for layout in LAYOUTS:
        source = {"kind": "folder", "layout": layout}
        assert IngestRecipe.from_dict({**OWN, "source": source}, "own").source.layout == layout
    with pytest.raises(InvalidValueError) as error:
        IngestRecipe.from_dict({**OWN, "source": {"kind": "folder", "layout": "x"}}, "own")
    assert all(layout in str(error.value) for layout in LAYOUTS)


def test_a_policy_of_ones_own_tells_the_codes():
    policy = {"band": "mask", "clear": [1], "not_clear": [2, 3], "nodata": 9}
    recipe = IngestRecipe.from_dict({**OWN, "quality": policy}, "own")
    assert quality_codes(recipe, {"measurements": []}) == ("mask", {1, 2, 3, 9})
