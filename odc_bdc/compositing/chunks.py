"""Functions of all times at once, over the spatial chunks of dask arrays or over whole arrays."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from operator import getitem
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
    """Build the graph: a task for each spatial chunk, and one to take each result out of it."""
    import dask.array as da  # noqa: PLC0415 (only where there is dask)
    from dask.highlevelgraph import HighLevelGraph  # noqa: PLC0415

    aligned = xr.unify_chunks(*(band if band.chunks else band.chunk() for band in bands))
    arrays = [band.data for band in aligned]
    known = da.asarray(whole).rechunk(-1)
    times, *chunks = arrays[0].numblocks
    name = f"composite-{uuid.uuid4().hex}"
    tasks = {
        (name, *at): (
            _run,
            run,
            [[(array.name, t, *at) for t in range(times)] for array in arrays],
            (known.name, 0),
        )
        for at in np.ndindex(*chunks)
    }
    graph = HighLevelGraph.from_collections(name, tasks, dependencies=[*arrays, known])
    out = []
    for number, dtype in enumerate(dtypes):
        part = f"{name}-{number}"
        taken = {(part, *at): (getitem, (name, *at), number) for at in np.ndindex(*chunks)}
        layers = {**graph.layers, part: taken}
        whole_graph = HighLevelGraph(layers, {**graph.dependencies, part: {name}})
        out.append(da.Array(whole_graph, part, arrays[0].chunks[1:], dtype=dtype))
    return out


def _run(
    run: Run, parts: list[list[npt.NDArray[Any]]], whole: npt.NDArray[Any]
) -> Sequence[npt.NDArray[Any]]:
    """Join the times of a chunk, then run."""
    stacks = [np.concatenate(times) if len(times) > 1 else times[0] for times in parts]
    return run([np.ascontiguousarray(stack) for stack in stacks], whole)
