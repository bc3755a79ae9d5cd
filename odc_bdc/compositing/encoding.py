"""Values that one band stores in one way, stored in another."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from odc_bdc.cube import Encoding

_TABLED = 2
"""Bytes of the integer types of which all values are worked out once."""

_EXACT = 2**53
"""Whole numbers up to this are float64 as they are."""


def convert_encoding(
    values: npt.NDArray[Any], stored: Encoding, wanted: Encoding
) -> npt.NDArray[Any]:
    """Give pixels in the type, nodata value, scale and offset of another band.

    Parameters
    ----------
    values
        Array of any shape, of integers or floating point, as `stored` says.
    stored, wanted
        Where one of the two gives no scale, values keep their numbers; a floating band without a
        scale stores physical values, as one with scale 1 does.

    Returns
    -------
    numpy.ndarray
        Same shape, the dtype of `wanted`. Its nodata (NaN in a floating type that has none, 0 in
        an integer one) where there was nodata, and where a value is not finite. Of integers, what
        lies between two numbers is cut toward zero, as cube-builder does; of floating point it is
        rounded to the nearest, half to even: cutting would put half of float32's ten-thousandths
        one too low. What lies outside of the type's range is set to its end, never wrapped, and a
        value that comes to equal nodata is moved by one. Negative reflectances stay (Landsat
        Collection 2 and Sentinel-2 from baseline 04.00 on have them).

    Notes
    -----
    Scales and offsets are the decimal numbers as they are written, and results those of exact
    arithmetic: 0.1003 - 0.1 is 0.0003 here, which floating point would cut to 0.0002.

    Examples
    --------
    >>> from odc_bdc.cube import Encoding
    >>> landsat, bdc = Encoding("uint16", 0, 2.75e-5, -0.2), Encoding("int16", -9999, 1e-4)
    >>> convert_encoding(np.array([17834, 0], "uint16"), landsat, bdc)
    array([ 2904, -9999], dtype=int16)
    >>> convert_encoding(np.array([0.1234, np.nan], "float32"), Encoding("float32"), bdc)
    array([ 1234, -9999], dtype=int16)
    """
    kind = values.dtype
    if kind.kind == "f":
        return _of_floats(values, stored, wanted)
    if stored == wanted and kind == wanted.dtype:
        return values
    if kind.itemsize > _TABLED:
        return _of_integers(values, stored, wanted)
    low = int(np.iinfo(kind).min)
    table = _table(kind.name, stored, wanted)
    return table[values] if low == 0 else table[values.astype(np.int32) - low]


@lru_cache(maxsize=64)
def _table(kind: str, stored: Encoding, wanted: Encoding) -> npt.NDArray[Any]:
    """Convert all values that a type has, the lowest first."""
    info = np.iinfo(kind)
    return _of_integers(np.arange(info.min, info.max + 1, dtype=kind), stored, wanted)


def _of_integers(values: npt.NDArray[Any], stored: Encoding, wanted: Encoding) -> npt.NDArray[Any]:
    above, below = _ratio(values, stored, wanted)
    if wanted.is_float:
        exact = above.dtype == object or _largest(above) < _EXACT
        out = ((above if exact else above.astype(object)) / below).astype(np.float64)
    else:
        out = np.sign(above) * (np.abs(above) // below)
    none = np.zeros(values.shape, bool) if stored.nodata is None else values == stored.nodata
    return _finished(out, none, wanted)


def _ratio(
    values: npt.NDArray[Any], stored: Encoding, wanted: Encoding
) -> tuple[npt.NDArray[Any], int]:
    """Give the results as fractions of whole numbers: above the line, and below."""
    factor, shift = _line(stored, wanted)
    parts = math.lcm(factor.denominator, shift.denominator)
    times, plus = int(factor * parts), int(shift * parts)
    fits = max(_largest(values) * abs(times) + abs(plus), parts) < 2**63
    return values.astype(np.int64 if fits else object) * times + plus, parts


def _line(stored: Encoding, wanted: Encoding) -> tuple[Fraction, Fraction]:
    """Give by what stored numbers are multiplied for wanted ones, and what is added then."""
    theirs, ours = stored.unit, wanted.unit
    if theirs is None or ours is None:
        return Fraction(1), Fraction(0)
    return theirs[0] / ours[0], (theirs[1] - ours[1]) / ours[0]


def _of_floats(values: npt.NDArray[Any], stored: Encoding, wanted: Encoding) -> npt.NDArray[Any]:
    none = ~np.isfinite(values)
    if stored.nodata is not None:
        none |= values == values.dtype.type(stored.nodata)
    if stored == wanted and values.dtype == wanted.dtype:
        return np.where(none, values.dtype.type(wanted.missing), values)
    factor, shift = _line(stored, wanted)
    known = values.astype(np.float64)
    known[none] = 0
    with np.errstate(over="ignore"):  # what float64 cannot hold is beyond the end of any type
        out = known * float(factor)
        out += float(shift)
    if not wanted.is_float:
        info = np.iinfo(wanted.dtype)
        np.clip(out, info.min - 1, info.max + 1, out=out)
        out = _rounded(out, known, factor, shift)
    return _finished(out, none, wanted)


def _rounded(
    found: npt.NDArray[np.float64],
    values: npt.NDArray[np.float64],
    factor: Fraction,
    shift: Fraction,
) -> npt.NDArray[np.float64]:
    """Round half to even; by exact arithmetic where float64 cannot tell on which side one lies."""
    out: npt.NDArray[np.float64] = np.rint(found)
    beside = np.abs(np.subtract(found, out, out=found), out=found)
    # Float64 is wrong by so much at most; what is added may be larger than what comes out.
    largest = _largest(out) + 2 * abs(float(shift))
    open_ = beside >= 0.5 - 8 * np.finfo(np.float64).eps * largest
    if open_.any():
        unique, place = np.unique(values[open_], return_inverse=True)
        exact = [round(Fraction(v) * factor + shift) for v in unique.tolist()]
        out[open_] = np.array(exact, np.float64)[place]
    return out


def _finished(
    found: npt.NDArray[Any], none: npt.NDArray[np.bool_], wanted: Encoding
) -> npt.NDArray[Any]:
    """Keep results within the type's range and off its nodata value, which goes where none is."""
    kind = np.dtype(wanted.dtype)
    if wanted.is_float:
        low, high = float(np.finfo(kind).min), float(np.finfo(kind).max)
    else:
        low, high = np.iinfo(kind).min, np.iinfo(kind).max
    out: npt.NDArray[Any] = np.clip(found, low, high).astype(kind)
    if wanted.nodata is not None:
        out[out == wanted.nodata] = _beside(wanted.nodata, kind, high)
    out[none] = wanted.missing
    return out


def _beside(nodata: float, kind: np.dtype[Any], high: float) -> float:
    """Give the value that stands for one that comes to equal nodata."""
    if kind.kind == "f":
        return float(np.nextafter(kind.type(nodata), kind.type(np.inf)))
    return nodata + 1 if nodata < high else nodata - 1


def _largest(values: npt.NDArray[Any]) -> Any:
    """Give the largest of all values, signs left aside, as a number of Python's."""
    return max(abs(values.min(initial=0).item()), abs(values.max(initial=0).item()))
