"""Where an index is, whether it answers, and opening it."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import column, create_engine, func, make_url, select, table, text
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.pool import NullPool

from odc_bdc.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import datacube

# The names that datacube gives its tables: driver -> (schema, table of products).
TABLES = {"postgis": ("odc", "product"), "postgres": ("agdc", "dataset_type")}

UP = "run `odc-bdc db up`"
INIT = "run `odc-bdc db init`"


@dataclass(frozen=True, slots=True)
class Index:
    """Where the ODC index is.

    Attributes
    ----------
    config_path
        The ``datacube.conf`` that `bring_up` wrote; None when the user's own configuration wins.
    env
        The section (ODC environment) to use.
    url
        ``postgresql+psycopg2://...``, password included; so it is left out of the repr.
    driver
        ``postgis`` or ``postgres``.
    private
        True when `bring_up` made the cluster.
    options
        Further settings of the user's section, as pairs (timeouts, IAM).
    """

    config_path: Path | None
    env: str | None
    url: str = field(repr=False)
    driver: str
    private: bool
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """What is known of an index without changing anything.

    Attributes
    ----------
    source
        ``private cluster``, or the variable or file of the user that names the index.
    running
        Whether the private cluster of this home runs; None when the index is the user's own.
    url
        Without its password.
    postgis_version
        Of the PostGIS that the server has; empty when it has none.
    products, datasets
        Counts, archived datasets left out; None when they cannot be read.
    problem
        One line that says what is wrong and what to do; empty when nothing is.
    """

    source: str = ""
    configured: bool = False
    private: bool = False
    running: bool | None = None
    reachable: bool = False
    initialised: bool = False
    driver: str = ""
    url: str = ""
    server_version: str = ""
    postgis_version: str = ""
    products: int | None = None
    datasets: int | None = None
    problem: str = ""


def psycopg2_url(url: str) -> str:
    """Return a PostgreSQL URL that names the psycopg2 dialect.

    SQLAlchemy 2.1 takes plain ``postgresql://`` for psycopg 3, with which the postgis index driver
    fails.

    Raises
    ------
    DatabaseError
        If it is no PostgreSQL URL.

    Examples
    --------
    >>> psycopg2_url("postgresql://me:secret@localhost/cube")
    'postgresql+psycopg2://me:secret@localhost/cube'
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise DatabaseError(f"The database URL cannot be read: {error}") from None
    if parsed.get_backend_name() != "postgresql":
        raise DatabaseError(
            f"The index needs PostgreSQL, not {parsed.get_backend_name()}: give a postgresql:// URL"
        )
    rendered: str = parsed.set(drivername="postgresql+psycopg2").render_as_string(
        hide_password=False
    )
    return rendered


def place_of(url: str) -> str:
    """Return ``host:port/database`` of a URL, fit for messages.

    Examples
    --------
    >>> place_of("postgresql+psycopg2://me:secret@db.org:5433/cube")
    'db.org:5433/cube'
    """
    parsed = make_url(url)
    host = parsed.host or parsed.query.get("host") or "local socket"
    return f"{host}:{parsed.port or 5432}/{parsed.database or ''}"


def with_database(index: Index, name: str) -> str:
    """Return the URL of another database in the same cluster."""
    url: str = make_url(index.url).set(database=name).render_as_string(hide_password=False)
    return url


@contextmanager
def session(index: Index, database: str | None = None) -> Iterator[Any]:
    """Give a SQLAlchemy connection in autocommit mode, closed afterwards.

    Parameters
    ----------
    index
        The index to connect to.
    database
        Another database of the same cluster.

    Raises
    ------
    DatabaseError
        If it cannot be reached; the message says what to do.
    """
    engine = create_engine(
        with_database(index, database) if database else index.url,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args={"connect_timeout": 5, "application_name": "odc-bdc"},
    )
    try:
        connection = engine.connect()
    except OperationalError as error:
        raise unreachable(index, error) from None
    with connection:
        yield connection


