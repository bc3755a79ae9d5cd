"""The deployment's root configuration: ``DATACUBE_OWS_CFG=odc_bdc.ows_cfg.ows_root_cfg.ows_cfg``.

It publishes what the index has, cubes and scenes with datasets. The index is the one that datacube
finds by its own variables and files (``ODC_CONFIG``, ``ODC_CONFIG_PATH``, ``ODC_ENVIRONMENT`` and
so on), the same that datacube-ows will open. Without an index all cubes that come with odc_bdc are
configured, so that the configuration can be checked anywhere.

Variables
---------
ODC_BDC_OWS_URL
    Base URLs under which clients reach the services, separated by commas, the public one first.
ODC_BDC_OWS_TITLE
    Title of the services.
ODC_BDC_OWS_ORGANISATION, ODC_BDC_OWS_EMAIL
    Who provides them, and where to write to.
ODC_BDC_OWS_INDICES
    Spectral indices that layers have styles for, separated by commas; those of spyndex too.
ODC_BDC_OWS_DOCUMENTATION
    Address that the page for people links to; ``http`` or ``https``.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from datacube import Datacube
from datacube.cfg import ConfigException
from datacube.index.exceptions import IndexSetupError, NoIndexError
from sqlalchemy.exc import SQLAlchemyError

from odc_bdc.cube import shipped_cubes
from odc_bdc.ows import Service, build_config, inventory
from odc_bdc.ows.config import INDICES_VARIABLE, named_indices
from odc_bdc.ows.extra import require_ows
from odc_bdc.ows.server import URL_VARIABLE

_LOG = logging.getLogger(__name__)


def _service() -> Service:
    default = Service()
    urls = tuple(u.strip() for u in os.environ.get(URL_VARIABLE, "").split(",") if u.strip())
    title = os.environ.get("ODC_BDC_OWS_TITLE") or default.title
    indices = named_indices(os.environ.get(INDICES_VARIABLE, ""))
    documentation = os.environ.get("ODC_BDC_OWS_DOCUMENTATION", "").strip()
    return Service(
        title=title,
        organisation=os.environ.get("ODC_BDC_OWS_ORGANISATION", "").strip(),
        email=os.environ.get("ODC_BDC_OWS_EMAIL", "").strip(),
        urls=urls or default.urls,
        indices=indices,
        documentation=documentation if documentation.startswith(("http://", "https://")) else "",
    )


def _configure() -> dict[str, Any]:
    try:
        dc = Datacube(app="odc-bdc-ows")
    except (ConfigException, IndexSetupError, NoIndexError, SQLAlchemyError) as e:
        reason = str(e).strip().partition("\n")[0]
        _LOG.warning("No index (%s): all cubes of odc_bdc are configured", reason)
        return build_config(tuple(shipped_cubes().values()), (), service=_service())
    with dc:
        found = inventory(dc)
    for name, why in found.left_out.items():
        _LOG.warning("Product %s is not published: %s", name, why)
    return build_config(found.cubes, found.scenes, overviews=found.overviews, service=_service())


def _register_styles() -> None:
    """Make the styles' own kinds known to whatever program of datacube-ows reads this."""
    require_ows()
    from odc_bdc.ows.style_types import register_styles  # noqa: PLC0415 (needs the extra)

    register_styles()


_register_styles()
ows_cfg = _configure()
