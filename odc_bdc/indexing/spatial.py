"""Searching the index by area, alike on both drivers.

The BDC's CRS has no EPSG code that PROJ's published database knows. The driver ``postgres`` can be
asked in it all the same, ``postgis`` refuses: so both are asked in longitude and latitude, for a
little more than the area, and what they find is looked at again in the area's own CRS.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import shapely
from datacube.api.query import Query
from odc.geo.geom import Geometry

from odc_bdc.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from datacube import Datacube
    from datacube.model import Dataset

LONLAT = "EPSG:4326"
_STEPS = 64
"""Parts of an edge: a straight line of one CRS is bent in another."""
_SLACK = 1e-3
"""Degrees about the area, more than what such a part may still bend."""


def find_datasets(
    dc: Datacube, *, product: str, geometry: Geometry | None = None, **query: Any
) -> list[Dataset]:
    """Give the visible datasets of a product, all or those that share some of an area.

    Parameters
    ----------
    geometry
        A polygon in any CRS, also the BDC's. Datasets that only touch its edge are left out.
    **query
        What else `Datacube.find_datasets` takes: ``time``, and fields of the product.

    Raises
    ------
    InvalidValueError
        If the geometry has no CRS or no area, or part of it is where its CRS has no longitudes.
    """
    if geometry is None:
        return list(find_near(dc, product, None, **query))
    near = find_near(dc, product, geometry, **query)
    return [dataset for dataset in near if overlap(dataset, geometry) > 0]


def find_near(
    dc: Datacube, product: str, geometry: Geometry | None, **query: Any
) -> Iterator[Dataset]:
    """Give the visible datasets of a product about an area, and maybe some beside it.

    For whom looks at their areas anyway: to look at each costs more than to find it.

    Raises
    ------
    InvalidValueError
        As `find_datasets`.
    """
    area = {} if geometry is None else {"geopolygon": _lonlat(geometry)}
    terms = Query(dc.index, product=product, **area, **query).search_terms
    found: Iterator[Dataset] = dc.index.datasets.search(**terms)
    return found


def overlap(dataset: Dataset, geometry: Geometry) -> float:
    """Give the area that a dataset shares with a geometry, in the units of the geometry's CRS."""
    extent = dataset.extent
    if extent is None:
        return 0.0
    if dataset.crs != geometry.crs:
        extent = extent.to_crs(geometry.crs, resolution=_resolution(extent))
    return float((extent & geometry).area)


def union(geometries: Iterable[Geometry]) -> Geometry:
    """Give the area of several geometries of one CRS."""
    given = list(geometries)
    return Geometry(shapely.union_all([g.geom for g in given]), given[0].crs)


def _lonlat(geometry: Geometry) -> Geometry:
    """Give the area in longitude and latitude, and a little more."""
    if geometry.crs is None or geometry.is_empty or geometry.area == 0:
        raise InvalidValueError("a search by area needs a polygon with a CRS")
    lonlat = geometry.to_crs(LONLAT, resolution=_resolution(geometry), wrapdateline=False)
    if not all(map(math.isfinite, lonlat.boundingbox.bbox)):
        raise InvalidValueError(f"{geometry.crs}: part of the area is not on the Earth")
    return lonlat.buffer(_SLACK)


def _resolution(geometry: Geometry) -> float:
    box = geometry.boundingbox
    return float(max(box.span_x, box.span_y) / _STEPS)
