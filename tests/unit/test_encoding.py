"""Values of one encoding in another, against fractions of the standard library."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from odc_bdc.compositing import convert_encoding
from odc_bdc.cube import Encoding

BDC = Encoding("int16", -9999, 1e-4)
COLLECTION_2 = Encoding("uint16", 0, 2.75e-5, -0.2)
BASELINE_4 = Encoding("uint16", 0, 1e-4, -0.1)

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32")
FLOATS = ("float32", "float64")


def on_paper(value, stored, wanted):
    """Convert one number as on paper; gives what the array must hold."""
    floats = stored.dtype in FLOATS
    if not math.isfinite(value) or value == stored.nodata:
        empty = math.nan if wanted.dtype in FLOATS else 0
        return empty if wanted.nodata is None else wanted.nodata
    exact = Fraction(value)
    theirs = stored.scale or (1 if floats else None)
    ours = wanted.scale or (1 if wanted.dtype in FLOATS else None)
    if theirs and ours:
        exact = exact * Fraction(str(theirs)) + Fraction(str(stored.offset or 0))
        exact = (exact - Fraction(str(wanted.offset or 0))) / Fraction(str(ours))
    if wanted.dtype in FLOATS:
        info = np.finfo(wanted.dtype)
        found = np.dtype(wanted.dtype).type(
            min(max(exact, Fraction(float(info.min))), Fraction(float(info.max)))
        )
        return np.nextafter(found, np.inf, dtype=wanted.dtype) if found == wanted.nodata else found
    info = np.iinfo(wanted.dtype)
    whole = round(exact) if floats else math.trunc(exact)  # `round` is half to even
    whole = min(max(whole, int(info.min)), int(info.max))
    if whole == wanted.nodata:
        whole += 1 if whole < info.max else -1
    return whole


def test_the_vector_of_cube_builder():
    # Reference: cube-builder's rescaling of Landsat Collection 2.
    stored = np.array([17834, 16269, 8275, 27369, 0], "uint16")
    assert convert_encoding(stored, COLLECTION_2, BDC).tolist() == [2904, 2473, 275, 5526, -9999]


def test_the_offset_of_baseline_4_is_a_thousand_exactly():
    stored = np.arange(1, 2**15, dtype="uint16")
    assert (convert_encoding(stored, BASELINE_4, BDC) == stored.astype(int) - 1000).all()
    assert convert_encoding(np.array([0, 1, 999], "uint16"), BASELINE_4, BDC).tolist() == [
        -9999,
        -999,
        -1,
    ]


def test_reflectances_of_float32_are_the_ten_thousandths_that_they_are_nearest_to():
    numbers = np.arange(-2000, 20001)
    stored = np.append((numbers / 10000).astype("float32"), np.float32([np.nan, np.inf, -np.inf]))
    found = convert_encoding(stored, Encoding("float32"), BDC)
    assert found.tolist() == [*numbers.tolist(), -9999, -9999, -9999]


SCALES = st.sampled_from(
    [None, 1e-4, 2.75e-5, 2e-5, 0.001, 0.00341802, 0.1, 1.0, 0.000123456789012]
)
OFFSETS = st.sampled_from([None, -0.1, -0.2, 149.0, 0.05, 0.123456789])


@st.composite
def encodings(draw):
    dtype = draw(st.sampled_from(INTEGERS + FLOATS))
    scale = draw(SCALES)
    if dtype in FLOATS:
        nodata = draw(st.sampled_from([None, -9999, 0, 1.5]))
    else:
        info = np.iinfo(dtype)
        nodata = draw(st.none() | st.integers(int(info.min), int(info.max)) | st.just(0))
    return Encoding(dtype, nodata, scale, draw(OFFSETS) if scale else None)


@st.composite
def stored_values(draw, stored):
    if stored.dtype in FLOATS:
        width = 32 if stored.dtype == "float32" else 64
        halves = st.integers(-400, 400).map(lambda n: n / 2)
        ours = st.integers(-30000, 30000).map(lambda n: n / 10000)
        values = st.floats(width=width) | halves | ours
    else:
        info = np.iinfo(stored.dtype)
        values = st.integers(int(info.min), int(info.max)) | st.integers(0, 127)
    found = draw(st.lists(values, min_size=1, max_size=20))
    if stored.nodata is not None:
        found.append(stored.nodata)
    return np.array(found, stored.dtype)


@settings(max_examples=400)
@given(data=st.data(), stored=encodings(), wanted=encodings())
def test_conversion_is_that_on_paper(data, stored, wanted):
    values = data.draw(stored_values(stored))
    converted = convert_encoding(values, stored, wanted)
    assert converted.dtype == wanted.dtype
    oracle = [on_paper(v, stored, wanted) for v in values.tolist()]
    oracle = np.array(oracle, wanted.dtype)
    if stored.dtype in FLOATS and wanted.dtype in FLOATS:
        # Floating point itself: what is added may be larger than what comes out.
        added = 1000 / (wanted.scale or 1)
        close = {"rtol": 2 * np.finfo(wanted.dtype).eps, "atol": added * np.finfo("float64").eps}
        np.testing.assert_allclose(converted, oracle, **close)
    else:
        np.testing.assert_array_equal(converted, oracle)


@given(
    values=hnp.arrays("uint32", 5, elements=st.integers(0, 2**32 - 1)),
    scale=st.sampled_from([0.000123456789012, 1e-9, 123456.789]),
)
def test_numbers_of_32_bits_and_scales_of_many_digits_are_exact(values, scale):
    stored, wanted = Encoding("uint32", None, scale, -0.123456789), Encoding("int32", -1, 1e-4)
    oracle = [on_paper(v, stored, wanted) for v in values.tolist()]
    assert convert_encoding(values, stored, wanted).tolist() == oracle


def test_without_a_scale_numbers_are_kept():
    stored = np.array([[0, 5, 40000]], "uint16")
    assert convert_encoding(stored, Encoding("uint16", 0), BDC).tolist() == [[-9999, 5, 32767]]
    assert convert_encoding(stored, COLLECTION_2, Encoding("uint16", None)).tolist() == [
        [0, 5, 40000]
    ]


def test_the_same_encoding_is_not_copied():
    stored = np.array([1, 2], "int16")
    assert convert_encoding(stored, BDC, BDC) is stored


@pytest.mark.parametrize("shape", [(0,), (2, 0, 3), (2, 3, 4)])
@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
@pytest.mark.parametrize("wanted", [BDC, Encoding("float32")])
def test_any_shape(shape, dtype, wanted):
    stored = Encoding(dtype, None, 1e-4, -0.1)
    assert convert_encoding(np.ones(shape, dtype), stored, wanted).shape == shape


@pytest.mark.parametrize("said", ["NaN", math.nan, "Infinity"])
def test_nodata_that_is_no_number_is_none_of_its_own(said):
    # An index gives it as text, for JSON has no NaN.
    assert Encoding.from_odc({"dtype": "float32", "nodata": said}) == Encoding("float32")
    assert Encoding.from_odc({"dtype": "float32", "nodata": "-9999"}).nodata == -9999
