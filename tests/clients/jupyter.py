"""A JupyterLab of a test's own, started by `odc-bdc lab`, with nothing of this machine's user."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# The test presses keys of its own; a token would only be copied from one place to another.
CONFIG = """
c.IdentityProvider.token = ""
c.LabApp.expose_app_in_browser = True
"""


def write_notebook(path: Path, cells: Sequence[str]) -> None:
    """Write a notebook of code cells."""
    document = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        },
        "cells": [
            {
                "cell_type": "code",
                "id": f"cell-{number}",
                "metadata": {},
                "execution_count": None,
                "outputs": [],
                "source": source,
            }
            for number, source in enumerate(cells)
        ],
    }
    path.write_text(json.dumps(document), "utf-8")


@contextmanager
def lab(home: Path, folder: Path, own: Path) -> Iterator[str]:
    """Run ``odc-bdc lab`` on a folder; give its address. It ends with the block.

    `own` is where Jupyter keeps what it would keep in its user's home.
    """
    own.mkdir(parents=True, exist_ok=True)
    (own / "jupyter_lab_config.py").write_text(CONFIG, "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("ODC_", "DATACUBE_"))}
    environ |= dict.fromkeys((*names, "HOME"), str(own))
    command = [
        sys.executable, "-c", "from odc_bdc.cli import main; main()", "lab", "--home", str(home),
        "--dir", str(folder), "--port", str(port), "--no-browser",
    ]  # fmt: skip
    log = own / "lab.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            command, cwd=own, env=environ, stdout=out, stderr=out, stdin=subprocess.DEVNULL
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url, process, log)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def _wait(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/api", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"JupyterLab does not answer: {log.read_text()[-2000:]}")
