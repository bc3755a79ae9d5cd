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


# quality (T, N) uint8 or uint16, meaning (see decode), source (see data_row)
# -> data, clear (T, N) or strip, count, seen (STRIP,) int16, code (STRIP,) uint8
@kernel
def observe_strip(
    quality: Any, meaning: Any, source: Any, p: int, q: int, n: int, into: Any
) -> None:
    """Tell which observations have data and which are clear, and count."""
    data, clear, count, seen, code = into
    count[:n] = 0
    seen[:n] = 0
    for t in range(quality.shape[0]):
        has, is_clear = data[t, q : q + n], clear[t, q : q + n]
        data_row(source, t, p, n, has)
        decode(quality[t, p : p + n], meaning, code)
        _tally(has, is_clear, code[:n], count[:n], seen[:n])


@kernel
def _tally(has: Any, is_clear: Any, code: Any, count: Any, seen: Any) -> None:
    for x in range(len(has)):
        use = has[x] & (code[x] >> 1)
        is_clear[x] = use
        count[x] += use
    for x in range(len(has)):
        seen[x] += has[x] & (code[x] != 0)


# values (n,), table (256 or 65536,) uint8, runs (r,): first value, last value, bits
# -> code (STRIP,) uint8
@kernel
def decode(values: Any, meaning: Any, code: Any) -> None:
    """Look up quality: bit 1 of the code says clear, any bit says seen."""
    table, low, high, bits = meaning
    n = len(values)
    row = code[:n]
    if len(low) == 0:
        for x in range(n):
            row[x] = table[values[x]]
        return
    # Comparisons with a few runs of values are vector instructions; look-ups are not.
    row[:] = 0
    for k in range(len(low)):
        start, stop, bit = low[k], high[k], bits[k]
        for x in range(n):
            inside = (values[x] >= start) & (values[x] <= stop)
            row[x] |= bit if inside else np.uint8(0)


# bands: tuple of (T, N), number: how many of them exist, nodata (bands,), checks (bands,) uint8,
# known (T, N) uint8 or (0, 0) -> has (n,) uint8
@kernel
def data_row(source: Any, t: int, p: int, n: int, has: Any) -> None:
    """Tell where every band of one observation differs from its nodata value."""
    bands, number, nodata, checks, known = source
    row = has[:n]
    if known.shape[0]:
        row[:] = known[t, p : p + n] != 0
    else:
        row[:] = 1
    # Two bands at a time: the mask is narrower than they are, and costs as much as one of them.
    for b in range(0, number, 2):
        c = min(b + 1, number - 1)
        one, no_one, any_one = bands[b][t, p : p + n], nodata[b], checks[b] == 0
        two, no_two, any_two = bands[c][t, p : p + n], nodata[c], checks[c] == 0
        for x in range(n):
            v, w = one[x], two[x]
            # Only NaN differs from itself.
            use = ((v != no_one) | any_one) & (v == v) & ((w != no_two) | any_two) & (w == w)
            row[x] = row[x] if use else np.uint8(0)


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


# work (T, STRIP), count (STRIP,), place: rank and part (T + 1,), parts;
# sides: low, high (STRIP,) of the band's dtype, share (STRIP,) -> out (N,)
@kernel
def store_percentile(
    work: Any,
    count: Any,
    n: int,
    place: Any,
    sides: Any,
    rounding: int,
    nodata: Any,
    out: Any,
    p: int,
) -> None:
    """Write a percentile of sorted rows, in which what is not clear comes last."""
    rank, part, parts = place
    low, high, share = sides[0][:n], sides[1][:n], sides[2][:n]
    counts, target = count[:n], out[p : p + n]
    # Rows differ from pixel to pixel; so that alone is no vector loop, the arithmetic is.
    for x in range(n):
        c = counts[x]
        k, s = rank[c], part[c]
        low[x], high[x], share[x] = work[k, x], work[k + (s > 0), x], s
    for x in range(n):
        value = between(low[x], high[x], share[x], parts, rounding)
        target[x] = value if counts[x] > 0 else nodata


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
