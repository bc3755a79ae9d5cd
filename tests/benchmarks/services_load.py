"""The services under load: honest clients, first alone, then in hostile company.

    python tests/benchmarks/services_load.py [--minutes 5] [--clients 16] [--slow 100] [--workers 2]

The company are clients that are slow on purpose, nearly right requests and floods (`hostile`). The
database is restarted among them. Exits with 1 if an honest request fails, waits too long, or
something grows.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

import numpy as np
from fuzzing import requests
from hostile import Floods, SlowClients
from loading import (
    Asked,
    cpu_seconds,
    memory_bytes,
    mixed_requests,
    run_clients,
    workers_of,
)
from small_index import CUBES, fill_index
from test_bad_requests import VALID, WMS

from odc_bdc import database
from odc_bdc.ows import start_server, update_ranges

SETTLED = 1.0
"""Seconds after the database is back in which a request may still fail that began before."""
QUIET = 0.3
"""Part of the time for the honest clients alone."""
SLOWER = 2.0
"""How much longer the slowest twentieth of honest requests may take in company."""
GROWTH = 1.2
"""How much more memory a worker may have in the second half of the company than in the first."""
MEMORY = 1.2 * 2**30
CACHE = 32 * 2**20
FILES = 16
"""How many more files a worker may have open after the company than before."""
CPU_RATIO = 1.1
TILES = 200
# An image that is kept, so that slow readers cost what slow reading costs, and no computing.
LARGE = "/wms?" + urlencode(WMS | {"width": "3000", "height": "2000", "styles": "true_colour"})


class Check(NamedTuple):
    """Something that must hold: its value, and the most that it may be."""

    name: str
    value: float
    most: float


@dataclass
class Seen:
    """What was seen of a server, about once a second."""

    server: int
    cache: Path
    memory: list[tuple[float, int]] = field(default_factory=list)
    kept: int = 0

    def look(self) -> None:
        self.memory.append((time.monotonic(), memory_bytes(self.server)))
        self.kept = max(self.kept, sum(f.stat().st_size for f in self.cache.glob("*")))

    def largest(self, begin: float, end: float) -> int:
        return max((size for when, size in self.memory if begin <= when <= end), default=0)

    def files(self) -> int:
        """Give the files that the workers have open, of the one that has most."""
        found = (len(list(Path(f"/proc/{w}/fd").iterdir())) for w in workers_of(self.server))
        return max(found, default=0)


def main() -> int:
    """Run all of it; give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--slow", type=int, default=100)
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
            checks = load(index, home, options)
            compare_workers(index, home, min(TILES, int(40 * options.minutes)))
        finally:
            database.delete(home)
    print(f"\n{'':44}{'is':>10}{'at most':>10}")
    for check in checks:
        verdict = "" if check.value <= check.most else "   DOES NOT HOLD"
        print(f"{check.name:44}{check.value:>10.2f}{check.most:>10.2f}{verdict}")
    return int(any(check.value > check.most for check in checks))


