"""`CubeSpec`: the one place where a cube is described.

Product documents, plans, dataset ids, file names and map layers all come from it.
"""

from odc_bdc.cube.encoding import Encoding, conversion_fault, source_encodings
from odc_bdc.cube.measurement import (
    AUXILIARY,
    CATEGORICAL,
    CLEAROB,
    DATASOURCE,
    PROVENANCE,
    TOTALOB,
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
    "conversion_fault",
    "find_cube",
    "read_cubes",
    "shipped_cubes",
    "source_encodings",
]
