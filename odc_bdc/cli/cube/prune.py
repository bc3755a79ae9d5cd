"""`odc-bdc cube prune`."""

from __future__ import annotations

import json
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from odc_bdc.cli._options import home_option, opened_index
from odc_bdc.cli.cube._store import store_option

if TYPE_CHECKING:
    from pathlib import Path

    from datacube import Datacube

    from odc_bdc.building.pruning import Leftover
    from odc_bdc.building.store import ImageStore


@click.command()
@click.argument("name", metavar="CUBE")
@click.option(
    "--older-than",
    "days",
    type=click.FloatRange(0, 36500),
    default=1.0,
    show_default=True,
    metavar="DAYS",
    help="Only versions that were archived, and orphans that were written, so long ago; orphans "
    "at least an hour, for a builder may be about to index them.",
)
@click.option("--yes", is_flag=True, help="Do it; without this nothing is changed.")
@store_option
@home_option
def prune(name: str, *, days: float, yes: bool, store: ImageStore, home: Path) -> None:
    """Take away what nobody needs of a cube and its overview; say so first.

    \b
    version  an archived dataset and its folder
    lost     a dataset whose files are gone
    orphan   a folder of which the index has no dataset
    partial  what a builder left below --root that was killed, or of its upload to S3
    failure  the record of an image that has been built since

    Without --yes it only says what would go, a JSON line each. What lies outside of --root stays,
    and so does what other datasets were made of.

    \b
    odc-bdc cube prune CB4_64_16D_STK_v1
    odc-bdc cube prune CB4_64_16D_STK_v1 --older-than 30 --yes

    Exit code: 0 all went well, 1 some could not be removed, 2 nothing could start.
    """
    from odc_bdc.building.pruning import find_leftovers
    from odc_bdc.cube import find_cube
    from odc_bdc.errors import InvalidValueError
    from odc_bdc.planning import overview_name

    cube = find_cube(name)
    with opened_index(home) as dc:
        products = [overview_name(cube.name), cube.name]
        known = [p for p in products if dc.index.products.get_by_name(p) is not None]
        if cube.name not in known:
            raise InvalidValueError(f"the index has no cube {cube.name}: there is nothing to prune")
        found = find_leftovers(
            dc, known, store, now=datetime.now(UTC), older_than=timedelta(days=days)
        )
        failed = [one for one in found if not _done(dc, store, one, yes=yes)]
    gone = [one for one in found if one not in failed and not one.kept]
    summary = {
        "status": "done" if yes else "dry run",
        "cube": cube.name,
        **Counter(str(one.kind) for one in gone),
        "kept": sum(bool(one.kept) for one in found),
        "failed": len(failed),
        "bytes": sum(one.size for one in gone),
    }
    click.echo(json.dumps(summary))
    if gone and not yes:
        click.echo("nothing is changed; --yes takes it away", err=True)
    if failed:
        sys.exit(1)


def _done(dc: Datacube, store: ImageStore, one: Leftover, *, yes: bool) -> bool:
    """Take a leftover away, if it may be; tell what came of it."""
    from odc_bdc.building.pruning import remove_leftover
    from odc_bdc.errors import SceneError

    line = one.to_dict()
    if one.kept:
        status = "kept"
    elif not yes:
        status = "would go"
    else:
        try:
            remove_leftover(dc, store, one)
            status = "removed"
        except SceneError as e:
            status, line["error"] = "failed", str(e)
    click.echo(json.dumps({"status": status, **line}))
    return status != "failed"
