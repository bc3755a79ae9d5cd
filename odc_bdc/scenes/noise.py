"""Noise that depends on the seed and the absolute pixel alone.

So any window of the grid can be made by itself and agrees with every other where they overlap.
Only exactly rounded operations touch pixels (no sin, exp or matrix product), so the place of a
pixel within an array cannot change its value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    Floats: TypeAlias = NDArray[np.floating[Any]]
    UInts: TypeAlias = NDArray[np.uint32]

_LACUNARITY = 1.93  # not 2, so that the knots of two octaves do not line up
_SPLINE_STD = 151 / 315 / math.sqrt(12)  # of a cubic B-spline over knots uniform in [-0.5, 0.5]


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of pixels, counted from the origin of the grid: rows to the south."""

    row: int
    col: int
    height: int
    width: int

    @property
    def rows(self) -> NDArray[np.int64]:
        """Absolute rows, shape (height, 1)."""
        return np.arange(self.row, self.row + self.height)[:, None]

    @property
    def cols(self) -> NDArray[np.int64]:
        """Absolute columns, shape (1, width)."""
        return np.arange(self.col, self.col + self.width)[None, :]

    def padded(self, north: int, west: int, south: int, east: int) -> Window:
        """Give the window grown by so many pixels on each side."""
        height, width = self.height + north + south, self.width + west + east
        return Window(self.row - north, self.col - west, height, width)

    def strips(self, height: int) -> Iterator[tuple[slice, Window]]:
        """Cut into strips of `height` rows; the slice tells where a strip lies in the window."""
        for r in range(0, self.height, height):
            h = min(height, self.height - r)
            yield slice(r, r + h), Window(self.row + r, self.col, h, self.width)


def hashed(*parts: ArrayLike) -> UInts:
    """Mix integers (broadcast against each other) into evenly spread 32-bit words."""
    h = np.zeros(1, np.uint32)
    for part in parts:
        # The lowbias32 mixer of C. Wellons, public domain.
        h = h ^ (np.asarray(part).astype(np.uint32) + np.uint32(0x9E3779B9))
        h = (h ^ (h >> np.uint32(16))) * np.uint32(0x7FEB352D)
        h = (h ^ (h >> np.uint32(15))) * np.uint32(0x846CA68B)
        h = h ^ (h >> np.uint32(16))
    return h


def uniform(h: UInts, shift: int = 0, bits: int = 16) -> Floats:
    """Turn `bits` bits of hashed words, from bit `shift` on, into float32 in [0, 1)."""
    part = (h >> np.uint32(shift)) & np.uint32((1 << bits) - 1)
    return part.astype(np.float32) / np.float32(1 << bits)


def smoothstep(x: Any, low: Any, high: Any) -> Any:
    """Rise smoothly from 0 at `low` to 1 at `high`."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _knots(coordinate: NDArray[np.float64]) -> tuple[NDArray[np.int64], list[Floats]]:
    """Give the index of the first of four knots, and the four cubic B-spline weights."""
    first = np.floor(coordinate)
    t = (coordinate - first).astype(np.float32)
    s = 1 - t
    weights = [s * s * s, (3 * t - 6) * t * t + 4, (3 * s - 6) * s * s + 4, t * t * t]
    return first.astype(np.int64) - 1, [w / np.float32(6) for w in weights]


def _octave(seed: int, window: Window, cell: tuple[float, float]) -> Floats:
    offset = uniform(hashed(seed, [7, 8])) * 64.0
    r, row_weights = _knots(window.rows / cell[0] + offset[0])
    c, col_weights = _knots(window.cols / cell[1] + offset[1])
    r0, c0 = int(r.min()), int(c.min())
    rows = np.arange(r0, int(r.max()) + 4)[:, None]
    cols = np.arange(c0, int(c.max()) + 4)[None, :]
    lattice = uniform(hashed(seed, rows, cols)) - np.float32(0.5)
    tall = sum(w * lattice[r[:, 0] - r0 + k] for k, w in enumerate(row_weights))
    wide = sum(w * np.take(tall, c[0] - c0 + k, axis=1) for k, w in enumerate(col_weights))
    return np.asarray(wide / np.float32(_SPLINE_STD), np.float32)


def fbm(
    seed: int, window: Window, cell: tuple[float, float], octaves: int, gain: float = 0.5
) -> Floats:
    """Sum `octaves` of smooth noise, each finer than the last and weaker by `gain`.

    The coarsest lumps have the height and width `cell` in pixels. The result has the window's
    shape, is float32 and nearly normal, with mean 0 and variance 1 over a large area.
    """
    total = np.zeros((window.height, window.width), np.float32)
    for k in range(octaves):
        shrink = _LACUNARITY**k
        octave = _octave(seed * 31 + k, window, (cell[0] / shrink, cell[1] / shrink))
        total += octave * np.float32(gain**k)
    return total / np.float32(math.sqrt(sum(gain ** (2 * k) for k in range(octaves))))
