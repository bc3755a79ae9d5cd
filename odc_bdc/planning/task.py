"""`CompositeTask`: one image of a cube, with all that a worker must know to make it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from odc_bdc.compositing import COMPOSITE_VERSION
from odc_bdc.cube import CubeSpec, Encoding
from odc_bdc.errors import InvalidValueError
from odc_bdc.files import Access
from odc_bdc.naming import cube_item_id, dataset_id
from odc_bdc.timeline import Period

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

WARP = "warp 2"
"""Pixels of other grids are found and weighted as `odc_bdc.building.warping` does since 0.1."""
FLOAT = "float 1"
"""Scenes of floating point are scaled before they are rounded."""
RANKING = "physical ranking 1"
"""Observations are ranked by reflectances, not by stored numbers."""

_RANKING = ("MAXNDVI", "MAXNDI")


@dataclass(frozen=True, slots=True)
class BandSource:
    """Where the pixels of one band of a scene are, and how they are stored.

    Attributes
    ----------
    encoding
        As the scene's product says.
    warped
        Whether its pixels are known not to lie on those of the cube's grid.
    """

    href: str
    encoding: Encoding
    band: int = 1
    warped: bool = False


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


@dataclass(frozen=True)
class CompositeTask:
    """One image of a cube: a tile, a period and its scenes, sorted by time.

    Attributes
    ----------
    access
        How to get at files that not everybody may read. The image does not depend on it.
    clear_shares
        Share of the tile that each scene is expected to show clear, by the scene's id; None of a
        scene that does not tell its cloud cover. Empty where nobody looked.
    """

    # No slots: what follows from the fields is worked out once, when it is first asked for.

    cube: CubeSpec
    tile_id: str
    period: Period
    scenes: tuple[SceneRef, ...]
    access: Access = field(default=Access(), compare=False)
    clear_shares: Mapping[uuid.UUID, float | None] = field(
        default_factory=dict, compare=False, repr=False
    )

    @cached_property
    def geobox(self) -> GeoBox:
        """Pixels of the image."""
        geobox = self.cube.geobox(self.tile_id)
        if geobox is None:
            raise InvalidValueError(
                f"tile {self.tile_id} lies outside of the extent of cube {self.cube.name}"
            )
        return geobox

    @property
    def rules(self) -> tuple[str, ...]:
        """Rules that make pixels of this image, of those that came after `COMPOSITE_VERSION`.

        They enter the id of an image where they apply, so that the others keep theirs.
        """
        ranked = self.cube.function.name in _RANKING and not _is_proportional(self.cube)
        return (*source_rules(self.scenes), *((RANKING,) if ranked else ()))

    @cached_property
    def id(self) -> uuid.UUID:
        """Id of the dataset, which follows from all that made it."""
        geobox = self.geobox
        # Scenes of a product are mostly stored alike, so few texts are made.
        stored = {(s.product, name, b.encoding) for s in self.scenes for name, b in s.sources}
        return dataset_id(
            "cube",
            COMPOSITE_VERSION,
            self.cube.recipe(),
            self.tile_id,
            self.period.label,
            repr((tuple(geobox.shape), tuple(geobox.affine)[:6], str(geobox.crs))),
            repr(sorted({(product, name, str(encoding)) for product, name, encoding in stored})),
            *sorted(str(scene.id) for scene in self.scenes),
            *self.rules,
        )

    @property
    def platform(self) -> str | None:
        """The satellite of the scenes, as they say; that of the cube if they differ or are mute."""
        said = {scene.platform for scene in self.scenes}
        return said.pop() or self.cube.platform if len(said) == 1 else self.cube.platform

    @property
    def observations(self) -> list[tuple[SceneRef, ...]]:
        """The scenes grouped by day (UTC) and satellite: those of one pass are one observation."""
        return list(self._observations)

    @cached_property
    def _observations(self) -> tuple[tuple[SceneRef, ...], ...]:
        return tuple(passes_of(self.scenes, self.cube))

    @property
    def item_id(self) -> str:
        """Name of the image: ``<cube>_<tile>_<start>_<end>``."""
        return cube_item_id(self.cube.name, self.tile_id, self.period)

    def to_dict(self) -> dict[str, Any]:
        """Give the task as a line of a plan."""
        return {
            "status": "planned",
            "item": self.item_id,
            "id": str(self.id),
            "cube": self.cube.name,
            "tile": self.tile_id,
            "start": self.period.start.isoformat(),
            "end": self.period.end.isoformat(),
            "shape": list(self.geobox.shape),
            "scenes": [scene.label for scene in self.scenes],
        }


def passes_of(scenes: Iterable[SceneRef], cube: CubeSpec) -> list[tuple[SceneRef, ...]]:
    """Group scenes, sorted by time, by day (UTC) and satellite."""
    satellite = {source.product: cube.datasource(source) for source in cube.sources}
    passes: dict[tuple[date, int], list[SceneRef]] = {}
    for scene in scenes:
        passes.setdefault((scene.datetime.date(), satellite[scene.product]), []).append(scene)
    return [tuple(group) for group in passes.values()]


def source_rules(scenes: Iterable[SceneRef]) -> tuple[str, ...]:
    """Give the rules that make pixels of some scenes, of those that came later; see `rules`."""
    bands = [band for scene in scenes for _, band in scene.sources]
    applies = {
        WARP: any(band.warped for band in bands),
        FLOAT: any(band.encoding.is_float for band in bands),
    }
    return tuple(rule for rule, here in applies.items() if here)


def _is_proportional(cube: CubeSpec) -> bool:
    """Tell if a normalised difference of stored numbers is that of reflectances."""
    compared = [cube.measurement(name) for name in cube.common.values()]
    return len({m.scale for m in compared}) == 1 and not any(m.offset for m in compared)


def time_and_name(scene: SceneRef) -> tuple[datetime, str, str]:
    """Give what the scenes of a task are sorted by."""
    return scene.datetime, scene.label, str(scene.id)
