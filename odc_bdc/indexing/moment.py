"""Times of items."""

from __future__ import annotations

from datetime import UTC, datetime


def as_utc(when: datetime) -> datetime:
    """Give a time in UTC.

    STAC wants a zone; the BDC's older items have none and mean UTC.
    """
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
