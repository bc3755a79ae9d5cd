"""Scenes whose bands are in one archive: from items over the index to pixels, without unpacking."""

import json
import re
import tarfile
import threading
import zipfile
from datetime import UTC, date, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin

from odc_bdc import CubeSpec
from odc_bdc.building import build_cube
from odc_bdc.indexing import add_products, find_recipe, index_collection
from odc_bdc.planning import plan_cube
from odc_bdc.product import product_document

LANDSAT = "LC08_L1TP_217071_20200828_20200905_01_T1"
SENTINEL = "S2B_MSIL1C_20230101T131249_N0509_R138_T23KLP_20230101T150302"
GRANULE = f"{SENTINEL}.SAFE/GRANULE/L1C_T23KLP_A030425_20230101T131252/IMG_DATA"
METRES = {"B01": 60, "B09": 60, "B10": 60, "B02": 10, "B03": 10, "B04": 10, "B08": 10}
METRES |= dict.fromkeys(["B05", "B06", "B07", "B8A", "B11", "B12"], 20)
HOW = {
    "tif": {"driver": "GTiff"},
    "jp2": {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES"},
}


def image(path, pixels, crs, left, top, metres):
    how = HOW[path.suffix[1:]]
    with rasterio.open(
        path, "w", count=1, height=pixels.shape[0], width=pixels.shape[1], dtype="uint16",
        crs=crs, transform=from_origin(left, top, metres, metres), **how,
    ) as out:  # fmt: skip
        out.write(pixels, 1)


def item(folder, collection, name, archive, **properties):
    """Write an item as the BDC has them: one asset, and nothing of pixels."""
    document = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": collection,
        "properties": properties,
        "assets": {"asset": {"href": f"./{archive.name}", "bdc:size": archive.stat().st_size}},
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document), "utf-8")
    return path


def landsat(folder):
    """Make a scene as USGS packs it, and give its pixels."""
    rng, pixels = np.random.default_rng(1), {}
    archive = folder / f"{LANDSAT}.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        for band in [*(f"B{n}" for n in range(1, 12)), "BQA"]:
            pan = band == "B8"
            pixels[band] = rng.integers(1, 50000, (119,) * 2 if pan else (60, 60)).astype("uint16")
            if band == "BQA":
                pixels[band] = rng.choice([1, 2720, 2800], (60, 60)).astype("uint16")
            corner = (199492.5, -1650007.5, 15) if pan else (199485, -1650000, 30)
            path = folder / "band.tif"
            image(path, pixels[band], "EPSG:32624", *corner)
            packed.add(path, f"{LANDSAT}_{band}.TIF")
            path.unlink()
        (folder / "mtl").write_text("GROUP = L1_METADATA_FILE\n", "utf-8")
        packed.add(folder / "mtl", f"{LANDSAT}_MTL.txt")
    told = {"datetime": "2020-08-28T00:00:00", "bdc:tiles": ["217071"], "platform": "Landsat-8"}
    return item(folder, "LC8_DN-1", LANDSAT, archive, **told), pixels


