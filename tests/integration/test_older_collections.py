"""Collections of INPE's older catalogues, whose items tell little: from the item to pixels."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest
from odc.geo.geobox import GeoBox

from odc_bdc import database
from odc_bdc.cog import write_cog
from odc_bdc.grid import BDC_CRS, BDC_MOSAIC_CRS
from odc_bdc.indexing import add_products, find_recipe, index_collection
from odc_bdc.product import product_document

pytestmark = pytest.mark.integration

SINUSOIDAL = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"
# Of each collection: id of an item, what it tells besides, its days, and where its pixels lie.
COLLECTIONS = {
    "CB4A_55_1M_STK": (
        "CB4A_55_1M_STK_022024_2020-07-01_2020-07-31",
        {"bdc:tile": "022024", "datetime": "2020-07-01"},
        ("2020-07-01", "2020-07-31"),
        (BDC_MOSAIC_CRS, (614616, -1377455), 55),
    ),
    "CB4MOSBR_64": (
        "CB4MOSBR_64_018022_2020-06-30",
        {"bdc:tile": "018022", "datetime": "2020-06-30"},
        ("2020-06-30", "2020-06-30"),
        (BDC_MOSAIC_CRS, (-2068183, -497598), 64),
    ),
    "LCC_C4_64_1M_STK_GO_PA-SPC-AC-NA-1": (
        "LCC_C4_64_1M_STK_GO_PA-SPC-AC-NA_v001_043050_2018-09-01_2019-08-31",
        {
            "bdc:tiles": [None],
            "datetime": "2018-09-01T00:00:00",
            "start_datetime": "2018-09-01T00:00:00",
            "end_datetime": "2019-08-31T00:00:00",
            "eo:bands": [{"name": "lcc", "nodata": -9999.0, "data_type": "int16"}],
        },
        ("2018-09-01", "2019-08-31"),
        (BDC_CRS, (5267112, 9318828), 64),
    ),
    "MOD13Q1": (
        "MOD13Q1.A2000049.h12v09.006.2015136104558",
        {"bdc:tile": "012009", "datetime": "2000-02-18"},
        ("2000-02-18", "2000-02-18"),
        (SINUSOIDAL, (-6671703, -23165), 231.65635826388888),
    ),
}


def make_item(folder, collection):
    """Write an item as the catalogue had it, and the files that it names."""
    name, properties, _, (crs, (west, south), pixel) = COLLECTIONS[collection]
    recipe = find_recipe(collection)
    bands = {m["name"]: m for m in product_document(recipe.product)["measurements"]}
    box = (west, south, west + 50 * pixel, south + 40 * pixel)
    geobox = GeoBox.from_bbox(box, crs, shape=(40, 50))
    lonlat = geobox.extent.to_crs("EPSG:4326")
    rng, pixels = np.random.default_rng(7), {}
    for band, about in bands.items():
        pixels[band] = rng.integers(1, 4, geobox.shape).astype(about["dtype"])
        pixels[band][:5] = about["nodata"]
        write_cog(folder / f"{band}.tif", pixels[band], geobox, nodata=about["nodata"])
    item = {
        "type": "Feature",
        "stac_version": "0.8.0",
        "id": name,
        "collection": collection,
        "geometry": lonlat.json,
        "bbox": list(lonlat.boundingbox.bbox),
        "properties": properties,
        "assets": {
            band: {"href": f"{band}.tif", **({"eo:bands": [0]} if "eo:bands" in properties else {})}
            for band in bands
        },
        "links": [],
    }
    (folder / f"{name}.json").write_text(json.dumps(item), "utf-8")
    return pixels, geobox


@pytest.fixture(scope="module")
def opened(fresh_index):
    with database.open_datacube(fresh_index("postgis")) as dc:
        yield dc


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_items_that_tell_little_are_loaded(opened, tmp_path, collection):
    pixels, geobox = make_item(tmp_path, collection)
    recipe = find_recipe(collection)
    add_products(opened, [product_document(recipe.product)])
    report = index_collection(opened, recipe, [tmp_path])
    assert report.failed == []
    assert report.added == 1
    (dataset,) = opened.find_datasets(product=recipe.product)
    first, last = COLLECTIONS[collection][2]
    assert dataset.time.begin == datetime.fromisoformat(first).replace(tzinfo=UTC)
    assert str(dataset.time.end.date()) == last
    loaded = opened.load(datasets=[dataset], like=geobox)
    for band, wanted in pixels.items():
        np.testing.assert_array_equal(loaded[band].values[0], wanted, band)
