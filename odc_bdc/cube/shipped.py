"""The cubes that come with odc_bdc."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from odc_bdc.cube.spec import CubeSpec
from odc_bdc.errors import InvalidValueError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping


@cache
def shipped_cubes() -> Mapping[str, CubeSpec]:
    """Give the cubes that come with odc_bdc, by name."""
    return MappingProxyType(read_cubes(_definitions()))


def read_cubes(definitions: Path) -> dict[str, CubeSpec]:
    """Read the cube definitions ``cubes/<cube>.yaml`` of a folder, by name.

    Raises
    ------
    InvalidValueError
        If a definition is not valid, or a file does not have the name of its cube.
    """
    return {path.stem: _read(path) for path in sorted((definitions / "cubes").glob("*.yaml"))}


def find_cube(name: str) -> CubeSpec:
    """Give a shipped cube by name, or read the YAML file of that path.

    Raises
    ------
    UnknownNameError
        If it is neither; the message lists the shipped ones.
    """
    if name.endswith((".yaml", ".yml")):
        return CubeSpec.from_yaml(Path(name))
    paths = {path.stem: path for path in sorted((_definitions() / "cubes").glob("*.yaml"))}
    if name not in paths:
        known, guess = ", ".join(paths), did_you_mean(name, paths)
        raise UnknownNameError(
            f"{name!r} is no shipped cube and no .yaml file{guess}; shipped: {known}"
        )
    return _read(paths[name])


def _definitions() -> Path:
    return Path(str(files("odc_bdc.product_defs")))


@cache
def _read(path: Path) -> CubeSpec:
    cube = CubeSpec.from_yaml(path)
    if cube.name != path.stem:
        raise InvalidValueError(
            f"{path}: name: {cube.name!r} is not the file's; a definition of that name belongs "
            f"into {cube.name}.yaml"
        )
    return cube
