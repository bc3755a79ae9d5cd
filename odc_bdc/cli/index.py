"""`odc-bdc index`: STAC items into the index."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from odc_bdc.cli._options import home_option, opened_index


@click.command()
@click.argument("recipe")
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the EO3 documents; default is beside each item.",
)
@home_option
def index(recipe: str, sources: tuple[Path, ...], out: Path | None, home: Path) -> None:
    """Index STAC items: write an EO3 document for each and add it.

    RECIPE is the name of a file of ingest/, a STAC collection that one is for, or a file of your
    own. SOURCE is an item file, or a folder that holds items. Items that are in the index already
    are left alone; one that is broken is reported, the rest go in.

    \b
    odc-bdc index cb4_wfi_l4_sr scenes/
    odc-bdc index S2_L2A_31UES-1 /data/S2_L2A_31UES-1 --out eo3/

    Exit code: 0 all went in, 1 some failed, 2 nothing could start.
    """
    from odc_bdc.indexing import find_recipe, index_items

    with opened_index(home) as dc:
        report = index_items(dc, find_recipe(recipe), sources, out=out)
    for failure in report.failed:
        click.echo(json.dumps({"status": "failed", **asdict(failure)}))
    click.echo(
        json.dumps(
            {
                "status": "done",
                "added": report.added,
                "unchanged": report.unchanged,
                "failed": len(report.failed),
            }
        )
    )
    if report.failed:
        sys.exit(1)
