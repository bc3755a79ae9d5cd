"""Which tiles are made before anybody asks for them."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geom import box

from odc_bdc.errors import UnknownNameError
from odc_bdc.ows.caching import HIT, STATUS, STORED
from odc_bdc.ows.requests import Query
from odc_bdc.ows.restful import to_query
from odc_bdc.ows.seeding import find_tiles, seed, tile_path, tiles_of_area
from odc_bdc.ows.tiles import BDC, TILE_MATRIX_SETS


@settings(max_examples=40)
@given(
    tiles=st.sampled_from(TILE_MATRIX_SETS),
    level=st.integers(0, 4),
    west=st.floats(-65, -45),
    south=st.floats(-30, 0),
    size=st.floats(0.01, 12),
)
def test_they_are_those_that_hold_a_point_of_the_area(tiles, level, west, south, size):
    area = box(west, south, west + size, south + size, "EPSG:4326")
    found = set(tiles_of_area(tiles, [level], area))
    points = [
        box(x, y, x + 1e-9, y + 1e-9, "EPSG:4326").to_crs(tiles.crs).centroid.coords[0]
        for x in (west, west + size / 3, west + size)
        for y in (south, south + size / 3, south + size)
    ]
    inside = {tiles.tile_at(level, *point) for point in points} - {None}
    assert {(level, *place) for place in inside} <= found
    # No other than those that touch what the area fills in the tiles' CRS.
    shape = area.segmented(size / 200).to_crs(tiles.crs).buffer(tiles.pixel / 2**level)
    for place in found:
        assert box(*tiles.bbox(*place), tiles.crs).intersects(shape)


def test_levels_that_a_set_does_not_have_are_passed_over():
    area = box(-50, -10, -49, -9, "EPSG:4326")
    assert {level for level, _, _ in tiles_of_area(BDC, range(12, 99), area)} == {12, 13}
    with pytest.raises(UnknownNameError, match="there are no tiles nothing: WholeWorld_"):
        find_tiles("nothing")


def test_a_path_is_that_of_the_tile():
    path = tile_path("a/b", "c d", "2020-01-01", "BDC_Albers", (3, 4, 5))
    asked = Query.parse(to_query(path))
    wanted = {"layer": "a/b", "style": "c d", "time": "2020-01-01", "tilematrixset": "BDC_Albers"}
    wanted |= {"tilematrix": "3", "tilerow": "4", "tilecol": "5", "request": "GetTile"}
    assert {name: asked.get(name) for name in wanted} == wanted


def test_tiles_are_counted_by_what_became_of_them():
    class Services(BaseHTTPRequestHandler):
        def do_GET(self):
            number = int(self.path.rpartition("/")[2])
            self.send_response(503 if number % 10 == 0 else 200)
            self.send_header(STATUS, HIT if number % 2 else STORED)
            self.end_headers()
            self.wfile.write(b"x")

        def log_message(self, *_args):
            pass

    told = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Services) as fake:
        threading.Thread(target=fake.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{fake.server_port}"
        paths = (f"/{number}" for number in range(50))
        report = seed(url, paths, workers=3, progress=lambda r: told.append(r.count))
        fake.shutdown()
    assert (report.found, report.made, report.failed) == (25, 20, 5)
    assert told == list(range(1, 51))
    assert len(report.reasons) == 3
    assert set(report.reasons.values()) == {"status 503"}
    gone = seed(url, ["/1"], workers=1)
    assert gone.failed == 1
    assert "refused" in gone.reasons["/1"]
