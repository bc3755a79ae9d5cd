"""Proof that the services serve: pixels of each cube, through each service, against `dc.load`."""

from __future__ import annotations

import urllib.error
import urllib.request
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from odc_bdc.errors import OdcBdcError
from odc_bdc.grid import normalise_crs
from odc_bdc.ows.bands import by_common_name, stretch
from odc_bdc.ows.coverage import CoverageBand, common_dtype
from odc_bdc.ows.crs import BDC_CODE, BDC_KEY, published_crss, published_key
from odc_bdc.ows.styles import TRUE_COLOUR
from odc_bdc.ows.tiles import TILE_MATRIX_SETS, TileMatrixSet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt
    import xarray as xr
    from datacube import Datacube
    from datacube.model import Dataset

    from odc_bdc.cube import CubeSpec

WINDOW = 256
"""Width and height of what is requested, in pixels."""

CLIENT_CRSS = (BDC_CODE, "EPSG:4326", "EPSG:3857")

# Of the pixels of a reprojected image, how many must agree: GDAL's warp is exact to an eighth of a
# pixel only, so pixels whose centre lies near an edge of the source's may fall to either side. An
# image that is shifted by one pixel agrees in hardly any.
ENOUGH = 0.95


@dataclass(frozen=True, slots=True)
class EndpointResult:
    """What came of one request; `reason` says what is wrong, and is empty if nothing is."""

    cube: str
    request: str
    crs: str
    url: str
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether the answer was right."""
        return not self.reason


@dataclass(frozen=True, slots=True)
class _Sample:
    """A window of a cube that surely has data, and the datasets of its date."""

    cube: CubeSpec
    dc: Datacube
    datasets: tuple[Dataset, ...]
    geobox: GeoBox
    centre: tuple[float, float]

    @property
    def date(self) -> str:
        return str(self.datasets[0].time.begin.date())

    def window(self, crs: str) -> GeoBox:
        """Give the window in another CRS, as many pixels."""
        target = normalise_crs(crs)
        if target == self.geobox.crs:
            return self.geobox
        box = self.geobox.extent.to_crs(target).boundingbox
        return GeoBox.from_bbox(box, crs=target, shape=self.geobox.shape)

    def load(self, geobox: GeoBox, bands: Sequence[str]) -> xr.Dataset:
        """Load pixels from the index, as datacube-ows is to show them."""
        near = [
            ds for ds in self.datasets if ds.extent.to_crs(geobox.crs).intersects(geobox.extent)
        ]
        loaded: xr.Dataset = self.dc.load(datasets=near, like=geobox, measurements=list(bands))
        return loaded.isel(time=0)


def check_endpoints(
    url: str, dc: Datacube, cubes: Sequence[CubeSpec], *, timeout: float = 120.0
) -> list[EndpointResult]:
    """Request maps, tiles and coverages of each cube that has datasets, and compare pixels.

    For the latest date with data: GetMap and GetCoverage in the cube's own CRS (on its own grid),
    in the BDC's CRS, EPSG:4326 and EPSG:3857; GetTile of all tile matrix sets. Pixels must be those
    of `dc.load` on the same pixel grid, exactly so on the cube's own; a blank answer is a fault.

    Parameters
    ----------
    url
        Base URL of the services.
    dc
        The index that they serve.
    cubes
        Cubes to look at; those without datasets are passed over.
    timeout
        Seconds that an answer may take.
    """
    results: list[EndpointResult] = []
    for cube in cubes:
        if not dc.index.products.get_by_name(cube.name):
            continue
        if not dc.index.datasets.count(product=cube.name):
            continue
        sample = _find_sample(dc, cube)
        if sample is None:
            reason = "no pixel of its latest datasets has data"
            results.append(EndpointResult(cube.name, "dc.load", cube.grid.crs, "", reason))
            continue
        requests = (*_map_requests(sample), *_tile_requests(sample), *_coverage_requests(sample))
        results += [_check(url, sample, request, timeout) for request in requests]
    return results


@dataclass(frozen=True, slots=True)
class _Request:
    name: str
    crs: str
    path: str
    query: dict[str, Any]
    geobox: GeoBox


def _find_sample(dc: Datacube, cube: CubeSpec) -> _Sample | None:
    found = sorted(dc.index.datasets.search(product=cube.name), key=lambda ds: ds.time.begin)
    for dataset in reversed(found[-8:]):
        full = _geobox(dataset, cube)
        band = cube.outputs[0]
        step = max(1, max(full.shape) // WINDOW)
        coarse = full.zoom_out(step)
        values = dc.load(datasets=[dataset], like=coarse, measurements=[band.name])[band.name]
        rows, columns = np.nonzero(values.values[0] != values.nodata)
        if not rows.size:
            continue
        middle = np.hypot(rows - coarse.height / 2, columns - coarse.width / 2).argmin()
        x, y = coarse.affine * (columns[middle] + 0.5, rows[middle] + 0.5)
        same_date = tuple(ds for ds in found if ds.time.begin == dataset.time.begin)
        return _Sample(cube, dc, same_date, _window(full, x, y), (x, y))
    return None


def _geobox(dataset: Dataset, cube: CubeSpec) -> GeoBox:
    grid = dataset.metadata_doc["grids"]["default"]
    return GeoBox(tuple(grid["shape"]), Affine(*grid["transform"][:6]), cube.grid.odc_crs)


def _window(full: GeoBox, x: float, y: float) -> GeoBox:
    column, row = (int(v) for v in ~full.affine * (x, y))
    height, width = full.shape
    top = min(max(0, row - WINDOW // 2), max(0, height - WINDOW))
    left = min(max(0, column - WINDOW // 2), max(0, width - WINDOW))
    return full[top : min(height, top + WINDOW), left : min(width, left + WINDOW)]


def _crss(sample: _Sample) -> list[str]:
    native = str(sample.cube.grid.odc_crs)
    return list(dict.fromkeys((BDC_CODE if native == BDC_KEY else native, *CLIENT_CRSS)))


def _bbox(geobox: GeoBox, *, latitude_first: bool = False) -> str:
    box = geobox.boundingbox
    xy = (box.left, box.bottom, box.right, box.top)
    order = (1, 0, 3, 2) if latitude_first else (0, 1, 2, 3)
    return ",".join(repr(float(xy[i])) for i in order)


def _map_requests(sample: _Sample) -> Iterator[_Request]:
    for crs in _crss(sample):
        geobox = sample.window(crs)
        query = map_query(sample.cube.name, "true_colour", geobox, sample.date, crs=crs)
        yield _Request("GetMap", crs, "wms", query, geobox)


def map_query(
    layer: str, style: str, geobox: GeoBox, time: str, *, crs: str | None = None
) -> dict[str, Any]:
    """Give the parameters of a WMS 1.3.0 GetMap of just these pixels, as PNG.

    Parameters
    ----------
    geobox
        In a CRS that is published.
    time
        ISO date.
    crs
        Name of the geobox's CRS in the request, if not its own.
    """
    key = published_key(geobox.crs)
    latitude_first = published_crss([key])[key]["vertical_coord_first"]
    return {
        "service": "WMS",
        "version": "1.3.0",
        "request": "GetMap",
        "layers": layer,
        "styles": style,
        "crs": crs or (BDC_CODE if key == BDC_KEY else key),
        "bbox": _bbox(geobox, latitude_first=latitude_first),
        "width": geobox.width,
        "height": geobox.height,
        "format": "image/png",
        "time": time,
    }


def _tile_requests(sample: _Sample) -> Iterator[_Request]:
    for tms in TILE_MATRIX_SETS:
        tile = _tile_of(tms, sample)
        if tile is None:
            continue
        level, row, column = tile
        xmin, ymin, xmax, ymax = tms.bbox(level, row, column)
        geobox = GeoBox.from_bbox((xmin, ymin, xmax, ymax), crs=tms.crs, shape=(tms.size, tms.size))
        query = {
            "service": "WMTS",
            "version": "1.0.0",
            "request": "GetTile",
            "layer": sample.cube.name,
            "style": "true_colour",
            "tilematrixset": tms.name,
            "tilematrix": level,
            "tilerow": row,
            "tilecol": column,
            "format": "image/png",
            "time": sample.date,
        }
        yield _Request("GetTile", tms.name, "wmts", query, geobox)


def _tile_of(tms: TileMatrixSet, sample: _Sample) -> tuple[int, int, int] | None:
    """Give level, row and column of a tile about as fine as the cube, over the sample's centre."""
    window = sample.window(tms.crs)
    pixel = min(abs(window.resolution.x), abs(window.resolution.y))
    level = tms.level_at(pixel)
    box = sample.geobox.crs.transformer_to_crs(CRS(tms.crs))
    x, y = box(*sample.centre)
    found = tms.tile_at(level, float(x), float(y))
    return (level, *found) if found else None


