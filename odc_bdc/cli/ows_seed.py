"""`odc-bdc ows seed`."""

from __future__ import annotations

import os
import re
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Self

import click

from odc_bdc.cli._options import DAYS, home_option, opened_index
from odc_bdc.cli._services import configuration, services_environ
from odc_bdc.errors import InvalidValueError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from datacube import Datacube
    from odc.geo.geom import Geometry

    from odc_bdc.grid import BBox


class _Levels(click.ParamType[range]):
    name = "zoom"

    def convert(self, value: Any, param: Any, ctx: Any) -> range:
        """Read ``8`` or ``5-8``."""
        if isinstance(value, range):
            return value
        match = re.fullmatch(r"(\d{1,2})(?:-(\d{1,2}))?", value)
        if not match or int(match[2] or match[1]) < int(match[1]):
            self.fail(f"{value!r} is no level such as 8, nor levels such as 5-8", param, ctx)
        return range(int(match[1]), int(match[2] or match[1]) + 1)


@click.command()
@click.argument("layers", metavar="LAYER...", nargs=-1, required=True)
@click.option("--zoom", type=_Levels(), required=True, help="Level, or levels: 8, 5-8.")
@click.option(
    "--tiles",
    "tiles_name",
    default="WholeWorld_WebMercator",
    show_default=True,
    help="Tile matrix set.",
)
@click.option(
    "--bbox",
    nargs=4,
    type=float,
    metavar="WEST SOUTH EAST NORTH",
    help="In degrees; default: the layer's extent.",
)
@click.option("--tile", "bdc_tiles", multiple=True, help="Tile of a cube; repeat for several.")
@click.option(
    "--time",
    nargs=2,
    type=DAYS,
    metavar="START END",
    help="First and last day; default: the layer's latest date.",
)
@click.option(
    "--style",
    "styles",
    multiple=True,
    help="Repeat for several; default: the layer's default style.",
)
@click.option("--workers", type=click.IntRange(1), help="Processes; default: one for each core.")
@click.option("--url", help="A server that runs, with a cache; default: one of its own.")
@home_option
def seed(
    layers: tuple[str, ...],
    *,
    zoom: range,
    tiles_name: str,
    bbox: BBox | None,
    bdc_tiles: tuple[str, ...],
    time: tuple[date, date] | None,
    styles: tuple[str, ...],
    workers: int | None,
    url: str | None,
    home: Path,
) -> None:
    """Make tiles before anybody asks for them.

    Run again it makes those that are missing. The exit code is 1 if a tile could not be made.

    \b
    Examples:
      odc-bdc ows seed CB4_64_16D_STK_v1 --zoom 4-9
      odc-bdc ows seed CB4_64_16D_STK_v1 --zoom 8 --tiles BDC_Albers --tile 007004 \\
        --time 2020-01-01 2020-12-31 --style true_colour --style ndvi
    """
    from odc_bdc.ows.seeding import find_tiles, tile_path, tiles_of_area

    if bbox and bdc_tiles:
        raise click.UsageError("give only one of --bbox and --tile")
    from dask.system import CPU_COUNT  # those that this process may use

    tiles = find_tiles(tiles_name)
    paths: list[str] = []
    with opened_index(home) as dc:
        known = _KnownLayers.of(dc)
    for name in layers:
        area = _area(name, bbox, bdc_tiles) or known.extent(name)
        places = list(tiles_of_area(tiles, zoom, area))
        wanted = product(known.styles(name, styles), known.times(name, time))
        paths += [
            tile_path(name, style, day, tiles.name, place)
            for style, day in wanted
            for place in places
        ]
    raise SystemExit(_seed(paths, url, workers or CPU_COUNT, home))


@dataclass(frozen=True, slots=True)
class _KnownLayers:
    """What there is to make tiles of, by the name of the layer."""

    layers: Mapping[str, Mapping[str, Any]]
    dates: Mapping[str, Sequence[date]]
    extents: Mapping[str, Geometry]

    @classmethod
    def of(cls, dc: Datacube) -> Self:
        from odc_bdc.ows.inventory import config_of_index
        from odc_bdc.ows.parsed import named_layers
        from odc_bdc.ows.ranges import stored_dates, stored_extents

        config = configuration(dc) or config_of_index(dc)
        layers = {layer["name"]: layer for layer in named_layers(config["layers"])}
        return cls(layers, stored_dates(dc), stored_extents(dc))

    def extent(self, name: str) -> Geometry:
        if name not in self.layers:
            names = ", ".join(self.layers) or "none"
            raise UnknownNameError(f"there is no layer {name}: {names} are there")
        if not self.dates.get(name) or name not in self.extents:
            raise InvalidValueError(f"layer {name} has no ranges: run `odc-bdc ows update`")
        return self.extents[name]

    def styles(self, name: str, asked: Sequence[str]) -> list[str]:
        about = self.layers[name]["styling"]
        known = [style["name"] for style in about["styles"]]
        for style in asked:
            if style not in known:
                raise UnknownNameError(
                    f"layer {name} has no style {style}: {', '.join(known)} are there"
                )
        return list(asked) or [about.get("default_style") or known[0]]

    def times(self, name: str, asked: tuple[date, date] | None) -> list[str]:
        dates = self.dates[name]
        if asked is None:
            return [str(dates[-1])]
        found = [str(day) for day in dates if asked[0] <= day <= asked[1]]
        if not found:
            raise InvalidValueError(
                f"layer {name} has no date from {asked[0]} to {asked[1]}: it has "
                f"{dates[0]} to {dates[-1]}"
            )
        return found


def _area(name: str, bbox: BBox | None, tiles: Sequence[str]) -> Geometry | None:
    from odc.geo.geom import box, unary_union

    from odc_bdc.cube import find_cube

    if bbox:
        return box(*bbox, "EPSG:4326")
    if not tiles:
        return None
    grid = find_cube(name).grid
    return unary_union(box(*grid.bbox(tile), grid.odc_crs) for tile in tiles)


def _seed(paths: Sequence[str], url: str | None, workers: int, home: Path) -> bool:
    """Ask for tiles, and tell what came of them; True if one failed."""
    from odc_bdc.database import as_service, find_index
    from odc_bdc.ows import start_server
    from odc_bdc.ows.seeding import seed as ask_for
    from odc_bdc.ows.store import named_store

    environ = services_environ(home)
    if not url and named_store(environ) is None:
        raise InvalidValueError("there is no cache to fill: ODC_BDC_OWS_CACHE_SIZE is 0")
    log = home / "ows_seed.log"
    with ExitStack() as stack:
        if not url:
            index = as_service(find_index(home, environ=os.environ), "read")
            own = start_server(index, port=0, workers=workers, log=log, environ=environ)
            url = stack.enter_context(own).url
        bar = stack.enter_context(
            click.progressbar(length=len(paths), label="tiles", file=sys.stderr)
        )
        report = ask_for(url.rstrip("/"), paths, workers=workers, progress=lambda _: bar.update(1))
    click.echo(f"{report.made} tiles made, {report.found} were there, {report.failed} failed")
    for path, reason in report.reasons.items():
        click.echo(f"{path}: {reason}; see the server's log", err=True)
    return bool(report.failed)
