"""CPU of the services per request, against stock datacube-ows: the same index, files and requests.

Two processes hold the two applications, and are asked in turn, so that a busy machine slows both.
What is counted is their CPU, without a web server.

    python tests/benchmarks/services.py [--rounds 40]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
from datacube.index.hl import Doc2Dataset
from PIL import Image
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from odc_bdc import database
from odc_bdc.cube import find_cube
from odc_bdc.grid import BDC_CRS
from odc_bdc.ows import update_ranges
from odc_bdc.ows.server import server_environment
from odc_bdc.ows.tiles import BDC, WEB_MERCATOR

CLIENTS = Path(__file__).resolve().parents[1] / "clients"
CUBE = "CB4_64_16D_STK_v1"
SIDE = 1200
# In the middle of a tile of the LG_V2 grid, at 64 m.
EXTENT = (5800000, 10000000, 5800000 + SIDE * 64, 10000000 + SIDE * 64)
DAY = date(2020, 1, 1)
CUBES, DATES = 24, 115
DOCUMENT_MS = 20
TARGETS = {"WebMercator, z11": 0.65, "BDC grid, z11": 0.4}


def main() -> None:
    """Print CPU per request of both, and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--worker", choices=("stock", "ours"))
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), options.rounds)


def compare(folder: Path, rounds: int) -> None:
    """Bring up an index with one dataset, and ask both applications for its tiles in turn."""
    index = database.bring_up(folder, environ={"PATH": os.environ["PATH"]}, driver="postgis")
    try:
        database.initialise(index)
        with database.open_datacube(index, app="benchmark") as dc:
            _fill(dc, folder)
            _add_cubes(dc)
            update_ranges(dc)
        _add_dates(index.url)
        environ = server_environment(index, ("http://localhost",), os.environ)
        workers = {name: Worker(name, environ) for name in ("stock", "ours")}
        requests = _requests()
        _report(workers, requests, rounds)
        _report_documents(workers)
        for worker in workers.values():
            worker.stop()
    finally:
        database.delete(folder)


def _fill(dc, folder: Path) -> None:
    # Like the tests of the clients: COGs with blobs and noise, and their documents.
    sys.path.append(str(CLIENTS))
    import small_index

    cube = find_cube(CUBE).patch(extent=EXTENT)
    made = small_index.Made(cube, tuple(cube.grid.tile_ids(EXTENT, BDC_CRS)), (DAY,))
    small_index.fill_index(dc, folder / "pixels", (made,), ())


def _add_cubes(dc) -> None:
    """Index more cubes, without pixels: capabilities are made of their ranges."""
    (dataset,) = dc.index.datasets.search(product=CUBE)
    names = [f"{CUBE}_{number}" for number in range(1, CUBES)]
    for name in names:
        definition = {**dataset.product.definition, "name": name}
        definition["metadata"] = {**definition["metadata"], "product": {"name": name}}
        dc.index.products.add_document(definition)
    resolve = Doc2Dataset(dc.index, skip_lineage=True, eo3=True)
    for name in names:
        document = {
            **dataset.metadata_doc,
            "id": str(uuid.uuid5(dataset.id, name)),
            "label": name,
            "product": {"name": name},
        }
        more, problem = resolve(document, f"{dataset.uri}#{name}")
        assert more is not None, problem
        dc.index.datasets.add(more, with_lineage=False)


def _add_dates(url: str) -> None:
    """Let the layers have the dates of five years."""
    dates = [str(DAY - timedelta(days=16 * n)) for n in reversed(range(DATES))]
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("UPDATE ows.layer_ranges SET dates = :d"), {"d": json.dumps(dates)})


