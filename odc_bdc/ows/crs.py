"""The coordinate reference systems that the services publish."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from odc.geo.crs import CRS

from odc_bdc.grid import BDC_CRS, normalise_crs

if TYPE_CHECKING:
    from collections.abc import Iterable

BDC_KEY = str(BDC_CRS)
"""The BDC's CRS as datacube-ows knows it, which compares with ``str`` of the product's CRS."""

BDC_CODE = "EPSG:10857"
"""Another name of the BDC's CRS, for clients; few PROJ versions can look it up."""

CRS84, WMS_CRS84 = "OGC:CRS84", "CRS:84"
"""WGS 84 with the longitude first, and its name in WMS (OGC 06-042, 6.7.3.2)."""

CRS84_URN = "urn:ogc:def:crs:OGC:1.3:CRS84"
"""The same as the other standards name it (OGC 07-092r1, 7)."""

UTM_ZONES = range(18, 26)
"""The UTM zones of Brazil south of the equator."""

UTM = tuple(
    f"EPSG:{first + zone}"
    # WGS 84 zone 1S is EPSG:32701; SIRGAS 2000 has 18S to 25S only, from EPSG:31978.
    for first in (32700, 31960)
    for zone in UTM_ZONES
)
"""WGS 84 and SIRGAS 2000, UTM zones 18S to 25S."""

ALWAYS = ("EPSG:3857", "EPSG:4326", CRS84, "EPSG:4674", "EPSG:5880", *UTM, BDC_KEY)
"""EPSG:4674 is SIRGAS 2000, EPSG:5880 its polyconic projection of Brazil."""


def published_key(crs: CRS) -> str:
    """Give the key under which `published_crss` describes a CRS.

    That of the BDC has one key, whether or not the installed PROJ knows its code.

    Examples
    --------
    >>> published_key(BDC_CRS) == BDC_KEY, published_key(CRS("EPSG:4674"))
    (True, 'EPSG:4674')
    """
    known = normalise_crs(crs)
    return str(known) if known == BDC_CRS or known.epsg is None else f"EPSG:{known.epsg}"


def published_crss(native: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Describe the CRSs of `ALWAYS` and the `native` ones of the layers, as datacube-ows wants it.

    Parameters
    ----------
    native
        As ``str`` of an `odc.geo.crs.CRS`.
    """
    published = {key: _describe(CRS(key)) for key in dict.fromkeys((*ALWAYS, *native))}
    return {**published, BDC_CODE: {"alias": BDC_KEY}, WMS_CRS84: {"alias": CRS84}}


def _describe(crs: CRS) -> dict[str, Any]:
    vertical, horizontal = crs.dimensions
    return {
        "geographic": crs.geographic,
        "horizontal_coord": horizontal,
        "vertical_coord": vertical,
        "vertical_coord_first": crs.proj.axis_info[0].direction == "north",
    }
