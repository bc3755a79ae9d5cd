"""Spectral indices of bands with nodata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numexpr
import numpy as np
import numpy.typing as npt

from odc_bdc.spectral_index import REFLECTANCE_ONE, SpectralIndex

if TYPE_CHECKING:
    from collections.abc import Mapping

    from odc_bdc.cube import Encoding

_STORED_ONE = 10000
"""What an index of 1 is as the BDC stores it."""


def ndvi(
    red: npt.NDArray[Any], nir: npt.NDArray[Any], nodata: int | None = None
) -> npt.NDArray[np.float32]:
    """Compute the normalised difference vegetation index, ``(nir - red) / (nir + red)``.

    Parameters
    ----------
    red, nir
        Reflectances of one shape, any real dtype and scale (Rouse et al., 1974).
    nodata
        Value of either band that means no data; None if there is none.

    Returns
    -------
    numpy.ndarray
        float32, same shape; NaN where a band has no data or both are zero.
    """
    # Unsigned bands would wrap below zero: the difference is taken in float.
    r, n = red.astype(np.float32), nir.astype(np.float32)
    out: npt.NDArray[np.float32] = numexpr.evaluate(
        "where(r + n != 0, (n - r) / where(r + n != 0, r + n, 1), nan)",
        local_dict={"r": r, "n": n, "nan": np.float32(np.nan)},
        casting="same_kind",
    ).astype(np.float32)
    if nodata is not None:
        out[(red == nodata) | (nir == nodata)] = np.nan
    return out


def index_band(
    index: SpectralIndex,
    bands: Mapping[str, npt.NDArray[Any]],
    encodings: Mapping[str, Encoding],
    wanted: Encoding,
) -> npt.NDArray[Any]:
    """Compute a spectral index as the BDC stores it: ten-thousandths, cut toward zero.

    Parameters
    ----------
    bands
        Integer arrays of one shape by the common names in the index's formula.
    encodings
        How each stores reflectance; without a scale, as ten-thousandths.
    wanted
        Type and nodata value of the result.

    Returns
    -------
    numpy.ndarray
        Same shape. Nodata where a band has none, or the formula divides by zero. Values beyond the
        type's range are set to its end; EVI may exceed 1, as it does in the BDC's cubes.

    Notes
    -----
    In float64, so that an index which is a whole number of ten-thousandths stays that number.
    """
    has_data = np.ones(next(iter(bands.values())).shape, dtype=bool)
    reflectances = {}
    for name, values in bands.items():
        known = encodings[name]
        if known.nodata is not None:
            has_data &= values != known.nodata
        times = (known.scale or 1 / REFLECTANCE_ONE) * REFLECTANCE_ONE
        plus = (known.offset or 0) * REFLECTANCE_ONE
        reflectances[name] = values * np.float64(times) + plus
    below = numexpr.evaluate(index.denominator, local_dict=reflectances)
    above = numexpr.evaluate(index.numerator, local_dict=reflectances)
    has_data &= below != 0
    ratio = _STORED_ONE * above / np.where(has_data, below, 1)
    info = np.iinfo(wanted.dtype)
    out: npt.NDArray[Any] = np.clip(np.trunc(ratio), info.min, info.max).astype(wanted.dtype)
    out[~has_data] = wanted.nodata or 0
    return out
