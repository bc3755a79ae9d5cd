"""One STAC item becomes one EO3 document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dateutil.parser
import pystac
from odc.geo.crs import CRS
from pystac.errors import STACError

from odc_bdc.errors import InvalidValueError, SceneError
from odc_bdc.grid import normalise_crs
from odc_bdc.indexing.documents import DOCUMENT_SUFFIX, RasterFile, dataset_document, read_header
from odc_bdc.naming import dataset_id

if TYPE_CHECKING:
    import uuid

    from eodatasets3.model import DatasetDoc

    from odc_bdc.indexing.recipe import IngestRecipe

_KEPT = ("eo:cloud_cover", "landsat:wrs_path", "landsat:wrs_row")


def find_items(sources: Sequence[Path]) -> Iterator[Path]:
    """Give the STAC item files among `sources`: files as they are, folders searched for items.

    Raises
    ------
    InvalidValueError
        If a source does not exist, or a folder holds no item.
    """
    for source in sources:
        if source.is_file():
            yield source
        elif source.is_dir():
            found = [p for p in sorted(source.rglob("*.json")) if _is_feature(p)]
            if not found:
                raise InvalidValueError(f"{source}: no STAC item (*.json) in this folder")
            yield from found
        else:
            raise InvalidValueError(f"{source}: no such file or folder")


def _is_feature(path: Path) -> bool:
    """Tell items from collections and catalogs; what cannot be read counts, to be reported."""
    try:
        doc = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True
    return isinstance(doc, dict) and doc.get("type") == "Feature"


def read_item(path: Path) -> pystac.Item:
    """Read a STAC item with its asset hrefs made absolute; `SceneError` says what is wrong."""
    try:
        doc = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise SceneError(f"{path}: cannot be read as JSON: {e}") from e
    if not isinstance(doc, dict) or doc.get("type") != "Feature":
        raise SceneError(f"{path}: not a STAC item")
    properties = doc.get("properties") or {}
    if not (properties.get("datetime") or properties.get("start_datetime")):
        raise SceneError(f"{path}: the item has no datetime")
    try:
        item = pystac.Item.from_dict(doc, href=str(path.resolve()))
        item.make_asset_hrefs_absolute()
    except (STACError, KeyError, TypeError, ValueError, AttributeError) as e:
        raise SceneError(f"{path}: not a valid STAC item: {type(e).__name__}: {e}") from e
    return item


def item_dataset_id(item: pystac.Item) -> uuid.UUID:
    """Give the id of the dataset that an item becomes; it follows from collection and item id."""
    return dataset_id("scene", item.collection_id or "", item.id)


def document_path(item_path: Path, item: pystac.Item, out: Path | None) -> Path:
    """Give where an item's EO3 document belongs: beside the item, or under `out`."""
    name = f"{item.id}{DOCUMENT_SUFFIX}"
    return out / (item.collection_id or "") / name if out else item_path.parent / name


def item_document(
    item: pystac.Item, recipe: IngestRecipe, product: Mapping[str, Any], location: Path
) -> DatasetDoc:
    """Make an item's EO3 document; the headers of its files are read and believed.

    Parameters
    ----------
    product
        ODC product document: its measurements say which dtypes the files must have, its ``load``
        which CRS, if any.

    Raises
    ------
    SceneError
        If the item is of another collection, lacks an asset, or a file is missing, truncated, or
        of another CRS or dtype than item and product say.
    """
    if item.collection_id != recipe.collection:
        raise SceneError(
            f"item {item.id}: is of collection {item.collection_id!r}; recipe {recipe.name} is for "
            f"{recipe.collection!r}"
        )
    files = {name: _file(item, name, key) for name, key in recipe.assets.items()}
    _check_against_item(item, files)
    _check_against_product(item, files, product)
    return dataset_document(
        dataset_id=item_dataset_id(item),
        product=recipe.product,
        label=item.id,
        files=files,
        properties=_properties(item, recipe),
        location=location,
    )


def _file(item: pystac.Item, measurement: str, key: str) -> RasterFile:
    asset = item.assets.get(key)
    if asset is None:
        known = ", ".join(sorted(item.assets))
        raise SceneError(f"item {item.id}: no asset {key!r} for {measurement}; it has: {known}")
    return read_header(asset.get_absolute_href() or asset.href)


def _check_against_item(item: pystac.Item, files: Mapping[str, RasterFile]) -> None:
    declared = next(
        (
            item.properties[key]
            for key in ("proj:code", "proj:epsg", "proj:wkt2")
            if item.properties.get(key)
        ),
        None,
    )
    if declared is None:
        return
    try:
        crs = normalise_crs(f"EPSG:{declared}" if isinstance(declared, int) else declared)
    except InvalidValueError as e:
        raise SceneError(f"item {item.id}: its CRS cannot be read: {e}") from e
    _check_crs(files, crs, f"item {item.id}")


def _check_crs(files: Mapping[str, RasterFile], crs: CRS, said_by: str) -> None:
    for file in files.values():
        if CRS(file.crs) != crs:
            raise SceneError(f"{file.href}: wrong CRS {file.crs}; {said_by} says {crs}")


def _check_against_product(
    item: pystac.Item, files: Mapping[str, RasterFile], product: Mapping[str, Any]
) -> None:
    load = product.get("load") or {}
    if load.get("crs"):
        _check_crs(files, normalise_crs(load["crs"]), f"product {product['name']}")
    for measurement in product["measurements"]:
        name, dtype = measurement["name"], measurement["dtype"]
        if name not in files:
            raise SceneError(f"item {item.id}: the recipe has no asset for measurement {name}")
        if files[name].dtype != dtype:
            raise SceneError(
                f"{files[name].href}: dtype {files[name].dtype}; product {product['name']} says "
                f"{dtype} for {name}"
            )


def _properties(item: pystac.Item, recipe: IngestRecipe) -> dict[str, Any]:
    given = item.properties
    when = given.get("datetime") or given["start_datetime"]
    instruments = given.get("instruments") or []
    properties: dict[str, Any] = {
        "datetime": _utc(item, when),
        "odc:processing_datetime": _utc(item, given.get("updated") or given.get("created") or when),
        "odc:file_format": "GeoTIFF",
        "odc:region_code": _tile(given.get(recipe.tile_property)),
        "eo:platform": given.get("platform"),
        "eo:instrument": "_".join(instruments) if isinstance(instruments, list) else instruments,
        "eo:gsd": given.get("gsd"),
        **{key: given.get(key) for key in _KEPT},
    }
    if given.get("start_datetime") and given.get("end_datetime"):
        properties["dtr:start_datetime"] = _utc(item, given["start_datetime"])
        properties["dtr:end_datetime"] = _utc(item, given["end_datetime"])
    return {key: value for key, value in properties.items() if value not in (None, "")}


def _tile(value: Any) -> str | None:
    if isinstance(value, list):
        return str(value[0]) if value else None
    return None if value is None else str(value)


def _utc(item: pystac.Item, text: str) -> datetime:
    try:
        parsed = dateutil.parser.isoparse(str(text))
    except ValueError as e:
        raise SceneError(f"item {item.id}: {text!r} is not a date: {e}") from e
    # STAC wants a zone; BDC's older items have none and mean UTC.
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
