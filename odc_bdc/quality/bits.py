"""Parts of a quality policy that are read bit by bit: confidences and saturation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from odc_bdc.errors import InvalidValueError, did_you_mean

LEVELS = {"low": 1, "medium": 2, "high": 3}
"""What two bits of confidence say; 0 is none."""

QA_PIXEL_CONFIDENCES = {
    "cloud": (8, 9),
    "cloud_shadow": (10, 11),
    "snow": (12, 13),
    "cirrus": (14, 15),
}
"""Bits of the confidences in QA_PIXEL of Landsat Collection 2."""

_BITS = 64


@dataclass(frozen=True, slots=True)
class Confidence:
    """From which confidence on a condition spoils a pixel.

    Attributes
    ----------
    condition
        ``cloud``, ``cloud_shadow``, ``snow`` or ``cirrus``.
    level
        ``low``, ``medium`` or ``high``: a pixel of this confidence or a higher one is not clear.
    bits
        The two bits that hold the confidence, the less significant first. Those of QA_PIXEL of
        Landsat Collection 2 if left out: 8 and 9, 10 and 11, 12 and 13, 14 and 15.

    Notes
    -----
    Source: USGS, Landsat 8-9 Collection 2 Level 2 Data Format Control Book (LSDS-1328) and
    Landsat 4-7 Collection 2 Level 2 Science Product Guide (LSDS-1618), table of QA_PIXEL; also
    https://www.usgs.gov/landsat-missions/landsat-collection-2-quality-assessment-bands.
    USGS uses ``medium`` (binary 10) for clouds only and reserves it in the others, where ``medium``
    and ``high`` are therefore the same. Landsat 4 to 7 have no cirrus: their bits are 0.
    """

    condition: str
    level: str
    bits: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.condition not in QA_PIXEL_CONFIDENCES:
            guess = did_you_mean(str(self.condition), QA_PIXEL_CONFIDENCES)
            raise InvalidValueError(
                f"quality: confidence: {self.condition!r} is no condition{guess}; known: "
                f"{', '.join(QA_PIXEL_CONFIDENCES)}"
            )
        at = f"confidence.{self.condition}"
        if not isinstance(self.level, str) or self.level not in LEVELS:
            guess = did_you_mean(str(self.level), LEVELS)
            raise InvalidValueError(
                f"quality: {at}: {self.level!r} is not a level{guess}; allowed: {', '.join(LEVELS)}"
            )
        given = integers(f"{at}.bits", self.bits) or QA_PIXEL_CONFIDENCES[self.condition]
        low = given[0]
        if given != (low, low + 1) or not 0 <= low < _BITS - 1:
            raise InvalidValueError(
                f"quality: {at}.bits: {list(given)} are not two neighbours, the lower first, from "
                f"0 to {_BITS - 1}, as [8, 9]"
            )
        object.__setattr__(self, "bits", given)

    def spoils(self, quality: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Tell where the confidence is as high as the level or higher; bool, same shape."""
        words = as_words(quality)
        kind = words.dtype.type
        found = (words >> kind(self.bits[0])) & kind(3)
        out: npt.NDArray[np.bool_] = found >= kind(LEVELS[self.level])
        return out


def parse_confidence(doc: Any) -> tuple[Confidence, ...]:
    """Make confidences from their YAML form: ``{cloud: medium}``.

    A level may also be ``{level: medium, bits: [8, 9]}``.
    """
    if not isinstance(doc, Mapping):
        raise InvalidValueError(
            f"quality: confidence: {doc!r} is not a mapping of {', '.join(QA_PIXEL_CONFIDENCES)} "
            f"to {', '.join(LEVELS)}"
        )
    return tuple(_confidence(condition, given) for condition, given in doc.items())


def _confidence(condition: str, given: Any) -> Confidence:
    if not isinstance(given, Mapping):
        return Confidence(condition, given)
    if not {"level"} <= set(given) <= {"level", "bits"}:
        raise InvalidValueError(
            f"quality: confidence.{condition}: {dict(given)} must have `level` and may have `bits`"
        )
    return Confidence(condition, **given)


