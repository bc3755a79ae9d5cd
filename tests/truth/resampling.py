"""What resampling means, in plain numpy and from exact positions: slow, and read from the docs."""

from __future__ import annotations

import numpy as np
import shapely
from landscape import positions

HAIR = 1e-6
"""A position that is so little short of the next pixel counts as in it."""


def footprints(source, target):
    """Give the positions of target pixels, and how they change across and down, by differences."""
    x, y = positions(source, target)
    wide = target.pad(1)
    xs, ys = positions(source, wide)

    def slope(a, axis):
        after, before = (np.roll(a, shift, axis) for shift in (-1, 1))
        return ((after - before) / 2)[1:-1, 1:-1]

    return x, y, (slope(xs, 1), slope(xs, 0), slope(ys, 1), slope(ys, 0))


def width(ratio):
    """Give how wide filters are, in source pixels, where a target pixel spans so many."""
    return np.maximum(1, np.minimum(ratio, 1 + (ratio - 1.06) / 0.94))


def nearest(x, y, shape):
    """Give rows and columns of nearest pixels, and where there are any."""
    r, c = np.floor(y + HAIR), np.floor(x + HAIR)
    inside = (y > -HAIR) & (x > -HAIR) & (r < shape[0]) & (c < shape[1])
    rows, columns = (np.where(inside, a, 0).astype(int) for a in (r, c))
    return rows, columns, inside


def resampled(pixels, source, target, how, missing, shift=(0.0, 0.0)):
    """Resample one band.

    Returns float64 (y, x), NaN for no data. Positions may be shifted, in source pixels.
    """
    x, y, (xa, xd, ya, yd) = footprints(source, target)
    x, y = x + shift[0], y + shift[1]
    rows, columns, inside = nearest(x, y, pixels.shape)
    values = np.where(missing, np.nan, pixels.astype(np.float64))
    there = inside & ~missing[rows, columns]
    near = np.where(there, values[rows, columns], np.nan)
    if how == "nearest":
        return near
    ratios = np.hypot(xa, xd), np.hypot(ya, yd)
    if how in ("average", "mode"):
        found = {"average": _area_mean, "mode": _most_frequent}[how](values, x, y, (xa, xd, ya, yd))
    else:
        reach, weight = {"bilinear": (1, _triangle), "cubic": (2, _keys)}[how]
        found, complete = _filtered(values, x, y, [width(s) for s in ratios], reach, weight)
        if how == "cubic":
            linear, _ = _filtered(values, x, y, [width(s) for s in ratios], 1, _triangle)
            found = np.where(complete, found, linear)
    found = np.where(np.isnan(found), near, found)
    return np.where(there, found, np.nan)


def _triangle(d):
    return np.maximum(0, 1 - np.abs(d))


def _keys(d):
    d = np.abs(d)
    inner = (1.5 * d - 2.5) * d * d + 1
    outer = ((-0.5 * d + 2.5) * d - 4) * d + 2
    return np.where(d < 1, inner, np.where(d < 2, outer, 0))


def _taken(values, rows, columns):
    inside = (rows >= 0) & (columns >= 0) & (rows < values.shape[0]) & (columns < values.shape[1])
    found = values[np.where(inside, rows, 0), np.where(inside, columns, 0)]
    return np.where(inside, found, np.nan)


def _filtered(values, x, y, widths, reach, weight):
    wx, wy = widths
    steps = range(-int(np.ceil(reach * max(wx.max(), wy.max()))) - 1, 0)
    steps = range(steps[0], -steps[0] + 1)
    total, weights, complete = np.zeros(x.shape), np.zeros(x.shape), np.ones(x.shape, bool)
    r0, c0 = np.floor(y).astype(int), np.floor(x).astype(int)
    for dr in steps:
        down = weight((r0 + dr + 0.5 - y) / wy)
        for dc in steps:
            share = down * weight((c0 + dc + 0.5 - x) / wx)
            value = _taken(values, r0 + dr, c0 + dc)
            known = ~np.isnan(value)
            complete &= known | (share == 0)
            total += np.where(known, share * np.nan_to_num(value), 0)
            weights += np.where(known, share, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weights > 0, total / weights, np.nan), complete


def _area_mean(values, x, y, jacobian):
    """Weigh pixels by the area that they share with the parallelogram of each target pixel."""
    xa, xd, ya, yd = jacobian
    corners = [(u, v) for u, v in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))]
    rings = [np.stack([x + xa * u + xd * v, y + ya * u + yd * v], -1) for u, v in corners]
    shapes = shapely.polygons(np.stack(rings, -2))
    reach = int(np.ceil((np.abs(xa) + np.abs(xd) + np.abs(ya) + np.abs(yd)).max() / 2)) + 1
    r0, c0 = np.floor(y).astype(int), np.floor(x).astype(int)
    total, weights = np.zeros(x.shape), np.zeros(x.shape)
    for dr in range(-reach, reach + 1):
        for dc in range(-reach, reach + 1):
            r, c = r0 + dr, c0 + dc
            share = shapely.area(shapely.intersection(shapes, shapely.box(c, r, c + 1, r + 1)))
            value = _taken(values, r, c)
            known = ~np.isnan(value)
            total += np.where(known, share * np.nan_to_num(value), 0)
            weights += np.where(known, share, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weights > 0, total / weights, np.nan)


def _most_frequent(values, x, y, jacobian):
    xa, xd, ya, yd = jacobian
    out = np.full(x.shape, np.nan)
    for at in np.ndindex(x.shape):
        inverse = np.linalg.inv([[xa[at], xd[at]], [ya[at], yd[at]]])
        reach = int(np.ceil(max(np.hypot(xa, xd).max(), np.hypot(ya, yd).max()))) + 1
        found = {}
        for r in range(int(y[at]) - reach, int(y[at]) + reach + 1):
            for c in range(int(x[at]) - reach, int(x[at]) + reach + 1):
                u, v = inverse @ (c + 0.5 - x[at], r + 0.5 - y[at])
                if not all(-0.5 - HAIR <= a < 0.5 - HAIR for a in (u, v)):
                    continue
                value = _taken(values, np.array(r), np.array(c))
                if not np.isnan(value):
                    found[float(value)] = found.get(float(value), 0) + 1
        if found:
            out[at] = max(found, key=found.get)  # of equals the first
    return out
