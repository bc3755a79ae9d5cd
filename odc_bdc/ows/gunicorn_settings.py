"""Settings of gunicorn, read by it with ``-c python:odc_bdc.ows.gunicorn_settings``."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Any

PARENT_VARIABLE = "ODC_BDC_OWS_PARENT"
"""Process without which the server is to end; set by `odc_bdc.ows.start_server`."""

_PR_SET_PDEATHSIG = 1

timeout = 120
graceful_timeout = 20
# The most that there is, so that a longer request is refused by the guard in its protocol's words.
limit_request_line = 8190
# Newer versions open a socket in the home folder, over which two servers would quarrel.
control_socket_disable = True


def on_starting(server: Any) -> None:  # noqa: ARG001 (gunicorn's interface)
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
