"""The whole configuration of datacube-ows, from cubes and products of scenes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from odc_bdc.ows.crs import published_crss
from odc_bdc.ows.languages import DOMAIN, LANGUAGES, Text, Translations
from odc_bdc.ows.layers import SceneLayer, layer_folders
from odc_bdc.ows.parsed import named_layers
from odc_bdc.ows.styles import INDICES
from odc_bdc.ows.tiles import TILE_MATRIX_SETS
from odc_bdc.spectral_index import spectral_index

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from odc_bdc.cube import CubeSpec

MAX_PIXELS = 4096
"""Largest width and height of a GetMap."""

INDICES_VARIABLE = "ODC_BDC_OWS_INDICES"
"""Environment variable that `named_indices` are read from."""

OWN = "odc_bdc"
"""Key of what datacube-ows does not read, but `odc_bdc.ows.content` does."""

_ABSTRACT = Text(
    "Data cubes of satellite images and the scenes they are made of.",
    "Cubos de dados de imagens de satélite e as cenas de que são feitos.",
)

# Left out, these would be printed as "None".
_ADDRESS = ("address", "city", "state", "postcode")


@dataclass(frozen=True, slots=True)
class Service:
    """What the services say of themselves.

    Attributes
    ----------
    title, abstract, organisation, email
        Printed in the capabilities; a `Text` in both languages, a plain text in either. The title
        stands for an organisation that is empty, since the standards ask for one.
    urls
        Base URLs under which clients reach the service, the public one first.
    attribution
        Whom an image is to be attributed to; the title if empty.
    indices
        Spectral indices that layers have styles for where their bands allow, those of spyndex too.
    documentation
        Address that the page for people links to; empty for no link.
    """

    title: str | Text = "Brazil Data Cube"
    abstract: str | Text = _ABSTRACT
    organisation: str = ""
    email: str = ""
    urls: tuple[str, ...] = ("http://127.0.0.1:8000",)
    attribution: str | Text = ""
    indices: tuple[str, ...] = INDICES
    documentation: str = ""


def named_indices(text: str) -> tuple[str, ...]:
    """Read names of spectral indices, separated by commas; none means the usual ones.

    Raises
    ------
    UnknownNameError, InvalidValueError
        If there is no such index, or it needs more than reflectances.

    Examples
    --------
    >>> named_indices("savi, NDVI"), named_indices("")
    (('SAVI', 'NDVI'), ('NDVI', 'EVI', 'NDWI', 'NBR'))
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    return tuple(spectral_index(name).name for name in names) or INDICES


def build_config(
    cubes: Sequence[CubeSpec],
    scene_products: Sequence[SceneLayer],
    *,
    overviews: Collection[str] = (),
    service: Service | None = None,
    env: Any = None,
) -> dict[str, Any]:
    """Make a complete configuration: services, CRSs, tile matrix sets, folders, layers, styles.

    Texts are in English; their Portuguese, and the timelines of layers, are under the key `OWN`.

    Parameters
    ----------
    cubes, scene_products
        One layer each, under the name of its product, in a folder per sensor and period.
    overviews
        Products whose overviews are in the index, see `odc_bdc.planning.overview_name`.
    service
        Titles and addresses.
    env
        ODC environment: its name, an `ODCEnvironment`, or None for datacube's default.

    Raises
    ------
    InvalidValueError
        If a product of scenes says neither CRS nor resolution, or an index of the service needs
        more than reflectances.
    UnknownNameError
        If there is no index of a name.
    """
    service = service or Service()
    folders = layer_folders(cubes, scene_products, indices=service.indices, overviews=overviews)
    layers = list(named_layers(folders))
    translations = Translations()
    config = translations.plain(
        {
            "global": _global(service)
            | {"published_CRSs": published_crss(layer["native_crs"] for layer in layers)},
            "wms": {"max_width": MAX_PIXELS, "max_height": MAX_PIXELS},
            "wmts": {"tile_matrix_sets": {t.name: t.to_ows() for t in TILE_MATRIX_SETS}},
            "wcs": _wcs(),
            # A client shows a tree, which has one root.
            "layers": [
                {
                    "title": service.title,
                    "abstract": service.abstract,
                    # Of an attribution of the whole, datacube-ows forgets the title.
                    "attribution": {
                        "title": service.attribution or service.title,
                        "url": service.urls[0],
                    },
                    "layers": folders,
                }
            ],
        }
    )
    timelines = {cube.name: cube.timeline for cube in cubes}
    timelines |= {str(s.product["name"]): s.timeline for s in scene_products if s.timeline}
    config["global"]["env"] = env
    config[OWN] = {
        "portuguese": translations.portuguese,
        "timelines": {name: timeline.to_dict() for name, timeline in timelines.items()},
        "documentation": service.documentation,
    }
    return dict(config)


def _wcs() -> dict[str, Any]:
    return {
        # One format only: a GeoTIFF has one time, as the renderers say who are asked for more.
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
    }


def _global(service: Service) -> dict[str, Any]:
    return {
        "title": service.title,
        "abstract": service.abstract,
        "allowed_urls": list(service.urls),
        "info_url": service.urls[0],
        "services": {"wms": True, "wmts": True, "wcs": True},
        "keywords": [
            Text("data cube", "cubo de dados"),
            Text("composite", "composição"),
            Text("satellite image", "imagem de satélite"),
        ],
        "response_headers": {"Access-Control-Allow-Origin": "*"},
        "fees": "none",
        "access_constraints": "none",
        "supported_languages": list(LANGUAGES),
        "message_domain": DOMAIN,
        # None of its files is read: `odc_bdc.ows.languages` gives the texts. Without a folder
        # datacube-ows would know one language only.
        "translations_directory": DOMAIN,
        # Without an address, datacube-ows answers a WCS 2 GetCapabilities with an error.
        "contact_info": {
            "organisation": service.organisation or service.title,
            "email": service.email,
            "address": {"type": "postal", **dict.fromkeys(_ADDRESS, ""), "country": "Brazil"},
        },
    }
