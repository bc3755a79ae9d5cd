"""From a source over the index to pixels: servers, folders without STAC, what a search covers."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from file_server import served_apart
from odc.geo.geobox import GeoBox
from stac_server import StacServer

from odc_bdc import OdcBdcError
from odc_bdc.grid import BDC_CRS
from odc_bdc.indexing import IngestRecipe, Search, add_products, find_recipe, index_collection
from odc_bdc.product import product_document
from odc_bdc.scenes import make_scenes

RECIPE = find_recipe("cb4_wfi_l4_sr")
BANDS = ["BAND13", "BAND16", "CMASK"]


HOSTS = ["127.0.0.0/8"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Serve a folder: items of a server name no files of this machine."""
    folder = tmp_path_factory.mktemp("scenes")
    with served_apart(folder) as url:
        yield folder, url


@pytest.fixture(scope="module")
def items(files):
    """Give the items of made scenes, with absolute hrefs, as a server has them."""
    root, url = files
    report = make_scenes(
        root, size=32, tiles=("007004", "008004"), start=date(2020, 1, 1), end=date(2020, 1, 31)
    )
    out = []
    for path in sorted(report.items):
        item = json.loads(path.read_text("utf-8"))
        for asset in item["assets"].values():
            file = (path.parent / asset["href"]).resolve().relative_to(root.resolve())
            asset["href"] = f"{url}/{file.as_posix()}"
        out.append(item)
    return out


@pytest.fixture
def clean(dc):
    """Give an index without visible scenes, with the product."""
    add_products(dc, [product_document(RECIPE.product)])
    ids = [row.id for row in dc.index.datasets.search(product=RECIPE.product)]
    if ids:
        dc.index.datasets.archive(ids)
        dc.index.datasets.purge(ids)
    return dc


def command(index, *arguments):
    environ = {k: v for k, v in os.environ.items() if not k.startswith("ODC_")}
    environ |= {"ODC_CONFIG_PATH": str(index.config_path), "ODC_BDC_HOSTS": HOSTS[0]}
    return subprocess.run(
        list(map(str, arguments)), env=environ, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("style", ["1.0", "0.9"])
def test_from_an_api_to_pixels(clean, index, items, style, monkeypatch):
    # The server of files answers what GDAL asks for pixels, but not for headers alone.
    monkeypatch.setenv("CPL_VSIL_CURL_USE_HEAD", "NO")
    program = Path(sys.executable).with_name("odc-bdc")
    with StacServer(items, style) as server:
        server.most = 5
        server.faults = ["503", None, "dropped", "429", None]
        done = command(
            index, program, "index", RECIPE.name, server.url, "--home", index.config_path.parent
        )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["status"] for line in done.stdout.splitlines()] == ["added"] * len(
        items
    )
    assert done.stderr.splitlines()[-1] == f"{len(items)} added"
    datacube = Path(sys.executable).with_name("datacube")
    found = command(
        index, datacube, "-E", "default", "dataset", "search", f"product={RECIPE.product}"
    )
    assert found.returncode == 0, found.stderr
    assert all(item["id"] in found.stdout for item in items)

    item = items[3]
    dataset = next(
        d for d in clean.find_datasets(product=RECIPE.product) if d.metadata.label == item["id"]
    )
    loaded = clean.load(datasets=[dataset], measurements=BANDS)
    for band in BANDS:
        with rasterio.open(item["assets"][band]["href"]) as src:
            np.testing.assert_array_equal(loaded[band].values[0], src.read(1))


def test_what_an_api_lost_is_archived_where_the_search_reaches(clean, items):
    with StacServer(items) as server:
        for item in items:
            href = f"{server.url}/collections/x/{item['id']}"
            item["links"] = [{"rel": "self", "href": href}]
        assert index_collection(clean, RECIPE, [server.url], hosts=HOSTS).added == len(items)
        first, second = (
            next(i for i in items if f"_{t}_" in i["id"]) for t in ("007004", "008004")
        )
        server.items = [i for i in items if i not in (first, second)]
        tile = Search(tile="007004")
        planned = index_collection(
            clean, RECIPE, [server.url], tile, archive_missing=True, dry_run=True, hosts=HOSTS
        )
        assert planned.archived == 1
        done = index_collection(
            clean, RECIPE, [server.url], tile, archive_missing=True, hosts=HOSTS
        )
        assert (done.archived, done.failed) == (1, [])
        left = {d.metadata.label for d in clean.find_datasets(product=RECIPE.product)}
        assert left == {i["id"] for i in items} - {first["id"]}
        # An archived one that is back is seen again.
        server.items = items
        again = index_collection(clean, RECIPE, [server.url], hosts=HOSTS)
        assert (again.restored, again.unchanged) == (1, len(items) - 1)
        # A server that breaks off has not lost anything.
        server.items = [first]
        server.most = 1
        server.items.append(second)
        server.faults = [None, *["404"] * 3]
    with pytest.raises(OdcBdcError):
        index_collection(clean, RECIPE, [server.url], archive_missing=True, hosts=HOSTS)
    assert len(clean.find_datasets(product=RECIPE.product)) == len(items)


