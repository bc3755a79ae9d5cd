"""Live images in the services: what a built one gives, by the same configuration; and failures."""

from __future__ import annotations

import json
import os
import shutil
import time
from datetime import date
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from answers import fetched, pixels, read_report
from builders import CLOCK, RECIPE, SPAN
from live_load import bounded, put_load
from odc.geo.geobox import GeoBox
from rasterio.io import MemoryFile
from small_index import own_index
from test_bad_requests import path_of, version_of

from odc_bdc.building import ImageStore, build_cube
from odc_bdc.cube import find_cube
from odc_bdc.errors import OdcBdcError, UnreadableSceneError
from odc_bdc.grid import BDC_CRS
from odc_bdc.indexing import add_products, find_recipe, index_collection
from odc_bdc.live import RECIPE_SUFFIX
from odc_bdc.live.declaring import declare_cube
from odc_bdc.ows import live as live_layers
from odc_bdc.ows import start_server, update_ranges
from odc_bdc.ows.tiles import BDC
from odc_bdc.planning import plan_cube
from odc_bdc.product import product_document
from odc_bdc.scenes import demo_extent, make_scenes

pytestmark = pytest.mark.integration

CUBE = "CB4_64_16D_STK_v1"
SIZE = 160


def cube():
    return find_cube(CUBE).patch(extent=demo_extent(SIZE))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Bring up an index with scenes and live images of one period, and the server of it."""
    home = tmp_path_factory.mktemp("live")
    with own_index(home, "live") as (index, dc):
        make_scenes(home / "scenes", size=SIZE, start=date(2019, 12, 1), end=SPAN[1])
        recipe = find_recipe(RECIPE)
        add_products(dc, [product_document(recipe.product), cube().to_product()])
        assert index_collection(dc, recipe, [home / "scenes"]).failed == []
        tasks = plan_cube(dc, cube(), *SPAN)
        store = ImageStore.open(home / "cubes")
        assert declare_cube(dc, tasks, store, now=CLOCK).failed == []
        update_ranges(dc)
        log = home / "ows.log"
        # Images are kept, as where services are run; none of live ones, for scenes change.
        environ = {**os.environ, "ODC_BDC_OWS_CACHE": str(home / "cache")}
        with (
            start_server(index, port=0, workers=1, log=log, environ=environ) as server,
            pytest.MonkeyPatch.context() as patch,
        ):
            # As who loads data beside the services has it.
            patch.setenv("ODC_CONFIG_PATH", str(index.config_path))
            yield SimpleNamespace(dc=dc, tasks=tasks, store=store, server=server, home=home)


@pytest.fixture(scope="module")
def ask(place):
    """Request something of this server, whatever the status of the answer."""
    return partial(fetched, place.server.url)


def geobox(place):
    """Give the pixels of all tiles of the first period."""
    start = place.tasks[0].period.start
    boxes = [t.geobox.boundingbox for t in place.tasks if t.period.start == start]
    edges = (
        min(b.left for b in boxes), min(b.bottom for b in boxes),
        max(b.right for b in boxes), max(b.top for b in boxes),
    )  # fmt: skip
    return GeoBox.from_bbox(edges, BDC_CRS, resolution=cube().resolution, tight=True)


def requests(place):
    """Give requests of all kinds, for the first period."""
    box, day = geobox(place), place.tasks[0].period.start.isoformat()
    rows, columns = box.shape
    bbox = ",".join(str(v) for v in box.boundingbox.bbox)
    view = {
        "service": "WMS", "version": "1.3.0", "layers": CUBE, "crs": "EPSG:10857", "bbox": bbox,
        "width": columns, "height": rows, "format": "image/png", "time": day,
    }  # fmt: skip
    coverage = {
        "service": "WCS", "version": "1.0.0", "request": "GetCoverage", "coverage": CUBE,
        "crs": "EPSG:10857", "bbox": bbox, "width": columns, "height": rows, "format": "GeoTIFF",
        "time": day,
    }  # fmt: skip
    return {
        "map": view | {"request": "GetMap", "styles": "true_colour"},
        "index": view | {"request": "GetMap", "styles": "ndvi"},
        "mercator": view | {
            "request": "GetMap", "styles": "true_colour", "crs": "EPSG:3857",
            "bbox": ",".join(str(v) for v in box.extent.to_crs("EPSG:3857").boundingbox.bbox),
        },
        "coarse": view | {
            "request": "GetMap", "styles": "true_colour", "width": columns // 4,
            "height": rows // 4,
        },
        "info": view | {
            "request": "GetFeatureInfo", "query_layers": CUBE, "styles": "true_colour",
            "info_format": "application/json", "i": columns // 2, "j": rows // 3,
        },
        "legend": {
            "service": "WMS", "version": "1.3.0", "request": "GetLegendGraphic", "layer": CUBE,
            "style": "ndvi", "format": "image/png",
        },
        "coverage": coverage,
        "tile": {
            "service": "WMTS", "version": "1.0.0", "request": "GetTile", "layer": CUBE,
            "style": "true_colour", "tilematrixset": "BDC_Albers", "tilematrix": "10",
            **_tile_of(box), "format": "image/png", "time": day,
        },
    }  # fmt: skip


def _tile_of(box):
    """Give the tile in the midst of the view."""
    row, column = BDC.tile_at(10, *(box.affine * (box.shape.x / 2, box.shape.y / 2)))
    return {"tilerow": row, "tilecol": column}


def bands(body):
    with MemoryFile(body) as memory, memory.open() as src:
        return dict(zip(src.descriptions, src.read(), strict=True))


def loaded(place):
    """Load the first period, as this process sees the scenes."""
    day = place.tasks[0].period.start
    found = [d for d in place.dc.index.datasets.search(product=CUBE) if d.time.begin.date() == day]
    return place.dc.load(datasets=found, like=geobox(place), group_by="solar_day").isel(time=0)


def test_a_live_layer_serves_what_the_built_one_serves(place, ask):
    asked = requests(place)
    live = {name: ask(path_of(query), query) for name, query in asked.items()}
    for name, answer in live.items():
        assert answer.status == 200, (name, answer.body[:300])
    for name in ("map", "index", "mercator", "coarse", "tile"):
        assert pixels(live[name].body)[3].mean() > 25, name
    # What is shown is what was computed: no blank tile is the same as another blank one.
    found = bands(live["coverage"].body)
    data = loaded(place)
    for name, band in found.items():
        np.testing.assert_array_equal(band, data[name].values, err_msg=name)
    assert (found["BAND15"] != -9999).mean() > 0.5
    built = build_cube(place.dc, place.tasks, place.store, now=CLOCK)
    assert built.failed == []
    formats = {
        d.metadata_doc["properties"]["odc:file_format"]
        for d in place.dc.index.datasets.search(product=CUBE)
    }
    assert formats == {"GeoTIFF"}
    try:
        for name, query in asked.items():
            again = ask(path_of(query), query)
            assert again.status == 200
            if name == "coverage":
                for band, pixel in bands(again.body).items():
                    np.testing.assert_array_equal(pixel, found[band], err_msg=band)
            elif name == "info":
                assert _values(again.body) == _values(live[name].body)
            elif name != "coarse":
                assert again.body == live[name].body, name
    finally:
        report = declare_cube(place.dc, place.tasks, place.store, now=CLOCK, replace_built="all")
        assert report.failed == []


def _values(body):
    data = json.loads(body)["features"][0]["properties"]["data"]
    return [entry["bands"] for entry in data]


def file_of(place, band):
    """Give the file of a band of the last scene of the first task."""
    task = place.tasks[0]
    return Path(task.scenes[-1].source(band).href.removeprefix("file://"))


@pytest.mark.parametrize("how", ["missing", "no image", "cut off"])
def test_a_scene_that_cannot_be_read_fails_what_is_made_of_it(place, ask, how):
    path = file_of(place, "CMASK")
    content = path.read_bytes()
    status = path.stat()
    asked = {n: q for n, q in requests(place).items() if n in {"map", "coverage", "tile", "info"}}
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(b"<html>" * 99 if how == "no image" else content[: len(content) // 3])
    time.sleep(1.2)
    try:
        before = place.server.log.read_text("utf-8")
        for name, query in asked.items():
            if name in {"tile", "info"}:
                continue  # they may lie on another tile
            answer = ask(path_of(query), query)
            assert answer.status == 503, (name, answer.status)
            assert answer.headers["Cache-Control"] == "no-store"
            report = read_report(answer, *version_of(query))
            assert report.texts[0] == "A file of the images that this is made of cannot be read."
        log = place.server.log.read_text("utf-8")[len(before) :]
        assert f"cannot read a live image of {CUBE}: {path}: cannot be read" in log
        with pytest.raises(UnreadableSceneError, match=rf"{path.name}: cannot be read") as told:
            loaded(place)
        assert told.value.scene == place.tasks[0].scenes[-1].id
    finally:
        path.write_bytes(content)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    time.sleep(1.2)
    assert ask(path_of(asked["map"]), asked["map"]).status == 200


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_a_recipe_that_cannot_be_read_fails_what_is_made_of_it(place, ask, how):
    start = place.tasks[0].period.start
    for path in place.home.rglob(f"*_{start}_*{RECIPE_SUFFIX}"):
        text = path.read_text("utf-8")
        changed = text.replace('"recipe_version": 1', '"recipe_version": 99')
        path.rename(path.with_suffix(".kept"))
        if how == "changed":
            path.write_text(changed, "utf-8")
    said = "is not the recipe that was declared" if how == "changed" else "no such file"
    query = requests(place)["map"]
    try:
        before = place.server.log.read_text("utf-8")
        answer = ask(path_of(query), query)
        assert (answer.status, answer.headers["Cache-Control"]) == (503, "no-store")
        log = place.server.log.read_text("utf-8")[len(before) :]
        (line,) = {n for n in log.splitlines() if "cannot read a live image" in n}
        assert RECIPE_SUFFIX in line
        assert said in line.lower()
        with pytest.raises(OdcBdcError, match=f"(?i){said}"):
            loaded(place)
    finally:
        for path in place.home.rglob("*.kept"):
            path.replace(path.with_suffix(".json"))
    assert ask(path_of(query), query).status == 200


def test_a_scene_that_is_replaced_under_the_server_is_shown(place, ask):
    asked = requests(place)
    query, shown = asked["coverage"], asked["map"]
    before, image = bands(ask("wcs", query).body), ask("wms", shown).body
    task = place.tasks[0]
    path = file_of(place, "BAND15")
    kept = path.with_suffix(".kept")
    shutil.copy2(path, kept)
    other = task.scenes[0] if len(task.scenes) > 1 else task.scenes[-1]
    source = Path(other.source("BAND14").href.removeprefix("file://"))
    try:
        new = path.with_suffix(".new")
        shutil.copyfile(source, new)
        new.replace(path)
        time.sleep(1.2)
        after = bands(ask("wcs", query).body)
        data = loaded(place)
        assert ask("wms", shown).body != image
        changed = {n for n in before if not np.array_equal(before[n], after[n])}
        assert {"BAND15"} <= changed
        for name, band in after.items():
            np.testing.assert_array_equal(band, data[name].values, err_msg=name)
    finally:
        kept.replace(path)
    time.sleep(1.2)
    again = bands(ask("wcs", query).body)
    assert all(np.array_equal(again[n], before[n]) for n in before)
    assert ask("wms", shown).body == image


def test_layers_without_a_reader_are_told_at_the_start(place, monkeypatch):
    product = SimpleNamespace(name=CUBE)

    def config(driver):
        layer = SimpleNamespace(name=CUBE, ready=True, load_driver=driver, products=[product])
        return SimpleNamespace(layer_index={CUBE: layer}, dc=place.dc)

    assert list(live_layers.unreadable_live_layers(config("legacy"))) == []
    (told,) = live_layers.unreadable_live_layers(config("rio"))
    assert told == (
        f"layer {CUBE}: has live images ({CUBE}), and load_driver 'rio' cannot read them: "
        "set 'legacy'"
    )
    monkeypatch.setattr(live_layers, "has_live_reader", lambda: False)
    (told,) = live_layers.unreadable_live_layers(config("legacy"))
    assert "this installation has no reader for them: install odc_bdc anew" in told
    scenes = config("legacy")
    scenes.layer_index[CUBE].products = [SimpleNamespace(name=cube().products[0])]
    assert list(live_layers.unreadable_live_layers(scenes)) == []


def test_the_reader_is_found_in_this_installation():
    assert live_layers.has_live_reader()


def test_clients_at_once_get_tiles_without_an_error(place):
    load = put_load(place.server, place.tasks, clients=8, seconds=10)
    assert load.faults == []
    assert len(load.seconds) > 8
    assert load.blank < len(load.seconds)
    assert bounded(load)
