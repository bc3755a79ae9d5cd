"""Which observations must be decoded for a window, and what is known of the others.

The image is the same as if all were decoded; `docs/why/building.md` says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from odc_bdc.quality import CLEAR, NODATA

if TYPE_CHECKING:
    from odc_bdc.building.observing import Look
    from odc_bdc.cube import CubeSpec

Strategy: TypeAlias = Literal["all", "clear", "in order"]
"""Which observations a function looks at: all of them, those that have a clear pixel, or one after
the other until each pixel has found its own."""

_OWN = "odc_bdc.compositing.functions"
_IN_ORDER = ("first_clear", "latest")


def strategy(cube: CubeSpec) -> Strategy:
    """Give the strategy for a cube's function.

    Functions of other packages, and masks of users, may look at whatever they are given.
    """
    module, _, name = cube.function.implementation.partition(":")
    if module != _OWN or cube.mask is not None:
        return "all"
    return "in order" if name in _IN_ORDER else "clear"


def order_of_choice(cube: CubeSpec, order: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Give the positions in which a function of the strategy "in order" tries observations."""
    latest = cube.function.implementation.endswith(":latest")
    return order[::-1] if latest else order


def try_in_order(
    cube: CubeSpec,
    looks: Sequence[Look],
    order: Sequence[int],
    has_data: Callable[[int], npt.NDArray[np.bool_]],
) -> None:
    """Ask `has_data` of each observation that a pixel may be taken from, best first.

    Once a pixel has found an observation that is clear (of `IDT`: that has data) no later one is
    asked for its sake. What never does is taken from the first that has data, if the function has
    that fallback.
    """
    open_ = np.ones(looks[0].codes.shape, np.bool_)
    for wanted in _wanted(cube):
        for position in order:
            candidates = wanted(looks[position]) & open_
            if candidates.any():
                open_ &= ~(candidates & has_data(position))
                if not open_.any():
                    return


def _wanted(cube: CubeSpec) -> Iterator[Callable[[Look], npt.NDArray[np.bool_]]]:
    """Give what makes a pixel eligible: first that it is clear, then that it is seen at all."""
    parameters = dict(cube.function.parameters)
    if not cube.function.implementation.endswith(":latest"):
        yield lambda look: look.codes == CLEAR
        if not parameters["cloudy_fallback"]:
            return
    yield lambda look: look.codes != NODATA
