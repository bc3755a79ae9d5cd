"""Statistics of polygons, pixels weighted by the share of them that lies within."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely.geometry
import xarray as xr
from affine import Affine
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from odc.geo import CRS
from odc.geo.geom import Geometry
from shapely.geometry.base import BaseGeometry

from odc_bdc.errors import InvalidValueError
from odc_bdc.notebook.places import LONLAT, Polygons

STATISTICS = ("mean", "std", "count", "valid_fraction")

_MOST = 100_000_000
"""Pixels of all polygons together: each takes some 40 bytes."""

_STEP = 64
"""Pixels after which an edge, straight in degrees, gets a vertex of its own."""


@dataclass(frozen=True)
class Zones:
    """The pixels of polygons.

    Attributes
    ----------
    ids
        Of the polygons.
    zone
        For each pixel, the number of its polygon.
    columns, rows
        Of the pixel, whole numbers.
    weights
        Share of the pixel within the polygon, above 0 and up to 1.
    """

    ids: pd.Index
    zone: npt.NDArray[np.intp]
    columns: npt.NDArray[np.float64]
    rows: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]

    @classmethod
    def of(cls, polygons: Polygons, crs: CRS, affine: Affine) -> Zones:
        """Find the pixels of polygons.

        Parameters
        ----------
        crs, affine
            Of the pixels; north is up.

        Raises
        ------
        InvalidValueError
            If the polygons hold too many pixels to be taken at once, or lie where the CRS has no
            coordinates.
        """
        step = max(abs(affine.a), abs(affine.e)) * _STEP
        parts, total = [], 0.0
        for name, geometry in zip(polygons.ids, polygons.geometries, strict=True):
            inner = Geometry(geometry, LONLAT).to_crs(crs, resolution=_degrees(crs, step)).geom
            # Pixels of the grid, rows downwards.
            pixels = shapely.transform(
                inner, lambda xy: np.column_stack(~affine * (xy[:, 0], xy[:, 1]))
            )
            if not np.isfinite(pixels.bounds).all():
                raise InvalidValueError(
                    f"polygon {name!r} lies where the CRS of the product has no coordinates"
                )
            total += pixels.area
            if total > _MOST:
                raise InvalidValueError(
                    f"the polygons hold more than {_MOST:,} pixels; give fewer or smaller ones"
                )
            parts.append(_covered(pixels))
        columns, rows, weights = (np.concatenate(one) for one in zip(*parts, strict=True))
        zone = np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])
        return cls(polygons.ids, zone, columns, rows, weights)

    def statistics(
        self, values: Mapping[str, npt.NDArray[np.float64]]
    ) -> dict[str, npt.NDArray[np.float64]]:
        """Give the statistics of an image.

        Parameters
        ----------
        values
            Of each variable, one for each pixel; NaN where there is no data.

        Returns
        -------
        dict
            By name (`STATISTICS`), float64 (polygons, variables). NaN where no pixel has data;
            `valid_fraction` and `count` are 0 there.
        """
        made = [self._of_variable(one) for one in values.values()]
        return {
            name: np.stack(column, axis=-1)
            for name, column in zip(STATISTICS, zip(*made, strict=True), strict=True)
        }

    def _of_variable(self, values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[Any], ...]:
        valid = ~np.isnan(values)
        zone, weights, known = self.zone[valid], self.weights[valid], values[valid]
        n = len(self.ids)
        count = np.bincount(zone, weights, n)
        whole = np.bincount(self.zone, self.weights, n)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.bincount(zone, weights * known, n) / count
            variance = np.bincount(zone, weights * (known - mean[zone]) ** 2, n) / count
            share = np.where(whole > 0, count / whole, 0.0)
        return mean, np.sqrt(variance), count, share

    def table(
        self,
        tables: Mapping[str, npt.NDArray[np.float64]],
        times: npt.NDArray[np.datetime64],
        variables: Sequence[str],
        *,
        as_xarray: bool,
    ) -> pd.DataFrame | xr.Dataset:
        """Give statistics, arrays (polygons, times, variables), as a table or for xarray."""
        ds = xr.Dataset(
            {name: (("polygon", "time", "variable"), tables[name]) for name in STATISTICS},
            coords={"polygon": self.ids, "time": times, "variable": list(variables)},
        )
        if as_xarray:
            return ds
        n, m = len(times), len(variables)
        return pd.DataFrame(
            {
                "polygon": self.ids.repeat(n * m),
                "time": np.tile(times.repeat(m), len(self.ids)),
                "variable": np.tile(np.array(variables, dtype=object), len(self.ids) * n),
                **{name: tables[name].reshape(-1) for name in STATISTICS},
            }
        )


def _degrees(crs: CRS, step: float) -> float:
    """Give a length in degrees, for which edges in degrees are cut."""
    return step if crs.geographic else step / 111_320


def _covered(
    polygon: BaseGeometry,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Give columns and rows of the pixels that a polygon touches, and the shares within.

    Parameters
    ----------
    polygon
        In columns and rows.
    """
    left, top, right, bottom = polygon.bounds
    x0, y0 = math.floor(left), math.floor(top)
    height, width = max(1, math.ceil(bottom) - y0), max(1, math.ceil(right) - x0)
    # exactextract wants north up: rows are turned about.
    turned = shapely.transform(polygon, lambda xy: np.column_stack([xy[:, 0] - x0, y0 - xy[:, 1]]))
    # Its values are of no account, so they need no memory.
    empty = np.broadcast_to(np.uint8(0), (height, width))
    raster = NumPyRasterSource(empty, xmin=0, ymin=-height, xmax=width, ymax=0)
    feature = {
        "type": "Feature",
        "properties": {},
        "geometry": shapely.geometry.mapping(turned),
    }
    found = exact_extract(raster, feature, ["cell_id", "coverage"])[0]["properties"]
    cells = np.asarray(found["cell_id"], dtype=np.int64)
    weights = np.asarray(found["coverage"], dtype=np.float64)
    inside = weights > 0
    rows, columns = np.divmod(cells[inside], width)
    return columns + float(x0), rows + float(y0), weights[inside]
