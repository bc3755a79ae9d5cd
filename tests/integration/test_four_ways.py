"""Scenes of other grids: function, virtual product, live and built image have the same pixels."""

from __future__ import annotations

import uuid
import warnings
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import pairwise

import cloudpickle
import numpy as np
import pytest
import xarray as xr
from made_tasks import for_function
from odc.geo.geobox import GeoBox

from odc_bdc import OdcBdcError, composite_cube, database, find_cube, load_scenes
from odc_bdc.building import build_cube
from odc_bdc.building.reading import SourceFiles, SourceReader
from odc_bdc.cog import write_cog
from odc_bdc.cube.measurement import usual_auxiliary
from odc_bdc.errors import LoadedByDatacubeWarning
from odc_bdc.function import composite_function
from odc_bdc.indexing import (
    add_documents,
    add_products,
    dataset_document,
    read_header,
    write_document,
)
from odc_bdc.live.image import LiveImage
from odc_bdc.live.recipe import parse_recipe, recipe_document, recipe_text
from odc_bdc.planning import plan_cube
from odc_bdc.product import product_document
from odc_bdc.scenes import demo_extent
from odc_bdc.timeline import find_timeline

SIZE = 40
MONTH = (date(2020, 1, 1), date(2020, 1, 31))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
BASE = find_cube("CB4_64_1M_STK_v1").patch(extent=demo_extent(SIZE))
TILES = ("007004", "008004")
AREA = (BASE.geobox(TILES[0]).extent | BASE.geobox(TILES[1]).extent).buffer(2000)


def grid_of(crs, resolution, west=0.0, east=1.0):
    """Give a foreign pixel grid about both tiles, or a part of it across."""
    box = AREA.to_crs(crs, resolution=1000).boundingbox
    edges = (box.left + west * box.span_x, box.bottom, box.left + east * box.span_x, box.top)
    return GeoBox.from_bbox(edges, crs, resolution=resolution)


def own_grid(west, east):
    """Give a part of the cube's own pixels, over both tiles."""
    whole = GeoBox.from_bbox(demo_extent(SIZE), BASE.geobox(TILES[0]).crs, resolution=64)
    return whole[:, round(west * 2 * SIZE) : round(east * 2 * SIZE)]


SCENES = {
    # Two scenes of a pass, in zones of the one and the other hemisphere, that overlap.
    "a": (datetime(2020, 1, 3, 13, 0, tzinfo=UTC), grid_of("EPSG:32722", 64, 0, 0.7)),
    "b": (datetime(2020, 1, 3, 13, 1, tzinfo=UTC), grid_of("EPSG:32622", 64, 0.3, 1)),
    # One instant; the names decide.
    "c2": (datetime(2020, 1, 9, 13, 0, tzinfo=UTC), grid_of("EPSG:32723", 20, 0, 0.8)),
    "c1": (datetime(2020, 1, 9, 13, 0, tzinfo=UTC), grid_of("EPSG:32723", 150, 0.2, 1)),
    # On the grid, beside one that is not.
    "d": (datetime(2020, 1, 14, 13, 0, tzinfo=UTC), own_grid(0, 0.9)),
    "e": (datetime(2020, 1, 14, 13, 2, tzinfo=UTC), grid_of("EPSG:4326", 0.0007, 0.5, 1)),
    "f": (datetime(2020, 1, 20, 13, 0, tzinfo=UTC), own_grid(0, 1)),
    "g": (datetime(2020, 1, 27, 13, 0, tzinfo=UTC), grid_of("EPSG:32722", 96)),
}
FUNCTIONS = ("LCF", "MED", "AVG", "IDT", "MAXNDVI", "GEOMED")


