"""A small index, served once for all tests of this folder."""

from __future__ import annotations

import os
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
from answers import fetched
from odc.geo.geobox import GeoBox
from small_index import CUBES, fill_index

from odc_bdc import database
from odc_bdc.ows import start_server, update_ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import xarray as xr
    from answers import Answered
    from browser import Browser
    from datacube import Datacube

    from odc_bdc.cube import CubeSpec
    from odc_bdc.database import Index
    from odc_bdc.ows import Server


@pytest.fixture(scope="session", autouse=True)
def _tiles_of_gdal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let GDAL, that of QGIS too, keep tiles in a temporary folder, and not where it runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GDAL_DEFAULT_WMS_CACHE_PATH", str(tmp_path_factory.mktemp("tiles")))
        yield


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a private index of these tests' own."""
    return tmp_path_factory.mktemp("clients")


@pytest.fixture(scope="session")
def index(home: Path) -> Iterator[Index]:
    """Bring up a private index with the driver postgis; deleted at the end."""
    environ = {"PATH": os.environ["PATH"]}
    made = database.bring_up(home, environ=environ, driver="postgis")
    try:
        database.initialise(made)
        yield made
    finally:
        database.delete(home)


@pytest.fixture(scope="session")
def dc(index: Index, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Datacube]:
    """Open the index, with `CUBES` and scenes in it, and their ranges."""
    with database.open_datacube(index, app="clients") as opened:
        fill_index(opened, tmp_path_factory.mktemp("pixels"))
        updates = update_ranges(opened)
        assert {u.action for u in updates} == {"updated"}, updates
        yield opened


@pytest.fixture(scope="session")
def cubes() -> dict[str, CubeSpec]:
    """Give the cubes that the index has."""
    return {made.cube.name: made.cube for made in CUBES}


@pytest.fixture(scope="session")
def server(
    index: Index, dc: Datacube, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Run the services on a free port."""
    log = tmp_path_factory.mktemp("log") / "ows.log"
    environ = {**os.environ, "PYTHONHASHSEED": "0"}
    reader = database.as_service(index, "read")
    with start_server(reader, port=0, workers=1, log=log, environ=environ) as running:
        yield running


@pytest.fixture(scope="session")
def fetch(server: Server) -> Callable[..., bytes]:
    """Request something of the services by path and parameters; the answer must have status 200."""

    def get(path: str, **query: object) -> bytes:
        with urllib.request.urlopen(
            f"{server.url}/{path}?{urlencode(query)}", timeout=60
        ) as answer:
            assert answer.status == 200
            return answer.read()

    return get


@pytest.fixture(scope="session")
def ask(server):
    """Request something, whatever the status of the answer."""

    def get(path: str, query: dict | str, method: str = "GET", **headers: str) -> Answered:
        return fetched(server.url, path, query, method, **headers)

    return get


@pytest.fixture(scope="session")
def load(dc: Datacube) -> Callable[..., xr.Dataset]:
    """Load a product's pixels of a date on a pixel grid, as `dc.load` gives them."""

    def get(product: str, day: str, geobox: GeoBox, *measurements: str) -> xr.Dataset:
        found = [
            ds
            for ds in dc.index.datasets.search(product=product)
            if str(ds.time.begin.date()) == day
        ]
        asked = list(measurements) or None
        return dc.load(datasets=found, like=geobox, measurements=asked, group_by="solar_day").isel(
            time=0
        )

    return get


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start Chromium."""
    from browser import find_programs, running

    programs = find_programs()
    if programs is None:
        pytest.skip("Chromium is not installed: `make clients` does that on Debian")
    with running(programs, tmp_path_factory.mktemp("chromium")) as started:
        yield started
