"""Folders in which builders work, until what they hold is published or given up."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator

_BEAT = 30.0
"""Seconds after which a builder at work shows again that it is."""

_SILENCE = 900.0
"""Seconds without such a sign after which a builder is taken for dead, wherever it was."""


@contextmanager
def partial_folder(root: Path, task_id: uuid.UUID) -> Iterator[Path]:
    """Give an empty folder for one task, which is gone at the end unless it was renamed.

    Its name says which process on which machine works in it, and its time of change that it still
    does, so that others can tell if it is left over.
    """
    folder = _partial_root(root) / f"{task_id}.{os.getpid()}@{_machine()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ended = Event()
    Thread(target=_beat, args=(folder, ended), daemon=True).start()
    try:
        yield folder
    finally:
        ended.set()
        shutil.rmtree(folder, ignore_errors=True)


def left_over(root: Path) -> list[Path]:
    """Give the folders of builders that are dead; those at work, here or elsewhere, are not.

    A builder on this machine is looked for. One on another is dead if it has given no sign for a
    quarter of an hour.
    """
    folders = [path for path in _partial_root(root).glob("*.*") if is_partial(root, path)]
    if not folders:
        return []
    try:
        now = _clock(_partial_root(root))
    except OSError:  # a folder that we may not write to is not ours to tidy
        return []
    return [folder for folder in folders if not _is_at_work(folder, now)]


def is_partial(root: Path, folder: Path) -> bool:
    """Tell whether a folder is one in which a builder works, and no link to something else."""
    real = folder.resolve()
    return (
        folder.is_dir()
        and not folder.is_symlink()
        and real.parent == root.resolve() / _partial_root(root).name
    )


def remove_partial(root: Path) -> None:
    """Remove what builders left that were killed; leave alone those still at work."""
    for folder in left_over(root):
        shutil.rmtree(folder, ignore_errors=True)


def _partial_root(root: Path) -> Path:
    return root / ".partial"


def _machine() -> str:
    """Name what process ids belong to: a host, and in it a container."""
    try:
        space = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        space = 0
    return f"{socket.gethostname()}-{space}"


def _beat(folder: Path, ended: Event) -> None:
    while not ended.wait(_BEAT):
        with suppress(OSError):
            os.utime(folder)


def _clock(folder: Path) -> float:
    """Give the time by the clock of a file system: those of hosts that share it may differ."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime


def _is_at_work(folder: Path, now: float) -> bool:
    _, _, builder = folder.name.partition(".")
    pid, _, machine = builder.partition("@")
    try:
        silence = now - folder.stat().st_mtime
    except OSError:  # it was published or given up just now
        return True
    if silence > _SILENCE:  # its process id may be another's by now
        return False
    return machine != _machine() or not pid.isdigit() or _is_alive(int(pid))


def _is_alive(pid: int) -> bool:
    if os.name == "nt":  # there a signal of 0 is no question; silence tells later
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
