"""Parameters that must be there, numbers, and pixels of an image."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from odc_bdc.ows.exceptions import INVALID, MISSING, Refusal, shown

if TYPE_CHECKING:
    from odc_bdc.ows.requests import Query

WHOLE = re.compile(r"\s*[+-]?\d{1,12}\s*", re.ASCII)


def needed(query: Query, name: str) -> str:
    """Give the value of a parameter that must be there.

    Raises
    ------
    Refusal
        If it is missing.
    """
    value = query.get(name)
    if not value:
        raise Refusal(f"{name.upper()} is missing", MISSING, name)
    return value


def finite_number(query: Query, name: str, code: str = INVALID) -> float:
    """Give the value of a parameter that must be a finite number.

    Raises
    ------
    Refusal
        If it is none.
    """
    text = needed(query, name)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Refusal(f"{name.upper()}={shown(text)} is no number", code, name)
    return value


def whole_number(query: Query, name: str, code: str = INVALID) -> int:
    """Give the value of a parameter that must be a whole number.

    Raises
    ------
    Refusal
        If it is none.
    """
    text = needed(query, name)
    if not WHOLE.fullmatch(text):
        raise Refusal(f"{name.upper()}={shown(text)} is no whole number", code, name)
    return int(text)


def check_pixel(query: Query, name: str, asked: str, side: int, code: str) -> None:
    """Check a column or a row of an image; `asked` is the name that the client gave it.

    Raises
    ------
    Refusal
        If it is missing, or lies outside of the image.
    """
    if name not in query:
        raise Refusal(f"{asked.upper()} is missing", MISSING, asked)
    text = query.get(name)
    if not WHOLE.fullmatch(text) or not 0 <= int(text) < side:
        raise Refusal(f"{asked.upper()}={shown(text)} lies outside: 0 to {side - 1}", code, asked)


def check_size(query: Query, side: int) -> tuple[int, int]:
    """Give width and height of an image, at most `side` each.

    Raises
    ------
    Refusal
        If one is missing, or out of bounds.
    """
    sizes = []
    for name in ("width", "height"):
        value = whole_number(query, name)
        if not 1 <= value <= side:
            raise Refusal(f"{name.upper()}={value} is not served: 1 to {side} are", INVALID, name)
        sizes.append(value)
    return sizes[0], sizes[1]
