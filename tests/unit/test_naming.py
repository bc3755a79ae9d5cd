"""Names as the catalogues of the Brazil Data Cube have them, read and written again."""

import json
import re
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odc_bdc import CubeSpec, OdcBdcError, Period
from odc_bdc.cube import shipped_cubes
from odc_bdc.errors import InvalidValueError
from odc_bdc.function import composite_function
from odc_bdc.indexing import shipped_recipes
from odc_bdc.indexing.documents import DOCUMENT_SUFFIX
from odc_bdc.naming import (
    CollectionName,
    FileName,
    ItemName,
    cube_item_id,
    dataset_id,
    period_folder,
    product_name,
)

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
NONE = (None, None, None, None, None)

# id: name, version, generation; satellite, resolution, step, unit, function; ODC product
COLLECTIONS = {
    "CB4A_55_1M_STK": (
        ("CB4A_55_1M_STK", None, "2020"),
        ("CB4A", 55, 1, "month", "STK"),
        "CB4A_55_1M_STK",
    ),
    "CB4MOSBR_64": (
        ("CB4MOSBR_64", None, "2020"),
        ("CB4MOSBR", 64, None, None, None),
        "CB4MOSBR_64",
    ),
    "CB4_64_16D_STK-1": (
        ("CB4_64_16D_STK", "1", "V1"),
        ("CB4", 64, 16, "day", "STK"),
        "CB4_64_16D_STK_1",
    ),
    "LC8_30_16D_STK-1": (
        ("LC8_30_16D_STK", "1", "V1"),
        ("LC8", 30, 16, "day", "STK"),
        "LC8_30_16D_STK_1",
    ),
    "S2_10_16D_STK-1": (
        ("S2_10_16D_STK", "1", "V1"),
        ("S2", 10, 16, "day", "STK"),
        "S2_10_16D_STK_1",
    ),
    "S2-SEN2COR_10_16D_STK-1": (
        ("S2-SEN2COR_10_16D_STK", "1", "V1"),
        ("S2-SEN2COR", 10, 16, "day", "STK"),
        "S2_SEN2COR_10_16D_STK_1",
    ),
    "CB4MUX_20_1M_STK-1": (
        ("CB4MUX_20_1M_STK", "1", "V1"),
        ("CB4MUX", 20, 1, "month", "STK"),
        "CB4MUX_20_1M_STK_1",
    ),
    "CB4_64-1": (("CB4_64", "1", "V1"), ("CB4", 64, None, None, None), "CB4_64_1"),
    "LC8_30-1": (("LC8_30", "1", "V1"), ("LC8", 30, None, None, None), "LC8_30_1"),
    "S2_10-1": (("S2_10", "1", "V1"), ("S2", 10, None, None, None), "S2_10_1"),
    "CBERS4-WFI-16D-2": (
        ("CBERS4-WFI-16D", "2", "V2"),
        ("CBERS4-WFI", None, 16, "day", None),
        "CBERS4_WFI_16D_2",
    ),
    "CBERS-WFI-8D-1": (
        ("CBERS-WFI-8D", "1", "V2"),
        ("CBERS-WFI", None, 8, "day", None),
        "CBERS_WFI_8D_1",
    ),
    "CBERS4-MUX-2M-1": (
        ("CBERS4-MUX-2M", "1", "V2"),
        ("CBERS4-MUX", None, 2, "month", None),
        "CBERS4_MUX_2M_1",
    ),
    "LANDSAT-16D-1": (
        ("LANDSAT-16D", "1", "V2"),
        ("LANDSAT", None, 16, "day", None),
        "LANDSAT_16D_1",
    ),
    "S2-16D-2": (("S2-16D", "2", "V2"), ("S2", None, 16, "day", None), "S2_16D_2"),
    "CB4-16D-2": (("CB4-16D", "2", "V2"), ("CB4", None, 16, "day", None), "CB4_16D_2"),
    "CB4_64_16D_STK_v1": (
        ("CB4_64_16D_STK", "1", "ODC"),
        ("CB4", 64, 16, "day", "STK"),
        "CB4_64_16D_STK_v1",
    ),
    "LC8_30_1M_AVG_v1": (
        ("LC8_30_1M_AVG", "1", "ODC"),
        ("LC8", 30, 1, "month", "AVG"),
        "LC8_30_1M_AVG_v1",
    ),
    "S2LC8_30_16D_STK_v1": (
        ("S2LC8_30_16D_STK", "1", "ODC"),
        ("S2LC8", 30, 16, "day", "STK"),
        "S2LC8_30_16D_STK_v1",
    ),
    "CB4_64_2Y_MED_v1": (
        ("CB4_64_2Y_MED", "1", "ODC"),
        ("CB4", 64, 2, "year", "MED"),
        "CB4_64_2Y_MED_v1",
    ),
    # Scenes, other composites and maps: nothing can be read from these names but the version.
    "CB4-WFI-L4-SR-1": (("CB4-WFI-L4-SR", "1", "V1"), NONE, "CB4_WFI_L4_SR_1"),
    "CB4-MUX-L4-SR-1": (("CB4-MUX-L4-SR", "1", "V1"), NONE, "CB4_MUX_L4_SR_1"),
    "CBERS4_AWFI_L4_SR": (("CBERS4_AWFI_L4_SR", None, "2020"), NONE, "CBERS4_AWFI_L4_SR"),
    "LC8_SR-1": (("LC8_SR", "1", "V1"), NONE, "LC8_SR_1"),
    "LC8SR-1": (("LC8SR", "1", "V1"), NONE, "LC8SR_1"),
    "LC8_DN-1": (("LC8_DN", "1", "V1"), NONE, "LC8_DN_1"),
    "landsat-2": (("landsat", "2", "V1"), NONE, "landsat_2"),
    "S2_L2A-1": (("S2_L2A", "1", "V1"), NONE, "S2_L2A_1"),
    "S2_L1C_BUNDLE-1": (("S2_L1C_BUNDLE", "1", "V1"), NONE, "S2_L1C_BUNDLE_1"),
    "MOD13Q1": (("MOD13Q1", None, "2020"), NONE, "MOD13Q1"),
    "MOD13Q1-6": (("MOD13Q1", "6", "V1"), NONE, "MOD13Q1_6"),
    "mod13q1-6.1": (("mod13q1", "6.1", "V1"), NONE, "mod13q1_6_1"),
    "LCC_C4_64_1M_STK_GO_PA-SPC-AC-NA-1": (
        ("LCC_C4_64_1M_STK_GO_PA-SPC-AC-NA", "1", "V1"),
        NONE,
        "LCC_C4_64_1M_STK_GO_PA_SPC_AC_NA_1",
    ),
}

