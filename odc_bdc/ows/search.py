"""Searches of the postgis index as the services need them: all dates, and views of any width.

datacube-ows 1.9.14 looks only for the first of several dates, transforms the corners of a view as
they are, although most projections show but a part of the Earth, and asks the index for extents in
CRSs that it refuses.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from datacube.model import Range
from datacube_ows.index.postgis.api import OWSPostgisIndex
from odc.geo import geom
from odc.geo.crs import CRS
from odc.geo.geom import Geometry
from pyproj import Transformer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from uuid import UUID

    import numpy.typing as npt
    from datacube.model import Dataset, Product

    Array = npt.NDArray[np.float64]

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
    ) -> Iterator[Dataset]:
        """Give the datasets of all times in a view, each once."""
        seen: set[UUID] = set()
        for query in self._queries(layer, times, geom, products):
            for dataset in layer.dc.index.datasets.search(**query):
                if dataset.id not in seen:
                    seen.add(dataset.id)
                    yield dataset

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
        """Count the datasets of all times in a view; one of two times counts twice."""
        queries = self._queries(layer, times, geom, products)
        return sum(layer.dc.index.datasets.count(**query) for query in queries)

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
        edge = _MERCATOR_EDGE
        box = tuple(min(max(v, -edge), edge) for v in box)
    inside = view.boundingbox.bbox == box
    lon, lat = _to_degrees(str(crs)).transform(*_outline(box))
    if inside and np.isfinite(lon).all() and np.isfinite(lat).all() and np.ptp(lon) < 180:
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
