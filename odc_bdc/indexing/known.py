"""What the index knows of datasets, asked for many at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable

    from datacube import Datacube

FINGERPRINT = "odc_bdc:fingerprint"
"""Property of a dataset: checksum of all that its document was made from."""

TEXT_FINGERPRINT = "odc_bdc:text_fingerprint"
"""Property of a dataset: the same of the text that its item was parsed from."""

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
    datasets, products, product = _TABLES[dc.index.name]
    # The fence (OFFSET 0) makes PostgreSQL unpack each document once, not for each property.
    query = text(_QUERY.format(datasets=datasets, products=products, product=product))
    arguments: dict[str, Any] = {"ids": wanted, "fingerprint": FINGERPRINT}
    arguments["text"] = TEXT_FINGERPRINT
    with dc.index.datasets._db_connection() as connection:  # noqa: SLF001 (no public way to ask)
        rows = connection.execute(query, arguments).fetchall()
    return {dataset_id: KnownDataset(*told) for dataset_id, *told in rows}
