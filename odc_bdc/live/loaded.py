"""The scenes of a cube as an `xarray.Dataset` on the cube's own pixels, read as building does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import rasterio
import xarray as xr
from odc.geo.xr import xr_coords

from odc_bdc.building.observing import ObservationReader
from odc_bdc.building.reading import GDAL_OPTIONS, SourceFiles, SourceReader, corner_in
from odc_bdc.building.windows import shared
from odc_bdc.compositing import CLASSES, describe_band, in_terms_of, join_scenes, needs_classes
from odc_bdc.cube import find_cube
from odc_bdc.errors import InvalidValueError, NothingFoundError
from odc_bdc.files import Access, Versions, scene_files
from odc_bdc.live.opened import chunks_of
from odc_bdc.live.region import Region, around, days_of
from odc_bdc.planning import find_scenes, given_scene, passes_of, plan_scenes, time_and_name
from odc_bdc.timeline import Period

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence
    from datetime import date
    from uuid import UUID

    from datacube import Datacube
    from odc.geo.geobox import GeoBox

    from odc_bdc.cog import Window
    from odc_bdc.cube import CubeSpec
    from odc_bdc.live.region import Area
    from odc_bdc.planning import CompositeTask, SceneRef

Bands = dict[str, npt.NDArray[Any]]


def load_scenes(
    dc: Datacube,
    cube: CubeSpec | str,
    *,
    tile: str | Sequence[str] | None = None,
    geobox: GeoBox | None = None,
    bbox: Sequence[float] | None = None,
    geometry: Area | None = None,
    time: str | Sequence[str | date] | None = None,
    join: bool = True,
    dask_chunks: Mapping[str, int] | None = None,
    access: Access | Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Load the scenes of a cube from an index, as building reads them.

    They are in the cube's terms, as those of `odc_bdc.harmonise`, on the cube's own pixels: what
    lies on other pixels is warped by the resampling of the cube's definition, bit for bit as when
    the cube is built. So `odc_bdc.composite_cube` of the scenes of a tile and a period is the image
    that `odc-bdc cube build` makes.

    Parameters
    ----------
    dc
        An open index.
    cube
        A definition, the name of a shipped one, or the path of a YAML file.
    tile, geobox, bbox, geometry
        What part of the cube; one of them, as of `odc_bdc.open_cube`.
    time
        ``2020``, ``2020-01/2020-03`` or a pair of days: the scenes that begin on these days (UTC).
        By default all.
    join
        Whether the scenes of one day (UTC) and satellite are one observation: in order of time,
        then name, then id, each overwrites the earlier ones wherever it is seen (data in all bands,
        quality not nodata). Without it each scene is one of its own.
    dask_chunks
        Sizes of chunks along ``y`` and ``x``, -1 for all: nothing is read yet then. Along time they
        are 1.
    access
        As of `odc_bdc.open_cube`.

    Returns
    -------
    xarray.Dataset
        Dims (time, y, x), sorted by time, name and id: the cube's measurements, of its dtypes,
        nodata where no scene is; where its quality takes a second band or neighbours, also
        ``quality_class``. Coordinates: where the pixels lie; along time ``label``, the names of the
        scenes, and ``datasource`` where the cube has several satellites.

    Raises
    ------
    InvalidValueError
        If the index has none of the source products, no part of the cube is asked for, or a
        parameter cannot be understood.
    NothingFoundError
        If the index has no scene there.
    SceneError
        If a scene lacks a measurement, or cannot be read.
    UnknownNameError
        If there is no such cube.
    """
    spec = find_cube(cube) if isinstance(cube, str) else cube
    rules = access if isinstance(access, Access) else Access.from_dict(access or {})
    region = Region.of(spec, tile=tile, geobox=geobox, bbox=bbox, geometry=geometry)
    if region.tiles is None:
        raise InvalidValueError("say what part of the cube: a tile, a geobox, a bbox or a geometry")
    days = days_of(time) if time is not None else None
    tasks = _tasks(dc, spec, region.tiles, days, rules)
    whole = region.geobox or around(box for t in region.tiles if (box := spec.geobox(t)))
    tiles = [one for one in _tiles(tasks, days) if _shares(one.geobox, whole)]
    scenes = {scene.id: scene for one in tiles for scene in one.scenes}
    if not scenes:
        raise NothingFoundError(
            f"the index has no scene of {', '.join(spec.products)} in the area and time asked for"
        )
    ordered = sorted(scenes.values(), key=time_and_name)
    groups = passes_of(ordered, spec) if join else [(scene,) for scene in ordered]
    lazy = _dataset(spec, tiles, groups, whole, dask_chunks or {})
    return lazy if dask_chunks is not None else lazy.load(scheduler="threads")


@dataclass(frozen=True)
class _TileScenes:
    """The scenes that a tile has, as images of it are made of them; goes to workers."""

    cube: CubeSpec
    tile_id: str
    scenes: tuple[SceneRef, ...]
    access: Access

    @property
    def geobox(self) -> GeoBox:
        geobox = self.cube.geobox(self.tile_id)
        assert geobox is not None  # noqa: S101 (the tile lies in the extent)
        return geobox


def _tasks(
    dc: Datacube,
    cube: CubeSpec,
    tiles: Sequence[str],
    days: tuple[date, date] | None,
    access: Access,
) -> list[CompositeTask]:
    """Give the images of which the scenes would be."""
    span = Period(*days) if days else None
    time = (span.start_datetime, span.end_datetime) if span else None
    given = []
    for source, found in find_scenes(dc, cube, tiles=tiles, time=time):
        product = dc.index.products.get_by_name_unsafe(source.product).definition
        given += [given_scene(dataset, product, cube) for dataset in found]
    return plan_scenes(cube, given, tiles=tiles, time=days, access=access)


