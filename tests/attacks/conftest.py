"""Attacks on the software as a stranger would make them, and the table of how it held.

Each test is one attack: the first line of its docstring says what was tried, and
``record_property("answer", ...)`` what came of it. A test that fails is an attack that got in.
Servers and databases are started by the tests themselves; nothing but loopback is asked.
"""

from __future__ import annotations

import inspect

import pytest


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
