"""STAC items of any version in one form: pure functions that open no file."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import dateutil.parser
from eodatasets3.properties import normalise_platforms

from odc_bdc.errors import SceneError
from odc_bdc.indexing.archive import SUFFIXES, Member, archive_suffix
from odc_bdc.indexing.href import absolute_href
from odc_bdc.indexing.item_grid import (
    PixelGrid,
    Place,
    Projection,
    box_of,
    is_finite,
    item_grid,
    shown,
    size_of,
)
from odc_bdc.indexing.moment import as_utc
from odc_bdc.indexing.sources.search import TILE_NAMES
from odc_bdc.naming import dataset_id

if TYPE_CHECKING:
    import uuid

    from odc_bdc.indexing.recipe import AssetRule, Condition, Correction, IngestRecipe

_WRS = ("landsat:wrs_path", "landsat:wrs_row")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_FIELD = re.compile(r"\{([^{}]+)\}")
_SHA256 = "1220"  # how a multihash of SHA-256 begins: its code, and its 32 bytes


@dataclass(frozen=True, slots=True)
class ItemFile:
    """What an item tells of the file of a measurement; None where it is silent.

    The file is an asset, or lies in an asset that is an archive.

    Attributes
    ----------
    href
        Path or address of the asset, absolute as far as that of the item is; without access token.
    key
        Asset key.
    band
        Number of the band in the file, from 1.
    shape
        Rows and columns, if the item tells them.
    grid
        Pixel grid, told by the item or that of its tile.
    dtype, nodata, scale, offset
        How the file stores values; NaN is no nodata value of an integer type.
    size
        Bytes of the asset.
    sha256
        Checksum of the asset, hexadecimal.
    member
        Name of the file in the asset; None if the asset is the file.
    """

    href: str
    key: str
    band: int
    shape: tuple[int, int] | None
    grid: PixelGrid | None
    dtype: str | None = None
    nodata: float | None = None
    scale: float | None = None
    offset: float | None = None
    size: int | None = None
    sha256: str | None = None
    member: str | None = None

    @property
    def path(self) -> str:
        """What is opened: path, address, or the name that GDAL has for a file in an archive."""
        return self.href if self.member is None else Member(self.href, self.member).href


@dataclass(frozen=True)
class NormalisedItem:
    """A STAC item as far as it is indexed, the same for all versions of STAC.

    Attributes
    ----------
    collection, id
        As the item has them.
    identity
        What tells the scene from others of the collection; the id, unless the recipe has a rule.
    href
        Path or address of the item.
    time
        Nominal time, UTC.
    processed
        When the item was last changed, if it tells, else `time`.
    start, end
        Period, if the item has one.
    tile
        Tile, or path and row.
    files
        By measurement.
    properties
        Others that EO3 has, under its names.
    """

    collection: str
    id: str
    identity: str
    href: str
    time: datetime
    processed: datetime
    start: datetime | None
    end: datetime | None
    tile: str | None
    files: Mapping[str, ItemFile] = field(hash=False)
    properties: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @cached_property
    def dataset_id(self) -> uuid.UUID:
        """Id of the dataset that the item becomes; it follows from collection and item."""
        return dataset_id("scene", self.collection, self.identity)


def normalise_item(
    document: Mapping[str, Any], recipe: IngestRecipe, *, href: str
) -> NormalisedItem:
    """Bring a STAC item of version 0.8 to 1.1 into one form.

    Parameters
    ----------
    document
        The parsed JSON as it is.
    href
        Path or address that relative hrefs of assets start from.

    Raises
    ------
    SceneError
        If it is no item, is of another collection or another product, lacks a date or an asset, or
        tells something that cannot be.
    """
    item_id, properties, assets = _parts(document, href)
    where = f"item {item_id}"
    _check_collection(document, where, recipe)
    properties = _mended(properties, item_id, recipe)
    _check_conditions(properties, where, recipe.conditions)
    when, start, end = _times(properties, where)
    tile = _tile(properties, where, recipe.tile_property)
    processed = _time(properties, "updated", where) or _time(properties, "created", where)
    return NormalisedItem(
        collection=recipe.collection,
        id=item_id,
        identity=_identity(properties, item_id, recipe.id_property),
        href=href,
        time=when,
        processed=processed or when,
        start=start,
        end=end,
        tile=tile,
        files=_files(
            _Assets(
                assets,
                properties,
                Projection.told_by(properties, where),
                Place(tile, box_of(document.get("bbox"))),
                item_id,
                where,
                href,
            ),
            recipe,
        ),
        properties=_properties(properties, where),
    )


def item_identity(document: Mapping[str, Any], recipe: IngestRecipe, *, href: str) -> str:
    """Give what tells an item's scene from others of the collection, and read no more than that.

    Raises
    ------
    SceneError
        If it is no item, is of another collection, or lacks what the recipe takes for its id.
    """
    item_id, properties, _ = _parts(document, href)
    _check_collection(document, f"item {item_id}", recipe)
    if recipe.id_property is None:
        return item_id
    return _identity(_mended(properties, item_id, recipe), item_id, recipe.id_property)


def belongs_to(document: Mapping[str, Any], recipe: IngestRecipe) -> bool:
    """Tell whether an item may be one of a recipe's product, and not one of its siblings'.

    A collection may hold scenes of several products, as landsat-2 does; those of others are no
    faults. An item that is broken, or does not tell, may be one: `normalise_item` says why not.
    """
    if not recipe.conditions:
        return True
    try:
        item_id, properties, _ = _parts(document, "")
    except SceneError:
        return True
    properties = _mended(properties, item_id, recipe)
    told = ((condition, properties.get(condition.name)) for condition in recipe.conditions)
    return all(value is None or condition.holds(value) for condition, value in told)


def _mended(properties: Mapping[str, Any], item_id: str, recipe: IngestRecipe) -> Mapping[str, Any]:
    for quirk in recipe.quirks:
        properties = quirk(properties, item_id)
    return properties


def _parts(document: Any, href: str) -> tuple[str, Mapping[str, Any], Mapping[str, Any]]:
    if not isinstance(document, Mapping) or document.get("type") != "Feature":
        raise SceneError(f"{href}: not a STAC item")
    item_id = document.get("id")
    if not isinstance(item_id, str) or not item_id:
        raise SceneError(f"{href}: not a STAC item: it has no id")
    _check_text(item_id, f"{href}: id")
    properties, assets = document.get("properties"), document.get("assets")
    for part, value in (("properties", properties), ("assets", assets)):
        if not isinstance(value, Mapping):
            raise SceneError(f"item {item_id}: not a STAC item: it has no {part}")
    return item_id, properties or {}, assets or {}


def _check_collection(document: Mapping[str, Any], where: str, recipe: IngestRecipe) -> None:
    found = document.get("collection")
    if found != recipe.collection:
        raise SceneError(
            f"{where}: is of collection {shown(found)}; recipe {recipe.name} is for "
            f"{recipe.collection!r}"
        )


def _check_conditions(
    properties: Mapping[str, Any], where: str, conditions: Sequence[Condition]
) -> None:
    for condition in conditions:
        value = properties.get(condition.name)
        if not condition.holds(value):
            raise SceneError(
                f"{where}: its {condition.name} is {shown(value)}, so it is of another product; "
                f"this recipe takes {condition}"
            )


def _identity(properties: Mapping[str, Any], item_id: str, name: str | None) -> str:
    if name is None:
        return item_id
    value = _text(properties, name, f"item {item_id}")
    if value is None:
        raise SceneError(f"item {item_id}: has no {name}, which the recipe takes for its id")
    return value


def _times(
    properties: Mapping[str, Any], where: str
) -> tuple[datetime, datetime | None, datetime | None]:
    start, end = (
        _time(properties, "start_datetime", where),
        _time(properties, "end_datetime", where),
    )
    when = _time(properties, "datetime", where) or start
    if when is None:
        raise SceneError(f"{where}: the item has no datetime")
    if start is None or end is None:
        return when, None, None
    if end < start:
        raise SceneError(f"{where}: ends on {end:%Y-%m-%d}, before it starts ({start:%Y-%m-%d})")
    return when, start, end


def _time(properties: Mapping[str, Any], key: str, where: str) -> datetime | None:
    text = properties.get(key)
    if text is None or text == "":
        return None
    try:
        return as_utc(_parse_time(text))
    except (ValueError, TypeError, OverflowError) as e:
        raise SceneError(f"{where}: {key}: {shown(text)} is not a date") from e


def _parse_time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return dateutil.parser.isoparse(text)


def _tile(properties: Mapping[str, Any], where: str, name: str) -> str | None:
    # The BDC's items of 2020 and 2021 have one tile, later ones a list.
    for key in (name, *TILE_NAMES):
        value = properties.get(key)
        if isinstance(value, list):
            value = value[0] if value else None
        if value is not None:
            return _text({key: value}, key, where)
    return None


@dataclass(frozen=True, slots=True)
class _Assets:
    """The assets of an item, and what else of it tells of their files."""

    assets: Mapping[str, Any]
    properties: Mapping[str, Any]
    projection: Projection
    place: Place
    item_id: str
    where: str
    base: str


def _files(given: _Assets, recipe: IngestRecipe) -> dict[str, ItemFile]:
    return {name: _file(given, rule, name, recipe) for name, rule in recipe.rules.items()}


def _file(given: _Assets, rule: AssetRule, measurement: str, recipe: IngestRecipe) -> ItemFile:
    key, asset, href = _asset(given, rule, measurement)
    where = f"{given.where}: asset {key!r}"
    absolute = absolute_href(href, given.base)
    member = _member(given, rule, measurement, absolute)
    if member is None and archive_suffix(absolute):
        raise SceneError(
            f"{where} is an archive, {absolute}; recipe {recipe.name} must name the member in it "
            f"that is {measurement}, as in {{asset: {key}, member: '{{id}}_{measurement}.TIF'}}"
        )
    shape, grid = item_grid(asset, given.projection, given.place, recipe, where)
    if member is None:
        told = _encoding(asset, given.properties, rule.band)
    else:
        told = _encoding_of_member(asset, given.properties, measurement)
    if correction := recipe.corrections.get(measurement):
        told = _corrected(told, correction)
    return ItemFile(
        absolute,
        key,
        rule.band,
        shape,
        grid,
        *told,
        size=size_of(asset.get("file:size", asset.get("bdc:size"))),
        sha256=_sha256(asset.get("file:checksum", asset.get("checksum:multihash"))),
        member=member,
    )


def _asset(given: _Assets, rule: AssetRule, measurement: str) -> tuple[str, Mapping[str, Any], str]:
    """Give key, asset and href of a measurement."""
    key = next((key for key in rule.keys if key in given.assets), None)
    if key is None:
        wanted = " or ".join(map(repr, rule.keys))
        known = shown(", ".join(sorted(given.assets)))[1:-1] or "none"
        raise SceneError(f"{given.where}: no asset {wanted} for {measurement}; it has: {known}")
    asset = given.assets[key]
    href = asset.get("href") if isinstance(asset, Mapping) else None
    if not isinstance(href, str) or not href:
        raise SceneError(f"{given.where}: asset {key!r} has no href")
    _check_text(href, f"{given.where}: href of asset {key!r}")
    return key, asset, href


def _member(given: _Assets, rule: AssetRule, measurement: str, archive: str) -> str | None:
    """Give the name of the file in an archive that a recipe means; None if it means the asset."""
    if rule.member is None:
        return None
    if archive_suffix(archive) is None:
        raise SceneError(
            f"{given.where}: {measurement} is a member of {archive}, which is no archive "
            f"({', '.join(SUFFIXES)})"
        )

    def value(field: re.Match[str]) -> str:
        if field[1] in ("id", "measurement"):
            return given.item_id if field[1] == "id" else measurement
        text = _text(given.properties, field[1], given.where)
        if text is None:
            raise SceneError(
                f"{given.where}: has no {field[1]}, which the recipe wants in the name of the "
                f"member for {measurement}"
            )
        return text

    return _FIELD.sub(value, rule.member)


_Encoding = tuple[str | None, float | None, float | None, float | None]


def _encoding(asset: Mapping[str, Any], properties: Mapping[str, Any], band: int) -> _Encoding:
    """Give dtype, nodata, scale and offset, as far as an asset tells them.

    Scale and offset are those of STAC's raster extension; what the BDC writes into ``eo:bands`` is
    0.0001 for counts and quality as well.
    """
    told = _band(asset.get("raster:bands"), band) or _band(asset.get("bands"), band)
    if told is not None:
        scale, offset = (told.get(k, told.get(f"raster:{k}")) for k in ("scale", "offset"))
        dtype, nodata = _dtype(told.get("data_type")), _nodata(told.get("nodata"))
        return dtype, nodata, _number(scale), _number(offset)
    listed = asset.get("eo:bands")
    number = listed[0] if isinstance(listed, list) and listed else None
    if isinstance(number, int):  # STAC 0.9: the position in the list of the item
        told = _band(properties.get("eo:bands"), number + 1)
    else:
        told = _band(listed, band)
    if told is None:
        return None, None, None, None
    return _dtype(told.get("data_type")), _nodata(told.get("nodata")), None, None


def _encoding_of_member(
    asset: Mapping[str, Any], properties: Mapping[str, Any], measurement: str
) -> _Encoding:
    """Give dtype and nodata of a file in an archive, whose bands are told together, by name."""
    listed = asset.get("eo:bands") or properties.get("eo:bands")
    for band in listed if isinstance(listed, list) else ():
        if isinstance(band, Mapping) and band.get("name") == measurement:
            return _dtype(band.get("data_type")), _nodata(band.get("nodata")), None, None
    return None, None, None, None


def _band(bands: Any, number: int) -> Mapping[str, Any] | None:
    if not isinstance(bands, list) or not 1 <= number <= len(bands):
        return None
    band = bands[number - 1]
    return band if isinstance(band, Mapping) else None


def _corrected(told: _Encoding, right: Correction) -> _Encoding:
    dtype, nodata, scale, offset = told
    return (
        dtype if right.dtype is None else right.dtype,
        nodata if right.nodata is None else right.nodata,
        scale if right.scale is None else right.scale,
        offset if right.offset is None else right.offset,
    )


def _dtype(value: Any) -> str | None:
    return value.lower() if isinstance(value, str) else None


def _nodata(value: Any) -> float | None:
    # JSON has no NaN; STAC writes it as text.
    return math.nan if value == "nan" else _number(value)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if is_finite(value) else None


def _sha256(multihash: Any) -> str | None:
    if not isinstance(multihash, str) or len(multihash) != 68:
        return None
    return multihash[4:].lower() if multihash.startswith(_SHA256) else None


def _properties(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Give the properties that EO3 has, spelled as eodatasets3 wants them."""
    instruments = given.get("instruments") or []
    if isinstance(instruments, list):
        instruments = "_".join(name for name in instruments if isinstance(name, str))
    for key in ("gsd", "eo:gsd", "eo:cloud_cover"):
        value = given.get(key)
        if isinstance(value, int | float) and not is_finite(value):
            raise SceneError(f"{where}: {key}: {shown(value)} is no number that can be")
    gsd, cover = _number(given.get("gsd")), _number(given.get("eo:cloud_cover"))
    platform = _text(given, "platform", where)
    told = {
        "eo:platform": normalise_platforms(platform) if platform else None,
        "eo:instrument": _text({"instruments": instruments}, "instruments", where),
        "eo:gsd": _number(given.get("eo:gsd")) if gsd is None else gsd,
        "eo:cloud_cover": float(cover) if cover is not None and 0 <= cover <= 100 else None,
        **{key: _whole(_text(given, key, where)) for key in _WRS},
    }
    return {key: value for key, value in told.items() if value is not None}


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None


def _text(properties: Mapping[str, Any], key: str, where: str) -> str | None:
    value = properties.get(key)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise SceneError(f"{where}: {key}: {shown(value)} is not text")
    text = str(value)
    _check_text(text, f"{where}: {key}")
    return text


def _check_text(text: str, where: str) -> None:
    """See that a text can be stored and shown: no control character, no half of a UTF-16 pair."""
    if _CONTROL.search(text) or not (text.isascii() or _is_unicode(text)):
        raise SceneError(
            f"{where}: {shown(text)} holds a control character, or one that no database stores"
        )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
