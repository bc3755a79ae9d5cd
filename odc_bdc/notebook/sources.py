"""Where the images of a map come from: arrays, an index, or a map server."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd
import xarray as xr
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from odc.geo.geom import bbox_union

from odc_bdc.errors import InvalidValueError
from odc_bdc.notebook.available import find_product, nothing_found
from odc_bdc.notebook.loading import load
from odc_bdc.notebook.moments import day, is_time, spans, within
from odc_bdc.notebook.pictures import DEGREE, MOST_PIXELS, WEB, Pictures, pictures, web_geobox
from odc_bdc.notebook.servers import ServedLayer, served_layer
from odc_bdc.ows.layers import native_grid, timeline_of

if TYPE_CHECKING:
    from datacube import Datacube

    from odc_bdc.notebook.moments import Span, TimeLike
    from odc_bdc.notebook.styling import ProductLike

Shown: TypeAlias = xr.Dataset | str
"""What can be shown: arrays, or the name of a product."""

Bounds: TypeAlias = tuple[float, float, float, float]
"""West, south, east, north in degrees."""


@dataclass(frozen=True)
class Drawn:
    """Images of arrays, each drawn when it is asked for."""

    pictures: Pictures
    title: str
    language: str

    @property
    def spans(self) -> list[Span]:
        """What the images show of time."""
        return self.pictures.spans

    @property
    def labels(self) -> list[str]:
        """Dates of the images; one of nothing where there is no time."""
        return self.pictures.labels

    @property
    def bounds(self) -> Bounds:
        """Where they lie."""
        return self.pictures.bounds

    @property
    def legend(self) -> bytes | None:
        """Legend as PNG."""
        return self.pictures.style.legend(self.language)

    @property
    def note(self) -> str:
        """What the reader should know of the images."""
        return self.pictures.note(self.language)


@dataclass(frozen=True)
class Served:
    """Images that a browser asks a map server for."""

    layer: ServedLayer
    note: str = ""

    @property
    def title(self) -> str:
        """Title of the layer."""
        return self.layer.title

    @property
    def spans(self) -> list[Span]:
        """What the images show of time."""
        return spans(self.layer.times, timeline_of(self.layer.name))

    @property
    def labels(self) -> list[str]:
        """Dates of the images; one of nothing where there is no time."""
        return [day(time) for time in self.layer.times] or [""]

    @property
    def bounds(self) -> Bounds:
        """Where they lie."""
        return self.layer.bounds

    @property
    def legend(self) -> bytes | None:
        """Legend as PNG."""
        return self.layer.legend


Images: TypeAlias = Drawn | Served


@dataclass(frozen=True)
class Asked:
    """How images are to be had, whatever they are of."""

    dc: Datacube | None = None
    server: str | None = None
    time: TimeLike | None = None
    product: ProductLike | None = None
    language: str = "en"
    most_pixels: int = MOST_PIXELS
    _known: dict[Any, Images] = field(default_factory=dict)

    def images(self, what: Shown, style: str) -> Images:
        """Give the images of arrays or of a product.

        Raises
        ------
        InvalidValueError
            If it is neither, or it is not said how to get at the product.
        """
        if isinstance(what, xr.DataArray):
            raise InvalidValueError(
                "a DataArray has no bands by name: give ds[['red', 'green', 'blue']], or "
                "da.to_dataset(name='NDVI') with the name of what it is"
            )
        if isinstance(what, xr.Dataset):
            return self._drawn(what, style, str(what.attrs.get("product") or ""), self.time)
        if not isinstance(what, str):
            raise InvalidValueError(
                f"{type(what).__name__} cannot be shown: give an xarray.Dataset or a product's name"
            )
        if self.server:
            return Served(
                served_layer(self.server, what, style, time=self.time, language=self.language)
            )
        if self.dc is None:
            raise InvalidValueError(
                f"product {what}: say where its images are, server='http://127.0.0.1:8000' "
                "(`odc-bdc ows serve`) or dc=nb.connect()"
            )
        ds, pixel = _whole_product(self.dc, what, self.time, self.most_pixels)
        return self._drawn(ds, style, what, None, pixel)

    def _drawn(
        self,
        ds: xr.Dataset,
        style: str,
        name: str,
        time: TimeLike | None,
        pixel: float | None = None,
    ) -> Drawn:
        product = self.product
        if product is None and name and self.dc is not None:
            product = self.dc.index.products.get_by_name(name)
        found = pictures(
            ds, style, product=product, time=time, most_pixels=self.most_pixels, pixel=pixel
        )
        title = found.style.title(self.language)
        return Drawn(found, f"{name}, {title}" if name else title, self.language)


@dataclass(frozen=True)
class Sides:
    """One series of images, or two with a border between them.

    Attributes
    ----------
    starts
        Numbers of the images that are shown first.
    """

    images: tuple[Images, ...]
    starts: tuple[int, ...]

    @property
    def bounds(self) -> Bounds:
        """Where all of them lie."""
        west, south, east, north = zip(*(side.bounds for side in self.images), strict=True)
        return min(west), min(south), max(east), max(north)


def find_sides(
    what: Shown,
    style: str | tuple[str, str],
    swipe: Shown | dt.date | bool | None,  # noqa: FBT001 (as `show` has it)
    asked: Asked,
) -> Sides:
    """Find the images of one side or of two; see `odc_bdc.notebook.show` for the parameters."""
    first, second = (style, style) if isinstance(style, str) else style
    left = asked.images(what, first)
    last = len(left.labels) - 1
    if swipe is None or swipe is False:
        if first == second:
            return Sides((left,), (last,))
        return Sides((left, asked.images(what, second)), (last, last))
    if swipe is True:
        right = left if first == second else asked.images(what, second)
        return Sides((left, right), (0, last))
    if isinstance(swipe, dt.date) or (isinstance(swipe, str) and is_time(swipe)):
        right = left if first == second else asked.images(what, second)
        return Sides((left, right), (last, within(right.spans, swipe)[-1]))
    right = asked.images(swipe, second)
    return Sides((left, right), (last, len(right.labels) - 1))


def _whole_product(
    dc: Datacube, name: str, time: TimeLike | None, most_pixels: int
) -> tuple[xr.Dataset, float]:
    """Open all images of a product, coarse enough for a map; each is read when it is drawn.

    Returns
    -------
    tuple
        The dataset, of dask arrays, and the side of the product's own pixels in metres.
    """
    product = find_product(dc, name)
    datasets = sorted(dc.find_datasets(product=name), key=lambda d: d.time.begin)
    if not datasets:
        raise nothing_found(dc, product, {})
    if time is not None:
        known = [(_naive(d.time.begin), _naive(d.time.end)) for d in datasets]
        datasets = [datasets[i] for i in within(known, time)]
    places = [d.extent.to_crs(WEB).boundingbox for d in datasets if d.extent is not None]
    if not places:
        raise InvalidValueError(f"the images of product {name} do not say where they lie")
    crs, (side, _) = native_grid(product.definition)
    pixel = abs(side) * (DEGREE if CRS(crs).geographic else 1.0)
    native = GeoBox.from_bbox(bbox_union(places), crs=WEB, resolution=pixel)
    midnight = all(d.time.begin.time() == dt.time() for d in datasets)
    ds = load(
        dc,
        name,
        datasets=datasets,
        like=web_geobox(native, most_pixels),
        dask_chunks={"time": 1},
        group_by="time" if midnight else "solar_day",
    )
    return ds, pixel


def _naive(moment: dt.datetime) -> pd.Timestamp:
    return pd.Timestamp(moment).tz_localize(None)
