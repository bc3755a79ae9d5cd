"""The order in which a composite function looks at the scenes of a period."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from odc_bdc.function import CompositeFunction
from odc_bdc.timeline import Period


def efficacy(n_clear: npt.ArrayLike, n_pixels: int) -> npt.NDArray[np.float64]:
    """Give the share of clear pixels of each scene, in per cent, to two decimals.

    Parameters
    ----------
    n_clear
        Number of clear pixels by scene, over the whole tile.
    n_pixels
        Number of all pixels of the tile, those without data included (as cube-builder counts).
    """
    return np.round(100.0 * np.asarray(n_clear, dtype=np.float64) / n_pixels, 2)


def scene_order(efficacies: npt.ArrayLike, times: npt.ArrayLike) -> npt.NDArray[np.intp]:
    """Give the positions of the scenes, best first.

    Higher efficacy comes first; of equals the later date does, which is cube-builder's rule. Scenes
    of one date are told apart by their time, then keep the order given.

    Parameters
    ----------
    efficacies
        Per cent by scene, from `efficacy`.
    times
        datetime64 by scene (UTC).

    Examples
    --------
    >>> scene_order([50.0, 100.0, 50.0], np.array(["2019-01-03", "2019-01-08", "2019-01-13"],
    ...                                           dtype="datetime64[D]")).tolist()
    [1, 2, 0]
    """
    instants: Any = np.asarray(times).astype("datetime64[ns]").astype(np.int64)
    return np.lexsort((-instants, -np.asarray(efficacies, dtype=np.float64)))


def reference_order(
    times: npt.ArrayLike, period: Period, day: int | None = None
) -> npt.NDArray[np.intp]:
    """Give the positions of the scenes by distance to a day of the period, the nearest first.

    Of equals the earlier comes first, which is cube-builder's rule. (It counts the days from the
    first scene of the period; here they count from the period's start, so that another scene does
    not move the reference.)

    Parameters
    ----------
    times
        datetime64 by scene (UTC).
    day
        1 is the period's first day; None means its middle, the earlier of two.

    Examples
    --------
    >>> from datetime import date
    >>> january = Period(date(2019, 1, 1), date(2019, 1, 31))
    >>> days = np.array(["2019-01-03", "2019-01-13", "2019-01-18", "2019-01-19"], "datetime64[D]")
    >>> reference_order(days, january).tolist()
    [2, 1, 3, 0]
    """
    length = (period.end - period.start).days + 1
    after = ((length + 1) // 2 if day is None else day) - 1
    reference = np.datetime64(period.start, "D") + np.timedelta64(after, "D")
    instants: Any = np.asarray(times).astype("datetime64[ns]").astype(np.int64)
    days: Any = np.asarray(times).astype("datetime64[D]")
    distance = np.abs((days - reference).astype(np.int64))
    return np.lexsort((instants, distance))


def time_order(times: npt.ArrayLike) -> npt.NDArray[np.intp]:
    """Give the positions of the scenes by time, the earliest first."""
    return np.argsort(np.asarray(times).astype("datetime64[ns]"), kind="stable")


def dated_order(
    function: CompositeFunction, times: npt.ArrayLike, period: Period
) -> npt.NDArray[np.intp] | None:
    """Give a function's own order of scenes, if their dates tell it.

    Parameters
    ----------
    times
        datetime64 by scene (UTC).

    Returns
    -------
    numpy.ndarray or None
        Positions, the first to be preferred first; None if the order takes the scenes' efficacy.
    """
    if function.ordering == "efficacy":
        return None
    if function.ordering == "reference_day":
        return reference_order(times, period, dict(function.parameters).get("reference_day"))
    return time_order(times)
