"""What builders have found out of the scenes of a live image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from odc_bdc.building.efficacy import EfficacyStore
from odc_bdc.indexing.raster import local_path

if TYPE_CHECKING:
    from odc_bdc.building.efficacy import Known
    from odc_bdc.live.recipe import LiveRecipe


@dataclass(frozen=True, slots=True)
class ReadOnlyStore(EfficacyStore):
    """Reads what builders have kept of scenes, and keeps nothing itself.

    Who reads an image may not be allowed to write; what is learned is kept by the image.
    """

    @classmethod
    def of(cls, recipe: LiveRecipe) -> Self | None:
        """Give the store that a recipe tells of; None if there is none on this machine."""
        told = recipe.knowledge
        if not told:
            return None
        path = Path(told) if "://" not in told else local_path(told)
        return cls(path) if path else None

    def put(self, key: str, known: Known) -> None:
        """Keep nothing."""
