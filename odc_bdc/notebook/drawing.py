"""Arrays as pictures, in the colours of the map server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from odc_bdc.errors import InvalidValueError
from odc_bdc.grid import georeference
from odc_bdc.notebook.moments import chosen, timeline_for
from odc_bdc.notebook.styling import find_style
from odc_bdc.ows.images import frame
from odc_bdc.ows.rendering import has_data

if TYPE_CHECKING:
    import numpy.typing as npt

    from odc_bdc.notebook.moments import TimeLike
    from odc_bdc.notebook.styling import ProductLike, Style

CHANNELS = ("red", "green", "blue", "alpha")


def draw(
    ds: xr.Dataset,
    style: str = "true_colour",
    *,
    time: TimeLike | None = None,
    product: ProductLike | None = None,
) -> xr.DataArray:
    """Draw arrays by a style of the map server: the same pixels give the same colours.

    Parameters
    ----------
    ds
        Bands (time, y, x) or (y, x) as `dc.load` gives them, under their names or aliases; or
        floating-point numbers with NaN: reflectances and indices, or, if they are large and have
        the attribute ``scale_factor``, stored values. Of dask arrays those are computed that the
        style needs.
    style
        Name of the style, as of the map server; any index of spyndex made of reflectances too.
    time
        ``2020``, ``2020-01`` or a day, or a pair of them: the images that share a day with it are
        drawn. All by default. Images of a known cube are of their whole periods.
    product
        What the dataset is of, if its bands do not tell: a product's name, a `CubeSpec`, or a
        product of the index.

    Returns
    -------
    xarray.DataArray
        uint8 (time, y, x, band) or (y, x, band): red, green, blue and opacity, which is 0 where
        there is no data. It plots itself: ``nb.draw(ds).isel(time=0).plot.imshow()``.

    Raises
    ------
    UnknownNameError
        If there is no such style or product, or the dataset lacks the style's bands.
    InvalidValueError
        If nothing has a time asked for, or the dataset has no pixels in a plane.
    MissingDependencyError
        If datacube-ows is not installed.

    Examples
    --------
    >>> ds = xr.Dataset(
    ...     {
    ...         "red": (("y", "x"), np.array([[2220, -9999]], "int16"), {"nodata": -9999}),
    ...         "nir": (("y", "x"), np.array([[2220, 5]], "int16"), {"nodata": -9999}),
    ...     }
    ... )
    >>> draw(ds, "ndvi", product="CB4_64_16D_STK_v1").values.tolist()
    [[[217, 199, 163, 255], [217, 199, 163, 0]]]
    """
    found = find_style(ds, style, product)
    return paint(chosen(ds, time, timeline_for(ds, product)), found)


def paint(ds: xr.Dataset, style: Style) -> xr.DataArray:
    """Draw a dataset by a style that fits it, as `draw` does."""
    y, x = plane(ds)
    names = {variable: band for band, variable in style.bands.items() if band in style.needed}
    data = ds[[*names]].rename(names)
    data = (
        data.reset_coords(drop=True)
        if "time" in data.dims
        else data.drop_vars("time", errors="ignore")
    )
    data = data.rename({y: "y", x: "x"}) if (y, x) != ("y", "x") else data
    data = data.assign_coords({dim: np.arange(data.sizes[dim]) for dim in ("y", "x")}).load()
    painter = style.painter()
    if "time" in data.dims:
        frames = [_frame(data.isel(time=i), style, painter) for i in range(data.sizes["time"])]
        shape = (0, data.sizes["y"], data.sizes["x"], len(CHANNELS))
        pixels = np.stack(frames) if frames else np.empty(shape, np.uint8)
    else:
        pixels = _frame(data.assign_coords(time=0), style, painter)
    dims = (*(["time"] if "time" in data.dims else []), y, x)
    coords = {key: c for key, c in ds.coords.items() if set(c.dims) <= set(dims)}
    first = ds[next(iter(names))]
    return xr.DataArray(
        pixels,
        dims=(*dims, "band"),
        coords={**coords, "band": [*CHANNELS]},
        name=style.name,
        attrs=georeference(first.attrs),
    )


def plane(ds: xr.Dataset) -> tuple[str, str]:
    """Give the names of the dimensions from north to south and from west to east.

    Raises
    ------
    InvalidValueError
        If there are none.
    """
    found = ds.odc.spatial_dims
    if found is None:
        raise InvalidValueError(
            "the dataset has no pixels in a plane: it needs dimensions y and x, or latitude and "
            f"longitude, and has {', '.join(map(str, ds.dims)) or 'none'}"
        )
    y, x = found
    return str(y), str(x)


def _frame(data: xr.Dataset, style: Style, painter: Any) -> npt.NDArray[np.uint8]:
    """Draw one time, as datacube-ows answers a GetMap: (y, x, 4)."""
    for band in data.data_vars:
        stored = style.measurements[str(band)].get("nodata")
        floating = data[band].dtype.kind == "f"
        data[band].attrs["nodata"] = np.nan if floating or stored is None else stored
    masks = [has_data(data, str(band)) for band in data.data_vars]
    mask = np.logical_and.reduce(masks)
    if "components" in style.config:
        # NaN has no colour, and what has no data is transparent anyway.
        data = data.fillna(0)
    image = painter.transform_data(data, data[next(iter(data.data_vars))].copy(data=mask))
    return frame(image)
