"""Live images by the address of their recipes: those used last are held."""

from __future__ import annotations

import os
from pathlib import Path

from odc_bdc.indexing.raster import local_path
from odc_bdc.live.cache import SharedCache
from odc_bdc.live.image import LiveImage
from odc_bdc.live.recipe import read_recipe

_HELD = 64
"""Images of which the headers of files are held."""


_images: SharedCache[LiveImage] = SharedCache(_HELD, lambda _: 1)


def open_image(href: str) -> LiveImage:
    """Give the image of a recipe, which is read once, and again if its file changes.

    Recipes on servers are taken not to change: `odc-bdc cube declare` gives each a name of its own.

    Raises
    ------
    SourceError, InvalidValueError
        As `read_recipe`.
    """
    return _images.get((href, _stamp(href)), lambda: LiveImage(read_recipe(href)))


def _stamp(href: str) -> tuple[int, int, int] | None:
    """Give what changes when a local file does; None if it is not one, or not there."""
    path = Path(href) if "://" not in href else local_path(href)
    try:
        found = path.stat() if path else None
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns) if found else None


def _begin_anew() -> None:
    global _images  # noqa: PLW0603 (it is the process's)
    _images = SharedCache(_HELD, lambda _: 1)


os.register_at_fork(after_in_child=_begin_anew)
