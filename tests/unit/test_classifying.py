"""From time series to maps of classes."""

import pickle

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GroupKFold
from sklearn.naive_bayes import GaussianNB

from odc_bdc import notebook as nb
from odc_bdc.errors import InvalidValueError, UnknownNameError
from odc_bdc.grid import BDC_CRS

TIMES = np.array(["2019-12-10", "2019-12-25", "2020-01-08", "2020-01-24"], "datetime64[ns]")
DAYS = np.array([0, 15, 29, 45])
NODATA = -9999


def interpolated(row, days):
    """Fill a series as numpy does, which holds the first and last value beyond the ends."""
    there = ~np.isnan(row)
    return np.interp(days, days[there], row[there]) if there.any() else row


def series_of(values, ids=None, **more):
    """Give arrays (series, time) as a table such as `timeseries` gives."""
    n, times = values.shape
    return pd.DataFrame(
        {
            "point": np.repeat(range(n) if ids is None else ids, times),
            "time": np.tile(TIMES[:times], n),
            "NDVI": values.ravel(),
            **{name: other.ravel() for name, other in more.items()},
        }
    )


def test_gaps_are_filled_as_numpy_interpolates():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(500, 9))
    values[rng.random(values.shape) < 0.5] = np.nan
    values[0] = np.nan
    days = np.cumsum(rng.integers(1, 20, size=9)).astype(float)
    wanted = np.stack([interpolated(row, days) for row in values])
    np.testing.assert_allclose(nb.fill_gaps(values, days), wanted, atol=1e-12)
    cube = values.reshape(20, 25, 9)
    np.testing.assert_allclose(nb.fill_gaps(cube, days).reshape(-1, 9), wanted, atol=1e-12)


def test_features_are_series_side_by_side_whatever_the_order_of_rows():
    rng = np.random.default_rng(2)
    ndvi, evi = rng.random((2, 5, 4))
    table = series_of(ndvi, ids=[30, 10, 50, 20, 40], EVI=evi)
    made = nb.features(table.sample(frac=1, random_state=0), ["EVI", "NDVI"])
    assert list(made.columns) == [f"{name} {n:02}" for name in ("EVI", "NDVI") for n in range(1, 5)]
    assert list(made.index) == [10, 20, 30, 40, 50]
    wanted = np.hstack([evi, ndvi])[[1, 3, 0, 4, 2]]
    np.testing.assert_array_equal(made.to_numpy(), wanted)


def test_series_of_different_years_are_laid_side_by_side_and_filled_by_their_own_days():
    table = series_of(np.array([[1, np.nan, 3, 4], [np.nan, 2, np.nan, 8]], float))
    table.loc[table.point == 1, "time"] -= np.timedelta64(3650, "D")
    made = nb.features(table, ["NDVI"], changes=True)
    np.testing.assert_allclose(
        made[[f"NDVI {n:02}" for n in range(1, 5)]],
        [[1, 1 + 2 * 15 / 29, 3, 4], [2, 2, 2 + 6 * 14 / 30, 8]],
    )
    np.testing.assert_allclose(made["NDVI 04-03"], [1, 6 * 16 / 30])
    assert made.shape == (2, 4 + 3)


def test_what_cannot_be_laid_side_by_side_is_told():
    table = series_of(np.zeros((3, 4)))
    with pytest.raises(UnknownNameError, match="no 'NDWI', do you mean NDVI"):
        nb.features(table, ["NDWI"])
    with pytest.raises(InvalidValueError, match="point 2 has 3 times where others have 4"):
        nb.features(table.drop(index=11), ["NDVI"])
    twice = table.assign(time=table.time.where(table.index != 1, TIMES[0]))
    with pytest.raises(InvalidValueError, match="same time twice"):
        nb.features(twice, ["NDVI"])


