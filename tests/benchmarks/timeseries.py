"""Time series of points: `odc_bdc.notebook.timeseries` against a loop of `dc.load`, as a ratio.

A cube of 46 images (two years of 16 days) has red and near infrared as COGs on a local disk. The
loop loads the pixel of one point after the other, once with a search of the index for each, as
notebooks do, and once with the datasets at hand. It would take long for all points, so it runs on
some of them, drawn at random, and its time is multiplied. Values are compared.

    python tests/benchmarks/timeseries.py [--points 2000] [--side 2048] [--looped 20]
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
from odc.geo.geom import point
from pyproj import Transformer

sys.path += [str(Path(__file__).resolve().parents[1] / name) for name in ("", "clients")]

from made_tasks import cube_at
from small_index import own_index, write_dataset

from odc_bdc.cube import find_cube
from odc_bdc.grid import BDC_CRS
from odc_bdc.notebook import timeseries

IMAGES = 46
BANDS = ["red", "nir"]
LEAST = 20
RUNS = 3


def main() -> None:
    """Print the table of figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=2000)
    parser.add_argument("--side", type=int, default=2048, help="pixels of the images")
    parser.add_argument("--looped", type=int, default=20, help="points that the loop is timed on")
    options = parser.parse_args()
    cube = cube_at(options.side, options.side, find_cube("CB4_64_16D_STK_v1"))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        with own_index(root / "home", "benchmark") as (_, dc):
            fill(dc, root, cube)
            report(dc, cube, options)


def fill(dc, root: Path, cube) -> None:
    """Index images of consecutive periods."""
    product = cube.to_product()
    product["measurements"] = [
        m for m in product["measurements"] if {*m.get("aliases", ())} & {*BANDS}
    ]
    dc.index.products.add_document(product)
    resolve = Doc2Dataset(dc.index, skip_lineage=True, eo3=True)
    periods = list(cube.timeline.covering(date(2018, 1, 1), date(2018, 1, 1) + timedelta(days=730)))
    for period in periods[:IMAGES]:
        times = (f"{period.start}T00:00:00Z", f"{period.end}T23:59:59Z")
        path, document = write_dataset(product, "007004", cube.geobox("007004"), times, root)
        dataset, problem = resolve(document, path.as_uri())
        assert dataset is not None, problem
        dc.index.datasets.add(dataset, with_lineage=False)


def report(dc, cube, options) -> None:
    """Time both in turn, and print the ratio."""
    rng = np.random.default_rng(0)
    west, south, east, north = cube.geobox("007004").boundingbox.bbox
    to_degrees = Transformer.from_crs(BDC_CRS, "EPSG:4326", always_xy=True)
    xy = rng.uniform((west, south), (east, north), (options.points, 2))
    lonlat = np.column_stack(to_degrees.transform(*xy.T))
    some = rng.choice(options.points, options.looped, replace=False)
    name = cube.name
    timeseries(dc, name, lonlat[:1], measurements=BANDS, progress=False)  # imports
    datasets = dc.find_datasets(product=name)
    ours, searched, given = [], [], []
    for _ in range(RUNS):
        seconds, found = timed(
            lambda: timeseries(dc, name, lonlat, measurements=BANDS, as_xarray=True, progress=False)
        )
        ours.append(seconds)
        seconds, loaded = timed(lambda: [load(dc, lonlat[n], product=name) for n in some])
        searched.append(seconds / len(some) * options.points)
        compare(found, loaded, some)
        seconds, _ = timed(lambda: [load(dc, lonlat[n], datasets=datasets) for n in some])
        given.append(seconds / len(some) * options.points)
    quick = np.median(ours)
    print(
        f"{options.points} points, {found.sizes['time']} images of {options.side} x "
        f"{options.side}, {len(BANDS)} bands (the loop on {len(some)} points, multiplied)"
    )
    print(f"{'':28}{'seconds':>10}{'ratio':>9}{'at least':>10}")
    print(f"{'timeseries':28}{quick:>10.1f}")
    for what, spent, least in (
        ("loop of dc.load", searched, str(LEAST)),
        ("loop, datasets at hand", given, ""),
    ):
        print(f"{what:28}{np.median(spent):>10.0f}{np.median(spent) / quick:>9.0f}{least:>10}")


def load(dc, lonlat, **how):
    """Load the pixel of a point."""
    lon, lat = (float(v) for v in lonlat)
    if "datasets" in how:
        how["geopolygon"] = point(lon, lat, "EPSG:4326")
        return dc.load(measurements=BANDS, **how)
    return dc.load(measurements=BANDS, x=lon, y=lat, **how)


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
