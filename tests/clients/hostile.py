"""Company that nobody wants: clients that are slow on purpose, and floods of what is refused.

All of it is bounded in number, and in time by whoever starts it; it asks loopback only.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from itertools import cycle
from random import Random
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CAPABILITIES = "/wms?service=WMS&request=GetCapabilities"
PAUSE = 1.0
"""Seconds between two bytes."""


async def slow_header(connection: Connection) -> None:
    """Send a header for ever, byte by byte."""
    await connection.send(f"GET {CAPABILITIES} HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".encode())
    while True:
        await connection.send(b"a")
        await asyncio.sleep(PAUSE)


async def slow_body(connection: Connection) -> None:
    """Promise a body, and send it byte by byte."""
    await connection.send(
        b"POST /wms HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    )
    while True:
        await connection.send(b"a")
        await asyncio.sleep(PAUSE)


async def slow_reader(connection: Connection) -> None:
    """Ask for much, and read it byte by byte."""
    await connection.send(f"GET {connection.large} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    while await connection.receive(1):  # noqa: ASYNC110 (a pause is wanted)
        await asyncio.sleep(PAUSE)


async def idle(connection: Connection) -> None:
    """Ask, keep the connection, and say nothing more."""
    await connection.send(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")
    while await connection.receive(4096):
        pass
    await asyncio.sleep(PAUSE)


async def silent(connection: Connection) -> None:
    """Connect, and say nothing at all."""
    await connection.receive(1)


SLOW = (slow_header, slow_body, slow_reader, idle, silent)


class Connection:
    """A connection of a slow client."""

    def __init__(self, raw: socket.socket, large: str) -> None:
        self.raw = raw
        self.large = large

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.raw, data)

    async def receive(self, size: int) -> bytes:
        # What came before the server cut the connection can be read even then, byte by byte.
        if error := self.raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(error, "the server cut the connection")
        return await asyncio.get_running_loop().sock_recv(self.raw, size)


class SlowClients:
    """So many slow clients at once, in a thread of their own, until the end of the context.

    One whose connection is closed by the server opens another. `seen` counts connections by kind.
    """

    def __init__(self, url: str, count: int, large: str = CAPABILITIES) -> None:
        parts = urlsplit(url)
        assert parts.hostname in {"127.0.0.1", "localhost"}
        self.address = (parts.hostname, parts.port)
        self.count = count
        self.large = large
        self.seen: Counter[str] = Counter()
        self.connected = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self.connected.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(60)

    async def _all(self) -> None:
        kinds = cycle(SLOW)
        tasks = [asyncio.create_task(self._one(next(kinds))) for _ in range(self.count)]
        while not self._ended.is_set():
            if sum(self.seen.values()) >= self.count:
                self.connected.set()
            await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, kind: Callable) -> None:
        while True:
            with socket.socket() as raw, contextlib.suppress(OSError):
                raw.setblocking(False)
                # As little as the system takes, or it would read in the client's place.
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                await asyncio.get_running_loop().sock_connect(raw, self.address)
                self.seen[kind.__name__] += 1
                await kind(Connection(raw, self.large))
            await asyncio.sleep(0.2)


class Floods:
    """Clients that ask without a pause for breath: nonsense, unknown places, spoilt caches.

    Each of `clients` threads asks at most `rate` times a second. `statuses` counts the answers.
    """

    def __init__(
        self, url: str, requests: Iterator[tuple[str, str]], clients: int = 2, rate: float = 10.0
    ) -> None:
        self.url = url
        self.requests = requests
        self.pause = 1 / rate
        self.statuses: Counter[int] = Counter()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask_on, args=(n,), daemon=True) for n in range(clients)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(120)

    def _ask_on(self, number: int) -> None:
        random = Random(number)  # noqa: S311 (no secret)
        while not self._ended.is_set():
            begun = time.monotonic()
            path, headers = self._next(random)
            try:
                request = urllib.request.Request(self.url + path, headers=headers)
                with urllib.request.urlopen(request, timeout=120) as got:
                    got.read()
                    status = got.status
            except urllib.error.HTTPError as e:
                with e:
                    status = e.code
            except OSError:
                status = 0
            with self._lock:
                self.statuses[status] += 1
            self._ended.wait(max(0.0, begun + self.pause - time.monotonic()))

    def _next(self, random: Random) -> tuple[str, dict[str, str]]:
        kind = random.random()
        if kind < 0.3:
            return f"{CAPABILITIES}&x{random.random()}={random.random()}", {
                "Host": f"host{random.random()}.example",
                "Accept-Language": f"x{random.random()}",
                "X-Forwarded-Host": f"host{random.random()}.example",
            }
        if kind < 0.5:
            return f"//{random.choice(('wms', 'x', 'metrics'))}/{random.random()}", {}
        with self._lock:
            service, query = next(self.requests)
        return f"/{service}?{query}", {}