def load(index, home: Path, options: argparse.Namespace) -> list[Check]:
    """Let clients ask, alone and in company, in which the database goes away for a moment."""
    cache = home / "cache"
    kept = {"ODC_BDC_OWS_CACHE": str(cache), "ODC_BDC_OWS_CACHE_SIZE": str(CACHE)}
    with start_server(
        index,
        port=0,
        workers=options.workers,
        log=home / "ows.log",
        environ={**os.environ, **kept},
    ) as server:
        before = workers_of(server.process.pid)
        run_clients(server.url, options.clients, lambda count: count < 5)
        seen = Seen(server.process.pid, cache)
        quiet, _ = phase(server.url, options, seen, options.minutes * 60 * QUIET, seed=1000)
        files = seen.files()
        begun = time.monotonic()
        with (
            SlowClients(server.url, options.slow, LARGE) as slow,
            Floods(server.url, requests(1, VALID)) as floods,
        ):
            seconds = options.minutes * 60 * (1 - QUIET)
            company, away = phase(server.url, options, seen, seconds, seed=2000, restart=home)
        ended = time.monotonic()
        time.sleep(SETTLED)
        died = workers_of(server.process.pid) != before
        left = seen.files() - files
    print(f"slow clients: {dict(slow.seen)}; floods: {dict(sorted(floods.statuses.items()))}")
    print(f"{'honest':12}{'requests':>10}{'median s':>10}{'p95 s':>8}{'503':>6}{'failed':>8}")
    wrong = table("alone", quiet, ()) + table("in company", company, away)
    middle = (begun + ended) / 2
    first, second = seen.largest(begun, middle), seen.largest(middle, ended)
    return [
        Check("honest requests that failed", wrong, 0),
        Check("p95 in company, in those alone", _p95(company, away) / _p95(quiet, ()), SLOWER),
        Check("workers that died", died, 0),
        Check("memory of the largest worker, MB", max(first, second) / 2**20, MEMORY / 2**20),
        Check("memory, second half in first", second / first, GROWTH),
        Check("open files more than before", left, FILES),
        Check("kept answers on disk, MB", seen.kept / 2**20, 1.1 * CACHE / 2**20 + 8),
    ]


def phase(
    url: str,
    options: argparse.Namespace,
    seen: Seen,
    seconds: float,
    *,
    seed: int,
    restart: Path | None = None,
) -> tuple[list[Asked], tuple[float, float] | tuple[()]]:
    """Let honest clients ask for some time; give their requests, and when the database was away.

    Parameters
    ----------
    restart
        Home of the database, if it is to be restarted in the middle.
    """
    begun = time.monotonic()
    end, away = begun + seconds, []

    def interfere() -> None:
        while time.monotonic() < end:
            seen.look()
            if restart and not away and time.monotonic() > (begun + end) / 2:
                away.append(time.monotonic())
                database.shut_down(restart)
                time.sleep(2)
                database.bring_up(restart, environ={"PATH": os.environ["PATH"]}, driver="postgis")
                away.append(time.monotonic() + SETTLED)
            time.sleep(1)

    other = threading.Thread(target=interfere)
    other.start()
    asked = run_clients(
        url,
        options.clients,
        lambda _: time.monotonic() < end,
        requests=lambda number: mixed_requests(seed + number),
    )
    other.join()
    return asked, (away[0], away[1]) if away else ()


def table(name: str, asked: list[Asked], away: tuple[float, ...]) -> int:
    """Print how long requests took, by kind; give how many failed."""
    failed = [a for a in asked if a.status != 200 and not (a.status == 503 and _meets(a, away))]
    for kind in ("tile", "map", "info", "coverage"):
        mine = [a for a in asked if a.kind == kind]
        times = [a.seconds for a in mine if a.status == 200] or [0.0]
        outage = sum(a.status == 503 for a in mine)
        print(
            f"{kind:12}{len(mine):>10}{np.median(times):>10.2f}{np.percentile(times, 95):>8.2f}"
            f"{outage:>6}{sum(a in failed for a in mine):>8}"
        )
    print(f"{name:12}{len(asked):>10}{'':10}{_p95(asked, away):>8.2f}{'':6}{len(failed):>8}")
    return len(failed)


def _meets(asked: Asked, away: tuple[float, ...]) -> bool:
    """Tell whether a request met the database when it was away."""
    return bool(away) and asked.begun < away[1] and asked.begun + asked.seconds > away[0]


def _p95(asked: list[Asked], away: tuple[float, ...]) -> float:
    times = [a.seconds for a in asked if not _meets(a, away)]
    return float(np.percentile(times, 95)) if times else float("inf")


def compare_workers(index, home: Path, count: int) -> None:
    """Compare the CPU for the same tiles with one worker and with two."""
    tiles = list(islice((r for r in mixed_requests(99) if r[0] == "tile"), count))
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
