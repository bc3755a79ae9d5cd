"""`CubeSpec`: the one place where a cube is described.

Product documents, plans, dataset ids, file names and map layers all come from it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from odc_bdc.errors import InvalidValueError, UnknownNameError
from odc_bdc.function import CompositeFunction, Rounding, composite_function
from odc_bdc.grid import BBox, Grid, bdc_grid, clip_geobox
from odc_bdc.quality import QualityPolicy
from odc_bdc.timeline import NAMED_TIMELINES, Timeline

if TYPE_CHECKING:
    from collections.abc import Mapping

    import jsonschema
    from odc.geo.geobox import GeoBox


@dataclass(frozen=True, slots=True)
class Measurement:
    """A band of a cube, in the terms of an ODC product document."""

    name: str
    dtype: str
    nodata: int | None = None
    units: str = "1"
    aliases: tuple[str, ...] = ()
    scale: float | None = None
    offset: float | None = None
    resampling: str = "bilinear"
    flags_definition: Mapping[str, Any] | None = field(default=None, hash=False)

    def to_odc(self) -> dict[str, Any]:
        """Write the measurement as an ODC product document has it."""
        doc: dict[str, Any] = {"name": self.name, "dtype": self.dtype}
        doc["nodata"] = 0 if self.nodata is None else self.nodata
        doc["units"] = self.units
        optional = {
            "aliases": list(self.aliases),
            "scale_factor": self.scale,
            "add_offset": self.offset,
            "flags_definition": self.flags_definition,
        }
        return doc | {key: value for key, value in optional.items() if value}


CLEAROB = Measurement("CLEAROB", "uint8")
"""Number of clear observations; counts beyond 255 saturate."""
TOTALOB = Measurement("TOTALOB", "uint8")
"""Number of observations with data, clouds included; counts beyond 255 saturate."""
PROVENANCE = Measurement("PROVENANCE", "int16", nodata=-1)
"""Day of year (1 to 366) of the observation that the pixel was taken from."""


@dataclass(frozen=True, slots=True)
class CubeSpec:
    """A cube: what it is made of, where, when and how.

    Attributes
    ----------
    name
        Of the ODC product; grammar ``<sat>_<res>_<period>_<FUNC>_v<version>``.
    title, description
        Text by language, ``en`` and ``pt``.
    source
        ODC product of the scenes.
    grid, resolution, extent
        Tiles, nominal pixel size in CRS units, and optionally the only part of the grid that the
        cube covers (bbox in the grid's CRS).
    timeline, function, rounding, quality
        Periods, and how the scenes of one become an image.
    measurements
        Bands of the scenes that enter the composite, the quality band among them.
    """

    name: str
    title: Mapping[str, str] = field(hash=False)
    description: Mapping[str, str] = field(hash=False)
    license: str
    source: str
    grid: Grid
    resolution: float
    timeline: Timeline
    function: CompositeFunction
    quality: QualityPolicy
    measurements: tuple[Measurement, ...]
    rounding: Rounding | None = None
    extent: BBox | None = None
    platform: str | None = None
    instrument: str | None = None

    @classmethod
    def from_yaml(cls, path: Path) -> CubeSpec:
        """Read a cube definition.

        Raises
        ------
        InvalidValueError
            With one line per fault: file, key, value and what is allowed.
        """
        try:
            doc = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
            raise InvalidValueError(f"{path}: cannot be read as YAML: {e}") from e
        return cls.from_dict(doc, where=str(path))

    @classmethod
    def from_dict(cls, doc: Mapping[str, Any], *, where: str = "cube") -> CubeSpec:
        """Make a cube from its YAML form; `where` names it in messages."""
        faults = [
            f"{where}: {'.'.join(str(p) for p in e.absolute_path) or '(top level)'}: {e.message}"
            for e in sorted(_validator().iter_errors(doc), key=lambda e: list(map(str, e.path)))
        ]
        if faults:
            raise InvalidValueError("\n".join(faults))
        try:
            return cls._from_valid(doc)
        except (InvalidValueError, UnknownNameError) as e:
            raise InvalidValueError(f"{where}: {e}") from e

    @classmethod
    def _from_valid(cls, doc: Mapping[str, Any]) -> CubeSpec:
        grid = doc["grid"]
        quality = QualityPolicy.from_dict(doc["quality"])
        measurements = tuple(
            Measurement(**{**m, "aliases": tuple(m.get("aliases", ()))})
            for m in doc["measurements"]
        )
        names = [m.name for m in measurements]
        if all(m.nodata is None for m in measurements if m.name != quality.band):
            raise InvalidValueError("measurements: at least one band needs a nodata value")
        if quality.band not in names:
            raise InvalidValueError(f"quality.band {quality.band!r} is not in measurements {names}")
        if len(set(names)) < len(names):
            raise InvalidValueError(f"measurements: a name stands twice in {names}")
        extent = doc.get("extent")
        return cls(
            **{k: doc[k] for k in ("name", "title", "description", "license")},
            source=doc["source"]["product"],
            grid=bdc_grid(grid) if isinstance(grid, str) else Grid.from_dict(grid),
            resolution=float(doc["resolution"]),
            timeline=Timeline.from_dict(doc["timeline"]),
            function=composite_function(doc["function"]),
            quality=quality,
            measurements=measurements,
            rounding=doc.get("rounding"),
            extent=tuple(extent) if extent else None,
            platform=doc.get("platform"),
            instrument=doc.get("instrument"),
        )

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
        return next(m for m in self.measurements if m.name == self.quality.band)

    @property
    def outputs(self) -> tuple[Measurement, ...]:
        """The bands of the finished cube, in the order of the product."""
        if self.function.picks_date:
            return (*self.bands, self.quality_measurement, CLEAROB, TOTALOB, PROVENANCE)
        return (*self.bands, CLEAROB, TOTALOB)

    def geobox(self, tile_id: str) -> GeoBox | None:
        """Give the pixels of a tile, cut to the cube's extent; None if nothing is left."""
        geobox = self.grid.geobox(tile_id, self.resolution)
        return clip_geobox(geobox, self.extent) if self.extent else geobox

    @property
    def mission(self) -> str:
        """Name of the folder of product documents that the cube's belongs to: ``cbers4``."""
        return "".join(c for c in (self.platform or "other").lower() if c.isalnum())

    def recipe(self) -> str:
        """Give all that decides on pixels, apart from the scenes, as canonical JSON."""
        doc = {
            "name": self.name,
            "source": self.source,
            "function": self.function.name,
            "rounding": self.rounding or self.function.rounding,
            "quality": self.quality.to_dict(),
            "measurements": [[m.name, m.dtype, m.nodata, m.resampling] for m in self.measurements],
        }
        return json.dumps(doc, sort_keys=True)

    def to_virtual_recipe(self) -> dict[str, Any] | None:
        """Render a recipe of `datacube.virtual`; None if no named grouping fits the timeline."""
        group_by = next((n for n, t in NAMED_TIMELINES.items() if t == self.timeline), None)
        if group_by is None:
            return None
        return {
            "aggregate": "odc_bdc.virtual.Composite",
            "group_by": f"odc_bdc.virtual.{group_by}",
            "function": self.function.name,
            "quality": self.quality.to_dict(),
            "input": {
                "product": self.source,
                "measurements": [m.name for m in self.measurements],
                "group_by": "time",
            },
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


def shipped_cubes() -> dict[str, CubeSpec]:
    """Give the cubes that come with odc_bdc, by name."""
    folder = files("odc_bdc.product_defs") / "cubes"
    found = sorted(p.name for p in folder.iterdir() if p.name.endswith(".yaml"))
    cubes = (CubeSpec.from_yaml(Path(str(folder / name))) for name in found)
    return {cube.name: cube for cube in cubes}


def find_cube(name: str) -> CubeSpec:
    """Give a shipped cube by name, or read the YAML file of that path.

    Raises
    ------
    UnknownNameError
        If it is neither; the message lists the shipped ones.
    """
    if name.endswith((".yaml", ".yml")):
        return CubeSpec.from_yaml(Path(name))
    cubes = shipped_cubes()
    if name not in cubes:
        known = ", ".join(sorted(cubes))
        raise UnknownNameError(f"{name!r} is no shipped cube and no .yaml file; shipped: {known}")
    return cubes[name]


def _align(origin: float, pixel: float) -> float:
    offset = origin % pixel
    # A remainder that is a rounding error short of a whole pixel means: no offset.
    return 0.0 if min(offset, pixel - offset) < 1e-6 * pixel else offset


@cache
def _validator() -> jsonschema.Draft202012Validator:
    import jsonschema  # noqa: PLC0415 (takes seconds to import, most of them for formats of URIs)

    text = (files("odc_bdc") / "cube.schema.yaml").read_text(encoding="utf-8")
    return jsonschema.Draft202012Validator(yaml.safe_load(text))
