"""Times of images: their periods, choosing and writing them."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd

from odc_bdc.cube import CubeSpec, shipped_cubes
from odc_bdc.errors import InvalidValueError
from odc_bdc.ows.layers import timeline_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr

    from odc_bdc.timeline import Timeline

TimeLike: TypeAlias = "str | date | tuple[str | date, str | date]"
"""``2020``, ``2020-01`` or a day; a pair of them is a range, the last one wholly in it."""

Span: TypeAlias = tuple[pd.Timestamp, pd.Timestamp]
"""First and last moment of what an image shows."""

SAID = ("product", "cube")
"""Attributes of a dataset that name what it is of."""

_TIMES = "give 2020, 2020-01 or 2020-01-17, or a pair of them"


def timeline_for(ds: xr.Dataset, product: Any = None) -> Timeline | None:
    """Give the periods of a dataset's product, if it is known and has any."""
    if product is None:
        product = next((ds.attrs[key] for key in SAID if ds.attrs.get(key)), None)
    if isinstance(product, CubeSpec):
        return product.timeline
    if product is None:
        return None
    name = product if isinstance(product, str) else getattr(product, "name", None)
    name = name or (product.get("name", "") if isinstance(product, dict) else "")
    cube = shipped_cubes().get(str(name))
    return cube.timeline if cube else timeline_of(str(name))


def spans(times: Sequence[Any], timeline: Timeline | None = None) -> list[Span]:
    """Give what images show of time: their periods, or else the very times.

    datacube puts the images of a cube at the middles of their periods.
    """
    found = []
    for time in pd.to_datetime([*times], utc=True).tz_localize(None):
        period = timeline.period_of(time.date()) if timeline else None
        if period is None:
            found.append((time, time))
        else:
            end = pd.Timestamp(period.end) + pd.Timedelta("1D") - pd.Timedelta("1ns")
            found.append((pd.Timestamp(period.start), end))
    return found


def chosen(ds: xr.Dataset, time: TimeLike | None, timeline: Timeline | None = None) -> xr.Dataset:
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
    return ds if time is None else ds.isel(time=within(spans(ds.time.values, timeline), time))


def within(known: Sequence[Span], time: TimeLike) -> list[int]:
    """Give the numbers of the images that share a moment with what was asked for.

    Raises
    ------
    InvalidValueError
        If there is none, or what was asked for is no time.

    Examples
    --------
    >>> known = spans(["2019-12-19", "2020-01-01", "2020-01-17"])
    >>> within(known, "2020"), within(known, ("2019-12", "2020-01-01"))
    ([1, 2], [0, 1])
    """
    first, last = (time, time) if isinstance(time, str | date) else _pair(time)
    start, end = _period(first).start_time, _period(last).end_time
    found = [i for i, (begins, ends) in enumerate(known) if begins <= end and ends >= start]
    if not found:
        told = f"from {day(known[0][0])} to {day(known[-1][1])}" if known else "of no time"
        raise InvalidValueError(f"there is nothing at {time!r}: the images are {told}")
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
    """Tell whether a text can be meant as a time; else it may be a name."""
    return text[:1].isdigit() and "_" not in text


def day(time: Any) -> str:
    """Write the day of a time.

    Examples
    --------
    >>> day("2020-01-03T13:40")
    '2020-01-03'
    """
    return str(pd.Timestamp(time).date())


def labels(known: Sequence[Span]) -> list[str]:
    """Write when images begin: their days, with the time of day where days do not tell them apart.

    Examples
    --------
    >>> labels(spans(["2020-01-03T13:40", "2020-01-03T14:00"]))
    ['2020-01-03 13:40:00', '2020-01-03 14:00:00']
    """
    days = [day(begins) for begins, _ in known]
    if len(set(days)) == len(days):
        return days
    return [f"{begins:%Y-%m-%d %H:%M:%S}" for begins, _ in known]
