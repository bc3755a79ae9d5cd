"""`LiveImage`: the pixels of an image that nobody has built."""

from __future__ import annotations

import itertools
import logging
import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import rasterio

from odc_bdc.building.choosing import strategy
from odc_bdc.building.reading import GDAL_OPTIONS, SourceFiles
from odc_bdc.building.tile import COUNTS, Tile, Worker, frozen_versions
from odc_bdc.building.windows import SIDE, shared, windows
from odc_bdc.compositing import index_pixels
from odc_bdc.errors import (
    InvalidValueError,
    ReplacedFileError,
    UnknownNameError,
    UnreadableSceneError,
    first_line,
)
from odc_bdc.files import LOCAL_INTERVAL, Access, FileVersion, Versions, plain_href, scene_files
from odc_bdc.live.knowledge import ReadOnlyStore
from odc_bdc.live.recipe import quality_stamp
from odc_bdc.live.scales import LevelReader, Overviews, at_level, choose_level, pyramid_of
from odc_bdc.live.workers import FILES_PER_WORKER, Bands, process_state

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from uuid import UUID

    from odc.geo.geobox import GeoBox

    from odc_bdc.cog import Window
    from odc_bdc.cube import Measurement
    from odc_bdc.live.recipe import LiveRecipe
    from odc_bdc.planning import CompositeTask, SceneRef

