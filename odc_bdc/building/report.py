"""What became of the tasks of a run: of each, and of all together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from odc_bdc.building.work import Figures, Outcome

if TYPE_CHECKING:
    from odc_bdc.planning import CompositeTask

TaskStatus: TypeAlias = Literal["built", "unchanged", "written", "failed"]
"""New in the index; there already; on disk, but the index could not be reached; not made."""


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """What became of one task.

    Attributes
    ----------
    outcome
        Of the last try, if there was any.
    """

    task: CompositeTask
    status: TaskStatus
    outcome: Outcome = field(default_factory=Outcome)

    def to_dict(self) -> dict[str, Any]:
        """Give the record as a line of a log, without what is not known."""
        task, outcome, figures = self.task, self.outcome, self.outcome.figures
        fault = outcome.fault
        told: dict[str, Any] = {
            "item": task.item_id,
            "id": str(outcome.id or task.id),
            "status": self.status,
            "scenes": len(task.scenes) - len(outcome.skipped),
            "skipped_scenes": [str(scene) for scene in outcome.skipped],
            **(figures.to_dict() if figures else {}),
            "host": outcome.host,
            "reason": fault.reason if fault else None,
            "scene": str(fault.scene) if fault and fault.scene else None,
        }
        # Nothing is said of what was not done: no figures of images that were there.
        return {key: value for key, value in told.items() if value not in (None, "", [])}


@dataclass(frozen=True, slots=True)
class FailedTask:
    """An image that could not be made, and why.

    Attributes
    ----------
    source
        Name of the image.
    scene
        Id of the scene that cannot be read, if that is the reason.
    """

    source: str
    reason: str
    scene: str | None = None


@dataclass(slots=True)
class BuildReport:
    """What became of the tasks of one run.

    Attributes
    ----------
    built, unchanged
        Images that are new in the index, and that were there.
    archived
        Older versions that images of this run took the place of.
    written
        Images that are on disk but not in the index; `index_fault` says why.
    failed
        Images that could not be made.
    skipped
        Scenes that could not be read and were left out of images.
    computed, figures
        Images that this run computed, and what was seen meanwhile.
    """

    built: int = 0
    unchanged: int = 0
    archived: int = 0
    written: int = 0
    failed: list[FailedTask] = field(default_factory=list)
    index_fault: str | None = None
    skipped: int = 0
    computed: int = 0
    figures: Figures = field(default_factory=Figures)

    @property
    def complete(self) -> bool:
        """All that was asked for is in the index."""
        return not self.failed and not self.written

    def note(self, record: TaskRecord) -> None:
        """Count a record."""
        outcome = record.outcome
        if record.status == "failed":
            fault = outcome.fault
            reason, scene = (fault.reason, fault.scene) if fault else ("", None)
            self.failed.append(
                FailedTask(record.task.item_id, reason, str(scene) if scene else None)
            )
            return
        setattr(self, record.status, getattr(self, record.status) + 1)
        self.skipped += len(outcome.skipped)
        if outcome.figures is not None:
            self.computed += 1
            self.figures += outcome.figures

    def to_dict(self) -> dict[str, Any]:
        """Give the report as one line of JSON has it."""
        told: dict[str, Any] = {
            "built": self.built,
            "unchanged": self.unchanged,
            "archived": self.archived,
            "failed": len(self.failed),
        }
        if self.written:
            told |= {"written": self.written, "reason": self.index_fault}
        if self.skipped:
            told["skipped_scenes"] = self.skipped
        if self.computed:
            told |= {"computed": self.computed, **self.figures.to_dict()}
        return told
