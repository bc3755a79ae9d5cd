"""Masks by the quality band."""

from __future__ import annotations

import xarray as xr

from odc_bdc.compositing import quality_classes
from odc_bdc.cube import CubeSpec, find_cube, shipped_cubes
from odc_bdc.errors import InvalidValueError
from odc_bdc.notebook.bands import fill_value, find_band
from odc_bdc.quality import CLEAR, QualityPolicy


def masked(ds: xr.Dataset, quality: QualityPolicy | CubeSpec | str | None) -> xr.Dataset:
    """Give a dataset whose bands are nodata where its quality is not clear."""
    policy = _policy(ds, quality)
    policy = policy.rename({name: find_band(ds, name) for name in policy.bands})
    clear = quality_classes(ds, policy) == CLEAR
    out = {}
    for name, band in ds.data_vars.items():
        if name not in policy.bands and set(clear.dims) <= set(band.dims):
            out[name] = band.where(clear, fill_value(band))
            out[name].attrs = band.attrs
    return ds.assign(out)


def _policy(ds: xr.Dataset, quality: QualityPolicy | CubeSpec | str | None) -> QualityPolicy:
    if isinstance(quality, QualityPolicy):
        return quality
    product = ds.attrs.get("product")
    if quality is not None:
        cube = find_cube(quality) if isinstance(quality, str) else quality
        return _of_source(cube, product) or (
            cube.quality if len(cube.sources) != 1 else cube.sources[0].quality
        )
    if product is not None and product in shipped_cubes():
        return shipped_cubes()[product].quality
    found = next((p for c in shipped_cubes().values() if (p := _of_source(c, product))), None)
    if found is None:
        raise InvalidValueError(
            "which pixels are clear is not known: give a QualityPolicy, or the name of a cube "
            "that is made of such scenes"
        )
    return found


def _of_source(cube: CubeSpec, product: str | None) -> QualityPolicy | None:
    """Give the policy of a cube's source."""
    return next((s.quality for s in cube.sources if s.product == product), None)
