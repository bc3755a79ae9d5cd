"""Bands of a loaded dataset by any of their names, and how they store reflectance."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import xarray as xr

from odc_bdc.cube import Encoding
from odc_bdc.errors import InvalidValueError, UnknownNameError, did_you_mean
from odc_bdc.product import shipped_measurements, shipped_products


def find_band(ds: xr.Dataset, name: str) -> str:
    """Give the name that a dataset has for a band.

    Parameters
    ----------
    name
        The band's own, or an alias or common name such as ``red``: one that `nb.load` has noted
        among the band's attributes, or else one that the product documents of odc_bdc agree on.

    Raises
    ------
    UnknownNameError
        If there is no such band; the message lists those there are.
    """
    if name in ds.data_vars:
        return name
    known = _noted(ds) or _of_products(ds)
    if name in known:
        return known[name]
    have = [str(n) for n in ds.data_vars]
    raise UnknownNameError(
        f"there is no band {name!r}{did_you_mean(name, [*have, *known])}; the dataset has "
        f"{', '.join(have) or 'none'}"
    )


def _noted(ds: xr.Dataset) -> dict[str, str]:
    """Give what bands are called by their own attributes."""
    return {
        str(alias): str(name)
        for name, band in ds.data_vars.items()
        for alias in band.attrs.get("aliases", ())
    }


def _of_products(ds: xr.Dataset) -> dict[str, str]:
    """Give aliases by the shipped products that have all the bands, as far as they agree."""
    names = frozenset(str(n) for n in ds.data_vars)
    said = ds.attrs.get("product")
    documents = [shipped_measurements(said)] if said else _shipped()
    meanings: dict[str, set[str]] = {}
    for measurements in documents:
        if said is None and not names <= measurements.keys():
            continue
        for name in names & measurements.keys():
            for alias in measurements[name].get("aliases", ()):
                meanings.setdefault(alias, set()).add(name)
    return {alias: found.pop() for alias, found in meanings.items() if len(found) == 1}


@cache
def _shipped() -> tuple[Mapping[str, Any], ...]:
    return tuple(
        {m["name"]: m for m in document["measurements"]} for document in shipped_products().values()
    )


def encoding_of(band: xr.DataArray) -> Encoding:
    """Tell by a band's attributes how it stores its values.

    Floating numbers without a scale are taken as they are.
    """
    nodata = band.attrs.get("nodata", band.attrs.get("_FillValue"))
    if nodata is not None and np.isnan(nodata):
        nodata = None
    scale, offset = band.attrs.get("scale_factor"), band.attrs.get("add_offset")
    if scale is None and band.dtype.kind == "f":
        scale = 1.0
    return Encoding(str(band.dtype), nodata, scale, offset or None)


def fill_value(band: xr.DataArray) -> Any:
    """Give what stands in a band where there is no data.

    Raises
    ------
    InvalidValueError
        If it is of integers and has no nodata value.
    """
    nodata = encoding_of(band).nodata
    if nodata is not None:
        return band.dtype.type(nodata)
    if band.dtype.kind == "f":
        return band.dtype.type(np.nan)
    raise InvalidValueError(
        f"band {band.name} has no attribute nodata; give it one: "
        f"ds[{str(band.name)!r}].attrs['nodata'] = ..."
    )
