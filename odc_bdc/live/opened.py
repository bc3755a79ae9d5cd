"""A cube as a lazy `xarray.Dataset`, of scenes that somebody has at hand: no index is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.xr import xr_coords

from odc_bdc.building.reading import corner_in
from odc_bdc.building.windows import shared
from odc_bdc.compositing import describe_band
from odc_bdc.cube import CubeSpec, find_cube
from odc_bdc.errors import InvalidValueError, SceneError, UnknownNameError, did_you_mean
from odc_bdc.files import Access
from odc_bdc.indexing import (
    IngestRecipe,
    Verify,
    belongs_to,
    item_document,
    normalise_item,
    shipped_recipes,
)
from odc_bdc.indexing.conversion import stored_document
from odc_bdc.live.image import LiveImage
from odc_bdc.live.recipe import Unreadable, parse_recipe, recipe_document, recipe_text
from odc_bdc.live.region import Area, Region, around, days_of
from odc_bdc.planning import GivenScene, given_scene, plan_scenes
from odc_bdc.product import product_document

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable
    from datetime import date

    from odc.geo.geobox import GeoBox

    from odc_bdc.cog import Window
    from odc_bdc.cube import Measurement
    from odc_bdc.planning import CompositeTask
    from odc_bdc.timeline import Period

CHUNK = 1024
"""Rows and columns of chunks, unless others are asked for."""

_IMAGES = 16


def open_cube(
    cube: CubeSpec | str,
    scenes: Iterable[Any],
    *,
    bbox: Sequence[float] | None = None,
    geometry: Area | None = None,
    geobox: GeoBox | None = None,
    tile: str | Sequence[str] | None = None,
    time: str | Sequence[str | date] | None = None,
    measurements: Sequence[str] | None = None,
    chunks: Mapping[str, int] | None = None,
    access: Access | Mapping[str, Any] | None = None,
    recipes: Sequence[IngestRecipe] | None = None,
    verify: Verify = "none",
) -> xr.Dataset:
    """Open a cube of given scenes, in a notebook without any index; nothing is read yet.

    The pixels are those of the cube that `odc-bdc cube build` would make of the same scenes, bit
    for bit, whatever part of a tile is asked for. A best-first function (``STK``) orders scenes by
    what is clear of a whole tile, so the first chunk of a tile takes a look at its quality bands.

    Parameters
    ----------
    cube
        A definition, the name of a shipped one, or the path of a YAML file.
    scenes
        STAC items (of pystac, as `pystac_client` finds them, or as dictionaries), datasets of
        datacube, or both. Items are understood by the recipes for indexing of their collection.
    bbox, geometry, geobox, tile
        What part of the cube; at most one of them. `bbox` is in degrees. A `geobox` must lie on the
        pixels of the cube. `tile` is an id or several. By default all tiles that have a scene.
    time
        ``2020``, ``2020-01/2020-03`` or a pair of days: the periods that share a day with it. By
        default all that have a scene.
    measurements
        Names of outputs, or their aliases; by default all outputs.
    chunks
        Sizes of chunks along ``y`` and ``x``, -1 for all; by default 1024. Along time they are 1.
    access
        How to get at files that not everybody may read: `Access`, or rules by prefix, whose
        ``sign`` may be a function.
    recipes
        For items of other collections than those that odc_bdc knows.
    verify
        How deeply files of items are looked into, as of `odc_bdc.indexing.item_document`.

    Returns
    -------
    xarray.Dataset
        Dask arrays (time, y, x) by name, of the cube's dtypes; time holds the starts of the
        periods. Pixels without a scene are nodata, and 0 in counts.

    Raises
    ------
    InvalidValueError
        If there is no scene, a scene is no source of the cube, nothing of them lies in the area or
        time asked for, or a parameter cannot be understood.
    UnknownNameError
        If there is no such cube or output.
    SceneError
        If a scene lacks a measurement, or an item cannot be understood.

    Examples
    --------
    >>> from pystac_client import Client  # doctest: +SKIP
    >>> found = Client.open(url).search(collections=["CB4_64_16D_STK-1"])  # doctest: +SKIP
    >>> open_cube("CB4_64_1M_STK_v1", found.items(), tile="007004")  # doctest: +SKIP
    """
    spec = find_cube(cube) if isinstance(cube, str) else cube
    outputs = outputs_named(spec, measurements)
    rules = access if isinstance(access, Access) else Access.from_dict(access or {})
    given = _given(spec, scenes, recipes, verify)
    region = Region.of(spec, bbox=bbox, geometry=geometry, geobox=geobox, tile=tile)
    tasks = plan_scenes(
        spec, given, tiles=region.tiles, time=days_of(time) if time is not None else None,
        access=rules,
    )  # fmt: skip
    if not tasks:
        raise InvalidValueError(
            f"none of the {len(given)} scenes lies in the area and time asked for of cube "
            f"{spec.name}"
        )
    whole = region.geobox or around(task.geobox for task in tasks)
    return open_tasks(tasks, whole, cube=spec, outputs=outputs, chunks=chunks)


def open_tasks(
    tasks: Sequence[CompositeTask],
    whole: GeoBox,
    *,
    cube: CubeSpec,
    outputs: Sequence[Measurement],
    chunks: Mapping[str, int] | None = None,
    periods: Sequence[Period] | None = None,
    unreadable: Unreadable = "fail",
) -> xr.Dataset:
    """Open images of a cube on some of its pixels; nothing is read yet.

    Parameters
    ----------
    tasks
        All of `cube`; of tiles of which no pixel is asked for as well.
    whole
        Pixels that lie on the cube's.
    outputs, chunks
        Of the cube, and as of `open_cube`.
    periods
        By default those of the tasks.
    unreadable
        Whether scenes that cannot be read fail an image or are left out.

    Returns
    -------
    xarray.Dataset
        As of `open_cube`.

    Raises
    ------
    InvalidValueError
        If `chunks` is not as described.
    """
    images = [_Placed.of(task, whole, unreadable) for task in tasks]
    wanted = sorted({t.period for t in tasks} if periods is None else set(periods))
    placed = [image for image in images if image]
    return _dataset(cube, outputs, whole, placed, periods=wanted, chunks=chunks or {})


class _Document(NamedTuple):
    """The EO3 document of an item, as `SceneDocument`."""

    metadata_doc: Mapping[str, Any]
    uri: str


def _given(
    cube: CubeSpec,
    scenes: Iterable[Any],
    recipes: Sequence[IngestRecipe] | None,
    verify: Verify,
) -> list[GivenScene]:
    if isinstance(scenes, Mapping) and isinstance(scenes.get("features"), list):
        scenes = scenes["features"]
    found = [_one(cube, scene, recipes, verify) for scene in scenes]
    if not found:
        raise InvalidValueError(f"no scene was given to open cube {cube.name} of")
    return found


def _one(
    cube: CubeSpec, scene: Any, recipes: Sequence[IngestRecipe] | None, verify: Verify
) -> GivenScene:
    if hasattr(scene, "metadata_doc"):
        definition = scene.product.definition
        return given_scene(scene, definition, cube)
    if isinstance(scene, Mapping):
        doc, href = dict(scene), _self_href(scene)
    elif hasattr(scene, "get_self_href"):
        doc, href = scene.to_dict(transform_hrefs=False), scene.get_self_href() or ""
    else:
        raise InvalidValueError(
            f"{type(scene).__name__} is no scene: give STAC items, or datasets of datacube"
        )
    recipe = _recipe(cube, doc, recipes)
    product = _product(recipe.product)
    item = normalise_item(doc, recipe, href=href)
    made = item_document(item, recipe, product, location=None, verify=verify)
    try:
        stored = stored_document(made, external_lineage=True)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as e:
        raise SceneError(f"item {item.id}: does not say where it lies: {e}") from e
    return given_scene(_Document(stored, href), product, cube)


def _recipe(
    cube: CubeSpec, item: Mapping[str, Any], recipes: Sequence[IngestRecipe] | None
) -> IngestRecipe:
    """Give the recipe by which an item is one of the cube's scenes."""
    collection = item.get("collection")
    known = list(shipped_recipes().values()) if recipes is None else list(recipes)
    fitting = [r for r in known if r.collection == collection and belongs_to(item, r)]
    ours = [r for r in fitting if r.product in cube.products]
    if ours:
        return ours[0]
    if fitting:
        return fitting[0]
    wanted = sorted({r.collection for r in known if r.product in cube.products})
    raise InvalidValueError(
        f"item {item.get('id')}: no recipe knows collection {collection!r}; cube {cube.name} is "
        f"made of items of {', '.join(wanted) or 'none that a recipe knows: give `recipes`'}"
    )


