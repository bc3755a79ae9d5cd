"""`odc-bdc cube show`."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from odc_bdc.cube import CubeSpec


@click.command()
@click.argument("name", metavar="CUBE")
@click.option("--product", is_flag=True, help="Print its ODC product document (YAML) instead.")
def show(name: str, *, product: bool) -> None:
    """Check a cube's definition and say what it makes; no index is needed.

    \b
    odc-bdc cube show CB4_64_16D_STK_v1
    odc-bdc cube show my_cube.yaml
    odc-bdc cube show my_cube.yaml --product > my_cube.odc-product.yaml
    """
    from odc_bdc.cube import find_cube

    found = find_cube(name)
    if product:
        import yaml

        document = yaml.safe_dump(found.to_product(), sort_keys=False, allow_unicode=True)
        click.echo(document, nl=False)
        return
    for key, value in _summary(found).items():
        click.echo(f"{key:12} {value}")


def _summary(cube: CubeSpec) -> dict[str, str]:
    """Tell a cube in a few lines."""
    from odc_bdc.spectral_index import FormulaIndex

    grid, this_year = cube.grid, date(2020, 1, 1)
    px, py = grid.pixel_size(cube.resolution)
    periods = list(cube.timeline.covering(this_year, this_year.replace(month=12, day=31)))
    labels = [cube.timeline.title(p) for p in periods]
    chosen = {k: v for k, v in cube.function.to_dict().items() if k != "name"}
    how = [cube.function.name, *(f"{key} {json.dumps(value)}" for key, value in chosen.items())]
    if cube.function.rounding:
        how.append(f"rounded {cube.rounding or cube.function.rounding}")
    formulas = [str(i.index) for i in cube.indices if isinstance(i.index, FormulaIndex)]
    return {
        "name": cube.name,
        "title": "; ".join(cube.title.values()),
        "sources": ", ".join(cube.products),
        "grid": f"{grid.name}, tiles of {grid.tile_size[0]:g} x {grid.tile_size[1]:g}",
        "pixels": f"{px:g} x {py:g}" + (f", only in {list(cube.extent)}" if cube.extent else ""),
        "periods": f"{len(labels)} in 2020: {labels[0]}, ... {labels[-1]}"
        if len(labels) > 1
        else "".join(labels),
        "function": ", ".join(how),
        "bands": ", ".join(f"{m.name} ({m.dtype})" for m in cube.outputs),
        **({"indices": "; ".join(formulas)} if formulas else {}),
    }
