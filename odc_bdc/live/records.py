"""What became of tiles and periods that were to be declared."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import uuid

    from odc_bdc.building.work import Fault

LiveStatus: TypeAlias = Literal["declared", "unchanged", "built", "stale", "failed"]
"""New in the index; there already; a built image is kept, of what the plan says, or of other."""


@dataclass(frozen=True, slots=True)
class LiveRecord:
    """What became of one tile and period.

    Attributes
    ----------
    id
        Of the dataset that is visible there; None if none is.
    archived
        How many datasets it took the place of.
    skipped
        Ids of the scenes that could not be read and were left out.
    fault
        Why it failed.
    """

    item: str
    status: LiveStatus
    id: uuid.UUID | None = None
    scenes: int = 0
    archived: int = 0
    skipped: tuple[uuid.UUID, ...] = ()
    fault: Fault | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give the record as a line of JSON, without what is not known."""
        told: dict[str, Any] = {
            "item": self.item,
            "id": str(self.id) if self.id else None,
            "status": self.status,
            "scenes": self.scenes or None,
            "archived": self.archived or None,
            "skipped_scenes": [str(scene) for scene in self.skipped] or None,
            "reason": self.fault.reason if self.fault else None,
            "scene": str(self.fault.scene) if self.fault and self.fault.scene else None,
        }
        return {key: value for key, value in told.items() if value is not None}


@dataclass(slots=True)
class LiveReport:
    """What became of the tiles and periods of one run.

    Attributes
    ----------
    counts
        Of tiles and periods by status.
    failed
        Those that could not be declared.
    archived
        Datasets, live or built, that others took the place of.
    skipped
        Scenes that could not be read and were left out.
    """

    counts: Counter[str] = field(default_factory=Counter)
    failed: list[LiveRecord] = field(default_factory=list)
    archived: int = 0
    skipped: int = 0

    def note(self, record: LiveRecord) -> None:
        """Count a record."""
        self.counts[record.status] += 1
        self.archived += record.archived
        self.skipped += len(record.skipped)
        if record.status == "failed":
            self.failed.append(record)

    def to_dict(self) -> dict[str, Any]:
        """Give the report as one line of JSON has it."""
        told = {status: self.counts[status] for status in ("declared", "unchanged")}
        kept = {status: self.counts[status] for status in ("built", "stale")}
        told |= {status: count for status, count in kept.items() if count}
        told |= {"archived": self.archived, "failed": len(self.failed)}
        return told | ({"skipped_scenes": self.skipped} if self.skipped else {})
