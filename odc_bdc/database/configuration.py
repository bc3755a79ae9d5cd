"""Which configuration names the index: the user's own, else the one that `bring_up` wrote."""

from __future__ import annotations

import configparser
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from odc_bdc.database.index import Index, psycopg2_url
from odc_bdc.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# datacube takes a file for INI when its first character is ";" or "[".
HEADER = "; Written by `odc-bdc db up`, which may write it again: change nothing here."

# "default" and "legacy" are older names of the same driver.
DRIVERS = {
    "postgis": "postgis",
    "postgres": "postgres",
    "default": "postgres",
    "legacy": "postgres",
}

# Settings of a section that tell how to connect, not where.
OPTIONS = (
    "db_connection_timeout",
    "db_iam_authentication",
    "db_iam_timeout",
    "db_query_timeout",
    "dc_load_limit",
    "skip_broken_datasets",
)


@dataclass(frozen=True, slots=True)
class UserConfiguration:
    """The user's own configuration: the variable or file that names it, and its file if any."""

    source: str
    path: Path | None = None


def own_path(home: Path) -> Path:
    """Return the path of the configuration that `bring_up` writes."""
    return home / "datacube.conf"


def is_own(path: Path, home: Path) -> bool:
    """Tell whether a path is the configuration of this home, written or still to be written."""
    if path.resolve() != own_path(home).resolve():
        return False
    try:
        return path.read_text(encoding="utf-8").startswith(HEADER)
    except OSError:  # not written yet, or by another user, who will be named later
        return True


def find_user_configuration(home: Path, environ: Mapping[str, str]) -> UserConfiguration | None:
    """Return the user's own configuration by the rules of datacube, or None.

    A variable that names a server comes before a file, as in datacube.

    Raises
    ------
    DatabaseError
        If a variable names configuration files of which none is there.
    """
    for name in _variables(environ):
        if environ.get(name):
            path = _user_file(home, environ)
            return UserConfiguration(f"${name}", path.path if path else None)
    return _user_file(home, environ)


def _variables(environ: Mapping[str, str]) -> list[str]:
    """Return the names of the variables by which datacube is told a server, in its order."""
    env = environ.get("ODC_ENVIRONMENT") or environ.get("DATACUBE_ENVIRONMENT") or "default"
    parts = ("DB_URL", "DB_HOSTNAME", "DB_DATABASE")
    return [
        "ODC_CONFIG",
        *(f"ODC_{env.upper()}_{part}" for part in parts),
        "DATACUBE_DB_URL",
        "DB_HOSTNAME",
        "DB_DATABASE",
        *(f"ODC_ALL_{part}" for part in parts),
    ]


def _user_file(home: Path, environ: Mapping[str, str]) -> UserConfiguration | None:
    """Return the configuration file that datacube would read, unless it is our own."""
    for name in ("ODC_CONFIG_PATH", "DATACUBE_CONFIG_PATH"):
        if paths := [Path(part) for part in environ.get(name, "").split(":") if part]:
            chosen = next((path for path in paths if _is_file(path)), None)
            if is_own(chosen, home) if chosen else any(is_own(path, home) for path in paths):
                return None
            if chosen is None:
                raise DatabaseError(
                    f"${name} names no file that is there ({environ[name]}): correct or unset it"
                )
            return UserConfiguration(f"${name}", chosen)
    for path in _searched_files(environ):
        if _is_file(path):
            return None if is_own(path, home) else UserConfiguration(str(path), path)
    own = own_path(home)
    if _is_file(own) and not is_own(own, home):  # put there by the user: never overwrite it
        return UserConfiguration(str(own), own)
    return None


def _is_file(path: Path) -> bool:
    """Tell whether a file is there, as far as we may look."""
    try:
        return path.is_file()
    except OSError:
        return False


def _searched_files(environ: Mapping[str, str]) -> list[Path]:
    """Return the files that datacube looks for, in its order."""
    user = [Path(environ["HOME"], ".datacube.conf")] if environ.get("HOME") else []
    system = [Path("/etc/default/datacube.conf"), Path("/etc/datacube.conf")]
    return [Path("datacube.conf"), *user, *system]


def read_user_index(user: UserConfiguration, environ: Mapping[str, str]) -> Index:
    """Read the user's configuration, by datacube's own rules.

    Raises
    ------
    DatabaseError
        If it cannot be read or names a driver other than ``postgis`` and ``postgres``.
    """
    from datacube.cfg import (  # noqa: PLC0415 (seconds; a private cluster does without)
        ConfigException,
        ODCConfig,
        psql_url_from_config,
    )

    try:
        with _environment(environ):
            section = ODCConfig(paths=user.path)[None]
            driver = DRIVERS.get(section.index_driver)
            if driver is None:
                raise DatabaseError(
                    f"{user.source} asks for the index driver {section.index_driver!r}: "
                    "use postgis or postgres"
                )
            url = psycopg2_url(psql_url_from_config(section))
    except (ConfigException, OSError) as error:
        if isinstance(error, DatabaseError):
            raise
        raise DatabaseError(f"The configuration of {user.source} is wrong: {error}") from None
    return Index(
        config_path=None,
        env=section.get_all_aliases()[0],
        url=url,
        driver=driver,
        private=False,
        options=tuple(
            (name, value) for name in OPTIONS if (value := getattr(section, name, None)) is not None
        ),
    )


@contextmanager
def _environment(environ: Mapping[str, str]) -> Iterator[None]:
    """Let datacube, which reads `os.environ`, see the mapping that our caller gave."""
    before = dict(os.environ)
    if before == dict(environ):
        yield
        return
    os.environ.clear()
    os.environ.update(environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def read_own_index(home: Path) -> Index | None:
    """Read the configuration that `bring_up` wrote; None if there is none."""
    path = own_path(home)
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
        section = parser["default"]
        url, driver = section["db_url"], section["index_driver"]
    except FileNotFoundError:
        return None
    except PermissionError:
        raise DatabaseError(
            f"{path} belongs to another user: run as that user, or choose another --home"
        ) from None
    except (configparser.Error, KeyError):
        raise DatabaseError(
            f"{path} is damaged: run `odc-bdc db up`, which writes it again"
        ) from None
    return Index(config_path=path, env="default", url=url, driver=driver, private=True)


def write_own(home: Path, *, url: str, driver: str) -> Index:
    """Write the configuration of a private cluster, readable by its owner only.

    It appears complete or not at all, and stays untouched when nothing changed.
    """
    path = own_path(home)
    content = f"{HEADER}\n[default]\nindex_driver: {driver}\ndb_url: {url}\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != content:
        draft = path.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(content)
            if os.geteuid() == 0:  # root may start the cluster of a user, who must still read this
                owner = home.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        draft.replace(path)
    return Index(config_path=path, env="default", url=url, driver=driver, private=True)
