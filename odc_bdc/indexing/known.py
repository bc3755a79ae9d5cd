"""What the index knows of datasets, asked for many at once."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from affine import Affine
from odc.geo.geobox import GeoBox
from sqlalchemy import text

from odc_bdc.formats import LIVE_FORMAT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from datacube import Datacube

    from odc_bdc.grid import BBox

FINGERPRINT = "odc_bdc:fingerprint"
"""Property of a dataset: checksum of all that its document was made from."""

TEXT_FINGERPRINT = "odc_bdc:text_fingerprint"
"""Property of a dataset: the same of the text that its item was parsed from."""

LIVE_IDS = "2-"
"""How fingerprints of live images begin whose ids do not depend on where they were declared."""

PLANNED = "odc_bdc:task"
"""Property of an image whose id is not that of its task: id of the task as planned."""

SKIPPED = "odc_bdc:skipped_scenes"
"""Property of an image: ids of the scenes that could not be read and were left out."""

# Both drivers keep documents alike, under other names: (datasets, products, product of a dataset).
# datacube's own search for ids reads and parses whole documents, which takes fifteen times as long.
_TABLES = {
    "pgis_index": ("odc.dataset", "odc.product", "product_ref"),
    "pg_index": ("agdc.dataset", "agdc.dataset_type", "dataset_type_ref"),
}
# Address of a dataset, and (table, source, derived) of lineage.
_ADDRESS = {
    "pgis_index": "d.uri_scheme || ':' || d.uri_body",
    "pg_index": """(
        SELECT l.uri_scheme || ':' || l.uri_body FROM agdc.dataset_location l
        WHERE l.dataset_ref = d.id AND l.archived IS NULL ORDER BY l.added DESC LIMIT 1
    )""",
}
_LINEAGE = {
    "pgis_index": ("odc.dataset_lineage", "source_dataset_ref", "derived_dataset_ref"),
    "pg_index": ("agdc.dataset_source", "source_dataset_ref", "dataset_ref"),
}
_QUERY = """
SELECT id, product, archived, properties ->> :fingerprint, properties ->> :text
FROM (
    SELECT d.id, d.archived IS NOT NULL AS archived, p.name AS product,
        d.metadata -> 'properties' AS properties
    FROM {datasets} d JOIN {products} p ON p.id = d.{product}
    WHERE d.id = ANY(CAST(:ids AS uuid[]))
    OFFSET 0
) AS known
"""
_IMAGES = """
SELECT id, properties ->> 'odc:region_code',
    COALESCE(properties ->> 'dtr:start_datetime', properties ->> 'datetime'),
    properties ->> :planned, properties -> :skipped IS NOT NULL,
    properties ->> 'odc:file_format', properties ->> :fingerprint,
    (SELECT m.value ->> 'path' FROM jsonb_each(measurements) m LIMIT 1)
FROM (
    SELECT d.id, m.properties, m.measurements
    FROM {datasets} d JOIN {products} p ON p.id = d.{product},
        jsonb_to_record(d.metadata) AS m(properties jsonb, measurements jsonb)
    WHERE p.name = :name AND d.archived IS NULL
    OFFSET 0
) AS known
"""
_STORED = """
SELECT d.id, d.archived, {address},
       ARRAY(SELECT m.value ->> 'path' FROM jsonb_each(d.metadata -> 'measurements') m)
FROM {datasets} d JOIN {products} p ON p.id = d.{product}
WHERE p.name = :name
"""
_GRIDS = """
SELECT d.id, d.metadata #> '{{grids,default,shape}}', d.metadata #> '{{grids,default,transform}}'
FROM {datasets} d WHERE d.id = ANY(CAST(:ids AS uuid[]))
"""
_SEEN = """
SELECT id, cloud_cover, place ->> 'spatial_reference', place ->> 'valid_data',
       place -> 'geo_ref_points'
