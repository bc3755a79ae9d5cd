"""Time and memory of building images from files, as ratios to other programs and to decoding alone.

``make bench``. Candidates take turns, round by round, so that a drift of the machine meets all of
them alike; quote the ratios, not the seconds. Peers that are not installed are left out
(``.venv/bin/uv pip install --group bench``). All files are in the page cache: disks and networks
take no part.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pystac
import rasterio

from odc_bdc import find_cube
from odc_bdc.building.efficacy import EfficacyStore
from odc_bdc.building.image import write_bands
from odc_bdc.building.reading import GDAL_OPTIONS, SourceFiles, SourceReader
from odc_bdc.building.tile import composite_windows
from odc_bdc.building.windows import windows
from odc_bdc.cog import DEFLATE, ZSTD, Compression, write_cog
from odc_bdc.compositing import needs_classes
from odc_bdc.planning import BandSource, CompositeTask, SceneRef
from odc_bdc.scenes import demo_extent, make_scenes
from odc_bdc.timeline import Period

sys.path.append(str(Path(__file__).parent))
from indexing import most_memory

TILE = "007004"
THREADS = 2
CLEAR, UNSEEN, NODATA = 127, 0, -9999
MED, LCF = (find_cube(f"CB4_64_16D_{f}_v1").patch(indices=()) for f in ("MED", "STK"))
BANDS = [m.name for m in MED.bands]
PERIOD = Period(date(2020, 1, 1), date(2020, 3, 31))


def made_items(folder: Path, side: int) -> list[pystac.Item]:
    """Make forty scenes of two months."""
    report = make_scenes(
        folder,
        size=side,
        tiles=(TILE,),
        start=date(2020, 1, 1),
        end=date(2020, 2, 29),
        dates_per_month=20,
    )
    return [pystac.Item.from_file(str(path)) for path in sorted(report.items)]


def task_of(items: list[pystac.Item], cube: Any, side: int) -> CompositeTask:
    """Give the task of an image of items."""
    scenes = tuple(
        SceneRef(
            uuid.uuid5(uuid.NAMESPACE_URL, item.id),
            item.id,
            item.datetime,
            item.properties["platform"],
            cube.products[0],
            tuple(
                (m.name, BandSource(item.assets[m.name].get_absolute_href() or "", m.encoding))
                for m in cube.measurements
            ),
        )
        for item in items
    )
    return CompositeTask(cube.patch(extent=demo_extent(side, (TILE,))), TILE, PERIOD, scenes)


Took = tuple[float, float]
"""Seconds by the clock, and of processors."""


def take_turns(
    candidates: dict[str, Callable[[], object]], rounds: int, slow: tuple[str, ...] = ()
) -> dict[str, Took]:
    """Give the median seconds of each candidate; slow ones take part in the first two rounds."""
    seconds: dict[str, list[Took]] = {name: [] for name in candidates}
    for number in range(rounds):
        for name, run in candidates.items():
            if name in slow and number > 1:
                continue
            begun = time.perf_counter(), time.process_time()
            run()
            took = time.perf_counter() - begun[0], time.process_time() - begun[1]
            seconds[name].append(took)
    return {
        name: (statistics.median(w for w, _ in s), statistics.median(c for _, c in s))
        for name, s in seconds.items()
    }


def show(title: str, seconds: dict[str, Took], base: str) -> None:
    """Print a table of ratios; on a busy machine those of processors are the ones to quote."""
    print(f"\n{title}; ratios to {base}")
    print(f"  {'':44} {'clock':>9} {'ratio':>8} {'of cores':>10} {'ratio':>8}")
    for name, (wall, cpu) in seconds.items():
        ratios = wall / seconds[base][0], cpu / seconds[base][1]
        print(f"  {name:44} {wall:7.2f} s {ratios[0]:8.2f} {cpu:8.2f} s {ratios[1]:8.2f}")


def installed(name: str) -> Any:
    """Import a peer, or give None."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        print(f"  ({name} is left out: {error})")
        return None


def drop(*_: object) -> None:
    """Do nothing with a window of an image."""


def build(task: CompositeTask, store: EfficacyStore | None = None) -> Callable[[], object]:
    """Give the call that reads and composites an image, and keeps nothing of it."""
    return lambda: composite_windows(task, drop, threads=THREADS, store=store)


