"""What `composite` asks of a dataset of scenes."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from odc_bdc.compositing.block import CompositeBlock
from odc_bdc.compositing.kernels import DTYPES
from odc_bdc.errors import InvalidValueError
from odc_bdc.function import check_rounding

CLASSES = "quality_class"
"""Name of a variable with the class of each observation (`odc_bdc.quality.CLEAR` and so on), which
is believed over the quality band."""

_DIMS = ("time", "y", "x")


def check_scenes(ds: xr.Dataset, how: CompositeBlock) -> None:
    """See that scenes can be composited as wished.

    Raises
    ------
    InvalidValueError
        If a band is missing, or dims, types or nodata values do not fit.
    """
    if how.rounding is not None:
        check_rounding(how.rounding)
    _check_quality(ds, how)
    others = {CLASSES, *how.quality.bands}
    bands = {str(name): da for name, da in ds.data_vars.items() if name not in others}
    if not bands:
        raise InvalidValueError("the dataset holds no band besides the quality band")
    dims = ds[how.quality.band].dims
    for name, band in bands.items():
        if band.dims != dims:
            raise InvalidValueError(f"band {name}: dims {band.dims}, not {dims}")
        _check_values(name, band.dtype, how)
    for common, name in how.common.items():
        if name not in bands:
            raise InvalidValueError(
                f"{how.function.name} needs band {common!r}: give its name, "
                f"common={{{common!r}: ...}}"
            )


def _check_quality(ds: xr.Dataset, how: CompositeBlock) -> None:
    known = ", ".join(str(n) for n in ds.data_vars)
    needed = how.quality.bands[:1] if CLASSES in ds.data_vars else how.quality.bands
    for name in needed:
        if name not in ds.data_vars:
            raise InvalidValueError(f"quality band {name!r} is not in the dataset: {known}")
        if ds[name].dtype.kind not in "iu":
            raise InvalidValueError(
                f"band {name}: dtype {ds[name].dtype}; a quality band holds integers"
            )
    reference = ds[how.quality.band]
    if reference.ndim != 3 or reference.dims[0] != "time":
        raise InvalidValueError(f"dims are {reference.dims}, not {_DIMS}")
    if ds.sizes["time"] == 0:
        raise InvalidValueError("the dataset holds no scene: its time is empty")


def _check_values(name: str, dtype: np.dtype[Any], how: CompositeBlock) -> None:
    if dtype.name not in DTYPES:
        raise InvalidValueError(f"band {name}: dtype {dtype} is not one of {', '.join(DTYPES)}")
    nodata = how.nodata[name]
    if nodata is not None and dtype.kind in "iu":
        info = np.iinfo(dtype)
        if not info.min <= nodata <= info.max:
            raise InvalidValueError(f"band {name}: nodata {nodata} does not fit {dtype}")
