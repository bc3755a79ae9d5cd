"""The whole configuration of datacube-ows, from cubes and products of scenes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from odc_bdc.ows.crs import published_crss
from odc_bdc.ows.layers import SceneLayer, cube_layer, folder_title, scene_layer
from odc_bdc.ows.tiles import TILE_MATRIX_SETS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from odc_bdc.cube import CubeSpec

MAX_PIXELS = 4096
"""Largest width and height of a GetMap."""


# Left out, these would be printed as "None".
_ADDRESS = ("address", "city", "state", "postcode")


@dataclass(frozen=True, slots=True)
class Service:
    """What the services say of themselves.

    Attributes
    ----------
    title, abstract, organisation, email
        Printed in the capabilities.
    urls
        Base URLs under which clients reach the service, the public one first.
    """

    title: str = "Brazil Data Cube"
    abstract: str = "Data cubes of satellite images and the scenes they are made of."
    organisation: str = ""
    email: str = ""
    urls: tuple[str, ...] = ("http://127.0.0.1:8000",)


def build_config(
    cubes: Sequence[CubeSpec],
    scene_products: Sequence[SceneLayer],
    *,
    service: Service | None = None,
    env: Any = None,
) -> dict[str, Any]:
    """Make a complete configuration: services, CRSs, tile matrix sets, folders, layers, styles.

    Parameters
    ----------
    cubes, scene_products
        One layer each, under the name of its product, in a folder per sensor.
    service
        Titles and addresses.
    env
        ODC environment: its name, an `ODCEnvironment`, or None for datacube's default.

    Raises
    ------
    InvalidValueError
        If a product of scenes says neither CRS nor resolution.
    """
    service = service or Service()
    folders = _folders(cubes, scene_products)
    layers = [layer for folder in folders for layer in folder["layers"]]
    return {
        "global": _global(service, env)
        | {"published_CRSs": published_crss(layer["native_crs"] for layer in layers)},
        "wms": {"max_width": MAX_PIXELS, "max_height": MAX_PIXELS},
        "wmts": {"tile_matrix_sets": {t.name: t.to_ows() for t in TILE_MATRIX_SETS}},
        "wcs": {
            # One format only: with the postgis index, netCDF of many dates would hold only one.
            "formats": {
                "GeoTIFF": {
                    "renderers": {
                        "1": "odc_bdc.ows.coverage.geotiff_v1",
                        "2": "odc_bdc.ows.coverage.geotiff_v2",
                    },
                    "mime": "image/geotiff",
                    "extension": "tif",
                    "multi-time": False,
                }
            },
            "native_format": "GeoTIFF",
            "calculate_tiff_statistics": False,
        },
        "layers": folders,
    }


def _global(service: Service, env: Any) -> dict[str, Any]:
    return {
        "title": service.title,
        "abstract": service.abstract,
        "allowed_urls": list(service.urls),
        "info_url": service.urls[0],
        "env": env,
        "services": {"wms": True, "wmts": True, "wcs": True},
        "keywords": ["data cube", "composite", "satellite image"],
        "response_headers": {"Access-Control-Allow-Origin": "*"},
        "fees": "none",
        "access_constraints": "none",
        # Without an address, datacube-ows answers a WCS 2 GetCapabilities with an error.
        "contact_info": {
            "organisation": service.organisation,
            "email": service.email,
            "address": {"type": "postal", **dict.fromkeys(_ADDRESS, ""), "country": "Brazil"},
        },
    }


def _folders(
    cubes: Sequence[CubeSpec], scene_products: Sequence[SceneLayer]
) -> list[dict[str, Any]]:
    folders: dict[str, list[dict[str, Any]]] = {}
    for cube in cubes:
        folders.setdefault(folder_title(cube.platform, cube.instrument), []).append(
            cube_layer(cube)
        )
    for scenes in scene_products:
        folders.setdefault(folder_title(scenes.platform, scenes.instrument), []).append(
            scene_layer(scenes)
        )
    return [
        {"title": title, "abstract": f"Layers of {title}", "layers": layers}
        for title, layers in sorted(folders.items())
    ]
