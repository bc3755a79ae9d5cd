"""From a `CubeSpec` to its YAML form, with everything said that a product would else tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from odc_bdc.errors import UnknownNameError
from odc_bdc.grid import find_grid
from odc_bdc.spectral_index import FormulaIndex

if TYPE_CHECKING:
    from odc_bdc.cube.measurement import Measurement
    from odc_bdc.cube.spec import CubeSpec, IndexBand, Source
    from odc_bdc.grid import Grid


def render_cube(cube: CubeSpec) -> dict[str, Any]:
    """Write the YAML form of a cube; `CubeSpec.from_dict` of it gives the same cube.

    It needs neither the products of the cube's sources nor the file of its grid: what a definition
    takes from them is written out.
    """
    optional = {
        "platform": cube.platform,
        "instrument": cube.instrument,
        "extent": cube.extent and list(cube.extent),
        "rounding": cube.rounding,
        "mask": cube.mask_name,
    }
    return {
        "name": cube.name,
        "title": dict(cube.title),
        "description": dict(cube.description),
        "license": cube.license,
        "sources": [_source(source) for source in cube.sources],
        "grid": _grid(cube.grid),
        "resolution": cube.resolution,
        "timeline": cube.timeline.to_dict(),
        "function": cube.function.to_dict(),
        "quality": cube.quality.to_dict(),
        "measurements": [_measurement(m) for m in cube.measurements],
        "outputs": {
            "auxiliary": list(cube.auxiliary),
            "indices": [_index(index) for index in cube.indices],
        },
        **{key: value for key, value in optional.items() if value is not None},
    }


def _source(source: Source) -> dict[str, Any]:
    doc: dict[str, Any] = {"product": source.product, "quality": source.quality.to_dict()}
    if source.platform is not None:
        doc["platform"] = source.platform
    if source.bands:
        doc["bands"] = dict(source.bands)
    if source.where:
        doc["where"] = dict(source.where)
    return doc


def _grid(grid: Grid) -> str | dict[str, Any]:
    try:
        if find_grid(grid.name) == grid:
            return grid.name
    except UnknownNameError:
        pass
    return {
        "name": grid.name,
        "crs": grid.crs,
        "origin": list(grid.origin),
        "tile_size": list(grid.tile_size),
    }


def _measurement(measurement: Measurement) -> dict[str, Any]:
    # Nodata and aliases also where there are none, lest a product's are taken.
    doc: dict[str, Any] = {
        "name": measurement.name,
        "dtype": measurement.dtype,
        "nodata": measurement.nodata,
        "units": measurement.units,
        "aliases": list(measurement.aliases),
        "resampling": measurement.resampling,
    }
    optional = {
        "common_name": measurement.common_name,
        "scale": measurement.scale,
        "offset": measurement.offset,
        "flags_definition": measurement.flags_definition,
    }
    return doc | {key: value for key, value in optional.items() if value is not None}


def _index(band: IndexBand) -> dict[str, Any]:
    doc: dict[str, Any] = {
        "name": band.index.name,
        "bands": dict(band.bands),
        "dtype": band.measurement.dtype,
    }
    if isinstance(band.index, FormulaIndex) and band.index.constants:
        doc["constants"] = dict(band.index.constants)
    return doc
