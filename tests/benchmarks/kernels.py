"""Time of the kernels of compositing, as ratios to reading the data and to other programs.

``make bench``. Candidates take turns, round by round, so that a drift of the machine meets all of
them alike; quote the ratios, not the milliseconds. Peers that are not installed are left out
(``.venv/bin/uv pip install --group bench``). Peers that are slow get the first rows only, and their
time is scaled to the whole: all of them work pixel by pixel.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from odc_bdc.compositing import kernels
from odc_bdc.compositing.kernels.jit import kernel
from odc_bdc.quality import QualityPolicy

CMASK = QualityPolicy("CMASK", clear=(127,), not_clear=(255,), nodata=0)
NODATA = -9999


@dataclass
class Scenes:
    """Random bands, of which about half is clear, and some is nodata."""

    times: int
    side: int
    bands: list[npt.NDArray[np.int16]] = field(init=False)
    quality: npt.NDArray[np.uint8] = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        shape = (self.times, self.side, self.side)
        draw = rng.integers(0, 20, shape, dtype=np.uint8)
        self.quality = np.array([0, 0] + [255] * 8 + [127] * 10, np.uint8)[draw]
        self.bands = [rng.integers(0, 4000, shape, dtype=np.int16) for _ in range(4)]
        for band in self.bands:
            band[self.quality == 0] = NODATA


# stack (T, N) -> sum
@kernel
def _sum(stack: Any, start: int, stop: int) -> int:
    total = 0
    for t in range(len(stack)):
        row = stack[t, start:stop]
        for x in range(len(row)):
            total += row[x]
    return total


def read_bare(scenes: Scenes) -> None:
    """Add up all values with vector instructions, in two threads: as quick as memory is."""
    for stack in (*scenes.bands, scenes.quality):
        flat = stack.reshape(scenes.times, -1)
        kernels.over_pixels(partial(_sum, flat), flat.shape[1], 2)


def read_numpy(scenes: Scenes) -> None:
    """Add up all values with numpy, in two threads."""
    parts = [half for s in (*scenes.bands, scenes.quality) for half in np.array_split(s, 2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(np.sum, parts))


def take_turns(
    candidates: dict[str, tuple[Callable[[], object], float]], rounds: int
) -> dict[str, float]:
    """Give the median seconds of each candidate, which come with what to multiply them by.

    Candidates that work on less than the whole take part in two rounds at the most.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for run, scaled in candidates.values():
        if scaled == 1:
            run()  # compile, and touch memory
    for number in range(rounds):
        for name, (run, scaled) in candidates.items():
            if scaled > 1 and number > 1:
                continue
            begun = time.perf_counter()
            run()
            seconds[name].append(scaled * (time.perf_counter() - begun))
    return {name: statistics.median(s) for name, s in seconds.items()}


def show(title: str, seconds: dict[str, float], base: str, pixels: int) -> None:
    """Print a table of ratios."""
    print(f"\n{title}")
    for name, value in seconds.items():
        ratio = value / seconds[base]
        print(f"  {name:44} {1e9 * value / pixels:10.1f} ns/pixel {ratio:9.2f} x {base}")


