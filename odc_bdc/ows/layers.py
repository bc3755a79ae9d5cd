"""One layer of the services for each cube and each product of scenes, in folders by sensor."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from odc.geo.crs import CRS, CRSError

from odc_bdc.cube import CubeSpec
from odc_bdc.errors import InvalidValueError
from odc_bdc.live import guarded
from odc_bdc.naming import CollectionName
from odc_bdc.ows import feature_info, rendering
from odc_bdc.ows.languages import Text
from odc_bdc.ows.styles import INDICES, Look, styles
from odc_bdc.planning import overview_name
from odc_bdc.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from odc_bdc.quality import QualityPolicy

TimeResolution: TypeAlias = Literal["summary", "solar"]
"""``summary``: the date on which a dataset starts, at midnight UTC. ``solar``: the local date of
the instant of acquisition; all scenes of one overpass are one image."""

RESOURCE_LIMITS: dict[str, Any] = {
    # Each dataset costs some 20 ms; beyond that the extent is drawn as a plain polygon.
    "wms": {"max_datasets": 64, "zoomed_out_fill_colour": [150, 180, 200, 160]},
    # QGIS probes a coverage with its whole extent, so this must not be tight. Bytes of all bands.
    "wcs": {"max_datasets": 64, "max_image_size": 2**28},
}

_MISSIONS = {
    "cbers4": Text.same("CBERS-4"),
    "cbers4a": Text.same("CBERS-4A"),
    "landsat8": Text.same("Landsat-8"),
    "landsat": Text.same("Landsat"),
    "sentinel2": Text.same("Sentinel-2"),
    "modis": Text.same("MODIS"),
    "combined": Text("Combined sensors", "Sensores combinados"),
    "": Text("Other", "Outros"),
}
"""Titles of the folders, in their order."""

_FUNCTIONS = {
    "AVG": Text("average", "média"),
    "MED": Text("median", "mediana"),
    "LCF": Text("stack", "pilha"),
}
_SCENES = Text("Scenes", "Cenas")


@dataclass(frozen=True, slots=True)
class SceneLayer:
    """A product that is no known cube, mostly of scenes, as a layer.

    Attributes
    ----------
    product
        The ODC product document; its ``load`` hints give CRS and resolution.
    time_resolution
        ``solar`` for instants of acquisition, ``summary`` for datasets that start at midnight UTC.
    mission
        Names the folder that the layer is shown in, and the ranges of its colours.
    quality
        What its quality band says; None if nobody knows.
    """

    product: Mapping[str, Any]
    time_resolution: TimeResolution = "solar"
    mission: str = ""
    quality: QualityPolicy | None = field(default=None)

    @property
    def timeline(self) -> Timeline | None:
        """Its periods, as far as the name tells."""
        return timeline_of(str(self.product["name"])) if self.is_composite else None

    @property
    def is_composite(self) -> bool:
        """What starts at midnight is made of a period: a cube that odc_bdc has no definition of."""
        return self.time_resolution == "summary"


def cube_layer(cube: CubeSpec, *, indices: Sequence[str] = INDICES) -> dict[str, Any]:
    """Describe a cube's layer for datacube-ows; texts are `Text`."""
    title, about = Text.of(cube.title, cube.name), Text.of(cube.description)
    abstract = Text(
        f"{about.en} Licence: {cube.license}.".strip(),
        f"{about.pt} Licença: {cube.license}.".strip(),
    )
    period = period_title(cube.timeline)
    words = [cube.platform, cube.instrument, period, _FUNCTIONS.get(cube.function.name)]
    return _layer(cube.to_product(), title, abstract, "summary", cube_look(cube, indices)) | {
        "keywords": [w if isinstance(w, Text) else Text.same(w) for w in words if w]
    }


def scene_layer(scenes: SceneLayer, *, indices: Sequence[str] = INDICES) -> dict[str, Any]:
    """Describe the layer of a product of scenes for datacube-ows; texts are `Text`.

    Raises
    ------
    InvalidValueError
        If the product says neither CRS nor resolution (`native_grid`).
    """
    product = scenes.product
    name, about = str(product["name"]), str(product.get("description") or product["name"])
    licence = product.get("license")
    about = about.rstrip(".") + "."
    abstract = Text(
        f"{about} Licence: {licence}." if licence else about,
        f"{about} Licença: {licence}." if licence else about,
    )
    title = Text.same(name) if scenes.is_composite else Text(f"{name}, scenes", f"{name}, cenas")
    timeline = scenes.timeline
    words = [_mission(scenes.mission), period_title(timeline) if timeline else _SCENES]
    look = scene_look(scenes, indices)
    return _layer(product, title, abstract, scenes.time_resolution, look) | {"keywords": words}


def cube_look(cube: CubeSpec, indices: Sequence[str] = INDICES) -> Look:
    """Give what decides on the styles of a cube's layer."""
    quality = cube.quality if cube.function.picks_date else None
    return Look(cube.mission, quality, _days(cube.timeline), tuple(indices), cube.function)


def scene_look(scenes: SceneLayer, indices: Sequence[str] = INDICES) -> Look:
    """Give what decides on the styles of the layer of a product that is no known cube."""
    timeline = scenes.timeline
    days = _days(timeline) if timeline else None
    return Look(scenes.mission, scenes.quality, days, tuple(indices))