# id: collection, tile, start, end as written, last day if the name tells it, folder
ITEMS = {
    "CB4A_55_1M_STK_022024_2020-07-01_2020-07-31": (
        ("CB4A_55_1M_STK", "022024", "2020-07-01", "2020-07-31", "2020-07-31"),
        "CB4A_55_1M_STK/022024/2020-07-01_2020-07-31",
    ),
    "CB4MOSBR_64_018022_2020-06-30": (
        ("CB4MOSBR_64", "018022", "2020-06-30", None, "2020-06-30"),
        "CB4MOSBR_64/018022/2020-06-30",
    ),
    "CB4_64_020022_2019-12-31": (
        ("CB4_64", "020022", "2019-12-31", None, "2019-12-31"),
        "CB4_64/020022/2019-12-31",
    ),
    "CB4_64_16D_STK_v001_021027_2020-07-11_2020-07-26": (
        ("CB4_64_16D_STK-1", "021027", "2020-07-11", "2020-07-26", "2020-07-26"),
        "CB4_64_16D_STK/v001/021027/2020-07-11_2020-07-26",
    ),
    "LC8_30_v001_044049_2020-08-26": (
        ("LC8_30-1", "044049", "2020-08-26", None, "2020-08-26"),
        "LC8_30/v001/044049/2020-08-26",
    ),
    "S2_10_v001_083099_2018-06-01": (
        ("S2_10-1", "083099", "2018-06-01", None, "2018-06-01"),
        "S2_10/v001/083099/2018-06-01",
    ),
    "LCC_C4_64_1M_STK_GO_PA-SPC-AC-NA_v001_043050_2018-09-01_2019-08-31": (
        (
            *("LCC_C4_64_1M_STK_GO_PA-SPC-AC-NA-1", "043050"),
            *("2018-09-01", "2019-08-31", "2019-08-31"),
        ),
        "LCC_C4_64_1M_STK_GO_PA-SPC-AC-NA/v001/043050/2018-09-01_2019-08-31",
    ),
    # A composite of 16 days, as its readers know; the name has the first.
    "MOD13Q1_v006_012010_2013-09-14": (
        ("MOD13Q1-6", "012010", "2013-09-14", None, None),
        "MOD13Q1/v006/012010/2013-09-14",
    ),
    "CB4_64_16D_STK_v1_020024_2020-07-11_2020-07-26": (
        ("CB4_64_16D_STK_v1", "020024", "2020-07-11", "2020-07-26", "2020-07-26"),
        "CB4_64_16D_STK_v1/020024/2020-07-11_2020-07-26",
    ),
    # Its last day is 2021-12-31, the 13th, which the name does not tell.
    "S2-16D_V2_020020_20211219": (
        ("S2-16D-2", "020020", "2021-12-19", None, None),
        "s2-16d/v2/020/020/2021/12/19",
    ),
    "S2-16D_V2_008013_20220101": (
        ("S2-16D-2", "008013", "2022-01-01", None, None),
        "s2-16d/v2/008/013/2022/01/01",
    ),
}

