"""Where scenes lie, and which tiles of a cube they share pixels with: many at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
import shapely.geometry

from odc_bdc.errors import InvalidValueError, SceneError
from odc_bdc.grid import normalise_crs
from odc_bdc.indexing.crs import same_crs

if TYPE_CHECKING:
    from odc.geo.crs import CRS
    from odc.geo.geobox import GeoBox

    from odc_bdc.cube import CubeSpec

_PIECES = 32
"""Parts that a scene's edge is projected in: a straight line of one CRS is bent in another."""


class Footprint(NamedTuple):
    """Where a dataset has data, as its document says: a CRS and an area."""

    crs: str
    area: shapely.Geometry


def footprint(document: Mapping[str, Any]) -> Footprint:
    """Read the footprint of a dataset from its document, as an index has it.

    Raises
    ------
    SceneError
        If the document does not say where the dataset lies.
    """
    try:
        projection: Mapping[str, Any] = document["grid_spatial"]["projection"]
        area = projection.get("valid_data")
        if area is None:
            corners = projection["geo_ref_points"]
            ring = [[corners[k]["x"], corners[k]["y"]] for k in ("ll", "ul", "ur", "lr", "ll")]
            area = {"type": "Polygon", "coordinates": [ring]}
        return Footprint(projection["spatial_reference"], shapely.geometry.shape(area))
    except (KeyError, TypeError, ValueError, shapely.errors.ShapelyError) as e:
        raise SceneError(f"dataset {document.get('id')} does not say where it lies") from e


def areas_in(crs: CRS, given: Sequence[Footprint]) -> npt.NDArray[np.object_]:
    """Give footprints in one CRS, as valid geometries of shapely, in their order.

    What cannot be shown in the CRS becomes empty.
    """
    out = np.array([one.area for one in given], dtype=object)
    named = np.array([one.crs for one in given], dtype=object)
    for name in set(named.tolist()):
        if not same_crs(name, str(crs)):
            of_this = named == name
            out[of_this] = _projected(out[of_this], normalise_crs(name), crs)
    broken = ~shapely.is_valid(out)
    out[broken] = shapely.make_valid(out[broken])
    return out


def geoboxes_of(cube: CubeSpec, tiles: Iterable[str]) -> list[GeoBox]:
    """Give the pixels of some tiles of a cube.

    Raises
    ------
    InvalidValueError
        If a tile lies outside of the cube's extent.
    """
    found = []
    for tile in tiles:
        geobox = cube.geobox(tile)
        if geobox is None:
            raise InvalidValueError(
                f"tile {tile} lies outside of the extent {cube.extent} of cube {cube.name}"
            )
        found.append(geobox)
    return found


def tiles_with_scenes(
    cube: CubeSpec, tiles: Sequence[str], areas: npt.NDArray[np.object_]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Give pairs of a scene and a tile that share at least half a pixel.

    Parameters
    ----------
    tiles
        Ids of tiles that lie in the cube's extent.
    areas
        Footprints of scenes in the CRS of the cube's grid.

    Returns
    -------
    tuple
        Number of the scene, number of the tile and share of the tile that the scene covers (0 to
        1) of each pair, sorted by tile and scene.
    """
    boxes = np.array([_box(cube, tile) for tile in tiles], dtype=object)
    tile, scene = shapely.STRtree(areas).query(boxes, predicate="intersects")
    px, py = cube.grid.pixel_size(cube.resolution)
    shared = shapely.area(shapely.intersection(areas[scene], boxes[tile]))
    enough = shared > px * py / 2
    scene, tile = scene[enough], tile[enough]
    shared = shared[enough] / shapely.area(boxes)[tile]
    order = np.lexsort((scene, tile))
    return scene[order], tile[order], shared[order]


def tiles_near(cube: CubeSpec, areas: npt.NDArray[np.object_]) -> list[str]:
    """Give the tiles of a cube that the box about some areas touches."""
    seen = areas[~shapely.is_empty(areas)]
    if not seen.size:
        return []
    bounds = shapely.box(*shapely.total_bounds(seen))
    found = cube.grid.tile_ids(bounds, cube.grid.odc_crs)
    return sorted(tile for tile in found if cube.geobox(tile) is not None)


def _box(cube: CubeSpec, tile: str) -> shapely.Geometry:
    geobox = cube.geobox(tile)
    assert geobox is not None  # noqa: S101 (the tiles lie in the extent)
    box: shapely.Geometry = shapely.box(*geobox.boundingbox.bbox)
    return box


def _projected(areas: npt.NDArray[np.object_], source: CRS, target: CRS) -> npt.NDArray[np.object_]:
    to_target = source.transformer_to_crs(target)
    west, south, east, north = shapely.bounds(areas).T
    dense = shapely.segmentize(areas, np.maximum(east - west, north - south) / _PIECES)
    points, index = shapely.get_coordinates(dense, return_index=True)
    placed = np.column_stack(to_target(points[:, 0], points[:, 1]))
    lost = np.unique(index[~np.isfinite(placed).all(axis=1)])
    dense[lost] = shapely.Polygon()
    return shapely.set_coordinates(dense, placed[~np.isin(index, lost)])
