"""`odc-bdc cube declare` and `odc-bdc cube unbuild`."""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from odc_bdc.cli._options import add_options, opened_index
from odc_bdc.cli.cube._options import task_options
from odc_bdc.cli.cube._store import store_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from odc_bdc.building.store import ImageStore
    from odc_bdc.cli.cube._options import Request
    from odc_bdc.live.dividing import ReplaceBuilt
    from odc_bdc.live.records import LiveRecord, LiveReport
    from odc_bdc.planning import CompositeTask


def _declaring_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of declaring; the command gets what `declare_cube` takes as ``how``."""

    @wraps(command)
    def with_terms(*given: Any, quick: bool, workers: int, on_error: str, **others: Any) -> Any:
        unreadable = {"fail": "fail", "skip-scene": "skip"}[on_error]
        how = {"quick": quick, "workers": workers, "unreadable": unreadable}
        return command(*given, how=how, **others)

    return add_options(
        with_terms,
        (
            click.option(
                "--quick",
                is_flag=True,
                help="Order scenes by the cloud cover that they tell, not by their clear pixels: "
                "no file is read, and pixels may be others than those of a built image.",
            ),
            click.option(
                "--workers",
                type=click.IntRange(1),
                default=1,
                show_default=True,
                help="Threads that read quality.",
            ),
            click.option(
                "--on-error",
                type=click.Choice(["fail", "skip-scene"]),
                default="fail",
                show_default=True,
                help="With a scene that cannot be read, now or when the image is: fail, or make "
                "the image without it.",
            ),
            click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing."),
            click.option(
                "--json", "as_json", is_flag=True, help="Print a JSON line for each image."
            ),
        ),
    )


@click.command()
@task_options
@store_options
@click.option(
    "--replace-built",
    type=click.Choice(["none", "stale", "all"]),
    default="none",
    show_default=True,
    help="Take the place of built images too: of those whose scenes changed, or of all. Their "
    "files stay.",
)
@_declaring_options
def declare(
    request: Request,
    *,
    home: Path,
    store: ImageStore,
    replace_built: ReplaceBuilt,
    how: dict[str, Any],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Publish a cube before it is built: images are composited when somebody reads them.

    For each tile and period a recipe is written and indexed: the scenes, their quality policy, the
    function, the grid. No band is read; the quality of scenes only if the function takes the best
    first. What is declared already is left alone; a period with new scenes is declared anew. Images
    that are built stay.

    \b
    odc-bdc cube declare CB4_64_16D_STK_v1 --time 2019-11-01 2020-02-29
    odc-bdc cube declare my_cube.yaml --time 2020-01-01 2020-12-31 --tile 007004 --quick

    Exit code: 0 all declared, 1 some failed, 2 nothing could start or the database failed.
    """
    from odc_bdc.indexing import add_products
    from odc_bdc.live.declaring import declare_cube
    from odc_bdc.live.dividing import divide_live
    from odc_bdc.live.documents import LiveTerms

    spec = request.cube
    store.layout.check(spec.name)
    with ExitStack() as opened:
        dc = opened.enter_context(opened_index(home))
        tasks = request.tasks(dc)
        if not tasks:
            click.echo(f"no scene of {', '.join(spec.products)} lies in this range", err=True)
        if dry_run:
            terms = LiveTerms(store, how["unreadable"])
            what = divide_live(dc, tasks, terms, quick=how["quick"], replace_built=replace_built)
            _tell_waiting(what.waiting)
            return
        add_products(dc, [spec.to_product()])
        _note(home, store)
        show = _Show(opened, spec.name, as_json=as_json)
        report = declare_cube(
            dc,
            tasks,
            store,
            now=partial(datetime.now, UTC),
            replace_built=replace_built,
            starting=show.start,
            progress=show.image,
            **how,
        )
    _tell(report, spec.name)


