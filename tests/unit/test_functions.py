"""Every composite function against a loop over pixels, for every type, mask and shape."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from odc_bdc import OdcBdcError, QualityPolicy, Timeline, composite
from odc_bdc.compositing import CompositeBlock, composite_block
from odc_bdc.function import composite_function

QUALITY = QualityPolicy("Q", clear=(127,), not_clear=(255,), nodata=0)
REDUCERS = ["AVG", "MED", "MIN", "MAX", "RANGE", "STD", "COUNT", "P25", "P0,P50,P90,P100"]
PICKERS = ["LCF", "MEDSTK", "MAXNDVI", "MAXNDI", "IDT"]
COMMON = {"red": "a", "nir": "b", "swir16": "c"}


def rounded(value, rounding):
    if rounding == "trunc":
        return math.trunc(value)
    return math.floor(value) if rounding == "floor" else round(value)


def reduced(name, values, rounding, info):
    """Reduce the clear values of one pixel, which are Fractions; the result by suffix."""
    ordered, n = sorted(values), len(values)
    if name == "AVG":
        return {"": rounded(sum(values) / n, rounding)}
    if name == "MED":
        return {"": rounded((ordered[(n - 1) // 2] + ordered[n // 2]) / 2, rounding)}
    if name == "MIN":
        return {"": ordered[0]}
    if name == "MAX":
        return {"": ordered[-1]}
    if name == "RANGE":
        return {"": min(ordered[-1] - ordered[0], info.max)}
    out = {}
    for part in name.split(","):
        at = Fraction(int(part[1:]), 100) * (n - 1)
        low, high = ordered[math.floor(at)], ordered[math.ceil(at)]
        value = low + (high - low) * (at - math.floor(at))
        out[f"_{part}" if "," in name else ""] = rounded(value, rounding)
    return out


def ndi(high, low):
    if high == 0 or low == 0 or high + low == 0:
        return -1.0
    return (float(high) - float(low)) / (float(high) + float(low))


def picked(name, pixel, clear, has_data, order):
    """Give the position of the observation that one pixel is taken from, -1 for none."""
    if name == "IDT":
        return next((t for t in reversed(order) if has_data[t]), -1)
    if name in ("LCF", "MEDSTK"):
        chosen = next((t for t in order if clear[t]), None)
        if chosen is None:
            chosen = next((t for t in order if has_data[t]), -1)
        return chosen
    ranked = [t for t in order if clear[t]]
    if not ranked:
        return -1
    v = {t: ndi(pixel["b"][t], pixel["a"][t]) for t in ranked}
    best_v = max(ranked, key=v.get)  # the first of equals
    if name == "MAXNDVI":
        return best_v
    w = {t: ndi(pixel["b"][t], pixel["c"][t]) for t in ranked}
    best_w = max(ranked, key=w.get)
    return best_w if 2 * v[best_v] <= w[best_w] else best_v


@st.composite
def blocks(draw):
    dtype = np.dtype(draw(st.sampled_from(["int8", "uint8", "int16", "uint16", "int32", "uint32"])))
    info = np.iinfo(dtype)
    shape = (draw(st.integers(0, 9)), draw(st.integers(1, 3)), draw(st.integers(1, 4)))
    nodata = draw(st.sampled_from([None, 0, info.min, info.max]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    few = draw(st.booleans())
    low, high = (max(info.min, -3), 4) if few else (info.min, info.max)
    bands = {b: rng.integers(low, high, shape, dtype=dtype, endpoint=True) for b in "abc"}
    quality = rng.choice(np.array([127, 127, 255, 0, 3], "uint8"), shape)
    order = rng.permutation(shape[0])
    return bands, quality, nodata, order


@settings(max_examples=150)
@given(
    block=blocks(),
    name=st.sampled_from([*REDUCERS, *PICKERS]),
    rounding=st.sampled_from(["trunc", "half_even", "floor"]),
)
def test_integers_equal_a_loop_over_pixels(block, name, rounding):
    bands, quality, nodata, order = block
    how = CompositeBlock(
        composite_function(name),
        QUALITY,
        {**dict.fromkeys("abc", nodata), "Q": 0},
        rounding,
        COMMON,
    )
    n = quality.shape[0]
    image = composite_block(
        bands, quality, how, days_of_year=np.arange(1, n + 1), order=order
    ).by_name()
    if n:
        apart = {b: list(values) for b, values in bands.items()}
        again = composite_block(
            apart, list(quality), how, days_of_year=np.arange(1, n + 1), order=order
        ).by_name()
        for key, values in image.items():
            np.testing.assert_array_equal(again[key], values)
    for at in np.ndindex(quality.shape[1:]):
        pixel = {b: [int(v) for v in values[(slice(None), *at)]] for b, values in bands.items()}
        codes = quality[(slice(None), *at)].tolist()
        has_data = [all(nodata is None or pixel[b][t] != nodata for b in "abc") for t in range(n)]
        clear = [d and q == 127 for d, q in zip(has_data, codes, strict=True)]
        seen = sum(d and q != 0 for d, q in zip(has_data, codes, strict=True))
        found = {key: values[at] for key, values in image.items()}
        assert (found.pop("CLEAROB"), found.pop("TOTALOB")) == (sum(clear), seen)
        if name in PICKERS:
            chosen = picked(name, pixel, clear, has_data, order.tolist())
            wanted = {"Q": 0 if chosen < 0 else codes[chosen]}
            wanted |= {b: (nodata or 0) if chosen < 0 else pixel[b][chosen] for b in "abc"}
            assert found == wanted | {"PROVENANCE": -1 if chosen < 0 else chosen + 1}
        elif name == "COUNT":
            assert found == {"COUNT": sum(clear)}
        else:
            check_reduced(name, pixel, clear, nodata, rounding, found, np.iinfo(bands["a"].dtype))


def check_reduced(name, pixel, clear, nodata, rounding, found, info):
    suffixes = [f"_{p}" for p in name.split(",")] if "," in name else [""]
    assert set(found) == {b + suffix for b in "abc" for suffix in suffixes}
    for b in "abc":
        values = [Fraction(v) for v, c in zip(pixel[b], clear, strict=True) if c]
        if name == "STD":
            mean = sum(values) / max(len(values), 1)
            square = sum((v - mean) ** 2 for v in values) / max(len(values), 1)
            expected = math.sqrt(square) if values else math.nan
            assert found[b] == pytest.approx(expected, rel=1e-6, nan_ok=True)
            continue
        made = reduced(name, values, rounding, info) if values else {}
        for suffix in suffixes:
            assert found[b + suffix] == made.get(suffix, nodata or 0)


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 12),
    nodata=st.sampled_from([None, -9999.0]),
    name=st.sampled_from([*REDUCERS, *PICKERS]),
)
def test_floating_point_with_nan(seed, n, nodata, name):
    rng = np.random.default_rng(seed)
    shape = (n, 3, 4)
    bands = {b: rng.random(shape, dtype="float32") for b in "abc"}
    for values in bands.values():
        values[rng.random(shape) < 0.2] = np.nan
        values[rng.random(shape) < 0.1] = -9999.0 if nodata else 0.25
    quality = rng.choice(np.array([127, 127, 255, 0], "uint8"), shape)
    nodatas = {**dict.fromkeys("abc", nodata), "Q": 0}
    how = CompositeBlock(composite_function(name), QUALITY, nodatas, None, COMMON)
    order = np.arange(n)
    image = composite_block(bands, quality, how, days_of_year=order + 1, order=order).by_name()
    whole = np.ones(shape, bool)
    for values in bands.values():
        whole &= ~np.isnan(values) & (values != -9999.0)
    clear = whole & (quality == 127)
    np.testing.assert_array_equal(image["CLEAROB"], clear.sum(axis=0))
    none = ~(whole if name in ("LCF", "MEDSTK", "IDT") else clear).any(axis=0)
    if name == "COUNT":
        return
    empty = np.nan if nodata is None or name == "STD" else nodata
    peers = {"AVG": np.nanmean, "MED": np.nanmedian, "MIN": np.nanmin, "MAX": np.nanmax}
    peers |= {"STD": np.nanstd, "RANGE": lambda a, axis: np.nanmax(a, axis) - np.nanmin(a, axis)}
    peers |= {"P25": lambda a, axis: np.nanpercentile(a, 25, axis)}
    for b, values in bands.items():
        found = image[b if "," not in name else f"{b}_P50"]
        np.testing.assert_array_equal(found[none], np.full(none.sum(), empty, "float32"))
        assert not np.isnan(found[~none]).any()
        if name in peers and n:
            masked = np.where(clear, values.astype("float64"), np.nan)[:, ~none]
            if masked.size:
                np.testing.assert_allclose(
                    found[~none], peers[name](masked, axis=0), rtol=1e-5, atol=1e-6
                )


def stack(n=11, seed=0):
    rng = np.random.default_rng(seed)
    times = np.datetime64("2020-01-02T13:30", "ns") + np.sort(
        rng.choice(60, n, replace=False)
    ).astype("timedelta64[D]")
    shape = (n, 8, 9)
    data = {
        b: (("time", "y", "x"), rng.integers(0, 3000, shape, dtype="int16"), {"nodata": 0})
        for b in ("red", "nir", "swir16")
    }
    quality = rng.choice(np.array([127, 255, 0], "uint8"), shape)
    data["Q"] = (("time", "y", "x"), quality, {"nodata": 0})
    return xr.Dataset(data, coords={"time": times})


MONTHS = Timeline.from_dict({"schema": "continuous", "unit": "month", "step": 1})


@pytest.mark.parametrize("name", [*REDUCERS, *PICKERS])
def test_chunks_windows_and_order_of_input_do_not_matter(name):
    ds = stack()
    how = {"function": name, "quality": QUALITY, "timeline": MONTHS}
    whole = composite(ds, **how)
    for chunks in ({"time": 1, "y": 3, "x": 4}, {"time": 4, "y": 8, "x": 9}):
        lazy = composite(ds.chunk(chunks), **how)
        assert next(iter(lazy.data_vars.values())).chunks
        xr.testing.assert_identical(lazy.compute(), whole)
    shuffled = ds.isel(time=np.random.default_rng(1).permutation(ds.sizes["time"]))
    xr.testing.assert_identical(composite(shuffled, **how), whole)
    if name != "LCF":  # whose order is that of the whole array
        window = {"y": slice(2, 7), "x": slice(1, 5)}
        xr.testing.assert_identical(composite(ds.isel(window), **how), whole.isel(window))


def test_reference_day():
    # The distances of cube-builder's example, with the 17th day of its range: 2019-01-17.
    days = [f"2019-01-{d:02d}" for d in (3, 8, 13, 18, 23, 28)]
    values = np.arange(6, dtype="int16").reshape(6, 1, 1)
    ds = xr.Dataset(
        {
            "b": (("time", "y", "x"), values, {"nodata": -1}),
            "Q": (("time", "y", "x"), np.full((6, 1, 1), 127, "uint8")),
        },
        coords={"time": np.array(days, "datetime64[ns]")},
    )
    for day, wanted in ((17, 3), (1, 0), (31, 5), (None, 3), (10, 1), (11, 2)):
        function = {"name": "MEDSTK", **({"reference_day": day} if day else {})}
        out = composite(ds, function=function, quality=QUALITY, timeline=MONTHS)
        assert out.b.item() == wanted
        assert out.PROVENANCE.item() == int(days[wanted][-2:])


def test_parameters():
    ds = stack()
    how = {"quality": QUALITY, "timeline": MONTHS}
    population = composite(ds, function="STD", **how).red
    sample = composite(ds, function={"name": "STD", "ddof": 1, "min_count": 3}, **how).red
    n = composite(ds, function="COUNT", **how).COUNT
    kept = n >= 3
    assert np.isnan(sample.values[~kept.values]).all()
    ratio = (sample / population).where(kept & (population > 0))
    np.testing.assert_allclose(ratio, np.sqrt(n / (n - 1)).where(np.isfinite(ratio)), rtol=1e-5)
    only_clear = composite(ds, function={"name": "LCF", "cloudy_fallback": False}, **how)
    assert ((only_clear.PROVENANCE == -1) == (only_clear.CLEAROB == 0)).all()
    assert (only_clear.red.where(only_clear.CLEAROB == 0, 0) == 0).all()


def test_bands_by_other_names():
    ds = stack().rename(red="B04", nir="B08")
    out = composite(ds, function="MAXNDVI", quality=QUALITY, common={"red": "B04", "nir": "B08"})
    assert set(out.data_vars) >= {"B04", "B08", "Q", "PROVENANCE"}
    with pytest.raises(OdcBdcError, match="MAXNDVI needs band 'red': give its name, common="):
        composite(ds, function="MAXNDVI", quality=QUALITY)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            "LFC",
            "'LFC' is not a composite function, do you mean LCF.; known: AVG, MED, LCF, MEDSTK",
        ),
        ("P101", "percentiles run from P0 to P100"),
        ("P50,P25", "in order and each once"),
        ({"name": "STD", "ddof": 2}, "STD: ddof 2 is not 0 or 1"),
        (
            {"name": "STD", "dof": 1},
            "STD has no parameter 'dof', do you mean ddof.; it has ddof, min",
        ),
        ({"name": "MED", "ddof": 1}, "MED has no parameter 'ddof'; it has none"),
        (
            {"name": "MEDSTK", "reference_day": 0},
            "reference_day 0 is not a day of the period from 1",
        ),
        ({"name": "LCF", "cloudy_fallback": "no"}, "cloudy_fallback 'no' is not true or false"),
    ],
)
def test_bad_function_is_named(function, message):
    with pytest.raises(OdcBdcError, match=message):
        composite_function(function)


@pytest.mark.parametrize("given_as", ["stk", "P5, P95", {"name": "STD", "ddof": 1}, "MEDSTK"])
def test_functions_read_back(given_as):
    function = composite_function(given_as)
    assert composite_function(function.to_dict()) == function


PACKAGE = """
import numpy as np
from odc_bdc.function import CompositeFunction

