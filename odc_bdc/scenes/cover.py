"""What made scenes show: the truth that real scenes do not come with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from odc.geo.xr import xr_coords

from odc_bdc.errors import InvalidValueError
from odc_bdc.grid import bdc_grid
from odc_bdc.scenes import landscape as land
from odc_bdc.scenes.noise import Window
from odc_bdc.scenes.stac import GRID, RESOLUTION

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

COVERS = {1: "Water", 2: "Forest", 3: "Savanna", 4: "Pasture", 5: "Cropland"}
"""Land covers of the made landscape by code: forest is that along rivers."""

_CODES = np.full(land.FIRST_LOT + land.LOTS, 5, np.uint8)
_CODES[[land.WATER, land.GALLERY, land.WOODLAND, land.GRASSLAND, land.PASTURE]] = 1, 2, 3, 3, 4


def made_cover(geobox: GeoBox, *, seed: int = 0) -> xr.DataArray:
    """Give the land cover that made scenes were made of.

    Parameters
    ----------
    geobox
        Which pixels: of 64 m, in the BDC's CRS, on the pixels of the grid BDC_LG_V2, as those of
        cubes of made scenes are.
    seed
        The seed that the scenes were made with.

    Returns
    -------
    xarray.DataArray
        uint8 (y, x), codes of `COVERS`: the cover with the larger part of the pixel.

    Raises
    ------
    InvalidValueError
        If the pixels of `geobox` are others.
    """
    x0, y0 = bdc_grid(GRID).origin
    a = geobox.affine
    row, col = (y0 - a.f) / RESOLUTION, (a.c - x0) / RESOLUTION
    corner = np.rint([row, col]).astype(int)
    on_grid = np.allclose([row, col], corner, rtol=0, atol=1e-6)
    if not on_grid or (a.a, a.b, a.d, a.e) != (RESOLUTION, 0, 0, -RESOLUTION):
        raise InvalidValueError(
            f"pixels of {a.a:g} by {a.e:g} m at {a.c:.10g}, {a.f:.10g} are not those of made "
            f"scenes: give the geobox of a cube of them, {RESOLUTION} m on grid {GRID}"
        )
    window = Window(int(corner[0]), int(corner[1]), geobox.shape.y, geobox.shape.x)
    made = land.landscape(seed, window)
    codes = _CODES[np.where(made.share > 127, made.over, made.under)]
    # Roads lie between fields and are never the larger part.
    return xr.DataArray(codes, coords=xr_coords(geobox), dims=geobox.dimensions, name="cover")
