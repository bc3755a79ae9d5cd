"""The points and polygons that a user asks about, in whichever of the usual forms they come."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
import shapely.geometry
from shapely.geometry.base import BaseGeometry

from odc_bdc.errors import InvalidValueError, first_line

LONLAT = "EPSG:4326"

_LONGITUDE, _LATITUDE = ("longitude", "lon", "long"), ("latitude", "lat")


@dataclass(frozen=True)
class Points:
    """Points in order.

    Attributes
    ----------
    ids
        One each.
    longitude, latitude
        float64, degrees (WGS 84).
    """

    ids: pd.Index
    longitude: npt.NDArray[np.float64]
    latitude: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Polygons:
    """Polygons in order.

    Attributes
    ----------
    ids
        One each.
    geometries
        Of shapely, in longitude and latitude (WGS 84).
    """

    ids: pd.Index
    geometries: tuple[BaseGeometry, ...]

    def __len__(self) -> int:
        return len(self.ids)


def read_points(given: Any) -> Points:
    """Read points from what a user gives.

    Parameters
    ----------
    given
        Pairs of longitude and latitude (or one pair), an array (n, 2), a DataFrame with the columns
        ``longitude`` and ``latitude`` (``lon`` and ``lat`` will do), points of shapely, GeoJSON, or
        whatever has a ``__geo_interface__``. What knows its CRS, such as a GeoDataFrame, may be in
        any; all else is in degrees (WGS 84).

    Returns
    -------
    Points
        With the ids that were given: a column ``point``, the index of a frame, or the ``id`` of
        GeoJSON's features; else numbers from 0.

    Raises
    ------
    InvalidValueError
        If it cannot be read, is empty, lies outside of the Earth, or an id comes twice.
    """
    if isinstance(given, pd.DataFrame) and not hasattr(given, "__geo_interface__"):
        ids, longitude, latitude = _of_frame(given)
    elif (pairs := _pairs(given)) is not None:
        ids, longitude, latitude = pd.RangeIndex(len(pairs)), pairs[:, 0], pairs[:, 1]
    else:
        ids, geometries = _geometries(given, "points")
        strange = next((g.geom_type for g in geometries if g.geom_type != "Point"), None)
        if strange:
            raise InvalidValueError(
                f"points: holds a {strange}; give points only, or `polygons=` for areas"
            )
        longitude, latitude = shapely.get_coordinates(geometries).T
    points = Points(_named(ids, "point"), np.asarray(longitude, float), np.asarray(latitude, float))
    _check_points(points)
    return points


def read_polygons(given: Any) -> Polygons:
    """Read polygons from what a user gives.

    Parameters
    ----------
    given
        One or several polygons or multipolygons of shapely or of GeoJSON, or whatever has a
        ``__geo_interface__``. CRS and ids as of `read_points`.

    Raises
    ------
    InvalidValueError
        If it cannot be read, is empty, has no area, or an id comes twice.
    """
    ids, geometries = _geometries(given, "polygons")
    for name, geometry in zip(ids, geometries, strict=True):
        if geometry.geom_type not in {"Polygon", "MultiPolygon"} or not geometry.area > 0:
            kind = geometry.geom_type if geometry.area == 0 else "geometry"
            raise InvalidValueError(
                f"polygons: {name!r} is a {kind} without area; give `points=` for points"
            )
        if not geometry.is_valid:
            raise InvalidValueError(
                f"polygons: {name!r} is not valid ({shapely.is_valid_reason(geometry)}); "
                "shapely.make_valid mends it"
            )
        _check_degrees("polygons", name, *geometry.bounds)
    return Polygons(_named(ids, "polygon"), tuple(geometries))


def _of_frame(frame: pd.DataFrame) -> tuple[Any, Any, Any]:
    columns = {str(name).lower(): name for name in frame.columns}
    found = []
    for names in (_LONGITUDE, _LATITUDE):
        name = next((columns[n] for n in names if n in columns), None)
        if name is None:
            raise InvalidValueError(
                f"points: the DataFrame has no column {names[0]!r}; it has "
                f"{', '.join(map(str, frame.columns))}"
            )
        found.append(frame[name].to_numpy())
    ids = frame["point"] if "point" in frame.columns else frame.index
    return ids, found[0], found[1]


def _pairs(given: Any) -> npt.NDArray[np.float64] | None:
    """Give an array (n, 2) of what is pairs of numbers; None if it is something else."""
    if isinstance(given, str | Mapping) or hasattr(given, "__geo_interface__"):
        return None
    try:
        pairs = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if pairs.shape == (2,):
        pairs = pairs[np.newaxis]
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise InvalidValueError(
            f"points: an array of shape {pairs.shape} is no pairs of longitude and latitude"
            if pairs.size
            else "points: there is none"
        )
    return pairs


def _geometries(given: Any, what: str) -> tuple[Any, list[BaseGeometry]]:
    """Give ids and geometries in degrees."""
    given = _in_degrees(given)
    if isinstance(given, pd.DataFrame):  # a GeoDataFrame
        return given.index, [_shape(g, what) for g in given.geometry]
    known = _interface(given)
    if known is None:
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise InvalidValueError(
                f"{what}: cannot be read from {type(given).__name__}; give geometries of shapely, "
                "GeoJSON, or what has a __geo_interface__"
            )
        members: Sequence[Any] = [_interface(_in_degrees(one)) or one for one in given]
    elif known.get("type") == "FeatureCollection":
        members = list(known.get("features") or ())
    elif known.get("type") == "GeometryCollection":
        members = list(known.get("geometries") or ())
    elif known.get("type") == "MultiPoint" and what == "points":
        members = [{"type": "Point", "coordinates": xy} for xy in known["coordinates"]]
    else:
        members = [known]
    if not members:
        raise InvalidValueError(f"{what}: there is none")
    return _ids(members), [_shape(one, what) for one in members]


def _interface(given: Any) -> Mapping[str, Any] | None:
    found = given if isinstance(given, Mapping) else getattr(given, "__geo_interface__", None)
    return found if isinstance(found, Mapping) else None


def _in_degrees(given: Any) -> Any:
    """Give what knows its CRS in longitude and latitude."""
    if getattr(given, "crs", None) is None or not hasattr(given, "to_crs"):
        return given
    return given.to_crs(LONLAT)


def _ids(members: Sequence[Any]) -> Any:
    """Give the ids of features, if each has one."""
    found = [one.get("id") if isinstance(one, Mapping) else None for one in members]
    return pd.RangeIndex(len(found)) if None in found else found


def _shape(given: Any, what: str) -> BaseGeometry:
    if isinstance(given, BaseGeometry):
        geometry = given
    else:
        try:
            doc = given.get("geometry") if given.get("type") == "Feature" else given
            geometry = shapely.geometry.shape(doc)
        except (TypeError, ValueError, KeyError, AttributeError, shapely.errors.ShapelyError) as e:
            raise InvalidValueError(f"{what}: a geometry cannot be read: {first_line(e)}") from e
    if geometry.is_empty:
        raise InvalidValueError(f"{what}: a geometry is empty")
    return shapely.force_2d(geometry)


def _named(ids: Any, what: str) -> pd.Index:
    found: pd.Index = pd.Index(ids, name=what)
    twice: list[Hashable] = found[found.duplicated()].tolist()
    if twice:
        raise InvalidValueError(
            f"{what}s: {twice[0]!r} is the id of several; give each its own "
            "(DataFrame.reset_index numbers them)"
        )
    return found


def _check_points(points: Points) -> None:
    if not len(points):
        raise InvalidValueError("points: there is none")
    x, y = points.longitude, points.latitude
    good = (np.abs(x) <= 180) & (np.abs(y) <= 90)  # NaN is not
    if not good.all():
        at = int(np.argmin(good))
        _check_degrees("points", points.ids[at], x[at], y[at])


def _check_degrees(what: str, name: Any, *bounds: float) -> None:
    """Refuse coordinates, pairs of x and y, that are no degrees."""
    if not (all(abs(x) <= 180 for x in bounds[::2]) and all(abs(y) <= 90 for y in bounds[1::2])):
        where = ", ".join(f"{v:g}" for v in bounds)
        raise InvalidValueError(
            f"{what}: {name!r} lies at {where}, which is not on the Earth; give longitude and "
            "latitude in degrees, in this order"
        )
