"""Maps of the notebook kit in JupyterLab, as its user sees them in Chromium."""

from __future__ import annotations

import base64
import time
from io import BytesIO
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from jupyter import lab, write_notebook
from PIL import Image
from selenium.webdriver.common.keys import Keys
from small_index import BBOX

pytestmark = pytest.mark.integration

MED = "CB4_64_16D_MED_v1"
PREPARE = f"""from odc.geo.geobox import GeoBox
from odc_bdc import notebook as nb
from odc_bdc.grid import BDC_CRS

dc = nb.connect()
geobox = GeoBox.from_bbox({BBOX}, BDC_CRS, resolution=64)
ds = nb.load(dc, "{MED}", like=geobox)"""
ARRAYS = 'nb.show(ds, "ndvi", swipe="2019-12-19")'
SERVED = 'nb.show("{layer}", "false_colour", server="{url}")'


class Lab:
    """A notebook in JupyterLab."""

    def __init__(self, browser, url):
        self.browser, self.url = browser, url

    def run(self, name):
        """Open a notebook and run all of it."""
        self.browser.open(f"{self.url}/lab/tree/{name}", size=(1280, 1700))
        ready = "return !!(window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel)"
        self.browser.until(lambda: self.browser.run(ready), "a kernel", 120)
        self.browser.run("window.jupyterapp.commands.execute('notebook:run-all-cells')")

    def errors(self):
        return self.browser.run(
            "return [...document.querySelectorAll('[data-mime-type*=error],"
            " [data-mime-type*=stderr]')].map(e => e.innerText)"
        )

    def images(self):
        """Give the images of arrays: their pixels, and how they are clipped."""
        found = self.browser.run(
            "return [...document.querySelectorAll('img.leaflet-image-layer')]"
            ".map(e => [e.src, e.parentElement.style.clip])"
        )
        return [(decoded(url), clip) for url, clip in found]

    def times(self):
        """Give the times of the tiles of the map server that are there."""
        urls = self.browser.run(
            "return [...document.querySelectorAll('img.leaflet-tile-loaded')].map(e => e.src)"
        )
        return {parse_qs(urlsplit(url).query)["time"][0] for url in urls}

    def slide(self, number, key):
        """Press a key on a slider of dates, until it takes it: JupyterLab may be busy."""
        readout = "//div[contains(@class, 'widget-readout') and starts-with(text(), '20')]"
        xpaths = (readout, f"{readout}/..//div[contains(@class, 'noUi-handle')]")

        def parts():
            find = self.browser.driver.find_elements
            return [find("xpath", xpath)[number] for xpath in xpaths]

        before = parts()[0].text
        for _ in range(10):
            self.browser.run("arguments[0].focus()", parts()[1])
            parts()[1].send_keys(key)
            until = time.monotonic() + 5
            while time.monotonic() < until:
                if parts()[0].text != before:
                    return
                time.sleep(0.05)
        raise AssertionError(f"slider {number} stays at {before}")


def decoded(url):
    return np.asarray(Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA"))


def test_maps_in_jupyterlab_have_sliders_and_a_swipe(browser, dc, home, server, tmp_path, pictures):
    folder = tmp_path / "mine"
    folder.mkdir()
    write_notebook(
        folder / "maps.ipynb", [PREPARE, ARRAYS, SERVED.format(layer=MED, url=server.url)]
    )
    with lab(home, folder, tmp_path / "own") as url:
        page = Lab(browser, url)
        page.run("maps.ipynb")
        browser.until(
            lambda: page.errors() or (len(page.images()) == 2 and page.times()), "maps", 120
        )
        assert page.errors() == []
        (left, left_clip), (right, right_clip) = page.images()
        assert not np.array_equal(left, right)
        assert left_clip != right_clip
        assert page.times() == {"2020-02-18"}
        assert shown_colours(browser) >= 1000
        if pictures:
            browser.run("window.jupyterapp.commands.execute('application:toggle-left-area')")
            browser.take_picture(pictures / "notebook_maps.png")

        page.slide(0, Keys.ARROW_LEFT)
        browser.until(lambda: not np.array_equal(page.images()[0][0], left), "another image")
        assert np.array_equal(page.images()[1][0], right)
        page.slide(2, Keys.ARROW_LEFT)
        browser.until(lambda: page.times() == {"2020-01-17"}, "tiles of another date")

        border = browser.find(".leaflet-sbs-range")
        browser.run("arguments[0].focus()", border)
        border.send_keys(Keys.HOME)
        browser.until(lambda: page.images()[0][1] != left_clip, "a moved border")
        # rect(top, right, bottom, left): nothing of the left image is left.
        _, edge, _, begin = (float(v.strip("px ")) for v in page.images()[0][1][5:-1].split(","))
        assert edge - begin < 30

        asked = [u for u in browser.asked() if not u.startswith(("data:", "blob:", f"{url}/"))]
        assert asked
        assert all(u.startswith(f"{server.url}/wms?") for u in asked)
        severe = [c for c in browser.complaints() if "Uncaught" in c or "Error displaying" in c]
        assert severe == []


def shown_colours(browser):
    """Count pixels of vegetation's colours in what is on the screen."""
    shot = Image.open(BytesIO(browser.driver.get_screenshot_as_png())).convert("RGB")
    red, green, blue = np.moveaxis(np.asarray(shot).astype(int), -1, 0)
    return int(((green > red + 8) & (green > blue + 40)).sum())
