"""Attacks on the software as a stranger would make them, and the table of how it held.

Each test is one attack: the first line of its docstring says what was tried, and
``record_property("answer", ...)`` what came of it. A test that fails is an attack that got in.
Servers and databases are started by the tests themselves; nothing but loopback is asked.
"""

from __future__ import annotations

import inspect
import os
from typing import TYPE_CHECKING

import pytest
from small_index import CUBES, fill_index, own_index

from odc_bdc.ows import start_server, update_ranges

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from datacube import Datacube

    from odc_bdc.database import Index
    from odc_bdc.ows import Server


@pytest.fixture(scope="session")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Index, Datacube]]:
    """Give an index of the attacks' own, with two small cubes."""
    with own_index(tmp_path_factory.mktemp("attacked"), "attacks") as (index, dc):
        fill_index(dc, tmp_path_factory.mktemp("pixels"), CUBES[:2], ())
        update_ranges(dc)
        yield index, dc


@pytest.fixture(scope="session")
def kept_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder in which the attacked services keep answers."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def services(
    attacked: tuple[Index, Datacube], kept_in: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Run the services that are attacked, with two workers, on a free port."""
    log = tmp_path_factory.mktemp("log") / "ows.log"
    environ = {**os.environ, "ODC_BDC_OWS_CACHE": str(kept_in)}
    with start_server(attacked[0], port=0, workers=2, log=log, environ=environ) as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Let the report of an attack say what was tried."""
    report = yield
    if call.when == "call":
        said = inspect.getdoc(item.function) or item.name
        case = f" [{item.callspec.id}]" if hasattr(item, "callspec") else ""
        report.user_properties.append(("attack", said.splitlines()[0].rstrip(".") + case))
    return report


def pytest_terminal_summary(terminalreporter, config):
    """Print the table: attack, answer, held or not."""
    if not config.getoption("--attack-table"):
        return
    rows = []
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.getreports(outcome):
            told = dict(report.user_properties)
            if "attack" in told or outcome != "passed":
                held = "held" if outcome == "passed" else "GOT IN"
                rows.append((told.get("attack", report.nodeid), told.get("answer", ""), held))
    terminalreporter.section("attacks")
    for attack, answer, held in sorted(rows):
        terminalreporter.write_line(f"{held:7} {attack}")
        if answer:
            terminalreporter.write_line(f"        {answer}")
    kept = sum(held == "held" for *_, held in rows)
    terminalreporter.write_line(f"{kept} of {len(rows)} held")
