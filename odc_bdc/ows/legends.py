"""Pictures of what colours mean. Pure: texts and colours in, an image out."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image, ImageDraw, ImageFont

WIDTH = 280
_MARGIN, _LINE, _BOX = 10, 22, 14
_INK, _PAPER, _FRAME = "#1f2328", "#ffffff", "#8c959f"


def class_legend(title: str, entries: Sequence[tuple[str, str]]) -> Image.Image:
    """Draw a box of colour and a text for each entry.

    Parameters
    ----------
    title
        In bold on top.
    entries
        Colour as ``#rrggbb`` and text.

    Returns
    -------
    PIL.Image.Image
        RGB, `WIDTH` pixels wide or as wide as the longest text needs.
    """
    widest = max((font().getlength(text) for _, text in entries), default=0.0)
    width = _width_for(title, 2 * _MARGIN + _BOX + 8 + widest)
    image, draw = _paper(title, width, 2 * _MARGIN + _LINE * (1 + len(entries)))
    for number, (colour, text) in enumerate(entries, start=1):
        top = _MARGIN + _LINE * number
        box = (_MARGIN, top + 2, _MARGIN + _BOX, top + 2 + _BOX)
        draw.rectangle(box, fill=colour, outline=_FRAME)
        draw.text((_MARGIN + _BOX + 8, top), text, fill=_INK, font=font())
    return image


def ramp_legend(
    title: str,
    ramp: Sequence[tuple[float, tuple[int, int, int]]],
    ticks: Sequence[tuple[float, str]],
) -> Image.Image:
    """Draw a strip of colours with texts below.

    Parameters
    ----------
    ramp
        Values in ascending order with their red, green and blue, linear between them.
    ticks
        Values between the first and the last of the ramp in ascending order, with their texts; a
        text for which there is no room is left out.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    width = _width_for(title, WIDTH)
    image, draw = _paper(title, width, 2 * _MARGIN + 3 * _LINE - 4)
    left, right, top = _MARGIN + 6, width - _MARGIN - 6, _MARGIN + _LINE
    low, high = ramp[0][0], ramp[-1][0]
    for x in range(left, right + 1):
        value = low + (high - low) * (x - left) / (right - left)
        draw.line((x, top, x, top + 16), fill=_colour_at(ramp, value))
    draw.rectangle((left - 1, top - 1, right + 1, top + 17), outline=_FRAME)
    written = 0.0  # where the last text ends
    for value, text in ticks:
        at = left + (value - low) / (high - low) * (right - left)
        draw.line((at, top + 17, at, top + 21), fill=_INK)
        half = font().getlength(text) / 2
        at = min(max(at - half, 2), width - 2 * half - 2)
        if at > written:  # else it would be over the one before
            draw.text((at, top + 22), text, fill=_INK, font=font())
            written = at + 2 * half + 3
    return image


def _colour_at(
    ramp: Sequence[tuple[float, tuple[int, int, int]]], value: float
) -> tuple[int, int, int]:
    above = next((i for i, (v, _) in enumerate(ramp) if v >= value), len(ramp) - 1)
    if above == 0:
        return ramp[0][1]
    (v0, c0), (v1, c1) = ramp[above - 1], ramp[above]
    share = (value - v0) / (v1 - v0) if v1 > v0 else 1.0
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(c0, c1, strict=True))
    return red, green, blue


def _paper(title: str, width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    from PIL import Image, ImageDraw  # noqa: PLC0415 (an extra)

    image = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((_MARGIN, _MARGIN - 4), title, fill=_INK, font=font(bold=True))
    return image, draw


def _width_for(title: str, least: float) -> int:
    needed = 2 * _MARGIN + font(bold=True).getlength(title)
    return int(max(WIDTH, least, needed)) + 1


@cache
def font(*, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Give a font that has all letters of Portuguese: matplotlib's, which datacube-ows needs."""
    import matplotlib as mpl  # noqa: PLC0415 (an extra)
    from PIL import ImageFont  # noqa: PLC0415 (an extra)

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / name, 13)
