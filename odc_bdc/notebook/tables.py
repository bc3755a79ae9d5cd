"""Datasets of the index as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from odc_bdc.cube import shipped_cubes
from odc_bdc.errors import InvalidValueError
from odc_bdc.formats import LIVE_FORMAT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from datacube.model import Dataset

COLUMNS = (
    "date",
    "end",
    "tile",
    "product",
    "function",
    "kind",
    "clear_fraction",
    "cloud_cover",
    "satellite",
    "id",
)


def datasets_table(datasets: Iterable[Dataset]) -> pd.DataFrame:
    """Make a table of datasets, sorted by date and tile.

    Parameters
    ----------
    datasets
        As ``dc.find_datasets(product=...)`` gives them.

    Returns
    -------
    pandas.DataFrame
        ``date`` and ``end`` (first and last day, datetime64), ``tile`` (or path and row of a
        scene), ``product``, ``function`` (of a cube: ``MED``), ``kind`` (``live``, ``built`` or
        ``scene``), ``clear_fraction`` (of all pixels, 0 to 1: what built images tell),
        ``cloud_cover`` (of the pixels seen, in percent), ``satellite``, ``id`` (text). What a
        dataset does not tell is missing.

    Raises
    ------
    InvalidValueError
        If what is given are no datasets.
    """
    rows = [{key: facts[key] for key in COLUMNS} for facts in map(facts_of, datasets)]
    table = pd.DataFrame(rows, columns=[*COLUMNS])
    for name in ("date", "end"):
        table[name] = pd.to_datetime(table[name])
    for name in ("clear_fraction", "cloud_cover"):
        table[name] = table[name].astype("float64")
    return table.sort_values(["date", "tile", "product"], ignore_index=True)


def facts_of(dataset: Dataset) -> dict[str, Any]:
    """Say of a dataset what a table tells of it.

    Raises
    ------
    InvalidValueError
        If it is no dataset, or has no time.
    """
    try:
        properties, product = dataset.metadata_doc["properties"], str(dataset.product.name)
        time = dataset.time
    except (AttributeError, KeyError, TypeError) as e:
        raise InvalidValueError(
            f"{type(dataset).__name__} is no EO3 dataset: give dc.find_datasets(product=...)"
        ) from e
    if time is None:
        raise InvalidValueError(f"dataset {dataset.id} of {product} has no time")
    cube = shipped_cubes().get(product)
    clear = properties.get("odc_bdc:clear_percent")
    return {
        "date": str(time.begin.date()),
        "end": str(time.end.date()),
        "tile": properties.get("odc:region_code"),
        "product": product,
        "function": cube.function.name if cube else None,
        "kind": _kind(properties, is_cube=cube is not None),
        "clear_fraction": None if clear is None else float(clear) / 100,
        "cloud_cover": properties.get("eo:cloud_cover"),
        "satellite": properties.get("eo:platform"),
        "id": str(dataset.id),
    }


def _kind(properties: dict[str, Any], *, is_cube: bool) -> str:
    if properties.get("odc:file_format") == LIVE_FORMAT:
        return "live"
    return "built" if is_cube or properties.get("odc:product_family") == "cube" else "scene"
