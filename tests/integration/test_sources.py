"""Cubes of scenes that store values otherwise than the cube, of one product and of several."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import UTC, date, datetime
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
import yaml
from made_plugins import install

from odc_bdc import composite_cube, find_cube, harmonise, load_scenes
from odc_bdc.building import build_cube, composite_tile
from odc_bdc.cog import write_cog
from odc_bdc.indexing import (
    add_documents,
    add_products,
    dataset_document,
    read_header,
    write_document,
)
from odc_bdc.planning import plan_cube
from odc_bdc.product import product_document

TILE = "011009"
CUBES = {
    "LC8_30_16D_STK_v1": ("landsat_2_oli",),
    "LC8_30_16D_MED_v1": ("landsat_2_oli",),
    "LC8_30_1M_AVG_v1": ("landsat_2_oli",),
    "S2LC8_30_16D_STK_v1": ("S2_L2A_1", "S2_L2A_1_N0400", "landsat_2_oli"),
    "OWN": ("landsat_2_oli",),
    "OWN_COMBINED": ("S2_L2A_1", "S2_L2A_1_N0400", "landsat_2_oli"),
}
STRICT = {
    "band": "QA_PIXEL",
    "bits": True,
    "clear": [6, 7],
    "not_clear": [1, 2, 3, 4, 5],
    "nodata": 1,
    "confidence": {"cirrus": "medium"},
    "saturation": {"band": "QA_RADSAT", "bits": [2, 3]},
    "dilation": 1,
}
MASK = """
def dark(bands, quality):
    return next(iter(bands.values())) < 7000
"""
QUALITY = {
    "QA_RADSAT": [0, 0, 0, 0, 4],
    "SCL": [0, 1, 3, 4, 5, 6, 8, 9],
    "QA_PIXEL": [1, 21824, 21824, 21952, 22280, 23888],
}
SCENES = {
    # One day twice, by two satellites, and one that a cube of Landsat-8 may not see.
    "landsat_2_oli": [(3, "landsat-8"), (11, "landsat-9"), (12, "landsat-8"), (19, "landsat-8")],
    "S2_L2A_1": [(5, "sentinel-2a"), (12, "sentinel-2b")],
    "S2_L2A_1_N0400": [(10, "sentinel-2a"), (18, "sentinel-2b")],
}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module", autouse=True)
def own_cubes(tmp_path_factory):
    """Write two definitions that use all that a quality policy may say, and a mask function."""
    folder = tmp_path_factory.mktemp("definitions")
    install(folder / "installed", "my_clouds", MASK, masks={"my-clouds": "dark"})
    shipped = Path(str(files("odc_bdc.product_defs"))) / "cubes"
    for name, of in (("OWN", "LC8_30_16D_STK_v1"), ("OWN_COMBINED", "S2LC8_30_16D_STK_v1")):
        doc = yaml.safe_load((shipped / f"{of}.yaml").read_text("utf-8"))
        doc |= {"name": name, "mask": "my-clouds"}
        if name == "OWN":
            doc["quality"] = STRICT
        else:
            doc["sources"][2]["quality"] = STRICT
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(doc), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder / "installed"))
        patch.setitem(OWN, "folder", folder)
        yield


OWN = {}


def definition(name):
    """Give the name of a shipped cube, or the path of an own one."""
    return str(OWN["folder"] / f"{name}.yaml") if name.startswith("OWN") else name


def cube_of(name):
    """Give a cube cut to 31 x 24 pixels of one tile."""
    cube = find_cube(definition(name))
    xmin, _, _, ymax = cube.grid.bbox(TILE)
    extent = (xmin + 3000, ymax - 3000 - 24 * 30, xmin + 3000 + 31 * 30, ymax - 3000)
    return cube.patch(extent=extent)


def add_scene(dc, folder, product, day, platform):
    """Write a scene of random pixels on the cubes' grid, and add it to the index."""
    geobox = cube_of("S2LC8_30_16D_STK_v1").geobox(TILE)
    rng = np.random.default_rng(day)
    label = f"{product}_{day:02d}"
    files = {}
    for m in product_document(product)["measurements"]:
        if m["name"] in QUALITY:
            pixels = rng.choice(QUALITY[m["name"]], tuple(geobox.shape))
        else:
            pixels = rng.integers(1, 20000, tuple(geobox.shape))
            pixels[rng.random(pixels.shape) < 0.03] = m["nodata"]
        path = folder / f"{label}_{m['name']}.tif"
        write_cog(path, pixels.astype(m["dtype"]), geobox, nodata=m["nodata"])
        files[m["name"]] = read_header(str(path))
    when = datetime(2020, 1, day, 13, day, tzinfo=UTC)
    location = folder / f"{label}.odc-metadata.yaml"
    properties = {
        "datetime": when,
        "odc:processing_datetime": when,
        "odc:file_format": "GeoTIFF",
        "odc:region_code": TILE,
        "eo:platform": platform,
    }
    document = dataset_document(
        dataset_id=uuid.uuid5(uuid.NAMESPACE_URL, label),
        product=product,
        label=label,
        files=files,
        properties=properties,
        location=location,
    )
    write_document(document, location)
    assert [record.status for record in add_documents(dc, [location])] == ["added"]


@pytest.fixture(scope="module")
def indexed(dc, tmp_path_factory):
    add_products(dc, [product_document(name) for name in SCENES])
    add_products(dc, [cube_of(name).to_product() for name in CUBES])
    folder = tmp_path_factory.mktemp("scenes")
    for product, scenes in SCENES.items():
        for day, platform in scenes:
            add_scene(dc, folder, product, day, platform)
    return dc