# file: item, band, suffix
FILES = {
    "CB4A_55_1M_STK_022024_2020-07-01_2020-07-31_blue.tif": (
        *("CB4A_55_1M_STK_022024_2020-07-01_2020-07-31", "blue", ".tif"),
    ),
    "CB4A_55_1M_STK_022024_2020-07-01_2020-07-31_TotalOb.tif": (
        *("CB4A_55_1M_STK_022024_2020-07-01_2020-07-31", "TotalOb", ".tif"),
    ),
    "CB4MOSBR_64_018022_2020-06-30_quality.tif": (
        *("CB4MOSBR_64_018022_2020-06-30", "quality", ".tif"),
    ),
    "CB4_64_16D_STK_v001_021027_2020-07-11_2020-07-26_BAND13.tif": (
        *("CB4_64_16D_STK_v001_021027_2020-07-11_2020-07-26", "BAND13", ".tif"),
    ),
    "CB4_64_16D_STK_v001_021027_2020-07-11_2020-07-26.png": (
        *("CB4_64_16D_STK_v001_021027_2020-07-11_2020-07-26", None, ".png"),
    ),
    "CB4_64_16D_STK_v001_022024_2017-08-29_2017-09-13.json": (
        *("CB4_64_16D_STK_v001_022024_2017-08-29_2017-09-13", None, ".json"),
    ),
    "LC8_30_v001_044049_2020-08-26_Fmask4.tif": ("LC8_30_v001_044049_2020-08-26", "Fmask4", ".tif"),
    "S2_10_v001_083099_2018-06-01_band8a.tif": ("S2_10_v001_083099_2018-06-01", "band8a", ".tif"),
    "LCC_C4_64_1M_STK_GO_PA-SPC-AC-NA_v001_043050_2018-09-01_2019-08-31.tif": (
        *("LCC_C4_64_1M_STK_GO_PA-SPC-AC-NA_v001_043050_2018-09-01_2019-08-31", None, ".tif"),
    ),
    "S2-16D_V2_020020_20211219_B01.tif": ("S2-16D_V2_020020_20211219", "B01", ".tif"),
    "S2-16D_V2_020020_20211219.png": ("S2-16D_V2_020020_20211219", None, ".png"),
    "CB4_64_16D_STK_v1_020024_2020-07-11_2020-07-26.odc-metadata.yaml": (
        *("CB4_64_16D_STK_v1_020024_2020-07-11_2020-07-26", None, ".odc-metadata.yaml"),
    ),
}

