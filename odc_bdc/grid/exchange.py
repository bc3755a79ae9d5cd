"""Tiles out of GeoJSON and into it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from shapely.geometry.base import BaseGeometry

from odc_bdc.errors import InvalidValueError, did_you_mean
from odc_bdc.grid.area import LONLAT, area_in, features
from odc_bdc.grid.crs import normalise_crs
from odc_bdc.grid.layer import read_layer
from odc_bdc.grid.regular import BBox, Grid, is_tile_id

_ID_KEYS = ("tile", "bdc:tile", "id", "name")
_PIECES = 32
_DECIMALS = 7
_LONGEST = 60
_MOST_NAMES = 20
"""Of the names in a file, how long and how many a message tells."""


def tiles_from_geojson(
    source: str | Path | Mapping[str, Any], grid: Grid, crs: Any = None
) -> list[str]:
    """Give the tiles of `grid` that GeoJSON means, row by row.

    If its features carry tile ids (six digits as the property ``tile``, ``bdc:tile``, ``id`` or
    ``name``, or as the feature's own id), these are the tiles, whatever the geometries say.
    If none does, the tiles are those that share an area with the geometries.

    Parameters
    ----------
    source
        Path of a file, or the parsed document.
    crs
        Of the geometries; longitude and latitude if not given.

    Raises
    ------
    InvalidValueError
        If the file cannot be read, or some features have a tile id and others have not.
    """
    if isinstance(source, Mapping):
        return _tiles(source, "GeoJSON", grid, crs)
    return _tiles(_read(Path(source)), str(source), grid, crs)


def tiles_from_file(
    path: str | Path, grid: Grid, crs: Any = None, *, name: str | None = None
) -> list[str]:
    """Give the tiles that a file of vectors means, as `tiles_from_geojson` does.

    Parameters
    ----------
    path
        GeoJSON, or what GDAL reads: a GeoPackage, a Shapefile.
    crs
        Of the geometries; what the file says, if not given.
    name
        Only features that have this text as a property, whatever its key and its case; or, in a
        file of several layers, the layer of this name.

    Raises
    ------
    InvalidValueError
        If the file cannot be read, has several layers and none is named, or nothing in it has
        the name; or as `tiles_from_geojson`.
    """
    path = Path(path)
    doc, name = _read_vectors(path, name)
    return _tiles(doc if name is None else _named(doc, name, path), str(path), grid, crs)


def area_from_file(path: str | Path) -> BaseGeometry:
    """Give what the polygons of a file of vectors cover together, in longitude and latitude.

    Parameters
    ----------
    path
        GeoJSON, or what GDAL reads: a GeoPackage, a Shapefile.

    Raises
    ------
    InvalidValueError
        If the file cannot be read, has several layers, or covers nothing.
    """
    path = Path(path)
    try:
        area = area_in(normalise_crs(LONLAT), _read_vectors(path, None)[0])
    except InvalidValueError as e:
        message = str(e).removeprefix(f"{path}: ")
        raise InvalidValueError(f"{path}: {message}") from e
    if not area.area:
        raise InvalidValueError(f"{path}: needs a polygon or multipolygon")
    return area


def _read_vectors(path: Path, name: str | None) -> tuple[Mapping[str, Any], str | None]:
    """Read a file as GeoJSON; give the name too, unless it was that of a layer."""
    is_json = path.suffix.lower() in {".json", ".geojson"}
    return (_read(path), name) if is_json else read_layer(path, name)


def _tiles(doc: Mapping[str, Any], where: str, grid: Grid, crs: Any) -> list[str]:
    try:
        found = features(doc)
        ids = [_tile_of(feature) for feature in found]
        if not any(ids):
            return grid.tile_ids(doc, crs)
    except InvalidValueError as e:
        raise InvalidValueError(f"{where}: {e}") from e
    if None in ids:
        raise InvalidValueError(
            f"{where}: feature {ids.index(None)} (from 0) has no tile id, but others have; give "
            "all of them one or none"
        )
    return sorted({i for i in ids if i}, key=lambda tile: (tile[3:], tile[:3]))


def tiles_to_geojson(grid: Grid, tile_ids: Iterable[str]) -> dict[str, Any]:
    """Write tiles as a FeatureCollection of RFC 7946, in longitude and latitude (EPSG:4326).

    Edges are curves there, so each is drawn with 32 pieces. The properties are ``tile``, ``grid``
    and ``bbox``, which is exact: xmin, ymin, xmax, ymax in the grid's CRS.

    Raises
    ------
    InvalidValueError
        If an id is none, or a tile lies where the grid's CRS has no longitude and latitude.
    """
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {"tile": tile, "grid": grid.name, "bbox": list(grid.bbox(tile))},
                "geometry": {
                    "type": "Polygon",
                    "coordinates": [_lonlat(grid, tile, _ring(grid.bbox(tile))).tolist()],
                },
            }
            for tile in tile_ids
        ],
    }


def centre_lonlat(grid: Grid, tile_id: str) -> tuple[float, float]:
    """Give longitude and latitude of the middle of a tile, rounded to a centimetre."""
    xmin, ymin, xmax, ymax = grid.bbox(tile_id)
    middle = np.array([[(xmin + xmax) / 2, (ymin + ymax) / 2]])
    lon, lat = _lonlat(grid, tile_id, middle)[0].tolist()
    return lon, lat


def _lonlat(grid: Grid, tile: str, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Give points (n, 2) of a tile in longitude and latitude."""
    to_lonlat = grid.odc_crs.transformer_to_crs(normalise_crs(LONLAT))
    placed = np.column_stack(to_lonlat(points[:, 0], points[:, 1]))
    if not np.isfinite(placed).all():
        raise InvalidValueError(
            f"tile {tile} of grid {grid.name} lies where its CRS has no longitude and latitude"
        )
    rounded: npt.NDArray[np.float64] = np.round(placed, _DECIMALS) + 0.0
    return rounded


def _ring(bbox: BBox) -> npt.NDArray[np.float64]:
    """Give the outline of a bbox, anticlockwise, each edge in pieces."""
    xmin, ymin, xmax, ymax = bbox
    corners = np.array([(xmin, ymin), (xmax, ymin), (xmax, ymax), (xmin, ymax), (xmin, ymin)])
    places = np.arange(4 * _PIECES + 1) / _PIECES
    return np.column_stack([np.interp(places, np.arange(5), axis) for axis in corners.T])


def _read(path: Path) -> Mapping[str, Any]:
    try:
        doc = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as e:
        raise InvalidValueError(f"{path}: cannot be read as GeoJSON: {e}") from e
    if not isinstance(doc, Mapping):
        raise InvalidValueError(f"{path}: is not GeoJSON: an object is expected at the top")
    return doc


def _named(doc: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    """Give GeoJSON with only those features of which some property is `name`."""
    try:
        found = features(doc)
    except InvalidValueError as e:
        raise InvalidValueError(f"{path}: {e}") from e
    texts = [_texts(feature) for feature in found]
    chosen = [
        feature
        for feature, said in zip(found, texts, strict=True)
        if name.casefold() in {text.casefold() for text in said}
    ]
    if not chosen:
        known = sorted({text for said in texts for text in said if len(text) <= _LONGEST})
        more = ", ..." if len(known) > _MOST_NAMES else ""
        raise InvalidValueError(
            f"{path}: no feature has a property {name!r}{did_you_mean(name, known)}; there are "
            f"{', '.join(known[:_MOST_NAMES]) or 'no texts'}{more}"
        )
    return {**doc, "type": "FeatureCollection", "features": chosen}


def _texts(feature: Mapping[str, Any]) -> list[str]:
    properties = feature.get("properties")
    values = properties.values() if isinstance(properties, Mapping) else ()
    return [value for value in values if isinstance(value, str)]


def _tile_of(feature: Mapping[str, Any]) -> str | None:
    properties = feature.get("properties")
    known = properties if isinstance(properties, Mapping) else {}
    candidates = (*(known.get(key) for key in _ID_KEYS), feature.get("id"))
    return next((str(c) for c in candidates if is_tile_id(c)), None)
