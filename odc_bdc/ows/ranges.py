"""Ranges: which times and which extent datacube-ows believes each layer to have.

They lie in the table ``ows.layer_ranges`` of the index. A layer without them is hidden from
clients. With each row lies a fingerprint of what it was made from, so that an update of a layer to
which nothing happened is one query.
"""

from __future__ import annotations

import math
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from json import dumps
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from odc.geo.crs import CRS
from odc.geo.geom import box
from sqlalchemy import text

from odc_bdc.errors import DatabaseError, first_line
from odc_bdc.grid import BBox, normalise_crs
from odc_bdc.ows.extra import require_ows, services_driver
from odc_bdc.ows.inventory import config_of_index
from odc_bdc.ows.parsed import ParsedConfig, named_layers, parsed_config, products_of
from odc_bdc.ows.versions import index_connection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from datacube import Datacube
    from odc.geo.geom import Geometry
    from sqlalchemy.engine import Connection

State: TypeAlias = Literal["current", "stale", "missing"]

FINGERPRINT, EXTENT, TILES = "odc_bdc", "odc_bdc_extent", "odc_bdc_tiles"
"""Keys in the column ``meta``: the fingerprint, the native extent, which the program
``datacube-ows-update`` would replace by a rougher one, and the number of tiles."""


@dataclass(frozen=True, slots=True)
class Contents:
    """How many tiles and datasets a layer had when its ranges were updated."""

    tiles: int
    datasets: int


@dataclass(frozen=True, slots=True)
class LayerUpdate:
    """What an update did to a layer; `reason` says why it failed."""

    layer: str
    action: Literal["updated", "unchanged", "failed"]
    reason: str = ""


def update_ranges(dc: Datacube, config: Mapping[str, Any] | None = None) -> list[LayerUpdate]:
    """Bring the ranges of all layers up to date; one that fails does not stop the others.

    The schema of datacube-ows is made if it is not there. The extent in the layer's own CRS is the
    datasets' own, on pixel borders, so that coverages are described on the cube's grid.

    Parameters
    ----------
    dc
        The open index, whose database user may write the table of ranges (see
        `odc_bdc.database.make_roles`); the first time one who may make its schema.
    config
        Configuration of datacube-ows for this index; if not given, that of all it has to publish.

    Raises
    ------
    DatabaseError
        If the index has a driver that cannot be served, or the schema cannot be made.
    MissingDependencyError
        If the extra ``[ows]`` is not installed.
    """
    require_ows()
    services_driver(dc.index.environment.index_driver)
    config = config_of_index(dc) if config is None else config
    states = range_states(dc, config)
    if all(state == "current" for state in states.values()):
        return [LayerUpdate(name, "unchanged") for name in states]
    _ensure_schema(dc)
    with parsed_config(config) as parsed:
        return [
            LayerUpdate(layer["name"], "unchanged")
            if states[layer["name"]] == "current"
            else _update_layer(dc, parsed, layer, config)
            for layer in named_layers(config["layers"])
        ]


def range_states(dc: Datacube, config: Mapping[str, Any]) -> dict[str, State]:
    """Tell for each layer whether its ranges are there and say what is in the index now."""
    stored = _stored_fingerprints(dc)
    states: dict[str, State] = {}
    for layer in named_layers(config["layers"]):
        name = layer["name"]
        if name not in stored:
            states[name] = "missing"
        else:
            current = stored[name] == _fingerprint(dc, layer, config)
            states[name] = "current" if current else "stale"
    return states


def stamps(connection: Connection) -> dict[str, str]:
    """Give for each layer that has ranges when they were written."""
    if not _has_ranges(connection):
        return {}
    query = text("SELECT layer, last_updated::text FROM ows.layer_ranges")
    return {row[0]: row[1] for row in connection.execute(query)}


def stored_dates(dc: Datacube) -> dict[str, list[date]]:
    """Give the dates that each layer is believed to have, in order."""
    return {
        name: sorted({datetime.fromisoformat(day).date() for day in days})
        for name, days in _stored(dc, "dates")
    }


