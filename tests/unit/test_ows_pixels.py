"""Coverages, without a server."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from rasterio.io import MemoryFile

from odc_bdc.grid import BDC_CRS, normalise_crs
from odc_bdc.ows.coverage import CoverageBand, to_geotiff

TRANSFORM = Affine(64, 0, 5e6, 0, -64, 1e7)
RED = CoverageBand("red", "BAND15", "int16", -9999)
MASK = CoverageBand("mask", "CMASK", "uint8", 0)
WIDE = CoverageBand("wide", "B04", "uint16", 65535)


def read(body):
    with MemoryFile(body) as memory, memory.open() as src:
        return src.read(), src.profile, src.descriptions, src.crs


@pytest.fixture
def data():
    rng = np.random.default_rng(1)
    shape = (7, 5)
    return xr.Dataset(
        {
            "mask": (("y", "x"), rng.integers(0, 255, shape).astype("uint8")),
            "wide": (("y", "x"), rng.integers(0, 65535, shape).astype("uint16")),
            "red": (("y", "x"), rng.integers(-9999, 10000, shape).astype("int16")),
        }
    )


@pytest.mark.parametrize("variables", [["mask", "wide", "red"], ["red", "wide", "mask"]])
def test_bands_are_in_the_order_asked_for_whatever_that_of_the_variables(data, variables):
    body = to_geotiff(
        data[variables], [RED, MASK], crs=BDC_CRS, transform=TRANSFORM, dims=("y", "x")
    )
    pixels, profile, bands, crs = read(body)
    assert bands == ("BAND15", "CMASK")
    assert (profile["dtype"], profile["nodata"], profile["transform"]) == (
        "int16",
        -9999,
        TRANSFORM,
    )
    assert normalise_crs(crs) == BDC_CRS
    assert np.array_equal(pixels[0], data.red)
    assert np.array_equal(pixels[1], data.mask)


@pytest.mark.parametrize(
    ("bands", "dtype", "nodata"),
    [
        ([MASK], "uint8", 0),
        ([WIDE, MASK], "uint16", 65535),
        ([WIDE, RED], "int32", 65535),
        ([RED, WIDE, MASK], "int32", -9999),
    ],
)
def test_the_type_is_the_smallest_that_changes_no_value(data, bands, dtype, nodata):
    body = to_geotiff(data, bands, crs=BDC_CRS, transform=TRANSFORM, dims=("y", "x"))
    pixels, profile, _, _ = read(body)
    assert (profile["dtype"], profile["nodata"]) == (dtype, nodata)
    for band, values in zip(bands, pixels, strict=True):
        assert np.array_equal(values, data[band.name])


def test_an_empty_coverage_of_datacube_ows_gets_its_types_back():
    # datacube-ows makes it as int16, x before y.
    empty = xr.Dataset({"wide": (("x", "y"), np.full((5, 7), 65535).astype("int16"))})
    body = to_geotiff(empty, [WIDE], crs=BDC_CRS, transform=TRANSFORM, dims=("y", "x"))
    pixels, profile, _, _ = read(body)
    assert (profile["dtype"], pixels.shape) == ("uint16", (1, 7, 5))
    assert (pixels == 65535).all()
