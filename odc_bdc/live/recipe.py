"""Recipes: what a live dataset has instead of pixels.

A recipe is a JSON document that holds all of a `CompositeTask`, so that whoever reads it needs no
index. It can be read by people, and says which version of the format it is.
"""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import orjson

from odc_bdc.cube import CubeSpec, Encoding
from odc_bdc.document import Faults, check_against_schema
from odc_bdc.errors import InvalidValueError, SourceError
from odc_bdc.files import ACCESS_VARIABLE, Access
from odc_bdc.indexing.sources.files import asked, file_system
from odc_bdc.live import RECIPE_SUFFIX
from odc_bdc.live.knowledge import knowledge_beside
from odc_bdc.live.roots import Roots, shown
from odc_bdc.planning import BandSource, CompositeTask, SceneRef
from odc_bdc.planning.task import WARP
from odc_bdc.timeline import Period

if TYPE_CHECKING:
    from odc_bdc.building.storage import Storage
    from odc_bdc.files import FileVersion

__all__ = [
    "AGAIN",
    "RECIPE_SUFFIX",
    "RECIPE_VERSION",
    "LiveRecipe",
    "parse_recipe",
    "quality_files",
    "quality_stamp",
    "read_recipe",
    "recipe_document",
    "recipe_text",
    "split_digest",
    "with_digest",
    "write_recipe",
]

AGAIN = "`odc-bdc cube declare` writes it anew"
"""What to do with a recipe that is not as its dataset says."""

RECIPE_VERSION = 2
"""The newest version; those up to it can be read. Version 2 tells which bands are warped."""

Unreadable: TypeAlias = Literal["fail", "skip"]
"""What a scene that cannot be read does to the image: there is none, or one of the others."""

_DIGEST = "sha256="
_ABOUT = "An image that odc_bdc composites from these scenes when somebody reads it"
_SAME_PLACE = 1e-6


@dataclass(frozen=True)
class LiveRecipe:
    """A recipe, read and checked.

    Attributes
    ----------
    task
        The image. Its `access` is that of who reads it; the document does not say it.
    n_clear
        Clear pixels of each of the task's observations over the whole tile, which make the order of
        scenes; None where they were not counted.
    unreadable
        Whether a scene that cannot be read fails the image or is left out.
    stamp
        `quality_stamp` of the files in which clear pixels were counted; None if it is not known.
    knowledge
        Folder (`odc_bdc.building.efficacy.EfficacyStore`) of what is known of the scenes; None if
        there is none. It follows from where the recipe lies; the document does not say it.
    id
        Of the dataset, as declared. It differs from that of the task if this release of odc_bdc
        would give other pixels than the one that declared it.
    checksum
        SHA-256 of the document, in hexadecimal digits.
    """

    task: CompositeTask
    n_clear: tuple[int | None, ...]
    unreadable: Unreadable = "fail"
    knowledge: Path | None = None
    id: uuid.UUID | None = None
    checksum: str = ""
    stamp: str | None = None


def recipe_document(
    task: CompositeTask,
    *,
    n_clear: Sequence[int | None] | None = None,
    unreadable: Unreadable = "fail",
    stamp: str | None = None,
) -> dict[str, Any]:
    """Write the recipe of a task as a JSON document.

    Parameters
    ----------
    n_clear, unreadable, stamp
        As of `LiveRecipe`; without `n_clear` none is known.

    Raises
    ------
    InvalidValueError
        If the cube was changed so that it has no YAML form, or numbers and observations differ.
    """
    numbers = {scene.id: number for number, scene in enumerate(task.scenes)}
    observations = [[numbers[s.id] for s in group] for group in task.observations]
    counts = [None] * len(observations) if n_clear is None else list(n_clear)
    if len(counts) != len(observations):
        raise InvalidValueError(
            f"{task.item_id}: {len(counts)} numbers of clear pixels for {len(observations)} "
            "observations"
        )
    geobox = task.geobox
    return {
        "recipe_version": _version(task),
        "about": _ABOUT,
        "id": str(task.id),
        "item": task.item_id,
        "tile": task.tile_id,
        "period": {"start": task.period.start.isoformat(), "end": task.period.end.isoformat()},
        "grid": {
            "crs": str(geobox.crs),
            "shape": list(geobox.shape),
            "transform": list(geobox.affine)[:6],
        },
        "outputs": [
            {"name": m.name, "dtype": m.dtype, "nodata": m.nodata} for m in task.cube.outputs
        ],
        "observations": [
            {"scenes": scenes, "n_clear": count}
            for scenes, count in zip(observations, counts, strict=True)
        ],
        "scenes": [_scene_document(scene) for scene in task.scenes],
        "unreadable": unreadable,
        **({} if stamp is None else {"stamp": stamp}),
        "cube": _cube_document(task.cube),
    }