# path or URL: item
PATHS = {
    "/Repository/Mosaic/CB4A_55_1M_STK/022024/2020-07-01_2020-07-31/x.tif": (
        "CB4A_55_1M_STK_022024_2020-07-01_2020-07-31"
    ),
    "http://brazildatacube.dpi.inpe.br/dev/Repository/Warped/CB4_64/020022/2019-12-31/x_NDVI.tif": (
        "CB4_64_020022_2019-12-31"
    ),
    "/Repository/Mosaic/CB4_64_16D_STK/v001/021027/2020-07-11_2020-07-26/": (
        "CB4_64_16D_STK_v001_021027_2020-07-11_2020-07-26"
    ),
    "/Repository/Warped/LC8_30/v001/044049/2020-08-26": "LC8_30_v001_044049_2020-08-26",
    "cubes/CB4_64_16D_STK_v1/020024/2020-07-11_2020-07-26/1b2c3d4e/x.tif": (
        "CB4_64_16D_STK_v1_020024_2020-07-11_2020-07-26"
    ),
    "https://brazildatacube.dpi.inpe.br/aqua/cubes/composed/s2-16d/v2/020/020/2021/12/19/x.tif": (
        "S2-16D_V2_020020_20211219"
    ),
    "https://data.inpe.br/bdc/data/s2-16d/v2/030/019/2026/03/06/": "S2-16D_V2_030019_20260306",
    "S2-16D/v2/030/019/2026/03/06": "S2-16D_V2_030019_20260306",
    "/a/022024/2019-01-01/CB4_64/020022/2019-12-31": "CB4_64_020022_2019-12-31",
}


def day(text):
    return date.fromisoformat(text) if text else None


@pytest.mark.parametrize("text", COLLECTIONS)
def test_collections(text):
    parts, told, product = COLLECTIONS[text]
    found = CollectionName.parse(text)
    assert str(found) == text
    assert (found.name, found.version, found.generation) == parts
    assert (found.satellite, found.resolution, found.step, found.unit, found.function) == told
    assert found.product_name == product_name(text) == product
    assert found.is_identity == (told[1] is not None and told[2] is None)
    assert found == CollectionName(parts[0], parts[1], odc=parts[2] == "ODC")


@pytest.mark.parametrize("text", ITEMS)
def test_items_and_their_folders(text):
    (collection, tile, start, end, last), folder = ITEMS[text]
    found = ItemName.parse(text)
    assert str(found) == text
    assert str(found.collection) == collection
    assert (found.tile_id, found.start, found.end) == (tile, day(start), day(end))
    assert found.period == (Period(day(start), day(last)) if last else None)
    assert found.folder == folder
    assert ItemName.from_folder(folder) == found
    assert ItemName.from_folder(f"https://host/x/{folder}/") == found


@pytest.mark.parametrize("text", FILES)
def test_files(text):
    item, band, suffix = FILES[text]
    found = FileName.parse(text)
    assert str(found) == text
    assert (str(found.item), found.band, found.suffix) == (item, band, suffix)


@pytest.mark.parametrize("path", PATHS)
def test_folders_within_paths(path):
    assert str(ItemName.from_folder(path)) == PATHS[path]


def test_a_v2_folder_is_of_the_item_in_upper_case():
    assert str(ItemName.from_folder("cbers4-wfi-16d/v2/007/004/2020/01/01").collection) == (
        "CBERS4-WFI-16D-2"
    )


