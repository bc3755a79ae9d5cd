"""Files of scenes wherever they lie: on disks, on HTTP servers and in buckets.

Each is read as one version of it: a file that is replaced meanwhile is noticed, and never gives
bytes of both.
"""

from odc_bdc.files.access import ACCESS_VARIABLE, Access, AccessRule, access_of, read_access
from odc_bdc.files.opening import OpenDataset, OpenFile, SceneFile, SceneFiles, scene_files
from odc_bdc.files.version import LOCAL_INTERVAL, FileVersion, Versions
from odc_bdc.indexing.href import FILES_VARIABLE, Href, Reach
from odc_bdc.indexing.sources.access import plain_href

__all__ = [
    "ACCESS_VARIABLE",
    "FILES_VARIABLE",
    "LOCAL_INTERVAL",
    "Access",
    "AccessRule",
    "FileVersion",
    "Href",
    "OpenDataset",
    "OpenFile",
    "Reach",
    "SceneFile",
    "SceneFiles",
    "Versions",
    "access_of",
    "plain_href",
    "read_access",
    "scene_files",
]
