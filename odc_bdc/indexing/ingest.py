"""A recipe, its sources and the index, put together."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shapely.geometry
from eodatasets3 import serialise

from odc_bdc.errors import InvalidValueError, SceneError
from odc_bdc.indexing.conversion import Conversion, ItemKey
from odc_bdc.indexing.coverage import Coverage
from odc_bdc.indexing.documents import DOCUMENT_SUFFIX
from odc_bdc.indexing.found import FoundItem
from odc_bdc.indexing.index import BATCH, IndexReport, Record, index_items
from odc_bdc.indexing.items import find_items, item_document, read_item
from odc_bdc.indexing.products import find_product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from datacube import Datacube

    from odc_bdc.indexing.recipe import IngestRecipe


@dataclass(frozen=True, slots=True)
class Search:
    """Which items are wanted.

    Attributes
    ----------
    bbox
        West, south, east, north in degrees.
    geometry
        GeoJSON in degrees.
    time
        Both inclusive.
    query
        As in the STAC API's query extension.
    limit
        Most items that are wanted.
    """

    bbox: tuple[float, float, float, float] | None = None
    geometry: Mapping[str, Any] | None = None
    tile: str | None = None
    time: tuple[datetime, datetime] | None = None
    query: Mapping[str, Any] | None = None
    limit: int | None = None
    ids: tuple[str, ...] = ()


def index_collection(
    dc: Datacube,
    recipe: IngestRecipe,
    sources: Sequence[str | Path],
    search: Search | None = None,
    *,
    out: Path | None = None,
    dry_run: bool = False,
    archive_missing: bool = False,
    verify: str = "auto",
    resume: Path | None = None,
    batch: int = BATCH,
    report: Callable[[Record], None] = lambda _: None,
) -> IndexReport:
    """Index the items of one collection from its sources.

    Parameters
    ----------
    sources
        Item files, or folders that are searched for them.
    search
        Which items are wanted; None for all.
    verify
        ``none``, ``header``, ``pixels``, or ``auto``: the headers of files that are new.
    out, dry_run, batch, report
        As in `index_items`.
    archive_missing
        Archive the datasets whose items are gone, as far as sources and search reach.
    resume
        File that says how far an interrupted run came.

    Raises
    ------
    InvalidValueError
        If a source does not exist or cannot be searched so, or the index lacks the product.
    DatabaseError
        If the database cannot be used.
    """
    search = search or Search()
    coverage = _coverage(recipe.collection, sources, search) if archive_missing else None
    if archive_missing and resume is not None:
        raise InvalidValueError("--archive-missing needs a whole run: leave out --resume")
    product: dict[str, Any] = find_product(dc, recipe.product).definition
    return index_items(
        dc,
        _found(sources, search, verify, resume),
        _conversion(recipe, product, verify),
        out=out,
        dry_run=dry_run,
        archive_missing=coverage,
        batch=batch,
        report=report,
    )


def _coverage(collection: str, sources: Sequence[str | Path], search: Search) -> Coverage:
    """Say what a search covers; refuse where that cannot be known."""
    for name, value in (("--limit", search.limit), ("--query", search.query)):
        if value is not None:
            raise InvalidValueError(
                f"--archive-missing cannot tell which datasets {name} leaves out: use it without"
            )
    shapes = [shapely.geometry.shape(dict(search.geometry))] if search.geometry else []
    shapes += [shapely.geometry.box(*search.bbox)] if search.bbox else []
    return Coverage(
        collection,
        geometry=shapely.intersection_all(shapes) if shapes else None,
        time=search.time,
        tiles=(search.tile,) if search.tile else (),
        ids=search.ids,
        under=tuple(_place(str(source)) for source in sources),
    )


def _place(source: str) -> str:
    return source if "://" in source else str(Path(source).resolve())


def _conversion(recipe: IngestRecipe, product: Mapping[str, Any], verify: str) -> Conversion:
    """Bind recipe and product to the conversion of items."""

    def identify(found: FoundItem) -> ItemKey:
        document = found.document or {}
        item, collection = document.get("id"), document.get("collection") or ""
        if not isinstance(item, str) or not item or not isinstance(collection, str):
            raise SceneError(f"{found.source}: not a STAC item: it has no id")
        return ItemKey(collection, item)

    def document(found: FoundItem, location: Path | None) -> dict[str, Any]:
        item = read_item(Path(found.href))
        place = location or Path("/", f"none{DOCUMENT_SUFFIX}")
        made: dict[str, Any] = serialise.to_doc(item_document(item, recipe, product, place))
        if location is None:
            for measurement in made["measurements"].values():
                if "://" not in measurement["path"]:
                    measurement["path"] = Path("/", measurement["path"]).as_uri()
        return made

    told = json.dumps([asdict(recipe), product], sort_keys=True, default=str)
    version = hashlib.sha256(told.encode()).hexdigest()
    always = verify in ("header", "pixels")
    return Conversion(recipe.product, identify, document, version, always)


def _found(
    sources: Sequence[str | Path], search: Search, verify: str, resume: Path | None
) -> Iterator[FoundItem]:
    """Give the items of files and folders."""
    if search != Search() or resume is not None or verify not in ("auto", "header"):
        raise InvalidValueError(
            "files and folders are indexed whole: leave out --bbox, --intersects, --tile, --time, "
            "--query, --limit, --ids, --resume and --verify none or pixels"
        )
    for path in find_items([Path(source) for source in sources]):
        href = str(path.resolve())
        try:
            yield FoundItem(str(path), href, json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as e:
            yield FoundItem(str(path), href, None, f"{path}: cannot be read as JSON: {e}")