def unreachable(index: Index, error: Exception) -> DatabaseError:
    """Turn a failed connection into one line that says what to do."""
    reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
    place = place_of(index.url)
    if "does not exist" in reason and "database" in reason:
        if index.private:
            return DatabaseError(f"The index at {place} is not initialised: {INIT}")
        return DatabaseError(f"There is no database at {place}: create it (createdb), then {INIT}")
    if index.private:
        return DatabaseError(f"The private PostgreSQL at {place} does not answer: {UP} ({reason})")
    return DatabaseError(
        f"PostgreSQL at {place}, set by your configuration, does not answer: start it or correct "
        f"the configuration ({reason})"
    )


def is_initialised(connection: Any, driver: str) -> bool:
    """Tell whether the schema of a driver is complete: its last step is the metadata types."""
    schema = TABLES[driver][0]
    steps = ["metadata_type", *(["alembic_version"] if driver == "postgis" else [])]
    if not all(_has_table(connection, f"{schema}.{name}") for name in steps):
        return False
    types = table("metadata_type", column("name"), schema=schema)
    return _count(connection, types, types.c.name == "eo3") > 0


def _has_table(connection: Any, name: str) -> bool:
    query = text("SELECT to_regclass(:name) IS NOT NULL")
    return bool(connection.execute(query, {"name": name}).scalar())


def _count(connection: Any, rows: Any, *conditions: Any) -> int:
    query = select(func.count()).select_from(rows).where(*conditions)
    return int(connection.execute(query).scalar())


def describe_server(index: Index) -> dict[str, Any]:
    """Read the fields of `IndexStatus` that any server has.

    Raises
    ------
    DatabaseError
        If it cannot be reached.
    """
    # The database of a private index comes with its initialisation; this one is always there.
    with session(index, "postgres" if index.private else None) as connection:
        version = connection.execute(text("SHOW server_version")).scalar()
        query = text("SELECT default_version FROM pg_available_extensions WHERE name = 'postgis'")
        postgis = connection.execute(query).scalar() or ""
    return {"reachable": True, "server_version": version, "postgis_version": postgis}


def describe_index(index: Index) -> dict[str, Any]:
    """Read the fields of `IndexStatus` that only an initialised index has.

    Raises
    ------
    DatabaseError
        If the index cannot be reached or is not initialised.
    """
    schema, products = TABLES[index.driver]
    datasets = table("dataset", column("archived"), schema=schema)
    with session(index) as connection:
        if not is_initialised(connection, index.driver):
            raise DatabaseError(f"The index at {place_of(index.url)} is not initialised: {INIT}")
        return {
            "initialised": True,
            "products": _count(connection, table(products, schema=schema)),
            "datasets": _count(connection, datasets, datasets.c.archived.is_(None)),
        }


def raw_config(index: Index, url: str | None = None) -> dict[str, dict[str, Any]]:
    """Return the index as the dictionary form of a datacube configuration."""
    section = {"index_driver": index.driver, "db_url": url or index.url, **dict(index.options)}
    return {index.env or "default": section}


def open_datacube(index: Index, *, app: str = "odc-bdc") -> datacube.Datacube:
    """Open the index; close it with ``dc.close()`` or use it in a ``with`` statement.

    Parameters
    ----------
    index
        From `bring_up` or `find_index`.
    app
        The name that the server shows for the connection.

    Raises
    ------
    DatabaseError
        If the server is down, or the index is not initialised or of another version.
    """
    from datacube import Datacube  # noqa: PLC0415 (seconds; `odc-bdc db down` does without)
    from datacube.index.exceptions import IndexSetupError, NoIndexError  # noqa: PLC0415

    place = place_of(index.url)
    try:
        with warnings.catch_warnings():
            # It warns of another schema, and then uses it or raises what is told below.
            warnings.filterwarnings("ignore", "Current Alembic schema revision", UserWarning)
            return Datacube(raw_config=raw_config(index), env=index.env or "default", app=app)
    except OperationalError as error:
        raise unreachable(index, error) from None
    except NoIndexError:
        raise DatabaseError(f"The index at {place} is not initialised: {INIT}") from None
    except IndexSetupError as error:
        reason = " ".join(str(error).split())
        # The postgres driver has one exception for both, the postgis driver has two.
        if "No DB schema exists" in reason:
            raise DatabaseError(f"The index at {place} is not initialised: {INIT}") from None
        raise DatabaseError(
            f"The index at {place} was made by another version of datacube: {INIT}, which updates "
            f"it, or install the newer datacube ({reason})"
        ) from None