def _self_href(item: Mapping[str, Any]) -> str:
    links = item.get("links") or ()
    return next((str(link["href"]) for link in links if link.get("rel") == "self"), "")


@cache
def _product(name: str) -> dict[str, Any]:
    return product_document(name)


def outputs_named(cube: CubeSpec, names: Sequence[str] | None) -> list[Measurement]:
    """Give outputs of a cube by their names or aliases; all, if none is named.

    Raises
    ------
    UnknownNameError
        If there is no such output; the message lists them.
    """
    if names is None:
        return list(cube.outputs)
    by_name = {alias: m for m in cube.outputs for alias in m.aliases}
    by_name |= {m.name: m for m in cube.outputs}
    for name in [names] if isinstance(names, str) else names:
        if name not in by_name:
            known = ", ".join(m.name for m in cube.outputs)
            raise UnknownNameError(
                f"cube {cube.name} has no output {name!r}{did_you_mean(name, by_name)}; it has "
                f"{known}"
            )
    return [by_name[name] for name in ([names] if isinstance(names, str) else names)]


@dataclass(frozen=True)
class _Source:
    """What an image is made by; small, for it goes to workers."""

    recipe: str
    access: Access


@dataclass(frozen=True)
class _Placed:
    """An image, and where it lies in what is asked for."""

    period: Period
    source: _Source
    row: int
    column: int
    shape: tuple[int, int]

    @classmethod
    def of(cls, task: CompositeTask, whole: GeoBox, unreadable: Unreadable) -> _Placed | None:
        """Place an image; None if it lies outside."""
        place = corner_in(whole, task.geobox)
        rows, columns = task.geobox.shape
        if place is None:
            raise AssertionError
        row, column = place
        if row >= whole.shape.y or column >= whole.shape.x or -row >= rows or -column >= columns:
            return None
        source = _Source(recipe_text(recipe_document(task, unreadable=unreadable)), task.access)
        return cls(task.period, source, row, column, (rows, columns))

    def shared(self, window: Window) -> tuple[Window, Window] | None:
        """Give what a window shares with the image: in the window, and in the image."""
        (row, column), (rows, columns) = (self.row, self.column), self.shape
        return shared(window, (slice(row, row + rows), slice(column, column + columns)))


