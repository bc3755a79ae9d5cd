"""A cube of given scenes, without an index: the pixels of the cube that a build would make."""

from __future__ import annotations

import json

import dask
import numpy as np
import pystac
import pytest
import xarray as xr
from builders import CUBE, SPAN, cube, fill, make_small_scenes, tasks_of
from odc.geo.geobox import GeoBox

import odc_bdc
from odc_bdc.building.tile import composite_tile
from odc_bdc.errors import InvalidValueError, SceneError, UnknownNameError
from odc_bdc.grid import BDC_CRS
from odc_bdc.planning import plan_scenes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    make_small_scenes(folder)
    return folder


@pytest.fixture(scope="module")
def items(folder):
    """Give the scenes as items of pystac."""
    paths = sorted(
        p for p in folder.rglob("*.json") if json.loads(p.read_text())["type"] == "Feature"
    )
    assert paths
    return [pystac.Item.from_file(str(path)) for path in paths]


@pytest.fixture(scope="module")
def images(items):
    """Give the built images by tile and period, from a plan of the same scenes."""
    tasks = plan_of(items)
    return {(t.tile_id, t.period.start): composite_tile(t) for t in tasks}


def plan_of(items):
    from odc_bdc.live.opened import _given

    return plan_scenes(cube(), _given(cube(), items, None, "none"), time=SPAN)


def test_a_plan_of_given_scenes_is_that_of_the_index(dc, folder, items):
    fill(dc, folder)
    datasets = list(dc.index.datasets.search(product=cube().products[0]))
    expected = {t.id: t for t in tasks_of(dc)}
    from odc_bdc.live.opened import _given

    for scenes in (items, datasets, [i.to_dict() for i in items], [*items, *datasets]):
        given = _given(cube(), scenes, None, "none")
        tasks = [t for t in plan_scenes(cube(), given, time=SPAN) if t.id in expected]
        assert [t.id for t in tasks] == list(expected)
        assert [[s.id for s in t.scenes] for t in tasks] == [
            [s.id for s in t.scenes] for t in expected.values()
        ]


def test_pixels_are_those_of_a_build(items, images):
    tiles = sorted({tile for tile, _ in images})
    for tile in tiles:
        opened = odc_bdc.open_cube(cube(), items, tile=tile, time=SPAN, chunks={"y": 20, "x": -1})
        assert list(opened.data_vars) == [m.name for m in cube().outputs]
        assert opened.odc.geobox == cube().geobox(tile)
        wanted = {start: image for (t, start), image in images.items() if t == tile}
        assert [t.astype("M8[D]").item() for t in opened.time.values] == sorted(wanted)
        assert opened["BAND13"].chunks[1][0] == 20
        (loaded,) = dask.compute(opened, scheduler="threads")
        for n, start in enumerate(sorted(wanted)):
            for m in cube().outputs:
                assert loaded[m.name].dtype == m.dtype
                np.testing.assert_array_equal(loaded[m.name].values[n], wanted[start][m.name])
        assert loaded["BAND13"].attrs["nodata"] == -9999


def test_an_area_over_several_tiles_is_put_together(items, images):
    tiles = sorted({tile for tile, _ in images})
    assert len(tiles) > 1
    boxes = [cube().geobox(tile).boundingbox for tile in tiles]
    west, east = min(b.left for b in boxes), max(b.right for b in boxes)
    south, north = max(b.bottom for b in boxes), min(b.top for b in boxes)
    size = cube().resolution
    around = GeoBox.from_bbox(
        (west + 3 * size, south + 5 * size, east + 4 * size, north - 2 * size),
        BDC_CRS,
        resolution=size,
        tight=True,
    )
    opened = odc_bdc.open_cube(
        cube(), items, geobox=around, time=SPAN, measurements=["red", "NDVI"]
    )
    assert list(opened.data_vars) == ["BAND15", "NDVI"]
    assert opened.odc.geobox == around
    pixels = opened["NDVI"].isel(time=0).values
    expected = np.full(around.shape, -9999, "int16")
    start = opened.time.values[0].astype("M8[D]").item()
    for tile in tiles:
        box = cube().geobox(tile)
        at = ~around.affine * (box.affine * (0.5, 0.5))
        column, row = int(np.floor(at[0])), int(np.floor(at[1]))
        for y in range(box.shape.y):
            for x in range(box.shape.x):
                if 0 <= row + y < around.shape.y and 0 <= column + x < around.shape.x:
                    expected[row + y, column + x] = images[tile, start]["NDVI"][y, x]
    np.testing.assert_array_equal(pixels, expected)
    # In degrees: all of it is in, and little more.
    bbox = around.geographic_extent.boundingbox.bbox
    wide = odc_bdc.open_cube(cube(), items, bbox=bbox, time=SPAN, measurements="NDVI")
    one, other = (ds["NDVI"].isel(time=0).compute() for ds in (wide, opened))
    one, other = (band.assign_coords(x=band.x.round(3), y=band.y.round(3)) for band in (one, other))
    one, other = xr.align(one, other, join="inner")
    # What lies outside of the tiles is in no area.
    assert one.size > 0.9 * other.size > 0.8 * pixels.size
    np.testing.assert_array_equal(one.values, other.values)


