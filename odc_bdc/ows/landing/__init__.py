"""The page for people at ``/``: what the services have, on a map.

`Landing` is the WSGI middleware that serves it, `catalogue` the document that it is drawn from.
What the browser runs lies in ``static/``: modules of our own, and OpenLayers (``parts/`` tells how
its file is made). The page asks no other host for anything.
"""

from odc_bdc.ows.landing.catalogue import catalogue
from odc_bdc.ows.landing.page import Landing

__all__ = ["Landing", "catalogue"]
