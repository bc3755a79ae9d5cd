"""Clients that ask for live WMTS tiles for minutes: no error, and nothing that grows.

    python tests/clients/live_load.py [--clients 8] [--minutes 5] [--workers 2]

It makes scenes, declares a live cube of two periods, serves it, and asks for tiles of all places
and levels, of several styles, at random. The cache of blocks is made small, so that blocks are
computed again and again.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as pytest has it
from builders import CLOCK

from odc_bdc import database
from odc_bdc.building import ImageStore
from odc_bdc.cube import find_cube
from odc_bdc.indexing import add_products, find_recipe, index_collection
from odc_bdc.live.declaring import declare_cube
from odc_bdc.ows import start_server, update_ranges
from odc_bdc.ows.tiles import BDC
from odc_bdc.planning import plan_cube
from odc_bdc.product import product_document
from odc_bdc.scenes import demo_extent, make_scenes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from odc_bdc.ows import Server
    from odc_bdc.planning import CompositeTask

CUBE = "CB4_64_16D_STK_v1"
RECIPE = "cb4_wfi_l4_sr"
SPAN = (date(2019, 12, 3), date(2020, 1, 16))
STYLES = ("true_colour", "false_colour", "ndvi", "evi")
WARM_UP = 0.3
"""Part of the time after which memory and files are those of a server at work."""


@dataclass
class Load:
    """What was seen.

    Attributes
    ----------
    seconds
        Of each answer.
    faults
        What was wrong with answers.
    blank
        Tiles on which nothing was shown.
    memory, files
        Bytes and open files of all worker processes, looked at each second.
    """

    seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    blank: int = 0
    memory: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def growth(self, what: str) -> tuple[int, int]:
        """Give the most that was seen of something at first, when all is warm, and at last."""
        seen = getattr(self, what)
        warm = seen[int(len(seen) * WARM_UP) :]
        half = max(1, len(warm) // 3)
        return max(warm[:half]), max(warm[-half:])


@contextmanager
def live_server(home: Path, *, size: int, workers: int = 2) -> Iterator[tuple[Server, list]]:
    """Serve a live cube of made scenes; give the server and the images."""
    index = database.bring_up(home, environ={"PATH": os.environ["PATH"]}, driver="postgis")
    try:
        database.initialise(index)
        cube = find_cube(CUBE).patch(extent=demo_extent(size))
        with database.open_datacube(index, app="load") as dc:
            make_scenes(home / "scenes", size=size, start=date(2019, 12, 1), end=SPAN[1])
            recipe = find_recipe(RECIPE)
            add_products(dc, [product_document(recipe.product), cube.to_product()])
            index_collection(dc, recipe, [home / "scenes"])
            tasks = plan_cube(dc, cube, *SPAN)
            report = declare_cube(dc, tasks, ImageStore.open(home / "cubes"), now=CLOCK)
            assert report.failed == [], report.failed
            update_ranges(dc)
        environ = {**os.environ, "GDAL_CACHEMAX": "16"}
        with start_server(
            index, port=0, workers=workers, log=home / "ows.log", environ=environ
        ) as server:
            yield server, tasks
    finally:
        database.delete(home)


def put_load(
    server: Server, tasks: Sequence[CompositeTask], *, clients: int, seconds: float, seed: int = 1
) -> Load:
    """Ask for tiles at random with several clients at once."""
    load, until, lock = Load(), time.monotonic() + seconds, threading.Lock()
    asked = _tiles(tasks)
    numbers = count(seed)

    def client() -> None:
        rng = random.Random(next(numbers))  # noqa: S311 (which tiles are asked for is no secret)
        while time.monotonic() < until:
            query = rng.choice(asked) | {"style": rng.choice(STYLES)}
            begun = time.monotonic()
            fault, shown = _ask(f"{server.url}/wmts?{urlencode(query)}")
            with lock:
                load.seconds.append(time.monotonic() - begun)
                load.blank += not shown
                if fault:
                    load.faults.append(fault)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        workers = children_of(server.process.pid)
        load.memory.append(sum(map(resident, workers)))
        load.files.append(sum(map(open_files, workers)))
        time.sleep(min(1.0, seconds / 20))
    return load


def _tiles(tasks: Sequence[CompositeTask]) -> list[dict[str, str | int]]:
    """Give requests for all tiles of the images' place, at the three finest useful levels."""
    found = []
    boxes = [task.geobox.boundingbox for task in tasks]
    left, top = min(b.left for b in boxes), max(b.top for b in boxes)
    right, bottom = max(b.right for b in boxes), min(b.bottom for b in boxes)
    days = sorted({task.period.start.isoformat() for task in tasks})
    for level in (8, 9, 10):
        first, last = BDC.tile_at(level, left, top), BDC.tile_at(level, right - 1, bottom + 1)
        if first is None or last is None:
            continue
        found += [
            {
                "service": "WMTS", "version": "1.0.0", "request": "GetTile", "layer": CUBE,
                "tilematrixset": BDC.name, "tilematrix": level, "tilerow": row, "tilecol": column,
                "format": "image/png", "time": day,
            }
            for row in range(first[0], last[0] + 1)
            for column in range(first[1], last[1] + 1)
            for day in days
        ]  # fmt: skip
    return found


def _ask(url: str) -> tuple[str | None, bool]:
    """Give what is wrong with an answer, and whether its tile shows anything."""
    try:
        with urllib.request.urlopen(url, timeout=120) as answer:
            body = answer.read()
            kind = answer.headers.get_content_type()
    except urllib.error.HTTPError as e:
        return f"HTTP {e.code}", False
    except OSError as e:
        return str(e), False
    if kind != "image/png":
        return kind, False
    return None, len(body) > 1000


def children_of(pid: int) -> list[int]:
    """Give the processes that a process has started."""
    try:
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def resident(pid: int) -> int:
    """Give the bytes that a process holds; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def open_files(pid: int) -> int:
    """Count the files that a process has open; 0 if it is gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 (counted, never opened)
    except OSError:
        return 0


def main() -> int:
    """Put a load on a server of its own, and tell what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--size", type=int, default=1024, help="pixels of a tile's side")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        live_server(Path(folder), size=options.size, workers=options.workers) as (server, tasks),
    ):
        load = put_load(server, tasks, clients=options.clients, seconds=60 * options.minutes)
    first, last = load.growth("memory")
    few, many = load.growth("files")
    p50, p95 = np.percentile(load.seconds, (50, 95))
    print(f"answers {len(load.seconds)}, of them faulty {len(load.faults)}, blank {load.blank}")  # noqa: T201
    print(f"seconds p50 {p50:.2f}, p95 {p95:.2f}")  # noqa: T201
    print(f"memory of workers, MB: {first / 1e6:.0f} when warm, {last / 1e6:.0f} at the end")  # noqa: T201
    print(f"open files of workers: {few} when warm, {many} at the end")  # noqa: T201
    for fault in sorted(set(load.faults)):
        print(f"fault: {fault}", file=sys.stderr)  # noqa: T201
    return 1 if load.faults or not bounded(load) else 0


def bounded(load: Load) -> bool:
    """Tell whether memory and files of warm workers stay what they are."""
    (first, last), (few, many) = load.growth("memory"), load.growth("files")
    return last < 1.2 * first + 50e6 and many < few + 50


if __name__ == "__main__":
    raise SystemExit(main())
