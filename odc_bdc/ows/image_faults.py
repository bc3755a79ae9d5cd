"""Whether images are what the index says of them, looked at in a few of each product."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from datacube.model import Range
from datacube.utils.uris import uri_resolve

from odc_bdc.errors import InvalidValueError, SceneError
from odc_bdc.grid import normalise_crs
from odc_bdc.indexing.raster import local_path, read_header
from odc_bdc.indexing.readers import has_reader
from odc_bdc.ows.overviews import is_made_of_all
from odc_bdc.planning import overview_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from datacube import Datacube
    from datacube.model import Dataset, Measurement

    from odc_bdc.indexing.raster import RasterFile

Found = tuple[str, str]
"""What is wrong, and what mends it."""

_DAY = timedelta(days=1)
_RASTERS = frozenset({"geotiff", "gtiff", "cog", "netcdf", "jpeg2000", "jp2", "vrt", "zarr"})
_SHOWN = 3


def image_faults(dc: Datacube, product: str, dates: Sequence[date]) -> Iterator[Found]:
    """Look at an image of the first and of the last date of a product.

    Parameters
    ----------
    dates
        That the services believe the product to have, in order.
    """
    for day in sorted({dates[0], dates[-1]}) if dates else ():
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        # A date may be that of the Sun.
        time = Range(start - _DAY, start + 2 * _DAY)
        dataset = next(iter(dc.index.datasets.search(product=product, time=time, limit=1)), None)
        if dataset is None:
            yield f"no dataset is of {day}, though its ranges say so", "run `odc-bdc ows update`"
        else:
            yield from dataset_faults(dataset)


def dataset_faults(dataset: Dataset) -> Iterator[Found]:
    """Say what is wrong with a dataset: its reader, its files, and their pixels' type and place."""
    form = str(dataset.format or "")
    scheme = str(dataset.uri or "").partition(":")[0]
    if form.lower() not in _RASTERS:
        if not has_reader(scheme, form):
            cure = "install the package that reads it (`datacube.plugins.io.read`) on the server"
            yield f"its images are of the format {form}, and nothing installed reads it", cure
        # What it reads is not a raster file.
        return
    wrong: dict[str, list[str]] = {}
    for name, measurement in dataset.product.measurements.items():
        problem = band_fault(dataset, name, measurement)
        if problem:
            wrong.setdefault(problem, []).append(name)
    for problem, bands in wrong.items():
        yield (
            f"dataset {dataset.id}, {', '.join(bands)}: {problem}",
            "bring the file back, or index what there is (`odc-bdc index`)",
        )


def band_fault(dataset: Dataset, name: str, measurement: Measurement) -> str:
    """Say what is wrong with a band of a dataset; nothing if it is right."""
    known = dataset.measurements.get(name)
    if known is None:
        return "the dataset does not have it"
    address = uri_resolve(str(dataset.uri), known["path"])
    try:
        header = read_header(str(local_path(address) or address), int(known.get("band") or 1))
    except SceneError as e:
        return str(e)
    return header_fault(header, measurement, str(dataset.crs))


def header_fault(header: RasterFile, measurement: Measurement, crs: str) -> str:
    """Compare the header of a file with what the index says; nothing if they agree."""
    dtype, nodata = str(measurement["dtype"]), measurement.get("nodata")
    if header.dtype is not None and header.dtype != dtype:
        return f"the file has pixels of {header.dtype}, the product of {dtype}"
    if header.nodata is not None and not _same(header.nodata, nodata):
        return f"the file's nodata value is {header.nodata:g}, the product's {nodata}"
    try:
        same = normalise_crs(header.crs) == normalise_crs(crs)
    except InvalidValueError as e:
        return str(e)
    return "" if same else f"the file is in {header.crs}, the dataset in {crs}"


def overview_faults(dc: Datacube, product: str) -> Iterator[Found]:
    """Look for overviews that are not of the tiles that there are now."""
    found = dc.index.datasets.search(product=overview_name(product))
    old = sorted(o.time.begin.date() for o in found if not is_made_of_all(dc, product, o))
    if not old:
        return
    days = ", ".join(map(str, old[:_SHOWN])) + (", ..." if len(old) > _SHOWN else "")
    problem = f"{len(old)} of its overviews older than its tiles ({days}): zoomed out it is slow"
    yield problem, f"run `odc-bdc cube overview {product}` for that time"


def _same(value: float, other: Any) -> bool:
    if other is None:
        return False
    return value == float(other) or (math.isnan(value) and math.isnan(float(other)))
