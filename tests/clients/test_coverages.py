"""Pixels, bands and tags of GetCoverage against the index."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from urllib.parse import urlencode

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from owslib.wcs import WebCoverageService
from rasterio.io import MemoryFile

from odc_bdc.grid import BDC_CRS, normalise_crs
from odc_bdc.ows.server import server_environment

pytestmark = pytest.mark.integration

STK = "CB4_64_16D_STK_v1"
COMPUTED = ("NDVI", "EVI", "CLEAROB", "TOTALOB", "PROVENANCE")
BANDS = ("BAND13", "BAND14", "BAND15", "BAND16", "CMASK", *COMPUTED)
BBOX = (5984000.0, 10000000.0, 6022400.0, 10016640.0)
WCS1 = {
    "service": "WCS",
    "version": "1.0.0",
    "request": "GetCoverage",
    "coverage": STK,
    "crs": "EPSG:10857",
    "bbox": ",".join(map(str, BBOX)),
    "width": 600,
    "height": 260,
    "format": "GeoTIFF",
    "time": "2019-12-19",
}
WCS2 = {
    "service": "WCS",
    "version": "2.0.1",
    "request": "GetCoverage",
    "coverageid": STK,
    "format": "image/geotiff",
    "subset": 'time("2019-12-19")',
}


@pytest.fixture
def open_tiff():
    """Open GeoTIFFs from memory."""
    opened = []

    def open_(body: bytes):
        memory = MemoryFile(body)
        opened.append(memory)
        return memory.open()

    yield open_
    for memory in opened:
        memory.close()


def test_a_coverage_on_the_own_grid_equals_dc_load(server, load, open_tiff):
    wcs = WebCoverageService(f"{server.url}/wcs", version="1.0.0")
    answer = wcs.getCoverage(
        identifier=STK,
        time=["2019-12-19"],
        bbox=BBOX,
        crs="EPSG:10857",
        format="GeoTIFF",
        width=600,
        height=260,
    )
    src = open_tiff(answer.read())
    geobox = GeoBox.from_bbox(BBOX, BDC_CRS, resolution=64)
    data = load(STK, "2019-12-19", geobox)
    assert src.descriptions == BANDS
    assert (src.nodata, src.dtypes[0]) == (-9999, "int16")
    assert normalise_crs(src.crs) == BDC_CRS
    assert src.transform.almost_equals(geobox.affine)
    for number, band in enumerate(BANDS, start=1):
        assert np.array_equal(src.read(number), data[band].values), band
        assert float(src.tags(number)["NODATA"]) == data[band].nodata
    assert (src.read(1) != -9999).mean() > 0.9


def test_a_coverage_equals_the_files(fetch, dc, open_tiff):
    src = open_tiff(fetch("wcs", **WCS1))
    for dataset in dc.index.datasets.search(product=STK):
        if str(dataset.time.begin.date()) != "2019-12-19":
            continue
        folder = dataset.uri.removeprefix("file://").rpartition("/")[0]
        with rasterio.open(f"{folder}/PROVENANCE.tif") as file:
            window = src.window(*file.bounds)
            assert np.array_equal(
                src.read(BANDS.index("PROVENANCE") + 1, window=window), file.read(1)
            )


@pytest.mark.parametrize("query", [WCS1, WCS2], ids=["1.0.0", "2.0.1"])
def test_scale_and_offset_are_those_of_the_product(fetch, open_tiff, cubes, query):
    src = open_tiff(fetch("wcs", **query))
    documents = {m["name"]: m for m in cubes[STK].to_product()["measurements"]}
    assert src.scales == tuple(documents[b].get("scale_factor") or 1 for b in src.descriptions)
    assert src.offsets == tuple(documents[b].get("add_offset") or 0 for b in src.descriptions)
    assert 0.0001 in src.scales


@pytest.mark.parametrize(
    "case",
    [
        ("nir,red", ("BAND16", "BAND15"), -9999, "int16"),
        ("red,nir", ("BAND15", "BAND16"), -9999, "int16"),
        ("CMASK", ("CMASK",), 0, "uint8"),
        ("TOTALOB,BAND13,CLEAROB", ("TOTALOB", "BAND13", "CLEAROB"), 0, "int16"),
    ],
)
def test_measurements_come_in_the_order_asked_for(fetch, load, open_tiff, case):
    measurements, expected, nodata, dtype = case
    src = open_tiff(fetch("wcs", **WCS1, measurements=measurements))
    assert src.descriptions == expected
    assert (src.nodata, set(src.dtypes)) == (nodata, {dtype})
    data = load(STK, "2019-12-19", GeoBox.from_bbox(BBOX, BDC_CRS, resolution=64))
    for number, band in enumerate(expected, start=1):
        assert np.array_equal(src.read(number), data[band].values)


def test_wcs_2_gives_the_whole_coverage_on_the_own_grid(fetch, load, open_tiff):
    src = open_tiff(fetch("wcs", **WCS2))
    geobox = GeoBox.from_bbox(BBOX, BDC_CRS, resolution=64)
    assert src.shape == geobox.shape
    assert src.descriptions == BANDS
    assert src.transform.almost_equals(geobox.affine)
    data = load(STK, "2019-12-19", geobox)
    assert all(np.array_equal(src.read(n), data[b].values) for n, b in enumerate(BANDS, start=1))


def test_wcs_2_gives_a_part_and_bands_in_the_order_asked_for(fetch, load, open_tiff):
    subset = "&".join(
        f"subset={s}" for s in ('time("2019-12-19")', "x(5990400,6003200)", "y(10000000,10006400)")
    )
    query = "&".join(f"{k}={v}" for k, v in WCS2.items() if k != "subset")
    whole = f"{query}&{subset}&rangesubset=PROVENANCE,BAND14:BAND16&geotiff:compression=LZW"
    src = open_tiff(fetch(f"wcs?{whole.replace(' ', '%20').replace(chr(34), '%22')}&x="))
    assert src.descriptions == ("PROVENANCE", "BAND14", "BAND15", "BAND16")
    assert src.compression.name == "lzw"
    geobox = GeoBox.from_bbox((5990400, 10000000, 6003200, 10006400), BDC_CRS, resolution=64)
    data = load(STK, "2019-12-19", geobox)
    assert np.array_equal(src.read(3), data.BAND15.values)


@pytest.mark.parametrize("band", ["BAND13", "EVI", "PROVENANCE"])
def test_an_interval_of_one_band_is_that_band(fetch, load, open_tiff, band):
    src = open_tiff(fetch("wcs", **WCS2, rangesubset=f"{band}:{band}"))
    assert src.descriptions == (band,)
    data = load(STK, "2019-12-19", GeoBox.from_bbox(BBOX, BDC_CRS, resolution=64))
    assert np.array_equal(src.read(1), data[band].values)


def test_pixels_that_are_not_square_stay_where_they_are(fetch, load, dc, open_tiff):
    src = open_tiff(
        fetch("wcs", **WCS2 | {"coverageid": "CB4_64_2Y_STK_v1", "subset": 'time("2017-01-01")'})
    )
    (dataset,) = dc.index.datasets.search(product="CB4_64_2Y_STK_v1")
    folder = dataset.uri.removeprefix("file://").rpartition("/")[0]
    with rasterio.open(f"{folder}/BAND13.tif") as file:
        assert src.transform.almost_equals(file.transform)
        assert np.array_equal(src.read(1), file.read(1))


def test_bands_of_different_types_keep_their_values(fetch, load, open_tiff):
    name, box = "S2_31UES_10_16D_STK_v1", (587880.0, 5684910.0, 588340.0, 5685430.0)
    query = WCS1 | {"coverage": name, "crs": "EPSG:32631", "time": "2023-10-16"}
    query |= {"bbox": ",".join(map(str, box)), "width": 46, "height": 52}
    src = open_tiff(fetch("wcs", **query))
    assert set(src.dtypes) == {"int32"}  # of uint16 and int16
    assert src.nodata == 65535
    data = load(name, "2023-10-16", GeoBox.from_bbox(box, "EPSG:32631", resolution=10))
    for number, band in enumerate(src.descriptions, start=1):
        assert np.array_equal(src.read(number), data[band].values)


def test_scenes_have_coverages_too(fetch, load, open_tiff):
    scenes = "CB4_WFI_L4_SR_1"
    src = open_tiff(fetch("wcs", **WCS1 | {"coverage": scenes, "time": "2020-01-03"}))
    assert src.descriptions == BANDS[:5]
    data = load(scenes, "2020-01-03", GeoBox.from_bbox(BBOX, BDC_CRS, resolution=64))
    assert all(np.array_equal(src.read(n), data[b].values) for n, b in enumerate(BANDS[:5], 1))


def test_an_empty_coverage_is_nodata_in_the_right_type(fetch, open_tiff):
    away = {"bbox": "600000,5684910,600460,5685430", "crs": "EPSG:32631", "time": "2023-10-16"}
    query = WCS1 | away | {"coverage": "S2_31UES_10_16D_STK_v1", "width": 46, "height": 52}
    src = open_tiff(fetch("wcs", **query, measurements="B04,B08"))
    assert src.shape == (52, 46)
    assert set(src.dtypes) == {"uint16"}
    assert (src.read() == 65535).all()


VERSIONS = (
    *(("WMS", "1.1.1"), ("WMS", "1.3.0"), ("WMTS", "1.0.0")),
    *(("WCS", "1.0.0"), ("WCS", "2.0.1")),
)
DOCUMENTS = (
    *(f"service={s}&version={v}&request=GetCapabilities" for s, v in VERSIONS),
    "service=WCS&version=1.0.0&request=DescribeCoverage",
    f"service=WCS&version=2.0.1&request=DescribeCoverage&coverageid={STK}",
)
SCRIPT = """
import hashlib, json, sys
from rasterio.io import MemoryFile
from odc_bdc.ows.application import create_application

