"""A small picture of an image, to look at before its pixels are read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.io import MemoryFile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from odc_bdc.cube import CubeSpec, Measurement

_COLOURS = (("red", "green", "blue"), ("swir16", "nir", "red"), ("nir", "red", "green"))
"""Common names for red, green and blue of the picture: true colour first, then false colour."""
# Of the map viridis, which is read in order also by the colour-blind.
_RAMP = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
_PERCENTILES = (2, 98)


def quicklook(
    cube: CubeSpec, preview: Mapping[str, npt.NDArray[Any]]
) -> npt.NDArray[np.uint8] | None:
    """Make a picture of some of a cube's outputs.

    True colour where the cube has red, green and blue, else false colour, else its first index or
    band by a colour ramp. Values are stretched between their 2nd and 98th percentile: those of true
    colour together, so that green stays green, others by band.

    Parameters
    ----------
    preview
        Array (y, x) of outputs, by name; all of one shape.

    Returns
    -------
    numpy.ndarray or None
        uint8 (4, y, x): red, green, blue, and opacity, which is 0 where a band that is shown has no
        data and 255 elsewhere. None if there is no preview.
    """
    shown, is_true_colour = _bands(cube, preview)
    if not shown:
        return None
    stack = np.stack([preview[m.name] for m in shown])
    valid = np.logical_and.reduce([_has_data(p, m) for p, m in zip(stack, shown, strict=True)])
    layers = _stretched(stack, valid, together=is_true_colour)
    if len(layers) == 1:
        steps = np.linspace(0, 1, len(_RAMP))
        channels = np.array(_RAMP).T / 255
        layers = np.stack([np.interp(layers[0], steps, channel) for channel in channels])
    colours = np.rint(layers * 255) * valid
    return np.concatenate([colours, valid[None] * 255]).astype(np.uint8)


def write_png(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    """Write a picture (bands, y, x) as PNG; the same picture gives the same bytes.

    Raises
    ------
    OSError
        If the file cannot be written, a full disk included.
    """
    count, height, width = picture.shape
    # Through memory: GDAL only logs a full disk when it closes a file, Python raises.
    with MemoryFile() as memory:
        with memory.open(
            driver="PNG",
            width=width,
            height=height,
            count=count,
            dtype="uint8",
            zlevel=9,
            # A PNG holds no place on Earth, but rasterio warns where it is not told one.
            transform=Affine.scale(2, -2),
        ) as file:
            file.write(picture)
        path.write_bytes(memory.getbuffer())


def _bands(
    cube: CubeSpec, preview: Mapping[str, npt.NDArray[Any]]
) -> tuple[list[Measurement], bool]:
    """Give the outputs that a picture shows, three, one or none, and if it is in true colour."""
    outputs = {m.name: m for m in cube.outputs if m.name in preview}
    suffixes = cube.function.suffixes
    # Of several percentiles the one in the middle.
    suffix = suffixes[len(suffixes) // 2] if suffixes else ""
    named: dict[str, str] = {}
    for band in cube.bands:
        for label in filter(None, (band.common_name, *band.aliases)):
            named.setdefault(label, band.name + suffix)
    for colours in _COLOURS:
        names = [named.get(colour) for colour in colours]
        if all(name in outputs for name in names):
            return [outputs[name] for name in names if name], colours == _COLOURS[0]
    first = [i.measurement.name for i in cube.indices] + list(outputs)
    return [outputs[name] for name in first if name in outputs][:1], False


def _has_data(pixels: npt.NDArray[Any], measurement: Measurement) -> npt.NDArray[np.bool_]:
    missing = measurement.missing
    if missing is None:
        return np.ones(pixels.shape, dtype=bool)
    present: npt.NDArray[np.bool_] = (
        np.isfinite(pixels) if math.isnan(missing) else pixels != missing
    )
    return present


def _stretched(
    stack: npt.NDArray[Any], valid: npt.NDArray[np.bool_], *, together: bool
) -> npt.NDArray[np.float64]:
    """Bring values (band, y, x) between two percentiles to 0 to 1; one value alone becomes 0.5."""
    values = np.where(valid, stack, 0).astype(np.float64)
    if not valid.any():
        return np.zeros(values.shape)
    axis = None if together else 1
    low, high = np.percentile(values[:, valid], _PERCENTILES, axis=axis, keepdims=True)
    low, span = low.reshape(-1, 1, 1), (high - low).reshape(-1, 1, 1)
    flat = span == 0
    stretched = np.clip((values - low) / np.where(flat, 1, span), 0, 1)
    return np.where(flat, 0.5, stretched)
