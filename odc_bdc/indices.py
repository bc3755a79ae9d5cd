"""Spectral indices of bands with nodata."""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numexpr
import numpy as np
import numpy.typing as npt

from odc_bdc.errors import InvalidValueError
from odc_bdc.spectral_index import REFLECTANCE_ONE, BdcIndex, FormulaIndex, SpectralIndex

if TYPE_CHECKING:
    from collections.abc import Mapping

    from odc_bdc.cube import Encoding

_STORED_ONE = 10000
"""What an index of 1 is as the BDC stores it."""


def ndvi(
    red: npt.NDArray[Any], nir: npt.NDArray[Any], nodata: int | None = None
) -> npt.NDArray[np.float32]:
    """Compute the normalised difference vegetation index, ``(nir - red) / (nir + red)``.

    Parameters
    ----------
    red, nir
        Reflectances of one shape, any real dtype and scale (Rouse et al., 1974).
    nodata
        Value of either band that means no data; None if there is none.

    Returns
    -------
    numpy.ndarray
        float32, same shape; NaN where a band has no data or both are zero.
    """
    # Unsigned bands would wrap below zero: the difference is taken in float.
    r, n = red.astype(np.float32), nir.astype(np.float32)
    out: npt.NDArray[np.float32] = numexpr.evaluate(
        "where(r + n != 0, (n - r) / where(r + n != 0, r + n, 1), nan)",
        local_dict={"r": r, "n": n, "nan": np.float32(np.nan)},
        casting="same_kind",
    ).astype(np.float32)
    if nodata is not None:
        out[(red == nodata) | (nir == nodata)] = np.nan
    return out


def index_band(
    index: SpectralIndex,
    bands: Mapping[str, npt.NDArray[Any]],
    encodings: Mapping[str, Encoding],
    wanted: Encoding,
) -> npt.NDArray[Any]:
    """Compute a spectral index as a cube stores it.

    Parameters
    ----------
    bands
        Arrays of one shape, of integers or floating point, by the common names in the index's
        formula.
    encodings
        How each stores reflectance; without a scale, integers as ten-thousandths, and floating
        point as it is.
    wanted
        Type and nodata value of the result: an integer type holds ten-thousandths, cut toward
        zero, as the BDC stores them; a floating one the index itself.

    Returns
    -------
    numpy.ndarray
        Same shape. Nodata, which is NaN in a floating type, where a band has none, and where the
        formula has no finite value: it divides by zero, or takes a root of a negative number.
        Values beyond an integer type's range are set to its end; EVI may exceed 1, as it does in
        the BDC's cubes.

    Raises
    ------
    InvalidValueError
        If the index has no formula.

    Notes
    -----
    The BDC's own indices are computed in float64, so that one which is a whole number of
    ten-thousandths stays that number; those of spyndex in float32.
    """
    has_data = np.ones(next(iter(bands.values())).shape, dtype=bool)
    for name, values in bands.items():
        nodata = encodings[name].nodata
        if nodata is not None:
            has_data &= values != nodata
    given = {name: _ten_thousandths(values, encodings[name]) for name, values in bands.items()}
    times = _STORED_ONE if np.dtype(wanted.dtype).kind in "iu" else 1
    if isinstance(index, BdcIndex):
        values = _of_bdc(index, given, times)
    elif isinstance(index, FormulaIndex):
        values = _of_formula(index, given, times)
    else:
        raise InvalidValueError(f"{index.name} has no formula")
    return _stored(values, has_data & np.isfinite(values), wanted)


def _ten_thousandths(values: npt.NDArray[Any], known: Encoding) -> npt.NDArray[np.float64]:
    """Give reflectances times `REFLECTANCE_ONE`."""
    scale = known.scale or (1 if known.is_float else 1 / REFLECTANCE_ONE)
    times = scale * REFLECTANCE_ONE
    plus = (known.offset or 0) * REFLECTANCE_ONE
    out: npt.NDArray[np.float64] = values * np.float64(times) + plus
    return out


def _of_bdc(
    index: BdcIndex, bands: Mapping[str, npt.NDArray[np.float64]], times: int
) -> npt.NDArray[np.float64]:
    """Compute an index of the BDC; NaN where it would divide by zero."""
    below = numexpr.evaluate(index.denominator, local_dict=bands, global_dict={})
    above = numexpr.evaluate(index.numerator, local_dict=bands, global_dict={})
    defined = below != 0
    out: npt.NDArray[np.float64] = times * above / np.where(defined, below, 1)
    out[~defined] = np.nan
    return out


def _of_formula(
    index: FormulaIndex, bands: Mapping[str, npt.NDArray[np.float64]], times: int
) -> npt.NDArray[np.float32]:
    """Compute an index of spyndex; not finite where it has no value."""
    reflectances = {
        name: (values / REFLECTANCE_ONE).astype(np.float32) for name, values in bands.items()
    }
    constants = {name: np.float32(value) for name, value in index.constants}
    expression, numbers = _in_float32(index.formula)
    found: npt.NDArray[np.float32] = numexpr.evaluate(
        expression, local_dict={**reflectances, **constants, **numbers}, global_dict={}
    )
    # What float32 cannot hold is infinite, and so no data.
    with np.errstate(over="ignore"):
        return found * np.float32(times)


def _stored(
    values: npt.NDArray[Any], has_data: npt.NDArray[np.bool_], wanted: Encoding
) -> npt.NDArray[Any]:
    if np.dtype(wanted.dtype).kind == "f":
        return np.where(has_data, values, np.nan).astype(wanted.dtype)
    info = np.iinfo(wanted.dtype)
    whole = np.trunc(np.where(has_data, values, 0))
    out: npt.NDArray[Any] = np.clip(whole, info.min, info.max).astype(wanted.dtype)
    out[~has_data] = wanted.nodata or 0
    return out


@lru_cache(maxsize=512)
def _in_float32(formula: str) -> tuple[str, Mapping[str, np.float32]]:
    """Give a formula's numbers names, so that they can be float32: numexpr takes 2.0 as float64."""
    tree = ast.parse(formula, mode="eval").body
    namer = _NumberNamer()
    expression = ast.unparse(namer.visit(tree))
    return expression, namer.numbers


class _NumberNamer(ast.NodeTransformer):
    """Puts names in place of numbers."""

    def __init__(self) -> None:
        self.numbers: dict[str, np.float32] = {}

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """Leave exponents that are whole or half: numexpr makes products and roots of them."""
        if not (isinstance(node.op, ast.Pow) and _is_half(node.right)):
            return self.generic_visit(node)
        node.left = self.visit(node.left)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        """Name a number."""
        name = f"number{len(self.numbers)}"
        self.numbers[name] = np.float32(node.value)  # type: ignore[arg-type]  # checked before
        return ast.Name(name, ast.Load())


def _is_half(node: ast.expr) -> bool:
    value = node.value if isinstance(node, ast.Constant) else None
    return isinstance(value, int | float) and float(2 * value).is_integer()
