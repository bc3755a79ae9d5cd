"""Options that say which part of which cube a command is about."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import date
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from odc_bdc.cli._options import DAYS, add_options, home_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from datacube import Datacube

    from odc_bdc.cube import CubeSpec
    from odc_bdc.files import Access
    from odc_bdc.grid import BBox
    from odc_bdc.planning import CompositeTask, Plan
    from odc_bdc.timeline import Period


@dataclass(frozen=True, slots=True)
class Request:
    """What part of which cube a command is about."""

    cube: CubeSpec
    start: date
    end: date
    tiles: tuple[str, ...]
    access: Access | None = None

    def tasks(self, dc: Datacube) -> list[CompositeTask]:
        """Plan it."""
        from odc_bdc.planning import plan_cube

        self._tell_lacking(dc)
        return plan_cube(dc, self.cube, self.start, self.end, **self._how)

    def plan(self, dc: Datacube) -> Plan:
        """Plan it, and tell why there is nothing to build."""
        from odc_bdc.planning import survey_cube

        self._tell_lacking(dc)
        return survey_cube(dc, self.cube, self.start, self.end, **self._how)

    @property
    def periods(self) -> list[Period]:
        """All periods that are meant."""
        from odc_bdc.planning import whole_periods

        return whole_periods(self.cube, self.start, self.end)

    @property
    def _how(self) -> dict[str, Any]:
        return {"tiles": self.tiles or None, "access": self.access}

    def _tell_lacking(self, dc: Datacube) -> None:
        from odc_bdc.planning import missing_sources

        lacking = missing_sources(dc, self.cube)
        if 0 < len(lacking) < len(self.cube.sources):
            click.echo(
                f"the index has no product {', '.join(lacking)}: none of its scenes", err=True
            )


def time_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--time``, the first and the last day."""
    return click.option(
        "--time",
        nargs=2,
        type=DAYS,
        required=True,
        metavar="START END",
        help="First and last day, each a day, a month or a year: 2019 2020-06; periods wholly "
        "between them are meant.",
    )(command)


def task_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what a command is about; it gets them as a `Request`."""

    @wraps(command)
    def with_request(
        *,
        name: str,
        time: tuple[date, date],
        tiles: tuple[str, ...],
        bbox: BBox | None,
        geometry: Path | None,
        biome: str | None,
        clip: BBox | None,
        **others: Any,
    ) -> Any:
        from odc_bdc.cube import find_cube
        from odc_bdc.files import access_of

        cube = find_cube(name)
        cube = cube.patch(extent=clip) if clip else cube
        if sum((bool(tiles), bbox is not None, geometry is not None, biome is not None)) > 1:
            raise click.UsageError("give only one of --tile, --bbox, --geometry and --biome")
        if bbox is not None or geometry or biome:
            tiles = _tiles_of_area(cube, bbox, str(geometry) if geometry else None, biome)
        access = access_of(os.environ)
        return command(Request(cube, *time, tiles, access), **others)

    return add_options(
        with_request,
        (
            click.argument("name", metavar="CUBE"),
            time_option,
            click.option("--tile", "tiles", multiple=True, help="Tile id; repeat for several."),
            click.option(
                "--bbox",
                nargs=4,
                type=float,
                metavar="WEST SOUTH EAST NORTH",
                help="Tiles that share an area with this box, in degrees.",
            ),
            click.option(
                "--geometry",
                type=click.Path(path_type=Path, dir_okay=False),
                metavar="FILE",
                help="GeoJSON, GeoPackage or Shapefile with the tiles, or with the area that they "
                "share.",
            ),
            click.option(
                "--biome",
                metavar="FILE[:NAME]",
                help="The same; with NAME only features of which a property says so, or the layer "
                "of this name.",
            ),
            click.option(
                "--clip",
                nargs=4,
                type=float,
                metavar="XMIN YMIN XMAX YMAX",
                help="Only this part of the grid, in its CRS.",
            ),
            home_option,
        ),
    )


def _tiles_of_area(
    cube: CubeSpec, bbox: BBox | None, geometry: str | None, biome: str | None
) -> tuple[str, ...]:
    """Give the tiles of a cube that share an area with what the options say."""
    from odc_bdc.errors import InvalidValueError
    from odc_bdc.grid import tiles_from_file

    if bbox is not None:
        found = cube.grid.tile_ids(bbox, "EPSG:4326")
    else:
        file, name = geometry or str(biome), None
        if biome and not Path(biome).exists() and ":" in biome:
            file, _, name = biome.rpartition(":")
        found = tiles_from_file(file, cube.grid, name=name)
    tiles = tuple(sorted(tile for tile in found if cube.geobox(tile) is not None))
    if not tiles:
        raise InvalidValueError(f"no tile of cube {cube.name} lies there")
    return tiles
