"""Functions of all times at once, over the spatial chunks of dask arrays or over whole arrays."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import getitem
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from odc_bdc.compositing.kernels import Stack

Count = Callable[[Stack], npt.NDArray[np.int64]]
Run = Callable[[list[Stack], npt.NDArray[Any]], Sequence[npt.NDArray[Any]]]


def over_time(
    run: Run, bands: Sequence[xr.DataArray], whole: xr.DataArray, dtypes: Sequence[Any]
) -> list[xr.DataArray]:
    """Reduce bands over time.

    `xarray.apply_ufunc` would move the time to the last axis, and dask copy all pixels twice over.

    Parameters
    ----------
    run
        Is given the bands of one spatial chunk, each a `Stack` in C order, and `whole`; gives
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


def count_per_time(count: Count, band: xr.DataArray) -> xr.DataArray:
    """Count something over all pixels of each time.

    Parameters
    ----------
    count
        Is given the band of one spatial chunk, a `Stack`; gives one number for each time.
    band
        Dims (time, y, x), eager or dask.

    Returns
    -------
    xarray.DataArray
        int64, dim (time,), dask if the band was.
    """
    if band.chunks is None:
        counted: Any = count(band.values)
    else:
        import dask.array as da  # noqa: PLC0415 (only where there is dask)

        inputs, tasks = _tasks(f"count-{uuid.uuid4().hex}", partial(_count, count), [band.data])
        name = f"total-{uuid.uuid4().hex}"
        total = {(name, 0): (sum, list(tasks))}
        counted = da.Array(
            _graph({**tasks, **total}, name, inputs), name, ((band.sizes["time"],),), dtype=np.int64
        )
    return xr.DataArray(counted, dims=band.dims[:1])


def _over_chunks(
    run: Run, bands: Sequence[xr.DataArray], whole: Any, dtypes: Sequence[Any]
) -> list[Any]:
    """Build the graph: a task for each spatial chunk, and one to take each result out of it."""
    import dask.array as da  # noqa: PLC0415 (only where there is dask)
    from dask.highlevelgraph import HighLevelGraph  # noqa: PLC0415

    aligned = xr.unify_chunks(*(band if band.chunks else band.chunk() for band in bands))
    arrays = [band.data for band in aligned]
    known = da.asarray(whole).rechunk(-1)
    name = f"composite-{uuid.uuid4().hex}"
    inputs, tasks = _tasks(name, partial(_run, run), arrays, (known.name, 0))
    graph = _graph(tasks, name, [*inputs, known])
    out = []
    for number, dtype in enumerate(dtypes):
        part = f"{name}-{number}"
        taken = {(part, *key[1:]): (getitem, key, number) for key in tasks}
        layers = {**graph.layers, part: taken}
        whole_graph = HighLevelGraph(layers, {**graph.dependencies, part: {name}})
        out.append(da.Array(whole_graph, part, arrays[0].chunks[1:], dtype=dtype))
    return out


def _tasks(
    name: str, function: Callable[..., Any], arrays: Sequence[Any], *more: Any
) -> tuple[list[Any], dict[tuple[Any, ...], Any]]:
    """Give a task for each spatial chunk, and the arrays that tasks refer to by key.

    Blocks that are in memory become part of the task: to schedule a thousand of them one by one
    takes dask longer than a composite.
    """
    times, *chunks = arrays[0].numblocks
    held = [_blocks_in_memory(array) for array in arrays]
    tasks = {
        (name, *at): (
            function,
            [
                [(array.name, t, *at) if blocks is None else blocks[(t, *at)] for t in range(times)]
                for array, blocks in zip(arrays, held, strict=True)
            ],
            *more,
        )
        for at in np.ndindex(*chunks)
    }
    return [a for a, blocks in zip(arrays, held, strict=True) if blocks is None], tasks


def _blocks_in_memory(array: Any) -> dict[tuple[int, ...], npt.NDArray[Any]] | None:
    """Give all blocks of a dask array, or None if any of them has to be computed."""
    from dask._task_spec import Alias, DataNode  # noqa: PLC0415 (only where there is dask)

    graph, found = array.__dask_graph__(), {}
    for at in np.ndindex(*array.numblocks):
        block = graph[(array.name, *at)]
        while isinstance(block, Alias):
            block = graph[block.target]
        block = block.value if isinstance(block, DataNode) else block
        if not isinstance(block, np.ndarray):
            return None
        found[at] = block
    return found


def _graph(tasks: Mapping[Any, Any], name: str, inputs: Sequence[Any]) -> Any:
    from dask.highlevelgraph import HighLevelGraph  # noqa: PLC0415 (only where there is dask)

    return HighLevelGraph.from_collections(name, dict(tasks), dependencies=list(inputs))


def _run(
    run: Run, parts: list[list[npt.NDArray[Any]]], whole: npt.NDArray[Any]
) -> Sequence[npt.NDArray[Any]]:
    return run([_images(times) for times in parts], whole)


def _count(count: Count, parts: list[list[npt.NDArray[Any]]]) -> npt.NDArray[np.int64]:
    return count(_images(parts[0]))


def _images(times: list[npt.NDArray[Any]]) -> Stack:
    """Give the images of a chunk, which the chunks along time hold one or several each of."""
    if len(times) == 1:
        return np.ascontiguousarray(times[0])
    return [np.ascontiguousarray(image) for block in times for image in block]
