"""Each benchmark runs to its end in a short form: none rots while nobody looks.

Its figures mean nothing then; `make bench` takes them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
SHORT = {
    "building": ("--side", "512", "--rounds", "1"),
    "costs": ("--rounds", "1"),
    "composite": ("--side", "32", "--rounds", "1"),
    "indexing": ("--items", "120", "--rounds", "1"),
    "kernels": ("--side", "128", "--rounds", "1", "--rows", "4", "--times", "12"),
    # Tiles of the services need images as large as a tile of a map.
    "live": ("--side", "256", "--rounds", "1", "--only", "loads"),
    "live_declare": ("--count", "10", "--items", "160", "--rounds", "1"),
    "many": ("--items", "120", "--size", "96"),
    "services": ("--rounds", "1"),
    "timeseries": ("--points", "10", "--side", "512", "--looped", "1"),
}
ELSEWHERE = {"services_load"}
"""Run by a test of its own."""


def test_every_benchmark_has_a_short_form():
    there = {p.stem for p in FOLDER.glob("*.py") if "def main(" in p.read_text("utf-8")}
    assert there == {*SHORT, *ELSEWHERE}


@pytest.mark.integration
@pytest.mark.parametrize("name", SHORT)
def test_benchmark_runs_to_its_end(name):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", FOLDER / f"{name}.py", *SHORT[name]],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip()
