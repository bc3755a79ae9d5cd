"""PNG of the services: the pixels come back as they were."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from odc_bdc.ows.formats import JPEG, WEBP, converted
from odc_bdc.ows.images import COLOURS, dataset_to_png, frame, to_png


def decoded(png: bytes) -> tuple[str, np.ndarray]:
    image = Image.open(BytesIO(png))
    image.verify()
    image = Image.open(BytesIO(png))
    return image.mode, np.asarray(image.convert("RGBA"))


shapes = st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(4))


@given(arrays(np.uint8, shapes))
def test_any_pixels_come_back(pixels):
    assert np.array_equal(decoded(to_png(pixels))[1], pixels)


@given(arrays(np.uint8, shapes, elements=st.sampled_from([0, 1, 255])))
def test_few_colours_come_back_from_a_palette(pixels):
    mode, found = decoded(to_png(pixels))
    assert mode == "P"
    assert np.array_equal(found, pixels)


@pytest.mark.parametrize("colours", [1, 2, COLOURS - 1, COLOURS, COLOURS + 1, 5000])
@pytest.mark.parametrize("opaque", [True, False])
def test_the_mode_follows_from_the_number_of_colours(colours, opaque):
    rng = np.random.default_rng(colours)
    numbers = np.concatenate([np.arange(colours), rng.integers(0, colours, 9000 - colours)])
    flat = numbers.astype(np.uint32).view(np.uint8).reshape(90, 100, 4).copy()
    if opaque:
        flat[..., 3] = 255
    else:
        flat[0, 0, 3] = 7
    mode, found = decoded(to_png(flat))
    expected = "RGB" if opaque else "RGBA"
    assert mode == ("P" if len(np.unique(flat.reshape(-1, 4), axis=0)) <= COLOURS else expected)
    assert np.array_equal(found, flat)


@pytest.mark.parametrize("dims", [("y", "x"), ("x", "y"), ("latitude", "longitude")])
def test_the_image_lies_as_its_coordinates_say(dims):
    rng = np.random.default_rng(1)
    sizes = {"y": 5, "x": 7, "latitude": 5, "longitude": 7}
    shape = tuple(sizes[d] for d in dims)
    coords = {d: np.arange(sizes[d]) for d in dims}
    bands = {
        name: (("time", *dims), rng.integers(0, 255, (1, *shape), np.uint8))
        for name in ("red", "green", "blue")
    }
    data = xr.Dataset(bands, {**coords, "time": [0]})
    pixels = frame(data)
    assert pixels.shape == (5, 7, 4)
    assert (pixels[..., 3] == 255).all()
    vertical, horizontal = sorted(dims, key=lambda d: d in {"x", "longitude"})
    red = data.red.isel(time=0)
    for y in range(5):
        for x in range(7):
            assert pixels[y, x, 0] == int(red.isel({vertical: y, horizontal: x}))


def test_several_dates_are_frames_of_an_animation():
    values = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    bands = dict.fromkeys(("red", "green", "blue"), (("time", "y", "x"), values))
    data = xr.Dataset(bands, {"time": [1, 2, 3], "y": range(4), "x": range(5)})
    image = Image.open(
        BytesIO(dataset_to_png(data, loop_over="time", animate=True, frame_duration=500))
    )
    assert image.n_frames == 4  # the first is also the picture for those without animation
    for number, date in enumerate((0, 0, 1, 2)):
        image.seek(number)
        assert np.array_equal(np.asarray(image.convert("RGBA"))[..., 0], values[date])


@pytest.mark.parametrize("mime", [JPEG, WEBP])
def test_another_format_shows_the_same_picture(mime):
    y, x = np.mgrid[0:64, 0:96]
    pixels = np.stack([x * 2, y * 3, x + y, np.full_like(x, 255)], -1).astype(np.uint8)
    image = Image.open(BytesIO(converted(to_png(pixels), mime)))
    assert image.get_format_mimetype() == mime
    assert np.abs(np.asarray(image.convert("RGBA")).astype(int) - pixels).mean() < 4


def test_an_animation_stays_one_as_webp_and_jpeg_shows_its_first_date():
    values = (np.arange(3)[:, None, None] * 100 + np.zeros((1, 8, 8))).astype(np.uint8)
    bands = dict.fromkeys(("red", "green", "blue"), (("time", "y", "x"), values))
    data = xr.Dataset(bands, {"time": [1, 2, 3], "y": range(8), "x": range(8)})
    png = dataset_to_png(data, loop_over="time", animate=True, frame_duration=400)
    moving = Image.open(BytesIO(converted(png, WEBP)))
    assert moving.n_frames == 3
    for number in range(3):
        moving.seek(number)
        assert abs(int(np.asarray(moving.convert("RGB"))[4, 4, 0]) - 100 * number) < 8
        assert moving.info["duration"] == 400
    still = Image.open(BytesIO(converted(png, JPEG)))
    assert np.asarray(still).max() < 8
