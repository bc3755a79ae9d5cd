"""Ids of datasets, and the names of what odc_bdc builds."""

from __future__ import annotations

import uuid

from odc_bdc.timeline import Period

ODC_BDC_NAMESPACE = uuid.UUID("6f1b6a0e-9c1a-5f5e-8a3e-0b7d2f4c9e11")
"""Namespace of all dataset ids that odc_bdc gives; never to be changed."""


def dataset_id(*parts: str) -> uuid.UUID:
    """Give the id that follows from what made a dataset: same parts, same id (uuid5)."""
    return uuid.uuid5(ODC_BDC_NAMESPACE, "\x1f".join(parts))


def cube_item_id(cube: str, tile_id: str, period: Period) -> str:
    """Name a cube's item: ``CB4_64_16D_STK_v1_021027_2020-07-11_2020-07-26``.

    Every cube's items have one, also those of a cube whose name does not follow the grammar.
    """
    return join_item_id(cube, tile_id, period_folder(period))


def period_folder(period: Period) -> str:
    """Name the folder of a period: ``2020-07-11_2020-07-26``."""
    return f"{period.start.isoformat()}_{period.end.isoformat()}"


def join_item_id(stem: str, tile_id: str, dates: str) -> str:
    """Join the parts of an item's id, in the order that all generations have."""
    return f"{stem}_{tile_id}_{dates}"
