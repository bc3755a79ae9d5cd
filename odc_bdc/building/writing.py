"""An image is written as COGs with documents and a picture: all of it or nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odc_bdc.building.checksums import digest_file, sha1_lines
from odc_bdc.building.documents import (
    COLLECTION_SUFFIX,
    WrittenFile,
    covered_by,
    image_properties,
    stac_collection,
    stac_item,
)
from odc_bdc.building.image import ImageSummary, write_bands
from odc_bdc.building.quicklook import quicklook, write_png
from odc_bdc.building.store import ImageStore
from odc_bdc.cog import ZSTD, Compression
from odc_bdc.indexing import dataset_document, read_header, write_document
from odc_bdc.indexing.documents import DOCUMENT_SUFFIX
from odc_bdc.timeline import Period

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from odc_bdc.cube import CubeSpec
    from odc_bdc.planning import CompositeTask


@dataclass(frozen=True, slots=True)
class WrittenImage:
    """An image that has just been published.

    Attributes
    ----------
    document
        Address of its EO3 document, as an index has it.
    summary
        What was seen while it was made.
    size
        Bytes of all its files.
    """

    document: str
    summary: ImageSummary
    size: int


def image_folder(task: CompositeTask, root: Path) -> Path:
    """Give where a task's files belong below a root of this machine, in the layout that it has."""
    return Path(root) / ImageStore.open(root).folder(task)


def document_path(task: CompositeTask, root: Path) -> Path:
    """Give where a task's EO3 document belongs below a root of this machine."""
    return Path(root) / ImageStore.open(root).document(task)


def write_image(
    task: CompositeTask,
    root: Path | ImageStore,
    *,
    processed: datetime,
    properties: Mapping[str, Any] | None = None,
    threads: int = 1,
    compression: Compression = ZSTD,
) -> WrittenImage:
    """Compute and write a task's image, and publish it whole.

    Parameters
    ----------
    root
        Where; a path stands for the root there, in the layout that it has.
    processed
        Time of processing, for the documents.
    properties
        More properties for the documents, with values that JSON has.
    threads, compression
        As of `write_bands`.

    Raises
    ------
    UnreadableSceneError
        If a scene cannot be read.
    SceneError
        If `root` cannot be written, a full disk included; nothing stays behind then.
    """
    store = ImageStore.at(root)
    with store.partial(task) as folder:
        summary = write_bands(
            task, folder, threads=threads, compression=compression, store=store.efficacy
        )
        told = image_properties(task, summary, processed) | dict(properties or {})
        _write_documents(task, store, folder, summary, told)
        write_collection(task.cube, [task.period], store)
        size = sum(path.stat().st_size for path in folder.iterdir())
        store.publish(task, folder)
    return WrittenImage(store.document_uri(task), summary, size)


def _write_documents(
    task: CompositeTask,
    store: ImageStore,
    folder: Path,
    summary: ImageSummary,
    properties: Mapping[str, Any],
) -> None:
    """Write what belongs to the bands: picture, EO3 document, STAC item, checksums."""
    item_id = store.layout.item_id(task)
    bands = {}
    for name, path in summary.files.items():
        # The BDC's layouts have names of their own.
        bands[name] = path.rename(folder / f"{item_id}_{name}.tif")
    written = {n: WrittenFile.of_band(p, digest_file(p)) for n, p in bands.items()}
    others = {}
    accessories = {"checksum:sha1": f"{item_id}.sha1", "metadata:stac": f"{item_id}.json"}
    picture = quicklook(task.cube, summary.preview)
    if picture is not None:
        accessories["thumbnail"] = f"{item_id}.png"
        write_png(folder / f"{item_id}.png", picture)
        others["thumbnail"] = _digested(folder / f"{item_id}.png")
    location = folder / f"{item_id}{DOCUMENT_SUFFIX}"
    document = dataset_document(
        dataset_id=task.id,
        product=task.cube.name,
        label=item_id,
        files={name: read_header(str(path)) for name, path in bands.items()},
        properties=properties,
        location=location,
        lineage={"scenes": [scene.id for scene in task.scenes]},
        accessories=accessories,
    )
    write_document(document, location)
    others["metadata"] = _digested(location)
    item = stac_item(
        task,
        item_id,
        properties,
        written,
        collection=_collection_address(task, store),
        others=others,
        is_public=not store.is_local,
    )
    path = folder / f"{item_id}.json"
    path.write_text(_json(item.to_dict(include_self_link=False)), "utf-8")
    digests = [(f.name, f.digest) for f in (*written.values(), *others.values(), _digested(path))]
    (folder / f"{item_id}.sha1").write_text(sha1_lines(digests), "utf-8")


def write_collection(cube: CubeSpec, periods: Iterable[Period], store: ImageStore) -> None:
    """Write the STAC collection of a cube; its time comes to cover some periods as well.

    Builders that know nothing of each other may write it at once, and the last one wins: so a run
    writes it again at its end, with all that it has done.
    """
    path = cube.name + COLLECTION_SUFFIX
    known = store.storage.read(path)
    covered = [*periods, *([] if known is None else covered_by(known))]
    time = min(p.start for p in covered), max(p.end for p in covered)
    text = _json(stac_collection(cube, Period(*time), f"./{path}"))
    if known != text:
        store.storage.write(path, text)


def _collection_address(task: CompositeTask, store: ImageStore) -> str:
    depth = store.folder(task).count("/") + 1
    return "../" * depth + task.cube.name + COLLECTION_SUFFIX


def _digested(path: Path) -> WrittenFile:
    return WrittenFile(path.name, digest_file(path))


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
