"""`odc-bdc scenes`: scenes made for demonstrations, tests and benchmarks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from odc_bdc.cli._options import DAYS

if TYPE_CHECKING:
    from datetime import date


@click.group()
def scenes() -> None:
    """Make scenes where none can be downloaded.

    \b
    odc-bdc scenes make scenes --size 512
    """


@scenes.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--size", default=512, show_default=True, help="Pixels a side; 6600 is a whole tile.")
@click.option("--seed", default=0, show_default=True, help="Another seed, another country.")
@click.option("--tiles", default="007004,008004", show_default=True, help="One or two neighbours.")
@click.option("--start", type=DAYS[0], default="2019-11-01", show_default=True, help="First day.")
@click.option("--end", type=DAYS[1], default="2020-02-29", show_default=True, help="Last day.")
@click.option("--dates-per-month", default=12, show_default=True, help="Overpasses in a month.")
@click.option("--workers", type=int, help="Threads; as many as processors if not given.")
def make(
    folder: Path,
    *,
    size: int,
    seed: int,
    tiles: str,
    start: date,
    end: date,
    dates_per_month: int,
    workers: int | None,
) -> None:
    """Make CBERS-4 WFI look-alikes in DIR: COGs with STAC 1.0 items.

    The same options give the same bytes. A folder that holds them already is left as it is; an
    interrupted run is completed by the next. The last line on stdout is a summary in JSON.

    \b
    Examples:
      odc-bdc scenes make scenes
      odc-bdc scenes make small --size 128 --start 2020-01-01 --end 2020-01-31
      odc-bdc scenes make whole --size 6600 --tiles 007004 --workers 2
    """
    from odc_bdc.scenes import make_scenes

    report = make_scenes(
        folder,
        seed=seed,
        size=size,
        tiles=tuple(tile.strip() for tile in tiles.split(",")),
        start=start,
        end=end,
        dates_per_month=dates_per_month,
        workers=workers,
        progress=_show,
    )
    summary = {
        "collection": str(report.collection),
        "items": report.count,
        "made": report.made,
        "extent": report.extent,
    }
    click.echo(json.dumps(summary))


def _show(ready: int, total: int) -> None:
    """Count on one line of a terminal; elsewhere, in a log, say only every tenth part."""
    if sys.stderr.isatty():
        click.echo(f"\r{ready} of {total} scenes", nl=ready == total, err=True)
    elif ready == total or ready % max(1, total // 10) == 0:
        click.echo(f"{ready} of {total} scenes", err=True)
