"""Kinds of styles that datacube-ows lacks, or draws without a legend.

They are registered with it by `register_styles`; the configuration then uses them as its own. This
module needs the extra ``[ows]`` to be imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from matplotlib.colors import to_rgb

from odc_bdc.ows.legends import class_legend, ramp_legend
from odc_bdc.ows.upstream import (
    ColorRampDef,
    ComponentStyleDef,
    FunctionWrapper,
    OWSMetadataConfig,
    StyleDefBase,
    style_class_priority_reg,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from io import BytesIO

_CHANNELS = ("red", "green", "blue")


class _Entry:
    """A line of a legend as `OWSMetadataConfig` wants it, so that its text can be translated."""

    def __init__(self, idx: int, colour: str, label: str) -> None:
        self.idx, self.colour, self.label = idx, colour, label


class _ListLegend(StyleDefBase.Legend, OWSMetadataConfig):
    """A legend of coloured boxes with texts: ``legend: {entries: [{color, title}]}``."""

    METADATA_TITLE = False
    METADATA_ABSTRACT = False
    METADATA_VALUE_RULES = True

    def __init__(self, style_or_handler: Any, cfg: dict[str, Any]) -> None:
        super().__init__(style_or_handler, cfg)
        entries = enumerate(cfg.get("entries") or ())
        self.patches = [_Entry(i, entry["color"], entry["title"]) for i, entry in entries]
        self.show_legend = bool(self.patches)
        self.parse_metadata(cfg)

    def render(self, bytesio: BytesIO) -> None:
        """Write it as PNG."""
        texts = [(p.colour, self.read_local_metadata(f"rule_{p.idx}")) for p in self.patches]
        class_legend(self.style.title, texts).save(bytesio, "PNG")


class RgbStyle(ComponentStyleDef):
    """Three bands as red, green and blue, with a legend that says which."""

    auto_legend = True

    class Legend(_ListLegend):
        """Bands by light."""

    class MultiDateHandler(ComponentStyleDef.MultiDateHandler):
        """Several times, which are an animation."""

        class Legend(_ListLegend):
            """None: that of one time says it all."""


class ClassStyle(StyleDefBase):
    """Codes in colours of their own.

    ``classes: {function, needed_bands, values: [{value, color, title}]}``; the function gives
    integers from 0 to 255. Codes without a colour are transparent.
    """

    auto_legend = True

    def __init__(self, product: Any, style_cfg: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(product, style_cfg, *args, **kwargs)
        classes = self._raw_cfg["classes"]
        self.function = FunctionWrapper(self, classes["function"], stand_alone=self.stand_alone)
        self.raw_needed_bands |= set(classes["needed_bands"])
        self.palette = palette(classes["values"])

    def transform_single_date_data(self, data: xr.Dataset) -> xr.Dataset:
        """Give the channels of an image of one time."""
        codes = self.function(data)
        colours = self.palette[codes.values]
        return xr.Dataset(
            {
                channel: (codes.dims, colours[..., i])
                for i, channel in enumerate((*_CHANNELS, "alpha"))
            },
            coords=codes.coords,
        )

    class Legend(_ListLegend):
        """Classes by colour."""


class IndexStyle(ColorRampDef):
    """Values in a ramp of colours; transparent where they are NaN."""

    class Legend(ColorRampDef.Legend):
        """The ramp of one time."""

        def render(self, bytesio: BytesIO) -> None:
            """Write it as PNG."""
            _ramp_legend(self).save(bytesio, "PNG")

    class MultiDateHandler(ColorRampDef.MultiDateHandler):
        """Several times: what their aggregator makes of them, or an animation."""

        class Legend(ColorRampDef.MultiDateHandler.Legend):
            """The ramp of what is made of several times."""

            def render(self, bytesio: BytesIO) -> None:
                """Write it as PNG."""
                _ramp_legend(self).save(bytesio, "PNG")

        def transform_data(self, data: xr.Dataset) -> xr.Dataset:
            """Give the channels of an image."""
            return coloured(self.aggregator(self.style.index_function(data)), self.color_ramp)

    def transform_single_date_data(self, data: xr.Dataset) -> xr.Dataset:
        """Give the channels of an image of one time."""
        return coloured(self.index_function(data), self.color_ramp)

    def apply_mask_to_image(
        self,
        img_data: xr.Dataset,
        mask: xr.DataArray | None,
        input_date_count: int,  # noqa: ARG002 (its interface)
        output_date_count: int,  # noqa: ARG002 (its interface)
    ) -> xr.Dataset:
        """Leave the image as it is.

        The values know where they have data; the mask is of all times at once, so that one gap in
        a year would make a hole in the amplitude of all of it.
        """
        # datacube-ows counts the times of what it is given, so there must be one.
        if "time" in img_data.coords or mask is None:
            return img_data
        return img_data.assign_coords(time=mask.time.values[-1])


def coloured(values: xr.DataArray, ramp: Any) -> xr.Dataset:
    """Draw values in a ramp of datacube-ows: uint8 channels, alpha 0 where they are not finite."""
    finite = np.isfinite(values)
    image: xr.Dataset = ramp.apply(values.where(finite, 0.0))
    image["alpha"] = image["alpha"].where(finite, 0).astype("uint8")
    return image


def palette(classes: Sequence[Mapping[str, Any]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Give red, green, blue and alpha of each code: uint8 of shape (256, 4)."""
    table = np.zeros((256, 4), np.uint8)
    for entry in classes:
        table[entry["value"]] = (*(round(255 * c) for c in to_rgb(entry["color"])), 255)
    return table


def register_styles() -> None:
    """Tell datacube-ows of these kinds of styles, once."""
    known = {cls for cls, _ in style_class_priority_reg}
    for cls, trigger in (
        (ClassStyle, "classes"),
        (RgbStyle, "components"),
        (IndexStyle, "color_ramp"),
    ):
        if cls not in known:
            StyleDefBase.register_subclass(cls, [trigger], priority=True)


def _ramp_legend(legend: Any) -> Any:
    nodes = legend.style_or_mdh.color_ramp
    low, high = float(legend.begin), float(legend.end)
    ramp = [
        (value, tuple(round(255 * nodes.components[c][i]) for c in _CHANNELS))
        for i, value in enumerate(nodes.values)
        if low - 1e-9 <= value <= high + 1e-9
    ]
    ticks = [(float(tick), legend.tick_label(tick) or str(tick)) for tick in legend.ticks]
    return ramp_legend(legend.display_title(), ramp, ticks)
