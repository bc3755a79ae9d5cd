"""Files of the server, and of its network, that somebody wants through datasets and items."""

from __future__ import annotations

import ast
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import uuid
import zipfile
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio
from answers import fetched
from file_server import FileServer
from rasterio.io import MemoryFile
from small_index import CUBES, STK, describe_dataset, own_index, write_dataset

import odc_bdc
from odc_bdc.errors import OdcBdcError, SceneError
from odc_bdc.files import SceneFiles
from odc_bdc.indexing import add_products, find_recipe, index_collection
from odc_bdc.indexing.href import Href, Reach, absolute_href
from odc_bdc.indexing.raster import read_header
from odc_bdc.ows import start_server, update_ranges
from odc_bdc.product import product_document
from odc_bdc.scenes import make_scenes

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


def test_each_attack_is_made(tmp_path, outside):
    """Nothing: that no attack is left out is seen here."""
    assert tuple(hostile(tmp_path, outside, 9)) == ATTACKS


NAMES = (
    "/vsistdin/",
    "/VSISTDIN/",
    "/vsisubfile/0,/etc/passwd",
    "/vsizip//etc/a.zip/b.tif",
    "/vsizip/{/vsizip/{/a.zip}/b.zip}/c.tif",
    "/vsizip/{/a.zip}/../b.tif",
    "/vsicurl?url=http://169.254.169.254/",
    "/vsicurl_streaming/http://example.org/a.tif",
    "<VRTDataset rasterXSize='1' rasterYSize='1'/>",
    "<GDAL_WMS><Service/></GDAL_WMS>",
    'HDF5:"/etc/a.h5"://x',
    "NETCDF:/etc/a.nc:x",
    "GTIFF_DIR:1:/etc/a.tif",
    "DERIVED_SUBDATASET:LOGAMPLITUDE:/etc/a.tif",
    "WMS:http://example.org/",
    "ZARR:/vsicurl/http://example.org",
    "zip+https://example.org/a.zip!b.tif",
    "ftp://example.org/a.tif",
    "file://example.org/etc/a.tif",
    "s3://bucket/../other/a.tif",
    "http:///a.tif",
    "http://host:99999/a.tif",
    "/a\x00.tif",
    "/a\n.tif",
)


@pytest.mark.parametrize("name", NAMES)
def test_names_of_gdal_are_no_hrefs(record_property, name):
    """GDAL is to follow a name that is no path and no address of a file."""
    with pytest.raises(SceneError) as caught:
        Href.parse(name)
    record_property("answer", str(caught.value)[-70:])
    with pytest.raises(SceneError):
        SceneFiles().version(name)
    # Seen from an item on a server it may be a file beside it, if anything.
    try:
        found = Href.parse(absolute_href(name, "https://example.org/items/a.json"))
    except SceneError:
        return
    assert (found.scheme, found.authority) == ("https", "example.org")


@pytest.mark.parametrize("kind", ["text", "a_vrt", "wms", "link to a text", "pipe", "folder"])
def test_a_file_is_looked_at_before_gdal_sees_it(tmp_path, record_property, outside, kind):
    """A "GeoTIFF" is a text, an XML, a pipe or a folder."""
    hostile(tmp_path, outside, 9)
    path = tmp_path / f"{kind}.tif"
    if kind == "text":
        path.write_bytes(WORDS)
    elif kind == "link to a text":
        path.symlink_to(outside / "passwd")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    for read in (read_header, lambda href: SceneFiles().get(href).dataset().__enter__()):
        with pytest.raises(SceneError, match="it is no") as caught:
            read(str(path))
    record_property("answer", str(caught.value)[-60:])


