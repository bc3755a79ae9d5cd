"""Spectral indices of bands with nodata."""

from __future__ import annotations

from typing import Any

import numexpr
import numpy as np
import numpy.typing as npt


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
