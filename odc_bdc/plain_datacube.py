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

from odc_bdc.patching import Change

if TYPE_CHECKING:
    from collections.abc import Callable

BDC_CODE = 10857
"""The EPSG code of the BDC's CRS, which PROJ knows since 2025."""


def index_driver() -> None:
    """Tell datacube what it must know. This makes no index driver.

    It is named in ``datacube.plugins.index`` all the same: every program that opens an index calls
    what stands there before it searches, and programs of plain datacube import nothing else of us.
    What is not what these changes were tried with is left as it is; `odc-bdc doctor` tells.
    """
    for change in changes():
        owner, name = change.owner()
        method = getattr(owner, name)
        if not getattr(method, "by_odc_bdc", False) and change.is_known():
            wrapped: Any = wraps(method)(change.wrap(method))
            wrapped.by_odc_bdc = True
            setattr(owner, name, wrapped)


def changes() -> tuple[Change, ...]:
    """Give what is changed, with the PROJ that is here."""
    ranges = Change(
        "datacube.drivers.postgis._fields:NumericDocField.between", ("df02af042008d492",), _by_value
    )
    try:
        pyproj.CRS.from_epsg(BDC_CODE)
    except CRSError:
        # This one goes with Python 3.11, whose last pyproj brings a PROJ that does not know it.
        return ranges, Change("odc.geo.crs:CRS.to_epsg", ("a1df7ec2762b87b7",), _with_code)
    return (ranges,)


def _with_code(look_up: Callable[[CRS], int | None]) -> Callable[[CRS], int | None]:
    """Give a `CRS.to_epsg` that knows the code of the BDC's CRS, as it does with a newer PROJ."""
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
