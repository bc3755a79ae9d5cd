"""Updating, checking and proving the services."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import pytest
from click.testing import CliRunner
from PIL import Image
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from odc_bdc.cli.ows import ows
from odc_bdc.errors import InvalidValueError
from odc_bdc.ows import (
    check_endpoints,
    config_of_index,
    find_faults,
    start_server,
    update_ranges,
)
from odc_bdc.ows.parsed import named_layers
from odc_bdc.ows.tiles import TILE_MATRIX_SETS

pytestmark = pytest.mark.integration


@pytest.fixture
def sql(index):
    """Run a statement in the database of the index."""

    def run(statement: str, **values):
        engine = create_engine(index.url, poolclass=NullPool)
        with engine.begin() as connection:
            result = connection.execute(text(statement), values)
            return result.all() if result.returns_rows else None

    return run


@pytest.fixture
def config(dc):
    """Configure the index anew, to be spoilt by a test."""
    return config_of_index(dc)


def layer_of(config, name):
    return next(layer for layer in named_layers(config["layers"]) if layer["name"] == name)


def test_every_service_serves_every_cube_in_every_crs(server, dc, cubes):
    results = check_endpoints(server.url, dc, list(cubes.values()))
    assert [f"{r.cube} {r.request} {r.crs}: {r.reason}" for r in results if not r.ok] == []
    for name in cubes:
        done = {(r.request, r.crs) for r in results if r.cube == name}
        for crs in ("EPSG:10857", "EPSG:4326", "EPSG:3857"):
            assert {("GetMap", crs), ("GetCoverage", crs)} <= done
        for tiles in TILE_MATRIX_SETS:
            assert ("GetTile", tiles.name) in done


def test_blank_and_broken_answers_are_faults(dc, cubes):
    cube = cubes["CB4_64_16D_MED_v1"]
    buffer = BytesIO()
    Image.new("RGBA", (256, 256)).save(buffer, "PNG")
    blank = buffer.getvalue()

    class Blank(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(404 if "EPSG%3A4326" in self.path else 200)
            self.end_headers()
            self.wfile.write(blank)

        def log_message(self, *_args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Blank) as fake:
        threading.Thread(target=fake.serve_forever, daemon=True).start()
        results = check_endpoints(f"http://127.0.0.1:{fake.server_port}", dc, [cube])
        fake.shutdown()
    assert len(results) == 3 + len(TILE_MATRIX_SETS) + 3
    assert not any(r.ok for r in results)
    reasons = {(r.request, r.crs): r.reason for r in results}
    assert reasons["GetMap", "EPSG:3857"].startswith("blank, though")
    assert reasons["GetMap", "EPSG:4326"].startswith("status 404")
    assert reasons["GetCoverage", "EPSG:10857"].startswith("bands")


def test_a_second_update_does_nothing(dc, sql):
    before = sql("SELECT layer, last_updated FROM ows.layer_ranges ORDER BY layer")
    assert {u.action for u in update_ranges(dc)} == {"unchanged"}
    assert sql("SELECT layer, last_updated FROM ows.layer_ranges ORDER BY layer") == before


def test_a_broken_layer_does_not_stop_the_others(dc, config, sql):
    broken = layer_of(config, "CB4_64_16D_MED_v1") | {"name": "AAA", "product_name": "not_there"}
    config["layers"].insert(0, {"title": "Broken", "abstract": "-", "layers": [broken]})
    sql("DELETE FROM ows.layer_ranges WHERE layer = 'CB4_64_16D_MED_v1'")
    done = {u.layer: u for u in update_ranges(dc, config)}
    assert done["AAA"].action == "failed"
    assert "not_there" in done["AAA"].reason
    assert done["CB4_64_16D_MED_v1"].action == "updated"
    assert done["CB4_64_16D_STK_v1"].action == "unchanged"


def test_check_finds_what_is_wrong_and_says_what_to_do(dc, config, sql):
    assert find_faults(dc) == []
    assert find_faults(dc, config) == []
    layer_of(config, "CB4_64_16D_STK_v1")["bands"]["BAND99"] = ["BAND99"]
    layer_of(config, "CB4_64_2Y_STK_v1")["product_name"] = "not_there"
    layer_of(config, "S2_31UES_10_16D_STK_v1")["styling"]["styles"][0]["components"] = {}
    sql("DELETE FROM ows.layer_ranges WHERE layer = 'CB4_64_16D_MED_v1'")
    try:
        faults = {f.subject: str(f) for f in find_faults(dc, config) if "ranges" not in f.problem}
        hidden = {f.subject: str(f) for f in find_faults(dc)}
    finally:
        update_ranges(dc)
    assert "has no band BAND99" in faults["CB4_64_16D_STK_v1"]
    assert "product not_there is not in the index; add it" in faults["CB4_64_2Y_STK_v1"]
    assert "true_colour" in faults["S2_31UES_10_16D_STK_v1"]
    assert list(hidden) == ["CB4_64_16D_MED_v1"]
    assert "run `odc-bdc ows update`" in hidden["CB4_64_16D_MED_v1"]
    assert find_faults(dc) == []


def test_an_extent_that_another_program_made_rougher_is_made_right(dc, sql):
    sql(
        "UPDATE ows.layer_ranges SET bboxes = jsonb_set(bboxes, '{EPSG:10857,left}', '5983999.9') "
        "WHERE layer = 'CB4_64_16D_STK_v1'"
    )
    assert [f.subject for f in find_faults(dc)] == ["CB4_64_16D_STK_v1"]
    assert [u.layer for u in update_ranges(dc) if u.action == "updated"] == ["CB4_64_16D_STK_v1"]
    assert find_faults(dc) == []


def test_ranges_older_than_the_datasets_are_a_fault(dc, sql):
    (dataset,) = dc.index.datasets.search(product="LC8_NY_3000_1M_MED_v1")
    dc.index.datasets.archive([dataset.id])
    dc.index.datasets.restore([dataset.id])
    assert [f.subject for f in find_faults(dc)] == ["LC8_NY_3000_1M_MED_v1"]
    done = {u.layer: u.action for u in update_ranges(dc)}
    assert done.pop("LC8_NY_3000_1M_MED_v1") == "updated"
    assert set(done.values()) == {"unchanged"}


def test_the_commands_tell_what_they_did(home, dc, sql, monkeypatch):
    for name in ("ODC_CONFIG", "ODC_CONFIG_PATH", "ODC_ENVIRONMENT", "DATACUBE_OWS_CFG"):
        monkeypatch.delenv(name, raising=False)
    run = CliRunner()
    good = run.invoke(ows, ["check", "--home", str(home)])
    assert (good.exit_code, good.output) == (0, "nothing is wrong\n")
    sql("DELETE FROM ows.layer_ranges WHERE layer = 'CB4_64_16D_MED_v1'")
    bad = run.invoke(ows, ["check", "--home", str(home)])
    assert bad.exit_code == 1
    assert bad.output.startswith("CB4_64_16D_MED_v1: it has no ranges")
    mended = run.invoke(ows, ["update", "--home", str(home)])
    assert mended.exit_code == 0
    assert "CB4_64_16D_MED_v1: updated\n" in mended.output


def test_a_port_that_is_taken_is_said_so(index, server, tmp_path):
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(InvalidValueError, match=f"port {port} of 127.0.0.1 is taken: stop"):
        start_server(index, port=port, log=tmp_path / "log")
