"""EO3 dataset documents: made of raster files, given as plain data, and written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import yaml
from eodatasets3.model import ODC_DATASET_SCHEMA_URL

from odc_bdc.document import MOST_BYTES, excess
from odc_bdc.errors import SceneError
from odc_bdc.indexing.crs import eo3_crs, same_crs
from odc_bdc.indexing.raster import RasterFile, is_local
from odc_bdc.indexing.sources.files import asked, file_system, words
from odc_bdc.indexing.whole_file import whole_file

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

_Dumper: type[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_SafeLoader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Dates are read as text: an index holds them so, and takes another type for a change.
_NoDatesLoader: type[Any] = type(
    "_NoDatesLoader",
    (_SafeLoader,),
    {
        "yaml_implicit_resolvers": {
            first: [known for known in all_known if known[0] != "tag:yaml.org,2002:timestamp"]
            for first, all_known in _SafeLoader.yaml_implicit_resolvers.items()
        }
    },
)

DOCUMENT_SUFFIX = ".odc-metadata.yaml"


def dataset_document(
    *,
    dataset_id: uuid.UUID,
    product: str,
    label: str,
    files: Mapping[str, RasterFile],
    properties: Mapping[str, Any],
    location: Path | None,
    lineage: Mapping[str, Sequence[uuid.UUID]] | None = None,
    accessories: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Make an EO3 document as an index stores it: nothing but what JSON has.

    Parameters
    ----------
    files
        Raster file by measurement. All share one CRS. Files on the first one's pixel grid use the
        grid ``default``, others one named after the measurement.
    location
        Where the document will lie: files in its folder are named relative to it, so that a folder
        can be moved as a whole. None if it gets no file: then all names are absolute.
    accessories
        Name of each file beside the document that is no measurement, by what it is:
        ``thumbnail``, ``checksum:sha1``.

    Raises
    ------
    SceneError
        If the files differ in CRS.
    """
    first = next(iter(files.values()))
    grids = {"default": first.grid}
    measurements: dict[str, dict[str, Any]] = {}
    for name, file in files.items():
        if not same_crs(file.crs, first.crs):
            raise SceneError(f"{file.href}: its CRS {file.crs} is not that of {first.href}")
        measurements[name] = {"path": _path(file.href, location)}
        if file.band > 1:
            measurements[name]["band"] = file.band
        if (grid := _grid_name(file.grid, name, grids)) != "default":
            measurements[name]["grid"] = grid
    document = {
        "$schema": ODC_DATASET_SCHEMA_URL,
        "id": str(dataset_id),
        "label": label,
        "product": {"name": product},
        # EO3 wants an EPSG code or WKT; a proj string would not pass its validation.
        "crs": eo3_crs(first.crs),
        "geometry": _polygon(*first.bbox),
        "grids": {name: _grid(*grid) for name, grid in grids.items()},
        "properties": {key: _plain(value) for key, value in properties.items()},
        "measurements": measurements,
    }
    if accessories:
        document["accessories"] = {name: {"path": path} for name, path in accessories.items()}
    document["lineage"] = {name: [str(i) for i in ids] for name, ids in (lineage or {}).items()}
    return document


def _plain(value: Any) -> Any:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


def _polygon(xmin: float, ymin: float, xmax: float, ymax: float) -> dict[str, Any]:
    ring = [[xmax, ymin], [xmax, ymax], [xmin, ymax], [xmin, ymin], [xmax, ymin]]
    return {"type": "Polygon", "coordinates": [ring]}


def _grid(shape: Sequence[int], transform: Sequence[float]) -> dict[str, Any]:
    return {"shape": list(shape), "transform": [*transform, 0.0, 0.0, 1.0]}


def _grid_name(grid: Any, measurement: str, grids: dict[str, Any]) -> str:
    name = next((name for name, known in grids.items() if known == grid), measurement)
    grids.setdefault(name, grid)
    return name


def write_document(document: Mapping[str, Any], path: Path) -> None:
    """Write an EO3 document to `path`, whole or not at all.

    Raises
    ------
    SceneError
        If the folder cannot be written.
    """
    with ExitStack() as opened:
        try:
            stream = opened.enter_context(whole_file(path))
        except OSError as e:
            raise SceneError(
                f"{path}: cannot be written: {e.strerror}; give another folder with --out"
            ) from e
        os.fchmod(stream.fileno(), 0o644)
        stream.write(document_text(document))


def document_text(document: Mapping[str, Any]) -> str:
    """Give an EO3 document as the text of its file, in the order it has."""
    # The serialiser of eodatasets3 takes ten times as long.
    text: str = yaml.dump(
        dict(document),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,  # lists of numbers on one line
    )
    return text


def read_document(document: Path | str) -> tuple[dict[str, Any], str]:
    """Read an EO3 document; give it as an index takes it, and its address.

    Parameters
    ----------
    document
        Path, or address of any file system that `fsspec` knows.

    Raises
    ------
    SceneError
        If it cannot be read, or is too large.
    """
    uri = document.resolve().as_uri() if isinstance(document, Path) else document
    filesystem, path = file_system(uri)

    def read() -> bytes:
        # By an open file: not every bucket answers to a part that goes beyond the end.
        with filesystem.open(path, "rb") as file:
            found: bytes = file.read(MOST_BYTES + 1)
            return found

    text = asked(uri, read, error=SceneError)
    if len(text) > MOST_BYTES:
        raise SceneError(f"{document}: is longer than {MOST_BYTES >> 20} MB")
    if b"<<" in text:
        # It would be spelled out as it is read, however much that is.
        raise SceneError(f"{document}: has merge keys (<<), which no EO3 document has")
    try:
        found = yaml.load(text, _NoDatesLoader)  # noqa: S506 (it is a safe one)
    except (ValueError, RecursionError, yaml.YAMLError) as e:
        raise SceneError(f"{document}: cannot be read as YAML: {words(e)}") from e
    if reason := excess(found):
        raise SceneError(f"{document}: {reason}")
    if not isinstance(found, dict):
        raise SceneError(f"{document}: is no EO3 document")
    return found, uri


def _path(href: str, location: Path | None) -> str:
    if not is_local(href):
        return href
    path = Path(href.removeprefix("file://"))
    if location is not None:
        try:
            return path.resolve().relative_to(location.parent.resolve()).as_posix()
        except ValueError:
            path = path.resolve()
    return f"file://{quote(str(path if path.is_absolute() else path.resolve()))}"
