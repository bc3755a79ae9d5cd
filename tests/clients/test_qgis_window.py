"""The steps that docs/howto/qgis.md tells, done in QGIS's own dialogs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from answers import pixels
from qgis_pictures import SHOWN, Steps, follow
from small_index import STK
from test_qgis import DECEMBER, JANUARY, MERCATOR, qgis_is_here

pytestmark = pytest.mark.integration

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def seen(server, tmp_path_factory):
    """Let QGIS go through the steps."""
    if not qgis_is_here():
        pytest.skip("QGIS is not installed: `make clients` does that on Debian")
    times = (f"{DECEMBER}T00:00:00", "2020-01-17T00:00:00")
    return follow(Steps(server.url, STK, MERCATOR, times), tmp_path_factory.mktemp("window"))


def colours(seen, name):
    return pixels(Path(seen["maps"][name]).read_bytes())[:3]


def test_layers_of_the_three_services_are_added_by_their_dialogs(seen):
    assert [layer["provider"] for layer in seen["layers"]] == ["wms", "wms", "wcs"]
    assert all(layer["valid"] for layer in seen["layers"])
    maps, tiles, coverage = (layer["uri"] for layer in seen["layers"])
    # So that the temporal controller is offered.
    assert "type=wmst" in maps
    assert f"timeDimensionExtent={DECEMBER},{JANUARY}" in maps
    assert "tileMatrixSet=WholeWorld_WebMercator" in tiles
    assert f"tileDimensions=Time%3D{JANUARY}" in tiles
    assert f"time={JANUARY}T00:00:00.000Z" in coverage


def test_the_dialogs_offer_the_dates(seen):
    assert seen["dimension"] == ["Time", JANUARY]
    assert seen["times"] == [f"{day}T00:00:00.000Z" for day in (DECEMBER, JANUARY)]
    assert len(seen["bands"]) == 10


@pytest.mark.parametrize("name", ["map", "frame_0", "frame_1", "tiles", "coverage"])
def test_each_map_shows_the_cube(seen, name):
    drawn = colours(seen, name)
    assert (drawn != 255).any(axis=0).mean() > 0.3
    assert len(np.unique(drawn.reshape(3, -1), axis=1).T) > 500


def test_the_button_of_the_temporal_controller_goes_to_the_next_composite(seen):
    assert (colours(seen, "frame_0") != colours(seen, "frame_1")).mean() > 0.1


def test_there_is_a_picture_of_each_step_and_the_page_shows_it(seen):
    made = {Path(path).name for path in seen["pictures"]}
    wanted = {f"qgis_{name}.png" for name in SHOWN}
    assert wanted <= made
    page = (DOCS / "howto" / "qgis.md").read_text("utf-8")
    for name in wanted:
        assert f"../images/{name}" in page
        assert (DOCS / "images" / name).is_file()
