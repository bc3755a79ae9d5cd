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
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from odc_bdc.building.windows import shared
from odc_bdc.errors import SceneError
from odc_bdc.indexing.archive import Member

if TYPE_CHECKING:
    from odc_bdc.cog import Window
    from odc_bdc.files import OpenFile, SceneFile

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
