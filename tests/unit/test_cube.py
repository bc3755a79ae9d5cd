"""Cube definitions, and what is rendered from them."""

import copy
import pickle
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from odc_bdc import CubeSpec, OdcBdcError, find_cube
from odc_bdc.cube import shipped_cubes
from odc_bdc.indexing import shipped_products, shipped_recipes, write_documents

DEFINITIONS = Path(str(files("odc_bdc.product_defs")))
STK = yaml.safe_load((DEFINITIONS / "cubes" / "CB4_64_16D_STK_v1.yaml").read_text("utf-8"))


def test_demo_cubes_are_shipped():
    assert {
        "CB4_64_16D_STK_v1",
        "CB4_64_16D_MED_v1",
        "CB4_64_16D_AVG_v1",
        "CB4_64_1M_STK_v1",
    } <= set(shipped_cubes())


@pytest.mark.parametrize("name", sorted(shipped_cubes()))
def test_definition_is_whole(name):
    cube = find_cube(name)
    assert (DEFINITIONS / "cubes" / f"{name}.yaml").is_file()
    assert cube.title["pt"]
    assert cube.description["pt"]
    assert cube.source in shipped_products()
    assert cube.source in {r.product for r in shipped_recipes().values()}
    assert pickle.loads(pickle.dumps(cube)) == cube  # noqa: S301 (our own bytes)
    hash(cube)


def test_outputs_follow_the_function():
    names = [m.name for m in find_cube("CB4_64_16D_STK_v1").outputs]
    bands = ["BAND13", "BAND14", "BAND15", "BAND16"]
    assert names == [*bands, "CMASK", "CLEAROB", "TOTALOB", "PROVENANCE"]
    names = [m.name for m in find_cube("CB4_64_16D_MED_v1").outputs]
    assert names == [*bands, "CLEAROB", "TOTALOB"]


def test_committed_documents_are_fresh(tmp_path):
    assert write_documents(DEFINITIONS, check=True) == []
    stale = write_documents(tmp_path)
    assert write_documents(tmp_path) == []
    changed = tmp_path / stale[0]
    changed.write_text(changed.read_text("utf-8").replace("eo3", "eo4"), "utf-8")
    assert write_documents(tmp_path, check=True) == [stale[0]]


def with_change(path, value):
    doc = copy.deepcopy(STK)
    at = doc
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return doc


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["resolution"], 0, "my.yaml: resolution: 0 is less than or equal to the minimum of 0"),
        (["function"], "STACK", "my.yaml: 'STACK' is not a composite function; known: AVG, MED"),
        (["grid"], "BDC_LG_V3", "my.yaml: 'BDC_LG_V3' is not a BDC grid"),
        (["measurements", 0, "dtype"], "int17", r"my.yaml: measurements.0.dtype: 'int17' is not"),
        (["quality", "band"], "FMASK", "quality.band 'FMASK' is not in measurements"),
        (["quality", "clear"], [], "`clear` needs at least one value"),
        (["title"], {"pt": "Cubo"}, "my.yaml: title: 'en' is a required property"),
        (["colour"], "red", r"my.yaml: \(top level\): Additional properties are not allowed"),
        (["measurements", 1, "name"], "BAND13", "a name stands twice"),
        (["timeline", "step"], -1, "step -1 is not a whole number"),
    ],
)
def test_bad_definition_is_named(path, value, message):
    with pytest.raises(OdcBdcError, match=message):
        CubeSpec.from_dict(with_change(path, value), where="my.yaml")


def test_unknown_cube_lists_the_known(tmp_path):
    with pytest.raises(OdcBdcError, match="CB4_64_16D_STK_v1"):
        find_cube("CB4_64_16D_STACK_v1")
    with pytest.raises(OdcBdcError, match="cannot be read as YAML"):
        find_cube(str(tmp_path / "none.yaml"))
