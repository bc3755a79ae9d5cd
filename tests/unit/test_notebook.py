"""The notebook kit without an index: places, weights, smoothing, users' functions, the accessor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from affine import Affine
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from odc.geo import CRS
from odc.geo.geom import Geometry

from odc_bdc import QualityPolicy, composite, composite_cube, find_cube
from odc_bdc import notebook as nb
from odc_bdc.building.blocks import by_block
from odc_bdc.errors import InvalidValueError, MissingDependencyError, UnknownNameError
from odc_bdc.notebook.places import Polygons, read_points, read_polygons
from odc_bdc.notebook.zonal import Zones

HEAVY = ("ipywidgets", "ipyleaflet", "sklearn", "matplotlib", "exactextract", "whittaker_eilers")
CUBE = "CB4_64_16D_STK_v1"


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import odc_bdc", (*HEAVY, "xarray", "pandas", "datacube", "odc_bdc.notebook")),
        ("from odc_bdc import notebook", (*HEAVY, "datacube")),
        ("from odc_bdc.notebook import connect, load, apply", HEAVY),
    ],
)
def test_importing_is_light(statement, absent):
    code = f"{statement}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not set(json.loads(done.stdout)) & set(absent)


@pytest.mark.parametrize(("name", "package"), [("timeseries", "exactextract"),
                                               ("smooth", "whittaker_eilers")])  # fmt: skip
def test_a_missing_package_is_told_with_what_helps(monkeypatch, name, package):
    home = f"odc_bdc.notebook.{nb._HOMES[name]}"
    for module in [m for m in sys.modules if m.startswith((home, "odc_bdc.notebook.zonal"))]:
        monkeypatch.delitem(sys.modules, module)
    for module in [m for m in sys.modules if m.startswith(package)]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        MissingDependencyError, match=rf"{package}.*pip install 'odc_bdc\[notebook\]'"
    ):
        getattr(nb, name)


def test_all_names_are_there():
    assert sorted(nb.__all__) == nb.__all__ == sorted(nb._HOMES)
    for name in nb.__all__:
        assert callable(getattr(nb, name))
    with pytest.raises(AttributeError, match="nothing"):
        _ = nb.nothing


def test_jupyter_shows_the_line_of_the_reader_and_the_sentence(tmp_path):
    lines = ["from odc_bdc import notebook as nb", f"nb.connect({str(tmp_path)!r})"]
    command = [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", "-c"]
    environ = {**os.environ, "IPYTHONDIR": str(tmp_path)}
    done = subprocess.run(
        [*command, "\n".join(lines)], check=False, capture_output=True, text=True, env=environ
    )
    shown = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert shown[-2] == f"line 2: {lines[1]}"
    assert shown[-1].startswith(f"DatabaseError: There is no index in {tmp_path} yet: run `odc-bdc")
    assert len(shown) <= 3


# Points and polygons.


class Frame:
    """What a GeoDataFrame is of use for here, without the package."""

    crs = "EPSG:5880"

    def to_crs(self, crs):
        assert crs == "EPSG:4326"
        return {"type": "MultiPoint", "coordinates": [(-54.0, -12.0)]}


FORMS = [
    ([(-45, -12), (-44, -11)], [0, 1]),
    (np.array([[-45, -12], [-44, -11]]), [0, 1]),
    ([shapely.Point(-45, -12), shapely.Point(-44, -11)], [0, 1]),
    (shapely.MultiPoint([(-45, -12), (-44, -11)]), [0, 1]),
    (pd.DataFrame({"Longitude": [-45, -44], "LAT": [-12, -11]}, index=[7, 3]), [7, 3]),
    (pd.DataFrame({"point": ["b", "a"], "lon": [-45, -44], "lat": [-12, -11]}), ["b", "a"]),
    (
        {"type": "FeatureCollection", "features": [
            {"type": "Feature", "id": i, "geometry": {"type": "Point", "coordinates": [x, y, 9]}}
            for i, x, y in (("p", -45, -12), ("q", -44, -11))
        ]},
        ["p", "q"],
    ),
    (
        [Geometry(shapely.Point(-45, -12), 4326), {"type": "Point", "coordinates": [-44, -11]}],
        [0, 1],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("given", "ids"), FORMS)
def test_points_come_in_many_forms(given, ids):
    points = read_points(given)
    assert points.ids.tolist() == ids
    assert points.longitude.tolist() == [-45, -44]
    assert points.latitude.tolist() == [-12, -11]


def test_one_point_and_other_crs():
    assert len(read_points((-45.5, -12))) == len(read_points(shapely.Point(-45, -12))) == 1
    assert read_points(Frame()).longitude.tolist() == [-54]
    # The origin of SIRGAS 2000 / Brazil Polyconic is 54 W on the equator, at 5,000 and 10,000 km.
    x, y = read_points(Geometry(shapely.Point(5_000_000, 10_000_000), "EPSG:5880")).longitude[0], 0
    assert (x, y) == pytest.approx((-54, 0))


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ([], "there is none"),
        ([(-12, -145)], r"0 lies at -12, -145.*longitude and latitude"),
        ([(np.nan, 2)], "lies at nan"),
        ([(1, 2, 3)], "no pairs"),
        ("here", "cannot be read from str"),
        (7, "shape"),
        (pd.DataFrame({"x": [1]}), "no column 'longitude'; it has x"),
        (
            pd.DataFrame({"lon": [1, 2], "lat": [1, 2]}, index=["a", "a"]),
            "'a' is the id of several",
        ),
        ([shapely.box(0, 0, 1, 1)], "holds a Polygon.*polygons="),
        ([shapely.Point()], "is empty"),
        ([{"type": "Point"}], "cannot be read"),
        ([object()], "cannot be read"),
    ],
)
def test_points_that_are_none_are_told(given, fault):
    with pytest.raises(InvalidValueError, match=fault):
        read_points(given)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ([shapely.Point(0, 0)], "Point without area; give `points=`"),
        ([shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1), (0, 0)])], "without area|not valid"),
        ([shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 1), (0, 0)])], "not valid.*make_valid"),
        (shapely.box(500000, 0, 500100, 100), "not on the Earth"),
        ([], "there is none"),
    ],
)
def test_polygons_that_are_none_are_told(given, fault):
    with pytest.raises(InvalidValueError, match=fault):
        read_polygons(given)


# Pixels and their weights.


@given(
    st.integers(1, 9), st.integers(1, 9),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=30),
)  # fmt: skip
def test_pixels_are_sorted_by_block(height, width, where):
    rows, columns = np.array(where, int).reshape(-1, 2).T
    found = by_block(rows, columns, (height, width))
    assert list(found) == sorted({(r // height, c // width) for r, c in where})
    for (y, x), at in found.items():
        assert [(r // height, c // width) == (y, x) for r, c in where].count(True) == len(at)
        assert {(rows[i] // height, columns[i] // width) for i in at} == {(y, x)}


# In degrees, so that pixels are what polygons are drawn in.
SIDE = 1 / 64
GRID = Affine(SIDE, 0, -50, 0, -SIDE, -10)


def zones(*polygons):
    shapes = [
        shapely.transform(p, lambda xy: np.column_stack(GRID * (xy[:, 0], xy[:, 1])))
        for p in polygons
    ]
    return Zones.of(Polygons(pd.RangeIndex(len(shapes)), tuple(shapes)), CRS("EPSG:4326"), GRID)


def test_weights_are_shares_of_pixels():
    found = zones(shapely.box(0.5, 1, 3, 2.25), shapely.box(-2, -1, -1.75, 0))
    got = sorted(zip(found.zone, found.rows, found.columns, found.weights, strict=True))
    assert [g[:3] for g in got] == [
        (0, 1, 0), (0, 1, 1), (0, 1, 2), (0, 2, 0), (0, 2, 1), (0, 2, 2), (1, -1, -2),
    ]  # fmt: skip
    np.testing.assert_allclose([g[3] for g in got], [0.5, 1, 1, 0.125, 0.25, 0.25, 0.25], rtol=1e-5)


@given(
    hnp.arrays(float, (6, 8), elements=st.one_of(st.integers(-50, 50).map(float), st.just(np.nan))),
    st.tuples(st.floats(0, 3), st.floats(0, 2), st.floats(4, 8), st.floats(3, 6), st.floats(0, 1)),
)
def test_statistics_are_those_of_exactextract(values, corners):
    left, top, right, bottom, tip = corners
    polygon = shapely.Polygon(
        [(left, top), (right, top + tip), (right - tip, bottom), (left, bottom)]
    )
    found = zones(polygon)
    at = found.rows.astype(int), found.columns.astype(int)
    got = {k: v[0, 0] for k, v in found.statistics({"v": values[at]}).items()}
    raster = NumPyRasterSource(values, xmin=0, ymin=-6, xmax=8, ymax=0, nodata=np.nan)
    feature = {
        "type": "Feature", "properties": {},
        "geometry": shapely.geometry.mapping(
            shapely.transform(polygon, lambda xy: xy * np.array([1, -1]))
        ),
    }  # fmt: skip
    wanted = exact_extract(raster, feature, ["mean", "stdev", "count"])[0]["properties"]
    assert got["count"] == pytest.approx(wanted["count"], abs=1e-3)
    assert got["valid_fraction"] == pytest.approx(wanted["count"] / polygon.area, abs=1e-3)
    if wanted["count"] > 1e-3:
        assert got["mean"] == pytest.approx(wanted["mean"], abs=1e-2)
        assert got["std"] == pytest.approx(wanted["stdev"], abs=2e-2)
    if got["count"] == 0:
        assert np.isnan(got["mean"])


# Smoothing.


def whittaker(y, lmbda, order):
    """Solve (W + lmbda D'D) z = W y, all at once."""
    w = np.isfinite(y).astype(float)
    d = np.diff(np.eye(len(y)), order, axis=0)
    return np.linalg.solve(np.diag(w) + lmbda * d.T @ d, w * np.nan_to_num(y))


@given(
    hnp.arrays(float, st.integers(8, 46), elements=st.one_of(st.floats(-1, 1), st.just(np.nan))),
    st.floats(0.1, 1000), st.integers(1, 3),
)  # fmt: skip
def test_smoothing_solves_whittakers_equation(y, lmbda, order):
    series = xr.DataArray(y, dims="time", coords={"time": pd.date_range("2020", periods=len(y))})
    found = nb.smooth(series, lmbda=lmbda, order=order)
    if np.isfinite(y).sum() < order:
        np.testing.assert_array_equal(found, y)
    else:
        assert not np.isnan(found).any()
        # Far from all data the equation is badly conditioned.
        scale = max(1, np.abs(found).max().item())
        np.testing.assert_allclose(found, whittaker(y, lmbda, order), atol=1e-4 * scale)


def series_table():
    rng = np.random.default_rng(0)
    times = pd.date_range("2020-01-01", periods=23, freq="16D")
    table = pd.DataFrame(
        {
            "point": np.repeat(["b", "a"], 23),
            "longitude": np.repeat([-45.0, -44.0], 23),
            "latitude": np.repeat([-12.0, -11.0], 23),
            "time": np.tile(times, 2),
            "NDVI": np.sin(np.arange(46) / 4) + rng.normal(0, 0.1, 46),
        }
    )
    table.loc[[3, 4, 30], "NDVI"] = np.nan
    return table


def test_tables_are_smoothed_series_by_series_whatever_their_order():
    table = series_table()
    found = nb.smooth(table, lmbda=10)
    for point in ("a", "b"):
        mine = table["point"] == point
        wanted = whittaker(table.loc[mine, "NDVI"].to_numpy(), 10, 2)
        np.testing.assert_allclose(found.loc[mine, "NDVI"], wanted, atol=1e-8)
    kept = ["point", "longitude", "latitude", "time"]
    pd.testing.assert_frame_equal(found[kept], table[kept])
    mixed = table.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(nb.smooth(mixed, lmbda=10).loc[table.index], found)
    assert table["NDVI"].isna().sum() == 3  # as it was


def test_arrays_and_polygons_are_smoothed():
    table = series_table()
    cube = table.set_index(["point", "time"])["NDVI"].to_xarray()
    found = nb.smooth(cube.to_dataset(), lmbda=10).NDVI
    assert found.dims == ("point", "time")
    np.testing.assert_allclose(
        found.sel(point="a"), nb.smooth(table, lmbda=10).query("point == 'a'")["NDVI"]
    )
    pixels = xr.DataArray(
        np.round(10000 * cube.fillna(0).values.T[:, :, np.newaxis]).astype("int16"),
        dims=("time", "y", "x"), coords={"time": cube.time}, attrs={"nodata": 0},
    )  # fmt: skip
    lazy = nb.smooth(pixels.chunk(time=5), lmbda=10)
    assert lazy.chunks
    assert lazy.dims == pixels.dims
    np.testing.assert_allclose(lazy.values[:, :, 0].T / 10000, found, atol=1e-3)
    zonal = pd.DataFrame(
        {
            "polygon": table["point"], "time": table["time"], "variable": "NDVI",
            "mean": table["NDVI"], "std": 0.1, "count": 9.0, "valid_fraction": 1.0,
        }
    )  # fmt: skip
    smoothed = nb.smooth(zonal, lmbda=10)
    np.testing.assert_allclose(smoothed["mean"], nb.smooth(table, lmbda=10)["NDVI"])
    assert (smoothed["count"] == 9).all()


@pytest.mark.parametrize(
    ("given", "how", "fault"),
    [
        (series_table(), {"lmbda": 0}, "lmbda 0 is not above 0"),
        (series_table(), {"lmbda": 1, "order": 7}, "order 7"),
        (series_table().drop(columns="time"), {"lmbda": 1}, "no column time"),
        (xr.DataArray(np.zeros(3), dims="x"), {"lmbda": 1}, "no dimension time"),
        ([1, 2], {"lmbda": 1}, "list cannot be smoothed"),
    ],
)
def test_what_cannot_be_smoothed_is_told(given, how, fault):
    with pytest.raises(InvalidValueError, match=fault):
        nb.smooth(given, **how)


# Users' functions.


def ndvi(red, nir):
    red = red.astype("float32")
    return (nir - red) / (nir + red)


def wettest(green, nir):
    return (green.astype(int) - nir).max(axis=0)


def fails(red):
    half = red[0] / 2
    return half + missing_name  # noqa: F821 (it is to fail)


@pytest.fixture
def scenes():
    rng = np.random.default_rng(0)
    names = {"BAND13": "blue", "BAND14": "green", "BAND15": "red", "BAND16": "nir"}
    bands = {
        name: (
            ("time", "y", "x"),
            rng.integers(1, 6000, (5, 40, 30)).astype("int16"),
            {"nodata": -9999, "scale_factor": 0.0001, "units": "1", "aliases": [alias]},
        )
        for name, alias in names.items()
    }
    quality = rng.choice([127, 255, 0], (5, 40, 30), p=[0.6, 0.3, 0.1]).astype("uint8")
    bands["CMASK"] = (("time", "y", "x"), quality, {"nodata": 0, "aliases": ["quality"]})
    coords = {
        "time": pd.date_range("2020-01-01", periods=5),
        "y": 64.0 * np.arange(40)[::-1],
        "x": 64.0 * np.arange(30),
    }
    ds = xr.Dataset(bands, coords)
    ds["BAND15"][0, 0, :5] = -9999
    return ds


@pytest.mark.parametrize("chunks", [None, {"y": 7, "x": 11}, {"time": 2, "x": 13}])
def test_functions_are_applied_as_if_by_hand(scenes, chunks):
    given = scenes if chunks is None else scenes.chunk(chunks)
    red, green, nir = (scenes[n].values for n in ("BAND15", "BAND14", "BAND16"))
    found = nb.apply(ndvi, given, name="mine", nodata=-5, keep=["nir"])
    assert bool(found.mine.chunks) is (chunks is not None)
    np.testing.assert_array_equal(found.mine, ndvi(red, nir))
    assert (found.mine.dtype, found.mine.dims) == ("float32", ("time", "y", "x"))
    assert found.mine.attrs["nodata"] == -5
    np.testing.assert_array_equal(found.nir, nir)
    flat = nb.apply(wettest, given, dtype="int32")
    assert (flat.result.dims, flat.result.dtype) == (("y", "x"), "int32")
    np.testing.assert_array_equal(flat.result, wettest(green, nir))
    np.testing.assert_array_equal(flat.x, scenes.x)
    every = nb.apply(lambda *bands: bands[0] * 2, given, bands=["CMASK"])
    np.testing.assert_array_equal(every.result, scenes.CMASK.values * 2)
    one = nb.apply(lambda red: red + 1, given.isel(time=0))
    np.testing.assert_array_equal(one.result, red[0] + 1)


def test_what_goes_wrong_in_a_function_is_one_sentence_with_the_line(scenes):
    number = fails.__code__.co_firstlineno + 2
    line = (
        r"^fails fails: NameError: name 'missing_name' is not defined "
        rf"\(line {number}: return half \+ missing_name.*\)$"
    )
    with pytest.raises(InvalidValueError, match=line) as told:
        nb.apply(fails, scenes)
    assert "\n" not in str(told.value)
    with pytest.raises(InvalidValueError, match=line):
        nb.test_execute(fails, (2, 4, 4))

    def by_row(red):
        return np.broadcast_to(red.max(axis=(1, 2), keepdims=True), red.shape)[:, :5]

    with pytest.raises(
        InvalidValueError, match=r"shape \(5, 5, 11\) for bands of shape \(5, 7, 11\)"
    ):
        nb.apply(by_row, scenes)

    def only_small(red):
        if red.max() > 5000:
            raise ValueError("too bright")
        return red

    lazy = nb.apply(only_small, scenes.chunk(x=10))
    with pytest.raises(InvalidValueError, match=r"only_small fails: ValueError: too bright \(line"):
        lazy.compute()

    def fickle(red):
        return red if red.shape[1] == 7 else red[:, :3]

    with pytest.raises(InvalidValueError, match=r"fickle gives an array of shape \(5, 3, 30\)"):
        nb.apply(fickle, scenes)
    for wrong, fault in [
        (lambda red: red.tolist(), "gives list"),
        (lambda: None, "takes no band"),
        (lambda red: red.sort(), "gives NoneType"),
    ]:
        with pytest.raises(InvalidValueError, match=fault):
            nb.apply(wrong, scenes)
    with pytest.raises(UnknownNameError, match="no band 'rde', do you mean red"):
        nb.apply(lambda rde: rde, scenes)
    with pytest.raises(InvalidValueError, match=r"<lambda> fails: TypeError.*takes 1 positional"):
        nb.apply(lambda red: red, scenes, bands=["red", "nir"])


def test_a_function_is_tried_on_made_arrays():
    trial = nb.test_execute(ndvi, (3, 20, 10))
    assert (trial.shape, trial.dtype) == ((3, 20, 10), np.dtype("float32"))
    assert str(trial).startswith("float32 (3, 20, 10) in ")
    own = np.full((2, 2), 7, "uint8")
    assert nb.test_execute(lambda a, b: a + b, own, (2, 2), dtype="uint16").dtype == "uint16"
    with pytest.raises(InvalidValueError, match="give the cube, or a shape"):
        nb.test_execute(ndvi)
    with pytest.raises(
        InvalidValueError, match=r"shape \(3, 20\) for bands of shape \(3, 20, 10\)"
    ):
        nb.test_execute(lambda red: red.max(axis=2), (3, 20, 10))
    with pytest.raises(InvalidValueError, match="is no shape"):
        nb.test_execute(ndvi, "big")


@pytest.mark.parametrize("chunks", [None, {"x": 10}])
def test_a_trial_on_a_cube_hands_over_what_apply_tries(scenes, chunks):
    seen = []

    def greenest(red, nir):
        seen.append((red.copy(), nir.copy()))
        return (nir > red).mean(axis=0)

    given = scenes if chunks is None else scenes.chunk(chunks)
    trial = nb.test_execute(greenest, given)
    made = nb.apply(greenest, given)
    assert trial.shape == (7, 11)
    assert trial.dtype == made.result.dtype
    for tried, applied in zip(*seen[:2], strict=True):
        np.testing.assert_array_equal(tried, applied)
    assert nb.test_execute(lambda a: a, given, bands=["nir"]).shape == (5, 7, 11)


# The accessor.


def test_masks_leave_what_is_clear(scenes):
    for ds in (scenes, scenes.chunk(y=9)):
        for how in (CUBE, find_cube(CUBE), QualityPolicy("CMASK", (127,), (255,), nodata=0)):
            found = ds.bdc.mask(how)
            clear = scenes.CMASK.values == 127
            for name in ("BAND13", "BAND15"):
                assert found[name].dtype == "int16"
                np.testing.assert_array_equal(
                    found[name], np.where(clear, scenes[name].values, -9999)
                )
            np.testing.assert_array_equal(found.CMASK, scenes.CMASK)
            assert found.BAND13.attrs == scenes.BAND13.attrs
    known = scenes.assign_attrs(product="CB4_WFI_L4_SR_1")
    xr.testing.assert_equal(known.bdc.mask(), scenes.bdc.mask(CUBE))
    renamed = scenes.rename(CMASK="quality")
    renamed["quality"].attrs["aliases"] = ["CMASK"]
    np.testing.assert_array_equal(renamed.bdc.mask(CUBE).BAND13, scenes.bdc.mask(CUBE).BAND13)
    with pytest.raises(InvalidValueError, match="give a QualityPolicy"):
        scenes.bdc.mask()
    del scenes.BAND13.attrs["nodata"]
    with pytest.raises(InvalidValueError, match=r"BAND13 has no attribute nodata"):
        scenes.bdc.mask(CUBE)


def test_composites_are_those_of_the_library(scenes):
    cube = find_cube(CUBE)
    xr.testing.assert_identical(scenes.bdc.composite(CUBE), composite_cube(scenes, cube))
    how = {"function": "MED", "quality": cube.quality}
    xr.testing.assert_identical(scenes.bdc.composite(**how), composite(scenes, **how))
    with pytest.raises(InvalidValueError, match="give a cube, or quality"):
        scenes.bdc.composite(function="MED")


def test_reflectance_follows_scale_offset_and_nodata(scenes):
    scenes["BAND16"].attrs |= {"scale_factor": 0.0000275, "add_offset": -0.2}
    for ds in (scenes, scenes.chunk(y=9)):
        found = ds.bdc.to_reflectance()
        red, nir = scenes.BAND15.values.astype(float), scenes.BAND16.values.astype(float)
        wanted = np.where(red == -9999, np.nan, red * 0.0001)
        np.testing.assert_array_equal(found.BAND15, wanted.astype("float32"))
        np.testing.assert_allclose(found.BAND16, nir * 0.0000275 - 0.2, rtol=1e-5, atol=1e-7)
        assert found.BAND15.dtype == "float32"
        np.testing.assert_array_equal(found.CMASK, scenes.CMASK)
        r, n = wanted, nir * 0.0000275 - 0.2
        # The same of stored numbers and of reflectances.
        for one in (ds, found):
            index = one.bdc.index("ndvi")
            plain = np.abs(n + r) > 0.01  # not where it divides by next to nothing
            np.testing.assert_allclose(
                index.values[plain], ((n - r) / (n + r))[plain], rtol=2e-3, atol=1e-4
            )
            assert (index.dtype, index.name) == ("float32", "NDVI")
            assert np.isnan(index.values[0, 0, :5]).all()
    savi = scenes.bdc.index("SAVI", {"L": 0.5}).values
    np.testing.assert_allclose(savi, 1.5 * (n - r) / (n + r + 0.5), rtol=1e-3, atol=1e-3)
    with pytest.raises(UnknownNameError, match="NBR needs nir, swir22: there is no band 'swir22'"):
        scenes.bdc.index("NBR")


def test_bands_are_known_by_the_products_that_have_them(scenes):
    for band in scenes.data_vars.values():
        band.attrs.pop("aliases")
    scenes["NDVI"] = scenes.BAND13 * 0
    np.testing.assert_array_equal(
        scenes.bdc.index("NDVI"), scenes.rename(BAND15="red", BAND16="nir").bdc.index("NDVI")
    )
    odd = scenes.rename(BAND13="mine")
    with pytest.raises(UnknownNameError, match="the dataset has mine, BAND14"):
        odd.bdc.index("NDVI")


@pytest.fixture
def plots():
    pyplot = import_module("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    yield pyplot
    pyplot.close("all")


def test_pictures_show_the_pixels_that_there_are(scenes, plots):
    ax = scenes.bdc.plot_rgb(limits=(0.0, 0.6), language="pt")
    picture = ax.images[0].get_array()
    assert picture.shape == (40, 30, 4)
    seen = scenes.BAND15.values[0] != -9999
    np.testing.assert_array_equal(picture[..., 3] == 1, seen)
    for n, name in enumerate(("BAND15", "BAND14", "BAND13")):
        wanted = np.where(seen, scenes[name].values[0] / 6000, 0)
        np.testing.assert_allclose(picture[..., n], wanted, atol=1e-5)
    assert (ax.get_xlabel(), ax.get_title()) == ("Coordenada E (m)", "2020-01-01")
    assert tuple(ax.images[0].get_extent()) == (-32, 29.5 * 64, -32, 39.5 * 64)
    third = scenes.bdc.plot_rgb("2020-01-03", limits=(0.0, 0.6)).images[0].get_array()
    np.testing.assert_allclose(third[..., 0], scenes.BAND15.values[2] / 6000, atol=1e-5)
    with pytest.raises(UnknownNameError, match="no labels in 'fr'"):
        scenes.bdc.plot_rgb(language="fr")
    with pytest.raises(InvalidValueError, match="three bands"):
        scenes.bdc.plot_rgb(bands=("red",))


def test_bands_indices_and_series_are_drawn(scenes, plots):
    ax = scenes.bdc.plot("NDVI", "2020-01-02", language="pt")
    np.testing.assert_allclose(
        ax.images[0].get_array(), scenes.bdc.index("NDVI").isel(time=1), rtol=1e-6
    )
    assert (ax.get_ylabel(), ax.get_title()) == ("Coordenada N (m)", "2020-01-02")
    assert ax.figure.axes[1].get_ylabel() == "NDVI"
    ax = scenes.bdc.plot("red", language="pt")
    assert ax.figure.axes[1].get_ylabel() == "red: Reflectância"
    assert np.ma.count_masked(ax.images[0].get_array()) == 5
    series = xr.Dataset(
        {"NDVI": (("point", "time"), np.random.default_rng(0).random((2, 5)))},
        coords={"point": ["a", "b"], "time": scenes.time},
    )
    ax = series.bdc.plot(language="pt")
    assert len(ax.lines) == 2
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Data", "NDVI")
    assert ax.get_legend().get_title().get_text() == "Ponto"
    with pytest.raises(UnknownNameError, match="no band 'rde'"):
        scenes.bdc.plot("rde")


def test_lazy_datasets_are_computed_with_a_bar(scenes):
    found = scenes.chunk(x=7).bdc.compute()
    assert not found.chunks
    xr.testing.assert_equal(found, scenes)
