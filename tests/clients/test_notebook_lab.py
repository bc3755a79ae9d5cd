"""Maps of the notebook kit in JupyterLab, as its user sees them in Chromium."""

from __future__ import annotations

import base64
from io import BytesIO
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from jupyter import lab, write_notebook
from PIL import Image
from small_index import BBOX

pytestmark = pytest.mark.integration

MED = "CB4_64_16D_MED_v1"
PREPARE = f"""
from odc.geo.geobox import GeoBox
from odc_bdc import notebook as nb
from odc_bdc.grid import BDC_CRS

dc = nb.connect()
geobox = GeoBox.from_bbox({BBOX}, BDC_CRS, resolution=64)
ds = nb.load(dc, {MED!r}, like=geobox)
"""
ARRAYS = "nb.show(ds, 'ndvi', swipe='2019-12-19')"
SERVED = "nb.show({layer!r}, 'ndvi', server={url!r})"


class Lab:
    """A notebook in JupyterLab."""

    def __init__(self, browser, url):
        self.browser, self.url = browser, url

    def open(self, name):
        self.browser.open(f"{self.url}/lab/tree/{name}", size=(1280, 1500))
        ready = "return !!(window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel)"
        self.browser.until(lambda: self.browser.run(ready), "a kernel", 90)

    def run_all(self):
        self.browser.run("window.jupyterapp.commands.execute('notebook:run-all-cells')")

    def errors(self):
        return self.browser.run(
            "return [...document.querySelectorAll('.jp-OutputArea-output[data-mime-type*=error],"
            " .jp-RenderedText[data-mime-type*=stderr]')].map(e => e.innerText)"
        )

    def images(self):
        """Give the addresses of the images of arrays, and the clip of their panes."""
        return self.browser.run(
            "return [...document.querySelectorAll('img.leaflet-image-layer')]"
            ".map(e => [e.src, e.parentElement.style.clip])"
        )

    def tiles(self):
        """Give the queries of the tiles of the map server that are there."""
        urls = self.browser.run(
            "return [...document.querySelectorAll('img.leaflet-tile-loaded')].map(e => e.src)"
        )
        return [parse_qs(urlsplit(url).query) for url in urls]

    def slide(self, number, key):
        """Press a key on a slider of dates."""
        handle = self.browser.driver.find_elements(
            "css selector", ".jupyter-widgets.widget-select .noUi-handle, .widget-slider .noUi-handle"
        )[number]
        handle.click()
        self.browser.press(key)

    def picture(self):
        return np.asarray(
            Image.open(BytesIO(self.browser.driver.get_screenshot_as_png())).convert("RGB")
        )


def test_x(browser, dc, home, server, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    cells = [PREPARE, ARRAYS, SERVED.format(layer=MED, url=server.url)]
    write_notebook(folder / "maps.ipynb", cells)
    import time
    t=time.time()
    with lab(home, folder, tmp_path / "own") as url:
        print("up", time.time()-t)
        page = Lab(browser, url)
        page.open("maps.ipynb")
        print("open", time.time()-t)
        page.run_all()
        page.browser.until(lambda: page.errors() or len(page.images()) == 2, "images", 100)
        print("run", time.time()-t)
        try:
            page.browser.until(lambda: page.errors() or len(page.tiles()) >= 2, "tiles", 10)
        except AssertionError: pass
        print(page.errors())
        time.sleep(2)
        page.browser.driver.save_screenshot("/tmp/mapsbuild/lab.png")
        print([u for u in browser.asked() if not u.startswith(("data:", url, "blob:"))][:5])
        print(page.browser.complaints()[:10])
        print([(a[:50],b) for a,b in page.images()], len(page.tiles()))
        print(browser.run("return [...document.querySelectorAll('.noUi-handle')].map(e=>e.closest('.jupyter-widgets')?.className)"))
        print(browser.run("return document.querySelector('.jupyter-widgets .noUi-handle')?.closest('.jupyter-widgets').outerHTML"))
