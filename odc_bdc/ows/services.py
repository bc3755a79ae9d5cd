"""Requests of the services, answered in the place of datacube-ows's own routes.

Most go on to its operations. What these get wrong is done here: tiles of their size, descriptions
of coverages, the latest date of a coverage, bands, and capabilities of WCS 2. Whatever goes wrong
is answered in the request's own format (`odc_bdc.ows.exceptions`), and without the server's inside:
datacube-ows writes exceptions of WMS 1.1.1 and WMTS as WMS 1.3.0, those of WCS 2 with tracebacks
or not at all, and paths of the server into messages. What is hidden is in the log.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from flask import request

from odc_bdc.ows import upstream
from odc_bdc.ows.coverage import expanded
from odc_bdc.ows.describe import describe_1, describe_2, described
from odc_bdc.ows.exceptions import answer
from odc_bdc.ows.failures import causes, is_outage, refusals_of
from odc_bdc.ows.guard import OUTAGE, PROTOCOL, protocol_in
from odc_bdc.ows.requests import protocol_of, query_of
from odc_bdc.ows.search import draw_map
from odc_bdc.ows.tiles import map_of_tile
from odc_bdc.ows.wcs_capabilities import ordered_wcs_1, valid_wcs_2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Reply = tuple[Any, int, dict[str, str]]
    Arguments = dict[str, Any]

_LOG = logging.getLogger(__name__)


def services(cfg: Any) -> Callable[[], Reply | None]:
    """Give a function for Flask's ``before_request`` that answers requests of the services.

    Parameters
    ----------
    cfg
        The `OWSConfig` of datacube-ows.
    """

    def serve() -> Reply | None:
        if request.method == "OPTIONS" or request.url_rule is None:
            return None  # a browser asks whether it may ask; a path that is not there
        if not _is_of_services(request.environ):
            return None
        try:
            args = upstream.request_arguments()
            service, version, operate = upstream.service_of_request(cfg, request.path, args)
            operation = args.get("request", "").lower()
            own = _OWN.get((service, version[0], operation))
            reply: Reply = own(cfg, args) if own else operate(cfg, args)
        except Exception as e:  # noqa: BLE001 (whatever it is, the client gets an answer)
            return refused(e, cfg)
        return _completed(cfg, (service, version[0], operation), reply)

    return serve


def _is_of_services(environ: Mapping[str, Any]) -> bool:
    if PROTOCOL in environ:
        return True
    # Whoever went past the guard is answered by the same rules.
    return protocol_of(str(environ.get("PATH_INFO", "/")), query_of(environ)) is not None


def refused(error: Any, cfg: Any) -> Reply:
    """Write the answer to a request that cannot be served; to be called where `error` is caught."""
    known = isinstance(error, upstream.OGCException)
    if any(map(is_outage, causes(error))):
        request.environ[OUTAGE] = True
    elif not known:
        _LOG.exception("unexpected error at %s", request.path)
    errors, status = (error.errors, error.http_response) if known else ([], 500)
    sent = answer(protocol_in(request.environ), refusals_of(errors, status))
    return sent.body, sent.status, cfg.response_headers(sent.headers)


def _completed(cfg: Any, asked: tuple[str, str, str], reply: Reply) -> Reply:
    """Mend what an operation answers, where datacube-ows's own is all right otherwise."""
    body, status, headers = reply
    if asked[2] == "getfeatureinfo" and "json" in headers.get("Content-Type", ""):
        return without_files(body), status, headers
    if asked == ("wcs", "1", "getcapabilities"):
        return ordered_wcs_1(body), status, headers
    if asked == ("wcs", "2", "getcapabilities"):
        return valid_wcs_2(body, cfg.contact_info.organisation), status, headers
    return reply


def without_files(body: str) -> str:
    """Take the server's files out of the links to data of a feature info: nobody can follow them.

    Examples
    --------
    >>> without_files('{"features": [{"properties": {"data_links": ["file:///a", "s3://b"]}}]}')
    '{"features": [{"properties": {"data_links": ["s3://b"]}}]}'
    """
    document = json.loads(body)
    for feature in document["features"]:
        links = feature["properties"].get("data_links")
        if links:
            kept = [link for link in links if not link.startswith("file:")]
            feature["properties"]["data_links"] = kept
    return json.dumps(document)


def _map(cfg: Any, args: Arguments) -> Reply:
    # What is not a number is refused by the operation itself.
    size = [str(args.get(side, "")) for side in ("width", "height")]
    if all(side.isdecimal() and int(side) for side in size):
        draw_map((int(size[0]), int(size[1])))
    reply: Reply = upstream.get_map(cfg, args)
    return reply


def _tile(cfg: Any, args: Arguments) -> Reply:
    return _map(cfg, map_of_tile(upstream.wmts_args_to_wms, args, cfg))


def _tile_info(cfg: Any, args: Arguments) -> Reply:
    asked = map_of_tile(upstream.wmts_args_to_wms, args, cfg)
    reply: Reply = upstream.feature_info(cfg, {**asked, "query_layers": asked["layers"]})
    return reply


def _describing(
    parameter: str, write: Callable[..., bytes], error: type[Exception], unknown: str
) -> Callable[[Any, Arguments], Reply]:
    """Give a DescribeCoverage."""

    def describe(cfg: Any, args: Arguments) -> Reply:
        served = {name: la for name, la in cfg.layer_index.items() if la.ready and la.wcs}
        names = [name for name in (args.get(parameter) or "").split(",") if name]
        for name in names:
            if name not in served:
                raise error(f"no coverage {name}", unknown, parameter)
        layers = [served[name] for name in names or served]
        headers = {"Content-Type": "application/xml", "Cache-Control": "no-cache"}
        body = write([described(cfg, layer) for layer in layers])
        return body, 200, cfg.response_headers(headers)

    return describe


def _coverage_2(cfg: Any, args: Arguments) -> Reply:
    """Serve a coverage of WCS 2: of the latest date if none is asked for, as in WCS 1.

    datacube-ows refuses that, and clients such as GDAL ask for no date unless told to; and it takes
    an interval of one band for others.
    """
    asked = upstream.kvp_decode_get_coverage(request.args.lists())
    layer = cfg.layer_index.get(asked.coverage_id)
    if layer is not None and layer.ready:
        if not any(subset.dimension.lower() == "time" for subset in asked.subsets):
            latest = upstream.Slice("time", layer.ranges.times[-1].isoformat())
            asked.subsets = [*asked.subsets, latest]
        if asked.range_subset:
            asked.range_subset = expanded(layer, asked.range_subset)
    profile = upstream.QueryProfiler(False)
    body, headers = upstream.get_coverage_data(cfg, asked, args.get("styles"), profile)
    return body, 200, cfg.response_headers(headers)


_OWN: dict[tuple[str, str, str], Callable[[Any, Arguments], Reply]] = {
    ("wms", "1", "getmap"): _map,
    ("wmts", "1", "gettile"): _tile,
    ("wmts", "1", "getfeatureinfo"): _tile_info,
    ("wcs", "1", "describecoverage"): _describing(
        "coverage",
        describe_1,
        upstream.WCS1Exception,
        upstream.WCS1Exception.COVERAGE_NOT_DEFINED,
    ),
    ("wcs", "2", "describecoverage"): _describing(
        "coverageid",
        describe_2,
        upstream.WCS2Exception,
        upstream.WCS2Exception.NO_SUCH_COVERAGE,
    ),
    ("wcs", "2", "getcoverage"): _coverage_2,
}
