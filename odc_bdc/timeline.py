"""Periods of time, and the timelines that cut the calendar into them.

The forms and their meaning are those of the Brazil Data Cube's ``temporal_composition`` documents
(STAC property ``bdc:temporal_composition``): *cyclic* timelines start anew with each cycle, usually
on 1 January, *continuous* ones run on; both may name intervals of the year instead of a step.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt

from odc_bdc.errors import InvalidValueError

Schema: TypeAlias = Literal["cyclic", "continuous"]
Unit: TypeAlias = Literal["day", "month", "year"]

_DAY = timedelta(days=1)
_INTERVAL = re.compile(r"(\d\d)-(\d\d)_(\d\d)-(\d\d)")


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A stretch of whole days, both ends inclusive."""

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise InvalidValueError(
                f"a period ends on {self.end}, before it starts on {self.start}"
            )

    def __contains__(self, day: date) -> bool:
        return self.start <= day <= self.end

    @property
    def start_datetime(self) -> datetime:
        """First instant of the period, UTC."""
        return datetime.combine(self.start, time(), UTC)

    @property
    def end_datetime(self) -> datetime:
        """Last whole second of the period, UTC."""
        return datetime.combine(self.end, time(23, 59, 59), UTC)

    @property
    def label(self) -> str:
        """ISO 8601 start and duration: whole months as ``P1M``, else days.

        Examples
        --------
        >>> Period(date(2020, 1, 1), date(2020, 1, 16)).label
        '2020-01-01--P16D'
        >>> Period(date(2020, 2, 1), date(2020, 2, 29)).label
        '2020-02-01--P1M'
        """
        following = self.end + _DAY
        if self.start.day == following.day == 1:
            months = 12 * (following.year - self.start.year) + following.month - self.start.month
            duration = f"{months // 12}Y" if months % 12 == 0 else f"{months}M"
        else:
            duration = f"{(following - self.start).days}D"
        return f"{self.start.isoformat()}--P{duration}"


