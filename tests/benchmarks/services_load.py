"""The services under load: many clients, a database that is restarted, memory, CPU by workers.

    python tests/benchmarks/services_load.py [--minutes 5] [--clients 16] [--workers 2]

Exits with 1 if a request fails that should not.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from itertools import islice
from pathlib import Path

import numpy as np
from loading import (
    cpu_seconds,
    memory_bytes,
    mixed_requests,
    run_clients,
    workers_of,
)
from small_index import CUBES, fill_index

from odc_bdc import database
from odc_bdc.ows import start_server, update_ranges

SETTLED = 1.0
"""Seconds after the database is back in which a request may still fail that began before."""
GROWTH = 1.2
"""How much more memory a worker may have in the second half than in the first."""
CPU_RATIO = 1.1
TILES = 200


def main() -> int:
    """Run all of it; give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    environ = {"PATH": os.environ["PATH"]}
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        index = database.bring_up(home, environ=environ, driver="postgis")
        try:
            database.initialise(index)
            with database.open_datacube(index, app="load") as dc:
                fill_index(dc, home / "pixels", CUBES[:2], ())
                update_ranges(dc)
            failed = load(index, home, options)
            compare_workers(index, home)
        finally:
            database.delete(home)
    return int(failed)


def load(index, home: Path, options: argparse.Namespace) -> bool:
    """Let clients ask all the while; the database goes away in the middle. True if that failed."""
    kept = {**os.environ, "ODC_BDC_OWS_CACHE": str(home / "cache")}
    with start_server(
        index, port=0, workers=options.workers, log=home / "ows.log", environ=kept
    ) as server:
        begun = time.monotonic()
        end, memory, away = begun + options.minutes * 60, [], []

        def interfere() -> None:
            while time.monotonic() < end:
                memory.append((time.monotonic(), memory_bytes(server.process.pid)))
                if not away and time.monotonic() > (begun + end) / 2:
                    away.append(time.monotonic())
                    database.shut_down(home)
                    time.sleep(2)
                    database.bring_up(home, environ={"PATH": os.environ["PATH"]}, driver="postgis")
                    away.append(time.monotonic() + SETTLED)
                time.sleep(1)

        other = threading.Thread(target=interfere)
        other.start()
        before = workers_of(server.process.pid)
        asked = run_clients(server.url, options.clients, lambda _: time.monotonic() < end)
        other.join()
        died = workers_of(server.process.pid) != before
    wrong = [
        a
        for a in asked
        if a.status != 200
        and not (a.status == 503 and a.begun < away[1] and a.begun + a.seconds > away[0])
    ]
    middle = (begun + end) / 2
    halves = [
        max(size for when, size in memory if (when < middle) == first) for first in (True, False)
    ]
    print(f"{len(asked)} requests of {options.clients} clients in {options.minutes:g} minutes")
    print(f"{'':10}{'requests':>10}{'median s':>10}{'p95 s':>8}{'503':>6}{'failed':>8}")
    for kind in ("tile", "map", "info", "coverage"):
        mine = [a for a in asked if a.kind == kind]
        times = [a.seconds for a in mine if a.status == 200]
        outage = sum(a.status == 503 for a in mine)
        failed = sum(a in wrong for a in mine)
        print(
            f"{kind:10}{len(mine):>10}{np.median(times):>10.2f}{np.percentile(times, 95):>8.2f}"
            f"{outage:>6}{failed:>8}"
        )
    ratio = halves[1] / halves[0]
    print(f"memory of the largest worker: {halves[0] / 2**20:.0f} MB, then {ratio:.2f} x of it")
    print(f"workers that died: {'some' if died else 'none'}")
    return bool(wrong) or died or ratio > GROWTH


def compare_workers(index, home: Path) -> None:
    """Compare the CPU for the same tiles with one worker and with two."""
    tiles = list(islice((r for r in mixed_requests(99) if r[0] == "tile"), TILES))
    spent = []
    for workers in (1, 2):
        with start_server(index, port=0, workers=workers, log=home / f"{workers}.log") as server:

            def share(number: int, count: int = workers) -> list[tuple[str, str]]:
                return tiles[number::count]

            # Each worker reads its first image slowly.
            run_clients(server.url, workers, lambda n: n < 20, requests=share)
            start = cpu_seconds(server.process.pid)
            asked = run_clients(server.url, workers, lambda _: True, requests=share)
            spent.append((cpu_seconds(server.process.pid) - start) / len(asked))
    print(
        f"CPU for a tile: {spent[0] * 1000:.1f} ms with 1 worker, {spent[1] / spent[0]:.2f} x with "
        f"2 (at most {CPU_RATIO})"
    )


if __name__ == "__main__":
    sys.exit(main())
