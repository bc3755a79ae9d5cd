"""What who has got into a service can change: not the index, and nothing outside of cubes."""

from __future__ import annotations

import json
import os
import urllib.request
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from datacube.index.hl import Doc2Dataset
from small_index import fill_index, write_dataset
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from odc_bdc import database
from odc_bdc.building.partial import remove_partial
from odc_bdc.building.pruning import Kind, Leftover, find_leftovers, remove_leftover
from odc_bdc.building.storage import Bucket, Disk
from odc_bdc.cli import main
from odc_bdc.cube import find_cube
from odc_bdc.database.index import TABLES, session
from odc_bdc.errors import SceneError
from odc_bdc.indexing.documents import DOCUMENT_SUFFIX
from odc_bdc.ows import start_server, update_ranges

CUBE = find_cube("CB4_64_16D_STK_v1")
SCHEMAS = {"postgis": "odc", "postgres": "agdc"}

CHANGES = {
    "adds a product": "INSERT INTO {schema}.{products} SELECT * FROM {schema}.{products} LIMIT 1",
    "changes where files are": "UPDATE {schema}.dataset SET metadata = metadata",
    "archives all": "UPDATE {schema}.dataset SET archived = now()",
    "deletes all": "DELETE FROM {schema}.dataset",
    "empties a table": "TRUNCATE {schema}.dataset CASCADE",
    "drops the index": "DROP SCHEMA {schema} CASCADE",
    "makes a table": "CREATE TABLE {schema}.mine (a int)",
    "makes a table elsewhere": "CREATE TABLE public.mine (a int)",
    "makes a schema": "CREATE SCHEMA mine",
    "makes a role": "CREATE ROLE mine SUPERUSER",
    "becomes who it is not": "SET ROLE odc_bdc",
    "becomes the administrator of the index": "SET ROLE {schema}_admin",
    "runs a command": "COPY (SELECT 1) TO PROGRAM 'true'",
    "reads a file": "SELECT pg_read_file('/etc/passwd')",
    "reads passwords": "SELECT rolpassword FROM pg_authid",
    "writes a file": "SELECT lo_export(lo_from_bytea(0, 'x'), '/tmp/mine')",
    "changes ranges": "UPDATE ows.layer_ranges SET meta = meta",
}


@pytest.fixture(scope="module", params=["postgis", "postgres"])
def index(request, tmp_path_factory):
    """Bring up a private index; the tables of ranges are made as datacube-ows has them."""
    home = tmp_path_factory.mktemp(request.param)
    environ = {"PATH": os.environ["PATH"]}
    made = database.bring_up(home, environ=environ, driver=request.param)
    try:
        database.initialise(made)
        with database.open_datacube(made) as dc:
            dc.index.products.add_document(CUBE.to_product())
        with session(made) as connection:
            connection.execute(text("CREATE SCHEMA ows"))
            connection.execute(text("CREATE TABLE ows.layer_ranges (layer text, meta jsonb)"))
            connection.execute(text("INSERT INTO ows.layer_ranges VALUES ('a', '{}')"))
        yield made
    finally:
        database.delete(home)


def done_as(index, statement):
    """Do something as the user of an index, in a transaction that may write if it is let."""
    engine = create_engine(index.url)
    try:
        with engine.connect() as connection:
            # A setting is no right: who has got in takes it off.
            connection.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"))
            connection.commit()
            connection.execute(text(statement))
            connection.rollback()
    finally:
        engine.dispose()


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("kind", ["read", "ranges"])
def test_service_changes_the_index(index, kind, what, record_property):
    """A service, by its role of the database, does what it is not for."""
    products = TABLES[index.driver][1]
    statement = CHANGES[what].format(schema=SCHEMAS[index.driver], products=products)
    service = database.as_service(index, kind)
    if what == "changes ranges" and kind == "ranges":
        done_as(service, statement)
        return
    with pytest.raises(DBAPIError) as told:
        done_as(service, statement)
    record_property("answer", str(told.value.orig).splitlines()[0])


def test_service_reads_the_index(index):
    """No attack: a service opens the index, and sees what there is, also what comes later."""
    service = database.as_service(index, "read")
    with database.open_datacube(service) as dc:
        assert [product.name for product in dc.index.products.get_all()] == [CUBE.name]
        assert dc.index.datasets.count(product=CUBE.name) == 0
    assert database.can_write(index)
    assert not database.can_write(service)
    assert database.can_write(database.as_service(index, "ranges"))
    # Again is harmless, and gives the same.
    assert database.as_service(index, "read").url == service.url
    assert make_url(index.url).password not in service.url


