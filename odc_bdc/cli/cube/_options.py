"""Options that say which part of which cube a command is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from odc_bdc.cli._options import home_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from datacube import Datacube

    from odc_bdc.cube import CubeSpec
    from odc_bdc.grid import BBox
    from odc_bdc.planning import CompositeTask

_DAY = click.DateTime(formats=["%Y-%m-%d"])


@dataclass(frozen=True, slots=True)
class Request:
    """What part of which cube a command is about."""

    cube: CubeSpec
    start: date
    end: date
    tiles: tuple[str, ...]

    def tasks(self, dc: Datacube) -> list[CompositeTask]:
        """Plan it."""
        from odc_bdc.planning import missing_sources, plan_cube

        lacking = missing_sources(dc, self.cube)
        if 0 < len(lacking) < len(self.cube.sources):
            click.echo(
                f"the index has no product {', '.join(lacking)}: none of its scenes", err=True
            )
        return plan_cube(dc, self.cube, self.start, self.end, tiles=self.tiles or None)


def task_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what a command is about; it gets them as a `Request`."""

    @wraps(command)
    def with_request(
        *,
        name: str,
        time: tuple[datetime, datetime],
        tiles: tuple[str, ...],
        clip: BBox | None,
        **others: Any,
    ) -> Any:
        from odc_bdc.cube import find_cube

        cube = find_cube(name)
        cube = cube.patch(extent=clip) if clip else cube
        return command(Request(cube, time[0].date(), time[1].date(), tiles), **others)

    decorated: Callable[..., Any] = with_request
    for option in reversed(
        (
            click.argument("name", metavar="CUBE"),
            click.option(
                "--time",
                nargs=2,
                type=_DAY,
                required=True,
                metavar="START END",
                help="First and last day; periods wholly between them are meant.",
            ),
            click.option("--tile", "tiles", multiple=True, help="Tile id; repeat for several."),
            click.option(
                "--clip",
                nargs=4,
                type=float,
                metavar="XMIN YMIN XMAX YMAX",
                help="Only this part of the grid, in its CRS.",
            ),
            home_option,
        )
    ):
        decorated = option(decorated)
    return decorated


def root_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--root``, the folder of the built cubes."""
    return click.option(
        "--root",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder of the built cubes; default is cubes/ below --home.",
    )(command)
