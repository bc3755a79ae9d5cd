"""What stands around datacube-ows: patches, middleware, the server's environment."""

from __future__ import annotations

import json
import socket
from types import SimpleNamespace
from urllib.parse import parse_qsl

import pytest
from odc.geo.crs import CRS

from odc_bdc.errors import DatabaseError, InvalidValueError, MissingDependencyError
from odc_bdc.grid import BDC_CRS, BDC_PROJ
from odc_bdc.ows import extra, start_server
from odc_bdc.ows.middleware import HealProjStrings, heal_query
from odc_bdc.ows.patches import PATCHES, apply_patches, memoised
from odc_bdc.ows.server import server_environment

INDEX = SimpleNamespace(
    config_path=None,
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
    known = CRS(BDC_PROJ).epsg  # newer versions of PROJ have a code
    for _ in range(3):
        assert remembered(CRS(BDC_PROJ)) == known
        assert remembered(CRS("EPSG:4326")) == 4326
    assert sorted(asked) == sorted([str(BDC_CRS), "EPSG:4326"])


def test_all_patches_fit_the_installed_versions():
    names = {patch.name for patch in PATCHES}
    assert apply_patches() == names
    assert apply_patches() == names
    assert CRS(BDC_PROJ).epsg in {None, 10857}
    assert CRS("EPSG:3857").epsg == 3857


def test_tiles_have_the_size_of_their_set_where_those_of_datacube_ows_have_256_pixels():
    """Otherwise `odc_bdc.ows.tiles.map_of_tile` is not needed any more."""
    from odc_bdc.ows import build_config
    from odc_bdc.ows.tiles import map_of_tile
    from odc_bdc.ows.upstream import OWSConfig, wmts_args_to_wms

    cfg = OWSConfig(refresh=True, cfg=build_config((), ()))
    asked = {"tilematrixset": "BDC_Albers_512", "tilematrix": "3", "tilerow": "1", "tilecol": "1"}
    asked["requestid"] = "x"
    ours, stock = map_of_tile(wmts_args_to_wms, asked, cfg), wmts_args_to_wms(asked, cfg)
    assert (ours["width"], ours["height"]) == (512, 512)
    assert (stock["width"], stock["height"]) == (256, 256)
    assert ours["bbox"] == stock["bbox"]


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
            "index_driver": "odc_bdc_services",
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
        "ODC_BDC_ROOTS": "",  # an index without a home has no recipes of its own
    }


def test_the_users_own_configuration_and_address_win():
    user = {"DATACUBE_OWS_CFG": "mine.cfg", "ODC_BDC_OWS_URL": "https://maps.example.org"}
    env = server_environment(INDEX, ("http://127.0.0.1:8000",), user)
    assert env["DATACUBE_OWS_CFG"] == "mine.cfg"
    assert env["ODC_BDC_OWS_URL"] == "https://maps.example.org"


def test_an_index_with_the_driver_memory_cannot_be_served(tmp_path):
    index = SimpleNamespace(**{**vars(INDEX), "driver": "memory"})
    with pytest.raises(DatabaseError, match="'memory' cannot be served"):
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
