"""Arithmetic on single values: exact for every integer type, and rounded once, at the end."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from odc_bdc.compositing.kernels.jit import kernel

TRUNC, HALF_EVEN, FLOOR = 0, 1, 2
ROUNDING_CODES = {"trunc": TRUNC, "half_even": HALF_EVEN, "floor": FLOOR}


@kernel
def round_quotient(total: Any, n: Any, rounding: int) -> Any:
    """Divide a whole number by a positive one and round; both are given as float64.

    Exact while ``abs(total) < 2**53``: a quotient that is no whole number lies at least 1/n beside
    one, farther than float64 is wrong there. Divisions of float64 become vector instructions,
    those of int64 do not.
    """
    down = np.floor(total / n)
    rest = total - down * n
    up = 0.0
    if rounding == HALF_EVEN:
        odd = down - 2.0 * np.floor(0.5 * down)
        # Twice the rest is above n, or is n and the lower neighbour odd: both in one comparison.
        up = 1.0 if rest + rest + odd > n else 0.0
    elif rounding == TRUNC:
        up = 1.0 if total < 0 and rest > 0 else 0.0
    return down + up


@kernel
def round_middle(a: Any, b: Any, rounding: int) -> Any:
    """Give the mean of two integers, rounded.

    No step needs more bits than the values have, so that it stays in narrow vector instructions.
    """
    down = (a & b) + ((a ^ b) >> 1)
    odd = (a ^ b) & 1
    if rounding == TRUNC:
        return down + (odd & (down < 0))
    if rounding == HALF_EVEN:
        return down + (odd & down)
    return down


def quotient(total: Any, n: Any, rounding: int) -> Any:
    """Divide a sum by a count: a sum of integers is rounded, one of floats is not."""
    raise NotImplementedError  # compiled code gets what is below


@overload(quotient, strict=False)  # type: ignore[untyped-decorator]  # numba publishes no types
def _quotient(total: Any, n: Any, rounding: Any) -> Any:  # noqa: ARG001  # numba shows types
    if isinstance(total, types.Float):
        return lambda total, n, rounding: total / n  # noqa: ARG005
    return lambda total, n, rounding: round_quotient(np.float64(total), np.float64(n), rounding)


def midpoint(a: Any, b: Any, rounding: int) -> Any:
    """Give the mean of two values of one type, rounded if they are integers."""
    raise NotImplementedError  # compiled code gets what is below


@overload(midpoint, strict=False)  # type: ignore[untyped-decorator]  # numba publishes no types
def _midpoint(a: Any, b: Any, rounding: Any) -> Any:  # noqa: ARG001  # numba shows types
    if isinstance(a, types.Float):
        return lambda a, b, rounding: 0.5 * np.float64(a) + 0.5 * np.float64(b)  # noqa: ARG005
    return lambda a, b, rounding: round_middle(a, b, rounding)  # noqa: PLW0108


def between(a: Any, b: Any, part: float, parts: int, rounding: int) -> Any:
    """Give what lies `part` of `parts` on the way from a to b, rounded if they are integers."""
    raise NotImplementedError  # compiled code gets what is below


@overload(between, strict=False)  # type: ignore[untyped-decorator]  # numba publishes no types
def _between(a: Any, b: Any, part: Any, parts: Any, rounding: Any) -> Any:  # noqa: ARG001
    if isinstance(a, types.Float):

        def value(a: Any, b: Any, part: float, parts: int, rounding: int) -> Any:  # noqa: ARG001
            inside = (np.float64(a) * (parts - part) + np.float64(b) * part) / parts
            return inside if part > 0 else np.float64(a)  # b may be infinite

        return value
    return lambda a, b, part, parts, rounding: round_quotient(
        np.float64(a) * (parts - part) + np.float64(b) * part, np.float64(parts), rounding
    )
