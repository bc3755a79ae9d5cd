"""An image is written as COGs with an EO3 document and a STAC item: all of it or nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pystac
import shapely.geometry

from odc_bdc.building.image import ImageSummary, write_bands
from odc_bdc.building.store import ImageStore
from odc_bdc.indexing import dataset_document, read_header, write_document
from odc_bdc.indexing.documents import DOCUMENT_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from odc_bdc.cube import Measurement
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

    Raises
    ------
    UnreadableSceneError
        If a scene cannot be read.
    SceneError
        If `root` cannot be written, a full disk included; nothing stays behind then.
    """
    store = root if isinstance(root, ImageStore) else ImageStore.open(root)
    with store.partial(task) as folder:
        summary = _write_files(task, folder, processed, properties or {})
        size = sum(path.stat().st_size for path in folder.iterdir())
        store.publish(task, folder)
    return WrittenImage(store.document_uri(task), summary, size)


def _write_files(
    task: CompositeTask, folder: Path, processed: datetime, more: Mapping[str, Any]
) -> ImageSummary:
    summary = write_bands(task, folder)
    files = {name: read_header(str(path)) for name, path in summary.files.items()}
    location = folder / f"{task.item_id}{DOCUMENT_SUFFIX}"
    properties = {**_properties(task, summary, processed), **more}
    document = dataset_document(
        dataset_id=task.id,
        product=task.cube.name,
        label=task.item_id,
        files=files,
        properties=properties,
        location=location,
        lineage={"scenes": [scene.id for scene in task.scenes]},
    )
    write_document(document, location)
    item = stac_item(task, properties)
    item.properties |= more
    item_path = folder / f"{task.item_id}.json"
    item.save_object(include_self_link=False, dest_href=str(item_path))
    return summary


def _properties(task: CompositeTask, summary: ImageSummary, processed: datetime) -> dict[str, Any]:
    seen, clear = summary.seen, summary.clear
    cube = task.cube
    properties = {
        "datetime": task.period.start_datetime,
        "dtr:start_datetime": task.period.start_datetime,
        "dtr:end_datetime": task.period.end_datetime,
        "odc:processing_datetime": processed,
        "odc:file_format": "GeoTIFF",
        "odc:region_code": task.tile_id,
        "odc:product_family": "cube",
        # Share of the pixels seen at all that no observation shows clear.
        "eo:cloud_cover": round(100.0 * (1 - clear / seen), 2) if seen else 100.0,
        "eo:platform": task.platform,
        "eo:instrument": cube.instrument,
        "eo:gsd": cube.resolution,
    }
    return {key: value for key, value in properties.items() if value is not None}


def stac_item(task: CompositeTask, properties: Mapping[str, Any]) -> pystac.Item:
    """Make the STAC item of an image, its files beside it.

    Parameters
    ----------
    properties
        Those of the EO3 document.
    """
    geobox, cube = task.geobox, task.cube
    lonlat = geobox.extent.to_crs("EPSG:4326", resolution=geobox.extent.boundingbox.span_x / 8)
    epsg = geobox.crs.epsg
    item = pystac.Item(
        id=task.item_id,
        geometry=shapely.geometry.mapping(lonlat.geom),
        bbox=list(lonlat.boundingbox.bbox),
        datetime=task.period.start_datetime,
        start_datetime=task.period.start_datetime,
        end_datetime=task.period.end_datetime,
        collection=cube.name,
        stac_extensions=[
            "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
            "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
            "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
        ],
        properties={
            "created": _iso(properties["odc:processing_datetime"]),
            "platform": task.platform,
            "instruments": [cube.instrument.lower()] if cube.instrument else [],
            "gsd": cube.resolution,
            "eo:cloud_cover": properties["eo:cloud_cover"],
            "bdc:tiles": [task.tile_id],
            "bdc:composite_function": cube.function.name,
            "proj:code": f"EPSG:{epsg}" if epsg else None,
            "proj:wkt2": geobox.crs.to_wkt(version="WKT2_2019"),
            "proj:shape": list(geobox.shape),
            "proj:transform": list(geobox.affine)[:6],
        },
    )
    for measurement in cube.outputs:
        item.add_asset(measurement.name, _asset(task, measurement))
    return item


def _asset(task: CompositeTask, measurement: Measurement) -> pystac.Asset:
    raster: dict[str, Any] = {"data_type": measurement.dtype}
    missing = measurement.missing
    if missing is not None:
        # JSON has no NaN; STAC writes it as text.
        raster["nodata"] = "nan" if math.isnan(missing) else missing
    if measurement.scale is not None:
        raster |= {"scale": measurement.scale, "offset": measurement.offset or 0.0}
    band = {"name": measurement.name}
    if common := measurement.common_name or next(iter(measurement.aliases), None):
        band["common_name"] = common
    return pystac.Asset(
        href=f"./{task.item_id}_{measurement.name}.tif",
        media_type=pystac.MediaType.COG,
        roles=["data"],
        extra_fields={"eo:bands": [band], "raster:bands": [raster]},
    )


def _iso(when: Any) -> str:
    return when.isoformat() if isinstance(when, datetime) else str(when)
