"""What a user of QGIS sees: its own providers ask the running services, without a screen."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from answers import pixels
from odc.geo.geobox import GeoBox
from qgis_pictures import OFFSCREEN, PYTHON
from small_index import STK

from odc_bdc.grid.crs import BDC_PROJ

pytestmark = pytest.mark.integration

SESSION = Path(__file__).with_name("qgis_session.py")
# Over both tiles, in round numbers, so that no client rounds them differently.
MERCATOR = (-4976640.0, -1325952.0, -4961280.0, -1315712.0)
SIZE = (300, 200)
UTM = "S2_31UES_10_16D_STK_v1"
JANUARY, DECEMBER = "2020-01-01", "2019-12-19"


@cache
def qgis_is_here() -> bool:
    """Tell whether QGIS answers."""
    try:
        asked = subprocess.run(
            [PYTHON, "-c", "import qgis.core"],
            env={**os.environ, **OFFSCREEN},
            capture_output=True,
            timeout=60,
            check=False,
        )
    except OSError:
        return False
    return asked.returncode == 0


@dataclass
class Session:
    """Jobs for QGIS, all done by one run of it."""

    url: str
    folder: Path

    def wms(self, *, crs: str = "EPSG:3857", layer: str = STK, more: str = "") -> str:
        """Give the address of a layer as the data source manager of QGIS writes it."""
        return (
            f"crs={crs}&dpiMode=7&format=image/png&layers={layer}&styles=true_colour"
            f"&url={self.url}/wms{more}"
        )

    def temporal(self) -> str:
        """Give the address of a layer for the temporal controller."""
        return self.wms(
            more=f"&type=wmst&timeDimensionExtent={DECEMBER},{JANUARY}"
            "&allowTemporalUpdates=true&temporalSource=provider"
        )

    def wmts(self, crs: str, tiles: str) -> str:
        """Give the address of a tiled layer."""
        capabilities = quote(f"{self.url}/wmts?service=WMTS&request=GetCapabilities", safe="/:?")
        return (
            f"crs={crs}&dpiMode=7&format=image/png&layers={STK}&styles=true_colour"
            f"&tileMatrixSet={tiles}&url={capabilities}"
        )

    def gdal_tiles(self, tiles: str) -> str:
        """Give the address of a tiled layer by way of GDAL, which understands any CRS."""
        return (
            f"WMTS:{self.url}/wmts/1.0.0/WMTSCapabilities.xml,layer={STK},style=true_colour,"
            f"tilematrixset={tiles},tilematrix=10"
        )

    def wcs(self, crs: str, coverage: str, day: str) -> str:
        """Give the address of a coverage."""
        return (
            f"crs={crs}&dpiMode=7&format=GeoTIFF&identifier={coverage}&url={self.url}/wcs"
            f"&version=1.0.0&time={day}T00:00:00.000Z"
        )

    def run(self, jobs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Let QGIS do them; answers by the jobs' names."""
        home = {"HOME": str(self.folder), "XDG_RUNTIME_DIR": str(self.folder)}
        done = subprocess.run(
            [PYTHON, str(SESSION), str(self.folder)],
            input=json.dumps(jobs),
            env={**os.environ, **OFFSCREEN, **home},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        answers = json.loads(done.stdout.splitlines()[-1])
        return {job["name"]: answer for job, answer in zip(jobs, answers, strict=True)}


@dataclass(frozen=True)
class Tile:
    """A tile with pixels: its place, and the corner and side of the whole set and its tiles."""

    tiles: str
    crs: str
    origin: tuple[float, float]
    side: float
    level: int
    row: int
    column: int

    @property
    def extent(self) -> list[float]:
        """Give west, south, east, north."""
        west = self.origin[0] + self.column * self.side
        north = self.origin[1] - self.row * self.side
        return [west, north - self.side, west + self.side, north]


WORLD = 20037508.3427892480
TILES = (
    Tile("WholeWorld_WebMercator", "EPSG:3857", (-WORLD, WORLD), 2 * WORLD / 2**11, 11, 1091, 770),
    Tile("WorldCRS84Quad", "OGC:CRS84", (-180, 90), 180 / 2**10, 10, 579, 770),
    Tile("BDC_Albers", BDC_PROJ, (-1570304, 16147904), 64 * 256, 10, 374, 462),
)


@pytest.fixture(scope="module")
def seen(server, tmp_path_factory):
    """Let QGIS do all jobs of this module."""
    if not qgis_is_here():
        pytest.skip("QGIS is not installed: `make clients` does that on Debian")
    session = Session(server.url, tmp_path_factory.mktemp("qgis"))
    box = {"extent": MERCATOR, "size": SIZE, "crs": "EPSG:3857"}
    native = GeoBox.from_bbox((587880, 5684910, 588340, 5685430), "EPSG:32631", resolution=10)
    jobs = [
        {"name": "map", "provider": "wms", "uri": session.wms(), "do": "draw", **box},
        {"name": "legend", "provider": "wms", "uri": session.wms(), "do": "legend"},
        {
            "name": "point",
            "provider": "wms",
            "uri": session.wms(),
            "do": "identify",
            "format": "html",
            "point": [-4970000, -1320000],
            **box,
        },
        *(
            {
                "name": f"frame {i}",
                "provider": "wms",
                "uri": session.temporal(),
                "do": "draw",
                "frame": frame,
                **box,
            }
            for i, frame in enumerate(FRAMES)
        ),
        *(
            {
                "name": tile.tiles,
                "provider": "gdal" if tile.tiles == "BDC_Albers" else "wms",
                "uri": session.gdal_tiles(tile.tiles)
                if tile.tiles == "BDC_Albers"
                else session.wmts(tile.crs, tile.tiles),
                "do": "draw",
                "crs": tile.crs,
                "extent": tile.extent,
                "size": (256, 256),
            }
            for tile in TILES
        ),
        {
            "name": "coverage",
            "provider": "wcs",
            "uri": session.wcs("EPSG:32631", UTM, "2023-10-16"),
            "do": "read",
            "extent": list(native.boundingbox),
            "size": [native.shape.x, native.shape.y],
        },
        {
            "name": "no layer",
            "provider": "wms",
            "uri": session.wms(layer="CB4_64_16D_STK_v9"),
            "do": "draw",
            **box,
        },
    ]
    return session.run(jobs)


# Days, a month, and a moment: what the temporal controller may show.
FRAMES = {
    0: ("2020-01-03T00:00:00Z", "2020-01-04T00:00:00Z", JANUARY),
    1: ("2019-12-20T00:00:00Z", "2019-12-21T00:00:00Z", DECEMBER),
    2: ("2020-01-01T00:00:00Z", "2020-02-01T00:00:00Z", JANUARY),
    3: ("2020-01-16T12:00:00Z", "2020-01-16T12:00:00Z", JANUARY),
}
FRAMES, SHOWN = [f[:2] for f in FRAMES.values()], [f[2] for f in FRAMES.values()]


@pytest.fixture
def get_map(fetch):
    """Ask for the map that QGIS should show."""

    def get(day: str) -> np.ndarray:
        return pixels(
            fetch(
                "wms",
                service="WMS",
                version="1.3.0",
                request="GetMap",
                layers=STK,
                styles="true_colour",
                crs="EPSG:3857",
                bbox=",".join(map(str, MERCATOR)),
                width=SIZE[0],
                height=SIZE[1],
                format="image/png",
                transparent="true",
                time=day,
            )
        )

    return get


def picture(answer: dict[str, Any]) -> np.ndarray:
    """Read what QGIS drew."""
    assert answer["valid"], answer
    assert not answer["errors"]
    return pixels(Path(answer["image"]).read_bytes())


def test_a_map_is_that_of_the_services(seen, get_map):
    drawn = picture(seen["map"])
    assert (drawn[3] == 255).mean() > 0.9
    np.testing.assert_array_equal(drawn, get_map(JANUARY))
    assert seen["map"]["crs"] == "EPSG:3857"


@pytest.mark.parametrize("number", range(len(FRAMES)))
def test_each_frame_of_the_temporal_controller_shows_its_composite(seen, get_map, number):
    answer = seen[f"frame {number}"]
    assert answer["temporal"]
    np.testing.assert_array_equal(picture(answer), get_map(SHOWN[number]))


def test_the_composites_of_the_frames_differ(get_map):
    assert (get_map(DECEMBER) != get_map(JANUARY)).mean() > 0.1


@pytest.mark.parametrize("tile", TILES, ids=lambda t: t.tiles)
def test_tiles_are_drawn_as_they_are_served(seen, fetch, tile):
    """QGIS 3.22 knows no code of the BDC's CRS, so it takes that grid by way of GDAL."""
    served = pixels(
        fetch(
            f"wmts/1.0.0/{STK}/true_colour/default/{tile.tiles}/{tile.level}/{tile.row}/"
            f"{tile.column}.png"
        )
    )
    assert served[3].any()
    drawn = picture(seen[tile.tiles])
    np.testing.assert_array_equal(drawn[3], served[3])
    np.testing.assert_array_equal(drawn[:3, served[3] > 0], served[:3, served[3] > 0])


def test_a_legend_is_shown(seen):
    assert pixels(Path(seen["legend"]["image"]).read_bytes()).shape[1] > 10


def test_identify_tells_the_values(seen):
    assert seen["point"]["ok"]
    (told,) = seen["point"]["told"]
    assert "red" in told or "BAND15" in told, told


def test_pixels_of_a_coverage_are_those_of_the_index(seen, load):
    geobox = GeoBox.from_bbox((587880, 5684910, 588340, 5685430), "EPSG:32631", resolution=10)
    data, answer = load(UTM, "2023-10-16", geobox), seen["coverage"]
    assert answer["crs"] == "EPSG:32631"
    found = np.load(answer["pixels"])
    assert len(found) == len(data.data_vars)
    for band, values in zip(data.data_vars, found, strict=True):
        np.testing.assert_array_equal(values, data[band].values, err_msg=str(band))


def test_a_layer_that_is_not_there_draws_nothing(seen):
    answer = seen["no layer"]
    assert not answer["valid"] or answer["errors"] or not picture(answer)[3].any()