def _dataset(
    cube: CubeSpec,
    outputs: Sequence[Measurement],
    whole: GeoBox,
    images: Sequence[_Placed],
    *,
    periods: Sequence[Period],
    chunks: Mapping[str, int],
) -> xr.Dataset:
    rows, columns = chunks_of(whole, chunks)
    by_period = {p: [i for i in images if i.period == p] for p in periods}
    sources = {i.source: dask.delayed(i.source, pure=True, traverse=False) for i in images}
    coords = xr_coords(whole)
    coords["time"] = ("time", np.array([p.start for p in periods], "datetime64[ns]"))
    given: dict[Hashable, Any] = {"crs": str(whole.crs), "grid_mapping": "spatial_ref"}
    found = {}
    for m in outputs:
        blocks = [
            [[_chunk(m, (r, c), by_period[p], sources) for c in columns] for r in rows]
            for p in periods
        ]
        band = xr.DataArray(da.block(blocks), dims=("time", *whole.dimensions))
        found[m.name] = describe_band(band, m, given)
    out = xr.Dataset(found, coords=coords)
    out.attrs = {**given, "cube": cube.name}
    return out


def chunks_of(whole: GeoBox, chunks: Mapping[str, int]) -> tuple[list[slice], list[slice]]:
    """Give the rows and the columns of chunks.

    Raises
    ------
    InvalidValueError
        If there is no such dimension, or a size is none.
    """
    dims = whole.dimensions
    known = dict(zip(("y", "x"), dims, strict=True)) | {name: name for name in ("time", *dims)}
    for name in chunks:
        if name not in known:
            raise InvalidValueError(
                f"chunks: there is no dimension {name!r}; it has time, {' and '.join(dims)}"
            )
    given = {known[name]: size for name, size in chunks.items()}
    sides = [
        size if (side := given.get(name, CHUNK)) == -1 else side
        for name, size in zip(dims, whole.shape, strict=True)
    ]
    if min(sides) < 1:
        raise InvalidValueError(f"chunks {dict(chunks)}: sizes are 1 or more, or -1")
    rows, columns = (
        [slice(at, min(at + side, size)) for at in range(0, size, side)]
        for side, size in zip(sides, whole.shape, strict=True)
    )
    return rows, columns


def _chunk(
    m: Measurement, window: Window, images: Sequence[_Placed], sources: Mapping[_Source, Any]
) -> da.Array:
    shape = 1, *(part.stop - part.start for part in window)
    parts = [(sources[i.source], both) for i in images if (both := i.shared(window))]
    # Recipes are long, and shared by all chunks of an image.
    lazy = dask.delayed(_read, pure=True)(
        (m.name, m.dtype, m.encoding.missing, shape), [s for s, _ in parts], [w for _, w in parts]
    )
    return da.from_delayed(lazy, shape, m.dtype)


def _read(
    what: tuple[str, str, float, tuple[int, ...]],
    sources: Sequence[_Source],
    windows: Sequence[tuple[Window, Window]],
) -> npt.NDArray[Any]:
    """Read a chunk (output, dtype, nodata, shape) of its images, wherever dask wants."""
    name, dtype, nodata, shape = what
    out = np.full(shape, nodata, dtype)
    for source, (ours, theirs) in zip(sources, windows, strict=True):
        out[0][ours] = _image(source).read(name, theirs)
    return out


@lru_cache(maxsize=_IMAGES)
def _image(source: _Source) -> LiveImage:
    return LiveImage(parse_recipe(source.recipe, "cube", source.access))
