"""Cube definitions, and what is rendered from them."""

import copy
import json
import math
import pickle
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from datacube.model import Measurement, Product
from datacube.utils.serialise import jsonify_document
from eodatasets3.validate import validate_product

from odc_bdc import CubeSpec, OdcBdcError, find_cube
from odc_bdc.cli import main
from odc_bdc.cube import shipped_cubes
from odc_bdc.grid import bdc_grid
from odc_bdc.indexing import write_documents
from odc_bdc.product import shipped_products
from odc_bdc.quality import CLEAR, NODATA

DEFINITIONS = Path(str(files("odc_bdc.product_defs")))
STK = yaml.safe_load((DEFINITIONS / "cubes" / "CB4_64_16D_STK_v1.yaml").read_text("utf-8"))
COMBINED = yaml.safe_load((DEFINITIONS / "cubes" / "S2LC8_30_16D_STK_v1.yaml").read_text("utf-8"))
LC8 = yaml.safe_load((DEFINITIONS / "cubes" / "LC8_30_16D_MED_v1.yaml").read_text("utf-8"))
RADSAT = {"band": "QA_RADSAT", "bits": [1, 2, 3, 4, 5, 6, 7]}
CB4 = ["BAND13", "BAND14", "BAND15", "BAND16"]


def test_the_cubes_of_three_sensors_are_shipped():
    wanted = {
        f"{sensor}_{period}_{function}_v1"
        for sensor in ("CB4_64", "LC8_30", "S2_10")
        for period in ("16D", "1M")
        for function in ("AVG", "MED", "STK")
    }
    assert len(wanted) == 18
    assert wanted | {"S2LC8_30_16D_STK_v1"} <= set(shipped_cubes())


@pytest.mark.parametrize("name", sorted(shipped_cubes()))
def test_definition_is_whole(name):
    cube = find_cube(name)
    assert (DEFINITIONS / "cubes" / f"{name}.yaml").is_file()
    assert cube.title["pt"]
    assert cube.description["pt"]
    assert set(cube.products) <= set(shipped_products())
    assert pickle.loads(pickle.dumps(cube)) == cube  # noqa: S301 (our own bytes)
    hash(cube)


@pytest.mark.parametrize(
    ("prefix", "grid", "resolution", "timeline"),
    [
        ("CB4_64_16D", "BDC_LG_V2", 64, "p16d"),
        ("CB4_64_1M", "BDC_LG_V2", 64, "p1m"),
        ("LC8_30_16D", "BDC_MD_V2", 30, "p16d"),
        ("LC8_30_1M", "BDC_MD_V2", 30, "p1m"),
        ("S2_10_16D", "BDC_SM_V2", 10, "p16d"),
        ("S2_10_1M", "BDC_SM_V2", 10, "p1m"),
    ],
)
def test_cubes_of_a_sensor_differ_in_function_only(prefix, grid, resolution, timeline):
    from odc_bdc.timeline import NAMED_TIMELINES

    cubes = [find_cube(f"{prefix}_{function}_v1") for function in ("AVG", "MED", "STK")]
    assert [c.function.name for c in cubes] == ["AVG", "MED", "LCF"]
    same = {
        c.patch(function=cubes[0].function, name="", title={}, description={}, auxiliary=())
        for c in cubes
    }
    assert len(same) == 1
    cube = cubes[0]
    assert cube.grid == bdc_grid(grid)
    assert cube.resolution == resolution
    assert cube.timeline == NAMED_TIMELINES[timeline]


def test_outputs_follow_the_function():
    names = [m.name for m in find_cube("CB4_64_16D_STK_v1").outputs]
    assert names == [*CB4, "CMASK", "NDVI", "EVI", "CLEAROB", "TOTALOB", "PROVENANCE"]
    names = [m.name for m in find_cube("CB4_64_16D_MED_v1").outputs]
    assert names == [*CB4, "NDVI", "EVI", "CLEAROB", "TOTALOB"]


def test_bands_by_name_are_as_the_product_has_them():
    cube = find_cube("CB4_64_16D_STK_v1")
    product = {m["name"]: m for m in shipped_products()["CB4_WFI_L4_SR_1"]["measurements"]}
    assert {m.name: m.to_odc() for m in cube.measurements} == product
    assert [m.resampling for m in cube.measurements] == ["bilinear"] * 4 + ["nearest"]


