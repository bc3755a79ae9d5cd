"""Areas as people give them, as one geometry in the CRS of a grid."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import shapely
from odc.geo.crs import CRS
from odc.geo.geom import BoundingBox, Geometry
from shapely.geometry.base import BaseGeometry

from odc_bdc.errors import InvalidValueError
from odc_bdc.grid.crs import normalise_crs

Area: TypeAlias = Sequence[float] | BoundingBox | Geometry | BaseGeometry | Mapping[str, Any]
"""A bbox (xmin, ymin, xmax, ymax), a geometry of `odc.geo` or shapely, or GeoJSON."""

LONLAT = "EPSG:4326"

_STEP_METRES = 1000.0
_STEP_DEGREES = 0.01
_MOST_STEPS = 100_000


def area_in(target: CRS, area: Area, crs: Any = None) -> BaseGeometry:
    """Give `area` as a valid shapely geometry in the CRS `target`.

    Edges are followed, not only corners: a parallel is a curve in the plane of a grid.

    Parameters
    ----------
    area
        A bbox in `crs`, or else in `target`; a geometry of `odc.geo` in its own CRS; a shapely
        geometry or GeoJSON in `crs`, or else in longitude and latitude, as RFC 7946 wants it (a
        ``crs`` member, as older GeoJSON has it, is heeded).

    Raises
    ------
    InvalidValueError
        If `area` is none of these, is empty, or cannot be where its CRS says that it is.
    """
    geometry, source = _read(area, crs, target)
    if geometry.is_empty:
        raise InvalidValueError("the area is empty: it has no coordinates")
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        raise InvalidValueError("the area has coordinates that are not finite numbers")
    if source.geographic:
        _check_degrees(geometry)
    return _valid(geometry if source == target else _project(geometry, source, target))


def _read(area: Area, crs: Any, target: CRS) -> tuple[BaseGeometry, CRS]:
    given = None if crs is None else normalise_crs(crs)
    if isinstance(area, Geometry):
        return area.geom, normalise_crs(area.crs) if area.crs else given or target
    if isinstance(area, BoundingBox):
        own = normalise_crs(area.crs) if area.crs else None
        return _box(list(area)), given or own or target
    if isinstance(area, BaseGeometry):
        return area, given or normalise_crs(LONLAT)
    if isinstance(area, Mapping):
        return shapely.union_all([_valid(g) for g in _shapes(area)]), given or declared_crs(area)
    if isinstance(area, (Sequence, np.ndarray)) and not isinstance(area, (str, bytes)):
        return _box(list(area)), given or target
    raise InvalidValueError(
        f"{str(area)[:80]!r} is not an area: give xmin, ymin, xmax, ymax, a geometry or GeoJSON"
    )


def _box(bbox: list[Any]) -> BaseGeometry:
    if len(bbox) != 4 or not all(isinstance(v, (Real, np.number)) for v in bbox):
        raise InvalidValueError(f"{bbox} is not a bbox: it has four numbers, xmin ymin xmax ymax")
    xmin, ymin, xmax, ymax = map(float, bbox)
    if not all(map(math.isfinite, (xmin, ymin, xmax, ymax))):
        raise InvalidValueError(f"bbox {bbox}: not all four are finite numbers")
    for low, high, names in ((xmin, xmax, "xmin, xmax"), (ymin, ymax, "ymin, ymax")):
        if low >= high:
            raise InvalidValueError(
                f"bbox {bbox}: {names} are {low:.12g}, {high:.12g}, but the first must be smaller "
                "(order: xmin ymin xmax ymax)"
            )
    return shapely.box(xmin, ymin, xmax, ymax)


def features(doc: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Give the features of GeoJSON; a bare geometry counts for a feature without properties."""
    kind = doc.get("type")
    if kind == "FeatureCollection":
        found = doc.get("features")
        if not isinstance(found, list) or not all(isinstance(f, Mapping) for f in found):
            raise InvalidValueError("GeoJSON: features is not a list of features")
        return found
    return [doc] if kind == "Feature" else [{"type": "Feature", "geometry": doc}]


def declared_crs(doc: Mapping[str, Any]) -> CRS:
    """Give the CRS of a ``crs`` member, as GeoJSON had it before RFC 7946, or else EPSG:4326."""
    member = doc.get("crs")
    if member is None:
        return normalise_crs(LONLAT)
    properties = member.get("properties") if isinstance(member, Mapping) else None
    name = properties.get("name") if isinstance(properties, Mapping) else None
    if not isinstance(name, str):
        raise InvalidValueError(f"GeoJSON: crs {str(member)[:80]!r} names no CRS")
    return normalise_crs(name)


def _shapes(doc: Mapping[str, Any]) -> Iterator[BaseGeometry]:
    for feature in features(doc):
        geometry = feature.get("geometry")
        if geometry is None:
            continue
        try:
            yield shapely.geometry.shape(geometry)
        except Exception as e:
            kind = geometry.get("type") if isinstance(geometry, Mapping) else geometry
            raise InvalidValueError(
                f"GeoJSON: a geometry of type {str(kind)[:40]!r} cannot be read: {e}"
            ) from e


def _check_degrees(geometry: BaseGeometry) -> None:
    xmin, ymin, xmax, ymax = geometry.bounds
    slack = 1e-9
    if max(-xmin, xmax) > 180 + slack or max(-ymin, ymax) > 90 + slack:
        raise InvalidValueError(
            f"longitudes {xmin:.8g} to {xmax:.8g}, latitudes {ymin:.8g} to {ymax:.8g} are not on "
            "Earth (-180 to 180, -90 to 90): longitude comes first; or give the CRS of the area"
        )


def _project(geometry: BaseGeometry, source: CRS, target: CRS) -> BaseGeometry:
    to_target = source.transformer_to_crs(target)

    def moved(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.column_stack(to_target(points[:, 0], points[:, 1]))

    unit = source.proj.axis_info[0].unit_conversion_factor
    step = _STEP_DEGREES if source.geographic else _STEP_METRES / unit
    step = max(step, geometry.length / _MOST_STEPS)
    dense = shapely.segmentize(geometry, step)
    placed = shapely.transform(dense, moved)
    if not np.isfinite(shapely.get_coordinates(placed)).all():
        raise InvalidValueError("a part of the area cannot be shown in the CRS of the grid")
    if _is_torn(dense, placed):
        raise InvalidValueError(
            "the area reaches across the far side of the Earth, where the CRS of the grid has its "
            "seam; give the parts on either side of it one by one"
        )
    return placed


def _is_torn(before: BaseGeometry, after: BaseGeometry) -> bool:
    """Tell if a projection has thrown neighbouring points of an outline far apart."""
    old, new = _pieces(before), _pieces(after)
    stretch = new[old > 0] / old[old > 0]
    # Over an area that a CRS is made for this varies by a few times at most.
    return bool(stretch.size and stretch.max() > 1000 * np.median(stretch) > 0)


def _pieces(geometry: BaseGeometry) -> npt.NDArray[np.float64]:
    """Give the length of each piece of all outlines."""
    parts = shapely.get_parts(shapely.get_parts(geometry))
    areal = shapely.get_dimensions(parts) == 2
    outlines = [*shapely.get_rings(parts[areal]), *parts[~areal]]
    points, index = shapely.get_coordinates(outlines, return_index=True)
    lengths: npt.NDArray[np.float64] = np.hypot(*np.diff(points, axis=0).T)
    return np.extract(np.diff(index) == 0, lengths)


def _valid(geometry: BaseGeometry) -> BaseGeometry:
    return geometry if geometry.is_valid else shapely.make_valid(geometry)
