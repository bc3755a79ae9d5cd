"""Many images, whoever computes them and whatever goes wrong: the same files, each of them once."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from builders import (
    CLOCK,
    CUBE,
    PARTIAL,
    SIZE,
    build,
    fill,
    indexed_images,
    make_small_scenes,
    tasks_of,
    visible_files,
    whole_images,
)
from dask_cluster import started_cluster

from odc_bdc import database
from odc_bdc.building import build_cube, build_task, composite_tile
from odc_bdc.building.failures import failures
from odc_bdc.building.running import Cluster, Processes
from odc_bdc.building.store import ImageStore
from odc_bdc.errors import UnreadableSceneError
from odc_bdc.scenes import demo_extent

IMAGES = 4
BANDS = 10  # four, CMASK, two indices, two counts, PROVENANCE


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    make_small_scenes(folder)
    return folder


@pytest.fixture
def filled(fresh_index, scenes):
    """Give a maker of indexes with the scenes: ``make(driver)`` gives its home."""

    def make(driver="postgis", folder=scenes):
        index = fresh_index(driver)
        with database.open_datacube(index) as dc:
            fill(dc, folder)
        return index.config_path.parent

    return make


def opened(home):
    return database.open_datacube(database.find_index(home, environ={}))


@pytest.fixture(scope="module")
def reference(fresh_index, scenes, tmp_path_factory):
    """Give the files of a build in peace, in this process."""
    home = fresh_index("postgis").config_path.parent
    root = tmp_path_factory.mktemp("reference")
    with opened(home) as dc:
        fill(dc, scenes)
    report = build(home, root, quiet=False)
    assert (report.built, report.failed) == (IMAGES, [])
    files = visible_files(root)
    assert sum(name.endswith(".tif") for name in files) == IMAGES * BANDS
    return files


def assert_finished(home, root, reference):
    """All images are there, as in peace, and each is in the index once."""
    assert visible_files(root) == reference
    assert not list((root / PARTIAL).glob("*"))
    with opened(home) as dc:
        images = indexed_images(dc)
        assert images.keys() == {task.id for task in tasks_of(dc)}
        assert len(images) == IMAGES
        assert not any(archived for _, archived in images.values())
    assert all(Path(uri.removeprefix("file://")).is_file() for uri, _ in images.values())


def command(home, root, *arguments, **options):
    """Start `odc-bdc cube build`."""
    program = str(Path(sys.executable).with_name("odc-bdc"))
    extent = [str(v) for v in demo_extent(SIZE)]
    what = ["cube", "build", CUBE, "--time", "2019-12-03", "2019-12-31", "--clip", *extent]
    environ = {k: v for k, v in os.environ.items() if not k.startswith("ODC_")}
    return subprocess.Popen(
        [program, *what, "--home", str(home), "--root", str(root), *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environ | options.pop("env", {}), **options,
    )  # fmt: skip


def ended(process):
    """Give exit code, the lines of JSON, and what was said beside."""
    out, said = process.communicate(timeout=600)
    assert "Traceback" not in said, said
    return process.returncode, [json.loads(line) for line in out.splitlines()], said


def pids_at_work(root):
    return {int(p.name.partition(".")[2].partition("@")[0]) for p in (root / PARTIAL).glob("*")}


# The same files, whoever computes them


def test_processes_give_the_same_files(filled, reference, tmp_path):
    home = filled()
    with opened(home) as dc:
        report = build_cube(dc, tasks_of(dc), tmp_path, now=CLOCK, runner=Processes(3))
    assert (report.built, report.computed, report.failed) == (IMAGES, IMAGES, [])
    assert_finished(home, tmp_path, reference)


@pytest.fixture(scope="module")
def dask_cluster(tmp_path_factory):
    with started_cluster(tmp_path_factory.mktemp("dask"), 3) as cluster:
        yield cluster


def test_cluster_that_loses_a_worker_gives_the_same_files(
    filled, dask_cluster, reference, tmp_path
):
    home, (address, _, workers), root = filled(), dask_cluster, tmp_path / "cubes"
    running = command(home, root, "--scheduler", address, "--log-json", "-")
    ours = {worker.pid for worker in workers}
    while not (busy := pids_at_work(root) & ours):
        assert running.poll() is None
        time.sleep(0.002)
    os.kill(busy.pop(), signal.SIGKILL)
    code, lines, said = ended(running)
    assert (code, lines[-1]["built"], lines[-1]["failed"]) == (0, IMAGES, 0), said
    assert {line["status"] for line in lines[:-1]} == {"built"}
    assert sum(worker.poll() is not None for worker in workers) == 1
    # What it had under work is left over, and goes with the next run; the clock is another.
    assert ended(command(home, root))[1][-1]["unchanged"] == IMAGES
    tifs = {name: h for name, h in reference.items() if name.endswith(".tif")}
    assert {n: h for n, h in visible_files(root).items() if n.endswith(".tif")} == tifs
    assert not list((root / PARTIAL).glob("*"))


def test_cluster_gives_the_same_files_and_tells_when_it_ends(
    filled, dask_cluster, reference, tmp_path
):
    home, (address, *_), root = filled(), dask_cluster, tmp_path / "cubes"
    with opened(home) as dc:
        tasks = tasks_of(dc)
        report = build_cube(dc, tasks, root, now=CLOCK, runner=Cluster(address))
        assert (report.built, report.failed) == (IMAGES, [])
    assert_finished(home, root, reference)


def test_shards_at_once_give_the_same_files(filled, reference, tmp_path):
    home = filled()
    parts = [command(home, tmp_path, "--shard", f"{n}/3") for n in (1, 2)]
    slurm = {"ID": 12, "MIN": 10, "MAX": 12, "COUNT": 3, "STEP": 1}
    variables = {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in slurm.items()}
    parts.append(command(home, tmp_path, "--shard", "slurm", env=variables))
    told = [ended(part) for part in parts]
    assert [code for code, _, _ in told] == [0, 0, 0], told
    assert sum(lines[-1]["built"] for _, lines, _ in told) == IMAGES
    assert sum(lines[-1]["computed"] for _, lines, _ in told if "computed" in lines[-1]) == IMAGES
    tifs = {name: h for name, h in reference.items() if name.endswith(".tif")}
    assert {n: h for n, h in visible_files(tmp_path).items() if n.endswith(".tif")} == tifs
    with opened(home) as dc:
        assert len(indexed_images(dc)) == IMAGES


def test_script_for_slurm_that_is_documented_works(filled, tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "howto" / "build-at-scale.md").read_text("utf-8")
    (script,) = re.findall(r"^```bash\n(#!/bin/bash\n.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "cube.sbatch").write_text(script)
    home, root = filled(), tmp_path / "cubes"
    environ = {k: v for k, v in os.environ.items() if not k.startswith("ODC_")}
    environ |= {
        "PATH": f"{Path(sys.executable).parent}:{environ['PATH']}",
        "CUBE": CUBE, "START": "2019-12-03", "END": "2019-12-31",
        "ROOT": str(root), "ODC_BDC_HOME": str(home),
        "OPTIONS": f"--clip {' '.join(map(str, demo_extent(SIZE)))}",
        "SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_COUNT": "2",
    }  # fmt: skip
    for number in ("1", "2"):
        done = subprocess.run(
            ["bash", "cube.sbatch"], cwd=tmp_path, env=environ | {"SLURM_ARRAY_TASK_ID": number},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    logs = [path.read_text().splitlines() for path in sorted(tmp_path.glob("cube_77_*.json"))]
    assert sum(json.loads(line)["status"] == "built" for log in logs for line in log) == IMAGES
    with opened(home) as dc:
        assert len(indexed_images(dc)) == IMAGES


# Idempotent


@pytest.mark.parametrize("driver", ["postgis", "postgres"])
def test_older_version_goes_in_the_moment_in_which_the_new_one_comes(filled, tmp_path, driver):
    home = filled(driver)
    with opened(home) as dc:
        tasks = tasks_of(dc)
        # Versions that an earlier run made from fewer scenes.
        older = [replace(task, scenes=task.scenes[1:]) for task in tasks]
        assert build_cube(dc, older, tmp_path, now=CLOCK).built == IMAGES
        counts = []

        def look(record):
            counts.append(sum(not archived for _, archived in indexed_images(dc).values()))

        report = build_cube(dc, tasks, tmp_path, now=CLOCK, progress=look)
        assert (report.built, report.archived, report.unchanged) == (IMAGES, IMAGES, 0)
        assert counts == [IMAGES] * IMAGES
        images = indexed_images(dc)
        assert {i for i, (_, archived) in images.items() if archived} == {t.id for t in older}
        # Back to the older ones: they are on disk, and nothing is computed.
        report = build_cube(dc, older, tmp_path, now=CLOCK)
        assert (report.built, report.archived, report.computed) == (IMAGES, IMAGES, 0)
        for task in older:
            dataset = dc.index.datasets.get(task.id)
            assert not dataset.is_archived
            assert _sources(dc, task.id) == {scene.id for scene in task.scenes}


def _sources(dc, dataset_id):
    if dc.index.supports_external_lineage:
        tree = dc.index.lineage.get_source_tree(dataset_id)
        return {child.dataset_id for kind in tree.children.values() for child in kind}
    dataset = dc.index.datasets.get(dataset_id, include_sources=True)
    return {source.id for source in dataset.sources.values()}


def test_files_that_are_gone_are_made_anew(filled, reference, tmp_path):
    home = filled()
    build(home, tmp_path, quiet=False)
    victim = min(tmp_path.rglob("*.odc-metadata.yaml")).parent
    shutil.rmtree(victim)
    report = build(home, tmp_path, quiet=False)
    assert (report.computed, report.unchanged) == (1, IMAGES)
    assert_finished(home, tmp_path, reference)


def test_dry_run_says_what_and_does_nothing(filled, tmp_path):
    home, root = filled(), tmp_path / "cubes"
    code, lines, said = ended(command(home, root, "--dry-run"))
    assert code == 0
    assert len(lines) == IMAGES + 1
    assert {line["status"] for line in lines[:-1]} == {"would be built"}
    assert lines[-1]["images"] == IMAGES
    assert re.search(r"to build: 4 images; about .* of storage \(.* are free\), .* of memory", said)
    assert not root.exists()
    assert ended(command(home, root))[0] == 0
    code, lines, _ = ended(command(home, root, "--dry-run"))
    assert [line["status"] for line in lines] == ["dry run"]
    assert lines[-1]["images"] == 0


# What fails


@pytest.fixture
def own_scenes(scenes, tmp_path):
    """Give a copy of the scenes that a test may spoil."""
    return Path(shutil.copytree(scenes, tmp_path / "scenes"))


def spoil(task, number=0, band="BAND15"):
    """Cut a file of a scene of a task; give its path and what it held."""
    path = Path(task.scenes[number].source(band).href.removeprefix("file://"))
    held = path.read_bytes()
    path.write_bytes(held[: len(held) // 2])
    return path, held


def test_one_that_fails_is_tried_again_and_reported_and_the_others_are_built(
    filled, own_scenes, reference, tmp_path
):
    home, root = filled(folder=own_scenes), tmp_path / "cubes"
    with opened(home) as dc:
        tasks = tasks_of(dc)
        path, held = spoil(tasks[1])
        pauses, told = [], []
        options = {"retries": 2, "sleep": pauses.append, "progress": told.append}
        report = build_cube(dc, tasks, root, now=CLOCK, **options)
        assert (report.built, len(report.failed)) == (IMAGES - 1, 1)
        (failed,) = report.failed
        assert failed.source == tasks[1].item_id
        assert failed.scene == str(tasks[1].scenes[0].id)
        assert path.name in failed.reason
        assert pauses == sorted(pauses)
        assert len(pauses) == 2
        assert [r.task.id for r in told].count(tasks[1].id) == 1
        (record,) = failures(root)
        assert (record.id, record.scene) == (tasks[1].id, tasks[1].scenes[0].id)
        assert record.at == CLOCK()

        # It mends itself while the others are built: the second try succeeds.
        report = build_cube(
            dc, tasks, root, now=CLOCK, retries=1, sleep=lambda _: path.write_bytes(held)
        )
        assert (report.built, report.unchanged, report.failed) == (1, IMAGES - 1, [])
        assert failures(root) == []
    made = visible_files(root)
    assert made.keys() == reference.keys()
    # STAC items link to those of the scenes, which lie elsewhere here; the checksums list them.
    differing = {name for name in made if made[name] != reference[name]}
    assert all(name.endswith((".json", ".sha1")) for name in differing), differing


def test_command_tells_failures_in_lines(filled, own_scenes, tmp_path):
    home, root = filled(folder=own_scenes), tmp_path / "cubes"
    with opened(home) as dc:
        task = tasks_of(dc)[2]
    spoil(task, band="CMASK")
    log = tmp_path / "log.json"
    code, lines, said = ended(command(home, root, "--retries", 0, "--log-json", log))
    assert code == 1
    assert lines[-1]["built"] == IMAGES - 1
    (failed,) = lines[:-1]
    assert failed["status"] == "failed"
    assert failed["source"] == task.item_id
    assert failed["scene"] == str(task.scenes[0].id)
    assert "3 built, 1 failed" in said
    logged = [json.loads(line) for line in log.read_text().splitlines()]
    assert sorted(line["status"] for line in logged) == ["built"] * 3 + ["failed"]
    built = next(line for line in logged if line["status"] == "built")
    assert {"item", "id", "scenes", "clear", "bytes_written", "seconds", "host"} <= built.keys()


def test_scene_that_cannot_be_read_is_left_out_if_asked(filled, own_scenes, tmp_path):
    home, root = filled(folder=own_scenes), tmp_path / "cubes"
    with opened(home) as dc:
        tasks = tasks_of(dc)
        task, store = tasks[1], ImageStore.open(root)
        (path, held), gone = spoil(task, 2), task.scenes[2].id
        options = {"now": CLOCK, "skip_scenes": True, "sleep": lambda _: None}
        report = build_cube(dc, tasks, root, retries=1, **options)
        assert (report.built, report.skipped, report.failed) == (IMAGES, 1, [])
        without = replace(task, scenes=tuple(s for s in task.scenes if s.id != gone))
        assert dc.index.datasets.get(task.id) is None
        dataset = dc.index.datasets.get(without.id)
        assert dataset.metadata_doc["properties"]["odc_bdc:task"] == str(task.id)
        document = root / store.document(without)
        item = json.loads((document.parent / f"{store.layout.item_id(task)}.json").read_text())
        properties = yaml.safe_load(document.read_text("utf-8"))["properties"]
        for told in (properties, item["properties"]):
            assert told["odc_bdc:task"] == str(task.id)
            assert told["odc_bdc:skipped_scenes"] == [str(gone)]
        wanted = composite_tile(without)
        for name, pixels in wanted.items():
            (tif,) = document.parent.glob(f"*_{name}.tif")
            with rasterio.open(tif) as src:
                np.testing.assert_array_equal(src.read(1), pixels)

        # It is done for whom leaves scenes out, and not for whom does not.
        before = visible_files(root)
        report = build_cube(dc, tasks, root, **options)
        assert (report.unchanged, report.computed) == (IMAGES, 0)
        assert visible_files(root) == before
        report = build_cube(dc, tasks, root, now=CLOCK)
        assert (report.unchanged, len(report.failed)) == (IMAGES - 1, 1)
        path.write_bytes(held)
        report = build_cube(dc, tasks, root, now=CLOCK)
        assert (report.unchanged, report.built, report.archived) == (IMAGES - 1, 1, 1)
        assert dc.index.datasets.get(without.id).is_archived


def test_image_without_any_scene_fails(filled, own_scenes, tmp_path):
    with opened(filled(folder=own_scenes)) as dc:
        task = tasks_of(dc)[0]
    for number in range(len(task.scenes)):
        spoil(task, number)
    with pytest.raises(UnreadableSceneError, match="none of its 4 scenes can be read") as raised:
        build_task(task, ImageStore.open(tmp_path / "cubes"), CLOCK(), skip_scenes=True)
    assert raised.value.scene in {scene.id for scene in task.scenes}
    assert visible_files(tmp_path / "cubes") == {}


def test_folder_that_may_not_be_written_is_not_tried_again(filled, tmp_path):
    home = filled()
    with opened(home) as dc:
        tasks = tasks_of(dc)
        (tmp_path / CUBE).write_text("in the way")
        report = build_cube(dc, tasks, tmp_path, now=CLOCK, retries=3, sleep=pytest.fail)
    assert len(report.failed) == IMAGES
    assert all("\n" not in failed.reason for failed in report.failed)


@pytest.fixture
def small_disk(tmp_path):
    """Give a disk with room for some of the images, and what gives it more."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)]
    mounts = shutil.which("mount") is not None
    if not mounts or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        yield (
            place,
            lambda: subprocess.run(["mount", "-o", "remount,size=30m", str(place)], check=True),
        )
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("runner", [None, Processes(2)])
def test_full_disk_leaves_no_broken_image(filled, small_disk, reference, runner):
    home, (root, enlarge) = filled(), small_disk
    with opened(home) as dc:
        tasks = tasks_of(dc)
        report = build_cube(dc, tasks, root, now=CLOCK, runner=runner)
        assert report.failed
        assert report.built + len(report.failed) == IMAGES
        assert all("No space left" in failed.reason for failed in report.failed)
        # What is there is whole, and nothing else is.
        there = visible_files(root)
        assert whole_images(there).items() <= reference.items()
        assert sum(name.endswith(".tif") for name in there) == report.built * BANDS
        assert not list((root / PARTIAL).glob("*"))
        assert len(indexed_images(dc)) == report.built

        # There is room while it waits to try again.
        report = build_cube(
            dc, tasks, root, now=CLOCK, retries=1, runner=runner, sleep=lambda _: enlarge()
        )
        assert report.failed == []
        assert failures(root) == []
    assert_finished(home, root, reference)


