"""CPU of the services per request, against datacube-ows alone and titiler: the same files.

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
from datetime import UTC, date, datetime, timedelta
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

import numpy as np
from datacube.index.hl import Doc2Dataset
from odc.geo import geom
from odc.geo.geobox import GeoBox
from PIL import Image
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from odc_bdc import database
from odc_bdc.building.overview import build_overviews
from odc_bdc.cube import find_cube
from odc_bdc.grid import BDC_CRS
from odc_bdc.indexing import add_products
from odc_bdc.ows import update_ranges
from odc_bdc.ows.caching import HIT, STATUS
from odc_bdc.ows.server import server_environment
from odc_bdc.ows.store import FOLDER_VARIABLE, named_store
from odc_bdc.ows.tiles import BDC, WEB_MERCATOR
from odc_bdc.planning import overview_product, plan_overviews

if TYPE_CHECKING:
    from collections.abc import Callable

CLIENTS = Path(__file__).resolve().parents[1] / "clients"
CUBE = "CB4_64_16D_STK_v1"
SIDE = 1200
# In the middle of a tile of the LG_V2 grid, at 64 m.
EXTENT = (5800000, 10000000, 5800000 + SIDE * 64, 10000000 + SIDE * 64)
DAY = date(2020, 1, 1)
CUBES, DATES = 24, 115
DOCUMENT_MS = 20
SQUARE, SQUARE_CUBE, SIDE_PIXELS = 8, "CB4_64_16D_MED_v1", 256
NOW = datetime(2026, 1, 1, tzinfo=UTC)
TITILER_RATIO = 0.55
TRUE_COLOUR_BANDS = ("BAND15", "BAND14", "BAND13")
COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"
KEPT_RATIO, OVERVIEW_RATIO = 0.05, 2
TARGETS = {"WebMercator, z11": 0.65, "BDC grid, z11": 0.4}


def main() -> None:
    """Print CPU per request of both, and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--worker", choices=("stock", "ours", "kept", "titiler"))
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
        _report_titiler(workers["ours"], folder, requests["WebMercator, z11"], rounds)
        _report_documents(workers)
        workers["kept"] = Worker("kept", {**environ, FOLDER_VARIABLE: str(folder / "cache")})
        _report_kept(workers, requests, rounds)
        _report_overviews(index, folder, rounds)
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
    elif name == "titiler":
        application = _titiler()
    else:
        from odc_bdc.ows.application import create_application

        application = create_application(named_store(os.environ) if name == "kept" else None)
    logging.getLogger().setLevel(logging.ERROR)

    def answer_of(path: str, query: str) -> tuple[bytes, str, Any]:
        if name == "titiler":
            return application(path, query)
        environ = EnvironBuilder(path=path, query_string=query).get_environ()
        body, status, headers = run_wsgi_app(application.wsgi_app, environ)
        return b"".join(body), status, headers

    for line in sys.stdin:
        path, _, query = line.strip().partition("?")
        start, began = time.process_time(), time.perf_counter()
        content, status, headers = answer_of(path, query)
        seconds, cpu = time.perf_counter() - began, time.process_time() - start
        answer = {"cpu": cpu, "status": int(status[:3]), "bytes": len(content)}
        answer |= {"seconds": seconds, "cache": headers.get(STATUS, "")}
        if headers["Content-Type"] == "image/png":
            pixels = np.asarray(Image.open(BytesIO(content)).convert("RGBA"))
            answer["opaque"] = float((pixels[..., 3] == 255).mean())
        print(json.dumps(answer), flush=True)


