"""Clients that are slow on purpose beside honest ones; `make services-load` is the long version."""

from __future__ import annotations

import hashlib
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from urllib.parse import urlencode

import pytest
from fuzzing import requests
from hostile import SLOW, Floods, SlowClients
from loading import mixed_requests, workers_of
from test_bad_requests import VALID, WCS1

pytestmark = pytest.mark.integration

LARGE = "/wcs?" + urlencode(WCS1 | {"width": "1500", "height": "1500"})
"""More than a connection holds by itself."""


def answers(url: str, clients: int, count: int) -> dict[str, str]:
    """Let honest clients ask; give a digest of each answer, which must have status 200."""

    def ask(path: str) -> tuple[str, str]:
        with urllib.request.urlopen(url + path, timeout=60) as answer:
            return path, hashlib.sha256(answer.read()).hexdigest()

    paths = [path for _, path in islice(mixed_requests(7), clients * count)]
    with ThreadPoolExecutor(clients) as pool:
        return dict(pool.map(ask, paths))


def test_slow_clients_cost_the_others_nothing(services, request, record_property):
    """Slow headers, bodies and readers, silent and idle connections, beside honest clients."""
    slow = 100 if request.config.getoption("--attack-long") else 30
    before, workers = answers(services.url, 4, 5), workers_of(services.process.pid)
    with SlowClients(services.url, slow, LARGE) as company:
        again = answers(services.url, 4, 5)
    assert again == before
    assert workers_of(services.process.pid) == workers
    assert sum(company.seen.values()) >= slow
    record_property("answer", f"{len(again)} honest requests beside {slow}: all right")


def test_floods_cost_the_others_no_answer(services, record_property):
    """A flood of nonsense, of unknown places and of spoilt hosts, beside honest clients."""
    before, workers = answers(services.url, 4, 5), workers_of(services.process.pid)
    with Floods(services.url, requests(3, VALID), clients=4) as flood:
        again = answers(services.url, 4, 5)
    assert again == before
    assert workers_of(services.process.pid) == workers
    assert set(flood.statuses) <= {200, 400, 404, 414, 501, 503}, flood.statuses
    record_property("answer", f"{len(again)} honest requests: all right; {dict(flood.statuses)}")


def test_every_slow_client_is_let_go(services, record_property):
    """One client of each kind that goes on for ever, which the server has to end."""
    with SlowClients(services.url, len(SLOW), LARGE) as company:
        deadline = time.monotonic() + 240
        while len(company.seen) < len(SLOW) or min(company.seen.values()) < 2:
            assert time.monotonic() < deadline, f"still connected: {company.seen}"
            time.sleep(0.5)
    record_property("answer", "connections closed, of each kind")
