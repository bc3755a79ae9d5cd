"""The composite functions by name: what each is, before anybody computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from odc_bdc.errors import InvalidValueError, UnknownNameError, did_you_mean

Rounding: TypeAlias = Literal["trunc", "half_even", "floor"]
"""How a mean or median between two integers becomes one: toward zero, to the nearest, down."""

ROUNDINGS: tuple[Rounding, ...] = get_args(Rounding)


@dataclass(frozen=True, slots=True)
class CompositeFunction:
    """What is known of a composite function from its name alone.

    Attributes
    ----------
    name
        As in the names of cubes, but ``LCF`` where those of 2020 say ``STK``.
    picks_date
        Each pixel comes from one observation, so there is a PROVENANCE and a quality band.
    rounding
        Default rounding, or None where nothing is computed.
    """

    name: str
    picks_date: bool
    rounding: Rounding | None


_FUNCTIONS = {
    f.name: f
    for f in (
        CompositeFunction("AVG", picks_date=False, rounding="half_even"),
        # cube-builder casts numpy's median to the band's type, which truncates toward zero.
        CompositeFunction("MED", picks_date=False, rounding="trunc"),
        CompositeFunction("LCF", picks_date=True, rounding=None),
    )
}
_ALIASES = {"STK": "LCF"}


def composite_function(name: str) -> CompositeFunction:
    """Give a composite function by name, in any case; ``STK`` is an alias of ``LCF``.

    Raises
    ------
    UnknownNameError
        If there is no such function; the message lists the known ones.

    Examples
    --------
    >>> composite_function("stk").name
    'LCF'
    """
    upper = str(name).upper()
    found = _FUNCTIONS.get(_ALIASES.get(upper, upper))
    if found is None:
        known = ", ".join([*_FUNCTIONS, *(f"{a} (= {b})" for a, b in _ALIASES.items())])
        guess = did_you_mean(upper, [*_FUNCTIONS, *_ALIASES])
        raise UnknownNameError(f"{name!r} is not a composite function{guess}; known: {known}")
    return found


def check_rounding(rounding: str) -> None:
    """Raise `InvalidValueError` unless `rounding` is one of `ROUNDINGS`."""
    if rounding not in ROUNDINGS:
        raise InvalidValueError(f"rounding {rounding!r} is not one of {', '.join(ROUNDINGS)}")
