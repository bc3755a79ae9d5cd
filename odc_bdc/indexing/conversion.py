"""How items become documents, as far as the index must know it; and what tells items apart."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson
from datacube.index.eo3 import eo3_grid_spatial

from odc_bdc.errors import SceneError
from odc_bdc.indexing.documents import DOCUMENT_SUFFIX
from odc_bdc.naming import dataset_id

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from odc_bdc.indexing.found import FoundItem

HREF = "odc_bdc:item_href"
"""Property of a dataset: where its item was found."""

ITEM = "odc_bdc:item"
"""Property of a dataset: what tells its item from others of the collection."""


@dataclass(frozen=True, slots=True)
class ItemKey:
    """What makes an item one and the same, whatever else changes in it."""

    collection: str
    item: str

    @property
    def dataset_id(self) -> uuid.UUID:
        """Id of the dataset that the item becomes."""
        return dataset_id("scene", self.collection, self.item)

    def location(self, out: Path) -> Path:
        """Give where the item's EO3 document belongs under `out`.

        Raises
        ------
        SceneError
            If the names are none of files, or would lead out of that folder.
        """
        name = f"{self.item}{DOCUMENT_SUFFIX}"
        for part in (self.collection, name):
            if "/" in part or "\0" in part or part in ("", ".", "..") or len(part.encode()) > 255:
                raise SceneError(f"item {self.item[:80]}: {part[:80]!r} cannot be a file's name")
        return out / self.collection / name


@dataclass(frozen=True, slots=True)
class Conversion:
    """How the items of one source become documents of one product.

    Attributes
    ----------
    product
        Name of the ODC product.
    identify
        Gives collection and id of an item, quickly; raises `OdcBdcError` if it has none.
    document
        Gives the EO3 document of an item, for the place where it will lie (None: it will have no
        file, so that hrefs must be absolute); raises `OdcBdcError` if the item cannot be used.
    version
        What else a document follows from (recipe, product): when it changes, so do all documents.
    always
        Convert items that did not change too, because converting looks into their files.
    guess
        Gives what an item's text says of its collection and id at first sight, without parsing;
        None if it says nothing. It may be wrong.
    """

    product: str
    identify: Callable[[FoundItem], ItemKey]
    document: Callable[[FoundItem, Path | None], Mapping[str, Any]]
    version: str = ""
    always: bool = False
    guess: Callable[[bytes], ItemKey | None] = lambda _: None


def key_guess(collection: str, name: str = "id") -> Callable[[bytes], ItemKey | None]:
    """Give a function that guesses the key of an item from its text, without parsing.

    It takes the first text that stands under `name`, however deep; that of an item's id mostly is
    its own.

    Examples
    --------
    >>> key_guess("S2_10-1")(b'{"type": "Feature", "id": "S2_10_v001_083099_2018-06-01"}')
    ItemKey(collection='S2_10-1', item='S2_10_v001_083099_2018-06-01')
    """
    first = re.compile(rb'"' + re.escape(name.encode()) + rb'"\s*:\s*"([^"\\]+)"')

    def guess(text: bytes) -> ItemKey | None:
        found = first.search(text)
        return ItemKey(collection, found[1].decode(errors="replace")) if found else None

    return guess


def fingerprint(found: FoundItem, uri: str, version: str) -> str:
    """Give a checksum of all that an item's document is made from.

    Links are left out: an API writes them anew for each request, and nothing is made of them.
    """
    document = {k: v for k, v in (found.document or {}).items() if k != "links"}
    parts = [version, uri, found.href, document]
    try:
        told = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # whole numbers beyond 64 bits, halves of characters
        told = json.dumps(parts, sort_keys=True, default=str).encode()
    return hashlib.sha256(told).hexdigest()


def text_fingerprint(found: FoundItem, uri: str, version: str) -> str | None:
    """Give a checksum as `fingerprint` does, of the text that an item is parsed from.

    Two items of one text are the same, though one text of an item may differ from another. None
    where the item has no text of its own.
    """
    if found.text is None:
        return None
    digest = _started(version, uri, found.href).copy()
    digest.update(found.text)
    return digest.hexdigest()


@lru_cache(maxsize=64)  # the items of a file begin alike
def _started(*parts: str) -> hashlib._Hash:
    return hashlib.sha256(orjson.dumps(parts))


def finished(
    document: Mapping[str, Any],
    *,
    measurements: Iterable[str],
    external_lineage: bool,
    properties: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Finish an EO3 document: as a file has it, and as the index stores it.

    datacube's `Doc2Dataset` does the second too, but copies each document several times.

    Raises
    ------
    SceneError
        If a measurement of the product is missing, or the document is not a valid one.
    """
    label = document.get("label") or document.get("id")
    lacking = [name for name in measurements if name not in document.get("measurements", {})]
    if lacking:
        raise SceneError(f"item {label}: it has no measurement {', '.join(lacking)}")
    try:
        # Through JSON, as the index stores it: dates become text, tuples lists.
        plain: dict[str, Any] = orjson.loads(orjson.dumps(document))
        plain["properties"] |= properties
        stored = stored_document(plain, external_lineage=external_lineage)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as e:
        raise SceneError(f"item {label}: its document is not valid EO3: {e}") from e
    sources = plain.get("lineage") or {}
    if sources:
        raise SceneError(f"item {label}: a scene has no sources; its document names {len(sources)}")
    return plain, stored


def stored_document(plain: Mapping[str, Any], *, external_lineage: bool) -> dict[str, Any]:
    """Give an EO3 document of plain JSON types as the index stores it; sources are stored apart.

    Raises
    ------
    ValueError, TypeError, KeyError, AttributeError, RuntimeError
        If it is not a valid one.
    """
    spatial = _spatial(orjson.dumps([plain.get(key) for key in ("crs", "geometry", "grids")]))
    lineage: dict[str, Any] = {} if external_lineage else {"source_datasets": {}}
    return {**plain, **spatial, "lineage": lineage}


# The scenes of a tile lie in one place; the result is shared and never changed.
@lru_cache(maxsize=4096)
def _spatial(place: bytes) -> dict[str, Any]:
    crs, geometry, grids = orjson.loads(place)
    spatial: dict[str, Any] = eo3_grid_spatial({"crs": crs, "geometry": geometry, "grids": grids})
    return spatial
