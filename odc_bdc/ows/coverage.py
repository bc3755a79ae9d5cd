"""GeoTIFF for WCS 1.0 and 2.0.

datacube-ows keeps bands in a set: their order in a coverage changes with each start of the
server, and the nodata tag is that of whichever band comes last. Here the order is that of the
request, else that of DescribeCoverage, which is the product's.

A GeoTIFF has one data type and one nodata value for all bands. The type is the smallest that holds
all requested bands (int16 and uint8 give int16; uint16 and int16 give int32). The nodata value is
that of the first requested band; each band's own stands in its tag ``NODATA``. Values are never
changed; scale and offset of each band are written beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.io import MemoryFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from affine import Affine
    from odc.geo.crs import CRS


@dataclass(frozen=True, slots=True)
class CoverageBand:
    """A band of a coverage: name of its variable, label, and what the product says of it.

    What is measured is value * `scale` + `offset`.
    """

    name: str
    label: str
    dtype: str
    nodata: float
    scale: float = 1.0
    offset: float = 0.0


def common_dtype(bands: Sequence[CoverageBand]) -> np.dtype[Any]:
    """Give the smallest type that holds the values of all bands.

    Examples
    --------
    >>> common_dtype([CoverageBand("a", "a", "uint16", 0), CoverageBand("b", "b", "int16", -1)])
    dtype('int32')
    """
    return np.result_type(*(np.dtype(b.dtype) for b in bands))


def to_geotiff(
    data: xr.Dataset,
    bands: Sequence[CoverageBand],
    *,
    crs: CRS,
    transform: Affine,
    dims: tuple[str, str],
    options: dict[str, Any] | None = None,
) -> bytes:
    """Write bands as a GeoTIFF.

    Parameters
    ----------
    data
        One variable per band, integer or float, with the dimensions `dims`, in any order.
    bands
        The bands to write, in their order.
    crs, transform
        Of the pixels. The CRS is written with its parameters, not as a code that some readers lack.
    dims
        Names of the vertical and the horizontal dimension.
    options
        Creation options of GDAL's GTiff driver.
    """
    dtype = common_dtype(bands)
    height, width = (data.sizes[name] for name in dims)
    data = data.copy(deep=False)
    profile = {
        "driver": "GTiff",
        "width": width,
        "height": height,
        "count": len(bands),
        "dtype": dtype.name,
        "crs": rasterio.crs.CRS.from_wkt(crs.to_wkt()),
        "transform": transform,
        "nodata": bands[0].nodata,
        "tiled": True,
        "compress": "deflate",
        "predictor": 3 if dtype.kind == "f" else 2,
        "interleave": "band",
        **(options or {}),
    }
    with MemoryFile() as memory:
        with memory.open(**profile) as target:
            target.scales = [b.scale for b in bands]
            target.offsets = [b.offset for b in bands]
            for i, band in enumerate(bands, start=1):
                # datacube-ows makes empty coverages as int16: back to the band's own type first.
                array = data[band.name].transpose(*dims).values.astype(band.dtype, copy=False)
                target.write(array.astype(dtype, copy=False), i)
                if band.name not in {b.name for b in bands[i:]}:
                    # Nobody needs it any more: a large coverage is in memory once, not twice.
                    del data[band.name], array
                target.set_band_description(i, band.label)
                target.update_tags(i, NODATA=str(band.nodata))
        content: bytes = memory.read()
    return content


def geotiff_v1(cfg: Any, req: Any, data: xr.Dataset) -> bytes:
    """Render a WCS 1.0 GetCoverage of datacube-ows (its renderer interface)."""
    published = cfg.published_CRSs[req.response_crsid]
    return to_geotiff(
        _one_time(data, 1),
        _bands(req.layer, req.bands),
        crs=cfg.crs(req.response_crsid),
        transform=req.affine,
        dims=(published["vertical_coord"], published["horizontal_coord"]),
    )


def geotiff_v2(  # noqa: PLR0917 (the interface of datacube-ows)
    cfg: Any,
    request: Any,
    data: xr.Dataset,
    crs: str,
    layer: Any,
    width: int,  # noqa: ARG001 (the interface of datacube-ows)
    height: int,  # noqa: ARG001 (the interface of datacube-ows)
    affine: Affine,
) -> bytes:
    """Render a WCS 2.0 GetCoverage of datacube-ows (its renderer interface)."""
    published = cfg.published_CRSs[crs]
    return to_geotiff(
        _one_time(data, 2),
        _bands(layer, _range_subset(layer, request.range_subset)),
        crs=cfg.crs(crs),
        transform=affine,
        dims=(published["vertical_coord"], published["horizontal_coord"]),
        options=_options(request.geotiff_encoding_parameters),
    )


def _one_time(data: xr.Dataset, major: int) -> xr.Dataset:
    from odc_bdc.ows.upstream import WCS1Exception, WCS2Exception  # noqa: PLC0415 (an extra)

    if data.sizes["time"] != 1:
        error = WCS1Exception if major == 1 else WCS2Exception
        raise error(f"A GeoTIFF holds one time, not {data.sizes['time']}: request one.")
    one = data.isel(time=0, drop=True)
    # datacube-ows still has it, and does not look at it again.
    for name in list(data.data_vars):
        del data[name]
    return one


def _bands(layer: Any, labels: Sequence[str]) -> list[CoverageBand]:
    index = layer.band_idx
    measured = layer.products[0].measurements
    return [
        CoverageBand(
            name,
            index.band_label(name),
            str(index.dtype_val(name)),
            index.nodata_val(name),
            float(measured[name].get("scale_factor") or 1),
            float(measured[name].get("add_offset") or 0),
        )
        for name in map(index.locale_band, labels)
    ]


def _range_subset(layer: Any, subset: Sequence[Any] | None) -> list[str]:
    """Give the bands of a WCS 2 range subset in their order; without one, all."""
    labels = expanded(layer, subset) if subset else layer.band_idx.band_labels(canonical=True)
    return [layer.band_idx.locale_band(label) for label in labels]


def expanded(layer: Any, subset: Sequence[Any]) -> list[str]:
    """Write the intervals of a WCS 2 range subset (OGC 12-040) as the labels that they hold.

    datacube-ows takes an interval of one band for others, and one that runs backwards for none.

    Raises
    ------
    WCS2Exception
        If an end of an interval is no band, or the first comes after the last.
    """
    from odc_bdc.ows.upstream import ConfigException, WCS2Exception  # noqa: PLC0415 (an extra)

    index = layer.band_idx
    labels: list[str] = index.band_labels(canonical=True)
    names = [index.locale_band(label) for label in labels]
    wanted: list[str] = []
    for part in subset:
        if isinstance(part, str):
            wanted.append(part)
            continue
        try:
            first, last = (names.index(index.locale_band(end)) for end in (part.start, part.end))
        except (ConfigException, ValueError):
            first, last = 1, 0
        if first > last:
            raise WCS2Exception(
                f"{part.start}:{part.end} is no interval of the bands {', '.join(labels)}",
                WCS2Exception.ILLEGAL_FIELD_SEQUENCE,
                "rangesubset",
            )
        wanted += labels[first : last + 1]
    return wanted


def _options(encoding: Any) -> dict[str, Any]:
    """Translate the GeoTIFF extension of WCS 2.0 (OGC 12-100r1); what is not asked is left out."""
    predictors = {"none": 1, "horizontal": 2, "floatingpoint": 3}
    asked = {
        "compress": encoding.compression and encoding.compression.lower(),
        "predictor": encoding.predictor and predictors.get(encoding.predictor.lower()),
        "interleave": encoding.interleave and encoding.interleave.lower(),
        "tiled": encoding.tiling,
        "blockxsize": encoding.tile_width,
        "blockysize": encoding.tile_height,
    }
    return {key: value for key, value in asked.items() if value is not None}
