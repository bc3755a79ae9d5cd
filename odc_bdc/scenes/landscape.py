"""A made landscape after western Bahia: Cerrado, rivers, and farms on the plateaus between them.

What does not change in a season is kept in four bytes a pixel (`Landscape`); the colour of each
cover on a day is a small table (`signatures`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from odc_bdc.scenes.noise import Window, fbm, hashed, smoothstep, uniform

if TYPE_CHECKING:
    from datetime import date

    from numpy.typing import NDArray

    from odc_bdc.scenes.noise import Floats, UInts

WATER, GALLERY, WOODLAND, GRASSLAND, PASTURE, ROAD, FIRST_LOT = range(7)
LOTS = 96
"""Crop calendars; codes `FIRST_LOT` to ``FIRST_LOT + LOTS - 1``."""

_FARM = 120  # pixels between the middles of two farms
_STRIP = 256

# Reflectance x 10000 in blue, green, red, nir: at the end of the dry season, then of the rains.
_NATURAL = np.array(
    [
        ((520, 660, 560, 330), (600, 820, 800, 300)),  # WATER
        ((270, 500, 380, 2700), (240, 480, 290, 3350)),  # GALLERY
        ((480, 760, 960, 2150), (330, 620, 480, 2850)),  # WOODLAND
        ((680, 1010, 1430, 2350), (450, 780, 760, 2750)),  # GRASSLAND
        ((760, 1160, 1680, 2600), (430, 820, 690, 3250)),  # PASTURE
        ((900, 1350, 2050, 2750), (860, 1280, 1920, 2650)),  # ROAD
    ],
    np.float32,
)
_LATOSOL = np.array((720, 1080, 1720, 2480), np.float32)
_SAND = np.array((1180, 1640, 2120, 2900), np.float32)
_STRAW = np.array((950, 1420, 1830, 2750), np.float32)
_CANOPY = np.array(  # soy, cotton, maize
    [(260, 620, 310, 4900), (340, 720, 450, 4200), (300, 590, 380, 3900)], np.float32
)


@dataclass(frozen=True, slots=True)
class Landscape:
    """What each pixel of a window is made of; arrays of the window's shape.

    Attributes
    ----------
    under, over
        uint8 cover codes.
    share
        uint8, how much of the pixel is `over`, in 1/255.
    tone
        int8, how much lighter (or darker) than its cover the pixel is, in 1/256.
    """

    under: NDArray[np.uint8]
    over: NDArray[np.uint8]
    share: NDArray[np.uint8]
    tone: NDArray[np.int8]

    def __getitem__(self, rows: slice) -> Landscape:
        return Landscape(self.under[rows], self.over[rows], self.share[rows], self.tone[rows])


def landscape(seed: int, window: Window) -> Landscape:
    """Make the landscape of a window; equal for equal seeds wherever two windows overlap."""
    shape = window.height, window.width
    codes = np.empty((3, *shape), np.uint8)
    whole = Landscape(codes[0], codes[1], codes[2], np.empty(shape, np.int8))
    for rows, strip in window.strips(_STRIP):
        under, over, share, tone = _make(seed, strip)
        whole.under[rows], whole.over[rows] = under, over
        whole.share[rows] = np.rint(np.clip(share, 0, 1) * 255)
        whole.tone[rows] = np.clip(np.rint(tone * 256), -127, 127)
    return whole


def _make(seed: int, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Floats, Floats]:
    """Paint natural cover, then farms over it, then rivers over both."""
    height, river, brook = _rivers(seed, window)
    rough = fbm(seed + 2, window, (110, 110), 7, 0.62)
    fine = fbm(seed + 3, window, (7, 7), 3, 0.8)
    under = np.full(rough.shape, WOODLAND, np.uint8)
    over = np.full(rough.shape, GRASSLAND, np.uint8)
    share = smoothstep(rough + 0.3 * fine, -1.0, 1.4)
    tone = 0.07 * fine + 0.05 * rough

    parcel, border, inside = _parcels(seed, window)
    kind = uniform(parcel, 0, 10)
    farmed = (height + 0.08 * rough > 0.19) & (kind > 0.12)
    pasture = farmed & ((kind < 0.2) | (~inside & (kind < 0.6)))
    crop = farmed & ~pasture
    under[crop] = (FIRST_LOT + (parcel >> np.uint32(24)) % np.uint32(LOTS)).astype(np.uint8)[crop]
    under[pasture] = PASTURE
    over[farmed] = ROAD
    patchy = 0.02 + 0.12 * smoothstep(rough + 0.5 * fine, 0.2, 2.0)
    lane = border * (0.08 + 0.35 * uniform(parcel, 18, 6))
    share = np.where(farmed, np.maximum(patchy, lane), share)
    by_parcel = 0.16 * (uniform(parcel, 10, 8) - 0.5)
    tone = np.where(farmed, 0.03 * fine + 0.03 * rough + by_parcel, tone)

    # A brook's wood thins out uphill; a river's follows it everywhere.
    reach = 1.8 + rough - 16 * height
    wooded = (brook < reach) | (river < 2.4 + rough)
    under[wooded], over[wooded] = GALLERY, WOODLAND
    share = np.where(wooded, 0.25 + 0.2 * fine, share)
    breadth = 0.8 + 0.8 * smoothstep(fbm(seed + 4, window, (500, 500), 2), 0.0, 1.5)
    wet = river < breadth
    under[wet], over[wet] = WATER, GALLERY
    share = np.where(wet, smoothstep(river, breadth - 0.75, breadth), share)
    return under, over, share, tone


def _rivers(seed: int, window: Window) -> tuple[Floats, Floats, Floats]:
    """Lay rivers to the east, some 25 km apart as in western Bahia, and brooks that join them.

    Returns
    -------
    height
        float32, 0 at a river to 0.5 at the watershed.
    river, brook
        float32, distance in pixels to the water of a river, and to the bed of a brook.
    """
    around = window.padded(1, 1, 1, 1)
    bend = fbm(seed + 1, around, (600, 900), 2)
    wind = fbm(seed + 7, around, (90, 130), 6, 0.42)
    south = 1.1 * bend + 0.13 * wind + np.asarray(around.rows / 390)
    east = fbm(seed + 8, around, (160, 160), 6, 0.5) + np.asarray(around.cols / 75)
    height, river = _to_line(south)
    return height, river, _to_line(east)[1]


def _to_line(level: Floats) -> tuple[Floats, Floats]:
    """Give the distance to the nearest whole level: in levels, and in pixels (1 off each side)."""
    down = (level[2:, 1:-1] - level[:-2, 1:-1]) / 2
    right = (level[1:-1, 2:] - level[1:-1, :-2]) / 2
    away = np.abs(level - np.rint(level))[1:-1, 1:-1]
    return away, away / np.maximum(np.sqrt(down * down + right * right), 1e-4)


def _parcels(seed: int, window: Window) -> tuple[UInts, Floats, NDArray[np.bool_]]:
    """Cut the plane into farms and these into parcels.

    Returns
    -------
    parcel
        uint32, a random word for each parcel; its top byte is the crop calendar.
    border
        float32, 1 on the edge of a parcel, 0 a pixel further in.
    inside
        False in the corners that a centre pivot does not water.
    """
    farm, x, y = _nearest_farm(seed, window)
    angle = (0.12 + 0.5 * (uniform(farm, 0, 2) - 0.375)) * (uniform(farm, 2, 1) * 1.2 + 0.4)
    # Rational rotation (tangent of half the angle): exactly rounded, unlike cos and sin.
    cos, sin = (1 - angle**2) / (1 + angle**2), 2 * angle / (1 + angle**2)
    pivots = uniform(farm, 3, 6) < 0.2
    long = np.where(pivots, 18, 22 + 22 * uniform(farm, 9, 6))
    short = np.where(pivots, 18, 12 + 12 * uniform(farm, 15, 6))
    u, v = (x * cos + y * sin) / long, (y * cos - x * sin) / short
    i, j = np.floor(u), np.floor(v)
    u, v = u - i, v - j
    dice = hashed(farm, i.astype(np.int64), j.astype(np.int64))
    halved = ((dice & np.uint32(3)) == 0) | (pivots & ((dice & np.uint32(3)) == 1))
    half = halved & (u > 0.5)
    radius = np.sqrt((u - 0.5) ** 2 + (v - 0.5) ** 2) * 18
    edge = np.minimum(
        np.minimum(np.where(halved, np.abs(u - 0.5), 1.0), np.minimum(u, 1 - u)) * long,
        np.minimum(v, 1 - v) * short,
    )
    border = 1 - np.clip(np.where(pivots, np.abs(radius - 8.6), edge), 0, 1)
    lot = _lot(farm, pivots, hashed(dice, half))
    parcel = (hashed(dice, half, 5) & np.uint32(0xFFFFFF)) | (lot << np.uint32(24))
    return parcel, border.astype(np.float32), ~pivots | (radius < 8.6)


def _lot(farm: UInts, pivots: NDArray[np.bool_], dice: UInts) -> UInts:
    """Choose a calendar: a farm sows its parcels within weeks, one under pivots all the year."""
    base = (farm >> np.uint32(21)) % np.uint32(LOTS)
    near = base + (dice >> np.uint32(20)) % np.uint32(20)
    far = dice >> np.uint32(8)
    stray = (dice & np.uint32(7)) == 0
    return np.where(pivots | stray, far, near) % np.uint32(LOTS)


def _nearest_farm(seed: int, window: Window) -> tuple[UInts, Floats, Floats]:
    """Give the farm each pixel belongs to (a random word) and the offset from its middle."""
    rows, cols = window.rows, window.cols
    shape = window.height, window.width
    best = np.full(shape, np.inf, np.float32)
    farm, x, y = np.zeros(shape, np.uint32), best.copy(), best.copy()
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            row, col = rows // _FARM + i, cols // _FARM + j
            h = hashed(seed + 5, row, col)
            dy = (rows - row * _FARM) - np.rint(uniform(h, 0, 8) * _FARM).astype(np.float32)
            dx = (cols - col * _FARM) - np.rint(uniform(h, 8, 8) * _FARM).astype(np.float32)
            # Chebyshev distance on slightly turned axes: farms bounded by straight roads.
            away = np.maximum(np.abs(dx + 0.25 * dy), np.abs(dy - 0.25 * dx))
            closer = away < best
            best = np.where(closer, away, best)
            farm = np.where(closer, hashed(h), farm)
            x, y = np.where(closer, dx, x), np.where(closer, dy, y)
    return farm, x, y


def signatures(seed: int, day: date) -> Floats:
    """Give the colour of every cover on a day.

    Returns
    -------
    array
        float32, shape (covers, 4): reflectance x 10000 in blue, green, red, near infrared.
    """
    # Days since 1 October, when the rains begin.
    t = (day.timetuple().tm_yday - 274) % 365
    rain = smoothstep(t, 5.0, 95.0) * (1 - smoothstep(t, 200.0, 300.0))
    natural = _NATURAL[:, 0] + (_NATURAL[:, 1] - _NATURAL[:, 0]) * np.float32(rain)
    return np.concatenate([natural, _lot_signatures(seed, t)])


def _lot_signatures(seed: int, t: int) -> Floats:
    """Follow each calendar: bare soil, sowing, green peak, harvest, straw; some sow twice."""
    lot = np.arange(LOTS)
    h = hashed(seed + 6, lot)
    cotton, maize = lot % 6 == 4, lot % 6 == 5
    sown = 12 + 42 * lot / LOTS + 6 * uniform(h, 0, 8) + np.where(cotton, 45, 0)
    length = np.where(cotton, 175, 108 + 26 * uniform(h, 8, 8)) + np.where(maize, 15, 0)
    age = (t - sown) % 365
    again = np.where(uniform(h, 16, 4) < 0.3, 0.8, 0.0)
    green = np.maximum(_stand(age, length), again * _stand(age - length - 8, 110.0))
    straw = np.where(age > length - 10, 1 - smoothstep(age, length + 20, length + 110), 0.2)
    soil = _LATOSOL + (_SAND - _LATOSOL) * (uniform(h, 20, 6) ** 2)[:, None]
    ground = soil + (_STRAW - soil) * straw[:, None]
    canopy = _CANOPY[np.where(cotton, 1, np.where(maize, 2, 0))]
    canopy = canopy * (0.9 + 0.2 * uniform(h, 26, 6))[:, None]
    return np.asarray(ground + (canopy - ground) * green[:, None], np.float32)


def _stand(age: Floats, length: Any) -> Floats:
    """Give the part of the ground a crop covers at an age, which lives `length` days."""
    up = smoothstep(age, 8.0, 62.0)
    return np.asarray(0.95 * up * (1 - smoothstep(age, length - 24, length)), np.float32)
