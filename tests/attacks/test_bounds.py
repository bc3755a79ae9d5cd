"""Work without bound: requests that would take all of the processor, the memory or the workers."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from answers import fetched, leaks, read_report
from builders import CLOCK, RECIPE, SPAN
from loading import workers_of
from odc.geo.geobox import GeoBox
from small_index import CUBES, describe_dataset, fill_index, own_index

from odc_bdc.building import ImageStore
from odc_bdc.cube import find_cube
from odc_bdc.function import composite_function
from odc_bdc.indexing import add_products, find_recipe, index_collection
from odc_bdc.live.declaring import declare_cube
from odc_bdc.ows import start_server, update_ranges
from odc_bdc.ows.tiles import BDC
from odc_bdc.planning import plan_cube
from odc_bdc.product import product_document
from odc_bdc.scenes import demo_extent, make_scenes

pytestmark = pytest.mark.integration

LIVE, SLOW, BUILT = "CB4_64_16D_STK_v1", "CB4_64_16D_GEOMED_v1", "CB4_64_16D_MED_v1"
LARGE = "CB4_64_1M_MED_v1"
SIZE = 160
MOST_WORK, MOST_MEMORY = 40, "600M"
MOST_RESIDENT = 1200
"""MB that a worker may ever have had."""
SIDES = {False: 3000, True: 5790}
"""Pixels of a large coverage, in the short and the long form."""


def live_cubes():
    """Give a live cube as it comes, and the same by the slowest function."""
    cube = find_cube(LIVE).patch(extent=demo_extent(SIZE))
    slow = composite_function("GEOMED")
    auxiliary = tuple(a for a in cube.auxiliary if a in {"CLEAROB", "TOTALOB"})
    return [cube, cube.patch(name=SLOW, function=slow, auxiliary=auxiliary, indices=())]


@pytest.fixture(scope="module")
def place(tmp_path_factory, request):
    """Serve live images, built ones and a large one, with limits that are met by little."""
    home = tmp_path_factory.mktemp("bounds")
    with own_index(home, "bounds") as (index, dc):
        make_scenes(home / "scenes", size=SIZE, start=date(2019, 12, 1), end=SPAN[1])
        recipe, cubes = find_recipe(RECIPE), live_cubes()
        add_products(dc, [product_document(recipe.product), *(c.to_product() for c in cubes)])
        assert index_collection(dc, recipe, [home / "scenes"]).failed == []
        for cube in cubes:
            tasks = plan_cube(dc, cube, *SPAN)
            store = ImageStore.open(home / cube.name)
            assert declare_cube(dc, tasks, store, now=CLOCK).failed == []
        fill_index(dc, home / "pixels", CUBES[1:2], ())
        large = add_large(dc, home / "large", SIDES[request.config.getoption("--attack-long")])
        update_ranges(dc)
        (home / "counts").mkdir()
        environ = {
            **os.environ,
            "ODC_BDC_OWS_METRICS": str(home / "counts"),
            "ODC_BDC_OWS_MAX_WORK": str(MOST_WORK),
            "ODC_BDC_OWS_MAX_MEMORY": MOST_MEMORY,
            "ODC_BDC_OWS_HEAVY": "1",
        }
        first = tasks[0]
        found = SimpleNamespace(
            index=index, home=home, box=first.geobox, day=str(first.period.start), large=large
        )
        with served(found, "little", environ) as found.server:
            yield found


def served(place, name, environ):
    """Serve the index by one worker."""
    log = place.home / f"{name}.log"
    return start_server(place.index, port=0, workers=1, log=log, environ=environ, timeout=180)


@pytest.fixture(scope="module")
def usual(place):
    """Serve the same with the limits that there are if nobody sets any."""
    with served(place, "usual", dict(os.environ)) as server:
        yield server


def add_large(dc, folder, side):
    """Index an image of noise, which no compression makes small; give its pixels' place."""
    from datacube.index.hl import Doc2Dataset

    cube = find_cube(LARGE)
    product = cube.to_product()
    corner = cube.geobox("007004")
    box = GeoBox((side, side), corner.affine, corner.crs)
    folder.mkdir()
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 10000, (side, side), dtype="int16")
    for band in product["measurements"]:
        with rasterio.open(
            folder / f"{band['name']}.tif", "w", driver="GTiff", dtype=band["dtype"], count=1,
            width=side, height=side, crs=box.crs.to_wkt(), transform=box.affine, tiled=True,
            nodata=band["nodata"],
        ) as target:  # fmt: skip
            target.write(pixels.astype(band["dtype"]), 1)
    times = ("2020-01-01T00:00:00Z", "2020-01-31T23:59:59Z")
    document = describe_dataset(product, "large", "007004", box, times)
    dc.index.products.add_document(product)
    dataset, problem = Doc2Dataset(dc.index, skip_lineage=True, eo3=True)(
        document, (folder / "doc.yaml").as_uri()
    )
    assert dataset is not None, problem
    dc.index.datasets.add(dataset, with_lineage=False)
    return box


