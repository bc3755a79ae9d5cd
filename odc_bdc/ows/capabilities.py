"""Capabilities of WMS and WMTS: what those of datacube-ows lack, and what is out of order in them.

The documents are changed as XML, after datacube-ows has written them. Added are the layers of the
tile grids, the RESTful URLs, and what a client may ask of times. Names of CRSs that are proj
strings are left out of WMS (they are still understood): clients split them at their blanks.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

from odc_bdc.ows import restful, tile_grid
from odc_bdc.ows.crs import CRS84, CRS84_URN
from odc_bdc.ows.formats import FORMATS
from odc_bdc.ows.languages import Text, language_of
from odc_bdc.ows.old_capabilities import CONTENT_TYPE, write_111
from odc_bdc.ows.requests import (
    WMS_111,
    Query,
    operation_of,
    protocol_of,
    query_if_readable,
    service_of,
)
from odc_bdc.ows.whole import whole_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from odc_bdc.ows.requests import WSGI
    from odc_bdc.timeline import Period

_WMS = "{http://www.opengis.net/wms}"
_WMTS = "{http://www.opengis.net/wmts/1.0}"
_OWS = "{http://www.opengis.net/ows/1.1}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_PREFIXES = {
    "xlink": "http://www.w3.org/1999/xlink",
    "xsi": "http://www.w3.org/2001/XMLSchema-instance",
    "ows": _OWS.strip("{}"),
    # A service's own has no prefix in the end. The registry is of the whole process, though, and
    # two cannot have none.
    "wms": _WMS.strip("{}"),
    "wmts": _WMTS.strip("{}"),
}
_SERVICES = ("wms", "wmts")
_SCHEMA_LOCATION = "{http://www.w3.org/2001/XMLSchema-instance}schemaLocation"
_SCHEMAS = "http://schemas.opengis.net"
_WMS_SCHEMA = f"{_WMS.strip('{}')} {_SCHEMAS}/wms/1.3.0/capabilities_1_3_0.xsd"
_WMTS_SCHEMA = f"{_WMTS.strip('{}')} {_SCHEMAS}/wmts/1.0/wmtsGetCapabilities_response.xsd"

_GRIDS = Text("Tiles of the BDC grids", "Tiles das grades BDC")
_GRIDS_ABOUT = Text(
    "Outlines and ids of the tiles for which the Brazil Data Cube publishes cubes",
    "Contornos e identificadores dos tiles dos quais o Brazil Data Cube publica cubos",
)
_OUTLINE = Text("Outlines", "Contornos")


class Capabilities:
    """WSGI middleware that completes capabilities on their way to the client."""

    def __init__(
        self,
        application: WSGI,
        portuguese: Mapping[str, str],
        periods: Callable[[str], Sequence[Period] | None],
        latitude_first: Callable[[str], bool],
    ) -> None:
        """Wrap an application.

        Parameters
        ----------
        portuguese
            Portuguese texts by the English ones, for what datacube-ows does not translate.
        periods
            Gives the periods of a layer by its name.
        latitude_first
            Tells of the name of a CRS whether the standards order its axes latitude first.
        """
        self.application = application
        self.portuguese = portuguese
        self.periods = periods
        self.latitude_first = latitude_first

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Pass the request on; capabilities are changed, all else stays as it is."""
        asked = query_if_readable(environ) or Query(())
        service = service_of(environ, asked) or "wms"
        if operation_of(asked) != "getcapabilities" or service not in _SERVICES:
            return self.application(environ, start_response)
        status, headers, body = answer = whole_answer(self.application, environ)
        if answer.good:
            pt = language_of(environ) == "pt"
            old = protocol_of(str(environ.get("PATH_INFO", "/")), asked) == WMS_111
            body = self.completed(service, body, pt=pt, old=old)
            headers = answer.without("content-length", *(["content-type"] if old else []))
            headers += [("Content-Type", CONTENT_TYPE)] if old else []
            headers += [
                ("Content-Length", str(len(body))),
                ("Content-Language", "pt" if pt else "en"),
            ]
        start_response(status, headers)
        return [body]

    def completed(self, service: str, body: bytes, *, pt: bool, old: bool = False) -> bytes:
        """Give a capabilities document with all that it lacks.

        Parameters
        ----------
        service
            ``wms`` or ``wmts``.
        body
            As datacube-ows writes it.
        pt
            Texts in Portuguese instead of English.
        old
            As of WMS 1.1.1 instead of 1.3.0.
        """
        for prefix, uri in _PREFIXES.items():
            ET.register_namespace(prefix, uri)
        root = ET.fromstring(body)  # noqa: S314 (our own)
        change = self._wms if service == "wms" else self._wmts
        change(root, pt=pt)
        if old:
            return write_111(root, self.latitude_first)
        text = ET.tostring(root, encoding="unicode")
        return f'<?xml version="1.0" encoding="UTF-8"?>\n{_unprefixed(text, service)}'.encode()

    def _wms(self, root: ET.Element, *, pt: bool) -> None:
        root.set(_SCHEMA_LOCATION, _WMS_SCHEMA)
        get_map = root.find(f".//{_WMS}GetMap")
        if get_map is not None:
            _add_formats(get_map)
        for keywords in root.iter(f"{_WMS}KeywordList"):
            self._order_keywords(keywords, f"{_WMS}Keyword", pt=pt)
        for layer in root.iter(f"{_WMS}Layer"):
            for crs in [c for c in layer.findall(f"{_WMS}CRS") if _is_odd(c.text or "")]:
                layer.remove(crs)
            for box in [
                b for b in layer.findall(f"{_WMS}BoundingBox") if _is_odd(b.get("CRS", ""))
            ]:
                layer.remove(box)
            name = layer.findtext(f"{_WMS}Name")
            if name:
                _add_dimension(layer, self.periods(name) or ())
        top = root.find(f"{_WMS}Capability/{_WMS}Layer")
        if top is not None:
            top.append(_grid_folder(top, pt=pt))

    def _wmts(self, root: ET.Element, *, pt: bool) -> None:
        root.set(_SCHEMA_LOCATION, _WMTS_SCHEMA)
        for crs in root.iter(f"{_OWS}SupportedCRS"):
            # OpenLayers knows it by its URN only.
            crs.text = CRS84_URN if crs.text == CRS84 else crs.text
        for keywords in root.iter(f"{_OWS}Keywords"):
            self._order_keywords(keywords, f"{_OWS}Keyword", pt=pt)
        get = root.find(f".//{_OWS}Operation[@name='GetTile']//{_OWS}Get")
        contents = root.find(f"{_WMTS}Contents")
        base = get.get(_HREF, "").partition("/wmts?")[0] if get is not None else ""
        if contents is not None:
            for layer in contents.findall(f"{_WMTS}Layer"):
                _complete_wmts_layer(layer, base)
            _add_wmts_grids(contents, base, pt=pt)
        if base:
            for operation in ("GetTile", "GetFeatureInfo"):
                _add_restful(root, operation, base)
            ET.SubElement(root, f"{_WMTS}ServiceMetadataURL", {_HREF: base + restful.CAPABILITIES})

    def _order_keywords(self, keywords: ET.Element, tag: str, *, pt: bool) -> None:
        """Sort keywords, which datacube-ows gives in another order at each start."""
        texts = sorted(k.text or "" for k in keywords.findall(tag))
        for keyword in keywords.findall(tag):
            keywords.remove(keyword)
        for text in texts:
            ET.SubElement(keywords, tag).text = self.portuguese.get(text, text) if pt else text


