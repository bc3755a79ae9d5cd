"""`odc-bdc ows serve` as people run it: it follows the index, and tells of itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from urllib.parse import urlencode

import pytest
from answers import fetched
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families
from small_index import Made, fill_index, own_index
from test_failures import wait_for

from odc_bdc.cli import main
from odc_bdc.cube import find_cube

pytestmark = pytest.mark.integration

NAME, LATER = "CB4_64_16D_MED_v1", "CB4_64_16D_AVG_v1"
EXTENT = (6003200 - 6400, 10000000, 6003200, 10006400)
MAP = {
    "service": "WMS",
    "version": "1.3.0",
    "request": "GetMap",
    "layers": NAME,
    "styles": "true_colour",
    "crs": "EPSG:10857",
    "bbox": "5996800,10000000,6003200,10006400",
    "width": 64,
    "height": 64,
    "format": "image/png",
    "time": "2020-01-01",
}
CAPABILITIES = {"service": "WMS", "request": "GetCapabilities"}


def made(name, *days):
    return (Made(find_cube(name).patch(extent=EXTENT), ("007004",), days),)


@pytest.fixture(scope="module")
def with_image(tmp_path_factory):
    """Bring up an index with one image, of which the services have not heard yet."""
    home = tmp_path_factory.mktemp("serving")
    with own_index(home, "serving") as (_, dc):
        fill_index(dc, home / "pixels", made(NAME, date(2020, 1, 1)), ())
        yield dc, home


@pytest.fixture(scope="module")
def serving(with_image):
    """Run the command; give the index, a function that asks, the process and its output."""
    dc, home = with_image
    program = "from odc_bdc.cli import main; main()"
    options = ["--home", str(home), "--port", "0", "--workers", "2", "--watch", "1"]
    command = [sys.executable, "-c", program, "ows", "serve", *options, "--access-log", "json"]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ODC_", "DATACUBE_"))}
    with (home / "out").open("wb") as out, (home / "err").open("wb") as err:
        process = subprocess.Popen(command, env=kept, stdout=out, stderr=err)
    try:
        yield dc, asking(home, process), process, home
    finally:
        process.terminate()
        process.wait(60)


def asking(home, process):
    """Find out where the server listens; give a function that asks it."""

    def address():
        assert process.poll() is None, (home / "err").read_text()
        return re.search(r"Listening at: (http://\S+)", (home / "err").read_text())

    wait_for(address, 240)
    url = address()[1]
    return lambda query, path="wms": fetched(url, path, query)


@contextmanager
def load(ask):
    """Ask for a map again and again; give what came."""
    seen, stop = [], threading.Event()

    def work():
        while not stop.is_set():
            seen.append(ask(MAP).status)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def test_layers_are_there_without_an_update_by_hand(serving):
    _, ask, _, home = serving
    answer = ask({}, "health")
    assert answer.status == 200
    assert json.loads(answer.body) == {"status": "up", "layers": 1, "problems": []}
    assert ask(MAP).status == 200
    assert f"{NAME}: updated" in (home / "out").read_text()


def test_new_dates_and_new_layers_come_without_a_failure(serving):
    dc, ask, process, home = serving
    with load(ask) as seen:
        wait_for(lambda: len(seen) > 5)
        fill_index(dc, home / "pixels", made(NAME, date(2020, 1, 17)), ())
        wait_for(lambda: b"2020-01-17" in ask(CAPABILITIES).body)
        assert b"reloading" not in (home / "err").read_bytes().lower()
        # Another worker may look at the index up to a second later.
        wait_for(lambda: ask(MAP | {"time": "2020-01-17"}).status == 200)
        fill_index(dc, home / "pixels", made(LATER, date(2020, 1, 1)), ())
        wait_for(lambda: LATER.encode() in ask(CAPABILITIES).body)
        wait_for(lambda: ask(MAP | {"layers": LATER}).status == 200)
        count = len(seen)
        wait_for(lambda: len(seen) > count + 5)
    assert set(seen) == {200}
    assert process.poll() is None


def test_workers_count_together(serving):
    _, ask, _, _ = serving

    def counted():
        text = ask({}, "metrics").body.decode()
        return {
            tuple(sorted(s.labels.values())): s.value
            for family in text_string_to_metric_families(text)
            for s in family.samples
            if s.name == "odc_bdc_ows_requests_total"
        }

    key = tuple(sorted(("wms", "getmap", NAME, "400")))
    before = counted().get(key, 0)
    for _ in range(6):
        assert ask(MAP | {"width": "0"}).status == 400
    assert counted()[key] == before + 6


def test_the_access_log_has_a_line_for_each_request(serving):
    _, ask, _, home = serving
    ask(MAP | {"mark": 'a"b'})
    wait_for(lambda: "mark=" in (home / "out").read_text())
    lines = [line for line in (home / "out").read_text().splitlines() if line.startswith("{")]
    told = [json.loads(line) for line in lines]
    (marked,) = [t for t in told if "mark=" in t.get("query", "")]
    assert (marked["method"], marked["path"], marked["status"]) == ("GET", "/wms", 200)
    assert marked["bytes"] > 0
    assert any(t.get("cache", "").endswith("hit") for t in told)


def test_tiles_are_made_ahead_and_the_second_time_they_are_there(serving, monkeypatch):
    *_, home = serving
    for name in [n for n in os.environ if n.startswith(("ODC_", "DATACUBE_"))]:
        monkeypatch.delenv(name)
    url = re.search(r"Listening at: (http://\S+)", (home / "err").read_text())[1]
    run = CliRunner()
    seed = ["ows", "seed", NAME, "--zoom", "8-10", "--tiles", "BDC_Albers", "--home", str(home)]
    seed += ["--time", "2020-01-01", "2020-01-01", "--workers", "2", "--url", url]
    first, again = (run.invoke(main, seed) for _ in range(2))
    assert first.exit_code == again.exit_code == 0, first.output
    made = re.search(r"(\d+) tiles made, 0 were there, 0 failed", first.output)[1]
    assert int(made) >= 3
    assert f"0 tiles made, {made} were there, 0 failed" in again.output
    unknown = run.invoke(main, [*seed, "--style", "nothing"])
    assert unknown.exit_code == 2
    assert f"layer {NAME} has no style nothing: true_colour" in unknown.output
    size = run.invoke(main, ["ows", "cache", "size", "--home", str(home)])
    assert int(re.search(r": (\d+) answers", size.output)[1]) >= int(made)


DEPLOY = Path(__file__).resolve().parents[2] / "docs" / "howto" / "deploy"


@pytest.fixture
def through_nginx(serving, tmp_path):
    """Run nginx with the documented configuration, on another port, in front of the server."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed (apt-get install nginx-light)")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = re.search(r"Listening at: http://(\S+)", (serving[3] / "err").read_text())[1]
    site = (DEPLOY / "nginx.conf").read_text("utf-8")
    assert site.count("listen 80;") == site.count("server 127.0.0.1:8000;") == 1
    site = site.replace("listen 80;", f"listen 127.0.0.1:{port};")
    (tmp_path / "site.conf").write_text(site.replace("127.0.0.1:8000", url))
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;\n"
        f"events {{}} http {{ access_log off; include {tmp_path}/site.conf;\n"
        f"client_body_temp_path {tmp_path}/body; proxy_temp_path {tmp_path}/proxy;\n"
        f"fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; "
        f"scgi_temp_path {tmp_path}/s; }}\n"
    )
    options = ["-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", f"{tmp_path}/e.log"]
    process = subprocess.Popen([program, *options])

    def up():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for(up)
        yield lambda query, path="wms", **headers: fetched(
            f"http://127.0.0.1:{port}", path, query, **headers
        )
    finally:
        process.terminate()
        process.wait(30)


def test_the_documented_nginx_passes_requests_on(serving, through_nginx):
    direct = serving[1](MAP)
    proxied = through_nginx(MAP)
    assert (proxied.status, proxied.body) == (200, direct.body)
    assert proxied.headers["ETag"] == direct.headers["ETag"]
    assert through_nginx(MAP, **{"If-None-Match": direct.headers["ETag"]}).status == 304
    # Longer than the services take, and short enough for gunicorn to let them say so.
    long = through_nginx(MAP | {"styles": "x" * (8050 - len(urlencode(MAP)))})
    assert long.status == 414
    assert b"ServiceException" in long.body
    zipped = through_nginx(CAPABILITIES, **{"Accept-Encoding": "gzip"})
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert through_nginx({}, "health").status == 200


def test_it_ends_when_it_is_told_and_what_watches_with_it(serving):
    _, _, process, _ = serving
    watching = [p for p in Path("/proc").glob("[0-9]*") if _reloads(p, process.pid)]
    assert len(watching) == 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    wait_for(lambda: not _reloads(watching[0], process.pid))


def _reloads(running, server):
    try:
        words = (running / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"watch" in words and str(server).encode() in words
