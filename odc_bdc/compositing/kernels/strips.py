"""What kernels are made of: loops over a strip of pixels that lies in the cache.

A strip is a run of pixels with all their observations, one row each. The loops run along the
pixels and without branches, so that they become vector instructions whatever the masks look like.

In the signatures a band, mask or result is an array (time, pixels) or (pixels,) of the whole block,
and `p` the first pixel of the strip in it; a mask may also be one of the strip, so that its place
`q` is told apart. `n` is the number of pixels, at most `STRIP`. Rows are sliced before the loops:
numba then knows that no index is negative.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from odc_bdc.compositing.kernels.arithmetic import between, midpoint, quotient
from odc_bdc.compositing.kernels.jit import kernel
from odc_bdc.compositing.kernels.network import HIGH, LOW

STRIP = 1024
"""Pixels of a strip: two kilobytes of int16, which memory delivers in one go."""

LANES = 128
"""Pixels that a network sorts at a time: so few that 90 observations of int16 stay in 32 kB."""

_GAP = 32
"""Elements between rows, lest all rows fall on the same places of the cache."""


@kernel
def rows(times: int, like: Any) -> Any:
    """Make room for a strip, of the dtype of `like`; at least one row."""
    return np.zeros((max(times, 1), STRIP + _GAP), like.dtype)


# quality (T, N) uint8 or uint16, table (256 or 65536,) uint8, bands tuple of (T, N),
# nodata (bands,), checks (bands,) uint8, known (T, N) uint8 or (0, 0)
# -> data, clear (T, N) or strip, count, seen (STRIP,) int16
@kernel
def observe_strip(quality: Any, table: Any, source: Any, p: int, q: int, n: int, into: Any) -> None:
    """Tell which observations have data and which are clear, and count."""
    data, clear, count, seen, code = into
    count[:n] = 0
    seen[:n] = 0
    for t in range(quality.shape[0]):
        has, is_clear, values = data[t, q : q + n], clear[t, q : q + n], quality[t, p : p + n]
        data_row(source, t, p, n, has)
        for x in range(n):
            code[x] = table[values[x]]
        for x in range(n):
            use = has[x] & (code[x] >> 1)
            is_clear[x] = use
            count[x] += use
            seen[x] += has[x] & (code[x] != 0)


@kernel
def data_row(source: Any, t: int, p: int, n: int, has: Any) -> None:
    """Tell where every band of one observation differs from its nodata value."""
    bands, number, nodata, checks, known = source
    if known.shape[0]:
        has[:] = known[t, p : p + n] != 0
    else:
        has[:] = 1
    for b in range(number):
        values, empty, unchecked = bands[b][t, p : p + n], nodata[b], checks[b] == 0
        for x in range(n):
            value = values[x]
            # Only NaN differs from itself.
            has[x] &= ((value != empty) | unchecked) & (value == value)


# band (T, N), clear (T, N) or strip -> work (T, STRIP) of the band's dtype, count (STRIP,) int16
@kernel
def load(
    band: Any, clear: Any, p: int, q: int, n: int, fillers: Any, work: Any, count: Any
) -> None:
    """Copy a strip; what is not clear, or NaN, becomes one and the other of two fillers in turns.

    With the highest and the lowest value as fillers, the median of what is clear lies in the middle
    of all rows, however many are clear.
    """
    first, second = fillers[0], fillers[1]
    filler = np.full(STRIP, first)
    count[:n] = 0
    for t in range(band.shape[0]):
        values, mask, row = band[t, p : p + n], clear[t, q : q + n], work[t, :n]
        for x in range(n):
            value, fill = values[x], filler[x]
            use = (mask[x] != 0) & (value == value)  # false of NaN
            row[x] = value if use else fill
            other = second if fill == first else first
            filler[x] = fill if use else other
            count[x] += use


@kernel
def sort_rows(work: Any, n: int, network: Any) -> None:
    """Apply a network to the rows of a strip."""
    for base in range(0, n, LANES):
        for k in range(network.shape[0]):
            sides = network[k, 2]
            a = work[network[k, 0], base : base + LANES]
            b = work[network[k, 1], base : base + LANES]
            if sides == LOW | HIGH:
                for x in range(LANES):
                    low, high = min(a[x], b[x]), max(a[x], b[x])
                    a[x], b[x] = low, high
            elif sides == LOW:
                for x in range(LANES):
                    a[x] = min(a[x], b[x])
            else:
                for x in range(LANES):
                    b[x] = max(a[x], b[x])


# work (T, STRIP), count (STRIP,) -> out (N,)
@kernel
def store_median(
    work: Any, count: Any, n: int, rounding: int, nodata: Any, out: Any, p: int
) -> None:
    """Write the median, after `load` with alternating fillers and a median network."""
    times = work.shape[0]
    below, above = work[max(times // 2 - 1, 0), :n], work[times // 2, :n]
    single = above if times & 1 else below
    target = out[p : p + n]
    for x in range(n):
        alone = count[x] & 1
        a = single[x] if alone else below[x]
        b = single[x] if alone else above[x]
        middle = midpoint(a, b, rounding)
        target[x] = middle if count[x] > 0 else nodata


# work (T, STRIP), count (STRIP,), rank and part (T + 1,), parts -> out (N,)
@kernel
def store_percentile(
    work: Any, count: Any, n: int, place: Any, rounding: int, nodata: Any, out: Any, p: int
) -> None:
    """Write a percentile of sorted rows, in which what is not clear comes last."""
    rank, part, parts = place
    target = out[p : p + n]
    for x in range(n):
        c = count[x]
        if c > 0:
            k, share = rank[c], part[c]
            target[x] = between(work[k, x], work[k + (share > 0), x], share, parts, rounding)
        else:
            target[x] = nodata


# band (T, N), clear (T, N) or strip -> total (STRIP,) int32, int64 or float64, count (STRIP,) int16
@kernel
def add(band: Any, clear: Any, p: int, q: int, n: int, total: Any, count: Any) -> None:
    """Sum up what is clear."""
    count[:n] = 0
    total[:n] = 0
    for t in range(band.shape[0]):
        values, mask = band[t, p : p + n], clear[t, q : q + n]
        for x in range(n):
            value = values[x]
            use = (mask[x] != 0) & (value == value)  # false of NaN
            total[x] += value if use else 0
            count[x] += use


# total, count (STRIP,) -> out (N,)
@kernel
def store_mean(
    total: Any, count: Any, n: int, rounding: int, nodata: Any, out: Any, p: int
) -> None:
    """Write the mean."""
    target = out[p : p + n]
    for x in range(n):
        mean = quotient(total[x], max(count[x], 1), rounding)
        target[x] = mean if count[x] > 0 else nodata


# mask (T, N) or strip, order (m,) intp -> picked (N,) or strip, int16
@kernel
def pick(mask: Any, q: int, n: int, order: Any, picked: Any) -> None:
    """Give pixels that are still -1 the first position of the order at which the mask is true."""
    for k in order:
        left = 0
        is_true = mask[k, q : q + n]
        for x in range(n):
            use = (picked[x] < 0) & (is_true[x] != 0)
            picked[x] = np.int16(k) if use else picked[x]
            left += picked[x] < 0
        if left == 0:
            return


# band (T, N), picked strip -> out (N,)
@kernel
def take(band: Any, picked: Any, n: int, nodata: Any, out: Any, p: int) -> None:
    """Write the value of each pixel's picked observation."""
    values, target = band[:, p : p + n], out[p : p + n]
    for x in range(n):
        k = picked[x]
        target[x] = values[k, x] if k >= 0 else nodata


@kernel
def store_count(count: Any, n: int, out: Any, p: int) -> None:
    """Write counts as uint8; beyond 255 they stay 255."""
    target = out[p : p + n]
    for x in range(n):
        target[x] = min(count[x], 255)