@pytest.fixture
def ask(place):
    """Request something of this server, whatever the status of the answer."""
    return partial(fetched, place.server.url)


@contextmanager
def hidden(folder):
    """Take the scenes away: whoever reads a pixel fails, and says so with 503."""
    gone = folder.with_name("gone")
    folder.rename(gone)
    try:
        yield
    finally:
        gone.rename(folder)


def asked(place, layer, width, height):
    """Give requests of all services for a layer, each of the whole image."""
    bbox = ",".join(str(v) for v in place.box.boundingbox.bbox)
    row, column = BDC.tile_at(10, *(place.box.affine * (SIZE / 4, SIZE / 4)))
    view = {
        "service": "WMS", "request": "GetMap", "version": "1.3.0", "layers": layer, "styles": "",
        "crs": "EPSG:10857", "bbox": bbox, "width": width, "height": height,
        "format": "image/png", "time": place.day,
    }  # fmt: skip
    wmts = {"service": "WMTS", "version": "1.0.0", "request": "GetTile", "layer": layer}
    wcs = {"service": "WCS", "request": "GetCoverage", "format": "GeoTIFF"}
    return {
        "map": view,
        "old map": {**view, "version": "1.1.1", "srs": "EPSG:10857"},
        "tile": {
            **wmts, "style": "", "tilematrixset": BDC.name, "tilematrix": 10, "tilerow": row,
            "tilecol": column, "format": "image/png", "time": place.day,
        },
        "info": {
            **view, "request": "GetFeatureInfo", "query_layers": layer, "i": SIZE // 4,
            "j": SIZE // 4, "info_format": "application/json",
        },
        "coverage": {
            **wcs, "version": "1.0.0", "coverage": layer, "crs": "EPSG:10857", "bbox": bbox,
            "width": width, "height": height, "time": place.day,
        },
        "coverage 2": {
            "service": "WCS", "request": "GetCoverage", "version": "2.0.1", "coverageid": layer,
            "subset": f'time("{place.day}")', "scalesize": f"x({width}),y({height})",
        },
    }  # fmt: skip


def built_map(place, side):
    """Give a map of a built image, whatever its pixels."""
    bbox = ",".join(str(v) for v in CUBES[1].cube.geobox("007004").boundingbox.bbox)
    other = {"bbox": bbox, "styles": "true_colour", "time": "2020-01-01"}
    return asked(place, BUILT, side, side)["map"] | other


KINDS = ("map", "old map", "tile", "info", "coverage", "coverage 2")


def report_of(answer, query):
    version = "1.0.0" if query["service"] == "WMTS" else query["version"]
    report = read_report(answer, query["service"], version)
    assert not leaks(answer)
    return report.texts[0]


@pytest.mark.parametrize("kind", KINDS)
def test_live_geomed(place, ask, kind, record_property):
    """Ask for a live geometric median, the slowest composite that there is."""
    query = asked(place, SLOW, 1000, 1000)[kind]
    with hidden(place.home / "scenes"):
        answer = ask(query["service"].lower(), query)
    assert answer.status == 400, answer.body[:500]
    text = report_of(answer, query)
    record_property("answer", f"{answer.status}: {text}")
    assert f"{MOST_WORK} million are the limit (ODC_BDC_OWS_MAX_WORK)" in text
    assert "GEOMED" in text


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_by_a_quick_function(place, ask, kind, record_property):
    """Ask for the same live image by a quick function: an honest request, which is served."""
    query = asked(place, LIVE, SIZE, SIZE)[kind]
    answer = ask(query["service"].lower(), query)
    record_property("answer", f"{answer.status} {answer.mime}")
    assert answer.status == 200, answer.body[:500]


