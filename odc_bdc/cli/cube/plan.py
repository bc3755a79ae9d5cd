"""`odc-bdc cube plan`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from odc_bdc.cli._options import opened_index
from odc_bdc.cli.cube._options import task_options

if TYPE_CHECKING:
    from odc_bdc.cli.cube._options import Request


@click.command()
@task_options
def plan(request: Request, *, home: Path) -> None:
    """Print what there is to build, a JSON line for each tile and period.

    \b
    odc-bdc cube plan CB4_64_16D_MED_v1 --time 2019-12-01 2019-12-31
    """
    with opened_index(home) as dc:
        for task in request.tasks(dc):
            click.echo(json.dumps(task.to_dict()))
