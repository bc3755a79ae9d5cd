"""`QualityPolicy`: which codes of a quality band mean what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from odc_bdc.errors import InvalidValueError, did_you_mean
from odc_bdc.quality.bits import (
    Confidence,
    Saturation,
    any_bit,
    as_words,
    in_order,
    integers,
    parse_confidence,
    render_confidence,
)
from odc_bdc.quality.classes import CLEAR, NODATA, SEEN

_LISTS = ("clear", "not_clear", "saturated")
_TABLED = tuple(np.dtype(name) for name in ("uint8", "int8", "uint16", "int16"))
# Pixels that are looked up at once: their positions, eight bytes each, stay in the cache.
_AT_ONCE = 1 << 16


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
    confidence
        With `bits`: from which confidence on a condition spoils a pixel, each condition once. In
        the YAML form ``{cloud: medium, cirrus: high}``, or ``{cloud: {level: high, bits: [5, 6]}}``
        where the bits are not those of QA_PIXEL (see `Confidence` for them and their source).
    saturation
        A second band whose bits tell of saturated pixels, which are not clear either. It is a band
        of the scenes that no image holds. Its own nodata value is not looked at: bits are bits.
    dilation
        By how many pixels `dilate` is to widen what is not clear.
    """

    band: str
    clear: tuple[int, ...]
    not_clear: tuple[int, ...] = ()
    saturated: tuple[int, ...] = ()
    nodata: int | None = None
    bits: bool = False
    confidence: tuple[Confidence, ...] = ()
    saturation: Saturation | None = None
    dilation: int = 0

    def __post_init__(self) -> None:
        for key in _LISTS:
            object.__setattr__(self, key, integers(key, getattr(self, key)))
        object.__setattr__(self, "confidence", in_order(self.confidence))
        self._check_parts()
        self._check_lists()

    def _check_parts(self) -> None:
        if self.confidence and not self.bits:
            raise InvalidValueError(
                "quality: `confidence` is read from bits: it needs `bits: true`"
            )
        if self.saturation and self.saturation.band == self.band:
            raise InvalidValueError(
                f"quality: saturation.band: {self.band!r} is the quality band itself; its "
                "own codes of saturation go into `saturated`"
            )
        given = self.dilation
        if not isinstance(given, int) or isinstance(given, bool) or given < 0:
            raise InvalidValueError(
                f"quality: dilation: {given!r} is not a whole number of pixels, 0 or more"
            )

    def _check_lists(self) -> None:
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
        keys = ", ".join(cls.__slots__)
        unknown = sorted(set(doc) - set(cls.__slots__))
        if unknown:
            guess = did_you_mean(str(unknown[0]), cls.__slots__)
            raise InvalidValueError(
                f"quality: unknown key {', '.join(unknown)}{guess}; keys: {keys}"
            )
        if "band" not in doc:
            raise InvalidValueError(f"quality: lacks `band`; keys: {keys}")
        saturation = doc.get("saturation")
        parts = {
            "confidence": parse_confidence(doc.get("confidence", {})),
            "saturation": None if saturation is None else Saturation.from_dict(saturation),
        }
        return cls(**{"clear": (), **doc, **parts})

    def to_dict(self) -> dict[str, Any]:
        """Write the YAML form; `from_dict` of it gives the same policy."""
        doc = {key: getattr(self, key) for key in ("band", *_LISTS, "nodata", "bits")}
        doc |= {key: list(doc[key]) for key in _LISTS}
        # Left out where they say nothing, so cubes built before these keys keep their recipe.
        if self.confidence:
            doc["confidence"] = render_confidence(self.confidence)
        if self.saturation:
            doc["saturation"] = self.saturation.to_dict()
        if self.dilation:
            doc["dilation"] = self.dilation
        return doc

    @property
    def bands(self) -> tuple[str, ...]:
        """The bands of a scene that it reads: the quality band, and that of saturation if any."""
        return (self.band, self.saturation.band) if self.saturation else (self.band,)

    @property
    def by_code(self) -> QualityPolicy:
        """What it says of a pixel by the quality band alone, without neighbours."""
        return replace(self, saturation=None, dilation=0)

    @property
    def is_data_mask(self) -> bool:
        """Whether every pixel that has data is clear."""
        told = self.clear or self.not_clear or self.saturated or self.confidence or self.saturation
        return self.bits and not told

    @property
    def margin(self) -> int:
        """Pixels that must be known around a block for its dilated classes to be right."""
        return self.dilation

    def classify(
        self, quality: npt.NDArray[Any], saturation: npt.NDArray[Any] | None = None
    ) -> npt.NDArray[np.uint8]:
        """Say what each pixel is; the one rule that gives codes their meaning.

        Parameters
        ----------
        quality
            Integer array of the quality band, any shape.
        saturation
            Integer array of the saturation band, same shape. Needed if the policy has `saturation`,
            else not looked at.

        Returns
        -------
        numpy.ndarray
            uint8, same shape: NODATA, SEEN (not clear) or CLEAR. Pixel by pixel: what neighbours
            do is left to `dilate`, which wants the policy's `dilation`.

        Raises
        ------
        InvalidValueError
            If the saturation band is missing, or has another shape.
        """
        out = self._of_codes(np.asarray(quality))
        if self.saturation:
            # Where no scene is, there is nothing to spoil.
            spoilt = self._saturated(saturation, out.shape) & (out == CLEAR)
            np.copyto(out, np.uint8(SEEN), where=spoilt)
        return out

    def _saturated(
        self, saturation: npt.NDArray[Any] | None, shape: tuple[int, ...]
    ) -> npt.NDArray[np.bool_]:
        if self.saturation is None or saturation is None:
            raise InvalidValueError(
                f"quality: saturation of {self.band} is told by bands {', '.join(self.bands)}, of "
                "which only the first is given"
            )
        if np.shape(saturation) != shape:
            raise InvalidValueError(
                f"quality: band {self.saturation.band} has shape {np.shape(saturation)}, not "
                f"{shape} as {self.band}"
            )
        return self.saturation.spoils(np.asarray(saturation))

    def table(self, dtype: npt.DTypeLike) -> npt.NDArray[np.uint8]:
        """Give the class of every code of a type, to classify by one look-up.

        Parameters
        ----------
        dtype
            uint8, int8, uint16 or int16.

        Returns
        -------
        numpy.ndarray
            uint8, 256 or 65536 long, read-only; the index is the code, viewed as unsigned. A
            saturation band is left out of account. Made once for each policy and type.

        Raises
        ------
        InvalidValueError
            If it is another type.
        """
        kind = np.dtype(dtype)
        if kind not in _TABLED:
            known = ", ".join(str(d) for d in _TABLED)
            raise InvalidValueError(f"quality: there are tables for {known}, not for {kind}")
        return _table(self, kind)

    def _of_codes(self, quality: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Classify by the quality band alone."""
        if quality.dtype not in _TABLED:
            return self._by_rules(quality)
        table, codes = self.table(quality.dtype), as_words(quality).reshape(-1)
        out = np.empty(codes.shape, dtype=np.uint8)
        for i in range(0, codes.size, _AT_ONCE):
            # Every code is in the table; `clip` only spares the check.
            np.take(table, codes[i : i + _AT_ONCE], out=out[i : i + _AT_ONCE], mode="clip")
        return out.reshape(quality.shape)

    def _by_rules(self, quality: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        clear = self._clear_bits(quality) if self.bits else np.isin(quality, self.clear)
        out = np.where(clear, np.uint8(CLEAR), np.uint8(SEEN))
        return np.where(self.has_data(quality), out, np.uint8(NODATA))

    def _clear_bits(self, quality: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        clear = ~any_bit(quality, self.not_clear + self.saturated)
        for confidence in self.confidence:
            clear &= ~confidence.spoils(quality)
        return clear & any_bit(quality, self.clear) if self.clear else clear

    def is_clear(
        self, quality: npt.NDArray[Any], saturation: npt.NDArray[Any] | None = None
    ) -> npt.NDArray[np.bool_]:
        """Tell where pixels are CLEAR, as `classify` does.

        Parameters
        ----------
        quality, saturation
            As of `classify`.

        Returns
        -------
        numpy.ndarray
            bool, same shape. False on nodata and on every value that is in no list.
        """
        out: npt.NDArray[np.bool_] = self.classify(quality, saturation) == CLEAR
        return out

    def has_data(self, quality: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Tell where pixels are not NODATA (clouds included); bool, same shape."""
        # `classify` asks here, so this is its rule.
        if self.nodata is None:
            return np.ones(np.shape(quality), dtype=bool)
        out: npt.NDArray[np.bool_] = np.asarray(quality) != self.nodata
        return out

    def same_codes(self, other: QualityPolicy) -> bool:
        """Tell if another policy says the same of every pixel, whatever its bands are called."""
        if len(self.bands) != len(other.bands):
            return False
        return other.rename(dict(zip(other.bands, self.bands, strict=True))) == self

    def rename(self, bands: Mapping[str, str]) -> QualityPolicy:
        """Give the same policy for scenes whose bands are called otherwise."""
        saturation = self.saturation
        if saturation:
            name = bands.get(saturation.band, saturation.band)
            saturation = replace(saturation, band=name)
        return replace(self, band=bands.get(self.band, self.band), saturation=saturation)

    def encode(self, classes: npt.NDArray[np.uint8], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Write classes in this policy's values: its nodata, its first not clear and clear one.

        Parameters
        ----------
        classes
            Of any shape, from `classify` or `dilate`.
        dtype
            Of the result.

        Raises
        ------
        InvalidValueError
            If this is not a policy by value with nodata and a value that is not clear.
        """
        if self.bits or self.nodata is None or not self.not_clear:
            raise InvalidValueError(
                f"quality: codes of {self.band} cannot be written: that needs values (no `bits`) "
                "for `clear`, `not_clear` and `nodata`"
            )
        codes = {NODATA: self.nodata, SEEN: self.not_clear[0], CLEAR: self.clear[0]}
        values = np.array([codes[key] for key in sorted(codes)], dtype=dtype)
        return values[classes]

    def recode(
        self,
        quality: npt.NDArray[Any],
        wanted: QualityPolicy,
        dtype: npt.DTypeLike,
        saturation: npt.NDArray[Any] | None = None,
    ) -> npt.NDArray[Any]:
        """Say what this policy says of pixels in the values of another.

        Parameters
        ----------
        quality, saturation
            As of `classify`.
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
        return wanted.encode(self.classify(quality, saturation), dtype)


@lru_cache(maxsize=64)
def _table(policy: QualityPolicy, dtype: np.dtype[Any]) -> npt.NDArray[np.uint8]:
    codes = np.arange(1 << (8 * dtype.itemsize)).astype(dtype.str.replace("i", "u")).view(dtype)
    out = policy._by_rules(codes)  # noqa: SLF001 (its own table)
    out.flags.writeable = False
    return out
