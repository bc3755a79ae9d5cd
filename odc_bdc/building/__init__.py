"""Images of a cube are computed, written as COG + EO3 + STAC, and indexed."""

from odc_bdc.building.build import Division, build_cube, divide_tasks
from odc_bdc.building.layout import Layout
from odc_bdc.building.report import BuildReport, FailedTask, TaskRecord
from odc_bdc.building.store import ImageStore
from odc_bdc.building.tile import composite_tile, count_clear
from odc_bdc.building.work import BuiltImage, build_task

__all__ = [
    "BuildReport",
    "BuiltImage",
    "Division",
    "FailedTask",
    "ImageStore",
    "Layout",
    "TaskRecord",
    "build_cube",
    "build_task",
    "composite_tile",
    "count_clear",
    "divide_tasks",
]
