"""Images of a cube are computed, written as COG + EO3 + STAC, and indexed."""

from odc_bdc.building.build import BuildReport, build_cube, build_task
from odc_bdc.building.tile import composite_tile

__all__ = ["BuildReport", "build_cube", "build_task", "composite_tile"]
