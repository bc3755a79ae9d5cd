"""What a live image is on disk and in the index: its recipe, and the EO3 document beside it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from odc_bdc.building.documents import task_properties
from odc_bdc.building.storage import Storage
from odc_bdc.building.store import ImageStore
from odc_bdc.building.work import remarks
from odc_bdc.files import Access, Versions, scene_files
from odc_bdc.formats import LIVE_FORMAT
from odc_bdc.indexing import RasterFile, dataset_document
from odc_bdc.indexing.documents import DOCUMENT_SUFFIX, document_text
from odc_bdc.indexing.known import FINGERPRINT, LIVE_IDS, PLANNED
from odc_bdc.live.knowledge import LIVE_PATH
from odc_bdc.live.recipe import (
    RECIPE_SUFFIX,
    Unreadable,
    quality_files,
    quality_stamp,
    recipe_document,
    recipe_text,
    with_digest,
)
from odc_bdc.naming import dataset_id, period_folder

if TYPE_CHECKING:
    import uuid

    from odc_bdc.planning import CompositeTask


@dataclass(frozen=True)
class LiveTerms:
    """Where and how live images are declared, apart from their tasks.

    Attributes
    ----------
    store
        Root below which recipes lie.
    unreadable
        As of `odc_bdc.live.recipe.LiveRecipe`.
    """

    # No slots: what follows from the fields is worked out once, when it is first asked for.

    store: ImageStore
    unreadable: Unreadable = "fail"

    @cached_property
    def storage(self) -> Storage:
        """The files below the root."""
        return self.store.storage

    @cached_property
    def place(self) -> str:
        """Address of the root, as an index has it."""
        return self.storage.uri("").rstrip("/")

    def fingerprint(self, task: CompositeTask) -> str:
        """Give a checksum of all that a recipe follows from, but the counts of clear pixels.

        Where it lies and where its scenes do are among that.
        """
        text = f"{self.place}\n{recipe_text(self._document(task))}"
        return LIVE_IDS + hashlib.sha256(text.encode()).hexdigest()

    def recipe(
        self, task: CompositeTask, n_clear: Sequence[int | None] | None, stamp: str | None
    ) -> str:
        """Give the text of a task's recipe."""
        document = self._document(task)
        if n_clear is not None:
            for observation, count in zip(document["observations"], n_clear, strict=True):
                observation["n_clear"] = count
            if stamp is not None:
                document["stamp"] = stamp
        return recipe_text(document)

    def id(
        self, task: CompositeTask, n_clear: Sequence[int | None] | None, *, counted: bool
    ) -> uuid.UUID:
        """Give the id of a live image, which says what it shows.

        It does not depend on where recipes and scenes lie, nor on when files were written: in two
        homes with the same scenes it is the same.

        Parameters
        ----------
        counted
            Whether the clear pixels were counted, and not guessed.
        """
        counts = orjson.dumps([counted, n_clear]).decode()
        return dataset_id("live", str(task.id), self.unreadable, counts)

    def _document(self, task: CompositeTask) -> dict[str, Any]:
        return recipe_document(task, unreadable=self.unreadable)

    def folder(self, task: CompositeTask, live_id: uuid.UUID) -> str:
        """Give where the files of a live image belong, relative to the root."""
        return LIVE_PATH.format(
            cube=task.cube.name,
            tile=task.tile_id,
            period=period_folder(task.period),
            id8=str(live_id)[:8],
        )

    def files(self, task: CompositeTask, live_id: uuid.UUID) -> tuple[str, str]:
        """Give the paths of recipe and document of a live image, relative to the root."""
        name = f"{self.folder(task, live_id)}/{self.store.layout.item_id(task)}"
        return name + RECIPE_SUFFIX, name + DOCUMENT_SUFFIX

    def is_written(self, task: CompositeTask, live_id: uuid.UUID, path: str) -> bool:
        """Tell whether the recipe that a dataset has the path of is there, and its document."""
        recipe, document = self.files(task, live_id)
        text = self.storage.read(recipe)
        return (
            text is not None
            and path == with_digest(recipe.rpartition("/")[2], text)
            and self.storage.exists(document)
        )


@dataclass(frozen=True, slots=True)
class LiveDocuments:
    """A live image that is about to be written.

    Attributes
    ----------
    id
        Of its dataset, from `LiveTerms.id`.
    folder
        Where its files belong, relative to the root.
    recipe_name, document_name
        Of the files in it.
    """

    id: uuid.UUID
    folder: str
    recipe_name: str
    document_name: str
    recipe: str
    document: Mapping[str, Any]


