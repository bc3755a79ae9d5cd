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
from numba import literal_unroll

from odc_bdc.compositing.kernels.arithmetic import between, midpoint, narrow, quotient
from odc_bdc.compositing.kernels.blocks import PITCH, fold, sort_rows
from odc_bdc.compositing.kernels.images import pixels_at
from odc_bdc.compositing.kernels.jit import inner, kernel

_LINE = 64
"""Bytes that memory is read in, and that a vector instruction takes at the most."""

_MOST_TALLIED = 255
"""Observations that are counted in 8 bits before they are added up in 16."""

NO_PLACE = 65535
"""Place of an observation that is never picked."""

_MOST_IN_FLOAT32 = 255
"""Observations of 16 bits whose sums float32 divides exactly (`round_quotient`)."""


@kernel
def rows(times: int, like: Any) -> Any:
    """Make room for a strip, of the dtype of `like`; at least one row.

    Rows begin where a line of memory does: vectors that reach over two lines take twice as long.
    """
    number = max(times, 1)
    flat = np.zeros(number * PITCH + _LINE, like.dtype)
    first = (-flat.ctypes.data % _LINE) // like.itemsize
    return flat[first : first + number * PITCH].reshape(number, PITCH)


@kernel
def tallies() -> Any:
    """Make room for counting: two totals, two counters of 8 bits, and what quality says."""
    totals = rows(2, np.empty(0, np.int16))
    counters = rows(3, np.empty(0, np.uint8))
    return totals[0], totals[1], counters[0], counters[1], counters[2]


# quality: table of Images, uint8 or uint16; meaning (see decode), source (see data_row)
# -> has, is_clear (n,) uint8; tallies() of the room
@inner
def observe_row(
    quality: Any, meaning: Any, source: Any, t: int, p: int, has: Any, is_clear: Any, room: Any
) -> None:
    """Tell whether the observations of one time have data and are clear, and count them.

    The counts are right after the last time, if `clear_tallies` came before the first.
    """
    count, seen, few_clear, few_seen, told = room
    n, one, none = len(has), np.uint8(1), np.uint8(0)
    code = told[:n]
    data_row(source, t, p, n, has)
    addresses, like = quality
    decode(pixels_at(addresses[t], like, p, n), meaning, code)
    for x in range(n):
        is_clear[x] = np.uint8(has[x] & np.uint8(code[x] >> one))
    for x in range(n):
        had, said = has[x], code[x]
        code[x] = had if said != none else none
    last = t == len(addresses) - 1
    tally_row(is_clear, t, last, few_clear, count)
    tally_row(code, t, last, few_seen, seen)


# mask (n,) of 0 and 1 -> few (STRIP,) uint8, total (STRIP,) int16
@inner
def tally_row(mask: Any, t: int, last: bool, few: Any, total: Any) -> None:  # noqa: FBT001
    """Count what is true; the total is right after the last time."""
    n = len(mask)
    counter, sums = few[:n], total[:n]
    for x in range(n):
        counter[x] = np.uint8(counter[x] + mask[x])
    if last or t % _MOST_TALLIED == _MOST_TALLIED - 1:
        for x in range(n):
            sums[x] = np.int16(sums[x] + np.int16(counter[x]))
        counter[:] = 0


@inner
def clear_tallies(room: Any) -> None:
    """Begin to count."""
    for row in literal_unroll(room):
        row[:] = 0


# values (n,), table (256 or 65536,) uint8, runs (r,): first value, number of others, bits
# -> code (STRIP,) uint8
@inner
def decode(values: Any, meaning: Any, code: Any) -> None:
    """Look up quality: bit 1 of the code says clear, any bit says seen."""
    table, low, width, bits = meaning
    n = len(values)
    row = code[:n]
    if len(low) == 0:
        for x in range(n):
            row[x] = table[values[x]]
        return
    # Comparisons with a few runs of values are vector instructions; look-ups are not.
    none = np.uint8(0)
    row[:] = none
    for k in range(len(low)):
        first, others, bit = low[k], width[k], bits[k]
        for x in range(n):
            # What is below the first wraps round to the highest.
            found = bit if narrow(values[x] - first, first) <= others else none
            row[x] = np.uint8(row[x] | found)


