"""Options that several commands share, and the index that they lead to."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from datacube import Datacube


def add_options(
    command: Callable[..., Any], options: Sequence[Callable[..., Any]]
) -> Callable[..., Any]:
    """Add options, and arguments, that `--help` lists in the order in which they are given."""
    for option in reversed(options):
        command = option(command)
    return command


def home_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--home``, the folder of the private database, its configuration and the cubes."""
    return click.option(
        "--home",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path(".odc_bdc"),
        envvar="ODC_BDC_HOME",
        show_default=True,
        help="Folder of the private database, its configuration and the cubes (ODC_BDC_HOME).",
    )(command)


@contextmanager
def opened_index(home: Path) -> Iterator[Datacube]:
    """Open the index that the environment or `home` says, and close it at the end."""
    from odc_bdc.database import find_index, open_datacube

    dc = open_datacube(find_index(home, environ=os.environ))
    try:
        yield dc
    finally:
        dc.close()
