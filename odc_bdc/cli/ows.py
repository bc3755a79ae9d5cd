"""``odc-bdc ows``: publish cubes and scenes as WMS, WMTS and WCS."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from odc_bdc.cli._options import home_option, opened_index
from odc_bdc.cli._services import configuration, services_environ
from odc_bdc.cli.ows_seed import seed
from odc_bdc.errors import InvalidValueError, OdcBdcError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from datacube import Datacube

    from odc_bdc.database import Index
    from odc_bdc.ows import LayerUpdate
    from odc_bdc.ows.store import Store


NOT_UPDATED = "the layers cannot be updated"


@click.group()
def ows() -> None:
    """Publish cubes and scenes as WMS, WMTS and WCS (datacube-ows).

    \b
    Examples:
      odc-bdc ows update && odc-bdc ows serve
      odc-bdc ows check

    Products of the index that have datasets are layers. Another configuration of datacube-ows,
    named by DATACUBE_OWS_CFG, wins.
    """


@ows.command()
@home_option
def update(home: Path) -> None:
    """Tell the services of new datasets: times and extents of the layers.

    A layer that fails does not stop the others; then the exit code is 1. A running server sees new
    times by itself, new layers when it is restarted or gets the signal HUP.

    \b
    Example:
      odc-bdc ows update
    """
    from odc_bdc.database import find_index, make_roles
    from odc_bdc.ows import update_ranges

    with opened_index(home) as dc:
        updates = update_ranges(dc, configuration(dc))
    index = find_index(home, environ=os.environ)
    if index.private:
        # A running server may read tables that were not there before.
        make_roles(index)
    _tell(updates)
    if not updates:
        click.echo("no product has datasets, so there is no layer")
    raise SystemExit(any(done.action == "failed" for done in updates))


@ows.command()
@home_option
def check(home: Path) -> None:
    """Say what keeps layers from clients, a line for each fault with its cure.

    Products, bands, CRSs, styles, ranges and files must agree; of the files, those of one image of
    the first and of the last date of each layer are looked at. The exit code is 1 if something is
    wrong.

    \b
    Example:
      odc-bdc ows check
    """
    from odc_bdc.ows import find_faults

    with opened_index(home) as dc:
        faults = find_faults(dc, configuration(dc))
    for fault in faults:
        click.echo(str(fault))
    if not faults:
        click.echo("nothing is wrong")
    raise SystemExit(bool(faults))


@ows.command()
@home_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=8000, show_default=True, help="Port; 0 takes a free one.")
@click.option("--workers", type=click.IntRange(1), help="Processes; default: one for each core.")
@click.option(
    "--watch",
    "every",
    default=60,
    show_default=True,
    type=click.IntRange(0),
    help="Seconds between looks at the index for new datasets; 0 for none.",
)
@click.option(
    "--access-log",
    type=click.Choice(["common", "json", "off"]),
    default="common",
    show_default=True,
    help="Requests on standard output: a line each.",
)
@click.option(
    "--accept-unpatched",
    is_flag=True,
    help="Serve with versions of datacube-ows that are not known, and with their faults.",
)
def serve(
    home: Path,
    *,
    host: str,
    port: int,
    workers: int | None,
    every: int,
    access_log: str,
    accept_unpatched: bool,
) -> None:
    """Serve the layers under gunicorn until Ctrl-C.

    Images are kept in the folder ows_cache of the home; ODC_BDC_OWS_CACHE names another, and
    ODC_BDC_OWS_CACHE_SIZE its size (2G; 0 for none).

    \b
    Examples:
      odc-bdc ows serve
      odc-bdc ows serve --host 0.0.0.0 --port 80 --workers 8
      ODC_BDC_OWS_URL=https://maps.example.org odc-bdc ows serve   # behind a proxy

    QGIS: add http://127.0.0.1:8000/wms as a WMS/WMTS connection, and /wcs as a WCS one.
    """
    from odc_bdc.database import as_service, can_write, find_index
    from odc_bdc.ows.config import INDICES_VARIABLE, named_indices
    from odc_bdc.ows.gunicorn_settings import ACCESS_VARIABLE
    from odc_bdc.ows.patches import ACCEPT_VARIABLE
    from odc_bdc.ows.ranges import hidden_layers
    from odc_bdc.ows.server import check_installed, check_servable
    from odc_bdc.ows.server import serve as become_server
    from odc_bdc.ows.store import named_store

    # The server itself would tell in its log only.
    named_indices(os.environ.get(INDICES_VARIABLE, ""))
    environ = services_environ(home) | {ACCESS_VARIABLE: access_log}
    if accept_unpatched:
        environ[ACCEPT_VARIABLE] = "1"
    named_store(environ)
    check_installed(environ)
    index = find_index(home, environ=os.environ)
    check_servable(index, environ)
    with opened_index(home) as dc:
        if every:
            _update_if_allowed(dc)
        hidden = hidden_layers(dc, configuration(dc))
    if hidden:
        layers = f"{', '.join(hidden)} have no ranges, so clients do not see them"
        click.echo(f"{layers}: run `odc-bdc ows update`, then restart", err=True)
    if every:
        # Until gunicorn minds it, it would end this process.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        _watch_in_background(home, every, as_service(index, "ranges"))
    from dask.system import CPU_COUNT  # those that this process may use

    reader = as_service(index, "read")
    if can_write(reader):
        click.echo(
            "the services run as a user who can change the index: `odc-bdc db roles` makes one who "
            "cannot",
            err=True,
        )
    become_server(reader, host=host, port=port, workers=workers or CPU_COUNT, environ=environ)


def _update_if_allowed(dc: Datacube) -> None:
    """Bring the ranges up to date; who may only read serves what is there."""
    from sqlalchemy.exc import SQLAlchemyError

    from odc_bdc.ows import update_ranges

    try:
        _tell(u for u in update_ranges(dc, configuration(dc)) if u.action != "unchanged")
    except (SQLAlchemyError, OdcBdcError) as e:
        click.echo(f"{NOT_UPDATED}: {first_line(e)}", err=True)


def _tell(updates: Iterable[LayerUpdate]) -> None:
    for done in updates:
        click.echo(f"{done.layer}: {done.action}{f': {done.reason}' if done.reason else ''}")


def _watch_in_background(home: Path, every: int, index: Index) -> None:
    """Start what watches, by a role of its own; this process will be the server."""
    from odc_bdc.database import environment_of

    options = ["--home", str(home), "--every", str(every), "--reload", str(os.getpid())]
    program = "from odc_bdc.cli import main; main()"
    command = [sys.executable, "-c", program, "ows", "watch", *options]
    # Ctrl-C is for the server, with which it ends.
    environ = {**os.environ, **(environment_of(index) if index.private else {})}
    subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, env=environ)


@ows.command()
@home_option
@click.option(
    "--every", default=60, show_default=True, type=click.IntRange(1), help="Seconds between looks."
)
@click.option(
    "--reload",
    "server",
    type=int,
    help="Process of gunicorn that is to have new workers for new layers; with it this ends.",
)
def watch(home: Path, *, every: int, server: int | None) -> None:
    """Update the layers whenever datasets come or go, until Ctrl-C.

    `odc-bdc ows serve` does so by itself. A look costs next to nothing while nothing has changed.

    \b
    Example, for a server of your own:
      odc-bdc ows watch --every 30 --reload $(cat /run/gunicorn.pid)
    """
    from sqlalchemy.exc import SQLAlchemyError

    from odc_bdc.ows.watching import Watch

    told = ""
    with opened_index(home) as dc:
        watching = Watch(dc, lambda: configuration(dc))
        while True:
            failure = ""
            try:
                seen = watching.look()
            except (SQLAlchemyError, OdcBdcError) as e:
                failure = f"{NOT_UPDATED}: {first_line(e)}"
            else:
                _tell(seen.updates)
                if seen.needs_reload and server is not None and _is_alive(server):
                    os.kill(server, signal.SIGHUP)
            if failure and failure != told:
                click.echo(failure, err=True)
            told = failure
            until = time.monotonic() + every
            while time.monotonic() < until:
                if server is not None and not _is_alive(server):
                    return
                time.sleep(min(1, every))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


ows.add_command(seed)


@ows.group()
def cache() -> None:
    """Look at, or empty, what a server keeps of images.

    \b
    Example:
      odc-bdc ows cache size
    """


@cache.command()
@home_option
def size(home: Path) -> None:
    """Tell how much is kept.

    \b
    Example:
      odc-bdc ows cache size
    """
    store = _store(home)
    usage = store.usage()
    click.echo(
        f"{store.path}: {usage.answers} answers, {usage.size / 2**20:.1f} MB "
        f"of {store.limit / 2**20:.0f} MB"
    )


@cache.command()
@home_option
def clear(home: Path) -> None:
    """Forget all that is kept; a running server begins anew.

    Needed only after changes that the index knows nothing of, such as files overwritten in place.

    \b
    Example:
      odc-bdc ows cache clear
    """
    click.echo(f"{_store(home).clear()} answers forgotten")


def _store(home: Path) -> Store:
    from odc_bdc.ows.store import SIZE_VARIABLE, named_store

    store = named_store(services_environ(home))
    if store is None:
        raise InvalidValueError(f"there is no cache: {SIZE_VARIABLE} is 0")
    return store
