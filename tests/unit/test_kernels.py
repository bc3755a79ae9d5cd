"""Kernels against loops over pixels in fractions, and against numpy on larger arrays."""

import math
import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odc_bdc.compositing import kernels
from odc_bdc.compositing.kernels import jit
from odc_bdc.compositing.kernels.blocks import PITCH, STRIP, fold, sort_rows
from odc_bdc.compositing.kernels.network import median_network, sorting_network
from odc_bdc.errors import InvalidValueError
from odc_bdc.quality import QualityPolicy

CMASK = QualityPolicy("CMASK", clear=(127,), not_clear=(255,), nodata=0)
TABLE = CMASK.table("uint8")
INTEGERS = [d for d in kernels.DTYPES if not d.startswith("float")]
ROUNDINGS = ["trunc", "half_even", "floor"]


def rounded(value, rounding):
    if rounding == "trunc":
        return math.trunc(value)
    return math.floor(value) if rounding == "floor" else round(value)


def oracle_median(values):
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / Fraction(2)


def oracle_percentile(values, percent):
    ordered = sorted(values)
    rank = (len(ordered) - 1) * Fraction(str(percent)) / 100
    below = math.floor(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (rank - below)


def oracle_std(values, ddof):
    mean = Fraction(sum(values)) / len(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - ddof))


def exact(values):
    """Give values that arithmetic does not round: fractions, or floats that are infinite."""
    return [Fraction(v) if math.isfinite(v) else v for v in values]


def same(got, wanted, dtype, rounding):
    """Compare a pixel with an exact number."""
    if np.dtype(dtype) == np.float64:  # in which it is worked out: a few times the last bit
        return math.isclose(got, float(wanted), rel_tol=1e-12, abs_tol=1e-12)
    if np.dtype(dtype).kind == "f":
        return got == np.float32(float(wanted))
    return int(got) == rounded(wanted, rounding)


def values_of(dtype, size, rng, wild):
    """Make pixels of a dtype: all of its range, or few different ones and its ends."""
    if np.dtype(dtype).kind == "f":
        out = rng.normal(0, 10.0 ** rng.integers(-3, 6), size).astype(dtype)
        out[rng.random(size) < 0.1] = np.nan
        return out
    info = np.iinfo(dtype)
    if wild:
        return rng.integers(info.min, info.max, size, dtype=dtype, endpoint=True)
    few = {info.min, info.min + 1, info.max, info.max - 1, 0, 1, 2, 3, max(info.min, -1)}
    return rng.choice(np.array(sorted(few), dtype=dtype), size)