def _is_odd(crs: str) -> bool:
    # EPSG:3832 is one that datacube-ows adds for itself; WMS has a name of its own for CRS84.
    return "+proj" in crs or crs in {"EPSG:3832", CRS84}


def _add_dimension(layer: ET.Element, periods: Sequence[Period]) -> None:
    """Say what may be asked of a layer's times; one that has a single time lacks it altogether."""
    dimension = layer.find(f"{_WMS}Dimension")
    if dimension is None:
        if not periods:
            return
        start = str(periods[-1].start)
        dimension = ET.Element(
            f"{_WMS}Dimension", {"name": "time", "units": "ISO8601", "default": start}
        )
        dimension.text = ",".join(str(p.start) for p in periods)
        boxes = [i for i, child in enumerate(layer) if child.tag == f"{_WMS}BoundingBox"]
        layer.insert(boxes[-1] + 1 if boxes else len(layer), dimension)
    dimension.attrib.update({"multipleValues": "1", "nearestValue": "1", "current": "1"})


def _grid_folder(top: ET.Element, *, pt: bool) -> ET.Element:
    folder = _texts(ET.Element(f"{_WMS}Layer"), _WMS, _GRIDS, _GRIDS_ABOUT, pt=pt)
    crss = [c.text for c in top.findall(f"{_WMS}CRS")]
    for grid, title in tile_grid.GRID_LAYERS.items():
        layer = ET.SubElement(folder, f"{_WMS}Layer", {"queryable": "1"})
        ET.SubElement(layer, f"{_WMS}Name").text = grid
        _texts(layer, _WMS, title, _GRIDS_ABOUT, pt=pt)
        west, south, east, north = tile_grid.lonlat_bounds(grid)
        bounds = ET.SubElement(layer, f"{_WMS}EX_GeographicBoundingBox")
        for key, value in (
            ("westBoundLongitude", west),
            ("eastBoundLongitude", east),
            ("southBoundLatitude", south),
            ("northBoundLatitude", north),
        ):
            ET.SubElement(bounds, f"{_WMS}{key}").text = f"{value:.6f}"
        if "EPSG:4326" in crss:
            box = {"minx": south, "miny": west, "maxx": north, "maxy": east}
            given = {"CRS": "EPSG:4326", **{k: f"{v:.6f}" for k, v in box.items()}}
            ET.SubElement(layer, f"{_WMS}BoundingBox", given)
        style = ET.SubElement(layer, f"{_WMS}Style")
        ET.SubElement(style, f"{_WMS}Name").text = tile_grid.STYLE
        ET.SubElement(style, f"{_WMS}Title").text = _OUTLINE.pt if pt else _OUTLINE.en
    return folder


