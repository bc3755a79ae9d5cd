"""The page for people at ``/``, in Chromium."""

from __future__ import annotations

import base64
import json
import socket
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from answers import pixels
from odc.geo.crs import CRS
from selenium.webdriver.common.keys import Keys
from small_index import GEOBOX, STK

from odc_bdc.grid import BDC_CRS

pytestmark = pytest.mark.integration

MED = "CB4_64_16D_MED_v1"
DAYS = ["2019-12-19", "2020-01-01", "2020-01-17", "2020-02-18"]
TILE = "/wmts/1.0.0/"


class Page:
    """The page in a browser."""

    def __init__(self, browser, url):
        self.browser = browser
        self.url = url

    def open(self, view="", *, path="/", **how):
        self.browser.open(f"{self.url}{path}#{view}", **how)
        self.ready()

    def ready(self):
        """Wait until the page has begun, and all images are there."""
        begun = "return document.body.matches('.ready')"
        self.browser.until(lambda: self.browser.run(begun), "ready")
        self.settle()

    def settle(self):
        """Wait until all images are there."""
        quiet = (
            "return !document.querySelector('[aria-busy=true]') && "
            "document.querySelector('#busy').hidden"
        )
        self.browser.until(lambda: self.browser.run(quiet), "all images")

    def tiles(self):
        """Give (layer, style, time) of the tiles asked for since the last call."""
        paths = [urlsplit(url).path for url in self.browser.asked()]
        return {
            tuple(map(unquote, path.split(TILE)[1].split("/")[:3]))
            for path in paths
            if TILE in path
        }

    def pixels(self, name="image-first"):
        """Give the pixels (y, x, 4) that a layer of the map has drawn."""
        found = self.browser.driver.execute_async_script(
            """
            const [name, done] = arguments;
            requestAnimationFrame(() => requestAnimationFrame(() => {
              const canvas = document.querySelector(`.${name} canvas, canvas.${name}`);
              done(canvas.toDataURL('image/png').split(',')[1]);
            }));
            """,
            name,
        )
        return np.moveaxis(pixels(base64.b64decode(found)), 0, 2)

    def has_images(self):
        return bool((self.pixels()[..., 3] == 255).any())

    def state(self):
        """Give what the address says."""
        text = self.browser.run("return location.hash.slice(1)")
        return dict(pair.split("=", 1) for pair in unquote(text).split("&") if "=" in pair)

    def tells(self, **wanted):
        """Wait until the address tells this; it is written a moment after a change."""
        self.browser.until(lambda: wanted.items() <= self.state().items(), str(wanted))

    def series(self):
        """Give the values of the chart by time, once there are any."""
        script = (
            "return [...document.querySelectorAll('#chart circle')]"
            ".map(c => [c.dataset.time, Number(c.dataset.value)])"
        )
        return dict(self.browser.until(lambda: self.browser.run(script), "a chart"))


@pytest.fixture
def page(browser, server):
    """Give the page; at the end nothing may have been wrong, and no other host asked."""
    opened = Page(browser, server.url)
    yield opened
    assert browser.complaints() == []
    assert {urlsplit(u).netloc for u in browser.asked() if u.startswith("http")} <= {
        urlsplit(server.url).netloc
    }


@pytest.fixture
def spot():
    """Give a pixel in the eastern tile: a view of its place, and its grid."""
    x, y = GEOBOX.pix2wld(250.5, 120.5)
    lon, lat = BDC_CRS.transformer_to_crs(CRS("EPSG:4326"))(x, y)
    return f"at={lon:.6f},{lat:.6f}&zoom=13", GEOBOX[120:121, 250:251]


def test_the_map_shows_the_newest_image_of_the_first_layer(page):
    page.open()
    assert page.tiles() == {(MED, "true_colour", DAYS[-1])}
    drawn = page.pixels()
    assert (drawn[..., 3] == 255).sum() > 20_000
    assert len(np.unique(drawn[drawn[..., 3] == 255], axis=0)) > 100
    assert page.browser.text("#date") == "18 Feb 2020 \N{EN DASH} 4 Mar 2020"


