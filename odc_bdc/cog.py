"""Cloud Optimized GeoTIFFs, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt
from odc.geo.geobox import GeoBox
from rasterio.io import MemoryFile


def write_cog(
    path: Path,
    pixels: npt.NDArray[Any],
    geobox: GeoBox,
    *,
    nodata: float | None,
    blocksize: int = 512,
    level: int = 6,
    description: str | None = None,
) -> None:
    """Write one band as a Cloud Optimized GeoTIFF with overviews.

    Parameters
    ----------
    pixels
        Array (y, x), of integers or floats.
    geobox
        Its pixel grid.
    nodata
        Tag of the file, NaN for floats; None for none.
    level
        Of DEFLATE, 1 (quick) to 9.
    description
        Name of the band.

    Raises
    ------
    OSError
        If the file cannot be written, a full disk included.

    Notes
    -----
    Overviews take the nearest pixel: GDAL's default, cubic, invents classes in masks, days in
    PROVENANCE, and reflectances that no observation has.
    """
    # Through memory: GDAL only logs a full disk when it closes a file, Python raises.
    with MemoryFile() as memory:
        with memory.open(
            driver="COG",
            width=pixels.shape[1],
            height=pixels.shape[0],
            count=1,
            dtype=pixels.dtype.name,
            nodata=nodata,
            crs=geobox.crs.to_wkt(),
            transform=geobox.affine,
            blocksize=blocksize,
            compress="DEFLATE",
            level=level,
            predictor="YES",
            overview_resampling="NEAREST",
        ) as file:
            file.write(pixels, 1)
            if description:
                file.set_band_description(1, description)
        path.write_bytes(memory.getbuffer())
