"""`odc-bdc cube status`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from odc_bdc.cli._options import opened_index
from odc_bdc.cli.cube._options import task_options

if TYPE_CHECKING:
    from odc_bdc.cli.cube._options import Request


@click.command()
@task_options
def status(request: Request, *, home: Path) -> None:
    """Tell for each tile and period if it is built, stale (its scenes changed) or missing.

    \b
    odc-bdc cube status CB4_64_16D_STK_v1 --time 2019-11-01 2020-02-29
    """
    from odc_bdc.planning import task_status

    with opened_index(home) as dc:
        for task, state in task_status(dc, request.tasks(dc)):
            click.echo(f"{task.tile_id}  {task.period.start}  {task.period.end}  {state}")
