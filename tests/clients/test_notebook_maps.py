"""Pictures of the notebook kit against the map server's, and pages as a browser opens them."""

from __future__ import annotations

import base64
import json
from io import BytesIO

import ipyleaflet as ipl
import numpy as np
import pytest
from answers import pixels
from odc.geo.geom import box
from PIL import Image
from selenium.webdriver.common.keys import Keys
from small_index import GEOBOX, SCENES, STK, VIEW

from odc_bdc import notebook as nb
from odc_bdc.errors import InvalidValueError, SourceError, UnknownNameError

pytestmark = pytest.mark.integration

MED = "CB4_64_16D_MED_v1"
DAYS = ["2019-12-19", "2020-01-01", "2020-01-17", "2020-02-18"]
STYLES = {
    STK: [
        "true_colour",
        "false_colour",
        "ndvi",
        "evi",
        "clearob",
        "totalob",
        "provenance",
        "quality",
    ],
    MED: ["true_colour", "ndvi", "ndwi", "totalob"],
    SCENES: ["true_colour", "ndvi", "quality"],
}
DATES = {STK: "2020-01-01", MED: "2020-01-17", SCENES: "2020-01-03"}


@pytest.mark.parametrize(("layer", "style"), [(n, s) for n, known in STYLES.items() for s in known])
def test_draw_gives_the_pixels_of_a_wms(fetch, dc, load, layer, style):
    query = VIEW | {"layers": layer, "styles": style, "time": DATES[layer]}
    served = pixels(fetch("wms", **query))
    data = load(layer, DATES[layer], GEOBOX)
    drawn = nb.draw(data, style, product=layer)
    assert drawn.dims == ("y", "x", "band")
    assert drawn.dtype == "uint8"
    assert np.array_equal(np.moveaxis(drawn.values, -1, 0), served)
    assert 0 < (served[3] == 255).mean() < 1
    assert served[:3, served[3] == 255].std() > 1
    # The same by what a dataset says of itself, and by names of bands of the user's choice.
    by_index = nb.draw(data, style, product=dc.index.products.get_by_name(layer))
    assert np.array_equal(by_index, drawn)


def test_bands_by_their_aliases_are_drawn_the_same(dc):
    query = {"like": GEOBOX, "time": "2020-01-01"}
    own = nb.load(dc, STK, measurements=["BAND15", "BAND14", "BAND13"], **query)
    alias = nb.load(dc, STK, measurements=["red", "green", "blue"], **query)
    assert np.array_equal(nb.draw(own), nb.draw(alias))
    assert nb.draw(own).sizes["time"] == 1


def test_an_index_that_is_not_among_the_usual_ones_is_drawn(dc):
    ds = nb.load(dc, STK, like=GEOBOX, time="2020-01-01")
    drawn = nb.draw(ds, "savi")
    assert (drawn.values[..., 3] == 255).any()


@pytest.fixture(scope="module")
def series(dc):
    """Give all dates of a cube."""
    return nb.load(dc, MED, like=GEOBOX, measurements=["red", "green", "blue", "nir", "NDVI"])


def served_png(fetch, layer, style, day, bounds, shape):
    """Ask for a map of EPSG:3857."""
    query = VIEW | {"layers": layer, "styles": style, "time": day, "crs": "EPSG:3857"}
    edges = box(*bounds, "EPSG:4326").to_crs("EPSG:3857").boundingbox
    query |= {"bbox": ",".join(map(str, edges.bbox)), "width": shape[1], "height": shape[0]}
    return np.moveaxis(pixels(fetch("wms", **query)), 0, -1)


def decoded(url):
    head, _, body = url.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(BytesIO(base64.b64decode(body))).convert("RGBA"))


def test_arrays_lie_on_the_map_as_the_server_draws_them(series, fetch):
    shown = nb.show(series, "ndvi")
    (layer,) = shown.layers
    (south, west), (north, east) = layer.bounds
    assert [label for label, _ in shown.times[0].options] == DAYS
    for number in (3, 0):
        shown.times[0].value = number
        image = decoded(layer.url)
        served = served_png(
            fetch, MED, "ndvi", DAYS[number], (west, south, east, north), image.shape
        )
        has_data = image[..., 3] == 255
        assert 0.3 < has_data.mean() < 0.95
        # GDAL's warp is exact to an eighth of a pixel only.
        assert (image == served).all(axis=-1)[has_data].mean() > 0.95


def test_a_product_of_the_index_is_drawn_without_a_server(dc):
    shown = nb.show(MED, "ndvi", dc=dc, time="2020-01", most_pixels=40_000)
    assert [label for label, _ in shown.times[0].options] == ["2020-01-01", "2020-01-17"]
    image = decoded(shown.layers[0].url)
    assert image.shape[0] * image.shape[1] <= 40_000
    assert 0.2 < (image[..., 3] == 255).mean() < 1
    assert "coarser than the data (64 m)" in shown.notes[0]