def decode(task: CompositeTask) -> Callable[[], object]:
    """Give the call that only decodes what `build` decodes: same reader, windows and threads."""
    files, shape = SourceFiles(task.geobox), (512, 512)
    whole = list(windows(tuple(task.geobox.shape), shape))
    with SourceReader(files) as reader:
        wanted = {
            (i, w[0].start, w[1].start): bool(
                (reader.read(scene.source(MED.quality.band), "nearest", w) != UNSEEN).any()
            )
            for w in whole
            for i, scene in enumerate(task.scenes)
        }

    def part(fresh: SourceFiles, number: int) -> None:
        room = {m.name: np.empty(shape, m.dtype) for m in MED.measurements}
        with SourceReader(fresh) as reader:
            for w in whole[number::THREADS]:
                size = tuple(part.stop - part.start for part in w)
                for i, scene in enumerate(task.scenes):
                    for m in MED.measurements:
                        if m.name == MED.quality.band or wanted[i, w[0].start, w[1].start]:
                            out = room[m.name][: size[0], : size[1]]
                            reader.read(scene.source(m.name), "nearest", w, out)

    def run() -> None:
        fresh = SourceFiles(task.geobox)
        with rasterio.Env(**GDAL_OPTIONS), ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda number: part(fresh, number), range(THREADS)))

    return run


def labelled(items: list[pystac.Item], folder: Path) -> list[pystac.Item]:
    """Copy scenes with a CRS that has an EPSG code, which stackstac wants."""
    out = []
    for item in items:
        copy = item.full_copy()
        copy.make_asset_hrefs_absolute()
        for name in (*BANDS, MED.quality.band):
            path = folder / f"{item.id}_{name}.tif"
            shutil.copy(copy.assets[name].href, path)
            with (
                rasterio.Env(IGNORE_COG_LAYOUT_BREAK="YES"),
                rasterio.open(path, "r+", ignore_cog_layout_break="YES") as file,
            ):
                file.crs = rasterio.CRS.from_epsg(5880)
            copy.assets[name].href = str(path)
        copy.properties |= {"proj:epsg": 5880, "proj:code": "EPSG:5880"}
        out.append(copy)
    return out


def against_peers(items: list[pystac.Item], side: int, rounds: int, folder: Path) -> None:
    """Compare reading and a median with what people write in a notebook."""
    task = task_of(items, MED, side)
    odc_stac, bn, stackstac = (installed(n) for n in ("odc.stac", "bottleneck", "stackstac"))
    names = [*BANDS, MED.quality.band]

    def eager() -> None:
        ds = odc_stac.load(items, bands=names, geobox=task.geobox, pool=THREADS)
        good = ds[MED.quality.band].values == CLEAR
        for name in BANDS:
            band = ds[name].values
            masked = np.where(good & (band != NODATA), band, np.float32(np.nan))
            bn.nanmedian(masked, axis=0)

    def lazy(**how: Any) -> None:
        chunks = {"x": 512, "y": 512}
        ds = odc_stac.load(items, bands=names, geobox=task.geobox, chunks=chunks)
        good = ds[MED.quality.band] == CLEAR
        ds[BANDS].where(good & (ds[BANDS] != NODATA)).median("time").compute(**how)

    def stacked(**how: Any) -> None:
        box = task.geobox.boundingbox
        stack = stackstac.stack(
            copies,
            assets=names,
            epsg=5880,
            resolution=64,
            bounds=(box.left, box.bottom, box.right, box.top),
            chunksize=512,
            rescale=False,
        )
        good = stack.sel(band=MED.quality.band) == CLEAR
        bands = stack.sel(band=BANDS)
        bands.where(good & (bands != NODATA)).median("time").compute(**how)

    runs: dict[str, Callable[[], object]] = {"odc_bdc": build(task)}
    if odc_stac and bn:
        runs["odc.stac.load, bottleneck"] = eager
    with_dask = {}
    if odc_stac:
        with_dask["odc.stac.load with dask, xarray median"] = lazy
    if stackstac:
        copies = labelled(items, folder)
        with_dask["stackstac with dask, xarray median"] = stacked
    build(task)()  # compile
    xr = importlib.import_module("xarray")
    distributed = importlib.import_module("distributed")
    # xarray as it comes: bottleneck is here for a row of its own.
    with (
        warnings.catch_warnings(),
        # What notebooks begin with. Its processes do not count among the seconds of cores.
        distributed.Client(
            n_workers=THREADS, threads_per_worker=1, dashboard_address=None, set_as_default=False
        ) as client,
        xr.set_options(use_bottleneck=False, use_numbagg=False),
        dask.config.set(scheduler="threads", num_workers=THREADS),
    ):
        warnings.simplefilter("ignore")  # of pixels that are never clear, and of peers
        runs |= with_dask
        runs |= {f"{n}, Client": partial(run, scheduler=client) for n, run in with_dask.items()}
        slow = tuple(name for name in runs if "dask" in name)
        seconds = take_turns(runs, rounds, slow)
    show(f"read and MED, {len(items)} scenes of {side} x {side}, 4 bands", seconds, "odc_bdc")


