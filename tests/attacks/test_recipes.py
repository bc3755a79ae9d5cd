"""Attacks by recipes of live images: by who can write a dataset's document, or below the cubes.

Each recipe is put to the services by an anonymous GetMap, and to `dc.load` by both drivers. They
import nothing that only a release which holds against them has, so they can be tried on others.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import sys
import uuid
from datetime import date
from types import SimpleNamespace

import fsspec
import pytest
from answers import fetched
from builders import CLOCK, RECIPE, SPAN
from datacube.index.hl import Doc2Dataset
from file_server import FileServer
from small_index import own_index

from odc_bdc.building import ImageStore
from odc_bdc.cube import find_cube
from odc_bdc.errors import OdcBdcError, first_line
from odc_bdc.indexing import add_products, find_recipe, index_collection
from odc_bdc.live import RECIPE_SUFFIX
from odc_bdc.live.declaring import declare_cube
from odc_bdc.ows import start_server, update_ranges
from odc_bdc.planning import plan_cube
from odc_bdc.product import product_document
from odc_bdc.scenes import demo_extent, make_scenes

pytestmark = pytest.mark.integration

CUBE = "CB4_64_16D_STK_v1"
SIZE = 64
SECRET = "token-of-the-administrator"  # noqa: S105 (of nothing)
PLANTED = "from pathlib import Path\n\nPath({marker!r}).touch()\n"
WAYS = ["GetMap", "dc.load", "dc.load by odc-loader"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Bring up an index with live images, its services, and a server of the attacker."""
    home = tmp_path_factory.mktemp("home")
    outside, installed = tmp_path_factory.mktemp("outside"), tmp_path_factory.mktemp("installed")
    cube = find_cube(CUBE).patch(extent=demo_extent(SIZE))
    marker = outside / "marker"
    # Any package that is installed where the services run.
    (installed / "other_package.py").write_text(PLANTED.format(marker=str(marker)), "utf-8")
    with own_index(home, "attacks") as (index, dc), FileServer(outside) as attacker:
        make_scenes(home / "scenes", size=SIZE, start=date(2019, 12, 1), end=SPAN[1])
        ingest = find_recipe(RECIPE)
        add_products(dc, [product_document(ingest.product), cube.to_product()])
        assert index_collection(dc, ingest, [home / "scenes"]).failed == []
        tasks = plan_cube(dc, cube, *SPAN)
        store = ImageStore.open(home / "cubes")
        assert declare_cube(dc, tasks, store, now=CLOCK).failed == []
        update_ranges(dc)
        environ = _environ(attacker) | {
            "PYTHONPATH": os.pathsep.join(
                [str(installed), *filter(None, [os.environ.get("PYTHONPATH")])]
            )
        }
        log = home / "ows.log"
        with start_server(
            index, port=0, workers=1, log=log, environ=environ, timeout=600
        ) as server:
            yield SimpleNamespace(
                dc=dc, home=home, outside=outside, attacker=attacker, server=server,
                marker=marker, task=tasks[0], installed=installed,
            )  # fmt: skip


