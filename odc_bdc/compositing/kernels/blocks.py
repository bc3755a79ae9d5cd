"""Steps of a sorting network: rows of a strip are compared, 8 or 16 of them in registers.

Rows lie in one array, `PITCH` elements apart. Offsets are unsigned and distances between rows known
when this is compiled: so the compiler sees that no row overlaps another one, and leaves out what
negative indices mean in Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from odc_bdc.compositing.kernels.jit import inner
from odc_bdc.compositing.kernels.network import MERGE_16, SORT_8, STRIDES

STRIP = 2048
"""Pixels of a strip: so many that memory delivers a row of it in one go."""

PITCH = STRIP + 32
"""Elements from row to row; a bit more than a strip, lest all rows fall on the same places of the
cache."""

_SORTED_BYTES = 131072
"""What a network sorts at a time: it is gone over many times, and stays in a near cache."""

_LANES = 64
"""Pixels that are sorted at a time at the least."""


# flat: rows of a strip from `first` on, steps (n, 3) of a Network
@inner
def sort_rows(flat: Any, first: int, number: int, n: int, steps: Any) -> None:
    """Apply a network to so many rows of a strip of n pixels."""
    lanes = max(_SORTED_BYTES // (flat.itemsize * number) // _LANES, 1) * _LANES
    for base in range(0, n, lanes):
        start, width = first * PITCH + base, np.uintp(min(lanes, n - base))
        for k in range(len(steps)):
            kind, i, j = steps[k, 0], steps[k, 1], steps[k, 2]
            row = np.uintp(start + i * PITCH)
            if kind == SORT_8:
                _sort_8(flat, row, width)
            elif kind == MERGE_16:
                _merge_16(flat, row, j, width)
            else:
                _pair(flat, row, np.uintp(start + j * PITCH), width)


# flat: two sorted halves of so many rows; then low and high, a row each; ends (2,)
@inner
def fold(flat: Any, first: int, half: int, times: int, n: int, ends: Any) -> None:
    """Find the middle two of two sorted halves, after a median network.

    What the first half has lowest meets what the second has highest: the lower ones of these pairs
    are the lower half of all, so that their maximum is the lower middle (Batcher's bitonic
    half-cleaner). Beyond half of the values, either side is but padding.
    """
    start, low = first * PITCH, (first + 2 * half) * PITCH
    flat[low : low + n] = ends[1]
    flat[low + PITCH : low + PITCH + n] = ends[0]
    for i in range(0, times - times // 2, 4):
        up, down = start + i * PITCH, start + (2 * half - 1 - i) * PITCH
        _fold_4(flat, np.uintp(up), np.uintp(down), np.uintp(low), np.uintp(n))


@inner
def _fold_4(flat: Any, up: Any, down: Any, low: Any, n: Any) -> None:
    p = np.uintp(PITCH)
    high = low + p
    for x in range(n):
        a, b, c, d = flat[up + x], flat[up + p + x], flat[up + p + p + x], flat[up + p + p + p + x]
        e, f = flat[down + x], flat[down - p + x]
        g, h = flat[down - p - p + x], flat[down - p - p - p + x]
        lower = max(min(a, e), min(b, f), min(c, g), min(d, h))
        upper = min(max(a, e), max(b, f), max(c, g), max(d, h))
        flat[low + x], flat[high + x] = max(flat[low + x], lower), min(flat[high + x], upper)


@inner
def _pair(flat: Any, i: Any, j: Any, n: Any) -> None:
    for x in range(n):
        a, b = flat[i + x], flat[j + x]
        flat[i + x], flat[j + x] = min(a, b), max(a, b)


@inner
def _sort_8(flat: Any, i: Any, n: Any) -> None:
    """Sort 8 rows with 19 comparators (Batcher; no network has fewer)."""
    p = np.uintp(PITCH)
    i1, i2, i3, i4 = i + p, i + p + p, i + p + p + p, i + p + p + p + p
    i5, i6, i7 = i4 + p, i4 + p + p, i4 + p + p + p
    for x in range(n):
        a, b, c, d = flat[i + x], flat[i1 + x], flat[i2 + x], flat[i3 + x]
        e, f, g, h = flat[i4 + x], flat[i5 + x], flat[i6 + x], flat[i7 + x]
        a, b, c, d = min(a, b), max(a, b), min(c, d), max(c, d)
        e, f, g, h = min(e, f), max(e, f), min(g, h), max(g, h)
        a, c, b, d = min(a, c), max(a, c), min(b, d), max(b, d)
        e, g, f, h = min(e, g), max(e, g), min(f, h), max(f, h)
        b, c, f, g = min(b, c), max(b, c), min(f, g), max(f, g)
        a, e, b, f = min(a, e), max(a, e), min(b, f), max(b, f)
        c, g, d, h = min(c, g), max(c, g), min(d, h), max(d, h)
        c, e, d, f = min(c, e), max(c, e), min(d, f), max(d, f)
        b, c, d, e, f, g = min(b, c), max(b, c), min(d, e), max(d, e), min(f, g), max(f, g)
        flat[i + x], flat[i1 + x], flat[i2 + x], flat[i3 + x] = a, b, c, d
        flat[i4 + x], flat[i5 + x], flat[i6 + x], flat[i7 + x] = e, f, g, h


def _merge_16_at(stride: int) -> Callable[..., None]:
    pitch = stride * PITCH

    @inner
    def merge(flat: Any, i: Any, n: Any) -> None:
        p = np.uintp(pitch)
        i1, i2, i3, i4 = i + p, i + p + p, i + p + p + p, i + p + p + p + p
        i5, i6, i7, i8 = i4 + p, i4 + p + p, i4 + p + p + p, i4 + p + p + p + p
        i9, i10, i11, i12 = i8 + p, i8 + p + p, i8 + p + p + p, i8 + p + p + p + p
        i13, i14, i15 = i12 + p, i12 + p + p, i12 + p + p + p
        for x in range(n):
            a, b, c, d = flat[i + x], flat[i1 + x], flat[i2 + x], flat[i3 + x]
            e, f, g, h = flat[i4 + x], flat[i5 + x], flat[i6 + x], flat[i7 + x]
            q, r, s, t = flat[i8 + x], flat[i9 + x], flat[i10 + x], flat[i11 + x]
            u, v, w, z = flat[i12 + x], flat[i13 + x], flat[i14 + x], flat[i15 + x]
            a, q, b, r, c, s = min(a, q), max(a, q), min(b, r), max(b, r), min(c, s), max(c, s)
            d, t, e, u, f, v = min(d, t), max(d, t), min(e, u), max(e, u), min(f, v), max(f, v)
            g, w, h, z = min(g, w), max(g, w), min(h, z), max(h, z)
            e, q, f, r = min(e, q), max(e, q), min(f, r), max(f, r)
            g, s, h, t = min(g, s), max(g, s), min(h, t), max(h, t)
            c, e, d, f = min(c, e), max(c, e), min(d, f), max(d, f)
            g, q, h, r = min(g, q), max(g, q), min(h, r), max(h, r)
            s, u, t, v = min(s, u), max(s, u), min(t, v), max(t, v)
            b, c, d, e, f, g = min(b, c), max(b, c), min(d, e), max(d, e), min(f, g), max(f, g)
            h, q, r, s, t, u = min(h, q), max(h, q), min(r, s), max(r, s), min(t, u), max(t, u)
            v, w = min(v, w), max(v, w)
            flat[i + x], flat[i1 + x], flat[i2 + x], flat[i3 + x] = a, b, c, d
            flat[i4 + x], flat[i5 + x], flat[i6 + x], flat[i7 + x] = e, f, g, h
            flat[i8 + x], flat[i9 + x], flat[i10 + x], flat[i11 + x] = q, r, s, t
            flat[i12 + x], flat[i13 + x], flat[i14 + x], flat[i15 + x] = u, v, w, z

    return merge


_merge_16_by_1, _merge_16_by_2, _merge_16_by_4 = map(_merge_16_at, STRIDES)


@inner
def _merge_16(flat: Any, i: Any, stride: int, n: Any) -> None:
    """Merge the sorted 8 rows from i on with the 8 after them, 25 comparators (Batcher)."""
    if stride == 1:
        _merge_16_by_1(flat, i, n)
    elif stride == 2:
        _merge_16_by_2(flat, i, n)
    else:
        _merge_16_by_4(flat, i, n)
