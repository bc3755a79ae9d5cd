"""Composites as cube-builder 1.0 makes them, its defects included, for comparisons.

`composite_block` computes what is right; this module what INPE's program gives for the same scenes.
It is written from a description of that program's behaviour, not from its code (ADR 1). ADR 8 says
what is reproduced and what is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from odc_bdc.compositing.block import (
    CompositeBlock,
    Composited,
    auxiliary_of,
    composite_block,
    saturated_count,
)
from odc_bdc.compositing.kernels import Stack
from odc_bdc.cube import DATASOURCE, PROVENANCE
from odc_bdc.errors import InvalidValueError
from odc_bdc.quality import QualityPolicy

Parity: TypeAlias = Literal["cube-builder"]
"""A program whose numbers are to be reproduced."""

_FUNCTIONS = ("MED", "LCF")
# The code that a corrected pixel of Sentinel-2 gets: saturated or defective, in the scene
# classification (SCL) of ESA.
_SCL_DEFECTIVE = 1


def block_function(parity: Parity | None, how: CompositeBlock) -> Callable[..., Composited]:
    """Give the function that composites a block: ours, or the one that reproduces a program's.

    Raises
    ------
    InvalidValueError
        If there is no parity with such a program, or the program cannot do what `how` asks for.
    """
    if parity is None:
        return composite_block
    if parity != "cube-builder":
        raise InvalidValueError(f"parity {parity!r} is not 'cube-builder'")
    _check(how)
    return composite_parity


def composite_parity(
    bands: Mapping[str, Stack],
    quality: Stack,
    how: CompositeBlock,
    *,
    days_of_year: Sequence[int] | npt.NDArray[Any],
    order: Sequence[int] | npt.NDArray[Any],
    datasources: Sequence[int] | npt.NDArray[Any] | None = None,
) -> Composited:
    """Composite the observations of one period as cube-builder does.

    Each band is composited on its own, the quality band as well. In a band, an observation is
    clear (quality codes by value) if its quality is in the list `clear`, whatever the band holds;
    or if its quality is in no list and is not nodata, and the band is not nodata. With quality
    codes by bit it is clear if its quality is not nodata, no bit of `not_clear` is set, and one of
    `clear` is.

    Parameters
    ----------
    bands
        Integer arrays (time, y, x) by name, or lists of images (y, x).
    quality
        Integer array (time, y, x) of the quality band; `correct_quality` does what cube-builder
        does to it when it sees scenes for the first time.
    how
        Function (MED or LCF), quality policy and nodata values.
    days_of_year
        1 to 366 for each time; what PROVENANCE tells.
    order
        Positions along time, best scene first; LCF looks at it.
    datasources
        0 to 254 for each time, what DATASOURCE tells; None for no such band.

    Returns
    -------
    Composited
        MED: the median of the clear observations, an even number's cut toward zero; nodata (or 0)
        where there is none. LCF: band by band the first clear value of the order, else the first
        that is not the band's nodata, whatever its quality, else nodata. PROVENANCE and DATASOURCE
        belong to the quality band, and another band may hold another date. CLEAROB counts the
        clear observations of the quality band, TOTALOB those whose quality is not nodata; neither
        looks at the other bands.

    Raises
    ------
    InvalidValueError
        If cube-builder cannot do what `how` asks for: it has no AVG, only cuts toward zero, needs
        a nodata value and a clear code of the quality band, and reads no bits of saturation.

    Notes
    -----
    Counts beyond 255 stay 255, and medians are computed in the band's own type (ADR 8).
    """
    _check(how)
    policy, codes = how.quality, np.asarray(quality)
    stacks = {name: np.asarray(band) for name, band in bands.items()}
    listed, spoilt = _read(codes, policy)

    def clear(band: npt.NDArray[Any], nodata: float | None) -> npt.NDArray[np.bool_]:
        # A clear quality comes last, so it wins over the band's nodata.
        return listed | ~(spoilt if nodata is None else spoilt | (band == nodata))

    clear_quality = clear(codes, policy.nodata)
    counts = saturated_count(clear_quality), saturated_count(policy.has_data(codes))
    if how.function.name == "MED":
        nodata = {name: how.nodata.get(name) for name in stacks}
        medians = {n: _median(b, clear(b, nodata[n]), nodata[n]) for n, b in stacks.items()}
        return Composited(medians, *counts)
    out = {}
    for name, band in stacks.items():
        empty = how.nodata.get(name)
        out[name] = _take(band, _pick(band, clear(band, empty), empty, order), empty)
    picked = _pick(codes, clear_quality, policy.nodata, order)
    out[policy.band] = _take(codes, picked, policy.nodata)
    provenance = auxiliary_of(days_of_year, picked, PROVENANCE)
    source = None if datasources is None else auxiliary_of(datasources, picked, DATASOURCE)
    return Composited(out, *counts, provenance, source)


def correct_quality(
    bands: Mapping[str, npt.NDArray[Any]],
    quality: npt.NDArray[Any],
    nodata: Mapping[str, int | None],
    *,
    quality_nodata: int,
    sentinel_2: bool,
) -> npt.NDArray[Any]:
    """Correct the quality band where any band is nodata, as cube-builder does on a first run.

    It does so when it has joined the scenes of a day, and not when it finds them joined already.
    It measures efficacy, which makes the order of LCF, before that on a first run and after it on
    the next.

    Parameters
    ----------
    bands
        Integer arrays by name, spectral bands only: no indices, no quality band.
    quality
        Integer array of the quality band, of the same shape.
    nodata
        Nodata value by band; None (or no entry) where a band has none.
    quality_nodata
        Nodata value of the quality band. Where it stands already, it stays.
    sentinel_2
        The scenes are of Sentinel-2: such pixels become 1 (SCL's saturated or defective) instead
        of nodata.

    Returns
    -------
    numpy.ndarray
        Of shape and dtype of `quality`, which is left as it is.

    Examples
    --------
    >>> red, scl = np.array([-9999, -9999, 300]), np.array([4, 0, 4])
    >>> correct_quality({"red": red}, scl, {"red": -9999}, quality_nodata=0, sentinel_2=True)
    array([1, 0, 4])
    """
    lacking = np.zeros(quality.shape, dtype=bool)
    for name, band in bands.items():
        empty = nodata.get(name)
        if empty is not None:
            lacking |= band == empty
    out = quality.copy()
    out[lacking & (quality != quality_nodata)] = _SCL_DEFECTIVE if sentinel_2 else quality_nodata
    return out


def _check(how: CompositeBlock) -> None:
    name, policy = how.function.name, how.quality
    if name not in _FUNCTIONS:
        raise InvalidValueError(
            f"parity: cube-builder has no {name}; it composites {' and '.join(_FUNCTIONS)} (= STK)"
        )
    if name == "MED" and how.rounding not in {None, "trunc"}:
        raise InvalidValueError(
            f"parity: cube-builder cuts medians toward zero (trunc), it has no {how.rounding}"
        )
    if policy.nodata is None or not policy.clear:
        raise InvalidValueError("parity: cube-builder needs `nodata` and `clear` of the quality")
    if policy.bits and policy.saturated:
        raise InvalidValueError(
            "parity: cube-builder reads saturation of bits from a band of its own, which is not "
            "reproduced; leave `saturated` out"
        )


def _read(
    quality: npt.NDArray[Any], policy: QualityPolicy
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Give where the quality is clear by its codes, and where they speak against it.

    By value there is a third kind: in no list. By bit there is none.
    """
    listed = policy.is_clear(quality)
    if policy.bits:
        return listed, ~listed
    spoilt = np.isin(quality, policy.not_clear + policy.saturated) | ~policy.has_data(quality)
    return listed, spoilt


def _median(
    band: npt.NDArray[Any], clear: npt.NDArray[np.bool_], nodata: float | None
) -> npt.NDArray[Any]:
    masked = np.ma.masked_array(band, mask=~clear)
    median = np.ma.median(masked, axis=0)  # type: ignore[no-untyped-call]
    # A cast from float to integer cuts toward zero.
    out: npt.NDArray[Any] = np.ma.filled(median, nodata or 0).astype(band.dtype)
    return out


def _pick(
    band: npt.NDArray[Any],
    clear: npt.NDArray[np.bool_],
    nodata: float | None,
    order: Sequence[int] | npt.NDArray[Any],
) -> npt.NDArray[np.intp]:
    """Give the position of the first clear, else of the first with a value, else -1."""
    picked = np.full(band.shape[1:], -1, dtype=np.intp)
    backwards = np.asarray(order).tolist()[::-1]
    has_value = np.ones(band.shape, dtype=bool) if nodata is None else band != nodata
    for mask in (has_value, clear):  # what is clear overwrites
        for position in backwards:
            picked[mask[position]] = position
    return picked


def _take(
    stack: npt.NDArray[Any], picked: npt.NDArray[np.intp], nodata: float | None
) -> npt.NDArray[Any]:
    """Take from each pixel's `picked` observation; nodata (or 0) where that is -1."""
    out: npt.NDArray[Any] = np.take_along_axis(stack, np.maximum(picked, 0)[np.newaxis], axis=0)[0]
    out[picked < 0] = nodata or 0
    return out
