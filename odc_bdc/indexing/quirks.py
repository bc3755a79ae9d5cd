"""Faults of collections that only code can mend: one function each, named by ingest recipes.

A quirk takes the properties of an item and its id, and gives properties that are right. It knows
nothing else, and it leaves alone what it does not understand: what is wrong then is said by those
who read the properties.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from odc_bdc.errors import InvalidValueError
from odc_bdc.naming import ItemName

Properties: TypeAlias = Mapping[str, Any]
Quirk: TypeAlias = Callable[[Properties, str], Properties]
"""Takes an item's properties and its id."""

_MIDNIGHT = "T00:00:00"
_LANDSAT = re.compile(r"L(?P<sensor>[COTEM])0(?P<number>[1-9])_")
_INSTRUMENTS = {"C": ["oli", "tirs"], "O": ["oli"], "T": ["tirs"], "E": ["etm"], "M": ["mss"]}
_SENTINEL_2 = re.compile(
    r"S2(?P<unit>[A-D])_MSIL(?:1C|2A)_(?P<sensed>\d{8}T\d{6})_N(?P<major>\d{2})(?P<minor>\d{2})"
    r"_R\d{3}_T(?P<tile>\d{2}[A-Z]{3})_"
)
_DATASTRIP = re.compile(r"_S(?P<sensed>\d{8}T\d{6})_N")


def period_from_id(properties: Properties, item_id: str) -> Properties:
    """Read the period from the id where the item tells one date only, as those of STAC 0.8 do."""
    if properties.get("start_datetime") and properties.get("end_datetime"):
        return properties
    try:
        period = ItemName.parse(item_id).period
    except InvalidValueError:
        return properties
    if period is None:
        return properties
    start, end = (day.isoformat() + _MIDNIGHT for day in (period.start, period.end))
    return {"datetime": start, "start_datetime": start, **_told(properties), "end_datetime": end}


def whole_days(properties: Properties, _item_id: str) -> Properties:
    """Let a period end with its last day: the BDC writes the midnight at which that day begins."""
    end = properties.get("end_datetime")
    if not isinstance(end, str) or _MIDNIGHT not in end:
        return properties
    return {**properties, "end_datetime": end.replace(_MIDNIGHT, "T23:59:59")}


def landsat_from_id(properties: Properties, item_id: str) -> Properties:
    """Read satellite and sensor from a Landsat scene's id, ``LC08_...``, which is spelled one way.

    The letters of scene ids are those of USGS's product guides.
    """
    found = _LANDSAT.match(item_id)
    if found is None:
        return properties
    sensor, number = found["sensor"], int(found["number"])
    # T is Thematic Mapper up to Landsat 5, and the thermal sensor alone from Landsat 8 on.
    instruments = ["tm"] if sensor == "T" and number < 6 else _INSTRUMENTS[sensor]
    return {**properties, "platform": f"landsat-{number}", "instruments": instruments}


def baseline_from_id(properties: Properties, item_id: str) -> Properties:
    """Give the processing baseline of a Sentinel-2 scene as ``s2:processing_baseline``: ``05.09``.

    It stands in the id, ``..._N0509_...``; other catalogues have it as ``processing:version``.
    """
    found = _SENTINEL_2.match(item_id)
    told = properties.get("processing:version")
    baseline = f"{found['major']}.{found['minor']}" if found else told
    return {"s2:processing_baseline": baseline, **_told(properties)}


def sentinel2_from_id(properties: Properties, item_id: str) -> Properties:
    """Read satellite and sensor from the id of a Sentinel-2 scene, ``S2A_MSI...``."""
    found = _SENTINEL_2.match(item_id)
    if found is None:
        return properties
    return {**properties, "platform": f"sentinel-2{found['unit'].lower()}", "instruments": ["msi"]}


def l1c_granule(properties: Properties, item_id: str) -> Properties:
    """Tell where the images of a Sentinel-2 L1C scene lie in its SAFE.

    ``odc_bdc:granule`` is the folder below ``GRANULE``, which is called by tile, absolute orbit and
    the time at which the datastrip began; ``odc_bdc:image`` is how the names of images begin, with
    tile and the time in the scene's id. The names are those of ESA's compact SAFE, of 2016 on.
    """
    found = _SENTINEL_2.match(item_id)
    datastrip = _DATASTRIP.search(str(properties.get("datastripId")))
    orbit = properties.get("orbitNumber")
    if found is None or datastrip is None or not isinstance(orbit, int):
        return properties
    return {
        **properties,
        "odc_bdc:granule": f"L1C_T{found['tile']}_A{orbit:06d}_{datastrip['sensed']}",
        "odc_bdc:image": f"T{found['tile']}_{found['sensed']}",
    }


def _told(properties: Properties) -> dict[str, Any]:
    return {key: value for key, value in properties.items() if value is not None}


QUIRKS: dict[str, Quirk] = {
    quirk.__name__: quirk
    for quirk in (
        period_from_id,
        whole_days,
        landsat_from_id,
        sentinel2_from_id,
        baseline_from_id,
        l1c_granule,
    )
}
"""All quirks by the name that recipes call them."""
