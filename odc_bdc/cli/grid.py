"""`odc-bdc grid`: grids and their tiles."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from odc_bdc.grid import BBox, Grid

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def grid() -> None:
    """List grids, show and export their tiles.

    \b
    odc-bdc grid list
    odc-bdc grid show 007004
    odc-bdc grid show -48.5 -16.5 -47 -15
    """


@grid.command("list")
def list_() -> None:
    """List the grids that come with odc_bdc, a line each.

    Name, width and height of a tile in units of the CRS, number of published tiles, CRS.

    \b
    odc-bdc grid list
    """
    from odc_bdc.errors import UnknownNameError
    from odc_bdc.grid import published_tiles, shipped_grids

    for name, known in shipped_grids().items():
        try:
            published = str(len(published_tiles(name)))
        except UnknownNameError:
            published = "-"
        width, height = known.tile_size
        click.echo(f"{name:12} {width:13.12g} {height:13.12g} {published:>4}  {known.crs}")


# A negative number is an argument, not an option.
@grid.command(context_settings={"ignore_unknown_options": True})
@click.argument("where", nargs=-1, metavar="[TILE... | XMIN YMIN XMAX YMAX]")
@click.option(
    "--grid",
    "name",
    default="BDC_LG_V2",
    show_default=True,
    help="Name (`odc-bdc grid list`) or YAML file of a grid.",
)
@click.option(
    "--bbox",
    nargs=4,
    type=float,
    metavar="XMIN YMIN XMAX YMAX",
    help="Tiles that share an area with this box, in --crs.",
)
@click.option(
    "--crs",
    default="EPSG:4326",
    show_default=True,
    help="CRS of the box or geometry; `grid` is the grid's own.",
)
@click.option(
    "--geometry",
    type=_FILE,
    metavar="FILE",
    help="GeoJSON, GeoPackage or Shapefile with the tiles, or with the area that they share.",
)
@click.option(
    "--published", is_flag=True, help="Only tiles that the BDC publishes; alone, all of them."
)
@click.option(
    "--resolution", type=float, help="Print the pixels too, of this nominal size in CRS units."
)
@click.option("--geojson", type=click.Path(), metavar="FILE", help="Export to FILE; - is stdout.")
@click.option("--picture", type=_FILE, metavar="FILE", help="Draw the tiles as PNG.")
def show(
    where: tuple[str, ...],
    *,
    name: str,
    bbox: BBox | None,
    crs: str,
    geometry: Path | None,
    published: bool,
    resolution: float | None,
    geojson: str | None,
    picture: Path | None,
) -> None:
    """Show tiles: those named, those of a box or a geometry, or those published.

    A line each: tile, xmin, ymin, xmax, ymax in the grid's CRS, longitude and latitude of the
    centre; with --resolution also rows, columns, width and height of a pixel.
    Numbers of six digits are tiles; for a box of such numbers use --bbox.

    \b
    odc-bdc grid show 007004 008004 --resolution 64
    odc-bdc grid show --grid BDC_SM_V2 --bbox -54 -12 -53 -11 --published
    odc-bdc grid show --geometry area.geojson --geojson tiles.geojson
    odc-bdc grid show --grid my_grid.yaml --bbox 0 0 20000 20000 --crs grid
    odc-bdc grid show --published --picture bdc_grid.png
    """
    from odc_bdc.errors import InvalidValueError
    from odc_bdc.grid import find_grid, published_tiles

    known = find_grid(name)
    own = known.crs if crs == "grid" else crs
    chosen = _choose(known, where, bbox, geometry, own, published=published)
    if published:
        listed = set(published_tiles(known.name))
        chosen = [t for t in chosen if t in listed]
    if not chosen:
        raise InvalidValueError(
            f"no {'published ' if published else ''}tile of grid {known.name} lies there"
        )
    if geojson:
        _export(known, chosen, geojson)
    if geojson != "-":
        for line in _lines(known, chosen, resolution):
            click.echo(line)
    if picture:
        from odc_bdc.cli.grid_picture import write_grid_picture

        write_grid_picture(known, chosen, picture)


def _choose(
    known: Grid,
    where: Sequence[str],
    bbox: BBox | None,
    geometry: Path | None,
    crs: str,
    *,
    published: bool,
) -> list[str]:
    """Give the tiles that the arguments mean."""
    from odc_bdc.grid import published_tiles, tiles_from_file

    if sum((bool(where), bbox is not None, geometry is not None)) > 1:
        raise click.UsageError("give tiles, a box or --geometry, only one of them")
    if geometry:
        return tiles_from_file(geometry, known, None if crs == "EPSG:4326" else crs)
    if bbox:
        return known.tile_ids(bbox, crs)
    if where:
        return _named(known, where, crs)
    if published:
        return list(published_tiles(known.name))
    raise click.UsageError("give tiles, a box, --geometry or --published")


def _named(known: Grid, where: Sequence[str], crs: str) -> list[str]:
    """Give the tiles of positional arguments: tile ids, or four numbers."""
    from odc_bdc.grid import is_tile_id

    unknown = [word for word in where if word.startswith("-") and not _is_number(word)]
    if unknown:
        raise click.NoSuchOption(unknown[0])
    if len(where) == 4 and all(map(_is_number, where)) and not all(map(is_tile_id, where)):
        return known.tile_ids([float(word) for word in where], crs)
    for word in where:
        known.bbox(word)  # says what a tile id is
    return list(dict.fromkeys(where))


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _lines(known: Grid, tiles: Iterable[str], resolution: float | None) -> Iterable[str]:
    from odc_bdc.grid import centre_lonlat

    for tile in tiles:
        box = " ".join(f"{v:.12g}" for v in known.bbox(tile))
        lon, lat = centre_lonlat(known, tile)
        line = f"{tile} {box} {lon:.6f} {lat:.6f}"
        if resolution is not None:
            rows, columns = known.geobox(tile, resolution).shape
            px, py = known.pixel_size(resolution)
            line += f" {rows} {columns} {px:.12g} {py:.12g}"
        yield line


def _export(known: Grid, tiles: Iterable[str], target: str) -> None:
    from odc_bdc.errors import InvalidValueError
    from odc_bdc.grid import tiles_to_geojson

    text = json.dumps(tiles_to_geojson(known, tiles))
    if target == "-":
        click.echo(text)
        return
    try:
        Path(target).write_text(f"{text}\n", encoding="utf-8")
    except OSError as e:
        raise InvalidValueError(f"{target}: cannot be written: {e.strerror}") from e