def _tiles(tasks: Iterable[CompositeTask], days: tuple[date, date] | None) -> list[_TileScenes]:
    """Put the scenes of all periods of a tile together."""
    found: dict[str, dict[UUID, SceneRef]] = {}
    for task in tasks:
        here = found.setdefault(task.tile_id, {})
        for scene in task.scenes:
            if days is None or days[0] <= scene.datetime.date() <= days[1]:
                here[scene.id] = scene
    first = next(iter(tasks), None)
    return [
        _TileScenes(first.cube, tile, tuple(scenes.values()), first.access)
        for tile, scenes in found.items()
        if first
    ]


def _shares(one: GeoBox, other: GeoBox) -> bool:
    place = corner_in(other, one)
    return place is not None and shared(_all_of(other), _at(place, one)) is not None


def _all_of(geobox: GeoBox) -> Window:
    return slice(0, geobox.shape.y), slice(0, geobox.shape.x)


def _at(place: tuple[int, int], geobox: GeoBox) -> Window:
    (row, column), (rows, columns) = place, geobox.shape
    return slice(row, row + rows), slice(column, column + columns)


def _dataset(
    cube: CubeSpec,
    tiles: Sequence[_TileScenes],
    groups: Sequence[tuple[SceneRef, ...]],
    whole: GeoBox,
    chunks: Mapping[str, int],
) -> xr.Dataset:
    dtypes = {m.name: m.dtype for m in cube.measurements}
    if needs_classes(cube):
        dtypes[CLASSES] = "uint8"
    rows, columns = chunks_of(whole, chunks)
    placed = [_Placed.of(tile, whole) for tile in tiles]
    stacks: dict[str, list[Any]] = {name: [] for name in dtypes}
    for group in groups:
        ids = frozenset(scene.id for scene in group)
        near = [one for one in placed if one.scenes & ids]
        parts = [[_chunk(cube, near, ids, (r, c), dtypes) for c in columns] for r in rows]
        for name, stack in stacks.items():
            stack.append([[chunk[name] for chunk in row] for row in parts])
    times = [group[0].datetime.replace(tzinfo=None) for group in groups]
    coords = xr_coords(whole) | {
        "time": ("time", np.array(times, "datetime64[ns]")),
        "label": ("time", [", ".join(scene.label for scene in group) for group in groups]),
    }
    given: dict[Hashable, Any] = {"crs": str(whole.crs), "grid_mapping": "spatial_ref"}
    dims = "time", *whole.dimensions
    found = {name: xr.DataArray(da.block(stack), dims=dims) for name, stack in stacks.items()}
    found |= {m.name: describe_band(found[m.name], m, given) for m in cube.measurements}
    known = {source.product: source for source in cube.sources}
    widest = [
        max((known[scene.product] for scene in group), key=lambda s: s.quality.margin)
        for group in groups
    ]
    return in_terms_of(cube, xr.Dataset(found, coords=coords, attrs=given), widest)


@dataclass(frozen=True)
class _Placed:
    """The scenes of a tile, and where it lies in what is asked for."""

    lazy: Any
    scenes: frozenset[UUID]
    window: Window

    @classmethod
    def of(cls, tile: _TileScenes, whole: GeoBox) -> _Placed:
        place = corner_in(whole, tile.geobox)
        assert place is not None  # noqa: S101 (both lie on the cube's pixels)
        # Shared by all chunks.
        lazy = dask.delayed(tile, pure=True, traverse=False)
        return cls(lazy, frozenset(s.id for s in tile.scenes), _at(place, tile.geobox))


def _chunk(
    cube: CubeSpec,
    near: Sequence[_Placed],
    ids: frozenset[UUID],
    window: Window,
    dtypes: Mapping[str, str],
) -> dict[str, da.Array]:
    """Give the bands of a chunk of an observation, dims (time, y, x)."""
    parts = [(one.lazy, both) for one in near if (both := shared(window, one.window))]
    shape = 1, *(part.stop - part.start for part in window)
    lazy = dask.delayed(_read, pure=True)(
        shape, _blank(cube, dtypes), ids, [tile for tile, _ in parts], [both for _, both in parts]
    )
    return {name: da.from_delayed(lazy[name], shape, dtype) for name, dtype in dtypes.items()}


def _blank(cube: CubeSpec, dtypes: Mapping[str, str]) -> dict[str, tuple[str, float]]:
    """Give dtype and nodata of each band."""
    nodata: dict[str, float | None] = {m.name: m.missing for m in cube.measurements}
    nodata[cube.quality.band] = cube.quality.nodata
    return {name: (dtype, nodata.get(name) or 0) for name, dtype in dtypes.items()}


def _read(
    shape: tuple[int, ...],
    blank: Mapping[str, tuple[str, float]],
    ids: frozenset[UUID],
    tiles: Sequence[_TileScenes],
    windows: Sequence[tuple[Window, Window]],
) -> Bands:
    """Read a chunk of an observation of its tiles, wherever dask wants."""
    out = {name: np.full(shape, nodata, dtype) for name, (dtype, nodata) in blank.items()}
    for tile, (ours, theirs) in zip(tiles, windows, strict=True):
        scenes = [scene for scene in tile.scenes if scene.id in ids]
        versions = Versions(scene_files(tile.access), local=math.inf, remote=math.inf)
        files = SourceFiles(tile.geobox, versions)
        with rasterio.Env(**GDAL_OPTIONS), SourceReader(files) as pixels:
            reader = ObservationReader(tile.cube, tile.geobox, pixels)
            found = [reader.scene(scene, theirs) for scene in scenes]
        joined = found[0] if len(found) == 1 else join_scenes(found, tile.cube)
        for name, band in joined.items():
            out[name][0][ours] = band
    return out
