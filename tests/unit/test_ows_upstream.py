"""Other packages: whether what is mended is still wrong, and what is known of them.

A test of the first kind that fails says which patch, or which code of ours, may go.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
from datacube.cfg import ODCConfig, psql_url_from_config
from datacube.drivers.indexes import index_driver_by_name
from datacube.index.postgis._products import ProductResource

from odc_bdc import plain_datacube
from odc_bdc.document_fields import FieldwiseReader
from odc_bdc.errors import UnpatchedError
from odc_bdc.ows import patches, upstream
from odc_bdc.ows.patches import (
    ACCEPT_VARIABLE,
    INSTALL,
    PATCHES,
    check_patches,
    unknown_patches,
)
from odc_bdc.ows.search import CompleteIndex
from odc_bdc.patching import Change, digest_of
from odc_bdc.services_driver import NAME, services_environment

UPSTREAM = Path(__file__).resolve().parents[2] / "docs" / "upstream"

# Each says whether the fault is still there; in a process without the patches.
PROBES = """
import inspect, json, math
from types import SimpleNamespace

def epsg_memo():
    from odc.geo.crs import CRS
    proj = "+proj=aea +lat_0=-12 +lon_0=-54 +lat_1=-2 +lat_2=-22 +ellps=GRS80 +units=m"
    CRS(proj).to_epsg()
    asked = []
    again = CRS(proj)
    again._crs = SimpleNamespace(to_epsg=lambda *a, **k: asked.append(1))
    again.to_epsg()
    return bool(asked)

def one_field():
    from datacube.utils.documents import DocReader
    read = []
    field = lambda name: SimpleNamespace(extract=lambda doc: read.append(name), can_extract=True)
    DocReader({}, {"a": field("a"), "b": field("b")}, {}).a
    return "b" in read

def quiet_errors():
    from datacube_ows.ogc_exceptions import WCS2Exception
    try:
        WCS2Exception("x").exception_response(None, traceback=["a line of a traceback"])
    except ValueError:
        return True
    return False

def complete_search():
    from datetime import datetime
    from datacube_ows.index.postgis.api import OWSPostgisIndex
    query = OWSPostgisIndex()._query(None, [datetime(2020, 1, 1), datetime(2021, 1, 1)])
    return query["time"].end.year == 2020

def wide_views():
    from datacube_ows.resource_limits import RequestScale
    scale = SimpleNamespace(scale_denominator=math.inf)
    try:
        RequestScale.base_zoom_level.fget(scale)
    except ValueError:
        return True
    return False

def read_errors():
    from datacube_ows.loading import DataStacker
    return inspect.signature(DataStacker.read_data).parameters["skip_broken"].default is True

def describe_grids():
    from ows.gml import Grid, IrregularAxis, RegularAxis
    from ows.gml.v32 import encode_grid
    axis = RegularAxis("x", "i", 0, 10, 1, "m", 10)
    element = encode_grid(Grid([axis, axis], "EPSG:3857"), "id")
    return not any(child.tag.endswith("Point") for child in element.iter())

def latest_coverage():
    from datacube_ows import wcs2_utils
    return "times = layer.ranges.times" in inspect.getsource(wcs2_utils.get_coverage_data)

def band_intervals():
    from datacube_ows import wcs2_utils
    return "if end > start else (end - 1)" in inspect.getsource(wcs2_utils.get_coverage_data)

def valid_wcs_2():
    from datacube_ows import wcs2
    from ows.common.types import WGS84BoundingBox
    from ows.wcs.v20.encoders import encode_wgs84_bounding_box
    box = encode_wgs84_bounding_box(WGS84BoundingBox([0, 0, 1, 1]))
    nobody = 'provider_name=""' in inspect.getsource(wcs2)
    return "dimension" in box.attrib and nobody

def keyword_order():
    from datacube_ows.config_utils import OWSMetadataConfig
    return type(OWSMetadataConfig.keywords.fget(SimpleNamespace(_keywords={"a"}))) is set

def tile_size():
    from datacube_ows import wmts
    return '"width": 256' in inspect.getsource(wmts.wmts_args_to_wms)

def quick_png():
    import numpy as np, xarray as xr
    from datacube_ows.data import xarray_image_as_png
    bands = {n: (("y", "x"), np.zeros((9, 9), np.uint8)) for n in ("red", "green", "blue")}
    png = xarray_image_as_png(xr.Dataset(bands, {"x": range(9), "y": range(9)}))
    return b"PLTE" not in png