def error(parse, text):
    with pytest.raises(InvalidValueError) as caught:
        parse(text)
    message = str(caught.value)
    assert repr(text) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("CB4 64", "'CB4 64' is not words of letters and digits"),
        ("CB4__64-1", "'CB4__64' is not words"),
        ("-1", "'-1' is not words"),
        ("CB4_64_16D_STK-", "'CB4_64_16D_STK-' is not words"),
        ("CB4_64_16D_STK-01", "'CB4_64_16D_STK-01' ends like a version"),
        ("CB4_64_16D_STK-1-1", "'CB4_64_16D_STK-1' ends like a version"),
        ("CB4_64_16D_STK_v001", "'CB4_64_16D_STK_v001' ends like a version"),
        ("CB4_64_16D_STK_v100", "version '100' behind _v is not 0 to 99"),
        ("S2-16D_v2", "is of ODC, and may hold no -"),
        ("MÓDIS-1", "'MÓDIS' is not words"),
    ],
)
def test_a_bad_collection_is_shown_the_grammar(text, reason):
    message = error(CollectionName.parse, text)
    assert reason in message
    for example in (
        "CB4A_55_1M_STK",
        "CB4_64_16D_STK-1",
        "CB4_64_16D_STK_v1",
        "S2-16D-2",
        "CB4-WFI-L4-SR-1",
    ):
        assert f"({example})" in message
        assert str(CollectionName.parse(example)) == example


BAD_ITEMS = [
    (
        "CB4_64_16D_STK_v001_022024_2021-10-16_2020-10-31",  # a real one
        "a period ends on 2020-10-31, before it starts on 2021-10-16",
    ),
    ("CB4_64_16D_STK_v001_02702_2020-07-11_2020-07-26", "tile '02702' is not six digits"),
    ("S2_L2A_30TUM_2019-02-26", "tile '30TUM' is not six digits"),
    ("S2-16D_V2_02002O_20211219", "tile '02002O' is not six digits"),
    ("CB4_64_020022_2019-02-29", "'2019-02-29' is not a date"),
    ("S2-16D_V2_020020_20211319", "'20211319' is not a date"),
    ("CB4_64_020022_2019-2-3", "does not end in a tile and one or two dates"),
    ("CB4_64_16D_STK_v001_021027", "does not end in a tile and one or two dates"),
    ("LC08_L1TP_218068_20200828_20200905_01_T1", "does not end in a tile and one or two dates"),
    ("MOD13Q1.A2000049.h12v09.006.2015136104558", "does not end in a tile and one or two dates"),
    ("S2-16D_V2_020020_2021-12-19", "of S2-16D-2 is named S2-16D_V2_020020_20211219"),
    ("S2-16D_v002_020020_2021-12-19", "of S2-16D-2 is named S2-16D_V2_020020_20211219"),
    ("S2-16D_V2_020020_20211219_20211231", "has its start in the name, not its end"),
    ("S2-16D_020020_20211219", "an item of V2 has a whole number as version, not None"),
    ("CB4_64_V1_020022_20191231", "of CB4_64-1 is named CB4_64_v001_020022_2019-12-31"),
    ("CB4_64-1_020022_2019-12-31", "of CB4_64-1 is named CB4_64_v001_020022_2019-12-31"),
    ("CB4_64_v0001_020022_2019-12-31", "of CB4_64-1 is named CB4_64_v001_020022_2019-12-31"),
    ("CB4.64_020022_2019-12-31", "'CB4.64' is not words"),
    ("CB4_64_020022_2019-12-31\n", "does not end in"),
]