def test_it_is_lazy_and_its_graph_can_go_to_processes(items, images):
    opened = odc_bdc.open_cube(cube(), items, time=SPAN, measurements=["BAND13"])
    _, start = min(images)
    one = opened["BAND13"].sel(time=str(start))
    assert dask.is_dask_collection(one)
    (found,) = dask.compute(one, scheduler="processes", num_workers=1)
    assert (found.values != -9999).any()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"tile": "007004", "bbox": (0, 0, 1, 1)}, "give one of bbox, tile"),
        ({"tile": "001001"}, "lies outside of the extent"),
        ({"bbox": (10, 40, 11, 41)}, "the area lies outside of cube"),
        ({"bbox": (-50, -10, -51, -9)}, "west, south, east, north"),
        ({"bbox": (-50, -10, -51)}, "area cannot be read"),
        ({"geometry": {"type": "Blob"}}, "area cannot be read"),
        ({"time": "2031"}, "none of the .* scenes lies in the area and time"),
        ({"time": "yesterday"}, "time 'yesterday' cannot be read"),
        ({"time": ("2020-02-01", "2020-01-01")}, "ends before it starts"),
        ({"time": "2020/2021/2022"}, "is not one moment"),
        ({"chunks": {"band": 3}}, "no dimension 'band'"),
        ({"chunks": {"x": 0}}, "sizes are 1 or more"),
        ({"access": {"https://h/": {"tokn": "X"}}}, "do you mean token"),
    ],
)
def test_what_cannot_be_meant_is_told(items, how, message):
    with pytest.raises(InvalidValueError, match=message) as told:
        odc_bdc.open_cube(cube(), items, **how)
    assert len(str(told.value).splitlines()) == 1


def test_scenes_that_do_not_fit_are_told(items):
    with pytest.raises(InvalidValueError, match="no scene was given to open cube"):
        odc_bdc.open_cube(cube(), [])
    with pytest.raises(InvalidValueError, match=r"is of product .*; cube S2\w+ is made of"):
        odc_bdc.open_cube("S2_10_16D_STK_v1", items)
    strange = items[0].to_dict() | {"collection": "other"}
    with pytest.raises(InvalidValueError, match="no recipe knows collection 'other'"):
        odc_bdc.open_cube(cube(), [strange])
    with pytest.raises(InvalidValueError, match="int is no scene"):
        odc_bdc.open_cube(cube(), [7])
    lacking = items[0].to_dict()
    lacking["assets"].pop("BAND13")
    with pytest.raises(SceneError, match="BAND13"):
        odc_bdc.open_cube(cube(), [lacking])
    with pytest.raises(UnknownNameError, match="no output 'NDVY', do you mean NDVI"):
        odc_bdc.open_cube(CUBE, items, measurements=["NDVY"])
    with pytest.raises(UnknownNameError, match="no shipped cube"):
        odc_bdc.open_cube("CB4_64_16D_STK_v2", items)


def test_a_geobox_of_other_pixels_is_refused(items):
    box = cube().geobox("007004")
    for other in (box.zoom_out(2), box.translate_pix(0.5, 0)):
        with pytest.raises(InvalidValueError, match="does not lie on the pixels"):
            odc_bdc.open_cube(cube(), items, geobox=other)


@pytest.mark.parametrize(
    ("collection", "name"),
    [
        ("S2_L2A_31UES-1", "S2_31UES_10_1M_MED_v1"),
        ("LC8_L1TP_NY-1", "LC8_NY_3000_1M_STK_v1"),
    ],
)
def test_real_scenes(real_data, collection, name):
    paths = [
        path
        for path in sorted((real_data / collection).rglob("*.json"))
        if json.loads(path.read_text("utf-8")).get("type") == "Feature"
    ]
    scenes = [
        json.loads(path.read_text("utf-8")) | {"links": [{"rel": "self", "href": str(path)}]}
        for path in paths
    ]
    opened = odc_bdc.open_cube(name, scenes)
    from odc_bdc.live.opened import _given

    spec = odc_bdc.find_cube(name)
    tasks = plan_scenes(spec, _given(spec, scenes, None, "none"))
    assert len(opened.time) == len({t.period for t in tasks})
    task = max(tasks, key=lambda t: len(t.scenes))
    assert len(task.scenes) > 1
    image = composite_tile(task)
    loaded = opened.sel(time=str(task.period.start)).compute()
    assert opened.odc.geobox == task.geobox
    for band, pixels in image.items():
        np.testing.assert_array_equal(loaded[band].values.squeeze(), pixels, err_msg=band)
    assert (loaded["CLEAROB"].values > 0).any()
