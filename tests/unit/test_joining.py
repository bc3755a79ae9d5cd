"""Scenes of one pass become one observation: a loop over pixels, arrays, windows and files."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import xarray as xr
from made_tasks import CLEAR, CLOUD, CUBE, NODATA, PERIOD, TILE, cube_at, for_function, write_scene
from odc.geo.xr import xr_coords

from odc_bdc import composite_cube, harmonise
from odc_bdc.building import composite_tile
from odc_bdc.compositing.joining import join_passes
from odc_bdc.cube.measurement import usual_auxiliary
from odc_bdc.function import composite_function
from odc_bdc.planning import CompositeTask

SHAPE = (30, 44)
TIMES = [(3, 13, 0), (3, 13, 1), (3, 13, 2), (8, 13, 0), (12, 13, 0), (12, 14, 0)]
"""Day, hour and minute: three scenes of one pass, one alone, two of a pass."""


def pixels(rng, cube, *, clean):
    """Give a scene whose bands lack some values, and hold some where the quality is nodata.

    A clean one does not: windows of an observation that shows nothing are not looked at.
    """
    coarse = rng.choice([CLEAR, CLOUD, NODATA], (5, 7), p=[0.4, 0.25, 0.35])
    quality = np.kron(coarse, np.ones((6, 7), int))[: SHAPE[0], : SHAPE[1]]
    out = {}
    for m in cube.measurements:
        values = rng.integers(1, 9000, SHAPE)
        values[(rng.random(SHAPE) < 0.1) | (clean & (quality == NODATA))] = m.nodata
        out[m.name] = (quality if m.name == "CMASK" else values).astype(m.dtype)
    return out


def given(seed):
    rng = np.random.default_rng(seed)
    whens = [datetime(2020, 1, day, hour, minute, tzinfo=UTC) for day, hour, minute in TIMES]
    days = [when.day for when in whens]
    return [(when, pixels(rng, CUBE, clean=days.count(when.day) == 1)) for when in whens]


def stack(scenes, cube, geobox):
    """Give scenes as `dc.load` does."""
    dims = ("time", *geobox.dimensions)
    data = {
        m.name: (dims, np.stack([bands[m.name] for _, bands in scenes]), {"nodata": m.nodata})
        for m in cube.measurements
    }
    times = np.array([when.replace(tzinfo=None) for when, _ in scenes], "datetime64[ns]")
    return xr.Dataset(data, coords=xr_coords(geobox) | {"time": ("time", times)})


def joined_by_hand(scenes, cube):
    """Join by the rule, pixel by pixel."""
    names = [m.name for m in cube.bands]
    nodata = {m.name: m.nodata for m in cube.measurements}
    out = {name: np.empty(SHAPE, scenes[0][name].dtype) for name in (*names, "CMASK")}
    for at in np.ndindex(SHAPE):
        chosen = None
        for scene in scenes:
            told = scene["CMASK"][at] != NODATA
            seen = told and all(scene[name][at] != nodata[name] for name in names)
            if seen or (told and chosen is None):
                chosen = scene
        for name, array in out.items():
            array[at] = nodata[name] if chosen is None else chosen[name][at]
    return out


@pytest.mark.parametrize("chunks", [None, {"time": 1, "y": 7, "x": 11}, {"time": -1}])
def test_a_pass_is_joined_as_a_loop_over_pixels_does(chunks):
    cube, scenes = cube_at(*SHAPE), given(1)
    ds = stack(scenes, cube, cube.geobox(TILE))
    made = join_passes(harmonise(ds.chunk(chunks) if chunks else ds, cube), cube)
    assert bool(made.CMASK.chunks) == bool(chunks)
    groups = [scenes[:3], scenes[3:4], scenes[4:]]
    first = [group[0][0].replace(tzinfo=None) for group in groups]
    assert made.time.values.astype("datetime64[us]").tolist() == first
    for at, group in enumerate(groups):
        wanted = group[0][1]
        if len(group) > 1:
            wanted = joined_by_hand([bands for _, bands in group], cube)
        for name, array in wanted.items():
            np.testing.assert_array_equal(made[name].values[at], array, name)
    # What was given is as it was.
    for at, (_, bands) in enumerate(scenes):
        np.testing.assert_array_equal(ds.BAND13.values[at], bands["BAND13"])


def test_order_of_time_then_as_given():
    cube, scenes = cube_at(*SHAPE), given(2)
    geobox = cube.geobox(TILE)
    ds = harmonise(stack(scenes, cube, geobox), cube)
    shuffled = ds.isel(time=[4, 2, 0, 5, 3, 1])
    xr.testing.assert_identical(join_passes(shuffled, cube), join_passes(ds, cube))
    # Images of one instant.
    instant = [(scenes[0][0], bands) for _, bands in scenes[:2]]
    for order in (instant, instant[::-1]):
        made = join_passes(harmonise(stack(order, cube, geobox), cube), cube)
        wanted = joined_by_hand([bands for _, bands in order], cube)
        np.testing.assert_array_equal(made.BAND13.values[0], wanted["BAND13"])
    alone = ds.isel(time=[0, 3, 4])
    assert join_passes(alone, cube) is alone


WIDENED = replace(CUBE.quality, dilation=2)
FUNCTIONS = ("LCF", "MED", "AVG", "IDT", "MAXNDVI", "P25", "MEDSTK", "GEOMED")


@pytest.mark.parametrize("quality", [CUBE.quality, WIDENED], ids=["plain", "widened"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_arrays_are_composited_as_files_are_by_any_windows(tmp_path, function, quality):
    cube = for_function(cube_at(*SHAPE), composite_function(function))
    auxiliary = usual_auxiliary(cube.function, several_platforms=False)
    cube = cube.patch(
        quality=quality,
        sources=(replace(cube.sources[0], quality=quality),),
        auxiliary=tuple(m.name for m in auxiliary),
    )
    scenes, geobox = given(3), cube.geobox(TILE)
    refs = [write_scene(tmp_path, cube, when, geobox, bands) for when, bands in scenes]
    task = CompositeTask(cube, TILE, PERIOD, tuple(refs))
    ds = stack(scenes, cube, geobox)
    found = {
        "eager": composite_cube(ds, cube).isel(time=0),
        "lazy": composite_cube(ds.chunk({"time": 2, "y": 9, "x": 16}), cube).compute().isel(time=0),
        "small windows": composite_tile(task, block=8),
        "strips": composite_tile(task, block=5, threads=2),
    }
    wanted = composite_tile(task, block=64)
    for way, image in found.items():
        for m in cube.outputs:
            np.testing.assert_array_equal(image[m.name], wanted[m.name], f"{m.name}, {way}")
    raw = composite_cube(ds, cube, join=False).isel(time=0)
    assert (raw.TOTALOB.values >= wanted["TOTALOB"]).all()
    assert (raw.TOTALOB.values > wanted["TOTALOB"]).any()
