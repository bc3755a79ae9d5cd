"""`odc_bdc.composite` against a loop over pixels, and against published numbers."""

import importlib.util
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from odc_bdc import OdcBdcError, QualityPolicy, Timeline, composite

_spec = importlib.util.spec_from_file_location(
    "composite_oracle", Path(__file__).with_name("composite_oracle.py")
)
oracle = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(oracle)

CMASK = QualityPolicy("CMASK", clear=(127,), not_clear=(255,), nodata=0)
SIXTEEN_DAYS = Timeline.from_dict({"schema": "Cyclic", "step": 16, "unit": "day"})


def scenes(bands, quality, days, nodata=-9999, dtype="int16"):
    """Make a dataset from nested lists; a list of numbers is one pixel."""
    times = np.array(days, dtype="datetime64[ns]")

    def cube(values, kind):
        array = np.array(values, dtype=kind)
        return array.reshape((len(times), 1, -1)) if array.ndim < 3 else array

    attrs = {} if nodata is None else {"nodata": nodata}
    data = {n: (("time", "y", "x"), cube(v, dtype), attrs) for n, v in bands.items()}
    data["CMASK"] = (("time", "y", "x"), cube(quality, "uint8"), {"nodata": 0})
    return xr.Dataset(data, coords={"time": times})


SEED_DAYS = [f"2019-01-{d:02d}" for d in (3, 8, 13, 18, 23, 28)]
SEED = scenes({"red": [0, 2900, 0, 3150, 3100, 0]}, [255, 127, 255, 127, 127, 255], SEED_DAYS)


@pytest.mark.parametrize(
    ("function", "expected"), [("AVG", 3050), ("MED", 3100), ("STK", 3150), ("LCF", 3150)]
)
def test_seed_example(function, expected):
    # Order by the seed's proportions of valid pixels: day 18 (1.0), 23 (.8), 08, 13, 03, 28.
    out = composite(SEED, function=function, quality=CMASK, order=[3, 4, 1, 2, 0, 5])
    assert out.red.item() == expected
    assert out.CLEAROB.item() == 3
    assert out.TOTALOB.item() == 6
    if function in ("STK", "LCF"):
        assert out.PROVENANCE.item() == 18
        assert out.CMASK.item() == 127


def test_seed_example_orders_by_efficacy_of_the_whole_array():
    # Further pixels give the scenes the seed's shares of valid pixels: .5 .7 .6 1 .8 .1.
    shares = [5, 7, 6, 10, 8, 1]
    rows = [[127] * n + [255] * (10 - n) for n in shares]
    for row, first in zip(rows, [255, 127, 255, 127, 127, 255], strict=True):
        row.remove(first)
        row.insert(0, first)
    values = [[v] * 10 for v in (1, 2900, 3, 3150, 3100, 6)]
    out = composite(scenes({"red": values}, rows, SEED_DAYS), function="STK", quality=CMASK)
    assert out.red.values[0, 0, 0] == 3150


def test_stack_takes_the_later_of_equals_then_any_clear_then_the_best_cloudy():
    policy = QualityPolicy("CMASK", clear=(0, 1), not_clear=(2, 3, 4), nodata=255)
    ds = scenes(
        {"b": [[10, 20, 30, 40], [11, 21, 31, 42]]},
        [[0, 4, 0, 2], [0, 0, 255, 4]],
        ["2019-01-03", "2019-01-20"],
    )
    out = composite(ds, function="LCF", quality=policy)
    # Both 50 %: the later is first. Third pixel: clear in the earlier. Fourth: cloudy in both.
    assert out.b.values.ravel().tolist() == [11, 21, 30, 42]
    assert out.PROVENANCE.values.ravel().tolist() == [20, 20, 3, 20]


def test_never_clear_pixel_is_nodata_in_median_and_cloudy_in_stack():
    ds = scenes({"b": [500, 600]}, [255, 255], ["2019-01-03", "2019-01-08"])
    assert composite(ds, function="MED", quality=CMASK).b.item() == -9999
    assert composite(ds, function="LCF", quality=CMASK).b.item() == 600


@pytest.mark.parametrize("function", ["MED", "AVG", "LCF"])
def test_value_in_no_list_is_not_clear(function):
    ds = scenes({"b": [500, 700]}, [127, 3], ["2019-01-03", "2019-01-08"])
    out = composite(ds, function=function, quality=CMASK)
    assert out.b.item() == 500
    assert out.CLEAROB.item() == 1
    assert out.TOTALOB.item() == 2


