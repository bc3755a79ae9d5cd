"""A server on loopback that answers each request with bytes as they are given, to no end if so."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class RawServer:
    """Answers with what `answer(head)` yields, until the other side has had enough.

    Attributes
    ----------
    asked
        Head of each request.
    sent
        Bytes that were sent in all.
    """

    def __init__(self, answer):
        self.answer = answer
        self.asked = []
        self.sent = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._is_over = False
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_over = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection):
        with connection, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                if not (piece := connection.recv(1 << 16)):
                    return
                head += piece
            self.asked.append(head.decode())
            for piece in self.answer(head.decode()):
                if self._is_over:
                    return
                connection.sendall(piece)
                self.sent += len(piece)
