"""Product documents: they say of INPE's collections what was recorded, and masks read their flags.

The numbers come from USGS's, ESA's and NASA's tables and from recorded STAC documents.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from datacube.api.core import output_geobox
from datacube.model import Product
from datacube.utils.masking import (
    describe_variable_flags,
    make_mask,
    mask_invalid_data,
    mask_to_dict,
)
from eodatasets3.validate import validate_product

from odc_bdc import bdc_grid
from odc_bdc.grid import BDC_CRS, normalise_crs
from odc_bdc.product import shipped_products

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
RECORDED = DATA / "stac_items_bdc"
# As a database gives them: through JSON, so that the keys of flag values are text.
DOCUMENTS = shipped_products()
PRODUCTS = json.loads(json.dumps(DOCUMENTS))

needs_data = pytest.mark.skipif(
    not RECORDED.is_dir(),
    reason=f"the folder of recorded items, {DATA.parent.name}/data, is absent",
)

SCENES = {
    "CB4_WFI_L4_SR_1", "CB4A_WFI_L4_SR_1", "CB4_MUX_L4_SR_1", "LC8_SR_1",
    "landsat_2_oli", "landsat_2_etm", "landsat_2_tm", "S2_L2A_1", "S2_L2A_1_N0400", "MOD13Q1_6",
    "LC8_DN_1", "S2_L1C_BUNDLE_1", "S2_L1C_BUNDLE_1_N0400",
}  # fmt: skip
# Where a tile lies and how many pixels it has; the V1 sizes are those of recorded rasters.
PUBLISHED = {
    "CB4_64_16D_STK_1": ("BDC_LG_V1", 64, "021027", (10504, 6865)),
    "CB4_64_16D_STK_1_SR": ("BDC_LG_V1", 64, "021027", (10504, 6865)),
    "CB4_64_1": ("BDC_LG_V1", 64, "021027", (10504, 6865)),
    "LC8_30_1": ("BDC_MD_V1", 30, "044049", (11204, 7324)),
    "S2_10_1": ("BDC_SM_V1", 10, "078086", (16806, 10986)),
    "LC8_30_16D_STK_1": ("BDC_MD_V1", 30, "044049", (11204, 7324)),
    "S2_10_16D_STK_1": ("BDC_SM_V1", 10, "078086", (16806, 10986)),
    "CBERS4_WFI_16D_2": ("BDC_LG_V2", 64, "007004", (6600, 6600)),
    "CBERS4_MUX_2M_1": ("BDC_MD_V2", 20, "003004", (10560, 10560)),
    "LANDSAT_16D_1": ("BDC_MD_V2", 30, "003004", (7040, 7040)),
    "S2_16D_2": ("BDC_SM_V2", 10, "020020", (10560, 10560)),
}


def measurements(product):
    return {m["name"]: m for m in PRODUCTS[product]["measurements"]}


def labels(measurement):
    return [measurement["name"], *measurement.get("aliases", [])]


def load(product, band, values):
    """Give an image as `dc.load` does, of these pixel values."""
    m = measurements(product)[band]
    attrs = {"nodata": m["nodata"], "flags_definition": m["flags_definition"]}
    return xr.DataArray(np.array(values, dtype=m["dtype"]), dims="x", attrs=attrs)


def test_all_that_were_asked_for_are_shipped():
    assert set(PRODUCTS) >= SCENES | set(PUBLISHED)


@pytest.mark.parametrize("name", sorted(PRODUCTS))
def test_validators_have_nothing_to_say(name):
    Product.validate(DOCUMENTS[name])
    assert [str(m) for m in validate_product(DOCUMENTS[name])] == []


@pytest.mark.parametrize("name", sorted(PRODUCTS))
def test_a_label_means_one_band(name):
    found = [x.lower() for m in measurements(name).values() for x in labels(m)]
    assert sorted(found) == sorted(set(found))


@pytest.mark.parametrize("name", sorted(PRODUCTS))
def test_numbers_fit_their_type(name):
    for m in measurements(name).values():
        if m["dtype"].startswith("float"):
            assert m["nodata"] == "NaN"  # as ODC stores it
            assert "flags_definition" not in m
            continue
        limits = np.iinfo(m["dtype"])
        assert limits.min <= m["nodata"] <= limits.max, m["name"]
        used = []
        for flag in m.get("flags_definition", {}).values():
            bits = flag["bits"] if isinstance(flag["bits"], list) else [flag["bits"]]
            assert bits == list(range(bits[0], bits[0] + len(bits)))
            assert all(0 <= int(value) < 2 ** len(bits) for value in flag["values"])
            # `make_mask` finds a value by its meaning.
            assert len(set(flag["values"].values())) == len(flag["values"])
            used += bits
        assert len(set(used)) == len(used), m["name"]
        assert max(used, default=0) < limits.bits


def test_counts_are_not_scaled():
    plain = {"CLEAROB": ("uint8", 0), "TOTALOB": ("uint8", 0), "PROVENANCE": ("int16", -1)}
    for name, document in PRODUCTS.items():
        for m in document["measurements"]:
            if m["name"] in plain:
                assert (m["dtype"], m["nodata"]) == plain[m["name"]], name
            if m["name"] in plain or "flags_definition" in m:
                assert not {"scale_factor", "add_offset"} & set(m), name


def test_a_coding_is_written_once():
    """Products with the same coding have the very same definition."""
    found: dict[str, set[str]] = {}
    for document in PRODUCTS.values():
        for m in document["measurements"]:
            if "flags_definition" in m:
                text = json.dumps(m["flags_definition"])
                found.setdefault(m["name"].upper(), set()).add(text)
    # Two generations of CMASK; saturation for each Landsat sensor.
    assert {band: len(texts) for band, texts in found.items()} == {
        "CMASK": 2,
        "FMASK4": 1,
        "SCL": 1,
        "QA_PIXEL": 1,
        "QA_RADSAT": 3,
        "VI_QUALITY": 1,
        "PIXEL_RELIABILITY": 1,
        "BQA": 1,
        "DATASOURCE": 1,
        # Of the catalogues of 2020: the first of CMASK's, that of PIXEL_RELIABILITY, a class map.
        "QUALITY": 1,
        "RELIABILITY": 1,
        "LCC": 1,
    }
    assert found["QUALITY"] < found["CMASK"]
    assert found["RELIABILITY"] == found["PIXEL_RELIABILITY"]


CLASSES = {
    "cmask": {0: "nodata", 127: "clear", 255: "cloud"},
    "cmask of V1": {0: "clear", 4: "cloud", 255: "nodata"},
    "fmask": {0: "land", 1: "water", 2: "cloud shadow", 3: "snow", 4: "cloud", 255: "nodata"},
    "scl": {
        0: "nodata",
        1: "saturated or defective",
        2: "dark area",
        3: "cloud shadow",
        4: "vegetation",
        5: "bare soil",
        6: "water",
        7: "unclassified",
        8: "cloud, medium probability",
        9: "cloud, high probability",
        10: "thin cirrus",
        11: "snow or ice",
    },
    "pixel_reliability": {0: "good", 1: "marginal", 2: "snow or ice", 3: "cloudy", 255: "nodata"},
}


@pytest.mark.parametrize(
    ("product", "band", "coding"),
    [
        ("CB4_WFI_L4_SR_1", "CMASK", "cmask"),
        ("CB4A_WFI_L4_SR_1", "CMASK", "cmask"),
        ("CB4_MUX_L4_SR_1", "CMASK", "cmask"),
        ("CBERS4_WFI_16D_2", "CMASK", "cmask"),
        ("CBERS4_MUX_2M_1", "CMASK", "cmask"),
        ("CB4_64_16D_STK_1", "CMASK", "cmask of V1"),
        ("CB4_64_16D_STK_1_SR", "CMASK", "cmask of V1"),
        ("CB4_64_1", "CMASK", "cmask of V1"),
        ("LC8_SR_1", "Fmask4", "fmask"),
        ("LC8_30_16D_STK_1", "Fmask4", "fmask"),
        ("S2_10_16D_STK_1", "Fmask4", "fmask"),
        ("S2_L2A_1", "SCL", "scl"),
        ("S2_L2A_1_N0400", "SCL", "scl"),
        ("S2_16D_2", "SCL", "scl"),
        ("MOD13Q1_6", "pixel_reliability", "pixel_reliability"),
    ],
)
def test_classes(product, band, coding):
    classes, flag = CLASSES[coding], coding.split()[0]
    image = load(product, band, list(classes))
    for position, meaning in enumerate(classes.values()):
        wanted = [i == position for i in range(len(classes))]
        assert make_mask(image, **{flag: meaning}).values.tolist() == wanted
    nodata = [meaning == "nodata" for meaning in classes.values()]
    assert np.isnan(mask_invalid_data(image).values).tolist() == nodata
    assert list(describe_variable_flags(image).index) == [flag]


CLEAR = {
    "fill": False,
    "dilated_cloud": False,
    "cirrus": False,
    "cloud": False,
    "cloud_shadow": False,
    "snow": False,
    "clear": True,
    "water": False,
    "cloud_confidence": "low",
    "cloud_shadow_confidence": "low",
    "snow_confidence": "low",
    "cirrus_confidence": "low",
}
# What USGS's table of Landsat-8 and -9 values says, as changes of "clear, low confidences".
QA_PIXEL = {
    21824: {},
    21952: {"water": True},
    22080: {"cloud_confidence": "medium"},
    21762: {"clear": False, "dilated_cloud": True},
    22280: {"clear": False, "cloud": True, "cloud_confidence": "high"},
    23888: {"cloud_shadow": True, "cloud_shadow_confidence": "high"},
    30048: {"snow": True, "snow_confidence": "high"},
    54596: {"cirrus": True, "cirrus_confidence": "high"},
    # TM and ETM+ see no cirrus: that confidence is never set.
    5440: {"cirrus_confidence": "none"},
    1: {
        "fill": True, "clear": False, "cloud_confidence": "none",
        "cloud_shadow_confidence": "none", "snow_confidence": "none", "cirrus_confidence": "none",
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("product", "band"),
    [
        ("landsat_2_oli", "QA_PIXEL"),
        ("landsat_2_etm", "QA_PIXEL"),
        ("landsat_2_tm", "QA_PIXEL"),
        ("LANDSAT_16D_1", "qa_pixel"),
    ],
)
def test_landsat_pixel_quality(product, band):
    image = load(product, band, list(QA_PIXEL))
    for value, changes in QA_PIXEL.items():
        assert mask_to_dict(image.flags_definition, value) == {**CLEAR, **changes}
    cloudy = [value == 22280 for value in QA_PIXEL]
    assert make_mask(image, cloud=True).values.tolist() == cloudy
    assert make_mask(image, cloud_confidence="high").values.tolist() == cloudy
    dry_and_clear = make_mask(image, clear=True, water=False, cloud_shadow=False)
    assert dry_and_clear.values.tolist() == [
        value in {21824, 22080, 30048, 54596, 5440} for value in QA_PIXEL
    ]
    assert np.isnan(mask_invalid_data(image).values).tolist() == [v == 1 for v in QA_PIXEL]
    assert set(describe_variable_flags(image).index) == set(CLEAR)


NONE = {
    "fill": False, "terrain_occlusion": False, "radiometric_saturation": "none", "cloud": False,
    "cloud_confidence": "none", "cloud_shadow_confidence": "none", "snow_confidence": "none",
    "cirrus_confidence": "none",
}  # fmt: skip
SURE = {f"{name}_confidence": "low" for name in ("cloud", "cloud_shadow", "snow", "cirrus")}
# What USGS's table of Landsat-8 values of Collection 1 says.
BQA = {
    1: {"fill": True},
    2: {"terrain_occlusion": True},
    2720: SURE,
    2724: SURE | {"radiometric_saturation": "1 or 2"},
    2728: SURE | {"radiometric_saturation": "3 or 4"},
    2732: SURE | {"radiometric_saturation": "5 or more"},
    2752: SURE | {"cloud_confidence": "medium"},
    2800: SURE | {"cloud": True, "cloud_confidence": "high"},
    2976: SURE | {"cloud_shadow_confidence": "high"},
    3744: SURE | {"snow_confidence": "high"},
    6816: SURE | {"cirrus_confidence": "high"},
}


@pytest.mark.parametrize("product", ["LC8_DN_1", "LC8_L1TP_NY_1"])
def test_landsat_quality_of_collection_1(product):
    image = load(product, "BQA", list(BQA))
    for value, changes in BQA.items():
        assert mask_to_dict(image.flags_definition, value) == {**NONE, **changes}
    assert make_mask(image, cloud=True).values.tolist() == [v == 2800 for v in BQA]
    assert np.isnan(mask_invalid_data(image).values).tolist() == [v == 1 for v in BQA]


@needs_data
def test_landsat_quality_of_collection_1_in_files():
    """Every value that occurs is one of the table's, or several of them at once."""
    flags = measurements("LC8_DN_1")["BQA"]["flags_definition"]
    seen = set()
    for path in (DATA / "LC8_L1TP_NY-1").rglob("*_BQA.tif"):
        with rasterio.open(path) as src:
            seen |= set(np.unique(src.read(1)).tolist())
    assert {1, 2720, 2800} < seen
    for value in seen - {1}:
        told = mask_to_dict(flags, value)
        # USGS never leaves a confidence open where there are data.
        assert "none" not in {told[name] for name in SURE}
        assert told["cloud_confidence"] == "high" or not told["cloud"]


