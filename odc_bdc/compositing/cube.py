"""A cube's definition applied to an `xarray.Dataset` of scenes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from odc_bdc.compositing.block import Mask
from odc_bdc.compositing.checking import CLASSES
from odc_bdc.compositing.dataset import composite, quality_classes, widened
from odc_bdc.compositing.encoding import convert_encoding
from odc_bdc.compositing.joining import DILATION, join_passes
from odc_bdc.cube import CubeSpec, Encoding, IndexBand, Measurement, Source, conversion_fault
from odc_bdc.errors import InvalidValueError, OdcBdcError, UnknownNameError
from odc_bdc.grid import georeference
from odc_bdc.indices import index_band
from odc_bdc.plugins import MASKS, plugin

_MARK = "harmonised_for"
"""Attribute of a dataset that says which cube's terms it is in."""


def harmonise(ds: xr.Dataset, cube: CubeSpec, source: str | None = None) -> xr.Dataset:
    """Give scenes in a cube's terms: its names, types, nodata values, scales and quality codes.

    Parameters
    ----------
    ds
        Scenes of one product as `dc.load` gives them, dims (time, y, x), eager or dask:
        measurements under the product's names, with ``nodata``, ``scale_factor`` and
        ``add_offset`` among their attributes as far as the product has them.
    source
        Which of the cube's sources the product is; may be left out if there is only one.

    Returns
    -------
    xarray.Dataset
        The cube's measurements in their order. If the cube tells satellites apart, also the
        coordinate ``datasource`` along time.

    Raises
    ------
    UnknownNameError
        If `source` is not a product of the cube.
    InvalidValueError
        If `ds` lacks a band.
    """
    origin = _source(cube, source)
    out = {}
    for m in cube.measurements:
        name = origin.band(m.name)
        if name not in ds.data_vars:
            known = ", ".join(str(n) for n in ds.data_vars)
            raise InvalidValueError(
                f"the scenes lack band {name!r} of product {origin.product}; they have {known}"
            )
        out[m.name] = _converted(ds[name], m, cube, origin)
    if needs_classes(cube):
        # Widened when scenes of one pass are joined: clouds reach over seams.
        gaps = cube.is_masked_by_gaps(origin)
        told, policy = (xr.Dataset(out), cube.quality.by_code) if gaps else (ds, origin.quality)
        out[CLASSES] = quality_classes(told, replace(policy, dilation=0))
    return in_terms_of(cube, xr.Dataset(out, attrs=ds.attrs), [origin] * ds.sizes["time"])


def in_terms_of(cube: CubeSpec, ds: xr.Dataset, sources: Sequence[Source]) -> xr.Dataset:
    """Say of scenes which cube's terms they are in, and what must be known of each.

    Parameters
    ----------
    ds
        The cube's measurements, converted, and `CLASSES`, not widened yet, if the cube needs them.
    sources
        Of each time.
    """
    known = {}
    if needs_classes(cube):
        known[DILATION] = "time", np.array([s.quality.margin for s in sources], int)
    if len(cube.platforms) > 1:
        known["datasource"] = "time", np.array([cube.datasource(s) for s in sources], "uint8")
    return ds.assign_coords(known).assign_attrs({_MARK: cube.name})


def composite_cube(
    ds: xr.Dataset,
    cube: CubeSpec,
    *,
    join: bool = True,
    order: Sequence[int] | None = None,
    threads: int = 1,
) -> xr.Dataset:
    """Composite scenes as a cube's definition says: the pixels that a built cube has.

    Parameters
    ----------
    ds
        Scenes from `odc_bdc.load_scenes`, or from `harmonise`; those of several sources put
        together along time. Those of a cube's only source may come as `dc.load` gives them.
    join
        Whether the scenes of one day (UTC) and satellite are one observation, as when a cube is
        built: in order of time, then as they are given, each overwrites the earlier ones wherever
        it is seen (data in all bands, quality not nodata). Without it each is one of its own.
    order, threads
        As of `odc_bdc.composite`; `order` is of the observations, after they are joined.

    Returns
    -------
    xarray.Dataset
        The cube's outputs in their order; time holds the starts of the periods. Indices are
        computed from the finished composite: int16 ten-thousandths, -9999 where there is no data,
        or float32, NaN where there is none, as the cube says.

    Raises
    ------
    InvalidValueError
        If `ds` is not as described.
    """
    if ds.attrs.get(_MARK) != cube.name:
        if len(cube.sources) > 1:
            raise InvalidValueError(
                f"cube {cube.name} has several sources ({', '.join(cube.products)}): give each "
                "one's scenes to `harmonise`, and join them along time"
            )
        ds = harmonise(ds, cube)
    image = composite(
        _widened(join_passes(ds, cube) if join else ds),
        function=cube.function.to_dict(),
        quality=cube.quality,
        timeline=cube.timeline,
        rounding=cube.rounding,
        order=order,
        common=cube.common,
        mask=load_mask(cube.mask),
        threads=threads,
    )
    for band in cube.indices:
        image[band.measurement.name] = _index(image, cube, band)
    del image.attrs[_MARK]
    return image[[m.name for m in cube.outputs]]


def _widened(ds: xr.Dataset) -> xr.Dataset:
    """Widen what is not clear, where the classes of observations are known, as far as is still due.

    The sources of a cube may say different distances.
    """
    if DILATION not in ds.coords:
        return ds
    due = ds.coords[DILATION].values.tolist()
    ds = ds.drop_vars(DILATION)
    if len(set(due)) == 1:
        return ds.assign({CLASSES: widened(ds[CLASSES], due[0])})
    parts = [widened(ds[CLASSES].isel(time=[at]), radius) for at, radius in enumerate(due)]
    return ds.assign({CLASSES: xr.concat(parts, "time")})


