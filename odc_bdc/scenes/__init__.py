"""Made scenes: a folder of CBERS-4 WFI look-alikes for demonstrations, tests and benchmarks.

They are honest about it: platform, titles and the collection's description say so.
"""

from odc_bdc.scenes.cover import COVERS, made_cover
from odc_bdc.scenes.making import ScenesReport, demo_extent, make_scenes

__all__ = ["COVERS", "ScenesReport", "demo_extent", "made_cover", "make_scenes"]
