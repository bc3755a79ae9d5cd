"""Indexing under bad luck: databases that refuse, writers that meet, runs that are killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made_items import CONVERSION, PRODUCT, made_items, make_items
from sqlalchemy import text

from odc_bdc import OdcBdcError, database
from odc_bdc.database.index import session
from odc_bdc.indexing import FoundItem, add_products, index_items
from odc_bdc.product import product_document

COUNT = 120
BATCH = 10
TABLE = {"postgis": "odc.dataset", "postgres": "agdc.dataset"}

# Indexes the items of a file in an order of its own, and prints what becomes of each.
PROGRAM = """
import random, sys
from pathlib import Path
from made_items import CONVERSION, found_items
from odc_bdc import database
from odc_bdc.indexing import index_items

home, path, seed, size = sys.argv[1:]
items = list(found_items(Path(path)))
random.Random(int(seed)).shuffle(items)
with database.open_datacube(database.find_index(Path(home), environ={})) as dc:
    index_items(
        dc, items, CONVERSION, batch=int(size),
        report=lambda record: print(record.to_json(), flush=True),
    )
"""


@pytest.fixture(params=["postgis", "postgres"])
def fresh(request, fresh_index):
    """Give an index of its own with the product."""
    index = fresh_index(request.param)
    with database.open_datacube(index) as dc:
        add_products(dc, [product_document(PRODUCT)])
    return index


def found(count=COUNT):
    return [FoundItem(f"made:{n}", "/made", item) for n, item in enumerate(made_items(count))]


def count(index):
    """Count the datasets, each with its location."""
    with database.open_datacube(index) as dc:
        datasets = list(dc.index.datasets.search(product=PRODUCT))
        assert all(dataset.uri for dataset in datasets)
        return len(datasets)


def sql(index, *statements):
    with session(index) as connection:
        for statement in statements:
            connection.execute(text(statement))


def refusing(index, code, *, after, times=1_000_000):
    """Let the database refuse rows with a code of PostgreSQL, from one on, some times."""
    sql(
        index,
        "CREATE SEQUENCE public.tries",
        "GRANT ALL ON SEQUENCE public.tries TO PUBLIC",
        f"""CREATE FUNCTION public.refuse() RETURNS trigger AS $$ BEGIN
            IF nextval('public.tries') BETWEEN {after + 1} AND {after + times} THEN
                RAISE EXCEPTION 'made to fail' USING ERRCODE = '{code}';
            END IF;
            RETURN NEW;
        END $$ LANGUAGE plpgsql""",
        f"""CREATE TRIGGER refuse BEFORE INSERT ON {TABLE[index.driver]}
            FOR EACH ROW EXECUTE FUNCTION public.refuse()""",
    )


def test_full_disk_ends_the_run_with_whole_batches(fresh):
    refusing(fresh, "53100", after=25)
    records = []
    with (
        database.open_datacube(fresh) as dc,
        pytest.raises(OdcBdcError, match=r"disk of its server is full.* run the command again"),
    ):
        index_items(dc, found(), CONVERSION, batch=BATCH, report=records.append)
    # What is reported is in, and nothing else.
    assert len(records) == count(fresh) == 2 * BATCH
    sql(fresh, f"DROP TRIGGER refuse ON {TABLE[fresh.driver]}")
    with database.open_datacube(fresh) as dc:
        report = index_items(dc, found(), CONVERSION, batch=BATCH)
    assert dict(report.counts) == {"unchanged": 2 * BATCH, "added": COUNT - 2 * BATCH}


@pytest.mark.parametrize("code", ["40P01", "40001"])
def test_what_others_undo_is_done_again(fresh, code):
    refusing(fresh, code, after=15, times=2)
    with database.open_datacube(fresh) as dc:
        report = index_items(dc, found(30), CONVERSION, batch=BATCH)
    assert dict(report.counts) == {"added": 30}
    assert count(fresh) == 30


def test_read_only_database_is_named(fresh):
    name = fresh.url.rsplit("/", 1)[1].split("?")[0]
    sql(fresh, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    with (
        database.open_datacube(fresh) as dc,
        pytest.raises(OdcBdcError, match="it is read-only; use the primary server"),
    ):
        index_items(dc, found(), CONVERSION)
    assert count(fresh) == 0


def test_ended_connections_end_the_run_and_the_next_completes(fresh):
    others = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    done = []

    def end(number):
        done.append(number)
        if number == 2 * BATCH:
            sql(fresh, others)

    with (
        database.open_datacube(fresh) as dc,
        pytest.raises(OdcBdcError, match="the index cannot be used") as raised,
    ):
        index_items(dc, found(), CONVERSION, batch=BATCH, finished=end)
    assert "run the command again" in str(raised.value)
    assert "\n" not in str(raised.value)
    # The batches that follow are written while one is reported.
    there = count(fresh)
    assert 2 * BATCH <= done[-1] <= there < COUNT
    with database.open_datacube(fresh) as dc:
        report = index_items(dc, found(), CONVERSION)
    assert dict(report.counts) == {"unchanged": there, "added": COUNT - there}


def test_missing_tables_are_named(fresh):
    sql(fresh, f"DROP TABLE {TABLE[fresh.driver]} CASCADE")
    with (
        database.open_datacube(fresh) as dc,
        pytest.raises(OdcBdcError, match=r"tables are not those .* `odc-bdc db init`"),
    ):
        index_items(dc, found(), CONVERSION)


def test_product_that_is_missing_or_differs_is_named(fresh_index):
    index = fresh_index("postgis")
    with database.open_datacube(index) as dc:
        with pytest.raises(OdcBdcError, match=f"no product {PRODUCT}; add it with `odc-bdc"):
            index_items(dc, found(), CONVERSION)
        other = product_document(PRODUCT)
        other["measurements"][0]["nodata"] = 7
        dc.index.products.add_document(other)
        with pytest.raises(OdcBdcError, match=f"{PRODUCT} is in the index already but differs"):
            index_items(dc, found(), CONVERSION)
    assert count(index) == 0


def run(arguments, home):
    program = str(Path(sys.executable).with_name("odc-bdc"))
    return subprocess.run(
        [program, "index", "cb4_wfi_l4_sr", *map(str, arguments), "--home", str(home)],
        env={k: v for k, v in os.environ.items() if not k.startswith("ODC_")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_commands_end_with_one_line(fresh_index, tmp_path):
    """Nothing to index, a server that is down, and a schema of another version."""
    index = fresh_index("postgis")
    home = index.config_path.parent
    (tmp_path / "items").mkdir()
    told = [run([tmp_path / "items"], home)]
    sql(index, "UPDATE odc.alembic_version SET version_num = 'not of this datacube'")
    told.append(run([tmp_path / "items"], home))
    conf = index.config_path.read_text("utf-8").replace(f":{_port(index)}/", ":1/")
    index.config_path.write_text(conf, "utf-8")
    told.append(run([tmp_path / "items"], home))
    for done, words in zip(told, ["no product", "another version", "does not answer"], strict=True):
        assert done.returncode == 2, done.stderr
        assert done.stdout == ""
        assert words in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def _port(index):
    return index.url.rsplit(":", 1)[1].split("/")[0]


def start(index, path, seed, size):
    arguments = (index.config_path.parent, path, seed, size)
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def statuses(out):
    return [json.loads(line)["status"] for line in out.splitlines()]


def test_processes_index_the_same_items_at_once(fresh, tmp_path):
    make_items(path := tmp_path / "items.ndjson", COUNT)
    running = [start(fresh, path, seed, size) for seed, size in enumerate((40, 15, 40))]
    outs = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    told = [statuses(out) for out in outs]
    assert all(len(each) == COUNT and set(each) <= {"added", "unchanged"} for each in told)
    # Each is added by one of them only.
    assert sum(each.count("added") for each in told) == COUNT
    assert count(fresh) == COUNT
    # And all of them change the same items.
    path.write_text(path.read_text("utf-8").replace('"gsd": 64', '"gsd": 60'), "utf-8")
    running = [start(fresh, path, seed, size) for seed, size in enumerate((40, 15))]
    outs = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert all(set(statuses(out)) <= {"updated", "unchanged"} for out in outs)
    with database.open_datacube(fresh) as dc:
        sizes = [d.metadata_doc["properties"]["eo:gsd"] for d in dc.find_datasets(product=PRODUCT)]
    assert sizes == [60] * COUNT


def test_killed_runs_are_completed_by_the_next(fresh, tmp_path):
    make_items(path := tmp_path / "items.ndjson", COUNT)
    for lines in (1, 2 * BATCH + 1):
        process = start(fresh, path, 0, BATCH)
        for _ in range(lines):
            assert process.stdout.readline()
        time.sleep(0.01 * lines)  # into the next batch
        process.kill()
        process.communicate()
        assert count(fresh) % BATCH == 0
    assert count(fresh) > 0
    process = start(fresh, path, 0, BATCH)
    told = statuses(process.communicate()[0])
    assert process.returncode == 0
    assert len(told) == COUNT
    assert set(told) <= {"added", "unchanged"}
    assert count(fresh) == COUNT
