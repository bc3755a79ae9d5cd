"""One STAC item becomes one EO3 document, its files checked as deeply as one likes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from odc_bdc.errors import InvalidValueError, SceneError
from odc_bdc.indexing.crs import same_crs
from odc_bdc.indexing.documents import dataset_document
from odc_bdc.indexing.raster import (
    RasterFile,
    check_sha256,
    check_size,
    is_local,
    read_header,
    read_pixels,
)
from odc_bdc.quality import QualityPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from odc_bdc.indexing.normalise import ItemFile, NormalisedItem
    from odc_bdc.indexing.recipe import IngestRecipe

Verify: TypeAlias = Literal["none", "header", "pixels", "auto"]
"""How deeply files are checked; ``auto`` reads the headers of files on local disks."""

_NO_SHIFT = 0.5
_NO_LABEL = re.compile(r"[^A-Za-z0-9_-]")
_DTYPES = {"byte": "uint8"}


def item_document(
    item: NormalisedItem,
    recipe: IngestRecipe,
    product: Mapping[str, Any],
    *,
    location: Path | None,
    verify: Verify = "auto",
) -> dict[str, Any]:
    """Make an item's EO3 document, as plain data that JSON and YAML can hold.

    Where headers are read they are believed over the item.

    Parameters
    ----------
    product
        ODC product document: its measurements say which dtype and nodata the files must have, its
        ``load`` which CRS, if any.
    location
        Where the document will lie; files in its folder are named relative to it. None if it gets
        no file: then all names are absolute.
    verify
        ``none`` believes the item and opens no file, unless the item does not tell where its
        pixels lie: then it opens one of each resolution that the recipe names (each file, where it
        says only that resolutions are mixed).
        ``header`` opens every file, and compares sizes in bytes. ``pixels`` also reads every
        pixel, and compares the codes of quality and the checksums. ``auto`` is ``header`` for
        files on local disks and ``none`` for others.

    Raises
    ------
    SceneError
        If a file is missing, truncated, or of another CRS, shape, place or dtype than item and
        product say. Another nodata value in a file's header is believed, for whoever reads the file
        believes it; not so for codes of quality, which belong to the product.
    """
    files, opened = _files(item, recipe, verify)
    _check_against_product(item, recipe, files, product, opened)
    if verify == "pixels":
        _check_pixels(item, recipe, product)
    return dataset_document(
        dataset_id=item.dataset_id,
        product=recipe.product,
        # EO3 takes no other characters.
        label=_NO_LABEL.sub("_", item.id),
        files=files,
        properties=_properties(item),
        location=location,
    )


def _files(
    item: NormalisedItem, recipe: IngestRecipe, verify: Verify
) -> tuple[dict[str, RasterFile], AbstractSet[str]]:
    """Give what is known of each file: from its header, from the item, or from another's header.

    Also which were opened.
    """
    opened = {
        name: _checked_header(item, name, file)
        for name, file in item.files.items()
        if verify in {"header", "pixels"} or (verify == "auto" and is_local(file.href))
    }
    found = {}
    for name, file in item.files.items():
        if name not in opened and file.grid is None:
            _open_for_grid(item, name, recipe, opened)
        found[name] = opened.get(name) or _told(file, _like(name, recipe, opened))
    return found, opened.keys()


def _open_for_grid(
    item: NormalisedItem, name: str, recipe: IngestRecipe, opened: dict[str, RasterFile]
) -> None:
    """Open the file of a measurement whose item does not tell the grid, unless another tells it."""
    if recipe.mixed_resolutions or _like(name, recipe, opened) is None:
        opened[name] = _checked_header(item, name, item.files[name])


def _like(name: str, recipe: IngestRecipe, opened: Mapping[str, RasterFile]) -> RasterFile | None:
    """Give a file that was opened and has the resolution of a measurement, by the recipe."""
    resolution = recipe.rules[name].resolution
    alike = (file for n, file in opened.items() if recipe.rules[n].resolution == resolution)
    return next(alike, None)


def _told(file: ItemFile, like: RasterFile | None) -> RasterFile:
    """Give what an item tells of a file; where it tells no grid, that of another of its files."""
    dtype = None if file.dtype is None else _DTYPES.get(file.dtype, file.dtype)
    if file.grid is not None:
        grid = file.grid
        return RasterFile(
            file.path, grid.shape, grid.transform, grid.crs, dtype, file.nodata, file.band
        )
    if like is None:
        raise AssertionError
    scaled = _scaled(like, file.shape or like.shape)
    return replace(scaled, href=file.path, dtype=dtype, nodata=file.nodata, band=file.band)


def _scaled(file: RasterFile, shape: tuple[int, int]) -> RasterFile:
    """Cover the same ground with another number of pixels."""
    down, right = file.shape[0] / shape[0], file.shape[1] / shape[1]
    a, b, c, d, e, f = file.transform
    return replace(file, shape=shape, transform=(a * right, b * down, c, d * right, e * down, f))


def _checked_header(item: NormalisedItem, name: str, file: ItemFile) -> RasterFile:
    """Read a header, and compare it with what the item says of shape, place and size."""
    try:
        found = read_header(file.path, file.band)
    except InvalidValueError as e:
        raise SceneError(f"{file.path}: its CRS cannot be read: {e}") from e
    if file.size is not None and is_local(file.href):
        check_size(file.href, file.size)
    if file.grid is not None and file.shape is not None and not same_crs(found.crs, file.grid.crs):
        raise SceneError(
            f"{found.href}: wrong CRS {found.crs}; item {item.id} says {file.grid.crs}"
        )
    if file.shape not in {None, found.shape}:
        raise SceneError(f"{found.href}: shape {found.shape}; item {item.id} says {file.shape}")
    if file.grid is not None and file.shape is not None:
        _check_place(found, file, item.id)
    others = {n for other, f in item.files.items() if other != name for n in (other, f.key)}
    if found.description in others - {name, file.key}:
        raise SceneError(
            f"{found.href}: is asset {file.key!r} of item {item.id}, but calls itself "
            f"{found.description}; were files swapped?"
        )
    return found


def _check_place(found: RasterFile, file: ItemFile, item_id: str) -> None:
    """See that all corners lie where the item says, to half a pixel; items round."""
    if file.grid is None:
        return
    told = replace(found, transform=file.grid.transform)
    pixel = max(map(abs, (*found.transform[:2], *found.transform[3:5])))
    shift = max(abs(x - y) for x, y in zip(found.bbox, told.bbox, strict=True))
    if shift > _NO_SHIFT * pixel:
        raise SceneError(
            f"{found.href}: lies {shift / pixel:.4g} pixels from where item {item_id} says"
        )


def _check_against_product(
    item: NormalisedItem,
    recipe: IngestRecipe,
    files: Mapping[str, RasterFile],
    product: Mapping[str, Any],
    opened: AbstractSet[str],
) -> None:
    wanted = (product.get("load") or {}).get("crs")
    for file in files.values() if wanted else ():
        if not same_crs(file.crs, wanted):
            raise SceneError(
                f"{file.href}: wrong CRS {file.crs}; product {product['name']} says {wanted}"
            )
    codes = quality_codes(recipe, product)[0] if opened else None
    for measurement in product["measurements"]:
        name = measurement["name"]
        if name not in files:
            raise SceneError(
                f"item {item.id}: recipe {recipe.name} has no asset for measurement {name}"
            )
        _check_encoding(files[name], item.files[name], measurement, product["name"])
        if name not in opened or name == codes:
            _check_nodata(files[name], measurement, product["name"])


def _check_encoding(
    found: RasterFile, file: ItemFile, measurement: Mapping[str, Any], product: str
) -> None:
    """Compare how a file stores values with how its product says it does."""
    name, dtype = measurement["name"], measurement["dtype"]
    if found.dtype not in {None, dtype}:
        raise SceneError(
            f"{found.href}: dtype {found.dtype}; product {product} says {dtype} for {name}"
        )
    for key, told, right in (
        ("scale", file.scale, measurement.get("scale_factor", 1)),
        ("offset", file.offset, measurement.get("add_offset", 0)),
    ):
        if told is not None and not math.isclose(told, right, rel_tol=1e-6, abs_tol=1e-12):
            raise SceneError(
                f"{found.href}: its item says {key} {told:g}; product {product} says {right:g} "
                f"for {name}"
            )


def _check_nodata(found: RasterFile, measurement: Mapping[str, Any], product: str) -> None:
    nodata = measurement["nodata"]
    if found.nodata is not None and not _same(found.nodata, float(nodata)):
        raise SceneError(
            f"{found.href}: nodata {found.nodata:g}; product {product} says {nodata} for "
            f"{measurement['name']}"
        )


def _check_pixels(item: NormalisedItem, recipe: IngestRecipe, product: Mapping[str, Any]) -> None:
    quality, codes = quality_codes(recipe, product)
    # An archive has one checksum for all files in it.
    for href, digest in {(file.href, file.sha256): None for file in item.files.values()}:
        if digest is not None and is_local(href):
            check_sha256(href, digest)
    for name, file in item.files.items():
        read_pixels(file.path, file.band, codes=codes if name == quality else None)


def quality_codes(
    recipe: IngestRecipe, product: Mapping[str, Any]
) -> tuple[str | None, frozenset[int] | None]:
    """Give the measurement of quality, and all codes that it may have; None for any.

    They are those of the recipe's policy, or else of the flag in the product that takes the whole
    of a value. Where quality is told by single bits, any value may occur.
    """
    quality = recipe.quality
    if isinstance(quality, QualityPolicy):
        if quality.bits:
            return quality.band, None
        nodata = () if quality.nodata is None else (quality.nodata,)
        codes = (*quality.clear, *quality.not_clear, *quality.saturated, *nodata)
        return quality.band, frozenset(codes)
    for measurement in product["measurements"]:
        if measurement["name"] == quality:
            flags = (measurement.get("flags_definition") or {}).values()
            return quality, _codes(flags, measurement)
    return None, None


def _codes(flags: Iterable[Mapping[str, Any]], measurement: Mapping[str, Any]) -> Any:
    bits = int(measurement["dtype"].lstrip("uint"))
    for flag in flags:
        if isinstance(flag["bits"], list) and len(flag["bits"]) == bits:
            return frozenset({*map(int, flag["values"]), int(measurement["nodata"])})
    return None


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _file_format(item: NormalisedItem) -> str:
    """Give the format that EO3 has for a scene; of one in several, that is GeoTIFF."""
    names = (file.member or file.href for file in item.files.values())
    return "JPEG2000" if all(name.lower().endswith(".jp2") for name in names) else "GeoTIFF"


def _properties(item: NormalisedItem) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "datetime": item.time,
        "odc:processing_datetime": item.processed,
        "odc:file_format": _file_format(item),
        **item.properties,
    }
    if item.tile is not None:
        properties["odc:region_code"] = item.tile
    if item.start is not None and item.end is not None:
        properties["dtr:start_datetime"] = item.start
        properties["dtr:end_datetime"] = item.end
    return properties