@st.composite
def stacks(draw, dtypes=kernels.DTYPES, most_times=100):
    """Make a band and a mask: from no time at all, from one pixel to more than a strip."""
    times = draw(st.one_of(st.integers(0, 9), st.integers(0, most_times)))
    shape = draw(
        st.sampled_from([(1, 1), (2, 3), (1, 17), (3, 1), (1, STRIP), (1, STRIP + 1), (3, 700)])
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    band = values_of(draw(st.sampled_from(dtypes)), (times, *shape), rng, draw(st.booleans()))
    clear = rng.random(band.shape) < draw(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
    return band, clear


def some_pixels(band, clear):
    """Give (y, x, clear values) of the first, the last and some other pixels."""
    height, width = band.shape[1:]
    n = height * width
    for i in sorted({0, 1, n // 2, n - 2, n - 1} & set(range(n))):
        y, x = divmod(i, width)
        values = [v.item() for v, c in zip(band[:, y, x], clear[:, y, x], strict=True) if c]
        yield y, x, exact(v for v in values if not math.isnan(v))


def nodata_of(band):
    return 7 if band.dtype.kind != "f" else -9999.0


many = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
some = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@many
@given(stack=stacks(), rounding=st.sampled_from(ROUNDINGS))
def test_median_and_mean(stack, rounding):
    band, clear = stack
    empty = nodata_of(band)
    median = kernels.median(band, clear, nodata=empty, rounding=rounding)
    mean = kernels.mean(band, clear, nodata=empty, rounding=rounding)
    assert median.dtype == mean.dtype == band.dtype
    assert median.shape == mean.shape == band.shape[1:]
    for y, x, values in some_pixels(band, clear):
        if not values:
            assert median[y, x] == mean[y, x] == empty
            continue
        assert same(median[y, x], oracle_median(values), band.dtype, rounding)
        exact_mean = sum(values) / len(values)
        if band.dtype.kind == "f":
            scale = max(abs(float(v)) for v in values)
            assert abs(mean[y, x] - float(exact_mean)) <= 1e-7 * scale
        else:
            assert int(mean[y, x]) == rounded(exact_mean, rounding)


PERCENTS = st.lists(
    st.one_of(st.sampled_from([0, 25, 50, 75, 100, 2.5, 33.33]), st.integers(0, 100)), max_size=4
)


@many
@given(stack=stacks(), percents=PERCENTS, rounding=st.sampled_from(ROUNDINGS))
def test_percentiles(stack, percents, rounding):
    band, clear = stack
    empty = nodata_of(band)
    out = kernels.percentiles(band, clear, percents, nodata=empty, rounding=rounding)
    assert out.shape == (len(percents), *band.shape[1:])
    for y, x, values in some_pixels(band, clear):
        for got, percent in zip(out[:, y, x], percents, strict=True):
            if not values:
                assert got == empty
                continue
            wanted = oracle_percentile(values, percent)
            if band.dtype.kind == "f":
                assert got == pytest.approx(float(wanted), rel=1e-6, abs=1e-9)
            else:
                assert int(got) == rounded(wanted, rounding)


@many
@given(stack=stacks(), ddof=st.sampled_from([0, 1]), at_least=st.integers(0, 4))
def test_extremes_range_spread_and_count(stack, ddof, at_least):
    band, clear = stack
    empty = nodata_of(band)
    low, high, width = (
        f(band, clear, nodata=empty)
        for f in (kernels.minimum, kernels.maximum, kernels.value_range)
    )
    std = kernels.std(band, clear, ddof=ddof, min_count=at_least)
    count = kernels.count(clear)
    for y, x, values in some_pixels(band, clear):
        assert count[y, x] == clear[:, y, x].sum()
        if len(values) < max(at_least, ddof + 1):
            assert np.isnan(std[y, x])
        else:
            spread = oracle_std(values, ddof)
            scale = max(abs(float(v)) for v in values)
            assert std[y, x] == pytest.approx(spread, rel=1e-6, abs=1e-12 * scale)
        if values:
            assert (low[y, x], high[y, x]) == (min(values), max(values))
            assert same(width[y, x], max(values) - min(values), width.dtype, "trunc")
        else:
            assert low[y, x] == high[y, x] == width[y, x] == empty


@many
@given(stack=stacks(), seed=st.integers(0, 99), fall_back=st.booleans())
def test_first_best_and_gather(stack, seed, fall_back):
    band, clear = stack
    rng = np.random.default_rng(seed)
    has_data = clear | (rng.random(clear.shape) < 0.5)
    order = rng.permutation(len(band))
    empty = nodata_of(band)
    first = kernels.first(clear, order, fallback=has_data if fall_back else None)
    best = kernels.best(band, clear, order)
    taken = kernels.gather(band, first, nodata=empty)
    days = kernels.of_time(np.arange(len(band)) + 1, first, dtype="int16", nodata=-1)
    assert first.dtype == best.dtype == np.int16
    for y, x, _ in some_pixels(band, clear):
        wanted = next((t for t in order if clear[t, y, x]), -1)
        if wanted < 0 and fall_back:
            wanted = next((t for t in order if has_data[t, y, x]), -1)
        assert first[y, x] == wanted
        assert days[y, x] == (-1 if wanted < 0 else wanted + 1)
        np.testing.assert_equal(taken[y, x], empty if wanted < 0 else band[wanted, y, x])
        scored = [t for t in order if clear[t, y, x] and band[t, y, x] == band[t, y, x]]
        assert best[y, x] == max(scored, key=lambda t: band[t, y, x].item(), default=-1)


@st.composite
def scenes(draw):
    """Make bands with nodata, and quality."""
    times, shape = draw(st.integers(0, 40)), draw(st.sampled_from([(1, 1), (2, 3), (2, 900)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from(kernels.DTYPES))
    number = draw(st.sampled_from([1, 2, 5]))
    bands = [values_of(dtype, (times, *shape), rng, wild=False) for _ in range(number)]
    nodata = [draw(st.sampled_from([None, 0, 2])) for _ in bands[:3]]
    quality = rng.choice(np.array([0, 3, 127, 127, 255], np.uint8), (times, *shape))
    return bands, (nodata * number)[:number], quality


def has_data_of(bands, nodata, quality):
    out = np.ones(quality.shape, dtype=bool)
    for band, empty in zip(bands, nodata, strict=True):
        out &= band == band  # noqa: PLR0124
        out &= True if empty is None else band != empty
    return out


@some
@given(given_scenes=scenes())
def test_observe(given_scenes):
    bands, nodata, quality = given_scenes
    seen = kernels.observe(quality, TABLE, bands, nodata)
    has_data = has_data_of(bands, nodata, quality)
    np.testing.assert_array_equal(seen.has_data, has_data)
    np.testing.assert_array_equal(seen.clear, has_data & CMASK.is_clear(quality))
    np.testing.assert_array_equal(seen.clearob, seen.clear.sum(axis=0))
    np.testing.assert_array_equal(seen.totalob, (has_data & CMASK.has_data(quality)).sum(axis=0))


@some
@given(
    given_scenes=scenes(),
    rounding=st.sampled_from(ROUNDINGS),
    wanted=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    fall_back=st.booleans(),
)
def test_one_pass_gives_what_the_single_functions_give(given_scenes, rounding, wanted, fall_back):
    bands, nodata, quality = given_scenes
    order = np.random.default_rng(0).permutation(len(quality))
    out = kernels.composites(
        quality,
        TABLE,
        bands,
        nodata,
        median=rounding if wanted[0] else None,
        mean=rounding if wanted[1] else None,
        order=order if wanted[2] else None,
        fallback=fall_back,
    )
    seen = kernels.observe(quality, TABLE, bands, nodata)
    picked = kernels.first(seen.clear, order, fallback=seen.has_data if fall_back else None)
    np.testing.assert_array_equal(out.clearob, seen.clearob)
    np.testing.assert_array_equal(out.totalob, seen.totalob)
    assert [out.median is not None, out.mean is not None, out.first is not None] == list(wanted)
    for b, (band, empty) in enumerate(zip(bands, nodata, strict=True)):
        how = {"nodata": empty, "rounding": rounding}
        if out.median is not None:
            np.testing.assert_array_equal(out.median[b], kernels.median(band, seen.clear, **how))
        if out.mean is not None:
            np.testing.assert_array_equal(out.mean[b], kernels.mean(band, seen.clear, **how))
        if out.first is not None:
            np.testing.assert_array_equal(out.first[b], kernels.gather(band, picked, nodata=empty))
    if wanted[2]:
        np.testing.assert_array_equal(out.picked, picked)


@some
@given(given_scenes=scenes(), wanted=st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_memory_at_hand_is_written_anew(given_scenes, wanted):
    bands, nodata, quality = given_scenes
    asked = {
        "median": "trunc" if wanted[0] else None,
        "mean": "half_even" if wanted[1] else None,
        "order": np.arange(len(quality)) if wanted[2] else None,
    }
    once = kernels.composites(quality, TABLE, bands, nodata, **asked)
    names = [f.name for f in fields(once) if getattr(once, f.name) is not None]
    room = kernels.Composites.empty(
        (len(bands), *quality.shape[1:]),
        bands[0].dtype,
        **dict(zip(("median", "mean", "first"), wanted, strict=True)),
    )
    for name in names:
        getattr(room, name).fill(77)
    given = kernels.composites(quality, TABLE, bands, nodata, **asked, out=room)
    assert given is room
    for name in names:
        np.testing.assert_array_equal(getattr(room, name), getattr(once, name))


@pytest.mark.parametrize(
    ("shape", "dtype", "asked"),
    [
        ((2, 3, 4), "int16", {"median": True, "first": True}),
        ((2, 3, 4), "int16", {}),
        ((2, 3, 4), "uint16", {"median": True}),
        ((2, 4, 3), "int16", {"median": True}),
        ((1, 3, 4), "int16", {"median": True}),
    ],
)
def test_memory_for_something_else_is_refused(shape, dtype, asked):
    quality, bands = np.zeros((5, 3, 4), np.uint8), [np.zeros((5, 3, 4), np.int16)] * 2
    room = kernels.Composites.empty(shape, dtype, **asked)
    with pytest.raises(InvalidValueError, match="no memory for what is asked for"):
        kernels.composites(quality, TABLE, bands, [0, 0], median="trunc", out=room)


def scattered(stack, rng):
    """Give images of a stack that were allocated one by one, some of them in another layout."""
    layouts = [
        np.copy,
        np.asfortranarray,
        lambda image: image.repeat(2, axis=1)[:, ::2],
        lambda image: image.repeat(2, axis=0)[::2],
    ]
    return [layouts[rng.choice(4, p=[0.7, 0.1, 0.1, 0.1])](image) for image in stack]


@some
@given(given_scenes=scenes().filter(lambda found: len(found[2])), seed=st.integers(0, 99))
def test_images_that_lie_apart_give_what_a_stack_gives(given_scenes, seed):
    bands, nodata, quality = given_scenes
    rng = np.random.default_rng(seed)
    how = {"median": "trunc", "mean": "half_even", "order": rng.permutation(len(quality))}
    apart, codes = [scattered(band, rng) for band in bands], scattered(quality, rng)
    one = kernels.composites(quality, TABLE, bands, nodata, **how)
    other = kernels.composites(codes, TABLE, apart, nodata, **how)
    for name in ("median", "mean", "first", "clearob", "totalob", "picked"):
        np.testing.assert_array_equal(getattr(other, name), getattr(one, name))
    seen, scanned = (
        kernels.observe(q, TABLE, b, nodata) for q, b in ((quality, bands), (codes, apart))
    )
    for name in ("clear", "has_data", "clearob", "totalob"):
        np.testing.assert_array_equal(getattr(scanned, name), getattr(seen, name))
    taken = kernels.gather(apart[0], one.picked, nodata=nodata[0])
    np.testing.assert_array_equal(taken, one.first[0])


def test_images_of_a_list_are_alike():
    image, codes = np.zeros((3, 4), np.int16), np.zeros((2, 3, 4), np.uint8)
    for other in (np.zeros((4, 3), np.int16), np.zeros((3, 4, 1), np.int16)):
        with pytest.raises((InvalidValueError, ValueError)):
            kernels.composites(codes, TABLE, [[image, other]], [None])
    with pytest.raises(InvalidValueError, match="band 0 is int64"):
        kernels.composites(codes, TABLE, [[image.astype("int64")] * 2], [None])
    with pytest.raises(
        InvalidValueError, match=r"band 0 has shape \(3, 3, 4\), quality \(2, 3, 4\)"
    ):
        kernels.composites(codes, TABLE, [[image] * 3], [None])


@some
@given(given_scenes=scenes(), wide=st.booleans())
def test_clear_pixels_of_each_time_are_counted(given_scenes, wide):
    quality = given_scenes[2].astype(np.uint16 if wide else np.uint8)
    wanted = CMASK.is_clear(quality).sum(axis=(1, 2))
    table = CMASK.table(quality.dtype)
    np.testing.assert_array_equal(kernels.count_clear(quality, table), wanted)
    if len(quality):
        np.testing.assert_array_equal(kernels.count_clear(list(quality), table), wanted)


@some
@given(given_scenes=scenes(), wide=st.booleans())
def test_classes_are_those_of_the_policy(given_scenes, wide):
    quality = given_scenes[2].astype(np.uint16 if wide else np.uint8)
    for policy in (CMASK, replace(CMASK, clear=(0, 3, 127, 200), nodata=None)):
        found = kernels.classify(quality, policy.table(quality.dtype))
        np.testing.assert_array_equal(found, policy.classify(quality))


def test_more_bands_than_a_kernel_takes_at_once():
    rng = np.random.default_rng(0)
    bands = [values_of("int16", (5, 3, 20), rng, wild=False) for _ in range(17)]
    quality = np.full((5, 3, 20), 127, np.uint8)
    seen = kernels.observe(quality, TABLE, bands, [0] * 17)
    np.testing.assert_array_equal(seen.has_data, has_data_of(bands, [0] * 17, quality))


def test_bands_of_several_dtypes_are_observed_together():
    rng = np.random.default_rng(0)
    bands = [values_of(d, (7, 5, 300), rng, wild=False) for d in kernels.DTYPES]
    nodata = [0, 1, None, 2, 3, 1, 5.0, None]
    quality = rng.choice(np.array([0, 127, 255], np.uint8), (7, 5, 300))
    seen = kernels.observe(quality, TABLE, bands, nodata)
    np.testing.assert_array_equal(seen.has_data, has_data_of(bands, nodata, quality))
    known = has_data_of(bands[1:], nodata[1:], quality)
    alone = kernels.composites(quality, TABLE, bands[:1], nodata[:1], known=known)
    np.testing.assert_array_equal(alone.clearob, seen.clearob)
    np.testing.assert_array_equal(alone.totalob, seen.totalob)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
def test_quality_table_by_bits(dtype):
    policy = QualityPolicy("QA", clear=(6,), not_clear=(1, 3, 4), nodata=1, bits=True)
    table = policy.table(dtype)
    quality = np.random.default_rng(0).integers(0, 127, (3, 4, 50)).astype(dtype)
    seen = kernels.observe(quality, table, [np.ones(quality.shape, np.int16)], [None])
    np.testing.assert_array_equal(seen.clear, policy.is_clear(quality))
    np.testing.assert_array_equal(seen.totalob, policy.has_data(quality).sum(axis=0))


def test_counts_saturate_and_many_times_work():
    rng = np.random.default_rng(0)
    band = rng.integers(-32768, 32767, (300, 2, 70), dtype=np.int16, endpoint=True)
    quality = np.full(band.shape, 127, np.uint8)
    quality[280:, 0] = 255
    out = kernels.composites(quality, TABLE, [band], [None], median="trunc", mean="floor")
    assert (out.clearob == 255).all()
    assert kernels.count(quality == 127)[:, 0].tolist() == [280, 300]
    clear = [band[:280, 0], band[:, 1]]
    for row, values in enumerate(clear):
        np.testing.assert_array_equal(out.median[0][row], np.trunc(np.median(values, axis=0)))
        np.testing.assert_array_equal(out.mean[0][row], np.floor(values.mean(axis=0)))


def zeros_and_ones(network, n, pixels=1500):
    """Give rows that a network should sort; zeros and ones suffice: Knuth, 5.3.4, theorem Z."""
    rng = np.random.default_rng(n)
    work = np.zeros((network.rows + 2, PITCH), np.int16)
    work[network.place, :pixels] = rng.random((n, pixels)) < rng.random(pixels)
    work[network.low], work[network.high] = -32768, 32767
    return work, np.sort(work[network.place, :pixels], axis=0)


@pytest.mark.parametrize("n", [*range(40), 64, 90, 256, 300])
def test_networks_sort(n):
    network = sorting_network(n)
    work, wanted = zeros_and_ones(network, n)
    sort_rows(work.reshape(-1), 0, network.rows, wanted.shape[1], network.steps)
    np.testing.assert_array_equal(work[:n, : wanted.shape[1]], wanted)
    assert (work[n : network.rows] == 32767).all()


@pytest.mark.parametrize("n", [*range(40), 64, 90, 256, 300])
def test_networks_find_the_middle(n):
    network = median_network(n)
    work, wanted = zeros_and_ones(network, n)
    pixels = wanted.shape[1]
    flat, half = work.reshape(-1), network.rows // 2
    sort_rows(flat, 0, network.rows, pixels, network.steps)
    fold(flat, 0, half, n, pixels, np.array([32767, -32768], np.int16))
    assert (work[network.low] == -32768).all()
    assert (work[network.high] == 32767).all()
    below, above = work[network.rows, :pixels], work[network.rows + 1, :pixels]
    if n % 2:
        np.testing.assert_array_equal(above, wanted[n // 2])
    elif n:
        np.testing.assert_array_equal([below, above], wanted[n // 2 - 1 : n // 2 + 1])


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32"])
@pytest.mark.parametrize("times", [12, 37])
def test_larger_arrays_against_numpy(dtype, times):
    rng = np.random.default_rng(times)
    band = rng.integers(0, 10000, (times, 150, 211)).astype(dtype)
    clear = rng.random(band.shape) < 0.4
    masked = np.where(clear, band, np.nan)
    # float64 arithmetic of numpy: exact for the median, nearly so for others.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of pixels that are never clear
        median, mean = np.nanmedian(masked, axis=0), np.nanmean(masked, axis=0)
        quartiles = np.nanpercentile(masked, [25, 50, 75], axis=0)
        std = np.nanstd(masked, axis=0, ddof=1)
    some_clear = clear.any(axis=0)
    cut = (lambda a: a) if dtype == "float32" else np.trunc
    got = kernels.median(band, clear)
    np.testing.assert_array_equal(got[some_clear], cut(median)[some_clear].astype(dtype))
    got = kernels.percentiles(band, clear, [25, 50, 75], rounding="half_even")
    np.testing.assert_allclose(got[:, some_clear], quartiles[:, some_clear], atol=0.501)
    got = kernels.mean(band, clear)
    np.testing.assert_allclose(got[some_clear], mean[some_clear], atol=0.501)
    enough = clear.sum(axis=0) > 1
    np.testing.assert_allclose(
        kernels.std(band, clear, ddof=1)[enough], std[enough], rtol=1e-6, atol=1e-3
    )
    filled = np.ma.masked_array(band, ~clear)
    for reduce, theirs in ((kernels.minimum, filled.min(0)), (kernels.maximum, filled.max(0))):
        np.testing.assert_array_equal(reduce(band, clear, nodata=7), theirs.filled(7))


def test_infinities_and_nan():
    band = np.array([-np.inf, 1, np.inf, np.nan, np.inf], np.float32).reshape(5, 1, 1)
    clear = np.ones(band.shape, bool)
    assert kernels.median(band, clear).item() == np.inf
    assert kernels.median(band[:3], clear[:3]).item() == 1
    assert kernels.percentiles(band, clear, [0, 100]).ravel().tolist() == [-np.inf, np.inf]
    assert np.isnan(kernels.median(band[3:4], clear[3:4])).all()


def objective(bands, clear, median):
    points = np.stack(bands).astype(float)
    distance = np.sqrt(((points - median[:, np.newaxis]) ** 2).sum(axis=0))
    return np.where(clear, distance, 0).sum(axis=0)


def test_geomedian_is_where_no_neighbour_is_better():
    # The objective is convex: a point with no better one about it is the best.
    rng = np.random.default_rng(1)
    bands = [rng.integers(100, 5000, (11, 20, 30)).astype("int16") for _ in range(4)]
    clear = rng.random((11, 20, 30)) < 0.6
    out = kernels.geomedian(bands, clear, tolerance=1e-7)
    best = objective(bands, clear, out.median.astype(float))
    for band in range(4):
        for step in (-2.0, 2.0):
            moved = out.median.astype(float)
            moved[band] += step
            worse = objective(bands, clear, moved)
            seen = clear.any(axis=0)
            assert (best[seen] <= worse[seen] + 1e-3).all()
    assert np.isnan(out.median[:, ~clear.any(axis=0)]).all()


def test_geomedian_of_known_points():
    # Of a triangle: its Fermat point. Of three on a line: the middle one. Of one: itself.
    height = math.sqrt(3) / 2
    xs = np.array([[0, 1, 0.5, 9], [0, 1, 5, 9], [3, 9, 9, 9]], np.float32).T[:, np.newaxis]
    ys = np.array([[0, 0, height, 9], [0, 1, 5, 9], [4, 9, 9, 9]], np.float32).T[:, np.newaxis]
    clear = np.array([[1, 1, 1, 0], [1, 1, 1, 0], [1, 0, 0, 0]], bool).T[:, np.newaxis]
    out = kernels.geomedian([xs, ys], clear, tolerance=1e-9)
    np.testing.assert_allclose(out.median[0, 0], [0.5, 1, 3], atol=1e-4)
    np.testing.assert_allclose(out.median[1, 0], [height / 3, 1, 4], atol=1e-4)
    np.testing.assert_allclose(out.emad[0], [1 / math.sqrt(3), math.sqrt(2), 0], atol=1e-4)
    assert out.smad[0, 2] == pytest.approx(0, abs=1e-7)
    assert out.bcmad[0, 2] == pytest.approx(0, abs=1e-7)


def test_mads_are_medians_of_distances():
    rng = np.random.default_rng(2)
    bands = [rng.uniform(0.01, 0.5, (9, 4, 70)).astype("float32") for _ in range(3)]
    clear = rng.random((9, 4, 70)) < 0.7
    out = kernels.geomedian(bands, clear)
    points, middle = np.stack(bands).astype(float), out.median.astype(float)[:, np.newaxis]
    norms = np.sqrt((points**2).sum(0)) * np.sqrt((middle**2).sum(0))
    distances = {
        "smad": 1 - (points * middle).sum(0) / norms,
        "emad": np.sqrt(((points - middle) ** 2).sum(0)),
        "bcmad": abs(points - middle).sum(0) / abs(points + middle).sum(0),
    }
    for name, distance in distances.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            wanted = np.nanmedian(np.where(clear, distance, np.nan), axis=0)
        np.testing.assert_allclose(getattr(out, name), wanted, rtol=1e-3, atol=1e-6)


def test_geomedian_against_the_published_one():
    geomad = pytest.importorskip("geomad", reason="of the dependency group bench")
    rng = np.random.default_rng(3)
    bands = [rng.uniform(0, 0.4, (13, 24, 40)).astype("float32") for _ in range(4)]
    clear = rng.random((13, 24, 40)) < 0.6
    clear[0] = True
    stack = np.where(clear, np.stack(bands), np.nan).astype("float32")
    theirs = np.asarray(
        geomad.nangeomedian_pcm(
            np.ascontiguousarray(stack.transpose(2, 3, 0, 1)), eps=1e-6, num_threads=1
        )
    ).transpose(2, 0, 1)
    ours = kernels.geomedian(bands, clear, tolerance=1e-6)
    good = objective(bands, clear, ours.median.astype(float))
    peer = objective(bands, clear, theirs.astype(float))
    assert (good <= peer * (1 + 1e-5) + 1e-6).all()


def everything(band, clear, quality, threads):
    order = list(range(len(band)))
    out = kernels.composites(
        quality, TABLE, [band], [0], median="trunc", mean="floor", order=order, threads=threads
    )
    seen = kernels.observe(quality, TABLE, [band], [0], threads=threads)
    geo = kernels.geomedian([band, band[::-1]], clear, threads=threads)
    return [
        out.clearob, out.totalob, *out.median, *out.mean, *out.first, out.picked,
        seen.clearob, seen.totalob, geo.median, geo.smad, geo.emad, geo.bcmad,
        kernels.median(band, clear, threads=threads),
        kernels.mean(band, clear, threads=threads),
        kernels.percentiles(band, clear, [10, 90], threads=threads),
        kernels.std(band, clear, threads=threads),
        kernels.minimum(band, clear, threads=threads),
        kernels.first(clear, order, threads=threads),
        kernels.best(band, clear, order, threads=threads),
    ]  # fmt: skip


def test_threads_and_windows_change_nothing():
    rng = np.random.default_rng(4)
    band = rng.integers(0, 50, (6, 61, 97)).astype("int16")
    clear = rng.random(band.shape) < 0.5
    quality = rng.choice(np.array([0, 127, 255], np.uint8), band.shape)
    whole = everything(band, clear, quality, threads=1)
    for a, b in zip(whole, everything(band, clear, quality, threads=3), strict=True):
        np.testing.assert_array_equal(a, b)
    window = (slice(None), slice(13, 40), slice(5, 77))
    part = everything(band[window], clear[window], quality[window], threads=1)
    for a, b in zip(whole, part, strict=True):
        np.testing.assert_array_equal(a[..., 13:40, 5:77], b)


@some
@given(stack=stacks(most_times=30), seed=st.integers(0, 99))
def test_order_of_observations_changes_no_reducer(stack, seed):
    band, clear = stack
    other = np.random.default_rng(seed).permutation(len(band))
    for reduce in (kernels.median, kernels.minimum, kernels.value_range):
        np.testing.assert_array_equal(reduce(band, clear), reduce(band[other], clear[other]))
    if band.dtype.kind != "f":  # sums of floats are rounded in their order
        np.testing.assert_array_equal(
            kernels.mean(band, clear), kernels.mean(band[other], clear[other])
        )


@pytest.mark.parametrize(
    "layout",
    [
        np.asfortranarray,
        lambda a: a[:, ::-1, ::-1][:, ::-1, ::-1],
        lambda a: np.repeat(a, 2, axis=2)[:, :, ::2],
        lambda a: a.astype(a.dtype.newbyteorder(">")),
        lambda a: np.frombuffer(b"x" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),
    ],
)
def test_any_layout_is_taken(layout):
    band = np.random.default_rng(5).integers(-99, 99, (5, 8, 9)).astype("int16")
    clear = band % 3 != 0
    before = kernels.median(band, clear)
    np.testing.assert_array_equal(kernels.median(layout(band), np.asfortranarray(clear)), before)
    frozen = band.copy()
    frozen.setflags(write=False)
    np.testing.assert_array_equal(kernels.median(frozen, clear.view("uint8")), before)


BAND = np.ones((2, 3, 4), np.int16)
CLEAR = np.ones((2, 3, 4), bool)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kernels.median(BAND[0], CLEAR[0]), "band must be \\(time, y, x\\)"),
        (lambda: kernels.median(BAND.astype("int64"), CLEAR), "band is int64; known: int8"),
        (lambda: kernels.median(BAND, CLEAR[:1]), "clear has shape \\(1, 3, 4\\)"),
        (lambda: kernels.median(BAND, BAND), "clear is int16; known: uint8"),
        (lambda: kernels.median(BAND, CLEAR, nodata=40000), "nodata 40000 is not a value of int16"),
        (lambda: kernels.median(BAND, CLEAR, nodata=np.nan), "nodata nan is not a value of int16"),
        (lambda: kernels.median(BAND, CLEAR, rounding="up"), "rounding 'up' is not one of"),
        (lambda: kernels.median(BAND, CLEAR, threads=0), "threads must be 1 or more"),
        (lambda: kernels.percentiles(BAND, CLEAR, [101]), "percentile 101 is not in 0 to 100"),
        (lambda: kernels.percentiles(BAND, CLEAR, [1 / 3]), "more than four decimals"),
        (lambda: kernels.std(BAND, CLEAR, ddof=2), "ddof must be 0 or 1"),
        (lambda: kernels.first(CLEAR, [0, 2]), "positions that are not in 0 to 1"),
        (lambda: kernels.first(CLEAR, [0.5]), "order must be a list of positions"),
        (lambda: kernels.gather(BAND, np.full((3, 4), 2, np.int16)), "picked holds 2; the last"),
        (lambda: kernels.gather(BAND, np.zeros((3, 4))), "picked must be int16"),
        (lambda: kernels.observe(BAND, TABLE, [BAND], [None]), "65536 entries, not \\(256,\\)"),
        (lambda: kernels.observe(CLEAR.view("uint8"), TABLE, [], []), "no band is given"),
        (lambda: kernels.observe(CLEAR.view("uint8"), TABLE, [BAND], []), "0 nodata values"),
        (
            lambda: kernels.observe(CLEAR.view("uint8"), TABLE, [BAND[:, :1]], [None]),
            "band 0 has shape",
        ),
        (
            lambda: kernels.composites(
                CLEAR.view("uint8"), TABLE, [BAND, BAND.astype("uint8")], [None, None]
            ),
            "band 1 is uint8, band 0 int16",
        ),
        (lambda: kernels.geomedian([BAND], CLEAR, tolerance=0), "must be above 0"),
        (lambda: kernels.median(np.ones((32768, 1, 1), "uint8"), CLEAR), "32767 are the most"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(InvalidValueError, match=message):
        call()


def run(code, **environ):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=False, env={**os.environ, **environ},
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip


CONCURRENT = """
import os, sys
import numpy as np
from concurrent.futures import ThreadPoolExecutor
from odc_bdc.compositing import kernels
band = np.arange(24, dtype="int16").reshape(6, 2, 2)
clear = np.ones(band.shape, bool)
with ThreadPoolExecutor(4) as pool:
    found = list(pool.map(lambda _: kernels.median(band, clear, threads=2).tolist(), range(8)))
assert found == [[[10, 11], [12, 13]]] * 8, found
child = os.fork()
if child == 0:
    same = kernels.median(band, clear, threads=2).tolist() == found[0]
    os._exit(0 if same and kernels.mean(band, clear).tolist() == found[0] else 1)
assert os.waitpid(child, 0)[1] == 0
print("well")
"""


def test_first_calls_from_many_threads_and_a_fork(tmp_path):
    # An empty cache folder: two processes compile at once, from four threads each.
    with ThreadPoolExecutor(2) as pool:
        for done in pool.map(lambda _: run(CONCURRENT, NUMBA_CACHE_DIR=str(tmp_path)), range(2)):
            assert done.stdout == "well\n", done.stderr
    assert list(tmp_path.rglob("*.nbc"))


def test_no_folder_for_the_cache(monkeypatch, tmp_path):
    def refuse(*_):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(jit, "_Cache", refuse)

    def plus(a):
        return a + 1

    assert jit.kernel(plus)(1) == 2


def test_broken_and_full_folders_do_not_matter(monkeypatch):
    def broken(*_):
        raise EOFError

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(jit.FunctionCache, "load_overload", broken)
    monkeypatch.setattr(jit.FunctionCache, "save_overload", full)

    def plus(a):
        return a + 1

    assert jit.kernel(plus)(1) == 2


def test_warm():
    spent = kernels.warm(dtypes=["int16"], qualities=["uint8"])
    assert list(spent) == ["int16", "uint8"]
