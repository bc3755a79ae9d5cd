"""Sorting networks as tables, for any number of values.

A network is a fixed list of comparators (i, j), i < j, each of which puts the lower of two values
at i and the higher at j. Applied to rows of pixels instead of single values it sorts all pixels of
a strip at once, without a branch.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

LOW, HIGH = 1, 2
"""Which sides of a comparator somebody looks at."""


@cache
def sorting_network(n: int) -> npt.NDArray[np.intp]:
    """Give the comparators that sort `n` values.

    Returns
    -------
    numpy.ndarray
        Rows (i, j, sides), not writable.

    Notes
    -----
    Batcher's merge exchange: D. E. Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M.
    """
    return _table([(i, j, LOW | HIGH) for i, j in _merge_exchange(n)])


@cache
def median_network(n: int) -> npt.NDArray[np.intp]:
    """Give the comparators that bring the middle of `n` values to rows n//2 - 1 and n//2.

    Returns
    -------
    numpy.ndarray
        As of `sorting_network`, without what does not reach these two rows. `sides` says which
        outcome of a comparator is needed.
    """
    wanted = {n // 2 - 1, n // 2}
    kept = []
    for i, j in reversed(_merge_exchange(n)):
        sides = LOW * (i in wanted) + HIGH * (j in wanted)
        if sides:
            kept.append((i, j, sides))
            wanted |= {i, j}
    return _table(kept[::-1])


def _table(rows: list[tuple[int, int, int]]) -> npt.NDArray[np.intp]:
    table = np.array(rows, dtype=np.intp).reshape(-1, 3)
    table.setflags(write=False)
    return table


def _merge_exchange(n: int) -> list[tuple[int, int]]:
    out = []
    top = 1 << max(n - 1, 0).bit_length() >> 1
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while True:
            out += [(i, i + d) for i in range(n - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1
    return out
