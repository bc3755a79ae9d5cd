"""What is told of an image: properties, its STAC item, and the collection of its cube."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pystac
import shapely.geometry
from odc.geo.geom import box
from pystac.extensions.eo import Band

from odc_bdc import __version__
from odc_bdc.building.checksums import FileDigest
from odc_bdc.compositing import COMPOSITE_VERSION
from odc_bdc.grid import epsg_code
from odc_bdc.indexing.href import Href
from odc_bdc.indexing.raster import is_local, open_raster
from odc_bdc.timeline import Period

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from odc.geo.geobox import GeoBox

    from odc_bdc.building.image import ImageSummary
    from odc_bdc.cube import CubeSpec, Measurement
    from odc_bdc.planning import CompositeTask

EXTENSIONS = tuple(
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in ("projection/v2.0.0", "eo/v1.1.0", "raster/v1.1.0", "file/v2.1.0",
                 "processing/v1.2.0")
)  # fmt: skip
"""STAC extensions of the items."""

COLLECTION_SUFFIX = ".collection.json"

_EVERYWHERE = (-180.0, -90.0, 180.0, 90.0)
_THUMBNAIL, _METADATA = "thumbnail", "metadata"


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file of an image.

    Attributes
    ----------
    name
        In the image's folder.
    """

    name: str
    digest: FileDigest
    block: tuple[int, int] | None = None

    @classmethod
    def of_band(cls, path: Path, digest: FileDigest) -> WrittenFile:
        """Note a raster file with the shape of its blocks."""
        with open_raster(Href.parse(str(path))) as src:
            return cls(path.name, digest, src.block_shapes[0])

    def to_stac(self) -> dict[str, Any]:
        """Give the fields that a STAC asset has of it."""
        return {"file:size": self.digest.size, "file:checksum": self.digest.multihash}


def image_properties(
    task: CompositeTask, summary: ImageSummary, processed: datetime
) -> dict[str, Any]:
    """Give the properties of an image's EO3 document.

    Percentages are of pixels: ``eo:cloud_cover`` is the share of those that were seen at all which
    no observation shows clear; ``odc_bdc:valid_percent`` and ``odc_bdc:clear_percent`` the share of
    all that were seen, and that were seen clear.

    Parameters
    ----------
    processed
        Time of processing.
    """
    seen, clear = summary.seen, summary.clear
    return {
        **task_properties(task, processed),
        "eo:cloud_cover": _percent(seen - clear, seen, none=100.0),
        "odc_bdc:valid_percent": _percent(seen, summary.pixels),
        "odc_bdc:clear_percent": _percent(clear, summary.pixels),
    }


def task_properties(task: CompositeTask, processed: datetime) -> dict[str, Any]:
    """Give the properties of an EO3 document that follow from a task alone."""
    properties = {
        **period_properties(task.period, processed),
        "odc:region_code": task.tile_id,
        "odc:product_family": "cube",
        "eo:platform": task.platform,
        "eo:instrument": task.cube.instrument,
        "eo:gsd": task.cube.resolution,
        "odc_bdc:scenes": len(task.scenes),
        "odc_bdc:observations": len(task.observations),
        "processing:level": "L3",
        "processing:version": COMPOSITE_VERSION,
        "processing:software": {"odc_bdc": __version__},
        "processing:lineage": _lineage(task),
    }
    return {key: value for key, value in properties.items() if value is not None}


def period_properties(period: Period, processed: datetime) -> dict[str, Any]:
    """Give the properties of an EO3 document that each image of a period has."""
    return {
        "datetime": period.start_datetime,
        "dtr:start_datetime": period.start_datetime,
        "dtr:end_datetime": period.end_datetime,
        "odc:processing_datetime": processed,
        "odc:file_format": "GeoTIFF",
    }


