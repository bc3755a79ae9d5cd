"""One private cluster for all tests here, and a fresh index for each module and driver."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from sqlalchemy import text

from odc_bdc import database
from odc_bdc.database.configuration import write_own
from odc_bdc.database.index import session, with_database

_numbers = itertools.count()


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def clean_environ():
    """Return the environment without what names a database of the person who runs the tests."""
    own = ("ODC_", "DATACUBE_", "DB_", "PG", "HOME")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)}


@pytest.fixture(scope="session")
def homes():
    """Give a maker of empty homes that a server of another user can reach, unlike `tmp_path`."""
    base = Path(tempfile.mkdtemp(prefix="odc_bdc-test-"))
    base.chmod(0o755)

    def make(name):
        home = base / name
        home.mkdir()
        return home

    yield make
    for home in base.iterdir():
        database.delete(home)
    shutil.rmtree(base)


@pytest.fixture(scope="session")
def cluster(homes, clean_environ):
    """Give the `Index` of a running private cluster; its own database is not made."""
    return database.bring_up(homes("session"), environ=clean_environ)


@pytest.fixture(scope="session")
def fresh_index(cluster, homes):
    """Give a maker of indexes: ``make(driver)`` copies one that was initialised once."""
    templates = {}

    def make(driver):
        name = f"{driver}_{next(_numbers)}"
        if driver not in templates:
            url = with_database(cluster, f"template_{driver}")
            templates[driver] = replace(cluster, driver=driver, url=url)
            database.initialise(templates[driver])
        with session(cluster, "postgres") as server:
            server.execute(text(f"CREATE DATABASE {name} TEMPLATE template_{driver}"))
            # The one thing that a copy of a database does not bring along.
            role = {"postgis": "odc_admin", "postgres": "agdc_admin"}[driver]
            server.execute(text(f"GRANT ALL ON DATABASE {name} TO {role}"))
        return write_own(homes(name), url=with_database(cluster, name), driver=driver)

    return make


@pytest.fixture(scope="module", params=["postgis", "postgres"])
def index(request, fresh_index, cluster):
    """Give a fresh, initialised index; its `config_path` is for programs of their own."""
    made = fresh_index(request.param)
    yield made
    with session(cluster, "postgres") as server:
        server.execute(text(f"DROP DATABASE {made.config_path.parent.name} WITH (FORCE)"))


@pytest.fixture(scope="module")
def dc(index):
    """Give the index, opened."""
    with database.open_datacube(index) as opened:
        yield opened


@pytest.fixture(scope="session")
def s3_server():
    """Give host and port of a server of s3 on loopback."""
    server = pytest.importorskip("moto.server", reason="the group test is absent")
    logging.getLogger("werkzeug").setLevel("ERROR")
    running = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"{host}:{port}"
    running.stop()


@pytest.fixture
def s3(s3_server, monkeypatch):
    """Let s3fs and GDAL of this process find the server, and nothing of the person who tests."""
    pytest.importorskip("s3fs", reason="the extra [s3] is absent")
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)
    settings = {
        "AWS_ENDPOINT_URL": f"http://{s3_server}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_S3_ENDPOINT": s3_server,
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    yield s3_server
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture
def bucket(s3):
    """Give the address of a place in an empty bucket, and the file system."""
    files = fsspec.filesystem("s3", use_listings_cache=False)
    name = f"cubes-{os.urandom(4).hex()}"
    files.mkdir(name)
    return f"s3://{name}/brazil", files
