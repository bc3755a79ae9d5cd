"""What building will take: sums of parts, and what more workers change."""

import uuid
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime
from multiprocessing import get_context

import builders
import pystac
import pytest

from odc_bdc.building.estimate import (
    estimate,
    expected_memory,
    expected_seconds,
    expected_size,
)
from odc_bdc.building.report import BuildReport, TaskRecord
from odc_bdc.building.work import Fault, Figures, Outcome, fault_of
from odc_bdc.cube import find_cube
from odc_bdc.errors import InvalidValueError, SceneError, UnreadableSceneError
from odc_bdc.planning import BandSource, CompositeTask, SceneRef
from odc_bdc.scenes import demo_extent, make_scenes

DAY = datetime(2019, 12, 5, 13, tzinfo=UTC)


def task(size=512, scenes=4, tile="007004"):
    cube = find_cube("CB4_64_16D_STK_v1").patch(extent=demo_extent(size))
    (period,) = cube.timeline.covering(DAY.date(), DAY.date())
    refs = [
        SceneRef(uuid.UUID(int=n), f"scene {n}", DAY, None, "CB4_WFI_L4_SR_1", ())
        for n in range(scenes)
    ]
    return CompositeTask(cube, tile, period, tuple(refs))


def test_parts_add_up():
    tasks = [task(512), task(256, tile="008004"), task(1024)]
    told = estimate(tasks)
    assert told.images == 3
    assert told.size == sum(expected_size(t) for t in tasks)
    assert told.seconds == pytest.approx(sum(expected_seconds(t) for t in tasks))
    assert told.memory == max(expected_memory(t) for t in tasks)
    nothing = estimate([])
    assert (nothing.images, nothing.size, nothing.seconds, nothing.memory) == (0, 0, 0, 0)


def test_workers_share_time_and_add_memory():
    tasks = [task(512)] * 8
    one, four, many = (estimate(tasks, workers=n) for n in (1, 4, 100))
    assert four.seconds == pytest.approx(one.seconds / 4)
    assert four.memory == 4 * one.memory
    # No more work at once than there are images, and none is quicker than itself.
    assert many == estimate(tasks, workers=8)
    assert many.seconds == pytest.approx(expected_seconds(tasks[0]))


def test_threads_share_time_and_add_windows():
    tasks = [task(2048, scenes=36)] * 3
    one, two = (estimate(tasks, workers=2, threads=n) for n in (1, 2))
    assert two.seconds == pytest.approx(one.seconds / 2)
    assert one.memory < two.memory < 2 * one.memory
    # One window has work for one thread.
    assert expected_memory(task(512), threads=9) == expected_memory(task(512))


def test_more_is_more():
    assert expected_size(task(2048)) > 3.5 * expected_size(task(1024)) > 0
    assert expected_size(task(512, scenes=40)) == expected_size(task(512, scenes=4))
    assert expected_seconds(task(512, scenes=40)) > expected_seconds(task(512, scenes=4))
    # Memory grows with the scenes until windows are smaller, and not with the tile.
    few, many, more = (expected_memory(task(2048, scenes=n)) for n in (4, 40, 400))
    assert few < many < 2 * few
    assert more < 3 * few
    assert expected_memory(task(2048)) == expected_memory(task(1024))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Give made scenes of one tile, as items."""
    report = make_scenes(
        tmp_path_factory.mktemp("scenes"), size=512, tiles=("007004",), start=date(2020, 1, 1),
        end=date(2020, 1, 31), dates_per_month=4,
    )  # fmt: skip
    return [pystac.Item.from_file(str(path)) for path in sorted(report.items)]


@pytest.mark.parametrize(("size", "threads"), [(128, 1), (512, 2)])
def test_storage_and_memory_are_told_within_a_factor_of_two(made, tmp_path, size, threads):
    cube = find_cube("CB4_64_16D_STK_v1").patch(extent=demo_extent(size, ("007004",)))
    (period,) = cube.timeline.covering(date(2020, 1, 5), date(2020, 1, 5))
    scenes = tuple(scene_of(item, cube) for item in made)
    one = CompositeTask(cube, "007004", period, scenes)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        written, memory = alone.submit(builders.written, one, tmp_path, threads).result()
    assert 0.5 < written / expected_size(one) < 2
    assert 0.5 < memory / expected_memory(one, threads=threads) < 2


def scene_of(item, cube):
    """Refer to a scene as a plan does."""
    bands = tuple(
        (m.name, BandSource(item.assets[m.name].get_absolute_href(), m.encoding))
        for m in cube.measurements
    )
    key = uuid.uuid5(uuid.NAMESPACE_URL, item.id)
    return SceneRef(key, item.id, item.datetime, None, cube.products[0], bands)


@pytest.mark.parametrize(
    ("error", "reason", "lasting"),
    [
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device", False),
        (PermissionError(13, "Permission denied"), "[Errno 13] Permission denied", True),
        (OSError("cut off"), "cut off", False),
        (MemoryError(), "there is not enough memory; run fewer --workers", False),
        (InvalidValueError("tile x\nand more"), "tile x", True),
        (KeyError("a"), "unexpected KeyError: 'a'", True),
        (ValueError(), "unexpected ValueError: ValueError", True),
    ],
)
def test_faults_are_told_in_a_line(error, reason, lasting):
    assert fault_of(error) == Fault(reason, None, lasting)


def test_faults_behind_others_decide():
    def caused(cause):
        error = SceneError("the image cannot be written")
        error.__cause__ = cause
        return fault_of(error).lasting

    assert not caused(OSError(28, "No space left on device"))
    assert caused(OSError(30, "Read-only file system"))
    scene = uuid.UUID(int=5)
    assert fault_of(UnreadableSceneError("cut off", scene)) == Fault("cut off", scene)


def test_report_adds_up_what_was_seen():
    one = Figures(scenes=3, pixels=100, clear=90, bytes_written=7, seconds={"all": 1.0})
    two = Figures(scenes=4, pixels=300, clear=10, blocks_skipped=5, seconds={"all": 2, "read": 1})
    report, image = BuildReport(), task()
    records = [
        TaskRecord(image, "built", Outcome("a", image.id, figures=one)),
        TaskRecord(image, "unchanged", Outcome("a", image.id, (uuid.UUID(int=1),), two)),
        TaskRecord(image, "unchanged"),
        TaskRecord(image, "failed", Outcome(fault=Fault("why", uuid.UUID(int=2)))),
    ]
    for record in records:
        report.note(record)
    assert report.to_dict() == {
        "built": 1, "unchanged": 2, "archived": 0, "failed": 1, "skipped_scenes": 1, "computed": 2,
        "scenes": 7, "scenes_read": 0, "blocks_read": 0, "blocks_skipped": 5, "bytes_read": 0,
        "bytes_written": 7, "clear": 0.25, "seconds": {"all": 3.0, "read": 1.0},
    }  # fmt: skip
    assert not report.complete
    assert records[3].to_dict() == {
        "item": image.item_id, "id": str(image.id), "status": "failed", "scenes": 4,
        "reason": "why", "scene": str(uuid.UUID(int=2)),
    }  # fmt: skip
    assert records[1].to_dict()["skipped_scenes"] == [str(uuid.UUID(int=1))]
    assert date.fromisoformat(image.item_id[-10:]) == image.period.end
