"""Time series of points: `odc_bdc.notebook.timeseries` against a loop of `dc.load`, as a ratio.

A cube of 46 images (two years of 16 days) has red and near infrared on a local disk, as files that
`odc-bdc cube build` would write: whole tiles, so that points lie in nearly all blocks. To make them
does not take long, since there are four different ones, which stand for all by hard links.

The loop loads the pixel of one point after the other. It would take long for all points, so it runs
on some of them, drawn at random, and its time is multiplied. Values are compared.

    python tests/benchmarks/timeseries.py [--points 2000] [--side 6600] [--looped 20]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from datacube.index.hl import Doc2Dataset
from pyproj import Transformer

sys.path += [str(Path(__file__).resolve().parents[1] / name) for name in ("", "clients")]

from made_tasks import cube_at
from small_index import describe_dataset, own_index

from odc_bdc.cog import write_cog
from odc_bdc.cube import find_cube
from odc_bdc.grid import BDC_CRS
from odc_bdc.notebook import timeseries

CUBE, TILE = "CB4_64_16D_STK_v1", "007004"
IMAGES, DIFFERENT = 46, 4
BANDS = ["red", "nir"]
LEAST = 20
RUNS = 3


def main() -> None:
    """Print the table of figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=2000)
    parser.add_argument("--side", type=int, help="pixels of the images; by default whole tiles")
    parser.add_argument("--looped", type=int, default=20, help="points that the loop is timed on")
    options = parser.parse_args()
    whole = find_cube(CUBE)
    cube = cube_at(options.side, options.side, whole) if options.side else whole
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        with own_index(root / "home", "benchmark") as (_, dc):
            fill(dc, root, cube)
            report(dc, cube, options)


def fill(dc, root: Path, cube) -> None:
    """Index images of consecutive periods."""
    product, geobox = cube.to_product(), cube.geobox(TILE)
    product["measurements"] = [
        m for m in product["measurements"] if {*m.get("aliases", ())} & {*BANDS}
    ]
    dc.index.products.add_document(product)
    resolve = Doc2Dataset(dc.index, skip_lineage=True, eo3=True)
    periods = cube.timeline.covering(date(2018, 1, 1), date(2018, 1, 1) + timedelta(days=730))
    for number, period in enumerate([*periods][:IMAGES]):
        folder = root / str(number)
        folder.mkdir()
        for band in product["measurements"]:
            path = folder / f"{band['name']}.tif"
            if number < DIFFERENT:
                write_cog(path, image(number, band, geobox), geobox, nodata=band["nodata"])
            else:
                path.hardlink_to(root / str(number % DIFFERENT) / path.name)
        times = (f"{period.start}T00:00:00Z", f"{period.end}T23:59:59Z")
        document = describe_dataset(product, str(number), TILE, geobox, times)
        dataset, problem = resolve(document, (folder / "doc.yaml").as_uri())
        assert dataset is not None, problem
        dc.index.datasets.add(dataset, with_lineage=False)


def image(number: int, band, geobox):
    """Make waves with noise, a tenth of them nodata."""
    rng = np.random.default_rng([number, *band["name"].encode()])
    y, x = np.mgrid[0:1100, 0:1100] / 60.0
    patch = 2000 + 1500 * np.sin(x + rng.uniform(0, 6)) * np.cos(y) + rng.normal(0, 60, x.shape)
    patch[np.sin(x / 5 + y) > 0.95] = band["nodata"]
    rows, columns = geobox.shape
    times = -(-rows // 1100), -(-columns // 1100)
    return np.tile(patch.astype(band["dtype"]), times)[:rows, :columns]


def report(dc, cube, options) -> None:
    """Time both in turn, and print the ratio."""
    rng = np.random.default_rng(0)
    west, south, east, north = cube.geobox(TILE).boundingbox.bbox
    to_degrees = Transformer.from_crs(BDC_CRS, "EPSG:4326", always_xy=True)
    xy = rng.uniform((west, south), (east, north), (options.points, 2))
    lonlat = np.column_stack(to_degrees.transform(*xy.T))
    some = rng.choice(options.points, options.looped, replace=False)
    name = cube.name
    timeseries(dc, name, lonlat[:1], measurements=BANDS, progress=False)  # imports
    ours, loops = [], []
    for _ in range(RUNS):
        seconds, found = timed(
            lambda: timeseries(dc, name, lonlat, measurements=BANDS, as_xarray=True, progress=False)
        )
        ours.append(seconds)
        seconds, loaded = timed(lambda: [load(dc, name, *lonlat[n].tolist()) for n in some])
        loops.append(seconds / len(some) * options.points)
        compare(found, loaded, some)
    quick, slow = np.median(ours), np.median(loops)
    print(
        f"{options.points} points, {found.sizes['time']} images of {cube.geobox(TILE).shape.x} x "
        f"{cube.geobox(TILE).shape.y}, {len(BANDS)} bands"
    )
    print(f"{'':42}{'seconds':>10}{'ratio':>9}{'at least':>10}")
    print(f"{'timeseries':42}{quick:>10.1f}")
    what = f"loop of dc.load ({len(some)} points, multiplied)"
    print(f"{what:42}{slow:>10.0f}{slow / quick:>9.0f}{LEAST:>10}")


def load(dc, name: str, lon: float, lat: float):
    """Load the pixel of a point."""
    return dc.load(product=name, measurements=BANDS, x=lon, y=lat)


def compare(found, loaded, some) -> None:
    """See that both have the same values."""
    for number, ds in zip(some, loaded, strict=True):
        for band in BANDS:
            values = ds[band].values[:, 0, 0]
            wanted = np.where(values == ds[band].nodata, np.nan, values.astype(float))
            np.testing.assert_array_equal(found[band].values[number], wanted)


def timed(call):
    """Give the seconds of a call, and what it gave."""
    begun = time.perf_counter()
    found = call()
    return time.perf_counter() - begun, found


if __name__ == "__main__":
    os.environ.setdefault("GDAL_DISABLE_READDIR_ON_OPEN", "EMPTY_DIR")
    main()
