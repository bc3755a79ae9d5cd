"""What the index knows of datasets, asked for many at once."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from datacube import Datacube

FINGERPRINT = "odc_bdc:fingerprint"
"""Property of a dataset: checksum of all that its document was made from."""

TEXT_FINGERPRINT = "odc_bdc:text_fingerprint"
"""Property of a dataset: the same of the text that its item was parsed from."""

PLANNED = "odc_bdc:task"
"""Property of an image that was made without some of its scenes: id of the task as planned."""

# Both drivers keep documents alike, under other names: (datasets, products, product of a dataset).
# datacube's own search for ids reads and parses whole documents, which takes fifteen times as long.
_TABLES = {
    "pgis_index": ("odc.dataset", "odc.product", "product_ref"),
    "pg_index": ("agdc.dataset", "agdc.dataset_type", "dataset_type_ref"),
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
    properties ->> :planned
FROM (
    SELECT d.id, d.metadata -> 'properties' AS properties
    FROM {datasets} d JOIN {products} p ON p.id = d.{product}
    WHERE p.name = :name AND d.archived IS NULL
    OFFSET 0
) AS known
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
        Id of the task that it was made for, if that names scenes that could not be read and were
        left out; else its own id.
    """

    id: uuid.UUID
    tile: str
    start: date
    planned: uuid.UUID


def known_images(dc: Datacube, cube: str) -> list[KnownImage]:
    """Give all visible datasets of a cube's product, in one query."""
    rows = _ask(dc, _IMAGES, name=cube, planned=PLANNED)
    return [
        KnownImage(
            dataset_id,
            tile or "",
            date.fromisoformat(begin[:10]),
            uuid.UUID(planned) if planned else dataset_id,
        )
        for dataset_id, tile, begin, planned in rows
    ]


def _ask(dc: Datacube, query: str, **arguments: Any) -> list[Any]:
    datasets, products, product = _TABLES[dc.index.name]
    filled = text(query.format(datasets=datasets, products=products, product=product))
    with dc.index.datasets._db_connection() as connection:  # noqa: SLF001 (no public way to ask)
        rows: list[Any] = connection.execute(filled, arguments).fetchall()
    return rows