def test_layers_of_the_server_are_shown_by_time(server):
    shown = nb.show(MED, "ndvi", server=server.url, time=("2019-12", "2020-01"), opacity=0.5)
    (layer,) = shown.layers
    assert isinstance(layer, ipl.WMSLayer)
    assert (layer.url, layer.layers, layer.styles) == (f"{server.url}/wms", MED, "ndvi")
    assert (layer.time, layer.opacity) == ("2020-01-17", 0.5)
    shown.times[0].index = 0
    assert layer.time == "2019-12-19"
    assert layer.keys.count("time") == 1  # it is sent to the browser
    assert "time" in layer.options
    assert bytes(shown.legends[0].value).startswith(b"\x89PNG")
    west, south, east, north = -44.8, -11.95, -44.5, -11.6
    lat, lon = shown.map.center
    assert south < lat < north
    assert west < lon < east


def test_two_products_of_the_server_are_swiped(server):
    shown = nb.show(MED, "true_colour", server=server.url, swipe=STK)
    (split,) = [c for c in shown.map.controls if isinstance(c, ipl.SplitMapControl)]
    assert (split.left_layer, split.right_layer) == tuple(shown.layers)
    assert [layer.layers for layer in shown.layers] == [MED, STK]
    shown.times[1].index = 0
    assert [layer.time for layer in shown.layers] == ["2020-02-18", "2019-12-19"]


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"what": 5}, InvalidValueError, "int cannot be shown"),
        ({"what": "CB4_64_16D_MED_v2"}, UnknownNameError, f"do you mean {MED}?"),
        ({"style": "ndvy"}, UnknownNameError, "do you mean ndvi?"),
        ({"time": "2018"}, InvalidValueError, "from 2019-12-19 to 2020-03-04"),
        ({"server": "127.0.0.1:8000"}, InvalidValueError, "http://127.0.0.1:8000"),
        ({"server": "http://127.0.0.1:9"}, SourceError, "odc-bdc ows serve"),
        ({"server": None}, InvalidValueError, "dc=nb.connect()"),
        ({"language": "de"}, InvalidValueError, "en and pt"),
    ],
    ids=str,
)
def test_what_cannot_be_shown_is_told(server, given, error, told):
    asked = {"what": MED, "style": "ndvi", "server": server.url} | given
    with pytest.raises(error) as raised:
        nb.show(asked.pop("what"), asked.pop("style"), **asked)
    assert told in str(raised.value)


def test_datasets_on_a_map_and_as_a_table(dc):
    datasets = dc.find_datasets(product=MED) + dc.find_datasets(product=SCENES)
    table = nb.datasets_table(datasets)
    assert len(table) == len(datasets) == 10
    med = table[table["product"] == MED]
    assert sorted(set(med["tile"])) == ["007004", "008004"]
    assert sorted({str(d.date()) for d in med["date"]}) == DAYS
    assert set(med["function"]) == {"MED"}
    assert list(table["kind"].value_counts().items()) == [("built", 8), ("scene", 2)]
    assert set(table["id"]) == {str(d.id) for d in datasets}

    drawn = nb.bdc_plot_datasets(datasets, zoom=7)
    assert drawn.zoom == 7
    countries, grid, footprints = drawn.layers
    assert len(footprints.data["features"]) == len(datasets)
    west = [f for f in footprints.data["features"] if f["properties"]["tile"] == "007004"]
    assert {f["properties"]["style"]["color"] for f in west} == {"#0969da"}
    assert {"007004", "008004"} <= {f["properties"]["tile"] for f in grid.data["features"]}
    assert "Tiles of BDC_LG_V2" in grid.name
    assert countries.data["features"]
    # A click in the western tile tells of its images, not of its neighbour's.
    lon, lat = -44.7, -11.8
    footprints._handle_mouse_events(None, {"event": "click", "coordinates": [lat, lon]}, [])
    popup = drawn.layers[-1]
    assert tuple(popup.location) == (lat, lon)
    assert popup.child.value.count(MED) == 4
    assert "008004" not in popup.child.value
    footprints._handle_mouse_events(None, {"event": "click", "coordinates": [lat, lon]}, [])
    assert sum(isinstance(layer, ipl.Popup) for layer in drawn.layers) == 1


class ExportedPage:
    """A page of `export_html` in a browser without network."""

    def __init__(self, browser, path):
        self.browser = browser
        browser.open("about:blank")
        browser.offline(True)
        browser.open(path.as_uri(), size=(1100, 900))
        browser.until(lambda: self.image(0) is not None and self.image(0).any(), "images")

    def image(self, number):
        """Give the canvas of a side, as the map draws it: (y, x, 4)."""
        url = self.browser.run(
            f"const c = document.querySelector('.image-{number} canvas');"
            "return c && c.width ? c.toDataURL() : null"
        )
        return None if url is None else decoded(url)

    def dates(self):
        return [e.text for e in self.browser.driver.find_elements("css selector", ".dates output")]


