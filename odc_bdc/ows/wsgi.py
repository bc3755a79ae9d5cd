"""Entry point of WSGI servers: ``gunicorn odc_bdc.ows.wsgi:application``."""

from __future__ import annotations

import os

from odc_bdc.ows.application import ROOT_CONFIG, create_application

os.environ.setdefault("DATACUBE_OWS_CFG", ROOT_CONFIG)

application = create_application()
