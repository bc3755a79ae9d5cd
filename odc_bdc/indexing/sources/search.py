"""What is asked of a source, and whether an item is an answer to it."""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias

import dateutil.parser
import shapely
from odc.geo.crs import CRS
from shapely.geometry.base import BaseGeometry

from odc_bdc.errors import InvalidValueError, did_you_mean
from odc_bdc.grid import Area, BBox, area_in
from odc_bdc.indexing.moment import as_utc
from odc_bdc.naming import ItemName
from odc_bdc.timeline import INSTANT, span_of

Moment: TypeAlias = datetime | date | str | None
"""A time, or a day (also a month or a year as text); None is an open end."""

TILE_NAMES = ("bdc:tiles", "bdc:tile")
"""Properties that hold the tile in BDC's items; its servers are asked by the second."""

_LONLAT = CRS("EPSG:4326")
_MOST_PER_PAGE = 10_000
_EARLIEST, _LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)

# The operators of the query extension of the STAC API.
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
    "in": lambda value, wanted: value in wanted,
    "startsWith": lambda value, wanted: value.startswith(wanted),
    "endsWith": lambda value, wanted: value.endswith(wanted),
    "contains": lambda value, wanted: wanted in value,
}


@dataclass(frozen=True, slots=True)
class Search:
    """Which items of a collection are wanted; all of them by default.

    Attributes
    ----------
    bbox
        xmin, ymin, xmax, ymax in degrees of longitude and latitude.
    geometry
        Geometry of shapely or `odc.geo`, or GeoJSON, in longitude and latitude.
    tile
        A tile id, or some; a tuple once it is read.
    time
        ``start/end`` as text, a pair, or one moment. A day, month or year as end reaches to its
        last second. Once it is read a pair of times in UTC, None where an end is open.
    query
        Conditions by property, as the query extension of the STAC API has them:
        ``{"eo:cloud_cover": {"lt": 50}}``.
    ids
        Ids of items.
    limit
        Items on a page of an API.
    max_items
        Most items that are given in all.
    tile_property
        Item property that holds the tile id, or a list of one. The spellings of the BDC,
        ``bdc:tile`` and ``bdc:tiles``, count as one.

    Raises
    ------
    InvalidValueError
        If a value cannot be read.

    Examples
    --------
    >>> search = Search(time="2020-07", tile="021027")
    >>> search.time[1].isoformat()
    '2020-07-31T23:59:59+00:00'
    >>> item = {"id": "A", "properties": {"datetime": "2020-07-11T00:00:00", "bdc:tile": "021027"}}
    >>> search.matches(item)
    True
    """

    bbox: BBox | None = None
    geometry: Area | None = field(default=None, hash=False)
    tile: Any = ()
    time: Any = None
    query: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)
    ids: Sequence[str] = ()
    limit: int = 250
    max_items: int | None = None
    tile_property: str = TILE_NAMES[0]
    _areas: tuple[BaseGeometry, ...] = field(default=(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        areas = [area_in(_LONLAT, a) for a in (self.bbox, self.geometry) if a is not None]
        for area in areas:
            shapely.prepare(area)
        tiles = (self.tile,) if isinstance(self.tile, str) else tuple(self.tile or ())
        if isinstance(self.ids, str):
            raise InvalidValueError(f"ids {self.ids!r}: give a list of them")
        if not 1 <= self.limit <= _MOST_PER_PAGE:
            raise InvalidValueError(f"limit {self.limit}: a page has 1 to {_MOST_PER_PAGE} items")
        if self.max_items is not None and self.max_items < 1:
            raise InvalidValueError(f"max_items {self.max_items}: must be 1 or more")
        _check_query(self.query)
        for name, value in (
            ("_areas", tuple(areas)),
            ("tile", tiles),
            ("time", _interval(self.time)),
            ("ids", tuple(self.ids)),
        ):
            object.__setattr__(self, name, value)

    @property
    def intersects(self) -> dict[str, Any] | None:
        """The geometry as GeoJSON, as a STAC API wants it."""
        if self.geometry is None:
            return None
        found: dict[str, Any] = json.loads(shapely.to_geojson(self._areas[-1]))
        return found

    @property
    def datetime(self) -> str | None:
        """The time as a STAC API wants it."""
        if self.time is None:
            return None
        return "/".join(".." if end is None else _zulu(end) for end in self.time)

    @property
    def conditions(self) -> dict[str, Any]:
        """The query with the tile in it, as BDC's servers want it."""
        if not self.tile:
            return dict(self.query)
        name = TILE_NAMES[1] if self.tile_property in TILE_NAMES else self.tile_property
        wanted = {"eq": self.tile[0]} if len(self.tile) == 1 else {"in": list(self.tile)}
        return {**self.query, name: {**self.query.get(name, {}), **wanted}}

    @property
    def takes_all(self) -> bool:
        """Whether every item is wanted, so that none must be looked into."""
        return not (self.ids or self.tile or self.time or self.query or self._areas)

    def fingerprint(self, *more: str) -> str:
        """Give a checksum of what is asked, and of `more`; the same in every process."""
        asked = [
            self.bbox and [float(v) for v in self.bbox],
            self.intersects,
            self.tile,
            self.datetime,
            self.query,
            self.ids,
            self.limit,
            self.max_items,
            self.tile_property,
            more,
        ]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    def matches(self, document: Mapping[str, Any], *, from_api: bool = False) -> bool:
        """Tell if an item is wanted.

        What cannot be read of a broken item speaks for it, so that whoever converts it can say
        what is wrong.

        Parameters
        ----------
        document
            A STAC item of any version.
        from_api
            A server has been asked for it by the same search, and may know more of the item than
            it shows: properties that the item lacks speak for it.
        """
        try:
            return self._matches(document, from_api=from_api)
        except Exception:  # noqa: BLE001 (whatever an item does to what reads it)
            return True

    def _matches(self, document: Mapping[str, Any], *, from_api: bool) -> bool:
        found = document.get("properties")
        properties = found if isinstance(found, Mapping) else {}
        return (
            (not self.ids or document.get("id") in self.ids)
            and (not self.tile or self._has_tile(document, properties, unknown=from_api))
            and (self.time is None or _in_time(properties, self.time))
            and all(_holds(properties, n, c, unknown=from_api) for n, c in self.query.items())
            and (not self._areas or self._is_near(document))
        )

    def _has_tile(
        self, document: Mapping[str, Any], properties: Mapping[str, Any], *, unknown: bool
    ) -> bool:
        held = _property(properties, self.tile_property)
        tiles = [str(t) for t in (held if isinstance(held, list) else [held]) if t is not None]
        if not tiles:
            try:
                tiles = [ItemName.parse(str(document.get("id"))).tile_id]
            except InvalidValueError:
                return unknown
        return any(tile in self.tile for tile in tiles)

    def _is_near(self, document: Mapping[str, Any]) -> bool:
        try:
            footprint = _footprint(document)
            return footprint is not None and all(a.intersects(footprint) for a in self._areas)
        except (TypeError, ValueError, LookupError, AttributeError, shapely.GEOSException):
            return True


def _interval(given: Any) -> tuple[datetime | None, datetime | None] | None:
    """Read a time as a pair of its ends."""
    if given is None:
        return None
    ends = given.split("/") if isinstance(given, str) else given
    ends = (ends,) if isinstance(ends, date) else tuple(ends)
    if len(ends) not in {1, 2}:
        raise InvalidValueError(f"time {given!r} is not one moment, or start/end")
    start, end = _ends(ends[0])[0], _ends(ends[-1])[1]
    if start is None and end is None:
        raise InvalidValueError(f"time {given!r} has neither start nor end")
    if start is not None and end is not None and start > end:
        raise InvalidValueError(f"time {given!r} ends before it starts")
    return start, end


def _ends(moment: Moment) -> tuple[datetime | None, datetime | None]:
    """Give the first and last second of a moment."""
    if moment in {None, "", ".."}:
        return None, None
    if isinstance(moment, datetime):
        return as_utc(moment), as_utc(moment)
    start, end = span_of(str(moment))
    # The last second is what STAC's servers are asked for, and an instant is one.
    return start, start if end - start == INSTANT else end - timedelta(seconds=1)


def _zulu(when: datetime) -> str:
    return when.replace(tzinfo=None).isoformat() + "Z"


def _in_time(
    properties: Mapping[str, Any], wanted: tuple[datetime | None, datetime | None]
) -> bool:
    only = properties.get("datetime")
    try:
        start, end = (
            as_utc(dateutil.parser.isoparse(str(properties.get(name) or only)))
            for name in ("start_datetime", "end_datetime")
        )
    except (ValueError, OverflowError):
        return True
    # Items that end before they start exist in the BDC's catalogue.
    end = max(start, end)
    return start <= (wanted[1] or _LATEST) and end >= (wanted[0] or _EARLIEST)


def _footprint(document: Mapping[str, Any]) -> BaseGeometry | None:
    geometry, bbox = document.get("geometry"), document.get("bbox")
    if geometry is not None:
        shape = shapely.geometry.shape(geometry)
        valid: BaseGeometry = shape if shape.is_valid else shapely.make_valid(shape)
        return valid
    if bbox is None:
        return None
    half = len(bbox) // 2
    box: BaseGeometry = shapely.box(bbox[0], bbox[1], bbox[half], bbox[half + 1])
    return box


def _check_query(query: Mapping[str, Mapping[str, Any]]) -> None:
    for name, condition in query.items():
        if not isinstance(condition, Mapping) or not condition:
            raise InvalidValueError(f'query: {name} must be an operator and a value: {{"lt": 50}}')
        for word in condition:
            if word not in _OPERATORS:
                raise InvalidValueError(
                    f"query: {name}: {word!r} is no operator{did_you_mean(str(word), _OPERATORS)}; "
                    f"operators: {', '.join(_OPERATORS)}"
                )


def _holds(
    properties: Mapping[str, Any], name: str, condition: Mapping[str, Any], *, unknown: bool
) -> bool:
    value = _property(properties, name)
    if value is None:
        return unknown
    # Tiles are a list of one in newer items.
    values = value if isinstance(value, list) and name in TILE_NAMES else [value]
    try:
        return all(
            any(_OPERATORS[word](v, wanted) for v in values) for word, wanted in condition.items()
        )
    except (TypeError, AttributeError):
        return False


def _property(properties: Mapping[str, Any], name: str) -> Any:
    names = TILE_NAMES if name in TILE_NAMES else (name,)
    return next((properties[n] for n in names if properties.get(n) is not None), None)
