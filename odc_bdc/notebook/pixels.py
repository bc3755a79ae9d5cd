"""Values of single pixels of many datasets: files are opened once, and blocks are read once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import zip_longest
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from datacube.drivers import new_datasource
from datacube.storage import BandInfo
from datacube.utils.uris import uri_resolve
from odc.geo import CRS, yx_
from odc.geo.geobox import GeoBox
from odc.geo.geom import point

from odc_bdc.building.blocks import block_file, by_block
from odc_bdc.building.reading import GDAL_OPTIONS
from odc_bdc.errors import InvalidValueError, SceneError, UnknownNameError, did_you_mean, first_line
from odc_bdc.files import SceneFiles, scene_files
from odc_bdc.grid import normalise_crs
from odc_bdc.live import LIVE_FORMAT
from odc_bdc.notebook.places import LONLAT

if TYPE_CHECKING:
    from datacube.model import Dataset, Measurement, Product

_SIDE = 512
"""Rows and columns of what is read at once of an image that has no blocks of its own."""

_MARGIN = 2
"""Pixels about a dataset's grid, as its document has it, that its files may have besides."""

Values = dict[str, npt.NDArray[Any]]
"""Values by measurement."""


@dataclass(frozen=True)
class PixelGrid:
    """The pixels that `dc.load` puts a product on.

    Attributes
    ----------
    affine
        From pixels, counted from anywhere, to coordinates.
    """

    crs: CRS
    affine: Affine

    @classmethod
    def of(cls, product: Product, datasets: Iterable[Dataset]) -> PixelGrid | None:
        """Give the grid that a product names, else that of its datasets if they share one."""
        hints = product.load_hints()
        if hints:
            crs, align = CRS(hints["output_crs"]), hints.get("align")
            box = GeoBox.from_geopolygon(
                point(0, 0, crs),
                hints["resolution"],
                crs,
                None if align is None else yx_(align),
            )
            return cls(crs, box.affine)
        found = {_grid_of(dataset) for dataset in datasets}
        return found.pop() if len(found) == 1 else None

    def pixels(
        self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Give column and row of the pixels that hold points, as whole numbers.

        A point on the border of two pixels lies in the right or lower one.
        """
        columns, rows = ~self.affine * (x, y)
        return np.floor(columns), np.floor(rows)

    def centres(
        self, columns: npt.NDArray[np.float64], rows: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Give the coordinates of the centres of pixels."""
        x, y = self.affine * (columns + 0.5, rows + 0.5)
        return x, y


def _grid_of(dataset: Dataset) -> PixelGrid | None:
    """Give the raster that a dataset's own pixels are a part of."""
    known = dataset.metadata_doc.get("grids", {}).get("default")
    if known is None:
        return None
    a = Affine(*known["transform"][:6])
    across, down = ~Affine(a.a, a.b, 0, a.d, a.e, 0) * (a.c, a.f)
    rest = Affine.translation(round(across % 1, 3) % 1, round(down % 1, 3) % 1)
    return PixelGrid(normalise_crs(dataset.crs), Affine(a.a, a.b, 0, a.d, a.e, 0) * rest)


def transformed(
    source: CRS, target: CRS, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Give coordinates in another CRS; infinite ones where it has none."""
    if source == target:
        return x, y
    across, down = source.transformer_to_crs(target, always_xy=True)(x, y)
    return np.asarray(across), np.asarray(down)


@dataclass
class Positions:
    """Where pixels are looked for, in any CRS; worked out once for each. For all threads.

    Attributes
    ----------
    crs, x, y
        Of the points whose pixels are read: centres of the product's pixels.
    seen
        Which of them an image was found to hold.
    """

    crs: CRS
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    seen: npt.NDArray[np.bool_] = field(init=False)
    _known: dict[Any, Any] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self.seen = np.zeros(len(self.x), bool)

    @classmethod
    def at_points(
        cls,
        longitude: npt.NDArray[np.float64],
        latitude: npt.NDArray[np.float64],
        grid: PixelGrid | None,
    ) -> Positions:
        """Give the centres of the pixels that hold points; of no grid, the points themselves."""
        if grid is None:
            return cls(CRS(LONLAT), longitude, latitude)
        x, y = transformed(CRS(LONLAT), grid.crs, longitude, latitude)
        with np.errstate(invalid="ignore"):
            return cls(grid.crs, *grid.centres(*grid.pixels(x, y)))

    def __len__(self) -> int:
        return len(self.x)

    def within(
        self, box: GeoBox, margin: int = 0
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Tell which positions lie in an image, and in which of its rows and columns.

        Returns
        -------
        tuple
            Numbers of the positions, rows and columns.
        """
        key = box.crs, tuple(box.shape), tuple(box.affine), margin
        with self._lock:
            if key not in self._known:
                self._known[key] = self._within(box, margin)
            found: tuple[Any, Any, Any] = self._known[key]
        return found

    def _within(self, box: GeoBox, margin: int) -> tuple[Any, Any, Any]:
        if box.crs not in self._known:
            self._known[box.crs] = transformed(self.crs, box.crs, self.x, self.y)
        with np.errstate(invalid="ignore"):
            across, down = ~box.affine * self._known[box.crs]
            columns, rows = np.floor(across), np.floor(down)
            height, width = box.shape
            inside = (-margin <= rows) & (rows < height + margin)
            inside &= (-margin <= columns) & (columns < width + margin)
        at = np.flatnonzero(inside)
        if not margin:
            self.seen[at] = True
        return at, rows[at].astype(np.intp), columns[at].astype(np.intp)


class PixelReader:
    """Reads the pixels at some positions; for all threads.

    Parameters
    ----------
    measurements
        Of the product, as `Product.lookup_measurements` gives them.
    """

    def __init__(
        self,
        measurements: Mapping[str, Measurement],
        positions: Positions,
        files: SceneFiles | None = None,
    ) -> None:
        self._measurements, self.positions = measurements, positions
        self._files = files or scene_files()
        self._grids: dict[Any, GeoBox] = {}

    def touches(self, dataset: Dataset) -> bool:
        """Tell if a position lies in a dataset, as far as its document tells."""
        grids = dataset.metadata_doc.get("grids") or {}
        if "default" not in grids:
            return True
        box = GeoBox(
            grids["default"]["shape"],
            Affine(*grids["default"]["transform"][:6]),
            normalise_crs(dataset.crs),
        )
        return bool(len(self.positions.within(box, _MARGIN)[0]))

    def read(self, datasets: Sequence[Dataset]) -> Values:
        """Read all measurements of datasets that are one image, as `dc.load` fuses them.

        Returns
        -------
        dict
            Arrays of as many values as there are positions, of the measurements' dtypes: those of
            the first dataset that has data there; nodata where none has.

        Raises
        ------
        SceneError
            If a file cannot be read, or a dataset lacks a measurement.
        """
        values = {
            name: np.full(len(self.positions), m.nodata, dtype=m.dtype)
            for name, m in self._measurements.items()
        }
        with rasterio.Env(**GDAL_OPTIONS):
            for dataset in datasets:
                for name, at, found in self._of_dataset(dataset):
                    free = is_missing(values[name][at], self._measurements[name].nodata)
                    values[name][at[free]] = found[free]
        return values

    def _of_dataset(self, dataset: Dataset) -> Iterable[tuple[str, Any, Any]]:
        """Give positions and values of each measurement, nodata as the product has it."""
        live = dataset.format == LIVE_FORMAT
        found = self._of_driver(dataset) if live else self._of_files(dataset)
        for name, at, values, nodata in found:
            known = self._measurements[name]
            pixels = values.astype(known.dtype, copy=False)
            if nodata is not None:
                pixels = np.where(is_missing(values, nodata), known.nodata, pixels)
            yield name, at, pixels.astype(known.dtype, copy=False)

    def _of_files(self, dataset: Dataset) -> Iterable[tuple[str, Any, Any, Any]]:
        doc = dataset.metadata_doc
        for name, measurement in self._measurements.items():
            known = doc["measurements"].get(measurement.canonical_name)
            if known is None:
                raise SceneError(
                    f"dataset {doc.get('label') or doc['id']} of {dataset.product.name} has no "
                    f"measurement {measurement.canonical_name}"
                )
            if isinstance(known.get("layer"), str):  # a part of a file, which only the driver knows
                yield from self._of_driver(dataset, [name])
                continue
            href = uri_resolve(dataset.uri, known.get("path"))
            band = known.get("band") or known.get("layer") or 1
            at, values, nodata = self._of_file(href, band)
            yield name, at, values, measurement.nodata if nodata is None else nodata

    def _of_file(self, href: str, band: int) -> tuple[Any, Any, float | None]:
        file = self._files.get(href)
        blocks = block_file(file, band)
        key = blocks and (blocks.georeference, blocks.shape)
        if blocks is not None and key in self._grids:
            at, rows, columns = self.positions.within(self._grids[key])
            return at, blocks.pixels(rows, columns), blocks.nodata
        with file.dataset() as src:
            try:
                grid = GeoBox(src.shape, src.transform, normalise_crs(src.crs))
            except InvalidValueError as e:
                raise SceneError(f"{file.name}: cannot be read: {first_line(e)}") from e
            self._grids[key] = grid
            at, rows, columns = self.positions.within(grid)
            nodata = src.nodatavals[band - 1]
            values = np.empty(len(at), src.dtypes[band - 1])
            for part, window in _windows(rows, columns, src.block_shapes[band - 1]):
                pixels = src.read(band, window=window)
                values[part] = pixels[rows[part] - window[0][0], columns[part] - window[1][0]]
        return at, values, nodata

    def _of_driver(
        self, dataset: Dataset, names: Iterable[str] | None = None
    ) -> Iterable[tuple[str, Any, Any, Any]]:
        """Read by the dataset's own driver: live images, and parts of HDF files."""
        with ExitStack() as opened:
            readers = {}
            for name in names or self._measurements:
                source = new_datasource(BandInfo(dataset, name))
                if source is None:
                    raise SceneError(f"dataset {dataset.id}: no driver reads {dataset.format}")
                readers[name] = opened.enter_context(source.open())
            yield from self._opened(readers)

    def _opened(self, readers: Mapping[str, Any]) -> Iterable[tuple[str, Any, Any, Any]]:
        where, plans, values = {}, {}, {}
        for name, reader in readers.items():
            grid = GeoBox(reader.shape, reader.transform, normalise_crs(reader.crs))
            where[name] = self.positions.within(grid)
            plans[name] = _windows(*where[name][1:], (_SIDE, _SIDE))
            values[name] = np.empty(len(where[name][0]), reader.dtype)
        # All bands of a part before the next part: a live image computes them at once.
        for parts in zip_longest(*plans.values()):
            for name, step in zip(readers, parts, strict=True):
                if step is not None:
                    part, window = step
                    _, rows, columns = where[name]
                    pixels = readers[name].read(window=window)
                    values[name][part] = pixels[
                        rows[part] - window[0][0], columns[part] - window[1][0]
                    ]
        for name, reader in readers.items():
            yield name, where[name][0], values[name], reader.nodata


def _windows(
    rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp], side: tuple[int, int]
) -> Iterable[tuple[npt.NDArray[np.intp], tuple[tuple[int, int], tuple[int, int]]]]:
    """Give the pixels of each block, and the window that holds them."""
    for at in by_block(rows, columns, side).values():
        r, c = rows[at], columns[at]
        yield at, ((int(r.min()), int(r.max()) + 1), (int(c.min()), int(c.max()) + 1))


def is_missing(values: npt.NDArray[Any], nodata: float | None) -> npt.NDArray[np.bool_]:
    """Tell where there is no data; NaN is none in any case."""
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    if nodata is not None:
        missing |= values == nodata
    return missing


def find_measurements(product: Product, names: Sequence[str]) -> dict[str, Measurement]:
    """Give measurements of a product by the names, or aliases, that they are asked for by.

    Raises
    ------
    UnknownNameError
        If there is no such measurement; the message lists them.
    """
    known = {n for m in product.measurements.values() for n in (m.name, *m.get("aliases", ()))}
    for name in names:
        if name not in known:
            raise UnknownNameError(
                f"product {product.name} has no measurement {name!r}{did_you_mean(name, known)}; "
                f"it has {', '.join(product.measurements)}"
            )
    found: dict[str, Measurement] = product.lookup_measurements(list(names))
    return found
