"""Live images by the address of their recipes: those used last are held."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path
from urllib.parse import unquote, urlsplit

from odc_bdc.live.image import LiveImage
from odc_bdc.live.recipe import read_recipe

_HELD = 64
"""Images of which the headers of files are held."""


class _Images:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[str, tuple[object, LiveImage]] = OrderedDict()

    def get(self, href: str) -> LiveImage:
        stamp = _stamp(href)
        with self._lock:
            held = self._held.get(href)
            if held is not None and held[0] == stamp:
                self._held.move_to_end(href)
                return held[1]
        image = LiveImage(read_recipe(href))
        with self._lock:
            # Another thread may have been quicker; then both take its.
            held = self._held.get(href)
            if held is not None and held[0] == stamp:
                return held[1]
            self._held[href] = stamp, image
            self._held.move_to_end(href)
            while len(self._held) > _HELD:
                self._held.popitem(last=False)
        return image


_images = _Images()


def open_image(href: str) -> LiveImage:
    """Give the image of a recipe, which is read once, and again if its file changes.

    Recipes on servers are taken not to change: `odc-bdc cube declare` gives each a name of its own.

    Raises
    ------
    SourceError, InvalidValueError
        As `read_recipe`.
    """
    return _images.get(href)


def _stamp(href: str) -> tuple[int, int, int] | None:
    """Give what changes when a local file does; None if it is not one, or not there."""
    parts = urlsplit(href)
    if parts.scheme not in ("", "file"):
        return None
    try:
        found = Path(unquote(parts.path) if parts.scheme else href).stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _begin_anew() -> None:
    global _images  # noqa: PLW0603 (it is the process's)
    _images = _Images()


os.register_at_fork(after_in_child=_begin_anew)
