"""What builders have found out of the scenes of a live image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from odc_bdc.building.efficacy import FOLDER, EfficacyStore
from odc_bdc.building.store import LIVE_FOLDER

if TYPE_CHECKING:
    from odc_bdc.building.efficacy import Known
    from odc_bdc.live.roots import Roots

LIVE_PATH = f"{LIVE_FOLDER}/{{cube}}/{{tile}}/{{period}}/{{id8}}"
"""Folder of a live image below the root."""


@dataclass(frozen=True, slots=True)
class ReadOnlyStore(EfficacyStore):
    """Reads what builders have kept of scenes, and keeps nothing itself.

    Who reads an image may not be allowed to write; what is learned is kept by the image.
    """

    def put(self, key: str, known: Known) -> None:
        """Keep nothing."""


def knowledge_beside(recipe: str, roots: Roots) -> Path | None:
    """Give the folder of what is known of scenes, of the root that a recipe lies in.

    Parameters
    ----------
    recipe
        Its real path, or address.

    Returns
    -------
    pathlib.Path or None
        None if the recipe is not where `odc-bdc cube declare` puts it, the folder is not on a disk,
        or a link leads out of the roots.
    """
    depth = LIVE_PATH.count("/") + 1
    above = Path(recipe).parents
    if "://" in recipe or len(above) <= depth or above[depth - 1].name != LIVE_FOLDER:
        return None
    found = (above[depth] / FOLDER).resolve()
    return found if roots.holds(str(found)) else None
