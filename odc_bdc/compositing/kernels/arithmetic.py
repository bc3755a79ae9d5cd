"""Arithmetic on single values: exact for every integer type, and rounded once, at the end."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from odc_bdc.compositing.kernels.jit import inner

TRUNC, HALF_EVEN, FLOOR = 0, 1, 2
ROUNDING_CODES = {"trunc": TRUNC, "half_even": HALF_EVEN, "floor": FLOOR}


def narrow(value: Any, like: Any) -> Any:
    """Give a value the type of another one.

    numba widens integers to 64 bits whenever it computes with them, and vector instructions then
    take an eighth of the pixels of 8 bits that they could.
    """
    raise NotImplementedError  # compiled code gets what is below


@overload(narrow, strict=False)  # type: ignore[untyped-decorator]  # numba publishes no types
def _narrow(value: Any, like: Any) -> Any:  # noqa: ARG001  # numba shows types
    kind = like
    return lambda value, like: kind(value)  # noqa: ARG005


def is_whole(array: Any) -> bool:
    """Tell whether an array holds integers."""
    raise NotImplementedError  # compiled code gets what is below


@overload(is_whole, strict=False)  # type: ignore[untyped-decorator]  # numba publishes no types
def _is_whole(array: Any) -> Any:
    whole = isinstance(array.dtype, types.Integer)
    return lambda array: whole  # noqa: ARG005


@inner
def round_quotient(total: Any, n: Any, rounding: int) -> Any:
    """Divide a whole number by a positive one and round; both are given as floats of one type.

    Exact in float64 while ``abs(total) < 2**53``: a quotient that is no whole number lies at least
    1/n beside one, farther than the division is wrong there. For the same reason exact in float32
    for sums of up to 255 values of 16 bits. Divisions of floats become vector instructions, those
    of integers do not.
    """
    down = np.floor(total / n)
    rest = total - down * n
    up = narrow(0, n)
    if rounding == HALF_EVEN:
        odd = down - narrow(2, n) * np.floor(narrow(0.5, n) * down)
        # Twice the rest is above n, or is n and the lower neighbour odd: both in one comparison.
        up = narrow(1 if rest + rest + odd > n else 0, n)
    elif rounding == TRUNC:
        up = narrow(1 if (total < 0) & (rest > 0) else 0, n)
    return down + up


@inner
def round_middle(a: Any, b: Any, rounding: int) -> Any:
    """Give the mean of two integers, rounded.

    No step needs more bits than the values have, so that it stays in narrow vector instructions.
    """
    differing = narrow(a ^ b, a)
    down = narrow((a & b) + (differing >> 1), a)
    odd = narrow(differing & 1, a)
    if rounding == TRUNC:
        return narrow(down + (odd if down < 0 else narrow(0, a)), a)
    if rounding == HALF_EVEN:
        return narrow(down + (odd & down), a)
    return down


def quotient(total: Any, n: Any, rounding: int, like: Any) -> Any:
    """Divide a sum by a count: one of integers is rounded, worked out in the float type of `like`.

    A sum of floats is not rounded.
    """
    raise NotImplementedError  # compiled code gets what is below


@overload(quotient, strict=False)  # type: ignore[untyped-decorator]  # numba publishes no types
def _quotient(total: Any, n: Any, rounding: Any, like: Any) -> Any:  # noqa: ARG001  # shows types
    if isinstance(total, types.Float):
        return lambda total, n, rounding, like: total / n  # noqa: ARG005
    return lambda total, n, rounding, like: round_quotient(
        narrow(total, like), narrow(n, like), rounding
    )


def midpoint(a: Any, b: Any, rounding: int) -> Any:
    """Give the mean of two values of one type, rounded if they are integers."""
    raise NotImplementedError  # compiled code gets what is below


@overload(midpoint, strict=False)  # type: ignore[untyped-decorator]  # numba publishes no types
def _midpoint(a: Any, b: Any, rounding: Any) -> Any:  # noqa: ARG001  # numba shows types
    if isinstance(a, types.Float):
        return lambda a, b, rounding: 0.5 * np.float64(a) + 0.5 * np.float64(b)  # noqa: ARG005
    return lambda a, b, rounding: round_middle(a, b, rounding)  # noqa: PLW0108


def between(a: Any, b: Any, part: Any, parts: Any, rounding: int) -> Any:
    """Give what lies `part` of `parts` on the way from a to b, rounded if they are integers.

    The parts are whole numbers, given as floats of the type to compute in (`round_quotient`).
    """
    raise NotImplementedError  # compiled code gets what is below


@overload(between, strict=False)  # type: ignore[untyped-decorator]  # numba publishes no types
def _between(a: Any, b: Any, part: Any, parts: Any, rounding: Any) -> Any:  # noqa: ARG001
    if isinstance(a, types.Float):

        def value(a: Any, b: Any, part: Any, parts: Any, rounding: int) -> Any:  # noqa: ARG001
            inside = (np.float64(a) * (parts - part) + np.float64(b) * part) / parts
            return inside if part > 0 else np.float64(a)  # b may be infinite

        return value
    return lambda a, b, part, parts, rounding: round_quotient(
        narrow(a, parts) * (parts - part) + narrow(b, parts) * part, parts, rounding
    )
