"""Brazil Data Cube on the Open Data Cube.

One definition of a cube, several ways to its pixels: `composite` on an `xarray.Dataset`, a virtual
product (`odc_bdc.virtual`), and cubes built, indexed and published by the command ``odc-bdc``.
"""

from odc_bdc.compositing import composite
from odc_bdc.cube import CubeSpec, find_cube
from odc_bdc.errors import OdcBdcError
from odc_bdc.grid import bdc_grid
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
    "find_cube",
]
