"""Which datasets a search would have found: only those can be missed at their source."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import dateutil.parser
import shapely.geometry

from odc_bdc.indexing.conversion import HREF, ITEM
from odc_bdc.indexing.moment import as_utc
from odc_bdc.naming import dataset_id

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Mapping

    from datacube import Datacube
    from shapely.geometry.base import BaseGeometry


@dataclass(frozen=True, slots=True)
class CoveredDataset:
    """A dataset in the index that a search covers."""

    id: uuid.UUID
    item: str
    uri: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a search of items covers.

    A dataset is covered if it lies *wholly* within: a source that searches by footprints leaves
    out one that only touches the area, and such a one is not gone.

    Attributes
    ----------
    collection
        Id of the STAC collection: datasets of other collections in the same product are not missed.
    geometry
        Area in longitude and latitude; None for everywhere.
    time
        Both inclusive, with a zone; None for always, or where an end is open.
    tiles
        Tile ids; none for all.
    ids
        Ids of items; none for all.
    under
        Addresses that items are below, if the source is no search but a place: what was found
        elsewhere is not missed there.
    """

    collection: str
    geometry: BaseGeometry | None = None
    time: tuple[datetime | None, datetime | None] | None = None
    tiles: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    under: tuple[str, ...] = ()

    def datasets(self, dc: Datacube, product: str) -> Iterator[CoveredDataset]:
        """Give the visible datasets of a product that are covered."""
        rows = dc.index.datasets.search_returning(
            field_names=["id", "label", "uri"],
            custom_offsets={"extent": ["extent"], "properties": ["properties"]},
            product=product,
        )
        for row in rows:
            # A dataset that was indexed by other means has another id, and is not ours to archive.
            item = str(row.properties.get(ITEM, row.label))
            if row.id == dataset_id("scene", self.collection, item) and self.covers(
                item, row.extent, row.properties
            ):
                yield CoveredDataset(row.id, item, row.uri)

    def covers(self, item: str, extent: Mapping[str, Any], properties: Mapping[str, Any]) -> bool:
        """Tell of one dataset, by what its document says, if it is covered."""
        href = str(properties.get(HREF, ""))
        return (
            (not self.ids or item in self.ids)
            and (not self.tiles or properties.get("odc:region_code") in self.tiles)
            and (not self.under or any(_is_below(href, place) for place in self.under))
            and self._covers_time(properties)
            and self._covers_extent(extent)
        )

    def _covers_time(self, properties: Mapping[str, Any]) -> bool:
        if self.time is None:
            return True
        begin = properties.get("dtr:start_datetime") or properties["datetime"]
        end = properties.get("dtr:end_datetime") or properties["datetime"]
        first, last = self.time
        return (first is None or first <= _time(begin)) and (last is None or _time(end) <= last)

    def _covers_extent(self, extent: Mapping[str, Any]) -> bool:
        if self.geometry is None:
            return True
        lon, lat = extent["lon"], extent["lat"]
        box = shapely.geometry.box(lon["begin"], lat["begin"], lon["end"], lat["end"])
        return bool(self.geometry.contains(box))


def _is_below(href: str, place: str) -> bool:
    return href == place or href.startswith(place.rstrip("/") + "/")


def _time(said: str) -> datetime:
    return as_utc(dateutil.parser.isoparse(said))
