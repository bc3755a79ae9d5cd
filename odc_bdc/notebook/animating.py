"""Images of several dates as an animation, for a page, a talk or a map."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from odc_bdc.errors import InvalidValueError
from odc_bdc.indexing.whole_file import whole_file
from odc_bdc.notebook.pictures import data_url, pictures
from odc_bdc.notebook.videos import write_video
from odc_bdc.ows.legends import font

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt
    import xarray as xr

    from odc_bdc.notebook.moments import TimeLike
    from odc_bdc.notebook.pictures import Pictures
    from odc_bdc.notebook.styling import ProductLike

KINDS = {".gif": "image/gif", ".webp": "image/webp", ".mp4": "video/mp4"}
"""Kinds of files by how their names end."""

MOST_PIXELS = 500_000
"""Pixels of a frame: larger images are made coarser."""

_INK, _HALO = (255, 255, 255, 255), (20, 24, 28, 230)
_SHORTEST, _LONGEST = 0.02, 60.0  # seconds


@dataclass(frozen=True)
class Animation:
    """A file that was written, and where on the map it belongs.

    Attributes
    ----------
    path
        The file.
    bounds
        West, south, east and north in degrees (EPSG:4326), of the outer edges of its pixels, which
        are those of a rectangle of EPSG:3857: on a web map it lies true.
    times
        Dates of the frames, in order.
    size
        Width and height in pixels.
    delay
        Seconds that a frame is shown.
    note
        Says that the frames are coarser than the data; empty if they are not.
    """

    path: Path
    bounds: tuple[float, float, float, float]
    times: tuple[str, ...]
    size: tuple[int, int]
    delay: float
    note: str = ""

    @property
    def kind(self) -> str:
        """MIME type of the file."""
        return KINDS[self.path.suffix.lower()]

    @property
    def data_url(self) -> str:
        """The file as an address that holds it."""
        return data_url(self.path.read_bytes(), self.kind)

    def _repr_html_(self) -> str:
        """Play it in a notebook."""
        if self.kind.startswith("video/"):
            return f'<video controls autoplay loop muted src="{self.data_url}"></video>'
        return f'<img alt="{self.times[0]} - {self.times[-1]}" src="{self.data_url}">'


def animate(
    ds: xr.Dataset,
    path: str | Path,
    style: str = "true_colour",
    *,
    delay: float = 0.6,
    scale_bar: bool = True,
    dates: bool = True,
    time: TimeLike | None = None,
    product: ProductLike | None = None,
    background: str | None = None,
    most_pixels: int = MOST_PIXELS,
) -> Animation:
    """Write the images of a dataset as an animation, a frame for each time, in order of time.

    They are drawn by a style of the map server and warped to EPSG:3857.

    Parameters
    ----------
    ds
        Bands (time, y, x) with a CRS, see `odc_bdc.notebook.draw`.
    path
        File to write; it ends in ``.gif``, ``.webp`` (full colours, lossless) or ``.mp4`` (H.264).
    style, time, product
        As of `odc_bdc.notebook.draw`.
    delay
        Seconds that a frame is shown, from 0.02 to 60; in GIFs hundredths.
    scale_bar
        Whether a scale bar is drawn: it is true in the middle of the image.
    dates
        Whether each frame tells its date. Of frames that are alike and have none, GIF and WebP
        keep one for all of their time.
    background
        Colour of what has no data. By default GIF and WebP are transparent there and videos white.
    most_pixels
        Of a frame: larger images are made coarser.

    Returns
    -------
    Animation
        Path, bounds, times and size. In a notebook it plays; `overlay` puts it on a map.

    Raises
    ------
    InvalidValueError
        If the path ends otherwise or cannot be written, the dataset has no times or no CRS, or
        `delay` is out of range.
    UnknownNameError
        If there is no such style or product, or the dataset lacks the style's bands.
    MissingDependencyError
        If a video is wanted and there is no ffmpeg.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in KINDS:
        raise InvalidValueError(f"{target}: an animation ends in {', '.join(KINDS)}")
    if not _SHORTEST <= delay <= _LONGEST:
        raise InvalidValueError(f"delay={delay}: give seconds from {_SHORTEST} to {_LONGEST:g}")
    if "time" not in ds.dims or not ds.sizes["time"]:
        raise InvalidValueError("the dataset has no times, so there is nothing to animate")
    if background is None and suffix == ".mp4":
        background = "white"
    found = pictures(
        ds, style, product=product, time=time, most_pixels=most_pixels, even=suffix == ".mp4"
    )
    frames = _frames(found, scale_bar=scale_bar, dates=dates, background=_colour(background))
    try:
        if suffix == ".mp4":
            write_video(frames, target, size=_size(found), delay=delay)
        else:
            _write_images(frames, target, delay)
    except OSError as e:
        if isinstance(e, InvalidValueError):
            raise
        raise InvalidValueError(f"{target}: cannot be written: {e.strerror or e}") from e
    return Animation(target, found.bounds, tuple(found.labels), _size(found), delay, found.note())