def against_decoding(items: list[pystac.Item], side: int, rounds: int) -> None:
    """Compare with decoding the same pixels, and functions with each other."""
    few, many = items[:12], items[:36]
    task = task_of(few, MED, side)
    assert not needs_classes(MED)
    runs = {"decode": decode(task), "read and MED": build(task)}
    show(f"{len(few)} scenes of {side} x {side}", take_turns(runs, rounds), "decode")
    with tempfile.TemporaryDirectory() as folder:
        median, stack = task_of(many, MED, side), task_of(many, LCF, side)
        bare = replace(stack, cube=stack.cube.patch(auxiliary=("PROVENANCE",)))
        store, clear = EfficacyStore(Path(folder) / "all"), EfficacyStore(Path(folder) / "bare")
        build(stack, store)()
        build(bare, clear)()
        runs = {
            "MED": build(median),
            "MED, scenes known": build(median, store),
            "LCF": build(stack),
            "LCF, scenes known": build(stack, store),
            "LCF without counts": build(bare),
            "LCF without counts, scenes known": build(bare, clear),
        }
        title = f"{len(many)} scenes of {side} x {side}, read and composite"
        show(title, take_turns(runs, rounds), "LCF, scenes known")
        for name, one in (("LCF", stack), ("LCF without counts", bare)):
            for how, kept in (("", None), (", scenes known", store)):
                tally = composite_windows(one, drop, threads=THREADS, store=kept)
                share = tally.blocks_read / (tally.blocks_read + tally.blocks_skipped)
                print(f"  {name + how}: {100 * share:.1f} % of the blocks of bands are decoded")


def against_gdal(items: list[pystac.Item], side: int, rounds: int, folder: Path) -> None:
    """Compare writing an image's bands with GDAL's COG driver."""
    task = task_of(items[:12], MED, side)
    image: dict[str, Any] = {m.name: np.empty((side, side), m.dtype) for m in MED.bands}

    def receive(window: Any, part: Any) -> None:
        for name, array in image.items():
            array[window] = part[name]

    composite_windows(task, receive, threads=THREADS)
    sizes: dict[str, int] = {}

    def gdal(compress: str, level: int) -> Callable[[], None]:
        def one(item: tuple[str, Any]) -> int:
            name, pixels = item
            path = folder / f"gdal_{name}.tif"
            with rasterio.open(
                path,
                "w",
                driver="COG",
                width=side,
                height=side,
                count=1,
                dtype=pixels.dtype.name,
                nodata=NODATA,
                crs=task.geobox.crs.to_wkt(),
                transform=task.geobox.affine,
                blocksize=512,
                compress=compress,
                level=level,
                predictor="YES",
                overview_resampling="NEAREST",
            ) as out:
                out.write(pixels, 1)
            return path.stat().st_size

        return together(f"GDAL {compress} {level}", one)

    def ours(compression: Compression) -> Callable[[], None]:
        def one(item: tuple[str, Any]) -> int:
            name, pixels = item
            path = folder / f"ours_{name}.tif"
            write_cog(path, pixels, task.geobox, nodata=NODATA, compression=compression)
            return path.stat().st_size

        return together(f"odc_bdc {compression.name} {compression.level}", one)

    def together(name: str, one: Callable[[tuple[str, Any]], int]) -> Callable[[], None]:
        def run() -> None:
            with ThreadPoolExecutor(THREADS) as pool:
                sizes[name] = sum(pool.map(one, image.items()))

        return run

    runs = {
        "GDAL DEFLATE 6": gdal("DEFLATE", 6),
        "GDAL ZSTD 1": gdal("ZSTD", 1),
        "odc_bdc ZSTD 1": ours(ZSTD),
        "odc_bdc ZSTD 3": ours(Compression("ZSTD", 3)),
        "odc_bdc DEFLATE 6": ours(DEFLATE),
    }
    show(f"4 bands of {side} x {side} as COGs, predictor 2", take_turns(runs, rounds),
         "GDAL DEFLATE 6")  # fmt: skip
    for name, size in sizes.items():
        print(f"  {name:48} {size / sizes['GDAL DEFLATE 6']:8.3f} x its size")


GDALCUBES = Path(__file__).with_name("gdalcubes_median.R")