def test_blocks_are_squares_of_land():
    rng = np.random.default_rng(3)
    easting, northing = rng.uniform(5_000_000, 5_200_000, 400), rng.uniform(9e6, 9.2e6, 400)
    to_degrees = BDC_CRS.transformer_to_crs("EPSG:4326", always_xy=True)
    blocks = nb.spatial_blocks(*to_degrees(easting, northing), size=50_000)
    cells = list(zip(easting // 50_000, northing // 50_000, strict=True))
    together = {(a, b) for a, b in zip(cells, blocks, strict=True)}
    assert len(together) == len(set(cells)) == len(set(blocks.tolist())) == 16
    assert set(blocks.tolist()) == set(range(16))
    for train, test in GroupKFold(4).split(easting, groups=blocks):
        assert not {cells[i] for i in train} & {cells[i] for i in test}
    with pytest.raises(InvalidValueError, match="side of a block"):
        nb.spatial_blocks([0], [0], size=0)


@pytest.fixture(scope="module")
def cube():
    """Give a cube of two bands with gaps; a pixel has no NDVI at all, another no red."""
    rng = np.random.default_rng(4)
    shape = 4, 6, 7
    bands = {}
    for name in ("NDVI", "red"):
        values = rng.integers(0, 9000, shape).astype("int16")
        values[rng.random(shape) < 0.2] = NODATA
        bands[name] = (
            ("time", "y", "x"),
            values,
            {"nodata": NODATA, "grid_mapping": "spatial_ref", "scale_factor": 1e-4},
        )
    bands["NDVI"][1][:, 2, 3] = NODATA
    bands["red"][1][:, 5, 6] = NODATA
    coords = {"time": TIMES, "y": np.arange(6.0), "x": np.arange(7.0)}
    return xr.Dataset(bands, coords, {"crs": "EPSG:3857", "grid_mapping": "spatial_ref"})


@pytest.fixture(scope="module")
def table(cube):
    """Give the pixels of the cube as series, row by row."""
    floats = {name: cube[name].values.reshape(4, -1).T.astype(float) for name in ("NDVI", "red")}
    for values in floats.values():
        values[values == NODATA] = np.nan
    return series_of(floats["NDVI"], red=floats["red"])


@pytest.mark.parametrize("changes", [False, True])
@pytest.mark.parametrize("chunks", [None, {"y": 4, "x": 3}, {"time": 1, "y": 6, "x": 7}])
def test_a_cube_is_classified_as_its_series_are(cube, table, changes, chunks):
    learnt = nb.features(table, ["red", "NDVI"], changes=changes)
    seen = learnt.notna().all(axis=1).to_numpy()
    assert (~seen).sum() == 2
    labels = np.random.default_rng(5).choice(["Pasture", "Cropland", "Dense forest"], len(learnt))
    model = GaussianNB().fit(learnt[seen], labels[seen])
    wanted = np.full((len(learnt), 3), np.nan)
    wanted[seen] = model.predict_proba(learnt[seen])

    given = cube if chunks is None else cube.chunk(chunks)
    made = nb.classify(model, given, ["red", "NDVI"])
    assert (made.probability.chunks is not None) == (chunks is not None)
    made = made.compute()
    assert made.probability.dims == ("class", "y", "x")
    assert "scale_factor" not in {**made.probability.attrs, **made.class_code.attrs}
    assert list(made["class"].values) == ["Cropland", "Dense forest", "Pasture"]
    np.testing.assert_allclose(made.probability.values.reshape(3, -1).T, wanted, atol=1e-6)
    best = np.where(seen, np.nan_to_num(wanted).argmax(axis=1) + 1, 0)
    np.testing.assert_array_equal(made.class_code.values.ravel(), best)
    assert made.class_code.dtype == "uint8"
    assert made.class_code[2, 3] == made.class_code[5, 6] == 0
    assert made.class_code.attrs["flag_values"] == [0, 1, 2, 3]
    assert made.class_code.attrs["flag_meanings"] == "no_data Cropland Dense_forest Pasture"
    assert made.attrs == cube.attrs


def test_what_a_model_was_not_trained_on_is_told(cube, table):
    learnt = nb.features(table, ["NDVI"]).fillna(0)
    model = GaussianNB().fit(learnt, ["a", "b"] * 21)
    with pytest.raises(InvalidValueError, match=r"trained on 4 features, NDVI 01 to NDVI 04"):
        nb.classify(model, cube, ["red"])
    with pytest.raises(InvalidValueError, match=r"of 3 times"):
        nb.classify(model, cube.isel(time=slice(3)), ["NDVI"])
    with pytest.raises(UnknownNameError, match="no 'nir'"):
        nb.classify(model, cube, ["nir"])


def test_pieces_go_to_workers_with_their_model(cube, table):
    learnt = nb.features(table, ["NDVI"]).fillna(0)
    model = RandomForestClassifier(3, random_state=0).fit(learnt, ["a", "b"] * 21)
    lazy = nb.classify(model, cube.chunk({"y": 3}), ["NDVI"])
    again = pickle.loads(pickle.dumps(lazy))  # noqa: S301 (our own)
    xr.testing.assert_identical(again.compute(), lazy.compute())
