"""Maps in a notebook: a time slider, opacity, legend, and a swipe between two images."""

from __future__ import annotations

import math
from datetime import date
from html import escape
from typing import TYPE_CHECKING, Any

import ipyleaflet as ipl
import ipywidgets as ipw
import traitlets

from odc_bdc.notebook.outlines import outlines
from odc_bdc.notebook.pictures import MOST_PIXELS, data_url
from odc_bdc.notebook.sources import Asked, Drawn, find_sides
from odc_bdc.notebook.words import say

if TYPE_CHECKING:
    from datacube import Datacube

    from odc_bdc.notebook.moments import TimeLike
    from odc_bdc.notebook.sources import Bounds, Images, Shown, Sides
    from odc_bdc.notebook.styling import ProductLike

_WIDTH, _HEIGHT = 900, 480  # pixels that a map has in most notebooks
_OUTLINE = {"color": "#57606a", "weight": 1, "fillOpacity": 0, "opacity": 0.8}
_PAUSE = 1000  # milliseconds


def show(
    what: Shown,
    style: str | tuple[str, str] = "true_colour",
    *,
    dc: Datacube | None = None,
    server: str | None = None,
    time: TimeLike | None = None,
    swipe: Shown | date | bool | None = None,
    opacity: float = 1.0,
    language: str = "en",
    product: ProductLike | None = None,
    basemap: Any = None,
    most_pixels: int = MOST_PIXELS,
) -> ImageMap:
    """Show images on a map with a time slider, opacity, a legend and, if wished, a swipe.

    The map asks no host for anything but `server`; outlines of countries are shipped.

    Parameters
    ----------
    what
        Arrays as `dc.load` gives them, with a CRS; or the name of a product, whose images come from
        `server` or else, coarse enough for a map, from the index `dc`.
    style
        Name of a style of the map server, see `odc_bdc.notebook.draw`. Two of them are swiped.
    server
        Base address of a map server, ``http://127.0.0.1:8000`` (`odc-bdc ows serve`). The browser
        must reach it too.
    time
        ``2020``, ``2020-01`` or a day, or a pair of them: the times that can be chosen.
    swipe
        What is right of a border that can be moved: another date of the same images, other arrays,
        or the name of another product; ``True`` for the last date, with the first at the left.
    opacity
        Of the images at the beginning, from 0 to 1.
    language
        ``en`` or ``pt``.
    product
        What arrays are of, if their bands do not tell.
    basemap
        Whatever `ipyleaflet` takes as one. None for none: a base map comes from another host.
    most_pixels
        Of one image of arrays: larger ones are shown coarser, with a note below the map.

    Returns
    -------
    ImageMap
        A widget; its ``map`` is the `ipyleaflet.Map`.

    Raises
    ------
    UnknownNameError
        If there is no such style, product or layer.
    InvalidValueError
        If arrays have no CRS, nothing has a time asked for, or a parameter makes no sense.
    SourceError
        If the server cannot be reached.
    MissingDependencyError
        If a package of the extra ``[notebook]`` is missing.
    """
    say("map", language)  # knows the language, or says which there are
    asked = Asked(dc, server, time, product, language, most_pixels)
    sides = find_sides(what, style, swipe, asked)
    return ImageMap(sides, opacity=opacity, language=language, basemap=basemap)


class ImageMap(ipw.VBox):  # type: ignore[misc]
    """A map of images with what chooses among them.

    Attributes
    ----------
    map
        The map itself.
    layers
        The layer of images; two if there is a swipe, left and right.
    times
        The slider of each layer, whose value is the number of its image.
    opacity
        The slider of opacity, of all layers.
    legends
        Legends as widgets; two if the layers have different ones.
    notes
        What the reader should know of the images.
    """

    def __init__(
        self, sides: Sides, *, opacity: float = 1.0, language: str = "en", basemap: Any = None
    ) -> None:
        self.layers = [
            _layer(images, start, f"bdc-{number}")
            for number, (images, start) in enumerate(zip(sides.images, sides.starts, strict=True))
        ]
        self.map = base_map(sides.bounds, basemap, language)
        self._place()
        names = ["time"] if len(self.layers) == 1 else ["left", "right"]
        self.times = [
            _time_slider(images, start, say(name, language))
            for images, start, name in zip(sides.images, sides.starts, names, strict=True)
        ]
        for images, layer, slider in zip(sides.images, self.layers, self.times, strict=True):
            slider.observe(_follower(images, layer), "value")
        self.opacity = ipw.FloatSlider(
            opacity, min=0, max=1, step=0.05, description=say("opacity", language), readout=False
        )
        for layer in self.layers:
            traitlets.dlink((self.opacity, "value"), (layer, "opacity"))
        self.legends = _legends(sides.images)
        self.notes = [note for note in dict.fromkeys(i.note for i in sides.images) if note]
        super().__init__([self.map, *self._rows(language)])

    def _place(self) -> None:
        """Put the layers on the map."""
        if len(self.layers) == 1:
            self.map.add(self.layers[0])
            self.map.add(ipl.LayersControl(position="topright"))
            return
        left, right = self.layers
        self.map.add(ipl.LayersControl(position="topright"))
        self.map.add(ipl.SplitMapControl(left_layer=left, right_layer=right))

    def _rows(self, language: str) -> list[Any]:
        rows = []
        for slider in self.times:
            count = len(slider.options)
            if count < 2:
                rows.append(ipw.Label(f"{slider.description}: {slider.label}"))
                continue
            play = ipw.Play(
                min=0,
                max=count - 1,
                value=slider.index,
                interval=_PAUSE,
                tooltip=say("play", language),
            )
            # In the browser and here: headless programs have no browser.
            traitlets.link((play, "value"), (slider, "index"))
            rows.append(ipw.HBox([play, slider]))
        below = ipw.HBox([self.opacity, *self.legends], layout={"flex_flow": "row wrap"})
        notes = [ipw.HTML(f"<small>{escape(note)}</small>") for note in self.notes]
        return [*rows, below, *notes]


