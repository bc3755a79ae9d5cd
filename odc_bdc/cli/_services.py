"""What the commands of the services take from their environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from datacube import Datacube


def configuration(dc: Datacube) -> dict[str, Any] | None:
    """Read the configuration that DATACUBE_OWS_CFG names; None means the one of odc_bdc."""
    from odc_bdc.ows.application import ROOT_CONFIG
    from odc_bdc.ows.parsed import read_configuration

    named = os.environ.get("DATACUBE_OWS_CFG") or ROOT_CONFIG
    return None if named == ROOT_CONFIG else read_configuration(named, env=dc.index.environment)


def services_environ(home: Path) -> dict[str, str]:
    """Give the environment, with cache and recipes below the home if it names no others."""
    from odc_bdc.live.roots import with_roots
    from odc_bdc.ows.store import FOLDER_VARIABLE

    return with_roots(home, {FOLDER_VARIABLE: str((home / "ows_cache").absolute()), **os.environ})
