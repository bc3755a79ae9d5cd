"""Folders of scenes without STAC: what the names of files tell becomes an item.

Each layout reads the name of a file; pixels are told by the headers of the files, when the item is
made a document.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from odc_bdc.document import MOST_BYTES
from odc_bdc.errors import InvalidValueError, SceneError
from odc_bdc.indexing.found import FoundItem
from odc_bdc.naming import FileName

if TYPE_CHECKING:
    from odc_bdc.indexing.recipe import IngestRecipe

_RASTERS = (".tif", ".tiff", ".jp2")
_PICTURES = frozenset({"TCI", "PVI"})


@dataclass(frozen=True, slots=True)
class SceneFile:
    """What the name of a file tells.

    Attributes
    ----------
    item_id
        Id of the scene, as STAC catalogues have it.
    band
        Band, which is the key of the asset.
    properties
        Those of a STAC item.
    collection
        Id of the collection; None where names do not tell.
    pixel_size
        Metres, where a scene has a band in several sizes; the finest is taken.
    """

    item_id: str
    band: str
    properties: Mapping[str, Any] = field(hash=False)
    collection: str | None = None
    pixel_size: int = 0


Layout: TypeAlias = Callable[[Path], SceneFile | None]
"""Reads the name of a file; None if it is not of this layout."""

_Named: TypeAlias = tuple[SceneFile, Path]


def folder_items(recipe: IngestRecipe, folder: Path) -> Iterator[FoundItem]:
    """Give an item for each scene of a folder, found by the names of its files.

    Parameters
    ----------
    recipe
        Names the collection, and the layout if its source does; else each file's name decides.

    Yields
    ------
    FoundItem
        With the reason where the metadata of a scene cannot be read.

    Raises
    ------
    InvalidValueError
        If there is no such folder, or no scene in it.
    """
    if not folder.is_dir():
        raise InvalidValueError(f"{folder}: no such folder")
    named = recipe.source.layout if recipe.source else None
    layouts = (named,) if named else tuple(LAYOUTS)
    found = False
    for root, files in _scene_folders(folder):
        for item_id, scene in _scenes(files, layouts).items():
            found = True
            yield _found(recipe, root, item_id, scene)
    if not found:
        raise InvalidValueError(
            f"{folder}: no STAC item and no scene in this folder; the files of scenes are named as "
            f"in the layouts {', '.join(layouts)}"
        )


def _scene_folders(folder: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Give each folder with the raster files in it; those of a SAFE lie below it."""
    for place, below, names in os.walk(folder):
        root = Path(place)
        below.sort()
        if root.suffix == ".SAFE":
            below.clear()
            yield root, sorted(p for p in root.rglob("IMG_DATA/**/*") if _is_raster(p.name))
        elif files := sorted(root / name for name in names if _is_raster(name)):
            yield root, files


def _is_raster(name: str) -> bool:
    return name.lower().endswith(_RASTERS)


def _scenes(files: list[Path], layouts: tuple[str, ...]) -> dict[str, dict[str, _Named]]:
    """Group files by scene and band; of a band in several pixel sizes the finest is kept."""
    scenes: dict[str, dict[str, _Named]] = {}
    for path in files:
        read = next((s for name in layouts if (s := LAYOUTS[name](path)) is not None), None)
        if read is None or read.band in _PICTURES:
            continue
        bands = scenes.setdefault(read.item_id, {})
        if read.band not in bands or read.pixel_size < bands[read.band][0].pixel_size:
            bands[read.band] = (read, path)
    return scenes


def _found(
    recipe: IngestRecipe, root: Path, item_id: str, bands: Mapping[str, _Named]
) -> FoundItem:
    source, root = str(root / item_id), root.resolve()
    first = next(iter(bands.values()))[0]
    try:
        properties = {**first.properties, **_beside(root, item_id)}
    except SceneError as e:
        return FoundItem(source, str(root / item_id), None, str(e))
    document = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": item_id,
        "collection": first.collection or recipe.collection,
        "properties": properties,
        "assets": {
            band: {"href": str(path.resolve()), "roles": ["data"]}
            for band, (_, path) in sorted(bands.items())
        },
    }
    return FoundItem(source, str(root / item_id), document)