def test_a_map_that_fills_the_memory(place, ask, record_property):
    """Ask for the largest map, which takes more memory than a request may."""
    query = built_map(place, 4096)
    with hidden(place.home / "pixels"):
        answer = ask("wms", query)
    assert answer.status == 400, answer.body[:500]
    text = report_of(answer, query)
    record_property("answer", f"{answer.status}: {text}")
    assert "600 MB are the limit (ODC_BDC_OWS_MAX_MEMORY)" in text


@pytest.mark.parametrize("size", ["x(65536),y(65536)", "x(65000),y(1)", "x(9000),y(9000)"])
def test_a_coverage_is_scaled_up(place, ask, size, record_property):
    """Ask WCS 2 to scale a coverage up to more bytes than it may have."""
    query = asked(place, BUILT, 1, 1)["coverage 2"]
    query |= {"subset": 'time("2020-01-01")', "scalesize": size}
    with hidden(place.home / "pixels"):
        answer = ask("wcs", query)
    text = report_of(answer, query)
    record_property("answer", f"{answer.status}: {text}")
    if size == "x(65000),y(1)":  # a line of pixels is little
        assert answer.status == 503
    else:
        assert answer.status == 400, answer.body[:500]
        assert "the limit is max_image_size of the layer's resource_limits" in text


def test_the_largest_coverage_and_map(place, usual, record_property):
    """Ask for a coverage of noise as large as may be, and for such a map: what a worker takes."""
    box = place.large
    where = {
        "bbox": ",".join(str(v) for v in box.boundingbox.bbox),
        "time": "2020-01-01",
    }
    bands = {"measurements": "BAND13,BAND14,BAND15,BAND16"}
    coverage = asked(place, LARGE, *box.shape)["coverage"] | where | bands
    picture = asked(place, LARGE, 4096, 4096)["map"] | where | {"styles": "true_colour"}
    (worker,) = workers_of(usual.process.pid)
    told = []
    for query in (coverage, picture):
        answer = fetched(usual.url, query["service"].lower(), query)
        assert answer.status == 200, answer.body[:500]
        told.append(f"{len(answer.body) >> 20} MB: peak {peak(worker)} MB")
    record_property("answer", "; ".join(told))
    assert peak(worker) < MOST_RESIDENT


def peak(process):
    """Give the most memory that a process has had, in MB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("VmHWM"))


def test_all_workers_get_heavy_requests(place, ask, record_property):
    """Ask for a heavy map while another is served: no worker is left for the light ones."""
    query, light = built_map(place, 2200), built_map(place, 64)
    held = os.open(place.home / "counts" / "heavy_0.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)  # as a worker that is at a heavy one
        answer, other = ask("wms", query), ask("wms", light)
    finally:
        os.close(held)
    text = report_of(answer, query)
    record_property("answer", f"{answer.status}: {text}")
    assert answer.status == 503
    assert answer.headers["Retry-After"].isdecimal()
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ODC_BDC_OWS_HEAVY" in text
    assert other.status == 200
    assert ask("wms", query).status == 200


@pytest.mark.parametrize(
    "time",
    [
        "1900/2100/P1D",
        "1900-01-01/2100-01-01/PT1S",
        ",".join(f"2019-01-01/2021-0{m % 9 + 1}-01/P1D" for m in range(60)),
        ",".join(f"20{n % 20:02}-01-01" for n in range(300)),
    ],
    ids=["days", "seconds", "ranges", "list"],
)
@pytest.mark.parametrize("kind", ["map", "tile", "coverage"])
def test_times_without_end(place, ask, kind, time, record_property):
    """Ask for all days, or seconds, of two hundred years, and for lists of such ranges."""
    query = asked(place, LIVE, SIZE, SIZE)[kind] | {"time": time}
    with hidden(place.home / "scenes"):
        answer = ask(query["service"].lower(), query)
    text = report_of(answer, query)
    record_property("answer", f"{answer.status}: {text}")
    assert answer.status == 400
    assert "the limit" in text
