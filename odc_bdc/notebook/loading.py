"""`load`: `dc.load` that shows how far it is, and says why there is nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import xarray as xr
from odc.geo import resyx_
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry

from odc_bdc.errors import InvalidValueError, first_line
from odc_bdc.grid import epsg_code
from odc_bdc.indexing.spatial import find_datasets
from odc_bdc.notebook.available import find_product, nothing_found
from odc_bdc.notebook.pixels import find_measurements

if TYPE_CHECKING:
    from datacube import Datacube
    from datacube.model import Product

DELAY = 1.0
"""Seconds before a progress bar appears."""


def load(dc: Datacube, product: str, *, progress: bool = True, **query: Any) -> xr.Dataset:
    """Load a product as `dc.load` does.

    Parameters
    ----------
    dc
        From `connect`, or any other `datacube.Datacube`.
    product
        Its name.
    progress
        Show a bar of the files read, once it takes more than a second. With ``dask_chunks`` nothing
        is read yet: ``ds.bdc.compute()`` shows one when it is.
    **query
        What `Datacube.load` takes. A legacy ``resolution=(64, -64)``, which would turn the image
        upside down, is taken for ``(-64, 64)`` with a warning. ``like`` may be in the BDC's CRS,
        in which the index driver ``postgis`` cannot be asked.

    Returns
    -------
    xarray.Dataset
        The pixels of `dc.load`; the attribute ``product`` holds the name, and each band's
        ``aliases`` its other names, by which the accessor ``.bdc`` finds it.

    Raises
    ------
    UnknownNameError
        If there is no such product or measurement; the message lists those there are.
    NothingFoundError
        If nothing is found; the message tells what there is, and the command that makes more.
    InvalidValueError
        If the query cannot be understood.
    """
    known = find_product(dc, product)
    names = query.get("measurements")
    if names is not None:
        find_measurements(known, [names] if isinstance(names, str) else names)
    if "resolution" in query:
        query["resolution"] = _upright(query["resolution"])
    if (area := _unsearchable(query.get("like"))) is not None and "datasets" not in query:
        when = {"time": query["time"]} if "time" in query else {}
        query["datasets"] = find_datasets(dc, product=product, geometry=area, **when)
    with _bar(progress and query.get("dask_chunks") is None, product) as step:
        try:
            ds = dc.load(product=product, progress_cbk=step, **query)
        except (ValueError, TypeError, LookupError) as e:
            raise InvalidValueError(f"{product} cannot be loaded so: {first_line(e)}") from e
    if not ds.data_vars:
        raise nothing_found(dc, known, _places(query))
    return _described(ds, known)


def _unsearchable(like: Any) -> Geometry | None:
    """Give the area of what is to be loaded like, where the index cannot be asked in its CRS."""
    geobox = like.odc.geobox if isinstance(like, xr.Dataset | xr.DataArray) else like
    if not isinstance(geobox, GeoBox) or geobox.crs is None or epsg_code(geobox.crs):
        return None
    return geobox.extent


def _places(query: dict[str, Any]) -> dict[str, Any]:
    """Give the parts of a query that say where and when."""
    what = (
        "datasets",
        "like",
        "measurements",
        "output_crs",
        "resolution",
        "resampling",
        "align",
        "dask_chunks",
    )
    return {key: value for key, value in query.items() if key not in what}


def _upright(resolution: Any) -> Any:
    """Give a resolution as y and x, where y goes down."""
    pair = isinstance(resolution, tuple | list) and len(resolution) == 2
    if not (pair and resolution[0] > 0 > resolution[1]):
        return resolution
    y, x = resolution[1], resolution[0]
    warnings.warn(
        f"resolution {tuple(resolution)} means y, x to datacube and would turn the image upside "
        f"down; {y, x} is taken",
        UserWarning,
        stacklevel=3,
    )
    return resyx_(y, x)


def _described(ds: xr.Dataset, product: Product) -> xr.Dataset:
    """Write down what things are called."""
    ds.attrs["product"] = product.name
    for name, measurement in product.lookup_measurements(list(ds.data_vars)).items():
        known = [measurement.canonical_name, *measurement.get("aliases", ())]
        if also := [alias for alias in known if alias != name]:
            ds[name].attrs["aliases"] = also
    return ds


@contextmanager
def _bar(show: bool, name: str) -> Iterator[Callable[[int, int], None] | None]:  # noqa: FBT001 (private)
    if not show:
        yield None
        return
    from tqdm.auto import tqdm  # noqa: PLC0415 (asks for widgets)

    with tqdm(desc=name, unit=" files", delay=DELAY, leave=False) as bar:

        def step(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield step
