"""What plain datacube must know before it searches for what the BDC has, on its driver ``postgis``.

It refuses to search in a CRS without an EPSG code (``Non-EPSG-style CRS``), and fails at a range of
a number that has no index of its own, as ``cloud_cover=(0, 20)``. Both are reported with a mend, in
``docs/upstream``; until datacube has these, `index_driver` does it.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

import pyproj
from odc.geo.crs import CRS
from pyproj.exceptions import CRSError

if TYPE_CHECKING:
    from collections.abc import Callable

BDC_CODE = 10857
"""The EPSG code of the BDC's CRS, which PROJ knows since 2025."""


def index_driver() -> None:
    """Tell datacube what it must know. This makes no index driver.

    It is named in ``datacube.plugins.index`` all the same: every program that opens an index calls
    what stands there before it searches, and programs of plain datacube import nothing else of us.
    """
    try:
        pyproj.CRS.from_epsg(BDC_CODE)
    except CRSError:
        CRS.to_epsg = _once(CRS.to_epsg, _with_code)  # this goes with Python 3.11
    from datacube.drivers.postgis._fields import NumericDocField  # noqa: PLC0415 (seconds)

    NumericDocField.between = _once(NumericDocField.between, _by_value)


def _once(method: Callable[..., Any], wrap: Callable[[Any], Any]) -> Callable[..., Any]:
    """Wrap a method unless it is wrapped already."""
    if getattr(method, "by_odc_bdc", False):
        return method
    wrapped: Any = wraps(method)(wrap(method))
    wrapped.by_odc_bdc = True
    changed: Callable[..., Any] = wrapped
    return changed


def _with_code(look_up: Callable[[CRS], int | None]) -> Callable[[CRS], int | None]:
    """Give a `CRS.to_epsg` that knows the code of the BDC's CRS, as it does with a newer PROJ.

    The last pyproj for Python 3.11 brings a PROJ that does not.
    """
    from odc_bdc.grid.crs import BDC_CRS, normalise_crs  # noqa: PLC0415 (only with an old PROJ)

    def to_epsg(self: CRS) -> int | None:
        # PROJ would search all that it knows for the parameters, some 75 ms for each object.
        if not str(self).startswith("EPSG:") and normalise_crs(self) is BDC_CRS:
            return BDC_CODE
        return look_up(self)

    return to_epsg


def _by_value(between: Callable[..., Any]) -> Callable[..., Any]:
    """Give a `NumericDocField.between` that compares numbers where they have no index of ranges."""
    from datacube.drivers.postgis._fields import ValueBetweenExpression  # noqa: PLC0415

    def compare(self: Any, low: Any, high: Any) -> Any:
        if self.indexed:
            return between(self, low, high)
        return ValueBetweenExpression(self, low, high)

    return compare