def test_a_tiff_that_names_another_file_is_not_opened(tmp_path, record_property, outside):
    """A real GeoTIFF names a file of the server for its overviews, which GDAL would read."""
    hostile(tmp_path, outside, 9)
    path = str(tmp_path / "overview.tif")
    with rasterio.open(path) as src:
        assert SECRET in src.read(1, out_shape=(WINDOW[0] // 2, WINDOW[1] // 2))
    with FileServer(tmp_path) as server:
        files = SceneFiles(environ={"ODC_BDC_HOSTS": "127.0.0.0/8"})
        for read in (
            read_header,
            lambda href: files.get(href).dataset().__enter__(),
            lambda _: files.get(f"{server.url}/overview.tif").dataset().__enter__(),
        ):
            with pytest.raises(SceneError, match="names another file") as caught:
                read(path)
    record_property("answer", str(caught.value)[-60:])


def test_nothing_beside_a_file_is_read(tmp_path, record_property, outside):
    """Beside a GeoTIFF lie overviews, a mask and metadata, which GDAL would believe."""
    hostile(tmp_path, outside, 9)
    path = tmp_path / "beside.tif"
    (tmp_path / "beside.tif.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><NoDataValue>5</NoDataValue></PAMRasterBand>"
        "</PAMDataset>"
    )
    shutil.copy(outside / "secret.tif", f"{path}.ovr")
    shutil.copy(outside / "secret.tif", f"{path}.msk")
    assert read_header(str(path)).nodata is None
    with SceneFiles().get(str(path)).dataset() as src:
        assert set(np.unique(src.read(1, out_shape=(10, 10)))) == {1}
        assert src.overviews(1) == []
        assert src.dataset_mask().min() == 255
    record_property("answer", "no overview, no mask, no nodata value")


@pytest.mark.parametrize(
    "href", ["http://169.254.169.254/a.tif", "http://[::1]/a", "http://10.1/a"]
)
def test_no_private_server_is_asked_for_an_archive(record_property, href):
    """An archive lies on a private server, which GDAL would ask by itself."""
    name = f"/vsizip/{{/vsicurl/{href}.zip}}/a.tif"
    with pytest.raises(SceneError, match="no public address") as caught:
        SceneFiles().version(name)
    record_property("answer", str(caught.value)[:90])


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Give the items of made scenes, in a folder of their own, and an index for them."""
    root = tmp_path_factory.mktemp("scenes")
    report = make_scenes(
        root, size=32, tiles=(TILE,), start=date(2020, 1, 1), end=date(2020, 1, 31)
    )
    recipe = find_recipe("cb4_wfi_l4_sr")
    with own_index(tmp_path_factory.mktemp("home"), "items") as (_, dc):
        add_products(dc, [product_document(recipe.product)])
        yield dc, recipe, sorted(report.items)


def spoilt(path, href, folder):
    """Write an item anew with another href for a band; give its path."""
    item = json.loads(path.read_text("utf-8"))
    for asset in item["assets"].values():
        asset["href"] = str((path.parent / asset["href"]).resolve())
    item["assets"]["BAND13"]["href"] = href
    written = folder / "item.json"
    written.write_text(json.dumps(item), "utf-8")
    return written


OUTSIDE = ("as a path", "as an address", "by ..", "by a link", "in an archive", "VRT", "part")


@pytest.mark.integration
@pytest.mark.parametrize("how", OUTSIDE)
def test_an_item_names_a_file_outside_of_its_folder(
    scenes, outside, tmp_path, record_property, how
):
    """An item on a disk names a raster that lies outside of all folders that were given."""
    dc, recipe, items = scenes
    secret = outside / "secret.tif"
    (tmp_path / "link.tif").symlink_to(secret)
    (tmp_path / "VRT.tif").write_text(vrt(secret))
    href = {
        "as a path": str(secret),
        "as an address": secret.as_uri(),
        "by ..": f"../{'../' * 9}{str(secret).lstrip('/')}",
        "by a link": "link.tif",
        "in an archive": f"/vsizip/{{{outside}/secret.zip}}/secret.tif",
        "VRT": "VRT.tif",
        "part": f"/vsisubfile/0,{secret}",
    }[how]
    path = spoilt(items[0], href, tmp_path)
    for verify in ("none", "auto"):
        if how == "VRT" and verify == "none":
            continue  # then nobody opens it before it is served
        done = index_collection(
            dc, recipe, [path, items[3].parent], verify=verify, files=str(items[0].parent)
        )
        assert [f.source for f in done.failed] == [str(path)]
        assert done.added + done.unchanged + done.updated == 1
    record_property("answer", done.failed[0].reason[-110:])


@pytest.mark.integration
def test_an_item_may_name_what_the_administrator_named(scenes, tmp_path):
    """Nothing: an item names files of a folder that the administrator has named."""
    dc, recipe, items = scenes
    band = next(items[1].parent.glob("*_BAND13.tif"))
    path = spoilt(items[1], str(band), tmp_path)
    assert len(index_collection(dc, recipe, [path], dry_run=True).failed) == 1
    done = index_collection(dc, recipe, [path], files=str(items[1].parent), dry_run=True)
    assert done.failed == []


@pytest.mark.integration
@pytest.mark.parametrize("scheme", ["file://", "file:", "FILE://", "/vsisubfile/0,"])
def test_an_item_of_a_server_names_a_file_of_this_machine(
    scenes, tmp_path, record_property, scheme
):
    """An item that came over the network names a scene on a disk of this machine."""
    dc, recipe, items = scenes
    served = tmp_path / "served"
    served.mkdir()
    band = next(items[2].parent.glob("*_BAND13.tif"))
    spoilt(items[2], f"{scheme}{band}", served)
    with FileServer(served) as server:
        done = index_collection(
            dc,
            recipe,
            [f"{server.url}/item.json"],
            files=str(items[2].parent),
            verify="none",
            hosts=["127.0.0.0/8"],
        )
    (failure,) = done.failed
    record_property("answer", failure.reason[-100:])


def test_folders_are_told_by_their_real_paths(tmp_path):
    """A folder whose name begins as that of a folder which may be read."""
    inside, beside = tmp_path / "data", tmp_path / "data2"
    for folder in (inside, beside):
        folder.mkdir()
        (folder / "a.tif").touch()
    (inside / "out").symlink_to(beside)
    reach = Reach.named(str(inside))
    reach.check(Href.parse(str(inside / "a.tif")))
    for path in (beside / "a.tif", inside / "out/a.tif", inside / "../data2/a.tif"):
        with pytest.raises(OdcBdcError, match="outside"):
            reach.check(Href.parse(str(path)))
    with pytest.raises(OdcBdcError, match="in no bucket"):
        Reach.named("s3://mine/a").check(Href.parse("s3://mine/ab"))


_LISTED = """
import os, sys
if {early}: import rasterio; rasterio.Env().__enter__()
from odc_bdc.ows.drivers import limit_drivers
limit_drivers()
import rasterio
with rasterio.Env() as env: print(*sorted(env.drivers()), os.environ.get("GDAL_SKIP"))
"""


def test_the_services_know_few_formats(record_property):
    """GDAL of a worker is looked at, also where something else has started it before."""

    def run(early):
        command = [sys.executable, "-c", _LISTED.format(early=early)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = run(False)
    # Newer releases of GDAL have no "Memory" beside "MEM".
    found = [name for name in done.stdout.split() if name != "Memory"]
    assert found == ["COG", "GTiff", "JP2OpenJPEG", "MEM", "PNG", "None"], done
    early = run(True)
    assert early.returncode
    assert "GDAL is at work already" in early.stderr
    record_property("answer", done.stdout.strip())


def test_one_place_opens_rasters():
    """Nothing: no module opens a raster by itself, but to write it."""
    found = [
        path.name
        for path in Path(odc_bdc.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "rasterio.open"
    ]
    assert found == ["raster.py"]
