"""Which composites a requested time means.

WMS 1.3.0 (OGC 06-042, annexes C and D) lets a client name an instant, a day, a month or a year, a
range of them, or a list. datacube-ows only knows the first day of a composite, exactly. Here all of
them are turned into first days. Pure.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING

from dateutil.relativedelta import relativedelta

from odc_bdc.errors import InvalidValueError
from odc_bdc.timeline import Period, span_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from odc_bdc.timeline import Timeline

MAX_STEPS = 1000
"""Times that the ranges with a resolution of one request may have together."""

MAX_ITEMS = 250
"""Times and ranges that a list may have; datacube-ows gets far fewer of most requests."""

_LATEST = frozenset({"current", "now", "present"})
_DURATION = re.compile(
    r"P(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?"
)
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A composite for a requested time.

    Attributes
    ----------
    period
        Of the composite.
    nearest
        The requested time lies in a gap, and this is the composite nearest to it.
    """

    period: Period
    nearest: bool = False


def choose(periods: Sequence[Period], requested: str) -> list[Chosen]:
    """Give the composites that a client means: one for each time of a list.

    Parameters
    ----------
    periods
        Those that the layer has, in order; they share no day.
    requested
        ISO 8601, times as UTC if they do not say: ``2019-01-05``, ``2019-01``, ``2019``,
        ``2019-01-05T12:00:00Z``; a range ``2019-01-01/2019-02-15`` or ``2019-01-01/P1M``;
        ``current`` for the latest; several, separated by commas. A range means the one composite
        of which it covers most, of equal ones the latest. A range with a resolution,
        ``2019-01-01/2019-12-31/P1M``, is the list of the composites at these steps.

    Returns
    -------
    list of Chosen
        As many as there are times in the request; those of a resolution without repetition. A time
        between two composites, where one is missing, means the nearer one, of two the earlier.

    Raises
    ------
    InvalidValueError
        If the text is not a time, or lies outside of what the layer has.

    Examples
    --------
    >>> from datetime import date
    >>> january = Period(date(2019, 1, 1), date(2019, 1, 16))
    >>> [c.period.start.isoformat() for c in choose([january], "2019-01-05T00:00:00Z")]
    ['2019-01-01']
    """
    if not periods:
        raise InvalidValueError("the layer has no times")
    found: list[Chosen] = []
    stepped = 0
    for parts in _items(requested):
        if len(parts) == 3:
            steps = _steps(periods, *parts)
            stepped += len(steps)
            if stepped > MAX_STEPS:
                raise InvalidValueError(
                    f"the ranges have more than {MAX_STEPS} steps together, which are the limit"
                )
            found += _at_steps(periods, steps, "/".join(parts))
        else:
            found.append(_best(periods, *_extent(periods, parts)))
    return found


def choose_all(periods: Sequence[Period], requested: str) -> list[Period]:
    """Give all composites that share time with a request, in order and each once.

    Raises as `choose`, whose parameters it has; here a range, or a month, means all composites that
    share time with it.
    """
    if not periods:
        raise InvalidValueError("the layer has no times")
    chosen: set[Period] = set()
    for parts in _items(requested):
        low, high = _extent(periods, parts[:2] if len(parts) == 3 else parts)
        within = [p for p in periods if _shared(p, low, high) > timedelta()]
        chosen |= set(within) or {_best(periods, low, high).period}
    return sorted(chosen)


def _items(requested: str) -> list[list[str]]:
    """Give the parts of each time or range of a list."""
    items = requested.split(",")
    if len(items) > MAX_ITEMS:
        raise InvalidValueError(
            f"a list of {len(items)} times is too long: {MAX_ITEMS} are the limit; ask for a range"
        )
    return [item.strip().split("/") for item in items]


def _extent(periods: Sequence[Period], parts: list[str]) -> tuple[datetime, datetime]:
    """Give first instant and end (exclusive) of a time or a range."""
    if len(parts) == 1:
        return _moment(periods, parts[0])
    if len(parts) != 2:
        raise InvalidValueError(f"{'/'.join(parts)!r} is not start/end or start/end/resolution")
    first, last = parts
    if first.startswith("P") and last.startswith("P"):
        raise InvalidValueError(f"{first}/{last} has two lengths and no date")
    if first.startswith("P"):
        high = _moment(periods, last)[1]
        low = _moved(high, _duration(first), -1)
    else:
        low = _moment(periods, first)[0]
        if last.startswith("P"):
            high = _moved(low, _duration(last), 1)
        else:
            high = _moment(periods, last)[1]
    if high <= low:
        raise InvalidValueError(f"{first}/{last} ends before it starts")
    return low, high


