"""`composite`: the composite of an `xarray.Dataset` of scenes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import xarray as xr

from odc_bdc.compositing import kernels
from odc_bdc.compositing.block import CompositeBlock, Composited, Mask, quality_codes
from odc_bdc.compositing.checking import CLASSES, check_scenes
from odc_bdc.compositing.chunks import count_per_time, over_time
from odc_bdc.compositing.functions import empty_value
from odc_bdc.compositing.ordering import dated_order, efficacy, scene_order
from odc_bdc.compositing.parity import Parity, block_function
from odc_bdc.cube.measurement import usual_auxiliary
from odc_bdc.errors import InvalidValueError
from odc_bdc.function import CompositeFunction, Rounding, composite_function
from odc_bdc.grid import georeference
from odc_bdc.quality import QualityPolicy, dilate
from odc_bdc.timeline import Period, Timeline


def composite(
    ds: xr.Dataset,
    *,
    function: str | Mapping[str, Any],
    quality: QualityPolicy,
    timeline: Timeline | None = None,
    order: Sequence[int] | None = None,
    rounding: Rounding | None = None,
    common: Mapping[str, str] | None = None,
    mask: Mask | None = None,
    parity: Parity | None = None,
    threads: int = 1,
) -> xr.Dataset:
    """Composite scenes over time.

    Parameters
    ----------
    ds
        Scenes with dims (time, y, x), whatever the two spatial ones are called: bands of integers
        or floating point, with their nodata value in the attribute ``nodata`` (none if it is
        missing; NaN is no data in any case), and the integer quality band. Times are UTC. Eager, or
        dask with chunks of any size: they do not change the result. A coordinate ``datasource``
        along time, 0 to 254, tells satellites apart.
    function
        Name, or a mapping of name and parameters: ``"MED"`` (median), ``"AVG"`` (mean), ``"LCF"``,
        alias ``"STK"`` (stack, least cloud cover first), ``"MEDSTK"`` (stack, nearest day first),
        ``"P25,P50,P75"`` (percentiles), ``"MIN"``, ``"MAX"``, ``"RANGE"``, ``"STD"``, ``"COUNT"``,
        ``"MAXNDVI"``, ``"MAXNDI"``, ``"GEOMED"`` (geometric median), ``"IDT"`` (latest scene), or
        what another package adds; `odc_bdc.function` has their parameters.
    quality
        Which values of the quality band are clear.
    timeline
        Cuts time into periods; None makes one image of all.
    order
        Order of the scenes: positions along time, best first. Default is the function's own: for
        LCF by efficacy, the share of clear pixels over the whole array given, ties to the later
        date; for MEDSTK by distance to a day; for others by time.
    rounding
        Of means and medians between two integers: ``"trunc"`` (default of MED, as cube-builder),
        ``"half_even"`` (default of AVG) or ``"floor"``.
    common
        Names of the bands ``red``, ``nir`` and so on, for functions that have to know them;
        default: the bands of these names.
    mask
        A rule of your own that observations must pass besides the quality policy: a function of
        the bands by name and the quality band, numpy arrays (time, y, x), that gives bool of that
        shape. It is asked chunk by chunk, so it should look at single pixels.
    threads
        How many work at an eager array, or at each chunk of a dask array.
    parity
        ``"cube-builder"`` composites MED and LCF as cube-builder 1.0 does, defects included, for
        comparisons (`odc_bdc.compositing.parity`). The default order of the scenes stays ours.

    Returns
    -------
    xarray.Dataset
        Same bands, dtypes and nodata; time holds the starts of the periods, in order and without
        gap from the first to the last one that has a scene. Scenes in no period of the timeline are
        left out. Also CLEAROB and TOTALOB (uint8), the numbers of clear observations and of those
        with data. LCF keeps the quality band and adds PROVENANCE (int16, day of year, -1 where
        there is no data) and, where the satellites are told apart, DATASOURCE (uint8, 255 where
        there is no data). Pixels without a clear observation are nodata in MED and AVG; LCF shows
        the best scene that has data there, though cloudy.

    Raises
    ------
    InvalidValueError
        If `ds`, `order`, `rounding` or `parity` is not as described, or cube-builder could not do
        what parity is asked for.
    UnknownNameError
        If there is no such function.

    Notes
    -----
    An observation counts as a whole: it is only clear where every band of `ds` has data.
    Rules: Brazil Data Cube, cube-builder 1.0 (`docs/why/semantics.md` says where we differ).
    """
    how = _how(ds, composite_function(function), quality, rounding, common=common, mask=mask)
    check_scenes(ds, how)
    make = block_function(parity, how)
    if parity is None:
        make = partial(make, threads=threads)
    images = _images(_with_classes(ds, how), how, timeline, order, make)
    if len(images) == 1:
        return images[0]
    return xr.concat(images, dim="time", join="override", combine_attrs="override")


def _how(
    ds: xr.Dataset,
    function: CompositeFunction,
    quality: QualityPolicy,
    rounding: Rounding | None,
    *,
    common: Mapping[str, str] | None,
    mask: Mask | None,
) -> CompositeBlock:
    return CompositeBlock(
        function,
        quality,
        {str(name): _nodata(da, quality) for name, da in ds.data_vars.items()},
        rounding,
        {name: (common or {}).get(name, name) for name in function.common_names},
        {str(name): _scale(da) for name, da in ds.data_vars.items()},
        mask,
    )


def _images(
    ds: xr.Dataset,
    how: CompositeBlock,
    timeline: Timeline | None,
    order: Sequence[int] | None,
    make: Callable[..., Composited],
) -> list[xr.Dataset]:
    """Make the image of each period, those without a scene between others included."""
    starts = _period_starts(ds, timeline)
    rank = _rank(order, ds.sizes["time"])
    images: list[xr.Dataset] = []
    for start in _regular(starts, timeline):
        members = _members(starts, start)
        if members is not None:
            part, period = ds.isel(time=members), _period(ds["time"].values, timeline, start)
            images.append(_composite_period(part, how, rank[members], period, make))
        else:
            images.append(_empty(images[0], start))
    return images


def _scale(band: xr.DataArray) -> tuple[float, float]:
    scale, offset = band.attrs.get("scale_factor"), band.attrs.get("add_offset")
    return float(scale or 1.0), float(offset or 0.0)


def _with_classes(ds: xr.Dataset, how: CompositeBlock) -> xr.Dataset:
    """Say what the quality means, where that takes a second band or the neighbours of a pixel."""
    policy = how.quality
    plain = policy.saturation is None and not policy.margin
    made = (
        ds
        if plain or CLASSES in ds.data_vars
        else ds.assign({CLASSES: quality_classes(ds, policy)})
    )
    return made.drop_vars(list(policy.bands[1:]), errors="ignore")


def quality_classes(ds: xr.Dataset, policy: QualityPolicy) -> xr.DataArray:
    """Give the class of each observation, what is not clear widened as the policy says.

    Parameters
    ----------
    ds
        Holds the policy's bands, dims (time, y, x), eager or dask.

    Returns
    -------
    xarray.DataArray
        uint8: `odc_bdc.quality.NODATA`, `SEEN`, `CLEAR`. It does not depend on chunks.
    """
    extra = [ds[name] for name in policy.bands[1:]]
    classes: xr.DataArray = xr.apply_ufunc(
        policy.classify, ds[policy.band], *extra, dask="parallelized", output_dtypes=[np.uint8]
    )
    classes.attrs = {}
    return widened(classes, policy.margin)


def widened(classes: xr.DataArray, radius: int) -> xr.DataArray:
    """Widen what is not clear (`odc_bdc.quality.dilate`) in each time of an eager or lazy array."""
    return classes.copy(data=_dilated(classes.data, radius)) if radius else classes


def _dilated(classes: Any, radius: int) -> Any:
    if isinstance(classes, np.ndarray):
        return dilate(classes, radius)
    import dask.array as da  # noqa: PLC0415 (only where there is dask)

    widened = partial(dilate, radius=radius)
    depth = {0: 0, 1: radius, 2: radius}
    return da.map_overlap(widened, classes, depth=depth, boundary=0, dtype=np.uint8)


def _nodata(band: xr.DataArray, quality: QualityPolicy) -> float | None:
    value = band.attrs.get("nodata", band.attrs.get("_FillValue"))
    if band.name == quality.band and quality.nodata is not None:
        value = quality.nodata
    if value is None or value != value:  # noqa: PLR0124 (NaN is no data in any case)
        return None
    if band.dtype.kind == "f":
        return float(value)
    if not float(value).is_integer():
        raise InvalidValueError(f"band {band.name}: nodata {value} is not a whole number")
    return int(value)


def _period_starts(ds: xr.Dataset, timeline: Timeline | None) -> npt.NDArray[np.datetime64]:
    times = np.asarray(ds["time"].values)
    if times.dtype.kind != "M":
        raise InvalidValueError(f"time is of dtype {times.dtype}, not datetime64")
    if np.isnat(times).any():
        raise InvalidValueError("time holds NaT: every scene needs its date")
    if timeline is None:
        return np.full(times.shape, times.min().astype("datetime64[D]"))
    return timeline.period_starts(times)


def _regular(starts: npt.NDArray[np.datetime64], timeline: Timeline | None) -> list[np.datetime64]:
    """Give the starts of all periods between the first and the last scene, empty ones included."""
    known = starts[~np.isnat(starts)]
    if known.size == 0:
        raise InvalidValueError("no scene falls into a period of the timeline")
    if timeline is None:
        return [known[0]]
    first, last = known.min().item(), known.max().item()
    return [np.datetime64(p.start, "D") for p in timeline.covering(first, last)]


def _rank(order: Sequence[int] | None, n: int) -> npt.NDArray[np.intp]:
    """Give each scene's place in `order`, -1 for all if it is to be computed."""
    if order is None:
        return np.full(n, -1, dtype=np.intp)
    positions = np.asarray(order)
    if sorted(positions.tolist()) != list(range(n)):
        raise InvalidValueError(f"order must hold each position from 0 to {n - 1} once: {order!r}")
    rank = np.empty(n, dtype=np.intp)
    rank[positions] = np.arange(n)
    return rank