def layer_folders(
    cubes: Sequence[CubeSpec],
    scene_products: Sequence[SceneLayer],
    *,
    indices: Sequence[str],
    overviews: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Put all layers into folders: by sensor, in it by period from short to long, last the scenes.

    Cubes of one period follow each other by function.
    """
    missions: dict[str, dict[tuple[int, Text], list[dict[str, Any]]]] = {}

    def add(mission: str, timeline: Timeline | None, layer: dict[str, Any]) -> None:
        # Scenes come behind every period.
        if layer["name"] in overviews:
            layer = layer | {"low_res_product_name": overview_name(layer["name"])}
        key = (_days(timeline), period_title(timeline)) if timeline else (10**6, _SCENES)
        missions.setdefault(mission, {}).setdefault(key, []).append(layer)

    for cube in cubes:
        add(cube.mission, cube.timeline, cube_layer(cube, indices=indices))
    for scenes in scene_products:
        add(scenes.mission, scenes.timeline, scene_layer(scenes, indices=indices))
    order = {mission: i for i, mission in enumerate(_MISSIONS)}
    return [
        {
            "title": _mission(mission),
            "abstract": _about(_mission(mission)),
            "layers": [
                {"title": title, "abstract": _about(_mission(mission), title), "layers": layers}
                for (_, title), layers in sorted(parts.items(), key=lambda part: part[0][0])
            ],
        }
        for mission, parts in sorted(
            missions.items(), key=lambda part: (order.get(part[0], len(order) - 1.5), part[0])
        )
    ]


def period_title(timeline: Timeline) -> Text:
    """Name the length of a timeline's periods.

    Examples
    --------
    >>> period_title(Timeline("continuous", "month", 1))
    Text(en='Monthly', pt='Mensal')
    """
    if timeline.intervals:
        return Text("Seasons", "Estações")
    if timeline.step == 1:
        return {
            "day": Text("Daily", "Diário"),
            "month": Text("Monthly", "Mensal"),
            "year": Text("Yearly", "Anual"),
        }[timeline.unit]
    portuguese = {"day": "dias", "month": "meses", "year": "anos"}[timeline.unit]
    return Text(f"{timeline.step} {timeline.unit}s", f"{timeline.step} {portuguese}")


def timeline_of(product: str) -> Timeline | None:
    """Give the timeline that the name of a product of composites tells; None if it is silent.

    Examples
    --------
    >>> timeline_of("CB4_64_16D_STK_1")
    Timeline(schema='cyclic', unit='day', step=16, intervals=(), start=None)
    >>> timeline_of("MOD13Q1_6") is None
    True
    """
    # In product names `_` stands for the `-` of collections.
    head, _, version = product.rpartition("_")
    for text in (product, f"{head}-{version}", product.replace("_", "-")):
        try:
            name = CollectionName.parse(text)
        except InvalidValueError:
            continue
        if name.step and name.unit:
            return Timeline("cyclic" if name.unit == "day" else "continuous", name.unit, name.step)
    return None


def native_grid(product: Mapping[str, Any]) -> tuple[str, tuple[float, float]]:
    """Give the CRS (as ``str`` of an `odc.geo` CRS) and the pixel size (x, y) of a product.

    Raises
    ------
    InvalidValueError
        If the ``load`` hints lack them, or the CRS cannot be looked up.
    """
    load = product.get("load") or {}
    if lacking := [key for key in ("crs", "resolution") if not load.get(key)]:
        raise InvalidValueError(
            f"product {product['name']} has no native {' and no '.join(lacking)}, which map "
            "services need: add `load: {crs: EPSG:..., resolution: {x: ..., y: -...}}` to its "
            "document, and run `datacube product update`"
        )
    try:
        crs = CRS(load["crs"])
        y, x = crs.dimensions
        return str(crs), (float(load["resolution"][x]), float(load["resolution"][y]))
    except (KeyError, TypeError, CRSError) as e:
        raise InvalidValueError(
            f"product {product['name']}: `load` gives a crs and resolution {load['resolution']} "
            f"that do not fit, or a crs that this PROJ does not know ({type(e).__name__}: {e}); "
            "update the product"
        ) from e


def _days(timeline: Timeline) -> int:
    """Give the length of a timeline's period, one in the middle of a year."""
    middle = date(2019, 7, 1)
    period = next(timeline.covering(middle, middle), None)
    return (period.end - period.start).days + 1 if period else 1


def _mission(mission: str) -> Text:
    return _MISSIONS.get(mission) or Text.same(mission)


def _about(*titles: Text) -> Text:
    english, portuguese = (", ".join(t) for t in zip(*((t.en, t.pt) for t in titles), strict=True))
    return Text(f"Layers of {english}", f"Camadas de {portuguese}")


def _layer(
    product: Mapping[str, Any],
    title: Text,
    abstract: Text,
    time_resolution: TimeResolution,
    look: Look,
) -> dict[str, Any]:
    crs, resolution = native_grid(product)
    looks = styles(product["measurements"], look)
    names = {m["name"] for m in product["measurements"]}
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
        "image_processing": {"extent_mask_func": f"{rendering.__name__}.has_data"},
        "feature_info": {"custom_includes": feature_info.includes(names, look.quality)},
        "wcs": {"native_format": "GeoTIFF"},
        "patch_url_function": {"function": f"{guarded.__name__}.guarded_url"},
        "styling": {"default_style": looks[0]["name"], "styles": looks},
    }
