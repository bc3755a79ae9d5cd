"""Live cubes of real scenes, asked for through WCS on their own pixels."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace

import numpy as np
import pytest
from answers import fetched
from builders import CLOCK
from rasterio.io import MemoryFile
from small_index import own_index

from odc_bdc.building.tile import composite_tile
from odc_bdc.cube import find_cube
from odc_bdc.indexing import add_products, find_recipe, index_collection
from odc_bdc.live.declaring import declare_cube
from odc_bdc.ows import start_server, update_ranges
from odc_bdc.planning import plan_cube
from odc_bdc.product import product_document

pytestmark = [pytest.mark.integration, pytest.mark.real]

# Of INPE in the BDC's CRS, and of Sentinel-2 in UTM; the periods and the CRS that clients know.
CUBES = {
    "CB4_64_2Y_STK_v1": ("CB4_64_16D_STK-1", date(2017, 1, 1), date(2018, 12, 31), "EPSG:10857"),
    "S2_31UES_10_1M_MED_v1": (
        "S2_L2A_31UES-1", date(2023, 12, 1), date(2023, 12, 31), "EPSG:32631",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def served(real_data, tmp_path_factory):
    """Declare cubes of real collections live, and serve them."""
    home = tmp_path_factory.mktemp("live_real")
    tasks = {}
    with own_index(home, "live_real") as (index, dc):
        for name, (collection, start, end, _) in CUBES.items():
            recipe, cube = find_recipe(collection), find_cube(name)
            add_products(dc, [product_document(recipe.product), cube.to_product()])
            found = index_collection(dc, recipe, [real_data / collection], out=home / "eo3")
            assert found.failed == []
            (tasks[name],) = plan_cube(dc, cube, start, end)
            report = declare_cube(dc, [tasks[name]], home / "cubes", now=CLOCK)
            assert report.counts == {"declared": 1}
        update_ranges(dc)
        with start_server(index, port=0, workers=1, log=home / "ows.log") as server:
            yield SimpleNamespace(url=server.url, tasks=tasks)


@pytest.mark.parametrize("name", CUBES)
def test_a_coverage_on_the_pixels_of_the_cube_is_its_composite(served, name):
    task = served.tasks[name]
    rows, columns = task.geobox.shape
    answer = fetched(
        served.url,
        "wcs",
        {
            "service": "WCS", "version": "1.0.0", "request": "GetCoverage", "coverage": name,
            "crs": CUBES[name][-1], "bbox": ",".join(map(repr, task.geobox.boundingbox.bbox)),
            "width": columns, "height": rows, "format": "GeoTIFF", "time": task.period.start,
        },
    )  # fmt: skip
    assert answer.status == 200, answer.body
    with MemoryFile(answer.body) as file, file.open() as src:
        found = dict(zip(src.descriptions, src.read(), strict=True))
    wanted = composite_tile(task)
    assert found.keys() == wanted.keys()
    assert np.count_nonzero(wanted["CLEAROB"])
    for band, pixels in wanted.items():
        np.testing.assert_array_equal(found[band], pixels, err_msg=band)
