"""Items in the shape of CBERS-4 WFI scenes, without files, and their conversion: quick and pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from odc_bdc.grid import BDC_CRS, find_grid
from odc_bdc.indexing import Conversion, FoundItem, ItemKey

PRODUCT = "CB4_WFI_L4_SR_1"
COLLECTION = "CB4-WFI-L4-SR-1"
BANDS = ("BAND13", "BAND14", "BAND15", "BAND16", "CMASK")


def make_items(path: Path, count: int) -> None:
    """Write made items to a file, a line each."""
    with path.open("w", encoding="utf-8") as stream:
        for item in made_items(count):
            stream.write(json.dumps(item) + "\n")


def made_items(count: int) -> Iterator[dict[str, Any]]:
    """Give items in the shape of CBERS-4 WFI scenes on tiles of the BDC."""
    grid = find_grid("BDC_LG_V2")
    tiles = grid.tile_ids((-60.0, -25.0, -45.0, -5.0), "EPSG:4326")
    first = datetime(2016, 1, 1, 13, tzinfo=UTC)
    for number in range(count):
        tile = tiles[number % len(tiles)]
        when = first + timedelta(days=number // len(tiles))
        yield make_item(tile, grid.bbox(tile), when)


def make_item(tile: str, bbox: tuple[float, ...], when: datetime) -> dict[str, Any]:
    """Make one item, with remote assets and its grid."""
    xmin, ymin, xmax, ymax = bbox
    item = f"CBERS_4_AWFI_{when:%Y%m%d}_{tile}"
    place = f"https://data.inpe.br/bdc/data/cb4-wfi-l4-sr/v001/{tile}/{when:%Y/%m/%d}/{item}"
    pixels = [round((ymax - ymin) / 64), round((xmax - xmin) / 64)]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": item,
        "collection": COLLECTION,
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[-50, -10], [-49, -10], [-49, -9], [-50, -9], [-50, -10]]],
        },
        "bbox": [-50, -10, -49, -9],
        "properties": {
            "datetime": when.isoformat(),
            "created": when.isoformat(),
            "updated": when.isoformat(),
            "platform": "CBERS-4",
            "instruments": ["AWFI"],
            "gsd": 64,
            "eo:cloud_cover": when.day * 3.1,
            "bdc:tiles": [tile],
            "proj:epsg": None,
            "proj:wkt2": BDC_CRS.to_wkt(),
            "proj:shape": pixels,
            "proj:transform": [64.0, 0.0, xmin, 0.0, -64.0, ymax, 0, 0, 1],
        },
        "assets": {
            band: {
                "href": f"{place}_{band}.tif",
                "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                "roles": ["data"],
                "bdc:size": 12345678,
                "checksum:multihash": "1220" + "ab" * 32,
            }
            for band in BANDS
        },
        "links": [{"rel": "self", "href": f"https://data.inpe.br/bdc/stac/v1/{item}"}],
    }


def found_items(path: Path) -> Iterator[FoundItem]:
    """Read the items of a file."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            yield FoundItem(f"{path}:{number}", str(path), orjson.loads(line))


def identify(found: FoundItem) -> ItemKey:
    """Tell which item it is."""
    assert found.document is not None
    return ItemKey(found.document["collection"], found.document["id"])


def document(found: FoundItem, _location: Path | None) -> dict[str, Any]:
    """Make an item's EO3 document."""
    item = found.document
    assert item is not None
    given = item["properties"]
    rows, columns = given["proj:shape"]
    transform = given["proj:transform"]
    xmin, ymax = transform[2], transform[5]
    xmax, ymin = xmin + columns * transform[0], ymax + rows * transform[4]
    ring = [[xmin, ymin], [xmax, ymin], [xmax, ymax], [xmin, ymax], [xmin, ymin]]
    return {
        "$schema": "https://schemas.opendatacube.org/dataset",
        "id": str(identify(found).dataset_id),
        "label": item["id"],
        "product": {"name": PRODUCT},
        "crs": given["proj:wkt2"],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "grids": {"default": {"shape": [rows, columns], "transform": transform}},
        "properties": {
            "datetime": given["datetime"],
            "odc:processing_datetime": given["updated"],
            "odc:file_format": "GeoTIFF",
            "odc:region_code": given["bdc:tiles"][0],
            "eo:platform": given["platform"],
            "eo:instrument": given["instruments"][0],
            "eo:gsd": given["gsd"],
            "eo:cloud_cover": given["eo:cloud_cover"],
        },
        "measurements": {band: {"path": item["assets"][band]["href"]} for band in BANDS},
        "lineage": {},
    }


CONVERSION = Conversion(PRODUCT, identify, document)
