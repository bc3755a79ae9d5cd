"""The composite of one task: read by windows, all times at once."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from odc_bdc.building.reading import SourceReader
from odc_bdc.compositing import (
    CompositeBlock,
    composite_block,
    convert_encoding,
    efficacy,
    index_pixels,
    recode_quality,
    reference_order,
    scene_order,
    time_order,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from odc.geo.geobox import GeoBox

    from odc_bdc.cube import CubeSpec, Measurement
    from odc_bdc.planning import CompositeTask, SceneRef

_BLOCK = 1024


def composite_tile(task: CompositeTask, *, block: int = _BLOCK) -> dict[str, npt.NDArray[Any]]:
    """Compute the image of a task.

    Parameters
    ----------
    task
        Tile, period and scenes. Scenes of one day (UTC) are mosaicked first: later ones overwrite
        earlier ones wherever they have data in all bands.
    block
        Side of the windows that are computed at once; the result does not depend on it.

    Returns
    -------
    dict
        Array (y, x) by name, for each of the cube's outputs.

    Raises
    ------
    SceneError
        If a file of a scene cannot be read.
    """
    cube, geobox = task.cube, task.geobox
    out = {
        m.name: np.full(tuple(geobox.shape), m.missing or 0, dtype=m.dtype) for m in cube.outputs
    }
    passes = task.observations
    how = CompositeBlock(
        cube.function,
        cube.quality,
        {m.name: m.nodata for m in cube.measurements},
        cube.rounding,
        cube.common,
    )
    numbers = {source.product: cube.datasource(source) for source in cube.sources}
    days = [group[0].datetime.timetuple().tm_yday for group in passes]
    satellites = [numbers[group[0].product] for group in passes]
    with ExitStack() as files:
        reader = SourceReader(files)
        order = _order(task, passes, reader, block)
        for rows, columns in _windows(geobox, block):
            stacks = _read(cube, passes, geobox[rows, columns], reader)
            quality = stacks.pop(cube.quality.band)
            image = composite_block(
                stacks, quality, how, days_of_year=days, order=order, datasources=satellites
            ).by_name()
            image |= {i.measurement.name: index_pixels(image, cube, i) for i in cube.indices}
            for name, array in out.items():
                array[rows, columns] = image[name]
    return out


def _order(
    task: CompositeTask,
    passes: Sequence[Sequence[SceneRef]],
    reader: SourceReader,
    block: int,
) -> npt.NDArray[np.intp]:
    """Order the observations as the cube's function wants, by efficacy over the whole tile."""
    cube, geobox = task.cube, task.geobox
    times = np.array([group[0].datetime.replace(tzinfo=None) for group in passes], "datetime64[ns]")
    if cube.function.ordering == "reference_day":
        day = dict(cube.function.parameters).get("reference_day")
        return reference_order(times, task.period, day)
    if cube.function.ordering != "efficacy":
        return time_order(times)
    n_clear = np.zeros(len(passes), dtype=np.int64)
    for rows, columns in _windows(geobox, block):
        window = geobox[rows, columns]
        for i, group in enumerate(passes):
            # Where a day has one scene its quality band alone tells; mosaics need the bands too.
            names = [cube.quality.band] if len(group) == 1 else [m.name for m in cube.measurements]
            mosaic = _mosaic(cube, group, names, window, reader)
            n_clear[i] += np.count_nonzero(cube.quality.is_clear(mosaic[cube.quality.band]))
    rows, columns = geobox.shape
    return scene_order(efficacy(n_clear, rows * columns), times)


def _read(
    cube: CubeSpec, passes: Sequence[Sequence[SceneRef]], geobox: GeoBox, reader: SourceReader
) -> dict[str, npt.NDArray[Any]]:
    """Give arrays (time, y, x) by measurement, one time for each pass."""
    names = [m.name for m in cube.measurements]
    mosaics = [_mosaic(cube, group, names, geobox, reader) for group in passes]
    return {name: np.stack([m[name] for m in mosaics]) for name in names}


def _mosaic(
    cube: CubeSpec,
    group: Sequence[SceneRef],
    names: Sequence[str],
    geobox: GeoBox,
    reader: SourceReader,
) -> dict[str, npt.NDArray[Any]]:
    measurements = {m.name: m for m in cube.measurements}
    out: dict[str, npt.NDArray[Any]] = {}
    for scene in group:
        pixels = {n: _harmonised(cube, scene, measurements[n], geobox, reader) for n in names}
        if not out:
            out = pixels
            continue
        has_data = cube.quality.has_data(pixels[cube.quality.band])
        for name in names:
            nodata = measurements[name].nodata
            if nodata is not None and name != cube.quality.band:
                has_data = has_data & (pixels[name] != nodata)
        for name in names:
            np.copyto(out[name], pixels[name], where=has_data)
    return out


def _harmonised(
    cube: CubeSpec,
    scene: SceneRef,
    measurement: Measurement,
    geobox: GeoBox,
    reader: SourceReader,
) -> npt.NDArray[Any]:
    """Read a band of a scene as the cube stores it."""
    stored = scene.source(measurement.name)
    pixels = reader.read(stored, measurement.resampling, geobox)
    if measurement.name != cube.quality.band:
        return convert_encoding(pixels, stored.encoding, measurement.encoding)
    source = next(s for s in cube.sources if s.product == scene.product)
    return recode_quality(pixels, source.quality, cube)


def _windows(geobox: GeoBox, block: int) -> Iterator[tuple[slice, slice]]:
    rows, columns = geobox.shape
    for y in range(0, rows, block):
        for x in range(0, columns, block):
            yield slice(y, min(y + block, rows)), slice(x, min(x + block, columns))
