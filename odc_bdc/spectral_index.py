"""The spectral indices by name: what each is, before anybody computes."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

from odc_bdc.errors import InvalidValueError, UnknownNameError


@dataclass(frozen=True, slots=True)
class SpectralIndex:
    """What is known of a spectral index from its name alone.

    Attributes
    ----------
    name
        As the band is called.
    title
        In words.
    bands
        Common names of the bands that enter.
    """

    name: str
    title: str
    bands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BdcIndex(SpectralIndex):
    """An index of the BDC's cubes, which is computed in ten-thousandths as the BDC does.

    Attributes
    ----------
    numerator, denominator
        In the names of `bands`, for reflectances times `REFLECTANCE_ONE`.
    """

    numerator: str
    denominator: str


@dataclass(frozen=True, slots=True)
class FormulaIndex(SpectralIndex):
    """An index of spyndex.

    Attributes
    ----------
    formula
        In the names of `bands` and `constants`, for reflectances; numbers, ``+ - * / **`` and
        parentheses only.
    constants
        Pairs of name and value.
    """

    formula: str
    constants: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        """Write the formula out, with the values of its constants."""
        values = "".join(f", {name} = {value:g}" for name, value in self.constants)
        return f"{self.name} = {self.formula}{values}"


REFLECTANCE_ONE = 10000
"""What a reflectance of 1 is in the BDC's formulas: it stores reflectances as ten-thousandths."""


def _difference(name: str, title: str, high: str, low: str) -> BdcIndex:
    return BdcIndex(name, title, (high, low), f"{high} - {low}", f"{high} + {low}")


_INDICES = {
    index.name: index
    for index in (
        # Rouse et al. (1974).
        _difference("NDVI", "Normalised difference vegetation index", "nir", "red"),
        # Huete et al. (2002), doi:10.1016/S0034-4257(02)00096-2; with the numbers of MODIS.
        BdcIndex(
            "EVI",
            "Enhanced vegetation index",
            ("nir", "red", "blue"),
            "2.5 * (nir - red)",
            f"nir + 6 * red - 7.5 * blue + {REFLECTANCE_ONE}",
        ),
        # Key and Benson (2006), as in the BDC's S2-16D-2.
        _difference("NBR", "Normalised burn ratio", "nir", "swir22"),
        # McFeeters (1996), doi:10.1080/01431169608948714.
        _difference("NDWI", "Normalised difference water index", "green", "nir"),
    )
}

SPECTRAL_INDICES = tuple(_INDICES)
"""The names of the BDC's own indices; `spectral_index` knows those of spyndex too."""

_BANDS = {
    "A": "coastal",
    "B": "blue",
    "G1": "green05",
    "G": "green",
    "Y": "yellow",
    "R": "red",
    "RE1": "rededge1",
    "RE2": "rededge2",
    "RE3": "rededge3",
    "N": "nir",
    "N2": "nir08",
    "WV": "nir09",
    "S1": "swir16",
    "S2": "swir22",
}
"""Common names of spyndex's bands, the red edges numbered as in the products of Sentinel-2."""

_THERMAL, _RADAR = {"T", "T1", "T2"}, {"HH", "HV", "VH", "VV"}


def spectral_index(name: str, constants: Mapping[str, float] | None = None) -> SpectralIndex:
    """Give a spectral index by name: one of the BDC's, or else one of spyndex's.

    Parameters
    ----------
    name
        In any case, as long as it then means one index.
    constants
        Values for constants of the formula; those left out have the value that spyndex gives them.

    Raises
    ------
    UnknownNameError
        If there is no such index; the message lists those of similar names.
    InvalidValueError
        If the index needs more than bands of reflectance, or a constant is missing or not its own.

    Notes
    -----
    Formulas and constants of spyndex are those of the list Awesome Spectral Indices (Montero et
    al., 2023, doi:10.1038/s41597-023-02096-0).

    Examples
    --------
    >>> spectral_index("ndvi").bands
    ('nir', 'red')
    >>> print(spectral_index("SAVI", {"L": 0.5}))
    SAVI = (1.0 + L) * (nir - red) / (nir + red + L), L = 0.5
    """
    own = _INDICES.get(str(name).upper())
    if own is None:
        return _of_spyndex(_spelled(str(name)), constants or {})
    if constants:
        raise InvalidValueError(f"{own.name} is the BDC's, whose formula has no constants to set")
    return own