@click.command()
@task_options
@store_options
@_declaring_options
def unbuild(
    request: Request,
    *,
    home: Path,
    store: ImageStore,
    how: dict[str, Any],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Let built images be live again: declare them, and archive what is built.

    Who reads the cube notices nothing but the time it takes. The files stay until `odc-bdc cube
    prune`; until then `odc-bdc cube build` swaps them back without computing.

    \b
    odc-bdc cube unbuild CB4_64_16D_STK_v1 --time 2019-11-01 2020-02-29 --tile 007004

    Exit code: 0 all are live, 1 some failed, 2 nothing could start or the database failed.
    """
    from odc_bdc.live.declaring import built_tasks, unbuild_cube

    spec = request.cube
    store.layout.check(spec.name)
    with ExitStack() as opened:
        dc = opened.enter_context(opened_index(home))
        plan = request.plan(dc)
        if dry_run:
            _tell_waiting(built_tasks(dc, plan))
            return
        _note(home, store)
        show = _Show(opened, spec.name, as_json=as_json)
        report = unbuild_cube(
            dc,
            plan,
            store,
            now=partial(datetime.now, UTC),
            starting=show.start,
            progress=show.image,
            **how,
        )
    _tell(report, spec.name)


def _note(home: Path, store: ImageStore) -> None:
    """See that recipes at the root are read by who has the configuration of the home."""
    from odc_bdc.database.configuration import own_path
    from odc_bdc.live.roots import HOME_VARIABLE, ROOTS_VARIABLE, note_root, recipe_roots

    need = f"need {ROOTS_VARIABLE}={store.root}"
    try:
        if note_root(home, store.root):
            where = f"noted in {home}: recipes are read below {store.root} too"
            click.echo(f"{where}; programs without this home {need}", err=True)
    except OSError as e:
        click.echo(f"{home}: {e.strerror or e}: readers of these images {need}", err=True)
        return
    readers = {k: v for k, v in os.environ.items() if k != HOME_VARIABLE}
    if not own_path(home).is_file() and not recipe_roots(readers).holds(store.root):
        click.echo(f"programs that read these images without {home} {need}", err=True)


class _Show:
    """Shows how far a run is on stderr, and what became of each image on stdout."""

    def __init__(self, opened: ExitStack, name: str, *, as_json: bool) -> None:
        from tqdm import tqdm

        # Its total is known when what is there has been looked up.
        bar = tqdm(desc=name, unit=" images", disable=None, file=sys.stderr, leave=False)
        self._bar, self._as_json = opened.enter_context(bar), as_json

    def start(self, waiting: Sequence[CompositeTask]) -> None:
        """Learn how many images are to be declared."""
        self._bar.reset(total=len(waiting))

    def image(self, record: LiveRecord) -> None:
        """Show what became of an image."""
        if self._as_json or record.status == "failed":
            line = json.dumps(record.to_dict())
            if self._bar.disable:
                click.echo(line)
            else:
                self._bar.write(line, file=sys.stdout)
        if record.status in {"declared", "failed"}:
            self._bar.update()


def _tell_waiting(waiting: Sequence[CompositeTask]) -> None:
    for task in waiting:
        line = {"status": "would be declared", "item": task.item_id, "scenes": len(task.scenes)}
        click.echo(json.dumps(line))
    click.echo(json.dumps({"status": "dry run", "images": len(waiting)}))


def _tell(report: LiveReport, cube: str) -> None:
    """Print the summary; end with 1 if something failed."""
    click.echo(json.dumps({"status": "done", "cube": cube, **report.to_dict()}))
    told = {
        "declared": report.counts["declared"],
        "unchanged": report.counts["unchanged"],
        "archived": report.archived,
        "left built": report.counts["built"],
        "failed": len(report.failed),
    }
    counts = ", ".join(f"{count} {what}" for what, count in told.items() if count)
    click.echo(counts or "no images", err=True)
    if stale := report.counts["stale"]:
        click.echo(
            f"{stale} built images are left though their scenes changed: `odc-bdc cube build` "
            "makes them anew, --replace-built stale makes them live",
            err=True,
        )
    if report.skipped:
        click.echo(f"{report.skipped} scenes could not be read and were left out", err=True)
    if report.failed:
        sys.exit(1)
