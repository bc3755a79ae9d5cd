"""What declaring live images costs, against the driver's own bulk add of the same documents.

``make bench``. Each measurement is a process of its own with an index of its own, which holds the
scenes: a copy of one that was filled once. Planning, which is the same for whatever is done with
its tasks, is told beside.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from datacube import Datacube
from datacube.index.abstract import DatasetTuple

from odc_bdc import database
from odc_bdc.building.store import ImageStore
from odc_bdc.cli.index import spare_garbage_collections
from odc_bdc.cube import find_cube
from odc_bdc.indexing import add_products, find_recipe, index_collection
from odc_bdc.indexing.conversion import stored_document
from odc_bdc.live.declaring import declare_cube
from odc_bdc.live.documents import LiveTerms, live_documents
from odc_bdc.planning import CompositeTask, expected_clear, plan_cube
from odc_bdc.product import product_document

sys.path += [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
from indexing import Indexes, most_memory
from made_items import PRODUCT, make_items

CUBE = "CB4_64_16D_STK_v1"  # takes the best scenes first, so that their cloud cover must be known
RECIPE = find_recipe("cb4_wfi_l4_sr")
CLOCK = partial(datetime.fromtimestamp, 1767225600, UTC)


def bulk_add(dc: Datacube, tasks: list[CompositeTask], root: Path) -> float:
    """Give the seconds of the driver's own bulk add, once all documents are finished."""
    product = dc.index.products.get_by_name(CUBE)
    external = dc.index.supports_external_lineage
    terms = LiveTerms(ImageStore.open(root))
    tuples = []
    for task, n_clear in zip(tasks, expected_clear(dc, tasks), strict=True):
        made = live_documents(terms, task, n_clear, processed=CLOCK(), planned=task)
        plain = orjson.loads(orjson.dumps(made.document))
        ids = [scene.id for scene in task.scenes]
        lineage = {"scenes": ids} if external else {f"scenes{n}": [i] for n, i in enumerate(ids)}
        stored = stored_document(plain, external_lineage=external)
        tuples.append(DatasetTuple(product, stored, f"file://{root}/{task.item_id}", lineage))
    begun = time.perf_counter()
    dc.index.datasets.bulk_add(tuples)
    return time.perf_counter() - begun


def child(candidate: str, url: str, driver: str, root: Path, count: int) -> dict[str, Any]:
    """Measure one candidate in this process."""
    index = database.Index(None, None, url, driver, private=True)
    with database.open_datacube(index) as dc:
        spare_garbage_collections()  # as the command does
        begun = time.perf_counter()
        tasks = plan_cube(dc, find_cube(CUBE), date(2016, 1, 1), date(2017, 12, 31))[:count]
        planned = time.perf_counter() - begun
        assert len(tasks) == count, len(tasks)
        if candidate == "bulk add":
            return {"seconds": bulk_add(dc, tasks, root), "planned": planned}
        before, begun = most_memory(), time.perf_counter()
        report = declare_cube(dc, tasks, root, now=CLOCK, quick=True)
        first, peak = time.perf_counter() - begun, most_memory()
        assert report.counts == {"declared": count}, report
        begun = time.perf_counter()
        report = declare_cube(dc, tasks, root, now=CLOCK, quick=True)
        second = time.perf_counter() - begun
        assert report.counts == {"unchanged": count}, report
    scenes = sum(len(task.scenes) for task in tasks) / count
    more = {"second": second, "peak": peak, "before": before, "scenes": scenes}
    return {"seconds": first, "planned": planned, **more}


def fill(indexes: Indexes, driver: str, items: Path) -> None:
    """Index the scenes, once for all measurements on a driver."""
    with indexes.opened(driver) as dc:
        add_products(dc, [product_document(PRODUCT), find_cube(CUBE).to_product()])
        index_collection(dc, RECIPE, [items])
    indexes.keep(driver)


def measure(candidate: str, indexes: Indexes, driver: str, count: int) -> Any:
    """Measure a candidate in a process of its own."""
    url = indexes.fresh(driver)
    with tempfile.TemporaryDirectory(prefix="odc_bdc-bench-") as root:
        arguments = [candidate, url, driver, root, str(count)]
        done = subprocess.run(
            [sys.executable, "-W", "ignore", __file__, "--child", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return json.loads(done.stdout.splitlines()[-1])


def compare(indexes: Indexes, driver: str, count: int, rounds: int) -> None:
    """Print the ratios on a driver."""
    found: dict[str, list[Any]] = {"bulk add": [], "declare": []}
    for _ in range(rounds):
        for candidate, measured in found.items():
            measured.append(measure(candidate, indexes, driver, count))
    bulk = statistics.median(m["seconds"] for m in found["bulk add"])
    plan = statistics.median(m["planned"] for m in found["declare"])
    first = statistics.median(m["seconds"] for m in found["declare"])
    second = statistics.median(m["second"] for m in found["declare"])
    peak = max(m["peak"] for m in found["declare"])
    before = max(m["before"] for m in found["declare"])
    scenes = found["declare"][0]["scenes"]
    print(f"\n{driver}: {count} images of {scenes:.0f} scenes, {rounds} rounds; ms for each image")
    print(f"  {'bulk add of finished documents':34} {1e3 * bulk / count:8.2f}")
    print(f"  {'plan':34} {1e3 * plan / count:8.2f}")
    print(f"  {'declare --quick':34} {1e3 * first / count:8.2f} {first / bulk:8.2f} x bulk add")
    print(f"  {'declare again':34} {1e3 * second / count:8.2f}")
    print(f"  {'most memory, and before':34} {peak:8.0f} MB {before:5.0f} MB")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--items", type=int, default=16_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=5)
    given = parser.parse_args()
    if given.child:
        candidate, url, driver, root, count = given.child
        print(json.dumps(child(candidate, url, driver, Path(root), int(count))))
        return
    with tempfile.TemporaryDirectory(prefix="odc_bdc-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (home := folder / "home").mkdir()
        indexes = Indexes(home)
        make_items(items := folder / "items.ndjson", given.items)
        try:
            for driver in ("postgis", "postgres"):
                fill(indexes, driver, items)
                compare(indexes, driver, given.count, given.rounds)
        finally:
            database.delete(home)


if __name__ == "__main__":
    main()