@dataclass(frozen=True, slots=True)
class Timeline:
    """A rule that cuts the calendar into periods. Make one with `from_dict`.

    Attributes
    ----------
    schema
        ``cyclic`` restarts with each year; ``continuous`` runs on from `start`.
    unit, step
        Length of a period. A cyclic timeline's last period is cut at the end of the year.
    intervals
        Periods by name instead of by step: pairs of (month, day), which may wrap the year.
    start
        Where a continuous timeline is anchored; calendar months and years need none.
    """

    schema: Schema
    unit: Unit = "day"
    step: int = 1
    intervals: tuple[tuple[tuple[int, int], tuple[int, int]], ...] = ()
    start: date | None = None

    @classmethod
    def from_dict(cls, doc: Mapping[str, Any]) -> Timeline:
        """Read BDC's JSON form.

        Parameters
        ----------
        doc
            ``schema`` (any case), ``unit``, ``step`` (number or string), for cyclic ones ``cycle``
            (only of one year), optionally ``intervals`` (here or in ``cycle``) and ``start``.

        Raises
        ------
        InvalidValueError
            If a key or value is not allowed; the message names it.

        Examples
        --------
        >>> t = Timeline.from_dict({"schema": "Cyclic", "step": 16, "unit": "day",
        ...                         "cycle": {"unit": "year", "step": 1}})
        >>> len(t.periods(date(2019, 1, 1), date(2019, 12, 31)))
        23
        """
        unknown = set(doc) - {"schema", "unit", "step", "cycle", "intervals", "start"}
        if unknown:
            raise InvalidValueError(f"timeline: unknown key {', '.join(sorted(unknown))}")
        cycle = doc.get("cycle") or {}
        schema = _choice("schema", str(doc.get("schema", "")).lower(), get_args(Schema))
        unit = _choice("unit", str(doc.get("unit", "day")).lower(), get_args(Unit))
        if cycle and (cycle.get("unit", "year"), int(cycle.get("step", 1))) != ("year", 1):
            raise InvalidValueError(f"timeline: cycle {cycle!r}: only one of one year is known")
        intervals = tuple(
            _parse_interval(text) for text in doc.get("intervals") or cycle.get("intervals") or ()
        )
        start = doc.get("start")
        return cls(
            cast("Schema", schema),
            cast("Unit", unit),
            _parse_step(doc.get("step", 1)),
            intervals,
            date.fromisoformat(start) if isinstance(start, str) else start,
        )

    def to_dict(self) -> dict[str, Any]:
        """Write BDC's JSON form; `from_dict` of it gives the same timeline."""
        doc: dict[str, Any] = {"schema": self.schema.capitalize(), "unit": self.unit}
        doc["step"] = self.step
        if self.schema == "cyclic":
            doc["cycle"] = {"unit": "year", "step": 1}
        if self.intervals:
            doc["intervals"] = [
                f"{a[0]:02d}-{a[1]:02d}_{b[0]:02d}-{b[1]:02d}" for a, b in self.intervals
            ]
        if self.start:
            doc["start"] = self.start.isoformat()
        return doc

    def periods(self, start: date, end: date) -> list[Period]:
        """Give the periods that begin between `start` and `end`, both inclusive, in order.

        Named intervals are given when they overlap that range, even if they began before it. A
        continuous timeline without an anchor of its own begins at `start`. (The rules of
        cube-builder's ``Timeline.mount``.)
        """
        if self.intervals:
            return list(self.covering(start, end))
        anchored = self._anchored(start)
        return [p for p in anchored.covering(start, end) if p.start >= start]

    def period_of(self, day: date) -> Period | None:
        """Give the period that holds `day`, or None if it falls between two."""
        return next(self.covering(day, day), None)

    def period_starts(self, times: npt.ArrayLike) -> npt.NDArray[np.datetime64]:
        """Map times to the start of the period that holds each.

        Parameters
        ----------
        times
            Array of datetime64 (UTC), any shape.

        Returns
        -------
        numpy.ndarray
            datetime64[D], same shape; NaT where a time is NaT or in no period.
        """
        days = np.asarray(times).astype("datetime64[D]")
        out = np.full(days.shape, np.datetime64("NaT", "D"))
        known = ~np.isnat(days)
        if not known.any():
            return out
        found = list(self.covering(days[known].min().item(), days[known].max().item()))
        starts = np.array([p.start for p in found], dtype="datetime64[D]")
        ends = np.array([p.end for p in found], dtype="datetime64[D]")
        at = np.searchsorted(starts, days, side="right") - 1
        inside = known & (at >= 0)
        inside[inside] = days[inside] <= ends[at[inside]]
        out[inside] = starts[at[inside]]
        return out

    def covering(self, start: date, end: date) -> Iterator[Period]:
        """Give all periods that share a day with the range, in order."""
        for period in self._generate(start, end):
            if period.start > end:
                return
            if period.end >= start:
                yield period

    def _anchored(self, start: date) -> Timeline:
        if self.schema == "cyclic" or self.start is not None:
            return self
        return Timeline(self.schema, self.unit, self.step, self.intervals, start)

    def _generate(self, start: date, end: date) -> Iterator[Period]:
        if self.intervals:
            return self._named(start.year - 1, end.year + 1)
        if self.schema == "cyclic":
            return self._cyclic(start.year, end.year)
        return self._continuous(start)

    def _named(self, first_year: int, last_year: int) -> Iterator[Period]:
        found = []
        for year in range(first_year, last_year + 1):
            for (m0, d0), (m1, d1) in self.intervals:
                until = year + ((m1, d1) < (m0, d0))
                found.append(Period(_day(year, m0, d0), _day(until, m1, d1)))
        return iter(sorted(found))

    def _cyclic(self, first_year: int, last_year: int) -> Iterator[Period]:
        for year in range(first_year, last_year + 1):
            begin, last = date(year, 1, 1), date(year, 12, 31)
            while begin <= last:
                following = self._next(begin)
                yield Period(begin, min(following - _DAY, last))
                begin = following

    def _continuous(self, start: date) -> Iterator[Period]:
        begin = self._anchor_before(start)
        while True:
            following = self._next(begin)
            yield Period(begin, following - _DAY)
            begin = following

    def _anchor_before(self, day: date) -> date:
        """Give a period start not after `day`, without walking there from far away."""
        if self.unit == "day":
            if self.start is None:
                raise InvalidValueError(
                    "a continuous timeline of days needs `start`, the first day of a period"
                )
            return self.start + ((day - self.start).days // self.step) * self.step * _DAY
        months = self.step * (12 if self.unit == "year" else 1)
        anchor = self.start or date(day.year if self.unit == "year" else 1, 1, 1)
        if day < anchor or (day.year, day.month) == (anchor.year, anchor.month):
            return anchor
        elapsed = 12 * (day.year - anchor.year) + day.month - anchor.month
        begin = _add_months(anchor, elapsed // months * months)
        return max(begin, anchor)

    def _next(self, begin: date) -> date:
        if self.unit == "day":
            return begin + self.step * _DAY
        return _add_months(begin, self.step * (12 if self.unit == "year" else 1))


def _add_months(day: date, months: int) -> date:
    """Give the first of the month `months` later: periods after a partial first one start there."""
    total = day.month - 1 + months
    return date(day.year + total // 12, total % 12 + 1, 1) if months else day


def _day(year: int, month: int, day: int) -> date:
    return date(year, month, min(day, calendar.monthrange(year, month)[1]))


def _choice(key: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise InvalidValueError(f"timeline: {key} {value!r} is not one of {', '.join(allowed)}")
    return value


def _parse_step(step: Any) -> int:
    try:
        number = int(step)
    except (TypeError, ValueError):
        number = 0
    if number < 1:
        raise InvalidValueError(f"timeline: step {step!r} is not a whole number from 1 on")
    return number


def _parse_interval(text: str) -> tuple[tuple[int, int], tuple[int, int]]:
    found = _INTERVAL.fullmatch(str(text))
    if not found:
        raise InvalidValueError(f"timeline: interval {text!r} is not of the form MM-DD_MM-DD")
    m0, d0, m1, d1 = (int(g) for g in found.groups())
    try:
        _, _ = date(2000, m0, d0), date(2000, m1, d1)
    except ValueError as e:
        raise InvalidValueError(f"timeline: interval {text!r}: {e}") from e
    return (m0, d0), (m1, d1)


NAMED_TIMELINES = {
    "p16d": Timeline("cyclic", "day", 16),
    "p1m": Timeline("continuous", "month", 1),
    "p3m": Timeline("cyclic", "month", 3),
    "p1y": Timeline("continuous", "year", 1),
}
"""The usual timelines by ISO 8601 duration, in lower case as names of functions."""
