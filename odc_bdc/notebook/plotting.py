"""Pictures by matplotlib, labelled in English or Portuguese."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from odc_bdc.errors import InvalidValueError, UnknownNameError, did_you_mean
from odc_bdc.notebook.accessor import at_time
from odc_bdc.notebook.bands import find_band
from odc_bdc.notebook.optics import index_of, reflectances
from odc_bdc.spectral_index import SPECTRAL_INDICES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABELS = {
    "en": {
        "x": "Easting (m)",
        "y": "Northing (m)",
        "longitude": "Longitude (°)",
        "latitude": "Latitude (°)",
        "time": "Date",
        "reflectance": "Reflectance",
        "stored": "Stored number",
        "point": "Point",
    },
    "pt": {
        "x": "Coordenada E (m)",
        "y": "Coordenada N (m)",
        "longitude": "Longitude (°)",
        "latitude": "Latitude (°)",
        "time": "Data",
        "reflectance": "Reflectância",
        "stored": "Valor armazenado",
        "point": "Ponto",
    },
}
"""What axes are called, by language."""

_SAMPLE = 1_000_000
"""Values by which limits are chosen."""


def plot_rgb(
    ds: xr.Dataset,
    time: Any,
    bands: Sequence[str],
    *,
    limits: tuple[float, float] | None,
    ax: Axes | None,
    language: str,
) -> Axes:
    """Draw three bands as red, green and blue."""
    labels = _labels(language)
    if len(bands) != 3:
        raise InvalidValueError(f"three bands make a picture, not {len(bands)}")
    names = [find_band(ds, band) for band in bands]
    one = at_time(reflectances(ds[list(dict.fromkeys(names))]), time)
    rows, columns = _spatial(one[names[0]])
    pixels = np.stack([one[n].transpose(rows, columns).values for n in names], -1).astype(float)
    seen = np.isfinite(pixels).all(axis=-1)
    low, high = limits or _limits(pixels[seen])
    shown = np.clip((pixels - low) / max(high - low, 1e-12), 0, 1)
    picture = np.dstack([np.where(seen[..., np.newaxis], shown, 0), seen.astype(float)])
    ax = ax or plt.subplots()[1]
    x, y = one[columns].values, one[rows].values
    ax.imshow(picture, extent=_extent(x, y), origin="upper", interpolation="nearest")
    ax.set_xlabel(labels.get(str(columns), str(columns)))
    ax.set_ylabel(labels.get(str(rows), str(rows)))
    ax.set_title(_date(one))
    return ax


def plot(
    ds: xr.Dataset, name: str | None, time: Any, *, ax: Axes | None, language: str, **how: Any
) -> Axes:
    """Draw a band or an index: an image, or lines over time."""
    labels = _labels(language)
    values, what = _values(ds, name, labels)
    ax = ax or plt.subplots()[1]
    if "point" in values.dims or values.ndim == 1:
        hue = "point" if "point" in values.dims else None
        values.plot.line(ax=ax, x="time", hue=hue, **how)
        ax.set_xlabel(labels["time"])
        legend = ax.get_legend()
        if legend is not None:
            legend.set_title(labels["point"])
    else:
        one = at_time(values.to_dataset(name="shown"), time)
        rows, columns = _spatial(one["shown"])
        one["shown"].plot.imshow(ax=ax, cbar_kwargs={"label": what}, **how)
        ax.set_xlabel(labels.get(str(columns), str(columns)))
        ax.set_title(_date(one))
        what = labels.get(str(rows), str(rows))
        ax.set_aspect("equal")
    ax.set_ylabel(what)
    return ax


def _values(ds: xr.Dataset, name: str | None, labels: dict[str, str]) -> tuple[xr.DataArray, str]:
    """Give what is to be drawn, and what it is called."""
    if name is None:
        name = next((str(n) for n in ds.data_vars), "")
    try:
        band = find_band(ds, name)
    except UnknownNameError as not_a_band:
        try:
            return index_of(ds, name), name
        except UnknownNameError as e:
            raise (e if "needs" in str(e) else not_a_band) from None
    if band in SPECTRAL_INDICES and "scale_factor" in ds[band].attrs:
        return reflectances(ds[[band]])[band], name
    if "scale_factor" in ds[band].attrs:
        return reflectances(ds[[band]])[band], f"{name}: {labels['reflectance']}"
    nodata = ds[band].attrs.get("nodata")
    shown = ds[band] if nodata is None else ds[band].where(ds[band] != nodata)
    if ds[band].dtype.kind == "f":
        return shown, name
    return shown, f"{name}: {labels['stored']}"


def _labels(language: str) -> dict[str, str]:
    if language not in LABELS:
        raise UnknownNameError(
            f"there are no labels in {language!r}{did_you_mean(language, LABELS)}; there are in "
            f"{', '.join(LABELS)}"
        )
    return LABELS[language]


def _spatial(band: xr.DataArray) -> tuple[Hashable, Hashable]:
    found = [dim for dim in band.dims if dim != "time"]
    if len(found) != 2:
        raise InvalidValueError(f"band {band.name} has dimensions {band.dims}; it is no image")
    return found[0], found[1]


def _limits(values: Any) -> tuple[float, float]:
    if not values.size:
        return 0.0, 1.0
    sample = values.reshape(-1)[:: max(1, values.size // _SAMPLE)]
    low, high = np.percentile(sample, [2, 98])
    return float(low), float(high)


def _extent(x: Any, y: Any) -> tuple[float, float, float, float]:
    """Give the outer edges of an image whose first row is on top."""
    half_x = abs(x[1] - x[0]) / 2 if len(x) > 1 else 0.5
    half_y = abs(y[1] - y[0]) / 2 if len(y) > 1 else 0.5
    return x[0] - half_x, x[-1] + half_x, y[-1] - half_y, y[0] + half_y


def _date(one: xr.Dataset) -> str:
    return str(one["time"].values.astype("datetime64[D]")) if "time" in one.coords else ""
