"""Where datasets lie, on a map."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Literal

import ipyleaflet as ipl
import ipywidgets as ipw
import numpy as np
import shapely

from odc_bdc.cube import shipped_cubes
from odc_bdc.errors import InvalidValueError
from odc_bdc.grid import BDC_GRIDS, find_grid, published_tiles, tiles_to_geojson
from odc_bdc.notebook.showing import base_map
from odc_bdc.notebook.tables import facts_of
from odc_bdc.notebook.words import say

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from datacube.model import Dataset

    from odc_bdc.notebook.sources import Bounds

_KINDS = {"built": "#1a7f37", "live": "#bc4c00", "scene": "#0969da"}
_TILES = ("#0969da", "#1a7f37", "#bc4c00", "#8250df", "#bf3989", "#9a6700", "#116329", "#6e7781")
_GRID = {"color": "#12355b", "weight": 1, "fillOpacity": 0, "dashArray": "2 4"}
_MOST_ROWS = 12
_MOST_ENTRIES = 10
_AROUND = 1.5  # degrees of the tile grid that are drawn around the datasets


def bdc_plot_datasets(
    datasets: Iterable[Dataset],
    zoom: int | None = 4,
    *,
    colour: Literal["tile", "kind"] = "tile",
    grid: str | None = None,
    language: str = "en",
    basemap: Any = None,
) -> ipl.Map:
    """Draw the footprints of datasets on a map; a click tells which datasets lie there.

    Parameters
    ----------
    datasets
        As ``dc.find_datasets(product=...)`` gives them.
    zoom
        Of the map at the beginning; None shows all footprints as large as they fit.
    colour
        By ``tile``, or by ``kind``: built, live or scene. Outlines of live ones are dashed anyway.
    grid
        Grid whose tiles are drawn too, such as ``BDC_LG_V2``; by default that of the datasets'
        cube, none for scenes.
    language
        ``en`` or ``pt``.
    basemap
        Whatever `ipyleaflet` takes as one. None for none: a base map comes from another host.

    Returns
    -------
    ipyleaflet.Map
        Its layers: countries, tiles of the grid, and one of a feature for each dataset.

    Raises
    ------
    InvalidValueError
        If there are no datasets, one does not say where it lies, or a parameter makes no sense.
    UnknownNameError
        If there is no such grid.
    """
    features = [_feature(dataset) for dataset in datasets]
    if not features:
        raise InvalidValueError("there are no datasets to draw: dc.find_datasets found none")
    if colour not in {"tile", "kind"}:
        raise InvalidValueError(f"colour={colour!r}: footprints are coloured by tile or by kind")
    places = [shapely.geometry.shape(feature["geometry"]) for feature in features]
    bounds: Bounds = tuple(shapely.total_bounds(np.array(places)).tolist())
    colours = _colours([f["properties"] for f in features], colour)
    for feature in features:
        feature["properties"]["style"] = _style(feature["properties"], colours, colour)
    layer = ipl.GeoJSON(
        data={"type": "FeatureCollection", "features": features},
        hover_style={"weight": 4},
        name=say("footprints", language),
    )
    made = base_map(bounds, basemap, language)
    if zoom is not None:
        made.zoom = zoom
    for name in [grid] if grid else _grids(features):
        made.add(_grid_layer(name, bounds, language))
    made.add(layer)
    made.add(ipl.LayersControl(position="topright"))
    made.add(_key(features, colours, colour, language))
    layer.on_click(_teller(made, features, places, language))
    return made


def _feature(dataset: Dataset) -> dict[str, Any]:
    facts = facts_of(dataset)
    place = dataset.extent
    if place is None or place.crs is None:
        raise InvalidValueError(
            f"dataset {facts['id']} of {facts['product']} does not say where it lies"
        )
    # Edges are straight in their own CRS only.
    pieces = place.length / 64
    lonlat = place.segmented(pieces).to_crs("EPSG:4326")
    outline = shapely.set_precision(lonlat.geom, 1e-5)
    properties = {key: value for key, value in facts.items() if value is not None}
    return {
        "type": "Feature",
        "id": facts["id"],
        "properties": properties,
        "geometry": shapely.geometry.mapping(outline),
    }


def _colours(facts: Sequence[dict[str, Any]], colour: str) -> dict[str, str]:
    """Give the colour of each tile or kind."""
    if colour == "kind":
        present = {f["kind"] for f in facts}
        return {kind: c for kind, c in _KINDS.items() if kind in present}
    tiles = sorted({str(f.get("tile", "")) for f in facts})
    return {tile: _TILES[i % len(_TILES)] for i, tile in enumerate(tiles)}


def _style(facts: dict[str, Any], colours: dict[str, str], colour: str) -> dict[str, Any]:
    shade = colours[str(facts.get(colour, ""))]
    dashed = {"dashArray": "6 5"} if facts["kind"] == "live" else {}
    return {"color": shade, "fillColor": shade, "weight": 2, "fillOpacity": 0.15, **dashed}


def _grids(features: Sequence[dict[str, Any]]) -> list[str]:
    """Give the grids of the cubes that datasets are of."""
    cubes = shipped_cubes()
    products = dict.fromkeys(f["properties"]["product"] for f in features)
    names = dict.fromkeys(cubes[p].grid.name for p in products if p in cubes)
    return [name for name in names if name in BDC_GRIDS]


def _grid_layer(name: str, bounds: Bounds, language: str) -> Any:
    """Draw the tiles of a grid around the datasets."""
    found = find_grid(name)
    west, south, east, north = bounds
    around = shapely.box(west - _AROUND, south - _AROUND, east + _AROUND, north + _AROUND)
    tiles = found.tile_ids(shapely.geometry.mapping(around), "EPSG:4326")
    if found.name in BDC_GRIDS:
        tiles = [tile for tile in tiles if tile in set(published_tiles(found.name))]
    return ipl.GeoJSON(
        data=tiles_to_geojson(found, tiles),
        style=_GRID,
        name=say("grid", language, grid=found.name),
    )


def _key(
    features: Sequence[dict[str, Any]], colours: dict[str, str], colour: str, language: str
) -> Any:
    """Say what colours mean, and how many datasets there are."""
    lines = [escape(say("datasets", language, count=len(features)))]
    for text, shade in [*colours.items()][:_MOST_ENTRIES]:
        label = say(text, language) if colour == "kind" else text
        lines.append(f'<span style="color:{shade}">&#9632;</span> {escape(label or "-")}')
    if len(colours) > _MOST_ENTRIES:
        lines.append(f"&#8230; {len(colours)}")
    text = "<br>".join(lines)
    box = ipw.HTML(f'<div style="padding:2px 8px;line-height:1.4">{text}</div>')
    return ipl.WidgetControl(widget=box, position="bottomright")


def _teller(
    on: ipl.Map, features: Sequence[dict[str, Any]], places: Sequence[Any], language: str
) -> Any:
    """Give what opens a popup with the datasets at the place of a click."""
    state: dict[str, Any] = {"popup": None}

    def tell(**event: Any) -> None:
        lat, lon = event["coordinates"]
        here = shapely.Point(lon, lat)
        found = [
            feature["properties"]
            for feature, place in zip(features, places, strict=True)
            if place.intersects(here)
        ]
        if state["popup"] is not None:
            on.remove(state["popup"])
        state["popup"] = ipl.Popup(
            location=(lat, lon),
            child=ipw.HTML(_told(found, language)),
            close_on_escape_key=True,
            max_width=420,
        )
        on.add(state["popup"])

    return tell


def _told(found: Sequence[dict[str, Any]], language: str) -> str:
    """Write the datasets at a place as HTML, sorted by date; nothing in them is read as HTML."""
    rows = sorted(found, key=lambda f: (f["date"], f["product"]))
    cells = "".join(
        "<tr>"
        + "".join(
            f'<td style="padding:0 6px">{escape(str(text))}</td>'
            for text in (
                f["date"],
                f.get("tile", ""),
                f["product"],
                say(f["kind"], language),
                _share(f),
            )
        )
        + "</tr>"
        for f in rows[:_MOST_ROWS]
    )
    more = f"<br>&#8230; {len(rows)}" if len(rows) > _MOST_ROWS else ""
    return f"<table>{cells}</table>{more}"


def _share(facts: dict[str, Any]) -> str:
    clear = facts.get("clear_fraction")
    return "" if clear is None else f"{clear:.0%}"
