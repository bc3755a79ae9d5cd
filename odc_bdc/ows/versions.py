"""What an image is made of, told by a short text that changes whenever that changes.

The text is about a product and a day: datasets that begin on it, whether they came, went or were
changed. It is the same in all processes. See ADR 14.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from datacube import Datacube
    from sqlalchemy.engine import Connection

    Group: TypeAlias = tuple[datetime, int, str]

MARGIN = timedelta(minutes=10)
"""How much later than another, begun after it, a transaction may end and still be noticed."""

_LONG_AGO = datetime(1, 1, 2, tzinfo=UTC)

# `updated` is set by the database at every change, archiving included, to the time at which the
# transaction began; so one that lasts can come to light behind others that are younger. Therefore
# the last change of a group does not tell enough, and all within a margin before it are summed up.
_CHANGES = text(
    """
    WITH recent AS MATERIALIZED (
        SELECT d.product_ref,
               (lower(t.search_val) AT TIME ZONE 'UTC')::date AS day,
               d.updated,
               max(d.updated) OVER (
                   PARTITION BY d.product_ref, (lower(t.search_val) AT TIME ZONE 'UTC')::date
               ) AS last
        FROM odc.dataset d
        JOIN odc.dataset_search_datetime t ON t.dataset_ref = d.id AND t.search_key = 'time'
        WHERE d.updated >= :since
    )
    SELECT p.name, r.day, r.last, count(*), sum(extract(epoch FROM r.updated))::text
    FROM recent r JOIN odc.product p ON p.id = r.product_ref
    WHERE r.updated > r.last - :margin AND r.last >= :complete
    GROUP BY p.name, r.day, r.last
    """
)
_PRODUCTS = text("SELECT name, updated FROM odc.product")

# The same of the driver postgres, whose times lie in the documents; new rows have no `updated`.
_PLAIN_CHANGES = text(
    """
    WITH known AS (
        SELECT dataset_type_ref, COALESCE(updated, added) AS updated,
               (COALESCE(metadata #>> '{properties,dtr:start_datetime}',
                         metadata #>> '{properties,datetime}')::timestamptz
                AT TIME ZONE 'UTC')::date AS day
        FROM agdc.dataset
        WHERE COALESCE(updated, added) >= :since
    ), recent AS MATERIALIZED (
        SELECT *, max(updated) OVER (PARTITION BY dataset_type_ref, day) AS last FROM known
    )
    SELECT p.name, r.day, r.last, count(*), sum(extract(epoch FROM r.updated))::text
    FROM recent r JOIN agdc.dataset_type p ON p.id = r.dataset_type_ref
    WHERE r.updated > r.last - :margin AND r.last >= :complete
    GROUP BY p.name, r.day, r.last
    """
)
_PLAIN_PRODUCTS = text("SELECT name, COALESCE(updated, added) FROM agdc.dataset_type")
_IS_PLAIN = text("SELECT to_regclass('odc.dataset') IS NULL")


@contextmanager
def index_connection(dc: Datacube) -> Iterator[Connection]:
    """Give a connection to the database of an index."""
    from odc_bdc.ows.upstream import get_sqlconn  # noqa: PLC0415 (an extra)

    with get_sqlconn(dc) as connection:
        yield connection


class IndexVersions:
    """Versions of the products of an index.

    The first look reads a row for each dataset, later ones only what changed since.
    """

    def __init__(self) -> None:
        self._groups: dict[str, dict[date, Group]] = {}
        self._products: dict[str, datetime] = {}
        self._seen = _LONG_AGO
        self._whole: dict[str, str] = {}

    def refresh(self, connection: Connection) -> None:
        """Look at what changed in the index."""
        since, complete = _LONG_AGO, _LONG_AGO
        if self._seen > _LONG_AGO:
            # Of groups whose last change lies between the two, not all that counts is read; but
            # these have not changed.
            since, complete = self._seen - 2 * MARGIN, self._seen - MARGIN
        plain = connection.execute(_IS_PLAIN).scalar()
        about = connection.execute(_PLAIN_PRODUCTS if plain else _PRODUCTS)
        products = {row[0]: row[1] for row in about}
        values = {"since": since, "complete": complete, "margin": MARGIN}
        for name, day, last, count, total in connection.execute(
            _PLAIN_CHANGES if plain else _CHANGES, values
        ):
            last = last.astimezone(UTC)  # noqa: PLW2901 (the session's zone says nothing)
            group = (last, count, total)
            known = self._groups.setdefault(name, {})
            if known.get(day) != group:
                known[day] = group
                self._whole.pop(name, None)
            self._seen = max(self._seen, last)
        self._products = products

    def last_change(self, product: str, day: date) -> datetime | None:
        """Give when a dataset that begins on a day changed last; None if there never was any."""
        group = self._groups.get(product, {}).get(day)
        return group[0] if group else None

    def of(self, products: Iterable[str], days: Iterable[date] | None) -> str:
        """Give the version of what products have on some days, or on all days if None."""
        asked = None if days is None else sorted(set(days))
        parts = []
        for name in products:
            known = self._groups.get(name, {})
            part = self._of_all(name) if asked is None else [known.get(day) for day in asked]
            parts.append((name, self._products.get(name), part))
        return digest(parts)

    def _of_all(self, name: str) -> str:
        if name not in self._whole:
            self._whole[name] = digest(sorted(self._groups.get(name, {}).items()))
        return self._whole[name]


def digest(value: Any) -> str:
    """Give a short text that is the same for what is written the same."""
    return hashlib.blake2b(repr(value).encode(), digest_size=12).hexdigest()
