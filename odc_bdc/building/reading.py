"""Pixels of a scene on the pixel grid of a tile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.warp import reproject
from rasterio.windows import Window

from odc_bdc.errors import InvalidValueError, SceneError
from odc_bdc.grid import normalise_crs

if TYPE_CHECKING:
    from contextlib import ExitStack

    from odc.geo.geobox import GeoBox

    from odc_bdc.planning import BandSource

_ALIGNED = 1e-3
"""A shift between two pixel grids, in pixels, that is taken for rounding of their coordinates."""


class SourceReader:
    """Reads windows of the bands of scenes; keeps files open until its `ExitStack` closes them.

    Not for use by several threads at once.
    """

    def __init__(self, files: ExitStack) -> None:
        self._files = files
        self._open: dict[str, Any] = {}

    def read(self, source: BandSource, resampling: str, geobox: GeoBox) -> npt.NDArray[Any]:
        """Read one band on a pixel grid.

        Parameters
        ----------
        source
            The file and its band; its encoding says dtype and nodata of the result.
        resampling
            As of `odc_bdc.cube.Measurement`.
        geobox
            Pixels wanted. Those outside of the file become nodata, or 0 where there is none.

        Returns
        -------
        numpy.ndarray
            (y, x). Values as stored where the file is on the same pixel grid, else warped by the
            resampling, in which nodata takes no part.

        Raises
        ------
        SceneError
            If the file cannot be opened or read.
        """
        known = source.encoding
        fill = known.nodata or 0
        out = np.full(tuple(geobox.shape), fill, dtype=known.dtype)
        path = _local(source.href)
        try:
            src = self._dataset(path)
            nodata = known.nodata if src.nodata is None else src.nodata
            window = _window(src, geobox)
            if window is None:
                _warp(src, source, out, geobox, resampling, nodata=nodata)
            else:
                _copy(src, source.band, out, window)
                if nodata is not None and nodata != fill:
                    out[out == nodata] = fill
        except (RasterioError, InvalidValueError) as e:  # the latter of a file cut before its CRS
            reason = (str(e).strip() or type(e).__name__).splitlines()[0]
            raise SceneError(f"{path}: cannot be read: {reason}") from e
        return out

    def _dataset(self, path: str) -> Any:
        if path not in self._open:
            self._open[path] = self._files.enter_context(rasterio.open(path))
        return self._open[path]


def _local(href: str) -> str:
    parts = urlparse(href)
    return unquote(parts.path) if parts.scheme == "file" else href


def _window(src: Any, geobox: GeoBox) -> tuple[int, int] | None:
    """Give row and column of the geobox's corner in the file, None if pixel grids differ."""
    if normalise_crs(src.crs) != geobox.crs:
        return None
    step = ~src.transform * geobox.affine
    near = Affine.translation(round(step.c), round(step.f))
    rows, columns = geobox.shape
    corners = [(0, 0), (columns, rows)]
    shift = max(abs(a - b) for c in corners for a, b in zip(step * c, near * c, strict=True))
    return (round(step.f), round(step.c)) if shift < _ALIGNED else None


def _copy(src: Any, band: int, out: npt.NDArray[Any], corner: tuple[int, int]) -> None:
    (row, column), (rows, columns) = corner, out.shape
    r0, r1 = max(0, row), min(src.height, row + rows)
    c0, c1 = max(0, column), min(src.width, column + columns)
    if r0 >= r1 or c0 >= c1:
        return
    pixels = src.read(band, window=Window(c0, r0, c1 - c0, r1 - r0))
    out[r0 - row : r1 - row, c0 - column : c1 - column] = pixels


def _warp(
    src: Any,
    source: BandSource,
    out: npt.NDArray[Any],
    geobox: GeoBox,
    resampling: str,
    *,
    nodata: float | None,
) -> None:
    reproject(
        rasterio.band(src, source.band),
        out,
        src_nodata=nodata,
        dst_nodata=source.encoding.nodata,
        dst_transform=geobox.affine,
        # Both sides as WKT of one library: rasterio and pyproj know different EPSG tables.
        src_crs=normalise_crs(src.crs).to_wkt(),
        dst_crs=geobox.crs.to_wkt(),
        resampling=Resampling[resampling],
        init_dest_nodata=source.encoding.nodata is not None,
    )
