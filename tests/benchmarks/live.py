"""Live images against built ones: CPU of a tile of the services and of `dc.load`, as ratios.

A product has for each number of scenes a live image, and in another month a built one of the same
pixels. Both are asked in turn, by the WSGI application in a process of its own; what is counted is
CPU. Every answer is compared, since a blank tile is quick.

    python tests/benchmarks/live.py [--function MED] [--side 2048] [--only whole]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import dask
import numpy as np
import rasterio
from datacube.index.hl import Doc2Dataset
from services import Worker

sys.path.append(str(Path(__file__).resolve().parents[1]))

from made_tasks import CLEAR, CLOUD, NODATA, TILE, cube_at, write_scene

from odc_bdc import database
from odc_bdc.building.storage import storage_at
from odc_bdc.building.tile import composite_tile
from odc_bdc.cog import write_cog
from odc_bdc.cube import find_cube
from odc_bdc.live import LIVE_FORMAT, RECIPE_SUFFIX, opening
from odc_bdc.live.recipe import recipe_document, write_recipe
from odc_bdc.live.workers import process_state
from odc_bdc.ows import update_ranges
from odc_bdc.ows.server import server_environment
from odc_bdc.planning import CompositeTask

BLOCK, VIEW = 512, 256
COUNTS = (6, 12, 24)
RGB = ("BAND15", "BAND14", "BAND13")
CUBES = {"MED": "CB4_64_1M_MED_v1", "LCF": "CB4_64_1M_STK_v1"}
TARGETS = {
    "warm": (1.2, 1.4, 2.0),
    "blocks cold": (1.4, 1.7, 2.5),
    "new process": (2.5, 3.5, 5.0),
}
FULL = 1.3
CHUNKS = {"x": 1024, "y": 1024}
LOADER = "odc_bdc.live.Driver"
WAYS = (
    ("one thread", None, None, 1),
    ("one thread, odc-loader", LOADER, None, 1),
    ("chunks, two threads", None, CHUNKS, 2),
    ("chunks, two threads, odc-loader", LOADER, CHUNKS, 2),
)


def main() -> None:
    """Print the table of figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--function", choices=CUBES, default="MED")
    parser.add_argument("--side", type=int, default=2048, help="pixels of the images")
    parser.add_argument(
        "--starts", type=int, default=5, help="new processes for each figure; 0 for none"
    )
    parser.add_argument("--rounds", type=int, default=3, help="loads of whole images")
    parser.add_argument("--only", choices=["services", "loads", "whole"])
    options = parser.parse_args()
    cube = cube_at(options.side, options.side, find_cube(CUBES[options.function]))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.environ["ODC_BDC_ROOTS"] = str(root)
        tasks = {count: make_task(root, cube, count, 1 + n) for n, count in enumerate(COUNTS)}
        index = database.bring_up(root, environ={"PATH": os.environ["PATH"]}, driver="postgis")
        try:
            database.initialise(index)
            with database.open_datacube(index, app="benchmark") as dc:
                fill(dc, root, tasks)
                if options.only in (None, "services"):
                    update_ranges(dc)
                    environ = server_environment(index, ("http://localhost",), os.environ)
                    report_services(environ, cube, options.starts)
                if options.only in (None, "loads"):
                    report_loads(dc, tasks)
                if options.only in (None, "whole"):
                    report_whole(dc, tasks, options.rounds)
        finally:
            database.delete(root)


def make_task(root: Path, cube, count: int, month: int) -> CompositeTask:
    """Write scenes of a month: waves with noise, and clouds over half of each."""
    folder = root / f"scenes{count}"
    folder.mkdir()
    rng, geobox = np.random.default_rng(count), cube.geobox(TILE)
    shape = tuple(geobox.shape)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]] / 200.0
    scenes = []
    for number in range(count):
        shift = rng.uniform(0, 6, 4)
        clouds = np.sin(x + shift[0]) * np.cos(y + shift[1]) + 0.3 * np.sin(5 * x + shift[2])
        quality = np.where(clouds > 0.1, CLOUD, CLEAR).astype("uint8")
        quality[(x + shift[3] * y) > 30] = NODATA
        bands = {}
        for k, m in enumerate(cube.bands):
            pixels = 800 + 400 * k + 300 * np.sin(x * (k + 1)) + rng.normal(0, 25, shape)
            pixels[quality == CLOUD] += 5000
            pixels[quality == NODATA] = m.nodata
            bands[m.name] = pixels.astype(m.dtype)
        bands["CMASK"] = quality
        when = datetime(2020, month, 1 + number, 13, number, tzinfo=UTC)
        scenes.append(write_scene(folder, cube, when, geobox, bands))
    period = cube.timeline.period_of(date(2020, month, 1))
    return CompositeTask(cube, TILE, period, tuple(scenes))