@pytest.mark.parametrize(("text", "reason"), BAD_ITEMS)
def test_a_bad_item_is_shown_the_grammar(text, reason):
    message = error(ItemName.parse, text)
    assert reason in message
    examples = [example for example in ITEMS if f"({example})" in message]
    found = {ItemName.parse(example).collection.generation for example in examples}
    assert found == {"2020", "V1", "V2", "ODC"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("CB4_64_16D_STK_v001_022024_2021-10-16_2020-10-31_BAND13.tif", "before it starts"),
        ("CB4_64_020022_2019-12-31_BAND13.jp2", "suffix '.jp2' is not one of .tif, .png"),
        ("CB4_64_020022_2019-12-31_BAND13.png", "a .png file is of the item, not of a band"),
        ("CB4_64_020022_2019-12-31_8A.tif", "band '8A' is not a letter, then"),
        ("CB4_64_020022_2019-12-31", "no date before a band or a suffix"),
        ("CB4_64_02002_2019-12-31.tif", "tile '02002' is not six digits"),
        ("CB4_64/020022/2019-12-31/CB4_64_020022_2019-12-31.tif", "is not words"),
        ("LC08_L1TP_218068_20200828_20200905_01_T1_sr_band1.tif", "is named"),
    ],
)
def test_a_bad_file_is_shown_the_grammar(text, reason):
    message = error(FileName.parse, text)
    assert reason in message
    examples = re.findall(r"[\w-]+\.tif(?= \()", message)
    assert [FileName.parse(e).item.collection.generation for e in examples] == [
        *("2020", "V1", "ODC", "V2")
    ]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/Repository/Archive/LC8SR/2020-08/218068/", "no cube, tile and date follow each other"),
        ("CB4_64_16D_STK/v001/21027/2020-07-11_2020-07-26/", "tile '21027' is not six digits"),
        ("CB4_64_16D_STK/v001/021027/2020-07-26_2020-07-11/", "before it starts"),
        ("CB4_64_16D_STK-1/v001/021027/2020-07-11_2020-07-26/", "ends like a version"),
        ("CB4_64_16D_STK_v001/021027/2020-07-11/", "ends CB4_64_16D_STK/v001/021027/2020-07-11"),
        ("s2-16d/v2/020/020/2021/02/30/", "'20210230' is not a date"),
        ("s2-16d/v2/02/0020/2021/12/19/", "ends s2-16d/v2/020/020/2021/12/19"),
        ("s2-16d/v02/020/020/2021/12/19/", "is named S2-16D_V2_020020_20211219"),
        ("cb4_64/v1/020/022/2019/12/31/", "is named CB4_64_v001_020022_2019-12-31"),
    ],
)
def test_a_bad_folder_is_shown_the_grammar(path, reason):
    message = error(ItemName.from_folder, path)
    assert reason in message
    examples = re.findall(r"(?<=\()\w[\w-]*/[\w/-]+/(?=\))", message)
    assert [ItemName.from_folder(e).collection.generation for e in examples] == [
        *("2020", "V1", "ODC", "V2")
    ]


def test_parts_that_make_no_name_are_refused():
    cube = CollectionName("CB4_64_16D_STK", "1")
    for make in (
        lambda: CollectionName("CB4_64_16D_STK", odc=True),
        lambda: CollectionName("CB4_64_16D_STK", "one"),
        lambda: CollectionName("CB4_64_16D_STK", "00", odc=True),
        lambda: ItemName(cube, "0210270", date(2020, 7, 11)),
        lambda: ItemName(cube, "٠٢١٠٢٧", date(2020, 7, 11)),
        lambda: ItemName(cube, "021027", date(2020, 7, 11), date(2020, 7, 10)),
        lambda: ItemName(CollectionName("mod13q1", "6.1"), "012010", date(2020, 7, 11)),
        lambda: ItemName(CollectionName("S2-16D", "2"), "020020", date(2021, 12, 19), date.max),
        lambda: FileName(ItemName(cube, "021027", date(2020, 7, 11)), "B-1"),
        lambda: product_name(""),
    ):
        with pytest.raises(OdcBdcError):
            make()


def matching(pattern):
    return st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True)