def _complete_wmts_layer(layer: ET.Element, base: str) -> None:
    """Bring the parts of a layer into the order of the standard, and add its RESTful URLs."""
    for style in layer.findall(f"{_WMTS}Style"):
        _order(style, [f"{_OWS}Title", f"{_OWS}Abstract", f"{_OWS}Identifier", f"{_WMTS}LegendURL"])
    dimension = layer.find(f"{_WMTS}Dimension")
    if dimension is not None:
        identity = [f"{_OWS}Title", f"{_OWS}Identifier"]
        _order(dimension, [*identity, f"{_WMTS}Default", f"{_WMTS}Value"])
    name = layer.findtext(f"{_OWS}Identifier") or ""
    if base:
        _add_resource_urls(layer, base, name, timeless=dimension is None)


def _add_resource_urls(layer: ET.Element, base: str, name: str, *, timeless: bool) -> None:
    for kind, mime, template in (
        ("tile", "image/png", restful.tile_template(base, name, timeless=timeless)),
        ("FeatureInfo", "application/json", restful.info_template(base, name, timeless=timeless)),
    ):
        given = {"format": mime, "resourceType": kind, "template": template}
        ET.SubElement(layer, f"{_WMTS}ResourceURL", given)


def _add_restful(root: ET.Element, operation: str, base: str) -> None:
    http = root.find(f".//{_OWS}Operation[@name='{operation}']//{_OWS}HTTP")
    if http is None:
        return
    get = ET.SubElement(http, f"{_OWS}Get", {_HREF: f"{base}{restful.ROOT}/"})
    constraint = ET.SubElement(get, f"{_OWS}Constraint", {"name": "GetEncoding"})
    values = ET.SubElement(constraint, f"{_OWS}AllowedValues")
    ET.SubElement(values, f"{_OWS}Value").text = "RESTful"


def _add_wmts_grids(contents: ET.Element, base: str, *, pt: bool) -> None:
    sets = [e.findtext(f"{_OWS}Identifier") for e in contents.findall(f"{_WMTS}TileMatrixSet")]
    first = next(
        (i for i, e in enumerate(contents) if e.tag == f"{_WMTS}TileMatrixSet"), len(contents)
    )
    for number, (grid, title) in enumerate(tile_grid.GRID_LAYERS.items()):
        layer = _texts(ET.Element(f"{_WMTS}Layer"), _OWS, title, _GRIDS_ABOUT, pt=pt)
        west, south, east, north = tile_grid.lonlat_bounds(grid)
        box = ET.SubElement(layer, f"{_OWS}WGS84BoundingBox")
        ET.SubElement(box, f"{_OWS}LowerCorner").text = f"{west:.6f} {south:.6f}"
        ET.SubElement(box, f"{_OWS}UpperCorner").text = f"{east:.6f} {north:.6f}"
        ET.SubElement(layer, f"{_OWS}Identifier").text = grid
        style = ET.SubElement(layer, f"{_WMTS}Style", {"isDefault": "true"})
        ET.SubElement(style, f"{_OWS}Title").text = _OUTLINE.pt if pt else _OUTLINE.en
        ET.SubElement(style, f"{_OWS}Identifier").text = tile_grid.STYLE
        ET.SubElement(layer, f"{_WMTS}Format").text = "image/png"
        ET.SubElement(layer, f"{_WMTS}InfoFormat").text = "application/json"
        for name in sets:
            link = ET.SubElement(layer, f"{_WMTS}TileMatrixSetLink")
            ET.SubElement(link, f"{_WMTS}TileMatrixSet").text = name
        if base:
            _add_resource_urls(layer, base, grid, timeless=True)
        contents.insert(first + number, layer)


def _texts(layer: ET.Element, space: str, title: Text, about: Text, *, pt: bool) -> ET.Element:
    ET.SubElement(layer, f"{space}Title").text = title.pt if pt else title.en
    ET.SubElement(layer, f"{space}Abstract").text = about.pt if pt else about.en
    return layer


def _add_formats(get_map: ET.Element) -> None:
    """Add the formats of maps that datacube-ows does not write.

    Tiles come in them too, but QGIS lists each format with each style and grid of each layer.
    """
    tag = f"{_WMS}Format"
    formats = [ET.Element(tag) for _ in FORMATS]
    for element, mime in zip(formats, FORMATS, strict=True):
        element.text = mime
    get_map[:] = [*formats, *(child for child in get_map if child.tag != tag)]


def _order(element: ET.Element, tags: Sequence[str]) -> None:
    """Put the children with these tags first, in this order; the others keep theirs."""
    rank = {tag: i for i, tag in enumerate(tags)}
    element[:] = sorted(element, key=lambda child: rank.get(child.tag, len(rank)))


def _unprefixed(text: str, prefix: str) -> str:
    """Take the prefix off the elements of the document's own namespace."""
    return (
        text.replace(f"<{prefix}:", "<")
        .replace(f"</{prefix}:", "</")
        .replace(f"xmlns:{prefix}=", "xmlns=", 1)
    )
