"""What composite functions cost beside reading: where `CompositeFunction.cost` comes from.

One value is a pixel of one band of one scene. Its cost is that of compositing it, in times that of
reading it from a file (a COG, DEFLATE) with one thread; the table has what was measured beside
what the records say.

    python tests/benchmarks/costs.py [--side 512] [--times 12] [--rounds 5]
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import rasterio
from kernels import CMASK, NODATA, Scenes, take_turns

from odc_bdc.compositing.block import CompositeBlock, composite_block
from odc_bdc.function import composite_function

FUNCTIONS = (
    *("AVG", "MED", "LCF", "MEDSTK", "MIN", "MAX", "RANGE", "STD", "COUNT", "IDT"),
    *("MAXNDVI", "MAXNDI", "P50", "P25,P50,P75", "GEOMED"),
)
COMMON = ("red", "nir", "swir16")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--times", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measured(Path(folder), Scenes(given.times, given.side), given.rounds)
    print(f"{'function':14}{'measured':>10}{'recorded':>10}")
    for name, cost in found.items():
        print(f"{name:14}{cost:>10.2f}{composite_function(name).cost:>10.2f}")


def measured(folder: Path, scenes: Scenes, rounds: int) -> dict[str, float]:
    """Give what a value costs in each function, in times of reading it."""
    bands = {f"B{n}": stack for n, stack in enumerate(scenes.bands)}
    files = [write(folder / f"{name}.tif", stack) for name, stack in bands.items()]
    runs = {"read": (partial(read, files), 1.0)}
    for name in FUNCTIONS:
        function = composite_function(name)
        how = CompositeBlock(
            function,
            CMASK,
            {**dict.fromkeys(bands, NODATA), CMASK.band: 0},
            common=dict(zip(COMMON, bands, strict=False)) if function.common_names else {},
            scale=dict.fromkeys(bands, (1e-4, 0.0)),
        )
        order = days = np.arange(1, scenes.times + 1)
        runs[name] = (
            partial(
                composite_block, bands, scenes.quality, how, days_of_year=days, order=order - 1
            ),
            1.0,
        )
    seconds = take_turns(runs, rounds)
    return {name: seconds[name] / seconds["read"] for name in FUNCTIONS}


def write(path: Path, stack: np.ndarray) -> Path:
    """Write the times of a band as the bands of a file; smooth, with noise, as images are."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0 : stack.shape[1], 0 : stack.shape[2]] / 100
    with rasterio.open(
        path, "w", driver="GTiff", dtype=stack.dtype, count=len(stack), width=stack.shape[2],
        height=stack.shape[1], compress="deflate", predictor=2, tiled=True, blockxsize=512,
        blockysize=512, interleave="band", crs="EPSG:3857",
        transform=rasterio.Affine.translation(0, 0),
    ) as target:  # fmt: skip
        for number in range(len(stack)):
            wave = 1500 + 700 * np.sin(x + number) * np.cos(y)
            target.write((wave + rng.normal(0, 25, wave.shape)).astype(stack.dtype), number + 1)
    return path


def read(files: list[Path]) -> None:
    """Read all values, from the files anew."""
    for path in files:
        with rasterio.open(path, sharing=False) as source:
            source.read()


if __name__ == "__main__":
    main()
