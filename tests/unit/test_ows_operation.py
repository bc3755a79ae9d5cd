"""Health, metrics and the access log."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from odc_bdc.ows.access_log import line_of
from odc_bdc.ows.caching import HIT, STATUS
from odc_bdc.ows.operation import Health, Metrics, labels


def ask(application, path, query=""):
    seen = {}
    environ = {"PATH_INFO": path, "QUERY_STRING": query}
    body = application(environ, lambda status, headers: seen.update(status=status, **dict(headers)))
    return seen["status"], b"".join(body), seen


def services(status="200 OK", *headers):
    def application(_environ, start_response):
        start_response(status, [("Content-Type", "image/png"), *headers])
        return [b"x"]

    return application


ORDER = ("service", "request", "layer", "status", "cache", "le")


def samples(metrics):
    text = ask(metrics, "/metrics")[1].decode()
    return {
        (sample.name, *(sample.labels[n] for n in ORDER if n in sample.labels)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


TILE = "service=WMTS&request=GetTile&layer=a"


def test_requests_are_counted_by_what_they_are():
    times = iter([10.0, 10.02, 11.0, 14.0, 15.0, 15.0, 16.0, 16.0, 17.0, 17.0])
    metrics = Metrics(services("200 OK", (STATUS, HIT)), {"a"}.__contains__, clock=times.__next__)
    ask(metrics, "/wmts", TILE)
    ask(metrics, "/wmts/1.0.0/a/style/default/WholeWorld_WebMercator/3/1/2.png")
    ask(metrics, "/wms", "request=GetMap&layers=invented")
    metrics.application = services("400 Bad Request")
    ask(metrics, "/wcs", "request=invented&coverage=a")
    ask(metrics, "/invented", TILE)
    counted = samples(metrics)
    assert counted["odc_bdc_ows_requests_total", "wmts", "gettile", "a", "200"] == 2
    assert counted["odc_bdc_ows_requests_total", "wms", "getmap", "", "200"] == 1
    assert counted["odc_bdc_ows_requests_total", "wcs", "", "a", "400"] == 1
    assert counted["odc_bdc_ows_requests_total", "", "", "", "400"] == 1
    assert counted["odc_bdc_ows_images_total", "hit"] == 3
    assert counted["odc_bdc_ows_request_seconds_count", "wmts", "gettile"] == 2
    assert counted["odc_bdc_ows_request_seconds_sum", "wmts", "gettile"] == pytest.approx(3.02)
    assert counted["odc_bdc_ows_request_seconds_bucket", "wmts", "gettile", "0.025"] == 1
    assert counted["odc_bdc_ows_in_flight",] == 0


def test_what_fails_is_counted_and_not_in_flight_any_more():
    def failing(*_):
        assert samples(metrics)["odc_bdc_ows_in_flight",] == 1
        raise RuntimeError

    metrics = Metrics(failing, {"a"}.__contains__)
    with pytest.raises(RuntimeError):
        ask(metrics, "/wmts", TILE)
    counted = samples(metrics)
    assert counted["odc_bdc_ows_requests_total", "wmts", "gettile", "a", "500"] == 1
    assert counted["odc_bdc_ows_in_flight",] == 0


def test_workers_count_together(tmp_path):
    program = (
        "import sys; from pathlib import Path; from odc_bdc.ows.operation import Metrics\n"
        "def services(environ, start): start('200 OK', []); return []\n"
        "metrics = Metrics(services, lambda name: True, Path(sys.argv[1]))\n"
        "environ = {'PATH_INFO': '/wmts', 'QUERY_STRING': sys.argv[2]}\n"
        "for _ in range(3): metrics(environ, lambda *_: None)\n"
        "environ['PATH_INFO'] = '/metrics'\n"
        "print(b''.join(metrics(environ, lambda *_: None)).decode())\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path), TILE]
    for number in (3, 6):
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        line = 'odc_bdc_ows_requests_total{layer="a",request="gettile",service="wmts",status="200"}'
        assert f"{line} {number}.0" in told


def test_nobody_can_invent_labels():
    for path, query in (
        ("/wms", "request=" + "x" * 100),
        ("/wms", "layers=invented&request=GetMap&service=invented"),
        ("/invented", "layers=a&request=GetMap"),
        ("/wms", "&".join(f"a{n}=1" for n in range(100))),
    ):
        environ = {"PATH_INFO": path, "QUERY_STRING": query}
        service, request, layer = labels(environ, {"a"}.__contains__)
        assert service in {"wms", ""}
        assert request in {"getmap", ""}
        assert layer == ""


@pytest.mark.parametrize(
    ("layers", "reachable", "problem"),
    [
        ([(True, False), (True, True)], True, ""),
        ([(True, True)], True, "no layer has ranges: run `odc-bdc ows update`"),
        ([], True, "no layer has ranges: run `odc-bdc ows update`"),
        ([(True, False)], False, "the index cannot be reached"),
    ],
)
def test_health_says_what_keeps_clients_from_maps(layers, reachable, problem):
    found = {n: SimpleNamespace(ready=r, hide=h) for n, (r, h) in enumerate(layers)}
    health = Health(services(), SimpleNamespace(layer_index=found), lambda: reachable)
    status, body, headers = ask(health, "/health")
    told = json.loads(body)
    assert status == ("503 Service Unavailable" if problem else "200 OK")
    assert told["status"] == ("down" if problem else "up")
    assert told["problems"] == ([problem] if problem else [])
    assert headers["Cache-Control"] == "no-store"
    assert ("Retry-After" in headers) == bool(problem)
    assert ask(health, "/wms")[1] == b"x"


def test_a_line_of_the_access_log_is_json_whatever_a_client_sends():
    atoms = {
        "t": "[21/Nov/2026:20:00:00 +0000]",
        "h": "127.0.0.1",
        "m": "GET",
        "U": "/wms",
        "q": 'x="\\\n\x00',
        "s": "200",
        "B": 312,
        "M": 7,
        "a": 'curl "quoted" \\',
        "f": "-",
        "{cache-status}o": HIT,
    }
    line = line_of(atoms)
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "21/Nov/2026:20:00:00 +0000",
        "client": "127.0.0.1",
        "method": "GET",
        "path": "/wms",
        "query": 'x="\\\n\x00',
        "status": 200,
        "bytes": 312,
        "milliseconds": 7,
        "cache": HIT,
        "agent": 'curl "quoted" \\',
    }
