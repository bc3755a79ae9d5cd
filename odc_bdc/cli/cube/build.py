"""`odc-bdc cube build`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from odc_bdc.cli._options import opened_index
from odc_bdc.cli.cube._options import root_option, task_options

if TYPE_CHECKING:
    from odc_bdc.cli.cube._options import Request


@click.command()
@task_options
@root_option
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
def build(request: Request, *, home: Path, root: Path | None, workers: int) -> None:
    """Build and index a cube: COGs, EO3 document and STAC item for each tile and period.

    What is built already is left alone; a period with new scenes is built anew and its old version
    archived. A run that was killed is finished by the next.

    \b
    odc-bdc cube build CB4_64_16D_STK_v1 --time 2019-11-01 2020-02-29
    odc-bdc cube build my_cube.yaml --time 2020-01-01 2020-12-31 --tile 007004 --workers 4

    Exit code: 0 all built, 1 some failed, 2 nothing could start.
    """
    from odc_bdc.building import build_cube
    from odc_bdc.indexing import add_products

    spec = request.cube
    with opened_index(home) as dc:
        tasks = request.tasks(dc)
        if not tasks:
            click.echo(f"no scene of {', '.join(spec.products)} lies in this range", err=True)
        add_products(dc, [spec.to_product()])
        with click.progressbar(length=len(tasks), label=spec.name, file=sys.stderr) as bar:
            report = build_cube(
                dc,
                tasks,
                root or home / "cubes",
                now=partial(datetime.now, UTC),
                workers=workers,
                progress=lambda _: bar.update(1),
            )
    for failure in report.failed:
        click.echo(json.dumps({"status": "failed", **asdict(failure)}))
    summary = {**asdict(report), "failed": len(report.failed)}
    click.echo(json.dumps({"status": "done", "cube": spec.name, **summary}))
    if report.failed:
        sys.exit(1)