def stored_extents(dc: Datacube) -> dict[str, Geometry]:
    """Give the box in degrees (EPSG:4326, longitude first) that each layer is believed to fill."""
    sides = ("left", "bottom", "right", "top")
    return {
        name: box(*(float(boxes["EPSG:4326"][side]) for side in sides), "EPSG:4326")
        for name, boxes in _stored(dc, "bboxes")
        if "EPSG:4326" in boxes
    }


def _stored(dc: Datacube, column: Literal["dates", "bboxes"]) -> list[Any]:
    with index_connection(dc) as connection:
        if not _has_ranges(connection):
            return []
        query = text(f"SELECT layer, {column} FROM ows.layer_ranges")  # noqa: S608 (of two words)
        return list(connection.execute(query))


def hidden_layers(dc: Datacube, config: Mapping[str, Any] | None = None) -> list[str]:
    """Give the layers that have no ranges, so that clients do not see them."""
    config = config_of_index(dc) if config is None else config
    return [name for name, state in range_states(dc, config).items() if state == "missing"]


def layer_contents(dc: Datacube) -> dict[str, Contents]:
    """Count tiles and datasets of the layers that have ranges, as of their last update."""
    query = text(
        "SELECT layer, CAST(meta ->> :tiles AS integer), "
        "(SELECT sum(CAST(p ->> 'datasets' AS integer)) "
        "FROM jsonb_array_elements(meta -> :fingerprint -> 'products') AS p) "
        "FROM ows.layer_ranges "
        "WHERE meta -> :fingerprint IS NOT NULL AND meta -> :tiles IS NOT NULL"
    )
    with index_connection(dc) as connection:
        found = connection.execute(query, {"tiles": TILES, "fingerprint": FINGERPRINT})
        return {row[0]: Contents(row[1], row[2]) for row in found}


def native_bbox(
    dc: Datacube, products: Sequence[str], crs: str, resolution: tuple[float, float]
) -> BBox | None:
    """Give the extent of the products' datasets in a CRS, outwards to pixel borders.

    Parameters
    ----------
    products
        Names of products; ``load: align`` of the first says where pixels lie, 0 if it is missing.
    crs, resolution
        Of the pixels, x and y.

    Returns
    -------
    tuple
        xmin, ymin, xmax, ymax; None if there are no datasets.
    """
    load = dc.index.products.get_by_name_unsafe(products[0]).definition.get("load") or {}
    align = load.get("align") or {}
    vertical, horizontal = CRS(crs).dimensions
    boxes = [_bounds(ds, crs) for ds in dc.index.datasets.search(product=list(products))]
    if not boxes:
        return None
    left, bottom, right, top = zip(*boxes, strict=True)
    x = _snap(min(left), max(right), resolution[0], align.get(horizontal, 0))
    y = _snap(min(bottom), max(top), resolution[1], align.get(vertical, 0))
    return x[0], y[0], x[1], y[1]


def _bounds(dataset: Any, crs: str) -> BBox:
    bounds = dataset.bounds
    if normalise_crs(dataset.crs) != normalise_crs(crs):
        bounds = dataset.extent.to_crs(crs).boundingbox
    return bounds.left, bounds.bottom, bounds.right, bounds.top


def _snap(low: float, high: float, resolution: float, align: float) -> tuple[float, float]:
    pixel, eps = abs(resolution), 1e-3
    first = math.floor((low - align) / pixel + eps)
    last = math.ceil((high - align) / pixel - eps)
    return align + first * pixel, align + last * pixel


def _fingerprint(
    dc: Datacube, layer: Mapping[str, Any], config: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "products": [_product_state(dc, name) for name in products_of(layer)],
        "time_resolution": layer.get("time_resolution"),
        "crss": sorted(config["global"]["published_CRSs"]),
    }


def _product_state(dc: Datacube, name: str) -> dict[str, Any] | None:
    product = dc.index.products.get_by_name(name)
    if product is None:
        return None
    changed = dc.index.products.most_recent_change(product)
    return {
        "name": name,
        "datasets": dc.index.datasets.count(product=name),
        "changed": changed.astimezone(UTC).isoformat() if changed else None,
        "load": product.definition.get("load"),
    }