def fill(dc, root: Path, tasks: dict[int, CompositeTask]) -> None:
    """Index each live image, and three months later the built one."""
    (cube,) = {task.cube for task in tasks.values()}
    dc.index.products.add_document(cube.to_product())
    resolve = Doc2Dataset(dc.index, skip_lineage=True, eo3=True)
    for count, task in tasks.items():
        folder = root / f"images{count}"
        folder.mkdir()
        pixels = composite_tile(task)
        for m in cube.outputs:
            path = folder / f"{m.name}.tif"
            write_cog(path, pixels[m.name], task.geobox, nodata=m.missing)
        recipe = recipe_document(task, n_clear=clear_pixels(task))
        uri = write_recipe(recipe, storage_at(str(folder)), "image" + RECIPE_SUFFIX)
        built = {m.name: {"path": f"{m.name}.tif"} for m in cube.outputs}
        live = {m.name: {"path": uri.rpartition("/")[2], "layer": m.name} for m in cube.outputs}
        for measurements, file_format, month in (
            (live, LIVE_FORMAT, task.period.start.month),
            (built, "GeoTIFF", task.period.start.month + len(COUNTS)),
        ):
            document = dataset_document(task, measurements, file_format, month)
            dataset, problem = resolve(document, (folder / f"{month}.yaml").as_uri())
            assert dataset is not None, problem
            dc.index.datasets.add(dataset, with_lineage=False)


def clear_pixels(task: CompositeTask) -> list[int]:
    """Count as `odc-bdc cube declare` does."""
    counts = []
    for (scene,) in task.observations:
        with rasterio.open(scene.source("CMASK").href.removeprefix("file://")) as src:
            counts.append(int((src.read(1) == CLEAR).sum()))
    return counts


def dataset_document(task, measurements, file_format: str, month: int) -> dict:
    """Write an EO3 document."""
    period = task.cube.timeline.period_of(date(2020, month, 1))
    start, end = f"{period.start}T00:00:00Z", f"{period.end}T23:59:59Z"
    ring = task.geobox.extent.exterior.coords
    grid = {"shape": list(task.geobox.shape), "transform": list(task.geobox.affine)}
    return {
        "$schema": "https://schemas.opendatacube.org/dataset",
        "id": str(uuid.uuid5(task.id, str(month))),
        "product": {"name": task.cube.name},
        "crs": task.geobox.crs.to_wkt(),
        "geometry": {"type": "Polygon", "coordinates": [[list(xy) for xy in ring]]},
        "grids": {"default": grid},
        "properties": {
            "datetime": start,
            "dtr:start_datetime": start,
            "dtr:end_datetime": end,
            "odc:processing_datetime": end,
            "odc:file_format": file_format,
            "odc:region_code": task.tile_id,
        },
        "measurements": measurements,
        "lineage": {},
    }


def report_services(environ: dict[str, str], cube, starts: int) -> None:
    """Print ratios of requests: cold and warm blocks in one process, and the first of new ones."""
    found = {}
    worker = Worker("ours", environ)
    for number, count in enumerate(COUNTS):
        months = {"live": number + 1, "built": number + 1 + len(COUNTS)}
        for what in ("blocks cold", "warm"):
            spent = {kind: [] for kind in months}
            for place in places(cube):
                for kind, month in months.items():
                    spent[kind].append(asked(worker, request(cube, place, month)))
            # The first requests of all open files.
            found[what, count] = [float(np.median(s[2:])) for s in spent.values()]
    worker.stop()
    if starts:
        found |= first_requests(environ, cube, starts)
    head = f"{'live ms':>10}{'built ms':>10}{'ratio':>8}{'at most':>9}"
    print(f"{'tile of 256 x 256, 3 bands':28}{head}")
    for what, limits in TARGETS.items():
        for count, limit in zip(COUNTS, limits, strict=True):
            if (what, count) not in found:
                continue
            live, built = found[what, count]
            line = f"{live * 1000:>10.1f}{built * 1000:>10.1f}{live / built:>8.2f}{limit:>9}"
            print(f"{f'{what}, {count} scenes':28}{line}")


def first_requests(environ: dict[str, str], cube, starts: int) -> dict:
    """Give seconds of the first request of new processes, of the live and of the built image."""
    found = {}
    for number, count in enumerate(COUNTS):
        months = {"live": number + 1, "built": number + 1 + len(COUNTS)}
        spent = {kind: [] for kind in months}
        for place in (places(cube) * starts)[:starts]:
            for kind, month in months.items():
                fresh = Worker("ours", environ)
                spent[kind].append(asked(fresh, request(cube, place, month)))
                fresh.stop()
        found["new process", count] = [float(np.median(s)) for s in spent.values()]
    return found