SECOND = CompositeFunction("SECOND", "my_functions:second", picks_date=True)
SUM = CompositeFunction("SUM", "my_functions:total", parameters=(("times", 1),))

def second(seen):
    n = np.cumsum(seen.clear[seen.order], axis=0)
    return np.where(n.max(axis=0) >= 2, seen.order[np.argmax(n == 2, axis=0)], -1)

def total(seen, *, times):
    return {name: (band * seen.clear).sum(axis=0) * times for name, band in seen.bands.items()}
"""


@pytest.fixture
def other_package(tmp_path, monkeypatch):
    """Install a distribution with functions of its own."""
    from odc_bdc.function import _functions

    (tmp_path / "my_functions.py").write_text(PACKAGE, "utf-8")
    info = tmp_path / "my_functions-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-functions\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[odc_bdc.composite_functions]\nSECOND = my_functions:SECOND\nSUM = my_functions:SUM\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    _functions.cache_clear()
    yield
    _functions.cache_clear()


def test_other_packages_add_functions(other_package):
    ds = stack()
    ds = ds.assign({b: ds[b].astype("int32") for b in ("red", "nir", "swir16")})
    second = composite(ds, function="second", quality=QUALITY)
    first = composite(ds, function={"name": "IDT"}, quality=QUALITY)
    assert set(second.data_vars) == set(first.data_vars)
    is_clear = (ds.Q == 127) & (ds.red != 0) & (ds.nir != 0) & (ds.swir16 != 0)
    wanted = ds.red.where((is_clear.cumsum("time") == 2) & is_clear).max("time")
    np.testing.assert_array_equal(
        second.red.isel(time=0).where(second.PROVENANCE.isel(time=0) > 0), wanted
    )
    doubled = composite(ds, function={"name": "SUM", "times": 2}, quality=QUALITY)
    total = 2 * ds.red.where(is_clear, 0).sum("time")
    np.testing.assert_array_equal(doubled.red.isel(time=0), total)
    with pytest.raises(OdcBdcError, match=r"known: AVG, MED, .*SECOND, SUM, Pnn"):
        composite_function("NONE")


def ranked_scenes(stored, scales, dtype="int16"):
    """Give one pixel a day of red, near and shortwave infrared, as dc.load would."""
    times = np.array([f"2019-01-{n + 1:02d}" for n in range(len(stored))], "datetime64[ns]")
    dims = ("time", "y", "x")
    bands = {}
    for k, (name, (scale, offset)) in enumerate(zip(("red", "nir", "swir16"), scales, strict=True)):
        attrs = {"nodata": -32768, "scale_factor": scale, "add_offset": offset}
        values = np.array([row[k] for row in stored], dtype).reshape(-1, 1, 1)
        bands[name] = (dims, values, attrs)
    bands["Q"] = (dims, np.full((len(stored), 1, 1), 127, "uint8"))
    return xr.Dataset(bands, coords={"time": times})


def test_the_highest_ndvi_is_that_of_reflectances():
    # Red .05 and .02, near infrared .30 and .20: NDVI .714 and .818; stored numbers say otherwise.
    stored = [(1500, 4000, 3000), (1200, 3000, 2500)]
    out = composite(
        ranked_scenes(stored, [(0.0001, -0.1)] * 3), function="MAXNDVI", quality=QUALITY
    )
    assert out.PROVENANCE.item() == 2
    plain = composite(
        ranked_scenes(stored, [(0.0001, 0.0)] * 3), function="MAXNDVI", quality=QUALITY
    )
    assert plain.PROVENANCE.item() == 1


LINES = st.sampled_from(
    [(0.0001, 0.0), (0.0001, -0.1), (0.0002, -0.3), (2.75e-5, -0.2), (0.001, 0.05)]
)


@pytest.mark.parametrize("function", ["MAXNDVI", "MAXNDI"])
@given(
    stored=st.lists(
        st.tuples(*[st.integers(0, 8) | st.integers(-300, 20000)] * 3), min_size=1, max_size=6
    ),
    scales=st.tuples(LINES, LINES, LINES),
)
def test_ranking_is_that_of_fractions(function, stored, scales):
    out = composite(ranked_scenes(stored, scales), function=function, quality=QUALITY)

    def index(high, low):
        if high == 0 or low == 0 or high + low == 0:
            return Fraction(-1)
        return (high - low) / (high + low)

    physical = [
        [v * Fraction(str(s)) + Fraction(str(o)) for v, (s, o) in zip(row, scales, strict=True)]
        for row in stored
    ]
    v = [index(nir, red) for red, nir, _ in physical]
    w = [index(nir, swir) for _, nir, swir in physical]
    best_v, best_w = v.index(max(v)), w.index(max(w))
    wanted = best_v if function == "MAXNDVI" or 2 * v[best_v] > w[best_w] else best_w
    assert out.PROVENANCE.item() == wanted + 1


@pytest.mark.parametrize("line", [(0.0001, -0.1), (2.75e-5, -0.2), (0.0002, -0.3)])
def test_the_geometric_median_is_that_of_reflectances(line):
    rng = np.random.default_rng(5)
    scale, offset = line
    stored = rng.integers(3000, 20000, (9, 3)).tolist()
    found = composite(ranked_scenes(stored, [line] * 3), function="GEOMED", quality=QUALITY)
    physical = [[v * scale + offset for v in row] for row in stored]
    wanted = composite(
        ranked_scenes(physical, [(1.0, 0.0)] * 3, "float64"), function="GEOMED", quality=QUALITY
    )
    for name in ("red", "nir", "swir16"):
        assert abs(found[name].item() * scale + offset - wanted[name].item()) <= 0.51 * scale
    for name in ("SMAD", "EMAD", "BCMAD"):
        assert found[name].item() == pytest.approx(wanted[name].item(), rel=1e-4)
