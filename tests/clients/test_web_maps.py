"""Maps of somebody else: OpenLayers and Leaflet in Chromium, on a page of another address."""

from __future__ import annotations

import base64
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from answers import pixels
from small_index import STK
from test_qgis import TILES, WORLD

from odc_bdc.grid.crs import BDC_PROJ

pytestmark = pytest.mark.integration

MAPS = Path(__file__).with_name("maps")
LEAFLET = Path("/usr/share/javascript/leaflet")
SIDE = 512
JANUARY, DECEMBER = "2020-01-01", "2019-12-19"


class Files(SimpleHTTPRequestHandler):
    """Serves the pages, and Leaflet from where Debian puts it."""

    def translate_path(self, path):
        name = path.rpartition("/")[2]
        return str(
            (LEAFLET if name.startswith("leaflet.") and not name.endswith("html") else MAPS) / name
        )

    def log_message(self, *_args):
        pass


@pytest.fixture(scope="module")
def site():
    """Serve the pages on a port of their own, so that the services are another origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=MAPS)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Shown:
    """One of the pages in a browser."""

    def __init__(self, browser, url):
        self.browser = browser
        browser.open(url, size=(SIDE, SIDE))
        browser.until(lambda: browser.run("return window.ready"), "the page")

    def show(self, **job):
        """Show a layer; all of its images must have come, and nothing may be complained of."""
        told = self.browser.driver.execute_async_script(
            "const [job, done] = arguments; show(job).then(done, e => done({error: String(e)}))",
            job,
        )
        assert "error" not in told, told
        assert told["failed"] == []
        assert self.browser.complaints() == []
        return told

    def screenshot(self):
        """Give what a user sees, (3, y, x)."""
        clip = {"x": 0, "y": 0, "width": SIDE, "height": SIDE, "scale": 1}
        taken = self.browser.command("Page.captureScreenshot", format="png", clip=clip)
        return pixels(base64.b64decode(taken["data"]))[:3]


@pytest.fixture
def openlayers(browser, site):
    return Shown(browser, f"{site}/openlayers.html")


@pytest.fixture
def leaflet(browser, site):
    if not (LEAFLET / "leaflet.js").exists():
        pytest.skip("Leaflet is not installed: `make clients` does that on Debian")
    return Shown(browser, f"{site}/leaflet.html")


@pytest.fixture
def get_map(fetch):
    """Ask for a map of STK."""

    def get(box, crs="EPSG:3857", size=SIDE, style="true_colour", day=JANUARY, **more):
        asked = {"layers": STK, "styles": style, "crs": crs, "width": size, "height": size}
        asked |= {"bbox": ",".join(map(repr, box)), "time": day, "format": "image/png", **more}
        return pixels(fetch("wms", service="WMS", version="1.3.0", request="GetMap", **asked))

    return get


def four(tile, fetch, style="true_colour", day="default"):
    """Put a tile and its neighbours to the east, south and south-east together: (4, 512, 512)."""
    rows = [
        np.concatenate(
            [
                pixels(
                    fetch(
                        f"wmts/1.0.0/{STK}/{style}/{day}/{tile.tiles}/{tile.level}/"
                        f"{tile.row + down}/{tile.column + right}.png"
                    )
                )
                for right in (0, 1)
            ],
            axis=2,
        )
        for down in (0, 1)
    ]
    return np.concatenate(rows, axis=1)


def middle(tile):
    """Give the corner that a tile and its three neighbours have in common."""
    _, south, east, _ = tile.extent
    return [east, south]


def check_same(drawn, served):
    """Check that what has data is drawn as it is served, and nothing else is drawn."""
    assert (served[3] == 255).mean() > 0.1
    np.testing.assert_array_equal(drawn[3], served[3])
    np.testing.assert_array_equal(drawn[:3, served[3] > 0], served[:3, served[3] > 0])


@pytest.mark.parametrize("tile", TILES, ids=lambda t: t.tiles)
def test_openlayers_draws_the_tiles_of_each_grid(openlayers, server, fetch, tile):
    job = {"base": server.url, "layer": STK, "style": "true_colour", "tiles": tile.tiles}
    told = openlayers.show(service="wmts", level=tile.level, center=middle(tile), **job)
    assert told["dimensions"] == {"Time": JANUARY}
    check_same(pixels(base64.b64decode(told["image"])), four(tile, fetch))


@pytest.mark.parametrize("day", [None, DECEMBER])
def test_openlayers_draws_maps_tile_by_tile(openlayers, server, get_map, day):
    web = TILES[0]
    job = {"base": server.url, "layer": STK, "style": "ndvi", "crs": "EPSG:3857", "time": day}
    resolution, (x, y) = web.side / 256, middle(web)
    told = openlayers.show(service="wms", tiled=True, resolution=resolution, center=[x, y], **job)
    assert told["title"] == "CBERS-4 WFI 64 m, 16 days, stack, least cloud cover first"
    side = web.side
    quarters = [
        [
            get_map(
                (x - side * (1 - i), y - side * j, x + side * i, y + side * (1 - j)),
                size=256,
                style="ndvi",
                day=day or JANUARY,
            )
            for i in (0, 1)
        ]
        for j in (0, 1)
    ]
    served = np.concatenate([np.concatenate(row, axis=2) for row in quarters], axis=1)
    check_same(pixels(base64.b64decode(told["image"])), served)


def test_openlayers_draws_a_map_in_the_crs_of_the_bdc(openlayers, server, get_map):
    center, resolution = [6003200, 10008320], 64
    job = {"base": server.url, "layer": STK, "style": "true_colour", "crs": "EPSG:10857"}
    told = openlayers.show(
        service="wms", tiled=False, definition=BDC_PROJ, center=center, resolution=resolution, **job
    )
    assert "EPSG:10857" in told["crs"]
    half = SIDE / 2 * resolution
    box = (center[0] - half, center[1] - half, center[0] + half, center[1] + half)
    check_same(pixels(base64.b64decode(told["image"])), get_map(box, "EPSG:10857"))


ZOOM = 11


def of_leaflet(tile):
    """Give the place of the corner that four tiles have in common, as Leaflet has it."""
    x, y = middle(tile)
    lat = np.degrees(2 * np.arctan(np.exp(y / 6378137)) - np.pi / 2)
    return {"center": [float(lat), x / WORLD * 180], "zoom": ZOOM}


def seen_of(served):
    """Give what is seen of images with data, and where."""
    opaque = served[3] == 255
    assert opaque.mean() > 0.1
    return served[:3, opaque].astype(int), opaque


def test_leaflet_draws_tiles_by_their_path(leaflet, server, fetch):
    template = f"{server.url}/wmts/1.0.0/{STK}/true_colour/{{time}}/WholeWorld_WebMercator"
    url, place = template + "/{z}/{y}/{x}.png", of_leaflet(TILES[0])
    leaflet.show(url=url, options={"time": DECEMBER}, **place)
    served, opaque = seen_of(four(TILES[0], fetch, day=DECEMBER))
    drawn = leaflet.screenshot()
    np.testing.assert_array_equal(drawn[:, opaque], served)
    # Where there is no image the page is seen, which is magenta.
    empty = four(TILES[0], fetch, day=DECEMBER)[3] == 0
    assert empty.any()
    assert (drawn[:, empty] == np.array([[255], [0], [255]])).all()


@pytest.mark.parametrize("version", ["1.1.1", "1.3.0"])
def test_leaflet_draws_maps(leaflet, server, fetch, version):
    options = {"layers": STK, "styles": "true_colour", "format": "image/png", "transparent": True}
    options |= {"version": version, "time": DECEMBER}
    told = leaflet.show(url=f"{server.url}/wms", wms=True, options=options, **of_leaflet(TILES[0]))
    assert all(f"version={version}" in url for url in told["tiles"])
    served, opaque = seen_of(four(TILES[0], fetch, day=DECEMBER))
    np.testing.assert_array_equal(leaflet.screenshot()[:, opaque], served)


def test_leaflet_draws_a_map_of_which_it_is_told_the_layer_only(leaflet, server, fetch):
    told = leaflet.show(
        url=f"{server.url}/wms", wms=True, options={"layers": STK}, **of_leaflet(TILES[0])
    )
    assert all("format=image%2Fjpeg" in url for url in told["tiles"])
    served = four(TILES[0], fetch)
    opaque = served[3] == 255
    off = np.abs(leaflet.screenshot().astype(int) - served[:3])
    # A JPEG, so noise is smoothed; the picture is the same.
    assert off[:, opaque].mean() < 20
    assert np.median(leaflet.screenshot()[:, served[3] == 0]) >= 250


@pytest.mark.parametrize("version", ["1.1.1", "1.3.0"])
def test_leaflet_draws_a_map_in_degrees(leaflet, server, get_map, version):
    options = {"layers": STK, "styles": "ndvi", "format": "image/png", "version": version}
    zoom = 9
    side = 180 / 2**zoom  # of a tile, in degrees
    west, north = -45, -11.6
    column, row = round((west + 180) / side), round((90 - north) / side)
    corner = [90 - (row + 1) * side, (column + 1) * side - 180]
    leaflet.show(
        url=f"{server.url}/wms", wms=True, options=options, crs="EPSG4326", center=corner, zoom=zoom
    )
    lat, lon = corner
    box = (lon - side, lat - side, lon + side, lat + side)
    served = get_map(box, "CRS:84", style="ndvi")
    data, opaque = seen_of(served)
    drawn = leaflet.screenshot()[:, opaque]
    # Tiles and the whole may take another pixel of the source at an edge.
    assert (drawn == data).all(axis=0).mean() > 0.99
