"""Coarser views: which pixels of the scenes they are made of, and how these are read.

A view at level `k` has the pixels that overview `k` of the built image would have: they are nearest
pixels of the image (`odc_bdc.cog.Pyramid`), so the view is the composite of those pixels of the
scenes. Where scenes have overviews of nearest pixels, they hold just these.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.windows import Window as RasterWindow

from odc_bdc.building.positions import positions
from odc_bdc.building.reading import SourceReader, with_nodata_of
from odc_bdc.building.warping import ALIKE, resample
from odc_bdc.cog import Pyramid
from odc_bdc.cube import CATEGORICAL
from odc_bdc.planning import CompositeTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from odc_bdc.building.reading import SourceFile, SourceFiles
    from odc_bdc.cog import Level, Window
    from odc_bdc.cube import Encoding
    from odc_bdc.files import SceneFile
    from odc_bdc.planning import BandSource

OVERVIEW_BLOCK = 512
"""Side of the blocks of built images: their last overview is the first that fits into one."""

_AT_ONCE = 1 << 24
"""Pixels of a file without fitting overviews that are read at once."""


@dataclass(frozen=True)
class LevelTask(CompositeTask):
    """A task at a coarser level.

    Attributes
    ----------
    number
        Of the level, from 1.
    """

    number: int = 1

    @cached_property
    def level(self) -> Level:
        """Which rows and columns of the image the level consists of."""
        return pyramid_of(self.cube.geobox(self.tile_id)).levels[self.number]

    @cached_property
    def geobox(self) -> GeoBox:
        """Pixels of the level, each around those that it stands for."""
        whole = self.cube.geobox(self.tile_id)
        if whole is None:  # the task of the whole image would have been refused
            raise AssertionError
        rows, columns = self.level.shape
        scale = Affine.scale(whole.shape.x / columns, whole.shape.y / rows)
        return GeoBox(self.level.shape, whole.affine * scale, whole.crs)


def at_level(task: CompositeTask, number: int) -> LevelTask:
    """Give a task at a level from 1; clouds are widened by fewer of its larger pixels."""
    sources = tuple(
        replace(s, quality=replace(s.quality, dilation=s.quality.dilation >> number))
        for s in task.cube.sources
    )
    cube = task.cube.patch(sources=sources)
    return LevelTask(cube, task.tile_id, task.period, task.scenes, task.access, number=number)


def pyramid_of(geobox: GeoBox) -> Pyramid:
    """Give the pyramid that the built image has."""
    return Pyramid.of(tuple(geobox.shape), OVERVIEW_BLOCK)


def choose_level(window: Sequence[int], out: Sequence[int], levels: int) -> int:
    """Give the level that a read uses: the coarsest that has all pixels asked for, as of GDAL.

    Parameters
    ----------
    window, out
        Rows and columns of the image, and of the result.
    levels
        How many there are, the image included.

    Examples
    --------
    >>> choose_level((1024, 1024), (256, 256), 4), choose_level((900, 900), (300, 300), 4)
    (2, 1)
    >>> choose_level((100, 100), (100, 200), 4), choose_level((9000, 9000), (1, 1), 4)
    (0, 3)
    """
    factor = min(size / wanted for size, wanted in zip(window, out, strict=True))
    return max(0, min(levels - 1, math.floor(math.log2(factor * (1 + 1e-6)))))


@dataclass(slots=True)
class _Overviews:
    """What is known of the overviews of a file.

    Attributes
    ----------
    shapes
        Rows and columns of the image and of each overview.
    are_nearest
        Whether overviews hold nearest pixels; None if nobody has looked.
    """

    shapes: tuple[tuple[int, int], ...]
    are_nearest: bool | None = None


class Overviews:
    """What is known of the overviews of all files of an image; for all threads."""

    def __init__(self) -> None:
        self._known: dict[SceneFile, _Overviews] = {}
        self._lock = threading.Lock()

    def get(self, file: SceneFile, *, categorical: bool) -> tuple[tuple[int, int], ...]:
        """Give rows and columns of an image and of those of its overviews that may be used.

        Overviews of bands of codes may be if they hold nearest pixels. Files seldom say so, so the
        last overview is compared with the one before.
        """
        with self._lock:
            known = self._known.get(file)
        if known is None:
            known = _Overviews(_shapes(file))
        if categorical and known.are_nearest is None:
            known.are_nearest = _are_nearest(file, known.shapes)
        with self._lock:
            self._known[file] = known
        return known.shapes if not categorical or known.are_nearest else known.shapes[:1]


def _shapes(file: SceneFile) -> tuple[tuple[int, int], ...]:
    with file.dataset() as src:
        shapes = [src.shape]
        count = len(src.overviews(1))
    for number in range(count):
        with file.dataset(number) as src:
            shapes.append(src.shape)
    return tuple(shapes)


def _are_nearest(file: SceneFile, shapes: Sequence[tuple[int, int]]) -> bool:
    """Tell whether each pixel of the last overview is the nearest of the one before."""
    if len(shapes) < 2:
        return False
    with file.dataset(len(shapes) - 2) as src:
        last = src.read(1)
    with file.dataset(None if len(shapes) == 2 else len(shapes) - 3) as src:
        before = src.read(1)
    rows, columns = (
        np.minimum(np.floor(0.5 + np.arange(n) * (m / n)).astype(int), m - 1)
        for n, m in zip(last.shape, before.shape, strict=True)
    )
    return np.array_equal(last, before[np.ix_(rows, columns)])


class LevelReader(SourceReader):
    """Reads windows of the bands of scenes at a coarser level of a tile.

    It has the interface of `SourceReader`, whose windows are then of the level. Not for use by
    several threads at once.

    Parameters
    ----------
    files
        Of the tile itself.
    task
        The level.
    overviews
        Shared by all readers of the image.
    """

    def __init__(self, files: SourceFiles, task: LevelTask, overviews: Overviews) -> None:
        super().__init__(files)
        self._task, self._overviews = task, overviews

    def read(
        self,
        source: BandSource,
        resampling: str,
        window: Window,
        out: npt.NDArray[Any] | None = None,
    ) -> npt.NDArray[Any]:
        """Read one band at the level; see `SourceReader.read`.

        Bands are read from overviews, where there are any; bands of codes (those whose resampling
        is nearest or mode) only from overviews that hold nearest pixels, else from the file's own.
        """
        known = source.encoding
        rows, columns = (part.stop - part.start for part in window)
        if out is None or out.dtype != known.dtype:
            out = np.empty((rows, columns), known.dtype)
        out.fill(known.missing)
        file = self._files.get(source)
        shapes = self._overviews.get(file.file, categorical=resampling in CATEGORICAL)
        if file.corner is None:
            self._warped(file, shapes, resampling, window, out, known=known)
            return out
        self._taken(file, file.corner, shapes, window, out)
        with_nodata_of(known, file, out)
        return out

    def _taken(
        self,
        file: SourceFile,
        corner: tuple[int, int],
        shapes: Sequence[tuple[int, int]],
        window: Window,
        out: npt.NDArray[Any],
    ) -> None:
        """Take the pixels of a file that lies on the tile's; `corner` is the tile's in it."""
        number = _overview(shapes, 2**self._task.number)
        inside, wanted = [], []
        for axis, positions_ in enumerate((self._task.level.rows, self._task.level.columns)):
            at = positions_[window[axis]] + corner[axis]
            within = np.flatnonzero((at >= 0) & (at < file.shape[axis]))
            if not within.size:
                return
            size, whole = shapes[number][axis], file.shape[axis]
            # A quarter: where an overview's pixel is the very one that is wanted it is found
            # however sizes were rounded.
            exact = np.floor(at[within] * (size / whole) + (0.25 if number else 0)).astype(int)
            inside.append(slice(int(within[0]), int(within[-1]) + 1))
            wanted.append(np.clip(exact, 0, size - 1))
        found = self._gathered(file, number, wanted[0], wanted[1])
        out[inside[0], inside[1]] = found

    def _gathered(
        self,
        file: SourceFile,
        number: int,
        rows: npt.NDArray[np.int64],
        columns: npt.NDArray[np.int64],
    ) -> npt.NDArray[Any]:
        """Read rows and columns of an overview."""
        window = (
            slice(int(rows[0]), int(rows[-1]) + 1),
            slice(int(columns[0]), int(columns[-1]) + 1),
        )
        size = math.prod(part.stop - part.start for part in window)
        if size > _AT_ONCE and len(rows) > 1:
            halves = np.array_split(rows, 2)
            return np.concatenate([self._gathered(file, number, r, columns) for r in halves])
        pixels = self._overview_pixels(file, number, window)
        gathered: npt.NDArray[Any] = pixels[np.ix_(rows - rows[0], columns - columns[0])]
        return gathered

    def _overview_pixels(self, file: SourceFile, number: int, window: Window) -> npt.NDArray[Any]:
        if number == 0:
            return self._pixels(file, window)
        (r0, r1), (c0, c1) = ((part.start, part.stop) for part in window)
        with self._dataset(file.file, number - 1).reading() as src:
            found: npt.NDArray[Any] = src.read(
                file.band, window=RasterWindow(c0, r0, c1 - c0, r1 - r0)
            )
        self.bytes += found.nbytes
        return found

    def _warped(
        self,
        file: SourceFile,
        shapes: Sequence[tuple[int, int]],
        resampling: str,
        window: Window,
        out: npt.NDArray[Any],
        *,
        known: Encoding,
    ) -> None:
        """Warp the overview of a file of another pixel grid."""
        coarse = self._task.geobox
        row, column = file.place
        own = GeoBox(
            file.shape, file.raster.affine * Affine.translation(column, row), file.raster.crs
        )
        row, column = (size // 2 for size in coarse.shape)
        middle = slice(row, row + 1), slice(column, column + 1)
        # An overview may be as much coarser as pixels are alike, lest tiles of a grid differ in it.
        ratio = min(positions(own, coarse, middle).ratios)
        number = _overview(shapes, max(1.0, ratio * ALIKE))
        height, width = shapes[number]
        scale = Affine.scale(file.shape[1] / width, file.shape[0] / height)
        grid = GeoBox((height, width), own.affine * scale, own.crs)
        where = positions(grid, coarse, window)
        touched = where.touched(resampling, (slice(0, height), slice(0, width)))
        if not all(part.stop > part.start for part in touched):
            return
        pixels = self._overview_pixels(file, number, touched).astype(out.dtype, copy=False)
        corner = touched[0].start, touched[1].start
        with_nodata_of(known, file, pixels)
        resample(pixels, corner, where, out, resampling, nodata=known.nodata)


def _overview(shapes: Sequence[tuple[int, int]], factor: float) -> int:
    """Give the coarsest of an image (0) and its overviews that is no coarser than a factor."""
    whole = shapes[0]
    fine = [n for n, shape in enumerate(shapes) if whole[1] / shape[1] <= factor * 1.01]
    return fine[-1]
