"""Requests that are nearly right, without end: the same ones for the same seed."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NUMBERS = (
    *("0", "-1", "1", "1.5", "1e9", "1e300", "-1e300", "nan", "inf", "-inf", "NaN", "0x1f", "1_0"),
    *(
        "",
        " ",
        "+",
        "٣",
        "9" * 30,
        "9" * 400,
        "-0",
        "1e-300",
        "\u0660.\u0665",
        "256",
        "4096",
        "4097",
    ),
)
TEXTS = (
    *("", " ", ",", ",,,,", "/", "..", "../../etc/passwd", "%00", "\x00", "\ud7ff", "\uffff", "é"),
    *("'", '"', "<a>&", "]]>", "{{7*7}}", "${x}", "%s%n", "a" * 300, "None", "null", "true", "*"),
    *("(", ")", "x(", "x()", "x(1", "x(,)", "time()", 'time("")', "1;2", "\r\nX-Evil: 1", "__"),
    "' OR 1=1 --",
)
TIMES = (
    *("2020-01-01", "2019-12-19", "2020", "2020-01", "2020-W01-1", "20200101", "20200101T000000Z"),
    *("2020-01-01T00:00:00Z", "2020-01-01T00:00:00.000+14:00", "now", "current", "PRESENT", "P1D"),
    *("2019-01-01/2021-01-01", "2019-01-01/2021-01-01/P16D", "2020-01-01/P999Y", "P999Y/2020"),
    *("P1D/P1D", "0001-01-01", "9999-12-31", "9999-12-31/P1D", "2020-02-30", "/", "2020-01-01/"),
    *("2020-01-01,2019-12-19", "2020-01-01,", ",".join(["2020-01-01"] * 60), "1e10", "12", "-1"),
)
BOXES = (
    *("5993600,10000000,6012800,10012800", "-1e8,-1e8,1e8,1e8", "-180,-90,180,90", "0,0,1,1"),
    *("-90,-180,90,180", "1e300,0,2e300,1", "0,0,nan,1", "1,1,0,0", "0,0,0,0", "1,2,3", ",,,"),
    *(
        "-2e7,-2e7,2e7,2e7",
        "1.9e7,0,2.2e7,1e6",
        "89.9,0,90.1,1",
        "-200,-100,200,100",
        "0,0,1e-9,1e-9",
    ),
)
CRSS = (
    *("EPSG:10857", "EPSG:3857", "EPSG:4326", "EPSG:4674", "OGC:CRS84", "EPSG:32631", "EPSG:32618"),
    *(
        "EPSG:3832",
        "EPSG:99999",
        "epsg:4326",
        "CRS:84",
        "EPSG:",
        "+proj=longlat",
        "+proj=aea +proj",
    ),
    *(
        "urn:ogc:def:crs:EPSG::4326",
        "http://www.opengis.net/def/crs/EPSG/0/4326",
        "+proj=" + "a" * 99,
    ),
)
AXES = ("x", "y", "time", "i", "lat", "lon", "longitude", "w", "")
POOLS: Mapping[str, Sequence[str]] = {
    "bbox": BOXES,
    "time": TIMES,
    **dict.fromkeys(("crs", "srs", "response_crs", "subsettingcrs", "outputcrs"), CRSS),
    **dict.fromkeys(("width", "height", "i", "j", "x", "y", "resx", "resy"), NUMBERS),
    **dict.fromkeys(("tilerow", "tilecol", "tilematrix", "scalefactor", "ndates"), NUMBERS),
    "version": (
        "1.0.0",
        "1.1.0",
        "1.1.1",
        "1.3.0",
        "2.0.0",
        "2.0.1",
        "2.1.0",
        "2",
        "9.9",
        "a.b",
        "1.",
    ),
    "service": ("WMS", "WMTS", "WCS", "wms", "WPS"),
    "request": (
        *("GetMap", "GetFeatureInfo", "GetTile", "GetCoverage", "DescribeCoverage"),
        *("GetCapabilities", "GetLegendGraphic", "getmap", "GetNothing"),
    ),
    **dict.fromkeys(
        ("styles", "style"),
        ("true_colour", "false_colour", "ndvi", "nothing", "ndvi,ndvi", "custom_user_style"),
    ),
    **dict.fromkeys(
        ("layers", "layer", "query_layers", "coverage", "coverageid"),
        (
            "CB4_64_16D_MED_v1",
            "CB4_WFI_L4_SR_1",
            "S2_31UES_10_16D_STK_v1",
            "CB4_64_2Y_STK_v1",
            "a,b",
        ),
    ),
    **dict.fromkeys(
        ("format", "info_format", "infoformat"),
        (
            "image/png",
            "GeoTIFF",
            "image/geotiff",
            "application/json",
            "text/html",
            "image/jpeg",
            "image/webp",
        ),
    ),
    **dict.fromkeys(
        ("measurements", "rangesubset"),
        (
            "BAND13",
            "nir,red",
            "BAND13:BAND15",
            "BAND15:BAND13",
            "BAND13:",
            ":",
            "a:b:c",
            "CMASK,CMASK",
        ),
    ),
    "section": ("/", "/WCS_Capabilities/Service", "all", "Contents", "nothing"),
    "sections": ("All", "Contents", "nothing"),
    "acceptversions": ("2.0.1", "1.3.0", "9.9", "a", "2.0.1,a"),
    "exceptions": ("XML", "INIMAGE", "BLANK", "application/vnd.ogc.se_xml"),
    "code": ("BAND13", "BAND13**9", "(" * 90, "1/0"),
    "colorscheme": ("viridis", "nothing"),
    "interpolation": ("nearest neighbor", "bilinear"),
    "ows_stats": ("y",),
    "geotiff:compression": ("LZW", "JPEG", "Huffman", "None", "PackBits", "Deflate", "ZSTD"),
    "geotiff:predictor": ("None", "Horizontal", "FloatingPoint", "x"),
    "geotiff:interleave": ("Pixel", "Band"),
    "geotiff:tiling": ("true", "false", "x"),
    "geotiff:tilewidth": ("16", "32", "0", "-16", "17", "1600000"),
    "geotiff:tileheight": ("16", "48", "0"),
}
SCALES = ("scaleaxes", "scalesize", "scaleextent")


def requests(
    seed: int, goods: Mapping[str, Sequence[Mapping[str, object]]]
) -> Iterator[tuple[str, str]]:
    """Give path and query string of requests, each a good one with one to four changes."""
    random = Random(seed)  # noqa: S311 (no secret)
    paths = list(goods)
    while True:
        path = random.choice(paths)
        pairs: list[tuple[str, str]] = []
        for name, value in random.choice(goods[path]).items():
            values = value if isinstance(value, list) else [value]
            pairs += [(name, str(v)) for v in values]
        for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4))):
            _change(random, pairs)
        where = random.choice(("", path)) if random.random() < 0.1 else path
        yield where, _encode(random, pairs)


def _change(random: Random, pairs: list[tuple[str, str]]) -> None:
    kind = random.random()
    if kind < 0.1 and pairs:
        pairs.pop(random.randrange(len(pairs)))
    elif kind < 0.2:
        pairs.append((name := random.choice(list(POOLS)), _value(random, name)))
    elif kind < 0.3:
        name = random.choice(("subset", *SCALES))
        pairs.append((name, _of_axis(random, name)))
    elif pairs:
        number = random.randrange(len(pairs))
        name = pairs[number][0]
        pairs[number] = (name, _of_axis(random, name) if name == "subset" else _value(random, name))


def _value(random: Random, name: str) -> str:
    kind = random.random()
    if kind < 0.7 and name in POOLS:
        return random.choice(POOLS[name])
    if kind < 0.8:
        return random.choice(TEXTS)
    if kind < 0.9:
        return random.choice(NUMBERS)
    return "".join(
        chr(random.choice((random.randrange(1, 128), random.randrange(0x3000))))
        for _ in range(random.randrange(20))
    )


def _of_axis(random: Random, name: str) -> str:
    axis = random.choice(AXES)
    if name != "subset":
        ends = ":".join(random.choice(NUMBERS[:12]) for _ in range(random.choice((1, 1, 2, 3))))
        return f"{axis}({ends})"
    quoted = axis == "time" or random.random() < 0.2
    ends = [
        f'"{random.choice(TIMES)}"'
        if quoted
        else random.choice((*NUMBERS, "6000000", "10006400", "*"))
        for _ in range(random.choice((1, 2, 2, 3)))
    ]
    return f"{axis}({','.join(ends)})"


def _encode(random: Random, pairs: list[tuple[str, str]]) -> str:
    parts = []
    for name, value in pairs:
        spelt = random.choice((name, name, name.upper(), name.title()))
        write = random.choice((quote, quote_plus))
        parts.append(f"{write(spelt, errors='replace')}={write(value, errors='replace')}")
    return "&".join(parts)