WORDS = matching(r"[A-Za-z][A-Za-z0-9]{0,6}([_-][A-Za-z0-9]{1,8}){0,3}[_-][A-Z]{1,3}")
NAMES = st.one_of(
    WORDS,
    matching(r"[A-Z][A-Z0-9-]{0,6}[A-Z0-9]_[1-9][0-9]{1,3}_[1-9][0-9]?[DMY]_[A-Z]{3}"),
    matching(r"[A-Z][A-Z0-9]{0,8}_[1-9][0-9]{0,3}"),
    matching(r"[A-Z][A-Z0-9]{0,8}(-[A-Z0-9]{1,4}){0,2}-[1-9][0-9]?[DMY]"),
    # As if a date or a tile stood in the name already.
    st.builds("{}_{:%Y%m%d}".format, WORDS, st.dates(date(1000, 1, 1))),
    st.builds("{}_{:06}_{}".format, WORDS, st.integers(0, 999999), st.dates().map(str)).map(
        lambda text: f"{text}_X"
    ),
    st.builds("{}_{:06}".format, WORDS, st.integers(0, 999999)),
).filter(lambda name: "--" not in name)
CUBES = st.one_of(
    st.builds(
        CollectionName,
        NAMES,
        st.none() | st.integers(0, 2000).map(str) | st.sampled_from(["6.1", "0.0.1"]),
    ),
    st.builds(
        CollectionName,
        NAMES.map(lambda name: name.replace("-", "_")).filter(
            lambda name: not re.fullmatch(r".*_[vV]\d+", name)
        ),
        st.integers(0, 99).map(str),
        st.just(True),
    ),
)


@st.composite
def item_names(draw):
    cube = draw(CUBES)
    if cube.generation in {"V1", "V2"} and not str(cube.version).isdigit():
        cube = CollectionName(cube.name, "7")
    start, end = sorted([draw(st.dates()), draw(st.dates())])
    whole = cube.generation != "V2" and draw(st.booleans())
    return ItemName(cube, draw(matching("[0-9]{6}")), start, end if whole else None)


@st.composite
def file_names(draw):
    suffix = draw(st.sampled_from([".tif", ".png", ".json", DOCUMENT_SUFFIX]))
    band = draw(st.none() | matching(r"[A-Za-z]\w{0,12}")) if suffix == ".tif" else None
    return FileName(draw(item_names()), band, suffix)


@given(CUBES)
def test_any_collection_reads_back(collection):
    assert CollectionName.parse(str(collection)) == collection
    assert re.fullmatch(r"\w+", collection.product_name)


@given(item_names())
def test_any_item_and_folder_read_back(item):
    assert ItemName.parse(str(item)) == item
    assert ItemName.from_folder(item.folder) == item
    assert ItemName.from_folder(f"s3://host/2020/01/{item.folder}/a/b.tif") == item


@given(file_names())
def test_any_file_reads_back(file):
    assert FileName.parse(str(file)) == file


@given(st.text() | st.text("S2-16D_V./v0123", max_size=60))
def test_what_is_read_is_written_the_same(text):
    for parse in (CollectionName.parse, ItemName.parse, FileName.parse):
        try:
            found = parse(text)
        except InvalidValueError:
            continue
        assert str(found) == text


def test_shipped_names_follow_the_grammar():
    for cube in shipped_cubes().values():
        found = CollectionName.parse(cube.name)
        assert found.generation == "ODC"
        assert found.product_name == cube.name
        assert found.resolution == cube.resolution
        assert (found.step, found.unit) == (cube.timeline.step, cube.timeline.unit)
        assert composite_function(found.function) == cube.function
    # Some collections become products of another name: parts, sensors, baselines, versions.
    others = {
        "cb4_64_16d_stk_1": "CB4_64_16D_STK_1_SR",  # bands and mask only
        "landsat_2_oli": "landsat_2_oli",
        "landsat_2_etm": "landsat_2_etm",
        "landsat_2_tm": "landsat_2_tm",
        "lc8sr_1": "LC8_SR_1",  # its name of 2020
        "s2_l2a_n0400": "S2_L2A_1_N0400",
        "s2_l1c_bundle_n0400": "S2_L1C_BUNDLE_1_N0400",
        "mod13q1_6_0": "MOD13Q1_6",
        "mod13q1_6_1": "MOD13Q1_6",
        "mod13q1_6_sinop_lossy": "MOD13Q1_6_VI",
    }
    for recipe in shipped_recipes().values():
        assert recipe.product == others.get(recipe.name, product_name(recipe.collection))


