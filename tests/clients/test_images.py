"""Pixels of GetMap and GetTile against the index."""

from __future__ import annotations

import json
from io import BytesIO

import numpy as np
import pytest
from answers import pixels
from odc.geo.geobox import GeoBox
from owslib.wms import WebMapService
from owslib.wmts import WebMapTileService
from PIL import Image
from small_index import BBOX, GEOBOX, SCENES, STK, VIEW

from odc_bdc.grid import BDC_CRS, BDC_PROJ
from odc_bdc.ows.ramps import VEGETATION

pytestmark = pytest.mark.integration


MAP = VIEW | {"styles": "true_colour"}


# From no reflectance to percentile 98 of real images of CBERS-4.
RED, GREEN, BLUE = (0, 0.222), (0, 0.172), (0, 0.118)


def test_true_colour_is_the_usual_range_of_reflectances(server, load):
    wms = WebMapService(f"{server.url}/wms", version="1.3.0")
    image = wms.getmap(
        layers=[STK],
        styles=["true_colour"],
        srs="EPSG:10857",
        bbox=BBOX,
        size=(300, 200),
        format="image/png",
        time="2020-01-01",
    )
    got = pixels(image.read()).astype(int)
    data = load(STK, "2020-01-01", GEOBOX)
    has_data = (data.BAND13 != -9999).values
    assert 0.5 < has_data.mean() < 1  # a corner of a tile is nodata
    assert ((got[3] == 255) == has_data).all()
    lights = ((data.BAND15, RED), (data.BAND14, GREEN), (data.BAND13, BLUE))
    for shown, (band, (low, high)) in zip(got[:3], lights, strict=True):
        expected = np.clip((band.values * 0.0001 - low) / (high - low), 0, 1) * 255
        assert np.abs(shown - expected)[has_data].max() <= 1
        assert expected[has_data].std() > 20


@pytest.mark.parametrize(
    "case",
    [
        (SCENES, BBOX, "EPSG:10857", "2020-01-03", (300, 200), "BAND15", "BAND16"),
        (
            "S2_31UES_10_16D_STK_v1",
            (587880.0, 5684910.0, 588340.0, 5685430.0),
            "EPSG:32631",
            "2023-10-16",
            (46, 52),
            "B04",
            "B08",
        ),
    ],
    ids=["int16", "uint16"],
)
def test_ndvi_does_not_wrap_around(fetch, load, case):
    layer, bbox, crs, day, size, red, nir = case
    query = MAP | {"layers": layer, "styles": "ndvi", "crs": crs, "time": day}
    query |= {"bbox": ",".join(map(str, bbox)), "width": size[0], "height": size[1]}
    got = pixels(fetch("wms", **query)).astype(int)
    native = BDC_CRS if crs == "EPSG:10857" else crs
    data = load(layer, day, GeoBox.from_bbox(bbox, native, shape=size[::-1]), red, nir)
    has_data = (data[red] != data[red].nodata).values
    r, n = data[red].values.astype(float), data[nir].values.astype(float)
    index = (n - r) / (n + r)
    assert index[has_data].min() < 0
    assert index[has_data].max() > 0.2
    values = [value for value, _ in VEGETATION]
    for channel in range(3):
        ramp = [int(colour[1 + 2 * channel :][:2], 16) for _, colour in VEGETATION]
        expected = np.interp(index, values, ramp)
        assert np.abs(got[channel] - expected)[has_data].max() < 1.1


def test_without_a_time_the_latest_is_shown(fetch):
    latest = {key: value for key, value in MAP.items() if key != "time"}
    assert fetch("wms", **latest) == fetch("wms", **MAP)
    assert fetch("wms", **MAP | {"time": "2019-12-19"}) != fetch("wms", **MAP)


def test_a_proj_string_whose_plus_signs_were_lost_is_understood(fetch):
    as_code = fetch("wms", **MAP)
    lost = BDC_PROJ.replace("+", " ")  # what the server decodes from CRS=+proj=aea +lat_0=...
    for text in (BDC_PROJ, lost, f"{lost} type=crs"):
        assert fetch("wms", **MAP | {"crs": text}) == as_code


def test_scenes_are_shown_by_the_date_that_the_capabilities_give(fetch, load):
    scenes = "CB4_WFI_L4_SR_1"
    got = pixels(fetch("wms", **MAP | {"layers": scenes, "time": "2020-01-03"}))
    data = load(scenes, "2020-01-03", GEOBOX)
    assert ((got[3] > 0) == (data.BAND13 != -9999).values).all()
    halves = got[3][:, :150], got[3][:, 150:]  # two instants, one image
    assert all(half.any() for half in halves)


