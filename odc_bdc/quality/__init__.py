"""What the quality band of a scene says of each pixel.

The codes belong to a collection, not to the code: CMASK alone exists in two codings (0 nodata,
127 clear, 255 cloud; and 0 clear, 4 cloud, 255 nodata). A `QualityPolicy` gives them their meaning,
one of the three classes NODATA, SEEN and CLEAR; `dilate` widens what is not clear.
"""

from odc_bdc.quality.bits import Confidence, Saturation
from odc_bdc.quality.classes import CLEAR, NODATA, SEEN, dilate
from odc_bdc.quality.policy import QualityPolicy

__all__ = [
    "CLEAR",
    "NODATA",
    "SEEN",
    "Confidence",
    "QualityPolicy",
    "Saturation",
    "dilate",
]