def recode_quality(
    quality: npt.NDArray[Any], source: Source, cube: CubeSpec, stored: Encoding
) -> npt.NDArray[Any]:
    """Give a quality band in the cube's values; as it is, where its source has the same.

    Parameters
    ----------
    quality
        Integer array of any shape, or any band of a source without a quality band.
    source
        What its policy says of a second band or of neighbours does not enter here, but into the
        classes of observations (`needs_classes`).
    stored
        How the source stores the band.

    Returns
    -------
    numpy.ndarray
        Same shape, the dtype of the cube's quality band.
    """
    wanted, said_by = cube.quality_measurement, source.quality
    if cube.is_masked_by_gaps(source):
        return _data_mask(quality, stored, cube)
    if said_by.same_codes(cube.quality):
        return quality.astype(wanted.dtype, copy=False)
    return said_by.by_code.recode(quality, cube.quality, wanted.dtype)


def _data_mask(band: npt.NDArray[Any], stored: Encoding, cube: CubeSpec) -> npt.NDArray[Any]:
    """Say where a band has data in the codes of a cube's quality band."""
    has_data = np.isfinite(band)
    if stored.nodata is not None:
        has_data &= band != stored.nodata
    wanted, codes = cube.quality_measurement, cube.quality
    none = int(wanted.encoding.missing)
    # Of a mask by bits any number that is not nodata is clear.
    clear = codes.clear[0] if codes.clear and not codes.bits else int(none == 0)
    return np.where(has_data, clear, none).astype(wanted.dtype)


def needs_classes(cube: CubeSpec) -> bool:
    """Tell if the pixels of a quality band alone do not say what an observation is."""
    return any(s.quality.saturation or s.quality.margin for s in cube.sources)


def load_mask(mask: str | Mask | None) -> Mask | None:
    """Give a cube's mask function, by the name of its entry point of `odc_bdc.plugins.MASKS`.

    Raises
    ------
    UnknownNameError
        If none is installed under this name.
    InvalidValueError
        If it cannot be imported.
    """
    if mask is None or callable(mask):
        return mask
    try:
        found: Mask = plugin(MASKS, mask)
    except OdcBdcError as e:
        raise type(e)(f"mask {e}") from e
    return found


def index_pixels(
    image: Mapping[str, npt.NDArray[Any]], cube: CubeSpec, band: IndexBand
) -> npt.NDArray[Any]:
    """Compute a cube's spectral index from the finished bands, which share one shape."""
    bands = {common: image[name] for common, name in band.bands}
    encodings = {common: cube.measurement(name).encoding for common, name in band.bands}
    return index_band(band.index, bands, encodings, band.measurement.encoding)


def _source(cube: CubeSpec, product: str | None) -> Source:
    if product is None and len(cube.sources) == 1:
        return cube.sources[0]
    found = next((s for s in cube.sources if s.product == product), None)
    if found is None:
        known = ", ".join(cube.products)
        raise UnknownNameError(f"cube {cube.name} has no source {product!r}; it has {known}")
    return found


def _stored(band: xr.DataArray, measurement: Measurement) -> Encoding:
    """Give how a band of loaded scenes stores its values; what it does not say is the cube's."""
    nodata = None if band.dtype.kind == "f" else measurement.nodata
    said = {"dtype": band.dtype.name, "nodata": nodata, **band.attrs}
    stored = Encoding.from_odc(said)
    if stored.unit is None:
        return replace(stored, scale=measurement.scale, offset=measurement.offset)
    return stored


def _converted(
    band: xr.DataArray, measurement: Measurement, cube: CubeSpec, source: Source
) -> xr.DataArray:
    stored = _stored(band, measurement)
    if measurement.name == cube.quality.band:
        convert: Any = partial(recode_quality, source=source, cube=cube, stored=stored)
    else:
        if fault := conversion_fault(stored, measurement):
            raise InvalidValueError(f"band {band.name}: {fault}")
        convert = partial(convert_encoding, stored=stored, wanted=measurement.encoding)
    out = xr.apply_ufunc(
        convert, band, dask="parallelized", output_dtypes=[np.dtype(measurement.dtype)]
    )
    return describe_band(out, measurement, band.attrs)


def _index(image: xr.Dataset, cube: CubeSpec, band: IndexBand) -> xr.DataArray:
    names = [name for _, name in band.bands]

    def compute(*pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return index_pixels(dict(zip(names, pixels, strict=True)), cube, band)

    out = xr.apply_ufunc(
        compute,
        *(image[name] for name in names),
        dask="parallelized",
        output_dtypes=[np.dtype(band.measurement.dtype)],
    )
    return describe_band(out, band.measurement, image[names[0]].attrs)


def describe_band(
    out: xr.DataArray, measurement: Measurement, given: dict[Hashable, Any]
) -> xr.DataArray:
    """Give a band the attributes that `dc.load` would, with the CRS of another.

    Parameters
    ----------
    given
        Attributes of the other.
    """
    said = {k: v for k, v in measurement.to_odc().items() if k not in ("name", "dtype", "aliases")}
    if measurement.missing is None:
        del said["nodata"]
    out.attrs = {**said, **georeference(given)}
    return out
