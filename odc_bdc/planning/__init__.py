"""What there is to build: tiles and periods with their scenes; and what is built of it.

Reads the index and computes nothing.
"""

from odc_bdc.planning.cloudiness import expected_clear
from odc_bdc.planning.given import GivenScene, given_scene, plan_scenes
from odc_bdc.planning.overviews import (
    OverviewTask,
    OverviewTile,
    overview_factor,
    overview_name,
    overview_product,
    plan_overviews,
)
from odc_bdc.planning.plan import (
    EmptyPeriod,
    Plan,
    find_scenes,
    missing_sources,
    plan_cube,
    survey_cube,
    whole_periods,
)
from odc_bdc.planning.scenes import begin, scene_ref
from odc_bdc.planning.status import (
    PeriodStatus,
    State,
    built_images,
    cube_status,
    status_of,
    task_status,
)
from odc_bdc.planning.task import BandSource, CompositeTask, SceneRef, passes_of, time_and_name

__all__ = [
    "BandSource",
    "CompositeTask",
    "EmptyPeriod",
    "GivenScene",
    "OverviewTask",
    "OverviewTile",
    "PeriodStatus",
    "Plan",
    "SceneRef",
    "State",
    "begin",
    "built_images",
    "cube_status",
    "expected_clear",
    "find_scenes",
    "given_scene",
    "missing_sources",
    "overview_factor",
    "overview_name",
    "overview_product",
    "passes_of",
    "plan_cube",
    "plan_overviews",
    "plan_scenes",
    "scene_ref",
    "status_of",
    "survey_cube",
    "task_status",
    "time_and_name",
    "whole_periods",
]
