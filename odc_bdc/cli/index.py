"""`odc-bdc index`: STAC items into the index."""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
from contextlib import closing
from datetime import UTC, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from odc_bdc.cli._options import DAYS, add_options, home_option, opened_index
from odc_bdc.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable

    from odc_bdc.indexing import AccessToken, IndexReport, Record, Search

_FILE = click.Path(path_type=Path, dir_okay=False)


def _search_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which items are wanted."""
    options = [
        click.option(
            "--bbox",
            nargs=4,
            type=float,
            metavar="WEST SOUTH EAST NORTH",
            help="Items that share an area with this box, in degrees.",
        ),
        click.option(
            "--intersects",
            type=_FILE,
            metavar="FILE",
            help="Items that share an area with this GeoJSON, GeoPackage or Shapefile.",
        ),
        click.option(
            "--tile", multiple=True, metavar="TILE", help="Items of a tile; may be given again."
        ),
        click.option(
            "--time",
            nargs=2,
            type=DAYS,
            metavar="START END",
            help="Items of these days, both inclusive (UTC); each a day, a month or a year.",
        ),
        click.option(
            "--query",
            metavar="JSON",
            help='By properties, as the API takes them: {"eo:cloud_cover": {"lt": 50}}.',
        ),
        click.option("--limit", type=click.IntRange(min=1), help="At most so many items."),
        click.option("--ids", metavar="ID,...", help="Items of these ids, separated by commas."),
    ]
    return add_options(command, options)


@click.command()
@click.argument("recipe")
@click.argument("sources", nargs=-1)
@_search_options
@click.option(
    "--token-as",
    type=click.Choice(["header", "query"]),
    default="header",
    show_default=True,
    help="How servers want the access token in ODC_BDC_STAC_TOKEN: as x-api-key, or in addresses.",
)
@click.option(
    "--resume", type=_FILE, metavar="FILE", help="Keep in FILE how far a run came; go on from it."
)
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@click.option(
    "--archive-missing", is_flag=True, help="Archive what the sources do not have any more."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for EO3 documents; default is to write none.",
)
@click.option(
    "--verify",
    type=click.Choice(["auto", "none", "header", "pixels"]),
    default="auto",
    show_default=True,
    help="Compare files with the product; auto: the headers of local files that are new.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1, max=10_000),
    default=500,
    show_default=True,
    help="Items in one transaction.",
)
@home_option
def index(recipe: str, sources: tuple[str, ...], home: Path, **options: Any) -> None:
    """Index STAC items: make an EO3 document of each and bring it into the index.

    RECIPE is the name of a file of ingest/, a STAC collection that one is for, or a file of your
    own. SOURCE is the address of a STAC API or of a static catalog, a file of items, or a folder
    that holds items, or scenes in a known layout; default is the one that the recipe names. Items
    that are in the index already are left alone, those that changed are updated; one that is broken
    is reported, the rest go in.

    Items may name files below the SOURCE that is a folder, those of servers none of this machine;
    ODC_BDC_FILES names other folders, and buckets, separated by commas.

    Prints a line of JSON for each item.

    \b
    odc-bdc index cb4_wfi_l4_sr scenes/
    odc-bdc index cb4_wfi_l4_sr scenes/ --dry-run
    odc-bdc index s2_l2a_n0400 https://data.inpe.br/bdc/stac/v1 --tile 22KGA
    odc-bdc index S2_L2A_31UES-1 /data/S2_L2A_31UES-1 --out eo3/

    Exit code: 0 all went in, 1 some failed, 2 nothing could start or the database failed.
    """
    from tqdm import tqdm

    from odc_bdc.indexing import find_recipe, index_collection
    from odc_bdc.indexing.href import FILES_VARIABLE

    options["files"] = os.environ.get(FILES_VARIABLE)
    search, token = _search(options), _token(options.pop("token_as"))
    known = find_recipe(recipe)
    # The postgis driver warns of each dataset that another process was quicker to add.
    logging.getLogger("datacube").setLevel(logging.ERROR)
    with (
        opened_index(home) as dc,
        closing(tqdm(unit=" items", disable=None, file=sys.stderr, leave=False)) as bar,
    ):
        spare_garbage_collections()
        # Lines and the bar may share a terminal.
        say: Callable[[str], None] = click.echo if bar.disable else bar.write

        def tell(record: Record) -> None:
            say(record.to_json())
            bar.update()

        report = index_collection(
            dc, known, sources, search, token=token, report=tell, hosts=_hosts(), **options
        )
    _summarise(report, dry_run=options["dry_run"])
    if report.failed:
        sys.exit(1)


def spare_garbage_collections() -> None:
    """Keep the garbage collector from looking through all of datacube again and again.

    Items are many small objects, none of them in circles; with its own settings it looks for such
    circles as long as all the rest takes.
    """
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def _search(options: dict[str, Any]) -> Search:
    """Take the options of a search out of `options`, as a `Search`."""
    from odc_bdc.grid import area_from_file
    from odc_bdc.indexing import Search

    days, intersects = options.pop("time"), options.pop("intersects")
    query, ids = options.pop("query"), options.pop("ids")
    if days and days[1] < days[0]:
        raise InvalidValueError(f"--time ends on {days[1]}, before {days[0]}")
    return Search(
        bbox=options.pop("bbox"),
        geometry=area_from_file(intersects) if intersects else None,
        tile=options.pop("tile"),
        time=days
        and (datetime.combine(days[0], time.min, UTC), datetime.combine(days[1], time.max, UTC)),
        query=_parsed(query, "--query") if query else {},
        max_items=options.pop("limit"),
        ids=tuple(i.strip() for i in ids.split(",") if i.strip()) if ids else (),
    )


def _token(sent_as: str) -> AccessToken | None:
    from odc_bdc.indexing.sources import TOKEN_VARIABLE, AccessToken

    given = os.environ.get(TOKEN_VARIABLE)
    return AccessToken(given, "query" if sent_as == "query" else "header") if given else None


def _hosts() -> list[str]:
    from odc_bdc.indexing.sources import HOSTS_VARIABLE

    return [host for host in os.environ.get(HOSTS_VARIABLE, "").split(",") if host.strip()]


def _parsed(text: str, option: str) -> dict[str, Any]:
    try:
        found: Any = json.loads(text)
    except ValueError as e:
        raise InvalidValueError(f"{option}: cannot be read as JSON: {e}") from e
    if not isinstance(found, dict):
        raise InvalidValueError(f"{option}: needs a JSON object, as {{...}}")
    return found


def _summarise(report: IndexReport, *, dry_run: bool) -> None:
    """Say on stderr what became of the items, in one line."""
    statuses = ("added", "updated", "restored", "unchanged", "archived", "failed")
    counts = [(report.counts[s], s) for s in statuses]
    told = ", ".join(f"{count} {status}" for count, status in counts if count) or "no items"
    click.echo(f"{'would be: ' if dry_run else ''}{told}", err=True)
    if report.not_archived:
        click.echo(f"nothing is archived: {report.not_archived}", err=True)
