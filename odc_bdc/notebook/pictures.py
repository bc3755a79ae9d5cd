"""A series of images for web maps: warped to EPSG:3857 and drawn, one by one when asked for."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from odc.geo.xr import wrap_xr, xr_reproject

from odc_bdc.errors import InvalidValueError
from odc_bdc.notebook.drawing import paint, plane
from odc_bdc.notebook.moments import chosen, labels, spans, timeline_for
from odc_bdc.notebook.styling import find_style
from odc_bdc.notebook.words import say
from odc_bdc.ows.images import to_png

if TYPE_CHECKING:
    import numpy.typing as npt
    from odc.geo.geobox import GeoBox

    from odc_bdc.notebook.moments import Span, TimeLike
    from odc_bdc.notebook.styling import ProductLike, Style
    from odc_bdc.timeline import Timeline

WEB = "EPSG:3857"
"""The CRS of web maps."""

DEGREE = 111_320.0
"""Metres of a degree at the equator."""

MOST_PIXELS = 1_500_000
"""Pixels of one image on a map, some 3 MB; larger ones are shown coarser."""


@dataclass(frozen=True)
class Pictures:
    """Images of some times on one pixel grid of EPSG:3857, sorted by time.

    Attributes
    ----------
    ds
        What they are drawn of.
    style
        How.
    geobox
        Their grid.
    native
        Pixel size of what they are drawn of, on the ground in the middle, in metres.
    timeline
        Periods of the images, if they are known.
    """

    ds: xr.Dataset
    style: Style
    geobox: GeoBox
    native: float
    timeline: Timeline | None = None
    _kept: dict[int, npt.NDArray[np.uint8]] = field(default_factory=dict, repr=False)

    @property
    def times(self) -> list[Any]:
        """The times of the images; none where the dataset has none."""
        return [*np.atleast_1d(self.ds.time.values)] if "time" in self.ds.coords else []

    @property
    def spans(self) -> list[Span]:
        """What the images show of time."""
        return spans(self.times, self.timeline)

    @property
    def labels(self) -> list[str]:
        """When the images begin; one of nothing where there is no time."""
        return labels(self.spans) or [""]

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north in degrees (EPSG:4326), of the outer edges of the pixels."""
        box = self.geobox.extent.to_crs("EPSG:4326").boundingbox
        return box.left, box.bottom, box.right, box.top

    @property
    def ground(self) -> float:
        """Metres on the ground that a pixel's side is long, in the middle."""
        return float(abs(self.geobox.resolution.x)) * ground_scale(self.geobox)

    def note(self, language: str = "en") -> str:
        """Say that the images are coarser than the data; empty if they are not."""
        if self.ground < 1.5 * self.native:
            return ""
        return say("coarser", language, shown=f"{self.ground:.3g}", native=f"{self.native:.3g}")

    def rgba(self, number: int) -> npt.NDArray[np.uint8]:
        """Draw an image: red, green, blue and opacity (y, x, 4)."""
        if number not in self._kept:
            if len(self._kept) >= _KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[number] = self._drawn(number)
        return self._kept[number]

    def png(self, number: int) -> bytes:
        """Draw an image as PNG."""
        return to_png(self.rgba(number))

    def _drawn(self, number: int) -> npt.NDArray[np.uint8]:
        image = self.ds.isel(time=number) if "time" in self.ds.dims else self.ds
        needed = [self.style.bands[band] for band in self.style.needed]
        image = image[needed].load()
        if image.odc.geobox == self.geobox:
            return np.asarray(paint(image, self.style).values)
        # A band without nodata would be 0 beyond its edge.
        native = image.odc.geobox
        inside = wrap_xr(np.ones(native.shape, np.uint8), native)
        warped = xr_reproject(image, self.geobox, resampling="nearest")
        pixels = paint(warped, self.style).values.copy()
        pixels[xr_reproject(inside, self.geobox, resampling="nearest").values == 0] = 0
        return np.asarray(pixels)


_KEPT = 8  # images that are kept drawn


def pictures(
    ds: xr.Dataset,
    style: str,
    *,
    product: ProductLike | None = None,
    time: TimeLike | None = None,
    most_pixels: int = MOST_PIXELS,
    even: bool = False,
    pixel: float | None = None,
) -> Pictures:
    """Prepare the images of a dataset for a web map; nothing is drawn yet.

    Parameters
    ----------
    style, product, time
        As of `odc_bdc.notebook.draw`.
    most_pixels
        Of one image: what has more is shown coarser, of nearest pixels.
    even
        Whether width and height must be even numbers, as videos want it.
    pixel
        Side of a pixel of the data, if the dataset is coarser than them: metres on the ground.

    Raises
    ------
    InvalidValueError
        If the dataset has no CRS or no pixel grid, nothing has a time asked for, or `most_pixels`
        is below 1.
    UnknownNameError
        If there is no such style or product, or the dataset lacks the style's bands.
    """
    if most_pixels < 1:
        raise InvalidValueError(f"most_pixels={most_pixels}: an image has at least one")
    timeline = timeline_for(ds, product)
    picked = chosen(ds, time, timeline)
    plane(picked)
    found = find_style(picked, style, product)
    native = picked.odc.geobox
    if native is None or native.crs is None:
        raise InvalidValueError(
            "the dataset has no CRS, so it has no place on a map: load it with dc.load, or say it, "
            "ds = ds.odc.assign_crs('EPSG:32723')"
        )
    geobox = web_geobox(native, most_pixels, even=even)
    size = abs(native.resolution.x) * (DEGREE if native.crs.geographic else 1.0)
    if native.crs == WEB:
        size *= ground_scale(native)
    return Pictures(picked, found, geobox, pixel or size, timeline)


def web_geobox(native: GeoBox, most_pixels: int = MOST_PIXELS, *, even: bool = False) -> GeoBox:
    """Give the grid of EPSG:3857 that shows all of another one, coarser if it has too many pixels.

    Raises
    ------
    InvalidValueError
        If the other one lies where EPSG:3857 has nothing.
    """
    try:
        geobox = native if native.crs == WEB else native.to_crs(WEB)
    except (ValueError, OverflowError) as e:
        raise InvalidValueError(f"the dataset does not lie on a web map: {e}") from e
    factor = math.sqrt(_pixels(geobox) / most_pixels)
    coarser = geobox
    while _pixels(coarser) > most_pixels and min(coarser.shape) > 1:
        coarser = geobox.zoom_out(factor)
        factor *= 1.01  # shapes are rounded up
    geobox = coarser
    if even:
        height, width = (n + n % 2 for n in geobox.shape)
        geobox = geobox.expand((height, width))
    return geobox


def _pixels(geobox: GeoBox) -> int:
    return int(geobox.shape.y * geobox.shape.x)


def ground_scale(geobox: GeoBox) -> float:
    """Give the metres on the ground of a metre of EPSG:3857, in the middle of a grid of it.

    It is the cosine of the latitude: 1 / cosh(y / R) (Snyder 1987, eq. 7-2, on the sphere).
    """
    middle = (geobox.boundingbox.bottom + geobox.boundingbox.top) / 2
    return 1 / math.cosh(middle / 6_378_137.0)


def data_url(body: bytes, kind: str = "image/png") -> str:
    """Write bytes as an address that holds them."""
    return f"data:{kind};base64,{base64.b64encode(body).decode()}"
