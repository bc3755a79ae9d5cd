"""What must be there before anything can be served."""

from __future__ import annotations

from importlib.util import find_spec

from odc_bdc.errors import DatabaseError, MissingDependencyError


def require_ows() -> None:
    """Raise `MissingDependencyError` unless datacube-ows and what it needs to serve are there."""
    needed = ("datacube_ows", "flask", "gunicorn", "waitress")
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"the map server needs {', '.join(missing)}: pip install 'odc_bdc[ows]'"
        )


def require_postgis(driver: str) -> None:
    """Raise `DatabaseError` unless datacube-ows can serve an index with this driver."""
    if driver != "postgis":
        raise DatabaseError(
            f"the index driver {driver!r} cannot be served: datacube-ows finds no dataset in the "
            "BDC's CRS there; make an index with the driver postgis (`odc-bdc db up`), and index "
            "and build into it"
        )