def _environ(attacker):
    """Give what a process has that reads: a secret, and servers of s3 that record who asks."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "ODC_"))}
    return own | {
        "ODC_BDC_STAC_TOKEN": SECRET,
        "AWS_ENDPOINT_URL": attacker.url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }


@pytest.fixture(autouse=True)
def _reader(place, monkeypatch):
    """Let this process read as the services do, and begin without traces."""
    for name in [n for n in os.environ if n.startswith(("AWS_", "ODC_"))]:
        monkeypatch.delenv(name)
    for name, value in _environ(place.attacker).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ODC_CONFIG_PATH", str(place.home / "datacube.conf"))
    monkeypatch.syspath_prepend(str(place.installed))
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    place.marker.unlink(missing_ok=True)
    place.attacker.asked.clear()
    yield
    sys.modules.pop("other_package", None)


def declared(place):
    """Give the dataset of the image that is attacked."""
    (found,) = (
        d
        for d in place.dc.index.datasets.search(product=CUBE)
        if d.metadata.region_code == place.task.tile_id
        and d.time.begin.date() == place.task.period.start
    )
    return found


def recipe_file(place):
    """Give the file of its recipe."""
    start, tile = place.task.period.start, place.task.tile_id
    (path,) = (place.home / "cubes" / "live").rglob(f"*{tile}_{start:%Y-%m-%d}*{RECIPE_SUFFIX}")
    return path


def hostile(place, **changes):
    """Give the recipe of the image as an attacker changes it."""
    return json.loads(recipe_file(place).read_text("utf-8")) | changes


def at(recipe, prefix):
    """Give a recipe whose scenes lie behind a prefix."""
    for scene in recipe["scenes"]:
        for name, band in scene["bands"].items():
            band["href"] = f"{prefix}/{name}.tif"
    return recipe


def put(folder, recipe, name="evil"):
    """Write a recipe; give its path, and the digest that a dataset would have of it."""
    path = folder / f"{name}-{uuid.uuid4().hex[:8]}{RECIPE_SUFFIX}"
    text = recipe if isinstance(recipe, bytes) else json.dumps(recipe).encode()
    path.write_bytes(text)
    return path, f"#sha256={hashlib.sha256(text).hexdigest()}"


def strike(place, way, path, say):
    """Point a dataset to a recipe, ask for its pixels, and see that nothing is done."""
    dc, victim = place.dc, declared(place)
    doc = copy.deepcopy(victim.metadata_doc) | {"id": str(uuid.uuid4())}
    doc["measurements"] = {
        name: {**told, "path": path} for name, told in doc["measurements"].items()
    }
    resolve = Doc2Dataset(dc.index, skip_lineage=True, verify_lineage=False, eo3=True)
    dataset, fault = resolve(doc, (place.outside / "evil.odc-metadata.yaml").as_uri())
    assert fault is None, fault
    dc.index.datasets.archive([victim.id])
    dc.index.datasets.add(dataset, with_lineage=False)
    try:
        answer, reason = asked(place, way)
    finally:
        dc.index.datasets.purge([dataset.id], allow_delete_active=True)
        dc.index.datasets.restore([victim.id])
    say("answer", f"{answer}: {reason}")
    assert answer in {"503", "refused"}, reason
    assert not place.marker.exists(), "a command was run"
    assert SECRET not in str(place.attacker.asked), "a secret was sent"
    assert "Traceback" not in reason
    return reason


def asked(place, way):
    """Ask for the image; give how that ended, and what the reader was told."""
    if way == "GetMap":
        return asked_of_services(place)
    driver = "odc_bdc.live.Driver" if "odc-loader" in way else None
    try:
        place.dc.load(datasets=[declared(place)], like=place.task.geobox, driver=driver)
    except OdcBdcError as e:
        return "refused", first_line(e)
    except Exception as e:  # noqa: BLE001 (shown by the test that fails)
        return "failed", repr(e)
    return "pixels", "were given"


def asked_of_services(place):
    """Ask for a map as anybody may; what its reader was told stands in the log."""
    box = place.task.geobox
    query = {
        "service": "WMS", "version": "1.3.0", "request": "GetMap", "layers": CUBE,
        "crs": "EPSG:10857", "bbox": ",".join(str(v) for v in box.boundingbox.bbox),
        "width": box.shape.x, "height": box.shape.y, "format": "image/png",
        "time": place.task.period.start.isoformat(), "styles": "true_colour",
    }  # fmt: skip
    before = len(place.server.log.read_text("utf-8"))
    answer = fetched(place.server.url, "/wms", query)
    assert str(place.home).encode() not in answer.body
    log = place.server.log.read_text("utf-8")[before:]
    lines = [line for line in log.splitlines() if "cannot read a live image" in line]
    if answer.status == 503:
        assert answer.headers["Cache-Control"] == "no-store"
    return str(answer.status), lines[0].partition("cannot read a live image")[2] if lines else log


ways = pytest.mark.parametrize("way", WAYS)


@ways
def test_a_command_as_signer(place, way, record_property):
    """A recipe below the cubes names os.system as what signs addresses."""
    host = "http://127.0.0.1:9"
    recipe = at(
        hostile(place, access={f"{host}/": {"sign": "os:system"}}),
        f"{host}/;touch${{IFS}}{place.marker};",
    )
    path, digest = put(place.home / "cubes", recipe)
    assert "access" in strike(place, way, path.as_uri() + digest, record_property)


@ways
@pytest.mark.parametrize("mask", ["other_package:clouds", "other_package", "os:system"])
def test_code_as_mask(place, way, mask, record_property):
    """The cube of a recipe names a function of any module as its mask."""
    recipe = hostile(place)
    recipe["cube"]["mask"] = mask
    path, digest = put(place.home / "cubes", recipe)
    assert "mask" in strike(place, way, path.as_uri() + digest, record_property)


@ways
def test_a_secret_of_the_reader(place, way, record_property):
    """A recipe lets the token of another server be sent to the host of its scenes."""
    rule = {"token": "ODC_BDC_STAC_TOKEN", "sent_as": "query"}
    recipe = at(hostile(place, access={f"{place.attacker.url}/": rule}), place.attacker.url)
    path, digest = put(place.home / "cubes", recipe)
    assert "access" in strike(place, way, path.as_uri() + digest, record_property)
    assert place.attacker.asked == []


@ways
def test_the_token_of_an_administrator_goes_to_its_host_only(
    place, way, record_property, monkeypatch
):
    """A recipe whose scenes lie with the attacker is read where rules of access are set."""
    rules = place.home / "access.yaml"
    rules.write_text("https://data.example.org/: {token: ODC_BDC_STAC_TOKEN}\n", "utf-8")
    monkeypatch.setenv("ODC_BDC_ACCESS", str(rules))
    path, digest = put(place.home / "cubes", at(hostile(place), place.attacker.url))
    strike(place, way, path.as_uri() + digest, record_property)


@ways
def test_a_folder_as_knowledge(place, way, record_property):
    """A recipe names any folder of the reader as what is known of scenes."""
    recipe = hostile(place, knowledge=str(place.outside))
    path, digest = put(place.home / "cubes", recipe)
    assert "knowledge" in strike(place, way, path.as_uri() + digest, record_property)


@ways
def test_a_recipe_on_a_server(place, way, record_property):
    """A dataset's recipe lies with the attacker, on a server of http."""
    path, digest = put(place.outside, hostile(place))
    url = f"{place.attacker.url}/{path.name}"
    assert "disks and buckets" in strike(place, way, url + digest, record_property)
    assert place.attacker.asked == []


