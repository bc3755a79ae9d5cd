"""Files of vectors that GDAL reads, as GeoJSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from odc_bdc.errors import InvalidValueError, first_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def read_layer(path: Path, name: str | None = None) -> tuple[Mapping[str, Any], str | None]:
    """Read a layer of a file as GeoJSON in its own CRS, which a ``crs`` member names.

    Parameters
    ----------
    name
        Of a layer, or of something in the only one.

    Returns
    -------
    tuple
        GeoJSON, and the name unless it was that of the layer.

    Raises
    ------
    InvalidValueError
        If the file cannot be read, or has several layers and none of this name.
    """
    import fiona  # noqa: PLC0415 (it loads a GDAL of its own, which few commands need)
    from fiona.errors import FionaError  # noqa: PLC0415

    if not path.exists():
        raise InvalidValueError(f"{path}: no such file")
    try:
        layers = fiona.listlayers(path)
        if name in layers:
            chosen, name = name, None
        elif len(layers) == 1:
            chosen = layers[0]
        else:
            raise InvalidValueError(
                f"{path}: has the layers {', '.join(layers)}; name one behind the file, "
                f"{path.name}:{layers[0]}"
            )
        with fiona.open(path, layer=chosen) as source:
            crs = {"type": "name", "properties": {"name": source.crs_wkt}}
            found = [
                {
                    "type": "Feature",
                    "properties": dict(feature.properties),
                    "geometry": feature.geometry and feature.geometry.__geo_interface__,
                }
                for feature in source
            ]
            crs_member = {"crs": crs} if source.crs_wkt else {}
    except (FionaError, OSError, ValueError) as e:
        if isinstance(e, InvalidValueError):
            raise
        raise InvalidValueError(
            f"{path}: cannot be read as a file of vectors: {first_line(e)}"
        ) from e
    return {"type": "FeatureCollection", "features": found, **crs_member}, name