def live_documents(
    terms: LiveTerms,
    task: CompositeTask,
    n_clear: Sequence[int | None] | None,
    *,
    processed: datetime,
    planned: CompositeTask,
    stamp: str | None = None,
) -> LiveDocuments:
    """Make recipe and EO3 document of a live image.

    Parameters
    ----------
    task
        With the scenes that it is to be made of.
    n_clear
        As of `odc_bdc.live.recipe.LiveRecipe`; None where the function needs none.
    processed
        Time of the declaration.
    planned
        The task with the scenes that could not be read, if there were any; else the same.
    stamp
        From `QualityStamps`, if pixels were counted.

    Raises
    ------
    InvalidValueError
        If the cube was changed so that it has no YAML form.
    """
    recipe = terms.recipe(task, n_clear, stamp)
    live_id = terms.id(task, n_clear, counted=stamp is not None)
    recipe_path, document_path = terms.files(task, live_id)
    geobox, cube = task.geobox, task.cube
    shape, transform = tuple(geobox.shape), tuple(geobox.affine)[:6]
    name = recipe_path.rpartition("/")[2]
    document = dataset_document(
        dataset_id=live_id,
        product=cube.name,
        label=terms.store.layout.item_id(task),
        files={"": RasterFile(name, shape, transform, str(geobox.crs), None, None)},
        properties={
            **task_properties(task, processed),
            "odc:file_format": LIVE_FORMAT,
            PLANNED: str(planned.id),
            FINGERPRINT: _with(stamp, terms.fingerprint(task)),
            **remarks(planned, _left_out(planned, task)),
        },
        location=None,
        lineage={"scenes": [scene.id for scene in task.scenes]},
    )
    # A reader is told of a band by whatever name was asked for; the layer is its own.
    # The digest tells a reader that the recipe is this one.
    path = with_digest(name, recipe)
    document["measurements"] = {m.name: {"path": path, "layer": m.name} for m in cube.outputs}
    return LiveDocuments(
        live_id,
        terms.folder(task, live_id),
        name,
        document_path.rpartition("/")[2],
        recipe,
        document,
    )


def live_text(documents: LiveDocuments) -> str:
    """Give the text of an image's EO3 document: `document_text`, but what is alike is kept."""
    document = dict(documents.document)
    # Each part must hold a list or mapping: one of nothing else would be written on one line.
    parts: list[dict[str, Any]] = [{}]
    for key, value in document.items():
        parts[-1][key] = value
        if isinstance(value, dict | list):
            parts.append({})
    path = with_digest(documents.recipe_name, documents.recipe)
    texts = []
    for part in filter(None, parts):
        if "measurements" in part:
            # As long as the path, so that lines are broken at the same places.
            other = "x" * len(path)
            told = {key: {**value, "path": other} for key, value in part["measurements"].items()}
            texts.append(_kept_text(orjson.dumps({**part, "measurements": told})))
            texts[-1] = texts[-1].replace(f"path: {other}", f"path: {path}")
        elif "geometry" in part or "grids" in part:
            texts.append(_kept_text(orjson.dumps(part)))
        else:
            texts.append(document_text(part))
    return "".join(texts)


@lru_cache(maxsize=64)  # images come sorted by tile
def _kept_text(part: bytes) -> str:
    return document_text(orjson.loads(part))


class QualityStamps:
    """Versions of the files in which clear pixels are counted; each file is looked at once."""

    def __init__(self) -> None:
        self._versions: dict[Access, Versions] = {}

    def of(self, task: CompositeTask) -> str:
        """Give a checksum of the versions of a task's files."""
        if task.access not in self._versions:
            files = scene_files(task.access)
            self._versions[task.access] = Versions(files, local=math.inf, remote=math.inf)
        return quality_stamp(task, self._versions[task.access].known(quality_files(task)))


def _with(stamp: str | None, checksum: str) -> str:
    return checksum if stamp is None else f"{checksum}.{stamp}"


def _left_out(planned: CompositeTask, task: CompositeTask) -> tuple[uuid.UUID, ...]:
    kept = {scene.id for scene in task.scenes}
    return tuple(scene.id for scene in planned.scenes if scene.id not in kept)
