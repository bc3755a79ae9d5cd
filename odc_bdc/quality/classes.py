"""The three classes of an observation, and their dilation."""

from __future__ import annotations

from math import isqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from odc_bdc.errors import InvalidValueError

NODATA = 0
"""The quality band is nodata: outside of the scene."""

SEEN = 1
"""The scene has the pixel, but not clear: cloud, shadow, saturated, or a value of no meaning."""

CLEAR = 2
"""The scene shows the ground."""


def dilate(classes: npt.NDArray[np.uint8], radius: int) -> npt.NDArray[np.uint8]:
    """Widen what is not clear: CLEAR pixels near a SEEN one become SEEN.

    Parameters
    ----------
    classes
        uint8 array (y, x) or (time, y, x) of NODATA, SEEN and CLEAR, as `QualityPolicy.classify`
        gives it. Times do not touch each other.
    radius
        In pixels, 0 or more. The structuring element is a disk: all pixels whose centres are at
        most so far apart, ``dx**2 + dy**2 <= radius**2``. It is that of odc-algo's `mask_cleanup`
        (``skimage.morphology.disk``), so a radius of 1 is a cross of five pixels.

    Returns
    -------
    numpy.ndarray
        A new array. NODATA stays, and does not spread; nothing spreads from beyond the border. So
        who works in blocks has to read a margin of `radius` pixels around each, dilate, and cut the
        margin off; then blocks agree with the whole.

    Raises
    ------
    InvalidValueError
        If `radius` is negative or the array has less than two dimensions.

    Examples
    --------
    >>> dilate(np.array([[2, 2, 1, 0, 2]], dtype="uint8"), 1).tolist()
    [[2, 1, 1, 0, 2]]
    """
    if radius < 0 or classes.ndim < 2:
        raise InvalidValueError(
            f"dilation of {classes.ndim} dimensions by {radius} pixels: give (y, x) or "
            "(time, y, x), and a radius of 0 or more"
        )
    out = classes.copy()
    seen = classes == SEEN
    if radius and seen.any():
        np.copyto(out, np.uint8(SEEN), where=_near(seen, radius) & (classes == CLEAR))
    return out


def _near(mask: npt.NDArray[np.bool_], radius: int) -> npt.NDArray[np.bool_]:
    """Tell what lies in a disk around a true pixel, row by row of the disk."""
    out = np.zeros_like(mask)
    wide = mask.copy()
    for reach in range(radius + 1):
        # Now a true pixel reaches so far along x; the disk is as wide at these rows.
        _spread(wide, mask, reach, axis=-1)
        for dy in range(radius + 1):
            if isqrt(radius**2 - dy**2) == reach:
                _spread(out, wide, dy, axis=-2)
    return out


def _spread(
    out: npt.NDArray[np.bool_], mask: npt.NDArray[np.bool_], distance: int, *, axis: int
) -> None:
    """Set in `out` what lies exactly `distance` from a true pixel along an axis, either way."""
    to: Any = np.moveaxis(out, axis, 0)
    of: Any = np.moveaxis(mask, axis, 0)
    if distance < len(of):
        to[distance:] |= of[: len(of) - distance]
        to[: len(of) - distance] |= of[distance:]
