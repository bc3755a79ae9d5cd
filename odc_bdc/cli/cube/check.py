"""`odc-bdc cube check`."""

from __future__ import annotations

import json
import os
import sys
from datetime import date
from pathlib import Path

import click

from odc_bdc.cli._options import DAYS, home_option, opened_index


@click.command()
@click.argument("name", metavar="CUBE")
@click.option(
    "--time", nargs=2, type=DAYS, metavar="START END", help="Only periods that begin then."
)
@click.option("--tile", "tiles", multiple=True, help="Only this tile; repeat for several.")
@click.option(
    "--threads",
    type=click.IntRange(1, 64),
    default=8,
    show_default=True,
    help="Files that are looked for at once.",
)
@home_option
def check(
    name: str,
    *,
    time: tuple[date, date] | None,
    tiles: tuple[str, ...],
    threads: int,
    home: Path,
) -> None:
    """Look whether live images can be read: their reader, recipes, and all files of their scenes.

    Prints a JSON line for each fault, with what to do and the ids of the images concerned. No pixel
    is read. A scene of which several bands are gone has a line for each file.

    \b
    odc-bdc cube check CB4_64_16D_STK_v1
    odc-bdc cube check CB4_64_16D_STK_v1 --time 2019-11-01 2020-02-29 --tile 007004

    Exit code: 0 no fault, 1 some, 2 nothing could start.
    """
    from odc_bdc.cube import find_cube
    from odc_bdc.files import access_of
    from odc_bdc.live.checking import check_live, declared_images
    from odc_bdc.live.roots import recipe_roots

    cube = find_cube(name)
    with opened_index(home) as dc:
        images = declared_images(dc, cube.name, tiles=tiles or None, time=time)
    counts: list[int] = []
    faults = 0
    roots, access = recipe_roots(os.environ, home), access_of(os.environ)
    found = check_live(images, roots=roots, access=access, threads=threads, seen=counts.append)
    for fault in found:
        faults += 1
        click.echo(json.dumps(fault.to_dict()))
    files = counts[-1] if counts else 0
    summary = {"images": len(images), "files": files, "faults": faults}
    click.echo(json.dumps({"status": "done", "cube": cube.name, **summary}))
    if not images:
        click.echo("no live image is there", err=True)
    if faults:
        sys.exit(1)
