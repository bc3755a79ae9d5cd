"""`apply`: a user's own function of numpy over a cube, in the user's own process."""

from __future__ import annotations

import inspect
import linecache
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from odc_bdc.errors import InvalidValueError, first_line, users_line
from odc_bdc.grid import georeference
from odc_bdc.notebook.bands import find_band

Function: TypeAlias = Callable[..., npt.NDArray[Any]]

_SIDES = (5, 7, 11)
"""Rows and columns of the small block: a length that time has too is not taken."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What a function gave for a small block.

    Attributes
    ----------
    shape, dtype
        Of the result.
    seconds
        That it took.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    seconds: float

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape} in {self.seconds:.3g} s"


def apply(
    fn: Function,
    ds: xr.Dataset,
    *,
    bands: Sequence[str] | None = None,
    dtype: npt.DTypeLike | None = None,
    nodata: float | None = None,
    name: str = "result",
    keep: Sequence[str] = (),
) -> xr.Dataset:
    """Apply a function of numpy arrays to the bands of a cube.

    It is first tried on a small block. Of dask arrays the result is lazy: the function sees one
    tile at a time, with all its times, so it must not depend on what lies beyond (a maximum of the
    whole image, say). It runs in this process or on its dask cluster; no server of maps sees it.

    Parameters
    ----------
    fn
        Takes arrays (time, y, x), or (y, x) of a dataset without time, and gives one of that shape,
        or of (y, x). Its parameters are the names of bands, or aliases such as ``red``.
    ds
        The cube, eager or dask.
    bands
        Names of the bands that it takes, in order; where its parameters have other names.
    dtype
        Of the result; by default what the function gives.
    nodata
        Value in the result that means no data; becomes the attribute ``nodata``.
    name
        Of the result.
    keep
        Names of bands that are to go along.

    Returns
    -------
    xarray.Dataset
        The result, and what is kept, with the coordinates of `ds`; lazy if `ds` is.

    Raises
    ------
    UnknownNameError
        If there is no such band.
    InvalidValueError
        If the function fails, in one sentence with its line, or gives something else than such an
        array.

    Examples
    --------
    >>> def water(green, nir):
    ...     return (green > nir).mean(axis=0)
    >>> pixels = np.arange(24, dtype="int16").reshape(2, 3, 4)
    >>> scenes = xr.Dataset({b: (("time", "y", "x"), pixels) for b in ("green", "nir")})
    >>> apply(water, scenes).result.shape
    (3, 4)
    """
    arrays = _arrays(fn, ds, bands)
    dims = arrays[0].dims
    trial = _tried(fn, [_small(a) for a in arrays])
    kept = dims[len(dims) - len(trial.shape) :]
    run = _Guarded(fn, np.dtype(dtype or trial.dtype), timeless=len(kept) < len(dims))
    data = _mapped(run, [a.data for a in arrays])
    known = georeference(arrays[0].attrs)
    if nodata is not None:
        known["nodata"] = nodata
    made = xr.DataArray(data, dims=kept, attrs=known)
    coords = {k: c for k, c in ds.coords.items() if set(c.dims) <= set(kept)}
    found = xr.Dataset({name: made}, coords=coords, attrs=ds.attrs)
    return found.assign({n: ds[find_band(ds, n)] for n in keep})


def test_execute(
    fn: Function,
    *shapes: Any,
    bands: Sequence[str] | None = None,  # noqa: PT028 (no test)
    dtype: npt.DTypeLike = "int16",  # noqa: PT028 (no test)
) -> Trial:
    """Try a function on small arrays, as a rehearsal for `apply`.

    Parameters
    ----------
    fn
        As of `apply`.
    *shapes
        The cube, for the very arrays that `apply` tries the function on; or a shape for each of its
        parameters, such as ``(4, 64, 64)``, or an array, which is taken as it is. A single shape
        serves all parameters.
    bands
        As of `apply`, with a cube.
    dtype
        Of the arrays that are made; they hold the numbers 1 to 100 over and over.

    Returns
    -------
    Trial
        Shape and dtype of what it gave, and the seconds it took.

    Raises
    ------
    InvalidValueError
        If the function fails, in one sentence with its line, or gives something else than `apply`
        takes: an array of the shape of the first that it gets, or of that without times.

    Examples
    --------
    >>> trial = test_execute(lambda red, nir: nir - red, (2, 8, 8))
    >>> trial.shape, str(trial.dtype)
    ((2, 8, 8), 'int16')
    """
    if not shapes:
        raise InvalidValueError(
            "give the cube, or a shape for each array that the function takes: (4, 64, 64)"
        )
    if isinstance(shapes[0], xr.Dataset):
        return _tried(fn, [_small(a) for a in _arrays(fn, shapes[0], bands)])
    arrays = [s if isinstance(s, np.ndarray) else _numbers(s, dtype) for s in shapes]
    if len(arrays) == 1:
        arrays *= max(1, len(_parameters(fn) or ()))
    return _tried(fn, arrays)


test_execute.__test__ = False  # type: ignore[attr-defined]  # pytest takes it for a test


def _name(fn: Function) -> str:
    return str(getattr(fn, "__name__", type(fn).__name__))


def _parameters(fn: Function) -> list[str] | None:
    """Give the names of a function's parameters; None if it takes any number."""
    try:
        known = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):  # some are written in C
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in known):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in known if p.kind in positional and p.default is p.empty]


