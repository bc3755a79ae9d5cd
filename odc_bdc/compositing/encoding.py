"""Values that one band stores in one way, stored in another."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from odc_bdc.cube import Encoding

_LARGEST = 2**31
"""Multiplier up to which a product with a 32-bit value fits into 64 bits."""


def convert_encoding(
    values: npt.NDArray[Any], stored: Encoding, wanted: Encoding
) -> npt.NDArray[Any]:
    """Give pixels in the type, nodata value, scale and offset of another band.

    Parameters
    ----------
    values
        Integer array of any shape, as `stored` says.
    stored, wanted
        Where one of the two gives no scale, values keep their numbers.

    Returns
    -------
    numpy.ndarray
        Same shape, the dtype of `wanted`; nodata (0 if it has none) where there was nodata. What
        lies between two numbers is cut toward zero and what lies outside of the type's range is
        set to its end, as cube-builder does; negative reflectances stay (Landsat Collection 2 and
        Sentinel-2 from baseline 04.00 on have them).

    Notes
    -----
    Computed with the decimal numbers as they are written, in whole numbers: 0.1003 - 0.1 is 0.0003
    here, which floating point would cut to 0.0002.

    Examples
    --------
    >>> from odc_bdc.cube import Encoding
    >>> landsat, bdc = Encoding("uint16", 0, 2.75e-5, -0.2), Encoding("int16", -9999, 1e-4)
    >>> convert_encoding(np.array([17834, 0], "uint16"), landsat, bdc)
    array([ 2904, -9999], dtype=int16)
    """
    if stored == wanted:
        return values
    info = np.iinfo(wanted.dtype)
    converted = _convert(values.astype(np.int64), stored, wanted)
    out: npt.NDArray[Any] = np.clip(converted, info.min, info.max).astype(wanted.dtype)
    if stored.nodata is not None:
        out[values == stored.nodata] = wanted.nodata or 0
    return out


def _convert(values: npt.NDArray[np.int64], stored: Encoding, wanted: Encoding) -> npt.NDArray[Any]:
    if not (stored.scale and wanted.scale):
        return values
    unit = Fraction(str(wanted.scale))
    factor = Fraction(str(stored.scale)) / unit
    shift = (Fraction(str(stored.offset or 0)) - Fraction(str(wanted.offset or 0))) / unit
    parts = math.lcm(factor.denominator, shift.denominator)
    times, plus = int(factor * parts), int(shift * parts)
    if max(abs(times), abs(plus), parts) > _LARGEST:
        # Scales of many digits: no rounding of them is more right than that of float64.
        rounded: npt.NDArray[Any] = np.trunc(values * float(factor) + float(shift))
        return rounded
    exact = values * times + plus
    cut: npt.NDArray[Any] = np.sign(exact) * (np.abs(exact) // parts)
    return cut
