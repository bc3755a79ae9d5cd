"""Workers of gunicorn that slow clients cannot hold up.

Each process has one thread that reads requests and writes answers of all its connections
(waitress), and a few that answer. A request comes to these when it is complete, and an answer is
taken off them whole; a client that sends or reads slowly costs a connection, and no thread. See
ADR 18.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from gunicorn.workers.base import Worker
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher, WSGITask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from odc_bdc.ows.requests import WSGI

HEADER_BYTES = 32 * 2**10
"""All headers of a request with its first line, at most."""
BODY_BYTES = 16 * 2**10
"""Body of a request, at most: the services read none."""
ASKING_SECONDS = 10.0
"""How long a client may take to send a request, headers and body."""
READING_SECONDS = 20.0
READING_BYTES = 64 * 2**10
"""A client that reads less than `READING_BYTES` of its answer in `READING_SECONDS` loses it."""
BUFFERED_BYTES = 2**30
"""Of answers that wait for their clients, at most; beyond, who reads for longest loses his."""
SENDING_BYTES = 2**18
"""What the system takes of an answer before its client has read anything; Linux doubles it."""
CROWDED = 0.9
"""Part of a worker's connections from which on those that asked nothing yet are closed at once."""

_SLICE = 2**18
# An answer of less waits in memory, of more in a temporary file.
_IN_MEMORY = 2**20
_NEVER = 2**60
_LOG = logging.getLogger("gunicorn.error")


class BufferingWorker(Worker):
    """A worker of gunicorn (its ``worker_class``); ``threads`` and ``timeout`` are its settings."""

    alive: bool
    looked = 0.0

    def run(self) -> None:
        """Serve until the worker is to end; then finish what was begun."""
        for name in ("waitress", "waitress.queue"):  # they tell of each client that goes
            logging.getLogger(name).setLevel(logging.ERROR)
        self.running = Running(self.wsgi, self.log)
        self.server = _server(self)
        while self.alive and self.ppid == os.getppid():
            self._turn(1.0)
            if self.running.longest() > self.timeout:
                # A thread cannot be stopped, a process can.
                _LOG.error("a request takes longer than %s s: this worker ends", self.timeout)
                self.alive = False
        self.server.stop()
        end = time.monotonic() + self.cfg.graceful_timeout
        while self.server.active_channels and time.monotonic() < end:
            self._turn(0.1)

    def _turn(self, seconds: float) -> None:
        """Do what is to be read and written now; wait for it at most so long."""
        self.notify()
        wasyncore.loop(timeout=seconds, use_poll=True, map=self.server.connections, count=1)
        now = time.monotonic()
        if now - self.looked >= 1.0:
            self.looked = now
            self.server.let_go(now)


