"""Serving an index of the driver ``postgres`` in a PostgreSQL without PostGIS.

datacube-ows has views of the datasets' outlines for this driver, which need PostGIS, and which a
dataset in the BDC's CRS is missing in. Here datacube itself is asked, by boxes in longitude and
latitude, and the outlines are put together in Python. The services open such an index with the
driver `NAME`, which is datacube's own under another name; this module stands under the same name
among the entry points ``datacube_ows.plugins.index``.
"""

from __future__ import annotations

import math
from json import dumps
from typing import TYPE_CHECKING, Any, Literal

import shapely
from datacube.api.query import solar_day
from datacube.model import Range
from odc.geo.geom import Geometry
from sqlalchemy import text

from odc_bdc.ows.search import DEGREES, CompleteIndex
from odc_bdc.ows.upstream import OWSAbstractIndexDriver, OWSPostgresIndex
from odc_bdc.ows.versions import index_connection
from odc_bdc.services_driver import PLAIN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from datacube import Datacube
    from datacube.model import Dataset
    from odc.geo.crs import CRS

_EDGE = 9.999999999e99
"""What datacube-ows writes for the edge of an extent that a CRS cannot show."""

_SCHEMA = (
    "CREATE SCHEMA IF NOT EXISTS ows",
    """
    CREATE TABLE IF NOT EXISTS ows.layer_ranges (
        layer varchar(255) PRIMARY KEY,
        lat_min decimal NOT NULL, lat_max decimal NOT NULL,
        lon_min decimal NOT NULL, lon_max decimal NOT NULL,
        dates jsonb NOT NULL, bboxes jsonb NOT NULL,
        meta jsonb NOT NULL, last_updated timestamp NOT NULL
    )
    """,
    "GRANT USAGE ON SCHEMA ows TO agdc_user",
    "GRANT SELECT ON ows.layer_ranges TO agdc_user",
    "GRANT ALL ON SCHEMA ows TO agdc_manage, agdc_admin",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ows.layer_ranges TO agdc_manage, agdc_admin",
)
_ENTRY = text(
    "INSERT INTO ows.layer_ranges "
    "VALUES (:layer, :lat_min, :lat_max, :lon_min, :lon_max, CAST(:dates AS jsonb), "
    "CAST(:bboxes AS jsonb), '{}', now()) ON CONFLICT (layer) DO UPDATE SET "
    "(lat_min, lat_max, lon_min, lon_max, dates, bboxes, meta, last_updated) = "
    "(excluded.lat_min, excluded.lat_max, excluded.lon_min, excluded.lon_max, excluded.dates, "
    "excluded.bboxes, excluded.meta, excluded.last_updated)"
)


class PlainIndex(CompleteIndex):
    """Complete answers without PostGIS."""

    name = PLAIN

    def _check_perms(self, dc: Datacube, group: Literal["manage", "admin"]) -> None:
        OWSPostgresIndex._check_perms(self, dc, group)  # noqa: SLF001 (the roles of this driver)

    def create_schema(self, dc: Datacube) -> None:
        """Make the table of ranges."""
        with index_connection(dc) as connection:
            for statement in _SCHEMA:
                connection.execute(text(statement))
            connection.commit()

    def create_range_entry(self, layer: Any, cache: Any) -> None:  # noqa: ARG002 (its interface)
        """Write the times and the extent of a layer; none if it has no datasets."""
        datasets = list(self.ds_search(layer, products=layer.products))
        extent = _union(datasets)
        if extent is None:
            return
        box = extent.boundingbox
        values = {
            "layer": layer.name,
            "lat_min": box.bottom,
            "lat_max": box.top,
            "lon_min": box.left,
            "lon_max": box.right,
            "dates": dumps(sorted({_date(layer, dataset) for dataset in datasets})),
            "bboxes": dumps(
                {key: _sides(extent, crs) for key, crs in layer.global_cfg.crses.items()}
            ),
        }
        with index_connection(layer.dc) as connection:
            connection.execute(_ENTRY, values)
            connection.commit()

    def extent(
        self,
        layer: Any,
        times: Iterable[Any] | None = None,
        geom: Geometry | None = None,
        products: Iterable[Any] | None = None,
        crs: CRS | None = None,
    ) -> Geometry | None:
        """Give what the datasets of a view cover."""
        found = _union(self.ds_search(layer, times, geom, products))
        return found if found is None or crs is None else found.to_crs(crs)

    def _queries(self, *args: Any) -> list[dict[str, Any]]:
        queries = super()._queries(*args)
        for query in queries:
            area = query.pop("geopolygon", None)
            if area is not None:
                box = area.boundingbox
                query["lon"], query["lat"] = Range(box.left, box.right), Range(box.bottom, box.top)
        return queries


def _union(datasets: Iterable[Dataset]) -> Geometry | None:
    """Give all that datasets cover, in degrees; None if there are none."""
    outlines = [d.extent.to_crs(DEGREES, resolution="auto").geom for d in datasets if d.extent]
    return Geometry(shapely.union_all(outlines), DEGREES) if outlines else None


def _date(layer: Any, dataset: Dataset) -> str:
    """Give the time of a dataset as datacube-ows reads it back."""
    if layer.time_resolution.is_solar():
        return str(solar_day(dataset))
    begin = dataset.time.begin
    return str(begin.isoformat() if layer.time_resolution.is_subday() else begin.date())


def _sides(extent: Geometry, crs: CRS) -> dict[str, float]:
    left, bottom, right, top = (
        value if math.isfinite(value) else edge
        for value, edge in zip(
            extent.to_crs(crs).boundingbox.bbox, (-_EDGE, -_EDGE, _EDGE, _EDGE), strict=True
        )
    )
    return {"left": left, "bottom": bottom, "right": right, "top": top}


class PlainIndexDriver(OWSAbstractIndexDriver):
    """The driver of datacube-ows that gives a `PlainIndex`."""

    _index = PlainIndex()

    @classmethod
    def ows_index_class(cls) -> type[PlainIndex]:
        """Give the class of the index."""
        return PlainIndex

    @classmethod
    def ows_index(cls) -> PlainIndex:
        """Give the index, one for all that ask."""
        return cls._index


def index_driver() -> PlainIndexDriver:
    """Make the driver; `setup.cfg` names this function in ``datacube_ows.plugins.index``."""
    return PlainIndexDriver()
