"""`odc-bdc cube build`."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from odc_bdc.cli._options import add_options, opened_index
from odc_bdc.cli.cube._options import task_options
from odc_bdc.cli.cube._store import store_options
from odc_bdc.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tqdm import tqdm

    from odc_bdc.building import BuildReport, TaskRecord
    from odc_bdc.building.shards import Shard
    from odc_bdc.building.store import ImageStore
    from odc_bdc.building.work import Figures
    from odc_bdc.cli.cube._options import Request
    from odc_bdc.planning import CompositeTask


def _running_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say where images are computed, and what happens if that fails."""
    options = [
        click.option(
            "--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes."
        ),
        click.option(
            "--threads",
            type=click.IntRange(1),
            help="Threads of each process; default is the cores, shared by the processes of this "
            "machine; of a cluster 1.",
        ),
        click.option(
            "--scheduler",
            metavar="ADDRESS",
            help="Compute on the Dask cluster of this scheduler, such as tcp://10.0.0.1:8786; its "
            "workers must see --root by the same path. Needs the extra [cluster].",
        ),
        click.option(
            "--shard",
            metavar="I/N",
            help="Build only part I of N; `slurm` takes both from the variables of a job array.",
        ),
        click.option(
            "--retries",
            type=click.IntRange(0, 10),
            default=2,
            show_default=True,
            help="How often images that failed are tried again, after all others.",
        ),
        click.option(
            "--on-error",
            type=click.Choice(["fail", "skip-scene"]),
            default="fail",
            show_default=True,
            help="With a scene that cannot be read: fail, or make the image without it.",
        ),
        click.option(
            "--compress",
            type=click.Choice(["zstd", "deflate"]),
            default="zstd",
            show_default=True,
            help="Of the files: zstd is smaller and quicker, deflate is what old readers know.",
        ),
        click.option(
            "--log-json",
            type=click.File("a", encoding="utf-8"),
            metavar="FILE",
            help="Append a line of JSON for each image as it ends; - is stdout.",
        ),
        click.option("--dry-run", is_flag=True, help="Say what would be built, and build nothing."),
    ]
    return add_options(command, options)


@click.command()
@task_options
@store_options
@_running_options
def build(
    request: Request,
    *,
    home: Path,
    store: ImageStore,
    workers: int,
    threads: int | None,
    scheduler: str | None,
    shard: str | None,
    retries: int,
    on_error: str,
    compress: str,
    log_json: TextIO | None,
    dry_run: bool,
) -> None:
    """Build and index a cube: COGs, EO3 document and STAC item for each tile and period.

    What is built already is left alone; a period with new scenes is built anew and its old version
    archived. A run that was killed is finished by the next. An image that cannot be made is tried
    again and then reported; the rest are made.

    \b
    odc-bdc cube build CB4_64_16D_STK_v1 --time 2019-11-01 2020-02-29
    odc-bdc cube build my_cube.yaml --time 2020-01-01 2020-12-31 --tile 007004 --workers 4
    odc-bdc cube build my_cube.yaml --time 2020-01-01 2020-12-31 --scheduler tcp://10.0.0.1:8786
    odc-bdc cube build my_cube.yaml --time 2020-01-01 2020-12-31 --shard 1/8
    odc-bdc cube build my_cube.yaml --time 2020-01-01 2020-12-31 --root s3://bucket/cubes

    Exit code: 0 all built, 1 some failed, 2 nothing could start.
    """
    from odc_bdc.building import build_cube, divide_tasks
    from odc_bdc.building.running import Cluster
    from odc_bdc.cog import DEFLATE, ZSTD
    from odc_bdc.indexing import add_products

    if scheduler and workers > 1:
        raise InvalidValueError("--workers and --scheduler: give one of them")
    threads = threads or (1 if scheduler else _threads(workers))
    part, runner = _shard(shard), Cluster(scheduler) if scheduler else None
    # What they have to say of a scheduler that is gone is said in one line.
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    spec = request.cube
    store.layout.check(spec.name)
    skip, count = on_error == "skip-scene", None if scheduler else workers
    with ExitStack() as opened:
        dc = opened.enter_context(opened_index(home))
        tasks = request.tasks(dc)
        if not tasks:
            click.echo(f"no scene of {', '.join(spec.products)} lies in this range", err=True)
        tasks = part.take(tasks, request.periods) if part else tasks
        if dry_run:
            waiting = divide_tasks(dc, tasks, store, skip_scenes=skip).waiting
            _tell_plan(waiting, store, count, threads)
            return
        show = _Show(opened, spec.name, log_json)
        add_products(dc, [spec.to_product()])
        report = build_cube(
            dc,
            tasks,
            store,
            now=partial(datetime.now, UTC),
            workers=workers,
            threads=threads,
            runner=runner,
            retries=retries,
            skip_scenes=skip,
            compression={"zstd": ZSTD, "deflate": DEFLATE}[compress],
            starting=partial(show.start, store=store, workers=count, threads=threads),
            progress=show.task,
        )
    _tell(report, spec.name)
    if not report.complete:
        sys.exit(1)


