"""Outlines of countries, from the file that the map server's page ships: no other host is asked."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from odc_bdc.ows.landing.page import static_files

if TYPE_CHECKING:
    from collections.abc import Iterator

_AROUND = 25.0  # degrees


def outlines(bounds: tuple[float, float, float, float]) -> dict[str, Any]:
    """Give the outlines of countries near a box, as a GeoJSON FeatureCollection.

    Parameters
    ----------
    bounds
        West, south, east, north in degrees. What is farther than 25 degrees away is left out.
    """
    west, south, east, north = bounds
    near = [
        feature
        for feature, (left, bottom, right, top) in _countries()
        if left <= east + _AROUND
        and right >= west - _AROUND
        and bottom <= north + _AROUND
        and top >= south - _AROUND
    ]
    return {"type": "FeatureCollection", "features": near}


@cache
def _countries() -> list[tuple[dict[str, Any], tuple[float, float, float, float]]]:
    features = json.loads(static_files()["countries.json"])["features"]
    return [(feature, _box(feature["geometry"]["coordinates"])) for feature in features]


def _box(rings: list[list[list[float]]]) -> tuple[float, float, float, float]:
    lon, lat = zip(*_points(rings), strict=True)
    return min(lon), min(lat), max(lon), max(lat)


def _points(rings: list[list[list[float]]]) -> Iterator[list[float]]:
    for ring in rings:
        yield from ring
