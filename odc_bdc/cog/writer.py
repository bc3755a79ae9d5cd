"""`CogWriter`: one band as a Cloud Optimized GeoTIFF, from windows in any order."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from odc_bdc.cog.encoding import ZSTD, Compression, directory_of, encode
from odc_bdc.cog.pyramid import Pyramid, Window
from odc_bdc.cog.tiff import (
    HEIGHT,
    OF_THE_WHOLE,
    SUBFILE_TYPE,
    WIDTH,
    Directory,
    framed,
    layout,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from odc.geo.geobox import GeoBox

Place = tuple[int, int, int]
"""A block: its level, row and column."""


class CogWriter:
    """Writes one band as a Cloud Optimized GeoTIFF with overviews of nearest pixels.

    Windows may come in any order and from several threads; the file is the same. Each block is
    encoded when it is full, and kept in a file beside, ``.<name>.blocks``; overviews are gathered
    meanwhile. When all is there the blocks are put into their order. So what is held in memory is
    the blocks that are not full: with windows in order of rows, some rows of blocks.

    As a context manager it finishes the file, or after an error leaves nothing.

    Parameters
    ----------
    path
        Of the file; it must not be there.
    geobox
        Pixel grid of the band.
    dtype
        Of the pixels: integers or floats.
    nodata
        Tag of the file, NaN for floats; None for none.
    blocksize
        Side of the blocks of image and overviews.
    description
        Name of the band.

    Raises
    ------
    OSError
        If the file cannot be written, a full disk included.
    """

    def __init__(
        self,
        path: Path,
        geobox: GeoBox,
        dtype: npt.DTypeLike,
        *,
        nodata: float | None,
        blocksize: int = 512,
        compression: Compression = ZSTD,
        description: str | None = None,
    ) -> None:
        self._path, self._side, self._compression = path, blocksize, compression
        self._nodata = nodata
        self._dtype = np.dtype(dtype)
        self._pyramid = Pyramid.of(tuple(geobox.shape), blocksize)
        self._directory = directory_of(
            geobox, dtype, blocksize, compression, nodata=nodata, description=description
        )
        self._lock = Lock()
        self._gathering: dict[Place, _Gathering] = {}
        self._known: dict[Place, tuple[int, int]] = {}
        self._end = 0
        self._kept = path.with_name(f".{path.name}.blocks")
        # Python's own files: GDAL only logs it if a disk is full when it closes one.
        self._blocks = self._kept.open("w+b")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._finish()
        except BaseException:
            self._path.unlink(missing_ok=True)
            raise
        finally:
            self._kept.unlink(missing_ok=True)
            # What is still in its buffer may not fit on the disk; nobody needs it now.
            self._blocks.raw.close()

    def write(self, window: Window, pixels: npt.NDArray[Any]) -> None:
        """Write a window of the band; windows must not overlap.

        Parameters
        ----------
        window
            Rows and columns.
        pixels
            (y, x), of the writer's dtype.
        """
        for number, level in enumerate(self._pyramid.levels):
            row, column, taken = level.taken(pixels, window)
            if taken.size:
                self._write_level(number, row, column, taken)

    def _write_level(self, level: int, row: int, column: int, pixels: npt.NDArray[Any]) -> None:
        """Encode the blocks that pixels fill, which begin at a row and column; gather others."""
        shape, side = self._pyramid.levels[level].shape, self._side
        (r0, r1), (c0, c1) = (
            _whole_blocks(begin, begin + size, whole, side)
            for begin, size, whole in zip((row, column), pixels.shape, shape, strict=True)
        )
        full = r1 > r0 and c1 > c0
        if full:
            rows = slice(r0 * side - row, min(r1 * side - row, pixels.shape[0]))
            columns = slice(c0 * side - column, min(c1 * side - column, pixels.shape[1]))
            self._encode(level, r0, c0, pixels[rows, columns])
        for by, bx in _blocks(row, column, pixels.shape, side):
            if not (full and r0 <= by < r1 and c0 <= bx < c1):
                self._gather((level, by, bx), row, column, pixels)

    def _encode(self, level: int, by: int, bx: int, pixels: npt.NDArray[Any]) -> None:
        encoded = encode(pixels, self._side, self._compression, self._nodata)
        with self._lock:
            for (row, column), block in encoded.items():
                place = level, by + row, bx + column
                if place in self._known:
                    raise ValueError(f"{self._path.name}: block {place} is written twice")
                self._known[place] = self._end, len(block)
                self._blocks.write(block)
                self._end += len(block)

    def _gather(self, place: Place, row: int, column: int, pixels: npt.NDArray[Any]) -> None:
        """Add the pixels of a window to a block that it does not fill."""
        level, by, bx = place
        shape, side = self._pyramid.levels[level].shape, self._side
        height, width = (
            min(side, whole - b * side) for b, whole in zip((by, bx), shape, strict=True)
        )
        ours, theirs = [], []
        for begin, size, first, length in (
            (by * side, height, row, pixels.shape[0]),
            (bx * side, width, column, pixels.shape[1]),
        ):
            start, stop = max(begin, first), min(begin + size, first + length)
            ours.append(slice(start - begin, stop - begin))
            theirs.append(slice(start - first, stop - first))
        part = pixels[tuple(theirs)]
        with self._lock:
            held = self._gathering.get(place)
            if held is None:
                empty = np.empty((height, width), self._dtype)
                held = self._gathering[place] = _Gathering(empty, empty.size)
            held.pixels[tuple(ours)] = part
            held.missing -= part.size
            if held.missing:
                return
            del self._gathering[place]
        self._encode(level, by, bx, held.pixels)

    def _finish(self) -> None:
        """Put all blocks into their order, behind the directories."""
        levels = self._pyramid.levels
        places = [list(_places(n, level.shape, self._side)) for n, level in enumerate(levels)]
        missing = [place for level in places for place in level if place not in self._known]
        if missing:
            raise ValueError(f"{self._path.name}: {len(missing)} blocks lack pixels: {missing[:3]}")
        directories = [self._of_level(level.shape) for level in levels]
        sizes = [[self._known[place][1] for place in level] for level in places]
        head, _ = layout(directories, sizes)
        with self._path.open("xb") as out:
            out.write(head)
            for level in reversed(places):
                for place in level:
                    at, size = self._known[place]
                    self._blocks.seek(at)
                    out.write(framed(self._blocks.read(size)))

    def _of_level(self, shape: tuple[int, int]) -> Directory:
        if shape == self._pyramid.levels[0].shape:
            return self._directory
        sizes = {SUBFILE_TYPE: [1], HEIGHT: [shape[0]], WIDTH: [shape[1]]}
        return self._directory.without(OF_THE_WHOLE).having(sizes)


class _Gathering:
    """A block that is not full yet."""

    __slots__ = ("missing", "pixels")

    def __init__(self, pixels: npt.NDArray[Any], missing: int) -> None:
        self.pixels, self.missing = pixels, missing


def _whole_blocks(begin: int, end: int, whole: int, side: int) -> tuple[int, int]:
    """Give the blocks that lie wholly within a range; the last of all may be a part of one."""
    first = -(-begin // side)
    return first, (-(-end // side) if end == whole else end // side)


def _blocks(row: int, column: int, shape: tuple[int, ...], side: int) -> Iterator[tuple[int, int]]:
    """Give the blocks that a window of a level touches."""
    for by in range(row // side, (row + shape[0] - 1) // side + 1):
        for bx in range(column // side, (column + shape[1] - 1) // side + 1):
            yield by, bx


def _places(level: int, shape: tuple[int, int], side: int) -> Iterator[Place]:
    """Give all blocks of a level, row by row."""
    for by, bx in _blocks(0, 0, shape, side):
        yield level, by, bx


def write_cog(
    path: Path,
    pixels: npt.NDArray[Any],
    geobox: GeoBox,
    *,
    nodata: float | None,
    blocksize: int = 512,
    compression: Compression = ZSTD,
    description: str | None = None,
) -> None:
    """Write one band as a Cloud Optimized GeoTIFF with overviews.

    Parameters
    ----------
    pixels
        Array (y, x), of integers or floats.
    path, geobox, nodata, blocksize, description
        As of `CogWriter`; a file that is there is replaced.

    Raises
    ------
    OSError
        If the file cannot be written, a full disk included.

    Notes
    -----
    Overviews take the nearest pixel: GDAL's default, cubic, invents classes in masks, days in
    PROVENANCE, and reflectances that no observation has (ADR 11).
    """
    path.unlink(missing_ok=True)
    with CogWriter(
        path,
        geobox,
        pixels.dtype,
        nodata=nodata,
        blocksize=blocksize,
        compression=compression,
        description=description,
    ) as writer:
        # Strips of blocks, that those compressed but not written do not fill the memory.
        for row in range(0, pixels.shape[0], blocksize):
            rows = slice(row, min(row + blocksize, pixels.shape[0]))
            writer.write((rows, slice(0, pixels.shape[1])), pixels[rows])
