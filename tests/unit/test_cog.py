"""Bands as Cloud Optimized GeoTIFFs."""

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox

from odc_bdc.cog import write_cog


@pytest.mark.parametrize(
    ("dtype", "nodata", "predictor"), [("float32", np.nan, "3"), ("int16", -9999, "2")]
)
def test_pixels_and_nodata_come_back(tmp_path, dtype, nodata, predictor):
    pixels = np.linspace(-2, 30000, 600 * 520).reshape(600, 520).astype(dtype)
    pixels[:, :100] = nodata
    geobox = GeoBox.from_bbox((0, 0, 520, 600), "EPSG:32723", resolution=1)
    write_cog(tmp_path / "band.tif", pixels, geobox, nodata=nodata, description="SAVI")
    with rasterio.open(tmp_path / "band.tif") as src:
        assert src.dtypes == (dtype,)
        np.testing.assert_equal(src.nodata, nodata)
        assert src.tags(ns="IMAGE_STRUCTURE")["PREDICTOR"] == predictor
        assert src.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        np.testing.assert_array_equal(src.read(1), pixels)
        assert src.read(1, masked=True).mask[:, :100].all()
        small = src.read(1, out_shape=(300, 260))
        # Overviews take pixels as they are.
        assert np.isin(small[:, 60:], pixels).all()