names = json.loads(input())
print(json.dumps({name: globals()[name]() for name in names}))
"""
PATCHED = [patch.name for patch in PATCHES]
AROUND = {
    "one_field": "odc_bdc.document_fields.FieldwiseReader",
    "quiet_errors": "odc_bdc.ows.services.refused",
    "complete_search": "odc_bdc.ows.search.CompleteIndex",
    "describe_grids": "odc_bdc.ows.describe",
    "latest_coverage": "odc_bdc.ows.services._coverage_2",
    "band_intervals": "odc_bdc.ows.services._coverage_2",
    "valid_wcs_2": "odc_bdc.ows.wcs_capabilities.valid_wcs_2",
    "keyword_order": "odc_bdc.ows.wcs_capabilities.ordered_wcs_1",
    "tile_size": "odc_bdc.ows.tiles.map_of_tile",
}
"""Faults that are gone around without a patch, and by what."""


def run(program, *, stdin="", folder=None, **variables):
    """Run a program in a process of its own; other packages may lie in a folder before ours."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("ODC_", "DATACUBE_"))}
    environ |= {"PYTHONPATH": str(folder)} if folder else {}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        input=stdin,
        env=environ | variables,
        cwd=folder,  # nothing is left in the tree
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def still_wrong():
    process = run(PROBES, stdin=json.dumps([*PATCHED, *AROUND]))
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", PATCHED)
def test_the_fault_is_still_there(still_wrong, name):
    assert still_wrong[name], f"upstream has mended what the patch {name} is for: take it out"


@pytest.mark.parametrize("name", AROUND)
def test_what_is_gone_around_is_still_wrong(still_wrong, name):
    assert still_wrong[name], f"upstream has mended {name}: {AROUND[name]} may go"


def test_there_are_few_patches_and_each_has_a_page_for_upstream():
    everywhere = {"unindexed_ranges", "crs_without_code"}
    assert {change.wrap.__name__ for change in plain_datacube.changes()} <= {
        "_by_value",
        "_with_code",
    }
    # The second is for the PROJ of Python 3.11 only.
    assert len(PATCHES) + 1 <= 5
    pages = {path.stem[3:].replace("-", "_") for path in UPSTREAM.glob("[0-9]*.md")}
    assert pages == {*PATCHED, *everywhere}


def test_the_patches_fit_what_is_installed():
    program = "from odc_bdc.ows.patches import unknown_patches; print(unknown_patches())"
    assert run(program).stdout == "[]\n"


def test_the_digest_is_of_what_is_done_and_not_of_how_it_is_written(tmp_path, monkeypatch):
    same = "def f(a):\n    return a + 1\n"
    variants = {
        "plain": same,
        "commented": 'def f(a):\n    """Add."""\n    # one\n    return (a +\n            1)\n',
        "decorated": f"from functools import cache\n@cache\n{same}",
        "other": same.replace("1", "2"),
    }
    monkeypatch.syspath_prepend(tmp_path)
    found = {}
    for name, text in variants.items():
        (tmp_path / f"made_{name}.py").write_text(text)
        found[name] = digest_of(importlib.import_module(f"made_{name}").f)
    assert found["plain"] == found["commented"]
    assert len(set(found.values())) == 3


