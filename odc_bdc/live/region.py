"""What part of a cube is asked for: tiles and pixels, by their names or by an area; and times."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, TypeAlias

import dateutil.parser
import shapely
import shapely.geometry
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry

from odc_bdc.building.reading import corner_in
from odc_bdc.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from odc_bdc.cube import CubeSpec

Area: TypeAlias = Sequence[float] | Geometry | shapely.Geometry | Mapping[str, Any]
"""A bbox (west, south, east, north in degrees), a geometry of `odc.geo`, one of shapely or GeoJSON
(in longitude and latitude)."""


def days_of(time: str | Sequence[str | date]) -> tuple[date, date]:
    """Give the first and last day of a time."""
    ends = time.split("/") if isinstance(time, str) else list(time)
    if len(ends) not in {1, 2}:
        raise InvalidValueError(f"time {time!r} is not one moment, or start and end")
    first, last = _day(ends[0], last=False), _day(ends[-1], last=True)
    if last < first:
        raise InvalidValueError(f"time {time!r} ends before it starts")
    return first, last


def _day(moment: str | date, *, last: bool) -> date:
    if isinstance(moment, date):
        return date(moment.year, moment.month, moment.day)
    try:
        # What a text does not tell of a date is its end, for the end.
        start = dateutil.parser.isoparse(str(moment)).date()
        return dateutil.parser.parse(str(moment), default=_END).date() if last else start
    except (ValueError, OverflowError) as e:
        raise InvalidValueError(
            f"time {moment!r} cannot be read: give 2020, 2020-07 or 2020-07-11"
        ) from e


_END = dateutil.parser.isoparse("2020-12-31")


@dataclass(frozen=True)
class Region:
    """What is asked for: tiles, and the pixels, where these are not all of the tiles'."""

    tiles: list[str] | None
    geobox: GeoBox | None

    @classmethod
    def of(cls, cube: CubeSpec, **given: Any) -> Region:
        """Make it of one of ``tile``, ``geobox``, ``bbox`` and ``geometry``, or of nothing.

        Raises
        ------
        InvalidValueError
            If there are two of them, one is not as `odc_bdc.open_cube` says, or nothing of it lies
            in the cube.
        """
        asked = {name: value for name, value in given.items() if value is not None}
        if len(asked) > 1:
            raise InvalidValueError(f"give one of {', '.join(asked)}")
        if not asked:
            return cls(None, None)
        if "tile" in asked:
            tiles = [asked["tile"]] if isinstance(asked["tile"], str) else list(asked["tile"])
            return cls(tiles, None)
        if "geobox" in asked:
            return cls._of_geobox(cube, asked["geobox"])
        return cls._of_area(cube, _geometry(**asked))

    @classmethod
    def _of_geobox(cls, cube: CubeSpec, geobox: GeoBox) -> Region:
        tiles = _tiles(cube, geobox.extent)
        first = cube.geobox(tiles[0])
        if first is None or corner_in(first, geobox) is None:
            raise InvalidValueError(
                f"the geobox does not lie on the pixels of cube {cube.name} "
                f"({cube.resolution:g} m, {cube.grid.name}); open the cube and reproject it"
            )
        return cls(tiles, geobox)

    @classmethod
    def _of_area(cls, cube: CubeSpec, area: Geometry) -> Region:
        tiles = _tiles(cube, area)
        boxes = [box for box in map(cube.geobox, tiles) if box is not None]
        whole = around(boxes)
        inner = area.to_crs(cube.grid.odc_crs, resolution=cube.resolution * 64)
        (x0, y0), (x1, y1) = (
            ~whole.affine * corner
            for corner in (
                (inner.boundingbox.left, inner.boundingbox.top),
                (inner.boundingbox.right, inner.boundingbox.bottom),
            )
        )
        rows = max(0, math.floor(y0)), min(whole.shape.y, math.ceil(y1))
        columns = max(0, math.floor(x0)), min(whole.shape.x, math.ceil(x1))
        return cls(tiles, whole[slice(*rows), slice(*columns)])


def _geometry(bbox: Sequence[float] | None = None, geometry: Area | None = None) -> Geometry:
    try:
        if bbox is not None:
            west, south, east, north = (float(v) for v in bbox)
            if west >= east or south >= north:
                raise InvalidValueError(f"bbox {list(bbox)}: is west, south, east, north")
            return Geometry(shapely.box(west, south, east, north), "EPSG:4326")
        if isinstance(geometry, Geometry):
            return geometry
        if isinstance(geometry, Mapping):
            return Geometry(shapely.geometry.shape(dict(geometry)), "EPSG:4326")
        return Geometry(geometry, "EPSG:4326")
    except (TypeError, ValueError, KeyError, AttributeError, shapely.errors.ShapelyError) as e:
        if isinstance(e, InvalidValueError):
            raise
        raise InvalidValueError(f"the area cannot be read: {e}") from e


def _tiles(cube: CubeSpec, area: Geometry) -> list[str]:
    tiles = [t for t in cube.grid.tile_ids(area) if cube.geobox(t) is not None]
    if not tiles:
        raise InvalidValueError(f"the area lies outside of cube {cube.name}")
    return tiles


def around(boxes: Iterable[GeoBox]) -> GeoBox:
    """Give the pixels that hold those of several geoboxes of one grid."""
    unique = list(dict.fromkeys(boxes))
    first = unique[0]
    places = [corner_in(first, box) for box in unique]
    rows = [(p[0], p[0] + b.shape.y) for p, b in zip(places, unique, strict=True) if p]
    columns = [(p[1], p[1] + b.shape.x) for p, b in zip(places, unique, strict=True) if p]
    top, left = min(r[0] for r in rows), min(c[0] for c in columns)
    shape = max(r[1] for r in rows) - top, max(c[1] for c in columns) - left
    return GeoBox(shape, first.affine * first.affine.translation(left, top), first.crs)
