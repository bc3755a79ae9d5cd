"""How layers look: true colour, false colour and NDVI, where the bands are there.

Bands are found by their common names (``red``, ``green``, ``blue``, ``nir``), which products carry
as aliases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from odc_bdc import indices

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import xarray as xr

TRUE_COLOUR = ("red", "green", "blue")
FALSE_COLOUR = ("nir", "red", "green")

VISIBLE = (0.0, 0.3)
"""Reflectances shown as black and as full brightness."""
NEAR_INFRARED = (0.0, 0.5)

NDVI_RAMP = (
    (-0.2, "#2b6cb0"),
    (0.0, "#d9c7a3"),
    (0.2, "#f2e9b8"),
    (0.4, "#b5d16b"),
    (0.6, "#5aa83f"),
    (0.8, "#1e7a2d"),
    (1.0, "#004018"),
)
"""Colours of NDVI values, linear between them: blue below zero (water), then sand to dark green."""


def by_common_name(measurements: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Index measurements (as ODC product documents have them) by name and by alias."""
    return {
        label: m for m in reversed(measurements) for label in (*(m.get("aliases") or ()), m["name"])
    }


def stretch(measurement: Mapping[str, Any], common_name: str) -> tuple[float, float]:
    """Give the pixel values of a band that are shown as black and as full brightness.

    Parameters
    ----------
    measurement
        As the ODC product document has it; ``scale_factor`` and ``add_offset`` turn pixel values
        into reflectance. Without them, integers are taken for ten-thousandths, as the BDC's are.
    common_name
        ``nir`` is brighter than the rest, so its range is wider.
    """
    if measurement["dtype"] == "uint8":
        return 0.0, 255.0
    scale, offset = _to_reflectance(measurement)
    low, high = NEAR_INFRARED if common_name == "nir" else VISIBLE
    return (low - offset) / scale, (high - offset) / scale


def styles(measurements: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give the styles for a layer with these bands; at least one, the default first."""
    bands = by_common_name(measurements)
    found = []
    if bands.keys() >= set(TRUE_COLOUR):
        found.append(_rgb("true_colour", "True colour", "Red, green, blue", TRUE_COLOUR, bands))
    if bands.keys() >= set(FALSE_COLOUR):
        about = "Near infrared, red, green: vegetation is red"
        found.append(_rgb("false_colour", "False colour", about, FALSE_COLOUR, bands))
    if bands.keys() >= {"red", "nir"}:
        found.append(_ndvi_style(bands))
    first = measurements[0]["name"]
    return found or [_rgb("grey", first, f"Band {first} in grey", (first,) * 3, bands)]


def ndvi(
    data: xr.Dataset,
    *,
    red: tuple[float, float],
    nir: tuple[float, float],
    band_mapper: Callable[[str], str],
) -> xr.DataArray:
    """Compute NDVI as float32, whatever the bands' integer type (no wrap-around).

    Parameters
    ----------
    data
        Holds the bands ``red`` and ``nir``; nodata may be among the pixels, the caller masks them.
    red, nir
        Scale and offset that turn the band's pixel values into reflectance.
    band_mapper
        Gives the name in `data` of a common name.

    Returns
    -------
    xarray.DataArray
        float32; 0 where both bands sum to 0, so that no pixel is NaN.
    """
    r = data[band_mapper("red")].astype("float32") * red[0] + red[1]
    n = data[band_mapper("nir")].astype("float32") * nir[0] + nir[1]
    return r.copy(data=np.nan_to_num(indices.ndvi(r.values, n.values)))


def _to_reflectance(measurement: Mapping[str, Any]) -> tuple[float, float]:
    scale = measurement.get("scale_factor")
    if scale:
        return float(scale), float(measurement.get("add_offset") or 0.0)
    return (1e-4, 0.0) if "int" in measurement["dtype"] else (1.0, 0.0)


def _rgb(
    name: str,
    title: str,
    abstract: str,
    shown: tuple[str, ...],
    bands: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    components = {
        colour: {band: 1.0, "scale_range": list(stretch(bands[band], band))}
        for colour, band in zip(TRUE_COLOUR, shown, strict=True)
    }
    return {"name": name, "title": title, "abstract": abstract, "components": components}


def _ndvi_style(bands: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "name": "ndvi",
        "title": "NDVI",
        "abstract": "Normalised difference vegetation index, (nir - red) / (nir + red)",
        "index_function": {
            "function": f"{__name__}.ndvi",
            "mapped_bands": True,
            "kwargs": {band: _to_reflectance(bands[band]) for band in ("red", "nir")},
        },
        "needed_bands": ["red", "nir"],
        "color_ramp": [{"value": value, "color": colour} for value, colour in NDVI_RAMP],
        "legend": {"begin": "-0.2", "end": "1.0", "ticks_every": "0.2", "decimal_places": 1},
    }