def installed(name: str) -> Any:
    """Import a peer, or give None."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        print(f"  ({name} is left out: {error})")
        return None


def ours(scenes: Scenes, **how: Any) -> None:
    """Composite all bands in one pass, in two threads."""
    table = CMASK.table("uint8")
    kernels.composites(scenes.quality, table, scenes.bands, [NODATA] * 4, threads=2, **how)


def against_reading(scenes: Scenes, rounds: int) -> None:
    """Compare one pass with one read, and with passes one by one."""
    order = np.random.default_rng(1).permutation(scenes.times)
    everything: Any = {"median": "trunc", "mean": "half_even", "order": order}
    shape = (len(scenes.bands), scenes.side, scenes.side)
    room = kernels.Composites.empty(shape, "int16", median=True, mean=True, first=True)
    median_room = kernels.Composites.empty(shape, "int16", median=True)

    def one_by_one() -> None:
        table = CMASK.table("uint8")
        seen = kernels.observe(scenes.quality, table, scenes.bands, [NODATA] * 4, threads=2)
        picked = kernels.first(seen.clear, order, fallback=seen.has_data, threads=2)
        for band in scenes.bands:
            kernels.median(band, seen.clear, nodata=NODATA, threads=2)
            kernels.mean(band, seen.clear, nodata=NODATA, threads=2)
            kernels.gather(band, picked, nodata=NODATA, threads=2)

    runs: dict[str, tuple[Callable[[], object], float]] = {
        "read, numpy sum": (lambda: read_numpy(scenes), 1),
        "read, vectorised sum": (lambda: read_bare(scenes), 1),
        "MED, counts": (lambda: ours(scenes, median="trunc"), 1),
        "AVG, counts": (lambda: ours(scenes, mean="half_even"), 1),
        "LCF, PROVENANCE, counts": (lambda: ours(scenes, order=order), 1),
        "MED, AVG, LCF, PROVENANCE, counts": (lambda: ours(scenes, **everything), 1),
        "MED, counts, memory at hand": (
            lambda: ours(scenes, median="trunc", out=median_room),
            1,
        ),
        "all of them, memory at hand": (lambda: ours(scenes, **everything, out=room), 1),
        "the same, one by one": (one_by_one, 1),
    }
    size = f"{scenes.times} scenes of {scenes.side} x {scenes.side}, 4 bands and quality, 2 threads"
    seconds = take_turns(runs, rounds)
    pixels = scenes.side**2
    show(size, seconds, "read, numpy sum", pixels)
    fused = seconds["MED, AVG, LCF, PROVENANCE, counts"] / seconds["MED, counts"]
    again = seconds["all of them, memory at hand"] / seconds["MED, counts, memory at hand"]
    print(f"  all in one pass: {fused:.2f} x MED alone; with memory at hand {again:.2f} x")


def against_peers(scenes: Scenes, rounds: int, rows: int) -> None:
    """Compare reducers of one band with those of others."""
    band, good = scenes.bands[0], scenes.quality == 127
    share = scenes.side / rows
    few, few_good = band[:, :rows].copy(), good[:, :rows].copy()
    masked = np.where(few_good, few, np.float32(np.nan))
    array = xr.DataArray(masked, dims=("time", "y", "x"))
    bn, algo = installed("bottleneck"), installed("odc.algo._percentile")
    med, avg, pct = "ours MED", "ours AVG", "ours P25,P50,P75"
    quartiles = [25, 50, 75]
    runs: dict[str, tuple[Callable[[], object], float]] = {
        med: (lambda: kernels.median(band, good, threads=2), 1),
        avg: (lambda: kernels.mean(band, good, threads=2), 1),
        pct: (lambda: kernels.percentiles(band, good, quartiles, threads=2), 1),
        "xarray median": (lambda: array.median("time"), share),
        "np.ma.median": (
            lambda: np.ma.median(np.ma.masked_array(few, ~few_good), axis=0), share
        ),
        "np.nanpercentile": (lambda: np.nanpercentile(masked, quartiles, axis=0), share),
    }  # fmt: skip
    if bn is not None:
        runs["bottleneck median"] = (lambda: bn.nanmedian(masked, axis=0), share)
        runs["bottleneck mean"] = (lambda: bn.nanmean(masked, axis=0), share)
    if algo is not None:
        filled = np.where(few_good, few, NODATA).astype(np.int16)
        fractions = [0.25, 0.5, 0.75]
        runs["odc.algo percentile"] = (
            lambda: [algo.np_percentile(filled, f, NODATA) for f in fractions], share
        )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of pixels that are never clear
        seconds = take_turns(runs, rounds)
    title = (
        f"one band, {scenes.times} scenes; ours in 2 threads, peers as they come, on {rows} rows"
    )
    print(f"\n{title}")
    bases = {"median": med, "mean": avg, "percentile": pct}
    for name, value in seconds.items():
        base = next((b for word, b in bases.items() if word in name), None)
        ratio = f"{value / seconds[base]:9.1f} x {base}" if base else ""
        print(f"  {name:32} {1e9 * value / scenes.side**2:10.1f} ns/pixel {ratio}")


def against_notebook(scenes: Scenes, rounds: int, rows: int) -> dict[str, float]:
    """Compare the whole job, four bands and their quality to medians, with what people write.

    Gives how many times longer each takes.
    """
    share = scenes.side / rows
    quality = scenes.quality[:, :rows].copy()
    bands = [band[:, :rows].copy() for band in scenes.bands]
    dims = ("time", "y", "x")
    ds = xr.Dataset({f"b{n}": (dims, band) for n, band in enumerate(bands)})
    good = xr.DataArray(quality == 127, dims=dims)
    chunks = {"time": 1, "y": min(rows, 512), "x": 512}
    lazy, lazy_good = ds.chunk(chunks).persist(), good.chunk(chunks).persist()
    bn = installed("bottleneck")

    def with_bottleneck() -> None:
        for band in bands:
            bn.nanmedian(np.where(good.values, band, np.float32(np.nan)), axis=0)

    def with_masked_arrays() -> None:
        for band in bands:
            np.ma.median(np.ma.masked_array(band, quality != 127), axis=0)

    def with_dask() -> None:
        lazy.chunk(time=-1).where(lazy_good.chunk(time=-1)).median("time").compute()

    runs: dict[str, tuple[Callable[[], object], float]] = {
        "odc_bdc": (lambda: ours(scenes, median="trunc"), 1),
        "xarray, where().median()": (lambda: ds.where(good).median("time"), share),
        "xarray and dask": (with_dask, share),
        "numpy.ma.median": (with_masked_arrays, share),
    }
    if bn is not None:
        runs["bottleneck.nanmedian"] = (with_bottleneck, share)
    # xarray as it comes: bottleneck is here for a row of its own, and none of its requirements.
    with warnings.catch_warnings(), xr.set_options(use_bottleneck=False, use_numbagg=False):
        warnings.simplefilter("ignore", RuntimeWarning)  # of pixels that are never clear
        seconds = take_turns(runs, rounds)
    title = f"MED of 4 bands and quality, {scenes.times} scenes; peers on {rows} rows, as written"
    show(title, seconds, "odc_bdc", scenes.side**2)
    return {name: value / seconds["odc_bdc"] for name, value in seconds.items()}


def draw(found: dict[int, dict[str, float]], path: Path) -> None:
    """Draw how many times longer others take."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), dpi=110, layout="constrained")
    ax = figure.subplots()
    names = [name for name in next(iter(found.values())) if name != "odc_bdc"]
    height = 0.8 / len(found)
    for number, (times, ratios) in enumerate(found.items()):
        at = [y + (number - (len(found) - 1) / 2) * height for y in range(len(names))]
        bars = ax.barh(at, [ratios[n] for n in names], height, label=f"{times} scenes")
        ax.bar_label(bars, fmt=" {:.0f} x", fontsize=8)
    ax.set_yticks(range(len(names)), names)
    most = max(ratio for ratios in found.values() for ratio in ratios.values())
    ax.set(xscale="log", xlim=(1, 1.5 * most), xlabel="time, as multiples of odc_bdc's")
    ax.set_title("Median of four bands and their quality band, 2048 x 2048 pixels")
    ax.invert_yaxis()
    figure.legend(loc="outside lower right", ncols=len(found), fontsize=8)
    figure.savefig(path)
    print(path)


