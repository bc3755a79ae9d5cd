"""``odc-bdc ows``: publish cubes and scenes as WMS, WMTS and WCS."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from odc_bdc.cli._options import home_option, opened_index

if TYPE_CHECKING:
    from datacube import Datacube


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

    A layer that fails does not stop the others; then the exit code is 1. A running server sees the
    change when it is restarted or gets the signal HUP.

    \b
    Example:
      odc-bdc ows update
    """
    from odc_bdc.ows import update_ranges

    with opened_index(home) as dc:
        updates = update_ranges(dc, _configuration(dc))
    for done in updates:
        click.echo(f"{done.layer}: {done.action}{f': {done.reason}' if done.reason else ''}")
    if not updates:
        click.echo("no product has datasets, so there is no layer")
    raise SystemExit(any(done.action == "failed" for done in updates))


@ows.command()
@home_option
def check(home: Path) -> None:
    """Say what keeps layers from clients, a line for each fault with its cure.

    Products, bands, CRSs, styles and ranges must agree. The exit code is 1 if something is wrong.

    \b
    Example:
      odc-bdc ows check
    """
    from odc_bdc.ows import find_faults

    with opened_index(home) as dc:
        faults = find_faults(dc, _configuration(dc))
    for fault in faults:
        click.echo(str(fault))
    if not faults:
        click.echo("nothing is wrong")
    raise SystemExit(bool(faults))


@ows.command()
@home_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=8000, show_default=True, help="Port; 0 takes a free one.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="Processes.")
def serve(home: Path, *, host: str, port: int, workers: int) -> None:
    """Serve the layers under gunicorn until Ctrl-C.

    \b
    Examples:
      odc-bdc ows serve
      odc-bdc ows serve --host 0.0.0.0 --port 80 --workers 8
      ODC_BDC_OWS_URL=https://maps.example.org odc-bdc ows serve   # behind a proxy

    QGIS: add http://127.0.0.1:8000/wms as a WMS/WMTS connection, and /wcs as a WCS one.
    """
    from odc_bdc.database import find_index
    from odc_bdc.ows.config import INDICES_VARIABLE, named_indices
    from odc_bdc.ows.ranges import hidden_layers
    from odc_bdc.ows.server import check_servable
    from odc_bdc.ows.server import serve as become_server

    # The server itself would tell in its log only.
    named_indices(os.environ.get(INDICES_VARIABLE, ""))
    index = find_index(home, environ=os.environ)
    check_servable(index)
    with opened_index(home) as dc:
        hidden = hidden_layers(dc, _configuration(dc))
    if hidden:
        layers = f"{', '.join(hidden)} have no ranges, so clients do not see them"
        click.echo(f"{layers}: run `odc-bdc ows update`, then restart", err=True)
    become_server(index, host=host, port=port, workers=workers, environ=os.environ)


def _configuration(dc: Datacube) -> dict[str, Any] | None:
    """Read the configuration that DATACUBE_OWS_CFG names; None means the one of odc_bdc."""
    from odc_bdc.ows.application import ROOT_CONFIG
    from odc_bdc.ows.parsed import read_configuration

    named = os.environ.get("DATACUBE_OWS_CFG") or ROOT_CONFIG
    return None if named == ROOT_CONFIG else read_configuration(named, env=dc.index.environment)
