"""Overviews: how many there are, how large, and which pixels they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from typing import Any

Window: TypeAlias = tuple[slice, slice]
"""Rows and columns."""


@dataclass(frozen=True, slots=True)
class Level:
    """An image or one of its overviews.

    Attributes
    ----------
    rows, columns
        int64, rising: which rows and columns of the whole image it consists of.
    """

    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns that it has."""
        return len(self.rows), len(self.columns)

    def taken(self, pixels: npt.NDArray[Any], window: Window) -> tuple[int, int, npt.NDArray[Any]]:
        """Give what it takes of a window of the image.

        Parameters
        ----------
        pixels
            (y, x), those of the window.
        window
            Where in the whole image they lie.

        Returns
        -------
        tuple
            Row and column of this level where the pixels begin, and the pixels (y, x).
        """
        (first, rows), (left, columns) = (
            _within(positions, part)
            for positions, part in zip((self.rows, self.columns), window, strict=True)
        )
        return first, left, pixels[_step(rows)][:, _step(columns)]


def _within(positions: npt.NDArray[np.int64], part: slice) -> tuple[int, npt.NDArray[np.int64]]:
    """Give the first of the positions within a slice, and all of them counted from its start."""
    first, end = np.searchsorted(positions, (part.start, part.stop))
    return int(first), positions[first:end] - part.start


def _step(positions: npt.NDArray[np.int64]) -> slice | npt.NDArray[np.int64]:
    """Give positions as a slice if they are evenly spaced, which numpy takes without a copy."""
    if not len(positions):
        return slice(0, 0)
    step = int(positions[1] - positions[0]) if len(positions) > 1 else 1
    first, last = int(positions[0]), int(positions[-1])
    even = slice(first, last + 1, step)
    return even if np.array_equal(positions, np.arange(first, last + 1, step)) else positions


@dataclass(frozen=True, slots=True)
class Pyramid:
    """An image and its overviews, each half as large as the one before.

    Attributes
    ----------
    levels
        The image first. Sizes, and which pixel is the nearest, are as GDAL's COG driver has them
        with ``OVERVIEW_RESAMPLING=NEAREST``: half of an odd size is rounded down, and the last
        overview is the first that fits into one block. (Where an overview is but one pixel wide,
        GDAL may take a neighbour.)
    """

    levels: tuple[Level, ...]

    @classmethod
    def of(cls, shape: tuple[int, int], blocksize: int) -> Pyramid:
        """Give the pyramid of an image (rows, columns) of square blocks."""
        levels = [Level(*(np.arange(size) for size in shape))]
        while max(levels[-1].shape) > blocksize:
            last = levels[-1]
            levels.append(Level(_halved(last.rows), _halved(last.columns)))
        return cls(tuple(levels))


def _halved(positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    size = max(1, len(positions) // 2)
    nearest = np.floor(0.5 + np.arange(size) * (len(positions) / size)).astype(np.int64)
    half: npt.NDArray[np.int64] = positions[np.minimum(nearest, len(positions) - 1)]
    return half
