"""Formats that GDAL knows in a worker; of all that it knows, many follow names that files hold."""

from __future__ import annotations

import os
import subprocess
import sys

from odc_bdc.errors import OdcBdcError

LISTED_VARIABLE = "ODC_BDC_GDAL_DRIVERS"
"""All that GDAL knows, told by the server to its workers."""

_SKIP = "GDAL_SKIP"  # GDAL reads it once, when it starts
# What warping and rasterising, coverages, and maps of nothing are made with. No document is read by
# these: `odc_bdc.indexing.raster` opens files by `DRIVERS` only.
_OWN = ("COG", "MEM", "Memory", "PNG")
_TOLD = "import rasterio\nwith rasterio.Env() as env: print(','.join(env.drivers()))"


def listed_drivers() -> str:
    """Give the names of all drivers of this GDAL, separated by commas.

    A process of its own is asked: where they are known, it is too late to skip them.

    Raises
    ------
    OdcBdcError
        If it cannot be asked.
    """
    environ = {key: value for key, value in os.environ.items() if key != _SKIP}
    try:
        told = subprocess.run(
            [sys.executable, "-c", _TOLD], env=environ, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as e:
        raise OdcBdcError(f"GDAL's drivers cannot be listed: {e}") from e
    return told.stdout.strip()


def limit_drivers() -> None:
    """Let the GDAL of this process know only what files may be, and what it works with itself.

    To be called before anything is done with GDAL.

    Raises
    ------
    OdcBdcError
        If GDAL is at work already.
    """
    import rasterio  # noqa: PLC0415 (gunicorn's own process does without)

    from odc_bdc.indexing.raster import DRIVERS  # noqa: PLC0415 (as rasterio)

    kept = {*DRIVERS, *_OWN}
    listed = {*(os.environ.get(LISTED_VARIABLE) or listed_drivers()).split(",")}
    given = os.environ.get(_SKIP)
    os.environ[_SKIP] = ",".join(sorted(listed - kept))
    with rasterio.Env() as env:
        left = sorted({*env.drivers()} - kept)
    # Other libraries of this process have a GDAL of their own, which reads grids of vectors.
    os.environ.pop(_SKIP)
    if given is not None:
        os.environ[_SKIP] = given
    if left:
        raise OdcBdcError(
            f"GDAL is at work already, with {len(left)} formats that a service must not read, such "
            f"as {left[0]}: let odc_bdc.ows.wsgi be the first that a process imports"
        )
