"""What there is to build: tiles and periods with their scenes.

Reads the index and computes nothing.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from datacube.utils.uris import uri_resolve
from odc.geo.geom import Geometry

from odc_bdc.compositing import COMPOSITE_VERSION
from odc_bdc.cube import CubeSpec, Encoding, Source
from odc_bdc.errors import InvalidValueError, SceneError
from odc_bdc.indexing.conversion import HREF
from odc_bdc.indexing.documents import DOCUMENT_SUFFIX
from odc_bdc.indexing.spatial import find_datasets, union
from odc_bdc.naming import cube_item_id, dataset_id
from odc_bdc.timeline import Period

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from datacube import Datacube
    from datacube.model import Dataset
    from odc.geo.geobox import GeoBox


@dataclass(frozen=True, slots=True)
class BandSource:
    """Where the pixels of one band of a scene are, and how they are stored.

    Attributes
    ----------
    encoding
        As the scene's product says.
    """

    href: str
    encoding: Encoding
    band: int = 1


@dataclass(frozen=True, slots=True)
class SceneRef:
    """A scene as a worker needs it: no database is asked for more.

    Attributes
    ----------
    product
        Which of the cube's sources it belongs to.
    sources
        Pairs of the cube's measurement and where its pixels are; a band of saturation, which is
        none of the cube's, goes by its own name.
    item
        Address of its STAC item, or None if it is not known.
    """

    id: uuid.UUID
    label: str
    datetime: datetime
    platform: str | None
    product: str
    sources: tuple[tuple[str, BandSource], ...]
    item: str | None = None

    def source(self, measurement: str) -> BandSource:
        """Give where a measurement's pixels are."""
        return dict(self.sources)[measurement]


@dataclass(frozen=True, slots=True)
class CompositeTask:
    """One image of a cube: a tile, a period and its scenes, sorted by time."""

    cube: CubeSpec
    tile_id: str
    period: Period
    scenes: tuple[SceneRef, ...]

    @property
    def geobox(self) -> GeoBox:
        """Pixels of the image."""
        geobox = self.cube.geobox(self.tile_id)
        if geobox is None:
            raise InvalidValueError(
                f"tile {self.tile_id} lies outside of the extent of cube {self.cube.name}"
            )
        return geobox

    @property
    def id(self) -> uuid.UUID:
        """Id of the dataset, which follows from all that made it."""
        geobox = self.geobox
        return dataset_id(
            "cube",
            COMPOSITE_VERSION,
            self.cube.recipe(),
            self.tile_id,
            self.period.label,
            repr((tuple(geobox.shape), tuple(geobox.affine)[:6], str(geobox.crs))),
            repr(
                sorted({(s.product, m, str(b.encoding)) for s in self.scenes for m, b in s.sources})
            ),
            *sorted(str(scene.id) for scene in self.scenes),
        )

    @property
    def platform(self) -> str | None:
        """The satellite of the scenes, as they say; that of the cube if they differ or are mute."""
        said = {scene.platform for scene in self.scenes}
        return said.pop() or self.cube.platform if len(said) == 1 else self.cube.platform

    @property
    def observations(self) -> list[tuple[SceneRef, ...]]:
        """The scenes grouped by day (UTC) and satellite: those of one pass are one observation."""
        satellite = {source.product: self.cube.datasource(source) for source in self.cube.sources}
        passes: dict[tuple[date, int], list[SceneRef]] = {}
        for scene in self.scenes:
            key = (scene.datetime.date(), satellite[scene.product])
            passes.setdefault(key, []).append(scene)
        return [tuple(group) for group in passes.values()]

    @property
    def item_id(self) -> str:
        """Name of the image: ``<cube>_<tile>_<start>_<end>``."""
        return cube_item_id(self.cube.name, self.tile_id, self.period)

    def to_dict(self) -> dict[str, Any]:
        """Give the task as a line of a plan."""
        return {
            "item": self.item_id,
            "id": str(self.id),
            "cube": self.cube.name,
            "tile": self.tile_id,
            "start": self.period.start.isoformat(),
            "end": self.period.end.isoformat(),
            "shape": list(self.geobox.shape),
            "scenes": [scene.label for scene in self.scenes],
        }


