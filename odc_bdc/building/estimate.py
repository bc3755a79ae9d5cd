"""What building will take, told before it begins: pure arithmetic on measured constants."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from odc_bdc.building.image import PREVIEW_SIDE
from odc_bdc.building.windows import SIDE, bytes_per_pixel, window_shape

if TYPE_CHECKING:
    from odc_bdc.cube import Measurement
    from odc_bdc.planning import CompositeTask

# Measured of images of 64 to 1024 pixels a side, of 4 and 36 scenes on the tile's grid, made by one
# thread and by two; tests/benchmarks/many.py prints how far off the estimate is.

_READ = 7e-9
"""Core seconds to read and composite one value of a scene. Warping takes four times as long."""

_WRITTEN = 20e-9
"""Core seconds to write one value of an image, overviews included."""

_EACH = 0.2
"""Core seconds that an image takes however small it is."""

_SHARE = {"i": 0.75, "u": 0.1, "f": 1.1}
"""Bytes of a compressed file with overviews, by bytes of its pixels: reflectance and indices,
whose files take 0.6 to 0.8 of made and of real scenes; counts and classes; floating point."""

_FLAT = 0.1
"""The same of provenance, which is the same over wide parts."""

_DOCUMENTS = 30e3
"""Bytes of the documents of an image, and of the headers of its files."""

_PICTURE = 1.9
"""Bytes of a pixel of the picture."""

_PROCESS = 0.45e9
"""Bytes of a process with all libraries, and with what one image takes beside its windows."""

_WINDOWS = 2.3
"""Bytes that a window takes while it is worked at, by the bytes of its scenes."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What some images will take.

    Attributes
    ----------
    images
        How many.
    size
        Bytes on disk.
    seconds
        Until all are done.
    memory
        Bytes of all workers together, on whatever machines.
    """

    images: int
    size: int
    seconds: float
    memory: int


def expected_size(task: CompositeTask) -> int:
    """Give the bytes that an image will take on disk, within a factor of two."""
    pixels = _pixels(task)
    picture = _PICTURE * min(pixels, PREVIEW_SIDE**2)
    return round(sum(pixels * _bytes(m) for m in task.cube.outputs) + picture + _DOCUMENTS)


def expected_seconds(task: CompositeTask) -> float:
    """Give the seconds that one core will take for an image, within a factor of three."""
    cube, pixels = task.cube, _pixels(task)
    values = len(task.scenes) * len(cube.measurements)
    return _EACH + pixels * (values * _READ + len(cube.outputs) * _WRITTEN)


def expected_memory(task: CompositeTask, *, threads: int = 1) -> int:
    """Give the most bytes that the process needs which makes an image, within a factor of two.

    It grows with the threads, each of which has a window of all scenes; not with the tile.
    """
    cube = task.cube
    per_pixel = len(task.scenes) * bytes_per_pixel(cube)
    wide = any(source.quality.margin for source in cube.sources)
    rows, columns = task.geobox.shape
    shape = window_shape((rows, columns), [(SIDE, SIDE)], per_pixel, wide=wide)
    at_work = min(threads, -(-_pixels(task) // (shape[0] * shape[1])))
    return round(_PROCESS + at_work * _WINDOWS * shape[0] * shape[1] * per_pixel)


def estimate(tasks: Iterable[CompositeTask], *, workers: int = 1, threads: int = 1) -> Estimate:
    """Say what some images will take.

    Parameters
    ----------
    workers
        Images that are made at once.
    threads
        Of each worker; each has a core.
    """
    tasks = list(tasks)
    at_once = max(1, min(workers, len(tasks)))
    each = sorted((expected_memory(task, threads=threads) for task in tasks), reverse=True)
    longest = max((expected_seconds(task) for task in tasks), default=0.0)
    total = sum(expected_seconds(task) for task in tasks)
    return Estimate(
        images=len(tasks),
        size=sum(expected_size(task) for task in tasks),
        seconds=max(longest, total / at_once) / threads,
        memory=sum(each[:at_once]),
    )


def _pixels(task: CompositeTask) -> int:
    rows, columns = task.geobox.shape
    return int(rows) * int(columns)


def _bytes(measurement: Measurement) -> float:
    dtype = np.dtype(measurement.dtype)
    flat = measurement.name == "PROVENANCE"
    return dtype.itemsize * (_FLAT if flat else _SHARE[dtype.kind])
