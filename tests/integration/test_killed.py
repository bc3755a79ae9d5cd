"""Runs that are killed or meet: nothing half-made, nothing twice, and all of it done at the end."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest

from odc_bdc import database
from odc_bdc.scenes import demo_extent, make_scenes

SIZE = 64
CUBE = "CB4_64_16D_STK_v1"
IMAGES = 4
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


def test_index_and_build_finish_after_kills(home, scenes, tmp_path):
    assert start(home, "product", "add", "--all").wait() == 0
    eo3 = tmp_path / "eo3"
    index = ("index", "cb4_wfi_l4_sr", scenes, "--out", eo3, "--batch", "2")
    killed = [kill_when(start(home, *index), lambda n=n: documents(eo3) >= n) for n in (1, 9)]
    assert all(killed)
    assert start(home, *index).wait() == 0
    assert documents(eo3) == 24

    extent = [str(v) for v in demo_extent(SIZE)]
    build = ("cube", "build", CUBE, "--time", "2019-12-03", "2019-12-31", "--clip", *extent)
    cubes, half = home / "cubes", home / "cubes" / ".partial"
    moments = (
        lambda: any(p.name.endswith("_BAND14.tif") for p in files(half)),
        lambda: documents(cubes) >= 2,
        lambda: documents(cubes) >= IMAGES,
    )
    killed = [kill_when(start(home, *build), moment) for moment in moments]
    assert all(killed[:2])
    # What is visible is whole, however the run ended.
    for folder in {p.parent for p in cubes.rglob("*.tif") if ".partial" not in p.parts}:
        assert len(list(folder.glob("*.tif"))) == BANDS
        assert documents(folder) == 1

    assert start(home, *build).wait() == 0
    assert list(half.glob("*")) == []
    with database.open_datacube(database.find_index(home, environ={})) as dc:
        assert dc.index.datasets.count(product="CB4_WFI_L4_SR_1") == 24
        assert dc.index.datasets.count(product=CUBE) == IMAGES
    # A run in peace, elsewhere, makes the same files.
    elsewhere = tmp_path / "cubes"
    assert start(home, *build, "--root", elsewhere).wait() == 0
    assert pixels(cubes) == pixels(elsewhere)
    assert len(pixels(cubes)) == BANDS * IMAGES


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
