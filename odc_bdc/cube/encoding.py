"""How bands store their values, and whether those of a source can become those of a cube."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from odc_bdc.errors import InvalidValueError

if TYPE_CHECKING:
    from odc_bdc.cube.measurement import Measurement
    from odc_bdc.cube.spec import CubeSpec, Source

_TEN_THOUSANDTHS = Fraction("0.0001"), Fraction(0)
"""What whole numbers without a scale are taken for, by spectral indices and styles."""

_THEMSELVES = Fraction(1), Fraction(0)
"""Numbers that mean themselves."""

_NO_SCALE = (
    "the product does not say the scale of its whole numbers, which the cube needs: add "
    "`scale_factor` to the product (0.0001 for ten-thousandths, 1 for numbers that mean themselves)"
)

NO_CODES = "a quality band holds whole numbers; scenes without one: `quality: none`"

_REFLECTANCE = ("1", "reflectance")


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a band stores its values: ``physical = stored * scale + offset``.

    Attributes
    ----------
    dtype
        Name of the numpy type.
    nodata
        Stored value that means no data; None if there is none. In floating types what is not
        finite means no data besides.
    scale, offset
        None where the band does not say: then values are taken as they are.
    """

    dtype: str
    nodata: float | None = None
    scale: float | None = None
    offset: float | None = None

    @classmethod
    def from_odc(cls, doc: Mapping[str, Any]) -> Encoding:
        """Read it from a measurement of an ODC product document.

        An index gives a nodata value of NaN as text. What is not finite is no data in any case, so
        it is no value of its own.
        """
        nodata = doc.get("nodata")
        if isinstance(nodata, str):
            nodata = float(nodata)
        if nodata is not None and not math.isfinite(nodata):
            nodata = None
        scale, offset = doc.get("scale_factor"), doc.get("add_offset") or None
        return cls(doc["dtype"], nodata, scale, offset)

    @property
    def is_float(self) -> bool:
        """Whether values are floating point."""
        return self.dtype.startswith("float")

    @property
    def missing(self) -> float:
        """What stands where there is no data: nodata; without one NaN, or 0 in integer types."""
        if self.nodata is not None:
            return self.nodata
        return math.nan if self.is_float else 0

    @property
    def unit(self) -> tuple[Fraction, Fraction] | None:
        """Scale and offset, exactly as they are written; None where the band does not say.

        A floating band that does not say stores physical values.
        """
        if not (self.scale or self.offset):
            return _THEMSELVES if self.is_float else None
        return Fraction(str(self.scale or 1)), Fraction(str(self.offset or 0))


@lru_cache(maxsize=512)  # asked for each scene
def conversion_fault(stored: Encoding, wanted: Measurement) -> str | None:
    """Tell why values of a source cannot become those of a cube's measurement; None if they can.

    Parameters
    ----------
    stored
        How the source's product stores them.

    Returns
    -------
    str or None
        What does not fit, and what to write in the definition instead.
    """
    theirs, ours = stored.unit, wanted.encoding.unit
    if ours is None:
        return _scale_fault(stored)
    if theirs is None:
        return None if ours == _TEN_THOUSANDTHS else _NO_SCALE
    if wanted.encoding.is_float:
        return None
    low, high = _range(wanted.encoding.dtype, ours)
    least, most = (None, None) if stored.is_float else _range(stored.dtype, theirs)
    said = (
        f"{wanted.dtype} with scale {wanted.scale or 1:g} and offset {wanted.offset or 0:g} holds "
        f"{float(low):g} to {float(high):g}"
    )
    if least is not None and most is not None and (most < low or least > high):
        return f"{said}, and the product's values are {float(least):g} to {float(most):g}"
    if wanted.units in _REFLECTANCE and (most is None or most >= 1) and high < 1:
        return f"{said}, and the product can have values up to 1: take a larger type or scale"
    return None


def _codes_fault(stored: Encoding, wanted: Measurement) -> str | None:
    """Tell why codes of quality cannot be held by a cube's quality band; None if they can."""
    if stored.is_float:
        return f"is {stored.dtype}; {NO_CODES}"
    if not np.can_cast(stored.dtype, wanted.dtype, "safe"):
        return f"is {wanted.dtype}, and the product's codes are {stored.dtype}: take that"
    return None


def _scale_fault(stored: Encoding) -> str | None:
    """Tell what is lost where whole numbers without a scale are made of a source's values."""
    if stored.is_float:
        return (
            f"the product's values are {stored.dtype}, and would be rounded to whole numbers: give "
            "`scale`, such as 0.0001 for reflectances (1 if whole numbers are meant), or `dtype: "
            f"{stored.dtype}`"
        )
    if stored.unit in (None, _TEN_THOUSANDTHS, _THEMSELVES):
        return None
    scale, offset = (f"{float(number):g}" for number in stored.unit or ())
    return (
        f"the product has scale {scale} and offset {offset}, which would be lost: write `scale: "
        f"{scale}` and `offset: {offset}`, or those that the cube is to have"
    )


def _range(dtype: str, unit: tuple[Fraction, Fraction]) -> tuple[Fraction, Fraction]:
    """Give the lowest and the highest physical value that an integer type holds."""
    scale, offset = unit
    info = np.iinfo(dtype)
    return int(info.min) * scale + offset, int(info.max) * scale + offset


def encoding_faults(
    cube: CubeSpec, source: Source, stored: Mapping[str, Encoding]
) -> Iterator[tuple[Measurement, str]]:
    """Tell which of a cube's measurements a source cannot give, and why.

    Parameters
    ----------
    stored
        How the source's product stores its measurements, by their names.
    """
    for m in cube.measurements:
        told = stored.get(source.band(m.name))
        if told is None:
            continue
        if m.name != cube.quality.band:
            fault = conversion_fault(told, m)
        elif cube.is_masked_by_gaps(source):
            fault = None
        elif told.is_float or source.quality.same_codes(cube.quality):
            fault = _codes_fault(told, m)
        else:
            fault = None  # codes are written anew
        if fault:
            yield m, fault


def source_encodings(
    cube: CubeSpec, source: Source, product: Mapping[str, Any]
) -> dict[str, Encoding]:
    """Give how a product stores each of its measurements, having seen that a cube can take them.

    Parameters
    ----------
    source
        The one of the cube's sources that is made of the product.
    product
        ODC product document.

    Raises
    ------
    InvalidValueError
        If values of a band cannot become the cube's; one line for each, with what to write.
    """
    found = {m["name"]: Encoding.from_odc(m) for m in product["measurements"]}
    faults = []
    for m, fault in encoding_faults(cube, source, found):
        what = f"measurement {m.name} of {source.product}"
        if m.name == cube.quality.band:
            what = f"quality band {source.quality.band}"
        faults.append(f"cube {cube.name}: {what}: {fault}")
    if faults:
        raise InvalidValueError("\n".join(faults))
    return found
