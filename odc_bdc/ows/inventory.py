"""What an index has to publish: products with datasets."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import time
from typing import TYPE_CHECKING, Any

from odc_bdc.cube import CubeSpec, shipped_cubes
from odc_bdc.errors import InvalidValueError
from odc_bdc.ows.config import Service, build_config
from odc_bdc.ows.layers import SceneLayer, TimeResolution, native_grid
from odc_bdc.planning import overview_name
from odc_bdc.product import product_mission

if TYPE_CHECKING:
    from collections.abc import Mapping

    from datacube import Datacube

SAMPLE = 50
"""Datasets that are looked at to see whether a product's times are instants or dates."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """Products of an index that have datasets.

    Attributes
    ----------
    cubes, scenes
        What can be published: known cubes, and all other products.
    left_out
        What cannot, by product name with the reason.
    overviews
        Products whose overviews are in the index as well: no layers of their own, but what these
        products' maps are drawn from when they are zoomed out.
    """

    cubes: tuple[CubeSpec, ...]
    scenes: tuple[SceneLayer, ...]
    left_out: Mapping[str, str] = field(default_factory=dict, hash=False)
    overviews: frozenset[str] = frozenset()


def inventory(dc: Datacube, cubes: Mapping[str, CubeSpec] | None = None) -> Inventory:
    """List the products of an index that have datasets.

    Parameters
    ----------
    dc
        The open index.
    cubes
        Cubes by name, those that come with odc_bdc if not given. A product that is none of them is
        published as a product of scenes.
    """
    cubes = shipped_cubes() if cubes is None else cubes
    present: list[CubeSpec] = []
    scenes: list[SceneLayer] = []
    left_out: dict[str, str] = {}
    filled = {
        str(product.name): product.definition
        for product in dc.index.products.get_all()
        if dc.index.datasets.count(product=product.name)
    }
    overviews = frozenset(name for name in filled if overview_name(name) in filled)
    for name, definition in sorted(filled.items()):
        if name in map(overview_name, overviews):
            continue
        try:
            native_grid(definition)
        except InvalidValueError as e:
            left_out[name] = str(e)
            continue
        if name in cubes:
            present.append(cubes[name])
        else:
            scenes.append(described(definition, _time_resolution(dc, name), cubes))
    return Inventory(tuple(present), tuple(scenes), left_out, overviews)


def described(
    product: Mapping[str, Any],
    time_resolution: TimeResolution = "summary",
    cubes: Mapping[str, CubeSpec] | None = None,
) -> SceneLayer:
    """Say of a product that is no known cube what decides on its layer.

    Parameters
    ----------
    product
        The ODC product document.
    time_resolution
        By default that of composites, whose periods the product's name may tell.
    cubes
        By name, those that come with odc_bdc if not given: they know the quality of their sources.
    """
    cubes = shipped_cubes() if cubes is None else cubes
    name = str(product["name"])
    sources = {s.product: (c.mission, s.quality) for c in cubes.values() for s in c.sources}
    mission, quality = sources.get(name, ("", None))
    return SceneLayer(product, time_resolution, product_mission(name) or mission, quality)


def config_of_index(
    dc: Datacube, *, service: Service | None = None, cubes: Mapping[str, CubeSpec] | None = None
) -> dict[str, Any]:
    """Configure datacube-ows for all that an index has to publish, and for that very index."""
    return config_of_inventory(dc, inventory(dc, cubes), service=service)


def config_of_inventory(
    dc: Datacube, found: Inventory, *, service: Service | None = None
) -> dict[str, Any]:
    """Configure datacube-ows for what was found in an index, and for that very index."""
    return build_config(
        found.cubes,
        found.scenes,
        overviews=found.overviews,
        service=service,
        env=dc.index.environment,
    )


def _time_resolution(dc: Datacube, product: str) -> TimeResolution:
    sample = dc.index.datasets.search(product=product, limit=SAMPLE)
    midnight = all(ds.time.begin.time() == time() for ds in sample)
    return "summary" if midnight else "solar"
