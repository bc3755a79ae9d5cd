"""Entry point of WSGI servers: ``gunicorn odc_bdc.ows.wsgi:application``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from odc_bdc.ows.drivers import limit_drivers

# Before anything that is imported works with GDAL.
limit_drivers()

from odc_bdc.errors import UnpatchedError  # noqa: E402
from odc_bdc.ows.application import ROOT_CONFIG, create_application  # noqa: E402
from odc_bdc.ows.operation import METRICS_VARIABLE  # noqa: E402
from odc_bdc.ows.patches import unpatched_accepted  # noqa: E402
from odc_bdc.ows.store import named_store  # noqa: E402

os.environ.setdefault("DATACUBE_OWS_CFG", ROOT_CONFIG)

_counts = os.environ.get(METRICS_VARIABLE)
try:
    application = create_application(
        named_store(os.environ),
        Path(_counts) if _counts else None,
        accept_unpatched=unpatched_accepted(os.environ),
    )
except UnpatchedError as e:
    sys.stderr.write(f"error: {e}\n")
    # By which gunicorn knows that it need not try again.
    raise SystemExit(4) from None
