"""Images of scenes that somebody has at hand, rather than of those of an index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from odc_bdc.cube import source_encodings
from odc_bdc.errors import InvalidValueError
from odc_bdc.files import Access
from odc_bdc.planning.footprints import (
    Footprint,
    areas_in,
    footprint,
    geoboxes_of,
    tiles_near,
    tiles_with_scenes,
)
from odc_bdc.planning.scenes import scene_ref
from odc_bdc.planning.task import CompositeTask, SceneRef, time_and_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from odc_bdc.cube import CubeSpec
    from odc_bdc.planning.scenes import SceneDocument
    from odc_bdc.timeline import Period


class GivenScene(NamedTuple):
    """A scene and where it lies."""

    scene: SceneRef
    place: Footprint


def given_scene(dataset: SceneDocument, product: Mapping[str, Any], cube: CubeSpec) -> GivenScene:
    """Give what a plan needs of a scene of one of a cube's sources.

    Parameters
    ----------
    dataset
        A dataset, of an index or not.
    product
        ODC product document of its product.

    Raises
    ------
    InvalidValueError
        If the product is no source of the cube, or its values cannot become the cube's.
    SceneError
        If the dataset lacks one of the cube's measurements, or does not say where it lies.
    """
    source = next((s for s in cube.sources if s.product == product["name"]), None)
    if source is None:
        label = dataset.metadata_doc.get("label") or dataset.metadata_doc.get("id")
        raise InvalidValueError(
            f"scene {label} is of product {product['name']}; cube {cube.name} is made of "
            f"{', '.join(cube.products)}"
        )
    ref = scene_ref(dataset, cube, source, source_encodings(cube, source, product))
    return GivenScene(ref, footprint(dataset.metadata_doc))


def plan_scenes(
    cube: CubeSpec,
    scenes: Iterable[GivenScene],
    *,
    tiles: Sequence[str] | None = None,
    time: tuple[date, date] | None = None,
    access: Access | None = None,
) -> list[CompositeTask]:
    """Give the images of a cube that can be made of some scenes, as `plan_cube` does of an index.

    Parameters
    ----------
    scenes
        In any order; a scene that is given twice counts once.
    tiles
        Tile ids; None for every tile that has a scene.
    time
        First and last day: only periods that share a day with it.
    access
        How to get at the files.

    Returns
    -------
    list
        Sorted by tile and period; tiles and periods without a scene are left out.

    Raises
    ------
    InvalidValueError
        If a tile lies outside of the cube's extent.
    """
    unique = {given.scene.id: given for given in scenes}
    ordered = sorted(unique.values(), key=lambda g: time_and_name(g.scene))
    if not ordered:
        return []
    geoboxes_of(cube, tiles or ())  # all lie in the cube
    areas = areas_in(cube.grid.odc_crs, [given.place for given in ordered])
    names = tiles_near(cube, areas) if tiles is None else sorted(set(tiles))
    wanted = set(cube.timeline.covering(*time)) if time else None
    members: dict[tuple[str, Period], list[SceneRef]] = {}
    for i, j, _ in zip(*(n.tolist() for n in tiles_with_scenes(cube, names, areas)), strict=True):
        scene = ordered[i].scene
        period = cube.timeline.period_of(scene.datetime.date())
        if period is not None and (wanted is None or period in wanted):
            members.setdefault((names[j], period), []).append(scene)
    return [
        CompositeTask(cube, tile, period, tuple(group), access or Access())
        for (tile, period), group in sorted(members.items(), key=lambda kv: kv[0])
    ]