def _bands(fn: Function, ds: xr.Dataset, bands: Sequence[str] | None) -> list[str]:
    wanted = list(bands) if bands is not None else _parameters(fn)
    if wanted is None:
        wanted = [str(n) for n in ds.data_vars]
    if not wanted:
        raise InvalidValueError(f"{_name(fn)} takes no band: it should have some as parameters")
    return [find_band(ds, n) for n in wanted]


def _arrays(fn: Function, ds: xr.Dataset, bands: Sequence[str] | None) -> Sequence[xr.DataArray]:
    """Give the bands that a function takes, of one shape and chunked alike."""
    names = _bands(fn, ds, bands)
    arrays: Sequence[xr.DataArray] = xr.unify_chunks(*(ds[n] for n in names))  # type: ignore[assignment]
    dims = arrays[0].dims
    strange = next((a for a in arrays if a.dims != dims), None)
    if strange is not None or len(dims) not in {2, 3}:
        band = strange if strange is not None else arrays[0]
        raise InvalidValueError(
            f"band {band.name} has dimensions {band.dims}; bands of (time, y, x), or all of "
            "(y, x), are needed"
        )
    return arrays


def _small_sizes(band: xr.DataArray) -> list[int]:
    """Give the shape of the small block, of which rows and columns differ from times."""
    times = [int(n) for n in band.shape[:-2]]
    return [*times, *[side for side in _SIDES if side not in times][:2]]


def _small(band: xr.DataArray) -> npt.NDArray[Any]:
    """Give a small block: of the band's own numbers, if they are at hand."""
    sizes = _small_sizes(band)
    if band.chunks or not band.size:
        return _numbers(sizes, band.dtype)
    corner = np.asarray(band.data[..., : sizes[-2], : sizes[-1]])
    return np.resize(corner, sizes) if corner.shape != tuple(sizes) else corner.copy()


def _numbers(shape: Any, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    try:
        sizes = tuple(int(n) for n in shape)
        return (np.arange(np.prod(sizes)) % 100 + 1).astype(dtype).reshape(sizes)
    except (TypeError, ValueError) as e:
        raise InvalidValueError(f"{shape!r} is no shape such as (4, 64, 64)") from e


def _tried(fn: Function, arrays: Sequence[npt.NDArray[Any]]) -> Trial:
    begun = time.perf_counter()
    found = _called(fn, arrays)
    trial = Trial(found.shape, found.dtype, time.perf_counter() - begun)
    given = arrays[0].shape
    if trial.shape not in {given, given[-2:]}:
        raise InvalidValueError(
            f"{_name(fn)} gives an array of shape {trial.shape} for bands of shape {given}; it "
            f"should be {' or '.join(str(s) for s in dict.fromkeys((given, given[-2:])))}"
        )
    return trial


def _called(fn: Function, arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Call a user's function; what goes wrong in it is told in one sentence."""
    try:
        found = fn(*arrays)
    except Exception as e:  # noqa: BLE001 (it may raise anything)
        raise InvalidValueError(
            f"{_name(fn)} fails: {type(e).__name__}: {first_line(e)}{_line(fn, e)}"
        ) from None
    if not isinstance(found, np.ndarray | np.generic):
        raise InvalidValueError(
            f"{_name(fn)} gives {type(found).__name__}, where a numpy array is needed"
        )
    return np.asarray(found)


def _line(fn: Function, error: BaseException) -> str:
    """Say which line of the user's went wrong."""
    if line := users_line(error):
        return f" ({line})"
    code = getattr(fn, "__code__", None)
    if code is None:
        return ""
    first = linecache.getline(code.co_filename, code.co_firstlineno).strip()
    return f" (line {code.co_firstlineno}: {first})" if first else ""


@dataclass(frozen=True, slots=True)
class _Guarded:
    """A user's function that gives what its trial promised."""

    fn: Function
    dtype: np.dtype[Any]
    timeless: bool

    def __call__(self, *arrays: npt.NDArray[Any]) -> npt.NDArray[Any]:
        wanted = arrays[0].shape[1:] if self.timeless else arrays[0].shape
        found = _called(self.fn, arrays)
        if found.shape != wanted:
            raise InvalidValueError(
                f"{_name(self.fn)} gives an array of shape {found.shape}, where {wanted} is needed"
            )
        return found.astype(self.dtype, copy=False)


def _mapped(run: _Guarded, arrays: Sequence[Any]) -> Any:
    if not any(isinstance(a, da.Array) for a in arrays):
        return run(*arrays)
    lazy = [da.asarray(a) for a in arrays]
    if lazy[0].ndim == 3:
        lazy = [a.rechunk({0: -1}) for a in lazy]
    return da.map_blocks(
        run,
        *lazy,
        dtype=run.dtype,
        drop_axis=0 if run.timeless else None,
        meta=np.empty((0,) * (lazy[0].ndim - run.timeless), run.dtype),
    )
