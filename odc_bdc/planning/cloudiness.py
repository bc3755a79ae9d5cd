"""How many pixels of a tile scenes show clear, as their metadata let one expect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import shapely

from odc_bdc.indexing.faults import database_refusals
from odc_bdc.indexing.known import SeenScene, seen_scenes
from odc_bdc.planning.footprints import Footprint, areas_in, footprint

if TYPE_CHECKING:
    import uuid

    from datacube import Datacube

    from odc_bdc.planning.task import CompositeTask


@database_refusals()
def expected_clear(dc: Datacube, tasks: Sequence[CompositeTask]) -> list[tuple[int | None, ...]]:
    """Give the clear pixels to expect of each observation of some tasks; nothing is read of scenes.

    They are those of the tile that the footprints of its scenes cover, less their cloud cover,
    which is taken to be spread evenly over each scene.

    Returns
    -------
    list of tuple
        In the order of `tasks`, numbers in the order of their observations; None where a scene
        does not tell its cloud cover, or is not in the index any more.

    Raises
    ------
    SceneError
        If a scene does not say where it lies.
    DatabaseError
        If the index cannot be read.
    """
    seen = seen_scenes(dc, {scene.id for task in tasks for scene in task.scenes})
    places = dict(zip(seen, _footprints(seen), strict=True))
    covers = {i: one.cloud_cover for i, one in seen.items()}
    areas: dict[str, Mapping[uuid.UUID, shapely.Geometry]] = {}
    for task in tasks:
        crs = task.cube.grid.odc_crs
        if str(crs) not in areas:
            projected = areas_in(crs, list(places.values()))
            areas[str(crs)] = dict(zip(places, projected, strict=True))
    return [_of_task(task, areas[str(task.cube.grid.odc_crs)], covers) for task in tasks]


def _footprints(seen: Mapping[uuid.UUID, SeenScene]) -> list[Footprint]:
    # All geometries are made at once: one by one takes most of the time.
    told = shapely.from_geojson([one.valid_data for one in seen.values()])
    found = []
    for (scene, one), area in zip(seen.items(), told, strict=True):
        if area is None:
            projection = {"spatial_reference": one.crs, "geo_ref_points": one.corners}
            document = {"id": scene, "grid_spatial": {"projection": projection}}
            found.append(footprint(document))
        else:
            found.append(Footprint(one.crs, area))
    return found


def _of_task(
    task: CompositeTask,
    areas: Mapping[uuid.UUID, shapely.Geometry],
    covers: Mapping[uuid.UUID, float | None],
) -> tuple[int | None, ...]:
    rows, columns = task.geobox.shape
    tile = shapely.box(*task.geobox.boundingbox.bbox)
    # A scene may have left the index since it was planned.
    found_areas = [areas.get(scene.id) for scene in task.scenes]
    shared = shapely.area(shapely.intersection(found_areas, tile))
    shares = dict(zip((s.id for s in task.scenes), shared / tile.area, strict=True))
    found: list[int | None] = []
    for group in task.observations:
        told = [(shares[s.id], covers.get(s.id)) for s in group]
        clear = [share * (1 - cover / 100) for share, cover in told if cover is not None]
        whole = len(clear) == len(told)
        found.append(round(float(np.clip(sum(clear), 0, 1)) * rows * columns) if whole else None)
    return tuple(found)
