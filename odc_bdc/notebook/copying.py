"""The shipped notebooks, copied to a folder of their reader's, who may change them."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from odc_bdc.errors import InvalidValueError
from odc_bdc.indexing.whole_file import whole_file

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable
    from pathlib import Path

KEPT = ".odc_bdc_notebooks.json"
"""File beside the copies: checksums of what was copied, by name."""


@dataclass(frozen=True)
class Copies:
    """What became of the notebooks, by name.

    Attributes
    ----------
    new
        Copied: they were not there.
    updated
        Replaced by those of a newer odc_bdc: their reader had not changed them.
    kept
        Left as their reader changed them, though odc_bdc has newer ones.
    unchanged
        All others.
    """

    new: tuple[str, ...]
    updated: tuple[str, ...]
    kept: tuple[str, ...]
    unchanged: tuple[str, ...]


def copy_notebooks(folder: Path, shipped: Traversable | None = None) -> Copies:
    """Copy the shipped notebooks to a folder; none that was changed there is overwritten.

    Parameters
    ----------
    folder
        Made if it is not there.
    shipped
        Where the notebooks are; by default those of odc_bdc.

    Raises
    ------
    InvalidValueError
        If the folder cannot be written.
    """
    source = files("odc_bdc.notebooks") if shipped is None else shipped
    bodies = {
        file.name: file.read_bytes()
        for file in sorted(source.iterdir(), key=lambda f: f.name)
        if file.name.endswith(".ipynb")
    }
    done: dict[str, list[str]] = {"new": [], "updated": [], "kept": [], "unchanged": []}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        before = _known(folder)
        for name, body in bodies.items():
            fate = _fate(folder / name, body, before.get(name))
            done[fate].append(name)
            if fate in {"new", "updated"}:
                with whole_file(folder / name, binary=True) as stream:
                    os.fchmod(stream.fileno(), 0o644)
                    stream.write(body)
            if fate != "kept":
                before[name] = _digest(body)
        with whole_file(folder / KEPT) as stream:
            json.dump(before, stream, indent=1)
    except OSError as e:
        raise InvalidValueError(f"{folder}: notebooks cannot be copied to it: {e.strerror}") from e
    return Copies(**{fate: tuple(names) for fate, names in done.items()})


def _fate(copy: Path, body: bytes, copied: str | None) -> str:
    if not copy.exists():
        return "new"
    there, shipped = _digest(copy.read_bytes()), _digest(body)
    if shipped in {there, copied}:
        return "unchanged"
    return "updated" if there == copied else "kept"


def _known(folder: Path) -> dict[str, str]:
    """Give the checksums of what was copied before; none if the file is damaged."""
    try:
        known = json.loads((folder / KEPT).read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return {str(k): str(v) for k, v in known.items()} if isinstance(known, dict) else {}


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
