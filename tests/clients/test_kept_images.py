"""Images that all workers keep: found again, and never when something else should be shown."""

from __future__ import annotations

import os
import time
from datetime import UTC, date, datetime

import pytest
from answers import fetched, pixels
from small_index import STK, VIEW
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from odc_bdc.ows import start_server, update_ranges
from odc_bdc.ows.caching import HIT, STATUS, STORED
from odc_bdc.ows.freshness import Freshness, products_behind
from odc_bdc.ows.inventory import config_of_index
from odc_bdc.ows.parsed import parsed_config
from odc_bdc.ows.versions import MARGIN, IndexVersions, index_connection

pytestmark = pytest.mark.integration

MAP = VIEW | {"styles": "true_colour"}
OTHER = MAP | {"time": "2019-12-19"}


@pytest.fixture(scope="module")
def kept(index, dc, tmp_path_factory):
    """Run the services with two workers and images kept; give a function that asks them."""
    folder = tmp_path_factory.mktemp("kept")
    environ = {**os.environ, "ODC_BDC_OWS_CACHE": str(folder / "cache")}
    with start_server(index, port=0, workers=2, log=folder / "ows.log", environ=environ) as server:
        yield lambda query, path="wms", **headers: fetched(server.url, path, query, **headers)


@pytest.fixture
def sql(index):
    """Run a statement in the database of the index, in a transaction that a test ends."""
    engine = create_engine(index.url, poolclass=NullPool)
    with engine.connect() as connection:
        yield lambda statement, **values: connection.execute(text(statement), values)
        connection.rollback()


