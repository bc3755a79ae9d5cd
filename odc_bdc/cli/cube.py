"""`odc-bdc cube`: plan and build cubes."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from odc_bdc.cli._options import home_option, opened_index

if TYPE_CHECKING:
    from collections.abc import Callable

    from datacube import Datacube

    from odc_bdc.cube import CubeSpec
    from odc_bdc.grid import BBox
    from odc_bdc.planning import CompositeTask

_DAY = click.DateTime(formats=["%Y-%m-%d"])


@dataclass(frozen=True, slots=True)
class _Request:
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


def _task_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what a command is about; it gets them as a `_Request`."""

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
        return command(_Request(cube, time[0].date(), time[1].date(), tiles), **others)

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


def _root_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--root",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder of the built cubes; default is cubes/ below --home.",
    )(command)


@click.group()
def cube() -> None:
    """Look at cube definitions; plan and build cubes; see what is built.

    CUBE is the name of a shipped cube (`odc-bdc product list`) or a YAML file of your own.

    \b
    odc-bdc cube plan CB4_64_16D_STK_v1 --time 2019-11-01 2020-02-29
    odc-bdc cube build CB4_64_16D_STK_v1 --time 2019-11-01 2020-02-29 --tile 007004
    odc-bdc cube status CB4_64_16D_STK_v1 --time 2019-11-01 2020-02-29
    """


@cube.command()
@click.argument("name", metavar="CUBE")
@click.option("--product", is_flag=True, help="Print its ODC product document (YAML) instead.")
def show(name: str, *, product: bool) -> None:
    """Check a cube's definition and say what it makes; no index is needed.

    \b
    odc-bdc cube show CB4_64_16D_STK_v1
    odc-bdc cube show my_cube.yaml
    odc-bdc cube show my_cube.yaml --product > my_cube.odc-product.yaml
    """
    from odc_bdc.cube import find_cube

    found = find_cube(name)
    if product:
        import yaml

        document = yaml.safe_dump(found.to_product(), sort_keys=False, allow_unicode=True)
        click.echo(document, nl=False)
        return
    for key, value in _summary(found).items():
        click.echo(f"{key:12} {value}")


def _summary(cube: CubeSpec) -> dict[str, str]:
    """Tell a cube in a few lines."""
    from odc_bdc.spectral_index import FormulaIndex

    grid, this_year = cube.grid, date(2020, 1, 1)
    px, py = grid.pixel_size(cube.resolution)
    periods = list(cube.timeline.covering(this_year, this_year.replace(month=12, day=31)))
    labels = [cube.timeline.title(p) for p in periods]
    chosen = {k: v for k, v in cube.function.to_dict().items() if k != "name"}
    how = [cube.function.name, *(f"{key} {json.dumps(value)}" for key, value in chosen.items())]
    if cube.function.rounding:
        how.append(f"rounded {cube.rounding or cube.function.rounding}")
    formulas = [str(i.index) for i in cube.indices if isinstance(i.index, FormulaIndex)]
    return {
        "name": cube.name,
        "title": "; ".join(cube.title.values()),
        "sources": ", ".join(cube.products),
        "grid": f"{grid.name}, tiles of {grid.tile_size[0]:g} x {grid.tile_size[1]:g}",
        "pixels": f"{px:g} x {py:g}" + (f", only in {list(cube.extent)}" if cube.extent else ""),
        "periods": f"{len(labels)} in 2020: {labels[0]}, ... {labels[-1]}"
        if len(labels) > 1
        else "".join(labels),
        "function": ", ".join(how),
        "bands": ", ".join(f"{m.name} ({m.dtype})" for m in cube.outputs),
        **({"indices": "; ".join(formulas)} if formulas else {}),
    }


@cube.command()
@_task_options
def plan(request: _Request, *, home: Path) -> None:
    """Print what there is to build, a JSON line for each tile and period.

    \b
    odc-bdc cube plan CB4_64_16D_MED_v1 --time 2019-12-01 2019-12-31
    """
    with opened_index(home) as dc:
        for task in request.tasks(dc):
            click.echo(json.dumps(task.to_dict()))


@cube.command()
@_task_options
@_root_option
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
def build(request: _Request, *, home: Path, root: Path | None, workers: int) -> None:
    """Build and index a cube: COGs, EO3 document and STAC item for each tile and period.

    What is built already is left alone; a period with new scenes is built anew and its old version
    archived. A run that was killed is finished by the next.

    \b
    odc-bdc cube build CB4_64_16D_STK_v1 --time 2019-11-01 2020-02-29
    odc-bdc cube build my_cube.yaml --time 2020-01-01 2020-12-31 --tile 007004 --workers 4

    Exit code: 0 all built, 1 some failed, 2 nothing could start.
    """
    from odc_bdc.building import build_cube
    from odc_bdc.indexing import add_products

    spec = request.cube
    with opened_index(home) as dc:
        tasks = request.tasks(dc)
        if not tasks:
            click.echo(f"no scene of {', '.join(spec.products)} lies in this range", err=True)
        add_products(dc, [spec.to_product()])
        with click.progressbar(length=len(tasks), label=spec.name, file=sys.stderr) as bar:
            report = build_cube(
                dc,
                tasks,
                root or home / "cubes",
                now=partial(datetime.now, UTC),
                workers=workers,
                progress=lambda _: bar.update(1),
            )
    for failure in report.failed:
        click.echo(json.dumps({"status": "failed", **asdict(failure)}))
    summary = {**asdict(report), "failed": len(report.failed)}
    click.echo(json.dumps({"status": "done", "cube": spec.name, **summary}))
    if report.failed:
        sys.exit(1)


@cube.command()
@_task_options
def status(request: _Request, *, home: Path) -> None:
    """Tell for each tile and period if it is built, stale (its scenes changed) or missing.

    \b
    odc-bdc cube status CB4_64_16D_STK_v1 --time 2019-11-01 2020-02-29
    """
    from odc_bdc.planning import task_status

    with opened_index(home) as dc:
        for task, state in task_status(dc, request.tasks(dc)):
            click.echo(f"{task.tile_id}  {task.period.start}  {task.period.end}  {state}")
