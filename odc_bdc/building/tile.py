"""The image of one task, window by window: only what it takes is decoded."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
import rasterio

from odc_bdc.building.choosing import strategy
from odc_bdc.building.decoding import Decoded
from odc_bdc.building.efficacy import EfficacyStore, TileKnowledge
from odc_bdc.building.observing import ObservationReader, blaming, how_to_composite
from odc_bdc.building.reading import GDAL_OPTIONS, OPEN_FILES, SourceFiles, SourceReader
from odc_bdc.building.tally import Tally
from odc_bdc.building.windows import bytes_per_pixel, window_shape, windows
from odc_bdc.compositing import (
    composite_block,
    dated_order,
    efficacy,
    index_pixels,
    scene_order,
)
from odc_bdc.files import Versions, scene_files

if TYPE_CHECKING:
    from odc_bdc.cog import Window
    from odc_bdc.files import FileVersion
    from odc_bdc.planning import CompositeTask

Bands = dict[str, npt.NDArray[Any]]
T = TypeVar("T")

COUNTS = frozenset({"CLEAROB", "TOTALOB"})
"""Outputs that need to know of each observation where it has data."""


def composite_tile(
    task: CompositeTask,
    *,
    block: int | None = None,
    threads: int = 1,
    store: EfficacyStore | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """Compute the image of a task in memory.

    Parameters
    ----------
    task
        Tile, period and scenes. Scenes of one day (UTC) and satellite are joined first: later ones
        overwrite earlier ones wherever they have data in all bands.
    block, threads, store
        As of `composite_windows`.

    Returns
    -------
    dict
        Array (y, x) by name, for each of the cube's outputs.

    Raises
    ------
    UnreadableSceneError
        If a file of a scene cannot be read.
    """
    shape = tuple(task.geobox.shape)
    out = {m.name: np.empty(shape, dtype=m.dtype) for m in task.cube.outputs}

    def receive(window: Window, image: Bands) -> None:
        for name, array in out.items():
            array[window] = image[name]

    composite_windows(task, receive, block=block, threads=threads, store=store)
    return out


def composite_windows(
    task: CompositeTask,
    receive: Callable[[Window, Bands], None],
    *,
    block: int | None = None,
    threads: int = 1,
    store: EfficacyStore | None = None,
) -> Tally:
    """Compute the image of a task window by window.

    Parameters
    ----------
    task
        As of `composite_tile`.
    receive
        Called with each window and its arrays (y, x) by name, in any order and from several
        threads. The arrays are its to keep.
    block
        Side of the windows in pixels; None fits them to files and memory. The image does not depend
        on it.
    threads
        How many windows are worked at. Each takes up to 256 MB.
    store
        Where what is found out of scenes is looked up and kept.

    Raises
    ------
    UnreadableSceneError
        If a file of a scene cannot be read.
    OSError
        If the store cannot be written.
    """
    with rasterio.Env(**GDAL_OPTIONS), Tile(task, threads, store) as tile:
        shape = (block, block) if block else tile.window_shape()
        whole = list(windows(tile.shape, shape))
        order = tile.order(whole)
        total = Tally()
        for tally in tile.each(whole, lambda worker, w: worker.composite(w, order, receive)):
            total.add(tally)
        tile.finish(total)
    return total


def count_clear(
    task: CompositeTask, *, threads: int = 1, store: EfficacyStore | None = None
) -> list[int]:
    """Count the clear pixels of each observation of a task over its tile: what orders scenes.

    Only the quality is read, and the bands where scenes of one observation overlap.

    Parameters
    ----------
    threads, store
        As of `composite_windows`. What the store knows is not read.

    Raises
    ------
    UnreadableSceneError
        If a file of a scene cannot be read.
    OSError
        If the store cannot be written.
    """
    with rasterio.Env(**GDAL_OPTIONS), Tile(task, threads, store) as tile:
        n_clear = tile.count_clear()
        tile.known.keep()
    return n_clear


def frozen_versions(
    task: CompositeTask, known: Mapping[str, FileVersion] | None = None
) -> Versions:
    """Give versions of a task's files that are looked at once: they must stay what they are."""
    return Versions(scene_files(task.access), local=math.inf, remote=math.inf, known=known)


