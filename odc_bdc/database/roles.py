"""Roles for services: one that can only read, and one that also writes the ranges of layers.

They have the name of their database, so that those of several in one cluster stay apart.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from odc_bdc.database.index import TABLES, Index, is_initialised, place_of, session
from odc_bdc.database.schema import locked
from odc_bdc.errors import DatabaseError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Kind: TypeAlias = Literal["read", "ranges"]

KINDS: tuple[Kind, ...] = ("read", "ranges")

_RANGES = "ows"
"""Schema of the tables of ranges."""

_ROLE = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
# Who makes tables of the index; of the others only those that we may speak for.
_MAKERS = """
SELECT rolname FROM pg_roles
WHERE rolname IN (current_user, 'odc_admin', 'agdc_admin')
AND pg_has_role(current_user, oid, 'MEMBER')
"""
_WRITABLE = """
SELECT rolsuper OR rolcreaterole OR EXISTS (
    SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = ANY(:schemas) AND relkind IN ('r', 'p')
    AND (has_table_privilege(pg_class.oid, 'INSERT') OR has_table_privilege(pg_class.oid, 'UPDATE')
         OR has_table_privilege(pg_class.oid, 'DELETE'))
) OR EXISTS (
    SELECT FROM pg_namespace WHERE nspname = ANY(:schemas) AND has_schema_privilege(oid, 'CREATE')
) FROM pg_roles WHERE rolname = current_user
"""


@dataclass(frozen=True, slots=True)
class Role:
    """A role, and how to connect as it.

    Attributes
    ----------
    url
        With its password; None if it is one that was there, whose password only its users know.
    """

    name: str
    kind: Kind
    url: str | None = field(repr=False)


def make_roles(index: Index, *, renew: bool = False) -> list[Role]:
    """Make the roles of services, or complete their rights; safe to repeat.

    Parameters
    ----------
    index
        An initialised index, as somebody who may make roles.
    renew
        Give roles that are there new passwords.

    Raises
    ------
    DatabaseError
        If the index is not initialised, or the user may not do this.
    """
    try:
        with session(index) as connection, locked(connection):
            if not is_initialised(connection, index.driver):
                raise DatabaseError(
                    f"The index at {place_of(index.url)} is not initialised: run `odc-bdc db init`"
                )
            return [_make(connection, index, kind, renew=renew) for kind in KINDS]
    except DBAPIError as error:
        reason = first_line(error.orig or error)
        raise DatabaseError(
            f"The roles at {place_of(index.url)} cannot be made: {reason}; run this as a superuser "
            "of the database"
        ) from None


def as_service(index: Index, kind: Kind) -> Index:
    """Give the index as a service is to use it.

    In a private cluster this makes the role; a database of the user is used as the configuration
    says, see `can_write`.

    Raises
    ------
    DatabaseError
        As `make_roles`.
    """
    if not index.private:
        return index
    role = next(role for role in make_roles(index) if role.kind == kind)
    return replace(index, url=role.url or index.url)


def environment_of(index: Index) -> dict[str, str]:
    """Give the variables by which programs of datacube find an index."""
    env = (index.env or "default").upper()
    return {
        f"ODC_{env}_DB_URL": index.url,
        f"ODC_{env}_INDEX_DRIVER": index.driver,
        "ODC_ENVIRONMENT": index.env or "default",
    }


def can_write(index: Index) -> bool:
    """Tell whether the user of the index can change it, or the ranges of its layers.

    Raises
    ------
    DatabaseError
        If it cannot be reached.
    """
    with session(index) as connection:
        schemas = [TABLES[index.driver][0], _RANGES]
        return bool(connection.execute(text(_WRITABLE), {"schemas": schemas}).scalar())


def _make(connection: Any, index: Index, kind: Kind, *, renew: bool) -> Role:
    url = make_url(index.url)
    name = f"{url.database}_{kind}"
    query = text("SELECT count(*) FROM pg_roles WHERE rolname = :name")
    is_new = not connection.execute(query, {"name": name}).scalar()
    # The private one is derived, so that it need not be kept anywhere.
    derived = hmac.new(str(url.password).encode(), name.encode(), "sha256").hexdigest()
    password = derived if index.private else secrets.token_urlsafe(24)
    if is_new:
        _do(connection, "CREATE ROLE {role} " + _ROLE, role=name)
    if is_new or renew:
        _set_password(connection, name, password)
    makers = [row[0] for row in connection.execute(text(_MAKERS))]
    for statement, names in _grants(connection, index.driver, kind, makers):
        _do(connection, statement, role=name, database=str(url.database), **names)
    is_known = is_new or renew or index.private
    shown = url.set(username=name, password=password).render_as_string(hide_password=False)
    return Role(name, kind, shown if is_known else None)


def _grants(
    connection: Any, driver: str, kind: Kind, makers: list[str]
) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Give the statements that let a role do what it is for, and the names in them."""
    yield "GRANT CONNECT ON DATABASE {database} TO {role}", {}
    read_only = "on" if kind == "read" else "off"
    setting = f"default_transaction_read_only = {read_only}"
    yield "ALTER ROLE {role} IN DATABASE {database} SET " + setting, {}
    query = text("SELECT to_regnamespace(:name) IS NOT NULL")
    for schema in (TABLES[driver][0], _RANGES):
        if not connection.execute(query, {"name": schema}).scalar():
            continue
        names = {"schema": schema}
        yield "GRANT USAGE ON SCHEMA {schema} TO {role}", names
        rights = ["SELECT"]
        if schema == _RANGES and kind == "ranges":
            rights += ["INSERT", "UPDATE", "DELETE"]
            yield "GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}", names
        given = ", ".join(rights)
        yield f"GRANT {given} ON ALL TABLES IN SCHEMA {{schema}} TO {{role}}", names
        for maker in makers:
            begin = "ALTER DEFAULT PRIVILEGES FOR ROLE {maker} IN SCHEMA {schema} "
            yield f"{begin}GRANT {given} ON TABLES TO {{role}}", {**names, "maker": maker}


def _set_password(connection: Any, name: str, password: str) -> None:
    """Set a password by its verifier: statements may be kept in the server's log."""
    from psycopg2.extensions import encrypt_password  # noqa: PLC0415 (with the first connection)

    own = connection.connection.dbapi_connection
    verifier = encrypt_password(password, name, own, "scram-sha-256")
    _do(connection, f"ALTER ROLE {{role}} PASSWORD '{verifier}'", role=name)


def _do(connection: Any, statement: str, **names: str) -> None:
    quote = connection.dialect.identifier_preparer.quote_identifier
    quoted = {key: quote(value) for key, value in names.items()}
    connection.exec_driver_sql(statement.format(**quoted).replace("%", "%%"))
