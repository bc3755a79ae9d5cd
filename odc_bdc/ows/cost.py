"""What a request costs, told from what is known before any pixel is read. Pure.

Work is counted in values read from files: a pixel of one band of one scene is one. What is done
with it counts in times of reading it, as of `odc_bdc.function.CompositeFunction.cost`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCK = 512
"""Side of the blocks of live images, of which whole ones are computed."""

MAP_BYTES = 28
"""Bytes that drawing a pixel of one date takes at most, besides its bands twice: measured."""

COVERAGE_COPIES = 3
"""The pixels of a coverage, its file as it is written, and the same as it is sent."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a request costs.

    Attributes
    ----------
    work
        Values.
    memory
        Bytes.
    """

    work: float = 0.0
    memory: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.work + other.work, self.memory + other.memory)


@dataclass(frozen=True, slots=True)
class Overlap:
    """What a view and an image share.

    Attributes
    ----------
    shape
        Rows and columns of the image's own pixels.
    scale
        Of the image's pixels that a pixel of the view is long, on its shorter side.
    share
        Part of the view's area.
    """

    shape: tuple[float, float]
    scale: float
    share: float


def overlap(
    view: tuple[float, float, float, float],
    view_shape: tuple[int, int],
    image: tuple[float, float, float, float],
    image_shape: tuple[int, int],
) -> Overlap | None:
    """Give what two boxes (xmin, ymin, xmax, ymax) of one CRS share, with their rows and columns.

    Examples
    --------
    >>> overlap((0, 0, 10, 10), (100, 100), (5, 0, 25, 20), (40, 40))
    Overlap(shape=(20.0, 10.0), scale=0.2, share=0.5)
    """
    spans, steps, sizes = [], [], []
    for n, low in enumerate((1, 0)):  # rows lie along y
        spans.append(max(0.0, min(view[low + 2], image[low + 2]) - max(view[low], image[low])))
        steps.append((view[low + 2] - view[low]) / view_shape[n])
        sizes.append((image[low + 2] - image[low]) / image_shape[n])
    if not all(spans):
        return None
    area = (view[2] - view[0]) * (view[3] - view[1])
    return Overlap(
        (spans[0] / sizes[0], spans[1] / sizes[1]),
        min(step / size for step, size in zip(steps, sizes, strict=True)),
        spans[0] * spans[1] / area,
    )


def built_work(seen: Overlap, view_shape: tuple[int, int], bands: int) -> float:
    """Give the work of reading bands of an image that has been built, or of a scene."""
    rows, columns = view_shape
    return bands * min(seen.share * rows * columns, math.prod(seen.shape))


def live_work(seen: Overlap, *, scenes: int, bands: int, function: float) -> float:
    """Give the work of compositing what a view shows of a live image, in whole blocks.

    Parameters
    ----------
    scenes, bands
        Of the image, its quality band included: a block is computed with all bands.
    function
        Cost of the composite function.
    """
    # The coarsest level that has all pixels of the view.
    factor = 2.0 ** max(0, math.floor(math.log2(max(seen.scale, 1.0))))
    rows, columns = (math.ceil(side / factor / BLOCK) * BLOCK for side in seen.shape)
    return rows * columns * scenes * bands * (1 + function)


def map_memory(pixels: int, dates: int, itemsizes: Sequence[int]) -> int:
    """Give the bytes that drawing a map of some dates takes, from its bands' bytes of a pixel."""
    return pixels * dates * (MAP_BYTES + 2 * sum(itemsizes))


def coverage_memory(pixels: int, dates: int, itemsizes: Sequence[int]) -> int:
    """Give the bytes that making a coverage takes, as of `map_memory`."""
    return COVERAGE_COPIES * pixels * dates * sum(itemsizes)