def _beside(root: Path, item_id: str) -> dict[str, Any]:
    """Read the metadata that lies beside the files of a scene, if there is some."""
    for path, read in (
        (root / f"{item_id}_MTL.json", _mtl_json),
        (root / f"{item_id}_MTL.txt", _mtl_text),
        (root / "MTD_MSIL2A.xml", _mtd),
    ):
        try:
            with path.open("rb") as file:
                text = file.read(MOST_BYTES + 1)
            if len(text) > MOST_BYTES:
                raise ValueError(f"it is longer than {MOST_BYTES >> 20} MB")  # noqa: TRY301
            return read(text.decode("utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RecursionError) as e:
            raise SceneError(f"{path}: cannot be read: {e}") from e
    return {}


def _mtl_json(text: str) -> dict[str, Any]:
    values: dict[str, str] = {}
    groups = [json.loads(text)]
    while groups:
        group = groups.pop(0)
        if not isinstance(group, dict):
            raise ValueError("it is not a JSON object")  # noqa: TRY004 (of a document, not a call)
        groups += [value for value in group.values() if isinstance(value, dict)]
        for key, value in group.items():
            if isinstance(value, str):
                values.setdefault(key, value)
    return _of_mtl(values)


def _mtl_text(text: str) -> dict[str, Any]:
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            values.setdefault(key.strip(), value.strip().strip('"'))
    return _of_mtl(values)


def _of_mtl(values: Mapping[str, str]) -> dict[str, Any]:
    """Read what USGS's metadata file tells of a scene."""
    lacking = [
        k for k in ("DATE_ACQUIRED", "SCENE_CENTER_TIME", "SPACECRAFT_ID") if k not in values
    ]
    if lacking:
        raise ValueError(f"it has no {', '.join(lacking)}")
    sensor = values.get("SENSOR_ID", "").lower()
    return {
        "datetime": f"{values['DATE_ACQUIRED']}T{values['SCENE_CENTER_TIME']}",
        "platform": values["SPACECRAFT_ID"].lower().replace("_", "-"),
        **({"instruments": sensor.split("_")} if sensor else {}),
        **({"eo:cloud_cover": cover} if (cover := _percent(values.get("CLOUD_COVER"))) else {}),
    }


def _mtd(text: str) -> dict[str, Any]:
    found = re.search(r"<Cloud_Coverage_Assessment>([^<]+)<", text)
    cover = _percent(found[1]) if found else None
    return {} if cover is None else {"eo:cloud_cover": cover}


def _percent(text: str | None) -> float | None:
    # -1 stands for unknown.
    return None if text is None or float(text) < 0 else float(text)


def _bdc_v1(path: Path) -> SceneFile | None:
    return _bdc(path, v2=False)


def _bdc_v2(path: Path) -> SceneFile | None:
    return _bdc(path, v2=True)


def _bdc(path: Path, *, v2: bool) -> SceneFile | None:
    """Read a name of the BDC; V2 tells the first day only."""
    try:
        name = FileName.parse(path.name)
    except InvalidValueError:
        return None
    item = name.item
    if name.band is None or (item.collection.generation == "V2") != v2:
        return None
    properties = {"bdc:tiles": [item.tile_id], "datetime": f"{item.start.isoformat()}T00:00:00Z"}
    if item.end is not None:
        properties["start_datetime"] = properties["datetime"]
        properties["end_datetime"] = f"{item.end.isoformat()}T00:00:00Z"
    return SceneFile(str(item), name.band, properties, str(item.collection))


_LANDSAT = re.compile(
    r"(?P<id>L[COTEM]0\d_L\w{3}_(?P<tile>\d{6})_(?P<date>\d{8})_\d{8}_\d{2}_(?:T1|T2|RT))"
    r"_(?P<band>\w+)\.tiff?",
    re.IGNORECASE,
)


def _landsat_c2(path: Path) -> SceneFile | None:
    """Read a name of USGS: ``LC08_L2SP_218068_20200828_20200905_02_T1_SR_B2.TIF``."""
    found = _LANDSAT.fullmatch(path.name)
    when = found and _date(found["date"])
    if not found or not when:
        return None
    told = {
        "datetime": when,
        "bdc:tiles": [found["tile"]],
        "landsat:wrs_path": found["tile"][:3],
        "landsat:wrs_row": found["tile"][3:],
    }
    return SceneFile(found["id"], found["band"], told)


_SENTINEL_ID = (
    r"(?P<id>(?P<mission>S2[A-D])_MSIL2A_(?P<date>\d{8}T\d{6})_N\d{4}_R\d{3}_T(?P<tile>\d{2}[A-Z]{3})"
    r"_\d{8}T\d{6})"
)
_BAND = r"(?P<band>B\d[\dA]|SCL|AOT|WVP|TCI)(?:_(?P<size>\d\d)m)?"
_SAFE = re.compile(rf"{_SENTINEL_ID}\.SAFE/.*/T\w{{5}}_\d{{8}}T\d{{6}}_{_BAND}\.(?:jp2|tiff?)")
_COGS = (
    re.compile(rf".*?{_SENTINEL_ID}_{_BAND}\.tiff?"),
    re.compile(rf".*?{_SENTINEL_ID}/(?:T\w{{5}}_\d{{8}}T\d{{6}}_)?{_BAND}\.tiff?"),
    re.compile(
        r".*?(?P<id>(?P<mission>S2[A-D])_(?P<tile>\d{2}[A-Z]{3})_(?P<date>\d{8})_\d+_L2A)/"
        rf"{_BAND}\.tiff?"
    ),
)


def _sentinel2_safe(path: Path) -> SceneFile | None:
    """Read a name of ESA: ``<scene>.SAFE/GRANULE/<granule>/IMG_DATA/R10m/T.._.._B02_10m.jp2``."""
    safe = next((p for p in path.parents if p.suffix == ".SAFE"), None)
    if safe is None:
        return None
    return _sentinel(_SAFE.fullmatch(path.relative_to(safe.parent).as_posix()))


def _sentinel2_cog(path: Path) -> SceneFile | None:
    """Read ``<scene>_B02.tif``, ``<scene>/B02.tif`` or ``S2A_36QWD_20200701_0_L2A/B02.tif``."""
    name = f"{path.parent.name}/{path.name}"
    return _sentinel(next(filter(None, (form.fullmatch(name) for form in _COGS)), None))


def _sentinel(found: re.Match[str] | None) -> SceneFile | None:
    when = found and _date(found["date"])
    if not found or not when:
        return None
    told = {
        "datetime": when,
        "bdc:tiles": [found["tile"]],
        "platform": f"sentinel-{found['mission'][1:].lower()}",
        "instruments": ["msi"],
    }
    return SceneFile(found["id"], found["band"], told, pixel_size=int(found["size"] or 0))


_CBERS = re.compile(
    r"(?P<id>CBERS_(?P<number>4A?)_(?P<sensor>AWFI|WFI|MUX)_(?P<date>\d{8})_(?P<path>\d{3})_"
    r"(?P<row>\d{3})_L\w+?)_(?P<band>BAND\d+|CMASK|NDVI|EVI)(?:_GRID_SURFACE)?\.tiff?"
)


def _cbers_inpe(path: Path) -> SceneFile | None:
    """Read a name of INPE's catalogue: ``CBERS_4_AWFI_20200828_157_118_L4_BAND13.tif``."""
    found = _CBERS.fullmatch(path.name)
    when = found and _date(found["date"])
    if not found or not when:
        return None
    told = {
        "datetime": when,
        "bdc:tiles": [found["path"] + found["row"]],
        "platform": f"cbers-{found['number'].lower()}",
        "instruments": [found["sensor"].lower()],
    }
    return SceneFile(found["id"], found["band"], told)


def _date(text: str) -> str | None:
    """Write the date of a name, with its time if it has one, as STAC does; None if it is none."""
    try:
        return f"{datetime.fromisoformat(text).isoformat()}Z"
    except ValueError:
        return None


LAYOUTS: dict[str, Layout] = {
    "bdc-v1": _bdc_v1,
    "bdc-v2": _bdc_v2,
    "landsat-c2": _landsat_c2,
    "sentinel2-safe": _sentinel2_safe,
    "sentinel2-cog": _sentinel2_cog,
    "cbers-inpe": _cbers_inpe,
}
"""How the files of a folder may be named."""
