"""Periods of time, and the timelines that cut the calendar into them.

The forms and their meaning are those of the Brazil Data Cube's ``temporal_composition`` documents
(STAC property ``bdc:temporal_composition``): *cyclic* timelines start anew with each year,
*continuous* ones run on; both may give intervals of the year instead of a step.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any, Literal, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt

from odc_bdc.errors import InvalidValueError, UnknownNameError

Schema: TypeAlias = Literal["cyclic", "continuous"]
Unit: TypeAlias = Literal["day", "month", "year"]

_DAY = timedelta(days=1)
_INTERVAL = re.compile(r"(\d\d)-(\d\d)_(\d\d)-(\d\d)")
_KEYS = ("schema", "unit", "step", "cycle", "intervals", "start")


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
class Interval:
    """A stretch of every year by its first and last day; it may wrap the year's end.

    Attributes
    ----------
    first, last
        Month and day, both inclusive. 29 February stands for the month's last day where it ends an
        interval, and for 1 March where it begins one in a year without it.
    name
        What it is called, such as ``Q1``; None for the intervals of BDC's documents.
    """

    first: tuple[int, int]
    last: tuple[int, int]
    name: str | None = None

    @classmethod
    def parse(cls, text: str, name: str | None = None) -> Interval:
        """Read ``MM-DD_MM-DD``, BDC's form.

        Raises
        ------
        InvalidValueError
            If the text has another form or a day does not exist.

        Examples
        --------
        >>> Interval.parse("12-21_03-20").in_year(2019)
        Period(start=datetime.date(2019, 12, 21), end=datetime.date(2020, 3, 20))
        """
        found = _INTERVAL.fullmatch(str(text))
        if not found:
            raise InvalidValueError(
                f"timeline: interval {text!r} is not of the form MM-DD_MM-DD, as 12-21_03-20"
            )
        m0, d0, m1, d1 = (int(g) for g in found.groups())
        try:
            _, _ = date(2000, m0, d0), date(2000, m1, d1)
        except ValueError as e:
            raise InvalidValueError(f"timeline: interval {text!r}: {e}") from e
        return cls((m0, d0), (m1, d1), name)

    def __str__(self) -> str:
        (m0, d0), (m1, d1) = self.first, self.last
        return f"{m0:02d}-{d0:02d}_{m1:02d}-{d1:02d}"

    def in_year(self, year: int) -> Period | None:
        """Give the interval that begins in `year`; None if that year has no such days."""
        start = _day(year, *self.first, missing="following")
        end = _day(year + (self.last < self.first), *self.last, missing="preceding")
        return Period(start, end) if start <= end else None


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
        Periods given by days of the year instead of by step; no two share a day.
    start
        Where a continuous timeline begins: it has no period before. Calendar months and years need
        none.
    """

    schema: Schema
    unit: Unit = "day"
    step: int = 1
    intervals: tuple[Interval, ...] = ()
    start: date | None = None

    def __post_init__(self) -> None:
        for one, other in pairwise(self._named(1999, 2005)):
            if other.start <= one.end:
                raise InvalidValueError(
                    f"timeline: intervals overlap: {one.start} to {one.end} and "
                    f"{other.start} to {other.end}"
                )

    @classmethod
    def from_dict(cls, doc: Mapping[str, Any]) -> Timeline:
        """Read BDC's JSON form.

        Parameters
        ----------
        doc
            ``schema`` and ``unit`` (any case), ``step`` (number or string), for cyclic ones
            ``cycle`` (only of one year), optionally ``intervals`` (here or in ``cycle``; a list as
            BDC has it, or a mapping that names them) and ``start``.

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
        if not isinstance(doc, Mapping):
            raise InvalidValueError(f"timeline: {doc!r} is no mapping of {', '.join(_KEYS)}")
        unknown = set(doc) - set(_KEYS)
        if unknown:
            raise InvalidValueError(
                f"timeline: unknown key {', '.join(sorted(unknown))}; known: {', '.join(_KEYS)}"
            )
        cycle = _parse_cycle(doc.get("cycle") or {})
        schema = _choice("schema", doc.get("schema", ""), get_args(Schema))
        unit = _choice("unit", doc.get("unit", "day"), get_args(Unit))
        intervals = _parse_intervals(doc.get("intervals") or cycle.get("intervals") or ())
        return cls(
            cast("Schema", schema),
            cast("Unit", unit),
            _parse_step(doc.get("step", 1)),
            intervals,
            _parse_start(doc.get("start")),
        )

    def to_dict(self) -> dict[str, Any]:
        """Write BDC's JSON form; `from_dict` of it gives the same timeline."""
        doc: dict[str, Any] = {"schema": self.schema.capitalize(), "unit": self.unit}
        doc["step"] = self.step
        if self.schema == "cyclic":
            doc["cycle"] = {"unit": "year", "step": 1}
        if any(i.name for i in self.intervals):
            doc["intervals"] = {i.name: str(i) for i in self.intervals}
        elif self.intervals:
            doc["intervals"] = [str(i) for i in self.intervals]
        if self.start:
            doc["start"] = self.start.isoformat()
        return doc

    def title(self, period: Period) -> str:
        """Give what people call a period: a season with the year it ends in, else its days.

        Examples
        --------
        >>> quarters = NAMED_TIMELINES["ecodatacube_quarters"]
        >>> quarters.title(quarters.period_of(date(2010, 12, 24)))
        'Q1 2011'
        >>> NAMED_TIMELINES["p1m"].title(Period(date(2020, 2, 1), date(2020, 2, 29)))
        '2020-02-01 to 2020-02-29'
        """
        for interval in self.intervals:
            if interval.name and interval.in_year(period.start.year) == period:
                return f"{interval.name} {period.end.year}"
        return f"{period.start} to {period.end}"

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
        return replace(self, start=start)

    def _generate(self, start: date, end: date) -> Iterator[Period]:
        if self.intervals:
            # An interval that wraps the year begins in the one before.
            named = self._named(start.year - 1, end.year)
            return (p for p in named if self.start is None or p.start >= self.start)
        if self.schema == "cyclic":
            return self._cyclic(start.year, end.year)
        return self._continuous(start)

    def _named(self, first_year: int, last_year: int) -> list[Period]:
        years = range(max(first_year, date.min.year), last_year + 1)
        found = (i.in_year(year) for year in years for i in self.intervals)
        return sorted(p for p in found if p)

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
            elapsed = max(0, (day - self.start).days)
            return self.start + elapsed // self.step * self.step * _DAY
        months = self.step * (12 if self.unit == "year" else 1)
        anchor = self.start or date(1, 1, 1)
        elapsed = 12 * (day.year - anchor.year) + day.month - anchor.month
        return _add_months(anchor, max(0, elapsed) // months * months)

    def _next(self, begin: date) -> date:
        if self.unit == "day":
            return begin + self.step * _DAY
        return _add_months(begin, self.step * (12 if self.unit == "year" else 1))


def _add_months(day: date, months: int) -> date:
    """Give the first of the month `months` later: periods after a partial first one start there."""
    total = day.month - 1 + months
    return date(day.year + total // 12, total % 12 + 1, 1) if months else day


def _day(year: int, month: int, day: int, *, missing: Literal["preceding", "following"]) -> date:
    """Give a day of a year; where it has no 29 February, the day before or after."""
    last = calendar.monthrange(year, month)[1]
    if day <= last:
        return date(year, month, day)
    return date(year, month, last) if missing == "preceding" else date(year, month + 1, 1)


def _choice(key: str, value: Any, allowed: tuple[str, ...]) -> str:
    lowered = str(value).lower()
    if lowered not in allowed:
        raise InvalidValueError(f"timeline: {key} {value!r} is not one of {', '.join(allowed)}")
    return lowered


def _parse_step(step: Any) -> int:
    try:
        number = int(step)
    except (TypeError, ValueError):
        number = 0
    if number < 1 or number != float(step):
        raise InvalidValueError(f"timeline: step {step!r} is not a whole number from 1 on")
    return number


def _parse_cycle(cycle: Any) -> Mapping[str, Any]:
    """Check a cycle; the only one that BDC has, one year, is the only one known."""
    known = isinstance(cycle, Mapping) and set(cycle) <= {"unit", "step", "intervals"}
    length = [str(cycle.get("unit", "year")).lower(), str(cycle.get("step", 1))] if known else []
    if length != ["year", "1"]:
        raise InvalidValueError(
            f"timeline: cycle {cycle!r}: only a cycle of one year is known, "
            "{unit: year, step: 1}, which may hold intervals"
        )
    return cast("Mapping[str, Any]", cycle)


def _parse_intervals(given: Any) -> tuple[Interval, ...]:
    if isinstance(given, Mapping):
        return tuple(Interval.parse(text, str(name)) for name, text in given.items())
    if isinstance(given, str) or not isinstance(given, list | tuple):
        raise InvalidValueError(
            f"timeline: intervals {given!r} is no list of MM-DD_MM-DD and no mapping of names to it"
        )
    return tuple(Interval.parse(text) for text in given)


def _parse_start(start: Any) -> date | None:
    if start is None or (isinstance(start, date) and not isinstance(start, datetime)):
        return start
    try:
        return date.fromisoformat(start)
    except (TypeError, ValueError) as e:
        raise InvalidValueError(f"timeline: start {start!r} is not a day, as 2017-01-01") from e


NAMED_TIMELINES = {
    "p5d": Timeline("cyclic", "day", 5),
    "p8d": Timeline("cyclic", "day", 8),
    "p16d": Timeline("cyclic", "day", 16),
    "p1m": Timeline("continuous", "month", 1),
    "p2m": Timeline("cyclic", "month", 2),
    "p3m": Timeline("cyclic", "month", 3),
    "p1y": Timeline("continuous", "year", 1),
    # The example of BDC's own documents: southern summer, autumn, winter and spring.
    "bdc_seasons": Timeline(
        "continuous",
        "month",
        3,
        (
            Interval.parse("12-21_03-20", "summer"),
            Interval.parse("03-21_06-20", "autumn"),
            Interval.parse("06-21_09-21", "winter"),
            Interval.parse("09-22_12-20", "spring"),
        ),
    ),
    # EcoDataCube (Witjes et al., 2023, doi:10.7717/peerj.15478): unequal quarters by phenology.
    "ecodatacube_quarters": Timeline(
        "continuous",
        "month",
        3,
        (
            Interval.parse("12-02_03-20", "Q1"),
            Interval.parse("03-21_06-24", "Q2"),
            Interval.parse("06-25_09-12", "Q3"),
            Interval.parse("09-13_12-01", "Q4"),
        ),
    ),
}
"""The usual timelines: those of a step by ISO 8601 duration, in lower case as names of functions.

The 5 and 8 days are cyclic, as the 16 days are; for five days counted on from a day of one's own
write ``{schema: Continuous, unit: day, step: 5, start: 2016-04-03}``.
"""


def find_timeline(timeline: str | Mapping[str, Any]) -> Timeline:
    """Give a usual timeline by its name (`NAMED_TIMELINES`), or read BDC's JSON form.

    Raises
    ------
    InvalidValueError, UnknownNameError
        If it is neither; the message says what is known.
    """
    if not isinstance(timeline, str):
        return Timeline.from_dict(timeline)
    if timeline.lower() not in NAMED_TIMELINES:
        known = ", ".join(NAMED_TIMELINES)
        raise UnknownNameError(f"{timeline!r} is not a usual timeline; known: {known}")
    return NAMED_TIMELINES[timeline.lower()]