def test_combined_cube_tells_its_satellites():
    cube = find_cube("S2LC8_30_16D_STK_v1")
    assert cube.products == ("S2_L2A_1", "S2_L2A_1_N0400", "landsat_2_oli")
    assert cube.platforms == ("Sentinel-2", "Landsat-8")
    assert [cube.datasource(s) for s in cube.sources] == [0, 0, 1]
    assert cube.sources[2].band("nir") == "OLI_B5"
    assert cube.sources[2].band("CMASK") == "QA_PIXEL"
    last = cube.to_product()["measurements"][-1]
    assert last["name"] == "DATASOURCE"
    values = last["flags_definition"]["datasource"]["values"]
    assert values == {0: "Sentinel-2", 1: "Landsat-8", 255: "nodata"}


def test_common_names_are_aliases_only_where_they_are_unique():
    doc = copy.deepcopy(STK) | {"outputs": {}}
    doc["measurements"] = [
        {"name": "B04", "dtype": "int16", "nodata": -9999, "common_name": "red"},
        {"name": "B05", "dtype": "int16", "nodata": -9999, "common_name": "rededge"},
        {"name": "B06", "dtype": "int16", "nodata": -9999, "common_name": "rededge"},
        {"name": "CMASK", "dtype": "uint8", "nodata": 0},
    ]
    doc["sources"] = [{"product": "MY_SCENES"}]
    cube = CubeSpec.from_dict(doc)
    assert [m.aliases for m in cube.measurements] == [("red",), (), (), ()]
    assert [m.common_name for m in cube.bands] == ["red", "rededge", "rededge"]


SAVI = {"name": "savi", "constants": {"L": 0.5}, "dtype": "float32"}


def with_indices(*indices):
    return CubeSpec.from_dict(copy.deepcopy(STK) | {"outputs": {"indices": list(indices)}})


def test_an_index_of_spyndex_is_a_band():
    cube = with_indices("NDVI", "EVI2", SAVI)
    first, second = cube.to_product()["measurements"][6:8]
    assert first == {
        "name": "EVI2", "dtype": "int16", "nodata": -9999, "units": "1", "scale_factor": 0.0001,
    }  # fmt: skip
    assert math.isnan(second.pop("nodata"))
    assert second == {"name": "SAVI", "dtype": "float32", "units": "1"}
    assert cube.indices[2].bands == (("nir", "BAND16"), ("red", "BAND15"))
    assert pickle.loads(pickle.dumps(cube)) == cube  # noqa: S301 (our own bytes)


def test_what_decides_on_an_index_is_in_the_recipe():
    recipes = {
        with_indices(index).recipe()
        for index in (
            "SAVI",
            {"name": "SAVI", "dtype": "float32"},
            {"name": "SAVI", "constants": {"L": 0.5}},
            {"name": "SAVI", "bands": {"red": "BAND14"}},
            "OSAVI",
            "NDVI",
            {"name": "NDVI", "dtype": "float32"},
        )
    }
    assert len(recipes) == 7
    # The same constant and type as spyndex and the cube have anyway.
    said = {"name": "SAVI", "constants": {"L": 1}, "dtype": "int16"}
    assert with_indices(said).recipe() == with_indices("SAVI").recipe()


def test_ids_of_cubes_with_the_indices_of_the_bdc_stay():
    recipe = json.loads(find_cube("CB4_64_16D_STK_v1").recipe())
    assert recipe["indices"] == [
        ["NDVI", [["nir", "BAND16"], ["red", "BAND15"]]],
        ["EVI", [["nir", "BAND16"], ["red", "BAND15"], ["blue", "BAND13"]]],
    ]


def test_product_with_a_float_band_is_what_odc_takes(tmp_path):
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(STK | {"outputs": {"indices": [SAVI]}}))
    done = CliRunner().invoke(main, ["cube", "show", "--product", str(tmp_path / "my.yaml")])
    assert "nodata: .nan" in done.output
    doc = yaml.safe_load(done.output)
    Product.validate(doc)
    errors = [m for m in validate_product(doc) if m.level.name == "error"]
    assert [m.code for m in errors if m.code != "product_name"] == []
    assert np.isnan(Measurement(**doc["measurements"][5]).nodata)


def test_a_product_with_nan_equals_the_one_in_the_index():
    from odc_bdc.indexing.products import _comparable

    doc = with_indices(SAVI).to_product()
    # As datacube writes it to the database.
    stored = jsonify_document(doc)
    assert stored["measurements"][5]["nodata"] == "NaN"
    assert _comparable(stored) == _comparable(doc)


