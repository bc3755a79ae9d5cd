"""Connections that lead only where they may, and answers that end.

Each answer has a time that grows with what has come of it: a server may be slow, and one that
drips is left.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NameResolutionError
from urllib3.poolmanager import PoolManager

from odc_bdc.indexing.sources.hosts import Hosts, RefusedError

SLOW = 3
"""Times the patience with silence, that an answer may take to begin."""

_LEAST = 1 << 16  # bytes in a second that an answer brings, from then on
_TOO_SLOW = "the answer comes too slowly"


class BoundedAdapter(HTTPAdapter):
    """Asks only hosts that may be asked, at addresses that may be connected to.

    Parameters
    ----------
    hosts
        That may be.
    patience
        Seconds of silence.
    most
        Bytes of an answer on their way, whatever they are.
    connections
        To one host that are kept open.
    """

    def __init__(self, hosts: Hosts, patience: float, most: int, connections: int) -> None:
        self._pools = _pools(hosts, patience, most)
        super().__init__(pool_maxsize=connections)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of connections to servers."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> PoolManager:
        """Make the pools of connections by way of a proxy, which whoever runs this has named."""
        manager: PoolManager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager


def _pools(hosts: Hosts, patience: float, most: int) -> dict[str, Any]:
    """Make the classes of connections that urllib3 takes, for each scheme."""

    class Answer(http.client.HTTPResponse):
        """An answer whose every byte is waited for in bounded time."""

        def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
            super().__init__(sock, *args, **kwargs)
            self._stream = _Timed(self.fp.detach(), sock, patience, most)
            self.fp = io.BufferedReader(self._stream, 1 << 16)

        def begin(self) -> None:
            """Read the head; its time does not grow with what comes."""
            super().begin()
            self._stream.is_body = True

    class Connection(HTTPConnection):
        response_class = Answer

        def _new_conn(self) -> socket.socket:
            return _connected(self, hosts, super()._new_conn)

    class SecureConnection(HTTPSConnection):
        response_class = Answer

        def _new_conn(self) -> socket.socket:
            return _connected(self, hosts, super()._new_conn)

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    return {"http": Pool, "https": SecurePool}


def _connected(
    connection: HTTPConnection, hosts: Hosts, connect: Callable[[], socket.socket]
) -> socket.socket:
    """Connect to an address that was checked: looked up again, a name might lead elsewhere."""
    if connection.proxy is not None:
        return connect()
    name = connection._dns_host  # noqa: SLF001 (where urllib3 has what it looks up)
    try:
        *others, last = hosts.addresses(name, connection.port)
    except OSError as e:
        raise NameResolutionError(name, connection, e) from e  # type: ignore[arg-type]  # as it does
    try:
        for address in others:
            connection.host = address
            with suppress(HTTPError):
                return connect()
        connection.host = last
        return connect()
    finally:
        connection.host = name


class _Timed(io.RawIOBase):
    """What comes from a socket."""

    def __init__(self, raw: Any, sock: socket.socket, patience: float, most: int) -> None:
        super().__init__()
        self._raw, self._sock, self._patience, self._most = raw, sock, patience, most
        self._until = time.monotonic() + SLOW * patience
        self._received = 0
        self.is_body = False

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int | None:
        grown = self._received / _LEAST if self.is_body else 0.0
        left = self._until + grown - time.monotonic()
        if left <= 0:
            raise RefusedError(_TOO_SLOW)
        self._sock.settimeout(min(self._patience, left))
        try:
            count: int | None = self._raw.readinto(room)
        except TimeoutError:
            if left < self._patience:
                raise RefusedError(_TOO_SLOW) from None
            raise
        self._received += count or 0
        if self._received > self._most:
            raise RefusedError("the answer does not end")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
