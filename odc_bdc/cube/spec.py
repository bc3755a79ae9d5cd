"""`CubeSpec`: a cube, whole and checked."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odc_bdc.cube.measurement import AUXILIARY, DATA_MASK, DATASOURCE, Measurement, results
from odc_bdc.document import Faults, check_against_schema, read_document
from odc_bdc.errors import InvalidValueError
from odc_bdc.grid import BBox, Grid, clip_geobox
from odc_bdc.plugins import MASKS
from odc_bdc.spectral_index import FormulaIndex
from odc_bdc.timeline import NAMED_TIMELINES, Timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from odc.geo.geobox import GeoBox

    from odc_bdc.function import CompositeFunction, Rounding
    from odc_bdc.quality import QualityPolicy
    from odc_bdc.spectral_index import SpectralIndex


@dataclass(frozen=True, slots=True)
class Source:
    """The scenes of one product, as a cube takes them.

    Attributes
    ----------
    product
        Name of the ODC product.
    quality
        What its own quality band says.
    platform
        The satellite; sources of one satellite are one in DATASOURCE.
    bands
        Pairs of the cube's measurement and the product's, where the names differ.
    where
        Pairs of an ODC search field and the value that datasets must have.
    """

    product: str
    quality: QualityPolicy
    platform: str | None = None
    bands: tuple[tuple[str, str], ...] = ()
    where: tuple[tuple[str, str | float], ...] = ()

    def band(self, measurement: str) -> str:
        """Give the product's measurement that becomes the cube's."""
        return dict(self.bands).get(measurement, measurement)


@dataclass(frozen=True, slots=True)
class IndexBand:
    """A spectral index as a band of a cube.

    Attributes
    ----------
    index
        Which.
    bands
        Pairs of a common name in the index's formula and the cube's measurement.
    measurement
        How it is stored.
    """

    index: SpectralIndex
    bands: tuple[tuple[str, str], ...]
    measurement: Measurement

    def recipe(self) -> list[Any]:
        """Give all that decides on its pixels.

        Of an index of spyndex the formula too: another release may have another.
        """
        said: list[Any] = [self.measurement.name, self.bands]
        if self.measurement.dtype != "int16":
            said.append(self.measurement.dtype)
        if isinstance(self.index, FormulaIndex):
            said += [self.index.formula, self.index.constants]
        return said


@dataclass(frozen=True)
class CubeSpec:
    """A cube: what it is made of, where, when and how.

    Attributes
    ----------
    name
        Of the ODC product; grammar ``<sat>_<res>_<period>_<FUNC>_v<version>``.
    title, description
        Text by language, ``en`` and ``pt``.
    sources
        Where the scenes come from.
    grid, resolution, extent
        Tiles, nominal pixel size in CRS units, and optionally the only part of the grid that the
        cube covers (bbox in the grid's CRS).
    timeline, function, rounding
        Periods, and how the scenes of one become an image.
    quality
        What the cube's quality band says; one named `DATA_MASK` stands for scenes without one.
        Scenes of sources whose quality band says it otherwise are recoded to this.
    measurements
        Bands of the scenes that enter the composite, the quality band among them, as the cube
        stores them. Scenes that store them otherwise are converted.
    indices, auxiliary
        Bands that are computed besides.
    mask
        A rule of one's own that observations must pass: name of an entry point of the group
        ``odc_bdc.masks`` (`odc_bdc.plugins`), or the function itself (`Mask` of
        `odc_bdc.compositing`) where a cube is only composited in this process.
    """

    # No slots: what follows from the fields is worked out once, when it is first asked for.

    name: str
    title: Mapping[str, str] = field(hash=False)
    description: Mapping[str, str] = field(hash=False)
    license: str
    sources: tuple[Source, ...]
    grid: Grid
    resolution: float
    timeline: Timeline
    function: CompositeFunction
    quality: QualityPolicy
    measurements: tuple[Measurement, ...]
    indices: tuple[IndexBand, ...] = ()
    auxiliary: tuple[str, ...] = ("CLEAROB", "TOTALOB")
    rounding: Rounding | None = None
    extent: BBox | None = None
    platform: str | None = None
    instrument: str | None = None
    mask: str | Callable[..., Any] | None = None

    @classmethod
    def from_yaml(cls, path: Path) -> CubeSpec:
        """Read a cube definition.

        Raises
        ------
        InvalidValueError
            With a line for each fault: file, line, key, value and what is allowed.
        """
        doc, faults = read_document(path)
        return cls._checked(doc, faults, Path(path).parent)

    @classmethod
    def from_dict(cls, doc: Mapping[str, Any], *, where: str = "cube") -> CubeSpec:
        """Make a cube from its YAML form; `where` names it in messages."""
        return cls._checked(doc, Faults(where), Path())

    def to_dict(self) -> dict[str, Any]:
        """Write the YAML form, complete in itself; `from_dict` of it gives the same cube."""
        from odc_bdc.cube.rendering import render_cube  # noqa: PLC0415 (it needs this class)

        return render_cube(self)

    @classmethod
    def _checked(cls, doc: Any, faults: Faults, folder: Path) -> CubeSpec:
        from odc_bdc.cube.parsing import parse_cube  # noqa: PLC0415 (it needs this class)

        check_against_schema(doc, "odc_bdc.cube", "cube.schema.yaml", faults)
        faults.check()
        return parse_cube(doc, faults, folder)

    def patch(self, **changes: Any) -> CubeSpec:
        """Give a copy with some attributes changed."""
        return replace(self, **changes)

    @property
    def bands(self) -> tuple[Measurement, ...]:
        """The measurements without the quality band."""
        return tuple(m for m in self.measurements if m.name != self.quality.band)

    @property
    def quality_measurement(self) -> Measurement:
        """The quality band."""
        return self.measurement(self.quality.band)

    @cached_property
    def outputs(self) -> tuple[Measurement, ...]:
        """The bands of the finished cube, in the order of the product."""
        shows = self.function.picks_date and self.quality.band != DATA_MASK
        quality = (self.quality_measurement,) if shows else ()
        computed = (band.measurement for band in self.indices)
        auxiliary = (self._auxiliary(name) for name in self.auxiliary)
        return (*results(self.function, self.bands), *quality, *computed, *auxiliary)

    @property
    def common(self) -> dict[str, str]:
        """The bands that the function has to know, by their common names."""
        return {name: self.labels[name] for name in self.function.common_names}

    @property
    def labels(self) -> dict[str, str]:
        """Names of the bands by name and by alias; of bands with one alias it means the first."""
        return {label: m.name for m in reversed(self.bands) for label in (*m.aliases, m.name)}

    @property
    def products(self) -> tuple[str, ...]:
        """Names of the ODC products of the scenes."""
        return tuple(source.product for source in self.sources)

    @property
    def platforms(self) -> tuple[str, ...]:
        """The satellites of the sources, each once; the numbers of DATASOURCE count them."""
        named = (source.platform or self.platform for source in self.sources)
        return tuple(dict.fromkeys(name for name in named if name))

    def is_masked_by_gaps(self, source: Source) -> bool:
        """Tell whether a source has no quality band: one of its bands tells where there is data."""
        policy = source.quality
        return policy.is_data_mask and policy.band in {source.band(m.name) for m in self.bands}

    def read_bands(self, source: Source) -> tuple[str, ...]:
        """Give the product's bands that a source's scenes are made of."""
        own = [source.band(m.name) for m in self.measurements]
        return (*own, *source.quality.bands[1:])

    def measurement(self, name: str) -> Measurement:
        """Give a measurement of the scenes by name."""
        return next(m for m in self.measurements if m.name == name)

    def datasource(self, source: Source) -> int:
        """Give the number that DATASOURCE has for scenes of a source."""
        platform = source.platform or self.platform
        return self.platforms.index(platform) if platform else 0

    def geobox(self, tile_id: str) -> GeoBox | None:
        """Give the pixels of a tile, cut to the cube's extent; None if nothing is left."""
        geobox = self.grid.geobox(tile_id, self.resolution)
        return clip_geobox(geobox, self.extent) if self.extent else geobox

    @property
    def mission(self) -> str:
        """Name of the folder of product documents that the cube's belongs to: ``cbers4``."""
        if len(self.platforms) > 1:
            return "combined"
        return "".join(c for c in (self.platform or "other").lower() if c.isalnum())

    @property
    def mask_name(self) -> str | None:
        """The name of its mask.

        Raises
        ------
        InvalidValueError
            If that is a function without a name that documents can hold.
        """
        if callable(self.mask):
            raise InvalidValueError(
                f"cube {self.name}: its mask is a function of this process; what is written down "
                f"names an installed one (entry point of {MASKS})"
            )
        return self.mask

    def recipe(self) -> str:
        """Give all that decides on pixels, apart from the scenes, as canonical JSON."""
        return self._recipe

    @cached_property
    def _recipe(self) -> str:
        doc = {
            "name": self.name,
            "sources": [
                [s.product, self.datasource(s), s.quality.to_dict(), s.bands, s.where]
                for s in self.sources
            ],
            "function": self.function.to_dict(),
            "rounding": self.rounding or self.function.rounding,
            "quality": self.quality.to_dict(),
            "measurements": [
                [m.name, *asdict(m.encoding).values(), m.resampling] for m in self.measurements
            ],
            "indices": [i.recipe() for i in self.indices],
            "auxiliary": self.auxiliary,
            "mask": self.mask_name,
        }
        return json.dumps(doc, sort_keys=True)

    def to_virtual_recipe(self) -> dict[str, Any]:
        """Render a recipe of `datacube.virtual`, which composites scenes when they are loaded."""
        inputs = [self._virtual_input(source) for source in self.sources]
        named = next((n for n, t in NAMED_TIMELINES.items() if t == self.timeline), None)
        return {
            "aggregate": "odc_bdc.virtual.Composite",
            "group_by": f"odc_bdc.virtual.{named or f'periods_of_{self.name}'}",
            "cube": self.name,
            "input": inputs[0] if len(inputs) == 1 else {"collate": inputs},
        }

    def _virtual_input(self, source: Source) -> dict[str, Any]:
        told = [m for m in self.measurements if m.name != DATA_MASK]
        scenes = {
            "product": source.product,
            "measurements": list(dict.fromkeys(self.read_bands(source))),
            "group_by": "time",
            "resampling": {
                **{source.band(m.name): m.resampling for m in told},
                **dict.fromkeys(source.quality.bands[1:], "nearest"),
            },
            **dict(source.where),
        }
        return {
            "transform": "odc_bdc.virtual.Harmonise",
            "cube": self.name,
            "source": source.product,
            "input": scenes,
        }

    def to_product(self) -> dict[str, Any]:
        """Render the ODC product document (metadata type ``eo3``)."""
        px, py = self.grid.pixel_size(self.resolution)
        x0, y0 = self.grid.origin
        return {
            "name": self.name,
            "description": f"{self.title['en']}. {self.description['en']}",
            "license": self.license,
            "metadata_type": "eo3",
            "metadata": {"product": {"name": self.name}},
            "measurements": [m.to_odc() for m in self.outputs],
            "load": {
                "crs": self.grid.crs,
                "resolution": {"x": px, "y": -py},
                "align": {"x": _align(x0, px), "y": _align(y0, py)},
            },
        }

    def _auxiliary(self, name: str) -> Measurement:
        if name != DATASOURCE.name:
            return AUXILIARY[name]
        numbers: dict[int, str] = dict(enumerate(self.platforms))
        flags = {
            "datasource": {
                "description": "Satellite that the pixel was taken from",
                "bits": list(range(8)),
                "values": {**numbers, 255: "nodata"},
            }
        }
        return replace(DATASOURCE, flags_definition=flags)


def _align(origin: float, pixel: float) -> float:
    offset = origin % pixel
    # A remainder that is a rounding error short of a whole pixel means: no offset.
    return 0.0 if min(offset, pixel - offset) < 1e-6 * pixel else offset
