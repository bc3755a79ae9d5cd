"""Functions of all times at once, over the spatial chunks of dask arrays or over whole arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

Run = Callable[[list[npt.NDArray[Any]], npt.NDArray[Any]], Sequence[npt.NDArray[Any]]]


def over_time(
    run: Run, bands: Sequence[xr.DataArray], whole: xr.DataArray, dtypes: Sequence[Any]
) -> list[xr.DataArray]:
    """Reduce bands over time.

    `xarray.apply_ufunc` would move the time to the last axis, and dask copy all pixels twice over.

    Parameters
    ----------
    run
        Is given the bands as C-ordered arrays (time, y, x) of one spatial chunk, and `whole`; gives
        arrays (y, x).
    bands
        Dims (time, y, x), eager or dask with chunks of any size.
    whole
        An array that every call needs all of, eager or dask.
    dtypes
        Of the results.

    Returns
    -------
    list
        Dims (y, x), dask if a band was.
    """
    template = bands[0].isel(time=0, drop=True)
    if all(band.chunks is None for band in bands):
        made: Any = run([np.ascontiguousarray(band.values) for band in bands], whole.values)
    else:
        made = _over_chunks(run, bands, whole.data, dtypes)
    return [xr.DataArray(data, template.coords, template.dims) for data in made]


def _over_chunks(
    run: Run, bands: Sequence[xr.DataArray], whole: Any, dtypes: Sequence[Any]
) -> list[Any]:
    import dask  # noqa: PLC0415 (only where there is dask)
    import dask.array as da  # noqa: PLC0415

    aligned = xr.unify_chunks(*(band if band.chunks else band.chunk() for band in bands))
    parts = [band.data.to_delayed(optimize_graph=False) for band in aligned]
    heights, widths = aligned[0].data.chunks[1:]
    call = dask.delayed(_run, nout=len(dtypes), pure=False)
    # Once, not anew for each chunk.
    known = dask.delayed(np.asarray)(whole)
    grid: list[list[list[Any]]] = [[] for _ in dtypes]
    for row, height in enumerate(heights):
        lines: list[list[Any]] = [[] for _ in dtypes]
        for column, width in enumerate(widths):
            made = call(run, [part[:, row, column].tolist() for part in parts], known)
            for line, array, dtype in zip(lines, made, dtypes, strict=True):
                line.append(da.from_delayed(array, (height, width), dtype))
        for rows, line in zip(grid, lines, strict=True):
            rows.append(line)
    return [da.block(rows) for rows in grid]


def _run(
    run: Run, parts: list[list[npt.NDArray[Any]]], whole: npt.NDArray[Any]
) -> Sequence[npt.NDArray[Any]]:
    """Join the times of a chunk, then run."""
    stacks = [np.concatenate(times) if len(times) > 1 else times[0] for times in parts]
    return run([np.ascontiguousarray(stack) for stack in stacks], whole)
