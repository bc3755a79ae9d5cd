"""The picture of an image: which bands, how bright, where transparent."""

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from odc_bdc import find_cube
from odc_bdc.building.quicklook import quicklook, write_png
from odc_bdc.cube import Measurement
from odc_bdc.function import composite_function

CUBE = find_cube("CB4_64_16D_STK_v1")  # blue, green, red, nir: BAND13 to BAND16


def slow_stretch(stack, valid):
    """Give each pixel as a loop has it, from the percentiles of all valid ones of three bands."""
    values = sorted(int(v) for band in stack for v in band[valid])

    def percentile(q):
        at = (len(values) - 1) * q
        low = int(at)
        high = min(low + 1, len(values) - 1)
        return values[low] + (values[high] - values[low]) * (at - low)

    low, high = percentile(0.02), percentile(0.98)
    out = np.zeros(stack.shape)
    for i, value in np.ndenumerate(stack):
        out[i] = 0.5 if low == high else min(max((int(value) - low) / (high - low), 0), 1)
    return out * 255


@given(arrays("int16", (3, 7, 5), elements=st.sampled_from([-9999, 0, 1, 300, 3000, 10000, 32767])))
def test_true_colour_is_stretched_and_transparent_where_there_is_no_data(stack):
    blue, green, red = stack
    preview = {"BAND13": blue, "BAND14": green, "BAND15": red, "BAND16": np.zeros_like(red)}
    picture = quicklook(CUBE, preview)
    assert (picture.shape, picture.dtype) == ((4, 7, 5), np.uint8)
    valid = (stack != -9999).all(axis=0)
    np.testing.assert_array_equal(picture[3], np.where(valid, 255, 0))
    assert not picture[:3, ~valid].any()
    if valid.any():
        wanted = slow_stretch(np.stack([red, green, blue]), valid)
        assert np.abs(picture[:3].astype(float) - wanted)[:, valid].max() <= 0.5 + 1e-9


def ramp(top):
    return np.linspace(0, top, 64).astype("int16").reshape(8, 8)


def test_false_colour_where_a_colour_is_missing():
    swir = Measurement("SWIR", "int16", nodata=-9999, common_name="swir16")
    bands = {m.name: m for m in CUBE.measurements}
    # Each band has its own stretch: those of infrared are brighter.
    one, other = ramp(100), 7 * ramp(100)[::-1]
    infrared = CUBE.patch(measurements=(bands["BAND15"], bands["BAND16"], swir, bands["CMASK"]))
    picture = quicklook(infrared, {"BAND15": one, "BAND16": other, "SWIR": one.T})
    np.testing.assert_array_equal(picture[0], picture[2].T)
    np.testing.assert_array_equal(picture[1], picture[2][::-1])
    without_blue = CUBE.patch(measurements=CUBE.measurements[1:])
    picture = quicklook(without_blue, {"BAND14": one, "BAND15": one.T, "BAND16": other})
    np.testing.assert_array_equal(picture[0], picture[2][::-1])
    np.testing.assert_array_equal(picture[1], picture[2].T)


def test_one_band_has_a_ramp_that_rises():
    index = ramp(10000)
    index[0, 0] = -9999
    picture = quicklook(CUBE, {"NDVI": index, "BAND16": ramp(1)}).astype(int)
    assert picture[3].tolist() == np.where(index == -9999, 0, 255).tolist()
    luminance = (0.2126 * picture[0] + 0.7152 * picture[1] + 0.0722 * picture[2]).ravel()[1:]
    assert (np.diff(luminance) >= 0).all()
    assert luminance[-1] - luminance[0] > 150
    assert quicklook(CUBE, {}) is None


def test_percentiles_and_floats_have_pictures_too():
    cube = CUBE.patch(function=composite_function("P25,P50,P75"))
    names = [m.name for m in cube.outputs]
    preview = {name: ramp(100) for name in names if name.startswith("BAND")}
    preview["BAND15_P50"] = ramp(100)[::-1]
    picture = quicklook(cube, preview)
    np.testing.assert_array_equal(picture[0], picture[1][::-1])
    spread = CUBE.patch(function=composite_function("STD"))
    name = next(m.name for m in spread.outputs)
    pixels = ramp(100).astype("float32")
    pixels[0, :3] = np.nan, np.inf, -np.inf
    assert quicklook(spread, {name: pixels})[3, 0, :4].tolist() == [0, 0, 0, 255]


@pytest.mark.parametrize("value", [-9999, 0, 500])
def test_one_value_everywhere(value):
    preview = {f"BAND{n}": np.full((4, 4), value, "int16") for n in (13, 14, 15)}
    picture = quicklook(CUBE, preview)
    assert (picture[3] == (0 if value == -9999 else 255)).all()
    assert set(np.unique(picture[:3])) == ({0} if value == -9999 else {128})


def test_png_holds_the_picture_and_nothing_else(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (4, 30, 20)).astype("uint8")
    for name in ("a.png", "b.png"):
        write_png(tmp_path / name, picture)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert {p.name for p in tmp_path.iterdir()} == {"a.png", "b.png"}
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        rasterio.open(tmp_path / "a.png") as src,
    ):
        np.testing.assert_array_equal(src.read(), picture)
