"""Times of images: choosing and writing them."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from odc_bdc.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr

TimeLike: TypeAlias = "str | date | tuple[str | date, str | date]"
"""``2020``, ``2020-01`` or a day; a pair of them is a range, the last one wholly in it."""


_TIMES = "give 2020, 2020-01 or 2020-01-17, or a pair of them"


def chosen(ds: xr.Dataset, time: TimeLike | None) -> xr.Dataset:
    """Give the times of a dataset that were asked for, in order; all by default.

    Raises
    ------
    InvalidValueError
        If there is none of them, or the dataset has no times to choose of.
    """
    if "time" not in ds.dims:
        if time is not None:
            raise InvalidValueError(f"the dataset has no dimension time, so nothing at {time!r}")
        return ds
    ds = ds.sortby("time")
    return ds if time is None else ds.isel(time=within(ds.time.values, time))


def within(times: Sequence[Any], time: TimeLike) -> list[int]:
    """Give the numbers of the times that lie in what was asked for.

    Raises
    ------
    InvalidValueError
        If there is none, or what was asked for is no time.

    Examples
    --------
    >>> within(["2019-12-19", "2020-01-01", "2020-01-17"], "2020")
    [1, 2]
    >>> within(["2019-12-19", "2020-01-01", "2020-01-17"], ("2019-12", "2020-01-01"))
    [0, 1]
    """
    first, last = (time, time) if isinstance(time, str | date) else _pair(time)
    start, end = _period(first).start_time, _period(last).end_time
    known = pd.DatetimeIndex(np.asarray(times, "datetime64[ns]"))
    found = [i for i, t in enumerate(known) if start <= t <= end]
    if not found:
        span = f"from {day(known.min())} to {day(known.max())}" if len(known) else "at no time"
        raise InvalidValueError(f"there is nothing at {time!r}: the images are {span}")
    return found


def _pair(time: Any) -> tuple[Any, Any]:
    try:
        first, last = time
    except (TypeError, ValueError) as e:
        raise InvalidValueError(f"{time!r} is no time: {_TIMES}") from e
    return first, last


def _period(time: Any) -> Any:
    try:
        return pd.Period(time) if isinstance(time, str) else pd.Period(pd.Timestamp(time), "D")
    except (ValueError, TypeError) as e:
        raise InvalidValueError(f"{time!r} is no time: {_TIMES}") from e


def is_time(text: str) -> bool:
    """Tell whether a text can be read as a time, else it may be a name."""
    return text[:1].isdigit() and "_" not in text


def day(time: Any) -> str:
    """Write the day of a time.

    Examples
    --------
    >>> day(np.datetime64("2020-01-03T13:40"))
    '2020-01-03'
    """
    return str(pd.Timestamp(time).date())


def labels(times: Sequence[Any]) -> list[str]:
    """Write times so that each is told from the others: days, with the time of day where needed."""
    days = [day(time) for time in times]
    if len(set(days)) == len(days):
        return days
    return [f"{pd.Timestamp(time):%Y-%m-%d %H:%M:%S}" for time in times]
