"""What the services answer while something of theirs is broken, and after it is mended."""

from __future__ import annotations

import os
import threading
import time
import urllib.error
import urllib.request
from datetime import date
from pathlib import Path
from urllib.parse import urlencode

import pytest
from answers import pixels, read_report
from small_index import Made, fill_index
from test_bad_requests import INFO, WCS1, WCS2, WMS, WMTS, path_of, version_of

from odc_bdc import database
from odc_bdc.cube import find_cube
from odc_bdc.ows import start_server, update_ranges

pytestmark = pytest.mark.integration

# At the cube's own pixel size: overviews lie in front of it in a file.
SIZE = {"width": "300", "height": "200"}
REQUESTS = (WMS | SIZE, WMTS, INFO | SIZE | {"i": "50", "j": "190"}, WCS1 | SIZE, WCS2)


def file_of(dc, band):
    """Give the path of a band of the western tile of the second date."""
    (dataset,) = [
        ds
        for ds in dc.index.datasets.search(product=WMS["layers"])
        if str(ds.time.begin.date()) == "2020-01-01" and "007004" in ds.uri
    ]
    return dataset, Path(dataset.uri.removeprefix("file://")).parent / f"{band}.tif"


@pytest.fixture(params=["missing", "cut off", "no image"])
def broken(request, dc):
    """Break a file for the time of a test; give the dataset."""
    dataset, path = file_of(dc, "BAND15")
    content = path.read_bytes()
    path.unlink()
    if request.param == "cut off":
        # The header and the first overview are still there.
        path.write_bytes(content[: len(content) * 2 // 5])
    elif request.param == "no image":
        path.write_bytes(b"<html>not found</html>")
    yield dataset
    path.write_bytes(content)


def test_a_file_that_cannot_be_read_fails_what_is_made_of_it(ask, broken, server):
    for good in REQUESTS:
        answer = ask(path_of(good), good)
        assert answer.status == 503, (good["request"], answer.status, answer.body[:300])
        assert answer.headers["Cache-Control"] == "no-store"
        assert int(answer.headers["Retry-After"]) > 0
        report = read_report(answer, *version_of(good))
        assert report.texts[0] == "A file of the images that this is made of cannot be read."
    log = server.log.read_text("utf-8")
    assert f"cannot read dataset {broken.id}" in log


def test_it_fails_nothing_else(ask, broken):
    # Another date, another tile, other bands of the same dataset.
    for change in (
        {"time": "2019-12-19"},
        {"bbox": "6006400,10000000,6012800,10003200"},
        {"styles": "ndvi", "layers": "CB4_64_16D_MED_v1"},
    ):
        answer = ask("wms", WMS | change)
        assert answer.status == 200, change
        assert pixels(answer.body)[3].any(), change
    answer = ask("wcs", WCS1 | {"measurements": "BAND13"})
    assert answer.status == 200


def test_a_file_that_is_mended_is_served_again(ask, dc):
    _, path = file_of(dc, "BAND15")
    before = ask("wms", WMS)
    content = path.read_bytes()
    path.unlink()
    assert ask("wms", WMS).status == 503
    path.write_bytes(content)
    assert ask("wms", WMS).body == before.body


@pytest.fixture
def own_server(tmp_path):
    """Bring up an index with one cube of one tile, and its server, of this test's own."""
    cube = find_cube("CB4_64_16D_MED_v1").patch(
        extent=(6003200 - 6400, 10000000, 6003200, 10006400)
    )
    environ = {"PATH": os.environ["PATH"]}
    index = database.bring_up(tmp_path, environ=environ, driver="postgis")
    try:
        database.initialise(index)
        with database.open_datacube(index, app="failures") as dc:
            fill_index(dc, tmp_path / "pixels", (Made(cube, ("007004",), (date(2020, 1, 1),)),), ())
            update_ranges(dc)
        with start_server(index, port=0, workers=2, log=tmp_path / "ows.log") as server:
            yield server, tmp_path
    finally:
        database.delete(tmp_path)


def test_a_restart_of_the_database_is_survived(own_server):
    server, home = own_server
    query = WMS | {"layers": "CB4_64_16D_MED_v1", "bbox": "5996800,10000000,6003200,10006400"}
    url = f"{server.url}/wms?{urlencode(query)}"
    statuses, stop = [], threading.Event()

    def load():
        while not stop.is_set():
            begun = time.monotonic()
            try:
                with urllib.request.urlopen(url, timeout=60) as answer:
                    answer.read()
                    seen = answer.status
            except urllib.error.HTTPError as e:
                seen = (e.code, e.headers["Retry-After"], b"ServiceException" in e.read())
            statuses.append((begun, time.monotonic(), seen))

    clients = [threading.Thread(target=load) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        wait_for(lambda: len(statuses) > 20)
        down = time.monotonic()
        database.shut_down(home)
        wait_for(lambda: any(seen != 200 for *_, seen in statuses))
        environ = {"PATH": os.environ["PATH"]}
        database.bring_up(home, environ=environ, driver="postgis")
        up = time.monotonic()
        wait_for(lambda: sum(begun > up for begun, *_ in statuses) > 20)
    finally:
        stop.set()
        for client in clients:
            client.join()
    failed = [told for told in statuses if told[-1] != 200]
    assert {seen for *_, seen in failed} == {(503, "30", True)}
    # Who asks while it is away, or waits for an answer when it goes, may fail; nobody else.
    assert all(begun <= up and down <= ended for begun, ended, _ in failed)


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
