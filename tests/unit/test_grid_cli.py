"""`odc-bdc grid`: rows, exports and pictures of tiles."""

import json
import sys

import pytest
from click.testing import CliRunner

from odc_bdc.cli import main

FOUND = "007004 5580800 9841600 6003200 10264000 -46.630688 -11.436995"


def run(*words):
    return CliRunner().invoke(main, ["grid", *map(str, words)])


def tiles(*words):
    done = run("show", *words)
    assert done.exit_code == 0, done.output
    return [line.split()[0] for line in done.output.splitlines()]


def test_list():
    lines = run("list").output.splitlines()
    rows = {line.split()[0]: line.split(maxsplit=4) for line in lines}
    assert rows["BDC_SM_V2"][1:4] == ["105600", "105600", "871"]
    assert rows["BDC_LG_V1"][3] == "-"
    assert rows["RD_NEW_10KM"][1:] == ["10000", "10000", "-", "EPSG:28992"]
    assert len(rows) == 7


def test_a_line_for_each_tile():
    done = run("show", "007004", "008004")
    assert done.exit_code == 0
    assert done.output.splitlines()[0] == FOUND
    assert len(done.output.splitlines()) == 2


def test_pixels():
    assert run("show", "007004", "--resolution", 64).output == f"{FOUND} 6600 6600 64 64\n"
    (row,) = run("show", "021027", "--grid", "BDC_LG_V1", "--resolution", 64).output.splitlines()
    rows, columns, width, height = row.split()[-4:]
    assert (rows, columns) == ("6865", "10504")
    assert (float(width), float(height)) == pytest.approx((63.99735, 64.00234), abs=5e-6)


@pytest.mark.parametrize("box", [(), ("--bbox",)])
def test_a_box_of_degrees_with_negative_numbers(box):
    found = tiles(*box, "-54", "-12", "-53", "-11", "--grid", "BDC_SM_V2")
    assert found == ["022017", "023017", "022018", "023018"]


def test_a_box_in_the_crs_of_the_grid():
    box = ("5600000", "9900000", "5700000", "10000000")
    assert tiles(*box, "--crs", "grid") == tiles("--bbox", *box, "--crs", "EPSG:10857")
    assert tiles(*box, "--crs", "grid") == ["007004"]


def test_six_digits_are_tiles():
    four = ("007004", "008004", "007005", "008005")
    assert tiles(*four) == list(four)


def test_published():
    assert len(tiles("--published")) == 75
    assert tiles("--grid", "BDC_SM_V2", "--bbox", "-29.5", "0", "-28", "2", "--published") == [
        "048006"
    ]
    done = run("show", "--published", "000000")
    assert done.exit_code == 2
    assert done.output == "odc-bdc: no published tile of grid BDC_LG_V2 lies there\n"


def test_own_grid_and_geometry(tmp_path):
    (tmp_path / "rd.yaml").write_text(
        "name: RD\ncrs: EPSG:28992\norigin: [0, 630000]\ntile_size: [10000, 10000]\n"
    )
    point = {"type": "Point", "coordinates": [5.387, 52.155]}
    (tmp_path / "a.geojson").write_text(json.dumps(point))
    assert tiles("--grid", tmp_path / "rd.yaml", "--geometry", tmp_path / "a.geojson") == ["015016"]


def test_export_to_stdout_is_nothing_but_geojson():
    done = run("show", "007004", "--geojson", "-")
    (feature,) = json.loads(done.output)["features"]
    assert feature["properties"]["tile"] == "007004"


def test_export_to_a_file_is_read_back(tmp_path):
    path = tmp_path / "tiles.geojson"
    assert tiles("007004", "008004", "--geojson", path) == ["007004", "008004"]
    assert tiles("--geometry", path) == ["007004", "008004"]


@pytest.mark.parametrize(
    ("grid", "tile"), [("BDC_LG_V2", "007004"), ("BDC_LG_V1", "021027"), ("RD_NEW_10KM", "015016")]
)
def test_picture(tmp_path, grid, tile):
    pytest.importorskip("matplotlib", reason="matplotlib (extra demo) is not installed")
    path = tmp_path / "tiles.png"
    assert tiles(tile, "--grid", grid, "--picture", path) == [tile]
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]


def test_picture_needs_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = run("show", "007004", "--picture", tmp_path / "tiles.png")
    assert done.exit_code == 2
    assert "odc-bdc: a picture needs matplotlib: pip install 'odc_bdc[demo]'" in done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("7004",), "odc-bdc: '7004' is not a tile id"),
        (("-54", "-12", "-53"), "odc-bdc: '-54' is not a tile id"),
        (("--bbox", "1", "2", "1", "4"), "odc-bdc: bbox [1.0, 2.0, 1.0, 4.0]: xmin, xmax"),
        (("007004", "--grid", "RD"), "odc-bdc: 'RD' is no known grid"),
        (("007004", "--grid", "none.yaml"), "odc-bdc: none.yaml: cannot be read"),
        (("007004", "--resolution", "0"), "odc-bdc: resolution must be positive"),
        (("--bbox", "1", "2", "3", "4", "--crs", "x"), "odc-bdc: 'x' is not a CRS"),
        (
            ("--published", "--grid", "BDC_LG_V1"),
            "odc-bdc: the published tiles of grid",
        ),
        (("--geometry", "none.json"), "odc-bdc: none.json: cannot be read as GeoJSON"),
        (("007004", "--geojson", "no/such/dir.json"), "odc-bdc: no/such/dir.json: cannot be"),
        (("007004", "--grid", "BDC_LG_V1"), "odc-bdc: tile 007004 of grid BDC_LG_V1 lies where"),
        (("--bbox", "-120", "2", "-119", "4"), "odc-bdc: no tile of grid BDC_LG_V2 lies there"),
    ],
)
def test_an_error_is_one_line(words, said):
    done = run("show", *words)
    assert done.exit_code == 2
    assert done.output.splitlines()[-1].startswith(said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give tiles, a box, --geometry or --published"),
        (("007004", "--bbox", "1", "2", "3", "4"), "only one of them"),
        (("007004", "--gird", "x"), "No such option '--gird'"),
    ],
)
def test_usage(words, said):
    done = run("show", *words)
    assert done.exit_code == 2
    assert said in done.output
