"""How the map services read rasters: through datacube, but what they open is looked at first.

Whoever added a dataset to the index has named files. The services mark each such address by
`guarded_url`, which datacube-ows calls before it reads; only the read driver of odc_bdc takes
marked addresses, so that nothing else opens what a document names.
"""

from __future__ import annotations

from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any

import rasterio
from datacube.storage._rio import BandDataSource, RasterDatasetDataSource
from datacube.utils.math import num2numpy
from datacube.utils.rio import activate_from_config

from odc_bdc.errors import SceneError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datacube.storage import BandInfo

GUARDED = "guarded"
"""Scheme of marked addresses."""

FORMATS = ("GeoTIFF", "GTiff", "COG", "JPEG2000", "JP2")
"""What documents call the formats that are read."""


def guarded_url(url: str) -> str:
    """Mark the address of a file; a `patch_url_function` of datacube-ows."""
    return f"{GUARDED}:{url}"


def plain_url(url: str) -> str:
    """Give an address without the mark."""
    return url.removeprefix(f"{GUARDED}:")


class GuardedDataSource(RasterDatasetDataSource):  # type: ignore[misc]  # datacube has no types
    """What opens a band of a raster file that a dataset names."""

    def __init__(self, band: BandInfo) -> None:
        band = copy(band)
        band.uri = plain_url(band.uri)
        self._uri = band.uri
        super().__init__(band)

    @contextmanager
    def open(self) -> Iterator[BandDataSource]:
        """Open it as datacube's own reader does, by `odc_bdc.files`.

        Raises
        ------
        SceneError
            If it may not be read, or cannot be.
        """
        from odc_bdc.files import scene_files  # noqa: PLC0415 (light until somebody reads)

        activate_from_config()
        with scene_files().get(self._uri).dataset() as src:
            number = self.get_bandnumber(src)
            if not number or number > src.count:
                raise SceneError(f"{self._uri}: has {src.count} bands, and no band {number}")
            if src.crs is None or src.transform.is_identity:
                raise SceneError(f"{self._uri}: the file does not say where it lies")
            told: Any = src.nodatavals[number - 1]
            nodata = num2numpy(self.nodata if told is None else told, src.dtypes[number - 1])
            yield BandDataSource(rasterio.band(src, number), nodata=nodata)
