"""A landscape whose values are known at any place, and scenes of it on any grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from odc.geo.crs import CRS

from odc_bdc.cube import Encoding
from odc_bdc.grid import BDC_CRS

ALBERS = CRS(BDC_CRS)


@dataclass(frozen=True)
class Landscape:
    """Waves of reflectance in the plane of the BDC's CRS.

    Attributes
    ----------
    unit
        What the lengths of the waves count, in metres: pixels of the cube.
    waves
        Amplitude, and direction as waves per unit across and down.
    """

    unit: float
    waves: tuple[tuple[float, float, float], ...] = (
        (0.10, 1 / 37, 1 / 61),
        (0.06, -1 / 23, 1 / 29),
        (0.03, 1 / 17, -1 / 13),
    )
    level: float = 0.32

    def at(self, x, y, day=0):
        """Give reflectances at places of the BDC's CRS; they grow by a hundredth a day."""
        found = self.level + 0.01 * day
        for number, (height, across, down) in enumerate(self.waves):
            phase = 2 * math.pi * (across * x + down * y) / self.unit + number
            found = found + height * np.sin(phase)
        return found

    def on(self, geobox, day=0):
        """Give reflectances at the centres of pixels of any grid; NaN where there is none."""
        return self.at(*centres(geobox, ALBERS), day)

    def bend(self):
        """Give the largest second derivative in any direction, per square unit."""
        return sum(h * (2 * math.pi) ** 2 * (a * a + d * d) for h, a, d in self.waves)


def centres(geobox, crs):
    """Give the places of the centres of a grid's pixels in a CRS, exactly: each is projected."""
    rows, columns = geobox.shape
    x, y = geobox.affine * np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5)
    return (x, y) if geobox.crs == crs else geobox.crs.transformer_to_crs(crs)(x, y)


def positions(source, target):
    """Give where centres of target pixels lie in a source, in its pixels: each is projected."""
    return ~source.affine * centres(target, source.crs)


def stored(values, encoding: Encoding):
    """Store reflectances as a band does: rounded to the nearest, nodata where they are NaN."""
    scale, offset = float(encoding.scale or 1), float(encoding.offset or 0)
    numbers = (values - offset) / scale
    kind = np.dtype(encoding.dtype)
    if kind.kind == "f":
        found = numbers.astype(kind)
    else:
        info = np.iinfo(kind)
        found = np.clip(np.rint(np.nan_to_num(numbers)), info.min, info.max).astype(kind)
        if encoding.nodata is not None:
            beside = 1 if encoding.nodata < info.max else -1
            found[found == encoding.nodata] = encoding.nodata + beside
    found[np.isnan(values)] = encoding.missing
    return found


def converted(value, source: Encoding, target: Encoding):
    """Convert one stored number as on paper; NaN stands for no data."""
    if not math.isfinite(value) or value == source.nodata:
        return math.nan
    exact = Fraction(value) * Fraction(str(source.scale or 1)) + Fraction(str(source.offset or 0))
    exact = (exact - Fraction(str(target.offset or 0))) / Fraction(str(target.scale or 1))
    kind = np.dtype(target.dtype)
    if kind.kind == "f":
        return float(kind.type(float(exact)))
    info = np.iinfo(kind)
    whole = round(exact) if source.is_float else math.trunc(exact)
    whole = min(max(whole, int(info.min)), int(info.max))
    if whole == target.nodata:
        whole += 1 if whole < info.max else -1
    return float(whole)


def converted_all(values, source: Encoding, target: Encoding):
    """Convert stored numbers; each different one on paper. Gives float64, NaN for no data."""
    unique, place = np.unique(values, return_inverse=True)
    table = np.array([converted(v, source, target) for v in unique.tolist()])
    return table[place].reshape(values.shape)
