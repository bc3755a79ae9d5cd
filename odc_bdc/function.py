"""The composite functions by name: what each is, before anybody computes.

Other packages add functions by an entry point of the group ``odc_bdc.composite_functions``, whose
value is a `CompositeFunction`; its name is that of the function, in capitals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Literal, TypeAlias, get_args

from odc_bdc.errors import InvalidValueError, UnknownNameError, did_you_mean

Rounding: TypeAlias = Literal["trunc", "half_even", "floor"]
"""How a mean or median between two integers becomes one: toward zero, to the nearest, down."""

ROUNDINGS: tuple[Rounding, ...] = get_args(Rounding)

Ordering: TypeAlias = Literal["efficacy", "reference_day", "time"]
"""Which observation is looked at first: of the clearest scene, of the nearest day, the earliest."""

ENTRY_POINTS = "odc_bdc.composite_functions"
"""Group of the entry points of other packages."""

_PERCENTILES = re.compile(r"P(\d{1,3})(,P\d{1,3})*")


@dataclass(frozen=True, slots=True)
class CompositeFunction:
    """What is known of a composite function from its name alone.

    Attributes
    ----------
    name
        As in the names of cubes, but ``LCF`` where those of 2020 say ``STK``.
    implementation
        ``module:function`` that computes it; see `odc_bdc.compositing.functions` for what it is
        given and what it gives.
    picks_date
        Each pixel comes from one observation, so there is a PROVENANCE and a quality band.
    rounding
        Default rounding, or None where nothing is computed or the result is no integer.
    ordering
        In which order the observations are given to it.
    dtype
        Type of the result where it is not the band's own; floating point has NaN for nodata.
    suffixes
        A band becomes one result for each, its name with the suffix.
    is_difference
        The result is one of values, so that a band's offset is not in it.
    common_names
        Common names of bands that it has to know.
    extra
        Pairs of name and type of results that are of no band.
    parameters
        What may be chosen, with the values chosen; pairs of name and value.
    cost
        Of compositing a value of one band of one scene, in times that of reading it: what a
        service reckons with before it begins (tests/benchmarks/costs.py).
    """

    name: str
    implementation: str
    picks_date: bool = False
    rounding: Rounding | None = None
    ordering: Ordering = "time"
    dtype: str | None = None
    suffixes: tuple[str, ...] = ("",)
    is_difference: bool = False
    common_names: tuple[str, ...] = ()
    extra: tuple[tuple[str, str], ...] = ()
    parameters: tuple[tuple[str, Any], ...] = ()
    cost: float = 1.0

    def with_parameters(self, given: Mapping[str, Any]) -> CompositeFunction:
        """Choose parameters.

        Raises
        ------
        InvalidValueError
            If there is no such parameter, or the value is of another kind than the default.
        """
        chosen = dict(self.parameters)
        for key, value in given.items():
            if key not in chosen:
                known = ", ".join(chosen) or "none"
                raise InvalidValueError(
                    f"{self.name} has no parameter {key!r}{did_you_mean(key, chosen)}; it has "
                    f"{known}"
                )
            _check_parameter(self.name, key, value)
            chosen[key] = value
        return replace(self, parameters=tuple(chosen.items()))

    def to_dict(self) -> dict[str, Any]:
        """Write the YAML form; `composite_function` of it gives the same function."""
        chosen = {key: value for key, value in self.parameters if key != "percentiles"}
        return {"name": self.name, **{k: v for k, v in chosen.items() if v is not None}}


_HERE = "odc_bdc.compositing.functions"
_OWN = (
    CompositeFunction("AVG", f"{_HERE}:mean", rounding="half_even", cost=0.1),
    # cube-builder casts numpy's median to the band's type, which truncates toward zero.
    CompositeFunction("MED", f"{_HERE}:median", rounding="trunc", cost=0.1),
    CompositeFunction(
        "LCF",
        f"{_HERE}:first_clear",
        picks_date=True,
        ordering="efficacy",
        parameters=(("cloudy_fallback", True),),
        cost=0.1,
    ),
    CompositeFunction(
        "MEDSTK",
        f"{_HERE}:first_clear",
        picks_date=True,
        ordering="reference_day",
        parameters=(("cloudy_fallback", True), ("reference_day", None)),
        cost=0.1,
    ),
    CompositeFunction("MIN", f"{_HERE}:minimum", cost=0.6),
    CompositeFunction("MAX", f"{_HERE}:maximum", cost=0.6),
    CompositeFunction("RANGE", f"{_HERE}:value_range", is_difference=True, cost=0.6),
    CompositeFunction(
        "STD",
        f"{_HERE}:standard_deviation",
        dtype="float32",
        is_difference=True,
        parameters=(("ddof", 0), ("min_count", 1)),
        cost=0.2,
    ),
    CompositeFunction(
        "COUNT", f"{_HERE}:count", suffixes=(), extra=(("COUNT", "uint16"),), cost=0.1
    ),
    CompositeFunction(
        "MAXNDVI", f"{_HERE}:maximum_ndvi", picks_date=True, common_names=("red", "nir"), cost=1.7
    ),
    CompositeFunction(
        "MAXNDI",
        f"{_HERE}:maximum_ndi",
        picks_date=True,
        common_names=("red", "nir", "swir16"),
        cost=2.7,
    ),
    CompositeFunction(
        "GEOMED",
        f"{_HERE}:geometric_median",
        rounding="half_even",
        extra=(("SMAD", "float32"), ("EMAD", "float32"), ("BCMAD", "float32")),
        cost=8.0,
    ),
    CompositeFunction("IDT", f"{_HERE}:latest", picks_date=True, cost=0.1),
)
_ALIASES = {"STK": "LCF"}


def composite_function(given: str | Mapping[str, Any]) -> CompositeFunction:
    """Give a composite function by name, in any case; ``STK`` is an alias of ``LCF``.

    Parameters
    ----------
    given
        The name, or a mapping of ``name`` and parameters. ``P25`` is a percentile (0 to 100), and
        ``P25,P50,P75`` are several, which give bands ``<band>_P25`` and so on.

    Raises
    ------
    UnknownNameError
        If there is no such function; the message lists the known ones.
    InvalidValueError
        If a parameter is not allowed.

    Examples
    --------
    >>> composite_function("stk").name
    'LCF'
    >>> composite_function("P25,P50,P75").suffixes
    ('_P25', '_P50', '_P75')
    >>> dict(composite_function({"name": "STD", "ddof": 1}).parameters)
    {'ddof': 1, 'min_count': 1}
    """
    if isinstance(given, Mapping):
        parameters = {key: value for key, value in given.items() if key != "name"}
        return composite_function(str(given.get("name", ""))).with_parameters(parameters)
    upper = str(given).upper().replace(" ", "")
    if _PERCENTILES.fullmatch(upper):
        return _percentiles(upper)
    functions = _functions()
    found = functions.get(_ALIASES.get(upper, upper))
    if found is None:
        names = [*functions, *_ALIASES]
        known = ", ".join([*functions, "Pnn", *(f"{a} (= {b})" for a, b in _ALIASES.items())])
        guess = did_you_mean(upper, names)
        raise UnknownNameError(f"{given!r} is not a composite function{guess}; known: {known}")
    return found


def _percentiles(text: str) -> CompositeFunction:
    numbers = tuple(int(part[1:]) for part in text.split(","))
    if max(numbers) > 100 or list(numbers) != sorted(set(numbers)):
        raise InvalidValueError(
            f"{text!r}: percentiles run from P0 to P100, in order and each once"
        )
    suffixes = ("",) if len(numbers) == 1 else tuple(f"_P{n}" for n in numbers)
    name = ",".join(f"P{n}" for n in numbers)
    return CompositeFunction(
        name,
        f"{_HERE}:percentiles",
        rounding="half_even",
        suffixes=suffixes,
        parameters=(("percentiles", numbers),),
        cost=0.1 + 0.15 * len(numbers),
    )


@cache
def _functions() -> dict[str, CompositeFunction]:
    """Give the functions by name, those of other packages included."""
    found = {function.name: function for function in _OWN}
    for entry in entry_points(group=ENTRY_POINTS):
        function = entry.load()
        if not isinstance(function, CompositeFunction) or function.name in found:
            raise InvalidValueError(
                f"entry point {entry.name} ({entry.value}) of group {ENTRY_POINTS} is no "
                "CompositeFunction, or has the name of another"
            )
        found[function.name] = function
    return found


def _check_parameter(function: str, key: str, value: Any) -> None:
    """Check the parameters of our own functions; those of others are theirs to check."""
    allowed: dict[str, tuple[str, Callable[[Any], bool]]] = {
        "cloudy_fallback": ("true or false", lambda v: isinstance(v, bool)),
        "reference_day": ("a day of the period from 1 on", lambda v: _is_whole(v, 1)),
        "ddof": ("0 or 1", lambda v: _is_whole(v, 0) and v <= 1),
        "min_count": ("a whole number from 1 on", lambda v: _is_whole(v, 1)),
    }
    if key in allowed and not allowed[key][1](value):
        raise InvalidValueError(f"{function}: {key} {value!r} is not {allowed[key][0]}")


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def check_rounding(rounding: str) -> None:
    """Raise `InvalidValueError` unless `rounding` is one of `ROUNDINGS`."""
    if rounding not in ROUNDINGS:
        raise InvalidValueError(f"rounding {rounding!r} is not one of {', '.join(ROUNDINGS)}")
