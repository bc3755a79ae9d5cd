"""Requests for the layers of the tile grids.

They have no datasets, so datacube-ows cannot serve them: `grid_view` answers in its place.
"""

from __future__ import annotations

import json
import math
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeVar

from odc_bdc.ows import tile_grid
from odc_bdc.ows.requests import operation_of, service_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_Number = TypeVar("_Number", int, float)


def grid_view(cfg: Any) -> Callable[[], Any]:
    """Give a function for Flask's ``before_request`` that answers requests for `GRID_LAYERS`.

    Parameters
    ----------
    cfg
        The `OWSConfig` of datacube-ows: CRSs, tile matrix sets, limits and headers.
    """
    from flask import request  # noqa: PLC0415 (an extra)

    from odc_bdc.ows.services import refused  # noqa: PLC0415 (needs the extra)
    from odc_bdc.ows.upstream import OGCException, request_arguments  # noqa: PLC0415 (an extra)

    def answer() -> Any:
        asked = {key: value or "" for key, value in request_arguments().items()}
        service, operation = service_of(request.environ, asked), operation_of(asked)
        try:
            if (
                request.path.startswith("/legend/")
                and request.path.split("/")[2] in tile_grid.GRID_LAYERS
            ):
                return (
                    "There is no legend",
                    404,
                    cfg.response_headers({"Content-Type": "text/plain"}),
                )
            if service == "wmts" and asked.get("layer") in tile_grid.GRID_LAYERS:
                return _wmts(cfg, asked, operation)
            if service in {"wms", ""} and asked.get(_layer_key(operation)) in tile_grid.GRID_LAYERS:
                return _wms(cfg, asked, operation)
        except OGCException as e:
            return refused(e, cfg)
        return None

    return answer


def _layer_key(operation: str) -> str:
    return "query_layers" if operation == "getfeatureinfo" else "layers"


def _wms(cfg: Any, asked: Mapping[str, str], operation: str) -> Any:
    from odc_bdc.ows.upstream import WMSException  # noqa: PLC0415 (an extra)

    if operation not in {"getmap", "getfeatureinfo"}:
        message = f"{operation} is not an operation of layer {asked[_layer_key(operation)]}"
        raise WMSException(message, WMSException.OPERATION_NOT_SUPPORTED, "request parameter")
    if asked.get("styles", "") not in {"", tile_grid.STYLE}:
        message = f"Style {asked['styles']} is not defined"
        raise WMSException(message, WMSException.STYLE_NOT_DEFINED, "Style parameter")
    view = _view(cfg, asked)
    if operation == "getmap":
        return _picture(cfg, asked["layers"], view, asked)
    i, j = ("x", "y") if asked.get("version") == "1.1.1" else ("i", "j")
    return _info(cfg, asked["query_layers"], view, asked, (asked.get(i), asked.get(j)))


def _wmts(cfg: Any, asked: Mapping[str, str], operation: str) -> Any:
    from odc_bdc.ows.upstream import WMTSException, latitude_first  # noqa: PLC0415 (an extra)

    def wrong(message: str, locator: str) -> WMTSException:
        return WMTSException(message, WMTSException.INVALID_PARAMETER_VALUE, locator)

    tms = cfg.tile_matrix_sets.get(asked.get("tilematrixset"))
    if tms is None:
        raise wrong(f"Invalid Tile Matrix Set: {asked.get('tilematrixset')}", "TileMatrixSet")
    numbers = _numbers(int, [asked.get(key) for key in ("tilematrix", "tilerow", "tilecol")])
    if numbers is None or not 0 <= numbers[0] < len(tms.scale_set):
        raise wrong("Tile matrix, row and column must be whole numbers", "TileMatrix")
    level, row, column = numbers
    if not (
        0 <= row < 2 ** tms.height_exponent(level) and 0 <= column < 2 ** tms.width_exponent(level)
    ):
        raise WMTSException("There is no such tile", "TileOutOfRange", "TileRow")
    bounds = tms.wms_bbox_coords(level, row, column)
    if latitude_first(cfg, tms.crs_name):
        bounds = (bounds[1], bounds[0], bounds[3], bounds[2])
    view = tile_grid.View(cfg.crs(tms.crs_name), bounds, *tms.tile_size)
    if operation == "gettile":
        return _picture(cfg, asked["layer"], view, asked)
    if operation == "getfeatureinfo":
        info = {**asked, "info_format": asked.get("infoformat", "")}
        return _info(cfg, asked["layer"], view, info, (asked.get("i"), asked.get("j")))
    raise wrong(f"Unrecognised operation: {operation}", "Request parameter")


