"""EO3 dataset documents, and the raster files behind them."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rasterio
import shapely.geometry
import yaml
from affine import Affine
from eodatasets3 import serialise
from eodatasets3.model import DatasetDoc, GridDoc, MeasurementDoc, ProductDoc
from odc.geo.crs import CRS
from rasterio.errors import RasterioError

from odc_bdc.errors import SceneError
from odc_bdc.grid import BDC_CRS, BBox, normalise_crs

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence

_Dumper: type[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

DOCUMENT_SUFFIX = ".odc-metadata.yaml"


@dataclass(frozen=True, slots=True)
class RasterFile:
    """What the header of a raster file says of its first band."""

    href: str
    shape: tuple[int, int]
    transform: tuple[float, float, float, float, float, float]
    crs: str
    dtype: str
    nodata: float | None

    @property
    def grid(self) -> GridDoc:
        """The pixel grid as EO3 has it."""
        return GridDoc(self.shape, Affine(*self.transform))

    @property
    def bbox(self) -> BBox:
        """xmin, ymin, xmax, ymax in the file's CRS."""
        (rows, columns), t = self.shape, Affine(*self.transform)
        (x0, y0), (x1, y1) = t * (0, 0), t * (columns, rows)
        return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def read_header(href: str) -> RasterFile:
    """Read a raster file's header, and see that no pixel block is missing at a local file's end.

    Raises
    ------
    SceneError
        If the file is missing, is no raster, has no CRS, or is truncated.
    """
    try:
        with rasterio.open(href) as src:
            if src.crs is None:
                raise SceneError(f"{href}: the file has no CRS")
            _check_complete(src, href)
            return RasterFile(
                href,
                (src.height, src.width),
                tuple(src.transform)[:6],
                _crs_name(src.crs),
                src.dtypes[0],
                src.nodata,
            )
    except RasterioError as e:
        local = Path(href)
        if "://" not in href and not local.exists():
            raise SceneError(f"{href}: no such file") from e
        raise SceneError(f"{href}: cannot be read as a raster: {_first_line(e)}") from e


def _crs_name(crs: Any) -> str:
    known = normalise_crs(crs)
    return str(known) if known is BDC_CRS or known.epsg is None else f"EPSG:{known.epsg}"


def _check_complete(src: Any, href: str) -> None:
    """Compare where the TIFF says its blocks end with where the file does: a header opens alone."""
    path = Path(href)
    if src.driver != "GTiff" or not path.is_file():
        return
    rows, columns = src.block_shapes[0]
    end = 0
    for y in range(-(-src.height // rows)):
        for x in range(-(-src.width // columns)):
            offset = src.get_tag_item(f"BLOCK_OFFSET_{x}_{y}", "TIFF", bidx=1)
            size = src.get_tag_item(f"BLOCK_SIZE_{x}_{y}", "TIFF", bidx=1)
            if offset and size:
                end = max(end, int(offset) + int(size))
    if end > path.stat().st_size:
        raise SceneError(
            f"{href}: truncated: {path.stat().st_size} bytes on disk, its pixels need {end}"
        )


def dataset_document(
    *,
    dataset_id: uuid.UUID,
    product: str,
    label: str,
    files: Mapping[str, RasterFile],
    properties: Mapping[str, Any],
    location: Path,
    lineage: Mapping[str, Sequence[uuid.UUID]] | None = None,
) -> DatasetDoc:
    """Make an EO3 document.

    Parameters
    ----------
    files
        Raster file by measurement. All share one CRS. Files on the first one's pixel grid use the
        grid ``default``, others one named after the measurement.
    location
        Where the document will lie: files in its folder are named relative to it, so that a folder
        can be moved as a whole.

    Raises
    ------
    SceneError
        If the files differ in CRS.
    """
    first = next(iter(files.values()))
    grids = {"default": first.grid}
    measurements = {}
    for name, file in files.items():
        if file.crs != first.crs:
            raise SceneError(f"{file.href}: its CRS {file.crs} is not that of {first.href}")
        grid = next((g for g, known in grids.items() if known == file.grid), name)
        grids.setdefault(grid, file.grid)
        measurements[name] = MeasurementDoc(_relative(file.href, location.parent), grid=grid)
    crs = CRS(first.crs)
    return DatasetDoc(
        id=dataset_id,
        label=label,
        product=ProductDoc(product),
        # EO3 wants an EPSG code or WKT; a proj string would not pass its validation.
        crs=f"epsg:{crs.epsg}" if crs.epsg else crs.to_wkt(),
        geometry=shapely.geometry.box(*first.bbox),
        grids=grids,
        properties=dict(properties),
        measurements=measurements,
        lineage=dict(lineage or {}),
    )


def write_document(document: DatasetDoc | Mapping[str, Any], path: Path) -> None:
    """Write an EO3 document to `path`, whole or not at all.

    A plain one is written in the order it has.

    Raises
    ------
    SceneError
        If the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as e:
        raise SceneError(
            f"{path}: cannot be written: {e.strerror}; give another folder with --out"
        ) from e
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            if isinstance(document, DatasetDoc):
                serialise.to_stream(stream, document)
            else:
                # The serialiser of eodatasets3 takes ten times as long.
                yaml.dump(document, stream, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _relative(href: str, folder: Path) -> str:
    if "://" in href:
        return href
    path = Path(href).resolve()
    try:
        return path.relative_to(folder.resolve()).as_posix()
    except ValueError:
        return path.as_uri()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
