"""The map server's styles, for arrays: which one an array's product has, ready to draw with."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from odc_bdc.cube import CubeSpec, shipped_cubes
from odc_bdc.errors import InvalidValueError, UnknownNameError, did_you_mean
from odc_bdc.notebook.moments import SAID
from odc_bdc.ows.extra import require_ows
from odc_bdc.ows.inventory import described
from odc_bdc.ows.languages import in_language
from odc_bdc.ows.layers import cube_look, scene_look
from odc_bdc.ows.styles import ANIMATION, Look, styles
from odc_bdc.product import shipped_products
from odc_bdc.spectral_index import spectral_index

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

ProductLike: TypeAlias = "str | CubeSpec | Mapping[str, Any] | Any"
"""Name of a shipped cube or product, a cube's definition, or a product of the index."""

_NUMBERS = ("nodata", "scale_factor", "add_offset")
# No reflectance or index comes near it, and stored as ten-thousandths it is as good as nothing.
_MOST_PHYSICAL = 5.0
_TOLD = (*_NUMBERS, "flags_definition")


@dataclass(frozen=True)
class Style:
    """A style that fits a dataset.

    Attributes
    ----------
    name
        As of the map server.
    config
        Its configuration for datacube-ows; texts are `odc_bdc.ows.languages.Text`.
    bands
        Variable of the dataset by the band's own name in the product.
    measurements
        By the band's own name: how the dataset stores it.
    """

    name: str
    config: Mapping[str, Any]
    bands: Mapping[str, str]
    measurements: Mapping[str, Mapping[str, Any]]

    @property
    def needed(self) -> tuple[str, ...]:
        """The bands that it is drawn of, by their own names."""
        config = self.config.get("classes") or self.config
        if "needed_bands" in config:
            return tuple(config["needed_bands"])
        lights = self.config["components"].values()
        return tuple(
            dict.fromkeys(band for light in lights for band in light if band != "scale_range")
        )

    @property
    def effect(self) -> str:
        """What decides on the colours, so that styles that draw alike are equal in it."""
        deciding = ("components", "color_ramp", "index_function", "classes")
        parts = {key: self.config[key] for key in deciding if key in self.config}
        return repr(_renamed(parts, self.bands))

    def painter(self, language: str = "en") -> Any:
        """Give the style of datacube-ows, which draws and has the legend."""
        require_ows()
        with warnings.catch_warnings():
            # datacube-ows imports datacube.virtual, and says so to whoever imports it.
            warnings.filterwarnings("ignore", "Virtual products are deprecated")
            from odc_bdc.ows.style_types import register_styles  # noqa: PLC0415 (an extra)
            from odc_bdc.ows.upstream import StandaloneStyle  # noqa: PLC0415 (an extra)
        register_styles()
        return StandaloneStyle(in_language(self.config, language))

    def legend(self, language: str = "en") -> bytes | None:
        """Give the legend of one time as PNG; None if the style has none."""
        image = self.painter(language).render_legend(1)
        if image is None:
            return None
        out = BytesIO()
        image.save(out, "PNG")
        return out.getvalue()

    def title(self, language: str = "en") -> str:
        """Give its title in a language."""
        return str(in_language(self.config["title"], language))


@dataclass(frozen=True)
class _Product:
    """What decides on the styles of a product."""

    name: str
    measurements: tuple[Mapping[str, Any], ...]
    look: Look


def find_style(ds: xr.Dataset, name: str, product: ProductLike | None = None) -> Style:
    """Find a style of the map server for a dataset.

    Parameters
    ----------
    ds
        Bands under their own names or their aliases, stored as the product stores them, or as
        floating-point numbers with NaN: reflectances and indices, or, if they are large and have
        the attribute ``scale_factor``, stored values.
    name
        As of the map server (`odc_bdc.ows.styles`); any index of spyndex that is made of
        reflectances as well.
    product
        What the dataset is of. By default its attribute ``product`` or ``cube`` tells, or its
        bands. Where several products have such bands and other colours, it is drawn with the usual
        ranges and a warning says so.

    Raises
    ------
    UnknownNameError
        If there is no such style or product, or the dataset lacks the style's bands.
    InvalidValueError
        If the dataset has no variables, or its product is no product.
    """
    if not ds.data_vars:
        raise InvalidValueError("the dataset has no bands: nothing can be drawn of it")
    if product is None:
        product = next((ds.attrs[key] for key in SAID if ds.attrs.get(key)), None)
        if isinstance(product, str) and product not in (*shipped_cubes(), *shipped_products()):
            product = None
    if product is not None:
        return _pick(_fitted(ds, _described(product), name), name)
    like = _of_products(ds, name)
    if len({style.effect for style in like.values()}) == 1:
        return next(iter(like.values()))
    known = _described(next(iter(like))).measurements if like else ()
    if like:
        warnings.warn(
            f"several products have such bands ({', '.join([*like][:3])} ...) and colours of their "
            "own: drawn with the usual ranges; product=... draws as the map server does",
            stacklevel=3,
        )
    return _pick(_fitted(ds, _Product("", known, Look()), name), name)


