"""Coverages through GDAL's own WCS client."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox

from odc_bdc.grid import BDC_CRS, normalise_crs

pytestmark = pytest.mark.integration

STK = "CB4_64_16D_STK_v1"


@pytest.fixture
def open_coverage(server, tmp_path, monkeypatch):
    """Open a coverage with GDAL's driver, whose cache is emptied by each test."""
    with rasterio.Env() as env:
        if "WCS" not in env.drivers():
            pytest.skip("this GDAL has no WCS driver")
    monkeypatch.setenv("HOME", str(tmp_path))

    def open_(version, coverage, **parameters):
        extra = "".join(f"&{name}={value}" for name, value in parameters.items())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return rasterio.open(
                f"WCS:{server.url}/wcs?version={version}&coverage={coverage}{extra}"
            )

    return open_


@pytest.mark.parametrize("version", ["1.0.0", "2.0.1"])
@pytest.mark.parametrize(
    ("coverage", "day", "box", "crs", "pixel"),
    [
        (STK, "2020-01-01", (5984000, 10000000, 6022400, 10016640), BDC_CRS, 64),
        (
            "S2_31UES_10_16D_STK_v1",
            "2023-10-16",
            (587880, 5684910, 588340, 5685430),
            "EPSG:32631",
            10,
        ),
    ],
    ids=["BDC Albers", "UTM"],
)
def test_gdal_finds_every_pixel_where_it_is(
    open_coverage, load, version, coverage, day, box, crs, pixel
):
    geobox = GeoBox.from_bbox(box, crs, resolution=pixel)
    data = load(coverage, day, geobox)
    with open_coverage(version, coverage) as file:
        assert file.shape == geobox.shape
        assert file.transform.almost_equals(geobox.affine)
        assert normalise_crs(file.crs) == normalise_crs(crs)
        assert file.count == len(data.data_vars)
        for number, band in enumerate(data.data_vars, start=1):
            assert np.array_equal(file.read(number), data[band].values), band


def test_gdal_reads_a_window_at_a_lower_resolution(open_coverage):
    with open_coverage("2.0.1", STK) as file:
        small = file.read(1, out_shape=(26, 60))
        assert small.shape == (26, 60)
        assert (small != -9999).mean() > 0.9


def test_gdal_is_told_the_dates(open_coverage):
    with open_coverage("2.0.1", STK) as file:
        assert file.tags()["TimeDomain"] == "2019-12-19T00:00:00.000Z,2020-01-01T00:00:00.000Z"
