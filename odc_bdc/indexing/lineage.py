"""What datasets were made of, written for many at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from datacube.model.lineage import InconsistentLineageException, LineageRelations
from sqlalchemy import text

if TYPE_CHECKING:
    import uuid

    from datacube import Datacube

Lineage: TypeAlias = "Mapping[str, Sequence[uuid.UUID]]"
"""Ids of the sources of a dataset, by what they are to it."""

# datacube's own way puts each relation into a statement of its own making, and draws the tree of
# all relations anew for each: with sixteen scenes an image that is most of the time of indexing.
_INSERT = {
    # It holds relations to datasets that it does not have, too.
    "pgis_index": """
        INSERT INTO odc.dataset_lineage (derived_dataset_ref, classifier, source_dataset_ref)
        SELECT derived, name, source
        FROM unnest(CAST(:derived AS uuid[]), CAST(:names AS text[]), CAST(:sources AS uuid[]))
            AS told(derived, name, source)
        ON CONFLICT DO NOTHING
    """,
    "pg_index": """
        INSERT INTO agdc.dataset_source (dataset_ref, classifier, source_dataset_ref)
        SELECT derived, name, source
        FROM unnest(CAST(:derived AS uuid[]), CAST(:names AS text[]), CAST(:sources AS uuid[]))
            AS told(derived, name, source)
        WHERE EXISTS (SELECT FROM agdc.dataset d WHERE d.id = source)
        ON CONFLICT (classifier, dataset_ref) DO NOTHING
    """,
}


def add_lineage(dc: Datacube, made: Mapping[uuid.UUID, Lineage]) -> None:
    """Note what datasets, which the index has by now, were made of; in the transaction at work.

    What is known already stays. The driver `postgres` leaves out sources that it does not have.

    Parameters
    ----------
    made
        Sources of each dataset. `postgres` takes one source for each name.

    Raises
    ------
    datacube.model.lineage.InconsistentLineageException
        If a dataset would be its own source, or has one source by two names.
    """
    _check(made)
    rows = [
        (str(derived), name, str(source))
        for derived, lineage in made.items()
        for name, sources in lineage.items()
        for source in sources
    ]
    if not rows:
        return
    derived, names, sources = map(list, zip(*rows, strict=True))
    arguments = {"derived": derived, "names": names, "sources": sources}
    with dc.index.datasets._db_connection(transaction=True) as connection:  # noqa: SLF001 (as in known)
        connection.execute(text(_INSERT[dc.index.name]), arguments)


def _check(made: Mapping[uuid.UUID, Lineage]) -> None:
    """See, as datacube does, that relations of some datasets do not contradict each other."""
    named = [source for told in made.values() for ids in told.values() for source in ids]
    if not made.keys().isdisjoint(named):  # else there can be no ring among them
        relations = LineageRelations()
        for derived, lineage in made.items():
            relations.merge_from_eo3(derived, lineage)
    for derived, lineage in made.items():
        names: dict[uuid.UUID, str] = {}
        for name, sources in lineage.items():
            if derived in sources:
                raise InconsistentLineageException(f"dataset {derived} is made of itself")
            for source in sources:
                if names.setdefault(source, name) != name:
                    raise InconsistentLineageException(
                        f"dataset {derived} is made of {source} by two names, "
                        f"{names[source]} and {name}"
                    )