def test_a_tile_of_the_bdc_grid_has_the_pixels_of_the_cube(server, load):
    # Level 10 is 64 m; tile rows and columns count from 4194304 m north and west of the V2 grid.
    column = int((BBOX[0] - (2624000 - 4194304)) // 16384)
    row = int((11953600 + 4194304 - BBOX[3]) // 16384)
    wmts = WebMapTileService(f"{server.url}/wmts")
    tile = wmts.gettile(
        layer=STK,
        style="true_colour",
        tilematrixset="BDC_Albers",
        tilematrix="10",
        row=row,
        column=column,
        format="image/png",
        TIME="2020-01-01",
    )
    left, top = 2624000 - 4194304 + column * 16384, 11953600 + 4194304 - row * 16384
    geobox = GeoBox.from_bbox((left, top - 16384, left + 16384, top), BDC_CRS, resolution=64)
    data = load(STK, "2020-01-01", geobox)
    got, has_data = pixels(tile.read()), (data.BAND13 != -9999).values
    assert ((got[3] > 0) == has_data).all()
    expected = np.clip((data.BAND15.values * 0.0001 - RED[0]) / (RED[1] - RED[0]), 0, 1) * 255
    assert np.abs(got[0] - expected)[has_data].max() <= 1


def test_a_feature_info_gives_values_and_no_path_of_the_server(fetch, load):
    query = MAP | {"request": "GetFeatureInfo", "query_layers": STK, "i": 100, "j": 120}
    answer = fetch("wms", **query, info_format="application/json").decode()
    (values,) = json.loads(answer)["features"][0]["properties"]["data"]
    data = load(STK, "2020-01-01", GEOBOX)
    for band in ("BAND13", "BAND16", "PROVENANCE"):
        assert float(values["bands"][band]) == data[band].values[120, 100]
    assert "file:" not in answer


def opened(body):
    return Image.open(BytesIO(body))


@pytest.mark.parametrize(("mime", "kind"), [("image/jpeg", "JPEG"), ("image/webp", "WEBP")])
def test_a_map_comes_in_the_format_that_is_asked_for(ask, mime, kind):
    answers = [ask("wms", MAP | {"format": f}) for f in ("image/png", mime)]
    png, other = (pixels(a.body).astype(int) for a in answers)
    assert answers[1].mime == mime
    assert opened(answers[1].body).format == kind
    assert answers[1].headers["ETag"] != answers[0].headers["ETag"]
    assert len(answers[1].body) < len(answers[0].body) / 2
    shown = png[3] == 255
    # Lossy, but the same picture: a few levels off in the mean, as noise is.
    assert np.abs(png - other)[:3, shown].mean() < 16
    if kind == "WEBP":
        assert np.array_equal(other[3], png[3])
    else:
        assert (other[3] == 255).all()
        assert other[:3, ~shown].mean() > 240  # white is WMS's background


def test_a_jpeg_has_the_background_that_is_asked_for(ask):
    png = pixels(ask("wms", MAP).body)
    answer = ask("wms", MAP | {"format": "image/jpeg", "bgcolor": "0x2040C0"})
    empty = pixels(answer.body)[:3, png[3] == 0]
    assert np.allclose(np.median(empty, axis=1), (0x20, 0x40, 0xC0), atol=8)
    wrong = ask("wms", MAP | {"format": "image/jpeg", "bgcolor": "blue"})
    assert wrong.status == 400
    assert b"BGCOLOR=blue is no colour" in wrong.body


def test_classes_keep_their_colours_as_webp(ask):
    query = MAP | {"styles": "quality"}
    png, webp = (ask("wms", query | {"format": f}).body for f in ("image/png", "image/webp"))
    assert opened(webp).format == "WEBP"
    png, webp = pixels(png), pixels(webp)
    assert np.array_equal(png[3], webp[3])
    assert np.array_equal(png[:, png[3] > 0], webp[:, png[3] > 0])


@pytest.mark.parametrize(("suffix", "kind"), [("jpg", "JPEG"), ("webp", "WEBP"), ("png", "PNG")])
@pytest.mark.parametrize("layer", [STK, "BDC_SM_V2"])
def test_a_tile_has_a_path_in_each_format(ask, suffix, kind, layer):
    style = "true_colour" if layer == STK else "outline"
    answer = ask(f"wmts/1.0.0/{layer}/{style}/default/BDC_Albers/9/187/231.{suffix}", "")
    assert answer.status == 200
    assert opened(answer.body).format == kind
    assert opened(answer.body).size == (256, 256)


def test_a_format_that_is_not_served_is_refused(ask):
    answer = ask("wms", MAP | {"format": "image/gif"})
    assert answer.status == 400
    assert b"InvalidFormat" in answer.body
    missing = ask("wms", MAP | {"format": "image/jpeg", "width": 0})
    assert (missing.status, missing.mime) == (400, "text/xml")
