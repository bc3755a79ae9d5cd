"""`smooth`: Whittaker's smoother over time, across gaps."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from whittaker_eilers import WhittakerSmoother

from odc_bdc.errors import InvalidValueError

_Series = TypeVar("_Series", pd.DataFrame, xr.Dataset, xr.DataArray)

_KEYS = ("point", "polygon", "variable")
"""Columns of a table that tell series apart."""

_NOT_SMOOTHED = {*_KEYS, "time", "longitude", "latitude", "std", "count", "valid_fraction"}


def smooth(series: _Series, *, lmbda: float, order: int = 2) -> _Series:
    """Smooth over time, and fill gaps, by the smoother of Whittaker.

    Of a series y it gives the z that makes ``sum(w (y - z)**2) + lmbda * sum(diff(z, order)**2)``
    least, where w is 0 in gaps (NaN) and else 1.

    Parameters
    ----------
    series
        What `timeseries` gives, table or xarray, of points or polygons; or any Dataset or DataArray
        with a dimension ``time``. Times count as steps of equal length. All numbers are smoothed:
        leave codes, such as those of quality, out.
    lmbda
        How smooth, above 0: 10 follows a series of 16 days closely, 1000 keeps the season only.
    order
        Of the differences that are kept small, 1 to 4.

    Returns
    -------
    pandas.DataFrame, xarray.Dataset or xarray.DataArray
        The same, its numbers smoothed (float64) and without gaps; of polygons the ``mean`` only. A
        series that has data at fewer times than `order` stays as it is.

    Raises
    ------
    InvalidValueError
        If `lmbda` or `order` is out of range, or there is no time.

    Notes
    -----
    Eilers (2003), "A perfect smoother", doi:10.1021/ac034173t.
    """
    if not (np.isfinite(lmbda) and lmbda > 0):
        raise InvalidValueError(f"lmbda {lmbda!r} is not above 0; try 10 to 1000")
    if order not in range(1, 5):
        raise InvalidValueError(f"order {order!r} is not one of 1, 2, 3 and 4")
    how = _Smoother(float(lmbda), int(order))
    if isinstance(series, pd.DataFrame):
        return how.table(series)
    if not isinstance(series, xr.Dataset | xr.DataArray):
        raise InvalidValueError(
            f"{type(series).__name__} cannot be smoothed; give what `timeseries` gives"
        )
    if "time" not in series.dims:
        raise InvalidValueError("there is no dimension time to smooth along")
    if isinstance(series, xr.DataArray):
        return how.array(series)
    names = [n for n, one in series.data_vars.items() if "time" in one.dims]
    if "valid_fraction" in names:
        names = ["mean"]
    return series.assign({name: how.array(series[name]) for name in names})


class _Smoother:
    def __init__(self, lmbda: float, order: int) -> None:
        self._lmbda, self._order = lmbda, order

    def table(self, table: pd.DataFrame) -> pd.DataFrame:
        if "time" not in table.columns:
            raise InvalidValueError("the table has no column time to smooth along")
        keys = [name for name in _KEYS if name in table.columns]
        names = [
            n
            for n in table.columns
            if n not in _NOT_SMOOTHED and pd.api.types.is_numeric_dtype(table[n])
        ]
        out = table.copy()
        for name in names:
            out[name] = table[name].astype(np.float64)
        ordered = np.argsort(table["time"].to_numpy(), kind="stable")
        numbers = (
            table.groupby(keys, sort=False, dropna=False).ngroup().to_numpy()
            if keys
            else np.zeros(len(table), int)
        )
        ordered = ordered[np.argsort(numbers[ordered], kind="stable")]
        starts = np.flatnonzero(np.diff(numbers[ordered], prepend=-1))
        for name in names:
            values = out[name].to_numpy(copy=True)
            for at in np.split(ordered, starts[1:]):
                values[at] = self.one(values[at])
            out[name] = values
        return out

    def array(self, band: xr.DataArray) -> xr.DataArray:
        values = _as_float(band)
        done: Any = xr.apply_ufunc(
            self.last_axis,
            values.chunk({"time": -1}) if values.chunks else values,
            input_core_dims=[["time"]],
            output_core_dims=[["time"]],
            dask="parallelized",
            output_dtypes=[np.float64],
            keep_attrs=True,
        )
        found: xr.DataArray = done.transpose(*band.dims)
        return found

    def last_axis(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        rows = values.reshape(-1, values.shape[-1])
        made = np.stack([self.one(row) for row in rows]) if len(rows) else rows
        return made.reshape(values.shape)

    def one(self, y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Smooth one series."""
        known = np.isfinite(y)
        if known.sum() < self._order or len(y) <= self._order:
            return y
        smoother = WhittakerSmoother(
            self._lmbda, self._order, len(y), weights=known.astype(float).tolist()
        )
        return np.asarray(smoother.smooth(np.where(known, y, 0.0).tolist()), dtype=np.float64)


def _as_float(band: xr.DataArray) -> xr.DataArray:
    """Give a band as float64, NaN for nodata."""
    nodata = band.attrs.get("nodata")
    values = band.astype(np.float64)
    if nodata is not None and not np.isnan(nodata):
        values = values.where(band != nodata)
        values.attrs = {**band.attrs, "nodata": np.nan}
    return values