def _members(
    starts: npt.NDArray[np.datetime64], start: np.datetime64
) -> slice | npt.NDArray[np.intp] | None:
    """Give the positions of a period's scenes; as a slice, which copies nothing, if they can be."""
    found = np.flatnonzero(starts == start)
    if not found.size:
        return None
    first, last = int(found[0]), int(found[-1])
    return slice(first, last + 1) if last - first == found.size - 1 else found


def _period(times: npt.NDArray[Any], timeline: Timeline | None, start: np.datetime64) -> Period:
    """Give the period that starts on a day; without a timeline all that there is."""
    found = timeline.period_of(cast("date", start.item())) if timeline is not None else None
    if found is not None:
        return found
    days = times.astype("datetime64[D]")
    return Period(days.min().item(), days.max().item())


def _composite_period(
    ds: xr.Dataset,
    how: CompositeBlock,
    rank: npt.NDArray[np.intp],
    period: Period,
    make: Callable[..., Composited],
) -> xr.Dataset:
    """Make the image of one period, with a time axis of length one."""
    quality = how.quality.band
    names = [str(n) for n in ds.data_vars if n not in (quality, CLASSES)]
    classes = [ds[CLASSES]] if CLASSES in ds.data_vars else []
    times = np.asarray(ds["time"].values)
    datasources = ds.coords["datasource"].values if "datasource" in ds.coords else None
    order = np.argsort(rank) if rank[0] >= 0 else dated_order(how.function, times, period)
    n_clear, n_pixels = _clear_pixels(ds, how, needed=order is None)

    def run(stacks: list[kernels.Stack], counts: Any) -> list[npt.NDArray[Any]]:
        codes, *others = stacks
        known = {"classes": others.pop()} if classes else {}
        image = make(
            dict(zip(names, others, strict=True)),
            codes,
            how,
            days_of_year=_days_of_year(times),
            order=scene_order(efficacy(counts, n_pixels), times) if order is None else order,
            datasources=datasources,
            **known,
        ).by_name()
        return [image[name] for name in columns]

    columns = _columns(ds, names, how)
    inputs = [ds[quality], *(ds[n] for n in names), *classes]
    made = over_time(run, inputs, n_clear, [dtype for dtype, _ in columns.values()])
    start = np.datetime64(period.start, "D")
    return _labelled(dict(zip(columns, made, strict=True)), ds, how, columns, start)


