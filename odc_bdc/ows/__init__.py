"""Publishing cubes and scenes through datacube-ows: WMS, WMTS and WCS.

The configuration (`build_config`) is pure: cubes in, a dict for datacube-ows out. Around it: what
an index has to publish (`inventory`), ranges (`update_ranges`), faults (`find_faults`), the web
application (`odc_bdc.ows.wsgi:application`), the server (`start_server`) and its proof
(`check_endpoints`).
"""

from odc_bdc.ows.config import Service, build_config
from odc_bdc.ows.endpoints import EndpointResult, check_endpoints
from odc_bdc.ows.faults import Fault, find_faults
from odc_bdc.ows.inventory import Inventory, config_of_index, inventory
from odc_bdc.ows.layers import SceneLayer
from odc_bdc.ows.ranges import LayerUpdate, update_ranges
from odc_bdc.ows.server import Server, start_server

__all__ = [
    "EndpointResult",
    "Fault",
    "Inventory",
    "LayerUpdate",
    "SceneLayer",
    "Server",
    "Service",
    "build_config",
    "check_endpoints",
    "config_of_index",
    "find_faults",
    "inventory",
    "start_server",
    "update_ranges",
]