@pytest.fixture
def exported(browser):
    """Give what opens a page without network, and give the network back at the end."""
    yield lambda path: ExportedPage(browser, path)
    browser.offline(False)
    browser.driver.get("about:blank")


def test_an_exported_page_opens_from_a_disk(series, tmp_path, exported, browser, pictures):
    if pictures:
        how = {"title": "NDVI in the west of Bahia", "about": "Made pixels, not observations."}
        exported(nb.export_html(series, tmp_path / "p.html", "ndvi", swipe=True, **how))
        browser.take_picture(pictures / "notebook_page.png")
    title = "<script>document.title = 'run'</script> & NDVI"
    path = nb.export_html(
        series,
        tmp_path / "deep" / "page.html",
        "ndvi",
        title=title,
        about="<b>Made</b>",
        swipe=True,
    )
    page = exported(path)
    assert [u for u in browser.asked() if not u.startswith(("file:", "data:", "blob:"))] == []
    assert browser.complaints() == []
    assert browser.text("h1") == title
    assert browser.driver.title == title
    assert browser.text("header p") == "<b>Made</b>"
    assert page.dates() == ["19 Dec 2019", "18 Feb 2020"]

    # The left side is left of the border, the right side right of it.
    left, right = page.image(0), page.image(1)
    middle = left.shape[1] // 2
    assert left[:, : middle - 5, 3].any()
    assert not left[:, middle + 5 :, 3].any()
    assert right[:, middle + 5 :, 3].any()
    assert not right[:, : middle - 5, 3].any()

    browser.find("#swipe").send_keys(Keys.END)
    browser.until(lambda: bool(page.image(0)[:, middle + 5 :, 3].any()), "a moved border")
    assert not page.image(1)[..., 3].any()
    assert browser.find("#swipe").get_attribute("aria-valuenow") == "100"

    before = page.image(0)
    browser.find(".dates input").send_keys(Keys.ARROW_RIGHT)
    browser.until(lambda: not np.array_equal(page.image(0), before), "another image")
    assert page.dates()[0] == "1 Jan 2020"
    browser.find(".dates .next").click()
    assert page.dates()[0] == "17 Jan 2020"

    legend = browser.find("#legends img")
    assert legend.is_displayed()
    assert legend.size["width"] > 100
    browser.run("document.activeElement.blur()")
    assert unreached(browser) == []


def unreached(browser):
    """Press TAB through a page; give the controls that it does not come to."""
    wanted = browser.run(
        "return [...document.querySelectorAll('button:not(:disabled), input, [role=slider],"
        " [role=application], summary')].filter(e => e.checkVisibility())"
        ".map((e, i) => (e.dataset.number_ = String(i)))"
    )
    seen = set()
    for _ in range(3 * len(wanted)):
        browser.press(Keys.TAB)
        seen.add(browser.run("return document.activeElement?.dataset?.number_ ?? ''"))
    return [number for number in wanted if number not in seen]


def test_a_page_in_portuguese_says_so(series, tmp_path, exported, browser):
    path = nb.export_html(series, tmp_path / "pt.html", time="2020-01-17", language="pt")
    exported(path)
    assert browser.run("return document.documentElement.lang") == "pt"
    assert "Opacidade" in browser.text("#how")
    assert browser.text("h1") == f"{MED}, Cor verdadeira"
    assert not browser.find(".dates").is_displayed()  # there is one date
    assert browser.find("#legends img").get_attribute("alt") == f"Legenda: {MED}, Cor verdadeira"


def test_a_page_of_the_server_holds_its_address_and_asks_no_other(server, tmp_path, browser):
    path = nb.export_html(MED, tmp_path / "wms.html", "ndvi", server=server.url, time="2020-01")
    assert path.stat().st_size < 1_000_000
    browser.open(path.as_uri())
    asked = []

    def has_asked():
        asked.extend(u for u in browser.asked() if u.startswith("http"))
        return asked

    browser.until(has_asked, "a request")
    browser.find(".dates .previous").click()
    browser.until(lambda: has_asked() and any("2020-01-01" in u for u in asked), "another date")
    assert all(u.startswith(f"{server.url}/wms?") for u in asked)
    assert browser.complaints() == []
    assert not browser.find("#message").is_displayed()


def test_data_of_a_page_cannot_end_its_script(series, tmp_path):
    hostile = series.assign_attrs(product="</script><script>alert(1)</script>")
    path = nb.export_html(hostile, tmp_path / "page.html", "ndvi", product=MED)
    text = path.read_text("utf-8")
    assert "<script>alert(1)" not in text
    document = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert document["sides"][0]["title"].startswith("</script><script>alert(1)")
    assert len(document["images"]) == len(DAYS)
