"""Stretches of whole days: of the calendar, and of every year."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

from odc_bdc.errors import InvalidValueError

DAY = timedelta(days=1)
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
        following = self.end + DAY
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


def _day(year: int, month: int, day: int, *, missing: Literal["preceding", "following"]) -> date:
    """Give a day of a year; where it has no 29 February, the day before or after."""
    last = calendar.monthrange(year, month)[1]
    if day <= last:
        return date(year, month, day)
    return date(year, month, last) if missing == "preceding" else date(year, month + 1, 1)
