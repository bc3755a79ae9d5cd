"""Records of failures survive a run, and are told from other files."""

import json
import uuid
from datetime import UTC, date, datetime
from types import SimpleNamespace

from odc_bdc.building.failures import failures, forget_failure, note_failure

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def task(tile, number):
    return SimpleNamespace(
        item_id=f"CUBE_{tile}",
        id=uuid.UUID(int=number),
        cube=SimpleNamespace(name="CUBE"),
        tile_id=tile,
        period=SimpleNamespace(start=date(2020, 1, 1)),
    )


def test_records_are_read_as_written_in_order_and_forgotten(tmp_path):
    scene = uuid.UUID(int=99)
    note_failure(tmp_path, task("008004", 1), "the disk is full", scene=None, at=AT)
    note_failure(tmp_path, task("007004", 2), "old", scene=None, at=AT)
    note_failure(tmp_path, task("007004", 2), "ção: cannot be read", scene=scene, at=AT)
    first, second = failures(tmp_path)
    assert (first.tile, first.reason, first.scene) == ("007004", "ção: cannot be read", scene)
    assert (second.item, second.id, second.cube) == ("CUBE_008004", uuid.UUID(int=1), "CUBE")
    assert (second.start, second.scene, second.at) == (date(2020, 1, 1), None, AT)
    (path,) = (p for p in (tmp_path / ".failed").iterdir() if p.stem == str(first.id))
    assert json.loads(path.read_text("utf-8")) == {
        "item": "CUBE_007004", "id": str(first.id), "cube": "CUBE", "tile": "007004",
        "start": "2020-01-01", "reason": "ção: cannot be read", "scene": str(scene),
        "at": "2026-01-02T03:04:05+00:00",
    }  # fmt: skip
    forget_failure(tmp_path, first.id)
    forget_failure(tmp_path, first.id)
    assert failures(tmp_path) == [second]


def test_other_files_are_left_out(tmp_path):
    assert failures(tmp_path) == []
    folder = tmp_path / ".failed"
    folder.mkdir()
    for name, text in {"a": "", "b": "[]", "c": "{}", "d": '{"id": 3}', "e": "\x00"}.items():
        (folder / f"{name}.json").write_text(text)
    assert failures(tmp_path) == []
