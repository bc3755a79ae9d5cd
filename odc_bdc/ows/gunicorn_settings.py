"""Settings of gunicorn, read by it with ``-c python:odc_bdc.ows.gunicorn_settings``."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import tempfile
from typing import Any

from odc_bdc.ows.access_log import COMMON, JsonLogger
from odc_bdc.ows.drivers import LISTED_VARIABLE, listed_drivers
from odc_bdc.ows.operation import METRICS_VARIABLE

PARENT_VARIABLE = "ODC_BDC_OWS_PARENT"
"""Process without which the server is to end; set by `odc_bdc.ows.start_server`."""

ACCESS_VARIABLE = "ODC_BDC_OWS_ACCESS_LOG"
"""``common`` or ``json``; no requests are logged if it is not set."""

THREADS_VARIABLE = "ODC_BDC_OWS_THREADS"
"""Requests that a worker answers at once."""
DEFAULT_THREADS = 4

_PR_SET_PDEATHSIG = 1

worker_class = "odc_bdc.ows.workers.BufferingWorker"
# Those that compute wait for one another; the rest is for what is kept, and is answered at once.
threads = int(os.environ.get(THREADS_VARIABLE) or DEFAULT_THREADS)
worker_connections = 800  # below the 1,024 open files that a process may usually have
timeout = 120
graceful_timeout = 20
# The most that there is, so that a longer request is refused by the guard in its protocol's words.
limit_request_line = 8190
# Newer versions open a socket in the home folder, over which two servers would quarrel.
control_socket_disable = True

_access = os.environ.get(ACCESS_VARIABLE, "")
accesslog = "-" if _access in {"common", "json"} else None
access_log_format = COMMON
logger_class = JsonLogger if _access == "json" else "gunicorn.glogging.Logger"


def on_starting(server: Any) -> None:
    """Make the folder of the counts, list what workers must not read, end with who started it."""
    os.environ.setdefault(LISTED_VARIABLE, listed_drivers())
    if not os.environ.get(METRICS_VARIABLE):
        server.odc_bdc_metrics = tempfile.mkdtemp(prefix="odc_bdc_metrics_")
        os.environ[METRICS_VARIABLE] = server.odc_bdc_metrics
    _end_with_parent()


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 (gunicorn's interface)
    """Take a worker that ended out of what counts the living."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 (an extra)

    mark_process_dead(worker.pid, os.environ[METRICS_VARIABLE])  # type: ignore[no-untyped-call]


def on_exit(server: Any) -> None:
    """Remove the counts, if the folder is our own."""
    own = getattr(server, "odc_bdc_metrics", None)
    if own:
        shutil.rmtree(own, ignore_errors=True)


def _end_with_parent() -> None:
    """End with the process that started the server, even if that is killed: no orphan keeps a port.

    Linux only; without it the server ends by `Server.stop` alone.
    """
    parent = os.environ.get(PARENT_VARIABLE)
    if not parent:
        return
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGTERM)
