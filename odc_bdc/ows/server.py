"""Running the services under gunicorn."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from json import dumps
from typing import IO, TYPE_CHECKING, Any, NoReturn, Protocol, Self

from odc_bdc.errors import InvalidValueError, OdcBdcError
from odc_bdc.live.roots import with_roots
from odc_bdc.ows.application import ROOT_CONFIG
from odc_bdc.ows.extra import require_ows, services_driver
from odc_bdc.ows.gunicorn_settings import PARENT_VARIABLE
from odc_bdc.ows.patches import check_patches, unpatched_accepted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

URL_VARIABLE = "ODC_BDC_OWS_URL"
"""Base URLs that the services advertise, separated by commas, the public one first."""

_LEGACY_VARIABLES = (
    *("DATACUBE_ENVIRONMENT", "DATACUBE_CONFIG_PATH", "DATACUBE_DB_URL"),
    *("DB_HOSTNAME", "DB_PORT", "DB_USERNAME", "DB_PASSWORD", "DB_DATABASE"),
)


class Index(Protocol):
    """What is needed of `odc_bdc.database.Index`."""

    @property
    def config_path(self) -> Path | None:
        """The configuration of a private index."""

    @property
    def env(self) -> str | None:
        """Name of the ODC environment."""

    @property
    def url(self) -> str:
        """URL of the database, ``postgresql+psycopg2://...``."""

    @property
    def driver(self) -> str:
        """Index driver."""

    @property
    def options(self) -> tuple[tuple[str, Any], ...]:
        """Further settings of the environment."""


@dataclass(slots=True)
class Server:
    """A running server; a context manager that stops it at the end."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait(self) -> int:
        """Wait until the server ends by itself; give its exit code."""
        return self.process.wait()

    def stop(self, timeout: float = 30.0) -> None:
        """Stop the server and its workers; after `timeout` seconds by force. Twice is harmless."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                # It leads a process group of its own, workers included.
                with suppress(ProcessLookupError):
                    os.killpg(self.process.pid, 9)
                self.process.wait()


def start_server(
    index: Index,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 2,
    log: Path,
    environ: Mapping[str, str] | None = None,
    timeout: float = 180.0,
) -> Server:
    """Start the services in the background, and wait until they answer.

    The server ends with `Server.stop`, and with the thread that started it, however that ends.

    Parameters
    ----------
    index
        An `odc_bdc.database.Index`.
    host, port
        Where to listen; port 0 takes a free one (see `Server.url`).
    workers
        Number of processes.
    log
        File that the server's log is appended to.
    environ
        Environment of the server, that of this process if not given.
    timeout
        Seconds that the first answer may take.

    Raises
    ------
    DatabaseError
        If the index cannot be served (driver).
    InvalidValueError
        If the port is taken or the host is not of this machine.
    MissingDependencyError
        If the extra ``[ows]`` is not installed.
    UnpatchedError
        If a version of datacube-ows or odc-geo is not known (`odc_bdc.ows.patches`).
    OdcBdcError
        If the server ends as it starts, or does not answer in time.
    """
    environ = os.environ if environ is None else environ
    check_servable(index, environ)
    log.parent.mkdir(parents=True, exist_ok=True)
    with _listen(host, port) as listener, log.open("ab") as out:
        urls = _urls(host, listener.getsockname()[1])
        env = server_environment(index, urls, environ)
        process = _spawn(_command(listener.fileno(), workers), listener, env, out)
    server = Server(urls[0], process, log)
    try:
        _wait_for_answer(server, timeout)
    except BaseException:
        server.stop()
        raise
    return server


def serve(
    index: Index,
    *,
    host: str,
    port: int,
    workers: int,
    environ: Mapping[str, str],
) -> NoReturn:
    """Become the server: this process turns into gunicorn, which stops cleanly at Ctrl-C.

    Raises as `start_server`.
    """
    check_servable(index, environ)
    listener = _listen(host, port)
    listener.set_inheritable(True)
    urls = _urls(host, listener.getsockname()[1])
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(  # noqa: S606 (no shell is wanted)
        sys.executable,
        _command(listener.fileno(), workers),
        server_environment(index, urls, environ),
    )


