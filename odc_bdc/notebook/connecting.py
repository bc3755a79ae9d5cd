"""`connect`: the index that belongs to a notebook."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from odc_bdc import database
from odc_bdc.database.configuration import find_user_configuration, own_path, read_own_index
from odc_bdc.errors import DatabaseError
from odc_bdc.live.roots import open_home

if TYPE_CHECKING:
    from collections.abc import Mapping

    from datacube import Datacube

    from odc_bdc.database import Index

HOME = ".odc_bdc"
"""Folder of the private index of a project."""


def connect(
    home: Path | str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    app: str = "notebook",
) -> Datacube:
    """Open the index.

    Parameters
    ----------
    home
        Folder of a private index, as ``odc-bdc`` has it. By default the index that the environment
        names (``ODC_CONFIG_PATH`` and whatever else datacube reads), or else ``.odc_bdc`` in the
        folder of the notebook or in one above it.
    environ
        Environment variables; by default those of the process.
    app
        The name that the server shows for the connection.

    Returns
    -------
    datacube.Datacube

    Raises
    ------
    DatabaseError
        If there is no index, it does not answer, or was not initialised; the message names the
        command that helps.

    Examples
    --------
    >>> dc = connect()  # doctest: +SKIP
    """
    environ = os.environ if environ is None else environ
    try:
        index = _index(environ) if home is None else _index_of(Path(home))
        dc = database.open_datacube(index, app=app)
    except DatabaseError as e:
        if "`" in str(e):
            raise
        raise DatabaseError(f"{e}; `odc-bdc db status` tells more") from None
    if index.config_path is not None:
        # Who opens a home reads what is below it.
        open_home(index.config_path.parent)
    return dc


def find_home(*, environ: Mapping[str, str] | None = None) -> Path:
    """Find the folder that holds a project's private index, and with it the scenes of a demo.

    Parameters
    ----------
    environ
        Environment variables; by default those of the process. ``ODC_BDC_HOME`` names the folder,
        or ``ODC_CONFIG_PATH`` the configuration in it; else it is ``.odc_bdc`` in the folder of the
        notebook or in one above it.

    Raises
    ------
    DatabaseError
        If there is none.
    """
    environ = os.environ if environ is None else environ
    named = environ.get("ODC_BDC_HOME")
    beside = Path(environ.get("ODC_CONFIG_PATH") or HOME).parent
    candidates = [Path(named)] if named else [beside, _home_about(Path.cwd())]
    home = next((home for home in candidates if home is not None and _is_there(home)), None)
    if home is None:
        raise DatabaseError(
            f"There is no private index: {named or Path.cwd()} has none, nor has a folder above "
            f"{Path.cwd()}; `make demo` makes one with scenes and cubes"
        )
    return home.resolve()


def _index_of(home: Path) -> Index:
    index = read_own_index(home.resolve())
    if index is None:
        raise DatabaseError(f"There is no index in {home} yet: run `odc-bdc db up --home {home}`")
    return index


def _index(environ: Mapping[str, str]) -> Index:
    """Find the index that the environment names, or the nearest private one."""
    home = _home_about(Path.cwd())
    if home is None and find_user_configuration(Path(HOME), environ) is None:
        raise DatabaseError(
            f"There is no index: no variable such as ODC_CONFIG_PATH names one, and neither "
            f"{Path.cwd()} nor a folder above it has {HOME}; `make demo` makes one to try, "
            "`odc-bdc db up` an empty one"
        )
    return database.find_index(home or Path(HOME), environ=environ)


def _home_about(folder: Path) -> Path | None:
    """Give the folder of the nearest private index, looking upwards."""
    homes = (place / HOME for place in (folder, *folder.parents))
    return next((home for home in homes if _is_there(home)), None)


def _is_there(home: Path) -> bool:
    try:
        return own_path(home).is_file()
    except OSError:  # somebody else's
        return False