def stac_item(
    task: CompositeTask,
    item_id: str,
    properties: Mapping[str, Any],
    bands: Mapping[str, WrittenFile],
    *,
    collection: str,
    others: Mapping[str, WrittenFile],
    is_public: bool,
) -> pystac.Item:
    """Make the STAC item of an image, its files beside it.

    Parameters
    ----------
    properties
        Those of the EO3 document.
    bands
        File of each output, by name.
    collection
        Address of the collection, relative to the item.
    others
        Files that are no bands, by the name of their asset: ``thumbnail``, ``metadata``.
    is_public
        Whether others than this machine read the item, so that it may not point to scenes here.
    """
    geometry, bbox = footprint(task.geobox)
    item = pystac.Item(
        id=item_id,
        geometry=geometry,
        bbox=bbox,
        datetime=task.period.start_datetime,
        start_datetime=task.period.start_datetime,
        end_datetime=task.period.end_datetime,
        collection=task.cube.name,
        stac_extensions=list(EXTENSIONS),
        properties=_stac_properties(task, properties) | projection_fields(task.geobox),
    )
    item.add_link(pystac.Link("collection", collection, pystac.MediaType.JSON))
    for scene in task.scenes:
        if scene.item and not (is_public and is_local(scene.item)):
            item.add_link(
                pystac.Link("derived_from", scene.item, pystac.MediaType.JSON, scene.label)
            )
    for measurement in task.cube.outputs:
        item.add_asset(measurement.name, _asset(task, measurement, bands[measurement.name]))
    kinds = {_THUMBNAIL: pystac.MediaType.PNG, _METADATA: "text/yaml"}
    for role, file in others.items():
        item.add_asset(
            role,
            pystac.Asset(f"./{file.name}", None, None, kinds[role], [role], file.to_stac()),
        )
    return item


def stac_collection(cube: CubeSpec, time: Period, address: str) -> dict[str, Any]:
    """Make the STAC collection of a cube: what its items have in common.

    It names no items, for these come and go while others read it.

    Parameters
    ----------
    time
        From the first day that an image is of to the last.
    address
        Of the collection, from itself.
    """
    bbox = _EVERYWHERE
    interval: list[datetime | None] = [time.start_datetime, time.end_datetime]
    if cube.extent:
        lonlat = box(*cube.extent, cube.grid.odc_crs).to_crs("EPSG:4326", resolution="auto")
        bbox = lonlat.boundingbox.bbox
    collection = pystac.Collection(
        id=cube.name,
        title=cube.title["en"],
        description=cube.description["en"],
        license=cube.license,
        extent=pystac.Extent(pystac.SpatialExtent([list(bbox)]), pystac.TemporalExtent([interval])),
        extra_fields={
            **_bdc_fields(cube),
            "bdc:temporal_composition": cube.timeline.to_dict(),
        },
    )
    collection.clear_links()
    if not cube.license.startswith("LicenseRef"):
        licence = f"https://spdx.org/licenses/{cube.license}.html"
        collection.add_link(pystac.Link("license", licence, pystac.MediaType.HTML))
    document = collection.to_dict(include_self_link=False)
    # pystac takes a relative root for one of a collection that knows its own address.
    root = {
        "rel": "root",
        "href": address,
        "type": pystac.MediaType.JSON,
        "title": collection.title,
    }
    document["links"].insert(0, root)
    return document


def covered_by(collection: str) -> list[Period]:
    """Give the time that a written collection covers; none if it says none, or cannot be read."""
    try:
        ((start, end),) = json.loads(collection)["extent"]["temporal"]["interval"]
        return [Period(*(datetime.fromisoformat(text).date() for text in (start, end)))]
    except (ValueError, KeyError, TypeError):
        return []


def footprint(geobox: GeoBox) -> tuple[dict[str, Any], list[float]]:
    """Give the outline of a pixel grid as GeoJSON, and its box: both in degrees."""
    # Straight edges of a tile are curves in degrees.
    lonlat = geobox.extent.to_crs("EPSG:4326", resolution=geobox.extent.boundingbox.span_x / 8)
    return shapely.geometry.mapping(lonlat.geom), list(lonlat.boundingbox.bbox)


