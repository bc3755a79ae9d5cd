"""Where items come from: STAC APIs, and static STAC on disk, on HTTP servers and in buckets.

Whatever a source is, `find_items` gives its items one by one as they were found.
"""

from odc_bdc.indexing.sources.access import TOKEN_VARIABLE, AccessToken
from odc_bdc.indexing.sources.find import Progress, find_items
from odc_bdc.indexing.sources.hosts import HOSTS_VARIABLE, Hosts
from odc_bdc.indexing.sources.resume import Resume
from odc_bdc.indexing.sources.search import Search
from odc_bdc.indexing.sources.web import Limits, Patience

__all__ = [
    "HOSTS_VARIABLE",
    "TOKEN_VARIABLE",
    "AccessToken",
    "Hosts",
    "Limits",
    "Patience",
    "Progress",
    "Resume",
    "Search",
    "find_items",
]
