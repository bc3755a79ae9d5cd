"""Capabilities of WMS 1.1.1, made of those of 1.3.0, which is all that datacube-ows writes.

OWSLib asks for this version unless told otherwise, and older programs know no other. The document
follows the DTD of OGC 01-068r3, annex A.1, which knows no namespaces and fixes the order of parts.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CONTENT_TYPE = "application/vnd.ogc.wms_xml"

_WMS = "{http://www.opengis.net/wms}"
_XLINK = "{http://www.w3.org/1999/xlink}"
_DOCTYPE = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    "<!DOCTYPE WMT_MS_Capabilities SYSTEM "
    '"http://schemas.opengis.net/wms/1.1.1/capabilities_1_1_1.dtd">\n'
)
_SERVICE = (
    *("Name", "Title", "Abstract", "KeywordList", "OnlineResource", "ContactInformation"),
    *("Fees", "AccessConstraints"),
)
_LAYER = (
    *("Name", "Title", "Abstract", "KeywordList", "SRS", "LatLonBoundingBox", "BoundingBox"),
    *("Dimension", "Extent", "Attribution", "AuthorityURL", "Identifier", "MetadataURL"),
    *("DataURL", "FeatureListURL", "Style", "Layer"),
)
_BOUNDS = {
    "minx": "westBoundLongitude",
    "miny": "southBoundLatitude",
    "maxx": "eastBoundLongitude",
    "maxy": "northBoundLatitude",
}
# Of legends it asks for the size, which nobody knows before they are drawn.
_STYLE = ("Name", "Title", "Abstract")


def write_111(root: ET.Element, latitude_first: Callable[[str], bool]) -> bytes:
    """Write capabilities as those of WMS 1.1.1.

    Parameters
    ----------
    root
        ``WMS_Capabilities`` of 1.3.0; it is changed.
    latitude_first
        Tells of a CRS whether boxes of 1.3.0 have the latitude first; those of 1.1.1 never have.
    """
    for element in root.iter():
        element.tag = element.tag.removeprefix(_WMS)
        _take_namespaces_off(element)
    old = ET.Element("WMT_MS_Capabilities", {"version": "1.1.1"})
    old.extend(root)
    service, capability = old.find("Service"), old.find("Capability")
    if service is not None:
        _keep(service, _SERVICE)
        for name in service.findall("Name"):
            name.text = "OGC:WMS"
    for path, mime in (
        ("Request/GetCapabilities/Format", CONTENT_TYPE),
        ("Exception/Format", "application/vnd.ogc.se_xml"),
    ):
        for element in capability.findall(path) if capability is not None else ():
            element.text = mime
    for layer in old.iter("Layer"):
        _change_layer(layer, latitude_first)
    return (_DOCTYPE + ET.tostring(old, encoding="unicode")).encode()


def _take_namespaces_off(element: ET.Element) -> None:
    given = element.attrib
    for name in [n for n in given if n.startswith(_XLINK)]:
        given[f"xlink:{name.removeprefix(_XLINK)}"] = given.pop(name)
        # The DTD has it as an attribute of each element that links.
        given["xmlns:xlink"] = _XLINK.strip("{}")


def _change_layer(layer: ET.Element, latitude_first: Callable[[str], bool]) -> None:
    for crs in layer.findall("CRS"):
        crs.tag = "SRS"
    for bounds in layer.findall("EX_GeographicBoundingBox"):
        bounds.tag = "LatLonBoundingBox"
        bounds.attrib = {name: bounds.findtext(tag, "") for name, tag in _BOUNDS.items()}
        bounds[:] = []
        bounds.text = None
    for box in layer.findall("BoundingBox"):
        name = box.attrib.pop("CRS")
        if latitude_first(name):
            x, y, far_x, far_y = (box.get(side, "") for side in ("miny", "minx", "maxy", "maxx"))
            box.attrib |= {"minx": x, "miny": y, "maxx": far_x, "maxy": far_y}
        box.set("SRS", name)
    for dimension in layer.findall("Dimension"):
        given = dimension.attrib
        units = given.pop("units", "")
        extent = ET.SubElement(layer, "Extent", given)
        extent.text, dimension.text = dimension.text, None
        dimension.attrib = {"name": given.get("name", ""), "units": units}
    for style in layer.findall("Style"):
        _keep(style, _STYLE)
    _keep(layer, _LAYER)


def _keep(element: ET.Element, tags: tuple[str, ...]) -> None:
    """Keep the children with these tags, in this order."""
    kept = [child for child in element if child.tag in tags]
    element[:] = sorted(kept, key=lambda child: tags.index(child.tag))