@pytest.fixture(scope="module", params=CUBES)
def built(request, indexed, tmp_path_factory):
    """Give the tasks of a cube, which are built."""
    cube = cube_of(request.param)
    tasks = plan_cube(indexed, cube, date(2020, 1, 1), date(2020, 2, 1))
    report = build_cube(indexed, tasks, tmp_path_factory.mktemp("cube"), now=lambda: NOW)
    assert report.failed == []
    return tasks


def image_of(dc, task):
    return dc.load(datasets=[dc.index.datasets.get(task.id)]).isel(time=0, drop=True)


def test_scenes_are_those_of_the_sources(built):
    cube = built[0].cube
    assert set(cube.products) == set(CUBES[cube.name])
    wanted = {
        f"{product}_{day:02d}"
        for product in CUBES[cube.name]
        for day, platform in SCENES[product]
        if platform != "landsat-9"
    }
    assert {scene.label for task in built for scene in task.scenes} == wanted


def test_built_equals_composite_bit_for_bit(indexed, built):
    for task in built:
        cube, parts = task.cube, []
        for source in cube.sources:
            scenes = [s for s in task.scenes if s.product == source.product]
            if scenes:
                found = [indexed.index.datasets.get(s.id) for s in scenes]
                names = list(cube.read_bands(source))
                stack = indexed.load(datasets=found, like=task.geobox, measurements=names)
                parts.append(harmonise(stack, cube, source.product))
        wanted = composite_cube(xr.concat(parts, "time").sortby("time"), cube)
        image = image_of(indexed, task)
        assert list(image.data_vars) == [m.name for m in cube.outputs]
        for m in cube.outputs:
            assert image[m.name].dtype == m.dtype
            np.testing.assert_array_equal(image[m.name].values, wanted[m.name].values[0], m.name)
        assert (image.CLEAROB.values > 0).any()


def recipe_of(cube):
    """Give the recipe of a cube's virtual product; an own one is named by its file."""
    text = json.dumps(cube.to_virtual_recipe())
    if cube.name.startswith("OWN"):
        text = text.replace(f'"cube": "{cube.name}"', f'"cube": "{definition(cube.name)}"')
    return json.loads(text)


def test_virtual_product_gives_the_same(indexed, built, recwarn):
    from datacube.virtual import construct

    from odc_bdc.virtual import cube_product

    products = [
        (task, product)
        for task in built
        for product in (construct(**recipe_of(task.cube)), cube_product(task.cube))
    ]
    for task, product in products:
        query = {
            "time": (task.period.start_datetime, task.period.end_datetime),
            "like": task.geobox,
        }
        image = image_of(indexed, task)
        for chunks in ({}, {"dask_chunks": {"time": 1, "x": 13, "y": 24}}):
            virtual = product.load(indexed, **query, **chunks).compute()
            starts = virtual.time.values.astype("datetime64[D]").tolist()
            assert starts == [task.period.start]
            for m in task.cube.outputs:
                found = virtual[m.name].values[0]
                np.testing.assert_array_equal(found, image[m.name].values, m.name)


def test_loaded_scenes_give_the_same(indexed, built):
    for task in built:
        query = {"tile": TILE, "time": (task.period.start, task.period.end)}
        image = image_of(indexed, task)
        for chunks in (None, {"x": 13, "y": -1}):
            scenes = load_scenes(indexed, task.cube, dask_chunks=chunks, **query)
            assert scenes.sizes["time"] == len(task.observations)
            found = composite_cube(scenes, task.cube).compute()
            for m in task.cube.outputs:
                np.testing.assert_array_equal(found[m.name].values[0], image[m.name], m.name)


def test_datasource_and_provenance_tell_the_scene(indexed, built):
    if built[0].cube.name != "S2LC8_30_16D_STK_v1":
        return
    numbers = set()
    for task in built:
        image = image_of(indexed, task)
        by_pass = {
            (group[0].datetime.timetuple().tm_yday, group[0].product == "landsat_2_oli"): group
            for group in task.observations
        }
        for (day, landsat), (scene, *_) in by_pass.items():
            chosen = (image.PROVENANCE.values == day) & (image.DATASOURCE.values == landsat)
            numbers.add(int(landsat)) if chosen.any() else None
            with rasterio.open(scene.source("red").href.removeprefix("file://")) as src:
                stored = src.read(1)[chosen].astype(int)
            offset = 1000 if scene.product == "S2_L2A_1_N0400" else 0
            wanted = (11 * stored - 80000) / 40 if landsat else stored - offset
            np.testing.assert_array_equal(image.red.values[chosen], np.trunc(wanted))
        np.testing.assert_array_equal(image.DATASOURCE == 255, image.PROVENANCE == -1)
    assert numbers == {0, 1}


def test_strict_quality_leaves_fewer_clear(indexed, built):
    if built[0].cube.name != "OWN":
        return
    for task in built:
        plain = task.cube.patch(quality=find_cube("LC8_30_16D_STK_v1").quality, mask=None)
        plain = plain.patch(sources=find_cube("LC8_30_16D_STK_v1").sources)
        counts = [
            composite_tile(replace(task, cube=cube))["CLEAROB"].sum() for cube in (task.cube, plain)
        ]
        assert 0 < counts[0] < counts[1]
        small = composite_tile(task, block=7)
        for name, array in composite_tile(task).items():
            np.testing.assert_array_equal(small[name], array, name)
