"""Live cubes: images that are composited when somebody reads them.

`Driver` is for ``dc.load(driver="odc_bdc.live.Driver")``. Hardly anything is imported here: read
drivers lie in this package, and every program that loads data imports those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from odc_bdc.formats import LIVE_FORMAT

if TYPE_CHECKING:
    from odc_bdc.live.loader import Driver

RECIPE_SUFFIX = ".odc_bdc-recipe.json"
"""How the name of a recipe's file ends."""

__all__ = ["LIVE_FORMAT", "RECIPE_SUFFIX", "Driver"]


def __getattr__(name: str) -> Any:
    if name != "Driver":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from odc_bdc.live.loader import Driver  # noqa: PLC0415 (light until somebody reads)

    return Driver
