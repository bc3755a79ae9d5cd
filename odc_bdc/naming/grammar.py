"""The grammar of names in words, and how an error shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from odc_bdc.errors import InvalidValueError

_GRAMMAR = {
    "collection": (
        "A cube is named <satellite>_<resolution>_<period>_<FUNCTION> or <satellite>_<resolution>, "
        "in 2020 without version (CB4A_55_1M_STK), in V1 with -<version> (CB4_64_16D_STK-1), in "
        "ODC with _v<version> (CB4_64_16D_STK_v1); in V2 <SATELLITE>-<period>-<version> "
        "(S2-16D-2). Other collections are words of letters and digits, joined by - or _, with "
        "-<version> or without (CB4-WFI-L4-SR-1)"
    ),
    "item": (
        "An item is named <cube>_<tile>_<start>_<end> or <cube>_<tile>_<date>, in 2020 without "
        "version (CB4A_55_1M_STK_022024_2020-07-01_2020-07-31), in V1 with _v<three digits> behind "
        "the cube (CB4_64_16D_STK_v001_021027_2020-07-11_2020-07-26), in ODC with _v<version> "
        "(CB4_64_16D_STK_v1_020024_2020-07-11_2020-07-26); in V2 "
        "<CUBE>_V<version>_<tile>_<start> (S2-16D_V2_020020_20211219)"
    ),
    "file": (
        "A file is named <item>_<band>.tif, <item>.tif, <item>.png, <item>.json or "
        "<item>.odc-metadata.yaml: CB4A_55_1M_STK_022024_2020-07-01_2020-07-31_blue.tif (2020), "
        "CB4_64_16D_STK_v001_021027_2020-07-11_2020-07-26_BAND13.tif (V1), "
        "CB4_64_16D_STK_v1_020024_2020-07-11_2020-07-26_BAND13.tif (ODC), "
        "S2-16D_V2_020020_20211219_B01.tif (V2)"
    ),
    "folder": (
        "The folder of an item ends <cube>/<tile>/<start>_<end>/ or <cube>/<tile>/<date>/, in 2020 "
        "without version (CB4A_55_1M_STK/022024/2020-07-01_2020-07-31/), in V1 with "
        "v<three digits>/ behind the cube (CB4_64_16D_STK/v001/021027/2020-07-11_2020-07-26/), in "
        "ODC with _v<version> (CB4_64_16D_STK_v1/020024/2020-07-11_2020-07-26/); in V2 "
        "<cube>/v<version>/<column>/<row>/<year>/<month>/<day>/ (s2-16d/v2/020/020/2021/12/19/)"
    ),
}


def compiled(pattern: str) -> re.Pattern[str]:
    """Compile a pattern that is written with spaces and comments; names are ASCII."""
    return re.compile(pattern, re.VERBOSE | re.ASCII)


@contextmanager
def explained(what: str, text: str) -> Iterator[None]:
    """Let an error also quote the name and show the grammar of `what`."""
    try:
        yield
    except InvalidValueError as e:
        raise InvalidValueError(f"{text!r} is no {what} name: {e}. {_GRAMMAR[what]}") from e
