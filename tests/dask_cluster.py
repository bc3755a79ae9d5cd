"""A Dask cluster on loopback, of processes that a test may kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

HOST = ("--host", "127.0.0.1", "--no-dashboard")


def _start(*arguments):
    environ = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *map(str, arguments)],
        env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


@contextmanager
def started_cluster(folder, workers):
    """Give the address of a scheduler, its process, and those of its workers."""
    told = folder / "scheduler.json"
    processes = [_start("scheduler", *HOST, "--port", 0, "--scheduler-file", told)]
    try:
        while not told.is_file() or not told.read_text():
            assert processes[0].poll() is None
            time.sleep(0.05)
        address = json.loads(told.read_text())["address"]
        alone = ("--nthreads", 1, "--no-nanny", "--local-directory", folder)
        processes += [_start("worker", address, *HOST, *alone) for _ in range(workers)]
        yield address, processes[0], processes[1:]
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
