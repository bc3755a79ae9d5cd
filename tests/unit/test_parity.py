"""`parity="cube-builder"` against numbers of cube-builder, and against a loop over pixels.

The numbers were got by running cube-builder's rules apart from this project, or follow from the
description of them. The loop is written from that description, in its order.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from odc_bdc import OdcBdcError, QualityPolicy, composite
from odc_bdc.compositing import (
    CompositeBlock,
    Composited,
    composite_block,
    efficacy,
    scene_order,
)
from odc_bdc.compositing.parity import composite_parity, correct_quality
from odc_bdc.function import composite_function

CMASK = QualityPolicy("CMASK", clear=(127,), not_clear=(255,), nodata=0)
SCL = QualityPolicy(
    "SCL", clear=(4, 5, 6), not_clear=(2, 3, 7, 8, 9, 10, 11), saturated=(1,), nodata=0
)
FMASK = QualityPolicy("Fmask4", clear=(0, 1), not_clear=(2, 3, 4), nodata=255)
QA_PIXEL = QualityPolicy("QA_PIXEL", clear=(6, 7), not_clear=(1, 2, 3, 4, 5), nodata=1, bits=True)


def stack(values, dtype="int16"):
    """Make (time, y, x) of a list over time: of numbers (one pixel), rows or images."""
    array = np.array(values, dtype=dtype)
    return array.reshape((array.shape[0], 1, -1)) if array.ndim < 3 else array


def run(function, bands, quality, policy=CMASK, *, nodata=-9999, order=None, **how):
    """Composite with parity; the days of year are 11, 12 and so on."""
    return either(composite_parity, function, bands, quality, policy, nodata, order, **how)


def ours(function, bands, quality, policy=CMASK, *, nodata=-9999, order=None):
    """Composite by our own rules."""
    return either(composite_block, function, bands, quality, policy, nodata, order)


def either(make, function, bands, quality, policy, nodata, order, *, dtype="int16", **how):
    stacks = {n: stack(b, dtype) for n, b in bands.items()}
    n = len(quality)
    return make(
        stacks,
        stack(quality, "uint16"),
        CompositeBlock(
            composite_function(function),
            policy,
            {**dict.fromkeys(stacks, nodata), policy.band: policy.nodata},
        ),
        days_of_year=range(11, 11 + n),
        order=range(n) if order is None else order,
        **how,
    )


def numbers(image: Composited):
    """Give the bands of one pixel as numbers."""
    return {name: band.item() for name, band in image.by_name().items()}


# Masks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "quality", "value", "clear"),
    [
        (CMASK, 127, 500, True),
        (CMASK, 255, 500, False),
        (CMASK, 0, 500, False),
        (CMASK, 3, 500, True),  # in no list
        (CMASK, 3, -9999, False),
        (CMASK, 127, -9999, True),  # a clear quality wins over the band's nodata
        (CMASK, 255, -9999, False),
        (SCL, 1, 500, False),  # saturated
        (SCL, 4, 500, True),
        (SCL, 12, 500, True),  # in no list
        (QA_PIXEL, 1, 500, False),  # a value, not bit 0
        (QA_PIXEL, 1 << 6, 500, True),
        (QA_PIXEL, (1 << 7) + 1, 500, True),
        (QA_PIXEL, (1 << 6) + (1 << 3), 500, False),
        (QA_PIXEL, 1 << 8, 500, False),  # no clear bit
        (QA_PIXEL, 1 << 6, -9999, True),
    ],
)
def test_what_is_clear_in_a_band(policy, quality, value, clear):
    # With a lower clear companion the median tells: 100 alone, or cut from the two.
    clear_code = 1 << 6 if policy.bits else policy.clear[0]
    out = run("MED", {"b": [100, value]}, [clear_code, quality], policy)
    assert out.bands["b"].item() == (math.trunc((100 + value) / 2) if clear else 100)


def test_a_quality_in_no_list_counts_as_clear():
    out = run("MED", {"b": [500, 700]}, [127, 3])
    assert numbers(out) == {"b": 600, "CLEAROB": 2, "TOTALOB": 2}


# Median --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([-9999, 500], -4749),  # -4749.5: nodata under a clear quality
        ([3125, 3126], 3125),  # 3125.5
        ([-2, -3], -2),  # -2.5
        ([411, 412], 411),  # 411.5
        ([2900, 3150, 3100], 3100),
    ],
)
def test_median_of_the_clear_is_cut_toward_zero(values, expected):
    assert run("MED", {"b": values}, [127] * len(values)).bands["b"].item() == expected


def test_median_has_no_cloudy_fallback_and_no_provenance():
    out = run("MED", {"b": [500, 600]}, [255, 255])
    assert numbers(out) == {"b": -9999, "CLEAROB": 0, "TOTALOB": 2}


def test_the_stack_of_int16_is_not_reproduced():
    # cube-builder's buffer makes -25536 of 40000.
    out = run("MED", {"b": [40000]}, [127], nodata=65535, dtype="uint16")
    assert out.bands["b"].item() == 40000
    assert out.bands["b"].dtype == np.uint16
    assert int(np.array(40000, "uint16").astype("int16")) == -25536


# Stack ---------------------------------------------------------------------------------------


def test_stack_takes_the_first_clear_then_the_first_with_a_value():
    out = run(
        "LCF",
        {"b": [[1, 1, 1, -9999], [2, 2, -9999, -9999]]},
        [[255, 255, 255, 0], [127, 255, 0, 0]],
    )
    assert out.bands["b"].ravel().tolist() == [2, 1, 1, -9999]
    assert out.bands["CMASK"].ravel().tolist() == [127, 255, 255, 0]
    assert out.provenance.ravel().tolist() == [12, 11, 11, -1]
    assert out.clearob.ravel().tolist() == [1, 0, 0, 0]
    assert out.totalob.ravel().tolist() == [2, 2, 1, 0]


def test_stack_fills_whatever_the_quality():
    # The band looks at its own nodata: quality nodata does not keep its value out.
    out = run("LCF", {"b": [9800, 7000]}, [0, 255])
    assert (out.bands["b"].item(), out.bands["CMASK"].item()) == (9800, 255)
    assert out.provenance.item() == 12


def test_stack_mixes_dates_and_provenance_is_that_of_the_quality_band():
    out = run("LCF", {"red": [-9999, 20], "nir": [30, 40]}, [255, 255])
    assert numbers(out) == {
        "red": 20,
        "nir": 30,
        "CMASK": 255,
        "CLEAROB": 0,
        "TOTALOB": 2,
        "PROVENANCE": 11,
    }


def test_a_clear_nodata_is_the_first_clear_value_of_the_stack():
    out = run("LCF", {"b": [700, -9999, 500]}, [255, 127, 127])
    assert (out.bands["b"].item(), out.provenance.item()) == (-9999, 12)


def test_quality_in_no_list_enters_the_stack_where_the_band_has_data():
    out = run("LCF", {"red": [500, 700], "nir": [-9999, 900]}, [3, 127])
    assert numbers(out) == {
        "red": 500,
        "nir": 900,
        "CMASK": 3,
        "CLEAROB": 2,
        "TOTALOB": 2,
        "PROVENANCE": 11,
    }


def test_saturated_sentinel_2_makes_quality_and_bands_differ_in_date():
    bands = {"B02": stack([-9999, 20]), "B03": stack([30, 40])}
    nodata = {"B02": -9999, "B03": -9999}
    scl = correct_quality(bands, stack([4, 9], "uint8"), nodata, quality_nodata=0, sentinel_2=True)
    assert scl.ravel().tolist() == [1, 9]
    out = run("LCF", bands, scl, SCL)
    assert numbers(out) == {
        "B02": 20,
        "B03": 30,
        "SCL": 1,
        "CLEAROB": 0,
        "TOTALOB": 2,
        "PROVENANCE": 11,
    }


def test_datasource_goes_with_provenance():
    out = run("LCF", {"b": [[-9999, 1], [20, 1]]}, [[255, 0], [255, 0]], datasources=[5, 6])
    assert out.bands["b"].ravel().tolist() == [20, 1]
    assert out.datasource.ravel().tolist() == [5, 255]
    assert out.provenance.ravel().tolist() == [11, -1]


def test_stack_follows_the_order_given():
    # The worked example of the Brazil Data Cube: days 8, 18 and 23 are valid, 18 is the best.
    values, quality = [0, 2900, 0, 3150, 3100, 0], [255, 127, 255, 127, 127, 255]
    out = run("STK", {"b": values}, quality, order=[3, 4, 1, 2, 0, 5])
    assert (out.bands["b"].item(), out.provenance.item()) == (3150, 14)


def test_two_images_of_fmask():
    """cube-builder's documented example: two images of 3 x 4 pixels, of 10 and 15 January.

    Its text gives 402 where its code gives 411, and for the stack 411 where it gives 402; and the
    stack of the text has the first image's values where the second one's quality is nodata, which
    needs the band to be nodata there too.
    """
    first = [[702, 876, 7000, 9000], [687, 444, 421, 9113], [1241, 1548, 2111, 1987]]
    first_q = [[0, 0, 2, 4], [0, 1, 1, 4], [0, 2, 2, 4]]
    second = [[854, 756, 9800, 9454], [945, 400, 402, 422], [869, 975, 788, 799]]
    second_q = [[0, 0, 255, 255], [0, 1, 1, 1], [0, 0, 0, 0]]
    quality = np.array([first_q, second_q], "uint8")
    shares = efficacy(FMASK.is_clear(quality).sum((1, 2)), 12)
    assert shares.tolist() == [50.0, 83.33]
    order = scene_order(shares, np.array(["2020-01-10", "2020-01-15"], "M8[D]"))
    stacked = run("LCF", {"b": [first, second]}, quality, FMASK, order=order)
    assert stacked.bands["b"].tolist() == second
    median = run("MED", {"b": [first, second]}, quality, FMASK)
    assert median.bands["b"].tolist() == [
        [778, 816, -9999, -9999],
        [816, 422, 411, 422],
        [1055, 975, 788, 799],
    ]
    same = ours("MED", {"b": [first, second]}, quality, FMASK)
    assert same.bands["b"].tolist() == median.bands["b"].tolist()
    second[0][2:] = [-9999, -9999]
    stacked = run("LCF", {"b": [first, second]}, quality, FMASK, order=order)
    assert stacked.bands["b"][0].tolist() == [854, 756, 7000, 9000]
    assert stacked.provenance[0].tolist() == [12, 12, 11, 11]


# Counts --------------------------------------------------------------------------------------


def test_counts_look_at_the_quality_band_only():
    out = run("MED", {"b": [-9999] * 5}, [127, 255, 0, 3, 127])
    assert (out.clearob.item(), out.totalob.item()) == (3, 4)


def test_counts_saturate():
    out = run("MED", {"b": [7] * 300}, [127] * 300)
    assert (out.clearob.item(), out.totalob.item()) == (255, 255)
    assert out.clearob.dtype == out.totalob.dtype == np.uint8


# Correction of the quality band --------------------------------------------------------------


@pytest.mark.parametrize(("sentinel_2", "code"), [(False, 0), (True, 1)])
def test_quality_is_corrected_where_any_band_is_nodata(sentinel_2, code):
    bands = {"red": stack([[5, -9999, 5, 5]]), "nir": stack([[5, 5, 0, 0]])}
    quality = stack([[4, 4, 9, 0]], "uint8")
    nodata = {"red": -9999, "nir": 0}
    out = correct_quality(bands, quality, nodata, quality_nodata=0, sentinel_2=sentinel_2)
    assert out.ravel().tolist() == [4, code, code, 0]
    assert out.dtype == np.uint8
    assert quality.ravel().tolist() == [4, 4, 9, 0]


def test_a_band_without_nodata_corrects_nothing():
    quality = stack([[4]])
    out = correct_quality({"b": stack([[0]])}, quality, {}, quality_nodata=0, sentinel_2=True)
    assert out.tolist() == quality.tolist()


def test_the_order_of_a_first_run_is_given():
    # Efficacy of a first run is that before the correction, ours is that of what is handed over.
    bands = {"b": stack([[1, -9999, 3], [10, 20, 30]])}
    quality = stack([[127, 127, 127], [127, 127, 255]], "uint8")
    times = np.array(["2019-01-03", "2019-01-08"], "M8[ns]")
    first_run = scene_order(efficacy((quality == 127).sum((1, 2)), 3), times)
    corrected = correct_quality(bands, quality, {"b": -9999}, quality_nodata=0, sentinel_2=False)
    ds = dataset(bands, corrected, times)
    how = {"function": "LCF", "quality": CMASK, "parity": "cube-builder"}
    assert composite(ds, order=first_run, **how).b.values.ravel().tolist() == [1, 20, 3]
    assert composite(ds, **how).b.values.ravel().tolist() == [10, 20, 3]


# What parity refuses -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"function": "AVG"}, "cube-builder has no AVG; it composites MED and LCF"),
        ({"parity": "cube_builder"}, "parity 'cube_builder' is not 'cube-builder'"),
        ({"rounding": "half_even"}, "cuts medians toward zero .trunc., it has no half_even"),
        ({"quality": QualityPolicy("CMASK", clear=(127,))}, "needs `nodata` and `clear`"),
        (
            {"quality": QualityPolicy("CMASK", clear=(), not_clear=(4,), nodata=1, bits=True)},
            "needs `nodata` and `clear`",
        ),
        (
            {"quality": QualityPolicy("CMASK", (6,), saturated=(3,), nodata=1, bits=True)},
            "reads saturation of bits from a band of its own",
        ),
    ],
)
def test_what_cube_builder_cannot_do_is_refused(changes, message):
    ds = dataset({"b": stack([1])}, stack([127], "uint8"), np.array(["2019-01-03"], "M8[ns]"))
    how = {"function": "MED", "quality": CMASK, "parity": "cube-builder", **changes}
    with pytest.raises(OdcBdcError, match=message):
        composite(ds.chunk(), **how)


def test_the_block_function_refuses_too():
    with pytest.raises(OdcBdcError, match="cube-builder has no AVG"):
        run("AVG", {"b": [1]}, [127])


# The differences that ADR 2 lists ------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "function", "bands", "quality", "theirs", "own"),
    [
        ("value in no list", "MED", {"b": [500, 700]}, [127, 3], (600, 2, 2), (500, 1, 2)),
        (
            "band nodata under a clear quality value",
            "MED",
            {"b": [-9999, 500]},
            [127, 127],
            (-4749, 2, 2),
            (500, 1, 1),
        ),
        (
            "data in one band, nodata in another",
            "LCF",
            {"b": [10, 20], "other": [-9999, 20]},
            [255, 255],
            (10, 0, 2),
            (20, 0, 1),
        ),
    ],
)
def test_differences_by_value(case, function, bands, quality, theirs, own):
    got = [make(function, bands, quality) for make in (run, ours)]
    assert [(i.bands["b"].item(), i.clearob.item(), i.totalob.item()) for i in got] == [
        theirs,
        own,
    ]


def test_difference_of_saturated_sentinel_2():
    bands, corrected = {"B02": [-9999, 20], "B03": [30, 40]}, [1, 9]
    got = [numbers(make("LCF", bands, corrected, SCL)) for make in (run, ours)]
    assert [(g["B02"], g["B03"], g["SCL"], g["PROVENANCE"]) for g in got] == [
        (20, 30, 1, 11),
        (20, 40, 9, 12),
    ]


def test_rows_that_parity_does_not_touch():
    # Median of an even number and the cloudy best scene are followed by both.
    assert [m("MED", {"b": [3, 4]}, [127, 127]).bands["b"].item() for m in (run, ours)] == [3, 3]
    assert [m("LCF", {"b": [5, 6]}, [255, 255]).bands["b"].item() for m in (run, ours)] == [5, 5]


# Against a loop over pixels ------------------------------------------------------------------


def masked(value, nodata, quality, policy):
    """Tell if an observation of a band is masked, rule by rule, the later over the earlier."""
    if policy.bits:
        bits = {n for n in range(16) if quality >> n & 1}
        return (
            quality == policy.nodata
            or bool(bits & set(policy.not_clear))
            or not (bits & set(policy.clear))
        )
    out = quality == policy.nodata
    if quality in policy.not_clear:
        out = True
    if nodata is not None and value == nodata:
        out = True
    if quality in policy.saturated:
        out = True
    if quality in policy.clear:
        out = False
    return out


def walk(values, nodata, qualities, policy, order, days):
    """Composite one band of one pixel by LCF: its value, and the day it is from."""
    empty = object()
    out, day = empty, -1
    for t in order:
        value = values[t]
        if out is empty and (nodata is None or value != nodata):
            out, day = value, days[t]
        if not masked(value, nodata, qualities[t], policy):
            out, day = value, days[t]
            break
    return ((nodata or 0) if out is empty else out), day


def middle(values, nodata, qualities, policy):
    """Composite one band of one pixel by MED."""
    clear = sorted(
        Fraction(v)
        for v, q in zip(values, qualities, strict=True)
        if not masked(v, nodata, q, policy)
    )
    n = len(clear)
    return math.trunc((clear[(n - 1) // 2] + clear[n // 2]) / 2) if n else nodata or 0


def pixel(function, bands, qualities, nodata, policy, order, days):
    """Composite one pixel, by names; `bands` holds lists over time."""
    out = {
        "CLEAROB": sum(not masked(q, policy.nodata, q, policy) for q in qualities),
        "TOTALOB": sum(q != policy.nodata for q in qualities),
    }
    if function == "MED":
        return out | {n: middle(v, nodata, qualities, policy) for n, v in bands.items()}
    for name, values in bands.items():
        out[name], _ = walk(values, nodata, qualities, policy, order, days)
    out[policy.band], out["PROVENANCE"] = walk(
        qualities, policy.nodata, qualities, policy, order, days
    )
    return out


CODES = {
    "CMASK": [0, 127, 127, 255, 3],
    "SCL": range(13),
    "Fmask4": [0, 1, 2, 3, 4, 7, 255],
    "QA_PIXEL": [1, 64, 128, 65, 72, 192, 256, 0, 2],
}


@st.composite
def blocks(draw):
    """Give random scenes: bands, quality, their nodata, policy and order."""
    n, rows, columns = draw(st.integers(1, 8)), draw(st.integers(1, 3)), draw(st.integers(1, 4))
    dtype = draw(st.sampled_from(["int16", "uint16", "uint8", "int32"]))
    nodata = draw(st.sampled_from([None, 0, 255] if dtype[0] == "u" else [None, -9999, 0, 7]))
    policy = draw(st.sampled_from([CMASK, SCL, FMASK, QA_PIXEL]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    info = np.iinfo(dtype)
    pool = np.array([info.min, info.max, 0, 1, 2, 3, nodata or 0, nodata or 0], dtype=dtype)
    size = (n, rows, columns)
    bands = {
        name: np.where(
            rng.random(size) < 0.6,
            rng.choice(pool, size),
            rng.integers(info.min, info.max, size, dtype=dtype, endpoint=True),
        )
        for name in ("red", "nir")
    }
    quality = rng.choice(np.array(list(CODES[policy.band]), "uint16"), size)
    return bands, quality, nodata, policy, rng.permutation(n).tolist()


@settings(max_examples=200, deadline=None)
@given(made=blocks(), function=st.sampled_from(["MED", "LCF"]))
def test_equals_the_loop(made, function):
    bands, quality, nodata, policy, order = made
    dtype = bands["red"].dtype
    image = run(function, bands, quality, policy, nodata=nodata, order=order, dtype=dtype)
    got = image.by_name()
    assert all(got[n].dtype == b.dtype for n, b in bands.items())
    days = range(11, 11 + len(quality))
    for y, x in np.ndindex(quality.shape[1:]):
        stacks = {n: b[:, y, x].tolist() for n, b in bands.items()}
        expected = pixel(function, stacks, quality[:, y, x].tolist(), nodata, policy, order, days)
        assert {n: int(b[y, x]) for n, b in got.items()} == expected


# Against our own composite -------------------------------------------------------------------


def behave(bands, quality, nodata, policy, seed):
    """Make data nobody disputes: every code listed, and nodata in all bands or in none."""
    rng = np.random.default_rng(seed)
    codes = {
        "QA_PIXEL": [1, 64, 128, 72, 130],
        "CMASK": [0, 127, 127, 255],
        "SCL": range(12),
        "Fmask4": [0, 1, 2, 3, 4, 255],
    }[policy.band]
    out = rng.choice(np.array(list(codes), "uint16"), quality.shape)
    empty = 0 if nodata is None else nodata
    whole = {n: np.where(b == empty, np.array(1, b.dtype), b) for n, b in bands.items()}
    outside = out == policy.nodata
    return {n: np.where(outside, np.array(empty, b.dtype), b) for n, b in whole.items()}, out, empty


@settings(max_examples=100, deadline=None)
@given(made=blocks(), function=st.sampled_from(["MED", "LCF"]), seed=st.integers(0, 999))
def test_equals_our_own_composite_on_data_that_nobody_disputes(made, function, seed):
    bands, quality, nodata, policy, order = made
    bands, quality, nodata = behave(bands, quality, nodata, policy, seed)
    dtype = bands["red"].dtype
    how = (function, bands, quality, policy, nodata, order)
    theirs = either(composite_parity, *how, dtype=dtype).by_name()
    own = either(composite_block, *how, dtype=dtype).by_name()
    assert list(theirs) == list(own)
    for name, band in own.items():
        np.testing.assert_array_equal(theirs[name], band, strict=True)


# The switch ----------------------------------------------------------------------------------


def dataset(bands, quality, times):
    """Make a dataset as `composite` takes it."""
    dims = ("time", "y", "x")
    data = {n: (dims, b, {"nodata": -9999}) for n, b in bands.items()}
    data["CMASK"] = (dims, quality, {"nodata": 0})
    return xr.Dataset(data, coords={"time": times})


@settings(max_examples=15, deadline=None)
@given(function=st.sampled_from(["MED", "LCF"]), chunk=st.integers(1, 4), seed=st.integers(0, 99))
def test_composite_switches_and_chunks_do_not_matter(function, chunk, seed):
    rng = np.random.default_rng(seed)
    shape = (5, 3, 4)
    bands = {n: rng.choice(np.array([-9999, 1, 2, 5, 8], "int16"), shape) for n in ("red", "nir")}
    quality = rng.choice(np.array([0, 127, 255, 3], "uint8"), shape)
    times = np.array("2019-01-11", "M8[ns]") + np.arange(5) * np.timedelta64(1, "D")
    ds, order = dataset(bands, quality, times), rng.permutation(5)
    how = {"function": function, "quality": CMASK, "parity": "cube-builder", "order": order}
    out = composite(ds, **how)
    for name, band in run(function, bands, quality, order=order).by_name().items():
        np.testing.assert_array_equal(out[name].values[0], band)
    lazy = composite(ds.chunk(time=chunk, y=1, x=chunk), **how)
    assert all(v.chunks for v in lazy.values())
    xr.testing.assert_identical(lazy.compute(scheduler="synchronous"), out)


def test_the_default_is_ours():
    ds = dataset(
        {"b": stack([500, 700])},
        stack([127, 3], "uint8"),
        np.array(["2019-01-03", "2019-01-08"], "M8[ns]"),
    )
    how = {"function": "MED", "quality": CMASK}
    assert composite(ds, **how).b.item() == composite(ds, parity=None, **how).b.item() == 500
    assert composite(ds, parity="cube-builder", **how).b.item() == 600