@pytest.mark.parametrize(
    ("sensor", "value", "flags"),
    [
        ("oli", 0, set()),
        ("oli", 1, {"b1_saturated"}),
        ("oli", 0b110_0000, {"b6_saturated", "b7_saturated"}),
        ("oli", 256, {"b9_saturated"}),
        ("oli", 2048, {"terrain_occlusion"}),
        ("etm", 32, {"b6l_saturated"}),
        ("etm", 64, {"b7_saturated"}),
        ("etm", 256, {"b6h_saturated"}),
        ("etm", 512 + 1, {"dropped_pixel", "b1_saturated"}),
        ("tm", 32, {"b6_saturated"}),
        ("tm", 64, {"b7_saturated"}),
        ("tm", 512, {"dropped_pixel"}),
    ],
)
def test_landsat_saturation(sensor, value, flags):
    image = load(f"landsat_2_{sensor}", "QA_RADSAT", [value, 0])
    told = mask_to_dict(image.flags_definition, value)
    assert {flag for flag, is_set in told.items() if is_set} == flags
    for flag in told:
        assert make_mask(image, **{flag: True}).values.tolist() == [flag in flags, False]
    # Most pixels are 0, not saturated: they must not be taken for nodata.
    assert not np.isnan(mask_invalid_data(image).values).any()


