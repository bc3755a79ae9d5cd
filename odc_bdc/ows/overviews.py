"""Maps that are zoomed out are drawn from a cube's overviews, as far as these are up to date.

An overview (`odc-bdc cube overview`) is one image of all tiles of a period, under a product of its
own. datacube-ows knows of such products, but looks for them only where a layer's limits are
exceeded, and 1.9.14 not even then. So the search (`odc_bdc.ows.search`) gives the overviews for the
tiles that are searched for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from odc_bdc.ows.versions import index_connection

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from datacube import Datacube
    from datacube.model import Dataset, Range
    from odc.geo.geom import Geometry

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


@dataclass(frozen=True, slots=True)
class View:
    """A map that is asked for.

    Attributes
    ----------
    extent
        What it shows, in its CRS.
    size
        Width and height in pixels.
    """

    extent: Geometry
    size: tuple[int, int]


def has_overviews(layer: Any) -> bool:
    """Tell whether maps of a layer may be drawn from overviews."""
    return bool(layer.low_res_products) and not layer.allflag_productbands


def are_of_all_times(found: Sequence[Dataset], times: Sequence[Range]) -> bool:
    """Tell whether there is an overview of each time."""
    return {dataset.time.begin for dataset in found} == {time.begin for time in times}


def are_up_to_date(layer: Any, found: Iterable[Dataset]) -> bool:
    """Tell whether overviews show all that the tiles of their periods do."""
    product = layer.product_names[0]
    return all(is_made_of_all(layer.dc, product, dataset) for dataset in found)


def has_pixels_as_coarse(layer: Any, view: View) -> bool:
    """Tell whether the pixels of a map are as large as those of a layer's overviews, or larger."""
    resolution = layer.low_res_products[0].definition.get("load", {}).get("resolution", {})
    finest = max((abs(float(size)) for size in resolution.values()), default=float("inf"))
    box = view.extent.to_crs(layer.native_CRS).boundingbox
    width, height = view.size
    # A map in another CRS may miss the overview's own pixels by a little.
    return bool(min(box.span_x / width, box.span_y / height) >= 0.99 * finest)


def is_made_of_all(dc: Datacube, product: str, overview: Dataset) -> bool:
    """Tell whether an overview is made of just those tiles of a product that its period has now."""
    values = {"overview": overview.id, "product": product, "begin": overview.time.begin}
    with index_connection(dc) as connection:
        return bool(connection.execute(_MADE_OF_ALL, values).scalar())
