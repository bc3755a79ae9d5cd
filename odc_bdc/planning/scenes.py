"""Datasets of the index as scenes of a cube."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import dateutil.parser
from affine import Affine
from datacube.utils.uris import uri_resolve
from odc.geo.geobox import GeoBox

from odc_bdc.errors import SceneError
from odc_bdc.grid import Grid, normalise_crs
from odc_bdc.indexing.conversion import HREF
from odc_bdc.indexing.crs import same_crs
from odc_bdc.indexing.documents import DOCUMENT_SUFFIX
from odc_bdc.indexing.moment import as_utc
from odc_bdc.planning.task import BandSource, SceneRef

if TYPE_CHECKING:
    from collections.abc import Mapping

    from odc_bdc.cube import CubeSpec, Encoding, Source


class SceneDocument(Protocol):
    """What is needed of datacube's `Dataset`: the EO3 document, and where it is from."""

    @property
    def metadata_doc(self) -> Mapping[str, Any]:
        """The document, as an index has it."""

    @property
    def uri(self) -> str | None:
        """Address that relative paths of measurements start from."""


def scene_ref(
    dataset: SceneDocument, cube: CubeSpec, source: Source, encodings: Mapping[str, Encoding]
) -> SceneRef:
    """Give what a worker needs of an indexed scene of one of a cube's sources.

    Parameters
    ----------
    encodings
        How the source's product stores each of its measurements.

    Raises
    ------
    SceneError
        If the dataset lacks one of the cube's measurements, or its pixel grids cannot be read.
    """
    # Read from the document: each attribute of datacube's own objects is parsed anew, which takes
    # ten times as long for a scene.
    doc = dataset.metadata_doc
    wanted = [(m.name, source.band(m.name)) for m in cube.measurements]
    foreign = _foreign_grids(doc, cube)
    sources = []
    for ours, name in (*wanted, *((band, band) for band in source.quality.bands[1:])):
        known = doc["measurements"].get(name)
        if known is None:
            raise SceneError(f"dataset {doc['id']} of {source.product} has no measurement {name}")
        href = uri_resolve(dataset.uri, known["path"])
        warped = (known.get("grid") or "default") in foreign
        source_band = BandSource(href, encodings[name], known.get("band") or 1, warped)
        sources.append((ours, source_band))
    return SceneRef(
        id=uuid.UUID(doc["id"]),
        label=doc.get("label") or doc["id"],
        datetime=begin(dataset),
        platform=doc["properties"].get("eo:platform"),
        product=source.product,
        sources=tuple(sources),
        item=_item(dataset),
    )


def _foreign_grids(doc: Mapping[str, Any], cube: CubeSpec) -> set[str]:
    """Give the names of a dataset's pixel grids that do not lie on the cube's."""
    grid, resolution = cube.grid, cube.resolution
    try:
        return {
            name
            for name, told in (doc.get("grids") or {}).items()
            if not _lies_on(
                doc["crs"], tuple(told["shape"]), tuple(told["transform"][:6]), grid, resolution
            )
        }
    except (KeyError, TypeError, ValueError) as e:
        raise SceneError(
            f"dataset {doc.get('id')} does not say on which pixels it lies ({e}): index it anew"
        ) from e


@lru_cache(maxsize=4096)  # scenes share their grids
def _lies_on(
    crs: str, shape: tuple[int, int], transform: tuple[float, ...], grid: Grid, resolution: float
) -> bool:
    # Most scenes of another grid are of another CRS, which is told in less time.
    if not same_crs(crs, grid.crs):
        return False
    return grid.holds(GeoBox(shape, Affine(*transform), normalise_crs(crs)), resolution)


def _item(dataset: SceneDocument) -> str | None:
    """Give the address of a dataset's STAC item: its own, or that which its EO3 document tells."""
    told = dataset.metadata_doc["properties"].get(HREF) or ""
    if not (dataset.uri or DOCUMENT_SUFFIX).endswith(DOCUMENT_SUFFIX):
        return str(dataset.uri)
    return told if "://" in told else None


def begin(dataset: SceneDocument) -> datetime:
    """Give the time (UTC) at which a dataset begins."""
    properties = dataset.metadata_doc["properties"]
    said: Any = properties.get("dtr:start_datetime") or properties["datetime"]
    try:
        return as_utc(datetime.fromisoformat(said))
    except ValueError:
        return as_utc(dateutil.parser.parse(said)).astimezone(UTC)
