"""The read driver of odc-loader: ``dc.load(driver="odc_bdc.live.Driver")``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from datacube.storage._read import read_time_slice
from odc.loader._rio import RioDriver

from odc_bdc.live import RECIPE_SUFFIX
from odc_bdc.live.ioread import LiveBand

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from odc.loader.types import RasterLoadParams, RasterReader, RasterSource

    from odc_bdc.cog import Window


class LiveReader:
    """Reads a band of a live image onto other pixels."""

    def __init__(self, source: RasterSource) -> None:
        self._source = source

    def read(
        self,
        cfg: RasterLoadParams,
        dst_geobox: GeoBox,
        *,
        dst: npt.NDArray[Any] | None = None,
        selection: Any = None,
    ) -> tuple[Window, npt.NDArray[Any]]:
        """Read what a pixel grid shows of the band.

        Returns
        -------
        tuple
            Rows and columns of the grid that the image reaches, and their pixels (y, x).
        """
        from odc_bdc.live.opening import open_image  # noqa: PLC0415 (light until somebody reads)

        del selection
        image = open_image(self._source.uri)
        name = self._source.subdataset
        if name is None:
            raise ValueError(f"{self._source.uri}: which band is meant is not said")
        band = LiveBand(image, name)
        fill = cfg.fill_value if cfg.fill_value is not None else band.nodata or 0
        whole = np.full(tuple(dst_geobox.shape), fill, cfg.dtype or band.dtype)
        roi = read_time_slice(band, whole, dst_geobox, cfg.resampling, fill)
        found: npt.NDArray[Any] = whole[roi]
        if dst is not None:
            dst[roi] = found
            found = dst[roi]
        return roi, found


class Driver(RioDriver):  # type: ignore[misc]  # odc-loader says it is Any
    """Reads live images by their recipes, and all else as odc-loader's own driver does."""

    def open(self, src: RasterSource, ctx: Any) -> RasterReader:
        """Open a band."""
        if src.uri.partition("#")[0].endswith(RECIPE_SUFFIX):
            return LiveReader(src)
        reader: RasterReader = super().open(src, ctx)
        return reader
