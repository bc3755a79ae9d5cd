"""WSGI middleware in front of datacube-ows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote_plus

from odc_bdc.errors import InvalidValueError
from odc_bdc.grid import normalise_crs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from odc_bdc.ows.requests import WSGI

CRS_PARAMETERS = frozenset({"crs", "srs", "response_crs", "subsettingcrs", "outputcrs"})


class HealProjStrings:
    """Restores CRS parameters that are proj strings.

    In a URL ``+`` means a blank, so ``CRS=+proj=aea +lat_0=-12`` loses its plus signs unless the
    client wrote them as ``%2B``, and QGIS does not.
    """

    def __init__(self, application: WSGI) -> None:
        self.application = application

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Pass the request on, its query string healed."""
        query = environ.get("QUERY_STRING", "")
        if "proj" in query:
            environ = {**environ, "QUERY_STRING": heal_query(query)}
        return self.application(environ, start_response)


def heal_query(query: str) -> str:
    """Restore the proj strings among the CRS parameters of a query string.

    Examples
    --------
    >>> heal_query("layers=a&crs=+proj=longlat+%2Bdatum=WGS84")
    'layers=a&crs=%2Bproj%3Dlonglat%20%2Bdatum%3DWGS84%20%2Btype%3Dcrs'
    """
    return "&".join(_heal(part) for part in query.split("&"))


def _heal(part: str) -> str:
    key, _, value = part.partition("=")
    text = unquote_plus(value)
    if unquote_plus(key).lower() not in CRS_PARAMETERS or "proj=" not in text:
        return part
    proj = " ".join(f"+{word.lstrip('+')}" for word in text.split())
    try:
        return f"{key}={quote(str(normalise_crs(proj)), safe='')}"
    except InvalidValueError:
        return part