def plan_cube(
    dc: Datacube,
    cube: CubeSpec,
    start: date,
    end: date,
    *,
    tiles: Sequence[str] | None = None,
) -> list[CompositeTask]:
    """Give the images of a cube that can be made from the scenes in the index.

    Parameters
    ----------
    start, end
        Both inclusive. Only periods that lie wholly between them are planned.
    tiles
        Tile ids; None for every tile that has a scene.

    Returns
    -------
    list
        Sorted by tile and period; tiles and periods without a scene are left out.

    Raises
    ------
    InvalidValueError
        If no whole period lies in the range, a tile id is malformed or outside of the cube's
        extent, or the index has none of the source products.
    """
    periods = whole_periods(cube, start, end)
    lacking = missing_sources(dc, cube)
    if len(lacking) == len(cube.sources):
        names = " ".join(lacking)
        raise InvalidValueError(
            f"the index has no product {names}, the source of cube {cube.name}; add it with "
            f"`odc-bdc product add {names}` and index its scenes with `odc-bdc index`"
        )
    for tile_id in tiles or ():
        if cube.geobox(tile_id) is None:
            raise InvalidValueError(
                f"tile {tile_id} lies outside of the extent {cube.extent} of cube {cube.name}"
            )
    area = _area(cube, tiles) if tiles else None
    members: dict[tuple[str, Period], list[SceneRef]] = {}
    for source in cube.sources:
        if source.product in lacking:
            continue
        product = dc.index.products.get_by_name_unsafe(source.product).definition
        encodings = {m["name"]: Encoding.from_odc(m) for m in product["measurements"]}
        for dataset, period in _datasets(dc, source, cube, periods, area):
            scene = scene_ref(dataset, cube, source, encodings)
            for tile_id in tiles_of(dataset, cube, tiles):
                members.setdefault((tile_id, period), []).append(scene)
    return [
        CompositeTask(cube, tile_id, period, _sorted(scenes))
        for (tile_id, period), scenes in sorted(members.items(), key=lambda kv: kv[0])
    ]


def missing_sources(dc: Datacube, cube: CubeSpec) -> list[str]:
    """Give the products of a cube's scenes that the index does not have."""
    return [name for name in cube.products if dc.index.products.get_by_name(name) is None]


def _area(cube: CubeSpec, tiles: Iterable[str]) -> Geometry:
    """Give the area of some tiles, as far as it lies in the cube's extent."""
    geoboxes = [cube.geobox(tile_id) for tile_id in tiles]
    return union(geobox.extent for geobox in geoboxes if geobox is not None)


def _datasets(
    dc: Datacube,
    source: Source,
    cube: CubeSpec,
    periods: Sequence[Period],
    area: Geometry | None,
) -> Iterator[tuple[Dataset, Period]]:
    """Give the datasets of a source that begin in one of the periods, with it."""
    found = find_datasets(
        dc,
        product=source.product,
        geometry=area,
        time=(periods[0].start_datetime, periods[-1].end_datetime),
        **dict(source.where),
    )
    begins = np.array([_begin(d).replace(tzinfo=None) for d in found], dtype="datetime64[us]")
    starts = cube.timeline.period_starts(begins)
    known = {period.start: period for period in periods}
    for dataset, start in zip(found, starts.tolist(), strict=True):
        if start in known:
            yield dataset, known[start]


def task_status(
    dc: Datacube, tasks: Sequence[CompositeTask]
) -> Iterator[tuple[CompositeTask, str]]:
    """Tell of each task if its image is ``built``, ``stale`` (another is) or ``missing``."""
    images = {name: built_images(dc, name) for name in {task.cube.name for task in tasks}}
    for task in tasks:
        found = images[task.cube.name].get((task.tile_id, task.period.start), set())
        yield task, "built" if task.id in found else "stale" if found else "missing"