def _moment(periods: Sequence[Period], text: str) -> tuple[datetime, datetime]:
    if text.lower() in _LATEST:
        return _start(periods[-1]), _end(periods[-1])
    return span_of(text)


def _duration(text: str) -> relativedelta:
    found = _DURATION.fullmatch(text)
    given = {k: int(v) for k, v in found.groupdict().items() if v} if found else {}
    if not any(given.values()):
        raise InvalidValueError(f"{text!r} is not a length of time such as P16D or P1M")
    return relativedelta(**given)  # type: ignore[arg-type]


def _moved(instant: datetime, duration: relativedelta, times: int) -> datetime:
    try:
        return instant + times * duration
    except (ValueError, OverflowError) as e:
        raise InvalidValueError("the range leaves the calendar") from e


def _steps(periods: Sequence[Period], first: str, last: str, step: str) -> list[datetime]:
    """Give the times at the steps of a range; those of too many are never listed."""
    low, high = _extent(periods, [first, last])
    duration = _duration(step)

    def at(number: int) -> datetime:
        try:
            return low + number * duration
        except (ValueError, OverflowError):
            return _NEVER

    if at(MAX_STEPS) < high:
        raise InvalidValueError(
            f"{first}/{last}/{step} has more than {MAX_STEPS} steps, which are the limit of a "
            "request: ask for a shorter range or a longer step"
        )
    return list(takewhile(high.__gt__, map(at, range(MAX_STEPS))))


def _at_steps(periods: Sequence[Period], steps: Sequence[datetime], asked: str) -> list[Chosen]:
    # Steps beyond what the layer has are nothing, not the nearest.
    following = (bisect_left(steps, _start(p)) for p in periods)
    found = [
        Chosen(p)
        for p, number in zip(periods, following, strict=True)
        if number < len(steps) and steps[number] < _end(p)
    ]
    if not found:
        raise InvalidValueError(f"{asked} has no image at any of its steps")
    return found


def _best(periods: Sequence[Period], low: datetime, high: datetime) -> Chosen:
    if high <= _start(periods[0]) or low >= _end(periods[-1]):
        raise InvalidValueError(
            f"the layer has images from {periods[0].start} to {periods[-1].end} only"
        )
    sharing = [(_shared(p, low, high) / (_end(p) - _start(p)), p) for p in periods]
    share, period = max(sharing)
    if share > 0:
        return Chosen(period)
    # What is shared is less than nothing here: minus the distance.
    most = max(_shared(p, low, high) for p in periods)
    return Chosen(min(p for p in periods if _shared(p, low, high) == most), nearest=True)


def _shared(period: Period, low: datetime, high: datetime) -> timedelta:
    return min(high, _end(period)) - max(low, _start(period))


def _start(period: Period) -> datetime:
    return period.start_datetime


def _end(period: Period) -> datetime:
    """Give the first instant after a period."""
    return datetime.combine(period.end, time(), UTC) + timedelta(days=1)


def periods_from(
    starts: Sequence[date], timeline: Timeline | None, *, composites: bool
) -> list[Period]:
    """Give the periods of a layer.

    Parameters
    ----------
    starts
        First days, in order.
    timeline
        The rule, if it is known. A start that it does not have is as if it were not.
    composites
        Whether an image is of a period. If so and without a rule, a period lasts until the next
        starts, and the last as long as the one before; if not, all are single days.

    Examples
    --------
    >>> from datetime import date
    >>> [p.label for p in periods_from([date(2019, 1, 1), date(2019, 2, 1)], None, composites=True)]
    ['2019-01-01--P1M', '2019-02-01--P31D']
    """
    if not composites:
        return [Period(start, start) for start in starts]
    ends = [following - timedelta(days=1) for _, following in pairwise(starts)]
    if starts:
        ends.append(starts[-1] + (ends[-1] - starts[-2] if ends else timedelta()))
    found = []
    for start, end in zip(starts, ends, strict=True):
        period = timeline.period_of(start) if timeline else None
        known = period is not None and period.start == start
        found.append(period if known and period else Period(start, end))
    return found
