"""Packages with entry points, as pip would have installed them."""

from __future__ import annotations

from importlib import invalidate_caches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def install(folder: Path, name: str, text: str, **groups: dict[str, str]) -> None:
    """Install a package of one module into a folder, which must be on the path.

    Parameters
    ----------
    name, text
        Of the module.
    groups
        Entry points by group of odc_bdc (``masks``, ``signers``): function of the module by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(text, "utf-8")
    told = folder / f"{name}-1.0.dist-info"
    told.mkdir(exist_ok=True)
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", "utf-8")
    lines = []
    for group, functions in groups.items():
        lines.append(f"[odc_bdc.{group}]")
        lines += [f"{entry} = {name}:{function}" for entry, function in functions.items()]
    (told / "entry_points.txt").write_text("\n".join(lines) + "\n", "utf-8")
    invalidate_caches()
