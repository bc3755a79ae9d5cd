"""The CRSs of the Brazil Data Cube under the names that files and people give them."""

import json
from pathlib import Path

import pyproj
import pytest
import rasterio
import rasterio.crs
from odc.geo.crs import CRS

from odc_bdc import OdcBdcError
from odc_bdc.grid import BDC_CRS, BDC_MOSAIC_CRS, BDC_MOSAIC_PROJ, BDC_PROJ, normalise_crs

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
real = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"the folder of real scenes, {DATA.parent.name}/data, is not here"
)
COLLECTIONS = {"CB4_64_16D_STK-1": BDC_CRS, "CB4_64_16D_STK_VI-1": BDC_MOSAIC_CRS}

# As PROJ 9.7 writes EPSG:10857, which older ones cannot look up.
REGISTERED = """PROJCRS["SIRGAS 2000 / Brazil Albers",
  BASEGEOGCRS["SIRGAS 2000",
    DATUM["Sistema de Referencia Geocentrico para las AmericaS 2000",
      ELLIPSOID["GRS 1980",6378137,298.257222101,LENGTHUNIT["metre",1]]],
    PRIMEM["Greenwich",0,ANGLEUNIT["degree",0.0174532925199433]], ID["EPSG",4674]],
  CONVERSION["Brazil Albers", METHOD["Albers Equal Area",ID["EPSG",9822]],
    PARAMETER["Latitude of false origin",-12,ANGLEUNIT["degree",0.0174532925199433]],
    PARAMETER["Longitude of false origin",-54,ANGLEUNIT["degree",0.0174532925199433]],
    PARAMETER["Latitude of 1st standard parallel",-2,ANGLEUNIT["degree",0.0174532925199433]],
    PARAMETER["Latitude of 2nd standard parallel",-22,ANGLEUNIT["degree",0.0174532925199433]],
    PARAMETER["Easting at false origin",5000000,LENGTHUNIT["metre",1]],
    PARAMETER["Northing at false origin",10000000,LENGTHUNIT["metre",1]]],
  CS[Cartesian,2], AXIS["(E)",east,ORDER[1]], AXIS["(N)",north,ORDER[2]],
  LENGTHUNIT["metre",1], ID["EPSG",10857]]"""


@pytest.mark.parametrize(
    "crs",
    [
        BDC_CRS,
        REGISTERED,
        BDC_PROJ.replace("+lat_1=-2 +lat_2=-22", "+lat_1=-22 +lat_2=-2"),
        "EPSG:10857",
        "epsg:10857",
        " EPSG:10857 ",
        10857,
        "10857",
        "urn:ogc:def:crs:EPSG::10857",
        "urn:ogc:def:crs:EPSG:12.0:10857",
        "urn:x-ogc:def:crs:EPSG:10857",
        "http://www.opengis.net/def/crs/EPSG/0/10857",
        "https://www.opengis.net/def/crs/EPSG/0/10857",
        "http://www.opengis.net/gml/srs/epsg.xml#10857",
        "+init=epsg:10857",
        {"init": "epsg:10857"},
        rasterio.crs.CRS.from_epsg(4674).from_string(BDC_PROJ),
        "EPSG:100001",
        "SR-ORG:100001",
        "SRID=100001",
        "https://spatialreference.org/ref/sr-org/100001/",
        "100001",
        100001,
    ],
    ids=lambda crs: str(crs)[:40],
)
def test_names_of_the_bdc_crs(crs):
    assert normalise_crs(crs) is BDC_CRS


@pytest.mark.parametrize(("proj", "ours"), [(BDC_PROJ, BDC_CRS), (BDC_MOSAIC_PROJ, BDC_MOSAIC_CRS)])
def test_forms_in_which_programs_write_both(proj, ours):
    crs = pyproj.CRS(proj)
    pieces = dict(word[1:].split("=") for word in proj.split() if "=" in word)
    written = [
        proj,
        f"{proj} ",
        f"{proj} +type=crs",
        proj.replace("+ellps=GRS80", "+ellps=GRS80 +towgs84=0,0,0,0,0,0,0"),
        proj.replace("+ellps=GRS80", "+a=6378137 +rf=298.257222101"),
        crs,
        CRS(proj),
        crs.to_json(),
        crs.to_json_dict(),
        pieces,
        {**pieces, "no_defs": True, "type": "crs"},
        rasterio.crs.CRS.from_string(proj),
        rasterio.crs.CRS.from_string(proj).to_dict(),
        *(crs.to_wkt(v) for v in ("WKT1_GDAL", "WKT1_ESRI", "WKT2_2015", "WKT2_2019")),
    ]
    for form in written:
        assert normalise_crs(form) is ours, form


def test_the_two_are_not_the_same():
    assert BDC_CRS != BDC_MOSAIC_CRS
    to_metres = pyproj.Proj(BDC_MOSAIC_PROJ)
    assert to_metres(-54, 0) == pytest.approx((0, 0), abs=1e-6)


@pytest.mark.parametrize(
    "crs",
    [
        "EPSG:32631",
        "EPSG:4674",
        4326,
        "EPSG:28992",
        "urn:ogc:def:crs:OGC:1.3:CRS84",
        *(
            BDC_PROJ.replace(old, new)
            for old, new in (
                ("lat_0=-12", "lat_0=0"),
                ("x_0=5000000", "x_0=0"),
                ("lat_2=-22", "lat_2=-22.0001"),
                ("units=m", "units=km"),
                ("units=m", "units=us-ft"),
                ("ellps=GRS80", "ellps=GRS80 +pm=lisbon"),
                ("ellps=GRS80", "ellps=GRS80 +towgs84=-67,4,-38"),
                ("ellps=GRS80", "ellps=WGS84"),
                ("ellps=GRS80", "R=6378137"),
                ("proj=aea", "proj=lcc"),
            )
        ),
    ],
)
def test_other_crs_stays_itself(crs):
    found = normalise_crs(crs)
    assert found == CRS(crs)
    assert found not in (BDC_CRS, BDC_MOSAIC_CRS)


@pytest.mark.parametrize("crs", ["EPSG:0", "", None, {"type": "Feature"}, "Brazil"])
def test_what_is_no_crs_is_named(crs):
    with pytest.raises(OdcBdcError, match="is not a CRS"):
        normalise_crs(crs)


@real
@pytest.mark.parametrize("collection", COLLECTIONS)
def test_crs_of_real_files_and_their_items(collection):
    folder = DATA / collection / "v001"
    read = {path: normalise_crs(rasterio.open(path).crs) for path in folder.rglob("*.tif")}
    items = [json.loads(p.read_text("utf-8")) for p in folder.rglob("*.json")]
    said = [normalise_crs(item["properties"]["proj:wkt2"]) for item in items]
    assert len(read) >= 46
    assert len(said) >= 23
    assert all(crs is COLLECTIONS[collection] for crs in (*read.values(), *said))


@real
def test_proj_strings_of_recorded_stac():
    def strings(node):
        if isinstance(node, str):
            yield node
        elif isinstance(node, (dict, list)):
            for value in node.values() if isinstance(node, dict) else node:
                yield from strings(value)

    docs = [json.loads(p.read_text("utf-8")) for p in (DATA / "stac_items_bdc").glob("*.json")]
    found = [text for doc in docs for text in strings(doc) if text.startswith("+proj")]
    assert any(text.endswith(" ") for text in found)
    assert all(normalise_crs(text) is BDC_CRS for text in found)
