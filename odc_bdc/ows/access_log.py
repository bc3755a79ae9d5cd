"""The access log of gunicorn as lines of JSON."""

from __future__ import annotations

import json
from typing import Any

from gunicorn.glogging import Logger

COMMON = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s %(M)s "%({cache-status}o)s"'
"""The common log format, and behind it milliseconds and whether the answer was kept."""

_ATOMS = {
    "time": "t",
    "client": "h",
    "method": "m",
    "path": "U",
    "query": "q",
    "status": "s",
    "bytes": "B",
    "milliseconds": "M",
    "cache": "{cache-status}o",
    "agent": "a",
    "referer": "f",
}
_NUMBERS = frozenset({"status", "bytes", "milliseconds"})


class JsonLogger(Logger):
    """gunicorn's logger, but for the access log: an object of JSON in each line."""

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Write of a request that was answered."""
        if self.access_log_enabled:
            self.access_log.info("%s", line_of(self.atoms(resp, req, environ, request_time)))


def line_of(atoms: dict[str, Any]) -> str:
    """Write a line from what gunicorn knows of a request; what it does not know is left out."""
    told = {}
    for name, atom in _ATOMS.items():
        value = atoms.get(atom)
        if value in (None, "", "-"):
            continue
        told[name] = int(value) if name in _NUMBERS else str(value).strip("[]")
    return json.dumps(told)
