"""What a user of plain datacube asks for, on both drivers: in the BDC's CRS, and by cloud cover."""

from __future__ import annotations

import subprocess
import sys
from datetime import date

import numpy as np
import pytest
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from odc.geo.geom import box

from odc_bdc.grid import BDC_CRS, BDC_PROJ
from odc_bdc.indexing import add_products, find_recipe, index_collection
from odc_bdc.product import product_document
from odc_bdc.scenes import demo_extent, make_scenes

PRODUCT = "CB4_WFI_L4_SR_1"
TIME = ("2019-12-01", "2019-12-31")
WKT = BDC_CRS.to_wkt()
"""How the CRS of loaded data is found: `odc.geo` makes it of the text in the data."""


@pytest.fixture(scope="module")
def indexed(dc, tmp_path_factory):
    """Give the index with small scenes of some days on two tiles."""
    scenes = tmp_path_factory.mktemp("scenes")
    make_scenes(scenes, size=48, start=date(2019, 12, 1), end=date(2019, 12, 20))
    add_products(dc, [product_document(PRODUCT)])
    assert index_collection(dc, find_recipe("cb4_wfi_l4_sr"), [scenes]).failed == []
    return dc


@pytest.fixture(scope="module")
def everything(indexed):
    """Give all datasets, loaded without a search by area."""
    found = indexed.find_datasets(product=PRODUCT, time=TIME)
    loaded = indexed.load(datasets=found, measurements=["CMASK"])
    assert loaded.CMASK.any()
    return loaded


def window():
    """Give a pixel grid of the BDC over the seam of the two tiles."""
    xmin, ymin, xmax, ymax = demo_extent(48)
    return GeoBox.from_bbox((xmin, ymin, xmax, ymax), BDC_CRS, resolution=64)


@pytest.mark.parametrize("crs", [BDC_CRS, BDC_PROJ, WKT], ids=["ours", "proj", "wkt"])
def test_load_like_a_grid_of_the_bdc(indexed, everything, crs):
    like = GeoBox(window().shape, window().affine, CRS(crs))
    loaded = indexed.load(product=PRODUCT, measurements=["CMASK"], time=TIME, like=like)
    found = indexed.find_datasets(product=PRODUCT, time=TIME)
    wanted = indexed.load(datasets=found, measurements=["CMASK"], like=like)
    assert loaded.CMASK.shape[1:] == like.shape
    np.testing.assert_array_equal(loaded.CMASK, wanted.CMASK)
    assert loaded.CMASK.any()


def test_load_like_what_was_loaded(indexed, everything):
    again = indexed.load(product=PRODUCT, measurements=["CMASK"], like=everything)
    np.testing.assert_array_equal(again.CMASK, everything.CMASK)


@pytest.mark.parametrize("crs", [BDC_CRS, BDC_PROJ, WKT], ids=["ours", "proj", "wkt"])
def test_load_into_the_crs_of_the_bdc(indexed, everything, crs):
    xmin, ymin, xmax, ymax = everything.odc.geobox.boundingbox.bbox
    grid = {"output_crs": crs, "resolution": 64}
    area = {"x": (xmin + 64, xmax - 64), "y": (ymin + 64, ymax - 64), "crs": crs}
    found = indexed.load(product=PRODUCT, measurements=["CMASK"], time=TIME, **grid, **area)
    assert found.odc.geobox.crs == BDC_CRS
    assert found.CMASK.any()
    polygon = box(xmin, ymin, xmax, ymax, CRS(crs))
    found = indexed.load(product=PRODUCT, measurements=["CMASK"], time=TIME, geopolygon=polygon)
    np.testing.assert_array_equal(found.CMASK, everything.CMASK)


def test_a_program_that_knows_nothing_of_us(index, indexed):
    """Plain datacube opens the index and loads by the text of the CRS."""
    program = f"""
import datacube, sys
from odc.geo.geobox import GeoBox
like = GeoBox.from_bbox({demo_extent(48)}, {BDC_PROJ!r}, resolution=64)
with datacube.Datacube() as dc:
    ds = dc.load(product={PRODUCT!r}, measurements=["CMASK"], time={TIME}, like=like)
print(int(ds.CMASK.any()))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True, text=True, check=False, cwd=index.config_path.parent,
        env={"ODC_CONFIG_PATH": str(index.config_path)},
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "1"), done.stderr[-500:]


def test_search_by_cloud_cover(indexed):
    covers = {
        str(d.id): d.metadata_doc["properties"]["eo:cloud_cover"]
        for d in indexed.find_datasets(product=PRODUCT)
    }
    first, second = sorted(set(covers.values()))[:2]
    middle = (first + second) / 2
    found = indexed.find_datasets(product=PRODUCT, cloud_cover=(0, middle))
    assert {str(d.id) for d in found} == {one for one, cover in covers.items() if cover <= middle}
    assert 0 < len(found) < len(covers)


@pytest.mark.parametrize(("low", "high"), [(None, 20), (20, None), (1, 99), (-2, -1)])
def test_ranges_of_cloud_cover_that_are_open_or_empty(indexed, low, high):
    covers = [
        d.metadata_doc["properties"]["eo:cloud_cover"]
        for d in indexed.find_datasets(product=PRODUCT)
    ]
    wanted = [c for c in covers if (low is None or c >= low) and (high is None or c <= high)]
    assert len(indexed.find_datasets(product=PRODUCT, cloud_cover=(low, high))) == len(wanted)
