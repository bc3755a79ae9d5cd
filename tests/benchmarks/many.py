"""What many images cost beside their pixels, and how building grows with workers.

``make bench``. The overhead is that of planning, of telling what is done, and of indexing, with a
runner that writes nothing but the EO3 document of each image; its own time is taken off.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

from odc_bdc import database
from odc_bdc.building import build_cube
from odc_bdc.building.estimate import estimate, expected_size
from odc_bdc.building.running import Here, Processes
from odc_bdc.building.store import ImageStore
from odc_bdc.building.work import Job, Outcome
from odc_bdc.cube import find_cube
from odc_bdc.indexing import (
    RasterFile,
    add_products,
    dataset_document,
    find_recipe,
    index_collection,
    write_document,
)
from odc_bdc.planning import CompositeTask, plan_cube
from odc_bdc.product import product_document
from odc_bdc.scenes import demo_extent, make_scenes

sys.path += [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
from indexing import Indexes
from made_items import PRODUCT, make_items

CUBE = "CB4_64_16D_MED_v1"
RECIPE = find_recipe("cb4_wfi_l4_sr")
CLOCK = partial(datetime.fromtimestamp, 1767225600, UTC)


@dataclass
class Documents:
    """A runner that computes nothing, and gives so many images at once."""

    store: ImageStore
    at_once: int
    seconds: float = field(default=0.0)

    def run(self, job: Job, tasks: Sequence[CompositeTask]) -> Iterator[list[Any]]:
        """Write the documents of images."""
        del job
        for start in range(0, len(tasks), self.at_once):
            begun = time.perf_counter()
            some = [(task, self._write(task)) for task in tasks[start : start + self.at_once]]
            self.seconds += time.perf_counter() - begun
            yield some

    def _write(self, task: CompositeTask) -> Outcome:
        path = self.store.work / self.store.document(task)
        path.parent.mkdir(parents=True)
        geobox = task.geobox
        shape, transform = tuple(geobox.shape), tuple(geobox.affine)[:6]
        files = {
            m.name: RasterFile(
                href=str(path.with_name(f"{task.item_id}_{m.name}.tif")),
                crs=str(geobox.crs.to_wkt()),
                shape=shape,
                transform=transform,
                dtype=m.dtype,
                nodata=m.missing,
            )
            for m in task.cube.outputs
        }
        properties = {
            "datetime": task.period.start_datetime,
            "dtr:start_datetime": task.period.start_datetime,
            "dtr:end_datetime": task.period.end_datetime,
            "odc:processing_datetime": CLOCK(),
            "odc:file_format": "GeoTIFF",
            "odc:region_code": task.tile_id,
            "eo:platform": task.platform,
            "eo:cloud_cover": 12.5,
        }
        document = dataset_document(
            dataset_id=task.id,
            product=task.cube.name,
            label=task.item_id,
            files=files,
            properties=properties,
            location=path,
            lineage={"scenes": [scene.id for scene in task.scenes]},
        )
        write_document(document, path)
        return Outcome(self.store.document_uri(task), task.id)


def overhead(indexes: Indexes, folder: Path, items: int) -> None:
    """Print the milliseconds per image of all that is not computing it, on both drivers."""
    make_items(path := folder / "items.ndjson", items)
    cube = find_cube(CUBE)
    for driver in ("postgis", "postgres"):
        with indexes.opened(driver) as dc:
            add_products(dc, [product_document(PRODUCT), cube.to_product()])
            index_collection(dc, RECIPE, [path])
            begun = time.perf_counter()
            tasks = plan_cube(dc, cube, date(2016, 1, 1), date(2016, 12, 31))
            ids = [task.id for task in tasks]
            plan = 1e3 * (time.perf_counter() - begun) / len(ids)
            scenes = sum(len(task.scenes) for task in tasks) / len(tasks)
            print(f"\n{driver}: {len(tasks)} images of {scenes:.0f} scenes; ms for each image")
            print(f"  {'plan':44} {plan:8.1f}")
            worst = 0.0
            for at_once in (1, 20):
                store = ImageStore.open(folder / f"{driver}_{at_once}")
                runner = Documents(store, at_once)
                begun = time.perf_counter()
                report = build_cube(dc, tasks, store, now=CLOCK, runner=runner)
                spent = time.perf_counter() - begun - runner.seconds
                assert report.built == len(tasks), report
                each = 1e3 * spent / len(tasks)
                worst = max(worst, each)
                print(f"  {f'index, {at_once} finished at once':44} {each:8.1f}")
                begun = time.perf_counter()
                report = build_cube(dc, tasks, store, now=CLOCK)
                again = 1e3 * (time.perf_counter() - begun) / len(tasks)
                assert report.unchanged == len(tasks), report
                dc.index.datasets.purge(ids, allow_delete_active=True)
            print(f"  {'done already':44} {again:8.1f}")
            print(f"  {'plan and index, at most':44} {plan + worst:8.1f}   (50 allowed)")


def growth(indexes: Indexes, folder: Path, size: int, picture: Path | None) -> None:
    """Print the time of building by images and workers, and how good the estimate is."""
    make_scenes(folder / "scenes", size=size, start=date(2019, 12, 1), end=date(2020, 2, 29))
    cube = find_cube(CUBE).patch(extent=demo_extent(size))
    with indexes.opened("postgis") as dc:
        add_products(dc, [product_document(PRODUCT), cube.to_product()])
        index_collection(dc, RECIPE, [folder / "scenes"])
        tasks = plan_cube(dc, cube, date(2019, 12, 3), date(2020, 2, 29))
        print(f"\nimages of {size} x {size} pixels")
        build_cube(dc, tasks[:1], folder / "warm", now=CLOCK)  # compiles
        counts = sorted({len(tasks) // 4, len(tasks) // 2, len(tasks)})
        found: dict[int, list[float]] = {}
        for workers in (1, 2):
            found[workers] = []
            for count in counts:
                root = folder / f"workers_{workers}_{count}"
                begun = time.perf_counter()
                report = build_cube(dc, tasks[:count], root, now=CLOCK, runner=Processes(workers))
                found[workers].append(time.perf_counter() - begun)
                assert report.computed == count
                dc.index.datasets.purge([t.id for t in tasks], allow_delete_active=True)
            each = ", ".join(f"{n}: {s:.1f}" for n, s in zip(counts, found[workers], strict=True))
            print(f"  {f'--workers {workers}; seconds by images':44} {each}")
        begun = time.perf_counter()
        report = build_cube(dc, tasks, folder / "here", now=CLOCK, runner=Here())
        spent, told = time.perf_counter() - begun, estimate(tasks)
        written = report.figures.bytes_written / sum(expected_size(t) for t in tasks)
        print(f"  {'in this process':44} {spent:8.1f} s")
        print(f"  {'time and storage, as shares of the estimate':44}", end=" ")
        print(f"{spent / told.seconds:8.2f} {written:6.2f}")
    if picture:
        draw(counts, found, size, picture)


def draw(counts: Sequence[int], found: dict[int, list[float]], size: int, path: Path) -> None:
    """Draw time against images, for each number of workers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.2), dpi=110, layout="constrained")
    ax = figure.subplots()
    for workers, seconds in found.items():
        ax.plot(counts, seconds, marker="o", label=f"{workers} worker{'s' * (workers > 1)}")
    ax.set(
        xlabel=f"tiles and periods ({size} x {size} pixels)",
        ylabel="seconds, with indexing",
        xlim=(0, None),
        ylim=(0, None),
    )
    ax.legend()
    ax.grid(alpha=0.3)
    figure.savefig(path)
    print(path)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--only", choices=["overhead", "growth"])
    parser.add_argument("--picture", type=Path, help="PNG file of the growth to draw")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="odc_bdc-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (home := folder / "home").mkdir()
        indexes = Indexes(home)
        try:
            if given.only != "growth":
                overhead(indexes, folder, given.items)
            if given.only != "overhead":
                growth(indexes, folder, given.size, given.picture)
        finally:
            database.delete(home)


if __name__ == "__main__":  # workers import this
    main()