def test_roles_of_a_database_that_is_given(index, tmp_path, monkeypatch, record_property):
    """An admin makes the roles of services of an own database, and doctor tells who needs them."""
    given = make_url(index.url).render_as_string(hide_password=False)
    for name in [n for n in os.environ if n.startswith(("ODC_", "DATACUBE_", "DB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ODC_DEFAULT_DB_URL", given)
    monkeypatch.setenv("ODC_DEFAULT_INDEX_DRIVER", index.driver)
    where = ["--home", str(tmp_path)]
    first = CliRunner().invoke(main, ["db", "roles", "--new-passwords", *where])
    assert first.exit_code == 0, first.output
    urls = [line.split("=", 1)[1] for line in first.output.splitlines() if "DB_URL=" in line]
    assert len(urls) == 2
    again = CliRunner().invoke(main, ["db", "roles", *where])
    assert "DB_URL" not in again.output
    assert "keeps its password" in again.output
    for url, writes in ((given, True), (urls[0], False)):
        monkeypatch.setenv("ODC_DEFAULT_DB_URL", url)
        told = CliRunner().invoke(main, ["doctor", *where]).output
        assert ("can change the index" in told) is writes
        assert ("can only read" in told) is not writes
    record_property("answer", "doctor tells whether services can write")
    # The passwords of the private index, for the tests that follow.
    database.make_roles(index, renew=True)


def test_role_that_may_not_makes_no_roles(index):
    """A service makes roles for itself."""
    service = replace(database.as_service(index, "ranges"), private=False)
    with pytest.raises(database.DatabaseError, match="cannot be made"):
        database.make_roles(service)


def test_served_by_a_role_that_reads(tmp_path, record_property):
    """Whoever reads the environment of a server finds no way to write, and the server serves."""
    with ExitStack() as stack:
        home = tmp_path / "home"
        made = database.bring_up(home, environ={"PATH": os.environ["PATH"]}, driver="postgis")
        stack.callback(database.delete, home)
        database.initialise(made)
        with database.open_datacube(made) as dc:
            fill_index(dc, tmp_path / "pixels")
            update_ranges(dc)
        reader = database.as_service(made, "read")
        server = stack.enter_context(
            start_server(reader, port=0, workers=1, log=tmp_path / "ows.log")
        )
        with urllib.request.urlopen(
            f"{server.url}/wms?service=WMS&version=1.3.0&request=GetCapabilities", timeout=60
        ) as answer:
            assert b"<Layer" in answer.read()
        seen = (f"/proc/{server.process.pid}/environ",)
        with open(seen[0], "rb") as file:  # noqa: PTH123 (a file of the system)
            environ = dict(p.split("=", 1) for p in file.read().decode().split("\0") if "=" in p)
        section = json.loads(environ["ODC_CONFIG"])["default"]
        found = replace(made, url=section["db_url"])
        assert not database.can_write(found)
        assert make_url(made.url).password not in json.dumps(environ)
        # The watcher's role brings ranges up to date, and no more.
        watcher = database.as_service(made, "ranges")
        with database.open_datacube(watcher) as dc:
            with session(made) as connection:
                connection.execute(text("UPDATE ows.layer_ranges SET meta = '{}'"))
            assert {u.action for u in update_ranges(dc)} == {"updated"}
        with database.open_datacube(reader) as dc:
            with session(made) as connection:
                connection.execute(text("UPDATE ows.layer_ranges SET meta = '{}'"))
            assert {u.action for u in update_ranges(dc)} == {"failed"}
    record_property("answer", "it serves, its role can only read")


# What is deleted


@pytest.fixture
def places(tmp_path):
    """Give the root of cubes, and beside it what is not to go."""
    root, victim = tmp_path / "cubes", tmp_path / "victim"
    for folder in (root, victim / "sub"):
        folder.mkdir(parents=True)
    (victim / "sub" / "thesis.txt").write_text("years of work")
    return root, victim


def link_of(root, victim):
    (root / "CUBE").symlink_to(victim)
    return "CUBE/sub"


WAYS = {
    "a link": link_of,
    "..": lambda _, victim: f"CUBE/../../{victim.name}",
    "the root": lambda *_: "CUBE/..",
    "an absolute path": lambda _, victim: str(victim),
    "nothing": lambda *_: "",
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("doing", ["remove", "withdraw"])
def test_delete_leaves_the_store(way, doing, places, tmp_path, record_property):
    """What is to be deleted leads out of the root of the cubes."""
    root, victim = places
    path = WAYS[way](root, victim)
    (root / "CUBE").mkdir(exist_ok=True)
    (tmp_path / "aside").mkdir()
    disk, aside = Disk(root), {"aside": tmp_path / "aside", "first": ""}
    with pytest.raises(SceneError, match="stays as it is") as told:
        disk.remove(path) if doing == "remove" else disk.withdraw(path, **aside)
    assert (victim / "sub" / "thesis.txt").is_file()
    assert root.is_dir()
    record_property("answer", str(told.value).partition(": ")[2].replace(str(tmp_path), ""))


@pytest.mark.parametrize("path", ["../other", "a/../../other", "", "."])
def test_delete_leaves_the_prefix_of_a_bucket(path, record_property):
    """What is to be deleted leads out of the prefix in a bucket; nobody is asked."""
    with pytest.raises(SceneError, match="stays") as told:
        Bucket("s3://nobody.invalid/cubes").remove(path)
    assert Bucket("s3://b/cubes").relative("s3://b/cubes/../other/x.yaml") is None
    record_property("answer", str(told.value))


def test_folder_of_builders_is_a_link(places):
    """The folder of what killed builders left, or one in it, is a link to something else."""
    root, victim = places
    (victim / "thing.1@elsewhere").mkdir()
    os.utime(victim / "thing.1@elsewhere", (0, 0))
    (root / ".partial").symlink_to(victim)
    remove_partial(root)
    assert (victim / "thing.1@elsewhere").is_dir()
    (root / ".partial").unlink()
    (root / ".partial").mkdir()
    (root / ".partial" / "thing.1@elsewhere").symlink_to(victim)
    remove_partial(root)
    one = Leftover(Kind.PARTIAL, "", None, str(victim), 0, "")
    with pytest.raises(SceneError, match="stays"):
        remove_leftover(None, root, one)
    assert (victim / "sub" / "thesis.txt").is_file()


@pytest.mark.parametrize("way", ["..", "a link"])
def test_prune_follows_a_document_out_of_the_store(index, way, places, record_property):
    """An archived dataset, or a folder that nobody knows, whose document lies elsewhere."""
    root, victim = places
    product = CUBE.to_product()
    with database.open_datacube(index) as dc:
        geobox = CUBE.geobox("007004")
        days = {"..": "2020-01-01", "a link": "2020-01-17"}
        path, document = write_dataset(
            product, "007004", geobox, (f"{days[way]}T00:00:00Z",) * 2, victim
        )
        metadata = path.with_name(f"x{DOCUMENT_SUFFIX}")
        metadata.write_text(json.dumps(document))
        os.utime(metadata, (0, 0))
        (root / "x").mkdir()
        if way == "..":
            uri = f"{root.as_uri()}/x/../../victim/{path.parent.name}/{metadata.name}"
            dataset, problem = Doc2Dataset(dc.index, skip_lineage=True, eo3=True)(document, uri)
            assert dataset is not None, problem
            dc.index.datasets.add(dataset, with_lineage=False)
            dc.index.datasets.archive([dataset.id])
        else:
            (root / CUBE.name).symlink_to(victim)
        now = datetime.now(UTC) + timedelta(days=9)
        found = find_leftovers(dc, [CUBE.name], root, now=now, older_than=timedelta(0))
        assert [one for one in found if not one.kept] == []
        for one in found:
            with pytest.raises(SceneError):
                remove_leftover(dc, root, one)
        if way == "..":
            assert dc.index.datasets.get(dataset.id) is not None
    assert metadata.is_file()
    record_property("answer", "; ".join(str(one.kept) for one in found) or "it is left alone")


def test_cluster_of_a_home_is_a_link(tmp_path, record_property):
    """The private database of a home is a link to a folder that only looks like one."""
    home, victim = tmp_path / "home", tmp_path / "victim"
    (victim / "pg").mkdir(parents=True)
    home.mkdir()
    (victim / "home").write_text(f"{home}\n")
    (victim / "thesis.txt").write_text("years of work")
    mark = {"driver": "postgis", "embedded": False, "password": "x"}
    (victim / "pg" / "odc_bdc.json").write_text(json.dumps(mark))
    (home / "pg").symlink_to(victim / "pg")
    with pytest.raises(database.DatabaseError, match="is not deleted") as told:
        database.delete(home)
    assert (victim / "thesis.txt").is_file()
    record_property("answer", str(told.value).replace(str(tmp_path), ""))