def _version(task: CompositeTask) -> int:
    """Give the version of a recipe: the oldest that can say all, so that texts stay the same."""
    return RECIPE_VERSION if WARP in task.rules else 1


def quality_files(task: CompositeTask) -> list[str]:
    """Give the files in which clear pixels of a task are counted."""
    policies = {source.product: source.quality for source in task.cube.sources}
    own = task.cube.quality_measurement.name
    return [
        scene.source(band).href
        for scene in task.scenes
        for band in (own, *policies[scene.product].bands[1:])
    ]


def quality_stamp(task: CompositeTask, versions: Mapping[str, FileVersion | None]) -> str:
    """Give a checksum of the versions of `quality_files`."""
    found = (versions[href] for href in quality_files(task))
    told = [(v.size, v.mark) if v else None for v in found]
    return hashlib.sha256(orjson.dumps(told)).hexdigest()[:16]


def recipe_text(document: Mapping[str, Any]) -> str:
    """Write a recipe's document as the text of its file."""
    # Flags have numbers for keys.
    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(document, option=options).decode()


def write_recipe(document: Mapping[str, Any], storage: Storage, path: str) -> str:
    """Write a recipe's file, whole or not at all, and give its address with the digest.

    Parameters
    ----------
    storage, path
        Where to: a place of `odc_bdc.building.storage`, and a path in it.

    Raises
    ------
    SceneError
        If it cannot be written.
    """
    text = recipe_text(document)
    storage.write(path, text)
    return with_digest(storage.uri(path), text)


def with_digest(address: str, text: str) -> str:
    """Give the address of a recipe as datasets have it: with the digest of its text."""
    return f"{address}#{_DIGEST}{hashlib.sha256(text.encode()).hexdigest()}"


def split_digest(href: str) -> tuple[str, str | None]:
    """Give the address of a recipe, and the digest that a dataset has with it, if it has one."""
    address, _, digest = href.rpartition(f"#{_DIGEST}")
    return (address, digest) if address else (href, None)


def read_recipe(href: str, roots: Roots, access: Access | None = None) -> LiveRecipe:
    """Read a recipe by its address, as a dataset has it.

    Parameters
    ----------
    href
        Address with the digest, see `with_digest`.
    roots
        Below which recipes are read.
    access
        How to get at the scenes.

    Raises
    ------
    SourceError
        If it does not lie below the roots, there is no such file, it cannot be read, or is not the
        one that was declared.
    InvalidValueError
        If it is no recipe, or one of a newer version, or of a cube that this installation cannot
        compute; one line for each fault.
    """
    address, digest = split_digest(href)
    place, where = roots.place(address), shown(address)
    if digest is None:
        raise SourceError(f"{where}: its dataset does not say which text it has: {AGAIN}")
    filesystem, path = file_system(place)
    data = asked(where, lambda: filesystem.cat_file(path))
    if hashlib.sha256(data).hexdigest() != digest:
        raise SourceError(f"{where}: is not the recipe that was declared: {AGAIN}")
    return replace(parse_recipe(data, where, access), knowledge=knowledge_beside(place, roots))


def parse_recipe(text: bytes | str, where: str, access: Access | None = None) -> LiveRecipe:
    """Make a recipe from the text of its file; `where` names it in messages.

    Parameters
    ----------
    access
        How to get at the scenes.

    Raises
    ------
    InvalidValueError
        As `read_recipe`.
    """
    data = text.encode() if isinstance(text, str) else text
    doc = _checked(data, where)
    try:
        task = CompositeTask(
            _cube(orjson.dumps(doc["cube"])),
            doc["tile"],
            Period(*(date.fromisoformat(doc["period"][key]) for key in ("start", "end"))),
            tuple(_scene(scene) for scene in doc["scenes"]),
            access or Access(),
        )
        _check_task(doc, task)
    except ValueError as e:
        # A cube that is not valid, a day that does not exist, or the like.
        raise InvalidValueError("\n".join(f"{where}: {m}" for m in str(e).splitlines())) from e
    return LiveRecipe(
        task,
        tuple(observation["n_clear"] for observation in doc["observations"]),
        doc["unreadable"],
        id=uuid.UUID(doc["id"]),
        checksum=hashlib.sha256(data).hexdigest(),
        stamp=doc.get("stamp"),
    )


def _checked(data: bytes, where: str) -> dict[str, Any]:
    try:
        doc = orjson.loads(data)
    except orjson.JSONDecodeError as e:
        raise InvalidValueError(f"{where}: cannot be read as JSON: {e}") from e
    version = doc.get("recipe_version") if isinstance(doc, dict) else None
    if type(version) is not int:
        raise InvalidValueError(
            f"{where}: is no recipe of a live cube: it says no `recipe_version`"
        )
    if version > RECIPE_VERSION:
        raise InvalidValueError(
            f"{where}: is a recipe of version {version}, and this odc_bdc knows those up to "
            f"{RECIPE_VERSION}: update odc_bdc here, with all its workers"
        )
    if old := [key for key in ("access", "knowledge") if key in doc]:
        raise InvalidValueError(
            f"{where}: says {' and '.join(old)}, which are not taken from recipes (rules of access "
            f"are those of {ACCESS_VARIABLE} where it is read): {AGAIN}"
        )
    faults = Faults(where)
    check_against_schema(doc, "odc_bdc.live", "recipe.schema.yaml", faults)
    faults.check()
    return dict(doc)


