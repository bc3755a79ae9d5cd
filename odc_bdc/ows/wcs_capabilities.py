"""Capabilities of WCS, made valid (OWS Common 2.0) and the same at each start of the server.

datacube-ows writes those of WCS 2 without a name of the provider, with names of CRSs where URIs are
wanted (OGC 11-053r1) and with an attribute that no schema knows, and keywords in an order that
changes with each start, for it keeps them in a set.
"""

from __future__ import annotations

from typing import Any

from lxml import etree

from odc_bdc.ows.describe import coverage_crss, crs_uri

_WCS_1 = "{http://www.opengis.net/wcs}"
_OWS = "{http://www.opengis.net/ows/2.0}"
_CRS = "{http://www.opengis.net/wcs/crs/1.0}"


def valid_wcs_2(body: bytes, provider: str) -> bytes:
    """Give capabilities of WCS 2 that are valid.

    Parameters
    ----------
    body
        As datacube-ows writes them.
    provider
        Who provides the service.
    """
    root = etree.fromstring(body)
    for about in root.iter(f"{_OWS}ServiceProvider"):
        if about.find(f"{_OWS}ProviderName") is None:
            about.insert(0, _element(f"{_OWS}ProviderName", provider))
    for box in root.iter(f"{_OWS}WGS84BoundingBox"):
        # There is none but that of two.
        box.attrib.pop("dimension", None)
    for supported in root.iter(f"{_CRS}CrsMetadata"):
        names = coverage_crss([crs.text or "" for crs in supported])
        tag = f"{_CRS}crsSupported"
        supported[:] = [_element(tag, crs_uri(name)) for name in names]
    for keywords in root.iter(f"{_OWS}Keywords"):
        _sort(keywords)
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8"))


def ordered_wcs_1(body: str) -> bytes:
    """Give capabilities of WCS 1 with their keywords in order."""
    root = etree.fromstring(body.strip().encode())
    for keywords in root.iter(f"{_WCS_1}keywords"):
        _sort(keywords)
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8"))


def _sort(keywords: Any) -> None:
    """Put the texts of elements in order; what is between them stays where it is."""
    texts = sorted(keyword.text or "" for keyword in keywords)
    for keyword, text in zip(keywords, texts, strict=True):
        keyword.text = text


def _element(tag: str, text: str) -> Any:
    made = etree.Element(tag)
    made.text = text
    return made