def test_show_prints_formula_constants_and_type(tmp_path):
    (tmp_path / "my.yaml").write_text(
        yaml.safe_dump(STK | {"outputs": {"indices": ["NDVI", SAVI, "evi2"]}})
    )
    done = CliRunner().invoke(main, ["cube", "show", str(tmp_path / "my.yaml")])
    assert "NDVI (int16), SAVI (float32), EVI2 (int16)" in done.output
    assert done.output.splitlines()[-1] == (
        "indices      SAVI = (1.0 + L) * (nir - red) / (nir + red + L), L = 0.5; "
        "EVI2 = g * (nir - red) / (nir + 2.4 * red + L), g = 2.5, L = 1"
    )
    shipped = CliRunner().invoke(main, ["cube", "show", "CB4_64_16D_STK_v1"])
    assert "indices" not in shipped.output


def test_own_grid_beside_the_definition(tmp_path):
    (tmp_path / "farm.yaml").write_text(
        "{name: FARM, crs: 'EPSG:31983', origin: [0, 9000000], tile_size: [64000, 64000]}"
    )
    doc = copy.deepcopy(STK) | {"grid": "farm.yaml", "name": "FARM_64_16D_STK_v1"}
    (tmp_path / "cube.yaml").write_text(yaml.safe_dump(doc))
    cube = CubeSpec.from_yaml(tmp_path / "cube.yaml")
    assert cube.grid.tile_size == (64000, 64000)
    assert CubeSpec.from_dict(doc | {"grid": "RD_NEW_10KM"}).grid.odc_crs.epsg == 28992


@pytest.fixture
def definitions(tmp_path):
    """Give a copy of the folder of definitions."""
    return Path(shutil.copytree(DEFINITIONS, tmp_path / "product_defs"))


def check(folder):
    return CliRunner().invoke(main, ["product", "render", "--check", "--folder", str(folder)])


def test_committed_documents_are_fresh():
    assert write_documents(DEFINITIONS, check=True) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("license: CC-BY-4.0", "license: CC-BY-4.1", "    +license: CC-BY-4.1\n"),
        ("resolution: 64", "resolution: 65", "CB4_64_16D_STK_v1 says resolution 64, but"),
        ("step: 16", "step: 17", "CB4_64_16D_STK_v1 says timeline 16D, but timeline is 17D"),
        (
            "function: LCF",
            "function: LCG",
            "'LCG' is not a composite function, do you mean LCF?; known:",
        ),
        ("clear: [127]", "clear: [128]", "cbers4/CB4_64_16D_STK_v1.odc-product.yaml: stale\n"),
        ("pt: Cada", "pt: Coda", "cbers4/CB4_64_16D_STK_v1.odc-product.yaml: stale\n"),
        ("name: CB4", "name: CB5", "name: 'CB5_64_16D_STK_v1' is not the file's"),
        ("BAND15", "BAND25", "product CB4_WFI_L4_SR_1 has no measurement 'BAND25'; it has BAND13"),
        ("grid: BDC_LG_V2", "grid: BDC_LG_V3", "grid: 'BDC_LG_V3' is no known grid"),
        ("NDVI", "NDVJ", "'NDVJ' is not a spectral index, do you mean one of NDVI, "),
    ],
)
def test_one_character_makes_documents_stale_with_a_readable_message(definitions, old, new, said):
    assert sum(a != b for a, b in zip(old, new, strict=True)) == 1
    path = definitions / "cubes" / "CB4_64_16D_STK_v1.yaml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    done = check(definitions)
    assert done.exit_code in (1, 2)
    assert said in done.output
    assert "Traceback" not in done.output
    assert len(done.output.splitlines()) < 12


def test_rendering_brings_all_up_to_date(definitions):
    assert check(definitions).exit_code == 0
    gone = definitions / "cubes" / "CB4_64_1M_AVG_v1.yaml"
    gone.unlink()
    (definitions / "cbers4" / "CB4_64_1M_MED_v1.odc-product.yaml").unlink()
    done = check(definitions)
    assert done.exit_code == 1
    assert "cbers4/CB4_64_1M_AVG_v1.odc-product.yaml: left over" in done.output
    assert "cbers4/CB4_64_1M_MED_v1.odc-product.yaml: missing" in done.output
    done = CliRunner().invoke(main, ["product", "render", "--folder", str(definitions)])
    assert done.exit_code == 0
    assert check(definitions).exit_code == 0
    assert not (definitions / "cbers4" / "CB4_64_1M_AVG_v1.odc-product.yaml").exists()
    assert (definitions / "cbers4" / "CB4_WFI_L4_SR_1.odc-product.yaml").exists()


