"""The bands of one image: computed and written to a folder, and what was seen meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from odc_bdc.building.tile import composite_tile
from odc_bdc.cog import write_cog

if TYPE_CHECKING:
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
        Small array (y, x) of each output, nearest pixels of an overview.
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


_PREVIEW = 512


def write_bands(task: CompositeTask, folder: Path) -> ImageSummary:
    """Compute the image of a task and write each output as ``<item>_<output>.tif`` to a folder.

    Raises
    ------
    SceneError
        If a file of a scene cannot be read.
    OSError
        If the folder cannot be written, a full disk included.
    """
    image = composite_tile(task)
    files = {}
    for measurement in task.cube.outputs:
        files[measurement.name] = path = folder / f"{task.item_id}_{measurement.name}.tif"
        write_cog(
            path,
            image[measurement.name],
            task.geobox,
            nodata=measurement.missing,
            description=measurement.name,
        )
    step = -(-max(task.geobox.shape) // _PREVIEW)
    return ImageSummary(
        pixels=image["TOTALOB"].size,
        seen=int(np.count_nonzero(image["TOTALOB"])),
        clear=int(np.count_nonzero(image["CLEAROB"])),
        files=files,
        preview={name: array[::step, ::step] for name, array in image.items()},
    )