# addresses (bands, T) and like of Images, nodata (bands,), any_value (bands,) uint8: 1 where there
# is no nodata, known (T, N) uint8 or (0, 0) -> has (n,) uint8
@inner
def data_row(source: Any, t: int, p: int, n: int, has: Any) -> None:
    """Tell where every band of one observation differs from its nodata value."""
    addresses, like, nodata, any_value, known = source
    number = len(addresses)
    row, none = has[:n], np.uint8(0)
    row[:] = 1
    if known.shape[0]:
        given = known[t, p : p + n]
        for x in range(n):
            row[x] = np.uint8(given[x] != none)
    # Four bands at a time: what is known of a pixel is then stored but once.
    for b in range(0, number, 4):
        c, d, e = min(b + 1, number - 1), min(b + 2, number - 1), min(b + 3, number - 1)
        one, two = pixels_at(addresses[b, t], like, p, n), pixels_at(addresses[c, t], like, p, n)
        three, four = pixels_at(addresses[d, t], like, p, n), pixels_at(addresses[e, t], like, p, n)
        any1, any2, any3, any4 = any_value[b], any_value[c], any_value[d], any_value[e]
        no1, no2, no3, no4 = nodata[b], nodata[c], nodata[d], nodata[e]
        for x in range(n):
            both = np.uint8(_is_data(one[x], no1, any1) & _is_data(two[x], no2, any2))
            others = np.uint8(_is_data(three[x], no3, any3) & _is_data(four[x], no4, any4))
            row[x] = np.uint8(row[x] & np.uint8(both & others))


@inner
def _is_data(value: Any, missing: Any, any_value: Any) -> Any:
    # Numbers of 8 bits, not booleans: of those, the compiler makes no vector instructions.
    given = np.uint8(np.uint8(value != missing) | any_value)
    return np.uint8(given & np.uint8(value == value))  # only NaN differs from itself


# values, mask (n,) -> use (n,) uint8
@inner
def clear_row(values: Any, mask: Any, use: Any) -> None:
    """Tell what is clear and not NaN."""
    one, none = np.uint8(1), np.uint8(0)
    for x in range(len(use)):
        value, found = values[x], one if mask[x] != none else none
        use[x] = found if value == value else none  # only NaN differs from itself


# values, clear, turn (n,) -> row (n,)
@inner
def fill_row(values: Any, clear: Any, turn: Any, row: Any) -> None:
    """Copy what is clear, and let a filler stand for the rest."""
    target, none = row[: len(values)], np.uint8(0)
    for x in range(len(values)):
        value, fill = values[x], turn[x]
        target[x] = value if clear[x] != none else fill


# clear (n,), fillers (2,) -> turn (n,)
@inner
def turn_row(clear: Any, fillers: Any, turn: Any) -> None:
    """Let the other filler stand for the next observation that is not clear.

    With the highest and the lowest value as fillers, the median of what is clear lies in the middle
    of all rows, however many are clear.
    """
    first, second, none = fillers[0], fillers[1], np.uint8(0)
    for x in range(len(turn)):
        fill = turn[x]
        other = second if fill == first else first
        turn[x] = fill if clear[x] != none else other


# values, clear (n,) -> total (STRIP,) int32, int64 or float64
@inner
def add_row(values: Any, clear: Any, total: Any) -> None:
    """Sum up what is clear."""
    sums, none = total[: len(values)], np.uint8(0)
    for x in range(len(values)):
        value, so_far = values[x], sums[x]
        use = value if clear[x] != none else narrow(0, value)
        sums[x] = narrow(so_far + narrow(use, so_far), so_far)


# Of band (T, N), clear (T, N) or strip, place (T,), fillers (2,), filler (STRIP,)
# -> work (rows, STRIP) of the band's dtype; the first of tallies(), the room, is the count
@inner
def load(
    band: Any,
    clear: Any,
    p: int,
    q: int,
    n: int,
    place: Any,
    fillers: Any,
    filler: Any,
    work: Any,
    room: Any,
) -> None:
    """Copy a strip, with fillers for what is not clear or NaN, and count."""
    count, few, use, turn = room[0], room[2], room[4][:n], filler[:n]
    clear_tallies(room)
    turn[:] = fillers[0]
    times = band.shape[0]
    for t in range(times):
        values = band[t, p : p + n]
        clear_row(values, clear[t, q : q + n], use)
        tally_row(use, t, t == times - 1, few, count)
        fill_row(values, use, turn, work[place[t]])
        turn_row(use, fillers, turn)


# network: tables of a Network, ends (2,) -> work (rows, STRIP)
@kernel
def pad(work: Any, network: Any, ends: Any, number: int) -> None:
    """Write the values of rows that no observation has, for so many bands one after the other."""
    low, high = network[2], network[3]
    size = len(work) // number
    for b in range(number):
        for row in low:
            work[b * size + row] = ends[1]
        for row in high:
            work[b * size + row] = ends[0]


