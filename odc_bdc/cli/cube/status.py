"""`odc-bdc cube status`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from odc_bdc.cli._options import opened_index
from odc_bdc.cli.cube._options import task_options
from odc_bdc.cli.cube._store import store_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from odc_bdc.building.store import ImageStore
    from odc_bdc.cli.cube._options import Request
    from odc_bdc.planning import PeriodStatus


@click.command()
@task_options
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines instead of a table.")
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw tiles (down) and periods (across) as PNG; needs the extra [demo].",
)
def status(
    request: Request, *, home: Path, store: ImageStore, as_json: bool, picture: Path | None
) -> None:
    """Tell for each tile and period what there is.

    \b
    done     the image is built, of what the plan says now
    live     it is declared, of what the plan says now, and composited when somebody reads it
    stale    another image is visible: its scenes or the cube's definition changed
    failed   the image could not be built when it was last tried
    missing  there are scenes, and no image
    empty    there is no scene, so there is nothing to build

    \b
    odc-bdc cube status CB4_64_16D_STK_v1 --time 2019-11-01 2020-02-29
    odc-bdc cube status CB4_64_16D_STK_v1 --time 2019-11-01 2020-02-29 --picture status.png
    """
    from odc_bdc.building.failures import failures
    from odc_bdc.planning import cube_status

    with opened_index(home) as dc:
        plan = request.plan(dc)
        noted = {record.id: record.reason for record in failures(store.work)}
        found = cube_status(dc, plan, noted)
    for line in _lines(found, as_json=as_json):
        click.echo(line)
    counts = Counter(str(one.state) for one in found)
    told = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    click.echo(told or "no tile has a scene in this range of time", err=True)
    if picture and found:
        from odc_bdc.cli.status_picture import write_status_picture

        write_status_picture(request.cube.name, found, picture)


def _lines(found: Sequence[PeriodStatus], *, as_json: bool) -> list[str]:
    if as_json:
        return [json.dumps(one.to_dict()) for one in found]
    if not found:
        return []
    lines = [f"{'tile':6}  {'start':10}  {'end':10}  {'status':7}  {'scenes':>6}  remark".rstrip()]
    for one in found:
        first = f"{one.tile_id:6}  {one.period.start}  {one.period.end}  {one.state:7}"
        lines.append(f"{first}  {one.scenes:6}  {one.remark or ''}".rstrip())
    return lines