def test_files_that_grow_too_large_leave_no_broken_image(filled, reference, tmp_path):
    """A quota, or a limit of the process: no disk is full, but files cannot be finished."""
    home = filled()
    code, lines, _ = ended(command(home, tmp_path, "--retries", 0, preexec_fn=_limit_files))
    assert (code, lines[-1]["failed"]) == (1, IMAGES)
    assert visible_files(tmp_path) == {}
    assert build(home, tmp_path, quiet=False).built == IMAGES
    assert_finished(home, tmp_path, reference)


def _limit_files():
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


# The index goes away


@pytest.fixture
def own_cluster(homes, clean_environ, scenes):
    """Give the home of a cluster of its own, which a test may stop; it has the scenes."""
    home = homes(f"stopped{uuid.uuid4().hex[:6]}")
    index = database.bring_up(home, environ=clean_environ)
    database.initialise(index)
    with database.open_datacube(index) as dc:
        fill(dc, scenes)
    yield home
    database.delete(home)


def test_index_that_goes_away_is_found_again(own_cluster, clean_environ, reference, tmp_path):
    home = own_cluster
    with opened(home) as dc:
        tasks, told = tasks_of(dc), []

        def progress(record):
            if not told:
                database.shut_down(home)
            told.append(record.status)

        report = build_cube(dc, tasks, tmp_path / "first", now=CLOCK, progress=progress)
        assert told == ["built", *["written"] * (IMAGES - 1)]
        assert (report.built, report.written, report.failed) == (1, IMAGES - 1, [])
        assert "\n" not in report.index_fault
        assert "the index cannot be used" in report.index_fault
        assert not report.complete
    assert visible_files(tmp_path / "first") == reference
    # The next run indexes what is written, and computes nothing.
    database.bring_up(home, environ=clean_environ)
    with opened(home) as dc:
        report = build_cube(dc, tasks, tmp_path / "first", now=CLOCK)
        assert (report.built, report.unchanged, report.computed) == (IMAGES - 1, 1, 0)
        assert_finished(home, tmp_path / "first", reference)

        # It comes back while the run waits at its end.
        dc.index.datasets.purge([task.id for task in tasks], allow_delete_active=True)
        told.clear()
        report = build_cube(
            dc,
            tasks,
            tmp_path / "second",
            now=CLOCK,
            progress=progress,
            retries=1,
            sleep=lambda _: database.bring_up(home, environ=clean_environ),
        )
        assert report.complete
        assert told == ["built"] * IMAGES
    assert_finished(home, tmp_path / "second", reference)


def test_command_says_in_one_line_that_the_index_is_gone(own_cluster, clean_environ, tmp_path):
    home = own_cluster
    running = command(home, tmp_path, "--retries", 0, "--log-json", "-")
    first = json.loads(running.stdout.readline())
    assert first["status"] == "built"
    database.shut_down(home)
    code, lines, said = ended(running)
    assert code == 1
    assert lines[-1]["written"] + lines[-1]["built"] == IMAGES
    gone = [line for line in said.splitlines() if "not indexed" in line]
    assert len(gone) == (lines[-1]["written"] > 0)
    database.bring_up(home, environ=clean_environ)
    code, lines, _ = ended(command(home, tmp_path))
    assert code == 0
    assert "computed" not in lines[-1]
