"""Grids that have a name: the six of the Brazil Data Cube, and those that come as YAML files."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

import yaml

from odc_bdc.errors import UnknownNameError, did_you_mean
from odc_bdc.grid.crs import BDC_CRS
from odc_bdc.grid.regular import Grid, format_tile_id

_V2_ORIGIN = (2624000.0, 11953600.0)
_V2_SIZES = {"SM": 105600.0, "MD": 211200.0, "LG": 422400.0}
# Origin and tile size of each V1 grid, as PROJ 9.5 projects them. Releases of PROJ differ in the
# last digits, and a grid is the same wherever it is asked for.
_V1 = {
    "SM": ((-9154537.013323957, 20642989.45993291), (168060.048009797, 109861.84106388316)),
    "MD": ((-9154464.540158695, 20642668.598256126), (336118.8881335063, 219716.55186828226)),
    "LG": ((-9154174.649060337, 20641385.128234193), (672228.1132304007, 439376.0606244784)),
}

BDC_GRIDS = tuple(
    f"BDC_{size}_{version}" for version in ("V1", "V2") for size in ("SM", "MD", "LG")
)
"""The names that `bdc_grid` knows."""


@cache
def bdc_grid(name: str) -> Grid:
    """Give a grid of the Brazil Data Cube by name (see `BDC_GRIDS`).

    V2 grids are hierarchical squares in whole metres. V1 grids are the Albers images of tiles in
    degrees, measured at the equator and laid out from the image of longitude 0, latitude 0, as
    the cube-builder of 2020 did (its release 0.4 to 0.6).

    Raises
    ------
    UnknownNameError
        If there is no such grid.

    Examples
    --------
    >>> bdc_grid("BDC_LG_V2").bbox("007004")
    (5580800.0, 9841600.0, 6003200.0, 10264000.0)
    """
    if name not in BDC_GRIDS:
        raise UnknownNameError(f"{name!r} is not a BDC grid; known: {', '.join(BDC_GRIDS)}")
    _, size, version = name.split("_")
    if version == "V2":
        side = _V2_SIZES[size]
        return Grid(name, str(BDC_CRS), _V2_ORIGIN, (side, side))
    return Grid(name, str(BDC_CRS), *_V1[size])


@cache
def published_tiles(name: str) -> tuple[str, ...]:
    """Give the tiles of a V2 grid for which the Brazil Data Cube publishes cubes, row by row.

    BDC_SM_V2 has 871, which cover Brazil and its islands; the list comes with odc_bdc. Of
    BDC_MD_V2 and BDC_LG_V2 no list is at hand: the tiles given are those that hold a published
    tile of BDC_SM_V2 (the V2 grids are hierarchical).

    Raises
    ------
    UnknownNameError
        For any other grid. An empty answer would look as if nothing were published there.

    Examples
    --------
    >>> len(published_tiles("BDC_SM_V2"))
    871
    """
    sizes = {f"BDC_{size}_V2": side for size, side in _V2_SIZES.items()}
    if name not in sizes:
        raise UnknownNameError(
            f"the published tiles of grid {name!r} are not known, only those of "
            f"{', '.join(sizes)}; `tile_ids` gives the tiles of an area"
        )
    step = round(sizes[name] / _V2_SIZES["SM"])
    parents = {(v // step, h // step) for v, h in _published()}
    return tuple(format_tile_id(h, v, name) for v, h in sorted(parents))


def _published() -> set[tuple[int, int]]:
    """Read row and column of the published tiles of BDC_SM_V2."""
    text = (files("odc_bdc.grid") / "published.yaml").read_text(encoding="utf-8")
    rows = yaml.safe_load(text)["BDC_SM_V2"]
    return {
        (v, h) for v, ranges in rows.items() for low, high in ranges for h in range(low, high + 1)
    }


def shipped_grids() -> dict[str, Grid]:
    """Give the grids that come with odc_bdc, by name: those of the BDC, then those of YAML files.

    The files are in ``product_defs/grids``.
    """
    folder = files("odc_bdc.product_defs") / "grids"
    found = sorted(p.name for p in folder.iterdir() if p.name.endswith(".yaml"))
    own = (Grid.from_yaml(Path(str(folder / name))) for name in found)
    return {grid.name: grid for grid in (*map(bdc_grid, BDC_GRIDS), *own)}


def find_grid(name_or_path: str | Path) -> Grid:
    """Give a grid by name, or read the YAML file of that path.

    Parameters
    ----------
    name_or_path
        Name of a BDC grid (``BDC_LG_V2``) or of another that comes with odc_bdc
        (``RD_NEW_10KM``); or a path that ends in ``.yaml`` or ``.yml``.

    Raises
    ------
    UnknownNameError
        If it is neither; the message lists the known names.
    InvalidValueError
        If the file is not the definition of a grid; the message has a line for each fault.

    Examples
    --------
    >>> find_grid("RD_NEW_10KM").tile_id(155000, 463000)
    '015016'
    """
    name = str(name_or_path)
    if name in BDC_GRIDS:
        return bdc_grid(name)
    if name.endswith((".yaml", ".yml")):
        return Grid.from_yaml(Path(name))
    grids = shipped_grids()
    if name not in grids:
        raise UnknownNameError(
            f"{name!r} is no known grid and no .yaml file{did_you_mean(name, grids)}; known: "
            f"{', '.join(grids)}"
        )
    return grids[name]