def _view(cfg: Any, asked: Mapping[str, str]) -> tile_grid.View:
    from odc_bdc.ows.upstream import WMSException, latitude_first  # noqa: PLC0415 (an extra)

    old = asked.get("version") == "1.1.1"
    name = asked.get("srs" if old else "crs", "")
    if name not in cfg.published_CRSs:
        message = f"Coordinate Reference System {name} is not supported"
        raise WMSException(message, WMSException.INVALID_CRS, "crs parameter")
    size = _numbers(int, [asked.get("width"), asked.get("height")])
    bounds = _numbers(float, asked.get("bbox", "").split(","))
    if size is None or bounds is None or len(bounds) != 4 or not all(map(math.isfinite, bounds)):
        message = "Width and height must be whole numbers, and bbox four numbers"
        raise WMSException(message, locator="bbox parameter")
    width, height = size
    if not (0 < width <= cfg.wms_max_width and 0 < height <= cfg.wms_max_height):
        most = f"{cfg.wms_max_width} x {cfg.wms_max_height}"
        raise WMSException(f"Width and height must be from 1 to {most}", locator="Width parameter")
    if latitude_first(cfg, name) and not old:
        bounds = [bounds[1], bounds[0], bounds[3], bounds[2]]
    left, bottom, right, top = bounds
    if left >= right or bottom >= top:
        raise WMSException("Bounding box must enclose a non-zero area", locator="bbox parameter")
    return tile_grid.View(cfg.crs(name), (left, bottom, right, top), width, height)


def _picture(cfg: Any, grid: str, view: tile_grid.View, asked: Mapping[str, str]) -> Any:
    from odc_bdc.ows.upstream import WMSException  # noqa: PLC0415 (an extra)

    if asked.get("format", "").lower() != "image/png":
        message = f"image format {asked.get('format', '')} is not supported"
        raise WMSException(message, WMSException.INVALID_FORMAT, "format parameter")
    body = BytesIO()
    tile_grid.draw_grid(grid, view).save(body, "PNG", compress_level=1)
    headers = {"Content-Type": "image/png", "Cache-Control": "max-age=86400"}
    return body.getvalue(), 200, cfg.response_headers(headers)


def _info(
    cfg: Any,
    grid: str,
    view: tile_grid.View,
    asked: Mapping[str, str],
    at: tuple[str | None, str | None],
) -> Any:
    from odc_bdc.ows.upstream import WMSException  # noqa: PLC0415 (an extra)

    point = _numbers(int, at)
    if point is None or not (0 <= point[0] < view.width and 0 <= point[1] < view.height):
        message = "The point must be two whole numbers inside of the image"
        raise WMSException(message, WMSException.INVALID_POINT, "i parameter")
    column, row = point
    wanted = asked.get("info_format", "").lower()
    if wanted not in {"application/json", "text/html"}:
        message = f"info format {wanted} is not supported"
        raise WMSException(message, WMSException.INVALID_FORMAT, "info_format parameter")
    tile = tile_grid.tile_at(grid, view, column, row)
    headers = cfg.response_headers({"Content-Type": wanted})
    if wanted == "text/html":
        return f"<p>{grid}: {tile or 'no tile'}</p>", 200, headers
    return (
        json.dumps({"type": "FeatureCollection", "features": tile_grid.tile_features(grid, tile)}),
        200,
        headers,
    )


def _numbers(kind: type[_Number], texts: Sequence[str | None]) -> list[_Number] | None:
    """Read numbers; None if one is not."""
    try:
        return [kind(text or "") for text in texts]
    except ValueError:
        return None
