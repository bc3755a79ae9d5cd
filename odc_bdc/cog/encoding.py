"""Blocks as a GeoTIFF holds them: GDAL compresses, in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.io import MemoryFile

from odc_bdc.cog.tiff import Directory, read_directory
from odc_bdc.errors import InvalidValueError
from odc_bdc.grid import named_wkt

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

_LEVELS = {"ZSTD": ("zstd_level", 22), "DEFLATE": ("zlevel", 9)}


@dataclass(frozen=True, slots=True)
class Compression:
    """How blocks are compressed: ``ZSTD`` or ``DEFLATE``, from level 1 (quick) to 22 or 9."""

    name: str
    level: int

    def __post_init__(self) -> None:
        if self.name not in _LEVELS:
            raise InvalidValueError(f"compression {self.name!r} is not {' or '.join(_LEVELS)}")
        most = _LEVELS[self.name][1]
        if not 1 <= self.level <= most:
            raise InvalidValueError(
                f"level {self.level} of {self.name} does not lie between 1 and {most}"
            )

    def options(self, dtype: npt.DTypeLike) -> dict[str, Any]:
        """Give creation options of GDAL, the predictor that fits a type of pixels among them."""
        predictor = 3 if np.dtype(dtype).kind == "f" else 2
        level = {_LEVELS[self.name][0]: self.level}
        return {"compress": self.name, "predictor": predictor, **level}


ZSTD = Compression("ZSTD", 1)
"""Smaller than DEFLATE at its usual level, and written in a quarter of the time."""

DEFLATE = Compression("DEFLATE", 6)
"""What every reader knows."""


def encode(
    pixels: npt.NDArray[Any], blocksize: int, compression: Compression, nodata: float | None
) -> dict[tuple[int, int], bytes]:
    """Encode the blocks of an image.

    Parameters
    ----------
    pixels
        (y, x). Blocks that it does not fill are filled with its last row and column.
    nodata
        Of the file that they are for. A block of nothing else is left out, for readers take it for
        that; without it, blocks of zeros are.

    Returns
    -------
    dict
        Bytes of each block, by row and column of blocks; none of one that is left out.
    """
    rows, columns = (-(-size // blocksize) for size in pixels.shape)
    fill = [
        (0, n * blocksize - size) for n, size in zip((rows, columns), pixels.shape, strict=True)
    ]
    if any(after for _, after in fill):
        pixels = np.pad(pixels, fill, mode="edge")
    with MemoryFile() as memory:
        kind, more = pixels.dtype, {"nodata": nodata}
        with _create(memory, pixels.shape, kind, blocksize, compression, **more) as file:
            file.write(pixels, 1)
        whole = memory.getbuffer()
        blocks = [bytes(block) for block in read_directory(whole).blocks(whole)]
    return {divmod(n, columns): block for n, block in enumerate(blocks)}


def directory_of(
    geobox: GeoBox,
    dtype: npt.DTypeLike,
    blocksize: int,
    compression: Compression,
    *,
    nodata: float | None,
    description: str | None,
) -> Directory:
    """Give the directory that GDAL writes for a band; it says nothing of blocks yet."""
    place = {"crs": named_wkt(geobox.crs), "transform": geobox.affine, "nodata": nodata}
    shape = tuple(geobox.shape)
    with MemoryFile() as memory:
        with _create(memory, shape, dtype, blocksize, compression, **place) as file:
            if description:
                file.set_band_description(1, description)
        return read_directory(memory.getbuffer())


def _create(
    memory: MemoryFile,
    shape: tuple[int, ...],
    dtype: npt.DTypeLike,
    blocksize: int,
    compression: Compression,
    **more: Any,
) -> Any:
    kind = np.dtype(dtype)
    return memory.open(
        driver="GTiff",
        width=shape[1],
        height=shape[0],
        count=1,
        dtype=kind.name,
        tiled=True,
        blockxsize=blocksize,
        blockysize=blocksize,
        endianness="LITTLE",
        sparse_ok=True,
        bigtiff="NO",
        # Blocks lie nowhere, but rasterio warns of files that do not say where they lie.
        **{"transform": Affine.translation(1, 1), **compression.options(kind), **more},
    )