class Running:
    """The application as the threads of a worker call it: it knows what runs, and logs it.

    Parameters
    ----------
    application
        The services.
    log
        Logger of gunicorn, for the access log.
    """

    def __init__(self, application: WSGI, log: Any) -> None:
        self.application = application
        self.log = log
        self._begun: dict[int, float] = {}

    def longest(self) -> float:
        """Give for how many seconds the request that began first has been running."""
        begun = list(self._begun.values())
        return time.monotonic() - min(begun) if begun else 0.0

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer a request; its answer is passed on in slices, and so does not lie in memory."""
        begun, thread = time.monotonic(), threading.get_ident()
        self._begun[thread] = begun
        told = SimpleNamespace(status="500", headers=[], sent=0)

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            told.status, told.headers = status, headers
            return start_response(status, headers, *more)

        try:
            body = self.application(environ, start)
            try:
                whole = b"".join(body)
            finally:
                getattr(body, "close", lambda: None)()
        finally:
            del self._begun[thread]
        told.sent = len(whole)
        logged = {**environ, "RAW_URI": environ.get("REQUEST_URI", "")}
        self.log.access(told, [], logged, timedelta(seconds=time.monotonic() - begun))
        return [whole] if len(whole) <= _SLICE else _slices(whole)


def _slices(body: bytes) -> Iterator[bytes]:
    view = memoryview(body)
    for start in range(0, len(view), _SLICE):
        yield bytes(view[start : start + _SLICE])


class _OneRequest(WSGITask):
    """A connection has one request, so that a worker that ends drops none."""

    def start(self) -> None:
        super().start()
        self.request.headers["CONNECTION"] = "close"

    def build_response_header(self) -> bytes:
        # Names of headers have no case, but who reads them by eye knows this one.
        header: bytes = super().build_response_header()
        return header.replace(b"\r\nEtag: ", b"\r\nETag: ", 1)

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        if self.request.path.startswith("//"):
            # What slashes mean is decided in one place (`odc_bdc.ows.canonical`).
            environ["PATH_INFO"] = self.request.path
        return environ


@dataclass(slots=True)
class _Pace:
    """How far a client was when it was looked at last."""

    phase: str
    since: float
    left: int = 0


class _Connection(HTTPChannel):
    task_class = _OneRequest

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pace = _Pace("asking", time.monotonic())

    def phase(self) -> str:
        """Tell what the connection is at: ``asking``, ``answering`` or ``reading``."""
        if self.requests:
            return "answering"
        return "reading" if self.total_outbufs_len or self.close_when_flushed else "asking"

    def cut(self) -> None:
        """Close it now, also in the system, which else would go on sending what it has."""
        with suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.handle_close()

    def is_too_slow(self, now: float, asking_seconds: float) -> bool:
        """Tell whether the client has had its time."""
        phase, left = self.phase(), self.total_outbufs_len
        if phase != self.pace.phase:
            self.pace = _Pace(phase, now, left)
        waited = now - self.pace.since
        if phase == "asking":
            return waited > asking_seconds
        if phase == "reading" and waited > READING_SECONDS:
            if self.pace.left - left < READING_BYTES:
                return True
            self.pace = _Pace(phase, now, left)
        return False


class _Server(TcpWSGIServer):
    channel_class = _Connection

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.asking_seconds = ASKING_SECONDS
        super().__init__(*args, **kwargs)

    @property
    def connections(self) -> dict[int, Any]:
        """All that is read from and written to, by file number."""
        return self._map  # type: ignore[no-any-return]

    def set_socket_options(self, conn: socket.socket) -> None:
        """Let the system take little, so that an answer which nobody reads is seen to wait."""
        super().set_socket_options(conn)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENDING_BYTES)

    def stop(self) -> None:
        """Take no more connections; those that are there have a moment to ask."""
        self.accepting = False
        self.asking_seconds = 2.0

    def readable(self) -> bool:
        """Take connections while there are threads for them, else another worker is to.

        The wait is in the system then, which gives a connection to whoever comes first.
        """
        is_free = super().readable()
        busy = sum(bool(c.requests) for c in list(self.active_channels.values()))
        return bool(is_free) and busy < self.adj.threads

    def maintenance(self, now: float) -> None:
        """Do nothing: waitress asks for it while it goes through the connections."""

    def let_go(self, now: float) -> None:
        """Close the connections of clients that are too slow, or too many."""
        for connection in list(self.active_channels.values()):
            if connection.is_too_slow(now, self.asking_seconds):
                connection.cut()
        connections = list(self.active_channels.values())
        reading = sorted(
            (c for c in connections if c.phase() == "reading"), key=lambda c: c.pace.since
        )
        waiting = sum(c.total_outbufs_len for c in reading)
        for connection in reading:
            if waiting <= BUFFERED_BYTES:
                break
            waiting -= connection.total_outbufs_len
            connection.cut()
        if len(connections) > CROWDED * self.adj.connection_limit:
            asking = [c for c in connections if c.phase() == "asking"]
            for connection in sorted(asking, key=lambda c: c.pace.since)[: len(asking) // 2]:
                connection.cut()


def _server(worker: BufferingWorker) -> _Server:
    cfg = worker.cfg
    adjustments = Adjustments(
        threads=cfg.threads,
        sockets=[wrapped.sock for wrapped in worker.sockets],
        backlog=cfg.backlog,
        connection_limit=cfg.worker_connections,
        max_request_header_size=HEADER_BYTES,
        max_request_body_size=BODY_BYTES,
        cleanup_interval=1,
        channel_timeout=_NEVER,  # `maintenance` is ours
        outbuf_overflow=_IN_MEMORY,
        # A thread never waits for a client.
        outbuf_high_watermark=_NEVER,
        log_socket_errors=False,
        asyncore_use_poll=True,
        url_prefix=os.environ.get("SCRIPT_NAME", ""),
        ident="odc_bdc",
    )
    (listener,) = adjustments.sockets
    dispatcher = ThreadedTaskDispatcher()
    dispatcher.set_thread_count(cfg.threads)
    where = (listener.family, listener.type, listener.proto, listener.getsockname())
    return _Server(
        worker.running,
        {},
        _sock=listener,
        dispatcher=dispatcher,
        adj=adjustments,
        bind_socket=False,
        sockinfo=where,
    )