def _coverage_requests(sample: _Sample) -> Iterator[_Request]:
    for crs in _crss(sample):
        geobox = sample.window(crs)
        query = {
            "service": "WCS",
            "version": "1.0.0",
            "request": "GetCoverage",
            "coverage": sample.cube.name,
            "crs": crs,
            "bbox": _bbox(geobox),
            "width": geobox.width,
            "height": geobox.height,
            "format": "GeoTIFF",
            "time": sample.date,
        }
        yield _Request("GetCoverage", crs, "wcs", query, geobox)


def _check(url: str, sample: _Sample, request: _Request, timeout: float) -> EndpointResult:
    full = f"{url}/{request.path}?{urlencode(request.query)}"
    compare = _compare_coverage if request.name == "GetCoverage" else _compare_image
    try:
        reason = compare(fetch(full, timeout=timeout), sample, request)
    except (OdcBdcError, RasterioError) as e:
        reason = str(e)
    return EndpointResult(sample.cube.name, request.name, request.crs, full, reason)


def fetch(url: str, *, timeout: float = 120.0, language: str = "") -> bytes:
    """Give the body of an answer; `OdcBdcError` says what went wrong.

    Texts are in a language that is asked for, if the server has it.
    """
    headers = {"Accept-Language": language} if language else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 (named by the caller)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
            body: bytes = answer.read()
            return body
    except urllib.error.HTTPError as e:
        text = " ".join(e.read().decode(errors="replace").split())
        raise OdcBdcError(f"status {e.code}: {text[-300:]}") from e
    except OSError as e:
        raise OdcBdcError(f"no answer: {e}") from e


