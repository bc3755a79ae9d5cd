"""`timeseries`: what a product holds over time at points, or within polygons."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
import xarray as xr
from datacube import Datacube
from odc.geo.geom import Geometry

from odc_bdc.cube import Encoding
from odc_bdc.errors import InvalidValueError, UnknownNameError, first_line
from odc_bdc.files import scene_files
from odc_bdc.indexing.spatial import find_near
from odc_bdc.indices import index_band
from odc_bdc.notebook.available import find_product, nothing_found
from odc_bdc.notebook.loading import DELAY
from odc_bdc.notebook.pixels import (
    PixelGrid,
    PixelReader,
    Positions,
    Values,
    find_measurements,
    is_missing,
)
from odc_bdc.notebook.places import LONLAT, Points, Polygons, read_points, read_polygons
from odc_bdc.notebook.zonal import Zones
from odc_bdc.spectral_index import SpectralIndex, spectral_index

if TYPE_CHECKING:
    from datacube.model import Measurement, Product

_T = TypeVar("_T")

_AT_ONCE_REMOTE = 16
"""Images that are read at once where files lie on servers."""

_CELL = 0.5
"""Degrees of the cells about points in which datasets are searched."""


def timeseries(
    dc: Datacube,
    product: str,
    points: Any = None,
    polygons: Any = None,
    *,
    time: Any = None,
    measurements: str | Sequence[str] | None = None,
    indices: str | Sequence[str] = (),
    group_by: Literal["solar_day", "time"] = "solar_day",
    as_xarray: bool = False,
    progress: bool = True,
) -> pd.DataFrame | xr.Dataset:
    """Give the values of a product over time at points, or their statistics within polygons.

    Each file is opened once, for all points, and only blocks that hold one are read. Live datasets
    are computed, block by block.

    Parameters
    ----------
    dc
        From `connect`, or any other `datacube.Datacube`.
    product
        Its name.
    points
        Pairs of longitude and latitude, a DataFrame with columns ``longitude`` and ``latitude``,
        points of shapely, GeoJSON, or anything with a ``__geo_interface__``.
    polygons
        Polygons of shapely, GeoJSON, or anything with a ``__geo_interface__``; instead of points.
    time
        As of `Datacube.load`: ``"2020"``, ``("2019-12", "2020-02")``; by default all there is.
    measurements
        Names or aliases; by default all of the product, or none if `indices` are given.
    indices
        Spectral indices by name (`odc_bdc.spectral_index.spectral_index`), which are computed from
        reflectance.
    group_by
        Datasets that are one image: those of one solar day, or only those of one moment. Where
        they overlap, the first that has data counts, as in `Datacube.load`.
    as_xarray
        Give an `xarray.Dataset` instead.
    progress
        Show a bar of the images read, once it takes more than a second.

    Returns
    -------
    pandas.DataFrame or xarray.Dataset
        Of points: ``point`` (the id), ``longitude``, ``latitude``, ``time`` and a float64 column
        for each measurement (numbers as stored) and index; a row for each point and time, points
        in the order given, times ascending. NaN where there is no data; a point that no dataset
        holds has only NaN, with a warning. As xarray: dims (point, time).

        Of polygons: ``polygon``, ``time``, ``variable``, ``mean``, ``std``, ``count`` and
        ``valid_fraction``. Pixels are weighted by the share of them that lies within: `count` is
        the sum of the weights of pixels that have data, `valid_fraction` that over the sum of all,
        and `std` that of the population. As xarray: dims (polygon, time, variable).

    Raises
    ------
    UnknownNameError
        If there is no such product, measurement or index.
    InvalidValueError
        If points, polygons or time cannot be understood.
    NothingFoundError
        If no dataset of that time holds any of them; the message tells what there is.
    SceneError
        If a file cannot be read.

    Notes
    -----
    The pixel of a point is the one that holds it, in the grid of the product (that of `dc.load`);
    a product that names no grid has the pixels of each of its files. Scenes in other CRS give the
    pixel that holds the centre of the product's pixel, as `dc.load` does by nearest neighbour.

    Coverage fractions are those of exactextract (https://github.com/isciences/exactextract).

    Examples
    --------
    >>> series = timeseries(
    ...     dc, "CB4_64_16D_STK_v1", [(-44.9, -12.1)], indices=["NDVI"], time="2020"
    ... )  # doctest: +SKIP
    """
    if (points is None) == (polygons is None):
        raise InvalidValueError("give either points or polygons")
    if group_by not in {"solar_day", "time"}:
        raise InvalidValueError(f"group_by {group_by!r} is neither 'solar_day' nor 'time'")
    found = find_product(dc, product)
    variables = _Variables.of(found, measurements, indices)
    how = {"as_xarray": as_xarray, "progress": progress}
    if polygons is None:
        places = read_points(points)
        query = _Query(dc, found, _about(places), time, group_by)
        return _of_points(query, places, variables, **how)
    zones = read_polygons(polygons)
    area = Geometry(shapely.union_all(zones.geometries), LONLAT)
    return _of_polygons(_Query(dc, found, area, time, group_by), zones, variables, **how)


@dataclass(frozen=True)
class _Variables:
    """What is asked for: measurements, and what indices are computed from.

    Attributes
    ----------
    wanted
        Measurements that are columns, by the names they were asked for by.
    inputs
        Measurements of the indices by common name.
    """

    wanted: Mapping[str, Measurement]
    indices: Mapping[str, SpectralIndex]
    inputs: Mapping[str, Measurement]

    @classmethod
    def of(
        cls,
        product: Product,
        measurements: str | Sequence[str] | None,
        indices: str | Sequence[str],
    ) -> _Variables:
        asked = [indices] if isinstance(indices, str) else list(indices)
        known = {index.name: index for index in map(spectral_index, asked)}
        if isinstance(measurements, str):
            measurements = [measurements]
        if measurements is None:
            measurements = [] if known else list(product.measurements)
        wanted = find_measurements(product, list(measurements))
        twice = next((name for name in known if name in wanted), None)
        if twice:
            raise InvalidValueError(
                f"{twice} is asked for as a measurement of {product.name}, as it is stored, and as "
                "an index to be computed; ask for one of them"
            )
        if not (wanted or known):
            raise InvalidValueError("nothing is asked for: give measurements or indices")
        return cls(wanted, known, _inputs(product, known.values()))

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.wanted, *self.indices)

    @property
    def measurements(self) -> dict[str, Measurement]:
        """All that is read, each once, by the product's own names."""
        every = (*self.wanted.values(), *self.inputs.values())
        return {str(m.canonical_name): m for m in every}

    def floats(self, values: Values) -> dict[str, npt.NDArray[np.float64]]:
        """Give columns as float64, NaN for nodata, of the values of `measurements`."""
        out = {}
        for name, m in self.wanted.items():
            stored = values[m.canonical_name]
            out[name] = np.where(is_missing(stored, m.nodata), np.nan, stored.astype(np.float64))
        for name, index in self.indices.items():
            bands = {band: values[self.inputs[band].canonical_name] for band in index.bands}
            encodings = {band: Encoding.from_odc(self.inputs[band]) for band in index.bands}
            out[name] = index_band(index, bands, encodings, Encoding("float64"))
        return out


def _inputs(product: Product, indices: Any) -> dict[str, Measurement]:
    """Find the bands of indices among a product's measurements and their aliases."""
    names = dict.fromkeys(band for index in indices for band in index.bands)
    try:
        return find_measurements(product, list(names))
    except UnknownNameError as e:
        needed = "; ".join(f"{i.name} needs {', '.join(i.bands)}" for i in indices)
        raise UnknownNameError(f"{e} ({needed})") from None


class _Query:
    """The datasets of a product in an area, in degrees, and a time."""

    def __init__(
        self,
        dc: Datacube,
        product: Product,
        area: Geometry,
        time: Any,
        group_by: Literal["solar_day", "time"],
    ) -> None:
        self.dc, self.product, self.time, self.group_by = dc, product, time, group_by
        try:
            when = {} if time is None else {"time": time}
            self._found = [d for d in find_near(dc, product.name, area, **when) if d.uri]
        except (ValueError, TypeError, OverflowError) as e:
            raise InvalidValueError(f"time {time!r} cannot be read: {first_line(e)}") from e

    @property
    def grid(self) -> PixelGrid | None:
        """The pixels that `dc.load` puts the product on."""
        return PixelGrid.of(self.product, self._found)

    def each(
        self,
        positions: Positions,
        measurements: Mapping[str, Measurement],
        reduce: Callable[[Values], _T],
        *,
        progress: bool,
    ) -> tuple[npt.NDArray[np.datetime64], list[_T]]:
        """Read the image of each time at some positions; give times, and what became of images."""
        reader = PixelReader(measurements, positions)
        datasets = [dataset for dataset in self._found if reader.touches(dataset)]
        if not datasets:
            raise nothing_found(
                self.dc, self.product, {"time": self.time}, " at any of these places"
            )
        groups = Datacube.group_datasets(datasets, self.group_by)
        files = scene_files()
        local = all(files.is_local(dataset.uri) for dataset in datasets)
        threads = (os.cpu_count() or 1) if local else _AT_ONCE_REMOTE
        with ThreadPoolExecutor(threads) as pool:
            made = pool.map(lambda group: reduce(reader.read(group)), groups.values)
            try:
                found = list(_shown(made, len(groups), self.product.name, show=progress))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return groups["time"].values, found


def _shown(made: Iterator[_T], total: int, name: str, *, show: bool) -> Iterator[_T]:
    from tqdm.auto import tqdm  # noqa: PLC0415 (asks for widgets)

    return iter(
        tqdm(made, desc=name, unit=" images", total=total, delay=DELAY, leave=False,
             disable=not show)
    )  # fmt: skip


def _about(points: Points) -> Geometry:
    """Give an area that holds points, and not much else: cells of a coarse grid."""
    cells = np.unique(
        np.floor(np.column_stack([points.longitude, points.latitude]) / _CELL), axis=0
    )
    boxes = [
        shapely.box(x - 0.01, y - 0.01, x + _CELL + 0.01, y + _CELL + 0.01)
        for x, y in cells * _CELL
    ]
    return Geometry(shapely.union_all(boxes), LONLAT)


def _of_points(
    query: _Query, points: Points, variables: _Variables, *, as_xarray: bool, progress: bool
) -> pd.DataFrame | xr.Dataset:
    positions = Positions.at_points(points.longitude, points.latitude, query.grid)
    times, made = query.each(positions, variables.measurements, variables.floats, progress=progress)
    columns = {name: np.stack([one[name] for one in made], axis=1) for name in variables.names}
    outside = int((~positions.seen).sum())
    if outside:
        warnings.warn(
            f"{outside} of {len(points)} points lie in no dataset of {query.product.name} at that "
            "time; their rows are NaN",
            UserWarning,
            stacklevel=3,
        )
    ds = xr.Dataset(
        {
            name: (("point", "time"), values, _attributes(variables, name))
            for name, values in columns.items()
        },
        coords={
            "point": points.ids,
            "time": times,
            "longitude": ("point", points.longitude, {"units": "degrees_east"}),
            "latitude": ("point", points.latitude, {"units": "degrees_north"}),
        },
        attrs={"product": query.product.name},
    )
    if as_xarray:
        return ds
    n = len(times)
    return pd.DataFrame(
        {
            "point": points.ids.repeat(n),
            "longitude": points.longitude.repeat(n),
            "latitude": points.latitude.repeat(n),
            "time": np.tile(times, len(points)),
            **{name: values.reshape(-1) for name, values in columns.items()},
        }
    )


def _of_polygons(
    query: _Query, polygons: Polygons, variables: _Variables, *, as_xarray: bool, progress: bool
) -> pd.DataFrame | xr.Dataset:
    grid = query.grid
    if grid is None:
        raise InvalidValueError(
            f"product {query.product.name} names no pixel grid (`load` in its document), and its "
            "datasets there lie on several: weights of pixels are not defined"
        )
    zones = Zones.of(polygons, grid.crs, grid.affine)
    positions = Positions(grid.crs, *grid.centres(zones.columns, zones.rows))

    def reduce(values: Values) -> dict[str, npt.NDArray[np.float64]]:
        return zones.statistics(variables.floats(values))

    times, made = query.each(positions, variables.measurements, reduce, progress=progress)
    tables = {key: np.stack([one[key] for one in made], axis=1) for key in made[0]}
    return zones.table(tables, times, list(variables.names), as_xarray=as_xarray)


def _attributes(variables: _Variables, name: str) -> dict[str, Any]:
    """Give what is known of a column, as attributes of xarray."""
    if name in variables.indices:
        return {"long_name": variables.indices[name].title, "units": "1"}
    m = variables.wanted[name]
    known = {key: m.get(key) for key in ("units", "scale_factor", "add_offset")}
    return {key: value for key, value in known.items() if value is not None}