def asked(worker: Worker, url: str) -> float:
    """Give seconds of CPU of a request, having seen that the answer shows something."""
    answer = worker.ask(url)
    assert answer["status"] == 200, answer
    assert answer["opaque"] > 0.3, "a tile without pixels measures nothing"
    return answer["cpu"]


def places(cube) -> list[tuple[int, int]]:
    """Give the corner of a tile in the middle of each block; neighbours do not come in turn."""
    rows, columns = cube.geobox(TILE).shape
    corners = [(y, x) for y in range(0, rows, BLOCK) for x in range(0, columns, BLOCK)]
    return [(y + VIEW // 2, x + VIEW // 2) for y, x in corners[::3] + corners[1::3] + corners[2::3]]


def request(cube, place: tuple[int, int], month: int) -> str:
    """Give the address of a map on the native pixel grid."""
    box = cube.geobox(TILE)[place[0] : place[0] + VIEW, place[1] : place[1] + VIEW].boundingbox
    query = {
        "service": "WMS",
        "version": "1.3.0",
        "request": "GetMap",
        "layers": cube.name,
        "styles": "true_colour",
        "crs": "EPSG:10857",
        "bbox": ",".join(map(str, box.bbox)),
        "width": VIEW,
        "height": VIEW,
        "format": "image/png",
        "time": f"2020-{month:02d}-01",
    }
    return f"/wms?{urlencode(query)}"


def report_loads(dc, tasks: dict[int, CompositeTask]) -> None:
    """Print what loading costs without a service; pixels are compared."""
    print(f"\n{'dc.load':28}{'live ms':>10}{'built ms':>10}{'ratio':>8}")
    for number, (count, task) in enumerate(tasks.items()):
        spent: dict[str, list[float]] = {"live": [], "built": []}
        for y, x in places(task.cube):
            part = task.geobox[y : y + VIEW, x : x + VIEW]
            pixels = {}
            for kind, month in zip(spent, (number + 1, number + 1 + len(COUNTS)), strict=True):
                begun = time.process_time()
                pixels[kind] = load(dc, task, month, part, RGB)
                spent[kind].append(time.process_time() - begun)
            assert pixels["live"].equals(pixels["built"].assign_coords(time=pixels["live"].time))
        live, built = (float(np.median(s[2:])) for s in spent.values())
        print(
            f"{f'blocks cold, {count} scenes':28}{live * 1000:>10.1f}{built * 1000:>10.1f}"
            f"{live / built:>8.2f}"
        )


def report_whole(dc, tasks: dict[int, CompositeTask], rounds: int) -> None:
    """Print what loading a whole image costs, against reading all of its scenes once.

    By both readers of datacube, all at once and in chunks by two threads; the scenes are read by as
    many threads. Nothing is kept of the image before; pixels are compared with the built one's.
    """
    side = tasks[COUNTS[0]].geobox.shape[0]
    title = f"a whole image of {side} x {side}, 4 bands"
    print(f"\n{title:44}{'load s':>10}{'read s':>10}{'ratio':>8}{'at most':>9}")
    for number, (count, task) in enumerate(tasks.items()):
        names = [m.name for m in task.cube.bands]
        built = load(dc, task, number + 1 + len(COUNTS), task.geobox, names)
        for how, driver, chunks, threads in WAYS:
            spent: dict[str, list[float]] = {"load": [], "read": []}
            for _ in range(rounds):
                spent["read"].append(seconds(partial(read_scenes, task, threads)))
                opening._images.clear()  # headers are read anew, as of an image nobody has read
                process_state().blocks.clear()
                more = {"driver": driver, "dask_chunks": chunks}
                begun = time.process_time()
                image = load(dc, task, number + 1, task.geobox, names, **more)
                with dask.config.set(scheduler="threads", num_workers=threads):
                    image = image.compute()
                spent["load"].append(time.process_time() - begun)
                assert image.equals(built.assign_coords(time=image.time))
            live, read = (float(np.median(s)) for s in spent.values())
            print(
                f"{f'{count} scenes, {how}':44}{live:>10.2f}{read:>10.2f}{live / read:>8.2f}"
                f"{FULL:>9}"
            )


def seconds(run) -> float:
    """Give the seconds of CPU of something."""
    begun = time.process_time()
    run()
    return time.process_time() - begun


def read_scenes(task: CompositeTask, threads: int) -> None:
    """Read all files of the scenes of a task once."""

    def read(href: str) -> None:
        with rasterio.open(href.removeprefix("file://")) as src:
            src.read(1)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read, [b.href for scene in task.scenes for _, b in scene.sources]))


def load(dc, task, month: int, like, names, **options):
    """Load a part of an image."""
    # postgis searches by no area in a CRS without a code.
    found = dc.find_datasets(product=task.cube.name, time=f"2020-{month:02d}-01")
    return dc.load(datasets=found, like=like, measurements=list(names), **options)


if __name__ == "__main__":
    main()
