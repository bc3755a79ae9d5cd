"""Whether what is patched is still wrong upstream: a test that fails says which patch may go."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest

from odc_bdc.ows.patches import PATCHES

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

def one_geometry():
    from datacube.storage import _read
    return not hasattr(_read.compute_reproject_roi, "cache_info")

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

def overviews():
    from datacube_ows.loading import DataStacker
    import datacube
    fine, coarse = (SimpleNamespace(id=name) for name in ("fine", "coarse"))
    layer = SimpleNamespace(
        products=[fine], low_res_products=[coarse], data_manual_merge=False, fuse_func=None
    )
    asked = []
    search = lambda layer, times, geom, products: asked.extend(products) or []
    layer.ows_index = lambda: SimpleNamespace(ds_search=search)
    style = SimpleNamespace(product=layer, needed_bands=["red"], flag_products=[])
    stacker = SimpleNamespace(style=style, resource_limited=True, _layer=layer, _times=[])
    stacker._geobox, stacker.group_by = SimpleNamespace(extent=None), None
    datacube.Datacube.group_datasets = staticmethod(lambda *a: None)
    DataStacker.datasets(stacker)
    return asked == [fine]

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
NAMES = [patch.name for patch in PATCHES]


@pytest.fixture(scope="module")
def still_wrong():
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROBES],
        input=json.dumps(NAMES),
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", NAMES)
def test_the_fault_is_still_there(still_wrong, name):
    assert still_wrong[name], f"upstream has mended what the patch {name} is for: take it out"


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.name)
def test_the_patch_was_tried_with_this_version(patch):
    assert version(patch.package).startswith(patch.versions)
