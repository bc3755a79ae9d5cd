"""What an index holds of a product, told to whom asked for what is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from odc_bdc.cube import shipped_cubes
from odc_bdc.errors import NothingFoundError, UnknownNameError, did_you_mean
from odc_bdc.indexing import shipped_recipes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from datacube import Datacube
    from datacube.model import Product

_TILES = 8
"""Tiles that a message names."""

_LOOKED_AT = 2000
"""Datasets whose tiles are looked at for a message."""


def find_product(dc: Datacube, name: str) -> Product:
    """Give a product by name.

    Raises
    ------
    UnknownNameError
        If the index has none; the message lists those that it has.
    """
    found = dc.index.products.get_by_name(name)
    if found is None:
        known = sorted(product.name for product in dc.index.products.get_all())
        if not known:
            raise UnknownNameError(
                f"there is no product {name!r}, for the index holds none; `odc-bdc product add "
                "--all` adds those of odc_bdc, `make demo` fills an index to try"
            )
        raise UnknownNameError(
            f"there is no product {name!r}{did_you_mean(name, known)}; the index holds "
            f"{', '.join(known)}"
        )
    return found


def nothing_found(
    dc: Datacube, product: Product, query: Mapping[str, Any], where: str = ""
) -> NothingFoundError:
    """Say that a query finds nothing, and what there is.

    Parameters
    ----------
    query
        What was asked for.
    where
        The place, in words.
    """
    asked = ", ".join(f"{key}={value!r}" for key, value in query.items() if value is not None)
    count = dc.index.datasets.count(product=product.name)
    if not count:
        return NothingFoundError(
            f"product {product.name} has no datasets yet; {_how_to_fill(product.name)}"
        )
    first, last = dc.index.products.temporal_extent(product.name)
    regions = {
        row.region_code
        for row in dc.index.datasets.search_returning(
            ("region_code",), limit=_LOOKED_AT, product=product.name
        )
    } - {None}
    tiles = ", ".join(sorted(regions)[:_TILES]) + ("..." if len(regions) > _TILES else "")
    what = f" for {asked}" if asked else ""
    return NothingFoundError(
        f"product {product.name} has nothing{what}{where}; its {count} datasets are of "
        f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
        + (f", tiles {tiles}" if tiles else "")
        + "; `odc-bdc cube status` and `datacube dataset search` tell more"
    )


def _how_to_fill(product: str) -> str:
    """Give the command that brings datasets of a product."""
    if product in shipped_cubes():
        return (
            f"`odc-bdc cube build {product}` builds them, and `odc-bdc cube declare {product}` "
            "makes them live at once"
        )
    recipe = next((n for n, r in shipped_recipes().items() if r.product == product), None)
    if recipe is not None:
        return f"`odc-bdc index {recipe} SOURCE` indexes scenes"
    return "index some, or build the cube with `odc-bdc cube build FILE`"
