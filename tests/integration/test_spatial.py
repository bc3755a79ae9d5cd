"""Searches by area in the BDC's CRS, of which PROJ knows no EPSG code: alike on both drivers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from made_items import CONVERSION, PRODUCT, made_items
from odc.geo.geom import Geometry, box, polygon

from odc_bdc import OdcBdcError
from odc_bdc.grid import BDC_CRS, find_grid
from odc_bdc.indexing import FoundItem, add_products, index_items
from odc_bdc.indexing.spatial import find_datasets, overlap, union
from odc_bdc.product import product_document

GRID = find_grid("BDC_LG_V2")
DAYS = 2


@pytest.fixture(scope="module")
def tiles():
    return GRID.tile_ids((-60.0, -25.0, -45.0, -5.0), "EPSG:4326")


@pytest.fixture(scope="module")
def indexed(dc, tiles):
    """Give the index with a scene of each of two days on each tile."""
    add_products(dc, [product_document(PRODUCT)])
    items = [FoundItem("made", "/made", item) for item in made_items(DAYS * len(tiles))]
    assert index_items(dc, items, CONVERSION).added == DAYS * len(tiles)
    return dc


def found_tiles(datasets):
    tiles = [d.metadata_doc["properties"]["odc:region_code"] for d in datasets]
    assert all(tiles.count(tile) == DAYS for tile in tiles)
    return set(tiles)


def area_of(*tile_ids):
    return union(box(*GRID.bbox(tile_id), BDC_CRS) for tile_id in tile_ids)


def test_a_tile_is_found_without_its_neighbours(indexed, tiles):
    for tile in (tiles[0], tiles[len(tiles) // 2], tiles[-1]):
        found = find_datasets(indexed, product=PRODUCT, geometry=area_of(tile))
        assert found_tiles(found) == {tile}
        area = area_of(tile)
        # 64 m do not divide a tile of the BDC.
        assert all(0.99 < overlap(d, area) / area.area <= 1 for d in found)


def test_an_area_over_several_tiles(indexed, tiles):
    wide = area_of(*tiles[:3]).buffer(-1000)
    expected = {t for t in tiles if (area_of(t) & wide).area > 1e6}
    assert set(tiles[:3]) <= expected
    assert found_tiles(find_datasets(indexed, product=PRODUCT, geometry=wide)) == expected


def test_the_same_area_in_another_crs(indexed, tiles):
    area = area_of(tiles[5]).buffer(-5000)
    lonlat = area.to_crs("EPSG:4326", resolution=5000)
    utm = area.to_crs("EPSG:32722", resolution=5000)
    for same in (area, lonlat, utm):
        found = find_datasets(indexed, product=PRODUCT, geometry=same)
        assert found_tiles(found) == {tiles[5]}


def test_a_long_thin_area_is_not_lost_by_bent_lines(indexed, tiles):
    left = min(GRID.bbox(t)[0] for t in tiles)
    right = max(GRID.bbox(t)[2] for t in tiles)
    middle = GRID.bbox(tiles[len(tiles) // 2])
    y = (middle[1] + middle[3]) / 2
    line = box(left, y - 10, right, y + 10, BDC_CRS)
    expected = {t for t in tiles if GRID.bbox(t)[1] < y - 10 and GRID.bbox(t)[3] > y + 10}
    found = find_datasets(indexed, product=PRODUCT, geometry=line)
    assert found_tiles(found) == expected
    assert len(expected) > 3


def test_time_and_fields_narrow_the_search(indexed, tiles):
    first = (datetime(2016, 1, 1, tzinfo=UTC), datetime(2016, 1, 1, 23, tzinfo=UTC))
    area = area_of(*tiles[:2]).buffer(-1000)
    found = find_datasets(indexed, product=PRODUCT, geometry=area, time=first)
    assert len(found) == 2
    found = find_datasets(indexed, product=PRODUCT, geometry=area, time=first, region_code=tiles[1])
    assert [d.metadata_doc["properties"]["odc:region_code"] for d in found] == [tiles[1]]
    everywhere = find_datasets(indexed, product=PRODUCT)
    assert len(everywhere) == DAYS * len(tiles)


@pytest.mark.parametrize(
    "area",
    [
        polygon([(0, 0), (1, 1), (0, 0)], BDC_CRS),
        Geometry(box(0, 0, 1, 1, "EPSG:4326").geom, crs=None),
    ],
)
def test_what_is_no_area_is_refused(indexed, area):
    with pytest.raises(OdcBdcError, match="needs a polygon with a CRS"):
        find_datasets(indexed, product=PRODUCT, geometry=area)