def test_modis_quality():
    # Good land pixel; doubtful one; snow; fill.
    image = load("MOD13Q1_6", "VI_Quality", [2112, 2185, 16384 + 2048 + 1, 65535])
    flags = image.flags_definition
    good = mask_to_dict(flags, 2112)
    assert good == {
        "modland_qa": "good quality",
        "usefulness": "highest",
        "aerosol": "low",
        "adjacent_cloud": False,
        "brdf_correction": False,
        "mixed_clouds": False,
        "land_water": "land",
        "snow": False,
        "shadow": False,
    }
    assert mask_to_dict(flags, 2185) == {
        **good, "modland_qa": "check other flags", "usefulness": "decreasing 1",
        "aerosol": "intermediate",
    }  # fmt: skip
    assert make_mask(image, snow=True, land_water="land").values.tolist() == [
        False, False, True, False,
    ]  # fmt: skip
    assert np.isnan(mask_invalid_data(image).values).tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("product", "band", "pixel", "reflectance"),
    [
        # USGS: 7273 to 43636 are 0 to 1.
        ("landsat_2_oli", "OLI_B4", 7273, 0.0),
        ("landsat_2_tm", "TM_B7", 43636, 1.0),
        ("S2_L2A_1", "B04", 1500, 0.15),
        # ESA: from baseline 04.00 on, 1000 is added to the pixel values.
        ("S2_L2A_1_N0400", "B04", 2500, 0.15),
        ("S2_L1C_BUNDLE_1", "B10", 1500, 0.15),
        ("S2_L1C_BUNDLE_1_N0400", "B10", 2500, 0.15),
        # USGS: 5000 is 0 in reflectance; radiance of the thermal bands begins at 0.1.
        ("LC8_DN_1", "B4", 5000, 0.0),
        ("LC8_DN_1", "B10", 20000, 6.784),
        ("LANDSAT_16D_1", "red", 1500, 0.15),
        ("S2_16D_2", "B8A", 3000, 0.3),
    ],
)
def test_reflectance(product, band, pixel, reflectance):
    m = measurements(product)[band]
    made = pixel * m["scale_factor"] + m.get("add_offset", 0)
    assert made == pytest.approx(reflectance, abs=2e-5)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_cubes_lie_on_their_grid(name):
    grid_name, resolution, tile, (columns, rows) = PUBLISHED[name]
    hints = PRODUCTS[name]["load"]
    assert normalise_crs(hints["crs"]) == BDC_CRS
    width, height = hints["resolution"]["x"], -hints["resolution"]["y"]
    xmin, ymin, xmax, ymax = bdc_grid(grid_name).bbox(tile)
    assert (width, height) == pytest.approx((resolution, resolution), rel=1e-4)
    assert (xmax - xmin) / width == pytest.approx(columns, abs=1e-6)
    assert (ymax - ymin) / height == pytest.approx(rows, abs=1e-6)
    assert 0 <= hints["align"]["x"] < width
    assert 0 <= hints["align"]["y"] < height
    # The tile's corner lies on a pixel's corner, to a millionth of a pixel.
    for corner, offset, size in ((xmin, "x", width), (ymax, "y", height)):
        pixels = (corner - hints["align"][offset]) / size
        assert pixels == pytest.approx(round(pixels), abs=1e-6)