_tokens = itertools.count()
_TRIES = 3
_TRY_AGAIN = 30.0
"""Seconds for which a scene that cannot be read is left out."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Part:
    """What computes some outputs at one level.

    Attributes
    ----------
    shape
        Rows and columns of the level.
    block
        Rows and columns of its blocks.
    new_worker
        Makes a worker.
    """

    tile: Tile
    shape: tuple[int, int]
    block: tuple[int, int]
    new_worker: Callable[[], Worker]


@dataclass(slots=True)
class _State:
    """An image with the scenes that can be read.

    Attributes
    ----------
    left_out
        Scenes that cannot.
    number
        Changes whenever the image may have changed.
    versions
        Of the files of all scenes; None of one that is not there.
    until
        When scenes that are left out are tried again.
    """

    task: CompositeTask
    n_clear: tuple[int | None, ...]
    left_out: frozenset[UUID]
    number: int
    versions: Mapping[str, FileVersion | None]
    until: float
    files: SourceFiles
    lock: Any = field(default_factory=threading.RLock)
    parts: dict[tuple[int, bool], _Part] = field(default_factory=dict)
    order: npt.NDArray[np.intp] | None = None
    overviews: Overviews = field(default_factory=Overviews)


class LiveImage:
    """Reads windows of an image that is composited when they are read; for all threads.

    On its own pixel grid it has the pixels of the built image, whatever windows it is read by.
    Blocks that were computed are kept, those of all images of a process together (`limit_cache`),
    so the bands of a window are computed once.

    Parameters
    ----------
    recipe
        From `read_recipe`, or of a task.
    versions
        Of the files of scenes, which are looked at from time to time: where one was replaced, what
        was computed of it is computed anew.
    clock
        Gives seconds.
    """

    def __init__(
        self,
        recipe: LiveRecipe,
        versions: Versions | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recipe, self._clock = recipe, clock
        self._given = versions
        self._hrefs = tuple({b.href: 0 for s in recipe.task.scenes for _, b in s.sources})
        self._outputs = {m.name: m for m in recipe.task.cube.outputs}
        self._pyramid = pyramid_of(recipe.task.geobox)
        self._token, self._numbers = next(_tokens), 0
        self._begin()

    def _begin(self) -> None:
        self._pid, self._lock = os.getpid(), threading.Lock()
        self._versions = self._given or file_versions(self._recipe.task.access, self._pid)
        self._declared: Mapping[str, FileVersion | None] | None = None
        self._held: _State | None = None
        self._look_at = -math.inf

    @property
    def recipe(self) -> LiveRecipe:
        """What it is made by."""
        return self._recipe

    @property
    def geobox(self) -> GeoBox:
        """Its pixel grid."""
        return self._recipe.task.geobox

    @property
    def outputs(self) -> tuple[Measurement, ...]:
        """Its bands."""
        return tuple(self._outputs.values())

    @property
    def left_out(self) -> tuple[UUID, ...]:
        """Ids of scenes that could not be read, of a recipe that leaves these out."""
        return tuple(sorted(self._held.left_out)) if self._held else ()

    def output(self, name: str) -> Measurement:
        """Give a band by name.

        Raises
        ------
        UnknownNameError
            If there is none; the message lists them.
        """
        if name not in self._outputs:
            known = ", ".join(self._outputs)
            raise UnknownNameError(f"{self._name}: has no band {name!r}; it has {known}")
        return self._outputs[name]

    def refresh(self) -> None:
        """Forget all that is known of the scenes: they are read anew."""
        self._versions.forget(self._hrefs)
        with self._lock:
            self._held = None

    def read(
        self,
        name: str,
        window: Window | None = None,
        out_shape: Sequence[int] | None = None,
    ) -> npt.NDArray[Any]:
        """Read a window of a band.

        Parameters
        ----------
        name
            Of an output of the cube.
        window
            Rows and columns within the image; default all of it.
        out_shape
            Rows and columns of the result, if it is to be coarser (or finer): nearest pixels, of
            the level that GDAL would take of the built image. See `odc_bdc.live.scales`.

        Returns
        -------
        numpy.ndarray
            (y, x), of the output's dtype; the caller's to keep.

        Raises
        ------
        UnknownNameError
            If there is no such band.
        InvalidValueError
            If the window does not lie in the image, or the shape is empty.
        UnreadableSceneError
            If a scene cannot be read, and the recipe does not leave out such scenes, or it was the
            last.
        ReplacedFileError
            If files are replaced again and again.
        """
        self.output(name)
        part = self._within(window)
        size = tuple(p.stop - p.start for p in part)
        out = size if out_shape is None else tuple(int(n) for n in out_shape)
        if len(out) != 2 or min(out) < 1:
            raise InvalidValueError(f"{self._name}: cannot be read as an array of shape {out}")
        state, tries = self._current(), 0
        while True:
            try:
                with rasterio.Env(**GDAL_OPTIONS):
                    return self._read(state, name, part, out)
            except UnreadableSceneError as e:
                if self._recipe.unreadable != "skip":
                    raise
                state = self._without(state, e)
            except ReplacedFileError:
                tries += 1
                if tries == _TRIES:
                    raise
                state = self._current(look=True)

    @property
    def _name(self) -> str:
        return self._recipe.task.item_id

    def _current(self, *, look: bool = False) -> _State:
        """Give the image as it is; a new state if a file was replaced, or may be read again."""
        if self._pid != os.getpid():  # locks of a parent may be held for ever
            self._begin()
        now, state = self._clock(), self._held
        if state is not None and now < min(self._look_at, state.until) and not look:
            return state
        if look:
            self._versions.forget(self._hrefs)
        files = self._versions.known(self._hrefs)
        with self._lock:
            self._look_at = now + LOCAL_INTERVAL
            state = self._held
            if state is None or state.versions != files or now >= state.until:
                if state is not None and state.versions != files:
                    gone = [plain_href(h) for h in files if files[h] != state.versions[h]]
                    _LOG.warning(
                        "%s: %d of its files have changed, such as %s",
                        self._name,
                        len(gone),
                        gone[0],
                    )
                state = self._held = self._new_state(frozenset(), files)
            return state

    def _within(self, window: Window | None) -> Window:
        shape = tuple(self.geobox.shape)
        if window is None:
            return slice(0, shape[0]), slice(0, shape[1])
        parts = []
        for part, size in zip(window, shape, strict=True):
            start, stop = part.start or 0, size if part.stop is None else part.stop
            if not 0 <= start < stop <= size or part.step not in (None, 1):
                raise InvalidValueError(
                    f"{self._name}: has {shape[0]} rows and {shape[1]} columns; "
                    f"{start} to {stop} do not lie in it"
                )
            parts.append(slice(int(start), int(stop)))
        return parts[0], parts[1]

    def _new_state(
        self, left_out: frozenset[UUID], files: Mapping[str, FileVersion | None]
    ) -> _State:
        self._numbers += 1
        task = self._recipe.task
        scenes = tuple(scene for scene in task.scenes if scene.id not in left_out)
        counted = self._counted(files)
        reduced = replace(task, scenes=scenes) if left_out else task
        n_clear = tuple(counted.get(group) for group in reduced.observations)
        until = self._clock() + _TRY_AGAIN if left_out else math.inf
        known = {href: version for href, version in files.items() if version is not None}
        sources = SourceFiles(self.geobox, frozen_versions(task, known))
        return _State(reduced, n_clear, left_out, self._numbers, files, until, sources)

    def _counted(
        self, files: Mapping[str, FileVersion | None]
    ) -> dict[tuple[SceneRef, ...], int | None]:
        """Give what the recipe knows of observations whose files are still those of then."""
        task, stamp = self._recipe.task, self._recipe.stamp
        if self._declared is None:
            as_declared = stamp in {None, quality_stamp(task, files)}
            self._declared = files if as_declared else {}
        known = self._declared
        return {
            group: n_clear
            for group, n_clear in zip(task.observations, self._recipe.n_clear, strict=True)
            if all(
                b.href in known and known[b.href] == files[b.href]
                for scene in group
                for _, b in scene.sources
            )
        }

    def _without(self, state: _State, error: UnreadableSceneError) -> _State:
        """Give the image without a scene; raise the error again if it was the last."""
        left_out = state.left_out | {error.scene}
        if len(left_out) == len(self._recipe.task.scenes) or left_out == state.left_out:
            raise error
        _LOG.warning("%s: %s; it is left out", self._name, first_line(error))
        with self._lock:
            if self._held is state:
                self._held = self._new_state(left_out, state.versions)
            return self._held or state

    def _read(
        self, state: _State, name: str, window: Window, out: Sequence[int]
    ) -> npt.NDArray[Any]:
        size = [part.stop - part.start for part in window]
        number = choose_level(size, out, len(self._pyramid.levels))
        if number == 0 and list(out) == size:
            return self._pixels(state, 0, name, window)
        level, whole = self._pyramid.levels[number].shape, self._pyramid.levels[0].shape
        taken = [
            _nearest(part, n, theirs, ours)
            for part, n, theirs, ours in zip(window, out, level, whole, strict=True)
        ]
        rows, columns = (slice(int(at[0]), int(at[-1]) + 1) for at in taken)
        pixels = self._pixels(state, number, name, (rows, columns))
        found: npt.NDArray[Any] = pixels[np.ix_(taken[0] - rows.start, taken[1] - columns.start)]
        return found

    def _pixels(self, state: _State, number: int, name: str, window: Window) -> npt.NDArray[Any]:
        """Put a window of a level together from blocks."""
        out = np.empty(tuple(part.stop - part.start for part in window), self._outputs[name].dtype)
        part = self._part(state, number, counted=True)
        for block in _touched(window, part.block, part.shape):
            if parts := shared(window, block):
                out[parts[0]] = self._block(state, number, name, block)[parts[1]]
        return out

    def _block(self, state: _State, number: int, name: str, block: Window) -> npt.NDArray[Any]:
        """Give a block of an output, which may be kept."""
        blocks, cube = process_state().blocks, state.task.cube
        corner = block[0].start, block[1].start
        key = self._token, state.number, number, corner
        index = next((i for i in cube.indices if i.measurement.name == name), None)
        if index is not None:
            bands = {band: self._block(state, number, band, block) for _, band in index.bands}
            made = blocks.get((*key, name), lambda: {name: index_pixels(bands, cube, index)})
            return made[name]
        # Which pixel is taken from where can be told without the counts, and then far fewer bands
        # are decoded.
        counted = name in COUNTS or strategy(cube) != "in order" or (*key, True) in blocks
        image = blocks.get((*key, counted), lambda: self._computed(state, number, block, counted))
        return image[name]

    def _computed(
        self,
        state: _State,
        number: int,
        block: Window,
        counted: bool,  # noqa: FBT001 (private)
    ) -> Bands:
        part, idle = self._part(state, number, counted=counted), process_state().idle
        order = self._order(state)
        worker = idle.take(part.tile) or part.new_worker()
        found: Bands = {}
        names = {m.name for m in part.tile.cube.outputs}
        worker.composite(
            block,
            order,
            lambda _, image: found.update((n, a) for n, a in image.items() if n in names),
        )
        idle.put(part.tile, worker)
        return found

    def _part(self, state: _State, number: int, *, counted: bool) -> _Part:
        with state.lock:
            key = number, counted
            if key not in state.parts:
                state.parts[key] = self._new_part(state, number, counted=counted)
            return state.parts[key]

    def _new_part(self, state: _State, number: int, *, counted: bool) -> _Part:
        cube = state.task.cube
        auxiliary = tuple(a for a in cube.auxiliary if counted or a not in COUNTS)
        task = replace(state.task, cube=cube.patch(indices=(), auxiliary=auxiliary))
        if number == 0:
            folder = self._recipe.knowledge if counted else None
            store = ReadOnlyStore(folder) if folder else None
            tile = Tile(task, 1, store, state.files)
            # As files want it, whatever is decoded.
            return _Part(
                tile,
                tile.shape,
                tile.window_shape(alone=True),
                lambda: Worker(tile, FILES_PER_WORKER),
            )
        level = at_level(task, number)
        coarse = Tile(level, 1, None, state.files)
        return _Part(
            coarse,
            coarse.shape,
            (SIDE, SIDE),
            lambda: Worker(
                coarse, FILES_PER_WORKER, LevelReader(state.files, level, state.overviews)
            ),
        )

    def _order(self, state: _State) -> npt.NDArray[np.intp]:
        """Give the order of the observations, which is that of the whole image."""
        with state.lock:
            if state.order is None:
                part = self._part(state, 0, counted=True)
                known = part.tile.known
                for position, n_clear in enumerate(state.n_clear):
                    if n_clear is not None:
                        known[position].n_clear = n_clear
                with part.tile:  # its workers, if there is something to count
                    state.order = part.tile.order(list(windows(part.shape, part.block)))
            return state.order


@cache
def file_versions(access: Access, process: int) -> Versions:
    """Give the versions of files as all live images of a process see them."""
    del process  # a lock of its parent may be held for ever
    return Versions(scene_files(access))


def _touched(window: Window, block: tuple[int, int], shape: tuple[int, int]) -> Iterator[Window]:
    """Give the blocks that a window touches."""
    rows, columns = (
        range(part.start // side * side, part.stop, side)
        for part, side in zip(window, block, strict=True)
    )
    for y in rows:
        for x in columns:
            yield (
                slice(y, min(y + block[0], shape[0])),
                slice(x, min(x + block[1], shape[1])),
            )


def _nearest(part: slice, count: int, level: int, whole: int) -> npt.NDArray[np.int64]:
    """Give the rows or columns of a level that GDAL takes for a part of the image."""
    ratio = level / whole
    start = int(part.start * ratio + 0.5) if level != whole else part.start
    size = part.stop - part.start
    span = max(1, int(size * ratio + 0.5)) if level != whole else size
    start = min(start, level - 1)
    span = min(span, level - start)
    at = start + np.floor((np.arange(count) + 0.5) * (span / count) + 1e-10).astype(np.int64)
    nearest: npt.NDArray[np.int64] = np.minimum(at, level - 1)
    return nearest
