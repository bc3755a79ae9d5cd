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

# Both drivers keep documents alike, under other names: (datasets, products, product of a dataset).
# datacube's own search for ids reads and parses whole documents, which takes fifteen times as long.
_TABLES = {
    "pgis_index": ("odc.dataset", "odc.product", "product_ref"),
    "pg_index": ("agdc.dataset", "agdc.dataset_type", "dataset_type_ref"),
}
_QUERY = """
SELECT d.id, d.archived IS NOT NULL, p.name, d.metadata -> 'properties' ->> :fingerprint
FROM {datasets} d JOIN {products} p ON p.id = d.{product}
WHERE d.id = ANY(CAST(:ids AS uuid[]))
"""


@dataclass(frozen=True, slots=True)
class KnownDataset:
    """A dataset of the index, as far as indexing must know it.

    Attributes
    ----------
    fingerprint
        None if it was not indexed by odc_bdc.
    """

    product: str
    archived: bool
    fingerprint: str | None


def known_datasets(dc: Datacube, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, KnownDataset]:
    """Give those of some datasets that the index has, archived ones too, in one query."""
    wanted = [str(dataset_id) for dataset_id in ids]
    if not wanted:
        return {}
    datasets, products, product = _TABLES[dc.index.name]
    query = text(_QUERY.format(datasets=datasets, products=products, product=product))
    arguments: dict[str, Any] = {"ids": wanted, "fingerprint": FINGERPRINT}
    with dc.index.datasets._db_connection() as connection:  # noqa: SLF001 (no public way to ask)
        rows = connection.execute(query, arguments).fetchall()
    return {
        dataset_id: KnownDataset(name, archived, fingerprint)
        for dataset_id, archived, name, fingerprint in rows
    }