def _stored_fingerprints(dc: Datacube) -> dict[str, Any]:
    with index_connection(dc) as connection:
        if not _has_ranges(connection):
            return {}
        query = text(
            "SELECT layer, CASE WHEN bboxes @> (meta -> :extent) AND meta -> :tiles IS NOT NULL "
            "THEN meta -> :fingerprint END FROM ows.layer_ranges"
        )
        keys = {"fingerprint": FINGERPRINT, "extent": EXTENT, "tiles": TILES}
        return {row[0]: row[1] for row in connection.execute(query, keys)}


def _has_ranges(connection: Any) -> bool:
    return bool(connection.execute(text("SELECT to_regclass('ows.layer_ranges')")).scalar())


def _ensure_schema(dc: Datacube) -> None:
    from odc_bdc.ows.upstream import AbortRun  # noqa: PLC0415 (an extra)

    with index_connection(dc) as connection:
        if _has_ranges(connection):
            return
    try:
        with redirect_stdout(StringIO()):
            _ows_index(dc).create_schema(dc)
    except AbortRun as e:
        raise DatabaseError(
            f"the schema of datacube-ows cannot be made: {e}; run `odc-bdc ows update` once as a "
            "superuser of the database"
        ) from e


def _ows_index(dc: Datacube) -> Any:
    """Give what writes the ranges: the same as reads them in the services."""
    from odc_bdc.ows.upstream import ows_index_driver_by_name  # noqa: PLC0415 (an extra)

    return ows_index_driver_by_name(services_driver(dc.index.environment.index_driver)).ows_index()


def _update_layer(
    dc: Datacube, parsed: ParsedConfig, layer: Mapping[str, Any], config: Mapping[str, Any]
) -> LayerUpdate:
    name = layer["name"]
    if name not in parsed.layers:
        return LayerUpdate(name, "failed", parsed.complaint_about(layer))
    try:
        fingerprint = _fingerprint(dc, layer, config)  # before: what comes meanwhile is stale
        with redirect_stdout(StringIO()):
            _ows_index(dc).create_range_entry(parsed.layers[name], {})
        written = _complete(dc, parsed.layers[name], fingerprint)
    except Exception as e:  # noqa: BLE001 (datacube-ows raises all kinds; the other layers go on)
        return LayerUpdate(name, "failed", first_line(e))
    return LayerUpdate(name, "updated") if written else LayerUpdate(name, "failed", "no extent")


def _complete(dc: Datacube, layer: Any, fingerprint: Mapping[str, Any]) -> bool:
    """Add the fingerprint and the native extent, under all names of its CRS, to a layer's row."""
    resolution = (layer.resolution_x, layer.resolution_y)
    found = native_bbox(dc, layer.product_names, layer.native_CRS, resolution)
    if found is None:
        return False
    left, bottom, right, top = found
    sides = {"left": left, "bottom": bottom, "right": right, "top": top}
    statement = text(
        "UPDATE ows.layer_ranges SET bboxes = bboxes || CAST(:bbox AS jsonb), "
        "meta = meta || CAST(:meta AS jsonb), last_updated = now() WHERE layer = :layer"
    )
    native = CRS(layer.native_CRS)
    aliases = [key for key, crs in layer.global_cfg.crses.items() if crs == native]
    extent = dict.fromkeys(aliases, sides)
    meta = {FINGERPRINT: fingerprint, EXTENT: extent, TILES: _tiles(dc, layer.product_names)}
    values = {"layer": layer.name, "bbox": dumps(extent), "meta": dumps(meta)}
    with index_connection(dc) as connection:
        changed = connection.execute(statement, values).rowcount
        connection.commit()
    return bool(changed)


def _tiles(dc: Datacube, products: Sequence[str]) -> int:
    """Count the regions of datasets; all datasets without one count as one."""
    found = dc.index.datasets.search_returning(("region_code",), product=list(products))
    return len({row.region_code for row in found})
