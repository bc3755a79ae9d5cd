"""Sorting networks as tables of steps, for any number of values.

A network is a fixed list of comparators, each of which puts the lower of two values first. Applied
to rows of pixels instead of single values it sorts all pixels of a strip at once, without a branch.

Comparators are bundled into steps that work on 8 or 16 rows (`blocks`): between them, values stay
in the registers of the processor. What they are bundled from is Batcher's odd-even mergesort, for
numbers of rows that are a power of two; rows that nobody gave are known to be the lowest or the
highest, and steps that find their rows in order for that are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

PAIR, SORT_8, MERGE_16 = 0, 1, 2
"""Kinds of steps: compare two rows; sort 8 rows; merge two times 8 sorted ones."""

STRIDES = (1, 2, 4)
"""Distances between the rows of a merge of 16; farther ones are done pair by pair."""

_LEAST = 8

_Step = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Network:
    """A network, and which rows it wants.

    Attributes
    ----------
    steps
        int64 (steps, 3): kind; two rows of a pair, or first row and stride.
    place
        int64 (n,): the row of each value.
    low, high
        int64: rows that must hold the lowest and the highest value there is; they keep it.
    """

    steps: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]
    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.place) + len(self.low) + len(self.high)

    @property
    def tables(self) -> tuple[npt.NDArray[np.int64], ...]:
        """Everything as arrays that cannot be written, as kernels take it."""
        return self.steps, self.place, self.low, self.high


@cache
def sorting_network(n: int) -> Network:
    """Give a network that sorts `n` values into the rows 0 to n - 1.

    Notes
    -----
    K. E. Batcher, Sorting networks and their applications, AFIPS Spring Joint Computer Conference
    32 (1968), as in D. E. Knuth, The Art of Computer Programming 3, 5.3.4.
    """
    size = _size(n)
    return _network(_sort(0, size), range(n), range(0), range(n, size))


@cache
def median_network(n: int) -> Network:
    """Give a network that sorts `n` values in two halves, so that `blocks.fold` finds the middle.

    The first half of the rows ends with highest values, the second one begins with lowest values,
    so many that there are as many of both; if `n` is odd, one more of the lowest.
    """
    first, second = n - n // 2, n // 2
    size = _size(first)
    real = [*range(first), *range(2 * size - second, 2 * size)]
    steps = [*_sort(0, size), *_sort(size, size)]
    return _network(steps, real, range(size, 2 * size - second), range(first, size))


def _size(n: int) -> int:
    """Give the next power of two that a step can sort."""
    return max(_LEAST, 1 << max(n - 1, 0).bit_length())


def _sort(first: int, size: int) -> Iterator[_Step]:
    if size == _LEAST:
        yield SORT_8, first, 1
        return
    half = size // 2
    yield from _sort(first, half)
    yield from _sort(first + half, half)
    yield from _merge(first, size, 1)


def _merge(first: int, span: int, stride: int) -> Iterator[_Step]:
    """Merge the sorted halves of every `stride`-th of so many rows."""
    if span == 16 * stride and stride in STRIDES:
        yield MERGE_16, first, stride
    elif span == 2 * stride:
        yield PAIR, first, first + stride
    else:
        yield from _merge(first, span, 2 * stride)
        yield from _merge(first + stride, span, 2 * stride)
        for i in range(first + stride, first + span - stride, 2 * stride):
            yield PAIR, i, i + stride


def _network(
    steps: Iterator[_Step] | list[_Step], place: object, low: range, high: range
) -> Network:
    kept = [step for step in steps if not _is_idle(step, low, high)]
    return Network(
        _table(np.array(kept, np.int64).reshape(-1, 3)),
        *(_table(np.array(list(rows), np.int64)) for rows in (place, low, high)),  # type: ignore[call-overload]
    )


def _is_idle(step: _Step, low: range, high: range) -> bool:
    """Tell whether a step finds its rows in order already, since some are known to be ends."""
    kind, i, j = step
    if kind == PAIR:
        return i in low or j in high
    if kind == SORT_8:
        rows = range(i, i + 8)
        return all(row in low for row in rows) or all(row in high for row in rows)
    lower, upper = range(i, i + 8 * j, j), range(i + 8 * j, i + 16 * j, j)
    return all(row in low for row in lower) or all(row in high for row in upper)


def _table(array: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    array.setflags(write=False)
    return array
