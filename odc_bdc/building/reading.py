"""Pixels of a scene on the pixel grid of a tile."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.windows import Window as RasterWindow

from odc_bdc.building.blocks import BlockFile, Place, block_file
from odc_bdc.building.positions import ALIGNED, Positions, positions, raster_of
from odc_bdc.building.warping import resample
from odc_bdc.errors import InvalidValueError, SceneError, first_line
from odc_bdc.files import OpenDataset, SceneFile, Versions, scene_files
from odc_bdc.grid import normalise_crs

if TYPE_CHECKING:
    from types import TracebackType

    from odc_bdc.cog import Window
    from odc_bdc.cube import Encoding
    from odc_bdc.planning import BandSource

OPEN_FILES = 400
"""Files that are kept open by all readers of a tile; systems allow a process 1024."""

_LOCKS = 64

_RASTERS = 4
"""Rasters of which positions are kept: four for each pixel of a window take 64 bytes."""

_AT_ONCE = 1 << 24
"""Source pixels that are warped at once."""

GDAL_OPTIONS = {
    # Each block is read once, or nearly so.
    "GDAL_CACHEMAX": 64,
    # Do not look for files beside a scene's.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    # It would leave a note beside each gzip file that it read to the end.
    "CPL_VSIL_GZIP_WRITE_PROPERTIES": "NO",
    # Of servers GDAL itself asks for archives only.
    "GDAL_HTTP_CONNECTTIMEOUT": 10,
    "GDAL_HTTP_TIMEOUT": 60,
    "GDAL_HTTP_MAX_RETRY": 2,
    "GDAL_HTTP_RETRY_DELAY": 0.5,
}
"""How GDAL is to be set where many windows are read."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """What is known of one band of a file, and need not be asked again.

    Attributes
    ----------
    shape
        Rows and columns.
    raster
        The pixels of its CRS that it is a part of: those of all scenes of one CRS and resolution,
        if they lie on each other, whatever each covers.
    place
        Row and column of its first pixel in `raster`.
    corner
        Row and column of the tile's corner in the file, where pixels lie on each other; None where
        they do not.
    blocks
        How to read it without GDAL; None if that cannot be.
    block_shape
        Rows and columns.
    """

    file: SceneFile
    band: int
    dtype: np.dtype[Any]
    nodata: float | None
    shape: tuple[int, int]
    raster: GeoBox
    place: Place
    corner: Place | None
    blocks: BlockFile | None
    block_shape: tuple[int, int]

    @property
    def path(self) -> str:
        """Path or address, as people are shown it."""
        return self.file.name


class SourceFiles:
    """The files of the scenes of a tile, each of which is described once; for all threads.

    Parameters
    ----------
    geobox
        Pixel grid of the tile.
    versions
        Of the files.
    """

    def __init__(self, geobox: GeoBox, versions: Versions | None = None) -> None:
        self.geobox = geobox
        self.versions = versions or Versions(scene_files())
        self._known: dict[tuple[str, int], SourceFile] = {}
        self._grids: dict[Any, tuple[GeoBox, Place, Place | None]] = {}
        self._locks = [Lock() for _ in range(_LOCKS)]

    def get(self, source: BandSource) -> SourceFile:
        """Describe a file.

        Raises
        ------
        SceneError
            If it cannot be opened.
        ReplacedFileError
            If it was replaced meanwhile.
        """
        key = source.href, source.band
        file = self.versions.file(source.href)
        # Two threads that want different files do not wait for each other.
        with self._locks[hash(key) % _LOCKS]:
            known = self._known.get(key)
            if known is None or known.file.version != file.version:
                try:
                    known = self._known[key] = self._described(file, source.band)
                except InvalidValueError as e:
                    # Of a file that is cut before its CRS.
                    raise SceneError(f"{file.name}: cannot be read: {first_line(e)}") from e
            return known

    def _described(self, file: SceneFile, band: int) -> SourceFile:
        blocks = block_file(file, band)
        if blocks is None:
            with file.dataset() as src:
                # A CRS takes a while to be compared, and scenes share their grid.
                grid = self._grid((src.crs, src.transform, src.shape), src)
                dtype, block = np.dtype(src.dtypes[band - 1]), src.block_shapes[band - 1]
                return SourceFile(file, band, dtype, src.nodata, src.shape, *grid, None, block)
        key = blocks.georeference, blocks.shape
        if key not in self._grids:
            with file.dataset() as src:
                self._grid(key, src)
        grid = self._grids[key]
        return SourceFile(
            file, band, blocks.dtype, blocks.nodata, blocks.shape, *grid, blocks, blocks.side
        )

    def _grid(self, key: Any, src: Any) -> tuple[GeoBox, Place, Place | None]:
        """Give where the pixels of a file lie, worked out once for all of the same key."""
        if key not in self._grids:
            grid = GeoBox(src.shape, src.transform, normalise_crs(src.crs))
            self._grids[key] = *raster_of(grid), corner_in(grid, self.geobox)
        return self._grids[key]


class SourceReader:
    """Reads windows of the bands of scenes on the pixel grid of a tile.

    Keeps some files open. As a context manager it closes them. Not for use by several threads at
    once.

    Parameters
    ----------
    files
        Shared by the readers of a tile.
    limit
        How many files may be open.
    """

    def __init__(self, files: SourceFiles, limit: int = OPEN_FILES) -> None:
        self._files, self._limit = files, limit
        self._open: OrderedDict[tuple[SceneFile, int | None], OpenDataset] = OrderedDict()
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
            self._open.popitem()[1].close()

    @property
    def files_open(self) -> int:
        """How many files it keeps open."""
        return len(self._open)

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
        ReplacedFileError
            If it was replaced since it was described.
        """
        known = source.encoding
        fill = known.missing
        if out is None or out.dtype != known.dtype:
            rows, columns = (part.stop - part.start for part in window)
            out = np.empty((rows, columns), known.dtype)
        file = self._files.get(source)
        if not np.can_cast(file.dtype, known.dtype, "safe"):
            raise SceneError(
                f"{file.path}: band {file.band} is {file.dtype}, and its product says "
                f"{known.dtype}, which cannot hold it: correct the product, and index it again"
            )
        if file.corner is None:
            out.fill(fill)
            where = self._where(file.raster, window)
            self._warp(file, where, resampling, out, known)
        else:
            row, column = (at + part.start for at, part in zip(file.corner, window, strict=True))
            self._copy(file, (row, column), out, fill=fill)
            with_nodata_of(known, file, out)
        return out

    def _where(self, source: GeoBox, window: Window) -> Positions:
        """Give positions in a raster; those of a window serve all bands and scenes of it."""
        known = self._positions.pop(source, None)
        if known is None or known[0] != window:
            known = window, positions(source, self._files.geobox, window)
        # The one used last comes last, and the first goes.
        self._positions[source] = known
        if len(self._positions) > _RASTERS:
            del self._positions[next(iter(self._positions))]
        return known[1]

    def _copy(
        self, file: SourceFile, corner: tuple[int, int], out: npt.NDArray[Any], *, fill: float
    ) -> None:
        """Read what lies on the same pixels, from a row and column of the file on."""
        (row, column), (rows, columns) = corner, out.shape
        height, width = file.shape
        r0, r1 = max(0, row), min(height, row + rows)
        c0, c1 = max(0, column), min(width, column + columns)
        if (r1 - r0, c1 - c0) == out.shape and file.dtype == out.dtype:
            self._pixels(file, (slice(r0, r1), slice(c0, c1)), out)
            return
        out.fill(fill)
        if r0 < r1 and c0 < c1:
            pixels = self._pixels(file, (slice(r0, r1), slice(c0, c1)))
            out[r0 - row : r1 - row, c0 - column : c1 - column] = pixels

    def _warp(
        self,
        file: SourceFile,
        where: Positions,
        resampling: str,
        out: npt.NDArray[Any],
        known: Encoding,
    ) -> None:
        """Read what a part of the tile looks at, in pieces if that is much."""
        (row, column), (height, width) = file.place, file.shape
        extent = slice(row, row + height), slice(column, column + width)
        window = where.touched(resampling, extent)
        size = math.prod(part.stop - part.start for part in window)
        if not size:
            return
        if size > _AT_ONCE and out.size > 1:
            axis = int(np.argmax(out.shape))
            half = out.shape[axis] // 2
            for part in (slice(0, half), slice(half, None)):
                piece: Window = (part, slice(None)) if axis == 0 else (slice(None), part)
                self._warp(file, where.part(piece), resampling, out[piece], known)
            return
        corner = window[0].start, window[1].start
        rows, columns = (
            slice(part.start - first, part.stop - first)
            for part, first in zip(window, file.place, strict=True)
        )
        pixels = self._pixels(file, (rows, columns)).astype(out.dtype, copy=False)
        with_nodata_of(known, file, pixels)
        resample(pixels, corner, where, out, resampling, nodata=known.nodata)

    def _pixels(
        self, file: SourceFile, window: Window, out: npt.NDArray[Any] | None = None
    ) -> npt.NDArray[Any]:
        """Read a window of a file that lies within it."""
        (r0, r1), (c0, c1) = ((part.start, part.stop) for part in window)
        if out is None:
            out = np.empty((r1 - r0, c1 - c0), file.dtype)
        self.bytes += out.nbytes
        if file.blocks is not None:
            file.blocks.read(window, out)
            return out
        with self._dataset(file.file).reading() as src:
            found: npt.NDArray[Any] = src.read(
                file.band, window=RasterWindow(c0, r0, c1 - c0, r1 - r0), out=out
            )
        return found

    def _dataset(self, file: SceneFile, overview: int | None = None) -> OpenDataset:
        """Give a file, or one of its overviews, that is kept open."""
        key = file, overview
        if key not in self._open:
            if len(self._open) >= self._limit:
                self._open.popitem(last=False)[1].close()
            self._open[key] = OpenDataset(file, overview)
        self._open.move_to_end(key)
        return self._open[key]


def with_nodata_of(known: Encoding, file: SourceFile, pixels: npt.NDArray[Any]) -> None:
    """Put the product's nodata value where pixels of a file have that of its header.

    Raises
    ------
    SceneError
        If the product has none.
    """
    if known.is_float:
        pixels[~np.isfinite(pixels)] = known.missing
    theirs = file.nodata
    if theirs is None or math.isnan(theirs) or theirs == known.nodata:
        return
    if known.nodata is None and not known.is_float:
        raise SceneError(
            f"{file.path}: band {file.band} has nodata {theirs:g}, and its product says none: give "
            "the product a nodata value, and index it again"
        )
    pixels[pixels == theirs] = known.missing


def corner_in(source: GeoBox, target: GeoBox) -> Place | None:
    """Give row and column of the target's corner in the source, None if pixel grids differ."""
    if source.crs != target.crs:
        return None
    step = ~source.affine * target.affine
    near = Affine.translation(round(step.c), round(step.f))
    rows, columns = target.shape
    corners = [(0, 0), (columns, rows)]
    shift = max(abs(a - b) for c in corners for a, b in zip(step * c, near * c, strict=True))
    return (round(step.f), round(step.c)) if shift < ALIGNED else None