def _threads(workers: int) -> int:
    """Share the cores of this machine."""
    from dask.system import CPU_COUNT  # those that this process may use

    return max(1, int(CPU_COUNT) // workers)


def _shard(text: str | None) -> Shard | None:
    from odc_bdc.building.shards import Shard

    if text is None:
        return None
    return Shard.of_slurm(os.environ) if text == "slurm" else Shard.parse(text)


class _Show:
    """Shows on stderr, and in the log, how far a run is."""

    def __init__(self, opened: ExitStack, name: str, log: TextIO | None) -> None:
        self._opened, self._name, self._log = opened, name, log
        self._done = 0
        self._bar: tqdm[Any] | None = None

    def start(
        self,
        waiting: Sequence[CompositeTask],
        store: ImageStore,
        workers: int | None,
        threads: int,
    ) -> None:
        """Say what there is to do; the rate will be that of images that are computed."""
        from tqdm import tqdm

        if waiting:
            _tell_estimate(waiting, store, workers, threads)
        bar: tqdm[Any] = tqdm(
            initial=self._done,
            total=self._done + len(waiting),
            desc=self._name,
            unit=" images",
            disable=None,
            file=sys.stderr,
            leave=False,
        )
        self._bar = self._opened.enter_context(bar)

    def task(self, record: TaskRecord) -> None:
        """Show that a task has ended."""
        if self._log:
            line = json.dumps(record.to_dict())
            # Lines and the bar may share a terminal.
            if self._bar is None or self._bar.disable:
                click.echo(line, file=self._log)
            else:
                self._bar.write(line, file=self._log)
            self._log.flush()
        self._done += 1
        if self._bar is not None:
            self._bar.update()


def _tell_plan(
    waiting: Sequence[CompositeTask], store: ImageStore, workers: int | None, threads: int
) -> None:
    """Print what would be built, and what it would take."""
    from odc_bdc.building.estimate import estimate, expected_size

    for task in waiting:
        line = {"status": "would be built", "item": task.item_id, "id": str(task.id)}
        told = {"scenes": len(task.scenes), "expected_bytes": expected_size(task)}
        click.echo(json.dumps(line | told))
    if waiting:
        _tell_estimate(waiting, store, workers, threads)
    whole = estimate(waiting, workers=workers or 1, threads=threads)
    click.echo(json.dumps({"status": "dry run", **asdict(whole), "seconds": round(whole.seconds)}))


def _tell_estimate(
    waiting: Sequence[CompositeTask], store: ImageStore, workers: int | None, threads: int
) -> None:
    """Say on stderr what the images will take, and if there is too little of it."""
    from odc_bdc.building.estimate import estimate

    whole = estimate(waiting, workers=workers or 1, threads=threads)
    cores = "one core" if threads == 1 else f"{threads} cores"
    where = f"of {cores}" if workers is None else f"with --workers {workers}"
    disk, memory = f"{_size(whole.size)} of storage", f"{_size(whole.memory)} of memory"
    if store.is_local:
        near = next(path for path in (store.work, *store.work.parents) if path.is_dir())
        free = shutil.disk_usage(near).free
        disk += f" ({'ONLY ' if free < whole.size else ''}{_size(free)} are free)"
    there = _memory()
    if workers is not None and there is not None and there < whole.memory:
        memory += f" (this machine has ONLY {_size(there)}: use fewer workers)"
    click.echo(
        f"to build: {whole.images} images; about {_duration(whole.seconds)} {where}, {disk}, "
        f"{memory}",
        err=True,
    )


def _memory() -> int | None:
    """Give the bytes of memory of this machine; None where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError):
        return None


def _tell(report: BuildReport, cube: str) -> None:
    """Print what failed and the sum of all as JSON; say the same on stderr in words."""
    for failure in report.failed:
        told = {key: value for key, value in asdict(failure).items() if value is not None}
        click.echo(json.dumps({"status": "failed", **told}))
    click.echo(json.dumps({"status": "done", "cube": cube, **report.to_dict()}))
    statuses = ("built", "unchanged", "archived")
    counts = [f"{getattr(report, s)} {s}" for s in statuses if getattr(report, s)]
    counts += [f"{len(report.failed)} failed"] if report.failed else []
    click.echo(", ".join(counts) or "no images", err=True)
    if report.computed:
        click.echo(_figures(report.figures), err=True)
    if report.skipped:
        click.echo(f"{report.skipped} scenes could not be read and were left out", err=True)
    if report.written:
        click.echo(
            f"{report.written} images are written but not indexed: {report.index_fault}", err=True
        )


def _figures(seen: Figures) -> str:
    """Tell in a line what was seen while images were made."""
    told = [f"{seen.scenes} scenes"]
    if blocks := seen.blocks_read + seen.blocks_skipped:
        told.append(f"{seen.blocks_skipped / blocks:.0%} of {blocks} blocks skipped")
    if seen.bytes_read:
        told.append(f"{_size(seen.bytes_read)} read")
    told += [f"{_size(seen.bytes_written)} written", f"{seen.clear / seen.pixels:.1%} clear"]
    steps = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in seen.seconds.items())
    return f"{', '.join(told)}; time: {steps}"


def _size(count: float) -> str:
    from tqdm import tqdm

    return f"{tqdm.format_sizeof(count, divisor=1000)}B"


def _duration(seconds: float) -> str:
    """Tell a time no finer than it is known."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
