"""Entry point of WSGI servers: ``gunicorn odc_bdc.ows.wsgi:application``."""

from __future__ import annotations

import os
from pathlib import Path

from odc_bdc.ows.drivers import limit_drivers

# Before anything that is imported works with GDAL.
limit_drivers()

from odc_bdc.ows.application import ROOT_CONFIG, create_application  # noqa: E402
from odc_bdc.ows.operation import METRICS_VARIABLE  # noqa: E402
from odc_bdc.ows.store import named_store  # noqa: E402

os.environ.setdefault("DATACUBE_OWS_CFG", ROOT_CONFIG)

_counts = os.environ.get(METRICS_VARIABLE)
application = create_application(named_store(os.environ), Path(_counts) if _counts else None)