class Tile:
    """What all windows of a tile share, and the workers."""

    def __init__(
        self,
        task: CompositeTask,
        threads: int,
        store: EfficacyStore | None,
        files: SourceFiles | None = None,
    ) -> None:
        self.cube, self.geobox = task.cube, task.geobox
        self.shape: tuple[int, int] = tuple(self.geobox.shape)
        self.passes = task.observations
        self.files = files or SourceFiles(self.geobox, frozen_versions(task))
        self.how = how_to_composite(self.cube)
        self.strategy = strategy(self.cube)
        self.counted = bool(COUNTS & set(self.cube.auxiliary))
        self.known = TileKnowledge(self.cube, self.geobox, self.passes, store, self.files.versions)
        numbers = {source.product: self.cube.datasource(source) for source in self.cube.sources}
        first = [group[0] for group in self.passes]
        self.days = np.array([scene.datetime.timetuple().tm_yday for scene in first])
        self.satellites = np.array([numbers[scene.product] for scene in first])
        self._times = np.array(
            [scene.datetime.replace(tzinfo=None) for scene in first], "datetime64[ns]"
        )
        self._period, self._threads = task.period, threads
        self._workers: list[Worker] = []
        self._own = threading.local()
        # It starts no thread before there is work.
        self._pool = ThreadPoolExecutor(threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.close()

    def each(self, whole: Iterable[Window], work: Callable[[Worker, Window], T]) -> Iterator[T]:
        """Do some work for each window, in threads that have a worker each; results in order."""

        def run(window: Window) -> T:
            if not hasattr(self._own, "worker"):
                self._own.worker = Worker(self, OPEN_FILES // self._threads)
                self._workers.append(self._own.worker)
            return work(self._own.worker, window)

        if self._threads == 1:
            yield from map(run, whole)
            return
        for future in [self._pool.submit(run, window) for window in whole]:
            yield future.result()

    def window_shape(self, *, alone: bool = False) -> tuple[int, int]:
        """Give rows and columns of windows that suit the files and the memory.

        Those that are read alone, and not one after the other, are no larger than files want.
        """
        samples = {group[0].product: group[0] for group in self.passes}
        files = []
        for scene in samples.values():
            with blaming(scene):
                files += [self.files.get(scene.source(m.name)) for m in self.cube.measurements]
        blocks = [file.block_shape for file in files]
        warped = any(file.corner is None for file in files)
        margin = any(source.quality.margin for source in self.cube.sources)
        wide = not alone and (warped or margin)
        per_pixel = bytes_per_pixel(self.cube) * len(self.passes)
        return window_shape(self.shape, blocks, per_pixel, wide=wide)

    def order(self, whole: Sequence[Window]) -> npt.NDArray[np.intp]:
        """Order the observations as the function wants, by efficacy over the whole tile."""
        order = dated_order(self.cube.function, self._times, self._period)
        if order is not None:
            return order
        n_clear = self.count_clear(whole)
        return scene_order(efficacy(n_clear, self.shape[0] * self.shape[1]), self._times)

    def count_clear(self, whole: Sequence[Window] | None = None) -> list[int]:
        """Give the clear pixels of each observation over the whole tile, by its quality."""
        unknown = [i for i in range(len(self.passes)) if self.known[i].n_clear is None]
        if unknown:
            parts = list(windows(self.shape, self.window_shape())) if whole is None else whole
            counts = self.each(parts, lambda worker, window: worker.count_clear(window, unknown))
            for i, n_clear in zip(unknown, np.sum(list(counts), axis=0).tolist(), strict=True):
                self.known[i].n_clear = n_clear
        return [self.known[i].n_clear or 0 for i in range(len(self.passes))]

    def finish(self, total: Tally) -> None:
        """Keep what was learned."""
        for i, n_clear in enumerate(total.n_clear.tolist()):
            self.known[i].n_clear = n_clear
        self.known.keep()
        total.bytes_read = sum(worker.bytes_read for worker in self._workers)


class Worker:
    """Works at one window after the other; each thread has its own."""

    def __init__(self, tile: Tile, limit: int, reader: SourceReader | None = None) -> None:
        self._tile = tile
        self._files = reader or SourceReader(tile.files, limit)
        self._reader = ObservationReader(tile.cube, tile.geobox, self._files)
        self._room: dict[str, npt.NDArray[Any]] = {}

    def close(self) -> None:
        """Close its files."""
        self._files.close()

    @property
    def bytes_read(self) -> int:
        """Bytes of all pixels that were decoded."""
        return self._files.bytes

    @property
    def bytes_held(self) -> int:
        """Bytes of the room that it keeps for the next window."""
        return sum(array.nbytes for array in self._room.values())

    @property
    def files_open(self) -> int:
        """How many files it keeps open."""
        return self._files.files_open

    def count_clear(self, window: Window, positions: Sequence[int]) -> list[int]:
        """Count the pixels that the quality of some observations calls clear."""
        passes = self._tile.passes
        return [self._reader.look(passes[i], window).n_clear for i in positions]

    def composite(
        self, window: Window, order: npt.NDArray[np.intp], receive: Callable[[Window, Bands], None]
    ) -> Tally:
        """Compute a window, and hand it over."""
        tile, tally = self._tile, Tally()
        with tally.step("read"):
            looks = [self._reader.look(group, window) for group in tile.passes]
            decoded = Decoded(tile, self._reader, looks, self._stacks(window))
            decoded.choose(order)
        with tally.step("composite"):
            image = self._image(decoded, order)
            image |= {
                i.measurement.name: index_pixels(image, tile.cube, i) for i in tile.cube.indices
            }
        tally.n_clear = np.array([look.n_clear for look in looks], np.int64)
        tally.seen = int(np.count_nonzero(image["TOTALOB"]))
        tally.clear = int(np.count_nonzero(image["CLEAROB"]))
        tally.scenes = {s.id for i in decoded.positions for s in looks[i].scenes}
        bands = len(tile.cube.bands)
        tally.blocks_read = bands * len(decoded.positions)
        tally.blocks_skipped = bands * len(looks) - tally.blocks_read
        with tally.step("write"):
            receive(window, image)
        return tally

    def _image(self, decoded: Decoded, order: npt.NDArray[np.intp]) -> Bands:
        """Composite what is decoded, and count the observations that are not."""
        tile, positions = self._tile, decoded.positions
        place = {position: k for k, position in enumerate(positions)}
        image = composite_block(
            decoded.bands(),
            decoded.quality(),
            tile.how,
            days_of_year=tile.days[positions],
            order=[place[p] for p in order.tolist() if p in place],
            datasources=tile.satellites[positions],
            classes=decoded.classes(),
        ).by_name()
        decoded.learn(image["TOTALOB"])
        decoded.count_others(image)
        return image

    def _stacks(self, window: Window) -> Bands:
        """Give room for the bands of all observations of a window; it is used again and again."""
        times = len(self._tile.passes)
        rows, columns = (part.stop - part.start for part in window)
        out = {}
        for m in self._tile.cube.bands:
            size = times * rows * columns
            if m.name not in self._room or self._room[m.name].size < size:
                self._room[m.name] = np.empty(size, m.dtype)
            out[m.name] = self._room[m.name][:size].reshape(times, rows, columns)
        return out
