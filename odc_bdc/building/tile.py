"""The composite of one task: read by windows, all times at once."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from odc_bdc.building.reading import SourceReader
from odc_bdc.compositing import (
    CompositeBlock,
    composite_block,
    convert_encoding,
    dated_order,
    efficacy,
    index_pixels,
    load_mask,
    needs_classes,
    recode_quality,
    scene_order,
)
from odc_bdc.compositing.checking import CLASSES
from odc_bdc.errors import SceneError, UnreadableSceneError
from odc_bdc.quality import CLEAR, dilate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from odc.geo.geobox import GeoBox

    from odc_bdc.cube import CubeSpec
    from odc_bdc.planning import CompositeTask, SceneRef
    from odc_bdc.quality import QualityPolicy

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
    UnreadableSceneError
        If a file of a scene cannot be read.
    """
    cube, geobox = task.cube, task.geobox
    out = {
        m.name: np.full(tuple(geobox.shape), m.missing or 0, dtype=m.dtype) for m in cube.outputs
    }
    passes = task.observations
    how = _how(cube)
    numbers = {source.product: cube.datasource(source) for source in cube.sources}
    days = [group[0].datetime.timetuple().tm_yday for group in passes]
    satellites = [numbers[group[0].product] for group in passes]
    with ExitStack() as files:
        tile = _TileReader(cube, geobox, SourceReader(files))
        order = _order(task, passes, tile, block)
        for window in _windows(geobox, block):
            mosaics = [tile.mosaic(group, tile.names, window) for group in passes]
            stacks = {name: np.stack([m[name] for m in mosaics]) for name in tile.names}
            quality, classes = stacks.pop(cube.quality.band), stacks.pop(CLASSES, None)
            image = composite_block(
                stacks,
                quality,
                how,
                days_of_year=days,
                order=order,
                datasources=satellites,
                classes=classes,
            ).by_name()
            image |= {i.measurement.name: index_pixels(image, cube, i) for i in cube.indices}
            for name, array in out.items():
                array[window] = image[name]
    return out


def _how(cube: CubeSpec) -> CompositeBlock:
    scales = {m.name: (m.scale or 1.0, m.offset or 0.0) for m in cube.measurements}
    return CompositeBlock(
        cube.function,
        cube.quality,
        {m.name: m.nodata for m in cube.measurements},
        cube.rounding,
        cube.common,
        scales,
        load_mask(cube.mask),
    )


def _order(
    task: CompositeTask, passes: Sequence[Sequence[SceneRef]], tile: _TileReader, block: int
) -> npt.NDArray[np.intp]:
    """Order the observations as the cube's function wants, by efficacy over the whole tile."""
    cube, geobox = task.cube, task.geobox
    times = np.array([group[0].datetime.replace(tzinfo=None) for group in passes], "datetime64[ns]")
    order = dated_order(cube.function, times, task.period)
    if order is not None:
        return order
    n_clear = np.zeros(len(passes), dtype=np.int64)
    for window in _windows(geobox, block):
        for i, group in enumerate(passes):
            # Where a day has one scene its quality band alone tells; mosaics need the bands too.
            names = tile.quality_names if len(group) == 1 else tile.names
            n_clear[i] += tile.count_clear(tile.mosaic(group, names, window))
    rows, columns = geobox.shape
    return scene_order(efficacy(n_clear, rows * columns), times)


class _TileReader:
    """Reads windows of a tile: the scenes of a pass joined, in the cube's terms."""

    def __init__(self, cube: CubeSpec, geobox: GeoBox, reader: SourceReader) -> None:
        self._cube, self._geobox, self._reader = cube, geobox, reader
        self._measurements = {m.name: m for m in cube.measurements}
        self._sources = {source.product: source for source in cube.sources}
        self._margin = max(source.quality.margin for source in cube.sources)
        extra = (CLASSES,) if needs_classes(cube) else ()
        self.quality_names = (cube.quality.band, *extra)
        self.names = (*self._measurements, *extra)

    def mosaic(
        self, group: Sequence[SceneRef], names: Sequence[str], window: Window
    ) -> dict[str, npt.NDArray[Any]]:
        """Join the scenes of a pass: later ones overwrite earlier ones where they have data."""
        wide, inner = _widened(window, self._margin, tuple(self._geobox.shape))
        out: dict[str, npt.NDArray[Any]] = {}
        for scene in group:
            try:
                pixels = {name: self._read(scene, name, self._geobox[wide]) for name in names}
            except SceneError as e:
                raise UnreadableSceneError(str(e), scene.id) from e
            if not out:
                out = pixels
                continue
            has_data = self._has_data(pixels)
            for name in names:
                np.copyto(out[name], pixels[name], where=has_data)
        if CLASSES in out and self._margin:
            margin = max(self._sources[scene.product].quality.margin for scene in group)
            out[CLASSES] = dilate(out[CLASSES], margin)
        return {name: array[inner] for name, array in out.items()}

    def count_clear(self, mosaic: dict[str, npt.NDArray[Any]]) -> int:
        """Count the pixels whose quality says clear."""
        if CLASSES in mosaic:
            return int(np.count_nonzero(mosaic[CLASSES] == CLEAR))
        quality = mosaic[self._cube.quality.band]
        return int(np.count_nonzero(self._cube.quality.is_clear(quality)))

    def _has_data(self, pixels: dict[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
        has_data = self._cube.quality.has_data(pixels[self._cube.quality.band])
        for name, measurement in self._measurements.items():
            nodata = measurement.nodata
            if nodata is not None and name != self._cube.quality.band:
                has_data = has_data & (pixels[name] != nodata)
        return has_data

    def _read(self, scene: SceneRef, name: str, geobox: GeoBox) -> npt.NDArray[Any]:
        """Read a band of a scene as the cube stores it."""
        policy = self._sources[scene.product].quality
        if name == CLASSES:
            return self._classes(scene, policy, geobox)
        stored, measurement = scene.source(name), self._measurements[name]
        pixels = self._reader.read(stored, measurement.resampling, geobox)
        if name == self._cube.quality.band:
            return recode_quality(pixels, policy, self._cube)
        return convert_encoding(pixels, stored.encoding, measurement.encoding)

    def _classes(
        self, scene: SceneRef, policy: QualityPolicy, geobox: GeoBox
    ) -> npt.NDArray[np.uint8]:
        """Say what a scene's own quality bands mean, before any widening."""
        bands = (self._cube.quality.band, *policy.bands[1:])
        codes = [self._reader.read(scene.source(band), "nearest", geobox) for band in bands]
        return policy.classify(*codes)


Window: TypeAlias = tuple[slice, slice]
"""Rows and columns of a tile."""


def _windows(geobox: GeoBox, block: int) -> Iterator[Window]:
    rows, columns = geobox.shape
    for y in range(0, rows, block):
        for x in range(0, columns, block):
            yield slice(y, min(y + block, rows)), slice(x, min(x + block, columns))


def _widened(window: Window, margin: int, shape: tuple[int, ...]) -> tuple[Window, Window]:
    """Give a window widened within the tile, and where in that the window lies."""
    wide, inner = [], []
    for part, size in zip(window, shape, strict=True):
        start, stop = max(0, part.start - margin), min(size, part.stop + margin)
        wide.append(slice(start, stop))
        inner.append(slice(part.start - start, part.stop - start))
    return (wide[0], wide[1]), (inner[0], inner[1])
