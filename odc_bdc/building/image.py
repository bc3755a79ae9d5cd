"""The bands of one image: computed and written to a folder, and what was seen meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from odc_bdc.building.tile import composite_windows
from odc_bdc.cog import ZSTD, CogWriter, Compression, Level

if TYPE_CHECKING:
    from odc_bdc.building.efficacy import EfficacyStore
    from odc_bdc.building.tile import Bands
    from odc_bdc.cog import Window
    from odc_bdc.planning import CompositeTask


@dataclass(frozen=True, slots=True)
class ImageSummary:
    """What was seen while an image was made.

    Attributes
    ----------
    pixels
        Of the image.
    seen, clear
        Pixels that any observation saw, and that any saw clear.
    files
        Path of each output's file, by name.
    preview
        Small array (y, x) of each output, every n-th pixel: at most 512 a side.
    scenes_read
        Scenes of which a band was read; the quality band is read of all.
    blocks_read, blocks_skipped
        Windows of a band of an observation that were decoded, and that needed not be.
    bytes_read
        Of decoded pixels, quality included.
    seconds
        By step: ``read``, ``composite`` and ``write`` of all threads together, and ``finish``, when
        blocks are put into their order.
    """

    pixels: int
    seen: int
    clear: int
    files: Mapping[str, Path]
    preview: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    scenes_read: int = 0
    blocks_read: int = 0
    blocks_skipped: int = 0
    bytes_read: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def clear_fraction(self) -> float:
        """Share of the image's pixels that any observation saw clear, 0 to 1."""
        return self.clear / self.pixels


PREVIEW_SIDE = 512


def write_bands(
    task: CompositeTask,
    folder: Path,
    *,
    threads: int = 1,
    compression: Compression = ZSTD,
    store: EfficacyStore | None = None,
) -> ImageSummary:
    """Compute the image of a task and write each output as ``<item>_<output>.tif`` to a folder.

    Parameters
    ----------
    threads
        How many windows are worked at; the files are the same. Each takes up to 256 MB.
    compression
        Of the files.
    store
        Where what is found out of scenes is looked up and kept.

    Raises
    ------
    UnreadableSceneError
        If a file of a scene cannot be read.
    OSError
        If the folder cannot be written, a full disk included; none of the files stays then.
    """
    geobox, outputs = task.geobox, task.cube.outputs
    files = {m.name: folder / f"{task.item_id}_{m.name}.tif" for m in outputs}
    preview = _Preview(task)
    begun = 0.0
    try:
        with ExitStack() as stack:
            writers = {
                m.name: stack.enter_context(
                    CogWriter(
                        files[m.name],
                        geobox,
                        m.dtype,
                        nodata=m.missing,
                        compression=compression,
                        description=m.name,
                    )
                )
                for m in outputs
            }

            def receive(window: Window, image: Bands) -> None:
                for name, writer in writers.items():
                    writer.write(window, image[name])
                preview.add(window, image)

            tally = composite_windows(task, receive, threads=threads, store=store)
            begun = perf_counter()
    except BaseException:
        for path in files.values():
            path.unlink(missing_ok=True)
        raise
    rows, columns = geobox.shape
    return ImageSummary(
        pixels=rows * columns,
        seen=tally.seen,
        clear=tally.clear,
        files=files,
        preview=preview.arrays,
        scenes_read=len(tally.scenes),
        blocks_read=tally.blocks_read,
        blocks_skipped=tally.blocks_skipped,
        bytes_read=tally.bytes_read,
        seconds={**tally.seconds, "finish": perf_counter() - begun},
    )


class _Preview:
    """Gathers every n-th pixel of each output."""

    def __init__(self, task: CompositeTask) -> None:
        shape = task.geobox.shape
        step = -(-max(shape) // PREVIEW_SIDE)
        self._level = Level(*(np.arange(0, size, step) for size in shape))
        self.arrays: dict[str, npt.NDArray[Any]] = {
            m.name: np.empty(self._level.shape, m.dtype) for m in task.cube.outputs
        }

    def add(self, window: Window, image: Bands) -> None:
        """Take what belongs to it of a window."""
        for name, array in self.arrays.items():
            row, column, taken = self._level.taken(image[name], window)
            rows, columns = taken.shape
            array[row : row + rows, column : column + columns] = taken