@inner
def network_rows(network: Any) -> int:
    """Give how many rows a network has, padding included."""
    return len(network[1]) + len(network[2]) + len(network[3])


# work: from `first` on the rows of one band, loaded and padded, and two more; network, ends (2,),
# count (STRIP,) -> out (N,)
@inner
def finish_median(
    work: Any,
    first: int,
    network: Any,
    ends: Any,
    count: Any,
    n: int,
    rounding: int,
    nodata: Any,
    out: Any,
    p: int,
) -> None:
    """Sort a strip and write its median."""
    size, times, flat = network_rows(network), len(network[1]), work.reshape(work.size)
    sort_rows(flat, first, size + 2, n, network[0])
    fold(flat, first, size // 2, times, n, ends)
    low, high = work[first + size], work[first + size + 1]
    _store_median(low, high, count, n, times, rounding, nodata, out, p)


# low, high, count (STRIP,) -> out (N,)
@inner
def _store_median(
    low: Any,
    high: Any,
    count: Any,
    n: int,
    times: int,
    rounding: int,
    nodata: Any,
    out: Any,
    p: int,
) -> None:
    """Write the median of so many times from the middle two, after `load` with fillers in turns."""
    below, above = low[:n], high[:n]
    single = above if times & 1 else below
    target, one, none = out[p : p + n], np.int16(1), np.int16(0)
    for x in range(n):
        c, lower, higher, middle = count[x], below[x], above[x], single[x]
        alone = np.int16(c & one) != none
        between_both = midpoint(middle if alone else lower, middle if alone else higher, rounding)
        target[x] = narrow(between_both, nodata) if c > none else nodata


# work (T, STRIP), count (STRIP,), place: rank and part (T + 1,), parts; sides (2, STRIP) of the
# band's dtype, share (STRIP,) float32 -> out (N,)
@inner
def store_percentile(
    work: Any,
    count: Any,
    n: int,
    place: Any,
    sides: Any,
    share: Any,
    rounding: int,
    nodata: Any,
    out: Any,
    p: int,
) -> None:
    """Write a percentile of sorted rows, in which what is not clear comes last."""
    rank, part, parts = place
    low, high, counts, shares = sides[0, :n], sides[1, :n], count[:n], share[:n]
    # As many times over a strip as there are counts: to fetch each pixel's rows one by one is no
    # vector instruction, and takes longer.
    for number in range(1, len(rank)):
        k, c, some = rank[number], np.int16(number), np.float32(part[number])
        _choose_equal(counts, c, work[k, :n], low)
        _choose_equal(counts, c, work[k + (part[number] > 0), :n], high)
        for x in range(n):
            before = shares[x]
            shares[x] = some if counts[x] == c else before
    target = out[p : p + n]
    if sides.itemsize <= 2 and parts <= _MOST_IN_FLOAT32:
        _store_between(low, high, shares, np.float32(parts), counts, rounding, nodata, target)
    else:
        _store_between(low, high, shares, np.float64(parts), counts, rounding, nodata, target)


@inner
def _choose_equal(numbers: Any, number: Any, values: Any, target: Any) -> None:
    for x in range(len(target)):
        value, before = values[x], target[x]
        target[x] = value if numbers[x] == number else before


@inner
def _store_between(
    low: Any,
    high: Any,
    share: Any,
    parts: Any,
    count: Any,
    rounding: int,
    nodata: Any,
    out: Any,
) -> None:
    none = np.int16(0)
    for x in range(len(out)):
        value = between(low[x], high[x], narrow(share[x], parts), parts, rounding)
        out[x] = narrow(value, nodata) if count[x] > none else nodata


# flat: rows of a strip -> total (STRIP,) int32 or int64
@inner
def add_rows(flat: Any, first: int, number: int, n: int, total: Any) -> None:
    """Sum up so many rows."""
    fours = number - number % 4
    for k in range(first, first + fours, 4):
        _add_4(flat, np.uintp(k * PITCH), np.uintp(n), total)
    for k in range(first + fours, first + number):
        row, sums = flat[k * PITCH : k * PITCH + n], total[:n]
        for x in range(n):
            so_far = sums[x]
            sums[x] = narrow(so_far + narrow(row[x], so_far), so_far)


@inner
def _add_4(flat: Any, i: Any, n: Any, total: Any) -> None:
    p = np.uintp(PITCH)
    j, k, m = i + p, i + p + p, i + p + p + p
    for x in range(n):
        so_far = total[x]
        both = narrow(flat[i + x], so_far) + narrow(flat[j + x], so_far)
        others = narrow(flat[k + x], so_far) + narrow(flat[m + x], so_far)
        total[x] = narrow(so_far + both + others, so_far)


# count (STRIP,), fillers (2,) -> total (STRIP,) int32 or int64
@inner
def take_out(count: Any, n: int, times: int, fillers: Any, total: Any) -> None:
    """Begin a sum of so many times with what takes the fillers out that came in turns."""
    sums = total[:n]
    for x in range(n):
        kind = sums[x]
        first, second = narrow(fillers[0], kind), narrow(fillers[1], kind)
        left = narrow(times, kind) - narrow(count[x], kind)
        sums[x] = narrow(-((left + 1) // 2) * first - left // 2 * second, kind)


# band, clear (T, N) -> total (STRIP,) int32, int64 or float64; the first of tallies()
@inner
def add(band: Any, clear: Any, p: int, n: int, total: Any, room: Any) -> None:
    """Sum up what is clear and not NaN, and count."""
    count, few, use = room[0], room[2], room[4][:n]
    clear_tallies(room)
    total[:n] = 0
    times = band.shape[0]
    for t in range(times):
        values = band[t, p : p + n]
        clear_row(values, clear[t, p : p + n], use)
        tally_row(use, t, t == times - 1, few, count)
        add_row(values, use, total)


# total, count (STRIP,) -> out (N,)
@inner
def store_mean(
    total: Any, count: Any, n: int, times: int, rounding: int, nodata: Any, out: Any, p: int
) -> None:
    """Write the mean of at most so many observations."""
    if total.itemsize == 4 and times <= _MOST_IN_FLOAT32:
        _store_mean(total[:n], count, np.float32(0), rounding, nodata, out[p : p + n])
    else:
        _store_mean(total[:n], count, np.float64(0), rounding, nodata, out[p : p + n])


@inner
def _store_mean(total: Any, count: Any, like: Any, rounding: int, nodata: Any, out: Any) -> None:
    one, none = np.int16(1), np.int16(0)
    for x in range(len(out)):
        c = count[x]
        mean = quotient(total[x], c if c > none else one, rounding, like)
        out[x] = narrow(mean, nodata) if c > none else nodata


# mask (T, N) or strip, order (m,) intp -> picked (N,) or strip, int16
@inner
def pick(mask: Any, q: int, n: int, order: Any, picked: Any) -> None:
    """Give pixels that are still -1 the first position of the order at which the mask is true."""
    for position in order:
        k, left = np.int16(position), 0
        is_true = mask[position, q : q + n]
        for x in range(n):
            before, true = picked[x], is_true[x] != 0
            picked[x] = k if (before < 0) & true else before
            left += picked[x] < 0
        if left == 0:
            return


# has, clear (n,) -> place (n,) uint16
@inner
def place_row(has: Any, clear: Any, first: int, second: int, place: Any) -> None:
    """Give observations that are clear the first place, others that have data the second."""
    none, never = np.uint8(0), np.uint16(NO_PLACE)
    top, other = np.uint16(first), np.uint16(second)
    for x in range(len(place)):
        is_clear, rest = clear[x], other if has[x] != none else never
        place[x] = top if is_clear != none else rest


# place (n,) uint16 -> best (n,) uint16, better (n,) uint8
@inner
def compare_row(place: Any, best: Any, better: Any) -> None:
    """Tell which pixels find a better place than they had."""
    for x in range(len(place)):
        found, before = place[x], best[x]
        better[x] = np.uint8(found < before)
        best[x] = min(found, before)


# better (n,) uint8 -> target (n,)
@inner
def choose_row(better: Any, values: Any, target: Any) -> None:
    """Replace what has found better."""
    none = np.uint8(0)
    for x in range(len(target)):
        value, before = values[x], target[x]
        target[x] = value if better[x] != none else before


# band: table of Images, picked strip -> out (N,)
@inner
def take(band: Any, picked: Any, n: int, nodata: Any, out: Any, p: int) -> None:
    """Write the value of each pixel's picked observation, or nodata."""
    (addresses, like), target = band, out[p : p + n]
    for x in range(n):
        k = picked[x]
        target[x] = pixels_at(addresses[k], like, p, n)[x] if k >= 0 else nodata


@inner
def store_count(count: Any, n: int, out: Any, p: int) -> None:
    """Write counts as uint8; beyond 255 they stay 255."""
    target, most = out[p : p + n], np.int16(255)
    for x in range(n):
        target[x] = np.uint8(min(count[x], most))