def _compare_image(body: bytes, sample: _Sample, request: _Request) -> str:
    """Say what is wrong with a PNG in true colour; nothing if it shows the pixels of the index."""
    bands = by_common_name([m.to_odc() for m in sample.cube.outputs])
    shown = [bands[name] for name in TRUE_COLOUR]
    data = sample.load(request.geobox, [m["name"] for m in shown])
    opaque = np.logical_and.reduce([data[m["name"]].values != m["nodata"] for m in shown])
    got = _decode_image(body)
    if not opaque.any():
        return "the window has no data; nothing was compared"
    if not got[3].any():
        return f"blank, though {opaque.mean():.0%} of the pixels have data"
    expected = [
        to_byte(data[m["name"]].values, *stretch(m, name, sample.cube.mission))
        for m, name in zip(shown, TRUE_COLOUR, strict=True)
    ]
    near = [np.abs(g.astype(int) - e) <= 1 for g, e in zip(got[:3], expected, strict=True)]
    right = ((got[3] > 0) == opaque) & (np.logical_and.reduce(near) | ~opaque)
    return _verdict(right, sample, request)


@dataclass(frozen=True, slots=True)
class _Raster:
    values: npt.NDArray[Any]
    bands: tuple[str | None, ...]
    nodata: float | None
    crs: Any


def _decode_image(body: bytes) -> npt.NDArray[np.uint8]:
    """Decode a PNG of any kind: red, green, blue and opacity, shape (4, y, x), uint8."""
    with warnings.catch_warnings(), MemoryFile(body) as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # no PNG is georeferenced
        with memory.open() as src:
            values = src.read()
            if src.colorinterp[0] == ColorInterp.palette:
                table = np.zeros((256, 4), np.uint8)
                for code, colour in src.colormap(1).items():
                    table[code] = colour
                return np.moveaxis(table[values[0]], 2, 0)
    if len(values) < 3:
        # datacube-ows writes what has no data as one band of zeros.
        return np.zeros((4, *values.shape[1:]), np.uint8)
    opaque = np.full((4 - len(values), *values.shape[1:]), 255, np.uint8)
    return np.concatenate([values, opaque])


def _decode(body: bytes) -> _Raster:
    with warnings.catch_warnings(), MemoryFile(body) as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # no PNG is georeferenced
        with memory.open() as src:
            return _Raster(src.read(), src.descriptions, src.nodata, src.crs)


def to_byte(values: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.int64]:
    """Stretch pixel values to 0..255 as datacube-ows does: linear, clipped, cut to integers."""
    share = (np.clip(values.astype(np.float64), low, high) - low) / (high - low)
    return np.asarray(share * 255).astype(np.int64)


def _compare_coverage(body: bytes, sample: _Sample, request: _Request) -> str:
    """Say what is wrong with a GeoTIFF of all bands; nothing if it has the pixels of the index."""
    bands = [
        CoverageBand(m["name"], m["name"], m["dtype"], m["nodata"])
        for m in (output.to_odc() for output in sample.cube.outputs)
    ]
    names = [b.name for b in bands]
    data = sample.load(request.geobox, names)
    raster = _decode(body)
    got = raster.values
    if list(raster.bands) != names:
        return f"bands {', '.join(map(str, raster.bands))} instead of {', '.join(names)}"
    if raster.nodata != bands[0].nodata:
        return f"nodata {raster.nodata} instead of {bands[0].nodata}"
    if normalise_crs(raster.crs) != request.geobox.crs:
        return f"CRS {raster.crs} instead of {request.crs}"
    if got.dtype != common_dtype(bands):
        return f"{got.dtype} instead of {common_dtype(bands)}"
    expected = np.stack([data[name].values for name in names])
    if (got[0] == bands[0].nodata).all():
        return "blank: all pixels of the first band are nodata"
    same = (got == expected) | (np.isnan(got) & np.isnan(expected))
    return _verdict(same.all(axis=0), sample, request)


def _verdict(right: npt.NDArray[np.bool_], sample: _Sample, request: _Request) -> str:
    native = request.geobox == sample.geobox
    share = float(right.mean())
    if share >= (1.0 if native else ENOUGH):
        return ""
    return f"{1 - share:.2%} of the pixels differ from dc.load"