@pytest.mark.parametrize("function", ["MED", "AVG", "LCF"])
def test_nodata_in_one_band_spoils_the_observation_in_all(function):
    ds = scenes({"red": [500, 700], "nir": [-9999, 900]}, [127, 127], ["2019-01-08", "2019-01-03"])
    out = composite(ds, function=function, quality=CMASK)
    assert (out.red.item(), out.nir.item()) == (700, 900)
    assert (out.CLEAROB.item(), out.TOTALOB.item()) == (1, 1)


@pytest.mark.parametrize(
    ("rounding", "expected"), [("trunc", [2, -2]), ("floor", [2, -3]), ("half_even", [2, -2])]
)
@pytest.mark.parametrize("function", ["MED", "AVG"])
def test_rounding_between_two_integers(function, rounding, expected):
    ds = scenes({"b": [[2, -2], [3, -3]]}, [[127, 127], [127, 127]], ["2019-01-03", "2019-01-08"])
    out = composite(ds, function=function, quality=CMASK, rounding=rounding)
    assert out.b.values.ravel().tolist() == expected


def test_median_truncates_and_mean_rounds_by_default():
    ds = scenes({"b": [3, 4]}, [127, 127], ["2019-01-03", "2019-01-08"])
    assert composite(ds, function="MED", quality=CMASK).b.item() == 3
    assert composite(ds, function="AVG", quality=CMASK).b.item() == 4


def test_uint16_beyond_the_range_of_int16():
    ds = scenes(
        {"b": [40000, 65000, 50000]}, [127] * 3, SEED_DAYS[:3], nodata=65535, dtype="uint16"
    )
    assert composite(ds, function="MED", quality=CMASK).b.item() == 50000
    assert composite(ds, function="AVG", quality=CMASK).b.item() == 51667


def test_counts_saturate():
    days = np.datetime64("2019-01-01") + np.arange(300)
    out = composite(scenes({"b": [7] * 300}, [127] * 300, days), function="MED", quality=CMASK)
    assert out.CLEAROB.item() == out.TOTALOB.item() == 255
    assert out.b.item() == 7


def test_empty_periods_stay_in_the_timeline():
    days = ["2019-01-03", "2019-02-20"]
    out = composite(
        scenes({"b": [1, 2]}, [127, 127], days),
        function="MED",
        quality=CMASK,
        timeline=SIXTEEN_DAYS,
    )
    starts = out.time.values.astype("datetime64[D]").tolist()
    assert starts == [date(2019, 1, 1), date(2019, 1, 17), date(2019, 2, 2), date(2019, 2, 18)]
    assert out.b.values.ravel().tolist() == [1, -9999, -9999, 2]
    assert out.TOTALOB.values.ravel().tolist() == [1, 0, 0, 1]


def test_bits_without_a_clear_bit():
    policy = QualityPolicy("CMASK", clear=(), not_clear=(4,), nodata=1, bits=True)
    ds = scenes({"b": [5, 7, 9]}, [32, 16, 1], SEED_DAYS[:3])
    out = composite(ds, function="AVG", quality=policy)
    assert out.b.item() == 5
    assert (out.CLEAROB.item(), out.TOTALOB.item()) == (1, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"function": "LFC"},
            "'LFC' is not a composite function, do you mean LCF.; known: AVG",
        ),
        ({"rounding": "up"}, "rounding 'up' is not one of trunc, half_even, floor"),
        ({"order": [0, 0, 1, 2, 3, 4]}, "order must hold each position from 0 to 5 once"),
        ({"quality": QualityPolicy("SCL", clear=(4,))}, "quality band 'SCL' is not in the dataset"),
    ],
)
def test_bad_input_is_named(changes, message):
    with pytest.raises(OdcBdcError, match=message.replace("(", r"\(")):
        composite(SEED, **{"function": "MED", "quality": CMASK, **changes})


@pytest.mark.parametrize(
    ("ds", "message"),
    [
        (SEED.astype("float32"), "dtype float32"),
        (SEED.isel(time=[]), "holds no scene"),
        (SEED[["CMASK"]], "holds no band besides"),
        (SEED.transpose("y", "time", "x"), "dims are"),
        (SEED.assign(time=np.arange(6)), "not datetime64"),
    ],
)
def test_bad_dataset_is_named(ds, message):
    with pytest.raises(OdcBdcError, match=message):
        composite(ds, function="MED", quality=CMASK)


