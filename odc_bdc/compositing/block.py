"""Composites of plain numpy blocks; all observations of a period in, one image out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from odc_bdc.compositing import kernels
from odc_bdc.compositing.functions import Observations
from odc_bdc.compositing.kernels import Stack
from odc_bdc.cube import DATASOURCE, PROVENANCE, Measurement
from odc_bdc.errors import InvalidValueError
from odc_bdc.function import CompositeFunction, Rounding
from odc_bdc.quality import CLEAR, NODATA, SEEN, QualityPolicy, dilate

_COUNT_LIMIT = 255


Mask: TypeAlias = Callable[[Mapping[str, npt.NDArray[Any]], npt.NDArray[Any]], npt.NDArray[Any]]
"""A user's own rule: bands by name and the quality band, all (time, y, x), to where observations
may count (bool of that shape). It is asked block by block, so it should look at single pixels."""

# Classes are their own codes; there are no others.
_CLASSES = np.zeros(256, dtype=np.uint8)
_CLASSES[[NODATA, SEEN, CLEAR]] = NODATA, SEEN, CLEAR


@dataclass(frozen=True, slots=True)
class CompositeBlock:
    """What `composite_block` has to know besides the pixels.

    Attributes
    ----------
    function, rounding, quality
        How to composite; `rounding` None means the function's own.
    nodata
        Nodata value by band, the quality band included; None where a band has none.
    common
        Name of the band for each common name that the function has to know.
    scale
        Scale and offset of reflectance by band, as far as they are known.
    mask
        A rule of the user's that observations must pass besides the quality policy.
    """

    function: CompositeFunction
    quality: QualityPolicy
    nodata: Mapping[str, float | None]
    rounding: Rounding | None = None
    common: Mapping[str, str] = field(default_factory=dict)
    scale: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    mask: Mask | None = None


@dataclass(frozen=True, slots=True)
class Composited:
    """The image of a period: arrays (y, x)."""

    bands: dict[str, npt.NDArray[Any]]
    clearob: npt.NDArray[np.uint8]
    totalob: npt.NDArray[np.uint8]
    provenance: npt.NDArray[np.int16] | None = None
    datasource: npt.NDArray[np.uint8] | None = None

    def by_name(self) -> dict[str, npt.NDArray[Any]]:
        """Give all arrays under the names they have in a cube."""
        out = {**self.bands, "CLEAROB": self.clearob, "TOTALOB": self.totalob}
        if self.provenance is not None:
            out["PROVENANCE"] = self.provenance
        if self.datasource is not None:
            out["DATASOURCE"] = self.datasource
        return out


def composite_block(
    bands: Mapping[str, Stack],
    quality: Stack,
    how: CompositeBlock,
    *,
    days_of_year: Sequence[int] | npt.NDArray[Any],
    order: Sequence[int] | npt.NDArray[Any],
    datasources: Sequence[int] | npt.NDArray[Any] | None = None,
    classes: Stack | None = None,
    threads: int = 1,
) -> Composited:
    """Composite the observations of one period.

    An observation of a pixel counts as a whole: it has data only where *every* band has, and it is
    clear where it has data and the quality band says so. So all bands of a pixel come from the same
    observations. (cube-builder comes to the same by setting the quality band to nodata wherever a
    band is nodata, before it composites.)

    Parameters
    ----------
    bands
        Arrays (time, y, x) by name, of the types in `kernels.DTYPES`; NaN is no data. No time is
        allowed: the image is empty then. Here and below, a list of images (y, x) is as good.
    quality
        Integer array (time, y, x) of the quality band.
    how
        Function, quality policy, nodata values and rounding.
    days_of_year
        1 to 366 for each time; what PROVENANCE tells.
    order
        Positions along time in the function's ordering, the first to be preferred first.
    datasources
        0 to 254 for each time, what DATASOURCE tells; None for no such band.
    classes
        What the quality band says (`odc_bdc.quality.NODATA`, `SEEN`, `CLEAR`), where that takes
        more than its pixels here: a second band, or the neighbours of a block. None means that the
        policy is asked.
    threads
        How many work at it.

    Returns
    -------
    Composited
        Bands in their own dtypes, or the function's; their nodata (or 0, or NaN) where nothing
        could be computed. Functions that pick a date give the quality band too, and PROVENANCE and
        DATASOURCE, their nodata where there is no data.

    Raises
    ------
    InvalidValueError
        If shapes or types do not fit.
    """
    codes, table = quality_codes(quality, classes, how.quality)
    asked: Any = {"how": how, "order": order, "threads": threads}
    picked, image = _in_one_pass(bands, codes, table, **asked)
    if image is None:
        joined = {name: np.asarray(band) for name, band in bands.items()}
        picked, image = _step_by_step(joined, np.asarray(quality), codes, table, **asked)
    if picked is None:
        return image
    known = how.nodata.get(how.quality.band)
    chosen = kernels.gather(_gatherable(quality), picked, nodata=known, threads=threads)
    image.bands[how.quality.band] = chosen.astype(_dtype(quality), copy=False)
    provenance = auxiliary_of(days_of_year, picked, PROVENANCE)
    source = None if datasources is None else auxiliary_of(datasources, picked, DATASOURCE)
    return replace(image, provenance=provenance, datasource=source)


def observe_block(
    bands: Mapping[str, Stack],
    quality: Stack,
    how: CompositeBlock,
    *,
    classes: Stack | None = None,
    threads: int = 1,
) -> kernels.Observed:
    """Tell which observations `composite_block` takes for clear, and which have data.

    The user's own mask does not enter. Parameters and errors as of `composite_block`.
    """
    codes, table = quality_codes(quality, classes, how.quality)
    nodata = [how.nodata.get(name) for name in bands]
    return kernels.observe(codes, table, list(bands.values()), nodata, threads=threads)


def classify_block(quality: npt.NDArray[Any], policy: QualityPolicy) -> npt.NDArray[np.uint8]:
    """Say what each pixel is by its quality band: `QualityPolicy.classify`, by a kernel.

    Parameters
    ----------
    quality
        Integer array (y, x).
    policy
        One without a saturation band.

    Returns
    -------
    numpy.ndarray
        uint8 (y, x): NODATA, SEEN or CLEAR.
    """
    if quality.dtype.itemsize > 2:
        return policy.classify(quality)
    one: npt.NDArray[np.uint8] = kernels.classify([quality], policy.table(quality.dtype))[0]
    return one


def quality_codes(
    quality: Stack, classes: Stack | None, policy: QualityPolicy
) -> tuple[Stack, npt.NDArray[np.uint8]]:
    """Give codes of 8 or 16 bits, and the class of each; of `classes`, if they are known."""
    if classes is not None:
        return classes, _CLASSES
    if policy.saturation is None and not policy.margin and _dtype(quality).itemsize <= 2:
        return quality, policy.table(_dtype(quality))
    return dilate(policy.classify(np.asarray(quality)), policy.margin), _CLASSES


def _dtype(stack: Stack) -> np.dtype[Any]:
    return stack.dtype if isinstance(stack, np.ndarray) else stack[0].dtype


def _in_one_pass(
    bands: Mapping[str, Stack],
    codes: Stack,
    table: npt.NDArray[np.uint8],
    *,
    how: CompositeBlock,
    order: Sequence[int] | npt.NDArray[Any],
    threads: int,
) -> tuple[npt.NDArray[Any] | None, Composited | None]:
    """Composite without masks in memory, if the function is one of those that a kernel fuses."""
    asked = _asked(how, order)
    if asked is None or how.mask or len({_dtype(band) for band in bands.values()}) > 1:
        return None, None
    nodata = [how.nodata.get(name) for name in bands]
    found = kernels.composites(codes, table, list(bands.values()), nodata, **asked, threads=threads)
    stacks = (found.median, found.mean, found.first)
    made = next((stack for stack in stacks if stack is not None), ())
    image = Composited(dict(zip(bands, made, strict=True)), found.clearob, found.totalob)
    return found.picked, image


def _asked(how: CompositeBlock, order: Sequence[int] | npt.NDArray[Any]) -> dict[str, Any] | None:
    rounding = how.rounding or how.function.rounding
    implementation = how.function.implementation.partition(":")[2]
    if implementation in ("mean", "median"):
        return {implementation: rounding}
    if implementation == "first_clear":
        fallback = dict(how.function.parameters)["cloudy_fallback"]
        return {"order": np.asarray(order, dtype=np.intp), "fallback": fallback}
    return None


def _step_by_step(
    bands: Mapping[str, npt.NDArray[Any]],
    quality: npt.NDArray[Any],
    codes: Stack,
    table: npt.NDArray[np.uint8],
    *,
    how: CompositeBlock,
    order: Sequence[int] | npt.NDArray[Any],
    threads: int,
) -> tuple[npt.NDArray[Any] | None, Composited]:
    """Say which observations are clear, then ask the function's implementation."""
    nodata = [how.nodata.get(name) for name in bands]
    observed = kernels.observe(codes, table, list(bands.values()), nodata, threads=threads)
    clear, clearob = observed.clear, observed.clearob
    if how.mask is not None:
        clear = clear & _asked_mask(how.mask, bands, quality)
        clearob = saturated_count(clear)
    seen = Observations(
        bands,
        how.nodata,
        how.scale,
        clear,
        observed.has_data,
        np.asarray(order, dtype=np.intp),
        how.common,
        how.function,
        how.rounding or how.function.rounding or "half_even",
        threads,
    )
    compute = _import_function(how.function.implementation)
    result = compute(seen, **dict(how.function.parameters))
    if not how.function.picks_date:
        return None, Composited(dict(result), clearob, observed.totalob)
    picked = np.asarray(result, dtype=np.int16)
    out = {
        name: kernels.gather(band, picked, nodata=how.nodata.get(name), threads=threads)
        for name, band in bands.items()
    }
    return picked, Composited(out, clearob, observed.totalob)


