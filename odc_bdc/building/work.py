"""What a worker does, wherever it is: one image, without a database, and what became of it."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from odc_bdc import __version__
from odc_bdc.building.store import ImageStore
from odc_bdc.building.writing import WrittenImage, write_image
from odc_bdc.cog import ZSTD, Compression
from odc_bdc.errors import OdcBdcError, UnreadableSceneError, first_line
from odc_bdc.indexing.known import PLANNED, SKIPPED

if TYPE_CHECKING:
    import uuid

    from odc_bdc.planning import CompositeTask

T = TypeVar("T")
_LASTING = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG,
    errno.ELOOP, errno.EINVAL, errno.EEXIST,
}  # fmt: skip
"""What systems say of folders that somebody must put right; all else may be over after a while."""


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image on disk.

    Attributes
    ----------
    document
        Address of its EO3 document.
    id
        Of its dataset: the task's own, if no scene was left out.
    skipped
        Ids of the scenes that were left out.
    written
        What was published; None if it was there.
    """

    document: str
    id: uuid.UUID
    skipped: tuple[uuid.UUID, ...] = ()
    written: WrittenImage | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a task failed.

    Attributes
    ----------
    scene
        Id of the scene that cannot be read, if that is the reason.
    lasting
        It cannot be mended by trying again.
    """

    reason: str
    scene: uuid.UUID | None = None
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """What was seen while images were made: small, and fit to be sent from afar and added up.

    Attributes
    ----------
    scenes, scenes_read
        Scenes that images are made of, and those of which more than the quality was read.
    pixels, seen, clear, blocks_read, blocks_skipped, bytes_read
        As of `ImageSummary`.
    bytes_written
        Of all files.
    seconds
        By step; ``all`` from the beginning of an image to its publication.
    """

    scenes: int = 0
    scenes_read: int = 0
    pixels: int = 0
    seen: int = 0
    clear: int = 0
    blocks_read: int = 0
    blocks_skipped: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)

    def __add__(self, other: Figures) -> Figures:
        sums = {
            f.name: getattr(self, f.name) + getattr(other, f.name)
            for f in fields(self)
            if f.name != "seconds"
        }
        steps = {**other.seconds, **self.seconds}
        seconds = {s: self.seconds.get(s, 0.0) + other.seconds.get(s, 0.0) for s in steps}
        return Figures(**sums, seconds=seconds)

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as JSON has them, with the share of pixels that were seen clear."""
        return {
            "scenes": self.scenes,
            "scenes_read": self.scenes_read,
            "blocks_read": self.blocks_read,
            "blocks_skipped": self.blocks_skipped,
            "bytes_read": self.bytes_read,
            "bytes_written": self.bytes_written,
            "clear": round(self.clear / self.pixels, 4),
            "seconds": {step: round(seconds, 3) for step, seconds in self.seconds.items()},
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one try to build an image.

    Attributes
    ----------
    document, id
        Address of the image's document, and id of its dataset; None if it failed.
    skipped
        Ids of the scenes that were left out.
    figures
        None if it failed or the image was there.
    fault
        None if it did not fail.
    host
        Where.
    """

    document: str | None = None
    id: uuid.UUID | None = None
    skipped: tuple[uuid.UUID, ...] = ()
    figures: Figures | None = None
    fault: Fault | None = None
    host: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """How each task is done; called with one, by whatever runs tasks.

    Attributes
    ----------
    store
        Where images go; workers elsewhere must reach it by the same path or address.
    now
        The clock, for the time of processing.
    skip_scenes
        Leave out scenes that cannot be read.
    threads
        That work at one image.
    compression
        Of the files.
    version
        Of the program that gives the tasks; a worker that has another refuses them.
    """

    store: ImageStore
    now: Callable[[], datetime]
    skip_scenes: bool = False
    threads: int = 1
    compression: Compression = ZSTD
    version: str = __version__

    def __call__(self, task: CompositeTask) -> Outcome:
        """Try to build an image; a failure is told, not raised."""
        host = socket.gethostname()
        if self.version != __version__:
            reason = f"the worker on {host} has odc_bdc {__version__}, not {self.version}"
            return Outcome(fault=Fault(reason, lasting=True), host=host)
        begun = time.perf_counter()
        try:
            image = build_task(
                task,
                self.store,
                self.now(),
                skip_scenes=self.skip_scenes,
                threads=self.threads,
                compression=self.compression,
            )
        except Exception as e:  # noqa: BLE001 (whatever befalls one image, the others go on)
            return Outcome(fault=fault_of(e), host=host)
        figures = _figures(task, image, time.perf_counter() - begun)
        return Outcome(image.document, image.id, image.skipped, figures, host=host)


def build_task(
    task: CompositeTask,
    store: ImageStore,
    processed: datetime,
    *,
    skip_scenes: bool = False,
    threads: int = 1,
    compression: Compression = ZSTD,
) -> BuiltImage:
    """Compute and write one image unless it is there.

    Needs no index.

    Parameters
    ----------
    processed
        Time of processing, for the documents.
    skip_scenes
        Leave out the scenes that cannot be read. The image then is that of the others, has the id
        that follows from these, and its documents name the task and what was left out.
    threads
        That work at it; the image is the same.
    compression
        Of its files, whose pixels are the same; so one that is there stays as it is.

    Raises
    ------
    UnreadableSceneError
        If a scene cannot be read; with `skip_scenes`, if none can.
    SceneError
        If the image cannot be written.
    """

    def build(wanted: CompositeTask, left_out: tuple[uuid.UUID, ...]) -> WrittenImage | None:
        if store.is_written(wanted):
            return None
        return write_image(
            wanted,
            store,
            processed=processed,
            properties=remarks(task, left_out),
            threads=threads,
            compression=compression,
        )

    wanted, left_out, written = with_readable(task, build, skip_scenes=skip_scenes)
    return BuiltImage(store.document_uri(wanted), wanted.id, left_out, written)


def with_readable(
    task: CompositeTask,
    work: Callable[[CompositeTask, tuple[uuid.UUID, ...]], T],
    *,
    skip_scenes: bool,
) -> tuple[CompositeTask, tuple[uuid.UUID, ...], T]:
    """Do some work for a task, if wished without the scenes that cannot be read.

    Parameters
    ----------
    work
        Called with the task, and with the ids of scenes that are left out of it; then again without
        a scene that it calls unreadable.

    Returns
    -------
    tuple
        The task without these scenes, their ids, and what `work` gave.

    Raises
    ------
    UnreadableSceneError
        If a scene cannot be read; with `skip_scenes`, if none can.
    """
    wanted, skipped = task, list[UnreadableSceneError]()
    while True:
        left_out = tuple(e.scene for e in skipped)
        try:
            return wanted, left_out, work(wanted, left_out)
        except UnreadableSceneError as e:
            if not skip_scenes:
                raise
            skipped.append(e)
            wanted = replace(wanted, scenes=tuple(s for s in wanted.scenes if s.id != e.scene))
            if not wanted.scenes:
                told = f"none of its {len(task.scenes)} scenes can be read: {skipped[0]}"
                raise UnreadableSceneError(told, skipped[0].scene) from e


def fault_of(error: Exception) -> Fault:
    """Say why a task failed, in one line, and if trying again may help."""
    reason = first_line(error)
    if isinstance(error, UnreadableSceneError):
        return Fault(reason, error.scene)
    if isinstance(error, MemoryError):
        return Fault("there is not enough memory; run fewer --workers")
    system = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(system, OSError):
        return Fault(reason, lasting=system.errno in _LASTING)
    if isinstance(error, OdcBdcError):
        return Fault(reason, lasting=True)
    return Fault(f"unexpected {type(error).__name__}: {reason}", lasting=True)


def remarks(task: CompositeTask, left_out: tuple[uuid.UUID, ...]) -> dict[str, Any]:
    """Give the properties that tell which scenes of a task were left out of its image."""
    if not left_out:
        return {}
    return {PLANNED: str(task.id), SKIPPED: [str(scene) for scene in left_out]}


def _figures(task: CompositeTask, image: BuiltImage, seconds: float) -> Figures | None:
    written = image.written
    if written is None:
        return None
    summary = written.summary
    return Figures(
        scenes=len(task.scenes) - len(image.skipped),
        scenes_read=summary.scenes_read,
        pixels=summary.pixels,
        seen=summary.seen,
        clear=summary.clear,
        blocks_read=summary.blocks_read,
        blocks_skipped=summary.blocks_skipped,
        bytes_read=summary.bytes_read,
        bytes_written=written.size,
        seconds={**summary.seconds, "all": seconds},
    )