def geometric(times: int, side: int, rounds: int) -> None:
    """Compare the geometric median in time and in what it minimises."""
    geomad = installed("geomad")
    if geomad is None:
        return
    scenes = Scenes(times, side)
    clear = scenes.quality == 127
    points = np.stack(scenes.bands).astype(np.float32) * np.float32(1e-4)
    stack = np.ascontiguousarray(np.where(clear, points, np.nan).transpose(2, 3, 0, 1))
    found: dict[str, npt.NDArray[Any]] = {}

    def we() -> None:
        found["ours"] = kernels.geomedian(scenes.bands, clear, scale=1e-4, threads=2).median

    def they() -> None:
        out = np.asarray(geomad.nangeomedian_pcm(stack, num_threads=2, nocheck=True))
        found["geomad"] = out.transpose(2, 0, 1)

    seconds = take_turns({"ours": (we, 1), "geomad": (they, 1)}, rounds)
    show(f"geometric median, {times} scenes of {side} x {side}, 4 bands; ours has the MADs too",
         seconds, "ours", side * side)  # fmt: skip
    sums = {
        name: np.where(clear, np.sqrt(((points - m[:, np.newaxis]) ** 2).sum(0)), 0).sum(0)
        for name, m in found.items()
    }
    # Relative to the whole: of one or two observations the sum itself is next to nothing.
    excess = (sums["geomad"] - sums["ours"]) / np.nanmean(sums["ours"])
    low, middle, high = np.nanquantile(excess, [0, 0.5, 1])
    print(f"  sum of distances, geomad - ours: {low:+.1e} to {high:+.1e}, median {middle:+.1e}")


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=32, help="rows that slow peers get")
    parser.add_argument("--times", type=int, nargs="*", default=[12, 24, 36, 90])
    parser.add_argument("--picture", type=Path, help="PNG file of the comparison to draw")
    given = parser.parse_args()
    written: dict[int, dict[str, float]] = {}
    for times in given.times:
        # 90 scenes in half the area: 3.4 GB would not fit everywhere.
        scenes = Scenes(times, given.side if times < 64 else given.side * 5 // 8)
        against_reading(scenes, given.rounds)
        if times in (12, 36):
            against_peers(scenes, given.rounds, given.rows)
            written[times] = against_notebook(scenes, given.rounds, 8 * given.rows)
        del scenes
    geometric(12, 256, given.rounds)
    if given.picture:
        draw(written, given.picture)


if __name__ == "__main__":
    main()