def against_gdalcubes(items: list[pystac.Item], side: int, rounds: int, folder: Path) -> None:
    """Compare reading, a median and writing with gdalcubes, if R has it."""
    if not shutil.which("Rscript") or subprocess.run(
        ["Rscript", "-e", "library(gdalcubes)"], capture_output=True, check=False
    ).returncode:  # fmt: skip
        print("  (gdalcubes is left out: R has no such package)")
        return
    task = task_of(items, MED.patch(auxiliary=()), side)
    box = task.geobox.boundingbox
    days = sorted(item.datetime.date() for item in items if item.datetime)
    out = folder / "gdalcubes"
    asked = {
        "files": [
            item.assets[name].get_absolute_href()
            for item in items
            for name in (*BANDS, MED.quality.band)
        ],
        "bands": BANDS,
        "quality": MED.quality.band,
        "clear": CLEAR,
        "nodata": NODATA,
        "srs": task.geobox.crs.to_wkt(),
        "extent": [box.left, box.bottom, box.right, box.top],
        "side": side,
        "start": days[0].isoformat(),
        "end": days[-1].isoformat(),
        "days": (days[-1] - days[0]).days + 1,
        "threads": THREADS,
        "out": str(out),
    }
    (told := folder / "gdalcubes.json").write_text(json.dumps(asked), "utf-8")
    ours = folder / "written"

    def write() -> None:
        shutil.rmtree(ours, ignore_errors=True)
        ours.mkdir()
        write_bands(task, ours, threads=THREADS)

    seconds: dict[str, list[float]] = {"odc_bdc": [], "gdalcubes": []}
    write()  # compile
    for _ in range(min(rounds, 2)):
        begun = time.perf_counter()
        write()
        seconds["odc_bdc"].append(time.perf_counter() - begun)
        shutil.rmtree(out, ignore_errors=True)
        done = subprocess.run(
            ["Rscript", str(GDALCUBES), str(told)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            print(f"  (gdalcubes is left out: {done.stderr.strip()[-300:]})")
            return
        seconds["gdalcubes"].append(float(done.stdout.split()[-1]))
    theirs, mine = (statistics.median(seconds[name]) for name in ("gdalcubes", "odc_bdc"))
    print(f"\nread, MED and write, {len(items)} scenes of {side} x {side}, by the clock")
    print(f"  odc_bdc {mine:.2f} s, gdalcubes {theirs:.2f} s: {theirs / mine:.1f} times quicker")
    with rasterio.open(next(out.glob("*.tif"))) as file:
        for number, name in enumerate(BANDS, 1):
            with rasterio.open(next(ours.glob(f"*_{name}.tif"))) as own:
                off = np.abs(own.read(1).astype(int) - file.read(number))
            # A median of an even number is rounded here and cut off there.
            print(f"  {name}: {100 * (off <= 1).mean():.2f} % of pixels are the same within 1")


def growth(folder: Path, items: list[pystac.Item], side: int, rounds: int) -> dict[str, Any]:
    """Take the time of whole images, with writing, by scenes and by pixels."""
    out = folder / "grown"

    def write(task: CompositeTask) -> Callable[[], object]:
        def run() -> None:
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            write_bands(task, out, threads=THREADS)

        return run

    counts = [6, 12, 24, 36]
    tasks = {f"{n} scenes": write(task_of(items[:n], MED, side)) for n in counts}
    by_scenes = take_turns(tasks, rounds)
    sides = [s for s in (512, 1024, 2048) if s <= side]
    tasks = {f"{s} x {s}": write(task_of(items[:12], MED, s)) for s in sides}
    by_pixels = take_turns(tasks, rounds)
    show(f"whole images of {side} x {side}, written", by_scenes, f"{counts[0]} scenes")
    show("whole images of 12 scenes, written", by_pixels, f"{sides[0]} x {sides[0]}")
    return {
        "scenes": [counts, [cpu for _, cpu in by_scenes.values()]],
        "pixels": [[s * s / 1e6 for s in sides], [cpu for _, cpu in by_pixels.values()]],
    }


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw time against scenes and pixels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    for ax, key, label in (
        (left, "scenes", "scenes of 2048 x 2048 pixels"),
        (right, "pixels", "million pixels, 12 scenes"),
    ):
        x, seconds = found[key]
        ax.plot(x, seconds, marker="o")
        ax.set(xlabel=label, ylabel="seconds of core", xlim=(0, None), ylim=(0, None))
        ax.grid(alpha=0.3)
    figure.suptitle("One image: read, median of four bands, counts, COGs; two threads")
    figure.savefig(path)
    print(path)


# At 40 m a tile has 10,560 x 10,560 pixels.
LARGE = MED.patch(resolution=40)
DISTINCT = 3


def make_large(folder: Path, items: list[pystac.Item]) -> None:
    """Make scenes of a large tile: each is a small one side by side."""
    geobox = LARGE.geobox(TILE)
    side = geobox.shape[0]

    def make(one: Any) -> None:
        item, m = one
        with rasterio.open(item.assets[m.name].get_absolute_href()) as src:
            pixels = src.read(1)
        repeats = -(-side // pixels.shape[0])
        whole = np.tile(pixels, (repeats, repeats))[:side, :side]
        path = folder / f"{item.id}_{m.name}.tif"
        write_cog(path, whole, geobox, nodata=m.nodata, compression=Compression("DEFLATE", 1))

    chosen = items[:: len(items) // DISTINCT][:DISTINCT]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(make, [(item, m) for item in chosen for m in MED.measurements]))


def large_task(folder: Path, scenes: int, cube: Any) -> CompositeTask:
    """Give a task of a large tile, whose scenes share files."""
    labels = sorted({path.name.rpartition("_")[0] for path in folder.glob("*.tif")})
    refs = []
    for n in range(scenes):
        files = [
            (
                m.name,
                BandSource(str(folder / f"{labels[n % len(labels)]}_{m.name}.tif"), m.encoding),
            )
            for m in cube.measurements
        ]
        when = PERIOD.start_datetime + timedelta(days=n)
        refs.append(SceneRef(uuid.UUID(int=n), f"{n}", when, None, cube.products[0], tuple(files)))
    return CompositeTask(cube, TILE, PERIOD, tuple(refs))


def write_large(scenes: int, folder: Path) -> None:
    """Write a large image, and print what that took; in a process of its own."""
    out = folder / f"out{scenes}"
    out.mkdir()
    task = large_task(folder, scenes, LARGE)
    begun = time.perf_counter()
    summary = write_bands(task, out, threads=THREADS)
    said = {
        "scenes": scenes,
        "seconds": time.perf_counter() - begun,
        "cpu": time.process_time(),
        "peak": most_memory() * 2**20,
        "decoded": summary.bytes_read,
        "written": sum(path.stat().st_size for path in summary.files.values()),
        "steps": {step: round(s, 1) for step, s in summary.seconds.items()},
    }
    print(json.dumps(said))
    shutil.rmtree(out)


def large(folder: Path, items: list[pystac.Item]) -> None:
    """Take memory and time of whole tiles of 10,560 x 10,560 pixels."""
    where = folder / "large"
    where.mkdir()
    make_large(where, items)
    print("\nMED of 10,560 x 10,560 pixels, 4 bands and quality, written; two threads")
    for scenes in (36, 72):
        run = [
            sys.executable,
            "-W",
            "ignore",
            __file__,
            "--one",
            str(scenes),
            "--folder",
            str(where),
        ]
        done = subprocess.run(run, check=True, capture_output=True, text=True)
        said = json.loads(done.stdout)
        print(
            f"  {scenes} scenes: {said['seconds']:.0f} s, {said['cpu']:.0f} s of core, peak "
            f"{said['peak'] / 1e9:.2f} GB, {said['decoded'] / 1e9:.1f} GB decoded, "
            f"{said['written'] / 1e9:.2f} GB written; {said['steps']}"
        )
    shutil.rmtree(where)


def main() -> None:
    """Run all that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep scenes here for the next run")
    parser.add_argument(
        "--only", choices=["peers", "gdalcubes", "decoding", "cog", "growth", "large"]
    )
    parser.add_argument("--large", action="store_true", help="whole tiles too, which takes minutes")
    parser.add_argument("--picture", type=Path, help="PNG file of the growth to draw")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        write_large(given.one, given.folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        items = made_items(given.folder or folder / "scenes", given.side)
        parts: dict[str, Callable[[], Any]] = {
            "peers": lambda: against_peers(items[:12], given.side, given.rounds, folder),
            "gdalcubes": lambda: against_gdalcubes(items[:12], given.side, given.rounds, folder),
            "decoding": lambda: against_decoding(items, given.side, given.rounds),
            "cog": lambda: against_gdal(items, given.side, given.rounds, folder),
            "growth": lambda: growth(folder, items, given.side, given.rounds),
        }
        if given.large or given.only == "large":
            parts["large"] = lambda: large(folder, items)
        found = {name: run() for name, run in parts.items() if given.only in (None, name)}
        if given.picture:
            draw(found["growth"], given.picture)


if __name__ == "__main__":
    main()
