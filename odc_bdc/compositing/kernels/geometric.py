"""The geometric median: one spectrum that is nearest to all observations of a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from odc_bdc.compositing.kernels import arrays
from odc_bdc.compositing.kernels.jit import kernel
from odc_bdc.compositing.kernels.network import median_network
from odc_bdc.compositing.kernels.strips import (
    finish_median,
    load,
    network_rows,
    pad,
    rows,
    tallies,
)
from odc_bdc.errors import InvalidValueError

_GROUP = 64
"""Pixels that are iterated together, until the last of them has converged."""


@dataclass(frozen=True, slots=True)
class Geomedian:
    """What `geomedian` gives; NaN where nothing is clear.

    Attributes
    ----------
    median
        float32 (band, y, x).
    smad, emad, bcmad
        float32 (y, x): medians over the clear observations of the cosine distance, the Euclidean
        distance and the Bray-Curtis dissimilarity to the geometric median.
    """

    median: npt.NDArray[np.float32]
    smad: npt.NDArray[np.float32]
    emad: npt.NDArray[np.float32]
    bcmad: npt.NDArray[np.float32]


def geomedian(
    bands: Sequence[npt.ArrayLike],
    clear: npt.ArrayLike,
    *,
    scale: float = 1.0,
    offset: float = 0.0,
    tolerance: float = 1e-4,
    max_iterations: int = 500,
    threads: int = 1,
) -> Geomedian:
    """Give the geometric median over time of what is clear, and how far observations lie from it.

    The geometric median is the spectrum with the least sum of Euclidean distances to the
    observations. With an even number of observations on a line it is not unique.

    Parameters
    ----------
    bands
        Arrays (time, y, x) of one of `DTYPES`, the same for all.
    clear
        bool or uint8 of the same shape, from `observe`. An observation with NaN in a band is never
        clear.
    scale, offset
        Values are multiplied by the one, then the other is added, before anything else. SMAD and
        BCMAD are meant for reflectances: the offset, though not the scale, changes them.
    tolerance
        Iteration ends for a pixel when a step is no longer than this share of the mean distance of
        the observations.
    max_iterations
        Or after so many steps.
    threads
        How many work at it.

    Raises
    ------
    InvalidValueError
        If shapes, dtypes or numbers do not fit.

    Notes
    -----
    Weiszfeld's iteration from the mean, in float64, with the amendment of Y. Vardi and C.-H. Zhang,
    PNAS 97 (2000), for steps that meet an observation. MADs: D. Roberts, B. Dunn, N. Mueller,
    "Open Data Cube Products Using High-Dimensional Statistics of Time Series", IGARSS 2018. A
    distance to or from a spectrum of zeros, where it is not defined, is left out.
    """
    if not (tolerance > 0 and max_iterations > 0):
        raise InvalidValueError("tolerance and max_iterations must be above 0")
    shape = np.shape(clear)
    flat = arrays.flat_bands(bands, shape)
    mask = arrays.flat_mask(clear, np.asarray(bands[0]), "clear")
    pixels = mask.shape[1]
    medians = np.empty((len(bands), pixels), np.float32)
    mads = np.empty((3, pixels), np.float32)
    run = partial(
        _geomedian,
        (flat, len(bands), float(scale), float(offset)),
        mask,
        (float(tolerance), int(max_iterations)),
        median_network(len(mask)).tables,
        arrays.ends(np.float64),
        medians,
        mads,
    )
    arrays.over_pixels(run, pixels, threads)
    return Geomedian(medians.reshape(len(bands), *shape[1:]), *mads.reshape(3, *shape[1:]))


# Of source (bands, number, scale, offset), clear (T, N), rule (tolerance, iterations), network,
# ends (2,) -> medians (bands, N), mads (3, N) float32
@kernel
def _geomedian(
    source: Any,
    clear: Any,
    rule: Any,
    network: Any,
    ends: Any,
    medians: Any,
    mads: Any,
    start: int,
    stop: int,
) -> None:
    times, number = len(clear), source[1]
    points = np.zeros((number, times, _GROUP))
    used = np.zeros((times, _GROUP), np.uint8)
    middle = np.zeros((number, _GROUP))
    distance = np.zeros((times, _GROUP))
    work, filler = rows(network_rows(network) + 2, distance), rows(1, distance)[0]
    pad(work, network, ends, 1)
    room, none = tallies(), np.float32(np.nan)
    for p in range(start, stop, _GROUP):
        n = min(_GROUP, stop - p)
        used[:] = 0
        _load_points(source, clear, p, n, points, used)
        _find_middle(points, used, rule, middle)
        for which in range(3):
            _distances(points, middle, which, distance)
            load(distance, used, 0, 0, n, network[1], ends, filler, work, room)
            finish_median(work, 0, network, ends, room[0], n, 0, none, mads[which], p)
        for b in range(number):
            for x in range(n):
                medians[b, p + x] = middle[b, x]


# -> points (bands, T, _GROUP) float64, used (T, _GROUP) uint8
@kernel
def _load_points(source: Any, clear: Any, p: int, n: int, points: Any, used: Any) -> None:
    bands, number, scale, offset = source
    for t in range(len(clear)):
        mask, use = clear[t, p : p + n], used[t, :n]
        for x in range(n):
            use[x] = mask[x] != 0
        for b in range(number):
            values, row = bands[b][t, p : p + n], points[b, t, :n]
            for x in range(n):
                value = np.float64(values[x]) * scale + offset
                known = value == value  # false of NaN
                row[x] = value if known else 0.0
                use[x] &= known


# points (bands, T, _GROUP), used (T, _GROUP) -> middle (bands, _GROUP)
@kernel
def _find_middle(points: Any, used: Any, rule: Any, middle: Any) -> None:
    tolerance, iterations = rule
    number = len(middle)
    weights = np.zeros(_GROUP)
    sums = np.zeros((number, _GROUP))
    squared, total, met = np.zeros(_GROUP), np.zeros(_GROUP), np.zeros(_GROUP)
    done = np.zeros(_GROUP, np.uint8)
    room = weights, sums, squared, total, met
    _weigh(points, used, middle, 0, room)
    allowed = tolerance / weights
    for b in range(number):
        for x in range(_GROUP):
            middle[b, x] = sums[b, x] / weights[x]  # NaN where nothing is clear
    for x in range(_GROUP):
        done[x] = weights[x] <= 1
    for _ in range(iterations):
        if done.all():
            return
        _weigh(points, used, middle, 1, room)
        _step(middle, allowed, done, room)


# -> weights, total, met (_GROUP,), sums (bands, _GROUP)
@kernel
def _weigh(points: Any, used: Any, middle: Any, by_distance: int, room: Any) -> None:
    """Sum up observations, weighted alike or by the inverse of their distance."""
    weights, sums, squared, total, met = room
    weights[:], sums[:], total[:], met[:] = 0.0, 0.0, 0.0, 0.0
    for t in range(len(used)):
        squared[:] = 1.0
        if by_distance:
            squared[:] = 0.0
            for b in range(len(middle)):
                for x in range(_GROUP):
                    away = points[b, t, x] - middle[b, x]
                    squared[x] += away * away
        for x in range(_GROUP):
            use, far = used[t, x] != 0, squared[x] > 0
            distance = np.sqrt(squared[x])
            weight = 1.0 / distance if use & far else 0.0
            squared[x] = weight
            weights[x] += weight
            total[x] += distance if use else 0.0
            met[x] += 1.0 if use & (not far) else 0.0
        for b in range(len(middle)):
            for x in range(_GROUP):
                sums[b, x] += squared[x] * points[b, t, x]


# allowed (_GROUP,): share of the sum of distances -> middle (bands, _GROUP), done (_GROUP,)
@kernel
def _step(middle: Any, allowed: Any, done: Any, room: Any) -> None:
    """Go one step, unless a pixel is done; tell if it is after that.

    Done pixels rest, so that the result does not depend on their neighbours.
    """
    weights, sums, squared, total, met = room
    squared[:] = 0.0
    for b in range(len(middle)):
        for x in range(_GROUP):
            away = sums[b, x] / weights[x] - middle[b, x]
            sums[b, x] = away
            squared[x] += away * away
    for x in range(_GROUP):
        pull = np.sqrt(squared[x]) * weights[x]
        # Observations that the last step met hold it back; NaN or 0 / 0 means there is no step.
        share = 1.0 - met[x] / pull if met[x] > 0 else 1.0
        share = share if share > 0 else 0.0
        share = share if done[x] == 0 else 0.0
        near = share * share * squared[x] <= (allowed[x] * total[x]) ** 2
        met[x] = share
        done[x] = 1 if near or share == 0 else done[x]
    for b in range(len(middle)):
        for x in range(_GROUP):
            if met[x] > 0:
                middle[b, x] += met[x] * sums[b, x]


# points (bands, T, _GROUP), middle (bands, _GROUP) -> distance (T, _GROUP)
@kernel
def _distances(points: Any, middle: Any, which: int, distance: Any) -> None:
    """Tell the cosine (0), Euclidean (1) or Bray-Curtis (2) distances."""
    zeros = np.zeros((5, _GROUP))
    for t in range(len(distance)):
        zeros[:] = 0.0
        dot, own, other, away, both = zeros
        for b in range(len(middle)):
            for x in range(_GROUP):
                v, m = points[b, t, x], middle[b, x]
                dot[x] += v * m
                own[x] += v * v
                other[x] += m * m
                away[x] += abs(v - m) if which == 2 else (v - m) ** 2
                both[x] += abs(v + m)
        for x in range(_GROUP):
            if which == 0:
                distance[t, x] = 1.0 - dot[x] / np.sqrt(own[x] * other[x])
            else:
                distance[t, x] = np.sqrt(away[x]) if which == 1 else away[x] / both[x]
