"""What stands around datacube-ows: patches, middleware, the server's environment."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from urllib.parse import parse_qsl

import pytest
from odc.geo.crs import CRS

from odc_bdc.errors import DatabaseError, InvalidValueError, MissingDependencyError
from odc_bdc.grid import BDC_CRS, BDC_PROJ
from odc_bdc.ows import extra, start_server
from odc_bdc.ows.middleware import HealProjStrings, heal_query
from odc_bdc.ows.patches import apply_patches, memoised, quiet, transformed
from odc_bdc.ows.server import server_environment

INDEX = SimpleNamespace(
    env="cube",
    url="postgresql+psycopg2://me:secret@db/cube",
    driver="postgis",
    options=(("db_connection_timeout", 60),),
)


@pytest.mark.parametrize("key", ["crs", "CRS", "response_crs", "subsettingCrs", "outputCrs"])
def test_a_proj_string_gets_its_plus_signs_back(key):
    for text in (BDC_PROJ, BDC_PROJ.replace(" ", "%20"), BDC_PROJ.replace("+", "%2B")):
        healed = parse_qsl(heal_query(f"LAYERS=a&{key}={text}&time="), keep_blank_values=True)
        assert healed == [("LAYERS", "a"), (key, str(BDC_CRS)), ("time", "")]


@pytest.mark.parametrize(
    "query",
    [
        "crs=EPSG:4326&layers=a%20b&subset=x(1,2)&subset=y(3,4)",
        "layers=+proj=longlat",
        "crs=+proj=nonsense",
        "crs=%F0proj=",
        "",
    ],
)
def test_everything_else_stays_as_it_was(query):
    assert heal_query(query) == query


def test_the_middleware_leaves_the_request_of_others_alone():
    seen = {}
    environ = {"QUERY_STRING": f"crs={BDC_PROJ}", "PATH_INFO": "/wms"}

    def application(inner, start_response):
        seen.update(inner)
        return [b"body"]

    assert HealProjStrings(application)(environ, lambda *_: None) == [b"body"]
    assert seen["QUERY_STRING"] == heal_query(environ["QUERY_STRING"]) != environ["QUERY_STRING"]
    assert seen["PATH_INFO"] == "/wms"


def test_the_code_of_a_crs_is_looked_up_once():
    asked = []

    def to_epsg(crs):
        asked.append(str(crs))
        return CRS.to_epsg(crs)

    remembered = memoised(to_epsg)
    for _ in range(3):
        assert remembered(CRS(BDC_PROJ)) is None
        assert remembered(CRS("EPSG:4326")) == 4326
    assert sorted(asked) == sorted([str(BDC_CRS), "EPSG:4326"])


def test_an_extent_is_asked_for_in_degrees():
    from odc.geo.geom import box

    asked = []

    def extent(layer, *, crs, times):
        asked.append((layer, crs, times))
        return box(-54, -12, -53, -11, "EPSG:4326")

    found = transformed(extent)("layer", crs=BDC_CRS, times=["t"])
    assert asked == [("layer", CRS("EPSG:4326"), ["t"])]
    assert found.crs == BDC_CRS
    assert found.boundingbox.left == pytest.approx(5e6, abs=1)


def test_messages_of_unexpected_errors_are_not_passed_on():
    class WMSException:
        def __init__(self, status):
            self.http_response = status
            self.errors = [{"msg": "/srv/secret.tif"}]

        def exception_response(self, cfg, traceback=None):
            return cfg, self.errors[0]["msg"], traceback

    respond = quiet(WMSException.exception_response)
    hidden = respond(WMSException(500), "cfg", traceback=["line"])
    assert hidden == ("cfg", "Internal server error.", None)
    assert respond(WMSException(400), "cfg") == ("cfg", "/srv/secret.tif", None)


def test_all_patches_fit_the_installed_versions():
    names = {"epsg_memo", "quiet_errors", "extent", "all_times", "tile_size"}
    assert apply_patches() == names
    assert apply_patches() == names
    assert CRS(BDC_PROJ).epsg is None
    assert CRS("EPSG:3857").epsg == 3857


def test_datacube_ows_still_searches_for_the_first_time_only():
    """Then `odc_bdc.ows.all_times` is still needed."""
    from datacube_ows.index.postgis.api import OWSPostgisIndex

    days = [datetime(2020, 1, day, tzinfo=UTC) for day in (1, 17)]
    query = OWSPostgisIndex()._query(None, times=days)
    assert query["time"].begin == days[0]
    assert query["time"].end < days[1]


def test_composites_that_begin_at_the_times_are_found_by_one_search(monkeypatch):
    from datacube_ows.index.postgis.api import OWSPostgisIndex, OWSPostgisIndexDriver
    from datacube_ows.ows_configuration import TimeRes

    from odc_bdc.ows.all_times import AllTimes

    days = [datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=16 * i) for i in range(5)]
    stored = [SimpleNamespace(id=i, time=SimpleNamespace(begin=d)) for i, d in enumerate(days)]
    searches = []

    def ds_search(self, layer, times, geom=None, products=None):
        searches.append(times)
        (time,) = times
        first, last = time if isinstance(time, tuple) else (time, time + timedelta(seconds=1))
        reach = timedelta(days=15, hours=23)
        return [ds for ds in stored if ds.time.begin <= last and ds.time.begin + reach >= first]

    monkeypatch.setattr(OWSPostgisIndex, "ds_search", ds_search)
    composites = SimpleNamespace(time_resolution=TimeRes.SUMMARY)
    found = list(AllTimes().ds_search(composites, [days[3], days[1]]))
    assert [ds.id for ds in found] == [1, 3]
    assert len(searches) == 1
    assert AllTimes().count(composites, [days[3], days[1]]) == 2
    ranges = [(days[0], days[1]), (days[1], days[2])]
    scenes = SimpleNamespace(time_resolution=TimeRes.SOLAR)
    assert [ds.id for ds in AllTimes().ds_search(scenes, ranges)] == [0, 1, 2]
    apply_patches()
    assert isinstance(OWSPostgisIndexDriver.ows_index(), AllTimes)


def test_datacube_ows_still_makes_tiles_of_256_pixels():
    """Then `odc_bdc.ows.tiles.asked_size` is still needed."""
    from datacube_ows import wmts
    from datacube_ows.ows_configuration import OWSConfig

    from odc_bdc.ows import build_config

    apply_patches()
    cfg = OWSConfig(refresh=True, cfg=build_config((), ()))
    asked = {"tilematrixset": "BDC_Albers_512", "tilematrix": "3", "tilerow": "1", "tilecol": "1"}
    asked["requestid"] = "x"
    patched = wmts.wmts_args_to_wms(asked, cfg)
    assert (patched["width"], patched["height"]) == (512, 512)
    stock = wmts.wmts_args_to_wms.__wrapped__(asked, cfg)
    assert (stock["width"], stock["height"]) == (256, 256)
    assert patched["bbox"] == stock["bbox"]


def test_the_server_finds_just_the_given_index():
    user = {
        "PATH": "/bin",
        "ODC_CONFIG_PATH": "/elsewhere",
        "ODC_ALL_DB_URL": "postgresql://other",
        "DB_HOSTNAME": "other",
        "ODC_BDC_OWS_TITLE": "Maps",
    }
    env = server_environment(INDEX, ("http://127.0.0.1:8000",), user)
    assert json.loads(env.pop("ODC_CONFIG")) == {
        "cube": {
            "index_driver": "postgis",
            "db_url": "postgresql+psycopg2://me:secret@db/cube",
            "db_connection_timeout": 60,
        }
    }
    assert env == {
        "PATH": "/bin",
        "ODC_BDC_OWS_TITLE": "Maps",
        "ODC_BDC_OWS_URL": "http://127.0.0.1:8000",
        "ODC_ENVIRONMENT": "cube",
        "DATACUBE_OWS_CFG": "odc_bdc.ows_cfg.ows_root_cfg.ows_cfg",
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    }


def test_the_users_own_configuration_and_address_win():
    user = {"DATACUBE_OWS_CFG": "mine.cfg", "ODC_BDC_OWS_URL": "https://maps.example.org"}
    env = server_environment(INDEX, ("http://127.0.0.1:8000",), user)
    assert env["DATACUBE_OWS_CFG"] == "mine.cfg"
    assert env["ODC_BDC_OWS_URL"] == "https://maps.example.org"


def test_an_index_with_the_driver_postgres_cannot_be_served(tmp_path):
    index = SimpleNamespace(**{**vars(INDEX), "driver": "postgres"})
    with pytest.raises(DatabaseError, match="'postgres' cannot be served"):
        start_server(index, log=tmp_path / "log")


def test_a_port_that_is_taken_is_said_so_before_anything_starts(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InvalidValueError, match=f"port {port} of 127.0.0.1 is taken"):
            start_server(INDEX, port=port, log=tmp_path / "log")
    with pytest.raises(InvalidValueError, match="port 70000 does not exist"):
        start_server(INDEX, port=70000, log=tmp_path / "log")


def test_a_missing_extra_is_said_so(monkeypatch, tmp_path):
    monkeypatch.setattr(extra, "find_spec", lambda name: None if name == "gunicorn" else object())
    with pytest.raises(MissingDependencyError, match=r"needs gunicorn: pip install 'odc_bdc\[ows"):
        start_server(INDEX, log=tmp_path / "log")