def test_names_of_what_is_built_read_back():
    cube: CubeSpec = shipped_cubes()["CB4_64_16D_STK_v1"]
    period = Period(date(2020, 7, 11), date(2020, 7, 26))
    name = cube_item_id(cube.name, "020024", period)
    assert name == "CB4_64_16D_STK_v1_020024_2020-07-11_2020-07-26"
    item = ItemName.parse(name)
    assert (str(item.collection), item.tile_id, item.period) == (cube.name, "020024", period)
    assert item.folder == f"{cube.name}/020024/{period_folder(period)}"
    assert FileName.parse(f"{name}{DOCUMENT_SUFFIX}").item == item


def test_a_cube_may_have_any_name():
    period = Period(date(2020, 7, 11), date(2020, 7, 26))
    assert cube_item_id("_ção", "020024", period) == "_ção_020024_2020-07-11_2020-07-26"


def test_dataset_ids_stay_what_they_were():
    assert str(dataset_id("scene", "CB4_64-1", "CB4_64_020022_2019-12-31")) == (
        "19937faf-34af-529e-bbb6-0bd6877aea6a"
    )


needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"the folder of real scenes, {DATA.parent.name}/data, is not here"
)
SCENES = {"LC8SR-1", "LC8_DN-1", "S2_L1C_BUNDLE-1", "MOD13Q1"}
"""Collections whose items keep the names that their makers gave them."""


def recorded():
    for path in sorted((DATA / "stac_items_bdc").glob("v*.json")):
        doc = json.loads(path.read_text("utf-8"))
        if "assets" in doc:
            yield doc.get("collection", "S2-16D-2"), doc.get("id") or doc["name"], doc["assets"]


@needs_data
def test_recorded_items_and_their_files():
    read, refused = [], set()
    for collection, name, assets in recorded():
        assert str(CollectionName.parse(collection)) == collection
        hrefs = [asset["href"] for asset in assets.values()]
        if collection in SCENES:
            refused.add(collection)
            error(ItemName.parse, name)
            continue
        item = ItemName.parse(name)
        assert str(item) == name
        # CB4_64-1 has items without a version in their names.
        assert str(item.collection) in {collection, CollectionName.parse(collection).name}
        for href in hrefs:
            file = FileName.parse(href.rpartition("/")[2])
            assert str(file) == href.rpartition("/")[2]
            assert file.item == ItemName.from_folder(href) == item
            read.append(href)
    assert refused == SCENES
    assert len(read) > 100


@needs_data
def test_real_items_and_their_files():
    read = []
    for collection in ("CB4_64_16D_STK-1", "CB4_64_16D_STK_VI-1", "MOD13Q1-6"):
        assert str(CollectionName.parse(collection)) == collection
        for path in sorted((DATA / collection).rglob("*_*.json")):
            doc = json.loads(path.read_text("utf-8"))
            item = ItemName.parse(doc["id"])
            assert str(item) == doc["id"]
            assert FileName.parse(path.name) == FileName(item, None, ".json")
            for key, asset in doc["assets"].items():
                assert FileName.parse(asset["href"].removeprefix("./")) == FileName(item, key)
            start = day(doc["properties"].get("start_datetime", doc["properties"]["datetime"])[:10])
            assert item.start == start
            read.append(item)
    assert len(read) == 24 + 23 + 23
