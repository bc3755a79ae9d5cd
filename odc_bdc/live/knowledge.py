"""What is known of scenes, for as long as a live image is held."""

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
class MemoryStore(EfficacyStore):
    """Reads what builders have kept of scenes, and keeps nothing itself.

    Who reads an image may not be allowed to write; what is learned is kept by the image.
    """

    @classmethod
    def beside(cls, recipe: LiveRecipe) -> Self:
        """Give the store of a recipe, which may be nowhere."""
        known = recipe.knowledge or ""
        parts = urlsplit(known)
        if parts.scheme == "file":
            return cls(Path(unquote(parts.path)))
        # Without a folder, or with one that cannot be listed, nothing is found.
        return cls(Path(known) if known and not parts.scheme else Path("/nowhere"))

    def put(self, key: str, known: Known) -> None:
        """Keep nothing."""
