"""`odc-bdc cube overview`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING

import click

from odc_bdc.cli._options import home_option, opened_index
from odc_bdc.cli.cube._options import time_option
from odc_bdc.cli.cube._store import store_option

if TYPE_CHECKING:
    from pathlib import Path

    from datacube import Datacube

    from odc_bdc.building.overview import OverviewReport
    from odc_bdc.building.store import ImageStore
    from odc_bdc.planning import OverviewTask


@click.command()
@click.argument("name", metavar="CUBE")
@time_option
@click.option(
    "--resolution",
    type=float,
    required=True,
    help="Size of a pixel, in units of the cube's CRS: a whole multiple of the cube's own.",
)
@store_option
@home_option
def overview(
    name: str,
    *,
    time: tuple[date, date],
    resolution: float,
    store: ImageStore,
    home: Path,
) -> None:
    """Make coarse images of all finished tiles at once, for zoomed-out maps.

    One image for each period that has a tile; a product of its own, CUBE_overview. What is there is
    left alone, and made anew when tiles have come or changed.

    \b
    odc-bdc cube overview CB4_64_16D_STK_v1 --time 2019-11-01 2020-02-29 --resolution 640

    Exit code: 0 all made, 1 some failed, 2 nothing could start.
    """
    from odc_bdc.cube import find_cube
    from odc_bdc.planning import overview_factor, plan_overviews

    cube = find_cube(name)
    factor = overview_factor(cube, resolution)
    with opened_index(home) as dc:
        tasks = plan_overviews(dc, cube, *time, factor)
        report = _build(dc, tasks, store)
    for failure in report.failed:
        click.echo(json.dumps({"status": "failed", **asdict(failure)}))
    summary = {**asdict(report), "failed": len(report.failed)}
    click.echo(json.dumps({"status": "done", "cube": cube.name, **summary}))
    if report.failed:
        sys.exit(1)


def _build(dc: Datacube, tasks: list[OverviewTask], store: ImageStore) -> OverviewReport:
    from odc_bdc.building.overview import OverviewReport, build_overviews
    from odc_bdc.indexing import add_products
    from odc_bdc.planning import overview_product

    if not tasks:
        click.echo("no tile is built in this range of time", err=True)
        return OverviewReport()
    add_products(dc, [overview_product(tasks[0].cube, tasks[0].factor)])
    with click.progressbar(length=len(tasks), label=tasks[0].product, file=sys.stderr) as bar:
        return build_overviews(
            dc, tasks, store, now=partial(datetime.now, UTC), progress=lambda _: bar.update(1)
        )
