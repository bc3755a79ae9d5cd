"""Time and memory of indexing, against the driver's own bulk add of the same finished documents.

``make bench``. Each measurement is a process of its own with an empty index of its own; candidates
take turns, so that a drift of the machine meets all of them alike. Quote the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from datacube import Datacube
from datacube.index.abstract import DatasetTuple
from sqlalchemy import text

from odc_bdc import database
from odc_bdc.cli.index import spare_garbage_collections
from odc_bdc.database.index import session, with_database
from odc_bdc.indexing import add_products, find_recipe, index_collection
from odc_bdc.indexing.conversion import finished
from odc_bdc.indexing.ingest import recipe_conversion
from odc_bdc.product import product_document

sys.path.append(str(Path(__file__).parents[1]))
from made_items import BANDS, PRODUCT, found_items, make_items

RECIPE = find_recipe("cb4_wfi_l4_sr")
PICTURE = Path(__file__).parents[2] / "docs" / "images" / "indexing.png"


def bulk_add(dc: Datacube, path: Path) -> float:
    """Give the seconds of the driver's own bulk add, once all documents are finished."""
    product = dc.index.products.get_by_name(PRODUCT)
    conversion = recipe_conversion(RECIPE, product.definition)
    tuples = []
    for found in found_items(path):
        _, stored = finished(
            conversion.document(found, None),
            measurements=BANDS,
            external_lineage=dc.index.supports_external_lineage,
            properties={},
        )
        tuples.append(DatasetTuple(product, stored, f"file://{path}"))
    begun = time.perf_counter()
    dc.index.datasets.bulk_add(tuples)
    return time.perf_counter() - begun


def index_once(dc: Datacube, path: Path) -> tuple[float, dict[str, int]]:
    """Give the seconds of indexing a file, and what became of its items."""
    with Path(os.devnull).open("w", encoding="utf-8") as lines:
        begun = time.perf_counter()
        report = index_collection(
            dc, RECIPE, [path], report=lambda record: print(record.to_json(), file=lines)
        )
        return time.perf_counter() - begun, dict(report.counts)


def most_memory() -> float:
    """Give the most megabytes of this process so far, by Linux.

    Not `ru_maxrss` of `getrusage`: a new process inherits that of the one which started it.
    """
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def child(candidate: str, index: database.Index, path: Path) -> dict[str, Any]:
    """Measure one candidate in this process."""
    with database.open_datacube(index) as dc:
        add_products(dc, [product_document(PRODUCT)])
        spare_garbage_collections()  # as the command does
        if candidate == "bulk add":
            return {"seconds": bulk_add(dc, path)}
        first, counts = index_once(dc, path)
        peak = most_memory()
        second, again = index_once(dc, path)
    return {"seconds": first, "second": second, "peak": peak, "counts": counts, "again": again}


class Indexes:
    """Empty indexes in a private cluster, as copies of one that was initialised once."""

    def __init__(self, home: Path) -> None:
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("ODC_", "DB_", "PG"))}
        self.home = home
        self.cluster = database.bring_up(home, environ=environ)
        self.templates: set[str] = set()

    def measure(self, candidate: str, driver: str, path: Path) -> dict[str, Any]:
        """Measure a candidate in a process of its own."""
        arguments = [candidate, driver, self.fresh(driver), str(path)]
        done = subprocess.run(
            [sys.executable, "-W", "ignore", __file__, "--child", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told

    def opened(self, driver: str) -> Datacube:
        """Open a fresh index in this process."""
        url = self.fresh(driver)
        return database.open_datacube(database.Index(None, None, url, driver, private=True))

    def fresh(self, driver: str) -> str:
        """Give the URL of an empty index; the one before is gone."""
        template, name = f"template_{driver}", f"bench_{driver}"
        if driver not in self.templates:
            database.initialise(
                replace(self.cluster, driver=driver, url=with_database(self.cluster, template))
            )
            self.templates.add(driver)
        with session(self.cluster, "postgres") as server:
            server.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            server.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        return with_database(self.cluster, name)

    def keep(self, driver: str) -> None:
        """Let fresh indexes be copies of the one that is there now."""
        template, name = f"template_{driver}", f"bench_{driver}"
        with session(self.cluster, "postgres") as server:
            server.execute(text(f"DROP DATABASE {template}"))
            server.execute(text(f"ALTER DATABASE {name} RENAME TO {template}"))


def compare(indexes: Indexes, path: Path, count: int, rounds: int) -> None:
    """Print the ratios for one file of items on both drivers."""
    for driver in ("postgis", "postgres"):
        found: dict[str, list[dict[str, Any]]] = {"bulk add": [], "index": []}
        for _ in range(rounds):
            for candidate, measured in found.items():
                measured.append(indexes.measure(candidate, driver, path))
        for measured in found["index"]:
            assert measured["counts"] == {"added": count}, measured
            assert measured["again"] == {"unchanged": count}, measured
        bulk = statistics.median(m["seconds"] for m in found["bulk add"])
        first = statistics.median(m["seconds"] for m in found["index"])
        second = statistics.median(m["second"] for m in found["index"])
        peak = max(m["peak"] for m in found["index"])
        print(f"\n{driver}: {count} items from ndjson, {rounds} rounds, microseconds per item")
        print(f"  {'bulk add of finished documents':34} {1e6 * bulk / count:8.0f}")
        print(f"  {'index':34} {1e6 * first / count:8.0f} {first / bulk:8.2f} x bulk add")
        print(f"  {'index again':34} {1e6 * second / count:8.0f} {first / second:8.1f} x quicker")
        print(f"  {'most memory':34} {peak:8.0f} MB")


def grow(indexes: Indexes, folder: Path, sizes: list[int]) -> None:
    """Draw the time and memory of indexing by the number of items."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for driver in ("postgis", "postgres"):
        measured = []
        for size in sizes:
            path = folder / f"{size}.ndjson"
            if not path.is_file():
                make_items(path, size)
            measured.append(indexes.measure("index", driver, path))
            told = measured[-1]
            print(f"{driver} {size}: {told['seconds']:.1f} s, {told['peak']:.0f} MB", flush=True)
        left.loglog(sizes, [m["seconds"] for m in measured], "o-", label=f"{driver}, first run")
        left.loglog(sizes, [m["second"] for m in measured], "o--", label=f"{driver}, second run")
        right.semilogx(sizes, [m["peak"] for m in measured], "o-", label=driver)
    left.set(xlabel="items", ylabel="seconds", title="Time")
    right.set(xlabel="items", ylabel="MB", title="Most memory")
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.grid(visible=True, which="both", alpha=0.2)
        axes.legend(fontsize="small")
    figure.savefig(PICTURE, dpi=110)


def main() -> None:
    """Run the benchmark, or one measurement of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--grow", type=int, metavar="MOST", help="draw the growth up to so many")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        candidate, driver, url, path = given.child
        index = database.Index(None, None, url, driver, private=True)
        print(json.dumps(child(candidate, index, Path(path))))
        return
    with tempfile.TemporaryDirectory(prefix="odc_bdc-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        home = folder / "home"
        home.mkdir()
        indexes = Indexes(home)
        try:
            path = folder / "items.ndjson"
            make_items(path, given.items)
            compare(indexes, path, given.items, given.rounds)
            if given.grow:
                sizes = [n for n in (1000, 3000, 10_000, 30_000, 100_000) if n <= given.grow]
                grow(indexes, folder, sizes)
        finally:
            database.delete(home)


if __name__ == "__main__":
    main()
