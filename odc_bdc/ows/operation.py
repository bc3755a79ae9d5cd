"""What an operator asks of the services: whether they are well, and what they do.

``/health`` and ``/metrics`` are for the operator, not for clients: see docs/howto/serve.md.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from odc_bdc.ows.caching import HIT, STATUS, STORED
from odc_bdc.ows.exceptions import RETRY_AFTER
from odc_bdc.ows.requests import Query, operation_of, protocol_of, query_if_readable
from odc_bdc.ows.restful import to_query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from odc_bdc.ows.requests import WSGI

HEALTH, METRICS = "/health", "/metrics"

METRICS_VARIABLE = "ODC_BDC_OWS_METRICS"
"""Folder in which the workers of a server put their counts together."""

OPERATIONS = frozenset(
    {
        *("getcapabilities", "getmap", "getfeatureinfo", "getlegendgraphic", "gettile"),
        *("describecoverage", "getcoverage"),
    }
)
_LAYERS = ("query_layers", "layers", "layer", "coverage", "coverageid")
# From a kept image to a coverage of many datasets.
_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Health:
    """WSGI middleware that tells at ``/health`` whether maps can be had: 200, else 503 and why.

    Parameters
    ----------
    application
        The services.
    cfg
        Configuration of datacube-ows.
    is_reachable
        Tells whether the index can be reached.
    """

    def __init__(self, application: WSGI, cfg: Any, is_reachable: Callable[[], bool]) -> None:
        self.application = application
        self.cfg = cfg
        self.is_reachable = is_reachable

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer, or pass the request on."""
        if environ.get("PATH_INFO") != HEALTH:
            return self.application(environ, start_response)
        problems, layers = self.problems()
        told = {"status": "down" if problems else "up", "layers": layers, "problems": problems}
        status, more = "200 OK", []
        if problems:
            status, more = "503 Service Unavailable", [("Retry-After", str(RETRY_AFTER))]
        return _tell(status, "application/json", json.dumps(told).encode(), start_response, more)

    def problems(self) -> tuple[list[str], int]:
        """Give what keeps clients from maps, and how many layers they see."""
        if not self.is_reachable():
            return ["the index cannot be reached"], 0
        found = self.cfg.layer_index.values()
        layers = sum(layer.ready and not layer.hide for layer in found)
        return ([] if layers else ["no layer has ranges: run `odc-bdc ows update`"]), layers


class Metrics:
    """WSGI middleware that counts requests, and tells at ``/metrics`` (Prometheus).

    Parameters
    ----------
    application
        The services.
    is_layer
        Tells whether there is a layer of this name; other names are not counted, for anybody can
        invent as many as they like.
    folder
        In which the workers of a server put their counts together; without it each tells its own.
    clock
        Seconds.
    """

    def __init__(
        self,
        application: WSGI,
        is_layer: Callable[[str], bool],
        folder: Path | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if folder is not None:
            # Before prometheus_client is imported, which looks at it once. Not earlier: it makes
            # datacube-ows count as well, whatever names of layers are asked for.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        from prometheus_client import (  # noqa: PLC0415 (an extra)
            CollectorRegistry,
            Counter,
            Gauge,
            Histogram,
            multiprocess,
        )

        self.application = application
        self.is_layer = is_layer
        self.clock = clock
        own = CollectorRegistry()
        self.registry = own
        if folder is not None:
            self.registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(self.registry, str(folder))  # type: ignore[no-untyped-call]
        self.requests = Counter(
            "odc_bdc_ows_requests",
            "Requests that were answered.",
            ("service", "request", "layer", "status"),
            registry=own,
        )
        self.seconds = Histogram(
            "odc_bdc_ows_request_seconds",
            "Time from the request to the whole answer.",
            ("service", "request"),
            buckets=_SECONDS,
            registry=own,
        )
        self.images = Counter(
            "odc_bdc_ows_images",
            "Maps and tiles that were answered: found, or made and then kept or not.",
            ("cache",),
            registry=own,
        )
        self.in_flight = Gauge(
            "odc_bdc_ows_in_flight",
            "Requests that are being answered.",
            multiprocess_mode="livesum",
            registry=own,
        )

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Count a request, or tell of those that were counted."""
        if environ.get("PATH_INFO") == METRICS:
            return self._tell(start_response)
        began, status, cache = self.clock(), "500", ""

        def start(line: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            nonlocal status, cache
            status = line[:3]
            cache = next((value for name, value in headers if name == STATUS), "")
            return start_response(line, headers, *more)

        self.in_flight.inc()
        try:
            return self.application(environ, start)
        finally:
            self.in_flight.dec()
            service, request, layer = labels(environ, self.is_layer)
            self.requests.labels(service, request, layer, status).inc()
            self.seconds.labels(service, request).observe(self.clock() - began)
            if request in {"gettile", "getmap"} and status == "200":
                self.images.labels({HIT: "hit", STORED: "stored"}.get(cache, "none")).inc()

    def _tell(self, start_response: Callable[..., Any]) -> Iterable[bytes]:
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest  # noqa: PLC0415

        return _tell("200 OK", CONTENT_TYPE_LATEST, generate_latest(self.registry), start_response)


def labels(environ: Mapping[str, Any], is_layer: Callable[[str], bool]) -> tuple[str, str, str]:
    """Give service, operation and layer of a request in known words; empty for all others."""
    path = str(environ.get("PATH_INFO", "/"))
    tile = to_query(path)
    asked = Query.parse(tile) if tile else query_if_readable(environ)
    if asked is None:
        return "", "", ""
    protocol = protocol_of("/wmts" if tile else path, asked)
    operation = operation_of(asked)
    layer = next((asked.get(name) for name in _LAYERS if name in asked), "")
    return (
        protocol.service.lower() if protocol else "",
        operation if protocol and operation in OPERATIONS else "",
        layer if protocol and is_layer(layer) else "",
    )


def _tell(
    status: str,
    mime: str,
    body: bytes,
    start_response: Callable[..., Any],
    more: Iterable[tuple[str, str]] = (),
) -> Iterable[bytes]:
    headers = [
        ("Content-Type", mime),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        *more,
    ]
    start_response(status, headers)
    return [body]
