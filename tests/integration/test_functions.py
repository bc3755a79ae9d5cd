"""Every composite function: built, composited on xarray, and as a virtual product, bit for bit."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import yaml
from odc.geo.xr import xr_zeros

from odc_bdc import CubeSpec, composite_cube, database
from odc_bdc.building import build_cube
from odc_bdc.function import _OWN
from odc_bdc.indexing import add_products, find_recipe, index_collection
from odc_bdc.planning import plan_cube
from odc_bdc.product import product_document
from odc_bdc.scenes import demo_extent, make_scenes

SIZE = 40
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DEFINITION = yaml.safe_load(
    (Path(str(files("odc_bdc.product_defs"))) / "cubes" / "CB4_64_1M_STK_v1.yaml").read_text(
        "utf-8"
    )
)
SPECIAL = ("P25,P50,P75", "P10", {"name": "STD", "ddof": 1, "min_count": 2})
FUNCTIONS = [*(f.name for f in _OWN), *SPECIAL]


@pytest.fixture(scope="module")
def indexed(fresh_index, tmp_path_factory):
    """Give an index with the scenes of one tile and month."""
    folder = tmp_path_factory.mktemp("scenes")
    make_scenes(folder, size=SIZE, tiles=("007004",), start=date(2020, 1, 1), end=date(2020, 1, 31))
    with database.open_datacube(fresh_index("postgis")) as dc:
        add_products(dc, [product_document("CB4_WFI_L4_SR_1")])
        assert index_collection(dc, find_recipe("cb4_wfi_l4_sr"), [folder]).failed == []
        yield dc


def cube_of(function):
    label = re.sub(r"\W+", "_", str(function))
    _, *others = DEFINITION["measurements"]
    return CubeSpec.from_dict(
        DEFINITION
        | {
            "name": f"TEST_{label}",
            "function": function,
            "outputs": {},
            # CBERS-4 has no band of that name; another stands for it.
            "measurements": [{"name": "BAND13", "aliases": ["swir16"]}, *others],
            "extent": list(demo_extent(SIZE, ("007004",))),
        }
    )


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
def test_three_ways_give_the_same_pixels(indexed, tmp_path, function, recwarn):
    from datacube.virtual import construct

    cube = cube_of(function)
    add_products(indexed, [cube.to_product()])
    (task,) = plan_cube(indexed, cube, date(2020, 1, 1), date(2020, 1, 31))
    assert build_cube(indexed, [task], tmp_path, now=lambda: NOW).failed == []
    image = indexed.load(datasets=[indexed.index.datasets.get(task.id)]).isel(time=0, drop=True)
    assert list(image.data_vars) == [m.name for m in cube.outputs]

    scenes = [indexed.index.datasets.get(s.id) for s in task.scenes]
    stack = indexed.load(datasets=scenes, like=task.geobox)
    wanted = composite_cube(stack, cube)
    virtual = construct(
        aggregate="odc_bdc.virtual.Composite",
        group_by="odc_bdc.virtual.p1m",
        function=cube.function.to_dict(),
        quality=cube.quality.to_dict(),
        common=cube.common,
        timeline="p1m",
        input={
            "product": cube.products[0],
            "measurements": [m.name for m in cube.measurements],
            "group_by": "time",
        },
    ).load(
        indexed,
        time=("2020-01-01", "2020-01-31"),
        like=task.geobox,
        dask_chunks={"time": 1, "x": 23},
    )
    assert set(virtual.data_vars) == set(image.data_vars)
    for m in cube.outputs:
        assert image[m.name].dtype == m.dtype
        for other in (wanted, virtual.compute()):
            np.testing.assert_array_equal(other[m.name].values[0], image[m.name].values, m.name)
    assert (image.CLEAROB.values > 0).any()
    assert xr_zeros(task.geobox).shape == image.CLEAROB.shape


@pytest.mark.parametrize("function", ["MED", "LCF"])
def test_without_a_quality_band_every_pixel_with_data_is_clear(indexed, tmp_path, function):
    _, *others = DEFINITION["measurements"]
    cube = CubeSpec.from_dict(
        DEFINITION
        | {
            "name": f"TEST_OPEN_{function}",
            "function": function,
            "quality": "none",
            "outputs": {},
            "measurements": [m for m in others if m != "CMASK"],
            "extent": list(demo_extent(SIZE, ("007004",))),
        }
    )
    add_products(indexed, [cube.to_product()])
    (task,) = plan_cube(indexed, cube, date(2020, 1, 1), date(2020, 1, 31))
    assert build_cube(indexed, [task], tmp_path, now=lambda: NOW).failed == []
    image = indexed.load(datasets=[indexed.index.datasets.get(task.id)]).isel(time=0, drop=True)
    picked = ["PROVENANCE"] if function == "LCF" else []
    assert [*image.data_vars] == [*(m.name for m in cube.bands), "CLEAROB", "TOTALOB", *picked]

    scenes = [indexed.index.datasets.get(s.id) for s in task.scenes]
    stack = indexed.load(datasets=scenes, like=task.geobox)
    bands = np.stack([stack[m.name].values for m in cube.bands])
    seen = (bands != -9999).all(axis=0)
    np.testing.assert_array_equal(image.CLEAROB.values, seen.sum(axis=0))
    np.testing.assert_array_equal(image.TOTALOB.values, seen.sum(axis=0))
    for m in cube.bands:
        values = np.where(seen, stack[m.name].values, np.nan)
        if function == "MED":
            wanted = np.nan_to_num(np.trunc(np.nanmedian(values, axis=0)), nan=-9999)
        else:
            # The most pixels first, of equal scenes the later.
            order = sorted(range(len(seen)), key=lambda i: (-seen[i].sum(), -i))
            wanted = np.full(seen.shape[1:], -9999.0)
            for i in reversed(order):
                wanted = np.where(seen[i], values[i], wanted)
        np.testing.assert_array_equal(image[m.name].values, wanted, m.name)
    again = composite_cube(stack, cube)
    for m in cube.outputs:
        np.testing.assert_array_equal(again[m.name].values[0], image[m.name].values, m.name)
