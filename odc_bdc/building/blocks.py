"""Blocks of plain tiled GeoTIFFs, found and decoded without GDAL where the libraries are installed.

tifffile says where the blocks of a file lie, in a sixth of the time that GDAL takes to open it, and
imagecodecs decodes them. No handle is kept, and a block goes straight into the array that wants it.
Whatever is not plain is left to GDAL. Pixels are the same.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from odc_bdc.building.windows import shared
from odc_bdc.errors import SceneError
from odc_bdc.indexing.archive import Member

if TYPE_CHECKING:
    from odc_bdc.cog import Window
    from odc_bdc.files import OpenFile, SceneFile

Place: TypeAlias = tuple[int, int]
"""Row and column."""

# Numbers of TIFF's tag Compression; of DEFLATE there are two.
_CODECS = {8: "deflate_decode", 32946: "deflate_decode", 50000: "zstd_decode", 5: "lzw_decode"}
_PREDICTORS = (1, 2)
_SEPARATE = 2
_GEOREFERENCE = (33550, 33922, 34264, 34735, 34736, 34737)
_GDAL_NODATA = 42113


@dataclass(frozen=True, slots=True)
class BlockFile:
    """One band of a tiled GeoTIFF.

    Attributes
    ----------
    nodata
        As the file says, or None.
    shape
        Rows and columns of the band.
    side
        Rows and columns of a block.
    places
        int64 (rows, columns, 2) of blocks: offset and size in the file; size 0 where a block is
        left out.
    codec
        Function of imagecodecs.
    predictor
        1 or 2 (differences along rows).
    georeference
        The tags that say where the pixels lie, as they stand in the file: equal ones mean the same.
    """

    file: SceneFile
    dtype: np.dtype[Any]
    nodata: float | None
    shape: tuple[int, int]
    side: tuple[int, int]
    places: npt.NDArray[np.int64]
    codec: str
    predictor: int
    georeference: tuple[Any, ...]

    def read(self, window: Window, out: npt.NDArray[Any]) -> None:
        """Read a window, which lies within the file, into an array (y, x) of the file's dtype.

        Raises
        ------
        SceneError
            If the file cannot be read or a block is broken.
        ReplacedFileError
            If it is another file by now.
        """
        (height, width), (rows, columns) = self.side, window
        blocks = [
            (by, bx)
            for by in range(rows.start // height, -(-rows.stop // height))
            for bx in range(columns.start // width, -(-columns.stop // width))
        ]
        with self.file.open(self.places[by, bx].tolist() for by, bx in blocks) as opened:
            for by, bx in blocks:
                block = (
                    slice(by * height, (by + 1) * height),
                    slice(bx * width, (bx + 1) * width),
                )
                if parts := shared(window, block):
                    self._block(opened, by, bx, out[parts[0]], parts[1])

    def pixels(self, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
        """Read single pixels, each block that holds some of them once.

        Parameters
        ----------
        rows, columns
            Of one length, within the file, in any order.

        Returns
        -------
        numpy.ndarray
            As long, of the file's dtype.

        Raises
        ------
        SceneError, ReplacedFileError
            As `read`.
        """
        found = np.empty(len(rows), self.dtype)
        block = np.empty(self.side, self.dtype)
        whole = slice(0, self.side[0]), slice(0, self.side[1])
        members = by_block(rows, columns, self.side)
        with self.file.open(self.places[by, bx].tolist() for by, bx in members) as opened:
            for (by, bx), at in members.items():
                self._block(opened, by, bx, block, whole)
                found[at] = block[rows[at] - by * self.side[0], columns[at] - bx * self.side[1]]
        return found

    def _block(
        self, opened: OpenFile, by: int, bx: int, out: npt.NDArray[Any], part: Window
    ) -> None:
        """Decode a part of a block into an array."""
        offset, size = self.places[by, bx].tolist()
        if not size:
            out[:] = self.nodata or 0
            return
        try:
            data = opened.read(offset, size)
            found = _codecs()[self.codec](data, out=self.dtype.itemsize * np.prod(self.side).item())
            stored = np.frombuffer(found, self.dtype).reshape(self.side)
            if self.predictor == 2:
                direct = out.shape == self.side and out.flags.c_contiguous
                target = out if direct else np.empty(self.side, self.dtype)
                _codecs()["delta_decode"](stored, axis=-1, out=target)
                if direct:
                    return
                stored = target
        except (RuntimeError, ValueError) as e:
            raise SceneError(
                f"{self.file.name}: cannot be read: block {by}, {bx} is broken ({e})"
            ) from e
        out[:] = stored[part]


def by_block(
    rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp], side: tuple[int, int]
) -> dict[Place, npt.NDArray[np.intp]]:
    """Sort pixels by the blocks that they lie in.

    Returns
    -------
    dict
        Positions of pixels by row and column of the block, blocks in the order of the file.

    Examples
    --------
    >>> by_block(np.array([600, 3, 601]), np.array([0, 9, 511]), (512, 512))
    {(0, 0): array([1]), (1, 0): array([0, 2])}
    """
    if not len(rows):
        return {}
    ys, xs = rows // side[0], columns // side[1]
    order = np.lexsort((xs, ys))
    ys, xs = ys[order], xs[order]
    starts = np.flatnonzero(np.diff(ys, prepend=-1) | np.diff(xs, prepend=-1))
    parts = np.split(order, starts[1:])
    return dict(zip(zip(ys[starts].tolist(), xs[starts].tolist(), strict=True), parts, strict=True))


def block_file(file: SceneFile, band: int) -> BlockFile | None:
    """Tell where the blocks of a band lie; None if GDAL has to read it.

    Files that are broken are left to GDAL too, which says what is wrong.
    """
    tifffile = _tifffile()
    # Of a file in an archive, blocks are not where it says.
    if tifffile is None or Member.from_href(file.href):
        return None
    try:
        with (
            file.stream() as stream,
            tifffile.TiffFile(stream, name="scene", _multifile=False) as tiff,
        ):
            little = tiff.byteorder == "<"
            return _described(file, band, tiff.pages.first) if little else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, struct.error):
        return None


def _described(file: SceneFile, band: int, page: Any) -> BlockFile | None:
    """Describe a band of a page of tifffile's, if it is plain."""
    codec, dtype = _CODECS.get(int(page.compression)), page.dtype
    separate = page.planarconfig == _SEPARATE
    plain = (
        codec in _codecs()
        and page.predictor in _PREDICTORS
        and dtype is not None
        and dtype.kind in "iu"
        and page.bitspersample == dtype.itemsize * 8
        and page.fillorder == 1
        and page.is_tiled
        and not page.is_reduced
        and (page.samplesperpixel == 1 or separate)
        and 1 <= band <= page.samplesperpixel
    )
    if not (plain and codec):
        return None
    side = page.tilelength, page.tilewidth
    rows, columns = -(-page.imagelength // side[0]), -(-page.imagewidth // side[1])
    places = np.stack([page.dataoffsets, page.databytecounts], -1).astype(np.int64)
    tags = page.tags
    nodata = tags.valueof(_GDAL_NODATA)
    georeference = tuple(tags.valueof(code) for code in _GEOREFERENCE)
    if not any(georeference):  # GDAL may know more, from a file beside
        return None
    return BlockFile(
        file,
        dtype.newbyteorder("="),
        None if nodata is None else float(nodata),
        (page.imagelength, page.imagewidth),
        side,
        # Of planes that are stored one after the other.
        places.reshape(page.samplesperpixel, rows, columns, 2)[band - 1],
        codec,
        int(page.predictor),
        georeference,
    )


@cache
def _tifffile() -> Any:
    """Give the module that reads headers, if it is installed."""
    try:
        return import_module("tifffile")
    except ImportError:
        return None


@cache
def _codecs() -> dict[str, Callable[..., Any]]:
    """Give the decoders that are installed."""
    try:
        module = import_module("imagecodecs")
    except ImportError:
        return {}
    names = {*_CODECS.values(), "delta_decode"}
    return {name: getattr(module, name) for name in names}
