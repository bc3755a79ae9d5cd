"""Options that several commands share, and the index that they lead to."""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import date
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


class Day(click.ParamType[date]):
    """A day; a month or a year, as `odc_bdc.timeline.span_of` reads them, means one end of it.

    Parameters
    ----------
    last
        Whether the last day is meant.
    """

    name = "day"

    def __init__(self, *, last: bool) -> None:
        self._last = last

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Read it."""
        from odc_bdc.errors import InvalidValueError
        from odc_bdc.timeline import INSTANT, span_of

        if isinstance(value, date):
            return value
        try:
            start, end = span_of(str(value))
        except InvalidValueError as e:
            self.fail(str(e), param, ctx)
        return (end - INSTANT if self._last else start).date()


DAYS = (Day(last=False), Day(last=True))
"""Type of an option that takes the first and the last day."""


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