def with_change(path, value, doc=STK):
    doc = copy.deepcopy(doc)
    at = doc
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return doc


OWN = {"name": "X", "dtype": "int16", "nodata": -9999}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["resolution"], 0, "my.yaml: resolution: 0 is less than or equal to the minimum of 0"),
        (["name"], "CB4-64", "letters, digits and _ only"),
        (
            ["function"],
            "STACK",
            "my.yaml: function: 'STACK' is not a composite function, do you mean STK",
        ),
        (["grid"], "BDC_LG_V3", "my.yaml: grid: 'BDC_LG_V3' is no known grid"),
        (["grid"], 5, "my.yaml: grid: 5 is not the name of a grid, a YAML file of one"),
        (["measurements", 0], OWN | {"dtype": "int17"}, "measurements.0.dtype: 'int17' is not one"),
        (["measurements", 0], OWN, "product CB4_WFI_L4_SR_1 has no measurement 'X'; it has BAND13"),
        (["measurements", 0], 7, "my.yaml: measurements.0: 7 is not the name of a band"),
        *(
            (
                ["measurements", 0],
                {"name": "CMASK", "resampling": resampling},
                f"measurements.0.resampling: {resampling} would make codes of quality that no ",
            )
            for resampling in ("bilinear", "cubic", "average")
        ),
        (
            ["measurements", 0],
            {"name": "BAND13", "nodata": 40000},
            "40000 does not fit int16, -327",
        ),
        (["measurements", 0], "BAND14", "'band14' stands for 2 bands"),
        (["measurements", 0], {"name": "BAND13", "aliases": ["Red"]}, "'red' stands for 2 bands"),
        (["measurements", 0], {"name": "BAND13", "scale": 0}, "measurements.0.scale: 0 is less"),
        (["quality", "band"], "FMASK", "quality.band: 'FMASK' is not in measurements: BAND13"),
        (["quality", "clear"], [], "my.yaml: quality: `clear` needs at least one value"),
        (["quality", "clear"], [255], r"my.yaml: quality: \[255\] stand in more than one list"),
        (
            ["quality", "cleer"],
            [1],
            "'cleer' is no key here, do you mean clear.; keys: band",
        ),
        (["title"], "Cubo", r"my.yaml: title: 'Cubo' is not of type 'object'$"),
        (["title"], {"pt": "Cubo"}, "my.yaml: title: 'en' is a required property"),
        (["colour"], "red", "my.yaml: colour: 'colour' is no key here; keys: name, title"),
        (["timeline", "step"], -1, "my.yaml: timeline: step -1 is not a whole number"),
        (
            ["timeline"],
            "p17d",
            "my.yaml: timeline: 'p17d' is not a usual timeline, do you mean",
        ),
        (["timeline"], {"schema": "continuous", "step": 16}, "timeline: a .* needs `start`"),
        (["sources"], [], r"my.yaml: sources: \[\] should be non-empty \(a list of the ODC"),
        (["outputs"], {"indices": ["NDWI", "SAVX"]}, "outputs.indices.1: 'SAVX' is not a spectral"),
        (["outputs"], {"indices": ["NBRT1"]}, "outputs.indices.0: NBRT1 needs temperature"),
        (["outputs"], {"indices": ["NIRvP"]}, "outputs.indices.0: NIRvP needs values for PAR"),
        (
            ["outputs"],
            {"indices": ["NDCI"]},
            "rededge1 is not known: write {name: NDCI, bands: {rededge1: MEAS",
        ),
        (
            ["outputs"],
            {"indices": [{"name": "SAVI", "constants": {"K": 1}}]},
            "outputs.indices.0: SAVI has constants L; 'K' is not known",
        ),
        (
            ["outputs"],
            {"indices": [{"name": "SAVI", "constants": {"L": "half"}}]},
            "outputs.indices.0.constants.L: 'half' is not of type 'number'",
        ),
        (
            ["outputs"],
            {"indices": [{"name": "SAVI", "dtype": "uint8"}]},
            "outputs.indices.0.dtype: 'uint8' is not one of .'int16', 'float32'. .int16 for ten",
        ),
        (["measurements", 0], OWN | {"dtype": "float16"}, "measurements.0.dtype: 'float16' is not"),
        (["outputs"], {"indices": ["NBR"]}, "NBR takes bands nir, swir22; swir22 is not known"),
        (["outputs"], {"auxiliary": ["COUNT"]}, "outputs.auxiliary.0: 'COUNT' is not one of"),
        (["name"], "CB4_64_1M_STK_v1", "says timeline 1M, but timeline is 16D"),
        (["name"], "CB4_64_16D_MED_v1", "says function MED, but function is LCF"),
    ],
)
def test_bad_definition_is_named(path, value, message):
    with pytest.raises(OdcBdcError, match=message):
        CubeSpec.from_dict(with_change(path, value), where="my.yaml")


