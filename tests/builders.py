"""Builders that tests start, kill and let meet: module level, for processes of their own."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

from odc_bdc import database
from odc_bdc.building import build_cube
from odc_bdc.building.documents import COLLECTION_SUFFIX
from odc_bdc.building.overview import build_overviews
from odc_bdc.building.pruning import find_leftovers, remove_leftover
from odc_bdc.building.writing import write_image
from odc_bdc.cube import find_cube
from odc_bdc.indexing import add_products, find_recipe, index_collection
from odc_bdc.live.declaring import declare_cube
from odc_bdc.planning import overview_product, plan_cube, plan_overviews
from odc_bdc.product import product_document
from odc_bdc.scenes import demo_extent, make_scenes

SIZE = 48
CUBE = "CB4_64_16D_STK_v1"
SPAN = (date(2019, 12, 3), date(2019, 12, 31))
RECIPE = "cb4_wfi_l4_sr"
CLOCK = partial(datetime.fromtimestamp, 1767225600, UTC)
"""One time for all builders, so that their documents are the same too; and it can be pickled."""

PARTIAL = ".partial"


def cube():
    return find_cube(CUBE).patch(extent=demo_extent(SIZE))


def make_small_scenes(folder):
    make_scenes(folder, size=SIZE, start=date(2019, 12, 1), end=SPAN[1])


def fill(dc, scenes):
    """Let an index have the products and the scenes."""
    add_products(dc, [product_document(find_recipe(RECIPE).product), cube().to_product()])
    report = index_collection(dc, find_recipe(RECIPE), [scenes])
    assert report.failed == []


def tasks_of(dc, tiles=None):
    return plan_cube(dc, cube(), *SPAN, tiles=tiles)


def build(home, root, *, quiet=True, **options):
    """Build the cube with the index of a home: what a process of its own does."""
    if quiet:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 (until the process ends)
    with database.open_datacube(database.find_index(Path(home), environ={})) as dc:
        return build_cube(dc, tasks_of(dc), Path(root), now=CLOCK, **options)


def declare(home, root, **options):
    """Declare the cube with the index of a home."""
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 (until the process ends)
    with database.open_datacube(database.find_index(Path(home), environ={})) as dc:
        return declare_cube(dc, tasks_of(dc), Path(root), now=CLOCK, **options)


def written(task, root, threads):
    """Write an image; give its bytes, and the most memory of this process so far, by Linux."""
    size = write_image(task, Path(root), processed=CLOCK(), threads=threads).size
    status = Path("/proc/self/status").read_text("ascii")
    return size, 1024 * int(status.split("VmHWM:")[1].split()[0])


def prune(home, root, begun):
    """Remove what nobody needs of the cube; set an event when that begins."""
    with database.open_datacube(database.find_index(Path(home), environ={})) as dc:
        age = {"now": datetime.now(UTC) + timedelta(days=1), "older_than": timedelta(0)}
        found = find_leftovers(dc, [CUBE], Path(root), **age)
        begun.set()
        for one in found:
            remove_leftover(dc, Path(root), one)


def overviews(home, root, begun):
    """Make the overviews of the cube; set an event when that begins."""
    with database.open_datacube(database.find_index(Path(home), environ={})) as dc:
        tasks = plan_overviews(dc, cube(), *SPAN, 4)
        add_products(dc, [overview_product(cube(), 4)])
        begun.set()
        report = build_overviews(dc, tasks, Path(root), now=CLOCK)
        assert report.failed == []


def build_and_tell(home, root, told, **options):
    """Build, and write the report to a file."""
    report = build(home, root, **options)
    Path(told).write_text(json.dumps(report.to_dict()), "utf-8")


def visible_files(root):
    """Give a hash of each file that users see, by its path."""
    found = {}
    for folder, _, names in os.walk(root):
        for path in (Path(folder, name) for name in names):
            inside = path.relative_to(root)
            if not inside.parts[0].startswith("."):
                found[inside.as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def whole_images(files):
    """Leave out the collections, each of which tells of the images that are there by then."""
    return {path: mark for path, mark in files.items() if not path.endswith(COLLECTION_SUFFIX)}


def indexed_images(dc, product=CUBE):
    """Give the ids of the cube's datasets, archived ones too, with their places."""
    if dc.index.products.get_by_name(product) is None:
        return {}
    found = dc.index.datasets.search(product=product, archived=None)
    return {dataset.id: (dataset.uri, dataset.is_archived) for dataset in found}
