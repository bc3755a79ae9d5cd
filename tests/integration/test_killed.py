"""Runs that are killed or meet: nothing half-made, nothing twice, and all of it done at the end."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import date
from multiprocessing import get_context
from pathlib import Path

import builders
import pytest

from odc_bdc import database
from odc_bdc.scenes import demo_extent, make_scenes

SIZE = 64
CUBE = "CB4_64_16D_STK_v1"
IMAGES = 4
KILLS = int(os.environ.get("ODC_BDC_KILLS", "2"))  # for each driver; `make kills` has 25
BANDS = 10  # four, CMASK, two indices, two counts, PROVENANCE


@pytest.fixture(scope="module")
def home(fresh_index):
    """Give the home of an empty index."""
    return fresh_index("postgis").config_path.parent


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    make_scenes(folder, size=SIZE, start=date(2019, 12, 1), end=date(2019, 12, 31))
    return folder


def start(home, *arguments, **options):
    program = str(Path(sys.executable).with_name("odc-bdc"))
    environ = {k: v for k, v in os.environ.items() if not k.startswith("ODC_")}
    return subprocess.Popen(
        [program, *map(str, arguments), "--home", str(home)],
        env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options,
    )  # fmt: skip


def kill_when(process, reached):
    """Kill a process as soon as `reached` says so; tell if it was still at work then."""
    deadline = time.monotonic() + 300
    while process.poll() is None and not reached() and time.monotonic() < deadline:
        time.sleep(0.002)
    alive = process.poll() is None
    if alive:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return alive


def files(folder):
    """Give the paths of all files; unlike a glob it bears folders that come and go meanwhile."""
    return [Path(path, name) for path, _, names in os.walk(folder) for name in names]


def documents(folder):
    """Count visible EO3 documents."""
    return sum(
        p.name.endswith(".odc-metadata.yaml") and p.name[0] != "." and ".partial" not in p.parts
        for p in files(folder)
    )


def pixels(root):
    """Give a hash of each file of pixels that is visible."""
    return {
        p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in root.rglob("*.tif")
        if ".partial" not in p.parts
    }


def test_index_finishes_after_kills(home, scenes, tmp_path):
    assert start(home, "product", "add", "--all").wait() == 0
    eo3 = tmp_path / "eo3"
    index = ("index", "cb4_wfi_l4_sr", scenes, "--out", eo3, "--batch", "2")
    killed = [kill_when(start(home, *index), lambda n=n: documents(eo3) >= n) for n in (1, 9)]
    assert all(killed)
    assert start(home, *index).wait() == 0
    assert documents(eo3) == 24


# Builders are forked from a process that has all modules: moments are those of the work itself.


@pytest.fixture(scope="module")
def forks():
    context = get_context("forkserver")
    # Not `builders`, which their parent would not find.
    rooms = [
        "building", "building.overview", "building.pruning", "live.declaring", "planning",
        "database", "scenes",
    ]  # fmt: skip
    context.set_forkserver_preload([f"odc_bdc.{room}" for room in rooms])
    return context


@pytest.fixture(scope="module", params=["postgis", "postgres"])
def filled(request, fresh_index, tmp_path_factory):
    """Give the home of an index with scenes."""
    builders.make_small_scenes(folder := tmp_path_factory.mktemp("small"))
    index = fresh_index(request.param)
    with database.open_datacube(index) as dc:
        builders.fill(dc, folder)
    return index.config_path.parent


@pytest.fixture(scope="module")
def undisturbed(filled, forks, tmp_path_factory):
    """Give the files of a run in peace, its datasets, and how long it takes."""
    root = tmp_path_factory.mktemp("peace")
    begun = time.monotonic()
    run = fork(forks, builders.build, filled, root)
    run.join()
    assert run.exitcode == 0
    seconds = time.monotonic() - begun
    found = images(filled)
    files = builders.visible_files(root)
    assert len(found) == IMAGES
    assert sum(name.endswith(".tif") for name in files) == IMAGES * BANDS
    return files, {dataset_id: archived for dataset_id, (_, archived) in found.items()}, seconds


def fork(forks, does, *arguments, **options):
    process = forks.Process(target=does, args=arguments, kwargs=options)
    process.start()
    return process


def images(home, product=CUBE):
    with database.open_datacube(database.find_index(home, environ={})) as dc:
        return builders.indexed_images(dc, product)


def forget_images(home, *products):
    with database.open_datacube(database.find_index(home, environ={})) as dc:
        for product in products or (f"{CUBE}_overview", CUBE):
            ids = list(builders.indexed_images(dc, product))
            dc.index.datasets.purge(ids, allow_delete_active=True)


def assert_same_end(home, root, undisturbed):
    files, datasets, _ = undisturbed
    assert builders.visible_files(root) == files
    assert {i: archived for i, (_, archived) in images(home).items()} == datasets
    assert list((root / builders.PARTIAL).glob("*")) == []


@pytest.mark.parametrize("number", range(KILLS))
def test_builds_killed_at_any_moment_end_the_same(filled, forks, undisturbed, tmp_path, number):
    files, datasets, seconds = undisturbed
    forget_images(filled)
    chance = random.Random(number)  # noqa: S311 (no secret)
    run = fork(forks, builders.build, filled, tmp_path)
    run.join(chance.uniform(0, seconds))
    run.kill()
    run.join()
    # What is visible is whole, however the run ended, and nothing else is indexed.
    there = builders.visible_files(tmp_path)
    assert builders.whole_images(there).items() <= files.items()
    documents = sum(name.endswith(".odc-metadata.yaml") for name in there)
    assert sum(name.endswith(".tif") for name in there) == documents * BANDS
    indexed = images(filled)
    assert indexed.keys() <= datasets.keys()
    assert all(Path(uri.removeprefix("file://")).is_file() for uri, _ in indexed.values())
    run = fork(forks, builders.build, filled, tmp_path)
    run.join()
    assert run.exitcode == 0
    assert_same_end(filled, tmp_path, undisturbed)


@pytest.fixture(scope="module")
def declared(filled, forks, tmp_path_factory):
    """Give the names of the files of a declaration in peace, its datasets, and its seconds."""
    forget_images(filled)
    root = tmp_path_factory.mktemp("declared")
    begun = time.monotonic()
    run = fork(forks, builders.declare, filled, root)
    run.join()
    assert run.exitcode == 0
    seconds = time.monotonic() - begun
    return root, builders.visible_files(root), seconds


@pytest.mark.parametrize("number", range(KILLS))
def test_declarations_killed_at_any_moment_end_the_same(filled, forks, declared, number):
    root, files, seconds = declared
    forget_images(filled)
    shutil.rmtree(root)
    chance = random.Random(number)  # noqa: S311 (no secret)
    run = fork(forks, builders.declare, filled, root)
    run.join(chance.uniform(seconds / 3, seconds))
    run.kill()
    run.join()
    # A recipe is never there without its document, nor a dataset without both.
    there = builders.visible_files(root)
    assert builders.whole_images(there).items() <= files.items()
    assert sum(name.endswith(".yaml") for name in there) * 2 == len(there)
    assert all(Path(uri.removeprefix("file://")).is_file() for uri, _ in images(filled).values())
    run = fork(forks, builders.declare, filled, root)
    run.join()
    assert run.exitcode == 0
    assert builders.visible_files(root) == files
    assert {Path(uri).name for uri, _ in images(filled).values()} == {
        Path(name).name for name in files if name.endswith(".yaml")
    }
    assert not any(archived for _, archived in images(filled).values())
    assert list((root / builders.PARTIAL).glob("*")) == []


@pytest.fixture
def built(filled, forks, tmp_path):
    """Give the root of a cube that is built."""
    forget_images(filled)
    run = fork(forks, builders.build, filled, tmp_path)
    run.join()
    assert run.exitcode == 0
    return tmp_path


def fork_until_begun(forks, does, home, root):
    run = fork(forks, does, home, root, begun := forks.Event())
    while run.is_alive() and not begun.wait(0.01):
        pass
    return run


def run_to_the_end(forks, does, home, root):
    """Run something; give the seconds from its beginning on."""
    run = fork_until_begun(forks, does, home, root)
    since = time.monotonic()
    run.join()
    assert run.exitcode == 0
    return time.monotonic() - since


def killed(forks, does, home, root, chance, seconds):
    """Run something, and kill it at some moment after its beginning."""
    run = fork_until_begun(forks, does, home, root)
    run.join(chance.uniform(0, seconds))
    run.kill()
    run.join()


def test_overviews_killed_at_any_moment_end_the_same(filled, forks, built):
    product = f"{CUBE}_overview"
    without = builders.visible_files(built)
    seconds = run_to_the_end(forks, builders.overviews, filled, built)
    files, datasets = builders.visible_files(built), images(filled, product)
    assert len(datasets) == len(files.keys() - without.keys()) / (BANDS + 2) == 2
    for number in range(KILLS):
        forget_images(filled, product)
        shutil.rmtree(built / product)
        chance = random.Random(number)  # noqa: S311 (no secret)
        killed(forks, builders.overviews, filled, built, chance, seconds)
        # What is visible is whole, and nothing else is indexed.
        there = builders.visible_files(built)
        assert without.items() <= there.items() <= files.items()
        assert (len(there) - len(without)) % (BANDS + 2) == 0
        indexed = images(filled, product)
        assert indexed.items() <= datasets.items()
        assert all(Path(uri.removeprefix("file://")).is_file() for uri, _ in indexed.values())
        run_to_the_end(forks, builders.overviews, filled, built)
        assert builders.visible_files(built) == files
        assert images(filled, product) == datasets
        assert list((built / builders.PARTIAL).glob("*")) == []


def test_pruning_killed_at_any_moment_ends_the_same(filled, forks, built, tmp_path_factory):
    files, datasets = builders.visible_files(built), images(filled)
    aside = tmp_path_factory.mktemp("aside") / "cubes"
    shutil.copytree(built, aside)
    # Two old versions, a dataset without files, and files without a dataset.
    ids = sorted(datasets, key=str)
    folders = {i: Path(datasets[i][0].removeprefix("file://")).parent for i in ids}
    seconds = 0.0
    for number in range(-1, KILLS):  # the first time to the end
        with database.open_datacube(database.find_index(filled, environ={})) as dc:
            dc.index.datasets.archive(ids[:2])
            dc.index.datasets.purge(ids[3:], allow_delete_active=True)
        shutil.rmtree(folders[ids[2]])
        if number >= 0:
            chance = random.Random(number)  # noqa: S311 (no secret)
            killed(forks, builders.prune, filled, built, chance, seconds)
            there = builders.visible_files(built)
            assert there.items() <= files.items()
            for folder in folders.values():  # each of them is whole, or gone
                inside = folder.relative_to(built).as_posix()
                left = {f for f in there if f.startswith(inside)}
                assert left in (set(), {f for f in files if f.startswith(inside)})
        seconds = max(seconds, run_to_the_end(forks, builders.prune, filled, built))
        assert images(filled) == {}
        assert not {f for f in builders.visible_files(built) if f.endswith(".tif")}
        assert list((built / builders.PARTIAL).glob("*")) == []
        shutil.rmtree(built)
        shutil.copytree(aside, built)
        run = fork(forks, builders.build, filled, built)
        run.join()
        assert images(filled) == datasets


def test_builders_at_once_make_each_image_once(filled, forks, undisturbed, tmp_path):
    forget_images(filled)
    told = [tmp_path / f"{n}.json" for n in range(3)]
    root = tmp_path / "cubes"
    runs = [fork(forks, builders.build_and_tell, filled, root, path) for path in told]
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0, 0, 0]
    reports = [json.loads(path.read_text("utf-8")) for path in told]
    assert all(report["failed"] == 0 for report in reports)
    assert sum(report["built"] for report in reports) == IMAGES
    assert all(report["built"] + report["unchanged"] == IMAGES for report in reports)
    assert_same_end(filled, root, undisturbed)


def test_command_with_processes_that_is_killed_is_finished(fresh_index, scenes, tmp_path):
    home = fresh_index("postgis").config_path.parent
    assert start(home, "product", "add", "--all").wait() == 0
    assert start(home, "index", "cb4_wfi_l4_sr", scenes).wait() == 0
    extent = [str(v) for v in demo_extent(SIZE)]
    build = ("cube", "build", CUBE, "--time", "2019-12-03", "2019-12-31", "--clip", *extent)
    cubes, half = home / "cubes", home / "cubes" / ".partial"
    begun = start(home, *build, "--workers", "2")
    assert kill_when(begun, lambda: any(p.name.endswith("_BAND14.tif") for p in files(half)))
    ended = time.monotonic() + 60
    while left_at_work(half) and time.monotonic() < ended:  # workers end with their parent
        time.sleep(0.01)
    assert start(home, *build).wait() == 0
    assert list(half.glob("*")) == []
    assert documents(cubes) == IMAGES
    elsewhere = tmp_path / "cubes"
    assert start(home, *build, "--root", elsewhere).wait() == 0
    assert pixels(cubes) == pixels(elsewhere)
    assert len(pixels(cubes)) == BANDS * IMAGES


def left_at_work(half):
    """Tell whether a process that has a folder of unfinished work is alive."""
    pids = [path.name.partition(".")[2].partition("@")[0] for path in half.glob("*")]
    return any(Path("/proc", pid).exists() for pid in pids)


def test_two_indexers_and_two_builders_at_once(fresh_index, scenes):
    home = fresh_index("postgis").config_path.parent
    assert start(home, "product", "add", "--all").wait() == 0
    index = ("index", "cb4_wfi_l4_sr", scenes)
    assert [p.wait() for p in [start(home, *index) for _ in range(2)]] == [0, 0]
    extent = [str(v) for v in demo_extent(SIZE)]
    build = ("cube", "build", CUBE, "--time", "2019-12-03", "2019-12-31", "--clip", *extent)
    assert [p.wait() for p in [start(home, *build) for _ in range(2)]] == [0, 0]
    with database.open_datacube(database.find_index(home, environ={})) as dc:
        assert dc.index.datasets.count(product="CB4_WFI_L4_SR_1") == 24
        assert dc.index.datasets.count(product=CUBE, archived=None) == IMAGES
    assert documents(home / "cubes") == IMAGES
    assert list((home / "cubes" / ".partial").glob("*")) == []
