"""What the database says when it refuses: whose fault it is, and one line that says what to do."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeAlias

from sqlalchemy.exc import DBAPIError

from odc_bdc.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterator

Blame: TypeAlias = Literal["others", "document", "database"]
"""Others wrote the same rows at once; the document cannot be stored; nothing can be stored now."""

# Codes of PostgreSQL's manual, appendix A: a whole code first, then its class of two characters.
_OTHERS = {"40001", "40P01", "23503", "23505", "55P03"}
_DOCUMENT = {"22", "23", "54", "XX"}  # XX is what PostGIS says of a geometry that it cannot take
_ADVICE = {
    "53100": "the disk of its server is full; make room there",
    "53": "its server is short of memory or connections; wait, or ask its administrator",
    "25006": (
        "it is read-only; use the primary server, or have default_transaction_read_only lifted"
    ),
    "40": "other processes write the same datasets; wait for them",
    "42501": (
        "its user may not do this; have an administrator grant it odc_manage (driver postgis) or "
        "agdc_manage (postgres)"
    ),
    "42": "its tables are not those of this datacube; run `odc-bdc db init`, which updates them",
    "3F": "its tables are not those of this datacube; run `odc-bdc db init`, which updates them",
    "57": "its server is shutting down or ended the connection; start it (`odc-bdc db up`)",
}
_LOST = "its server does not answer any more; start it (`odc-bdc db up`)"


def blame(error: BaseException) -> Blame:
    """Tell whose fault it is that a document did not go in.

    What is not the database's own error came from preparing the document for it.
    """
    if not isinstance(error, DBAPIError):
        return "document"
    code = _code(error)
    if code in _OTHERS:
        return "others"
    return "document" if code[:2] in _DOCUMENT else "database"


def unexpected(error: BaseException) -> str:
    """Say on a line what a document did to what reads it."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def reason(error: BaseException) -> str:
    """Give the first line of what went wrong."""
    said = str(getattr(error, "orig", None) or error).strip()
    return said.splitlines()[0] if said else type(error).__name__


def refusal(error: DBAPIError) -> DatabaseError:
    """Say in one line why the database refuses, and what to do."""
    code = _code(error)
    advice = _ADVICE.get(code) or _ADVICE.get(code[:2]) or (_LOST if not code else None)
    told = f"the index cannot be used: {reason(error)}"
    if advice:
        told += f"; {advice}, then run the command again: what is indexed is left alone"
    return DatabaseError(told)


@contextmanager
def database_refusals() -> Iterator[None]:
    """Let an error of the database become a `DatabaseError`."""
    try:
        yield
    except DBAPIError as e:
        raise refusal(e) from e


def _code(error: DBAPIError) -> str:
    """Give PostgreSQL's five characters; none if the connection was lost."""
    return getattr(error.orig, "pgcode", None) or ""
