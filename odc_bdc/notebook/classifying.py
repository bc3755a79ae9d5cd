"""From time series to a map of classes; the model is scikit-learn's, or works like one of its."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from pyproj import Transformer

from odc_bdc.errors import InvalidValueError, UnknownNameError, did_you_mean
from odc_bdc.grid import BDC_PROJ, georeference

NO_CLASS = 0
"""Code of pixels without any observation; classes have the codes from 1 on."""


class Classifier(Protocol):
    """What is needed of a model: `sklearn.base.ClassifierMixin` that gives probabilities."""

    classes_: npt.NDArray[Any]

    def predict_proba(self, X: Any) -> npt.NDArray[Any]:  # noqa: N803 (scikit-learn's name)
        """Give the probability of each class, shape (samples, classes)."""


def features(
    series: pd.DataFrame,
    variables: Sequence[str],
    *,
    by: str = "point",
    changes: bool = False,
) -> pd.DataFrame:
    """Lay time series side by side: a row for each series, a column for each variable and time.

    Parameters
    ----------
    series
        As `timeseries` gives it: a row for each series and time, with the column ``time``. Series
        may be of different years, but have equally many times.
    variables
        Columns that become features, in this order.
    by
        Column that tells the series apart.
    changes
        Add the change from each time to the next, as columns ``NDVI 02-01`` and so on.

    Returns
    -------
    pandas.DataFrame
        float64, indexed by `by`, columns ``NDVI 01``, ``NDVI 02`` and so on. Gaps (NaN) are filled
        as by `fill_gaps`; a series without any value stays NaN.

    Raises
    ------
    UnknownNameError
        If a column is missing.
    InvalidValueError
        If a series has more or fewer times than another, or a time twice.
    """
    _check_names([by, "time", *variables], [str(c) for c in series.columns], "the series has")
    ordered = series.sort_values([by, "time"], kind="stable")
    counts = ordered.groupby(by).size()
    odd = counts[counts != counts.mode().iloc[0]] if len(counts) else counts
    if len(odd):
        raise InvalidValueError(
            f"{by} {odd.index[0]} has {odd.iloc[0]} times where others have "
            f"{counts.mode().iloc[0]}: leave such series out, or load them over the same time"
        )
    if ordered.duplicated([by, "time"]).any():
        raise InvalidValueError(f"a {by} has the same time twice: {by} must tell series apart")
    shape = len(counts), int(counts.iloc[0]) if len(counts) else 0
    days = _days(ordered["time"].to_numpy()).reshape(shape)
    columns: dict[str, npt.NDArray[np.float64]] = {}
    for name in variables:
        columns |= _columns(name, ordered[name].to_numpy(dtype=float).reshape(shape), days)
    made = pd.DataFrame(columns, index=counts.index)
    return made if changes else made[_plain(variables, shape[1])]


def fill_gaps(values: npt.ArrayLike, days: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Fill gaps of time series: linearly between the values around, beyond the ends by the next.

    Parameters
    ----------
    values
        Shape (..., times), NaN where there is a gap.
    days
        When the values are of, increasing; shape (times,) or that of `values`.

    Returns
    -------
    numpy.ndarray
        float64, same shape; NaN in series without a value.

    Examples
    --------
    >>> fill_gaps([np.nan, 2, np.nan, 8, np.nan], [0, 1, 2, 4, 5]).tolist()
    [2.0, 2.0, 4.0, 8.0, 8.0]
    """
    given = np.asarray(values, np.float64)
    when = np.broadcast_to(np.asarray(days, np.float64), given.shape)
    times = given.shape[-1]
    there = np.isfinite(given)
    places = np.arange(times)
    before = np.maximum.accumulate(np.where(there, places, -1), axis=-1)
    after = np.minimum.accumulate(np.where(there, places, times)[..., ::-1], axis=-1)[..., ::-1]
    # Beyond the first and last value, and where there is none, both ends are the same one.
    first = np.where(before < 0, np.minimum(after, times - 1), before)
    last = np.where(after >= times, np.maximum(before, 0), after)
    v0, v1 = (np.take_along_axis(given, at, axis=-1) for at in (first, last))
    d0, d1 = (np.take_along_axis(when, at, axis=-1) for at in (first, last))
    apart = d1 > d0
    part = np.where(apart, (when - d0) / np.where(apart, d1 - d0, 1), 0.0)
    out: npt.NDArray[np.float64] = v0 + (v1 - v0) * part
    return out


def spatial_blocks(
    longitude: npt.ArrayLike, latitude: npt.ArrayLike, *, size: float
) -> npt.NDArray[np.int64]:
    """Give the number of the square block of land that each place lies in.

    It is for cross-validation that keeps neighbours together.
    Samples close to each other are alike. Where one is trained on and its neighbour tested, the
    accuracy tells of the neighbourhood, not of a place that nobody visited; blocks as the groups of
    `sklearn.model_selection.GroupKFold` or ``StratifiedGroupKFold`` tell of that (Roberts et al.,
    2017, doi:10.1111/ecog.02881).

    Parameters
    ----------
    longitude, latitude
        Degrees, shape (n,).
    size
        Side of a block in metres, in the BDC's equal-area CRS.

    Returns
    -------
    numpy.ndarray
        int64, shape (n,): the number of the block, from 0 on without gaps.

    Raises
    ------
    InvalidValueError
        If `size` is not positive.
    """
    if not size > 0:
        raise InvalidValueError(f"blocks of {size} m: give the side of a block, as 20_000")
    project = Transformer.from_crs("EPSG:4326", BDC_PROJ, always_xy=True)
    xy = np.stack(project.transform(np.asarray(longitude), np.asarray(latitude)), axis=-1)
    _, numbers = np.unique(np.floor(xy / size), axis=0, return_inverse=True)
    return np.asarray(numbers, np.int64).reshape(-1)


