"""Brazil Data Cube on the Open Data Cube.

One definition of a cube, several ways to its pixels: `composite` on an `xarray.Dataset`, a virtual
product (`odc_bdc.virtual`), and cubes built, indexed and published by the command ``odc-bdc``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from odc_bdc.compositing import composite, composite_cube, harmonise
    from odc_bdc.cube import CubeSpec, find_cube
    from odc_bdc.errors import OdcBdcError
    from odc_bdc.grid import bdc_grid, find_grid
    from odc_bdc.live.loaded import load_scenes
    from odc_bdc.live.opened import open_cube
    from odc_bdc.quality import QualityPolicy
    from odc_bdc.timeline import Period, Timeline

__version__ = "0.1.0"

__all__ = [
    "CubeSpec",
    "OdcBdcError",
    "Period",
    "QualityPolicy",
    "Timeline",
    "__version__",
    "bdc_grid",
    "composite",
    "composite_cube",
    "find_cube",
    "find_grid",
    "harmonise",
    "load_scenes",
    "open_cube",
]

_HOMES = {
    "CubeSpec": "cube",
    "OdcBdcError": "errors",
    "Period": "timeline",
    "QualityPolicy": "quality",
    "Timeline": "timeline",
    "bdc_grid": "grid",
    "composite": "compositing",
    "composite_cube": "compositing",
    "find_cube": "cube",
    "find_grid": "grid",
    "harmonise": "compositing",
    "load_scenes": "live.loaded",
    "open_cube": "live.opened",
}


def __getattr__(name: str) -> Any:
    # Looked up when asked for: `odc-bdc --help` and `import odc_bdc` need no xarray.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
