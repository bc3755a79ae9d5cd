"""What building will take, told before it begins: pure arithmetic on measured constants."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from odc_bdc.cube import Measurement
    from odc_bdc.planning import CompositeTask

_READ = 12e-9
"""Core seconds to read and composite one value of a scene (`make bench`)."""

_WRITTEN = 120e-9
"""Core seconds to write one value of an image, overviews and documents included."""

_EACH = 0.5
"""Seconds that an image takes however small it is."""

_SHARE = {"i": 0.8, "u": 0.3, "f": 1.1}
"""Bytes of a compressed file with overviews, by bytes of its pixels: reflectance, counts and
classes, floating point."""

_PROCESS = 0.5e9
"""Bytes of a process with all libraries, before its first image."""

_BLOCKS = 1.0e9
"""Bytes for the blocks that an image has under work."""


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
    return round(sum(pixels * _bytes(m) for m in task.cube.outputs))


def expected_seconds(task: CompositeTask) -> float:
    """Give the seconds that one core will take for an image, within a factor of three."""
    cube, pixels = task.cube, _pixels(task)
    values = len(task.scenes) * len(cube.measurements)
    return _EACH + pixels * (values * _READ + len(cube.outputs) * _WRITTEN)


def expected_memory(task: CompositeTask) -> int:
    """Give the most bytes that the process needs which makes an image."""
    whole = _pixels(task) * sum(np.dtype(m.dtype).itemsize for m in task.cube.outputs)
    return round(_PROCESS + _BLOCKS + whole)


def estimate(tasks: Iterable[CompositeTask], *, workers: int = 1) -> Estimate:
    """Say what some images will take if so many are made at once, each by one core."""
    tasks = list(tasks)
    at_once = max(1, min(workers, len(tasks)))
    largest = sorted((expected_memory(task) for task in tasks), reverse=True)[:at_once]
    longest = max((expected_seconds(task) for task in tasks), default=0.0)
    total = sum(expected_seconds(task) for task in tasks)
    return Estimate(
        images=len(tasks),
        size=sum(expected_size(task) for task in tasks),
        seconds=max(longest, total / at_once),
        memory=sum(largest),
    )


def _pixels(task: CompositeTask) -> int:
    rows, columns = task.geobox.shape
    return int(rows) * int(columns)


def _bytes(measurement: Measurement) -> float:
    dtype = np.dtype(measurement.dtype)
    return dtype.itemsize * _SHARE[dtype.kind]
