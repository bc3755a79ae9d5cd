"""Quality policies."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from odc_bdc import OdcBdcError, QualityPolicy
from odc_bdc.quality import CLEAR, NODATA, SEEN, Confidence, dilate


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


# Every code, against plain rules that are written from the producers' tables.

SCL = QualityPolicy(
    "SCL", clear=(4, 5, 6), not_clear=(2, 3, 7, 8, 9, 10, 11), saturated=(1,), nodata=0
)
FMASK4 = QualityPolicy("Fmask4", clear=(0, 1), not_clear=(2, 3, 4), nodata=255)
CMASK_V2 = QualityPolicy("CMASK", clear=(127,), not_clear=(255,), nodata=0)
CMASK_V1 = QualityPolicy("CMASK", clear=(0,), not_clear=(4,), nodata=255)
BDC_QA = {"band": "QA_PIXEL", "clear": [6, 7], "not_clear": [1, 2, 3, 4, 5], "nodata": 1}
LEVELS = {"cloud": "medium", "cloud_shadow": "medium", "snow": "high", "cirrus": "medium"}
RADSAT = {"band": "QA_RADSAT", "bits": [1, 2, 3, 4, 5, 6, 7]}
QA = QualityPolicy.from_dict({**BDC_QA, "bits": True})
QA_LEVELS = QualityPolicy.from_dict(
    {"band": "QA_PIXEL", "clear": [], "nodata": 1, "bits": True, "confidence": LEVELS}
)

# What the producers' tables call ground, and what is none; the rest have no meaning.
GROUND = {
    # ESA, Sentinel-2 Level-2A scene classification: vegetation, not vegetated, water.
    "SCL": (SCL, {4, 5, 6}, 0),
    # Fmask 4: land, water; 255 is outside of the scene.
    "Fmask4": (FMASK4, {0, 1}, 255),
    "CMASK of today": (CMASK_V2, {127}, 0),
    "CMASK of 2020": (CMASK_V1, {0}, 255),
}


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", ">u2", "int32", "uint64"])
@pytest.mark.parametrize("coding", GROUND)
def test_every_code_by_value(coding, dtype):
    policy, ground, outside = GROUND[coding]
    codes = np.arange(256).astype(dtype)
    expected = [NODATA if c == outside else CLEAR if c in ground else SEEN for c in range(256)]
    assert policy.classify(codes).tolist() == expected
    assert policy.classify(codes).dtype == np.uint8
    assert policy.is_clear(codes).tolist() == [e == CLEAR for e in expected]
    assert policy.has_data(codes).tolist() == [e != NODATA for e in expected]


def says_bdc(code, bits):
    """BDC: dilated cloud, cirrus, cloud, shadow, snow spoil; the bits of clear or water are due."""
    spoilt = "1" in bits[1:6]
    return CLEAR if not spoilt and "1" in bits[6:8] else SEEN


def says_levels(code, bits):
    """USGS LSDS-1328: pairs of bits 8-9, 10-11, 12-13, 14-15; 00 none, 01 low, 10, 11 high."""
    level = {"00": 0, "10": 1, "01": 2, "11": 3}  # the less significant bit stands first
    cloud, shadow, snow, cirrus = (level[bits[at : at + 2]] for at in (8, 10, 12, 14))
    return SEEN if cloud > 1 or shadow > 1 or snow == 3 or cirrus > 1 else CLEAR


@pytest.mark.parametrize("dtype", ["uint16", "int16", ">u2", ">i2", "uint32", "int64"])
@pytest.mark.parametrize(("policy", "says"), [(QA, says_bdc), (QA_LEVELS, says_levels)])
def test_every_code_of_qa_pixel(policy, says, dtype):
    expected = [NODATA if c == 1 else says(c, f"{c:016b}"[::-1]) for c in range(65536)]
    found = policy.classify(np.arange(65536).astype(dtype))
    assert found.tolist() == expected
    if np.dtype(dtype).itemsize == 2 and np.dtype(dtype).isnative:
        assert policy.table(dtype).tolist() == expected


def test_confidence_adds_to_the_bits():
    both = QualityPolicy.from_dict({**BDC_QA, "bits": True, "confidence": LEVELS})
    codes = np.arange(65536, dtype="uint16")
    assert (both.is_clear(codes) == (QA.is_clear(codes) & QA_LEVELS.is_clear(codes))).all()


@pytest.mark.parametrize(("level", "least"), [("low", 1), ("medium", 2), ("high", 3)])
def test_confidence_at_other_bits(level, least):
    # Landsat Collection 1 has the confidence of cloud in bits 5 and 6.
    policy = QualityPolicy.from_dict(
        {
            "band": "BQA",
            "clear": [],
            "bits": True,
            "confidence": {"cloud": {"level": level, "bits": [5, 6]}},
        }
    )
    clear = [code // 32 % 4 < least for code in range(256)]
    for dtype in ("uint8", "int8", "uint16"):
        codes = np.arange(256, dtype="uint8").view(dtype) if dtype != "uint16" else np.arange(256)
        assert policy.is_clear(codes).tolist() == clear


def test_every_code_of_radsat():
    policy = QualityPolicy.from_dict({**BDC_QA, "bits": True, "saturation": RADSAT})
    assert policy.bands == ("QA_PIXEL", "QA_RADSAT")
    assert QA.bands == ("QA_PIXEL",)
    radsat = np.arange(65536, dtype="uint16")
    for code, unspoilt in ((1 << 6, CLEAR), (1 << 3, SEEN), (1, NODATA)):
        quality = np.full(radsat.shape, code, dtype="uint16")
        # cube-builder's rule: (value >> 1) & 0x7F; 65535, nodata of the product, is no exception.
        expected = [
            SEEN if unspoilt == CLEAR and (r >> 1) & 0x7F else unspoilt for r in range(65536)
        ]
        assert policy.classify(quality, radsat).tolist() == expected
        assert policy.is_clear(quality, radsat).tolist() == [e == CLEAR for e in expected]
        assert policy.classify(quality, radsat.view("int16")).tolist() == expected
        assert (policy.has_data(quality) == (unspoilt != NODATA)).all()


def test_saturation_cannot_be_forgotten():
    policy = QualityPolicy.from_dict({**BDC_QA, "bits": True, "saturation": RADSAT})
    quality = np.zeros((2, 3), dtype="uint16")
    with pytest.raises(OdcBdcError, match="bands QA_PIXEL, QA_RADSAT, of which only the first"):
        policy.is_clear(quality)
    with pytest.raises(OdcBdcError, match=r"QA_RADSAT has shape \(3, 2\), not \(2, 3\)"):
        policy.classify(quality, quality.T)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32"])
def test_negative_codes(dtype):
    by_value = QualityPolicy("Q", clear=(-2, 5), not_clear=(-1,), nodata=-128)
    codes = np.array([-128, -2, -1, 0, 5, 127], dtype=dtype)
    assert by_value.classify(codes).tolist() == [NODATA, CLEAR, SEEN, SEEN, CLEAR, SEEN]
    assert by_value.recode(codes, CMASK_V2, "uint8").tolist() == [0, 127, 255, 255, 127, 255]
    # The sign is the highest bit; bits that the type lacks are not set.
    sign = 8 * np.dtype(dtype).itemsize - 1
    by_bit = QualityPolicy("Q", clear=(), not_clear=(sign, 40), bits=True)
    assert by_bit.is_clear(np.array([-1, 0, 1], dtype=dtype)).tolist() == [False, True, True]
    beyond = QualityPolicy("Q", clear=(), not_clear=(40,), bits=True)
    assert beyond.is_clear(np.array([-1, 0], dtype=dtype)).all()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
def test_table_is_indexed_by_the_unsigned_code(dtype):
    policy = QualityPolicy("Q", clear=(-2, 5, 254), not_clear=(-1,), nodata=0)
    table = policy.table(dtype)
    assert table is policy.table(np.dtype(dtype))
    assert not table.flags.writeable
    bits = 8 * np.dtype(dtype).itemsize
    least = np.iinfo(dtype).min
    for code in range(least, least + 2**bits):
        expected = NODATA if code == 0 else CLEAR if code in {-2, 5, 254} else SEEN
        assert table[code % 2**bits] == expected


def test_table_of_other_types_is_refused():
    with pytest.raises(OdcBdcError, match="tables for uint8, int8, uint16, int16, not for int32"):
        SCL.table("int32")


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_shapes_and_strides(dtype):
    codes = np.arange(2 * 3 * 40).reshape(2, 3, 40).astype(dtype) % 12
    for array in (codes, codes[:, ::2, ::-3], codes.transpose(2, 0, 1), codes[:0], codes[0, 0, 4]):
        found = SCL.classify(array)
        assert found.shape == array.shape
        assert found.ravel().tolist() == [SCL.classify(c).item() for c in array.ravel()]


def test_large_arrays_are_looked_up_to_the_end():
    codes = np.random.default_rng(0).integers(0, 12, 200_001).astype("uint8")
    assert (SCL.is_clear(codes) == ((codes >= 4) & (codes <= 6))).all()


# Dilation.


def dilated(classes, radius):
    """Look at every pair of pixels of one time."""
    out = classes.copy()
    for *time, y, x in np.argwhere(classes == CLEAR).tolist():
        for cy, cx in np.argwhere(classes[tuple(time)] == SEEN).tolist():
            if (y - cy) ** 2 + (x - cx) ** 2 <= radius**2:
                out[(*time, y, x)] = SEEN
    return out


SIDES = st.one_of(
    st.tuples(st.integers(0, 7), st.integers(0, 7)),
    st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)),
)
# Mostly clear, for else nothing is left to dilate.
CLASSES = arrays("uint8", SIDES, elements=st.sampled_from([CLEAR, CLEAR, CLEAR, SEEN, NODATA]))


@given(CLASSES, st.integers(0, 3))
def test_dilation_of_any_array(classes, radius):
    before = classes.copy()
    assert (dilate(classes, radius) == dilated(classes, radius)).all()
    assert (classes == before).all()


@given(arrays("uint8", (9, 11), elements=st.sampled_from([CLEAR, CLEAR, CLEAR, SEEN, NODATA])))
def test_blocks_with_a_margin_agree_with_the_whole(classes):
    policy = QualityPolicy("Q", clear=(CLEAR,), nodata=NODATA, dilation=2)
    n = policy.margin
    whole = dilate(classes, n)
    part = dilate(classes[3 - n : 6 + n, 4 - n : 8 + n], n)
    assert (part[n : n + 3, n : n + 4] == whole[3:6, 4:8]).all()


@pytest.mark.parametrize(
    ("radius", "disk"),
    [
        (1, [".X.", "XXX", ".X."]),
        (2, ["..X..", ".XXX.", "XXXXX", ".XXX.", "..X.."]),
        (3, ["...X...", ".XXXXX.", ".XXXXX.", "XXXXXXX", ".XXXXX.", ".XXXXX.", "...X..."]),
    ],
)
def test_the_structuring_element_is_a_disk(radius, disk):
    # As skimage.morphology.disk draws them.
    classes = np.full((2 * radius + 1,) * 2, CLEAR, dtype="uint8")
    classes[radius, radius] = SEEN
    found = ["".join("X" if c == SEEN else "." for c in row) for row in dilate(classes, radius)]
    assert found == disk


def test_bad_dilation_is_named():
    with pytest.raises(OdcBdcError, match=r"dilation of 1 dimensions by 2 pixels: give \(y, x\)"):
        dilate(np.zeros(3, dtype="uint8"), 2)
    with pytest.raises(OdcBdcError, match="by -1 pixels"):
        dilate(np.zeros((3, 3), dtype="uint8"), -1)


# The YAML form.

MORE = [
    {"confidence": LEVELS},
    {"confidence": {"cloud": {"level": "high", "bits": [5, 6]}, "snow": "low"}},
    {"saturation": RADSAT},
    {"dilation": 3},
    {"confidence": LEVELS, "saturation": RADSAT, "dilation": 1},
]


@pytest.mark.parametrize("more", MORE)
def test_round_trip_of_every_key(more):
    doc = {**BDC_QA, "saturated": [], "bits": True, **more}
    policy = QualityPolicy.from_dict(doc)
    assert policy.to_dict() == doc
    again = QualityPolicy.from_dict(policy.to_dict())
    assert again == policy
    assert hash(again) == hash(policy)
    assert pickle.loads(pickle.dumps(policy)) == policy  # noqa: S301 (made here)


def test_keys_that_say_nothing_are_not_written():
    # The recipe of a cube that is built already must stay the same.
    assert list(QA.to_dict()) == ["band", "clear", "not_clear", "saturated", "nodata", "bits"]


def test_the_order_of_conditions_means_nothing():
    backwards = dict(reversed(LEVELS.items()))
    doc = {**BDC_QA, "bits": True}
    one, other = (QualityPolicy.from_dict({**doc, "confidence": c}) for c in (LEVELS, backwards))
    assert one == other
    written_out = {"cloud": {"level": "medium", "bits": [8, 9]}}
    assert QualityPolicy.from_dict({**doc, "confidence": written_out}) == (
        QualityPolicy.from_dict({**doc, "confidence": {"cloud": "medium"}})
    )


@pytest.mark.parametrize("more", MORE)
def test_same_codes_compares_all_of_the_meaning(more):
    doc = {**BDC_QA, "bits": True, **more}
    policy = QualityPolicy.from_dict(doc)
    assert not policy.same_codes(QA)
    assert not QA.same_codes(policy)
    renamed = policy.rename({"QA_PIXEL": "qa", "QA_RADSAT": "QA_PIXEL"})
    assert renamed.bands == ("qa", "QA_PIXEL")[: len(policy.bands)]
    assert policy.same_codes(renamed)
    assert renamed.same_codes(policy)
    assert not policy.same_codes(QualityPolicy.from_dict({**doc, "dilation": 9}))
    other = {**RADSAT, "bits": [1]}
    assert not policy.same_codes(QualityPolicy.from_dict({**doc, "saturation": other}))


def test_classes_are_written_in_the_codes_of_another():
    classes = np.array([[CLEAR, SEEN, NODATA]], dtype="uint8")
    assert SCL.encode(classes, "uint8").tolist() == [[4, 2, 0]]
    assert FMASK4.encode(dilate(classes, 1), "uint8").tolist() == [[2, 2, 255]]
    with pytest.raises(OdcBdcError, match="codes of QA_PIXEL cannot be written"):
        QA.encode(classes, "uint16")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"dilatoin": 1}, "unknown key dilatoin, do you mean dilation.; keys: band"),
        ({"bits": False, "confidence": LEVELS}, "`confidence` .* needs `bits: true`"),
        ({"confidence": "medium"}, "'medium' is not a mapping of cloud, cloud_shadow, snow, cirr"),
        (
            {"confidence": {"clowd": "high"}},
            "confidence: 'clowd' is no condition, do you mean cloud.; known: cloud, cloud_shadow",
        ),
        (
            {"confidence": {"snow": "hihg"}},
            "confidence.snow: 'hihg' is not a level, do you mean high.; allowed: low, medium, high",
        ),
        ({"confidence": {"snow": "none"}}, "confidence.snow: 'none' is not a level"),
        ({"confidence": {"snow": 2}}, "confidence.snow: 2 is not a level; allowed: low, medium"),
        ({"confidence": {"snow": {"bits": [1, 2]}}}, "confidence.snow: .* must have `level`"),
        (
            {"confidence": {"snow": {"level": "low", "bits": [9, 8]}}},
            r"confidence.snow.bits: \[9, 8\] are not two neighbours",
        ),
        (
            {"confidence": {"snow": {"level": "low", "bits": [63, 64]}}},
            r"confidence.snow.bits: \[63, 64\] are not two neighbours, .* from 0 to 63",
        ),
        ({"saturation": "QA_RADSAT"}, "saturation: 'QA_RADSAT' is not a mapping with `band` and"),
        ({"saturation": {"band": "QA_RADSAT"}}, "saturation: .* is not a mapping with `band`"),
        ({"saturation": {"band": 1, "bits": [1]}}, "saturation.band: 1 is not the name of a band"),
        ({"saturation": {"band": "QA_PIXEL", "bits": [1]}}, "'QA_PIXEL' is the quality band its"),
        ({"saturation": {"band": "R", "bits": []}}, r"saturation.bits: \[\] must be one or more"),
        ({"saturation": {"band": "R", "bits": [64]}}, r"saturation.bits: \[64\] must be"),
        ({"saturation": {"band": "R", "bits": 1}}, "`saturation.bits` must be a list of whole"),
        ({"dilation": -1}, "dilation: -1 is not a whole number of pixels, 0 or more"),
        ({"dilation": 1.0}, "dilation: 1.0 is not a whole number"),
        ({"dilation": True}, "dilation: True is not a whole number"),
    ],
)
def test_bad_parts_are_named(more, message):
    with pytest.raises(OdcBdcError, match=f"^quality: .*{message}"):
        QualityPolicy.from_dict({**BDC_QA, "bits": True, **more})


def test_a_condition_stands_once():
    twice = (Confidence("snow", "low"), Confidence("snow", "high"))
    with pytest.raises(OdcBdcError, match="a condition stands twice: snow, snow"):
        QualityPolicy("Q", clear=(), bits=True, confidence=twice)
