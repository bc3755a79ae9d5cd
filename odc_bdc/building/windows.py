"""How a tile is cut into windows that are computed at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from odc_bdc.cog import Window
    from odc_bdc.cube import CubeSpec

SIDE = 512
"""Windows are of whole blocks of this side, as those of the files that are written."""

_LEAST = 64
_MEMORY = 256_000_000
"""Bytes that a window of all times may take; each thread has one."""


def bytes_per_pixel(cube: CubeSpec) -> int:
    """Give the bytes that a pixel of one time takes in a window.

    Besides the bands and their quality, its classes, and what is worked out from them.
    """
    return sum(np.dtype(m.dtype).itemsize for m in cube.measurements) + 3


def window_shape(
    tile: tuple[int, int],
    blocks: Iterable[tuple[int, int]],
    bytes_per_pixel: int,
    *,
    wide: bool = False,
    memory: int = _MEMORY,
) -> tuple[int, int]:
    """Give rows and columns of windows.

    Parameters
    ----------
    tile
        Rows and columns.
    blocks
        Rows and columns of the blocks of the files that are read: a window takes whole ones, lest
        they are decoded for several. Files of strips make windows as wide as the tile.
    bytes_per_pixel
        Of all times together.
    wide
        Whether neighbours of a window are read with it, so that larger windows read less of them.
    memory
        Bytes for a window. With more times windows are smaller, and blocks are decoded more than
        once when they no longer fit.

    Examples
    --------
    >>> window_shape((10560, 10560), [(256, 256)], 36 * 10)
    (512, 512)
    >>> window_shape((10560, 10560), [(1, 10560)], 36 * 10)
    (64, 10560)
    >>> window_shape((10560, 10560), [(256, 256)], 360 * 10)
    (256, 256)
    """
    known = list(blocks)
    unit = 2 * SIDE if wide else SIDE
    rows, columns = (
        min(size, -(-max([1, *(block[axis] for block in known)]) // unit) * unit)
        for axis, size in enumerate(tile)
    )
    strips = any(block[1] > 4 * block[0] for block in known)
    while rows * columns * bytes_per_pixel > memory and max(rows, columns) > _LEAST:
        if rows > _LEAST and (strips or rows >= columns):
            rows = -(-rows // 2)
        else:
            columns = -(-columns // 2)
    return rows, columns


def shared(one: Window, other: Window) -> tuple[Window, Window] | None:
    """Give what two windows share: as a part of the one, and of the other; None if nothing.

    Examples
    --------
    >>> shared((slice(0, 4), slice(0, 4)), (slice(2, 9), slice(3, 9)))
    ((slice(2, 4, None), slice(3, 4, None)), (slice(0, 2, None), slice(0, 1, None)))
    """
    ours, theirs = [], []
    for mine, its in zip(one, other, strict=True):
        start, stop = max(mine.start, its.start), min(mine.stop, its.stop)
        if start >= stop:
            return None
        ours.append(slice(start - mine.start, stop - mine.start))
        theirs.append(slice(start - its.start, stop - its.start))
    return (ours[0], ours[1]), (theirs[0], theirs[1])


def windows(tile: tuple[int, int], shape: tuple[int, int]) -> Iterator[Window]:
    """Give the windows of a tile, row by row."""
    for y in range(0, tile[0], shape[0]):
        for x in range(0, tile[1], shape[1]):
            yield slice(y, min(y + shape[0], tile[0])), slice(x, min(x + shape[1], tile[1]))