def _spelled(name: str) -> str:
    """Give a name as spyndex spells it."""
    known = _spyndex().indices
    if name in known:
        return name
    in_lower_case: dict[str, list[str]] = {}
    for one in (*SPECTRAL_INDICES, *known):
        spellings = in_lower_case.setdefault(one.lower(), [])
        if one not in spellings:
            spellings.append(one)
    found = in_lower_case.get(name.lower(), [])
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidValueError(f"{name!r} may be {' or '.join(found)}: write it as one of them")
    similar = get_close_matches(name.lower(), in_lower_case, n=4)
    near = [one for lower in similar for one in in_lower_case[lower]]
    guess = f", do you mean {'one of ' * (len(near) > 1)}{', '.join(near)}?" if near else ""
    raise UnknownNameError(
        f"{name!r} is not a spectral index{guess}; known: {', '.join(SPECTRAL_INDICES)}, and "
        "those of spyndex"
    )


def _of_spyndex(name: str, given: Mapping[str, float]) -> FormulaIndex:
    found = _spyndex().indices[name]
    inputs = tuple(dict.fromkeys(found.bands))
    defaults = {key: _spyndex().constants[key].default for key in _spyndex().constants}
    _check_inputs(name, [i for i in inputs if i not in _BANDS and i not in defaults])
    own = [i for i in inputs if i in defaults]
    _check_constants(name, own, given, defaults)
    return FormulaIndex(
        name,
        found.long_name,
        tuple(_BANDS[i] for i in inputs if i in _BANDS),
        _renamed(name, found.formula, {**_BANDS, **{constant: constant for constant in own}}),
        tuple((c, float(given.get(c, defaults[c]))) for c in own),
    )


def _check_inputs(name: str, strange: list[str]) -> None:
    """Refuse an index that is of more than bands of reflectance."""
    if not strange:
        return
    listed = ", ".join(strange)
    if _THERMAL.issuperset(strange):
        why = f"temperature ({listed}), but bands of a cube are taken as reflectances"
    elif _RADAR.issuperset(strange):
        why = f"backscatter of a radar ({listed}), but bands of a cube are taken as reflectances"
    elif all(one.startswith("k") for one in strange):
        why = f"kernels of pairs of bands ({listed}), which a cube does not compute"
    else:
        why = f"{listed}, which is neither a band of reflectance nor a constant"
    raise InvalidValueError(f"{name} needs {why}")


def _check_constants(
    name: str, own: list[str], given: Mapping[str, float], defaults: Mapping[str, Any]
) -> None:
    strange = ", ".join(repr(c) for c in given if c not in own)
    if strange:
        known = f"constants {', '.join(own)}" if own else "no constants"
        raise InvalidValueError(f"{name} has {known}; {strange} is not known")
    lacking = [c for c in own if c not in given and defaults[c] is None]
    if lacking:
        example = ", ".join(f"{c}: NUMBER" for c in lacking)
        said = "; ".join(f"{c} is: {_spyndex().constants[c].description}" for c in lacking)
        raise InvalidValueError(
            f"{name} needs values for {', '.join(lacking)}: write {{name: {name}, constants: "
            f"{{{example}}}}} ({said})"
        )


def _renamed(name: str, formula: str, names: Mapping[str, str]) -> str:
    """Give a formula in other names, having seen that it is arithmetic of these and of numbers."""
    tree = ast.parse(formula, mode="eval").body
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in names:
            node.id = names[node.id]
        elif not _is_arithmetic(node):
            raise InvalidValueError(
                f"{name} has a formula that is more than arithmetic of bands and constants: "
                f"{formula}"
            )
    return ast.unparse(tree)


_ARITHMETIC = (
    ast.BinOp,
    ast.UnaryOp,
    ast.Add,
    ast.Sub,
    ast.Mult,
    ast.Div,
    ast.Pow,
    ast.USub,
    ast.UAdd,
    ast.Load,
)


def _is_arithmetic(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return type(node.value) in {int, float}
    return isinstance(node, _ARITHMETIC)


@cache
def _spyndex() -> Any:
    import spyndex  # noqa: PLC0415 (slow, and only few cubes need it)

    return spyndex
