"""Maps that are zoomed out are drawn from overviews: the same pixels, from fewer files."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from answers import fetched, pixels
from odc.geo.geom import box
from small_index import Made, fill_index, own_index

from odc_bdc.building.overview import build_overviews
from odc_bdc.cube import find_cube
from odc_bdc.grid import BDC_CRS
from odc_bdc.indexing import add_products
from odc_bdc.ows import find_faults, start_server, update_ranges
from odc_bdc.ows.inventory import inventory
from odc_bdc.ows.watching import Seen, Watch
from odc_bdc.planning import overview_name, overview_product, plan_overviews

pytestmark = pytest.mark.integration

NAME = "CB4_64_16D_MED_v1"
FACTOR = 4
PIXEL = 64 * FACTOR
DAYS = (date(2020, 1, 1), date(2020, 1, 17))
CUBE = find_cube(NAME).patch(extent=(6003200 - 19200, 10000000, 6003200 + 19200, 10016640))
MAP = {
    "service": "WMS",
    "version": "1.3.0",
    "request": "GetMap",
    "layers": NAME,
    "styles": "true_colour",
    "crs": "EPSG:10857",
    "format": "image/png",
    "time": str(DAYS[0]),
    "width": 40,
    "height": 40,
}
COARSE = MAP | {"bbox": f"5996800,10000000,{5996800 + 40 * PIXEL},{10000000 + 40 * PIXEL}"}
MERCATOR = box(*map(float, COARSE["bbox"].split(",")), BDC_CRS).to_crs("EPSG:3857").boundingbox
FINE = MAP | {"bbox": f"5996800,10000000,{5996800 + 40 * 200},{10000000 + 40 * 200}"}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Serve a cube of two tiles, with overviews of its first period; pixels tell which is drawn."""
    folder = tmp_path_factory.mktemp("overviews")
    with own_index(folder, "overviews") as (index, dc):
        made = Made(CUBE, ("007004", "008004"), DAYS)
        fill_index(dc, folder / "pixels", (made,), ())
        update_ranges(dc)
        plain = _answers(index, folder / "plain.log")
        watch = Watch(dc)
        assert watch.look() == Seen()
        add_products(dc, [overview_product(CUBE, FACTOR)])
        tasks = plan_overviews(dc, CUBE, DAYS[0], date(2020, 1, 16), FACTOR)
        report = build_overviews(
            dc, tasks, folder / "cubes", now=lambda: datetime(2026, 1, 1, tzinfo=UTC)
        )
        assert (report.built, report.failed) == (1, [])
        # The layer has the same dates, and is drawn otherwise.
        assert watch.look() == Seen((), needs_reload=True)
        assert watch.look() == Seen()
        with start_server(index, port=0, workers=1, log=folder / "ows.log") as server:
            yield dc, lambda query: fetched(server.url, "wms", query), plain


QUERIES = {
    "coarse": COARSE,
    "ndvi": COARSE | {"styles": "ndvi"},
    "mercator": COARSE
    | {"crs": "EPSG:3857", "bbox": ",".join(map(str, MERCATOR)), "width": 30, "height": 30},
    "fine": FINE,
    "other": COARSE | {"time": str(DAYS[1])},
}


def _answers(index, log):
    with start_server(index, port=0, workers=1, log=log) as server:
        return {name: fetched(server.url, "wms", q) for name, q in QUERIES.items()}


def files_of(dc, product, day):
    for dataset in dc.index.datasets.search(product=product):
        if dataset.time.begin.date() == day:
            yield from dataset_files(dataset)


def dataset_files(dataset):
    folder = Path(dataset.uri.removeprefix("file://")).parent
    return [folder / m["path"] for m in dataset.metadata_doc["measurements"].values()]


@pytest.fixture
def without_tiles(served):
    """Take the files of the tiles away, so that only overviews can be drawn."""
    dc = served[0]
    paths = [path for day in DAYS for path in files_of(dc, NAME, day)]
    for path in paths:
        path.rename(path.with_suffix(".away"))
    yield
    for path in paths:
        path.with_suffix(".away").rename(path)


@pytest.mark.parametrize("name", ["coarse", "ndvi"])
def test_a_view_as_coarse_as_the_overview_is_drawn_from_it(served, without_tiles, name):
    _, ask, plain = served
    answer = ask(QUERIES[name])
    assert answer.status == 200
    found, wanted = pixels(answer.body), pixels(plain[name].body)
    assert found[3].any()
    # Which of 4 x 4 pixels a coarser one shows differs; that it shows one of them does not.
    assert (found[3] != wanted[3]).mean() < 0.08
    both = (found[3] > 0) & (wanted[3] > 0)
    distance = np.abs(found[:3].astype(int) - wanted[:3])[:, both]
    assert np.median(distance) < 25


def test_another_crs_is_drawn_from_it_too(served, without_tiles):
    _, ask, plain = served
    answer = ask(QUERIES["mercator"])
    assert answer.status == plain["mercator"].status == 200
    assert pixels(plain["mercator"].body)[3].any()
    assert pixels(answer.body)[3].any()


def test_a_finer_view_and_a_period_without_overview_are_drawn_from_tiles(served):
    _, ask, plain = served
    for name in ("fine", "other"):
        assert ask(QUERIES[name]).body == plain[name].body


def test_an_overview_that_is_not_of_the_present_tiles_is_not_shown(served):
    dc, ask, plain = served
    now = ask(COARSE)
    (tile,) = [
        d
        for d in dc.index.datasets.search(product=NAME)
        if d.time.begin.date() == DAYS[0] and "008004" in d.uri
    ]
    dc.index.datasets.archive([tile.id])
    try:
        half = pixels(ask(COARSE).body)[3]
        whole = pixels(plain["coarse"].body)[3]
        assert 0 < (half > 0).sum() < (whole > 0).sum()
        faults = [str(f) for f in find_faults(dc) if "overview" in f.problem]
        assert len(faults) == 1
        assert "older than its tiles" in faults[0]
        assert "2020-01-01" in faults[0]
        assert f"odc-bdc cube overview {NAME}" in faults[0]
    finally:
        dc.index.datasets.restore([tile.id])
    assert ask(COARSE).body == now.body


def test_overviews_are_no_layer_of_their_own(served):
    dc, ask, _ = served
    found = inventory(dc)
    assert [cube.name for cube in found.cubes] == [NAME]
    assert found.scenes == ()
    assert found.overviews == {NAME}
    document = ask({"service": "WMS", "request": "GetCapabilities"}).body.decode()
    assert NAME in document
    assert overview_name(NAME) not in document