client = create_application().test_client()
requests, documents = json.load(sys.stdin)
for request in requests:
    answer = client.get(f"/wcs?{request}")
    assert answer.status_code == 200, answer.data
    with MemoryFile(answer.data) as memory, memory.open() as src:
        print(json.dumps([src.descriptions, src.nodata, src.dtypes[0], src.checksum(1)]))
answers = [client.get(f"/?{request}") for request in documents]
assert {a.status_code for a in answers} == {200}
print(json.dumps([hashlib.md5(a.data).hexdigest() for a in answers]))
print(json.dumps(list(set("abcdefgh"))))
"""


def test_bands_and_documents_do_not_depend_on_the_hash_seed(index, fetch, open_tiff):
    queries = (WCS1, WCS1 | {"measurements": "quality,nir,blue"}, WCS2)
    here = []  # the server has seed 0
    for query in queries:
        src = open_tiff(fetch("wcs", **query))
        here.append([list(src.descriptions), src.nodata, src.dtypes[0], src.checksum(1)])
    assert here[0] == here[2]
    assert here[0][:3] == [list(BANDS), -9999, "int16"]
    assert here[1][:3] == [["CMASK", "BAND16", "BAND13"], 0, "int16"]
    environ = server_environment(index, ("http://localhost",), os.environ)
    others = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", SCRIPT],
            env={**environ, "PYTHONHASHSEED": seed},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2", "3")
    ]
    request = json.dumps([[urlencode(query) for query in queries], DOCUMENTS])
    answers = [
        [json.loads(line) for line in process.communicate(request)[0].splitlines()]
        for process in others
    ]
    orders = {tuple(lines[-1]) for lines in answers}
    assert len(orders) == 3, "the seeds do not change the order of sets"
    assert all(lines[:-2] == here for lines in answers)
    assert len({tuple(lines[-2]) for lines in answers}) == 1
