"""Hrefs of assets: absolute, in the form that datacube reads, and without secrets."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import parse_qsl, unquote, urlencode, urljoin, urlsplit, urlunsplit

from odc_bdc.errors import SceneError
from odc_bdc.indexing.sources.access import HEADER, PARAMETER

_SECRETS = frozenset({HEADER, PARAMETER, "api_key", "apikey"})
# An address without query and without anything that could be wrong with it.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[\w./~%+:=@,-]+", re.ASCII)
# GDAL's spellings of addresses; datacube and rasterio take the addresses.
_VIRTUAL = {"/vsicurl/": "", "/vsis3/": "s3://"}


def absolute_href(href: str, base: str) -> str:
    """Give an asset's href as path or address, seen from the item's own.

    A document that is indexed is read by many, so access tokens in addresses are left out.

    Raises
    ------
    SceneError
        If the href is no address.

    Examples
    --------
    >>> absolute_href("./B04.tif", "https://example.org/a/item.json")
    'https://example.org/a/B04.tif'
    >>> absolute_href("https://example.org/B04.tif?access_token=x", "/data/item.json")
    'https://example.org/B04.tif'
    """
    for virtual, scheme in _VIRTUAL.items():
        if href.startswith(virtual):
            href = scheme + href.removeprefix(virtual)
    if href.startswith("file://"):
        # rasterio does not decode such addresses; a path needs no decoding.
        return unquote(urlsplit(href).path)
    if "://" in href:
        return href if _PLAIN.fullmatch(href) else _without_secrets(href)
    if href.startswith("/") and "://" not in base:
        return href
    if base.startswith(("http://", "https://")):
        return _without_secrets(_joined(href, base))
    scheme, found, path = base.rpartition("://")
    return scheme + found + posixpath.normpath(posixpath.join(posixpath.dirname(path), href))


def _joined(href: str, base: str) -> str:
    try:
        return urljoin(base, href)
    except ValueError as e:
        raise SceneError(f"{href!r} is not an address: {e}") from e


def _without_secrets(href: str) -> str:
    try:
        parts = urlsplit(href)
        query = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError as e:
        raise SceneError(f"{href!r} is not an address: {e}") from e
    kept = [(name, value) for name, value in query if name.lower() not in _SECRETS]
    # Others, as signatures, are left exactly as they are: they hold only so.
    return href if len(kept) == len(query) else urlunsplit(parts._replace(query=urlencode(kept)))
