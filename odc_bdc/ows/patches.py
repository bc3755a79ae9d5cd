"""What must be changed in other packages. Nothing else of odc_bdc patches anything.

Each patch is for the versions that it was tried with; with others it is left out, with a warning
in the log, and the services still work: slower, with tracebacks in their error messages, or with
an error instead of an extent.
"""

from __future__ import annotations

import logging
from functools import lru_cache, wraps
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from odc.geo.crs import CRS

from odc_bdc.ows.tiles import asked_size

if TYPE_CHECKING:
    from collections.abc import Callable

_LOG = logging.getLogger(__name__)
_applied: set[str] = set()


def apply_patches() -> set[str]:
    """Apply all patches that fit the installed versions, once; give their names."""
    for name, package, versions, patch in (
        ("epsg_memo", "odc-geo", ("0.5.",), remember_epsg),
        ("quiet_errors", "datacube-ows", ("1.9.14",), hide_internals),
        ("extent", "datacube-ows", ("1.9.14",), ask_extent_in_degrees),
        ("all_times", "datacube-ows", ("1.9.14",), search_for_all_times),
        ("tile_size", "datacube-ows", ("1.9.14",), make_tiles_of_their_size),
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


def ask_extent_in_degrees() -> None:
    """Ask the postgis index for extents in EPSG:4326, and transform them.

    datacube-ows draws an extent where there are too many datasets for an image. It asks for it in
    the CRS of the request, and the index refuses CRSs without EPSG code.
    """
    from datacube_ows.index.postgis.api import OWSPostgisIndex  # noqa: PLC0415 (an extra)

    OWSPostgisIndex.extent = transformed(OWSPostgisIndex.extent)


def transformed(extent: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `OWSAbstractIndex.extent` so that it asks in EPSG:4326 and transforms the answer."""

    @wraps(extent)
    def in_degrees_first(*args: Any, crs: CRS | None = None, **search: Any) -> Any:
        found = extent(*args, crs=CRS("EPSG:4326"), **search)
        return found if found is None or crs is None else found.to_crs(crs)

    return in_degrees_first


def search_for_all_times() -> None:
    """Search for all times of a request, where datacube-ows takes only the first."""
    from odc_bdc.ows.all_times import search_all_times  # noqa: PLC0415 (needs an extra)

    search_all_times()


def make_tiles_of_their_size() -> None:
    """Make tiles of the size that their tile matrix set says, where datacube-ows makes 256."""
    from datacube_ows import wmts  # noqa: PLC0415 (an extra)

    wmts.wmts_args_to_wms = asked_size(wmts.wmts_args_to_wms)


def hide_internals() -> None:
    """Keep paths of the server, tracebacks and messages of unexpected errors out of answers.

    Errors are in the log. The message may name a path of the server. In WCS 2, datacube-ows fails
    over the traceback itself and answers with a page that is no OGC exception.
    """
    from datacube_ows import feature_info  # noqa: PLC0415 (an extra)
    from datacube_ows.ogc_exceptions import OGCException, WCS2Exception  # noqa: PLC0415 (an extra)

    feature_info.get_s3_browser_uris = public_links(feature_info.get_s3_browser_uris)
    for cls in (OGCException, WCS2Exception):
        cls.exception_response = quiet(cls.exception_response)


def public_links(links: Callable[..., set[str]]) -> Callable[..., set[str]]:
    """Wrap what gives a feature info its links to data: files of the server are of no use there."""

    @wraps(links)
    def without_files(*args: Any, **kwargs: Any) -> set[str]:
        return {link for link in links(*args, **kwargs) if not link.startswith("file:")}

    return without_files


def quiet(exception_response: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `OGCException.exception_response` so that it tells nothing of the server's inside."""

    @wraps(exception_response)
    def respond(self: Any, cfg: Any, traceback: Any = None) -> Any:  # noqa: ARG001 (its interface)
        if self.http_response >= 500:
            for error in self.errors:
                error["msg"] = "Internal server error."
        return exception_response(self, cfg)

    return respond
