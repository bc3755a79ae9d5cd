"""Searches of the postgis index as the services need them: all dates, and views of any width.

datacube-ows looks only for the first of several dates, transforms the corners of a view as they
are, although most projections show but a part of the Earth, and asks the index for extents in CRSs
that it refuses. `CompleteIndex` is in its place by an entry point of this package.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from datacube.model import Range
from flask import g, has_request_context
from odc.geo import geom
from odc.geo.crs import CRS
from odc.geo.geom import Geometry
from pyproj import Transformer

from odc_bdc.ows import overviews
from odc_bdc.ows.upstream import OWSPostgisIndex, OWSPostgisIndexDriver, create_range_entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from uuid import UUID

    import numpy.typing as npt
    from datacube.model import Dataset, Product

    Array = npt.NDArray[np.float64]

FEW = 8
"""So many datasets of one time are searched for in the place of a count."""

WIDE = 10.0
"""Degrees beyond which a view is searched by the box around it."""

DEGREES = CRS("EPSG:4326")
_MERCATOR_EDGE = 20037508.342789244
_SAMPLES = 33
_STEPS = 8


class CompleteIndex(OWSPostgisIndex):
    """The index of datacube-ows, with complete answers."""

    def ds_search(
        self,
        layer: Any,
        times: Iterable[Any] | None = None,
        geom: Geometry | None = None,
        products: Iterable[Product] | None = None,
    ) -> Iterable[Dataset]:
        """Give the datasets of all times in a view, each once."""
        queries = self._queries(layer, times, geom, products)
        known = _remembered().get(_key(layer, queries))
        if known is not None:
            return known
        search = layer.dc.index.datasets.search
        found = _once(layer, queries, (search(**query) for query in queries))
        if times is not None and _is(products, getattr(layer, "low_res_products", None)):
            # There may be none of a time; then it is drawn from tiles.
            asked = [query["time"] for query in queries]
            if not overviews.are_of_all_times(found, asked):
                return self.ds_search(layer, times, geom, layer.products)
        return found

    def dsid_search(
        self,
        layer: Any,
        times: Iterable[Any] | None = None,
        geom: Geometry | None = None,
        products: Iterable[Product] | None = None,
    ) -> Iterator[UUID]:
        """Give the ids of the datasets of all times in a view, each once."""
        seen: set[UUID] = set()
        for query in self._queries(layer, times, geom, products):
            for found in layer.dc.index.datasets.search_returning(field_names=["id"], **query):
                if found.id not in seen:
                    seen.add(found.id)
                    yield found.id

    def count(
        self,
        layer: Any,
        times: Iterable[Any] | None = None,
        geom: Geometry | None = None,
        products: Iterable[Product] | None = None,
    ) -> int:
        """Count the datasets of all times in a view; if there are many, one of two times twice.

        Few are found at once, for datacube-ows asks for them next.
        """
        queries = self._queries(layer, times, geom, products)
        drawn = self._overviews(layer, times, geom, products)
        if drawn is not None:
            _remembered()[_key(layer, queries)] = drawn
            return len(drawn)
        datasets = layer.dc.index.datasets
        found = []
        for query in queries:
            found.append(list(datasets.search(limit=FEW + 1, **query)))
            if len(found[-1]) > FEW:
                number: int = sum(datasets.count(**query) for query in queries)
                self._limit(layer, times, geom, products, number)
                return number
        few = _remembered()[_key(layer, queries)] = _once(layer, queries, found)
        return len(few)

    def create_range_entry(self, layer: Any, cache: Any) -> None:
        """Write the row of a layer.

        The method of datacube-ows first wants the role ``odc_manage``, which may change all of the
        index; who keeps ranges up to date may write their table only.
        """
        create_range_entry(layer, cache)

    def _overviews(
        self,
        layer: Any,
        times: Any,
        geom: Geometry | None,
        products: Any,
        *,
        outdated: bool = False,
    ) -> list[Dataset] | None:
        """Give what a map can be drawn from in the place of tiles; None if there is no such thing.

        Parameters
        ----------
        outdated
            Take overviews whatever their pixels and however old they are.
        """
        size = map_size()
        if size is None or geom is None or times is None or not _is(products, layer.products):
            return None
        if not overviews.has_overviews(layer):
            return None
        if not (outdated or overviews.has_pixels_as_coarse(layer, overviews.View(geom, size))):
            return None
        queries = self._queries(layer, times, geom, layer.low_res_products)
        search = layer.dc.index.datasets.search
        found = _once(layer, queries, (search(**query) for query in queries))
        if not overviews.are_of_all_times(found, [time_range(time) for time in times]):
            return None
        return found if outdated or overviews.are_up_to_date(layer, found) else None

    def _limit(
        self, layer: Any, times: Any, geom: Geometry | None, products: Any, number: int
    ) -> None:
        """Let a map of more tiles than may be drawn be drawn from overviews, if there are any."""
        if map_size() is None or not 0 < layer.resource_limits.max_datasets_wms < number:
            return
        drawn = self._overviews(layer, times, geom, products, outdated=True)
        if drawn is not None:
            _remembered()[_key(layer, self._queries(layer, times, geom, products))] = drawn

    def extent(
        self,
        layer: Any,
        times: Iterable[Any] | None = None,
        geom: Geometry | None = None,
        products: Iterable[Product] | None = None,
        crs: CRS | None = None,
    ) -> Geometry | None:
        """Give what the datasets of a view cover, in a CRS that the index need not know."""
        ids = list(self.dsid_search(layer, times, geom, products))
        found = layer.dc.index.datasets.spatial_extent(ids, crs=DEGREES) if ids else None
        return found if found is None or crs is None else found.to_crs(crs)

    def _queries(
        self,
        layer: Any,
        times: Iterable[Any] | None,
        view: Geometry | None,
        products: Iterable[Product] | None,
    ) -> list[dict[str, Any]]:
        query: dict[str, Any] = {}
        if view is not None:
            area = search_area(self._prep_geom(layer, view))
            if area is None:
                return []
            query["geopolygon"] = area
        if products is not None:
            query["product"] = [product.name for product in products]
        if times is None:
            return [query]
        return [{**query, "time": time_range(time)} for time in times]


class ServicesIndexDriver(OWSPostgisIndexDriver):
    """The driver of datacube-ows that gives a `CompleteIndex`."""

    _complete = None

    @classmethod
    def ows_index_class(cls) -> type[CompleteIndex]:
        """Give the class of the index."""
        return CompleteIndex

    @classmethod
    def ows_index(cls) -> CompleteIndex:
        """Give the index, one for all that ask."""
        cls._complete = cls._complete or CompleteIndex()
        return cls._complete


def index_driver() -> ServicesIndexDriver:
    """Make the driver; `setup.cfg` names this function in ``datacube_ows.plugins.index``."""
    return ServicesIndexDriver()


def draw_map(size: tuple[int, int]) -> None:
    """Tell the searches of this request that they are for a map of a width and height in pixels."""
    g.odc_bdc_map = size


def map_size() -> tuple[int, int] | None:
    """Give the width and height of the map that this request asks for; None if it is for none."""
    return g.get("odc_bdc_map") if has_request_context() else None


def _is(products: Any, others: Any) -> bool:
    return bool(products and others) and [p.name for p in products] == [p.name for p in others]


def _once(
    layer: Any, queries: Sequence[dict[str, Any]], found: Iterable[Iterable[Dataset]]
) -> list[Dataset]:
    """Take each dataset once, and of composites those that begin at the time of their search.

    The index finds those as well whose period ends when that of another begins.
    """
    exact = layer.time_resolution.is_summary() and layer.mosaic_date_func is None
    kept: dict[UUID, Dataset] = {}
    for query, datasets in zip(queries, found, strict=True):
        time = query.get("time")
        for dataset in datasets:
            if time is None or not exact or time.begin <= dataset.time.begin < time.end:
                kept[dataset.id] = dataset
    return list(kept.values())


def _remembered() -> dict[Any, list[Dataset]]:
    """Give what searches of this request have found."""
    if not has_request_context():
        return {}
    known: dict[Any, list[Dataset]] = g.setdefault("odc_bdc_found", {})
    return known


def _key(layer: Any, queries: Sequence[dict[str, Any]]) -> tuple[Any, ...]:
    """Tell searches apart by layer, area, products and time."""
    return (
        layer.name,
        *(
            tuple(v.geom.wkb if k == "geopolygon" else repr(v) for k, v in sorted(query.items()))
            for query in queries
        ),
    )


def time_range(time: Any) -> Range:
    """Give the range of a time as datacube-ows searches it.

    An instant is a second long, a day 24 hours; a pair is a range.
    """
    if isinstance(time, tuple):
        return Range(_moment(time[0]), _moment(time[1]))
    seconds = 1 if isinstance(time, datetime) else 86400
    return Range(_moment(time), _moment(time) + timedelta(seconds=seconds))


def _moment(time: date) -> datetime:
    if not isinstance(time, datetime):
        return datetime(time.year, time.month, time.day, tzinfo=UTC)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def search_area(view: Geometry) -> Geometry | None:
    """Give an area in degrees that holds all a view shows; None if it shows nothing of the Earth.

    Views may reach beyond what their CRS shows, as that of a map which is zoomed out does. Such an
    area is a box that may hold more than the view.
    """
    box = view.boundingbox.bbox
    crs = view.crs
    if crs.geographic:
        return _box(box)
    if crs == CRS("EPSG:3857"):
        # Beyond the edges in the east and the west the Earth begins anew.
        west, east = (min(max(v, -_MERCATOR_EDGE), _MERCATOR_EDGE) for v in box[::2])
        box = (west, box[1], east, box[3])
    inside = view.boundingbox.bbox == box
    lon, lat = _to_degrees(str(crs)).transform(*_outline(box))
    # A wider view has edges that are bent too much for so few points.
    if inside and np.isfinite([lon, lat]).all() and max(np.ptp(lon), np.ptp(lat)) < WIDE:
        return geom.polygon(list(zip(lon.tolist(), lat.tolist(), strict=True)), DEGREES)
    lon, lat = _to_degrees(str(crs)).transform(*_mesh(box))
    known = np.isfinite(lon) & np.isfinite(lat)
    if not known.any():
        return None
    # What lies between two samples: as much again on each side.
    pad_x, pad_y = (float(np.ptp(v[known])) / (_SAMPLES - 1) for v in (lon, lat))
    west, east = float(lon[known].min()) - pad_x, float(lon[known].max()) + pad_x
    south, north = float(lat[known].min()) - pad_y, float(lat[known].max()) + pad_y
    return _box((west, south, east, north))


def _box(box: Sequence[float]) -> Geometry | None:
    west, south, east, north = (
        max(min(float(v), high), -high) for v, high in zip(box, (180, 90, 180, 90), strict=True)
    )
    return geom.box(west, south, east, north, DEGREES) if west < east and south < north else None


def _outline(box: Sequence[float]) -> tuple[Array, Array]:
    """Give x and y of points on the edge of a box, first and last the same."""
    west, south, east, north = box
    part = np.linspace(0, 1, _STEPS, endpoint=False)
    x = west + (east - west) * part
    y = south + (north - south) * part
    full = np.ones(_STEPS)
    return (
        np.concatenate([x, east * full, (east + west) - x, west * full, [west]]),
        np.concatenate([south * full, y, north * full, (north + south) - y, [south]]),
    )


def _mesh(box: Sequence[float]) -> tuple[Array, Array]:
    x, y = (np.linspace(box[n], box[n + 2], _SAMPLES) for n in (0, 1))
    mesh = np.meshgrid(x, y)
    return mesh[0].ravel(), mesh[1].ravel()


@lru_cache(maxsize=64)
def _to_degrees(crs: str) -> Transformer:
    return Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