@ways
def test_a_recipe_in_a_bucket(place, way, record_property):
    """A dataset's recipe lies in a bucket that nobody named."""
    path, digest = put(place.outside, hostile(place))
    url = f"s3://bucket/{path.name}"
    assert "ODC_BDC_ROOTS" in strike(place, way, url + digest, record_property)
    assert place.attacker.asked == []


def _plainly(place, path):
    return path.as_uri()


def _dots(place, path):
    return f"{place.home.as_uri()}/cubes/../../{place.outside.name}/{path.name}"


def _coded_dots(place, path):
    return f"{place.home.as_uri()}/%2e%2e/{place.outside.name}/{path.name}"


def _link(place, path):
    link = place.home / "cubes" / path.name
    link.symlink_to(path)
    return link.as_uri()


def _linked_folder(place, path):
    link = place.home / "cubes" / f"link-{path.stem}"
    link.symlink_to(path.parent)
    return f"{link.as_uri()}/{path.name}"


def _host(place, path):
    return f"file://localhost{path}"


@ways
@pytest.mark.parametrize("how", [_plainly, _dots, _coded_dots, _link, _linked_folder, _host])
def test_a_recipe_elsewhere_on_the_disk(place, way, how, record_property):
    """A dataset's recipe lies on the reader's disk, outside of the cubes."""
    path, digest = put(place.outside, hostile(place))
    url = how(place, path)
    assert "ODC_BDC_ROOTS" in strike(place, way, url + digest, record_property)


@ways
def test_a_recipe_that_is_changed(place, way, record_property):
    """Somebody who can write below the cubes changes a recipe that was declared."""
    recipe = recipe_file(place)
    text = recipe.read_bytes()
    (told,) = {m["path"] for m in declared(place).metadata_doc["measurements"].values()}
    digest = f"#{told.partition('#')[2]}" if "#" in told else ""
    path, _ = put(place.home / "cubes", text.replace(b'"fail"', b'"skip"'))
    reason = strike(place, way, path.as_uri() + digest, record_property)
    assert "is not the recipe that was declared: `odc-bdc cube declare`" in reason


@ways
def test_a_recipe_without_digest(place, way, record_property):
    """A dataset does not say which text its recipe has."""
    path, _ = put(place.home / "cubes", hostile(place))
    reason = strike(place, way, path.as_uri(), record_property)
    assert "`odc-bdc cube declare`" in reason


@ways
def test_lines_of_the_log(place, way, record_property):
    """A dataset's recipe has a name with line breaks, which would be lines of the log."""
    url = f"https://127.0.0.1:9/x\nERROR all is lost\x1b[2J{RECIPE_SUFFIX}"
    reason = strike(place, way, url + "#sha256=" + "0" * 64, record_property)
    assert "all is lost" in reason
    assert "\x1b" not in reason


@ways
def test_what_was_declared_is_served(place, way):
    """Nothing: the image itself is given, before and after all others."""
    answer, reason = asked(place, way)
    assert answer in {"200", "pixels"}, reason
