"""Blocks of plain tiled GeoTIFFs, decoded without GDAL where imagecodecs is installed.

GDAL says where the blocks of a file lie; then no handle is kept, and a block goes straight into the
array that wants it. Whatever is not plain is left to GDAL. Pixels are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from odc_bdc.errors import SceneError
from odc_bdc.indexing.archive import Member

if TYPE_CHECKING:
    from odc_bdc.cog import Window
    from odc_bdc.files import OpenFile, SceneFile

_CODECS = {"DEFLATE": "deflate_decode", "ZSTD": "zstd_decode", "LZW": "lzw_decode"}
_PREDICTORS = {None: 1, "1": 1, "2": 2}


@dataclass(frozen=True, slots=True)
class BlockFile:
    """One band of a tiled GeoTIFF.

    Attributes
    ----------
    side
        Rows and columns of a block.
    places
        int64 (rows, columns, 2) of blocks: offset and size in the file; size 0 where a block is
        left out.
    empty
        What pixels of blocks are that are left out.
    codec
        Function of imagecodecs.
    predictor
        1 or 2 (differences along rows).
    """

    file: SceneFile
    dtype: np.dtype[Any]
    side: tuple[int, int]
    places: npt.NDArray[np.int64]
    empty: float
    codec: str
    predictor: int

    def read(self, window: Window, out: npt.NDArray[Any]) -> None:
        """Read a window, which lies within the file, into an array (y, x) of the file's dtype.

        Raises
        ------
        SceneError
            If the file cannot be read or a block is broken.
        """
        (height, width), (rows, columns) = self.side, window
        blocks = [
            (by, bx)
            for by in range(rows.start // height, -(-rows.stop // height))
            for bx in range(columns.start // width, -(-columns.stop // width))
        ]
        with self.file.open([tuple(self.places[block].tolist()) for block in blocks]) as opened:
            for by, bx in blocks:
                ours, theirs = _shared((by * height, bx * width), self.side, window)
                self._block(opened, by, bx, out[ours], theirs)

    def _block(
        self, opened: OpenFile, by: int, bx: int, out: npt.NDArray[Any], part: Window
    ) -> None:
        """Decode a part of a block into an array."""
        offset, size = self.places[by, bx].tolist()
        if not size:
            out[:] = self.empty
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


def _shared(
    corner: tuple[int, int], side: tuple[int, int], window: Window
) -> tuple[Window, Window]:
    """Give what a block and a window share: in the window, and in the block."""
    ours, theirs = [], []
    for at, size, part in zip(corner, side, window, strict=True):
        start, stop = max(at, part.start), min(at + size, part.stop)
        ours.append(slice(start - part.start, stop - part.start))
        theirs.append(slice(start - at, stop - at))
    return (ours[0], ours[1]), (theirs[0], theirs[1])


def block_file(src: Any, band: int, file: SceneFile) -> BlockFile | None:
    """Tell where the blocks of a band lie; None if GDAL has to read it.

    Parameters
    ----------
    src
        The file, opened with rasterio.
    file
        The same, for reading it without.
    """
    structure = src.tags(ns="IMAGE_STRUCTURE")
    codec = _CODECS.get(structure.get("COMPRESSION", ""))
    predictor = _PREDICTORS.get(structure.get("PREDICTOR"))
    dtype = np.dtype(src.dtypes[band - 1])
    plain = (
        codec in _codecs()
        and predictor
        and dtype.kind in "iu"
        and (src.count == 1 or structure.get("INTERLEAVE") == "BAND")
        and "NBITS" not in src.tags(band, ns="IMAGE_STRUCTURE")
        and src.profile.get("tiled")
        and _is_little_endian(file)
    )
    if not (plain and codec and predictor):
        return None
    height, width = src.block_shapes[band - 1]
    rows, columns = -(-src.height // height), -(-src.width // width)
    places = np.zeros((rows, columns, 2), np.int64)
    for by in range(rows):
        for bx in range(columns):
            for i, what in enumerate(("OFFSET", "SIZE")):
                places[by, bx, i] = (
                    src.get_tag_item(f"BLOCK_{what}_{bx}_{by}", "TIFF", bidx=band) or 0
                )
    empty = src.nodatavals[band - 1]
    return BlockFile(file, dtype, (height, width), places, empty or 0, codec, predictor)


def _is_little_endian(file: SceneFile) -> bool:
    if Member.from_href(file.href) is not None:
        return False  # its blocks are not where it says
    with file.open() as opened:
        return opened.read(0, 2) == b"II"


@cache
def _codecs() -> dict[str, Callable[..., Any]]:
    """Give the decoders that are installed."""
    try:
        module = import_module("imagecodecs")
    except ImportError:
        return {}
    return {name: getattr(module, name) for name in (*_CODECS.values(), "delta_decode")}