def built_images(dc: Datacube, cube: str) -> dict[tuple[str, date], set[uuid.UUID]]:
    """Give the ids of a cube's datasets in the index by tile and start of the period."""
    found: dict[tuple[str, date], set[uuid.UUID]] = {}
    if dc.index.products.get_by_name(cube) is not None:
        for dataset in dc.index.datasets.search(product=cube):
            tile_id = dataset.metadata_doc["properties"].get("odc:region_code", "")
            found.setdefault((tile_id, _begin(dataset).date()), set()).add(dataset.id)
    return found


def whole_periods(cube: CubeSpec, start: date, end: date) -> list[Period]:
    """Give the periods of a cube that lie wholly between two days, both inclusive."""
    if end < start:
        raise InvalidValueError(f"the time range ends on {end}, before it starts on {start}")
    touched = list(cube.timeline.covering(start, end))
    periods = [p for p in touched if p.start >= start and p.end <= end]
    if not periods:
        near = ", ".join(f"{p.start} to {p.end}" for p in touched)
        raise InvalidValueError(
            f"no whole period of cube {cube.name} lies between {start} and {end}; "
            f"periods that touch this range: {near or 'none'}"
        )
    return periods


def scene_ref(
    dataset: Dataset, cube: CubeSpec, source: Source, encodings: Mapping[str, Encoding]
) -> SceneRef:
    """Give what a worker needs of an indexed scene of one of a cube's sources.

    Parameters
    ----------
    encodings
        How the source's product stores each of its measurements.

    Raises
    ------
    SceneError
        If the dataset lacks one of the cube's measurements.
    """
    # Read from the document: each attribute of datacube's own objects is parsed anew, which takes
    # ten times as long for a scene.
    doc = dataset.metadata_doc
    wanted = [(m.name, source.band(m.name)) for m in cube.measurements]
    sources = []
    for ours, name in (*wanted, *((band, band) for band in source.quality.bands[1:])):
        known = doc["measurements"].get(name)
        if known is None:
            raise SceneError(f"dataset {dataset.id} of {source.product} has no measurement {name}")
        href = uri_resolve(dataset.uri, known["path"])
        sources.append((ours, BandSource(href, encodings[name], known.get("band") or 1)))
    label = doc.get("label") or str(dataset.id)
    platform = doc["properties"].get("eo:platform")
    when = _begin(dataset)
    item = _item(dataset)
    return SceneRef(dataset.id, label, when, platform, source.product, tuple(sources), item)


def _item(dataset: Dataset) -> str | None:
    """Give the address of a dataset's STAC item: its own, or that which its EO3 document tells."""
    told = dataset.metadata_doc["properties"].get(HREF) or ""
    if not (dataset.uri or DOCUMENT_SUFFIX).endswith(DOCUMENT_SUFFIX):
        return str(dataset.uri)
    return told if "://" in told else None


def tiles_of(dataset: Dataset, cube: CubeSpec, wanted: Iterable[str] | None) -> list[str]:
    """Give the tiles of a cube that a dataset shares at least half a pixel with."""
    crs = cube.grid.odc_crs
    extent: Geometry = dataset.extent if dataset.crs == crs else dataset.extent.to_crs(crs)
    box = extent.boundingbox
    candidates = list(cube.grid.tile_ids((box.left, box.bottom, box.right, box.top)))
    if wanted is not None:
        chosen = set(wanted)
        candidates = [t for t in candidates if t in chosen]
    px, py = cube.grid.pixel_size(cube.resolution)
    out = []
    for tile_id in candidates:
        geobox = cube.geobox(tile_id)
        if geobox is not None and (extent & geobox.extent).area > px * py / 2:
            out.append(tile_id)
    return out


def _sorted(scenes: Iterable[SceneRef]) -> tuple[SceneRef, ...]:
    return tuple(sorted(scenes, key=lambda s: (s.datetime, s.label, str(s.id))))


def _begin(dataset: Dataset) -> datetime:
    begin: datetime = dataset.time.begin
    return begin.astimezone(UTC) if begin.tzinfo else begin.replace(tzinfo=UTC)


__all__ = [
    "BandSource",
    "CompositeTask",
    "SceneRef",
    "built_images",
    "missing_sources",
    "plan_cube",
    "scene_ref",
    "task_status",
    "tiles_of",
    "whole_periods",
]
