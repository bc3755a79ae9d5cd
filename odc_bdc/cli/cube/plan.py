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

    A line has the status `planned`, with the scenes and the expected size in bytes, or `empty`,
    with the reason: then there is nothing to build. Without a tile or an area, all tiles are meant
    that have a scene.

    \b
    odc-bdc cube plan CB4_64_16D_MED_v1 --time 2019-12-01 2019-12-31
    odc-bdc cube plan CB4_64_16D_MED_v1 --time 2019-01-01 2019-12-31 --bbox -48.5 -16.5 -47 -15
    odc-bdc cube plan CB4_64_16D_MED_v1 --time 2019-01-01 2019-12-31 --biome biomes.gpkg:Cerrado
    """
    from odc_bdc.building.estimate import expected_size
    from odc_bdc.planning import CompositeTask

    with opened_index(home) as dc:
        planned = request.plan(dc)
    size = 0
    for entry in planned.entries:
        line = entry.to_dict()
        if isinstance(entry, CompositeTask):
            line["bytes"] = expected_size(entry)
            size += line["bytes"]
        click.echo(json.dumps(line))
    if not planned.entries:
        sources = ", ".join(request.cube.products)
        click.echo(f"no scene of {sources} in this range of time", err=True)
    else:
        click.echo(
            f"{len(planned.tasks)} images to build, about {size / 1e9:.3g} GB; "
            f"{len(planned.empty)} periods without a scene",
            err=True,
        )