def _asked_mask(
    mask: Mask, bands: Mapping[str, npt.NDArray[Any]], quality: npt.NDArray[Any]
) -> npt.NDArray[np.bool_]:
    found = np.asarray(mask(bands, quality))
    if found.shape != quality.shape or found.dtype != np.bool_:
        raise InvalidValueError(
            f"the mask function gives {found.dtype} of shape {found.shape}, not bool of shape "
            f"{quality.shape}"
        )
    return found


def _import_function(path: str) -> Callable[..., Any]:
    """Import what ``module:function`` names: of code, as `CompositeFunction`, never of a document.

    Raises
    ------
    ImportError, AttributeError
        If there is no such module, or it has no such function.
    """
    module, _, name = path.partition(":")
    return cast("Callable[..., Any]", getattr(import_module(module), name))


def _gatherable(quality: Stack) -> Stack:
    known = _dtype(quality).name in kernels.DTYPES
    return quality if known else np.asarray(quality).astype(np.int32)


def saturated_count(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Count along time as CLEAROB and TOTALOB do: what is beyond 255 stays 255."""
    out: npt.NDArray[np.uint8] = np.minimum(mask.sum(axis=0), _COUNT_LIMIT).astype(np.uint8)
    return out


def auxiliary_of(
    values: Sequence[int] | npt.NDArray[Any], picked: npt.NDArray[Any], band: Measurement
) -> npt.NDArray[Any]:
    """Fill PROVENANCE or DATASOURCE: of values by time that of each pixel's observation."""
    nodata = int(band.nodata or 0)
    return kernels.of_time(values, picked, dtype=band.dtype, nodata=nodata)