def test_bad_combinations_are_named():
    bands = with_change(["sources", 0, "bands", "red"], "B99", COMBINED)
    with pytest.raises(OdcBdcError, match="product S2_L2A_1 has no measurement 'B99'"):
        CubeSpec.from_dict(bands)
    quality = with_change(["quality"], {"band": "CMASK", "clear": [127]}, COMBINED)
    with pytest.raises(OdcBdcError, match="the cube's own coding needs values for `clear`"):
        CubeSpec.from_dict(quality)
    median = with_change(["function"], "MED") | {"outputs": {"auxiliary": ["PROVENANCE"]}}
    with pytest.raises(OdcBdcError, match=r"auxiliary.0: PROVENANCE tells where .* picks no date"):
        CubeSpec.from_dict(median)
    unknown = with_change(["sources"], [{"product": "MY_SCENES"}])
    with pytest.raises(OdcBdcError, match="'BAND13' lacks `dtype`, and product MY_SCENES"):
        CubeSpec.from_dict(unknown)


def test_confidence_saturation_and_dilation_of_a_cube():
    more = {"confidence": {"cloud": "medium"}, "saturation": RADSAT, "dilation": 2}
    plain = CubeSpec.from_dict(LC8)
    cube = CubeSpec.from_dict(with_change(["quality"], LC8["quality"] | more, LC8))
    policy = cube.sources[0].quality
    assert policy.bands == ("QA_PIXEL", "QA_RADSAT")
    assert policy == cube.quality
    # The band of saturation is read, but neither composited nor written.
    assert cube.measurements == plain.measurements
    assert cube.to_product() == plain.to_product()
    assert cube.recipe() != plain.recipe()


def test_a_source_may_call_the_band_of_saturation_otherwise():
    doc = with_change(["quality"], LC8["quality"] | {"saturation": RADSAT}, LC8)
    theirs = {"QA_PIXEL": "qa", "QA_RADSAT": "radsat"}
    source = {"product": "MY_SCENES", "bands": theirs}
    cube = CubeSpec.from_dict(with_change(["sources"], [*doc["sources"], source], doc))
    assert [s.quality.bands for s in cube.sources] == [("QA_PIXEL", "QA_RADSAT"), ("qa", "radsat")]
    assert cube.sources[1].quality.same_codes(cube.quality)


def test_only_one_source_may_tell_saturation():
    doc = with_change(["sources", 2, "quality", "saturation"], RADSAT, COMBINED)
    cube = CubeSpec.from_dict(doc)
    assert [s.quality.bands[1:] for s in cube.sources] == [(), (), ("QA_RADSAT",)]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "confidence",
            {"clowd": "high"},
            "quality.confidence.clowd: 'clowd' is no key here, do you mean cloud.; keys: cloud, ",
        ),
        (
            "confidence",
            {"cloud": "hihg"},
            "quality.confidence.cloud: 'hihg' is not low, medium or high, or, for other bits",
        ),
        (
            "confidence",
            "high",
            r"quality.confidence: 'high' is not .* \(a mapping of cloud, cloud_",
        ),
        (
            "confidence",
            {"snow": {"level": "low", "bits": [1, 3]}},
            r"quality: confidence.snow.bits: \[1, 3\] are not two neighbours",
        ),
        ("saturation", {"band": "QA_RADSAT"}, "quality.saturation: 'bits' is a required property"),
        ("saturation", RADSAT | {"bits": [70]}, "quality.saturation.bits.0: 70 is greater than"),
        (
            "saturation",
            RADSAT | {"band": "RADSAT"},
            "quality.saturation.band: product landsat_2_oli has no measurement 'RADSAT'; it has",
        ),
        (
            "saturation",
            RADSAT | {"band": "OLI_B2"},
            "quality.saturation.band: 'OLI_B2' is measurement band2 as well",
        ),
        (
            "saturation",
            RADSAT | {"band": "QA_PIXEL"},
            "quality: saturation.band: 'QA_PIXEL' is the",
        ),
        ("dilation", -1, r"quality.dilation: -1 is less .* \(a whole number of pixels, 0 or more"),
        ("dilation", 1.5, "quality.dilation: 1.5 is not of type 'integer'"),
        ("bits", False, "quality: `confidence` is read from bits: it needs `bits: true`"),
    ],
)
def test_bad_quality_is_named(key, value, message):
    doc = with_change(["quality", "confidence"], {"cloud": "high"}, LC8)
    with pytest.raises(OdcBdcError, match=f"^my.yaml: {message}"):
        CubeSpec.from_dict(with_change(["quality", key], value, doc), where="my.yaml")