def classify(model: Classifier, ds: xr.Dataset, variables: Sequence[str]) -> xr.Dataset:
    """Classify each pixel of a cube by its time series.

    Parameters
    ----------
    model
        Trained on `features` of the same variables, of as many times, with changes or without.
    ds
        Bands (time, y, x), nodata in the attribute ``nodata``, in the numbers that the model was
        trained on; with dask it is classified when it is computed, chunk by chunk.
    variables
        Names of bands, in the order of the features.

    Returns
    -------
    xarray.Dataset
        ``class_code``, uint8 (y, x): 1 for the first of ``model.classes_`` and so on, `NO_CLASS`
        where a variable has no observation at all; its flags tell the names (CF's
        ``flag_values`` and ``flag_meanings``). ``probability``, float32 (class, y, x), NaN there.

    Raises
    ------
    UnknownNameError
        If `ds` lacks a variable.
    InvalidValueError
        If the model was trained on other features, or has more than 255 classes.
    """
    _check_names(variables, [str(v) for v in ds.data_vars], "the dataset has")
    bands = [ds[name] for name in variables]
    classes = [str(c) for c in model.classes_]
    how = _Pixels(
        model,
        tuple(variables),
        _model_features(model, variables, ds.sizes["time"], classes),
        tuple(band.attrs.get("nodata") for band in bands),
        _days(ds["time"].values),
    )
    found = xr.apply_ufunc(
        how.probabilities,
        *(band.chunk(time=-1) if band.chunks else band for band in bands),
        input_core_dims=[["time"]] * len(bands),
        output_core_dims=[["class"]],
        dask="parallelized",
        # A probability is not stored as the bands are: their scale and offset are none of its.
        keep_attrs=False,
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={"output_sizes": {"class": len(classes)}},
    )
    probability = found.transpose("class", ...).assign_coords({"class": classes})
    seen = probability.isel({"class": 0}, drop=True).notnull()
    best = probability.fillna(0).argmax("class") + 1
    code = best.where(seen, NO_CLASS).astype(np.uint8)
    code.attrs = {
        "flag_values": [NO_CLASS, *range(1, len(classes) + 1)],
        "flag_meanings": " ".join(["no_data", *(c.replace(" ", "_") for c in classes)]),
    }
    given = georeference(ds.attrs)
    made = xr.Dataset({"class_code": code, "probability": probability}, attrs=given)
    for band in made.data_vars.values():
        band.attrs.update(given)
    return made


@dataclass(frozen=True)
class _Pixels:
    """How pixels become probabilities; what workers of a cluster get."""

    model: Classifier
    variables: tuple[str, ...]
    features: tuple[str, ...]
    nodata: tuple[float | None, ...]
    days: npt.NDArray[np.float64]

    def probabilities(self, *arrays: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Give probabilities (..., class) of the variables' arrays (..., time)."""
        columns: dict[str, npt.NDArray[np.float64]] = {}
        for name, values, nodata in zip(self.variables, arrays, self.nodata, strict=True):
            floats = values.astype(np.float64)
            if nodata is not None:
                floats[values == nodata] = np.nan
            columns |= _columns(name, floats, self.days)
        seen = np.isfinite(np.stack([columns[name] for name in self.features])).all(axis=0)
        out = np.full((*seen.shape, len(self.model.classes_)), np.nan, np.float32)
        if seen.any():
            table = pd.DataFrame({name: columns[name][seen] for name in self.features})
            out[seen] = self.model.predict_proba(table)
        return out


def _columns(
    name: str, values: npt.NDArray[np.float64], days: npt.NDArray[np.float64]
) -> dict[str, npt.NDArray[np.float64]]:
    """Give all features of a variable (..., time), by name."""
    filled = fill_gaps(values, days)
    times = range(1, filled.shape[-1] + 1)
    found = {f"{name} {n:02}": filled[..., n - 1] for n in times}
    for n in times[1:]:
        found[f"{name} {n:02}-{n - 1:02}"] = filled[..., n - 1] - filled[..., n - 2]
    return found


def _plain(variables: Sequence[str], times: int) -> list[str]:
    """Give the names of the features that are no changes."""
    return [f"{name} {n:02}" for name in variables for n in range(1, times + 1)]


def _days(time: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Give times as days since 1970."""
    return np.asarray(time).astype("datetime64[ns]").astype(np.int64) / 86_400e9


def _check_names(wanted: Sequence[str], known: Sequence[str], what: str) -> None:
    for name in wanted:
        if name not in known:
            raise UnknownNameError(
                f"no {name!r}{did_you_mean(name, known)}; {what} {', '.join(known)}"
            )


def _model_features(
    model: Classifier, variables: Sequence[str], times: int, classes: Sequence[str]
) -> tuple[str, ...]:
    """Give the features that a model was trained on, which the variables must give."""
    plain = _plain(variables, times)
    every = {f for name in variables for f in _columns(name, np.zeros(times), np.zeros(times))}
    trained = [str(name) for name in getattr(model, "feature_names_in_", plain)]
    if not {*plain} <= {*trained} <= every:
        raise InvalidValueError(
            f"the model was trained on {len(trained)} features, {trained[0]} to {trained[-1]}, "
            f"and the cube gives {len(every)} of {times} times, {plain[0]} to {plain[-1]}: give "
            "the same variables and as many times"
        )
    if len(classes) > np.iinfo(np.uint8).max:
        raise InvalidValueError(f"{len(classes)} classes do not fit in uint8")
    return tuple(trained)