def sentinel(folder):
    """Make a scene as ESA packs it, and give its pixels."""
    rng, pixels = np.random.default_rng(2), {}
    archive = folder / f"{SENTINEL}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for band, metres in METRES.items():
            pixels[band] = rng.integers(1, 20000, (4800 // metres,) * 2).astype("uint16")
            path = folder / "band.jp2"
            image(path, pixels[band], "EPSG:32723", 300000, 7400020, metres)
            packed.write(path, f"{GRANULE}/T23KLP_20230101T131249_{band}.jp2")
            path.unlink()
    told = {
        "datetime": "2023-01-01T13:12:49Z",
        "bdc:tiles": "23KLP",
        "orbitNumber": 30425,
        "datastripId": "S2B_OPER_MSI_L1C_DS_2BPS_20230101T150302_S20230101T131252_N05.09",
    }
    return item(folder, "S2_L1C_BUNDLE-1", SENTINEL, archive, **told), pixels


MAKERS = {"lc8_dn_1": landsat, "s2_l1c_bundle_n0400": sentinel}


@pytest.fixture(scope="module", params=MAKERS)
def scene(request, tmp_path_factory):
    """Give recipe, item and pixels of a scene."""
    folder = tmp_path_factory.mktemp("scene")
    return find_recipe(request.param), *MAKERS[request.param](folder)


@pytest.fixture
def clean(dc, scene):
    """Give an index with the scene's product, and without datasets of it."""
    product = scene[0].product
    add_products(dc, [product_document(product)])
    ids = [row.id for row in dc.index.datasets.search(product=product)]
    if ids:
        dc.index.datasets.archive(ids)
        dc.index.datasets.purge(ids)
    return dc


def check_pixels(dc, recipe, pixels):
    """Load each band as the cube's users do, on its own grid."""
    (dataset,) = dc.find_datasets(product=recipe.product)
    for name, wanted in pixels.items():
        grid = dataset.metadata_doc["grids"][
            dataset.metadata_doc["measurements"][name].get("grid", "default")
        ]
        assert grid["shape"] == list(wanted.shape)
        box = GeoBox(grid["shape"], Affine(*grid["transform"]), dataset.crs)
        loaded = dc.load(datasets=[dataset], measurements=[name], like=box)
        np.testing.assert_array_equal(loaded[name].values[0], wanted)


def test_from_an_archive_to_pixels(clean, scene):
    recipe, path, pixels = scene
    before = sorted(path.parent.iterdir())
    done = index_collection(clean, recipe, [path])
    assert (done.added, done.failed) == (1, [])
    assert sorted(path.parent.iterdir()) == before
    check_pixels(clean, recipe, pixels)
    assert index_collection(clean, recipe, [path]).unchanged == 1
    assert index_collection(clean, recipe, [path], verify="pixels").unchanged == 1


def test_documents_in_files_name_the_same_members(clean, scene, tmp_path):
    recipe, path, pixels = scene
    done = index_collection(clean, recipe, [path], out=tmp_path / "eo3")
    assert (done.added, done.failed) == (1, [])
    check_pixels(clean, recipe, pixels)


class _Ranges(SimpleHTTPRequestHandler):
    """Gives files in parts, as GDAL asks for them."""

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked or not path.is_file():
            super().do_GET()
            return
        content = path.read_bytes()
        start, end = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
        self.send_header("Content-Length", str(end - start + 1))
        self.end_headers()
        self.wfile.write(content[start : end + 1])

    def log_message(self, *_):
        pass


@pytest.fixture
def served(scene):
    """Give the address of the item's folder on a server."""
    handler = partial(_Ranges, directory=str(scene[1].parent))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_from_an_archive_on_a_server_to_pixels(clean, scene, served):
    recipe, path, pixels = scene
    done = index_collection(clean, recipe, [f"{served}/{path.name}"])
    assert (done.added, done.failed) == (1, [])
    check_pixels(clean, recipe, pixels)


def test_a_member_that_is_missing_is_one_failure(clean, scene, tmp_path):
    recipe, path, _ = scene
    document = json.loads(path.read_text("utf-8"))
    archive = path.parent / document["assets"]["asset"]["href"]
    document["assets"]["asset"]["href"] = str(archive)
    document["id"] = document["id"][:-1] + "9"
    other = tmp_path / "item.json"
    other.write_text(json.dumps(document), "utf-8")
    done = index_collection(clean, recipe, [other, path])
    assert done.added == 1
    (failure,) = done.failed
    reason = failure.reason
    assert reason.startswith(f"{archive}: has no member {document['id']}")
    assert "\n" not in reason


def test_a_cube_of_archives(dc, tmp_path):
    """A median of one scene is that scene, where it is clear."""
    recipe = find_recipe("lc8_dn_1")
    add_products(dc, [product_document(recipe.product)])
    path, pixels = landsat(tmp_path)
    done = index_collection(dc, recipe, [path])
    assert (done.restored + done.updated + done.added, done.failed) == (1, [])
    cube = CubeSpec.from_dict(
        {
            "name": "OF_ARCHIVES", "title": {"en": "Of archives"}, "license": "CC-BY-4.0",
            "platform": "landsat-8", "instrument": "oli", "sources": [{"product": recipe.product}],
            "description": {"en": "Median of Level 1"},
            "grid": {"name": "OWN", "crs": "EPSG:32624", "origin": [199485, -1650000],
                     "tile_size": [1800, 1800]},
            "resolution": 30, "extent": [199485, -1651800, 201285, -1650000],
            "timeline": {"schema": "Continuous", "step": 1, "unit": "month"}, "function": "MED",
            "quality": {"band": "BQA", "clear": [], "not_clear": [4], "nodata": 1, "bits": True},
            "measurements": ["B4", "BQA"],
        }
    )  # fmt: skip
    add_products(dc, [cube.to_product()])
    tasks = plan_cube(dc, cube, start=date(2020, 8, 1), end=date(2020, 8, 31))
    now = datetime(2026, 1, 1, tzinfo=UTC)
    report = build_cube(dc, tasks, tmp_path / "built", now=lambda: now)
    assert [f.reason for f in report.failed] == []
    assert report.built == 1
    (built,) = (tmp_path / "built").rglob("*_B4.tif")
    clear = pixels["BQA"] == 2720
    with rasterio.open(built) as src:
        found = src.read(1)
    assert 0.2 < clear.mean() < 0.5
    np.testing.assert_array_equal(found[clear], pixels["B4"][clear])
