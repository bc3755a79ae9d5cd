"""Time and memory of composites and of building an image, as ratios within one run.

``make bench``. Candidates take turns, round by round, so that a drift of the machine meets all of
them alike; quote the ratios, not the milliseconds.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
import tracemalloc
import uuid
import warnings
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import xarray as xr

from odc_bdc import composite, find_cube
from odc_bdc.building import composite_tile
from odc_bdc.building.writing import write_image
from odc_bdc.compositing import kernels
from odc_bdc.planning import BandSource, CompositeTask, SceneRef
from odc_bdc.scenes import demo_extent, make_scenes

CUBE = find_cube("CB4_64_16D_MED_v1")
THREADS = 2


def stack(scenes: int, side: int) -> xr.Dataset:
    """Make random scenes, about half of them clear."""
    rng = np.random.default_rng(0)
    shape = (scenes, side, side)
    dims = ("time", "y", "x")
    data = {
        m.name: (dims, rng.integers(200, 4000, shape, dtype="int16"), {"nodata": m.nodata})
        for m in CUBE.bands
    }
    data["CMASK"] = (dims, rng.choice(np.array([127, 255], "uint8"), shape), {"nodata": 0})
    times = np.datetime64("2020-01-01", "ns") + np.arange(scenes) * np.timedelta64(1, "D")
    return xr.Dataset(data, coords={"time": times})


def numpy_median(ds: xr.Dataset) -> None:
    """Composite as a notebook would: mask to float, nanmedian."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of pixels that are never clear
        for m in CUBE.bands:
            np.nanmedian(np.where(ds.CMASK.values == 127, ds[m.name].values, np.nan), axis=0)


def xarray_median(ds: xr.Dataset) -> None:
    """Composite with xarray's own words."""
    ds[[m.name for m in CUBE.bands]].where(ds.CMASK == 127).median("time")


def read_once(ds: xr.Dataset) -> None:
    """Touch every value once: no composite can be quicker."""
    for da in ds.data_vars.values():
        da.values.sum()


def take_turns(candidates: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Give the median seconds of each candidate."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            begun = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - begun)
    return {name: statistics.median(s) for name, s in seconds.items()}


def show(title: str, seconds: dict[str, float], base: str) -> None:
    """Print a table of ratios."""
    print(f"\n{title}")
    for name, value in seconds.items():
        print(f"  {name:34} {1000 * value:9.0f} ms {value / seconds[base]:8.2f} x {base}")


def peak(run: Callable[[], object]) -> int:
    """Give the most bytes that were allocated at once."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def bare(ds: xr.Dataset, function: str) -> Callable[[], object]:
    """Give the call of the kernel that `composite` leads to."""
    table = CUBE.quality.table("uint8")
    bands = [ds[m.name].values for m in CUBE.bands]
    nodata = [m.nodata for m in CUBE.bands]
    order = np.arange(ds.sizes["time"])
    asked: dict[str, Any] = {
        "MED": {"median": "trunc"},
        "AVG": {"mean": "half_even"},
        "LCF": {"order": order},
    }[function]

    def run() -> None:
        found = kernels.composites(ds.CMASK.values, table, bands, nodata, **asked, threads=THREADS)
        if found.picked is not None:
            kernels.gather(ds.CMASK.values, found.picked, nodata=0, threads=THREADS)
            kernels.of_time(order, found.picked, dtype="int16", nodata=-1)

    return run


def in_memory(scenes: int, side: int, rounds: int) -> None:
    """Compare composites of arrays: the kernel alone, through xarray, and as a notebook would."""
    ds = stack(scenes, side)
    cut = ds.chunk({"time": 1, "y": 512, "x": 512})
    loaded = cut.map(lambda band: band.copy(data=band.data.map_blocks(np.copy))).persist()
    lazy = {"loaded": loaded, "cut from arrays": cut.persist()}

    def ours(function: str) -> Callable[[], object]:
        order = list(range(scenes)) if function == "LCF" else None
        return lambda: composite(
            ds, function=function, quality=CUBE.quality, order=order, threads=THREADS
        )

    def dask(function: str, chunks: str) -> Callable[[], object]:
        given = lazy[chunks]
        return lambda: composite(given, function=function, quality=CUBE.quality).compute()

    for function in ("MED", "AVG", "LCF"):
        runs = {
            "kernel": bare(ds, function),
            "composite, eager": ours(function),
            # A loader allocates each chunk; chunks of an array are views, which have to be copied.
            "dask, chunks of 512, loaded": dask(function, "loaded"),
            "dask, chunks of 512, cut from arrays": dask(function, "cut from arrays"),
        }
        title = f"{function}: {scenes} scenes of {side} x {side}, 4 bands and quality, in memory"
        show(title, take_turns(runs, rounds), "kernel")
        composited = ours(function)()
        known = ds.nbytes + getattr(composited, "nbytes", 0)
        more = peak(ours(function)) - getattr(composited, "nbytes", 0)
        print(f"  {'memory, eager':34} {100 * more / known:6.1f} % over input and output")


def notebook(scenes: int, side: int, rounds: int) -> None:
    """Compare with what a notebook would write."""
    ds = stack(scenes, side)
    runs: dict[str, Callable[[], object]] = {
        "composite MED": lambda: composite(
            ds, function="MED", quality=CUBE.quality, threads=THREADS
        ),
        "read once": lambda: read_once(ds),
        "numpy nanmedian": lambda: numpy_median(ds),
        "xarray median": lambda: xarray_median(ds),
    }
    title = f"{scenes} scenes of {side} x {side}, 4 bands and quality, in memory"
    show(title, take_turns(runs, rounds), "composite MED")


def one_image(side: int, rounds: int) -> None:
    """Compare the steps of building an image from files."""
    with tempfile.TemporaryDirectory() as folder:
        report = make_scenes(
            Path(folder),
            size=side,
            tiles=("007004",),
            start=date(2020, 1, 1),
            end=date(2020, 1, 31),
        )
        items = [pystac.Item.from_file(str(path)) for path in sorted(report.items)]
        cube = CUBE.patch(extent=demo_extent(side, ("007004",)))
        period = cube.timeline.period_of(date(2020, 1, 20))
        scenes = tuple(
            SceneRef(
                uuid.uuid5(uuid.NAMESPACE_URL, item.id),
                item.id,
                item.datetime or datetime(2020, 1, 1, tzinfo=UTC),
                item.properties["platform"],
                cube.products[0],
                tuple(
                    (m.name, BandSource(item.assets[m.name].get_absolute_href() or "", m.encoding))
                    for m in cube.measurements
                ),
            )
            for item in items
        )
        if period is None:
            raise SystemExit("no period")
        task = CompositeTask(cube, "007004", period, scenes)
        root = Path(folder) / "cubes"

        def write() -> None:
            shutil.rmtree(root, ignore_errors=True)
            write_image(task, root, processed=datetime.now(UTC))

        runs = {"read and composite": lambda: composite_tile(task), "and COG, EO3, STAC": write}
        show(f"one image of {side} x {side} from {len(scenes)} scenes", take_turns(runs, rounds),
             "read and composite")  # fmt: skip


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    for scenes in (12, 36):
        in_memory(scenes, 4 * given.side, given.rounds)
    notebook(12, given.side, given.rounds)
    one_image(given.side, given.rounds)


if __name__ == "__main__":
    main()
