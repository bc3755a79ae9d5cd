"""Folders of builders: those of the dead go, those at work stay, here and on other machines."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from odc_bdc.building import partial

TASK = uuid.UUID(int=7)


def folder_of(root, pid, machine, *, silent=0.0):
    """Make the folder of a builder that gave its last sign some seconds ago."""
    folder = root / ".partial" / f"{uuid.uuid4()}.{pid}@{machine}"
    (folder / "deeper").mkdir(parents=True)
    (folder / "deeper" / "file.tif").write_bytes(b"x")
    now = folder.stat().st_mtime
    os.utime(folder, (now - silent, now - silent))
    return folder


def here(root):
    with partial.partial_folder(root, TASK) as folder:
        return folder.name.partition("@")[2]


@pytest.fixture
def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_folder_is_empty_and_gone_at_the_end(tmp_path):
    with partial.partial_folder(tmp_path, TASK) as folder:
        assert list(folder.iterdir()) == []
        (folder / "file").write_text("x")
    with partial.partial_folder(tmp_path, TASK) as again:
        assert again == folder
        assert list(again.iterdir()) == []
        assert str(os.getpid()) in again.name
    assert not folder.exists()
    with pytest.raises(RuntimeError), partial.partial_folder(tmp_path, TASK):
        raise RuntimeError
    assert list((tmp_path / ".partial").iterdir()) == []


def test_renamed_folder_stays(tmp_path):
    with partial.partial_folder(tmp_path, TASK) as folder:
        (folder / "file").write_text("x")
        folder.rename(tmp_path / "published")
    assert (tmp_path / "published" / "file").is_file()


def test_the_dead_go_and_those_at_work_stay(tmp_path, dead_pid):
    machine = here(tmp_path)
    stays = {
        folder_of(tmp_path, os.getpid(), machine),
        folder_of(tmp_path, os.getpid(), machine, silent=600),
        folder_of(tmp_path, dead_pid, "another-1"),  # ids of processes there are not ours
        folder_of(tmp_path, 1, machine),  # of another user: no right to send it a signal
    }
    goes = {
        folder_of(tmp_path, dead_pid, machine),
        folder_of(tmp_path, os.getpid(), machine, silent=2000),  # its number was given anew
        folder_of(tmp_path, os.getpid(), "another-1", silent=2000),
        folder_of(tmp_path, os.getpid(), f"{machine}0", silent=2000),  # a container of this host
    }
    assert set(partial.left_over(tmp_path)) == goes
    partial.remove_partial(tmp_path)
    assert set((tmp_path / ".partial").iterdir()) == stays


def test_builder_at_work_gives_signs(tmp_path, monkeypatch):
    monkeypatch.setattr(partial, "_BEAT", 0.01)
    with partial.partial_folder(tmp_path, TASK) as folder:
        os.utime(folder, (0, 0))
        while folder.stat().st_mtime == 0:  # ends when a sign is given
            pass
        assert partial.left_over(tmp_path) == []


def test_nothing_to_do_where_there_is_nothing(tmp_path):
    assert partial.left_over(tmp_path / "absent") == []
    partial.remove_partial(Path(tmp_path / "absent"))
