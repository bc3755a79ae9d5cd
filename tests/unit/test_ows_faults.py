"""What `odc-bdc ows check` says of images."""

from __future__ import annotations

import uuid
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from affine import Affine

from odc_bdc.grid import BDC_CRS
from odc_bdc.ows.image_faults import dataset_faults

ID = uuid.UUID(int=7)
PRODUCT = SimpleNamespace(
    measurements={
        "red": {"dtype": "int16", "nodata": -9999},
        "nir": {"dtype": "int16", "nodata": -9999},
        "ndvi": {"dtype": "float32", "nodata": float("nan")},
    }
)


def write(path, dtype="int16", nodata=-9999, crs=str(BDC_CRS)):
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype=dtype,
        nodata=nodata,
        count=1,
        width=8,
        height=8,
        crs=crs,
        transform=Affine(64, 0, 0, 0, -64, 512),
    ) as file:
        file.write(np.ones((8, 8), dtype), 1)


@pytest.fixture
def dataset(tmp_path):
    for band in ("red", "nir"):
        write(tmp_path / f"{band}.tif")
    write(tmp_path / "ndvi.tif", "float32", float("nan"))
    return SimpleNamespace(
        id=ID,
        uri=(tmp_path / "doc.yaml").as_uri(),
        format="GeoTIFF",
        crs=BDC_CRS,
        product=PRODUCT,
        measurements={band: {"path": f"{band}.tif"} for band in PRODUCT.measurements},
    )


def told(dataset):
    return [f"{problem}; {cure}" for problem, cure in dataset_faults(dataset)]


def test_nothing_is_said_of_an_image_that_is_as_the_index_has_it(dataset):
    assert told(dataset) == []


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda p: p.unlink(), "red.tif: "),
        (lambda p: p.write_bytes(p.read_bytes()[:150]), "red.tif: "),
        (lambda p: p.write_text("<html>"), "red.tif: "),
        (lambda p: write(p, "uint8", None), "the file has pixels of uint8, the product of int16"),
        (lambda p: write(p, nodata=0), "the file's nodata value is 0, the product's -9999"),
        (lambda p: write(p, crs="EPSG:32722"), "the file is in EPSG:32722, the dataset in "),
    ],
)
def test_a_file_that_is_otherwise_is_said_so(dataset, tmp_path, spoil, problem):
    spoil(tmp_path / "red.tif")
    (line,) = told(dataset)
    assert line.startswith(f"dataset {ID}, red: ")
    assert problem in line
    assert line.endswith("bring the file back, or index what there is (`odc-bdc index`)")


def test_bands_with_the_same_fault_share_a_line(dataset):
    dataset.measurements = {"ndvi": {"path": "ndvi.tif"}}
    assert told(dataset)[0].startswith(f"dataset {ID}, red, nir: the dataset does not have it; ")


def test_images_that_nothing_reads_are_said_so(dataset):
    dataset.format = "nobody_knows"
    (line,) = told(dataset)
    assert line.startswith("its images are of the format nobody_knows, and nothing installed reads")
    assert "datacube.plugins.io.read" in line