def test_a_change_knows_when_its_target_is_another_or_gone(tmp_path, monkeypatch):
    (tmp_path / "made_target.py").write_text("class A:\n    def f(self):\n        return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    made = importlib.import_module("made_target")
    known = (digest_of(made.A.f),)

    def change(target):
        return Change(target, known, lambda old: lambda self: old(self) + 1)

    assert change("made_target:A.f").is_known()
    change("made_target:A.f").apply()
    assert made.A().f() == 2
    assert not change("made_target:A.f").is_known()
    for gone in ("made_target:A.g", "made_target:B.f", "made_nothing:f"):
        assert not change(gone).is_known()


def test_a_patch_that_does_not_fit_is_told_in_one_line(monkeypatch):
    patch = PATCHES[0]
    other = replace(patch, name="made", changes=(replace(patch.changes[0], known=("0",)),))
    monkeypatch.setattr(patches, "PATCHES", (other,))
    with pytest.raises(UnpatchedError) as told:
        check_patches()
    line = str(told.value)
    assert "\n" not in line
    assert f"{patch.package} {version(patch.package)} cannot be served" in line
    for wanted in (INSTALL[patch.package], "--accept-unpatched", patch.without, "CRS.to_epsg"):
        assert wanted in line
    check_patches(accept_unpatched=True)
    assert unknown_patches() == [other]


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """Give a folder with a datacube-ows in which one function differs."""
    folder = tmp_path_factory.mktemp("changed")
    there = Path(importlib.import_module("datacube_ows").__file__).parent
    shutil.copytree(there, folder / "datacube_ows", ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / "datacube_ows" / "loading.py"
    text = file.read_text("utf-8")
    assert text.count("skip_broken_datasets=skip_broken,") == 1
    file.write_text(text.replace("=skip_broken,", "=not skip_broken,"), "utf-8")
    return folder


WSGI = "import odc_bdc.ows.wsgi; print('made')"
CLI = "import sys; from odc_bdc.cli import main; sys.argv[1:] = {}; main()"


@pytest.mark.parametrize(
    "program",
    [WSGI, CLI.format(["ows", "serve", "--home", "nowhere"]), CLI.format(["doctor"])],
    ids=["wsgi", "serve", "doctor"],
)
def test_a_datacube_ows_that_differs_is_not_served(changed, tmp_path, program):
    process = run(program, folder=changed, ODC_BDC_HOME=str(tmp_path))
    assert process.returncode
    told = [x for x in (process.stdout + process.stderr).splitlines() if "cannot be served" in x]
    assert len(told) == 1
    assert f"datacube-ows {version('datacube-ows')}" in told[0]
    assert "DataStacker.read_data" in told[0]
    assert "as if it had no data" in told[0]
    assert f"datacube-ows=={INSTALL['datacube-ows']}" in told[0]
    assert "Traceback" not in process.stderr
    assert "made" not in process.stdout


def test_whoever_accepts_its_faults_gets_past_that(changed, tmp_path):
    process = run(WSGI, folder=changed, ODC_CONFIG_PATH=str(tmp_path), **{ACCEPT_VARIABLE: "1"})
    assert "datacube-ows is not patched: a file that cannot be read" in process.stderr
    assert "cannot be served" not in process.stderr
    # It looks for an index next.
    assert "No configuration file found" in process.stderr


def test_the_services_search_by_an_index_of_their_own():
    section = {"index_driver": "postgis", "db_url": "postgresql://me:secret@db/cube"}
    config = ODCConfig(raw_dict={"cube": {**section, "db_connection_timeout": 7}})
    made = services_environment(config["cube"])
    assert (made._name, made.index_driver) == ("cube", NAME)
    assert (made.db_url, made.db_connection_timeout) == (section["db_url"], 7)
    parts = {"db_hostname": "db", "db_database": "cube", "db_username": "me", "db_port": 5433}
    config = ODCConfig(raw_dict={"cube": {"index_driver": "postgis", **parts}})
    made = services_environment(config["cube"])
    assert psql_url_from_config(made) == "postgresql+psycopg2://me@db:5433/cube"
    assert type(index_driver_by_name(NAME)).__name__ == "ServicesDriver"
    assert type(upstream.ows_index_driver_by_name(NAME).ows_index()) is CompleteIndex


def test_an_environment_without_postgis_stays_as_it_is():
    other = ODCConfig(raw_dict={"cube": {"index_driver": "memory"}})["cube"]
    assert services_environment(other) is other


def test_the_products_of_an_index_of_the_services_are_read_once(monkeypatch):
    read = []
    known = iter([(), ("a", "b"), ("c",)])

    def get_all(self):
        read.append(1)
        return next(known)

    monkeypatch.setattr(ProductResource, "get_all", get_all)
    database = SimpleNamespace()
    index = index_driver_by_name(NAME).index_class()(database, None)
    assert list(index.products.get_all()) == []  # there may be some later
    assert [list(index.products.get_all()) for _ in range(3)] == [["a", "b"]] * 3
    assert len(read) == 2


def test_one_field_of_a_document_is_read_alone():
    read = []

    def field(name):
        return SimpleNamespace(extract=lambda doc: read.append(name) or doc[name], can_extract=True)

    doc = {"id": "x", "a": 1, "b": 2}
    reader = FieldwiseReader({"id": ["id"]}, {"a": field("a"), "b": field("b")}, doc)
    assert (reader.id, reader.a) == ("x", 1)
    assert read == ["a"]
    with pytest.raises(AttributeError, match="Unknown field 'c'"):
        reader.c  # noqa: B018 (it raises)


def test_a_search_that_is_not_known_is_left_as_it_is(monkeypatch):
    from datacube.drivers.postgis._fields import NumericDocField

    def between(self, low, high):
        return low, high

    monkeypatch.setattr(NumericDocField, "between", between)
    plain_datacube.index_driver()
    assert NumericDocField.between is between


def test_all_that_the_adapter_names_is_there():
    assert all(hasattr(upstream, name) for name in upstream.__all__)


@pytest.mark.parametrize(
    ("path", "query", "wanted"),
    [
        ("/wms", {}, ("wms", "1.3.0")),
        ("/wms", {"version": "1.1.1"}, ("wms", "1.3.0")),
        ("/wmts", {"service": "WMTS"}, ("wmts", "1.0.0")),
        ("/wcs", {"version": "1.0.0"}, ("wcs", "1.0.0")),
        ("/wcs", {"version": "2.0.1"}, ("wcs", "2.0.0")),
        ("/wcs", {}, ("wcs", "2.1.0")),
        ("/", {"service": "wms"}, ("wms", "1.3.0")),
        ("/", {"request": "GetMap"}, ("wms", "1.3.0")),
        ("/", {"request": "DescribeCoverage"}, ("wcs", "2.1.0")),
        ("/wms", {"service": "WCS"}, "Invalid service"),
        ("/", {"service": "WPS"}, "Invalid service"),
        ("/", {"request": "GetTile"}, "Invalid service and/or request"),
    ],
)
def test_the_service_of_a_request(path, query, wanted):
    cfg = SimpleNamespace(wms=True, wmts=True, wcs=True)
    if isinstance(wanted, tuple):
        assert upstream.service_of_request(cfg, path, query)[:2] == wanted
        return
    with pytest.raises(upstream.OGCException) as told:
        upstream.service_of_request(cfg, path, query)
    assert told.value.errors[0]["msg"].startswith(wanted)


def test_a_service_that_is_not_active_is_refused():
    cfg = SimpleNamespace(wms=True, wmts=True, wcs=False)
    with pytest.raises(upstream.OGCException):
        upstream.service_of_request(cfg, "/wcs", {})