FROM (
    SELECT d.id, m.properties ->> 'eo:cloud_cover' AS cloud_cover,
        m.grid_spatial -> 'projection' AS place
    FROM {datasets} d, jsonb_to_record(d.metadata) AS m(properties jsonb, grid_spatial jsonb)
    WHERE d.id = ANY(CAST(:ids AS uuid[]))
    OFFSET 0
) AS known
"""
_DERIVED = """
SELECT l.{source}, d.id, p.name
FROM {lineage} l JOIN {datasets} d ON d.id = l.{derived} JOIN {products} p ON p.id = d.{product}
WHERE l.{source} = ANY(CAST(:ids AS uuid[]))
"""


@dataclass(frozen=True, slots=True)
class KnownDataset:
    """A dataset of the index, as far as indexing must know it.

    Attributes
    ----------
    fingerprint
        None if it was not indexed by odc_bdc.
    text_fingerprint
        None if its item had no text of its own.
    """

    product: str
    archived: bool
    fingerprint: str | None
    text_fingerprint: str | None = None


def known_datasets(dc: Datacube, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, KnownDataset]:
    """Give those of some datasets that the index has, archived ones too, in one query."""
    wanted = [str(dataset_id) for dataset_id in ids]
    if not wanted:
        return {}
    # The fence (OFFSET 0) makes PostgreSQL unpack each document once, not for each property.
    rows = _ask(dc, _QUERY, ids=wanted, fingerprint=FINGERPRINT, text=TEXT_FINGERPRINT)
    return {dataset_id: KnownDataset(*told) for dataset_id, *told in rows}


@dataclass(frozen=True, slots=True)
class KnownImage:
    """A visible image of a cube in the index.

    Attributes
    ----------
    start
        First day of its period.
    planned
        Id of the task that it was made for.
    skipped
        Whether scenes that could not be read were left out.
    live
        Whether it is a recipe, composited when somebody reads it.
    fingerprint
        Checksum of what a live image was declared with.
    path
        Of a measurement, as its document has it: of a live image all have one.
    """

    id: uuid.UUID
    tile: str
    start: date
    planned: uuid.UUID
    skipped: bool = False
    live: bool = False
    fingerprint: str | None = None
    path: str | None = None

    @property
    def has_old_id(self) -> bool:
        """Whether it is a live image whose id is that of an earlier release."""
        return self.live and not (self.fingerprint or "").startswith(LIVE_IDS)


def known_images(dc: Datacube, cube: str) -> list[KnownImage]:
    """Give all visible datasets of a cube's product, in one query."""
    names = {"planned": PLANNED, "skipped": SKIPPED, "fingerprint": FINGERPRINT}
    return [
        KnownImage(
            dataset_id,
            tile or "",
            date.fromisoformat(begin[:10]),
            uuid.UUID(planned) if planned else dataset_id,
            skipped,
            file_format == LIVE_FORMAT,
            fingerprint,
            path,
        )
        for dataset_id, tile, begin, planned, skipped, file_format, fingerprint, path in _ask(
            dc, _IMAGES, name=cube, **names
        )
    ]


def image_bounds(dc: Datacube, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, BBox]:
    """Give the box (xmin, ymin, xmax, ymax) of some images' pixels, in their grids' CRS."""
    rows = _ask(dc, _GRIDS, ids=[str(i) for i in ids])
    return {
        i: tuple(GeoBox(tuple(shape), Affine(*place[:6]), None).boundingbox.bbox)
        for i, shape, place in rows
        if shape and place
    }


@dataclass(frozen=True, slots=True)
class SeenScene:
    """What the index tells of how much a scene shows.

    Attributes
    ----------
    cloud_cover
        Per cent of the scene; None if nobody said.
    crs
        Of where it lies.
    valid_data
        That as GeoJSON; None if only its corners are told.
    corners
        As documents have them in ``geo_ref_points``.
    """

    cloud_cover: float | None
    crs: str
    valid_data: str | None
    corners: Mapping[str, Any]


def seen_scenes(dc: Datacube, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, SeenScene]:
    """Give what the index tells of some scenes, in one query."""
    rows = _ask(dc, _SEEN, ids=[str(i) for i in ids])
    return {i: SeenScene(None if cc is None else float(cc), *place) for i, cc, *place in rows}


@dataclass(frozen=True, slots=True)
class StoredDataset:
    """A dataset of the index, archived or not, and its files.

    Attributes
    ----------
    archived
        When (UTC); None while it is visible.
    uri
        Address of its document; None if it has none.
    paths
        Of its measurements, relative to the document.
    """

    id: uuid.UUID
    archived: datetime | None
    uri: str | None
    paths: tuple[str, ...]


def stored_datasets(dc: Datacube, product: str) -> list[StoredDataset]:
    """Give all datasets of a product, archived ones too, in one query."""
    rows = _ask(dc, _STORED, name=product)
    return [StoredDataset(i, archived, uri, tuple(paths)) for i, archived, uri, paths in rows]


def derived_datasets(
    dc: Datacube, ids: Iterable[uuid.UUID]
) -> dict[uuid.UUID, dict[uuid.UUID, str]]:
    """Give the datasets in the index that were made of some, archived ones too.

    Returns
    -------
    dict
        Of each that has any: product by id.
    """
    found: dict[uuid.UUID, dict[uuid.UUID, str]] = {}
    for source, derived, product in _ask(dc, _DERIVED, ids=[str(i) for i in ids]):
        found.setdefault(source, {})[derived] = product
    return found


def _ask(dc: Datacube, query: str, **arguments: Any) -> list[Any]:
    datasets, products, product = _TABLES[dc.index.name]
    lineage, source, derived = _LINEAGE[dc.index.name]
    filled = text(
        query.format(
            datasets=datasets,
            products=products,
            product=product,
            address=_ADDRESS[dc.index.name],
            lineage=lineage,
            source=source,
            derived=derived,
        )
    )
    with dc.index.datasets._db_connection() as connection:  # noqa: SLF001 (no public way to ask)
        rows: list[Any] = connection.execute(filled, arguments).fetchall()
    return rows
