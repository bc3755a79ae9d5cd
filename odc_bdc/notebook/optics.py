"""Reflectances and spectral indices of loaded bands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from odc_bdc.cube import Encoding
from odc_bdc.errors import UnknownNameError
from odc_bdc.grid import georeference
from odc_bdc.indices import index_band
from odc_bdc.notebook.bands import encoding_of, find_band
from odc_bdc.spectral_index import spectral_index


def index_of(
    ds: xr.Dataset, name: str, constants: Mapping[str, float] | None = None
) -> xr.DataArray:
    """Compute a spectral index of a dataset's bands."""
    index = spectral_index(name, constants)
    try:
        names = [find_band(ds, band) for band in index.bands]
    except UnknownNameError as e:
        raise UnknownNameError(f"{index.name} needs {', '.join(index.bands)}: {e}") from None
    encodings = {b: encoding_of(ds[n]) for b, n in zip(index.bands, names, strict=True)}

    def compute(*pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        bands = dict(zip(index.bands, pixels, strict=True))
        return index_band(index, bands, encodings, Encoding("float32"))

    out: xr.DataArray = xr.apply_ufunc(
        compute, *(ds[n] for n in names), dask="parallelized", output_dtypes=[np.float32]
    )
    return out.rename(index.name).assign_attrs(
        long_name=index.title,
        units="1",
        nodata=np.nan,
        **georeference(ds[names[0]].attrs),
    )


def reflectances(ds: xr.Dataset) -> xr.Dataset:
    """Give a dataset with bands that have a scale as reflectance."""
    return ds.assign(
        {
            name: _reflectance(band)
            for name, band in ds.data_vars.items()
            if "scale_factor" in band.attrs
        }
    )


def _reflectance(band: xr.DataArray) -> xr.DataArray:
    known = encoding_of(band)
    # In float64 first: a scale is no number of float32.
    values = band.astype(np.float64) * (known.scale or 1.0) + (known.offset or 0.0)
    if known.nodata is not None:
        values = values.where(band != known.nodata)
    out = values.astype(np.float32)
    left = {k: v for k, v in band.attrs.items() if k not in ("scale_factor", "add_offset")}
    out.attrs = {**left, "nodata": np.nan, "units": "1"}
    return out
