"""Maps that are zoomed out are drawn from a cube's overviews, as far as these are up to date.

An overview (`odc-bdc cube overview`) is one image of all tiles of a period, under a product of its
own. datacube-ows knows of such products, but takes their datasets for no map with a style.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from odc_bdc.ows.search import time_range
from odc_bdc.ows.versions import index_connection

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from datacube import Datacube
    from datacube.model import Dataset
    from odc.geo.geobox import GeoBox

_MADE_OF_ALL = text(
    """
    SELECT NOT EXISTS (
        SELECT FROM (
            SELECT source_dataset_ref AS id FROM odc.dataset_lineage
            WHERE derived_dataset_ref = :overview
        ) made_of
        FULL JOIN (
            SELECT d.id FROM odc.dataset d
            JOIN odc.product p ON p.id = d.product_ref AND p.name = :product
            JOIN odc.dataset_search_datetime t ON t.dataset_ref = d.id AND t.search_key = 'time'
            WHERE d.archived IS NULL AND lower(t.search_val) = :begin
              AND t.search_val @> CAST(:begin AS timestamptz)
        ) there ON there.id = made_of.id
        WHERE made_of.id IS NULL OR there.id IS NULL
    )
    """
)


def overview_datasets(stacker: Any, *, outdated: bool = False) -> Mapping[Any, xr.DataArray] | None:
    """Give the overviews that a map can be drawn from; None if it is to be drawn from tiles.

    Parameters
    ----------
    stacker
        A `DataStacker` of datacube-ows, of a map.
    outdated
        Take overviews whatever their pixels and however old they are: the map has more tiles than
        may be drawn.
    """
    layer = stacker._layer  # noqa: SLF001 (it has no other name)
    view = stacker._geobox  # noqa: SLF001
    if stacker.style is None or not layer.low_res_products or stacker.style.flag_products:
        return None
    if not (outdated or has_pixels_as_coarse(layer, view)):
        return None
    from datacube import Datacube  # noqa: PLC0415 (slow to import)
    from datacube_ows.loading import ProductBandQuery  # noqa: PLC0415 (an extra)

    (query,) = ProductBandQuery.style_queries(stacker.style, resource_limited=True)
    times = stacker._times  # noqa: SLF001
    search = layer.ows_index().ds_search
    found = list(search(layer, times=times, geom=view.extent, products=query.products))
    if {d.time.begin for d in found} != {time_range(time).begin for time in times}:
        return None
    if not outdated and not all(
        is_made_of_all(layer.dc, layer.product_names[0], dataset) for dataset in found
    ):
        return None
    return {query: Datacube.group_datasets(found, stacker.group_by)}


def has_pixels_as_coarse(layer: Any, view: GeoBox) -> bool:
    """Tell whether the pixels of a map are as large as those of a layer's overviews, or larger."""
    resolution = layer.low_res_products[0].definition.get("load", {}).get("resolution", {})
    finest = max((abs(float(size)) for size in resolution.values()), default=float("inf"))
    box = view.extent.to_crs(layer.native_CRS).boundingbox
    # A map in another CRS may miss the overview's own pixels by a little.
    return bool(min(box.span_x / view.width, box.span_y / view.height) >= 0.99 * finest)


def is_made_of_all(dc: Datacube, product: str, overview: Dataset) -> bool:
    """Tell whether an overview is made of just those tiles of a product that its period has now."""
    values = {"overview": overview.id, "product": product, "begin": overview.time.begin}
    with index_connection(dc) as connection:
        return bool(connection.execute(_MADE_OF_ALL, values).scalar())