def _titiler() -> Callable[[str, str], tuple[bytes, str, dict[str, str]]]:
    """Give a function that asks titiler in this process."""
    import asyncio

    from fastapi import FastAPI
    from rio_tiler.io import STACReader
    from titiler.core.factory import MultiBaseTilerFactory

    application = FastAPI()
    application.include_router(MultiBaseTilerFactory(reader=STACReader).router)
    loop = asyncio.new_event_loop()

    def ask(path: str, query: str) -> tuple[bytes, str, dict[str, str]]:
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(b"host", b"localhost")],
            "server": ("localhost", 80),
            "client": ("localhost", 1),
        }
        sent: list[dict] = []

        async def receive() -> dict:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict) -> None:
            sent.append(message)

        loop.run_until_complete(application(scope, receive, send))
        headers = {k.decode().title(): v.decode() for k, v in sent[0]["headers"]}
        return b"".join(m.get("body", b"") for m in sent[1:]), str(sent[0]["status"]), headers

    return ask


def _report_titiler(ours: Worker, folder: Path, urls: list[str], rounds: int) -> None:
    """Compare a tile with titiler's of the same files, if that is installed."""
    if find_spec("titiler") is None or find_spec("titiler.core") is None:
        print("\ntitiler is not installed: uv pip install --group bench")
        return
    item = _item(folder)
    other = Worker("titiler", dict(os.environ))
    spent: dict[str, list[float]] = {"titiler": [], "ours": []}
    for number in range(rounds + 4):
        url = urls[number % len(urls)]
        asked = dict(parse_qsl(url.partition("?")[2]))
        assets = [("assets", band) for band in TRUE_COLOUR_BANDS]
        query = urlencode([("url", str(item)), *assets, ("rescale", "0,3000")])
        place = f"{asked['tilematrix']}/{asked['tilecol']}/{asked['tilerow']}"
        theirs = f"/tiles/WebMercatorQuad/{place}.png?{query}"
        for key, worker, path in (("titiler", other, theirs), ("ours", ours, url)):
            answer = worker.ask(path)
            assert answer["status"] == 200, (key, answer)
            assert answer["opaque"] > 0.5
            if number >= 4:
                spent[key].append(answer["cpu"])
    other.stop()
    theirs_ms, ours_ms = (float(np.median(v)) * 1000 for v in spent.values())
    print(f"\n{'tile, 3 bands, 1 dataset':28}{'titiler ms':>12}{'ours ms':>10}{'ratio':>8}")
    print(
        f"{'WebMercator, z11':28}{theirs_ms:>12.1f}{ours_ms:>10.1f}{ours_ms / theirs_ms:>8.2f}"
        f" at most {TITILER_RATIO}"
    )


def _item(folder: Path) -> Path:
    """Write the STAC item of the one image of the cube."""
    (image,) = (folder / "pixels").glob(f"{CUBE}_*")
    box = geom.box(*EXTENT, BDC_CRS).to_crs("EPSG:4326")
    document = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": image.name,
        "geometry": box.json,
        "bbox": list(box.boundingbox.bbox),
        "properties": {"datetime": f"{DAY}T00:00:00Z"},
        "links": [],
        "assets": {
            band: {"href": str(image / f"{band}.tif"), "type": COG_TYPE, "roles": ["data"]}
            for band in TRUE_COLOUR_BANDS
        },
    }
    path = folder / "item.json"
    path.write_text(json.dumps(document), "utf-8")
    return path


def _requests() -> dict[str, list[str]]:
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


def _report_kept(workers: dict[str, Worker], requests: dict[str, list[str]], rounds: int) -> None:
    """Compare tiles that were kept with those that are made."""
    print(f"\n{'tile':28}{'made ms':>10}{'kept ms':>10}{'ratio':>8}{'at most':>9}")
    for name, urls in requests.items():
        for url in urls:
            workers["kept"].ask(url)
        spent: dict[str, list[tuple[float, float]]] = {"ours": [], "kept": []}
        for number in range(rounds):
            for key, values in spent.items():
                answer = workers[key].ask(urls[number % len(urls)])
                assert answer["status"] == 200
                assert (answer["cache"] == HIT) == (key == "kept")
                values.append((answer["cpu"], answer["seconds"]))
        for column, what in enumerate(("CPU", "time")):
            made, kept = (float(np.median([v[column] for v in spent[k]])) for k in ("ours", "kept"))
            print(
                f"{f'{name}, {what}':28}{made * 1000:>10.2f}{kept * 1000:>10.2f}"
                f"{kept / made:>8.3f}{KEPT_RATIO:>9}"
            )


