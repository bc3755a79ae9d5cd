"""Live images by the address of their recipes: those used last are held."""

from __future__ import annotations

import os
from pathlib import Path

from odc_bdc.files import access_of
from odc_bdc.live.cache import SharedCache
from odc_bdc.live.image import LiveImage
from odc_bdc.live.recipe import read_recipe, split_digest
from odc_bdc.live.roots import process_roots

_HELD = 64
"""Images of which the headers of files are held."""


_images: SharedCache[LiveImage] = SharedCache(_HELD, lambda _: 1)


def open_image(href: str) -> LiveImage:
    """Give the image of a recipe, which is read once, and again if its file changes.

    It is looked for below `process_roots`, and scenes are read by the rules of ``ODC_BDC_ACCESS``.

    Parameters
    ----------
    href
        Address of the recipe with its digest, as the index has it.

    Raises
    ------
    SourceError, InvalidValueError
        As `read_recipe`.
    """
    roots = process_roots()
    place = roots.place(split_digest(href)[0])
    return _images.get(
        (href, place, _stamp(place)),
        lambda: LiveImage(read_recipe(href, roots, access_of(os.environ))),
    )


def _stamp(place: str) -> tuple[int, int, int] | None:
    """Give what changes when a local file does; None if it is not one, or not there."""
    try:
        found = Path(place).stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _begin_anew() -> None:
    global _images  # noqa: PLW0603 (it is the process's)
    _images = SharedCache(_HELD, lambda _: 1)


os.register_at_fork(after_in_child=_begin_anew)