def test_bad_saturation_of_a_source_is_told_there():
    doc = with_change(["sources", 2, "quality", "saturation"], RADSAT | {"band": "R"}, COMBINED)
    with pytest.raises(
        OdcBdcError, match=r"sources\.2\.quality\.saturation\.band: product landsat"
    ):
        CubeSpec.from_dict(doc)


def test_all_faults_are_told_with_their_lines(tmp_path):
    text = (DEFINITIONS / "cubes" / "CB4_64_16D_STK_v1.yaml").read_text("utf-8")
    bad = text.replace("function: LCF", "function: LCG").replace("step: 16", "step: x")
    path = tmp_path / "my.yaml"
    path.write_text(bad.replace("nodata: 0", "nodata: 127"), "utf-8")
    with pytest.raises(OdcBdcError) as caught:
        CubeSpec.from_yaml(path)
    lines = {line.split(":")[0]: n for n, line in enumerate(text.splitlines(), 1)}
    told = str(caught.value).splitlines()
    assert [t.split(": ")[:2] for t in told] == [
        [f"{path}:{lines[key]}", key] for key in ("timeline", "function", "quality")
    ]


def test_a_key_that_stands_twice_is_told(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("name: A\ntitle: {en: A}\nname: B\n", "utf-8")
    with pytest.raises(OdcBdcError, match=r"my.yaml:3: name: stands twice, first on line 1"):
        CubeSpec.from_yaml(path)


def test_unknown_cube_lists_the_known(tmp_path):
    with pytest.raises(OdcBdcError, match="CB4_64_16D_STK_v1"):
        find_cube("CB4_64_16D_STACK_v1")
    with pytest.raises(OdcBdcError, match="cannot be read as YAML"):
        find_cube(str(tmp_path / "none.yaml"))
    (tmp_path / "list.yaml").write_text("- 1\n", "utf-8")
    with pytest.raises(OdcBdcError, match="is not of type 'object'"):
        find_cube(str(tmp_path / "list.yaml"))
    (tmp_path / "loop.yaml").write_text("a: &x [*x]\n", "utf-8")
    with pytest.raises(OdcBdcError, match=r"cannot be read as YAML: .* an alias holds itself"):
        find_cube(str(tmp_path / "loop.yaml"))
    (tmp_path / "broken.yaml").write_text("name: [1\n", "utf-8")
    with pytest.raises(OdcBdcError, match=r"cannot be read as YAML: .* line 2"):
        find_cube(str(tmp_path / "broken.yaml"))


def test_a_cube_without_quality_is_whole_in_its_own_document():
    doc = with_change(["quality"], "none")
    doc["measurements"] = [m for m in doc["measurements"] if m != "CMASK"]
    cube = CubeSpec.from_dict(doc)
    assert [m.name for m in cube.bands] == doc["measurements"]
    assert "DATAMASK" not in {m.name for m in cube.outputs}
    assert cube.read_bands(cube.sources[0])[-1] == cube.bands[0].name
    assert CubeSpec.from_dict(cube.to_dict()) == cube
    codes = np.array([-9999, 0, 32767, -32768], "int16")
    assert cube.quality.classify(codes).tolist() == [NODATA, CLEAR, CLEAR, CLEAR]


def test_a_source_without_quality_is_recoded_to_the_cube():
    doc = with_change(["sources", 2, "quality"], "none", COMBINED)
    cube = CubeSpec.from_dict(doc)
    policy = cube.sources[2].quality
    assert policy.band == "OLI_B2"
    assert cube.quality.band == "CMASK"
    assert policy.recode(np.array([0, 9000], "uint16"), cube.quality, "uint8").tolist() == [0, 127]