def test_modis_grid():
    hints = PRODUCTS["MOD13Q1_6"]["load"]
    size = hints["resolution"]["x"]
    # NASA's sphere: 36 tiles of 4800 pixels go round the equator.
    assert 36 * 4800 * size == pytest.approx(2 * np.pi * 6371007.181, rel=1e-9)
    assert hints["resolution"]["y"] == -size
    assert hints["align"] == {"x": 0, "y": 0}


def test_scenes_of_many_zones_have_no_grid():
    """Then `dc.load` asks for one; the products say so in their comment."""
    without = {name for name in PRODUCTS if "load" not in PRODUCTS[name]}
    assert without == SCENES - {"CB4_WFI_L4_SR_1", "MOD13Q1_6"}
    with pytest.raises(ValueError, match="Must specify 'output_crs' and 'resolution'"):
        output_geobox(load_hints={})


AUXILIARY = {"CLEAROB", "TOTALOB", "PROVENANCE"}
SPECTRAL = {
    "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12",
}  # fmt: skip
FROM_RECORDED = [
    # product, recorded document, measurements that it lacks, what it says otherwise
    ("CB4_64_16D_STK_1", "collection_v0.9_CB4_64_16D_STK-1.json", set(), {"CMASK": ("uint8", 0)}),
    ("CB4_64_16D_STK_1", "v0.9_CB4_64_16D_STK_v001_021027_2020-07-11_2020-07-26.json", set(), {}),
    ("CB4_64_1", "v0.9_CB4_64-1__CB4_64_020022_2019-12-31.json", set(), {}),
    (
        "LC8_SR_1",
        "v0.9_LC8SR-1__LC08_L1TP_218068_20200828_20200905_01_T1.json",
        set(),
        {"Fmask4": ("uint16", 1)},
    ),
    ("LC8_DN_1", "v0.9_LC8_DN-1__LC08_L1GT_217071_20211011_20211019_01_T2.json", set(), {}),
    ("LC8_30_1", "v0.9_LC8_30-1__LC8_30_v001_044049_2020-08-26.json", set(), {}),
    ("S2_10_1", "v0.9_S2_10-1__S2_10_v001_083099_2018-06-01.json", set(), {}),
    ("LC8_30_16D_STK_1", "v0.9_LC8_30-1__LC8_30_v001_044049_2020-08-26.json", AUXILIARY, {}),
    ("S2_10_16D_STK_1", "v0.9_S2_10-1__S2_10_v001_083099_2018-06-01.json", AUXILIARY, {}),
    ("CBERS4_WFI_16D_2", "v1.0_metadata_CBERS4-WFI-16D.json", set(), {"CMASK": ("uint8", 255)}),
    ("S2_16D_2", "v1.0_RENDERED_S2-16D_V2_020020_20211219.json", set(), {}),
    ("S2_16D_2", "v1.0_metadata_S2-16D.json", set(), dict.fromkeys(SPECTRAL, ("uint16", 0))),
]


