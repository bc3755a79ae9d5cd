"""How many pixels of a tile scenes show clear, as their metadata let one expect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

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
    planned = [[s.id in task.clear_shares for s in task.scenes] for task in tasks]
    unknown = [task for task, known in zip(tasks, planned, strict=True) if not all(known)]
    asked = iter(_asked(dc, unknown))
    return [
        _of_task(task, task.clear_shares if all(known) else next(asked))
        for task, known in zip(tasks, planned, strict=True)
    ]


def cloud_cover(document: Mapping[str, Any]) -> float | None:
    """Give the clouds of a scene in per cent, as its document tells; None if it does not."""
    try:
        return float(document["properties"]["eo:cloud_cover"])
    except (KeyError, TypeError, ValueError):
        return None


def clear_share(covered: float, clouds: float | None) -> float | None:
    """Give the share of a tile to be expected clear, by what a scene covers and its clouds (%)."""
    return None if clouds is None else covered * (1 - clouds / 100)


def _asked(dc: Datacube, tasks: Sequence[CompositeTask]) -> list[Mapping[uuid.UUID, float | None]]:
    """Ask the index for the clear shares of some tasks, which nobody has looked for."""
    if not tasks:
        return []
    seen = seen_scenes(dc, {scene.id for task in tasks for scene in task.scenes})
    places = dict(zip(seen, _footprints(seen), strict=True))
    covers = {i: one.cloud_cover for i, one in seen.items()}
    areas: dict[str, Mapping[uuid.UUID, shapely.Geometry]] = {}
    for task in tasks:
        crs = task.cube.grid.odc_crs
        if str(crs) not in areas:
            projected = areas_in(crs, list(places.values()))
            areas[str(crs)] = dict(zip(places, projected, strict=True))
    return [_shares(task, areas[str(task.cube.grid.odc_crs)], covers) for task in tasks]


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


def _shares(
    task: CompositeTask,
    areas: Mapping[uuid.UUID, shapely.Geometry],
    covers: Mapping[uuid.UUID, float | None],
) -> dict[uuid.UUID, float | None]:
    tile = shapely.box(*task.geobox.boundingbox.bbox)
    # A scene may have left the index since it was planned.
    found_areas = [areas.get(scene.id) for scene in task.scenes]
    shared = shapely.area(shapely.intersection(found_areas, tile))
    shares = (shared / tile.area).tolist()
    return {
        scene.id: clear_share(share, covers.get(scene.id))
        for scene, share in zip(task.scenes, shares, strict=True)
    }


def _of_task(
    task: CompositeTask, shares: Mapping[uuid.UUID, float | None]
) -> tuple[int | None, ...]:
    rows, columns = task.geobox.shape
    found: list[int | None] = []
    for group in task.observations:
        told = [shares[scene.id] for scene in group]
        clear = [share for share in told if share is not None]
        whole = len(clear) == len(told)
        found.append(round(min(max(sum(clear), 0.0), 1.0) * rows * columns) if whole else None)
    return tuple(found)