def test_the_page_says_what_is_here(page, dc):
    page.open()
    labels = page.browser.run(
        "return [...document.querySelectorAll('.layer')].map(l => [l.querySelector('input').value,"
        " l.innerText])"
    )
    names = {p.name for p in dc.index.products.get_all()}
    assert {name for name, _ in labels} == names
    assert all("2 tiles" in text for name, text in labels if name in {MED, STK})
    assert all("1 tile\n" in f"{text}\n" for name, text in labels if name.startswith("S2"))
    about = page.browser.text("#about")
    assert "median of the clear observations" in about
    assert f"Datasets\n{dc.index.datasets.count(product=MED)}" in about


def test_layer_style_and_date_are_those_of_the_tiles(page):
    page.open()
    page.tiles()
    page.browser.find(f"#tree input[value='{STK}']").click()
    page.settle()
    assert page.tiles() == {(STK, "true_colour", "2020-01-01")}
    page.browser.choose("#style", "ndvi")
    page.settle()
    assert page.tiles() == {(STK, "ndvi", "2020-01-01")}
    before = page.pixels()
    page.browser.find("#previous").click()
    page.settle()
    assert page.tiles() == {(STK, "ndvi", "2019-12-19")}
    assert (page.pixels() != before).any()
    page.tells(layer=STK, style="ndvi", time="2019-12-19")
    legend = page.browser.find("#legend")
    assert legend.get_attribute("alt") == "Legend of NDVI"
    assert int(legend.get_attribute("naturalWidth")) >= 200


def test_an_address_brings_the_same_view_again(page):
    view = (
        f"layer={STK}&style=ndvi&time=2019-12-19&compare=swipe&second=2020-01-01&swipe=0.3"
        "&opacity=0.5&set=WholeWorld_WebMercator&grid=BDC_SM_V2&at=-44.6,-11.78&zoom=9&graticule=0"
    )
    page.open(view)
    tiles = page.tiles()
    assert {(STK, "ndvi", "2019-12-19"), (STK, "ndvi", "2020-01-01")} < tiles
    assert ("BDC_SM_V2", "outline", "default") in tiles
    page.browser.find("#opacity").send_keys(Keys.ARROW_RIGHT)
    page.tells(opacity="0.55")
    found = page.state()
    wished = dict(pair.split("=") for pair in view.split("&")) | {"opacity": "0.55"}
    at = [float(v) for v in found.pop("at").split(",")]
    assert at == pytest.approx([float(v) for v in wished.pop("at").split(",")], abs=1e-4)
    assert found == wished


def test_a_view_that_makes_no_sense_is_mended(page):
    page.open("layer=none&style=x&time=never&compare=swipe&swipe=7&zoom=a&at=900,b&point=1&set=q")
    assert page.tiles() == {(MED, "true_colour", DAYS[-1]), (MED, "true_colour", DAYS[0])}
    assert (page.pixels()[..., 3] == 255).any()


def test_the_swipe_shows_two_dates(page):
    page.open(f"layer={MED}&style=ndvi&time=2020-01-01")
    whole = page.pixels()
    page.browser.choose("#compare", "swipe")
    page.browser.choose("#second", "2020-01-17")
    page.settle()
    assert (MED, "ndvi", "2020-01-17") in page.tiles()
    left, right = page.pixels(), page.pixels("image-second")
    middle = whole.shape[1] // 2
    assert not left[:, middle + 2 :, 3].any()
    assert not right[:, : middle - 2, 3].any()
    assert (left[:, : middle - 2] == whole[:, : middle - 2]).all()
    assert right[..., 3].any()
    assert (right[:, middle + 2 :] != whole[:, middle + 2 :]).any()
    page.browser.find("#swipe").send_keys(Keys.END)
    assert (page.pixels() == whole).all()
    page.browser.find("#swipe").send_keys(*[Keys.PAGE_DOWN] * 2, Keys.ARROW_LEFT)
    page.tells(swipe="0.78")


