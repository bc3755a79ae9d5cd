"""All that odc_bdc takes of datacube-ows and of pyows. No other module imports these.

What is named here is what a new version must still have; `tests/unit/test_ows_upstream.py` looks.
The module needs the extra ``[ows]`` to be imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from datacube.cfg import ConfigException as OdcConfigException
from datacube_ows.config_utils import (
    ConfigException,
    FunctionWrapper,
    ODCInitException,
    OWSMetadataConfig,
)
from datacube_ows.data import get_map
from datacube_ows.feature_info import feature_info
from datacube_ows.http_utils import capture_headers
from datacube_ows.index import AbortRun
from datacube_ows.index.api import OWSAbstractIndexDriver
from datacube_ows.index.driver import ows_index_driver_by_name
from datacube_ows.index.postgis.api import OWSPostgisIndex, OWSPostgisIndexDriver
from datacube_ows.index.postgis.product_ranges import create_range_entry
from datacube_ows.index.postgres.api import OWSPostgresIndex
from datacube_ows.ogc import OWS_SUPPORTED, lower_get_args
from datacube_ows.ogc_exceptions import (
    OGCException,
    WCS1Exception,
    WCS2Exception,
    WMSException,
    WMTSException,
)
from datacube_ows.ows_configuration import OWSConfig, get_config, read_config
from datacube_ows.query_profiler import QueryProfiler
from datacube_ows.resource_limits import ResourceLimited
from datacube_ows.startup_utils import create_app
from datacube_ows.styles.api import StandaloneStyle
from datacube_ows.styles.base import StyleDefBase, style_class_priority_reg
from datacube_ows.styles.component import ComponentStyleDef
from datacube_ows.styles.ramp import ColorRampDef
from datacube_ows.utils import get_sqlconn
from datacube_ows.wcs2_utils import get_coverage_data
from datacube_ows.wcs_scaler import WCSScalerException, WCSScalerUnknownDimension
from datacube_ows.wmts import wmts_args_to_wms
from ows.wcs.v20 import Slice
from ows.wcs.v20.decoders import kvp_decode_get_coverage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "AbortRun",
    "ColorRampDef",
    "ComponentStyleDef",
    "ConfigException",
    "FunctionWrapper",
    "ODCInitException",
    "OGCException",
    "OWSAbstractIndexDriver",
    "OWSConfig",
    "OWSMetadataConfig",
    "OWSPostgisIndex",
    "OWSPostgisIndexDriver",
    "OWSPostgresIndex",
    "QueryProfiler",
    "ResourceLimited",
    "Slice",
    "StandaloneStyle",
    "StyleDefBase",
    "WCS1Exception",
    "WCS2Exception",
    "WCSScalerException",
    "WCSScalerUnknownDimension",
    "WMSException",
    "WMTSException",
    "create_app",
    "create_range_entry",
    "feature_info",
    "get_config",
    "get_coverage_data",
    "get_map",
    "get_sqlconn",
    "kvp_decode_get_coverage",
    "latitude_first",
    "ows_index_driver_by_name",
    "read_config",
    "request_arguments",
    "service_of_request",
    "style_class_priority_reg",
    "use_index",
    "wmts_args_to_wms",
]

_PATHS = {"/wms": "wms", "/wmts": "wmts", "/wcs": "wcs"}
# Operations by which a request for the root without SERVICE is known.
_OPERATIONS = {
    **dict.fromkeys(("getmap", "getfeatureinfo", "getlegendgraphic"), "wms"),
    **dict.fromkeys(("describecoverage", "getcoverage"), "wcs"),
}


def latitude_first(cfg: Any, crs: str) -> bool:
    """Tell whether the standards order the axes of a published CRS vertical first."""
    return bool(cfg.published_CRSs[crs]["vertical_coord_first"])


def request_arguments() -> dict[str, Any]:
    """Give the parameters of Flask's request as the operations of datacube-ows want them."""
    from flask import request  # noqa: PLC0415 (an extra)

    return dict(capture_headers(request, lower_get_args()))


def service_of_request(cfg: Any, path: str, args: dict[str, Any]) -> tuple[str, str, Any]:
    """Tell what a request is for.

    Returns
    -------
    tuple
        The service in small letters, the version of it that datacube-ows answers in, and the
        function of `cfg` and `args` that does.

    Raises
    ------
    OGCException
        If there is no such service, or the path is that of another.
    """
    named = args.get("service", "").lower()
    operation = args.get("request", "").lower()
    service = _PATHS.get(path) or named or _OPERATIONS.get(operation, "")
    supported = OWS_SUPPORTED.get(service)
    if supported is None:
        raise WMSException(
            "Invalid service and/or request",
            WMSException.OPERATION_NOT_SUPPORTED if named else None,
            "service parameter" if named else "Service and request parameters",
        )
    if not supported.activated(cfg):
        raise supported.default_exception_class(
            "Invalid service and/or request", locator="Service and request parameters"
        )
    if named and named != service:
        raise supported.default_exception_class("Invalid service", locator="Service parameter")
    version = supported.negotiated_version(args.get("version"))
    return service, version.version, version.router


def use_index(change: Callable[[Any], Any]) -> None:
    """Let datacube-ows open its indexes by other ODC environments than its configuration names.

    To be called before `create_app`, which takes the configuration that is there. One that cannot
    be read is left to it, which says so.

    Parameters
    ----------
    change
        Gives the `ODCEnvironment` to be used in the place of another, of a name, or of None.
    """
    try:
        config = read_config()
        environment = change(config["global"].get("env"))
        made = OWSConfig(
            refresh=True, cfg={**config, "global": config["global"] | {"env": environment}}
        )
    except (ConfigException, OdcConfigException, KeyError):
        OWSConfig._instance = None  # noqa: SLF001 (half of one)
        return
    # Layers and folders that have an environment of their own know it by its name only.
    for entry in {
        id(e): e for layer in made.layer_index.values() for e in _upwards(layer)
    }.values():
        if getattr(entry, "_local_env", None) is not None:
            entry._local_env = change(entry._local_env)  # noqa: SLF001


def _upwards(layer: Any) -> Iterator[Any]:
    while layer is not None:
        yield layer
        layer = layer.parent_layer