def _clear_pixels(ds: xr.Dataset, how: CompositeBlock, *, needed: bool) -> tuple[xr.DataArray, int]:
    """Count the clear pixels of each scene over the whole array, and all pixels of one."""
    quality = ds[how.quality.band]
    spatial = quality.dims[1:]
    n_pixels = int(np.prod([ds.sizes[d] for d in spatial]))
    if not needed:
        return xr.zeros_like(ds["time"], int), n_pixels
    classes = CLASSES in ds.data_vars
    count = partial(_count_clear, how.quality, classes=classes)
    return count_per_time(count, ds[CLASSES] if classes else quality), n_pixels


def _count_clear(
    policy: QualityPolicy, band: kernels.Stack, *, classes: bool
) -> npt.NDArray[np.int64]:
    """Count the clear pixels of each time in the quality band, or in what it means."""
    return kernels.count_clear(*quality_codes(band, band if classes else None, policy))


def _empty(image: xr.Dataset, start: np.datetime64) -> xr.Dataset:
    """Give an image like another one for a period without a scene."""
    blank = {
        str(name): xr.full_like(da, empty_value(da.dtype, da.attrs.get("nodata")))
        for name, da in image.data_vars.items()
    }
    time = image["time"].copy(data=[start.astype("datetime64[ns]")])
    return image.assign(blank).assign_coords(time=time)


