"""`CubeSpec`: the one place where a cube is described.

Product documents, plans, dataset ids, file names and map layers all come from it.
"""

from odc_bdc.cube.measurement import (
    AUXILIARY,
    CATEGORICAL,
    CLEAROB,
    DATASOURCE,
    PROVENANCE,
    TOTALOB,
    Encoding,
    Measurement,
)
from odc_bdc.cube.shipped import find_cube, read_cubes, shipped_cubes
from odc_bdc.cube.spec import CubeSpec, IndexBand, Source

__all__ = [
    "AUXILIARY",
    "CATEGORICAL",
    "CLEAROB",
    "DATASOURCE",
    "PROVENANCE",
    "TOTALOB",
    "CubeSpec",
    "Encoding",
    "IndexBand",
    "Measurement",
    "Source",
    "find_cube",
    "read_cubes",
    "shipped_cubes",
]