@st.composite
def stacks(draw):
    """Give random scenes, small enough for the oracle: bands with nodata, masks, odd values."""
    n, rows, columns = draw(st.integers(1, 9)), draw(st.integers(1, 3)), draw(st.integers(1, 4))
    dtype = draw(st.sampled_from(["int16", "uint16", "uint8", "int32", "uint32"]))
    nodata = draw(st.sampled_from([None, 0, 255] if dtype[0] == "u" else [None, -9999, 0, 7]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    info = np.iinfo(dtype)
    pool = np.array([info.min, info.max, 0, 1, 2, 3, 255, nodata or 0], dtype=dtype)
    size = (n, rows, columns)
    bands = {
        name: np.where(
            rng.random(size) < 0.5,
            rng.choice(pool, size),
            rng.integers(info.min, info.max, size, dtype=dtype, endpoint=True),
        )
        for name in ("red", "nir")
    }
    quality = rng.choice([0, 127, 127, 255, 3], size)
    days = np.datetime64("2019-12-01T13:00") + rng.permutation(60)[:n] * np.timedelta64(1, "D")
    return scenes(bands, quality, days, nodata, dtype)


def expected(ds, function, rounding):
    """Composite a dataset with the oracle."""
    n_clear = (ds.CMASK == 127).sum(("y", "x")).values
    n = ds.sizes["y"] * ds.sizes["x"]
    efficacies = [round(100 * int(c) / n, 2) for c in n_clear]
    times = ds.time.values
    days = [(t.astype("M8[D]") - t.astype("M8[Y]").astype("M8[D]")).astype(int) + 1 for t in times]
    nodata = {b: ds[b].attrs.get("nodata") for b in ("red", "nir")}
    return {
        (y, x): oracle.composite_pixel(
            function,
            {b: ds[b].values[:, y, x].tolist() for b in nodata},
            ds.CMASK.values[:, y, x].tolist(),
            nodata=nodata,
            clear={127},
            quality_nodata=0,
            order=oracle.best_first(efficacies, times.tolist()),
            days=days,
            rounding=rounding,
        )
        for y in range(ds.sizes["y"])
        for x in range(ds.sizes["x"])
    }


FUNCTIONS = st.sampled_from(["MED", "AVG", "LCF"])
ROUNDINGS = st.sampled_from(["trunc", "half_even", "floor"])


@settings(max_examples=200, deadline=None)
@given(ds=stacks(), function=FUNCTIONS, rounding=ROUNDINGS)
def test_equals_the_oracle(ds, function, rounding):
    out = composite(ds, function=function, quality=CMASK, rounding=rounding).isel(time=0)
    for (y, x), pixel in expected(ds, function, rounding).items():
        got = {("quality" if n == "CMASK" else n): int(v[y, x]) for n, v in out.items()}
        assert got == pixel


@settings(max_examples=20, deadline=None)
@given(ds=stacks(), function=FUNCTIONS, chunk=st.integers(1, 4), seed=st.integers(0, 99))
def test_chunks_and_order_of_scenes_do_not_matter(ds, function, chunk, seed):
    how = {"function": function, "quality": CMASK, "timeline": SIXTEEN_DAYS}
    whole = composite(ds, **how)
    shuffled = ds.isel(time=np.random.default_rng(seed).permutation(ds.sizes["time"]))
    xr.testing.assert_identical(composite(shuffled, **how), whole)
    lazy = composite(ds.chunk(time=chunk, y=1, x=chunk), **how)
    assert all(v.chunks for v in lazy.values())
    xr.testing.assert_identical(lazy.compute(scheduler="synchronous"), whole)


@settings(max_examples=20, deadline=None)
@given(ds=stacks(), function=st.sampled_from(["MED", "AVG"]))
def test_a_window_of_the_composite_is_the_composite_of_the_window(ds, function):
    whole = composite(ds, function=function, quality=CMASK)
    window = ds.isel(y=slice(0, 1), x=slice(-1, None))
    part = composite(window, function=function, quality=CMASK)
    xr.testing.assert_identical(part, whole.isel(y=slice(0, 1), x=slice(-1, None)))