def _described(product: ProductLike) -> _Product:
    if isinstance(product, str):
        known: Mapping[str, Any] = {**shipped_products(), **shipped_cubes()}
        if product not in known:
            raise UnknownNameError(
                f"{product!r} is no shipped product{did_you_mean(product, known)}; give the "
                "product of the index instead: dc.index.products.get_by_name(...)"
            )
        return _described(known[product])
    if isinstance(product, CubeSpec):
        measurements = tuple(product.to_product()["measurements"])
        return _Product(product.name, measurements, cube_look(product))
    document: Any = getattr(product, "definition", product)
    try:
        name, measurements = str(document["name"]), tuple(document["measurements"])
    except (KeyError, TypeError) as e:
        raise InvalidValueError(
            f"{product!r} is no product: give its name, a CubeSpec or a product of the index"
        ) from e
    if name in shipped_cubes():
        return _described(shipped_cubes()[name])
    return _Product(name, measurements, scene_look(described(document)))


def _of_products(ds: xr.Dataset, name: str) -> dict[str, Style]:
    """Give the style of each shipped product that has such bands, by product."""
    found = {}
    for document in {**shipped_products(), **shipped_cubes()}.values():
        product = _described(document)
        style = _fitted(ds, product, name).get(name)
        own = {str(m["name"]): m for m in product.measurements}
        if style is not None and all(
            band in own and _agrees(ds[style.bands[band]], own[band]) for band in style.needed
        ):
            found[product.name] = style
    return found


def _agrees(band: xr.DataArray, measurement: Mapping[str, Any]) -> bool:
    """Tell if a band may be a product's: floating-point numbers may be any product's."""
    if band.dtype.kind == "f":
        return True
    # `dc.load` tells all that the product says; what others made may tell nothing.
    told = _NUMBERS if "units" in band.attrs else [k for k in _NUMBERS if k in band.attrs]
    return band.dtype == measurement["dtype"] and all(
        band.attrs.get(key) == measurement.get(key) for key in told
    )


def _renamed(part: Any, names: Mapping[str, str]) -> Any:
    if isinstance(part, str):
        return names.get(part, part)
    if isinstance(part, dict):
        return {_renamed(key, names): _renamed(value, names) for key, value in part.items()}
    if isinstance(part, (list, tuple)):
        return [_renamed(value, names) for value in part]
    return part


def _fitted(ds: xr.Dataset, product: _Product, name: str) -> dict[str, Style]:
    """Give the styles of a product for which a dataset has the bands, by name.

    What is none of the product's bands, such as an index that was computed, counts too.
    """
    bands: dict[str, str] = {}
    documents: list[Mapping[str, Any]] = []
    for m in product.measurements:
        labels = (m["name"], *(m.get("aliases") or ()))
        variable = next((v for v in labels if v in ds.data_vars and v not in bands.values()), None)
        if variable is not None:
            bands[str(m["name"])] = variable
            documents.append(m)
    computed = [str(v) for v in ds.data_vars if v not in bands.values()]
    documents += [{"name": v} for v in computed]
    bands |= {v: v for v in computed}
    stored = {str(m["name"]): _stored(ds[bands[str(m["name"])]], m) for m in documents}
    look = replace(product.look, indices=_indices(product.look, name))
    return {
        config["name"]: Style(config["name"], config, bands, stored)
        for config in styles([*stored.values()], look)
        if not config["name"].endswith(ANIMATION)
    }


def _indices(look: Look, style: str) -> tuple[str, ...]:
    """Give the indices that have styles: the usual ones, and the one that is asked for."""
    try:
        asked = spectral_index(style).name
    except (UnknownNameError, InvalidValueError):
        return look.indices
    return tuple(dict.fromkeys((*look.indices, asked)))


def _stored(band: xr.DataArray, measurement: Mapping[str, Any]) -> dict[str, Any]:
    """Say how a dataset stores a band: as the product does, unless the array says otherwise."""
    told = {key: band.attrs[key] for key in _TOLD if band.attrs.get(key) is not None}
    document = {**measurement, "dtype": band.dtype.name}
    if band.dtype.kind == "f":
        # Gaps are NaN, and numbers are reflectances unless the array has a scale.
        document = {key: value for key, value in document.items() if key not in _NUMBERS}
        told.pop("nodata", None)
        if _is_physical(band):
            told = {key: value for key, value in told.items() if key not in _NUMBERS}
    # What `load` has noted counts where the product is not known.
    aliases = measurement.get("aliases") or band.attrs.get("aliases") or []
    return {**document, **told, "aliases": [*aliases]}


def _is_physical(band: xr.DataArray) -> bool:
    """Tell if floating-point numbers are reflectances or indices, whatever scale they carry.

    xarray keeps attributes when numbers are scaled, so these alone do not tell. As stored, the
    numbers of an image go to thousands.
    """
    thinned = band.isel({dim: slice(None, None, -(-n // 64) or 1) for dim, n in band.sizes.items()})
    values = np.abs(thinned.values[np.isfinite(thinned.values)])
    return bool(values.size) and bool(values.max() <= _MOST_PHYSICAL)


def _pick(found: Mapping[str, Style], name: str) -> Style:
    if name in found:
        return found[name]
    known = ", ".join(found)
    raise UnknownNameError(
        f"{name!r} is no style for these bands{did_you_mean(name, found)}; styles: {known}"
    )