def _columns(
    ds: xr.Dataset, names: list[str], how: CompositeBlock
) -> dict[str, tuple[Any, dict[Hashable, Any]]]:
    """Give dtype and attributes of each output, in the order of the image."""
    common = georeference(ds[how.quality.band].attrs)
    out: dict[str, tuple[Any, dict[Hashable, Any]]] = {}
    for name in names:
        for suffix in how.function.suffixes:
            out[name + suffix] = _column(ds[name], how)
    if how.function.picks_date:
        out[how.quality.band] = ds[how.quality.band].dtype, dict(ds[how.quality.band].attrs)
    for name, dtype in how.function.extra:
        out[name] = np.dtype(dtype), {"units": "1", **common}
    for m in usual_auxiliary(how.function, several_platforms="datasource" in ds.coords):
        attrs: dict[Hashable, Any] = {"units": m.units, **common}
        if m.nodata is not None:
            attrs["nodata"] = m.nodata
        out[m.name] = (np.dtype(m.dtype), attrs)
    return out


def _column(band: xr.DataArray, how: CompositeBlock) -> tuple[Any, dict[Hashable, Any]]:
    """Give dtype and attributes of what the function makes of a band."""
    attrs = dict(band.attrs)
    if how.function.is_difference:
        attrs.pop("add_offset", None)
    if how.function.dtype is None:
        return band.dtype, attrs
    return np.dtype(how.function.dtype), {**attrs, "nodata": np.nan}


def _labelled(
    made: dict[str, xr.DataArray],
    ds: xr.Dataset,
    how: CompositeBlock,
    columns: dict[str, tuple[Any, dict[Hashable, Any]]],
    start: np.datetime64,
) -> xr.Dataset:
    out = xr.Dataset({name: da.drop_vars("time", errors="ignore") for name, da in made.items()})
    for name, (_, attrs) in columns.items():
        out[name].attrs = attrs
    out = out.expand_dims(time=[start.astype("datetime64[ns]")])
    out["time"].attrs = dict(ds["time"].attrs)
    out.attrs = dict(ds.attrs)
    return out.transpose(*ds[how.quality.band].dims)


def _days_of_year(times: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
    days = times.astype("datetime64[D]")
    out: npt.NDArray[np.int16] = (
        (days - days.astype("datetime64[Y]")).astype(np.int64) + 1
    ).astype(np.int16)
    return out
