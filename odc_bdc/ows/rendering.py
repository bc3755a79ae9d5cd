"""Functions that the configuration names, and datacube-ows calls to draw an image.

They take an `xarray.Dataset` of the pixels as stored, (time, y, x) or (y, x). Encodings come as
pairs of name and value, for a configuration is plain data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from odc_bdc.cube import Encoding
from odc_bdc.indices import index_band
from odc_bdc.quality import QualityPolicy
from odc_bdc.spectral_index import REFLECTANCE_ONE, spectral_index

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import xarray as xr

    BandMapper = Callable[[str], str]

_INDEX = Encoding("float32")


def has_data(data: xr.Dataset, band: str) -> xr.DataArray:
    """Tell where a band has data; its attribute ``nodata`` may be NaN.

    Returns
    -------
    xarray.DataArray
        bool, the band's shape.
    """
    nodata = data[band].attrs["nodata"]
    return data[band].notnull() if np.isnan(nodata) else data[band] != nodata


def index_values(
    data: xr.Dataset,
    *,
    index: str,
    bands: Mapping[str, Mapping[str, Any]],
    band_mapper: BandMapper,
) -> xr.DataArray:
    """Compute a spectral index from reflectances.

    Parameters
    ----------
    index
        Name as of `odc_bdc.spectral_index.spectral_index`.
    bands
        Attributes of the `Encoding` of each band that enters, by common name.
    band_mapper
        Gives the name in `data` of a band's label.

    Returns
    -------
    xarray.DataArray
        float32; NaN where a band has no data or the formula no value.
    """
    names = {name: band_mapper(str(known["label"])) for name, known in bands.items()}
    values = index_band(
        spectral_index(index),
        {name: data[own].values for name, own in names.items()},
        {name: _encoding(known) for name, known in bands.items()},
        _INDEX,
    )
    like = data[next(iter(names.values()))]
    return like.copy(data=values)


def stored_values(
    data: xr.Dataset, *, band: Mapping[str, Any], band_mapper: BandMapper
) -> xr.DataArray:
    """Give the physical values of a band: float32, NaN where it has no data."""
    known, stored = _encoding(band), data[band_mapper(str(band["label"]))]
    values = stored.values.astype(np.float32)
    scaled = values * np.float32(known.scale or 1) + np.float32(known.offset or 0)
    if known.nodata is not None:
        scaled[stored.values == known.nodata] = np.nan
    return stored.copy(data=scaled)


def difference(values: xr.DataArray) -> xr.DataArray:
    """Give the second of two times minus the first, in the order in which they were asked for."""
    return values.isel(time=1, drop=True) - values.isel(time=0, drop=True)


def amplitude(values: xr.DataArray) -> xr.DataArray:
    """Give the largest value of all times minus the smallest; NaN where less than two have data."""
    spread = values.max("time") - values.min("time")
    return spread.where(values.notnull().sum("time") >= 2)


def quality_classes(
    data: xr.Dataset, *, policy: Mapping[str, Any], band_mapper: BandMapper
) -> xr.DataArray:
    """Say what each pixel of a quality band is: 0 no data, 1 not clear, 2 clear (uint8).

    Parameters
    ----------
    policy
        The YAML form of a `QualityPolicy`. A band of saturation is not looked at, for images hold
        none.
    """
    rule = QualityPolicy.from_dict({k: v for k, v in policy.items() if k != "saturation"})
    codes = data[band_mapper(rule.band)]
    return codes.copy(data=rule.classify(codes.values))


def stored_codes(data: xr.Dataset, *, band: str, band_mapper: BandMapper) -> xr.DataArray:
    """Give a band of codes as it is."""
    return data[band_mapper(band)]


def stubble_burning(
    data: xr.Dataset, *, bands: Mapping[str, Mapping[str, Any]], band_mapper: BandMapper
) -> xr.DataArray:
    """Tell where stubble has been burnt: 1 there, 0 elsewhere and where a band has no data.

    Burnt is what is dark from red to near infrared, and not so in the shortwave infrared: in
    ten-thousandths B04 < 1000, B06 < 1200, B08 < 1200 and 500 < B11 < 1600 of Sentinel-2. The
    borders themselves are not burnt.

    Parameters
    ----------
    bands
        As of `index_values`, for ``red``, ``rededge2``, ``nir`` and ``swir16``.

    Returns
    -------
    xarray.DataArray
        uint8.
    """
    values = {
        name: stored_values(data, band=known, band_mapper=band_mapper)
        for name, known in bands.items()
    }
    # NaN is neither below nor above anything. Rounded, for 1000 * 1e-4 is not 0.1 in float32.
    red, edge, nir, swir = (
        np.rint(values[name].values * REFLECTANCE_ONE)
        for name in ("red", "rededge2", "nir", "swir16")
    )
    burnt = (red < 1000) & (edge < 1200) & (nir < 1200) & (swir > 500) & (swir < 1600)
    return values["red"].copy(data=burnt.astype(np.uint8))


def _encoding(known: Mapping[str, Any]) -> Encoding:
    return Encoding(**{key: value for key, value in known.items() if key != "label"})
