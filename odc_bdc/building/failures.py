"""Records of images that could not be built: kept beside the images until they are."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from odc_bdc.indexing.whole_file import whole_file

if TYPE_CHECKING:
    from pathlib import Path

    from odc_bdc.planning import CompositeTask


@dataclass(frozen=True, slots=True)
class FailureRecord:
    """Why an image could not be built.

    Attributes
    ----------
    item, id
        Of the task.
    cube, tile, start
        Which image it is.
    reason
        One line.
    scene
        Id of the dataset of the scene that cannot be read, if that was it.
    at
        When.
    """

    item: str
    id: uuid.UUID
    cube: str
    tile: str
    start: date
    reason: str
    scene: uuid.UUID | None
    at: datetime


def note_failure(
    root: Path, task: CompositeTask, reason: str, *, scene: uuid.UUID | None, at: datetime
) -> None:
    """Keep why a task failed, in ``<root>/.failed/<id>.json``.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    record = FailureRecord(
        task.item_id,
        task.id,
        task.cube.name,
        task.tile_id,
        task.period.start,
        reason,
        scene,
        at,
    )
    with whole_file(failure_path(root, task.id)) as stream:
        json.dump(asdict(record), stream, default=_plain)


def forget_failure(root: Path, task_id: uuid.UUID) -> None:
    """Remove the record of a task, if there is one."""
    path = failure_path(root, task_id)
    # Links lead to what is not ours.
    if path.parent.resolve() == root.resolve() / path.parent.name:
        path.unlink(missing_ok=True)


def failures(root: Path) -> list[FailureRecord]:
    """Give all records, in the order of cube, tile and period; what is none is left out."""
    found = []
    for path in (root / ".failed").glob("*.json"):
        try:
            found.append(_record(json.loads(path.read_text("utf-8"))))
        except (OSError, ValueError, TypeError, KeyError):  # removed just now, or none of ours
            continue
    return sorted(found, key=lambda r: (r.cube, r.tile, r.start, str(r.id)))


def failure_path(root: Path, task_id: uuid.UUID) -> Path:
    """Give where the record of a task is kept."""
    return root / ".failed" / f"{task_id}.json"


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def _record(known: Any) -> FailureRecord:
    return FailureRecord(
        item=str(known["item"]),
        id=uuid.UUID(known["id"]),
        cube=str(known["cube"]),
        tile=str(known["tile"]),
        start=date.fromisoformat(known["start"]),
        reason=str(known["reason"]),
        scene=uuid.UUID(known["scene"]) if known["scene"] else None,
        at=datetime.fromisoformat(known["at"]),
    )
