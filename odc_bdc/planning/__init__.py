"""What there is to build: tiles and periods with their scenes; and what is built of it.

Reads the index and computes nothing.
"""

from odc_bdc.planning.plan import (
    EmptyPeriod,
    Plan,
    missing_sources,
    plan_cube,
    survey_cube,
    whole_periods,
)
from odc_bdc.planning.scenes import scene_ref
from odc_bdc.planning.status import built_images, task_status
from odc_bdc.planning.task import BandSource, CompositeTask, SceneRef

__all__ = [
    "BandSource",
    "CompositeTask",
    "EmptyPeriod",
    "Plan",
    "SceneRef",
    "built_images",
    "missing_sources",
    "plan_cube",
    "scene_ref",
    "survey_cube",
    "task_status",
    "whole_periods",
]