def recorded_bands(document):
    bands = document.get("bands") or document["properties"].get("eo:bands")
    return bands or [b for a in document["assets"].values() for b in a.get("eo:bands", [])]


@needs_data
@pytest.mark.parametrize(("product", "source", "lacking", "decided"), FROM_RECORDED)
def test_bands_are_those_that_were_recorded(product, source, lacking, decided):
    document = json.loads((RECORDED / source).read_text("utf-8"))
    bands = {b["name"]: b for b in recorded_bands(document)}
    ours = measurements(product)
    assert set(ours) == set(bands) | lacking
    assets = set(document.get("assets", {})) - {"thumbnail"}
    if assets and assets != {"asset"}:  # an archive of all bands
        assert assets == set(bands)
    said = {name: (b["data_type"], b["nodata"]) for name, b in bands.items()}
    assert {
        name: what
        for name, what in said.items()
        if what != (ours[name]["dtype"], ours[name]["nodata"])
    } == decided
    common = [b["common_name"] for b in bands.values()]
    for name, band in bands.items():
        known = {label.lower() for label in labels(ours[name])}
        unique = common.count(band["common_name"]) == 1
        assert (band["common_name"].lower() in known) == unique, name


@needs_data
def test_modis_has_the_bands_of_the_first_catalogue():
    source = RECORDED / "collection_v0.8_MOD13Q1.json"
    recorded = json.loads(source.read_text("utf-8"))["properties"]["bdc:bands"]
    ours = {label.lower(): m for m in measurements("MOD13Q1_6").values() for label in labels(m)}
    types = {"Int16": "int16", "Byte": "uint8"}
    for name, band in recorded.items():
        m = ours[name]
        assert (m["dtype"], m["nodata"]) == (types[band["data_type"]], band["fill"])
        assert m.get("scale_factor") == (float(band["scale"]) if band["scale"] else None)


@needs_data
@pytest.mark.parametrize(
    ("product", "folder", "bands"),
    [
        ("CB4_64_16D_STK_1_SR", "CB4_64_16D_STK-1", "BAND13 BAND14 BAND15 BAND16 CMASK"),
        ("CB4_64_16D_STK_1", "CB4_64_16D_STK_VI-1", "NDVI EVI"),
        ("CB4_64_16D_STK_VI_1", "CB4_64_16D_STK_VI-1", "NDVI EVI"),
        ("MOD13Q1_6", "MOD13Q1_SINOP-1", "NDVI EVI"),
        ("MOD13Q1_SINOP_1", "MOD13Q1_SINOP-1", "NDVI EVI"),
    ],
)
def test_types_are_those_of_files(product, folder, bands):
    for band in bands.split():
        m = measurements(product)[band]
        with rasterio.open(next((DATA / folder).rglob(f"*_{band}.tif"))) as src:
            assert (src.dtypes[0], src.nodata) == (m["dtype"], m["nodata"])
            if product != "CB4_64_16D_STK_1" or "VI" not in folder:  # that is in the mosaics' CRS
                assert normalise_crs(src.crs) == normalise_crs(PRODUCTS[product]["load"]["crs"])
