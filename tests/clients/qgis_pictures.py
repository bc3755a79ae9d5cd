"""The steps of docs/howto/qgis.md, done by QGIS itself at running services.

    python tests/clients/qgis_pictures.py --home .odc_bdc docs/images

makes the pictures of that page anew at the map server of a demo's home; `make pictures` does both.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from odc.geo.geom import box
from PIL import Image

from odc_bdc import database
from odc_bdc.grid import BDC_CRS
from odc_bdc.ows import start_server

# The Python that QGIS is installed for is not that of the tests.
PYTHON = os.environ.get("ODC_BDC_QGIS_PYTHON", "/usr/bin/python3")
OFFSCREEN = {"QT_QPA_PLATFORM": "offscreen"}
WINDOW = Path(__file__).with_name("qgis_window.py")
COLOURS = 200
# Those that the page shows.
SHOWN = ("connection", "layers", "map", "temporal", "tilesets", "coverages", "coverage")
# What `make demo` clips its cubes to.
DEMO = (5970432, 9919936, 6035968, 9952704)


@dataclass(frozen=True)
class Steps:
    """What to do in QGIS.

    Attributes
    ----------
    url
        Of the services.
    layer
        Its name.
    extent
        West, south, east, north of the map in EPSG:3857.
    range
        What the temporal controller runs over.
    step, frames
        Days from frame to frame, and how many frames are looked at.
    """

    url: str
    layer: str
    extent: tuple[float, float, float, float]
    range: tuple[str, str]
    step: int = 16
    frames: int = 2


def follow(steps: Steps, folder: Path) -> dict[str, Any]:
    """Let QGIS go through the steps; give what it saw, with the pictures in a folder."""
    home = folder / "home"
    home.mkdir(mode=0o700, parents=True)
    done = subprocess.run(
        [PYTHON, str(WINDOW), str(folder)],
        input=json.dumps(asdict(steps)),
        env={**os.environ, **OFFSCREEN, "HOME": str(home), "XDG_RUNTIME_DIR": str(home)},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Make the pictures of the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    extent = tuple(box(*DEMO, BDC_CRS).to_crs("EPSG:3857").boundingbox.bbox)
    index = database.bring_up(options.home, environ=dict(os.environ), driver="postgis")
    with tempfile.TemporaryDirectory() as made:
        folder, log = Path(made), Path(made) / "ows.log"
        # At the address that the page tells, which the pictures show.
        with start_server(index, port=8000, workers=1, log=log) as server:
            times = ("2019-12-03T00:00:00", "2020-02-18T00:00:00")
            follow(Steps(server.url, "CB4_64_16D_STK_v1", extent, times, frames=4), folder)
        for name in SHOWN:
            picture = Image.open(folder / f"qgis_{name}.png").convert("RGB")
            few = picture.quantize(COLOURS, dither=Image.Dither.NONE)
            few.save(options.folder / f"qgis_{name}.png", optimize=True)


if __name__ == "__main__":
    main()