def _layer(images: Images, number: int, pane: str) -> Any:
    if isinstance(images, Drawn):
        west, south, east, north = images.bounds
        return ipl.ImageOverlay(
            url=_url(images, number),
            bounds=((south, west), (north, east)),
            name=images.title,
            pane=pane,
        )
    layer = images.layer
    return TimedWMSLayer(
        url=layer.url,
        layers=layer.name,
        styles=layer.style,
        format="image/png",
        transparent=True,
        time=layer.times[number] if layer.times else "",
        name=images.title,
        max_zoom=_DEEPEST,
    )


_DEEPEST = 20


class TimedWMSLayer(ipl.WMSLayer):  # type: ignore[misc]
    """A layer of a WMS at one of its times."""

    time = traitlets.Unicode().tag(sync=True, o=True)


def _follower(images: Images, layer: Any) -> Any:
    def follow(change: Any) -> None:
        if isinstance(images, Drawn):
            layer.url = _url(images, change["new"])
        else:
            layer.time = images.layer.times[change["new"]]

    return follow


def _url(images: Drawn, number: int) -> str:
    return data_url(images.pictures.png(number))


def _time_slider(images: Images, start: int, name: str) -> Any:
    return ipw.SelectionSlider(
        options=[(label or "-", i) for i, label in enumerate(images.labels)],
        value=start,
        description=name,
        continuous_update=False,
        layout={"width": "32rem", "max_width": "95%"},
    )


def _legends(images: tuple[Images, ...]) -> list[Any]:
    pictures = dict.fromkeys(i.legend for i in images)
    return [ipw.Image(value=picture, format="png") for picture in pictures if picture]


def base_map(bounds: Bounds, basemap: Any, language: str) -> Any:
    """Make a map of a place with the outlines of countries, and nothing from another host."""
    countries = ipl.GeoJSON(data=outlines(bounds), style=_OUTLINE, name=say("countries", language))
    centre, zoom = view_of(bounds)
    made = ipl.Map(
        center=centre,
        zoom=zoom,
        # Given any layers, it takes no base map of its own.
        layers=[*([] if basemap is None else [_base(basemap)]), countries],
        scroll_wheel_zoom=True,
        max_zoom=_DEEPEST,
        panes={f"bdc-{i}": {"zIndex": 300 + i} for i in range(2)},
        layout={"height": f"{_HEIGHT}px"},
    )
    made.add(ipl.ScaleControl(position="bottomleft", imperial=False))
    return made


def _base(basemap: Any) -> Any:
    return basemap if isinstance(basemap, ipl.TileLayer) else ipl.basemap_to_tiles(basemap)


def view_of(bounds: Bounds) -> tuple[tuple[float, float], int]:
    """Give the middle (latitude, longitude) and the zoom at which a box fills a map in a notebook.

    Examples
    --------
    >>> view_of((-180, -85, 180, 85))
    ((0.0, 0.0), 0)
    """
    west, south, east, north = bounds
    low, high = (math.asinh(math.tan(math.radians(max(-85, min(85, v))))) for v in (south, north))
    world = 256.0  # pixels at zoom 0
    wide = max((east - west) / 360, 1e-9) * world
    tall = max((high - low) / math.tau, 1e-9) * world
    zoom = math.floor(math.log2(min(_WIDTH / wide, _HEIGHT / tall)))
    middle = math.degrees(math.atan(math.sinh((low + high) / 2)))
    return (middle, (west + east) / 2), max(0, min(zoom, 18))
