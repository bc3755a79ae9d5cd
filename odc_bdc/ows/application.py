"""The web application: datacube-ows, with what the BDC needs around it."""

from __future__ import annotations

from typing import Any

from odc_bdc.ows.checks import Published, PublishedCrs
from odc_bdc.ows.extra import require_ows
from odc_bdc.ows.guard import Guard
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

    app = create_app()
    from datacube_ows.ows_configuration import get_config  # noqa: PLC0415 (an extra)

    cfg = get_config()
    app.wsgi_app = Guard(app.wsgi_app, published_by(cfg), cfg.response_headers({}))
    app.wsgi_app = HealProjStrings(app.wsgi_app)
    return app


def published_by(cfg: Any) -> Published:
    """Take from a configuration of datacube-ows what checks of requests must know."""
    crss = {
        name: PublishedCrs(cfg.crs(name), latitude_first=bool(about["vertical_coord_first"]))
        for name, about in cfg.published_CRSs.items()
    }
    sets: dict[str, list[tuple[int, int]]] = {}
    for tiles in cfg.tile_matrix_sets.values():
        levels = [
            (2 ** tiles.height_exponent(level), 2 ** tiles.width_exponent(level))
            for level in range(len(tiles.scale_set))
        ]
        sets |= {name: levels for name in (tiles.identifier, tiles.wkss) if name}
    return Published(crss, sets)
