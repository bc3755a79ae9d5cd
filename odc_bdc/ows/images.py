"""PNG at a sensible cost.

datacube-ows compresses every image at zlib's default level, which takes more time than reading the
pixels. Here an image of few colours is written with a palette, an image of many at the lowest
level; the pixels are the same.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

if TYPE_CHECKING:
    import numpy.typing as npt
    import xarray as xr

COLOURS = 256
"""Most colours of a palette."""

_HORIZONTAL = ("x", "longitude", "Longitude", "long", "lon")
_VERTICAL = ("y", "latitude", "Latitude", "lat")
# Every so many pixels are looked at before all are.
_STRIDE = 17


def to_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Write pixels as PNG, with a palette if they have no more than `COLOURS` colours.

    Parameters
    ----------
    pixels
        Red, green, blue and opacity, shape (y, x, 4), uint8.
    """
    buffer = BytesIO()
    colours = _palette(pixels)
    if colours is None:
        Image.fromarray(pixels, "RGBA").save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()
    codes, table = colours
    image = Image.fromarray(codes, "P")
    image.putpalette(table[:, :3].tobytes(), "RGB")
    image.save(buffer, "PNG", compress_level=6, transparency=table[:, 3].tobytes())
    return buffer.getvalue()


def _palette(
    pixels: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]] | None:
    """Give the code of each pixel and the colours of the codes; None if there are too many."""
    packed = np.ascontiguousarray(pixels).view(np.uint32)[..., 0]
    if len(pd.unique(packed.ravel()[::_STRIDE])) > COLOURS:
        return None
    codes, table = pd.factorize(packed.ravel())
    if len(table) > COLOURS:
        return None
    colours = np.asarray(table, np.uint32).view(np.uint8).reshape(-1, 4)
    return codes.astype(np.uint8).reshape(packed.shape), colours


def frame(data: xr.Dataset) -> npt.NDArray[np.uint8]:
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
    images = [Image.fromarray(pixels, "RGBA") for pixels in frames]
    buffer = BytesIO()
    images[0].save(
        buffer,
        "PNG",
        compress_level=1,
        save_all=True,
        default_image=True,
        loop=0,
        duration=frame_duration,
        append_images=images,
    )
    return buffer.getvalue()
