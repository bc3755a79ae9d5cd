"""CRSs as items and files give them, and as EO3 documents have them; each is looked up once."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from odc.geo.crs import CRS

from odc_bdc.errors import InvalidValueError
from odc_bdc.grid import epsg_code, normalise_crs

# PROJ would open them, wherever they lie.
_FILES = re.compile(r"(?:init|grids|catalog|file)\s*=\s*@?[^\s\"]*/", re.IGNORECASE)


def crs_name(crs: Any) -> str:
    """Name a CRS so that equal ones have one name: ``EPSG:32631``, else a text that can be read.

    Raises
    ------
    InvalidValueError
        If it is none, or none of the plane or the globe.
    """
    if isinstance(crs, Mapping):
        try:
            crs = json.dumps(crs)
        except RecursionError as e:
            raise InvalidValueError("the CRS is nested too deeply") from e
    return _name(crs if isinstance(crs, str) else crs.to_wkt())


@lru_cache(maxsize=1024)
def eo3_crs(name: str) -> str:
    """Write a CRS as EO3 documents have it: EPSG code or WKT, as it takes no proj string."""
    code = epsg_code(name)
    return f"epsg:{code}" if code else str(CRS(name).to_wkt())


@lru_cache(maxsize=1024)
def same_crs(one: str, other: str) -> bool:
    """Tell whether two texts mean the same CRS, however they spell it."""
    return one == other or bool(normalise_crs(one) == normalise_crs(other))


@lru_cache(maxsize=1024)
def _name(text: str) -> str:
    if _FILES.search(text):
        raise InvalidValueError(f"{text[:120]!r} names files, which no CRS from outside may")
    known = normalise_crs(text)
    if not (known.projected or known.geographic):
        raise InvalidValueError(f"{text[:120]!r} is neither a projected nor a geographic CRS")
    code = epsg_code(known)
    return str(known) if code is None else f"EPSG:{code}"
