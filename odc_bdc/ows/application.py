"""The web application: datacube-ows, with what the BDC needs around it."""

from __future__ import annotations

import logging
import os
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from odc_bdc import __version__
from odc_bdc.ows.caching import Caching, Images
from odc_bdc.ows.canonical import Canonical
from odc_bdc.ows.checks import Published, PublishedCrs, PublishedTiles
from odc_bdc.ows.content import add_content, is_settled
from odc_bdc.ows.extra import require_ows
from odc_bdc.ows.formats import Formats
from odc_bdc.ows.freshness import Fresh, Freshness
from odc_bdc.ows.guard import Guard, Net
from odc_bdc.ows.live import prepare_live_layers, unreadable_live_layers
from odc_bdc.ows.middleware import HealProjStrings
from odc_bdc.ows.operation import Health, Metrics
from odc_bdc.ows.patches import apply_patches
from odc_bdc.services_driver import services_environment

if TYPE_CHECKING:
    from pathlib import Path

    from odc_bdc.ows.store import Store

_LOG = logging.getLogger(__name__)

ROOT_CONFIG = "odc_bdc.ows_cfg.ows_root_cfg.ows_cfg"
"""What ``DATACUBE_OWS_CFG`` names if the user names nothing else."""


def create_application(
    store: Store | None = None, metrics: Path | None = None, *, accept_unpatched: bool = False
) -> Any:
    """Make the Flask application.

    datacube-ows reads its configuration from the environment: ``DATACUBE_OWS_CFG`` names it, and
    datacube's own variables (``ODC_CONFIG_PATH``, ``ODC_ENVIRONMENT`` and so on) name the index.

    Parameters
    ----------
    store
        Where answers are kept for all workers; without it each keeps documents only.
    metrics
        Folder in which the workers of a server put their counts together.
    accept_unpatched
        Serve with versions of other packages that are not known, and with their faults.

    Raises
    ------
    InvalidValueError
        If a limit of the environment is none (`odc_bdc.ows.limits`).
    UnpatchedError
        If what must be changed in another package is not what is known of it.
    MissingDependencyError
        If datacube-ows is not installed.
    SystemExit
        If the configuration is wrong or the index cannot be reached; the log says which.
    """
    require_ows()
    from odc_bdc.ows.limits import (  # noqa: PLC0415 (imports an extra)
        Bounds,
        CostLimits,
        bound_memory,
    )

    bound_memory()
    limits = CostLimits.of_environment(os.environ)
    apply_patches(accept_unpatched=accept_unpatched)
    from odc_bdc.ows import upstream  # noqa: PLC0415 (an extra)

    upstream.use_index(services_environment)
    app = upstream.create_app()
    Bounds(limits, metrics).install(app)
    _leave_logging_to_the_server(app)
    # datacube tells the outline of every search.
    logging.getLogger("datacube").setLevel(logging.WARNING)
    cfg = upstream.get_config()
    if cfg.ready:
        for told in unreadable_live_layers(cfg):
            _LOG.error("%s", told)
        prepare_live_layers(cfg)
    freshness = Freshness(cfg, upstream.read_config(), _versions())
    headers = cfg.response_headers({})
    # To the net around it, which answers as the protocol has it.
    app.config["PROPAGATE_EXCEPTIONS"] = True
    # Inside of all that rewrites requests, so that what datacube-ows gets has been checked.
    app.wsgi_app = Formats(Guard(app.wsgi_app, published_by(cfg), headers))
    if store is not None:
        app.wsgi_app = Images(app.wsgi_app, store, freshness.of_image)
    add_content(app, freshness.of_documents)
    app.wsgi_app = Net(HealProjStrings(app.wsgi_app), headers)
    # Around all others, for what they do to a document need be done but once.
    app.wsgi_app = Caching(
        app.wsgi_app, lambda: freshness.of_documents() if is_settled(cfg) else None, store
    )
    # Before times are turned into those of composites, which the layers know.
    app.wsgi_app = Fresh(app.wsgi_app, freshness.look)
    app.wsgi_app = Health(app.wsgi_app, cfg, freshness.look)
    app.wsgi_app = Metrics(app.wsgi_app, cfg.layer_index.__contains__, metrics)
    # The last: nothing decides on a request before it has its canonical form.
    app.wsgi_app = Net(Canonical(app.wsgi_app, _urls(cfg), headers), headers)
    return app


def _leave_logging_to_the_server(app: Any) -> None:
    """Take out of datacube-ows what logs each request: the server's access log does."""
    functions = app.after_request_funcs.get(None, [])
    functions[:] = [f for f in functions if f.__name__ != "log_time_and_request_response"]


def _urls(cfg: Any) -> list[str]:
    """Give the addresses that a configuration of datacube-ows advertises."""
    urls = cfg.allowed_urls
    return [urls] if isinstance(urls, str) else list(urls)


def _versions() -> list[str]:
    """Tell the versions of what makes answers."""
    others = ("datacube-ows", "datacube", "rasterio", "Pillow")
    return [__version__, *(version(name) for name in others)]


def published_by(cfg: Any) -> Published:
    """Take from a configuration of datacube-ows what checks of requests must know."""
    from odc_bdc.ows.upstream import latitude_first  # noqa: PLC0415 (an extra)

    crss = {
        name: PublishedCrs(cfg.crs(name), latitude_first=latitude_first(cfg, name))
        for name in cfg.published_CRSs
    }
    tiles: dict[str, PublishedTiles] = {}
    for matrix_set in cfg.tile_matrix_sets.values():
        levels = [
            (2 ** matrix_set.height_exponent(level), 2 ** matrix_set.width_exponent(level))
            for level in range(len(matrix_set.scale_set))
        ]
        width, height = matrix_set.tile_size
        for name in (matrix_set.identifier, matrix_set.wkss):
            if name:
                tiles[name] = PublishedTiles(levels, (width, height))
    return Published(crss, tiles)