def projection_fields(geobox: GeoBox) -> dict[str, Any]:
    """Give a pixel grid as properties of the STAC extension projection."""
    code = epsg_code(geobox.crs)
    return {
        "proj:code": f"EPSG:{code}" if code else None,
        "proj:wkt2": geobox.crs.to_wkt(version="WKT2_2019"),
        "proj:shape": list(geobox.shape),
        "proj:transform": list(geobox.affine)[:6],
    }


def band_fields(measurement: Measurement, resolution: float) -> dict[str, Any]:
    """Give a band as fields that a STAC asset has by the extensions raster and eo."""
    raster: dict[str, Any] = {
        "data_type": measurement.dtype,
        "sampling": "area",
        "spatial_resolution": resolution,
    }
    missing = measurement.missing
    if missing is not None:
        # JSON has no NaN; STAC writes it as text.
        raster["nodata"] = "nan" if math.isnan(missing) else missing
    if measurement.scale is not None:
        raster |= {"scale": measurement.scale, "offset": measurement.offset or 0.0}
    band = {"name": measurement.name}
    if common := _common_name(measurement):
        band["common_name"] = common
    return {"eo:bands": [band], "raster:bands": [raster]}


def _stac_properties(task: CompositeTask, properties: Mapping[str, Any]) -> dict[str, Any]:
    cube = task.cube
    processed = _iso(properties["odc:processing_datetime"])
    own = {
        key: value
        for key, value in properties.items()
        if key.startswith(("odc_bdc:", "processing:")) or key == "eo:cloud_cover"
    }
    made = {
        "created": processed,
        "platform": task.platform,
        "instruments": [cube.instrument.lower()] if cube.instrument else None,
        "gsd": cube.resolution,
        "license": cube.license,
        "bdc:tiles": [task.tile_id],
        **_bdc_fields(cube),
        "processing:datetime": processed,
        **own,
    }
    return {key: value for key, value in made.items() if value is not None}


def _bdc_fields(cube: CubeSpec) -> dict[str, Any]:
    return {"bdc:grs": cube.grid.name, "bdc:composite_function": cube.function.name}


def _asset(task: CompositeTask, measurement: Measurement, file: WrittenFile) -> pystac.Asset:
    rows, columns = task.geobox.shape
    bdc: dict[str, Any] = {
        "bdc:size": file.digest.size,
        "bdc:raster_size": {"x": columns, "y": rows},
    }
    if file.block:
        bdc["bdc:chunk_size"] = {"x": file.block[1], "y": file.block[0]}
    return pystac.Asset(
        href=f"./{file.name}",
        title=measurement.name,
        media_type=pystac.MediaType.COG,
        roles=["data"],
        extra_fields={**band_fields(measurement, task.cube.resolution), **file.to_stac(), **bdc},
    )


def _common_name(measurement: Measurement) -> str | None:
    """Give the name that the eo extension has for a band; it has a closed list."""
    for name in (measurement.common_name, *measurement.aliases):
        if name and Band.band_range(name):
            return name
    return None


def _lineage(task: CompositeTask) -> str:
    scenes, observations = len(task.scenes), len(task.observations)
    return (
        f"{task.cube.function.name} of {scenes} scene{'s' * (scenes != 1)} in {observations} "
        f"observation{'s' * (observations != 1)} of {', '.join(task.cube.products)}, "
        f"{task.period.start} to {task.period.end}"
    )


def _percent(part: int, whole: int, *, none: float = 0.0) -> float:
    return round(100.0 * part / whole, 2) if whole else none


def _iso(when: Any) -> str:
    return when.isoformat().replace("+00:00", "Z") if isinstance(when, datetime) else str(when)