def test_a_difference_is_the_date_minus_the_second(page):
    page.open(f"layer={MED}&style=ndvi&time=2020-01-17&second=2019-12-19&compare=difference")
    assert page.tiles() == {(MED, "ndvi", "2019-12-19,2020-01-17")}
    assert (page.pixels()[..., 3] == 255).any()
    page.browser.find("#previous").click()
    page.browser.find("#previous").click()
    assert "Both dates are the same" in page.browser.text("#message")


def test_a_click_draws_the_values_of_the_pixel_over_time(page, spot, load):
    where, geobox = spot
    page.open(f"layer={MED}&style=ndvi&{where}")
    page.browser.click_at("#map")
    page.series()
    page.settle()
    page.browser.choose("#band", "BAND16")
    wanted = {day: int(load(MED, day, geobox, "BAND16").BAND16.item()) for day in DAYS}
    assert len(set(wanted.values())) > 1
    assert page.series() == wanted
    now = page.browser.run(
        "return [...document.querySelectorAll('#now .values div')].map(d => d.innerText)"
    )
    assert f"BAND16\n{wanted[DAYS[-1]]:,}" in now
    page.browser.find("#series summary").click()
    rows = page.browser.text("#table tbody").splitlines()
    assert [row.split()[-1] for row in rows] == [f"{v:,}" for v in wanted.values()]


def test_indices_are_drawn_as_the_services_compute_them(page, spot, load):
    where, geobox = spot
    page.open(f"layer={MED}&style=ndwi&band=NDWI&{where}")
    page.browser.click_at("#map")
    for day, value in page.series().items():
        pixel = load(MED, day, geobox, "BAND14", "BAND16").isel(x=0, y=0)
        green, nir = float(pixel.BAND14), float(pixel.BAND16)
        assert value == pytest.approx((green - nir) / (green + nir), abs=1e-5)


def test_no_image_at_a_place_is_said(page):
    page.open(f"layer={MED}&at=-44.0,-11.0&zoom=10")
    page.browser.find("#centre").click()
    page.browser.until(lambda: "no image" in page.browser.text("#now"), "a sentence")


def test_play_goes_from_date_to_date_and_stops(page):
    page.open(f"layer={MED}&time={DAYS[0]}")
    page.browser.find("#play").click()
    page.browser.until(
        lambda: page.browser.find("#time").get_attribute("value") == "2", "the third"
    )
    page.browser.find("#play").click()
    assert page.browser.text("#play").endswith("Play")
    page.settle()
    assert {(MED, "true_colour", day) for day in DAYS[:3]} <= page.tiles()


def test_addresses_are_copied(page):
    page.open(f"layer={STK}&style=ndvi&time=2020-01-01")
    page.browser.command(
        "Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"]
    )
    copied = {}
    for field in page.browser.driver.find_elements("css selector", ".address input"):
        name = field.get_attribute("id").removeprefix("address-")
        page.browser.find(f"#address-{name} + button").click()
        read = "navigator.clipboard.readText().then(arguments[0])"
        copied[name] = page.browser.driver.execute_async_script(read)
        assert copied[name] == field.get_attribute("value")
    assert copied["wms"] == f"{page.url}/wms"
    assert copied["wcs"] == f"{page.url}/wcs"
    assert copied["xyz"].startswith(
        f"{page.url}{TILE}{STK}/ndvi/2020-01-01/WholeWorld_WebMercator/"
    )
    with urllib.request.urlopen(copied["wmts"]) as answer:
        assert b"<Capabilities" in answer.read()
    with urllib.request.urlopen(copied["image"]) as answer:
        assert answer.headers.get_content_type() == "image/png"
    # Zoomed far out, the first tile of all holds the layer.
    with urllib.request.urlopen(copied["xyz"].format(z=0, x=0, y=0)) as answer:
        assert answer.headers.get_content_type() == "image/png"


