"""Clients that ask the services for all kinds of things at once, and what that costs the server."""

from __future__ import annotations

import os
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import numpy as np
from small_index import BBOX
from test_bad_requests import INFO, WCS1, WCS2, WMS, WMTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STYLES = ("true_colour", "ndvi")
DAYS = ("2019-12-19", "2020-01-01")


@dataclass(frozen=True)
class Asked:
    """A request: what kind it is, when it began and how long it took, what came."""

    kind: str
    begun: float
    seconds: float
    status: int


def mixed_requests(seed: int) -> Iterator[tuple[str, str]]:
    """Give kinds and paths of requests without end, as clients mix them; few come twice."""
    rng = np.random.default_rng(seed)
    kinds = ("tile", "map", "info", "coverage")
    while True:
        kind = str(rng.choice(kinds, p=(0.6, 0.25, 0.1, 0.05)))
        yield kind, _request(kind, rng)


def _request(kind: str, rng: np.random.Generator) -> str:
    day, style = str(rng.choice(DAYS)), str(rng.choice(STYLES))
    if kind == "tile":
        # The finest show a corner of the cube's tiles, the coarser ones both.
        level = int(rng.integers(8, 13))
        row, column = (int(int(WMTS[n]) * 2.0 ** (level - 10)) for n in ("tilerow", "tilecol"))
        row, column = row + int(rng.integers(0, 2)), column + int(rng.integers(0, 2))
        place = {"tilematrix": level, "tilerow": row, "tilecol": column}
        return _path("wmts", WMTS | place | {"time": day, "style": style})
    x, y = rng.uniform(0, 8000, 2).round()
    box = (BBOX[0] + x, BBOX[1] + y / 2, BBOX[0] + x + 6400, BBOX[1] + y / 2 + 6400)
    where = {"bbox": ",".join(map(str, box)), "time": day}
    if kind == "map":
        size = int(rng.integers(64, 400))
        return _path("wms", WMS | where | {"width": size, "height": size, "styles": style})
    if kind == "info":
        return _path("wms", INFO | where)
    if rng.random() < 0.5:
        return _path("wcs", WCS1 | where | {"width": "100", "height": "100"})
    return _path("wcs", WCS2)


def _path(service: str, query: dict) -> str:
    return f"/{service}?{urlencode(query, doseq=True)}"


def ask(url: str, kind: str, path: str) -> Asked:
    """Ask once, whatever comes; status 0 if nothing does."""
    begun = time.monotonic()
    try:
        with urllib.request.urlopen(url + path, timeout=120) as answer:
            answer.read()
            status = answer.status
    except urllib.error.HTTPError as e:
        with e:
            e.read()
            status = e.code
    except OSError:
        status = 0
    return Asked(kind, begun, time.monotonic() - begun, status)


def run_clients(
    url: str,
    clients: int,
    goes_on: Callable[[int], bool],
    *,
    requests: Callable[[int], Iterator[tuple[str, str]]] = mixed_requests,
) -> list[Asked]:
    """Let clients ask at once, each until `goes_on` says no to what it has asked so far."""
    asked: list[Asked] = []

    def work(number: int) -> None:
        for count, (kind, path) in enumerate(requests(number)):
            if not goes_on(count):
                return
            asked.append(ask(url, kind, path))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return asked


def workers_of(server: int) -> list[int]:
    """Give the processes that a server has started."""
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    return [int(child) for child in children]


def cpu_seconds(server: int) -> float:
    """Give the CPU that the workers of a server have had."""
    ticks = 0
    for worker in workers_of(server):
        fields = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_bytes(server: int) -> int:
    """Give the memory of the largest worker of a server."""
    pages = [
        int(Path(f"/proc/{worker}/statm").read_text().split()[1]) for worker in workers_of(server)
    ]
    return max(pages, default=0) * os.sysconf("SC_PAGE_SIZE")
