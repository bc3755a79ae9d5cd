"""Styles, times, languages, tiles and feature infos of the running services, against the index."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import date, timedelta
from io import BytesIO
from urllib.parse import urlencode

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from owslib.wms import WebMapService
from owslib.wmts import WebMapTileService
from PIL import Image
from small_index import BBOX, GEOBOX, STK, VIEW

from odc_bdc.grid import bdc_grid
from odc_bdc.ows import ramps
from odc_bdc.ows.application import ROOT_CONFIG
from odc_bdc.ows.server import server_environment

pytestmark = pytest.mark.integration

MED = "CB4_64_16D_MED_v1"
MAP = VIEW | {"styles": "ndvi"}
INFO = {"request": "GetFeatureInfo", "i": 100, "j": 120, "info_format": "application/json"}


@pytest.fixture
def ask(server):
    """Request something, and give status, headers and body whatever they are."""

    def get(path, language=None, **query):
        url = f"{server.url}/{path}" + (f"?{urlencode(query)}" if query else "")
        wish = {"Accept-Language": language} if language else {}
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, headers=wish), timeout=60
            ) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as e:
            return e.code, e.headers, e.read()

    return get


@pytest.fixture
def show(ask):
    """Request a map, and give its pixels (y, x, 4)."""

    def get(**query):
        status, _, body = ask("wms", **MAP | query)
        assert status == 200, body
        return rgba(body)

    return get


def rgba(png):
    image = Image.open(BytesIO(png))
    assert image.mode != "L", "a blank image"
    return np.asarray(image.convert("RGBA")).astype(int)


def drawn(values, ramp):
    """Give what a ramp of colours makes of values, by numpy alone; NaN is transparent."""
    nodes = [value for value, _ in ramp]
    channels = [[int(c[i : i + 2], 16) for _, c in ramp] for i in (1, 3, 5)]
    colours = [np.interp(np.nan_to_num(values), nodes, channel) for channel in channels]
    return np.dstack([*colours, np.where(np.isfinite(values), 255, 0)])


def assert_drawn(got, values, ramp):
    expected = drawn(values, ramp)
    assert (got[..., 3] == expected[..., 3]).all()
    seen = expected[..., 3] > 0
    assert 0.3 < seen.mean() < 1
    assert np.abs(got - expected)[seen].max() <= 1.1
    assert expected[..., :3][seen].std() > 5


def physical(data, name, scale=1e-4, nodata=-9999):
    values = data[name].values.astype(float)
    return np.where(values == nodata, np.nan, values * scale)


def test_every_style_of_every_layer_draws_something_and_has_a_legend(ask):
    seen = 0
    _, _, text = ask("wms", service="WMS", request="GetCapabilities", version="1.3.0")
    wms = WebMapService("http://here", version="1.3.0", xml=text)
    for name, layer in wms.contents.items():
        if not layer.timepositions:
            continue
        box = layer.boundingBoxWGS84
        query = {"layers": name, "crs": "CRS:84", "time": layer.timepositions[-1]}
        query |= {"crs": "OGC:CRS84", "bbox": ",".join(map(str, box)), "width": 40, "height": 30}
        for style in layer.styles:
            status, _, body = ask("wms", **MAP | query | {"styles": style})
            assert status == 200, (name, style, body)
            opaque = rgba(body)[..., 3] > 0
            assert opaque.any() == (style != "stubble_burning"), (name, style)
            status, headers, body = ask(f"legend/{name}/{style}/legend.png")
            assert (status, headers["Content-Type"]) == (200, "image/png")
            assert Image.open(BytesIO(body)).width >= 280
            seen += 1
    assert seen > 40


def test_an_index_is_the_formula_where_it_is_not_stored(show, load):
    data = load(STK, "2020-01-01", GEOBOX)
    green, nir = physical(data, "BAND14"), physical(data, "BAND16")
    assert_drawn(show(styles="ndwi"), (green - nir) / (green + nir), ramps.WATER)


def test_a_stored_index_is_drawn_as_it_is_stored(show, load):
    data = load(STK, "2020-01-01", GEOBOX)
    assert_drawn(show(styles="evi"), physical(data, "EVI"), ramps.VEGETATION)


def test_counts_and_days_are_those_of_their_bands(show, load):
    data = load(STK, "2020-01-01", GEOBOX)
    counts = physical(data, "CLEAROB", 1, 0)
    assert_drawn(show(styles="clearob"), counts, ramps.count_ramp(8))
    days = physical(data, "PROVENANCE", 1, -1)
    assert_drawn(show(styles="provenance"), days, ramps.DAY_OF_YEAR)


def test_quality_is_what_the_policy_says(show, load):
    codes = load(STK, "2020-01-01", GEOBOX, "CMASK").CMASK.values
    got = show(styles="quality")
    # The tests' codes are 1 to 12, of which CMASK knows none: that is not clear.
    assert (got[codes == 0, 3] == 0).all()
    assert (got[codes != 0] == (0xBF, 0x87, 0x00, 255)).all()


def test_two_times_are_their_difference_in_the_order_asked_for(show, load):
    first, second = (load(MED, day, GEOBOX) for day in ("2020-01-01", "2020-01-17"))
    change = physical(second, "NDVI") - physical(first, "NDVI")
    forth = show(layers=MED, time="2020-01-01,2020-01-20")
    back = show(layers=MED, time="2020-01-20,2020-01-01")
    assert_drawn(forth, change, ramps.DIFFERENCE)
    assert_drawn(back, -change, ramps.DIFFERENCE)


def test_more_times_are_their_amplitude(show, load):
    days = ("2019-12-19", "2020-01-01", "2020-01-17", "2020-02-18")
    stack = np.stack([physical(load(MED, day, GEOBOX), "NDVI") for day in days])
    known = np.isfinite(stack).sum(axis=0) >= 2
    spread = np.where(known, np.fmax.reduce(stack) - np.fmin.reduce(stack), np.nan)
    for time in (",".join(days), "2019-12-19/2020-02-29/P1D"):
        assert_drawn(show(layers=MED, time=time), spread, ramps.AMPLITUDE)


@pytest.mark.parametrize("style", ["true_colour", "ndvi_animation"])
def test_an_animation_has_a_frame_for_each_time(ask, show, style):
    days = ("2019-12-19", "2020-01-01", "2020-01-17")
    query = {"layers": MED, "styles": style}
    status, _, body = ask("wms", **MAP | query | {"time": ",".join(days)})
    film = Image.open(BytesIO(body))
    assert (status, film.is_animated) == (200, True)
    single = {show(**query | {"time": day}).tobytes() for day in days}
    frames = set()
    for number in range(film.n_frames):
        film.seek(number)
        assert film.info.get("duration", 600) == 600
        frames.add(np.asarray(film.convert("RGBA")).astype(int).tobytes())
    assert len(single) == 3
    assert frames == single


@pytest.mark.parametrize(
    "time",
    [
        "2020-01-16",
        "2020-01-05T00:00:00Z",
        "2020-01-05T12:00:00.000Z",
        "2020-01-02T00:00:00Z/2020-01-15T23:59:59Z",
        "2019-12-28/2020-01-20",
        "current",
    ],
)
def test_any_time_of_a_period_shows_its_composite(ask, time):
    # QGIS's temporal controller asks for the frames of its clock, whatever the layer's dates.
    status, headers, body = ask("wms", **MAP | {"time": time})
    assert status == 200
    assert headers["Warning"] is None
    assert body == ask("wms", **MAP)[2]


def test_in_a_gap_the_nearest_is_shown_and_the_answer_says_so(ask):
    # That of 2 to 17 February is missing.
    query = MAP | {"layers": MED}
    for time, nearest in (("2020-02-05", "2020-01-17"), ("2020-02-16T00:00:00Z", "2020-02-18")):
        _, headers, body = ask("wms", **query | {"time": time})
        assert headers["Warning"] == f"99 Nearest value used: time={nearest} ISO8601"
        assert body == ask("wms", **query | {"time": nearest})[2]


@pytest.mark.parametrize(
    "time", ["2018-01-01", "2031", "soon", "2020-01-01/2019-01-01", "2020-01-01,2020-01-02"]
)
@pytest.mark.parametrize("request_", ["GetMap", "GetTile"])
def test_a_wrong_time_is_an_invalid_dimension_value(ask, request_, time):
    if request_ == "GetMap":
        status, _, body = ask("wms", **MAP | {"time": time})
    else:
        tile = {"tilematrixset": "BDC_Albers", "tilematrix": 10, "tilerow": 374, "tilecol": 461}
        query = {"service": "WMTS", "version": "1.0.0", "request": "GetTile", "layer": STK}
        query |= tile | {"style": "ndvi", "format": "image/png", "time": time}
        status, _, body = ask("wmts", **query)
    assert status == 400
    # WMTS knows no such code.
    codes = ("InvalidDimensionValue", *(("InvalidParameterValue",) * (request_ == "GetTile")))
    assert any(code in body.decode() for code in codes)
    assert time.split(",")[0].split("/")[0] in body.decode()


def test_capabilities_tell_the_times_and_that_others_are_understood(ask):
    text = ask("wms", service="WMS", request="GetCapabilities", version="1.3.0")[2].decode()
    wms = WebMapService("http://here", version="1.3.0", xml=text.encode())
    assert wms[MED].timepositions == ["2019-12-19", "2020-01-01", "2020-01-17", "2020-02-18"]
    # A layer with one image has a time, too.
    assert wms["CB4_64_2Y_STK_v1"].timepositions == ["2017-01-01"]
    assert 'nearestValue="1"' in text
    assert "+proj" not in text


def test_capabilities_do_not_change_from_one_start_to_the_next(ask):
    text = ask("wms", service="WMS", request="GetCapabilities", version="1.3.0")[2].decode()
    keywords = [k.partition("</Keyword>")[0] for k in text.split("<Keyword>")[1:4]]
    assert keywords == ["composite", "data cube", "satellite image"]


def test_a_client_gets_its_language(ask):
    def titles(language):
        query = {"service": "WMS", "request": "GetCapabilities", "version": "1.3.0"}
        _, headers, text = ask("wms", language, **query)
        assert headers["Vary"] == "Accept-Language"
        return headers["Content-Language"], WebMapService("http://x", version="1.3.0", xml=text)

    english, wms = titles("en-GB")
    assert english == "en"
    assert wms[STK].title.endswith("least cloud cover first")
    assert wms[STK].styles["provenance"]["title"] == "Day of the year"
    portuguese, wms = titles("pt-BR,pt;q=0.8,en;q=0.5")
    assert portuguese == "pt"
    assert wms[STK].title.endswith("menor cobertura de nuvens primeiro")
    assert wms[STK].parent.title == "16 dias"
    assert wms[STK].styles["provenance"]["title"] == "Dia do ano"
    assert "Licença: CC-BY-4.0" in wms[STK].abstract
    assert "cubo de dados" in wms[STK].keywords
    assert wms["BDC_SM_V2"].title.startswith("Grade BDC")
    wmts = ask("wmts", "pt", service="WMTS", request="GetCapabilities")[2].decode()
    assert "Infravermelho próximo, vermelho, verde" in wmts
    legends = {ask(f"legend/{STK}/quality/legend.png", lang)[2] for lang in ("en", "pt", "de")}
    assert len(legends) == 2


# Level 10 is 64 m; tile rows and columns count from 4194304 m north and west of the V2 grid.
ROW, COLUMN = (11953600 + 4194304 - 10012800) // 16384, (5993600 - (2624000 - 4194304)) // 16384


def test_a_tile_by_its_path_is_the_tile_by_parameters(server, ask):
    wmts = WebMapTileService(f"{server.url}/wmts")
    place = {"tilematrixset": "BDC_Albers", "tilematrix": "10", "row": ROW, "column": COLUMN}
    by_parameters = wmts.gettile(
        layer=STK, style="ndvi", format="image/png", TIME="2020-01-01", **place
    ).read()
    (template,) = [u["template"] for u in wmts[STK].resourceURLs if u["resourceType"] == "tile"]
    path = template.removeprefix(f"{server.url}/")
    for variable, value in (
        ("style", "ndvi"),
        ("Time", "2020-01-09T00:00:00Z"),
        ("TileMatrixSet", "BDC_Albers"),
        ("TileMatrix", "10"),
        ("TileRow", ROW),
        ("TileCol", COLUMN),
    ):
        path = path.replace(f"{{{variable}}}", str(value))
    assert ask(path)[::2] == (200, by_parameters)
    assert rgba(by_parameters)[..., 3].any()
    info = path.removesuffix(".png") + "/100/30.json"
    status, _, body = ask(info)
    assert (status, json.loads(body)["type"]) == (200, "FeatureCollection")
    capabilities = ask("wmts/1.0.0/WMTSCapabilities.xml")[2]
    assert capabilities == ask("wmts", service="WMTS", request="GetCapabilities")[2]


def test_a_large_tile_is_four_small_ones(ask):
    def tile(matrix_set, level, row, column):
        path = f"wmts/1.0.0/{STK}/ndvi/2020-01-01/{matrix_set}/{level}/{row}/{column}.png"
        status, _, body = ask(path)
        assert status == 200
        image = Image.open(BytesIO(body))
        pixels = np.zeros((image.height, image.width, 4), int) if image.mode == "L" else rgba(body)
        return np.where(pixels[..., 3:] > 0, pixels, 0)  # what colour nothing has is of no account

    row, column = ROW // 2, COLUMN // 2
    large = tile("BDC_Albers_512", 9, row, column)
    assert large.shape == (512, 512, 4)
    small = [
        np.hstack([tile("BDC_Albers", 10, 2 * row + i, 2 * column + j) for j in (0, 1)])
        for i in (0, 1)
    ]
    assert (large == np.vstack(small)).all()
    assert large[..., 3].any()


@pytest.mark.parametrize("tms", ["BDC_Albers", "BDC_Albers_512", "WholeWorld_WebMercator_512"])
@pytest.mark.parametrize(("layer", "style"), [(STK, "ndvi"), ("BDC_SM_V2", "outline")])
def test_gdal_reads_the_tiles_by_their_paths(server, tms, layer, style):
    url = f"{server.url}/wmts?SERVICE=WMTS&REQUEST=GetCapabilities"
    with rasterio.open(f"WMTS:{url},layer={layer},style={style},tilematrixset={tms}") as src:
        pixels = src.read(out_shape=(4, 100, 200))
    assert 0.05 < (pixels[3] > 0).mean() < 0.95


@pytest.mark.parametrize("crs", ["EPSG:5880", "EPSG:31983", "EPSG:32723"])
def test_brazilian_crss_show_the_same_place(ask, load, crs):
    geobox = GeoBox.from_bbox(GEOBOX.extent.to_crs(crs).boundingbox, crs=crs, shape=(200, 300))
    query = MAP | {"crs": crs, "bbox": ",".join(repr(float(v)) for v in geobox.boundingbox)}
    got = rgba(ask("wms", **query)[2])
    expected = drawn(physical(load(STK, "2020-01-01", geobox, "NDVI"), "NDVI"), ramps.VEGETATION)
    # GDAL's warp is exact to an eighth of a pixel only.
    assert (np.abs(got - expected).max(axis=-1) <= 1.1).mean() > 0.95
    assert expected[..., 3].mean() > 0.5


def test_a_feature_info_tells_the_day_that_was_chosen(ask, load):
    data = load(STK, "2020-01-01", GEOBOX)
    days = data.PROVENANCE.values
    rows, columns = np.nonzero((days >= 1) & (days <= 16))
    assert rows.size
    row, column = int(rows[0]), int(columns[0])
    query = MAP | INFO | {"query_layers": STK, "i": column, "j": row, "time": "2020-01-10"}
    (found,) = json.loads(ask("wms", **query)[2])["features"][0]["properties"]["data"]
    expected = date(2020, 1, 1) + timedelta(days=int(days[row, column]) - 1)
    assert found["date_chosen"] == str(expected)
    assert found["period"] == "2020-01-01/2020-01-16"
    assert found["quality"] == "not clear"
    ndvi = data.NDVI.values[row, column] * 1e-4
    assert found["band_derived"]["ndvi"] == pytest.approx(ndvi, abs=1e-6)


def test_a_feature_info_over_a_range_is_a_time_series(ask, load):
    query = MAP | INFO | {"layers": MED, "query_layers": MED, "time": "2019-12-25/2020-03-01"}
    found = json.loads(ask("wms", **query)[2])["features"][0]["properties"]["data"]
    days = ["2019-12-19", "2020-01-01", "2020-01-17", "2020-02-18"]
    assert [values["time"] for values in found] == days
    for day, values in zip(days, found, strict=True):
        data = load(MED, day, GEOBOX)
        for band in ("BAND13", "BAND16", "NDVI"):
            assert values["bands"][band] == data[band].values[120, 100]
    status, headers, page = ask("wms", **query | {"info_format": "text/html"})
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    assert all(f'<th scope="col">{day}</th>' in page.decode() for day in days)
    assert f"<td>{found[0]['bands']['BAND16']}</td>" in page.decode()


def test_the_page_of_a_feature_info_says_all_in_the_clients_language(ask):
    query = MAP | INFO | {"query_layers": STK, "info_format": "text/html"}
    english, portuguese = (ask("wms", lang, **query)[2].decode() for lang in ("en", "pt-BR"))
    assert "2020-01-01/2020-01-16" in english
    assert "<td>not clear</td>" in english
    assert "<td>não limpo</td>" in portuguese
    assert "Período" in portuguese
    assert "NDVI (calculado)" in portuguese
    outside = query | {"bbox": "5200000,9000000,5219200,9012800"}
    assert "There is no image here." in ask("wms", **outside)[2].decode()


def test_the_tiles_of_the_grid_are_a_layer_of_wms_and_wmts(ask):
    small = "BDC_SM_V2"
    image = rgba(ask("wms", **MAP | {"layers": small, "styles": ""})[2])
    _, _, right, _ = bdc_grid(small).bbox(bdc_grid(small).tile_id(BBOX[0], BBOX[1] + 1))
    assert BBOX[0] < right < BBOX[2]
    column = int((right - BBOX[0]) / 64)
    assert (image[:, column - 1 : column + 2, 3].max(axis=1) > 0).all()
    assert (image[..., 3] > 0).mean() < 0.1
    query = MAP | INFO | {"layers": small, "query_layers": small, "styles": ""}
    (feature,) = json.loads(ask("wms", **query)[2])["features"]
    assert feature["properties"]["tile"] == bdc_grid(small).tile_id(
        BBOX[0] + 100.5 * 64, BBOX[3] - 120.5 * 64
    )
    path = f"wmts/1.0.0/{small}/outline/default/BDC_Albers_512/6/{ROW // 16}/{COLUMN // 16}.png"
    tile = rgba(ask(path)[2])
    assert tile.shape == (512, 512, 4)
    assert tile[..., 3].any()


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"crs": "EPSG:1"}, b"InvalidCRS"),
        ({"styles": "x"}, b"StyleNotDefined"),
        ({"format": "image/x"}, b"InvalidFormat"),
        ({"bbox": "1,2,3"}, b""),
        ({"bbox": "1,2,inf,4"}, b""),
        ({"bbox": "1,2,1,4"}, b""),
        ({"width": 0}, b""),
        ({"height": 10**6}, b""),
        ({"width": "x"}, b""),
    ],
    ids=str,
)
def test_a_wrong_request_for_the_grid_is_an_exception_of_wms(ask, wrong, code):
    status, headers, body = ask("wms", **MAP | {"layers": "BDC_SM_V2", "styles": ""} | wrong)
    assert (status, headers.get_content_subtype()) == (400, "xml")
    assert b"<ServiceException" in body
    assert code in body


def test_the_checker_of_datacube_ows_accepts_the_configuration(index, dc):
    environ = server_environment(index, ("http://127.0.0.1:8000",), os.environ)
    assert environ["DATACUBE_OWS_CFG"] == ROOT_CONFIG
    program = "from datacube_ows.cfg_parser_impl import main; main()"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, "check"],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Configuration parsed OK" in done.stdout + done.stderr