def in_order(confidence: Iterable[Confidence]) -> tuple[Confidence, ...]:
    """Give confidences in the order of QA_PIXEL, so that two of one meaning are equal."""
    given = tuple(confidence)
    by_condition = {c.condition: c for c in given}
    if len(by_condition) < len(given):
        names = ", ".join(c.condition for c in given)
        raise InvalidValueError(f"quality: confidence: a condition stands twice: {names}")
    return tuple(by_condition[name] for name in QA_PIXEL_CONFIDENCES if name in by_condition)


def render_confidence(confidence: Iterable[Confidence]) -> dict[str, Any]:
    """Write the YAML form; `parse_confidence` of it gives the same."""
    return {
        c.condition: c.level
        if c.bits == QA_PIXEL_CONFIDENCES[c.condition]
        else {"level": c.level, "bits": list(c.bits)}
        for c in confidence
    }


@dataclass(frozen=True, slots=True)
class Saturation:
    """A second band, whose bits tell of saturation: QA_RADSAT of Landsat Collection 2.

    Attributes
    ----------
    band
        Name of the band.
    bits
        Bit numbers, from 0. Where any of them is set no band of the observation is taken as clear.
    """

    band: str
    bits: tuple[int, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.band, str) or not self.band:
            raise InvalidValueError(
                f"quality: saturation.band: {self.band!r} is not the name of a band"
            )
        bits = tuple(sorted(set(integers("saturation.bits", self.bits))))
        if not bits or bits[0] < 0 or bits[-1] >= _BITS:
            raise InvalidValueError(
                f"quality: saturation.bits: {list(bits)} must be one or more bit numbers from 0 to "
                f"{_BITS - 1}"
            )
        object.__setattr__(self, "bits", bits)

    @classmethod
    def from_dict(cls, doc: Any) -> Saturation:
        """Make it from its YAML form: ``{band: QA_RADSAT, bits: [1, 2]}``."""
        if not isinstance(doc, Mapping) or set(doc) != {"band", "bits"}:
            raise InvalidValueError(
                f"quality: saturation: {doc!r} is not a mapping with `band` and `bits`, as "
                "{band: QA_RADSAT, bits: [1, 2]}"
            )
        return cls(**doc)

    def to_dict(self) -> dict[str, Any]:
        """Write the YAML form; `from_dict` of it gives the same."""
        return {**asdict(self), "bits": list(self.bits)}

    def spoils(self, saturation: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Tell where any of the bits is set, in the band of saturation; bool, same shape."""
        return any_bit(saturation, self.bits)


def any_bit(quality: npt.NDArray[Any], bits: Iterable[int]) -> npt.NDArray[np.bool_]:
    """Tell where at least one of the bits is set; a bit that the type lacks is not."""
    words = as_words(quality)
    mask = sum(1 << b for b in set(bits)) & (2 ** (8 * words.dtype.itemsize) - 1)
    out: npt.NDArray[np.bool_] = (words & words.dtype.type(mask)) != 0
    return out


def as_words(quality: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Give the bits of integers as unsigned ones; without a copy, if they are integers."""
    if quality.dtype.kind not in "iu":
        return quality.astype(np.uint64)
    return quality.view(quality.dtype.str.replace("i", "u"))


def integers(key: str, values: Any) -> tuple[int, ...]:
    """See that a value of a policy is a list of whole numbers, and give it as a tuple."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InvalidValueError(f"quality: `{key}` must be a list of whole numbers, not {values!r}")
    out = tuple(values)
    if not all(isinstance(v, int | np.integer) and not isinstance(v, bool) for v in out):
        raise InvalidValueError(f"quality: `{key}` must be a list of whole numbers, not {values!r}")
    return tuple(int(v) for v in out)
