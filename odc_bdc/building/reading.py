"""Pixels of a scene on the pixel grid of a tile."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlparse

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from odc_bdc.building.warping import Positions, positions, resample
from odc_bdc.errors import SceneError
from odc_bdc.grid import normalise_crs

if TYPE_CHECKING:
    from types import TracebackType

    from odc_bdc.cog import Window
    from odc_bdc.planning import BandSource

_ALIGNED = 1e-3
"""A shift between two pixel grids, in pixels, that is taken for rounding of their coordinates."""

OPEN_FILES = 400
"""Files that are kept open by all readers of a tile; systems allow a process 1024."""

_AT_ONCE = 1 << 24
"""Source pixels that are warped at once."""

GDAL_OPTIONS = {
    # Each block is read once, or nearly so.
    "GDAL_CACHEMAX": 64,
    # Do not look for files beside a scene's.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
}
"""How GDAL is to be set where many windows are read."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The pixel grid of a source as a target sees it.

    Attributes
    ----------
    geobox
        All of the source.
    corner
        Row and column of the target's corner in the source, where pixels lie on each other; None
        where they do not.
    """

    geobox: GeoBox
    corner: tuple[int, int] | None


class SourceReader:
    """Reads windows of the bands of scenes on the pixel grid of a tile.

    Keeps some files open, and what it found out of grids. As a context manager it closes them. Not
    for use by several threads at once.

    Parameters
    ----------
    geobox
        Pixel grid of the tile.
    files
        How many files may be open.
    """

    def __init__(self, geobox: GeoBox, files: int = OPEN_FILES) -> None:
        self._geobox, self._limit = geobox, files
        self._open: OrderedDict[str, Any] = OrderedDict()
        self._grids: dict[Any, Grid] = {}
        self._positions: dict[GeoBox, tuple[Window, Positions]] = {}
        self.bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        while self._open:
            with suppress(RasterioError):
                self._open.popitem()[1].close()

    def read(
        self,
        source: BandSource,
        resampling: str,
        window: Window,
        out: npt.NDArray[Any] | None = None,
    ) -> npt.NDArray[Any]:
        """Read one band on the tile's pixel grid.

        Parameters
        ----------
        source
            The file and its band; its encoding says dtype and nodata of the result.
        resampling
            As of `odc_bdc.cube.Measurement`.
        window
            Rows and columns of the tile. Those outside of the file become nodata, or 0 where there
            is none.
        out
            (y, x), to be filled if it is of the file's dtype.

        Returns
        -------
        numpy.ndarray
            (y, x). Values as stored where the file is on the same pixel grid, else warped by the
            resampling (`odc_bdc.building.warping.resample`), always from the file's own pixels,
            never from its overviews.

        Raises
        ------
        SceneError
            If the file cannot be opened or read.
        """
        known = source.encoding
        fill = known.nodata or 0
        if out is None or out.dtype != known.dtype:
            rows, columns = (part.stop - part.start for part in window)
            out = np.empty((rows, columns), known.dtype)
        path = _local(source.href)
        try:
            src = self._dataset(path)
            grid = self._grid(src)
            nodata = known.nodata if src.nodata is None else src.nodata
            if grid.corner is None:
                out.fill(fill)
                where = self._where(grid.geobox, window)
                self._warp(src, source.band, where, resampling, out, nodata=nodata, fill=fill)
            else:
                row, column = (
                    at + part.start for at, part in zip(grid.corner, window, strict=True)
                )
                self._copy(src, source.band, (row, column), out, fill=fill)
                if nodata is not None and nodata != fill:
                    out[out == nodata] = fill
        except RasterioError as e:
            reason = (str(e).strip() or type(e).__name__).splitlines()[0]
            raise SceneError(f"{path}: cannot be read: {reason}") from e
        return out

    def on_grid(self, source: BandSource) -> bool:
        """Tell whether the pixels of a file lie on those of the tile; True if it cannot be read."""
        try:
            return self._grid(self._dataset(_local(source.href))).corner is not None
        except RasterioError:
            return True

    def blocks(self, source: BandSource) -> tuple[int, int]:
        """Give rows and columns of the blocks of a file; (1, 1) if it cannot be read."""
        try:
            shape: tuple[int, int] = self._dataset(_local(source.href)).block_shapes[0]
        except RasterioError:
            return 1, 1
        return shape

    def _dataset(self, path: str) -> Any:
        if path not in self._open:
            if len(self._open) >= self._limit:
                self._open.popitem(last=False)[1].close()
            self._open[path] = rasterio.open(path)
        self._open.move_to_end(path)
        return self._open[path]

    def _grid(self, src: Any) -> Grid:
        key = src.crs, src.transform, src.shape
        if key not in self._grids:
            geobox = GeoBox(src.shape, src.transform, normalise_crs(src.crs))
            self._grids[key] = Grid(geobox, _corner(geobox, self._geobox))
        return self._grids[key]

    def _where(self, source: GeoBox, window: Window) -> Positions:
        """Give positions in a source; those of a window serve all bands and scenes of a grid."""
        known = self._positions.get(source)
        if known is None or known[0] != window:
            known = window, positions(source, self._geobox, window)
            self._positions[source] = known
        return known[1]

    def _copy(
        self, src: Any, band: int, corner: tuple[int, int], out: npt.NDArray[Any], *, fill: float
    ) -> None:
        """Read what lies on the same pixels, from a row and column of the file on."""
        (row, column), (rows, columns) = corner, out.shape
        r0, r1 = max(0, row), min(src.height, row + rows)
        c0, c1 = max(0, column), min(src.width, column + columns)
        if (r1 - r0, c1 - c0) == out.shape and src.dtypes[band - 1] == out.dtype.name:
            self._pixels(src, band, (slice(r0, r1), slice(c0, c1)), out)
            return
        out.fill(fill)
        if r0 < r1 and c0 < c1:
            pixels = self._pixels(src, band, (slice(r0, r1), slice(c0, c1)))
            out[r0 - row : r1 - row, c0 - column : c1 - column] = pixels

    def _warp(
        self,
        src: Any,
        band: int,
        where: Positions,
        resampling: str,
        out: npt.NDArray[Any],
        *,
        nodata: float | None,
        fill: float,
    ) -> None:
        """Read what a part of the tile looks at, in pieces if that is much."""
        window = where.touched(resampling, src.shape)
        size = np.prod([part.stop - part.start for part in window])
        if not size:
            return
        if size > _AT_ONCE and out.size > 1:
            axis = int(np.argmax(out.shape))
            half = out.shape[axis] // 2
            for part in (slice(0, half), slice(half, None)):
                piece: Window = (part, slice(None)) if axis == 0 else (slice(None), part)
                self._warp(
                    src, band, where.part(piece), resampling, out[piece], nodata=nodata, fill=fill
                )
            return
        pixels = self._pixels(src, band, window)
        if pixels.dtype != out.dtype:
            pixels = pixels.astype(out.dtype)
        corner = window[0].start, window[1].start
        resample(pixels, corner, where, out, resampling, nodata=nodata, fill=fill)

    def _pixels(
        self, src: Any, band: int, window: Window, out: npt.NDArray[Any] | None = None
    ) -> npt.NDArray[Any]:
        (r0, r1), (c0, c1) = ((part.start, part.stop) for part in window)
        pixels: npt.NDArray[Any] = src.read(
            band, window=RasterWindow(c0, r0, c1 - c0, r1 - r0), out=out
        )
        self.bytes += pixels.nbytes
        return pixels


def _local(href: str) -> str:
    parts = urlparse(href)
    return unquote(parts.path) if parts.scheme == "file" else href


def _corner(source: GeoBox, target: GeoBox) -> tuple[int, int] | None:
    """Give row and column of the target's corner in the source, None if pixel grids differ."""
    if source.crs != target.crs:
        return None
    step = ~source.affine * target.affine
    near = Affine.translation(round(step.c), round(step.f))
    rows, columns = target.shape
    corners = [(0, 0), (columns, rows)]
    shift = max(abs(a - b) for c in corners for a, b in zip(step * c, near * c, strict=True))
    return (round(step.f), round(step.c)) if shift < _ALIGNED else None
