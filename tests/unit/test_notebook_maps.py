"""Pictures, maps and animations of arrays in notebooks."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from io import BytesIO

import imageio_ffmpeg
import ipyleaflet as ipl
import numpy as np
import pandas as pd
import pyproj
import pytest
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from PIL import Image

from odc_bdc import notebook as nb
from odc_bdc.errors import InvalidValueError, MissingDependencyError, UnknownNameError
from odc_bdc.grid import BDC_CRS, BDC_PROJ
from odc_bdc.ows.ramps import VEGETATION

STK = "CB4_64_16D_STK_v1"
# 77 x 51 pixels of 64 m in the west of Bahia.
GEOBOX = GeoBox.from_bbox(
    (5993600, 10000000, 5993600 + 77 * 64, 10000000 + 51 * 64), BDC_CRS, resolution=64
)
STARTS = ["2019-12-19", "2020-01-01", "2020-01-17"]
NAMES = {"blue": "BAND13", "green": "BAND14", "red": "BAND15", "nir": "BAND16"}


def made(geobox=GEOBOX, times=("2019-12-25T12:00", "2020-01-08T12:00", "2020-01-24T12:00")):
    """Make images as `nb.load` gives them: at the middles of periods, a corner without data."""
    y, x = geobox.dimensions
    rows, columns = np.mgrid[: geobox.shape.y, : geobox.shape.x]
    bands = {}
    for number, name in enumerate(NAMES.values()):
        waves = [np.sin(t + number + rows / 9 + columns / 13) for t in range(len(times))]
        values = (1300 + 900 * np.array(waves)).astype("int16")
        values[:, :10, :20] = -9999
        attrs = {"nodata": -9999, "units": "1", "scale_factor": 1e-4, "grid_mapping": "spatial_ref"}
        bands[name] = (("time", y, x), values, attrs)
    coords = {"time": pd.DatetimeIndex(times), **xr_coords(geobox)}
    return xr.Dataset(bands, coords=coords, attrs={"product": STK})


@pytest.fixture
def ds():
    return made()


def png(url):
    return np.asarray(Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA"))


# Drawing


def test_reflectances_with_gaps_are_drawn_as_the_numbers_they_were_stored_as(ds):
    stored = nb.draw(ds).values.astype(int)
    # xarray keeps the attribute scale_factor here: the numbers tell that they are scaled already.
    for reflectance in (ds.where(ds != -9999) * 1e-4, ds.bdc.to_reflectance()):
        drawn = nb.draw(reflectance).values.astype(int)
        assert np.array_equal(drawn[..., 3], stored[..., 3])
        assert np.abs(drawn - stored)[stored[..., 3] == 255].max() <= 1
    gaps = nb.draw(ds.where(ds != -9999)).values.astype(int)
    assert np.array_equal(gaps[..., 3], stored[..., 3])
    assert np.abs(gaps - stored).max() <= 1


def test_an_index_that_was_computed_is_drawn_in_its_ramp(ds):
    red, nir = (ds[NAMES[b]].where(ds[NAMES[b]] != -9999) for b in ("red", "nir"))
    index = ((nir - red) / (nir + red)).rename("NDVI")
    drawn = nb.draw(index.to_dataset(), "ndvi").values
    assert np.array_equal(drawn[..., 3] == 255, np.isfinite(index))
    values = [value for value, _ in VEGETATION]
    for channel in range(3):
        levels = [int(colour[1 + 2 * channel : 3 + 2 * channel], 16) for _, colour in VEGETATION]
        expected = np.interp(index.values, values, levels)
        seen = np.isfinite(index.values)
        assert np.abs(drawn[..., channel] - expected)[seen].max() <= 1.5


def test_what_is_drawn_keeps_its_place_and_times(ds):
    drawn = nb.draw(ds.isel(time=[2, 0, 1]), time=("2019-12", "2020-01-05"))
    assert drawn.dims == ("time", "y", "x", "band")
    assert [str(t)[:10] for t in drawn.time.values] == ["2019-12-25", "2020-01-08"]
    assert drawn.odc.geobox == GEOBOX
    assert list(drawn.band.values) == ["red", "green", "blue", "alpha"]
    assert nb.draw(ds.chunk({"time": 1, "y": 20})).equals(nb.draw(ds))


def test_bands_of_several_products_get_the_usual_ranges_and_a_warning(ds):
    plain = ds.rename({own: name for name, own in NAMES.items()}).drop_attrs(deep=False)
    for band in plain.data_vars.values():
        del band.attrs["units"]
    with pytest.warns(UserWarning, match="product=... draws as the map server does"):
        usual = nb.draw(plain)
    assert not np.array_equal(usual, nb.draw(ds))
    assert np.array_equal(nb.draw(plain, product=STK), nb.draw(ds))


@pytest.mark.parametrize(
    ("change", "how", "error", "told"),
    [
        (lambda ds: ds, {"style": "true_color"}, UnknownNameError, "do you mean true_colour?"),
        (lambda ds: ds, {"style": "clearob"}, UnknownNameError, "styles: true_colour"),
        (lambda ds: ds, {"product": "CB4_64_16D_STK_v2"}, UnknownNameError, f"do you mean {STK}?"),
        (lambda ds: ds, {"product": 7}, InvalidValueError, "7 is no product"),
        (lambda ds: ds, {"time": "2018"}, InvalidValueError, "from 2019-12-19 to 2020-02-01"),
        (lambda ds: ds, {"time": "soon"}, InvalidValueError, "'soon' is no time"),
        (lambda ds: ds, {"time": ("2019", "2020", "2021")}, InvalidValueError, "or a pair"),
        (lambda ds: ds.isel(time=0), {"time": "2019"}, InvalidValueError, "no dimension time"),
        (lambda ds: ds[[]], {}, InvalidValueError, "has no bands"),
        (lambda ds: ds.isel(x=0), {}, InvalidValueError, "no pixels in a plane"),
    ],
)
def test_what_cannot_be_drawn_is_told(ds, change, how, error, told):
    with pytest.raises(error) as raised:
        nb.draw(change(ds), **how)
    assert told in str(raised.value)


# Maps


def test_moving_the_slider_changes_the_image(ds):
    shown = nb.show(ds.isel(time=[1, 2, 0]), "ndvi", opacity=0.4)
    (layer,), (slider,) = shown.layers, shown.times
    assert [label for label, _ in slider.options] == STARTS
    drawn = [None] * 3
    for number in (2, 0, 1):
        slider.value = number
        drawn[number] = png(layer.url)
        assert drawn[number].std() > 1
    assert not any(np.array_equal(drawn[i], drawn[i - 1]) for i in range(3))
    assert layer.opacity == 0.4
    shown.opacity.value = 0.9
    assert layer.opacity == 0.9
    assert bytes(shown.legends[0].value).startswith(b"\x89PNG")
    assert shown.notes == []


def test_a_map_asks_no_host(ds):
    shown = nb.show(ds, swipe="2019-12-20")
    assert [type(layer) for layer in shown.map.layers] == [ipl.GeoJSON]
    assert all(layer.url.startswith("data:image/png;base64,") for layer in shown.layers)
    mine = ipl.TileLayer(url="http://localhost/{z}/{x}/{y}")
    assert nb.show(ds, basemap=mine).map.layers[0] is mine


def test_two_dates_two_styles_or_two_datasets_are_swiped(ds):
    for how, starts, names in (
        ({"swipe": "2019-12-31"}, (2, 0), ("true_colour", "true_colour")),
        ({"swipe": True}, (0, 2), ("true_colour", "true_colour")),
        ({"swipe": ds.isel(time=[0])}, (2, 0), ("true_colour", "true_colour")),
        ({"style": ("true_colour", "ndvi")}, (2, 2), ("true_colour", "ndvi")),
    ):
        shown = nb.show(ds, **how)
        left, right = shown.layers
        (split,) = [c for c in shown.map.controls if isinstance(c, ipl.SplitMapControl)]
        assert (split.left_layer, split.right_layer) == (left, right)
        # Images are clipped by their panes, so each has one of its own.
        assert {left.pane, right.pane} <= shown.map.panes.keys()
        assert left.pane != right.pane
        assert tuple(slider.value for slider in shown.times) == starts
        for layer, start, name in zip((left, right), starts, names, strict=True):
            with_style = nb.show(ds.isel(time=[start]), name)
            assert np.array_equal(png(layer.url), png(with_style.layers[0].url))
        assert len(shown.legends) == len(set(names))


def test_images_lie_where_their_pixels_are(ds):
    shown = nb.show(ds)
    (south, west), (north, east) = shown.layers[0].bounds
    to_degrees = pyproj.Transformer.from_crs(BDC_PROJ, "EPSG:4326", always_xy=True)
    edges = np.linspace(0, 1, 50)
    left, bottom, right, top = GEOBOX.boundingbox.bbox
    lon, lat = to_degrees.transform(
        np.concatenate([left + edges * (right - left)] * 2 + [[left] * 50, [right] * 50]),
        np.concatenate([[bottom] * 50, [top] * 50] + [bottom + edges * (top - bottom)] * 2),
    )
    # Of a pixel of 64 m, 0.0006 degrees, none is missing, and less than two are added.
    assert 0 <= lon.min() - west < 0.0012
    assert 0 <= east - lon.max() < 0.0012
    assert 0 <= lat.min() - south < 0.0012
    assert 0 <= north - lat.max() < 0.0012
    middle = shown.map.center
    assert south < middle[0] < north
    assert west < middle[1] < east


def test_large_images_are_shown_coarser_and_say_so(ds):
    shown = nb.show(ds, most_pixels=1000, language="pt")
    height, width = png(shown.layers[0].url).shape[:2]
    assert 800 < height * width <= 1000
    side = 64 * (77 * 51 / 1000) ** 0.5
    (note,) = shown.notes
    told = float(note.split(" a ")[1].split(" m")[0])
    assert told == pytest.approx(side, rel=0.15)
    assert note.startswith("Mostrado a ")
    assert note.endswith("mais grosseiro que os dados (64 m)")
    assert shown.times[0].description == "Data"


def test_a_band_without_nodata_ends_at_its_edge(ds):
    values = np.full(GEOBOX.shape, 3, "uint8")
    codes = ds.isel(time=0)[[]].assign(
        CLEAROB=(("y", "x"), values, {"grid_mapping": "spatial_ref"})
    )
    image = png(nb.show(codes, "clearob").layers[0].url)
    assert (image[..., 3] == 255).mean() > 0.8
    assert image[0, 0, 3] == 0  # the grid is askew in EPSG:3857


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda ds: ds.drop_vars("spatial_ref").drop_attrs(), "has no CRS"),
        (lambda ds: ds.BAND15, "a DataArray has no bands by name"),
        (lambda ds: ds.isel(y=0), "no pixels in a plane"),
    ],
)
def test_what_has_no_place_is_told(ds, change, told):
    with pytest.raises(InvalidValueError, match=told):
        nb.show(change(ds), "ndvi")


# Animations


def frames(path):
    with Image.open(path) as image:
        for number in range(image.n_frames):
            image.seek(number)
            image.load()
            yield image.convert("RGBA"), image.info["duration"]


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_an_animation_has_a_frame_for_each_date_in_order(ds, tmp_path, suffix):
    path = tmp_path / "deep" / f"season{suffix}"
    animation = nb.animate(ds.isel(time=[2, 0, 1]), path, "ndvi", delay=0.4, scale_bar=False)
    read = list(frames(path))
    assert [duration for _, duration in read] == [400] * 3
    assert animation.times == tuple(STARTS)
    assert {image.size for image, _ in read} == {animation.size}
    shown = nb.show(ds, "ndvi")
    for number, (image, _) in enumerate(read):
        shown.times[0].value = number
        got, drawn = np.asarray(image).astype(int), png(shown.layers[0].url)
        assert got.shape == drawn.shape
        below = slice(30, None)  # the date is written above
        assert np.array_equal(got[below, :, 3], drawn[below, :, 3])
        differences = np.abs(got - drawn)[below][drawn[below, :, 3] == 255]
        assert differences.max() <= (0 if suffix == ".webp" else 40)
        assert differences.mean() < 4
        assert (got[:25, :90] != drawn[:25, :90]).any()
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_video_has_even_sizes_and_the_time_of_its_frames(ds, tmp_path):
    animation = nb.animate(ds, tmp_path / "season.mp4", delay=0.5)
    assert imageio_ffmpeg.count_frames_and_secs(str(animation.path)) == (3, 1.5)
    program = imageio_ffmpeg.get_ffmpeg_exe()
    decode = [program, "-i", str(animation.path), "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]
    read = subprocess.run(decode, capture_output=True, check=True)
    assert b"Video: h264" in read.stderr
    width, height = animation.size
    assert width % 2 == height % 2 == 0
    first = np.frombuffer(read.stdout, np.uint8).reshape(3, height, width, 3)[0]
    assert (first[1, -3:] > 230).all()  # what has no data is white
    assert [p.name for p in tmp_path.iterdir()] == ["season.mp4"]
    west, south, east, north = animation.bounds
    (s, w), (n, e) = nb.show(ds).layers[0].bounds
    # At most a row and a column more, for the even sizes.
    assert (west, north) == pytest.approx((w, n), abs=1e-9)
    assert 0 <= east - e < 0.0012
    assert 0 <= s - south < 0.0012


def test_the_scale_bar_is_as_long_as_it_says(ds, tmp_path):
    made = {
        bar: nb.animate(ds, tmp_path / f"{bar}.webp", scale_bar=bar, dates=False)
        for bar in (True, False)
    }
    with_bar, without = (next(iter(frames(made[bar].path)))[0] for bar in (True, False))
    changed = np.asarray(with_bar) != np.asarray(without)
    row = np.asarray(with_bar)[with_bar.height - 10]
    white = np.flatnonzero((row[:, :3] == 255).all(axis=-1) & changed[with_bar.height - 10].any(-1))
    pixels = white.max() - white.min() + 1
    # 77 pixels of 64 m are about 5 km, of which a third is 1.6.
    west, south, east, north = made[True].bounds
    geod = pyproj.Geod(ellps="sphere")
    _, _, across = geod.inv(west, (south + north) / 2, east, (south + north) / 2)
    assert pixels * across / with_bar.width == pytest.approx(1000, rel=0.06)


def test_frames_that_are_alike_keep_their_time(ds, tmp_path):
    alike = xr.concat([ds.isel(time=[0]).assign_coords(time=[t]) for t in ds.time.values], "time")
    path = nb.animate(alike, tmp_path / "a.gif", dates=False, delay=0.5).path
    assert sum(duration for _, duration in frames(path)) == 1500


@pytest.mark.parametrize(
    ("suffix", "kind"), [(".mp4", ipl.VideoOverlay), (".webp", ipl.ImageOverlay)]
)
def test_an_animation_lies_on_a_map(ds, tmp_path, suffix, kind):
    animation = nb.animate(ds, tmp_path / f"a{suffix}")
    shown = nb.show(ds.isel(time=0))
    layer = nb.overlay(shown, animation, opacity=0.7)
    assert type(layer) is kind
    assert layer in shown.map.layers
    (south, west), (north, east) = layer.bounds
    assert (west, south, east, north) == animation.bounds
    assert layer.opacity == 0.7
    head, _, body = layer.url.partition(",")
    assert head == f"data:{'video/mp4' if suffix == '.mp4' else 'image/webp'};base64"
    assert base64.b64decode(body) == animation.path.read_bytes()
    assert layer.url in animation._repr_html_()
    animation.path.unlink()
    with pytest.raises(InvalidValueError, match="cannot be read"):
        nb.overlay(shown, animation)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"path": "a.avi"}, "a.avi: an animation ends in .gif, .webp, .mp4"),
        ({"path": "a"}, "ends in .gif"),
        ({"path": "a.gif", "delay": 0}, "seconds from 0.02 to 60"),
        ({"path": "a.gif", "background": "whitish"}, "'whitish' is no colour"),
        ({"path": "file/a.gif"}, "cannot be written"),
        ({"path": "file/a.mp4"}, "cannot be written"),
    ],
    ids=str,
)
def test_an_animation_that_cannot_be_made_is_told(ds, tmp_path, monkeypatch, how, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidValueError) as raised:
        nb.animate(ds, **how)
    assert told in str(raised.value)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_one_image_is_no_animation(ds, tmp_path):
    with pytest.raises(InvalidValueError, match="no times, so there is nothing to animate"):
        nb.animate(ds.isel(time=0), tmp_path / "a.gif")


def test_without_ffmpeg_a_video_is_refused_in_a_sentence(ds, tmp_path, monkeypatch):
    def missing():
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)
    with pytest.raises(MissingDependencyError, match="name that in IMAGEIO_FFMPEG_EXE"):
        nb.animate(ds, tmp_path / "a.mp4")


# Pages and datasets


def test_a_page_has_its_images_once_and_no_more_pixels_than_allowed(ds, tmp_path):
    path = nb.export_html(ds, tmp_path / "page.html", swipe=True, most_pixels=3000)
    text = path.read_text("utf-8")
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert len(data["images"]) == 3
    assert sum(png(url)[..., 0].size for url in data["images"]) <= 3000
    assert [side["images"] for side in data["sides"]] == [[0, 1, 2]] * 2
    assert "coarser than the data (64 m)" in text
    assert 'src="http' not in text
    assert "img-src data:;" in text


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"path": "page.pdf"}, "a page ends in .html"),
        ({"path": "page.html", "opacity": 2}, "opacity=2: give 0 to 1"),
        ({"path": "page.html", "language": "fr"}, "there are en and pt"),
        ({"path": "file/page.html"}, "cannot be written"),
    ],
    ids=str,
)
def test_a_page_that_cannot_be_made_is_told(ds, tmp_path, monkeypatch, how, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidValueError) as raised:
        nb.export_html(ds, **how)
    assert told in str(raised.value)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_datasets_that_are_none_are_told():
    with pytest.raises(InvalidValueError, match="no datasets to draw"):
        nb.bdc_plot_datasets([])
    with pytest.raises(InvalidValueError, match="str is no EO3 dataset"):
        nb.datasets_table(["a"])
    assert list(nb.datasets_table([]).columns)[:3] == ["date", "end", "tile"]


def test_what_is_not_needed_is_not_imported():
    program = (
        "import sys, odc_bdc; from odc_bdc import notebook as nb; nb.datasets_table, nb.load; "
        "print([m for m in ('ipyleaflet', 'ipywidgets', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_missing_extra_is_told_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipyleaflet", None)
    monkeypatch.delitem(sys.modules, "odc_bdc.notebook.showing", raising=False)
    with pytest.raises(MissingDependencyError, match=r"pip install 'odc_bdc\[notebook\]'"):
        _ = nb.show