def test_a_run_that_was_killed_goes_on_at_its_page(clean, items, tmp_path):
    state = tmp_path / "state.json"
    seen = []

    def stop_in_the_third_batch(record):
        seen.append(record.item)
        if len(seen) == 11:
            raise KeyboardInterrupt

    with StacServer(items) as server:
        server.most = 4
        with pytest.raises(KeyboardInterrupt):
            index_collection(
                clean,
                RECIPE,
                [server.url],
                resume=state,
                batch=4,
                report=stop_in_the_third_batch,
                hosts=HOSTS,
            )
        assert state.is_file()
        asked = len(server.asked)
        rest = index_collection(clean, RECIPE, [server.url], resume=state, batch=4, hosts=HOSTS)
        # Two batches, which are two pages, were done; the third was in the index, and maybe more.
        assert rest.added + rest.unchanged == len(items) - 8
        assert rest.unchanged >= 4
        assert len(server.asked) > asked
    assert not state.exists()
    assert len(clean.find_datasets(product=RECIPE.product)) == len(items)


def test_scenes_of_a_sibling_product_are_passed_over(clean, items):
    recipe = IngestRecipe.from_dict(
        {
            "collection": RECIPE.collection,
            "product": RECIPE.product,
            "assets": ["BAND13", "BAND14", "BAND15", "BAND16", "CMASK"],
            "where": {"bdc:tiles": "nowhere", "platform": "other"},
        },
        "half",
    )
    with StacServer(items) as server:
        done = index_collection(clean, recipe, [server.url], hosts=HOSTS)
    assert not done.counts
    with pytest.raises(OdcBdcError, match="names no source: give one"):
        index_collection(clean, recipe)
    assert clean.find_datasets(product=RECIPE.product) == []


def test_folder_without_stac_becomes_datasets(dc, tmp_path):
    recipe = find_recipe("cb4_64_16d_stk_1")
    product = product_document(recipe.product)
    add_products(dc, [product])
    folder = tmp_path / "CB4_64_16D_STK/v001/021027/2020-07-11_2020-07-26"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    box = GeoBox((20, 20), Affine(64, 0, 5e6, 0, -64, 9e6), BDC_CRS)
    pixels = {}
    for m in product["measurements"]:
        name = f"CB4_64_16D_STK_v001_021027_2020-07-11_2020-07-26_{m['name']}.tif"
        pixels[m["name"]] = rng.integers(1, 100, (20, 20)).astype(m["dtype"])
        if m["name"] == "CMASK":
            pixels["CMASK"][:] = 127
        with rasterio.open(
            folder / name, "w", driver="GTiff", count=1, height=20, width=20, dtype=m["dtype"],
            nodata=m["nodata"], crs=BDC_CRS.to_wkt(), transform=box.affine,
        ) as out:  # fmt: skip
            out.write(pixels[m["name"]], 1)
    done = index_collection(dc, recipe, [tmp_path])
    assert (done.added, done.failed) == (1, [])
    (dataset,) = dc.find_datasets(product=recipe.product)
    loaded = dc.load(datasets=[dataset], like=box)
    for name, wanted in pixels.items():
        np.testing.assert_array_equal(loaded[name].values[0], wanted)
    assert index_collection(dc, recipe, [tmp_path]).unchanged == 1


def test_links_and_files_lie_at_hosts_that_are_named(clean, items):
    """A dry run follows no link elsewhere either; where a recipe has hosts, files lie there."""
    elsewhere = json.loads(json.dumps(items))
    for item in elsewhere:
        for asset in item["assets"].values():
            asset["href"] = f"https://assets.example/{Path(asset['href']).name}"
    with StacServer(elsewhere) as server:
        server.most = 1
        server.next_link = lambda *_: {"rel": "next", "href": "http://10.0.0.1/"}
        told = index_collection(clean, RECIPE, [server.url], dry_run=True, verify="none")
        assert (told.added, len(told.failed)) == (1, 1)
        assert "10.0.0.1 is not asked" in told.failed[0].reason
        server.next_link = None
        server.most = 10_000
        strict = replace(RECIPE, hosts=("other.example",))
        told = index_collection(clean, strict, [server.url], dry_run=True, verify="none")
        assert (told.added, len(told.failed)) == (0, len(items))
        assert "assets.example is not asked" in told.failed[0].reason
        strict = replace(RECIPE, hosts=("assets.example",))
        told = index_collection(clean, strict, [server.url], dry_run=True, verify="none")
        assert (told.added, told.failed) == (len(items), [])
