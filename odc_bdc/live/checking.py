"""Live images whose recipe, reader or scenes are not as they should be, found before readers do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from datacube.utils.uris import uri_resolve

from odc_bdc.errors import OdcBdcError, first_line
from odc_bdc.files import plain_href, scene_files
from odc_bdc.formats import LIVE_FORMAT
from odc_bdc.indexing.faults import database_refusals
from odc_bdc.indexing.known import known_images, stored_datasets
from odc_bdc.indexing.readers import has_reader
from odc_bdc.live.documents import QualityStamps
from odc_bdc.live.recipe import AGAIN, LiveRecipe, read_recipe, split_digest
from odc_bdc.live.roots import Roots, shown

if TYPE_CHECKING:
    import uuid

    from datacube import Datacube

    from odc_bdc.files import Access

_DRIVER = "this installation has no reader of live images: install odc_bdc where this program runs"


@dataclass(frozen=True, slots=True)
class DeclaredImage:
    """A visible live image, as the index has it.

    Attributes
    ----------
    start
        First day of its period.
    recipe
        Address of its recipe, with the digest.
    """

    id: uuid.UUID
    tile: str
    start: date
    recipe: str


@dataclass(frozen=True, slots=True)
class LiveFault:
    """Why some live images cannot be read, or are not what they were declared as.

    Attributes
    ----------
    what
        Address of the recipe or scene; for the reader, the file format.
    reason, cure
        What is wrong with it, and what to do.
    images
        Ids of the datasets concerned.
    """

    what: str
    reason: str
    cure: str
    images: tuple[uuid.UUID, ...]

    def to_dict(self) -> dict[str, Any]:
        """Give the fault as a line of JSON."""
        return {
            "status": "fault",
            "what": self.what,
            "reason": self.reason,
            "cure": self.cure,
            "images": [str(i) for i in self.images],
        }


def declared_images(
    dc: Datacube,
    cube: str,
    *,
    tiles: Collection[str] | None = None,
    time: tuple[date, date] | None = None,
) -> list[DeclaredImage]:
    """Give the visible live images of a cube, sorted by tile and period.

    Parameters
    ----------
    tiles
        Only these.
    time
        Only periods that begin on these days or between them.

    Raises
    ------
    DatabaseError
        If the index cannot be read.
    """
    with database_refusals():
        known = {image.id: image for image in known_images(dc, cube) if image.live}
        stored = stored_datasets(dc, cube)
    found = []
    for one in stored:
        image = known.get(one.id)
        if image is None or (tiles is not None and image.tile not in tiles):
            continue
        if time is None or time[0] <= image.start <= time[1]:
            # All measurements are in one file.
            path = next(iter(one.paths), "")
            recipe = uri_resolve(one.uri, path) if one.uri else path
            found.append(DeclaredImage(image.id, image.tile, image.start, recipe))
    return sorted(found, key=lambda image: (image.tile, image.start, str(image.id)))


def check_live(
    images: Iterable[DeclaredImage],
    *,
    roots: Roots,
    access: Access | None = None,
    threads: int = 8,
    seen: Callable[[int], None] = lambda _: None,
) -> Iterator[LiveFault]:
    """Look for all that live images need: the reader, recipes, and each file of their scenes.

    Files are looked for, not read: on disks by their status, elsewhere by their first byte.

    Parameters
    ----------
    images
        From `declared_images`.
    roots, access
        As of `odc_bdc.live.recipe.read_recipe`: those of readers.
    threads
        That ask for recipes and files.
    seen
        Called with the number of recipes, then with that of files, when they have been looked at.
    """
    images = list(images)
    yield from _without_reader(images)
    stamps = QualityStamps()
    sources: dict[tuple[Access, str], list[uuid.UUID]] = {}
    with ThreadPoolExecutor(threads) as pool:
        recipes = pool.map(lambda image: _recipe(image, roots, access), images)
        for image, recipe in zip(images, recipes, strict=True):
            if isinstance(recipe, LiveFault):
                yield recipe
                continue
            for href in {band.href for scene in recipe.task.scenes for _, band in scene.sources}:
                sources.setdefault((recipe.task.access, href), []).append(image.id)
            yield from _outdated(image, recipe, stamps)
        seen(len(images))
        reasons = pool.map(_missing, *zip(*sources, strict=True)) if sources else ()
        for ((_, href), of), reason in zip(sources.items(), reasons, strict=True):
            if reason is not None:
                cure = "put it back, or index its scene anew or archive it, and declare again"
                yield LiveFault(plain_href(href), reason, cure, tuple(of))
        seen(len(sources))


def _without_reader(images: Iterable[DeclaredImage]) -> Iterator[LiveFault]:
    by_protocol: dict[str, list[uuid.UUID]] = {}
    for image in images:
        by_protocol.setdefault(image.recipe.partition("://")[0], []).append(image.id)
    for protocol, ids in by_protocol.items():
        if not has_reader(protocol, LIVE_FORMAT):
            yield LiveFault(f"{LIVE_FORMAT} by {protocol}", "has no reader", _DRIVER, tuple(ids))


def _recipe(image: DeclaredImage, roots: Roots, access: Access | None) -> LiveRecipe | LiveFault:
    where = shown(split_digest(image.recipe)[0])
    try:
        recipe = read_recipe(image.recipe, roots, access)
    except OdcBdcError as e:
        told = first_line(e).removeprefix(f"{where}: ").removesuffix(f": {AGAIN}")
        return LiveFault(where, told, AGAIN, (image.id,))
    if recipe.id is not None and recipe.id != recipe.task.id:
        reason = "was declared by another release of odc_bdc, which would give other pixels"
        return LiveFault(where, reason, AGAIN, (image.id,))
    return recipe


def _outdated(
    image: DeclaredImage, recipe: LiveRecipe, stamps: QualityStamps
) -> Iterator[LiveFault]:
    """Tell if files in which clear pixels were counted are not those of then."""
    if recipe.stamp is not None and recipe.stamp != stamps.of(recipe.task):
        reason = "files of its scenes were replaced since their clear pixels were counted"
        cure = "`odc-bdc cube declare` counts them anew"
        yield LiveFault(shown(split_digest(image.recipe)[0]), reason, cure, (image.id,))


def _missing(access: Access, href: str) -> str | None:
    """Say why a file is not there; None if it is."""
    try:
        scene_files(access).version(href)
    except OdcBdcError as e:
        return first_line(e).removeprefix(f"{plain_href(href)}: ")
    return None
