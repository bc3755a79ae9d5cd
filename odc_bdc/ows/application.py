"""The web application: datacube-ows, with what the BDC needs around it."""

from __future__ import annotations

from typing import Any

from odc_bdc.ows.content import add_content
from odc_bdc.ows.extra import require_ows
from odc_bdc.ows.middleware import HealProjStrings
from odc_bdc.ows.patches import apply_patches

ROOT_CONFIG = "odc_bdc.ows_cfg.ows_root_cfg.ows_cfg"
"""What ``DATACUBE_OWS_CFG`` names if the user names nothing else."""


def create_application() -> Any:
    """Make the Flask application.

    datacube-ows reads its configuration from the environment: ``DATACUBE_OWS_CFG`` names it, and
    datacube's own variables (``ODC_CONFIG_PATH``, ``ODC_ENVIRONMENT`` and so on) name the index.

    Raises
    ------
    MissingDependencyError
        If datacube-ows is not installed.
    SystemExit
        If the configuration is wrong or the index cannot be reached; the log says which.
    """
    require_ows()
    apply_patches()
    from datacube_ows.startup_utils import create_app  # noqa: PLC0415 (an extra)

    app = add_content(create_app())
    app.wsgi_app = HealProjStrings(app.wsgi_app)
    return app