class Worker:
    """A process with one of the applications."""

    def __init__(self, name: str, environ: dict[str, str]) -> None:
        command = [sys.executable, "-W", "ignore", __file__, "--worker", name]
        self.process = subprocess.Popen(
            command,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, url: str) -> dict:
        """Let it answer a request; give seconds of CPU, status and size of the answer."""
        self.process.stdin.write(f"{url}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def stop(self) -> None:
        """End it."""
        self.process.stdin.close()
        self.process.wait()


def work(name: str) -> None:
    """Answer the requests that come in, one in a line."""
    import logging

    from werkzeug.test import EnvironBuilder, run_wsgi_app

    if name == "stock":
        from datacube_ows.startup_utils import create_app

        application = create_app()
    else:
        from odc_bdc.ows.application import create_application

        application = create_application()
    logging.getLogger().setLevel(logging.ERROR)
    for line in sys.stdin:
        path, _, query = line.strip().partition("?")
        environ = EnvironBuilder(path=path, query_string=query).get_environ()
        start = time.process_time()
        body, status, headers = run_wsgi_app(application.wsgi_app, environ)
        content = b"".join(body)
        cpu = time.process_time() - start
        answer = {"cpu": cpu, "status": int(status[:3]), "bytes": len(content)}
        if headers["Content-Type"] == "image/png":
            pixels = np.asarray(Image.open(BytesIO(content)).convert("RGBA"))
            answer["opaque"] = float((pixels[..., 3] == 255).mean())
        print(json.dumps(answer), flush=True)


def _requests() -> dict[str, list[str]]:
    from odc.geo import geom

    west, south, east, north = EXTENT
    asked: dict[str, list[str]] = {}
    for name, tiles, crs, level in (
        ("WebMercator, z11", WEB_MERCATOR, "EPSG:3857", 11),
        ("BDC grid, z11", BDC, BDC_CRS, 11),
    ):
        asked[name] = []
        for n in range(2, 6):
            for m in range(2, 6):
                x, y = west + (east - west) * n / 8, south + (north - south) * m / 8
                point = geom.point(x, y, BDC_CRS).to_crs(crs)
                row, column = tiles.tile_at(level, *point.coords[0])
                query = {
                    "service": "WMTS",
                    "version": "1.0.0",
                    "request": "GetTile",
                    "layer": CUBE,
                    "style": "true_colour",
                    "format": "image/png",
                    "tilematrixset": tiles.name,
                    "tilematrix": level,
                    "tilerow": row,
                    "tilecol": column,
                    "time": str(DAY),
                }
                asked[name].append(f"/wmts?{urlencode(query)}")
    return asked


def _report(workers: dict[str, Worker], requests: dict[str, list[str]], rounds: int) -> None:
    head = f"{'stock ms':>10}{'ours ms':>10}{'ratio':>8}{'at most':>9}{'kB':>14}"
    print(f"{'tile, 3 bands, 1 dataset':28}{head}")
    for name, urls in requests.items():
        spent: dict[str, list[float]] = {key: [] for key in workers}
        sizes: dict[str, int] = {}
        for number in range(rounds + 4):
            for key, worker in workers.items():
                answer = worker.ask(urls[number % len(urls)])
                assert answer["status"] == 200, (key, urls[number % len(urls)], answer)
                assert answer["opaque"] > 0.5, "a tile without pixels measures nothing"
                sizes[key] = answer["bytes"]
                if number >= 4:  # the first requests open what is kept open
                    spent[key].append(answer["cpu"])
        stock, ours = (float(np.median(spent[key])) for key in ("stock", "ours"))
        kilobytes = f"{sizes['stock'] / 1000:.0f} -> {sizes['ours'] / 1000:.0f}"
        print(
            f"{name:28}{stock * 1000:>10.1f}{ours * 1000:>10.1f}{ours / stock:>8.2f}"
            f"{TARGETS[name]:>9}{kilobytes:>14}"
        )


def _report_documents(workers: dict[str, Worker]) -> None:
    what = f"capabilities, {CUBES} cubes, {DATES} dates"
    print(f"\n{what:40}{'first ms':>10}{'again ms':>10}{'kB':>8}")
    for service in ("wms", "wmts", "wcs"):
        for key, worker in workers.items():
            url = f"/{service}?service={service}&request=GetCapabilities"
            answers = [worker.ask(url) for _ in range(6)]
            assert {a["status"] for a in answers} == {200}
            again = float(np.median([a["cpu"] for a in answers[1:]])) * 1000
            print(
                f"{f'{service}, {key}':40}{answers[0]['cpu'] * 1000:>10.1f}{again:>10.2f}"
                f"{answers[0]['bytes'] / 1000:>8.0f}"
            )
            assert key == "stock" or again <= DOCUMENT_MS


if __name__ == "__main__":
    main()
