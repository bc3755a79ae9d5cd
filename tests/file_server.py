"""A small server of files on loopback, that gives parts of them and has the faults servers have.

It knows nothing of the code under test.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class FileServer:
    """Serves the files below a folder.

    Attributes
    ----------
    faults
        What happens to the next requests, one after the other: a status, ``silent``, ``dropped``,
        ``cut``, ``drip``; None is an answer.
    fail_always
        The same, when there are no more `faults`.
    wants
        Called with headers and parameters of a request: whether it may be answered.
    marks
        Headers that tell the version: ``ETag``, ``Last-Modified``, or neither.
    has_ranges
        Whether it gives parts of files.
    before
        Called with the number of each request before it is answered.
    asked
        Path with query, and headers, of each request.
    """

    def __init__(self, folder):
        self.folder = folder
        self.faults = []
        self.fail_always = None
        self.wants = None
        self.marks = ("ETag", "Last-Modified")
        self.has_ranges = True
        self.silence = 3.0
        self.before = None
        self.asked = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.files = self
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}
        )

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def next_fault(self, path, headers):
        with self._lock:
            self.asked.append((path, headers))
            if self.before is not None:
                self.before(len(self.asked))
            return self.faults.pop(0) if self.faults else self.fail_always


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server, parts = self.server.files, urlsplit(self.path)
        fault = server.next_fault(self.path, dict(self.headers))
        if fault == "silent":
            time.sleep(server.silence)
        if fault in {"silent", "dropped"}:
            self.close_connection = True
            return
        if isinstance(fault, int):
            self.give(fault, b"<html>no</html>")
            return
        parameters = {name: values[0] for name, values in parse_qs(parts.query).items()}
        path = server.folder / unquote(parts.path).lstrip("/")
        if server.wants and not server.wants(dict(self.headers), parameters):
            self.give(403, b"<html>forbidden</html>")
        elif not path.is_file():
            self.give(404, b"<html>not found</html>")
        else:
            self.give_file(path.read_bytes(), fault)

    def give_file(self, content, fault):
        server = self.server.files
        marks = {
            "ETag": f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"',
            "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT",
        }
        headers = {name: marks[name] for name in server.marks}
        asked = _RANGE.fullmatch(self.headers.get("Range", "")) if server.has_ranges else None
        if asked is None:
            self.give(200, content, headers)
            return
        start, stop = int(asked[1]), int(asked[2] or len(content)) + 1
        if start >= len(content):
            self.give(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            return
        part = content[start:stop]
        span = f"bytes {start}-{start + len(part) - 1}/{len(content)}"
        self.give(206, part, {**headers, "Content-Range": span}, fault)

    def give(self, status, content, headers=None, fault=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if fault == "cut":
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        elif fault == "drip":
            for n in range(len(content)):
                self.wfile.write(content[n : n + 1])
                time.sleep(0.02)
        else:
            self.wfile.write(content)


@contextmanager
def served_apart(folder):
    """Serve a folder by a process of its own; give the address.

    GDAL holds the interpreter while it waits for an answer, so no thread beside it can give one.
    """
    with subprocess.Popen(
        [sys.executable, __file__, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


if __name__ == "__main__":
    with FileServer(Path(sys.argv[1])) as running:
        sys.stdout.write(f"{running.url}\n")
        sys.stdout.flush()
        sys.stdin.read()