def check_servable(index: Index, environ: Mapping[str, str]) -> None:
    """Raise an error if datacube-ows cannot serve this index, or its version is not known.

    Raises
    ------
    DatabaseError, MissingDependencyError, UnpatchedError
        As `start_server` says.
    """
    check_installed(environ)
    services_driver(index.driver)


def check_installed(environ: Mapping[str, str]) -> None:
    """Raise an error if datacube-ows is not installed, or what is there is not known.

    Raises
    ------
    MissingDependencyError, UnpatchedError
        As `start_server` says.
    """
    require_ows()
    check_patches(accept_unpatched=unpatched_accepted(environ))


def server_environment(
    index: Index, urls: tuple[str, ...], environ: Mapping[str, str]
) -> dict[str, str]:
    """Give the environment of a server: `environ`, in which datacube finds just this index.

    ``DATACUBE_OWS_CFG``, ``ODC_BDC_OWS_URL`` and ``ODC_BDC_ROOTS`` of the user are kept.
    """
    environ = with_roots(index.config_path.parent if index.config_path else None, environ)
    env = index.env or "default"
    section = {
        "index_driver": services_driver(index.driver),
        "db_url": index.url,
        **dict(index.options),
    }
    kept = {
        key: value
        for key, value in environ.items()
        if key not in _LEGACY_VARIABLES
        and (not key.startswith("ODC_") or key.startswith("ODC_BDC_"))
        and key != PARENT_VARIABLE
    }
    return {
        "DATACUBE_OWS_CFG": ROOT_CONFIG,
        URL_VARIABLE: ",".join(urls),
        # Without it GDAL lists the folder of each file that it opens.
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
        **kept,
        "ODC_CONFIG": dumps({env: section}),
        "ODC_ENVIRONMENT": env,
    }


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise InvalidValueError(f"port {port} does not exist: choose one from 0 to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as e:
        if e.errno == errno.EADDRINUSE:
            reason = "is taken: stop the program that uses it, or choose another with --port"
        else:
            reason = f"cannot be used: {e.strerror or e}"
        raise InvalidValueError(f"port {port} of {host} {reason}") from e
    return listener


def _urls(host: str, port: int) -> tuple[str, ...]:
    names = {"0.0.0.0": ("127.0.0.1", "localhost"), "127.0.0.1": ("127.0.0.1", "localhost")}  # noqa: S104 (compared, not bound)
    shown = names.get(host, (f"[{host}]" if ":" in host else host,))
    return tuple(f"http://{name}:{port}" for name in shown)


def _command(fd: int, workers: int) -> list[str]:
    settings = "python:odc_bdc.ows.gunicorn_settings"
    options = ["-c", settings, "-b", f"fd://{fd}", "-w", str(workers)]
    return [sys.executable, "-m", "gunicorn", *options, "odc_bdc.ows.wsgi:application"]


def _spawn(
    command: list[str], listener: socket.socket, env: Mapping[str, str], out: IO[bytes]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        env={**env, PARENT_VARIABLE: str(os.getpid())},
        pass_fds=[listener.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=out,
        # Ctrl-C in a terminal reaches this process alone, which then stops the server.
        start_new_session=True,
    )


def _wait_for_answer(server: Server, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise OdcBdcError(
                f"the map server ended as it started; the end of {server.log} says why"
            )
        try:
            with urllib.request.urlopen(f"{server.url}/ping", timeout=5):  # noqa: S310 (our own)
                return
        except urllib.error.HTTPError:
            return  # An answer, if only that no layer has a range yet.
        except OSError:
            time.sleep(0.1)
    raise OdcBdcError(f"the map server did not answer in {timeout:g} s; see {server.log}")
