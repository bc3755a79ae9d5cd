"""Initialise an index: its database, schema, roles and metadata types; safe to repeat."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import make_url, text
from sqlalchemy.exc import ProgrammingError

from odc_bdc.database.index import (
    TABLES,
    Index,
    is_initialised,
    place_of,
    raw_config,
    session,
    with_database,
)
from odc_bdc.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Any number, the same in every odc-bdc: PostgreSQL's advisory lock on "an index is being made".
LOCK = 0x0DC_BDC

# What `datacube system init` does for the postgis driver with GRANT ... WITH ADMIN TRUE, which
# PostgreSQL before 16 does not know. Roles belong to the whole cluster, so they may be there.
ROLES = """
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['odc_user', 'odc_manage', 'odc_admin'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN INHERIT', name);
        END IF;
    END LOOP;
    ALTER ROLE odc_admin CREATEROLE;
    GRANT odc_user TO odc_manage;
    GRANT odc_user, odc_manage TO odc_admin WITH ADMIN OPTION;
    EXECUTE format('GRANT ALL ON DATABASE %I TO odc_admin', current_database());
END
$$
"""

GRANTS = (
    "GRANT USAGE ON SCHEMA odc TO odc_user",
    "GRANT SELECT ON ALL TABLES IN SCHEMA odc TO odc_user",
    "GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA odc TO odc_manage",
    "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA odc TO odc_manage",
    "GRANT CREATE ON SCHEMA odc TO odc_manage",
)


def initialise(index: Index) -> None:
    """Make the index ready for products; quick and without effect when it is.

    A private index is made in a draft database and published by renaming it, so an interrupted run
    leaves nothing. In a database of the user the schema is made in place.

    Parameters
    ----------
    index
        From `bring_up` or `find_index`; its server must run.

    Raises
    ------
    DatabaseError
        If the server does not answer, the user may not do this, or an earlier initialisation by
        other means stopped half-way.
    """
    try:
        if index.private:
            _initialise_private(index)
        else:
            _initialise_given(index)
    except ProgrammingError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise DatabaseError(
            f"The index at {place_of(index.url)} cannot be initialised: {reason}; ask its "
            "administrator for `CREATE EXTENSION postgis` and `datacube system init`"
        ) from None


def _initialise_private(index: Index) -> None:
    name = make_url(index.url).database
    draft = f"{name}_draft"
    with session(index, "postgres") as server, locked(server):
        query = text("SELECT count(*) FROM pg_database WHERE datname = :name")
        if server.execute(query, {"name": name}).scalar():
            _update(index)
            return
        # A killed run may still hold connections to its draft.
        server.execute(text(f'DROP DATABASE IF EXISTS "{draft}" WITH (FORCE)'))
        server.execute(text(f'CREATE DATABASE "{draft}" TEMPLATE template0'))
        _make(replace(index, url=with_database(index, draft)))
        server.execute(text(f'ALTER DATABASE "{draft}" RENAME TO "{name}"'))


def _initialise_given(index: Index) -> None:
    schema = TABLES[index.driver][0]
    with session(index) as connection, locked(connection):
        if is_initialised(connection, index.driver):
            _update(index)
        elif _has_schema(connection, schema):
            raise DatabaseError(
                f"The schema {schema} at {place_of(index.url)} is not a complete index: if it is "
                f'left from an interrupted initialisation, drop it (psql: DROP SCHEMA "{schema}" '
                "CASCADE) and run `odc-bdc db init` again"
            )
        else:
            _make(index)


def _has_schema(connection: Any, name: str) -> bool:
    query = text("SELECT to_regnamespace(:name) IS NOT NULL")
    return bool(connection.execute(query, {"name": name}).scalar())


@contextmanager
def locked(connection: Any) -> Iterator[None]:
    """Hold the advisory lock; it ends with the connection if we are killed."""
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK})
    try:
        yield
    finally:
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK})


def _make(index: Index) -> None:
    """Make schema, types and roles in a database that has none."""
    if index.driver == "postgres":
        _forget_indexes()
        with _connected(index, index.url) as odc:
            odc.init_db(with_default_types=True, with_permissions=True)
        return
    with session(index) as connection:
        connection.execute(text("CREATE EXTENSION IF NOT EXISTS postgis"))
        connection.execute(text(ROLES))
    # As in `datacube system init`, all belongs to odc_admin: each connection takes that role.
    url = make_url(index.url).update_query_dict({"options": "-c role=odc_admin"})
    with _connected(index, url.render_as_string(hide_password=False)) as odc:
        odc.init_db(with_default_types=True, with_permissions=False)
    with session(index) as connection:
        connection.execute(text("SET ROLE odc_admin"))
        for grant in GRANTS:
            connection.execute(text(grant))


def _forget_indexes() -> None:
    """Take from datacube's table description the indexes that belong to other databases.

    The postgres driver adds those of each metadata type and product that the process has seen, and
    would make them all in a new database, the third time failing on two of one name.
    """
    from datacube.drivers.postgres._schema import DATASET  # noqa: PLC0415 (seconds)

    for found in [*DATASET.indexes]:
        if found.name.startswith("dix_"):
            DATASET.indexes.discard(found)


def _update(index: Index) -> None:
    """Bring an index that another version of datacube made up to date."""
    with warnings.catch_warnings():
        # It warns of an older schema that it can use; below it is updated all the same.
        warnings.filterwarnings("ignore", "Current Alembic schema revision", UserWarning)
        with _connected(index, index.url) as odc:
            odc.init_db(with_default_types=True, with_permissions=False)


@contextmanager
def _connected(index: Index, url: str) -> Iterator[Any]:
    """Give datacube's own index object, not yet checked, and close its connections."""
    from datacube.cfg import ODCConfig  # noqa: PLC0415 (seconds)
    from datacube.index import index_connect  # noqa: PLC0415

    section = ODCConfig(raw_dict=raw_config(index, url))[index.env or "default"]
    odc = index_connect(section, application_name="odc-bdc", validate_connection=False)
    try:
        yield odc
    finally:
        odc.close()