def test_the_page_speaks_portuguese_where_that_is_wished(page):
    page.open(f"layer={MED}&style=ndvi", language="pt-BR,pt;q=0.9")
    assert page.browser.run("return document.documentElement.lang") == "pt"
    assert page.browser.text("#side h2") == "Camadas"
    assert page.browser.text("#date") == "18 de fev. de 2020 \N{EN DASH} 4 de mar. de 2020"
    assert "mediana das observações limpas" in page.browser.text("#about")
    assert "diferença normalizada" in page.browser.text("#style-about")


def test_the_language_is_switched_and_the_view_kept(page):
    page.open(f"layer={STK}&style=ndvi&time=2019-12-19")
    page.browser.find("a[hreflang=pt]").click()
    switched = "return document.documentElement.lang === 'pt'"
    page.browser.until(lambda: page.browser.run(switched), "Portuguese")
    page.ready()
    assert page.browser.text("#side h2") == "Camadas"
    page.tells(layer=STK, style="ndvi", time="2019-12-19")


def test_keys_are_enough(page):
    page.open(f"layer={MED}&style=ndvi&time=2020-01-17")
    active = "return document.activeElement.id"

    def tab_to(name):
        for _ in range(60):
            if page.browser.run(active) == name:
                return
            page.browser.press(Keys.TAB)
        raise AssertionError(f"no TAB leads to {name}")

    page.browser.press(Keys.TAB)
    assert page.browser.run(active) == "skip"
    page.browser.press(Keys.ENTER)
    assert page.browser.run(active) == "map"
    page.browser.until(lambda: "at" in page.state(), "a place")
    at = page.state()["at"]
    page.browser.press(Keys.ARROW_RIGHT)
    page.browser.until(lambda: page.state()["at"] != at, "a moved map")
    page.browser.press(Keys.ENTER)
    assert len(page.series()) == len(DAYS)
    page.tells(point=page.state()["at"])
    tab_to("time")
    page.browser.press(Keys.ARROW_LEFT)
    page.tells(time="2020-01-01")
    tab_to("band")
    page.browser.press(Keys.TAB, Keys.TAB)
    page.browser.press(Keys.HOME, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert page.browser.text("#reading").startswith("17 Jan 2020: ")
    page.browser.press(Keys.ENTER)
    page.tells(time="2020-01-17")
    tab_to("compare")
    page.browser.press(Keys.ARROW_DOWN)
    page.tells(compare="swipe")
    unnamed = page.browser.run(
        "return [...document.querySelectorAll('button, input, select, [role=slider]')]"
        ".filter(e => !(e.labels?.length || e.textContent.trim() || e.ariaLabel)).map(e => e.id)"
    )
    assert unnamed == []
    page.settle()


def test_a_phone_has_room_for_it(page):
    page.open(f"layer={MED}&style=ndvi&point=-44.55,-11.79&compare=swipe", size=(360, 740))
    page.series()
    wide = page.browser.run(
        "return [document.documentElement.scrollWidth, [...document.querySelectorAll('body *')]"
        ".filter(e => e.checkVisibility() && !e.closest('#map, .skip, .unseen, #tree')"
        " && e.getBoundingClientRect().right > 361).map(e => e.tagName + e.id)]"
    )
    assert wide == [360, []]
    assert page.browser.find("#map").size["height"] > 300
    small = page.browser.run(
        "return [...document.querySelectorAll('#stage button, #side select')]"
        ".filter(e => e.checkVisibility() && e.offsetHeight < 34).map(e => e.id || e.className)"
    )
    assert small == []


class Proxy(BaseHTTPRequestHandler):
    """A proxy that serves below a path, and fails or changes what it is told to."""

    target = ""
    broken = ""
    instead: ClassVar[dict[str, bytes]] = {}

    def do_GET(self):
        path = self.path.removeprefix("/maps")
        if path == self.path:
            return self.give(404, "text/plain", b"")
        if self.broken and self.broken in path:
            return self.give(503, "text/plain", b"")
        for name, body in self.instead.items():
            if name in path:
                return self.give(200, "application/json", body)
        headers = {k: v for k, v in self.headers.items() if k in {"Accept-Language", "Accept"}}
        try:
            with urllib.request.urlopen(
                urllib.request.Request(self.target + path, headers=headers)
            ) as answer:
                body, policy = answer.read(), answer.headers.get("Content-Security-Policy")
                return self.give(answer.status, answer.headers["Content-Type"], body, policy)
        except urllib.error.HTTPError as e:
            return self.give(e.code, e.headers["Content-Type"], e.read())

    def give(self, status, kind, body, policy=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if policy:
            self.send_header("Content-Security-Policy", policy)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        pass


@pytest.fixture
def proxied(browser, server):
    """Give the page behind a proxy, and the proxy."""
    handler = type("Told", (Proxy,), {"target": server.url})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield Page(browser, f"http://127.0.0.1:{proxy.server_port}/maps"), handler
        browser.offline(False)
        browser.driver.get("about:blank")
        proxy.shutdown()


def test_the_page_works_below_a_path_of_a_proxy(proxied):
    page, _ = proxied
    page.open(f"layer={MED}")
    asked = [u for u in page.browser.asked() if u.startswith("http")]
    assert all(u.startswith(page.url) for u in asked)
    assert (page.pixels()[..., 3] == 255).any()
    assert page.browser.find("#address-wms").get_attribute("value") == f"{page.url}/wms"
    assert page.browser.complaints() == []


def test_images_that_do_not_come_are_explained(proxied):
    page, proxy = proxied
    page.open(f"layer={MED}&style=ndvi")
    proxy.broken = "/2020-01-17/"
    page.browser.find("#previous").click()
    page.browser.until(lambda: "busy or being restarted" in page.browser.text("#message"), "503")
    proxy.broken = ""
    page.browser.find("#message button").click()
    page.browser.until(page.has_images, "images")
    assert not page.browser.find("#message").is_displayed()
    page.browser.offline(True)
    page.browser.find("#previous").click()
    page.browser.until(lambda: "does not answer" in page.browser.text("#message"), "no server")


def test_a_server_without_a_list_of_layers_is_explained(proxied):
    page, proxy = proxied
    proxy.broken = "layers.en.json"
    page.browser.open(f"{page.url}/")
    page.browser.until(lambda: "busy or being restarted" in page.browser.text("#message"), "503")


def test_without_images_the_page_says_what_to_do(proxied, server):
    page, proxy = proxied
    with urllib.request.urlopen(f"{server.url}/page/layers.en.json") as answer:
        known = json.load(answer)
    empty = known | {"folders": [], "layers": {}, "hidden": ["<b>A</b>"]}
    proxy.instead = {"layers.en.json": json.dumps(empty).encode()}
    page.browser.open(f"{page.url}/")
    page.browser.until(lambda: "odc-bdc ows update" in page.browser.text("#summary"), "what to do")
    assert "times are not known: <b>A</b>" in page.browser.text("#hidden")
    assert page.browser.find("#address-wms").get_attribute("value") == f"{page.url}/wms"
    assert page.browser.complaints() == []


def test_a_connection_without_a_request_holds_nobody_up(server):
    address = urlsplit(server.url)
    with (
        socket.create_connection((address.hostname, address.port)),
        # The server has one worker, which would wait for the first connection's request.
        urllib.request.urlopen(f"{server.url}/page/layers.en.json", timeout=30) as answer,
    ):
        assert answer.status == 200
