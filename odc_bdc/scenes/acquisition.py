"""One overpass of the made satellite: when, which swath, which clouds, and what it measures."""

from __future__ import annotations

import calendar
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from odc_bdc.scenes.landscape import signatures
from odc_bdc.scenes.noise import Window, fbm, hashed, smoothstep, uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from odc_bdc.scenes.landscape import Landscape
    from odc_bdc.scenes.noise import Floats

NODATA = -9999
CMASK_NODATA, CMASK_CLEAR, CMASK_CLOUD = 0, 127, 255

_SLANT = 0.15  # columns a swath edge moves to the west in each row, as of a descending orbit
_REACH = 8600  # pixels from the anchor to the farthest swath edge
_STRIP = 256
_CLOUD = np.array((7300, 7250, 7300, 7700), np.float32)
_HAZE = np.array((700, 520, 420, 250), np.float32)


@dataclass(frozen=True, slots=True)
class Pass:
    """One overpass, the same for all tiles of its date."""

    seed: int  # of this date's clouds and noise
    time: datetime  # UTC
    edge: tuple[float, float]  # absolute row and column of a point on the edge of the swath
    west: bool  # the edge is the western one: data lies east of it
    cover: float  # part of the sky that is cloud, over a large area
    lump: float  # size of the largest clouds, in pixels
    shadow: tuple[int, int]  # rows and columns from a shadow to its cloud: the sun is ESE
    haze: float  # 0 to 1: thin cloud that the mask does not see
    gain: tuple[float, ...]  # what calibration and atmosphere leave in each band, about 1


def pass_dates(seed: int, start: date, end: date, per_month: int) -> list[date]:
    """Choose `per_month` days in every month, and keep those from `start` to `end`."""
    days = []
    month = start.replace(day=1)
    while month <= end:
        length = calendar.monthrange(month.year, month.month)[1]
        rng = np.random.default_rng([seed, month.year, month.month])
        chosen = np.sort(rng.choice(length, min(per_month, length), replace=False))
        days += [month + timedelta(days=int(d)) for d in chosen]
        month += timedelta(days=length)
    return [d for d in days if start <= d <= end]


def plan_pass(seed: int, day: date, anchor: tuple[int, int]) -> Pass:
    """Draw the overpass of a day; `anchor` is the absolute row and column it surely sees."""
    rng = np.random.default_rng([seed, day.toordinal()])
    u = rng.uniform(-1, 1)
    # Edges crowd near the anchor, so that a small window sees some of them.
    away = 8 + _REACH * abs(u) ** 2.6
    height = rng.uniform(9, 26)
    return Pass(
        seed=int(rng.integers(1 << 31)),
        time=datetime(day.year, day.month, day.day, 13, 20, tzinfo=UTC)
        + timedelta(seconds=int(rng.integers(-420, 420))),
        edge=(anchor[0], anchor[1] + math.copysign(away, u)),
        west=bool(u < 0),
        cover=float(rng.beta(0.75, 1.0) * 0.96 + 0.02),
        lump=float(rng.choice([40, 80, 160, 260])),
        shadow=(round(0.35 * height), round(height)),
        haze=float(rng.uniform(0.3, 0.9)) if rng.uniform() < 0.08 else 0.0,
        gain=tuple(float(g) for g in rng.normal(1, 0.015) + rng.normal(0, 0.006, 4)),
    )


def observe(
    overpass: Pass, land: Landscape, land_seed: int, window: Window
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Make the scene that an overpass takes of a window.

    Parameters
    ----------
    overpass
        The overpass.
    land
        Landscape of just this window.
    land_seed
        The seed the landscape was made with.
    window
        Where; shape (y, x).

    Returns
    -------
    bands
        int16, shape (4, y, x): reflectance x 10000 in blue, green, red, near infrared; nodata
        -9999 outside of the swath, and in one band at a few pixels along its edge.
    cmask
        uint8, shape (y, x): 127 clear, 255 cloud or its shadow, 0 outside of the swath.
    """
    table = signatures(land_seed, overpass.time.date())
    bands = np.empty((4, window.height, window.width), np.int16)
    cmask = np.empty((window.height, window.width), np.uint8)
    for rows, strip in window.strips(_STRIP):
        bands[:, rows], cmask[rows] = _observe_strip(overpass, table, land[rows], strip)
    return bands, cmask


def _observe_strip(
    overpass: Pass, table: Floats, land: Landscape, window: Window
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    inside = _inside(overpass, window)
    cloud, bright, shade = _clouds(overpass, window)
    share = land.share / np.float32(255)
    light = (1 + land.tone / np.float32(256)) * (1 - np.float32(0.55) * shade)
    noise = hashed(overpass.seed, window.rows, window.cols)
    veil: Any = 0
    if overpass.haze:
        thin = fbm(overpass.seed + 9, window, (60, 220), 5)
        veil = np.float32(0.25 * overpass.haze) * smoothstep(thin, 0.2, 2.2)
    bands = np.empty((4, *inside.shape), np.int16)
    for k, colour in enumerate(table.T):
        value = colour[land.under]
        value += (colour[land.over] - value) * share
        value *= light * np.float32(overpass.gain[k])
        value += veil * (_CLOUD[k] - value) + _HAZE[k] * cloud * (1 - cloud)
        value += (_CLOUD[k] * bright - value) * cloud
        value += (uniform(noise, 8 * k, 8) - np.float32(0.5)) * np.float32(40)
        bands[k] = np.where(inside < 0, NODATA, np.clip(np.rint(value), 1, 10000))
    cmask = np.where((cloud > 0.08) | (shade > 0.2), CMASK_CLOUD, CMASK_CLEAR).astype(np.uint8)
    cmask[inside < 0] = CMASK_NODATA
    # Along the edge a few pixels lose one band, as where the detectors do not align.
    dice = hashed(overpass.seed + 4, window.rows, window.cols)
    lost = (inside >= 0) & (inside < 3) & (uniform(dice) < 0.06) & (cmask == CMASK_CLEAR)
    for k, band in enumerate(bands):
        band[lost & ((dice >> np.uint32(20)) % np.uint32(4) == k)] = NODATA
    return bands, cmask


def _inside(overpass: Pass, window: Window) -> Floats:
    """Give how many columns inside of the swath each pixel lies; negative outside."""
    line = overpass.edge[1] - _SLANT * (window.rows - overpass.edge[0])
    return (window.cols - line) * (1 if overpass.west else -1)


def _clouds(overpass: Pass, window: Window) -> tuple[Floats, Floats, Floats]:
    """Give opacity and brightness of the clouds and depth of their shadows, each 0 to 1."""
    down, right = overpass.shadow
    lump = overpass.lump
    around = window.padded(0, 0, down, right)
    lumps = fbm(overpass.seed, around, (0.8 * lump, lump), 8, 0.6)
    fronts = fbm(overpass.seed + 1, around, (2400, 1700), 2)
    sky = np.float32(0.8) * lumps + np.float32(0.6) * fronts  # variance 1 again
    depth = sky - np.float32(NormalDist().inv_cdf(1 - overpass.cover))
    opacity = smoothstep(depth, -0.05, 0.5)
    here = np.s_[: window.height, : window.width]
    bright = 0.45 + 0.6 * smoothstep(depth[here], 0.0, 2.2)
    shade = opacity[down:, right:] * (1 - opacity[here])
    return opacity[here], bright, shade
