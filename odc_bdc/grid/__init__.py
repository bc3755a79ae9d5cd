"""The grids of the Brazil Data Cube and any other regular tile grid.

A tile id is ``hhhvvv``: column from west to east, then row from north to south.
"""

from odc_bdc.grid.area import Area, area_in
from odc_bdc.grid.crs import (
    BDC_CRS,
    BDC_MOSAIC_CRS,
    BDC_MOSAIC_PROJ,
    BDC_PROJ,
    epsg_code,
    georeference,
    named_wkt,
    normalise_crs,
)
from odc_bdc.grid.exchange import (
    area_from_file,
    centre_lonlat,
    tiles_from_file,
    tiles_from_geojson,
    tiles_to_geojson,
)
from odc_bdc.grid.named import BDC_GRIDS, bdc_grid, find_grid, published_tiles, shipped_grids
from odc_bdc.grid.regular import BBox, Grid, clip_geobox, is_tile_id

__all__ = [
    "BDC_CRS",
    "BDC_GRIDS",
    "BDC_MOSAIC_CRS",
    "BDC_MOSAIC_PROJ",
    "BDC_PROJ",
    "Area",
    "BBox",
    "Grid",
    "area_from_file",
    "area_in",
    "bdc_grid",
    "centre_lonlat",
    "clip_geobox",
    "epsg_code",
    "find_grid",
    "georeference",
    "is_tile_id",
    "named_wkt",
    "normalise_crs",
    "published_tiles",
    "shipped_grids",
    "tiles_from_file",
    "tiles_from_geojson",
    "tiles_to_geojson",
]
