"""What a map server tells of a layer: title, place, times, styles, legend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree as ET

from odc_bdc.errors import (
    InvalidValueError,
    OdcBdcError,
    SourceError,
    UnknownNameError,
    did_you_mean,
)
from odc_bdc.notebook.moments import spans, within
from odc_bdc.ows.endpoints import fetch
from odc_bdc.ows.layers import timeline_of

if TYPE_CHECKING:
    from odc_bdc.notebook.moments import TimeLike

_WMS = "{http://www.opengis.net/wms}"
_PATIENCE = 30.0  # seconds


@dataclass(frozen=True)
class ServedLayer:
    """A layer of a WMS in one style.

    Attributes
    ----------
    url
        Of the WMS.
    times
        In order, as the server writes them; none if it has no time.
    bounds
        West, south, east, north in degrees.
    legend
        PNG; None if the server has none.
    """

    url: str
    name: str
    title: str
    style: str
    times: tuple[str, ...]
    bounds: tuple[float, float, float, float]
    legend: bytes | None


def served_layer(
    server: str, name: str, style: str, *, time: TimeLike | None = None, language: str = "en"
) -> ServedLayer:
    """Ask a map server for a layer.

    Parameters
    ----------
    server
        Base address as ``http://127.0.0.1:8000``, of which the WMS is ``/wms``.
    time
        Which of its times; all by default.

    Raises
    ------
    SourceError
        If the server does not answer as a WMS 1.3.0.
    UnknownNameError
        If it has no such layer or style.
    InvalidValueError
        If `server` is no address, or the layer has no such time.
    """
    base = server.rstrip("/")
    if urlsplit(base).scheme not in {"http", "https"} or not urlsplit(base).netloc:
        raise InvalidValueError(f"server={server!r} is no address such as http://127.0.0.1:8000")
    url = base if base.endswith("/wms") else f"{base}/wms"
    layers = _layers(url, language)
    if name not in layers:
        known = ", ".join(layers) or "none: run `odc-bdc ows update`"
        raise UnknownNameError(
            f"{base} has no layer {name!r}{did_you_mean(name, layers)}; layers: {known}"
        )
    layer = layers[name]
    styles = [text for s in layer.findall(f"{_WMS}Style") if (text := s.findtext(f"{_WMS}Name"))]
    if style not in styles:
        raise UnknownNameError(
            f"layer {name} has no style {style!r}{did_you_mean(style, styles)}; styles: "
            f"{', '.join(styles)}"
        )
    times = _times(layer)
    if time is not None:
        times = [times[i] for i in within(spans(times, timeline_of(name)), time)]
    title = layer.findtext(f"{_WMS}Title") or name
    legend = _legend(url, name, style, language)
    return ServedLayer(url, name, title, style, tuple(times), _bounds(layer), legend)


def _layers(url: str, language: str) -> dict[str, ET.Element]:
    query = {"service": "WMS", "version": "1.3.0", "request": "GetCapabilities"}
    try:
        body = fetch(f"{url}?{urlencode(query)}", timeout=_PATIENCE, language=language)
        root = ET.fromstring(body)  # noqa: S314 (of a server that the user names)
    except (OdcBdcError, ET.ParseError) as e:
        raise SourceError(
            f"{url} does not answer as a WMS ({e}): start it with `odc-bdc ows serve`, or correct "
            "server=..."
        ) from e
    found = root.iter(f"{_WMS}Layer")
    return {text: layer for layer in found if (text := layer.findtext(f"{_WMS}Name"))}


def _times(layer: ET.Element) -> list[str]:
    dimension = next(
        (d for d in layer.findall(f"{_WMS}Dimension") if d.get("name") == "time"), None
    )
    text = (dimension.text or "").strip() if dimension is not None else ""
    if "/" in text:
        raise InvalidValueError(
            f"layer {layer.findtext(f'{_WMS}Name')}: its server tells intervals of times, not the "
            "times of its images"
        )
    return [part.strip() for part in text.split(",") if part.strip()]


def _bounds(layer: ET.Element) -> tuple[float, float, float, float]:
    box = layer.find(f"{_WMS}EX_GeographicBoundingBox")
    if box is None:
        return -180.0, -85.0, 180.0, 85.0
    west, south, east, north = (
        float(box.findtext(f"{_WMS}{key}") or "nan")
        for key in (
            "westBoundLongitude",
            "southBoundLatitude",
            "eastBoundLongitude",
            "northBoundLatitude",
        )
    )
    return west, south, east, north


def _legend(url: str, layer: str, style: str, language: str) -> bytes | None:
    query = {
        "service": "WMS",
        "version": "1.3.0",
        "request": "GetLegendGraphic",
        "layer": layer,
        "style": style,
        "format": "image/png",
    }
    try:
        body = fetch(f"{url}?{urlencode(query)}", timeout=_PATIENCE, language=language)
    except OdcBdcError:
        return None  # a map without a legend is still one
    return body if body.startswith(b"\x89PNG") else None