def add_scene(dc, folder, label, when, geobox, seed):
    rng = np.random.default_rng(seed)
    shape = tuple(geobox.shape)
    coarse = rng.choice([127, 255, 0], [-(-n // 9) for n in shape], p=[0.55, 0.35, 0.1])
    quality = np.kron(coarse, np.ones((9, 9), int))[: shape[0], : shape[1]]
    files = {}
    for m in BASE.measurements:
        pixels = rng.integers(-200, 9000, shape)
        pixels[(quality == 0) | (rng.random(shape) < 0.02)] = m.nodata
        pixels = quality if m.name == "CMASK" else pixels
        path = folder / f"{label}_{m.name}.tif"
        write_cog(path, pixels.astype(m.dtype), geobox, nodata=m.nodata)
        files[m.name] = read_header(str(path))
    location = folder / f"{label}.odc-metadata.yaml"
    properties = {
        "datetime": when,
        "odc:processing_datetime": when,
        "odc:file_format": "GeoTIFF",
        "eo:platform": "cbers-4",
    }
    document = dataset_document(
        dataset_id=uuid.uuid5(uuid.NAMESPACE_URL, label),
        product=BASE.products[0],
        label=label,
        files=files,
        properties=properties,
        location=location,
    )
    write_document(document, location)
    (record,) = add_documents(dc, [location])
    assert record.status == "added", record.reason


@pytest.fixture(scope="module")
def indexed(fresh_index, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    with database.open_datacube(fresh_index("postgis")) as dc:
        add_products(dc, [product_document(BASE.products[0])])
        for seed, (label, (when, geobox)) in enumerate(SCENES.items()):
            add_scene(dc, folder, label, when, geobox, seed)
        yield dc


def cube_of(function, dilation=0):
    cube = for_function(BASE, composite_function(function))
    quality = replace(cube.quality, dilation=dilation)
    auxiliary = usual_auxiliary(cube.function, several_platforms=False)
    return cube.patch(
        name=f"TEST_{function}_{dilation}",
        quality=quality,
        sources=(replace(cube.sources[0], quality=quality),),
        auxiliary=tuple(m.name for m in auxiliary),
    )


def same(found, wanted, cube, way):
    for m in cube.outputs:
        assert found[m.name].dtype == m.dtype
        np.testing.assert_array_equal(found[m.name], wanted[m.name], f"{m.name}, {way}")


def live(task):
    """Read a live image by windows of a size that nothing has."""
    image = LiveImage(parse_recipe(recipe_text(recipe_document(task)), "recipe"))
    edges = [*range(0, SIZE, 17), SIZE]
    return {
        m.name: np.block(
            [
                [image.read(m.name, (slice(*rows), slice(*columns))) for columns in pairwise(edges)]
                for rows in pairwise(edges)
            ]
        )
        for m in task.cube.outputs
    }


@pytest.mark.parametrize(
    ("function", "dilation"), [*((f, 0) for f in FUNCTIONS), ("LCF", 2), ("MED", 2)]
)
def test_four_ways_give_the_same_pixels(indexed, tmp_path, function, dilation):
    from odc_bdc.virtual import cube_product

    cube = cube_of(function, dilation)
    add_products(indexed, [cube.to_product()])
    tasks = plan_cube(indexed, cube, *MONTH)
    assert [task.tile_id for task in tasks] == list(TILES)
    assert build_cube(indexed, tasks, tmp_path, now=lambda: NOW).failed == []
    product = cube_product(cube)
    for task in tasks:
        assert task.rules == ("warp 2",)
        built = indexed.load(datasets=[indexed.index.datasets.get(task.id)]).isel(time=0)
        built = {m.name: built[m.name].values for m in cube.outputs}
        assert (built["CLEAROB"] > 1).any()
        scenes = load_scenes(indexed, cube, tile=task.tile_id, time=MONTH)
        same(composite_cube(scenes, cube).isel(time=0), built, cube, "function")
        raw = load_scenes(indexed, cube, tile=task.tile_id, time=MONTH, join=False)
        assert raw.sizes["time"] > scenes.sizes["time"]
        same(composite_cube(raw, cube).isel(time=0), built, cube, "function that joins")
        small = {"time": 1, "y": 13, "x": 16}
        lazy = load_scenes(indexed, cube, tile=task.tile_id, time=MONTH, dask_chunks=small)
        assert lazy.CMASK.chunks
        same(composite_cube(lazy, cube).compute().isel(time=0), built, cube, "lazy function")
        same(live(task), built, cube, "live")
        query = {"time": ("2020-01-05", "2020-01-06"), "like": task.geobox}
        virtual = product.load(indexed, **query)
        assert virtual.time.values.astype("datetime64[D]").tolist() == [task.period.start]
        same(virtual.isel(time=0), built, cube, "virtual")
        lazy = product.load(indexed, dask_chunks=small, **query)
        assert lazy.CLEAROB.chunks
        xr.testing.assert_identical(lazy.compute(), virtual)


def test_windows_and_several_tiles_have_the_pixels_of_the_tiles(indexed):
    from odc_bdc.virtual import cube_product

    cube = cube_of("LCF")
    product = cube_product(cube)
    time = ("2020-01-01", "2020-01-31")
    whole = product.load(indexed, time=time)
    assert dict(whole.sizes) == {"time": 1, "y": SIZE, "x": 2 * SIZE}
    part = whole.odc.geobox[7:20, SIZE - 9 : SIZE + 6]  # over the seam
    window = product.load(indexed, like=part, time=time)
    cut = whole.isel(y=slice(7, 20), x=slice(SIZE - 9, SIZE + 6))
    same(window.isel(time=0), cut.isel(time=0), cube, "window")
    assert window.odc.geobox == part
    # A box that was grouped may be cut before it is fetched.
    bag = product.query(indexed, time=time)
    box = product.group(bag, time=time)
    assert (box.shape, len(bag.bag)) == ((1, SIZE, 2 * SIZE), len(SCENES))
    chunk = product.fetch(box[:, 7:20, SIZE - 9 : SIZE + 6])
    xr.testing.assert_equal(chunk, window)
    box = part.extent.to_crs("EPSG:4326").boundingbox
    about = product.load(
        indexed, lon=box.range_x, lat=box.range_y, time=time, measurements=["nir", "CLEAROB"]
    )
    assert list(about.data_vars) == ["BAND16", "CLEAROB"]
    both = xr.align(about, whole[["BAND16", "CLEAROB"]], join="inner")
    xr.testing.assert_equal(*(one.drop_attrs() for one in both))
    assert about.sizes["y"] >= 13
    # What is loaded over both tiles are the tiles' pixels.
    tiles = load_scenes(indexed, cube, tile=TILES, join=False)
    one = load_scenes(indexed, cube, tile=TILES[1], join=False)
    near = tiles.sel(x=one.x, y=one.y, time=tiles.label.isin(one.label.values).values)
    for name in one.data_vars:
        np.testing.assert_array_equal(near[name], one[name], name)
    some = load_scenes(indexed, cube, geobox=part, join=False)
    assert some.odc.geobox == part
    for name in some.data_vars:
        wanted = tiles[name].sel(x=some.x, y=some.y)
        np.testing.assert_array_equal(some[name], wanted.isel(time=tiles.label.isin(some.label)))


def test_scenes_are_as_the_reader_gives_them(indexed):
    cube = cube_of("MED")
    (task,) = plan_cube(indexed, cube, *MONTH, tiles=[TILES[0]])
    scenes = load_scenes(indexed, cube, tile=TILES[0], join=False)
    assert scenes.label.values.tolist() == [scene.label for scene in task.scenes]
    # Of one instant, the names decide.
    assert scenes.label.values.tolist()[:4] == ["a", "b", "c1", "c2"]
    with SourceReader(SourceFiles(task.geobox)) as reader:
        for at, scene in enumerate(task.scenes):
            for name in ("BAND15", "CMASK"):
                resampling = cube.measurement(name).resampling
                window = slice(0, SIZE), slice(0, SIZE)
                wanted = reader.read(scene.source(name), resampling, window)
                np.testing.assert_array_equal(scenes[name].values[at], wanted)
    some = load_scenes(indexed, cube, tile=TILES[0], time=("2020-01-09", "2020-01-20"))
    assert some.label.values.tolist() == ["c1, c2", "d, e", "f"]


def test_lazy_ones_travel(indexed):
    """Whoever computes a chunk needs no index."""
    from odc_bdc.virtual import cube_product

    cube, query = cube_of("LCF"), {"tile": TILES[0], "time": MONTH}
    lazy = load_scenes(indexed, cube, dask_chunks={"x": 11}, **query)
    virtual = cube_product(cube).load(indexed, time="2020-01", dask_chunks={"y": 11, "x": -1})
    for one, wanted in (
        (lazy, load_scenes(indexed, cube, **query)),
        (virtual, cube_product(cube).load(indexed, time="2020-01")),
    ):
        travelled = cloudpickle.loads(cloudpickle.dumps(one))
        xr.testing.assert_identical(travelled.compute(scheduler="sync"), wanted)


def test_what_cannot_be_loaded_is_told(indexed):
    from odc_bdc.virtual import catalogue, cube_product

    cube = cube_of("MED")
    with pytest.raises(OdcBdcError, match="say what part of the cube"):
        load_scenes(indexed, cube)
    with pytest.raises(OdcBdcError, match="no scene of CB4_WFI_L4_SR_1 in the area and time"):
        load_scenes(indexed, cube, tile=TILES[0], time="2021")
    product = cube_product(cube)
    with pytest.raises(OdcBdcError, match="no scene of CB4_WFI_L4_SR_1 for cube TEST_MED_0"):
        product.load(indexed, time="2021")
    with pytest.raises(OdcBdcError, match="resampling: cube TEST_MED_0 says how its scenes are"):
        product.load(indexed, time="2020-01", resampling="cubic")
    with pytest.raises(OdcBdcError, match="has no output 'BAND99'"):
        product.load(indexed, time="2020-01", measurements=["BAND99"])
    with pytest.raises(OdcBdcError, match="is defined on the pixels of grid BDC_LG_V2"):
        product.load(indexed, time="2020-01", output_crs="EPSG:32722", resolution=64)
    shipped = catalogue()["CB4_64_1M_STK_v1"]
    assert type(shipped).__name__ == "CubeProduct"
    assert "cube: CB4_64_1M_STK_v1" in repr(shipped)


@pytest.mark.filterwarnings("ignore:GroupBy.apply")  # of datacube
def test_recipes_that_datacube_loads_say_so(indexed):
    from datacube.virtual import construct

    from odc_bdc import virtual

    cube = cube_of("MED")
    names = [m.name for m in cube.measurements]
    scenes = {"product": cube.products[0], "measurements": names, "group_by": "time"}
    harmonised = {"transform": "odc_bdc.virtual.Harmonise", "cube": cube, "input": scenes}
    recipe = {
        "aggregate": "odc_bdc.virtual.Composite",
        "group_by": "odc_bdc.virtual.p16d",
        "cube": cube.patch(timeline=find_timeline("p16d")),
        "input": harmonised,
    }
    own = cube.geobox(TILES[0])
    for made in (recipe, harmonised):
        virtual._warn_once.cache_clear()
        with pytest.warns(
            LoadedByDatacubeWarning, match=r"take the cube's product from .*catalogue"
        ):
            image = construct(**made).load(indexed, time=("2020-01-14", "2020-01-28"), like=own)
        assert image.attrs["loaded_by"] == "datacube"
        # Once, whatever else is loaded.
        with warnings.catch_warnings():
            warnings.simplefilter("error", LoadedByDatacubeWarning)
            construct(**made).load(indexed, time=("2020-01-14", "2020-01-28"), like=own)
    with warnings.catch_warnings():
        warnings.simplefilter("error", LoadedByDatacubeWarning)
        image = virtual.cube_product(cube).load(indexed, time="2020-01", like=own)
    assert "loaded_by" not in image.attrs
