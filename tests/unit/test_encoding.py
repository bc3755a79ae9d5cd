"""Values of one encoding in another, against decimal arithmetic of the standard library."""

from decimal import ROUND_DOWN, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odc_bdc.compositing import convert_encoding
from odc_bdc.cube import Encoding

BDC = Encoding("int16", -9999, 1e-4)
COLLECTION_2 = Encoding("uint16", 0, 2.75e-5, -0.2)
BASELINE_4 = Encoding("uint16", 0, 1e-4, -0.1)


def by_decimals(value, stored, wanted):
    """Convert one number as on paper."""
    physical = value * Decimal(str(stored.scale)) + Decimal(str(stored.offset or 0))
    exact = (physical - Decimal(str(wanted.offset or 0))) / Decimal(str(wanted.scale))
    info = np.iinfo(wanted.dtype)
    return min(max(int(exact.to_integral_value(ROUND_DOWN)), info.min), info.max)


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


SCALES = st.sampled_from([1e-4, 2.75e-5, 2e-5, 0.001, 0.00341802, 0.1, 1.0])
OFFSETS = st.sampled_from([None, -0.1, -0.2, 0.0, 149.0, 0.05])
DTYPES = st.sampled_from(["uint8", "int8", "uint16", "int16", "int32"])


@given(
    values=st.lists(st.integers(0, 127), min_size=1) | st.lists(st.integers(0, 65535), min_size=1),
    scales=st.tuples(SCALES, SCALES),
    offsets=st.tuples(OFFSETS, OFFSETS),
    dtype=DTYPES,
)
def test_conversion_is_that_of_decimal_numbers(values, scales, offsets, dtype):
    stored = Encoding("uint16", 7, scales[0], offsets[0])
    wanted = Encoding(dtype, 99, scales[1], offsets[1])
    converted = convert_encoding(np.array(values, "uint16"), stored, wanted)
    assert converted.dtype == dtype
    oracle = [99 if v == 7 else by_decimals(v, stored, wanted) for v in values]
    assert converted.tolist() == oracle


def test_without_a_scale_numbers_are_kept():
    stored = np.array([[0, 5, 40000]], "uint16")
    assert convert_encoding(stored, Encoding("uint16", 0), BDC).tolist() == [[-9999, 5, 32767]]
    assert convert_encoding(stored, COLLECTION_2, Encoding("uint16", None)).tolist() == [
        [0, 5, 40000]
    ]


def test_the_same_encoding_is_not_copied():
    stored = np.array([1, 2], "int16")
    assert convert_encoding(stored, BDC, BDC) is stored


def test_a_scale_of_many_digits():
    stored = Encoding("uint16", None, 0.000123456789012, 0.0)
    out = convert_encoding(np.array([1, 50000], "uint16"), stored, BDC)
    assert out.tolist() == [1, 32767 if 50000 * 1.23456789012 > 32767 else 0]


@pytest.mark.parametrize("shape", [(0,), (2, 0, 3), (2, 3, 4)])
def test_any_shape(shape):
    assert convert_encoding(np.ones(shape, "uint16"), BASELINE_4, BDC).shape == shape
