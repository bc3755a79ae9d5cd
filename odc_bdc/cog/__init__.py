"""Cloud Optimized GeoTIFFs, written whole or not at all, in any order and little memory."""

from odc_bdc.cog.encoding import DEFLATE, ZSTD, Compression
from odc_bdc.cog.pyramid import Level, Pyramid, Window
from odc_bdc.cog.writer import CogWriter, write_cog

__all__ = ["DEFLATE", "ZSTD", "CogWriter", "Compression", "Level", "Pyramid", "Window", "write_cog"]
