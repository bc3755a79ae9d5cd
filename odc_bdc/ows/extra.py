"""What must be there before anything can be served."""

from __future__ import annotations

from importlib.util import find_spec

from odc_bdc.errors import DatabaseError, MissingDependencyError
from odc_bdc.services_driver import SERVICES


def require_ows() -> None:
    """Raise `MissingDependencyError` unless datacube-ows and what it needs to serve are there."""
    needed = ("datacube_ows", "flask", "gunicorn", "waitress")
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"the map server needs {', '.join(missing)}: pip install 'odc_bdc[ows]'"
        )


def services_driver(driver: str) -> str:
    """Give the driver with which the services open an index.

    Raises
    ------
    DatabaseError
        If an index of this driver cannot be served.
    """
    if driver in SERVICES.values():
        return driver
    if driver not in SERVICES:
        raise DatabaseError(
            f"the index driver {driver!r} cannot be served; make an index with postgis or postgres "
            "(`odc-bdc db up`), and index and build into it"
        )
    return SERVICES[driver]
