"""WSGI middleware for the RESTful URLs of WMTS (OGC 07-057r7, 10): a path for each tile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlencode

from odc_bdc.ows.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from odc_bdc.ows.requests import WSGI

ROOT = "/wmts/1.0.0"
CAPABILITIES = f"{ROOT}/WMTSCapabilities.xml"
NO_TIME = "default"
"""In place of a time it means the layer's default."""

_TILE = ("layer", "style", "time", "tilematrixset", "tilematrix", "tilerow", "tilecol")
_POINT = ("j", "i")
_IMAGE_FORMATS = {suffix: mime for mime, suffix in FORMATS.items()}
_INFO_FORMATS = {"json": "application/json", "html": "text/html"}


def tile_template(base: str, layer: str, *, timeless: bool = False) -> str:
    """Give the URL of a layer's tiles, with the variables of the standard in braces."""
    time = NO_TIME if timeless else "{Time}"
    return (
        f"{base}{ROOT}/{quote(layer)}/{{style}}/{time}/{{TileMatrixSet}}/{{TileMatrix}}/"
        "{TileRow}/{TileCol}.png"
    )


def info_template(base: str, layer: str, *, timeless: bool = False) -> str:
    """Give the URL of a layer's feature infos; J and I are pixels of a tile."""
    tile = tile_template(base, layer, timeless=timeless).removesuffix(".png")
    return f"{tile}/{{J}}/{{I}}.json"


def to_query(path: str) -> str | None:
    """Give the parameters of the request that a path stands for; None if it is no such path.

    Examples
    --------
    >>> to_query("/wmts/1.0.0/WMTSCapabilities.xml")
    'service=WMTS&version=1.0.0&request=GetCapabilities'
    >>> to_query("/wmts/1.0.0/a/ndvi/2020-01-01/BDC_Albers/10/252/249.png")[42:98]
    '&layer=a&style=ndvi&time=2020-01-01&tilematrixset=BDC_Al'
    """
    common = {"service": "WMTS", "version": "1.0.0"}
    if path == CAPABILITIES:
        return urlencode({**common, "request": "GetCapabilities"})
    if not path.startswith(f"{ROOT}/"):
        return None
    last, _, suffix = path.rpartition(".")
    parts = [unquote(part) for part in last.removeprefix(f"{ROOT}/").split("/")]
    if suffix in _IMAGE_FORMATS and len(parts) == len(_TILE):
        asked = {
            "request": "GetTile",
            **dict(zip(_TILE, parts, strict=True)),
            "format": _IMAGE_FORMATS[suffix],
        }
    elif suffix in _INFO_FORMATS and len(parts) == len(_TILE) + len(_POINT):
        asked = {
            "request": "GetFeatureInfo",
            **dict(zip((*_TILE, *_POINT), parts, strict=True)),
            "infoformat": _INFO_FORMATS[suffix],
            "format": "image/png",
        }
    else:
        return None
    if asked["time"] == NO_TIME:
        del asked["time"]
    return urlencode({**common, **asked})


class RestfulTiles:
    """Turns RESTful requests of WMTS into those with parameters, which datacube-ows knows."""

    def __init__(self, application: WSGI) -> None:
        self.application = application

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Pass the request on; what is no RESTful request stays as it is."""
        query = to_query(str(environ.get("PATH_INFO", "")))
        if query is not None:
            environ = {**environ, "PATH_INFO": "/wmts", "QUERY_STRING": query}
        return self.application(environ, start_response)
