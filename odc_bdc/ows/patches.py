"""What must be changed in other packages. Nothing else of odc_bdc patches anything.

Each patch is for the versions that it was tried with; with others it is left out, with a warning
in the log, and the services still work: slower, with tracebacks in their error messages, or with
an error instead of an extent.
"""

from __future__ import annotations

import logging
import math
from functools import lru_cache, wraps
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from odc.geo.crs import CRS

from odc_bdc.ows.exceptions import answer
from odc_bdc.ows.guard import protocol_in

if TYPE_CHECKING:
    from collections.abc import Callable

_LOG = logging.getLogger(__name__)
_applied: set[str] = set()


def apply_patches() -> set[str]:
    """Apply all patches that fit the installed versions, once; give their names."""
    for name, package, versions, patch in (
        ("epsg_memo", "odc-geo", ("0.5.",), remember_epsg),
        ("quiet_errors", "datacube-ows", ("1.9.14",), hide_internals),
        ("complete_search", "datacube-ows", ("1.9.14",), search_completely),
        ("wide_views", "datacube-ows", ("1.9.14",), measure_wide_views),
        ("read_errors", "datacube-ows", ("1.9.14",), tell_read_errors),
        ("quick_png", "datacube-ows", ("1.9.14",), write_png_quickly),
    ):
        if name in _applied:
            continue
        if version(package).startswith(versions):
            patch()
            _applied.add(name)
        else:
            _LOG.warning("%s %s is not known: %s left out", package, version(package), name)
    return set(_applied)


def remember_epsg() -> None:
    """Look up the EPSG code of a CRS once per process instead of once per object.

    For a CRS without a code, as the BDC's, PROJ searches its whole database: some 75 ms, in each
    request, since datacube-ows makes a new object each time.
    """
    CRS.to_epsg = memoised(CRS.to_epsg)


def memoised(to_epsg: Callable[[CRS], int | None]) -> Callable[[CRS], int | None]:
    """Wrap `CRS.to_epsg` with a memory of 256 CRSs, told apart by their text."""

    @lru_cache(maxsize=256)
    def of_text(text: str) -> int | None:
        return to_epsg(CRS(text))

    @wraps(to_epsg)
    def remembered(self: CRS) -> int | None:
        return of_text(str(self))

    return remembered


def search_completely() -> None:
    """Use `odc_bdc.ows.search.CompleteIndex` in the place of datacube-ows's own index."""
    from datacube_ows.index.postgis.api import OWSPostgisIndexDriver  # noqa: PLC0415 (an extra)

    from odc_bdc.ows.search import CompleteIndex  # noqa: PLC0415 (imports an extra)

    OWSPostgisIndexDriver._driver = CompleteIndex()  # noqa: SLF001 (a class of its own has it)


def measure_wide_views() -> None:
    """Take a view whose scale cannot be computed for the widest that there is.

    datacube-ows compares the scale with limits. Of a map that is zoomed out beyond what its CRS
    shows it computes none, and answers with an error.
    """
    from datacube_ows import resource_limits, wms_utils  # noqa: PLC0415 (an extra)

    wms_utils.zoom_factor = or_else(wms_utils.zoom_factor, 0.0)
    scale = resource_limits.RequestScale
    scale.base_zoom_level = property(or_else(scale.base_zoom_level.fget, -math.inf))
    scale.load_adjusted_zoom_level = property(
        or_else(scale.load_adjusted_zoom_level.fget, -math.inf)
    )


def or_else(measure: Callable[..., float], widest: float) -> Callable[..., float]:
    """Wrap a measure of a view so that it is `widest` where it cannot be computed."""

    @wraps(measure)
    def measured(*args: Any, **kwargs: Any) -> float:
        try:
            return measure(*args, **kwargs)
        except (ArithmeticError, ValueError):
            return widest

    return measured


def tell_read_errors() -> None:
    """Let a file that cannot be read fail the request, see `odc_bdc.ows.failures`."""
    from datacube_ows.loading import DataStacker  # noqa: PLC0415 (an extra)

    from odc_bdc.ows.failures import read_or_fail  # noqa: PLC0415 (imports datacube)

    read_data = DataStacker.read_data

    @wraps(read_data)
    def read_all(*args: Any, **kwargs: Any) -> Any:
        return read_or_fail(read_data, *args, **kwargs)

    DataStacker.read_data = read_all


def write_png_quickly() -> None:
    """Write images with `odc_bdc.ows.images` instead of datacube-ows."""
    from datacube_ows import data  # noqa: PLC0415 (an extra)

    from odc_bdc.ows.images import dataset_to_png  # noqa: PLC0415 (imports an extra)

    data.xarray_image_as_png = dataset_to_png


def hide_internals() -> None:
    """Answer with exceptions in the request's own format, and keep the server's inside out of them.

    datacube-ows writes WMS 1.1.1 and WMTS exceptions as WMS 1.3.0, codes and tracebacks of WCS 2
    not at all, and paths of the server into messages. What is hidden is in the log.
    """
    from datacube_ows import feature_info  # noqa: PLC0415 (an extra)
    from datacube_ows.ogc_exceptions import OGCException, WCS2Exception  # noqa: PLC0415 (an extra)

    feature_info.get_s3_browser_uris = public_links(feature_info.get_s3_browser_uris)
    for cls in (OGCException, WCS2Exception):
        cls.exception_response = respond


def respond(error: Any, cfg: Any, traceback: Any = None) -> tuple[bytes, int, dict[str, str]]:  # noqa: ARG001 (its interface)
    """Write the answer to an `OGCException` of datacube-ows (its interface)."""
    from flask import request  # noqa: PLC0415 (an extra)

    from odc_bdc.ows.failures import refusals_of  # noqa: PLC0415 (imports an extra)

    sent = answer(protocol_in(request.environ), refusals_of(error.errors, error.http_response))
    return sent.body, sent.status, cfg.response_headers(sent.headers)


def public_links(links: Callable[..., set[str]]) -> Callable[..., set[str]]:
    """Wrap what gives a feature info its links to data: files of the server are of no use there."""

    @wraps(links)
    def without_files(*args: Any, **kwargs: Any) -> set[str]:
        return {link for link in links(*args, **kwargs) if not link.startswith("file:")}

    return without_files
