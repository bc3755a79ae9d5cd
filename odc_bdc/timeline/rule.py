"""`Timeline`: a rule that cuts the calendar into periods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise
from typing import Any, Literal, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt

from odc_bdc.errors import InvalidValueError
from odc_bdc.timeline.parts import (
    parse_choice,
    parse_cycle,
    parse_intervals,
    parse_start,
    parse_step,
)
from odc_bdc.timeline.period import DAY, Interval, Period

Schema: TypeAlias = Literal["cyclic", "continuous"]
Unit: TypeAlias = Literal["day", "month", "year"]

_KEYS = ("schema", "unit", "step", "cycle", "intervals", "start")


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
        cycle = parse_cycle(doc.get("cycle") or {})
        schema = parse_choice("schema", doc.get("schema", ""), get_args(Schema))
        unit = parse_choice("unit", doc.get("unit", "day"), get_args(Unit))
        intervals = parse_intervals(doc.get("intervals") or cycle.get("intervals") or ())
        return cls(
            cast("Schema", schema),
            cast("Unit", unit),
            parse_step(doc.get("step", 1)),
            intervals,
            parse_start(doc.get("start")),
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
        >>> from odc_bdc.timeline import NAMED_TIMELINES
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
                yield Period(begin, min(following - DAY, last))
                begin = following

    def _continuous(self, start: date) -> Iterator[Period]:
        begin = self._anchor_before(start)
        while True:
            following = self._next(begin)
            yield Period(begin, following - DAY)
            begin = following

    def _anchor_before(self, day: date) -> date:
        """Give a period start not after `day`, without walking there from far away."""
        if self.unit == "day":
            if self.start is None:
                raise InvalidValueError(
                    "a continuous timeline of days needs `start`, the first day of a period"
                )
            elapsed = max(0, (day - self.start).days)
            return self.start + elapsed // self.step * self.step * DAY
        months = self.step * (12 if self.unit == "year" else 1)
        anchor = self.start or date(1, 1, 1)
        elapsed = 12 * (day.year - anchor.year) + day.month - anchor.month
        return _add_months(anchor, max(0, elapsed) // months * months)

    def _next(self, begin: date) -> date:
        if self.unit == "day":
            return begin + self.step * DAY
        return _add_months(begin, self.step * (12 if self.unit == "year" else 1))


def _add_months(day: date, months: int) -> date:
    """Give the first of the month `months` later: periods after a partial first one start there."""
    total = day.month - 1 + months
    return date(day.year + total // 12, total % 12 + 1, 1) if months else day
