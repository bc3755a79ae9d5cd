"""The parts of BDC's JSON form of a timeline, checked one by one.

Each raises `InvalidValueError`, which names key and value and says what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, cast

from odc_bdc.errors import InvalidValueError
from odc_bdc.timeline.period import Interval


def parse_choice(key: str, value: Any, allowed: tuple[str, ...]) -> str:
    """Check a word, whatever its case; give it in lower case."""
    lowered = str(value).lower()
    if lowered not in allowed:
        raise InvalidValueError(f"timeline: {key} {value!r} is not one of {', '.join(allowed)}")
    return lowered


def parse_step(step: Any) -> int:
    """Check a step, which may be a string."""
    try:
        number = int(step)
    except (TypeError, ValueError):
        number = 0
    if number < 1 or number != float(step):
        raise InvalidValueError(f"timeline: step {step!r} is not a whole number from 1 on")
    return number


def parse_cycle(cycle: Any) -> Mapping[str, Any]:
    """Check a cycle; the only one that BDC has, one year, is the only one known."""
    known = isinstance(cycle, Mapping) and set(cycle) <= {"unit", "step", "intervals"}
    length = [str(cycle.get("unit", "year")).lower(), str(cycle.get("step", 1))] if known else []
    if length != ["year", "1"]:
        raise InvalidValueError(
            f"timeline: cycle {cycle!r}: only a cycle of one year is known, "
            "{unit: year, step: 1}, which may hold intervals"
        )
    return cast("Mapping[str, Any]", cycle)


def parse_intervals(given: Any) -> tuple[Interval, ...]:
    """Read intervals: a list as the BDC has it, or a mapping that names them."""
    if isinstance(given, Mapping):
        return tuple(Interval.parse(text, str(name)) for name, text in given.items())
    if isinstance(given, str) or not isinstance(given, list | tuple):
        raise InvalidValueError(
            f"timeline: intervals {given!r} is no list of MM-DD_MM-DD and no mapping of names to it"
        )
    return tuple(Interval.parse(text) for text in given)


def parse_start(start: Any) -> date | None:
    """Read the day on which a continuous timeline begins."""
    if start is None or (isinstance(start, date) and not isinstance(start, datetime)):
        return start
    try:
        return date.fromisoformat(start)
    except (TypeError, ValueError) as e:
        raise InvalidValueError(f"timeline: start {start!r} is not a day, as 2017-01-01") from e