def settled(condition):
    """Wait until a worker has looked at the index anew."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_every_worker_finds_what_one_has_made(kept):
    first = kept(MAP)
    assert first.status == 200
    assert first.headers[STATUS] in {STORED, HIT}
    assert pixels(first.body)[3].any()
    again = [kept(MAP) for _ in range(8)]
    assert {a.headers[STATUS] for a in again} == {HIT}
    assert {a.body for a in again} == {first.body}
    assert {a.headers["ETag"] for a in again} == {first.headers["ETag"]}
    assert {a.headers["Cache-Control"] for a in again} == {"public, max-age=60"}
    assert kept(MAP, **{"If-None-Match": first.headers["ETag"]}).status == 304


def test_what_means_the_same_finds_the_same(kept):
    kept(MAP)
    within = kept(MAP | {"time": "2020-01-09T12:00:00Z"})
    assert within.headers[STATUS] == HIT
    shouted = {key.upper(): value for key, value in reversed(MAP.items())}
    assert kept(shouted).headers[STATUS] == HIT
    near = kept(MAP | {"time": "2020-01-01", "layers": "CB4_64_16D_MED_v1"})
    assert near.headers[STATUS] == STORED


def test_failures_are_not_kept(kept):
    for change in ({"width": "0"}, {"styles": "nothing"}, {"time": "1900-01-01"}):
        for _ in range(2):
            answer = kept(MAP | change)
            assert answer.status == 400
            assert STATUS not in answer.headers


def test_a_dataset_that_goes_and_comes_back_is_seen_and_other_dates_stay(kept, dc):
    whole, other = kept(MAP), kept(OTHER)
    (dataset,) = [
        ds
        for ds in dc.index.datasets.search(product=STK)
        if str(ds.time.begin.date()) == "2020-01-01" and "007004" in ds.uri
    ]
    dc.index.datasets.archive([dataset.id])
    try:
        # Each worker looks for itself, once a second.
        settled(lambda: whole.body not in {kept(MAP).body for _ in range(6)})
        half = kept(MAP)
        opaque = [(pixels(a.body)[3] > 0).sum() for a in (half, whole)]
        assert 0 < opaque[0] < opaque[1]
        assert kept(OTHER).headers[STATUS] == HIT
    finally:
        dc.index.datasets.restore([dataset.id])
    settled(lambda: {kept(MAP).body for _ in range(6)} == {whole.body})
    assert kept(OTHER).body == other.body


def test_ranges_that_are_written_anew_are_read_by_running_workers(kept, index):
    def begins():
        return {kept({"service": "WMS", "request": "GetCapabilities"}).body for _ in range(6)}

    (before,) = begins()
    day = b"2018-04-01"
    assert day in before
    engine = create_engine(index.url, poolclass=NullPool)
    change = text(
        "UPDATE ows.layer_ranges SET dates = CAST(:dates AS jsonb), "
        "last_updated = clock_timestamp() WHERE layer = 'LC8_NY_3000_1M_MED_v1'"
    )

    def write(dates):
        with engine.begin() as connection:
            connection.execute(change, {"dates": dates})

    write('["2018-03-01", "2018-04-01"]')
    try:
        settled(lambda: all(b"2018-03-01" in document for document in begins()))
    finally:
        write('["2018-04-01"]')
    settled(lambda: begins() == {before})


# What follows asks the index itself.


@pytest.fixture
def versions(dc):
    """Give what tells versions of the index, and a function that makes it look."""
    made = IndexVersions()

    def look():
        with index_connection(dc) as connection:
            made.refresh(connection)
        return made.of([STK], [date(2020, 1, 1)]), made.of([STK], [date(2019, 12, 19)])

    return made, look


def anew(dc):
    made = IndexVersions()
    with index_connection(dc) as connection:
        made.refresh(connection)
    return made


def test_a_version_is_the_same_for_whoever_looks_and_whenever(versions, dc):
    made, look = versions
    first = look()
    assert look() == first
    assert first[0] != first[1]
    assert anew(dc).of([STK], [date(2020, 1, 1)]) == first[0]
    assert anew(dc).of([STK], None) == made.of([STK], None)
    assert made.last_change(STK, date(2020, 1, 1)) > datetime(2020, 1, 1, tzinfo=UTC)
    assert made.last_change(STK, date(2020, 1, 2)) is None


def test_a_transaction_that_ends_late_is_noticed(versions, dc, index, sql):
    """Its datasets seem to have changed before others that were seen already."""
    made, look = versions
    look()
    stk, med = (list(dc.index.datasets.search(product=p)) for p in (STK, "CB4_64_16D_MED_v1"))
    (late,) = [d for d in stk if "007004" in d.uri and str(d.time.begin.date()) == "2020-01-01"]
    (sooner,) = [d for d in stk if "008004" in d.uri and str(d.time.begin.date()) == "2020-01-01"]
    statement = "UPDATE odc.dataset SET added_by = added_by WHERE id = :id"
    sql(statement, id=late.id)  # begun, and not yet ended
    engine = create_engine(index.url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(statement), {"id": sooner.id})
        connection.execute(text(statement), {"id": med[0].id})
    before = look()
    sql("COMMIT")
    after = look()
    assert after[0] != before[0]
    assert after[1] == before[1]
    assert anew(dc).of([STK], None) == made.of([STK], None)


def test_later_looks_read_but_what_changed(versions, dc, index):
    """A group whose last change is old is known by what was read at first."""
    made, look = versions
    engine = create_engine(index.url, poolclass=NullPool)
    (old,) = dc.index.datasets.search(product="CB4_64_2Y_STK_v1")
    with engine.begin() as connection:  # the database's own trigger would set it to now
        connection.execute(text("ALTER TABLE odc.dataset DISABLE TRIGGER USER"))
        connection.execute(
            text("UPDATE odc.dataset SET updated = updated - :back WHERE id = :id"),
            {"back": 3 * MARGIN, "id": old.id},
        )
        connection.execute(text("ALTER TABLE odc.dataset ENABLE TRIGGER USER"))
    look()
    first = made.of(["CB4_64_2Y_STK_v1"], None)
    look()
    assert made.of(["CB4_64_2Y_STK_v1"], None) == first
    assert anew(dc).of(["CB4_64_2Y_STK_v1"], None) == first
    dc.index.datasets.archive([old.id])
    dc.index.datasets.restore([old.id])
    look()
    assert made.of(["CB4_64_2Y_STK_v1"], None) != first
    update_ranges(dc)


def test_what_is_drawn_otherwise_has_another_version(dc):
    config = config_of_index(dc)
    with parsed_config(config) as parsed:
        layer = parsed.layers[STK]
        cfg = layer.global_cfg

        def version(config, programs=()):
            seen = Freshness(cfg, config, programs)
            return seen.of_image(STK, ["2020-01-01"]), seen.of_documents()

        first = version(config)
        assert None not in first
        assert version(config) == first
        layers = [{"title": "other"}, *config["layers"]]
        restyled = version({**config, "layers": layers})
        assert all(a != b for a, b in zip(first, restyled, strict=True))
        updated = version(config, ["odc_bdc 99"])
        assert all(a != b for a, b in zip(first, updated, strict=True))
        elsewhere = {**config["global"], "allowed_urls": ["https://maps.example.org"]}
        moved = version({**config, "global": elsewhere})
        assert moved[0] == first[0]
        assert moved[1] != first[1]
        assert products_behind(layer) == [STK]
        fresh = Freshness(cfg, config)
        assert fresh.of_image(STK, []) == fresh.of_image(STK, ["2020-01-01"])  # the latest
        assert fresh.of_image("unknown", []) is None


def test_nothing_is_looked_at_twice_within_a_second(dc):
    now, looked = [0.0], []
    config = config_of_index(dc)
    with parsed_config(config) as parsed:
        cfg = parsed.layers[STK].global_cfg
        fresh = Freshness(cfg, config, clock=lambda: now[0], interval=1.0)
        look = fresh._look_at
        fresh._look_at = lambda *args: (looked.append(now[0]), look(*args))
        for now[0] in (0.0, 0.5, 0.99, 1.0, 1.5, 2.5):
            assert fresh.look()
    assert looked == [0.0, 1.0, 2.5]
