"""One layer of the services for each cube and each product of scenes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from odc.geo.crs import CRS, CRSError

from odc_bdc.errors import InvalidValueError
from odc_bdc.ows.styles import styles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from odc_bdc.cube import CubeSpec

TimeResolution: TypeAlias = Literal["summary", "solar"]
"""``summary``: the date on which a dataset starts, at midnight UTC. ``solar``: the local date of
the instant of acquisition; all scenes of one overpass are one image."""

RESOURCE_LIMITS: dict[str, Any] = {
    # Each dataset costs some 20 ms; beyond that the extent is drawn as a plain polygon.
    "wms": {"max_datasets": 64, "zoomed_out_fill_colour": [150, 180, 200, 160]},
    # QGIS probes a coverage with its whole extent, so this must not be tight. Bytes of all bands.
    "wcs": {"max_datasets": 64, "max_image_size": 2**28},
}


@dataclass(frozen=True, slots=True)
class SceneLayer:
    """A product of scenes as a layer.

    Attributes
    ----------
    product
        The ODC product document; its ``load`` hints give CRS and resolution.
    time_resolution
        ``solar`` for instants of acquisition, ``summary`` for datasets that start at midnight UTC.
    platform, instrument
        Name the folder that the layer is shown in.
    """

    product: Mapping[str, Any]
    time_resolution: TimeResolution = "solar"
    platform: str | None = None
    instrument: str | None = None


def cube_layer(cube: CubeSpec) -> dict[str, Any]:
    """Describe a cube's layer for datacube-ows."""
    abstract = f"{cube.description['en']} Licence: {cube.license}."
    return _layer(cube.to_product(), cube.title["en"], abstract, "summary")


def scene_layer(scenes: SceneLayer) -> dict[str, Any]:
    """Describe the layer of a product of scenes for datacube-ows.

    Raises
    ------
    InvalidValueError
        If the product says neither CRS nor resolution (`native_grid`).
    """
    product = scenes.product
    name, about = str(product["name"]), str(product.get("description") or "").rstrip(".")
    licence = product.get("license")
    abstract = ". ".join(part for part in (about, f"Licence: {licence}" if licence else "") if part)
    # What starts at midnight is made of a period: a cube that odc_bdc has no definition of.
    title = f"{name}, scenes" if scenes.time_resolution == "solar" else name
    return _layer(product, title, f"{abstract or name}.", scenes.time_resolution)


def folder_title(platform: str | None, instrument: str | None) -> str:
    """Name the folder of a sensor's layers.

    Examples
    --------
    >>> folder_title("landsat-8", "oli")
    'Landsat-8 OLI'
    """
    if not platform:
        return "Other"
    title = platform[:1].upper() + platform[1:]
    return f"{title} {instrument.upper()}" if instrument else title


def native_grid(product: Mapping[str, Any]) -> tuple[str, tuple[float, float]]:
    """Give the CRS (as ``str`` of an `odc.geo` CRS) and the pixel size (x, y) of a product.

    Raises
    ------
    InvalidValueError
        If the ``load`` hints lack them, or the CRS cannot be looked up.
    """
    load = product.get("load") or {}
    try:
        crs = CRS(load["crs"])
        y, x = crs.dimensions
        return str(crs), (float(load["resolution"][x]), float(load["resolution"][y]))
    except (KeyError, TypeError, CRSError) as e:
        raise InvalidValueError(
            f"product {product['name']}: `load` must give crs and resolution that this PROJ knows "
            f"({type(e).__name__}: {e}); update the product"
        ) from e


def _layer(
    product: Mapping[str, Any], title: str, abstract: str, time_resolution: TimeResolution
) -> dict[str, Any]:
    crs, resolution = native_grid(product)
    looks = styles(product["measurements"])
    return {
        "name": product["name"],
        "product_name": product["name"],
        "title": title,
        "abstract": abstract,
        # The first label is what WCS calls the band, so it must be the measurement's own name.
        "bands": {
            m["name"]: [m["name"], *(m.get("aliases") or ())] for m in product["measurements"]
        },
        "native_crs": crs,
        "native_resolution": list(resolution),
        "time_resolution": time_resolution,
        "default_time": "latest",
        "resource_limits": RESOURCE_LIMITS,
        "image_processing": {"extent_mask_func": "datacube_ows.ogc_utils.mask_by_val"},
        "wcs": {"native_format": "GeoTIFF"},
        "styling": {"default_style": looks[0]["name"], "styles": looks},
    }
