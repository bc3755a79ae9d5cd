"""Several clients at once; `make services-load` is the long version."""

from __future__ import annotations

import pytest
from loading import memory_bytes, run_clients, workers_of

pytestmark = pytest.mark.integration

MOST = 2**30
"""Bytes that a worker has at the most after so few requests."""


def test_clients_at_once_get_what_they_ask_for(server):
    before = workers_of(server.process.pid)
    asked = run_clients(server.url, 6, lambda count: count < 12)
    assert len(asked) == 72
    assert {(a.kind, a.status) for a in asked} == {
        (kind, 200) for kind in ("tile", "map", "info", "coverage")
    }
    assert workers_of(server.process.pid) == before
    assert 0 < memory_bytes(server.process.pid) < MOST
