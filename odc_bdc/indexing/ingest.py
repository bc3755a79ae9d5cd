"""A recipe, its sources and the index, put together."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import shapely.geometry

from odc_bdc.errors import InvalidValueError, SceneError
from odc_bdc.indexing.archive import Member
from odc_bdc.indexing.conversion import Conversion, ItemKey, key_guess
from odc_bdc.indexing.coverage import Coverage
from odc_bdc.indexing.folders import folder_items
from odc_bdc.indexing.href import ANYWHERE, Href, Reach
from odc_bdc.indexing.index import BATCH, IndexReport, Record, index_items
from odc_bdc.indexing.items import Verify, item_document
from odc_bdc.indexing.normalise import (
    NormalisedItem,
    belongs_to,
    item_identity,
    normalise_item,
)
from odc_bdc.indexing.products import find_product
from odc_bdc.indexing.sources import AccessToken, Hosts, Resume, Search, find_items
from odc_bdc.indexing.sources.access import plain_href
from odc_bdc.indexing.sources.hosts import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from datacube import Datacube
    from shapely.geometry.base import BaseGeometry

    from odc_bdc.indexing.found import FoundItem
    from odc_bdc.indexing.recipe import IngestRecipe

_CATALOGS = {"catalog.json", "collection.json"}


def index_collection(
    dc: Datacube,
    recipe: IngestRecipe,
    sources: Sequence[str | Path] = (),
    search: Search | None = None,
    *,
    out: Path | None = None,
    dry_run: bool = False,
    archive_missing: bool = False,
    verify: Verify = "auto",
    token: AccessToken | None = None,
    resume: Path | None = None,
    files: str | None = None,
    batch: int = BATCH,
    hosts: Iterable[str] = (),
    report: Callable[[Record], None] = lambda _: None,
) -> IndexReport:
    """Index the items of one collection from its sources.

    Items that are of another product, by what the recipe says, are passed over. Items on disks may
    name files in the folders that are given as sources, those of servers none on disks.

    Parameters
    ----------
    sources
        As of `odc_bdc.indexing.sources.find_items`, and folders of scenes without STAC; none means
        the one that the recipe names.
    search
        Which items are wanted; None for all.
    verify
        As of `item_document`. Items that did not change are looked into again with ``header`` and
        ``pixels`` only.
    token
        Sent to the hosts of the sources.
    resume
        File that says how far an interrupted run came.
    files
        Other folders that files may lie in, and the buckets, separated by commas, beside those of
        the recipe.
    out, dry_run, batch, report
        As in `index_items`.
    hosts
        Hosts, networks and buckets that the items may lead to, beside those of the recipe.
    archive_missing
        Archive the datasets whose items are gone, as far as sources and search reach.

    Raises
    ------
    InvalidValueError
        If there is no source, it does not exist or cannot be searched so, or the index lacks the
        product.
    SourceError
        If a source cannot be reached.
    DatabaseError
        If the database cannot be used.
    """
    places = [str(source) for source in sources] or _named(recipe)
    wanted = replace(search or Search(), tile_property=recipe.tile_property)
    if archive_missing and resume is not None:
        raise InvalidValueError("--archive-missing needs a whole run: leave out --resume")
    coverage = _coverage(recipe, places, wanted) if archive_missing else None
    product: dict[str, Any] = find_product(dc, recipe.product).definition
    state = Resume(resume) if resume is not None and not dry_run else None
    files_at = _files_at(recipe, places, hosts)
    recipe = replace(recipe, hosts=(*recipe.hosts, *hosts))
    reach = Reach.named(",".join((files or "", *recipe.files)))
    conversion = recipe_conversion(
        recipe, product, verify, files_at, reach.of_sources(places, recipe.hosts)
    )
    items = _Wanted(_items(recipe, places, wanted, token, state), recipe)
    result = index_items(
        dc,
        items,
        conversion,
        out=out,
        dry_run=dry_run,
        archive_missing=coverage,
        batch=batch,
        report=report,
        finished=lambda count: state.done(items.taken[count]) if state else None,
    )
    if state:
        state.done(items.pulled)
    return result


def _named(recipe: IngestRecipe) -> list[str]:
    if recipe.source is None or recipe.source.href is None:
        raise InvalidValueError(f"recipe {recipe.name} names no source: give one")
    return [recipe.source.href]


class _Wanted:
    """Items without those of sibling products, and how many were pulled for each that is given."""

    def __init__(self, items: Iterable[FoundItem], recipe: IngestRecipe) -> None:
        self._items, self._recipe = items, recipe
        self.pulled = 0
        self.taken = [0]

    def __iter__(self) -> Iterator[FoundItem]:
        for found in self._items:
            self.pulled += 1
            if self._is_wanted(found):
                self.taken.append(self.pulled)
                yield found

    def _is_wanted(self, found: FoundItem) -> bool:
        # Without conditions an item need not be looked into, which would parse it.
        if not self._recipe.conditions or found.document is None:
            return True
        try:
            return belongs_to(found.document, self._recipe)
        except Exception:  # noqa: BLE001 (one that is broken may be one; then it is said why not)
            return True


def _items(
    recipe: IngestRecipe,
    places: Sequence[str],
    search: Search,
    token: AccessToken | None,
    resume: Resume | None,
) -> Iterator[FoundItem]:
    """Give the items of all sources; folders of scenes without STAC come first."""
    folders = [place for place in places if _is_without_stac(recipe, place)]
    stac = [place for place in places if place not in folders]
    named = chain.from_iterable(folder_items(recipe, Path(folder)) for folder in folders)
    scenes = (i for i in named if i.document is None or search.matches(i.document))
    if not stac:
        return scenes
    if folders and resume:
        raise InvalidValueError("--resume keeps the place in a search: leave out folders of scenes")
    own = recipe.source.href if recipe.source else None
    found = find_items(
        stac,
        collection=recipe.collection,
        search=search,
        token=token,
        resume=resume,
        hosts=[*recipe.hosts, *([own] if own and "://" in own else [])],
        limits=recipe.limits,
    )
    return chain(scenes, found)


def _is_without_stac(recipe: IngestRecipe, place: str) -> bool:
    """Tell folders whose scenes are known by names: the recipe says so, or there is no JSON."""
    path = Path(place)
    if "://" in place or not path.is_dir():
        return False
    named = recipe.source is not None and recipe.source.kind == "folder"
    return named or next(path.rglob("*json*"), None) is None


def _coverage(recipe: IngestRecipe, places: Sequence[str], search: Search) -> Coverage:
    """Say what a search covers; refuse where that cannot be known."""
    for name, value in (("--limit", search.max_items), ("--query", search.query)):
        if value:
            raise InvalidValueError(
                f"--archive-missing cannot tell which datasets {name} leaves out: use it without"
            )
    areas: list[BaseGeometry] = [shapely.geometry.box(*search.bbox)] if search.bbox else []
    if search.intersects:
        areas.append(shapely.geometry.shape(search.intersects))
    return Coverage(
        recipe.collection,
        geometry=shapely.intersection_all(areas) if areas else None,
        time=search.time,
        tiles=search.tile,
        ids=tuple(search.ids),
        under=tuple(_reach(place) for place in places),
    )


def _reach(place: str) -> str:
    """Give the address that the items of a source are below; of a catalog its folder."""
    if "://" not in place:
        path = Path(place).resolve()
        return str(path.parent if path.name in _CATALOGS else path)
    parts = urlsplit(place)
    named = PurePosixPath(parts.path)
    where = named.parent if named.name in _CATALOGS else named
    # What else is in an address may be a token.
    return f"{parts.scheme}://{parts.netloc}{where}".rstrip("/")


def _files_at(recipe: IngestRecipe, places: Iterable[str], hosts: Iterable[str]) -> Hosts | None:
    """Give where files may lie; None for anywhere, if the recipe does not say."""
    if not recipe.hosts:
        return None
    return Hosts.of([*recipe.hosts, *hosts, *(place for place in places if "://" in place)])


def _check_files(item: NormalisedItem, hosts: Hosts) -> None:
    for href in {file.href for file in item.files.values()}:
        member = Member.from_href(href)
        try:
            hosts.check(member.archive if member else href)
        except RefusedError as e:
            raise SceneError(f"{plain_href(href)}: {e}") from e


def recipe_conversion(
    recipe: IngestRecipe,
    product: Mapping[str, Any],
    verify: Verify = "auto",
    hosts: Hosts | None = None,
    reach: Reach = ANYWHERE,
) -> Conversion:
    """Bind a recipe and its product's document to the conversion of items.

    Parameters
    ----------
    hosts
        Items with files at others are refused; None takes all.
    reach
        What items may name; see `Reach.of_document`.
    """

    def identify(found: FoundItem) -> ItemKey:
        identity = item_identity(found.document or {}, recipe, href=found.source)
        return ItemKey(recipe.collection, identity)

    def document(found: FoundItem, location: Path | None) -> dict[str, Any]:
        item = normalise_item(found.document or {}, recipe, href=found.href)
        allowed = reach.of_document(found.href)
        for name, file in item.files.items():
            allowed.check(Href.parse(file.path), f"item {item.id}: {name}")
        if hosts is not None:
            _check_files(item, hosts)
        return item_document(item, recipe, product, location=location, verify=verify)

    # What may be asked and named, and how much is read, makes no other document.
    left_out = {"hosts", "limits", "files"}
    meant = {key: value for key, value in asdict(recipe).items() if key not in left_out}
    told = json.dumps([meant, product], sort_keys=True, default=_told)
    version = hashlib.sha256(told.encode()).hexdigest()
    return Conversion(
        recipe.product,
        identify,
        document,
        version,
        always=verify in ("header", "pixels"),
        guess=key_guess(recipe.collection, recipe.id_property or "id"),
    )


def _told(value: Any) -> str:
    """Name a function by where it is, not by where it lies in memory."""
    return getattr(value, "__qualname__", None) or str(value)
