"""What the services publish and allow: all that a check must know of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from odc.geo.crs import CRS


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for.

    Attributes
    ----------
    side
        Width and height of an image, in pixels.
    pixels
        Pixels of an image times its dates, each of which is computed on.
    coverage_side
        Width and height of a coverage; its bytes are limited by the configuration of its layer.
    times, series
        Dates in a list; of a feature info, which computes one pixel of each.
    code
        Characters of an expression (``CODE``), where the configuration allows them at all.
    """

    side: int = 4096
    pixels: int = 4096 * 4096
    coverage_side: int = 2**16
    times: int = 64
    series: int = 250
    code: int = 200


@dataclass(frozen=True, slots=True)
class PublishedCrs:
    """A CRS of the services, and whether the standards order its axes latitude first."""

    crs: CRS
    latitude_first: bool = False


@dataclass(frozen=True, slots=True)
class PublishedTiles:
    """A tile matrix set: rows and columns of each level, and width and height of a tile."""

    levels: Sequence[tuple[int, int]]
    size: tuple[int, int] = (256, 256)


@dataclass(frozen=True, slots=True)
class Published:
    """What the services have that a check must know.

    Attributes
    ----------
    crss
        By the names that clients use.
    tiles
        The tile matrix sets by their names.
    limits
        What one request may ask for.
    """

    crss: Mapping[str, PublishedCrs]
    tiles: Mapping[str, PublishedTiles] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
