"""What the quality band of a scene says of each pixel.

The codes belong to a collection, not to the code: CMASK alone exists in two codings (0 nodata,
127 clear, 255 cloud; and 0 clear, 4 cloud, 255 nodata).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from odc_bdc.errors import InvalidValueError


@dataclass(frozen=True, slots=True)
class QualityPolicy:
    """Which values, or bits, of a quality band mean clear, not clear, saturated and nodata.

    Attributes
    ----------
    band
        Name of the quality band.
    clear
        Values that are clear. With `bits`: bit numbers of which at least one must be set; none
        given means that every pixel is clear in which no bit speaks against it.
    not_clear
        Values (or bit numbers) of cloud, shadow and the like. A value in no list is not clear.
    saturated
        Values (or bit numbers) of saturated or defective pixels; never clear.
    nodata
        The value outside of the scene, if there is one. Always a value, also with `bits`.
    bits
        Read the lists as bit numbers (0 is the least significant) instead of values.
    """

    band: str
    clear: tuple[int, ...]
    not_clear: tuple[int, ...] = ()
    saturated: tuple[int, ...] = ()
    nodata: int | None = None
    bits: bool = False

    def __post_init__(self) -> None:
        for key in ("clear", "not_clear", "saturated"):
            object.__setattr__(self, key, _integers(key, getattr(self, key)))
        lists = [*self.clear, *self.not_clear, *self.saturated]
        if not self.bits:
            lists += [] if self.nodata is None else [self.nodata]
            if not self.clear:
                raise InvalidValueError("quality: `clear` needs at least one value")
        elif any(b < 0 or b > 63 for b in lists):
            raise InvalidValueError(f"quality: bit numbers run from 0 to 63, not {sorted(lists)}")
        twice = sorted({v for v in lists if lists.count(v) > 1})
        if twice:
            raise InvalidValueError(f"quality: {twice} stand in more than one list")

    @classmethod
    def from_dict(cls, doc: Mapping[str, Any]) -> QualityPolicy:
        """Make a policy from its YAML form, whose keys are the attributes."""
        unknown = set(doc) - set(cls.__slots__)
        if unknown or "band" not in doc:
            what = f"unknown key {', '.join(sorted(unknown))}" if unknown else "lacks `band`"
            raise InvalidValueError(f"quality: {what}; keys: {', '.join(cls.__slots__)}")
        return cls(**{"clear": (), **doc})

    def to_dict(self) -> dict[str, Any]:
        """Write the YAML form; `from_dict` of it gives the same policy."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def is_clear(self, quality: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Tell where pixels are clear.

        Parameters
        ----------
        quality
            Integer array of the quality band, any shape.

        Returns
        -------
        numpy.ndarray
            bool, same shape. False on nodata and on every value that is in no list.
        """
        if not self.bits:
            return np.isin(quality, self.clear)
        spoilt = _any_bit(quality, self.not_clear + self.saturated)
        clear = ~spoilt & self.has_data(quality)
        return clear & _any_bit(quality, self.clear) if self.clear else clear

    def has_data(self, quality: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Tell where the quality band is not nodata (clouds included); bool, same shape."""
        if self.nodata is None:
            return np.ones(np.shape(quality), dtype=bool)
        out: npt.NDArray[np.bool_] = np.asarray(quality) != self.nodata
        return out

    def same_codes(self, other: QualityPolicy) -> bool:
        """Tell if another policy reads every value alike, whatever its band is called."""
        return replace(self, band=other.band) == other

    def recode(
        self, quality: npt.NDArray[Any], wanted: QualityPolicy, dtype: npt.DTypeLike
    ) -> npt.NDArray[Any]:
        """Say what this policy says of pixels in the values of another.

        Parameters
        ----------
        quality
            Integer array of this policy's quality band, any shape.
        wanted
            Policy by value that has nodata; the first of its `clear` and of its `not_clear` values
            are used.
        dtype
            Of the result.

        Returns
        -------
        numpy.ndarray
            Same shape.
        """
        out = np.full(np.shape(quality), wanted.not_clear[0], dtype=dtype)
        out[~self.has_data(quality)] = wanted.nodata
        out[self.is_clear(quality)] = wanted.clear[0]
        return out


def _any_bit(quality: npt.NDArray[Any], bits: Iterable[int]) -> npt.NDArray[np.bool_]:
    mask = sum(1 << b for b in bits)
    out: npt.NDArray[np.bool_] = (quality.astype(np.uint64) & np.uint64(mask)) != 0
    return out


def _integers(key: str, values: Any) -> tuple[int, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InvalidValueError(f"quality: `{key}` must be a list of whole numbers, not {values!r}")
    out = tuple(values)
    if not all(isinstance(v, int | np.integer) and not isinstance(v, bool) for v in out):
        raise InvalidValueError(f"quality: `{key}` must be a list of whole numbers, not {values!r}")
    return tuple(int(v) for v in out)
