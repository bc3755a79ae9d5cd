"""Files of the server, and of its network, that somebody wants through datasets and items."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import uuid
import zipfile
from contextlib import closing, contextmanager
from datetime import date

import numpy as np
import pytest
import rasterio
from answers import fetched
from rasterio.io import MemoryFile
from small_index import CUBES, STK, describe_dataset, own_index, write_dataset

from odc_bdc.ows import start_server, update_ranges

SECRET = 31337
WORDS = b"root:x:0:0:the secret of this server"
TILE = "007004"
GEOBOX = CUBES[0].cube.geobox(TILE)
WINDOW = (GEOBOX.height, GEOBOX.width)
BBOX = ",".join(map(str, GEOBOX.boundingbox.bbox))
_SHAPE = {"height": WINDOW[0], "width": WINDOW[1], "count": 1}
_PLACE = {"crs": GEOBOX.crs.to_wkt(), "transform": GEOBOX.affine}


def write_tif(path, value, dtype="int16", **tags):
    """Write a GeoTIFF of one value, as large as an image of the cube; namespaces of tags."""
    with rasterio.open(path, "w", driver="GTiff", dtype=dtype, **_SHAPE, **_PLACE) as out:
        out.write(np.full((1, *WINDOW), value, dtype))
        for name, told in tags.items():
            out.update_tags(ns=name, **told)
    return path


def vrt(source, kind=""):
    """Write a VRT that shows another file."""
    a, b, c, d, e, f = GEOBOX.affine[:6]
    inside = (
        f"<SourceFilename relativeToVRT='0'>{source}</SourceFilename>"
        "<ImageOffset>0</ImageOffset><PixelOffset>0</PixelOffset><LineOffset>0</LineOffset>"
        if kind
        else f"<SimpleSource><SourceFilename>{source}</SourceFilename>"
        "<SourceBand>1</SourceBand></SimpleSource>"
    )
    return (
        f"<VRTDataset rasterXSize='{WINDOW[1]}' rasterYSize='{WINDOW[0]}'>"
        f"<SRS>{GEOBOX.crs.to_wkt().replace('<', '&lt;')}</SRS>"
        f"<GeoTransform>{c},{a},{b},{f},{d},{e}</GeoTransform>"
        f"<VRTRasterBand dataType='Int16' band='1' {kind}>{inside}</VRTRasterBand></VRTDataset>"
    )


@contextmanager
def listening():
    """Listen on loopback, and answer nobody; give the port, and who tried to connect."""
    tried: list[object] = []
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        listener.settimeout(0.1)
        done = threading.Event()

        def look():
            while not done.is_set():
                try:
                    connection, peer = listener.accept()
                except TimeoutError:
                    continue
                tried.append(peer)
                connection.close()

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield listener.getsockname()[1], tried
        finally:
            done.set()
            thread.join()


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """Give a folder of the server that nobody may see: a raster, a text, an archive."""
    folder = tmp_path_factory.mktemp("outside")
    write_tif(folder / "secret.tif", SECRET)
    (folder / "passwd").write_bytes(WORDS * 200)
    with zipfile.ZipFile(folder / "secret.zip", "w") as packed:
        packed.write(folder / "secret.tif", "secret.tif")
    return folder


def hostile(folder, outside, port):
    """Give, by what is tried, the path that a dataset names; files that it needs are written."""
    secret = outside / "secret.tif"
    (folder / "a_vrt.tif").write_text(vrt(secret))
    (folder / "raw_vrt.tif").write_text(vrt(outside / "passwd", "subClass='VRTRawRasterBand'"))
    (folder / "wms.tif").write_text(
        f"<GDAL_WMS><Service name='TMS'><ServerUrl>http://127.0.0.1:{port}/</ServerUrl></Service>"
        "<DataWindow><UpperLeftX>0</UpperLeftX><UpperLeftY>1</UpperLeftY><LowerRightX>1"
        "</LowerRightX><LowerRightY>0</LowerRightY><TileLevel>1</TileLevel></DataWindow></GDAL_WMS>"
    )
    (folder / "link.tif").symlink_to(secret)
    write_tif(folder / "overview.tif", 1, OVERVIEWS={"OVERVIEW_FILE": str(secret)})
    for number in range(8):
        # A sidecar for each level that may be asked for.
        shutil.copy(secret, folder / f"beside.tif{'.ovr' * number or '.msk'}")
    write_tif(folder / "beside.tif", 1)
    return {
        "a VRT that is called .tif": "a_vrt.tif",
        "a VRT of a text that is no raster": "raw_vrt.tif",
        "a VRT as the name itself": vrt(secret),
        "a WMS that is called .tif": "wms.tif",
        "a raster of another folder": secret.as_uri(),
        "a raster of another folder by ..": f"../{'../' * 9}{str(secret).lstrip('/')}",
        "a raster of another folder by a link": "link.tif",
        "a part of a raster of another folder": f"/vsisubfile/0,{secret}",
        "an archive of another folder": f"/vsizip/{outside}/secret.zip/secret.tif",
        "an archive of another folder, with braces": f"/vsizip/{{{outside}/secret.zip}}/secret.tif",
        "the input of the server": "/vsistdin/",
        "a raster whose overviews are elsewhere": "overview.tif",
        "a private server": f"http://127.0.0.1:{port}/a.tif",
        "a private server, as GDAL writes it": f"/vsicurl/http://127.0.0.1:{port}/a.tif",
        "a private server, by a number": f"http://2130706433:{port}/a.tif",
        "a format that nobody reads": secret.as_uri(),
        "a name of HDF": secret.as_uri(),
    }


_FORMATS = {"a format that nobody reads": "Zarr", "a name of HDF": "hdf_x"}
DAYS = [p.start for p in CUBES[0].cube.timeline.covering(date(2020, 1, 1), date(2020, 12, 31))]


@pytest.fixture(scope="module")
def services(tmp_path_factory, outside):
    """Serve an index to which somebody has added each of the hostile datasets, by datacube's own.

    Gives the server, the day of each, the folder that may be read, and who was asked.
    """
    from datacube.index.hl import Doc2Dataset

    folder, cube = tmp_path_factory.mktemp("pixels"), CUBES[0].cube
    with (
        listening() as (port, tried),
        own_index(tmp_path_factory.mktemp("home"), "attacks") as (index, dc),
    ):
        product = cube.to_product()
        dc.index.products.add_document(product)
        resolve = Doc2Dataset(dc.index, skip_lineage=True, eo3=True)

        def add(document, where):
            dataset, problem = resolve(document, where.as_uri())
            assert dataset is not None, problem
            dc.index.datasets.add(dataset, with_lineage=False)

        times = (f"{DAYS[0]}T00:00:00Z",) * 2
        path, document = write_dataset(product, TILE, GEOBOX, times, folder)
        add(document, path)
        days = {"nothing": DAYS[0]}
        for day, (name, href) in zip(
            DAYS[1:], hostile(path.parent, outside, port).items(), strict=False
        ):
            times = (f"{day}T00:00:00Z",) * 2
            bad = describe_dataset(product, name, TILE, GEOBOX, times)
            bad["label"] = str(day)
            bad["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, name))
            for measurement in bad["measurements"].values():
                measurement["path"] = href
                if name in _FORMATS:
                    measurement["layer"] = "x"
            bad["properties"]["odc:file_format"] = _FORMATS.get(name, "GeoTIFF")
            add(bad, path)
            days[name] = day
        update_ranges(dc)
        environ = {**os.environ, "ODC_BDC_FILES": str(folder), "ODC_BDC_HOSTS": ""}
        log = tmp_path_factory.mktemp("log") / "ows.log"
        with start_server(index, port=0, workers=1, log=log, environ=environ) as server:
            yield server, days, folder, tried


def coverage(server, day, size=WINDOW):
    query = {
        "service": "WCS",
        "version": "1.0.0",
        "request": "GetCoverage",
        "coverage": STK,
        "crs": "EPSG:10857",
        "bbox": BBOX,
        "width": size[1],
        "height": size[0],
        "format": "GeoTIFF",
        "time": str(day),
        "measurements": "BAND13",
    }
    return fetched(server.url, "wcs", query, "GET")


def values_in(body):
    with MemoryFile(body) as memory, memory.open() as src:
        return set(np.unique(src.read()).tolist())


ATTACKS = (
    "a VRT that is called .tif",
    "a VRT of a text that is no raster",
    "a VRT as the name itself",
    "a WMS that is called .tif",
    "a raster of another folder",
    "a raster of another folder by ..",
    "a raster of another folder by a link",
    "a part of a raster of another folder",
    "an archive of another folder",
    "an archive of another folder, with braces",
    "the input of the server",
    "a raster whose overviews are elsewhere",
    "a private server",
    "a private server, as GDAL writes it",
    "a private server, by a number",
    "a format that nobody reads",
    "a name of HDF",
)


@pytest.mark.integration
@pytest.mark.parametrize("name", ATTACKS)
def test_a_dataset_names_what_nobody_may_see(services, record_property, name):
    """A dataset of the index names what nobody may see, and a coverage of it is asked for."""
    server, days, _, tried = services
    before = len(tried)
    shown = set()
    for size in (WINDOW, (WINDOW[0] // 4, WINDOW[1] // 4)):
        answer = coverage(server, days[name], size)
        assert WORDS[:20] not in answer.body
        assert b"secret" not in answer.body
        if answer.status == 200:
            shown |= values_in(answer.body)
    words = set(np.frombuffer(WORDS * 2, "<i2").tolist())
    record_property("answer", f"HTTP {answer.status}, {len(tried) - before} connections tried")
    assert not shown & {SECRET, *words}, shown
    assert answer.status == 503
    assert len(tried) == before


@pytest.mark.integration
def test_what_is_no_attack_is_served(services):
    """Nothing: an honest dataset is asked for between the others."""
    server, days, *_ = services
    answer = coverage(server, days["nothing"])
    assert answer.status == 200
    assert len(values_in(answer.body)) > 100
