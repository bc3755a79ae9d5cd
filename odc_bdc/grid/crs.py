"""The two CRSs of the Brazil Data Cube under all the names that files and people give them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache, lru_cache
from numbers import Integral
from typing import Any

from odc.geo.crs import CRS

from odc_bdc.errors import InvalidValueError

BDC_PROJ = (
    "+proj=aea +lat_0=-12 +lon_0=-54 +lat_1=-2 +lat_2=-22 "
    "+x_0=5000000 +y_0=10000000 +ellps=GRS80 +units=m +no_defs"
)
"""The CRS of both generations of BDC grids (SIRGAS 2000 / Brazil Albers)."""

BDC_CRS = CRS(BDC_PROJ)
"""`BDC_PROJ` as an `odc.geo` CRS. It has no EPSG code that every PROJ in use knows."""

BDC_MOSAIC_PROJ = (
    "+proj=aea +lat_0=0 +lon_0=-54 +lat_1=-1 +lat_2=-29 "
    "+x_0=0 +y_0=0 +ellps=GRS80 +units=m +no_defs"
)
"""The older Albers form of the BDC's mosaics and of its first vegetation index cubes."""

BDC_MOSAIC_CRS = CRS(BDC_MOSAIC_PROJ)
"""`BDC_MOSAIC_PROJ` as an `odc.geo` CRS; no grid lies in it, and it has no code."""

_NAMES = {
    str(BDC_CRS): "SIRGAS 2000 / Brazil Albers",
    str(BDC_MOSAIC_CRS): "GRS 80 / BDC mosaic Albers",
}

# EPSG:10857 is registered, but few PROJ versions can look it up; 100001 is the BDC's own SRID.
_BDC_CODES = frozenset({"10857", "100001"})
# EPSG:n, SRID=n, +init=epsg:n, and the URN and URL forms of OGC and spatialreference.org.
_CODE = re.compile(
    r"(?:.*[:/=])?(?:EPSG|SR-ORG|SRID)(?:\.XML)?(?:[:/][\d.]*)?[:/#=](\d+)/?", re.IGNORECASE
)


def georeference(attrs: Mapping[Any, Any]) -> dict[Any, Any]:
    """Give those attributes of a band, as datacube writes them, that say where its pixels lie.

    Examples
    --------
    >>> georeference({"crs": "EPSG:4326", "units": "1", "grid_mapping": "spatial_ref"})
    {'crs': 'EPSG:4326', 'grid_mapping': 'spatial_ref'}
    """
    return {name: value for name, value in attrs.items() if name in ("crs", "grid_mapping")}


def named_wkt(crs: CRS) -> str:
    """Write a CRS as WKT 2, the BDC's under names that people know.

    A proj string has no name, so that tools would show files in it as of an unknown CRS.

    Examples
    --------
    >>> named_wkt(BDC_CRS)[:38]
    'PROJCRS["SIRGAS 2000 / Brazil Albers",'
    """
    known = normalise_crs(crs)
    name = _NAMES.get(str(known))
    return crs.to_wkt().replace('"unknown"', f'"{name}"', 1) if name else str(crs.to_wkt())


def normalise_crs(crs: Any) -> CRS:
    """Give the CRS that `crs` means: `BDC_CRS` or `BDC_MOSAIC_CRS` for every spelling of these.

    They are told by their parameters, not by name, so it does not matter who wrote the WKT.

    Parameters
    ----------
    crs
        EPSG code (``EPSG:4674``, 4674, ``urn:ogc:def:crs:EPSG::4674``), proj string, WKT 1 or 2,
        PROJJSON as text or dictionary, pyproj, rasterio or `odc.geo` CRS; or one of the codes of
        the BDC's CRS (``EPSG:10857``, SRID 100001), which many PROJ versions cannot look up.

    Raises
    ------
    InvalidValueError
        If `crs` is not a CRS.

    Examples
    --------
    >>> normalise_crs("urn:ogc:def:crs:EPSG::10857") is BDC_CRS
    True
    """
    return _known(_text(crs))


def epsg_code(crs: Any) -> int | None:
    """Give the EPSG code of a CRS; None if it has none that every PROJ in use can look up.

    PROJ 9.8 finds the code of the BDC's CRS in its parameters, and PROJ 9.5 does not know it: what
    is written by it on one machine could not be read on another.

    Parameters
    ----------
    crs
        As for `normalise_crs`, which also says what is raised.

    Examples
    --------
    >>> epsg_code("EPSG:4674"), epsg_code(BDC_CRS)
    (4674, None)
    """
    known = normalise_crs(crs)
    return None if known is BDC_CRS else known.epsg


@lru_cache(maxsize=256)
def _known(text: str) -> CRS:
    code = _CODE.fullmatch(text)
    if code and code[1] in _BDC_CODES:
        return BDC_CRS
    try:
        known = CRS(text)
    except Exception as e:
        raise InvalidValueError(f"{text[:120]!r} is not a CRS: {e}") from e
    return _ours().get(_parameters(known), known)


def _text(crs: Any) -> str:
    """Write a CRS as text without looking anything up."""
    # Not `str` of a CRS object: rasterio's searches all EPSG codes for a name first.
    if hasattr(crs, "to_wkt"):
        return str(crs.to_wkt())
    if isinstance(crs, Mapping):
        if not {"proj", "init"} & set(crs):
            return json.dumps(dict(crs))  # PROJJSON; the other is a proj string in pieces
        return " ".join(f"+{k}" if v is True else f"+{k}={v}" for k, v in crs.items())
    text = str(crs).strip()
    is_code = isinstance(crs, Integral) or text.isdecimal()
    return f"EPSG:{text}" if is_code else text


@cache
def _ours() -> dict[Any, CRS]:
    return {_parameters(crs): crs for crs in (BDC_CRS, BDC_MOSAIC_CRS)}


def _parameters(crs: CRS) -> tuple[Any, ...] | None:
    """Give what makes an Albers CRS in metres what it is; None if it is something else."""
    if not crs.projected or set(crs.units) != {"metre"}:
        return None
    cf: dict[str, Any] = crs.proj.to_cf()
    parallels = cf.get("standard_parallel")
    if cf.get("grid_mapping_name") != "albers_conical_equal_area":
        return None
    if not isinstance(parallels, (tuple, list)) or any(cf.get("towgs84") or ()):
        return None
    keys = (
        "latitude_of_projection_origin",
        "longitude_of_central_meridian",
        "longitude_of_prime_meridian",
        "false_easting",
        "false_northing",
        "semi_major_axis",
        "inverse_flattening",
    )
    # Files round: the ninth digit of a degree is a tenth of a millimetre.
    numbers = [round(float(cf.get(k, 0.0)), 9) + 0.0 for k in keys]
    return (*numbers, *sorted(round(float(p), 9) for p in parallels))
