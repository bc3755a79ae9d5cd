"""Colours of values: pairs of a value and its colour, linear between them."""

from __future__ import annotations

from typing import TypeAlias

Ramp: TypeAlias = tuple[tuple[float, str], ...]

VEGETATION: Ramp = (
    (-0.2, "#2b6cb0"),
    (0.0, "#d9c7a3"),
    (0.2, "#f2e9b8"),
    (0.4, "#b5d16b"),
    (0.6, "#5aa83f"),
    (0.8, "#1e7a2d"),
    (1.0, "#004018"),
)
"""Blue below zero (water), then sand to dark green."""

WATER: Ramp = (
    (-0.8, "#6b4f2a"),
    (-0.4, "#c9b083"),
    (-0.1, "#f3ecd8"),
    (0.0, "#cfe3f2"),
    (0.3, "#5aa3d6"),
    (0.8, "#0b3d7a"),
)
"""Brown and sand on land, blue above zero."""

BURN: Ramp = (
    (-0.6, "#1a0d0a"),
    (-0.2, "#8c2d1f"),
    (0.0, "#e0843f"),
    (0.2, "#f2e2a0"),
    (0.5, "#8fbf5a"),
    (0.9, "#1b5e20"),
)
"""Black and red where burnt, green where vegetation is whole."""

ANY: Ramp = (
    (-1.0, "#40004b"),
    (-0.5, "#9970ab"),
    (0.0, "#f7f7f7"),
    (0.5, "#5aae61"),
    (1.0, "#00441b"),
)
"""For indices of which nothing is known but that most lie between -1 and 1."""

DIFFERENCE: Ramp = (
    (-0.5, "#8c510a"),
    (-0.2, "#d8b365"),
    (0.0, "#f5f5f5"),
    (0.2, "#5ab4ac"),
    (0.5, "#01665e"),
)
"""Loss is brown, gain is green-blue; told apart by the colour-blind too."""

AMPLITUDE: Ramp = (
    (0.0, "#fffff2"),
    (0.2, "#c7e9b4"),
    (0.4, "#41b6c4"),
    (0.6, "#225ea8"),
    (0.8, "#081d58"),
)

DAY_OF_YEAR: Ramp = (
    (1.0, "#3b4cc0"),
    (92.0, "#4fae6a"),
    (183.0, "#f2d13d"),
    (275.0, "#d1495b"),
    (366.0, "#3b4cc0"),
)
"""Round the year: December ends in the colour in which January begins."""

_COUNT = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")


def count_ramp(most: int) -> Ramp:
    """Give colours of the numbers from 1 to `most`; none has no colour, for 0 means no data.

    Examples
    --------
    >>> [value for value, _ in count_ramp(9)]
    [1.0, 3.0, 5.0, 7.0, 9.0]
    """
    step = (most - 1) / (len(_COUNT) - 1)
    return tuple((1 + step * i, colour) for i, colour in enumerate(_COUNT))
