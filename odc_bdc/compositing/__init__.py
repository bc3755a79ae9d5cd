"""Temporal compositing: many observations of a period become one image.

Nothing here knows datacube, a database or a clock.
"""

from odc_bdc.compositing.block import (
    CompositeBlock,
    Composited,
    classify_block,
    composite_block,
    observe_block,
)
from odc_bdc.compositing.checking import CLASSES
from odc_bdc.compositing.cube import (
    composite_cube,
    describe_band,
    harmonise,
    in_terms_of,
    index_pixels,
    load_mask,
    needs_classes,
    recode_quality,
)
from odc_bdc.compositing.dataset import composite, quality_classes
from odc_bdc.compositing.encoding import convert_encoding
from odc_bdc.compositing.joining import clear_unseen, has_data, join_scenes
from odc_bdc.compositing.ordering import dated_order, efficacy, scene_order

COMPOSITE_VERSION = "2"
"""Raised whenever a change alters pixels: it enters the ids of built datasets."""

__all__ = [
    "CLASSES",
    "COMPOSITE_VERSION",
    "CompositeBlock",
    "Composited",
    "classify_block",
    "clear_unseen",
    "composite",
    "composite_block",
    "composite_cube",
    "convert_encoding",
    "dated_order",
    "describe_band",
    "efficacy",
    "harmonise",
    "has_data",
    "in_terms_of",
    "index_pixels",
    "join_scenes",
    "load_mask",
    "needs_classes",
    "observe_block",
    "quality_classes",
    "recode_quality",
    "scene_order",
]
