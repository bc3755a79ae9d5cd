"""Texts that name a time: a year, a month, a day or an instant, and how long each lasts."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from dateutil.relativedelta import relativedelta

from odc_bdc.errors import InvalidValueError

INSTANT = timedelta(microseconds=1)
"""How long an instant lasts here: of no length, it would share nothing with any period."""

_REDUCED = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?", re.ASCII)


def span_of(text: str) -> tuple[datetime, datetime]:
    """Give the first instant of a time and the end of it (exclusive), both UTC.

    Parameters
    ----------
    text
        ISO 8601, UTC where it does not say: ``2019``, ``2019-01``, ``2019-01-05`` or
        ``2019-01-05T12:00:00Z``, which lasts for `INSTANT`.

    Raises
    ------
    InvalidValueError
        If it is not one, or leaves the calendar.

    Examples
    --------
    >>> [str(end.date()) for end in span_of("2020-02")]
    ['2020-02-01', '2020-03-01']
    """
    try:
        reduced = _REDUCED.fullmatch(text)
        if reduced:
            year, month, day = reduced.groups()
            low = datetime(int(year), int(month or 1), int(day or 1), tzinfo=UTC)
            length = {"days": 1} if day else {"months": 1} if month else {"years": 1}
            return low, low + relativedelta(**length)  # type: ignore[arg-type]
        instant = datetime.fromisoformat(text)
        instant = instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
        return instant, instant + INSTANT
    except (ValueError, OverflowError) as e:
        raise InvalidValueError(
            f"{text!r} cannot be read: it is not a time of ISO 8601 such as 2019, 2019-01, "
            "2019-01-05 or 2019-01-05T00:00:00Z"
        ) from e
