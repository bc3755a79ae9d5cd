"""Quality policies."""

import numpy as np
import pytest

from odc_bdc import OdcBdcError, QualityPolicy


def test_values():
    scl = QualityPolicy("SCL", clear=(4, 5, 6), not_clear=(3, 8, 9), saturated=(1,), nodata=0)
    codes = np.arange(12, dtype="uint8")
    assert np.flatnonzero(scl.is_clear(codes)).tolist() == [4, 5, 6]
    assert np.flatnonzero(scl.has_data(codes)).tolist() == list(range(1, 12))


def test_bits_with_a_clear_bit():
    qa = QualityPolicy("QA_PIXEL", clear=(6, 7), not_clear=(1, 2, 3, 4, 5), nodata=1, bits=True)
    # Clear; water; cloud though the clear bit is set; neither; fill.
    codes = np.array([1 << 6, 1 << 7, (1 << 3) | (1 << 6), 0, 1], dtype="uint16")
    assert qa.is_clear(codes).tolist() == [True, True, False, False, False]


def test_bits_without_a_clear_bit():
    bqa = QualityPolicy("BQA", clear=(), not_clear=(4,), nodata=1, bits=True)
    assert bqa.is_clear(np.array([2720, 2800, 1], dtype="uint16")).tolist() == [True, False, False]


def test_without_nodata_everything_has_data():
    policy = QualityPolicy("Q", clear=(0,))
    assert policy.has_data(np.array([0, 255])).all()


def test_round_trip():
    policy = QualityPolicy("Q", clear=(6, 7), not_clear=(1,), nodata=1, bits=True)
    # nodata is a value, and may equal a bit number
    assert QualityPolicy.from_dict(policy.to_dict()) == policy


@pytest.mark.parametrize(
    ("doc", "message"),
    [
        ({"band": "Q"}, "`clear` needs at least one value"),
        ({"clear": [1]}, "lacks `band`"),
        ({"band": "Q", "clear": [1], "cloudy": [2]}, "unknown key cloudy"),
        ({"band": "Q", "clear": [1], "not_clear": [1]}, r"\[1\] stand in more than one list"),
        ({"band": "Q", "clear": [1], "nodata": 1}, r"\[1\] stand in more than one list"),
        ({"band": "Q", "clear": ["a"]}, "must be a list of whole numbers"),
        ({"band": "Q", "clear": "12"}, "must be a list of whole numbers"),
        ({"band": "Q", "clear": [64], "bits": True}, "bit numbers run from 0 to 63"),
    ],
)
def test_bad_policy_is_named(doc, message):
    with pytest.raises(OdcBdcError, match=message):
        QualityPolicy.from_dict(doc)
