"""What builders have found out of the scenes of a live image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote, urlsplit

from odc_bdc.building.efficacy import EfficacyStore

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
        parts = urlsplit(recipe.knowledge or "")
        if not parts.path or parts.scheme not in ("", "file"):
            return None
        return cls(Path(unquote(parts.path) if parts.scheme else parts.path))

    def put(self, key: str, known: Known) -> None:
        """Keep nothing."""