def _report_overviews(index, folder: Path, rounds: int) -> None:
    """Compare a map of 64 tiles with a map of one, with and without overviews."""
    urls = {"one tile": _square(1), f"{SQUARE**2} tiles": _square(SQUARE)}
    spent: dict[tuple[str, str], list[dict]] = {}
    environ = server_environment(index, ("http://localhost",), os.environ)
    with database.open_datacube(index, app="benchmark") as dc:
        cube = _fill_square(dc, folder / "square")
        for how in ("from tiles", "from overview"):
            update_ranges(dc)
            worker = Worker("ours", environ)
            for number in range((rounds + 1) // 2 + 2):
                for what, url in urls.items():
                    answer = worker.ask(url)
                    assert answer["status"] == 200
                    assert answer["opaque"] > 0.5
                    if number >= 2:
                        spent.setdefault((what, how), []).append(answer["cpu"])
            worker.stop()
            if how == "from tiles":
                add_products(dc, [overview_product(cube, SQUARE)])
                tasks = plan_overviews(dc, cube, DAY, cube.timeline.period_of(DAY).end, SQUARE)
                assert build_overviews(dc, tasks, folder / "o", now=lambda: NOW).built == 1
    head = "".join(f"{f'{what} ms':>16}" for what in urls)
    print(f"\n{'map of 256 pixels, CPU':24}{head}{'ratio':>8}{'at most':>9}")
    for how in ("from tiles", "from overview"):
        one, many = (float(np.median(spent[what, how])) for what in urls)
        limit = f"{OVERVIEW_RATIO:>9}" if how == "from overview" else ""
        print(f"{how:24}{one * 1000:>16.1f}{many * 1000:>16.1f}{many / one:>8.2f}{limit}")


def _fill_square(dc, folder: Path):
    """Index 8 x 8 images of 256 pixels each side, as if they were the tiles of a cube."""
    import small_index

    cube = find_cube(SQUARE_CUBE)
    period = cube.timeline.period_of(DAY)
    times = (f"{period.start}T00:00:00Z", f"{period.end}T23:59:59Z")
    product = cube.to_product()
    dc.index.products.add_document(product)
    resolve = Doc2Dataset(dc.index, skip_lineage=True, eo3=True)
    side = SIDE_PIXELS * 64
    for number in range(SQUARE**2):
        west, north = EXTENT[0] + number % SQUARE * side, EXTENT[3] - number // SQUARE * side
        box = (west, north - side, west + side, north)
        geobox = GeoBox.from_bbox(box, cube.grid.odc_crs, resolution=64)
        path, document = small_index.write_dataset(product, f"9{number:05d}", geobox, times, folder)
        dataset, problem = resolve(document, path.as_uri())
        assert dataset is not None, problem
        dc.index.datasets.add(dataset, with_lineage=False)
    return cube


def _square(tiles: int) -> str:
    """Give the URL of a map of so many tiles each side."""
    side = SIDE_PIXELS * 64 * tiles
    west, north = EXTENT[0], EXTENT[3]
    query = {
        "service": "WMS",
        "version": "1.3.0",
        "request": "GetMap",
        "layers": SQUARE_CUBE,
        "styles": "true_colour",
        "crs": "EPSG:10857",
        "bbox": f"{west},{north - side},{west + side},{north}",
        "width": SIDE_PIXELS,
        "height": SIDE_PIXELS,
        "format": "image/png",
        "time": str(DAY),
    }
    return f"/wms?{urlencode(query)}"


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