def _check_task(doc: Mapping[str, Any], task: CompositeTask) -> None:
    """See that what a recipe says twice is the same."""
    faults = Faults("recipe")
    number = {id(scene): n for n, scene in enumerate(task.scenes)}
    try:
        groups = [[number[id(scene)] for scene in group] for group in task.observations]
    except KeyError:  # a product that is none of the cube's sources
        groups = []
    if groups != [observation["scenes"] for observation in doc["observations"]]:
        faults.add(("observations",), "are not what days and satellites of the scenes make")
    grid, geobox = doc["grid"], task.geobox
    pixel = abs(geobox.affine.a)
    transform = zip(grid["transform"], list(geobox.affine)[:6], strict=True)
    shift = max(abs(a - b) for a, b in transform) / pixel
    if grid["shape"] != list(geobox.shape) or shift > _SAME_PLACE:
        faults.add(("grid",), f"is not that of tile {task.tile_id} of cube {task.cube.name}")
    outputs = [[m.name, m.dtype] for m in task.cube.outputs]
    if outputs != [[output["name"], output["dtype"]] for output in doc["outputs"]]:
        faults.add(("outputs",), "are not those of the cube")
    faults.check()


@lru_cache(maxsize=32)
def _cube_document(cube: CubeSpec) -> dict[str, Any]:
    """Write the YAML form of a cube, having seen that it says all."""
    doc = cube.to_dict()
    if _cube(orjson.dumps(doc, option=orjson.OPT_NON_STR_KEYS)) != cube:
        raise InvalidValueError(
            f"cube {cube.name} was changed so that it has no YAML form, which recipes hold"
        )
    return doc


@lru_cache(maxsize=32)
def _cube(text: bytes) -> CubeSpec:
    """Make a cube from its YAML form in JSON: recipes of a cube all hold the same."""
    doc = orjson.loads(text)
    for measurement in doc.get("measurements", ()):
        if "flags_definition" in measurement:
            measurement["flags_definition"] = _flags(measurement["flags_definition"])
    return CubeSpec.from_dict(doc)


def _flags(value: Any) -> Any:
    """Give flags with numbers for keys again, which JSON has not."""
    if not isinstance(value, dict):
        return value
    return {int(k) if k.isdecimal() else k: _flags(v) for k, v in value.items()}


def _scene_document(scene: SceneRef) -> dict[str, Any]:
    doc: dict[str, Any] = {
        "id": str(scene.id),
        "label": scene.label,
        "datetime": scene.datetime.isoformat(),
        "platform": scene.platform,
        "product": scene.product,
    }
    if scene.item is not None:
        doc["item"] = scene.item
    return doc | {"bands": {name: _band_document(source) for name, source in scene.sources}}


def _band_document(source: BandSource) -> dict[str, Any]:
    doc = {"href": source.href, **_stored(source.encoding, source.band)}
    return doc | {"warped": True} if source.warped else doc


@lru_cache(maxsize=256)  # those of a product's scenes are alike
def _stored(known: Encoding, band: int) -> dict[str, Any]:
    nodata: Any = known.nodata
    if nodata is not None and math.isnan(nodata):
        nodata = "NaN"
    optional = {
        "band": None if band == 1 else band,
        "nodata": nodata,
        "scale": known.scale,
        "offset": known.offset,
    }
    doc: dict[str, Any] = {"dtype": known.dtype}
    return doc | {key: value for key, value in optional.items() if value is not None}


def _scene(doc: Mapping[str, Any]) -> SceneRef:
    when = datetime.fromisoformat(doc["datetime"])
    if when.tzinfo is None:
        raise InvalidValueError(f"scene {doc['label']}: time {doc['datetime']} lacks its zone")
    return SceneRef(
        uuid.UUID(doc["id"]),
        doc["label"],
        when,
        doc["platform"],
        doc["product"],
        tuple((name, _band(band)) for name, band in doc["bands"].items()),
        doc.get("item"),
    )


def _band(doc: Mapping[str, Any]) -> BandSource:
    nodata: Any = math.nan if doc.get("nodata") == "NaN" else doc.get("nodata")
    encoding = Encoding(doc["dtype"], nodata, doc.get("scale"), doc.get("offset"))
    return BandSource(doc["href"], encoding, doc.get("band", 1), doc.get("warped", False))