def overlay(on: Any, animation: Animation, *, opacity: float = 1.0) -> Any:
    """Put an animation on a map.

    Parameters
    ----------
    on
        An `ipyleaflet.Map`, or what `odc_bdc.notebook.show` gives.
    animation
        From `animate`.
    opacity
        From 0 to 1.

    Returns
    -------
    ipyleaflet.VideoOverlay or ipyleaflet.ImageOverlay
        The layer, which is on the map.

    Raises
    ------
    InvalidValueError
        If the animation's file is gone.
    """
    import ipyleaflet as ipl  # noqa: PLC0415 (animations need no widgets)

    west, south, east, north = animation.bounds
    kind = ipl.VideoOverlay if animation.kind.startswith("video/") else ipl.ImageOverlay
    try:
        url = animation.data_url
    except OSError as e:
        raise InvalidValueError(f"{animation.path}: cannot be read: {e.strerror}") from e
    layer = kind(
        url=url,
        bounds=((south, west), (north, east)),
        opacity=opacity,
        name=animation.path.name,
    )
    getattr(on, "map", on).add(layer)
    return layer


def _size(found: Pictures) -> tuple[int, int]:
    height, width = found.geobox.shape
    return width, height


def _colour(name: str | None) -> tuple[int, ...] | None:
    from PIL import ImageColor  # noqa: PLC0415 (beside its only use)

    if name is None:
        return None
    try:
        return ImageColor.getrgb(name)[:3]
    except ValueError as e:
        raise InvalidValueError(f"background={name!r} is no colour: give white or #rrggbb") from e


def _frames(
    found: Pictures, *, scale_bar: bool, dates: bool, background: tuple[int, ...] | None
) -> Iterator[Image.Image]:
    """Draw frame by frame: RGBA, opaque if there is a background."""
    for number, label in enumerate(found.labels):
        image = Image.fromarray(found.rgba(number), "RGBA")
        if background is not None:
            paper = Image.new("RGBA", image.size, (*background, 255))
            image = Image.alpha_composite(paper, image)
        draw = ImageDraw.Draw(image)
        if dates:
            draw.text((8, 6), label, fill=_INK, font=font(), stroke_width=2, stroke_fill=_HALO)
        if scale_bar:
            _draw_scale(draw, image.size, found.ground)
        yield image


def scale_length(metres: float) -> float:
    """Give the longest round length, 1, 2 or 5 times a power of ten, that is not longer.

    Examples
    --------
    >>> scale_length(3999), scale_length(5000), scale_length(0.3)
    (2000.0, 5000.0, 0.2)
    """
    power = 10.0 ** math.floor(math.log10(metres))
    return max(step * power for step in (1, 2, 5) if step * power <= metres * (1 + 1e-9))


def _draw_scale(draw: ImageDraw.ImageDraw, size: tuple[int, int], ground: float) -> None:
    width, height = size
    metres = scale_length(width * ground / 3)
    long = round(metres / ground)
    left, bottom = 8, height - 8
    for fill, extra in ((_HALO, 2), (_INK, 0)):
        draw.rectangle(
            (left - extra, bottom - 3 - extra, left + long - 1 + extra, bottom + extra), fill=fill
        )
    text = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"
    draw.text(
        (left, bottom - 8), text, fill=_INK, font=font(), anchor="ls", stroke_width=2,
        stroke_fill=_HALO,
    )  # fmt: skip


def _write_images(frames: Iterator[Image.Image], path: Path, delay: float) -> None:
    milliseconds = round(delay * 1000)
    images = list(frames)
    more: dict[str, Any] = {"lossless": True, "method": 2}
    if path.suffix.lower() == ".gif":
        milliseconds = 10 * max(1, round(delay * 100))
        # Each frame replaces the one before, else gaps would show it.
        more = {"disposal": 2, "optimize": False}
        images = [_paletted(image) for image in images]
    with whole_file(path, binary=True) as stream:
        os.fchmod(stream.fileno(), 0o644)
        images[0].save(
            stream,
            path.suffix[1:].upper(),
            save_all=True,
            append_images=images[1:],
            duration=milliseconds,
            loop=0,
            **more,
        )


def _paletted(image: Image.Image) -> Image.Image:
    """Give an image of 255 colours and a transparent one, which GIF can hold."""
    alpha = np.asarray(image)[..., 3]
    paletted = image.convert("RGB").quantize(255, dither=Image.Dither.NONE)
    codes: npt.NDArray[np.uint8] = np.asarray(paletted).copy()
    if (alpha < 128).any():
        codes[alpha < 128] = 255
        out = Image.fromarray(codes, "P")
        palette = (paletted.getpalette() or [])[: 255 * 3]
        out.putpalette(palette + [0] * (768 - len(palette)))
        out.info["transparency"] = 255
        return out
    return paletted
