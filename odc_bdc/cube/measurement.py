"""The bands of a cube, and how a band stores its values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from odc_bdc.cube.encoding import Encoding

if TYPE_CHECKING:
    from odc_bdc.function import CompositeFunction


CATEGORICAL = ("nearest", "mode")
"""Resamplings that give no value which the pixels have not: those of bands of codes."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """A band of a cube, in the terms of an ODC product document.

    Attributes
    ----------
    nodata
        None in floating types, in which NaN is no data.
    scale, offset
        As of `Encoding`.
    common_name
        The name that STAC has for such a band; it may stand for several bands, an alias may not.
    resampling
        How a scene's pixels are warped onto the cube's.
    """

    name: str
    dtype: str
    nodata: float | None = None
    units: str = "1"
    common_name: str | None = None
    aliases: tuple[str, ...] = ()
    scale: float | None = None
    offset: float | None = None
    resampling: str = "bilinear"
    flags_definition: Mapping[str, Any] | None = field(default=None, hash=False)

    @property
    def encoding(self) -> Encoding:
        """How the band stores its values."""
        return Encoding(self.dtype, self.nodata, self.scale, self.offset or None)

    @property
    def missing(self) -> float | None:
        """What stands where there is no data: NaN in floating types, else `nodata`."""
        return math.nan if self.encoding.is_float else self.nodata

    def to_odc(self) -> dict[str, Any]:
        """Write the measurement as an ODC product document has it."""
        doc: dict[str, Any] = {"name": self.name, "dtype": self.dtype}
        doc["nodata"] = self.encoding.missing
        doc["units"] = self.units
        optional = {
            "aliases": list(self.aliases),
            "scale_factor": self.scale,
            "add_offset": self.offset,
            "flags_definition": self.flags_definition,
        }
        return doc | {key: value for key, value in optional.items() if value}


def results(function: CompositeFunction, bands: Sequence[Measurement]) -> tuple[Measurement, ...]:
    """Give the bands that a composite function makes of bands, in order."""
    made = [_result(function, band, suffix) for band in bands for suffix in function.suffixes]
    return (*made, *(Measurement(name, dtype) for name, dtype in function.extra))


def _result(function: CompositeFunction, band: Measurement, suffix: str) -> Measurement:
    encoding = Encoding(function.dtype or band.dtype, band.nodata)
    return replace(
        band,
        name=band.name + suffix,
        aliases=tuple(alias + suffix for alias in band.aliases),
        dtype=encoding.dtype,
        nodata=None if encoding.is_float else band.nodata,
        offset=None if function.is_difference else band.offset,
    )


def measurement_keys(doc: Mapping[str, Any]) -> dict[str, Any]:
    """Give the keys of a cube's YAML form that a measurement of an ODC product document fills."""
    keys = {
        "name": "name",
        "dtype": "dtype",
        "nodata": "nodata",
        "units": "units",
        "aliases": "aliases",
        "scale": "scale_factor",
        "offset": "add_offset",
        "flags_definition": "flags_definition",
    }
    return {ours: doc[theirs] for ours, theirs in keys.items() if theirs in doc}


DATA_MASK = "DATAMASK"
"""Name of the quality band where scenes have none: their first band, read for its gaps."""

CLEAROB = Measurement("CLEAROB", "uint8")
"""Number of clear observations; counts beyond 255 saturate."""
TOTALOB = Measurement("TOTALOB", "uint8")
"""Number of observations with data, clouds included; counts beyond 255 saturate."""
PROVENANCE = Measurement("PROVENANCE", "int16", nodata=-1)
"""Day of year (1 to 366) of the observation that the pixel was taken from."""
DATASOURCE = Measurement("DATASOURCE", "uint8", nodata=255)
"""Number of the satellite that the pixel was taken from; the cube's `platforms` in order."""

AUXILIARY = {m.name: m for m in (CLEAROB, TOTALOB, PROVENANCE, DATASOURCE)}
"""The auxiliary bands by name."""


def usual_auxiliary(
    function: CompositeFunction, *, several_platforms: bool
) -> tuple[Measurement, ...]:
    """Give the auxiliary bands that a function's composites have, if nothing else is asked for."""
    if not function.picks_date:
        return CLEAROB, TOTALOB
    return (CLEAROB, TOTALOB, PROVENANCE, *([DATASOURCE] if several_platforms else []))
