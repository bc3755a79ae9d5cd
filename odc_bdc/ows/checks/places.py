"""CRSs and boxes."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from pyproj import Transformer

from odc_bdc.ows.checks.parameters import needed
from odc_bdc.ows.exceptions import INVALID, Refusal, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    from odc.geo.crs import CRS

    from odc_bdc.ows.checks.published import Published, PublishedCrs
    from odc_bdc.ows.requests import Query


def check_crs(query: Query, name: str, published: Published, code: str = INVALID) -> PublishedCrs:
    """Give the CRS that a parameter names.

    Raises
    ------
    Refusal
        If it is missing, or not published.
    """
    text = needed(query, name)
    if text not in published.crss:
        raise Refusal(
            f"CRS {shown(text)} is not published: the capabilities list those that are",
            code,
            name,
        )
    return published.crss[text]


def check_box(
    query: Query, served: PublishedCrs, *, crs_order: bool = True
) -> tuple[float, float, float, float]:
    """Check a box of the parameter BBOX; give it as xmin, ymin, xmax, ymax, in units of its CRS.

    Raises
    ------
    Refusal
        If it is no box, has no area, or shows nothing of the Earth.
    """
    parts = needed(query, "bbox").split(",")
    try:
        values = tuple(float(part) for part in parts)
    except ValueError:
        values = ()
    if len(values) != 4 or not all(map(math.isfinite, values)):
        text = shown(",".join(parts))
        raise Refusal(f"BBOX={text} is no box: four numbers are", INVALID, "bbox")
    if values[0] >= values[2] or values[1] >= values[3]:
        raise Refusal("BBOX has no area: minima come first", INVALID, "bbox")
    swap = crs_order and served.latitude_first
    xmin, ymin, xmax, ymax = (values[n] for n in ((1, 0, 3, 2) if swap else (0, 1, 2, 3)))
    if not _on_earth(served.crs, (xmin, ymin, xmax, ymax)):
        raise Refusal("BBOX lies where its CRS shows nothing of the Earth", INVALID, "bbox")
    return xmin, ymin, xmax, ymax


def _on_earth(crs: CRS, box: tuple[float, float, float, float]) -> bool:
    """Tell whether a CRS shows anything of the Earth in a box: of 9 x 9 points of it, any."""
    if max(map(abs, box)) > 1e9:
        return False
    x, y = (v.ravel() for v in np.meshgrid(*(np.linspace(box[n], box[n + 2], 9) for n in (0, 1))))
    lon, lat = _to_degrees(str(crs))(x, y)
    inside = np.isfinite(lon) & np.isfinite(lat) & (np.abs(lat) <= 90) & (np.abs(lon) <= 360)
    return bool(inside.any())


@lru_cache(maxsize=64)
def _to_degrees(crs: str) -> Callable[..., tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    return Transformer.from_crs(crs, "OGC:CRS84", always_xy=True).transform
