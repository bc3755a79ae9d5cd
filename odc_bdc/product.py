"""The ODC product documents that come with odc_bdc; each file has the name of its product."""

from __future__ import annotations

import copy
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from odc_bdc.errors import UnknownNameError, did_you_mean

SUFFIX = ".odc-product.yaml"
"""How the name of a product document's file ends."""


def shipped_products() -> dict[str, dict[str, Any]]:
    """Give the product documents that come with odc_bdc, by product name."""
    return {name: product_document(name) for name in _paths()}


def product_document(name: str) -> dict[str, Any]:
    """Give the shipped product document of that name; `UnknownNameError` lists the known ones."""
    return copy.deepcopy(_read(_path(name)))


def product_text(name: str) -> str:
    """Give a shipped product document as it lies in its file; raises as `product_document`."""
    return _path(name).read_text("utf-8")


def shipped_measurements(product: str) -> dict[str, dict[str, Any]]:
    """Give the measurements of a product by name; none if it does not come with odc_bdc."""
    if product not in _paths():
        return {}
    return {m["name"]: m for m in product_document(product)["measurements"]}


def product_mission(name: str) -> str:
    """Give the folder of a product's document, such as ``cbers4``; empty if it is not shipped.

    Examples
    --------
    >>> product_mission("MOD13Q1_6"), product_mission("mine")
    ('modis', '')
    """
    path = _paths().get(name)
    return path.parent.name if path else ""


def _path(name: str) -> Path:
    if name not in _paths():
        known, guess = ", ".join(_paths()), did_you_mean(name, _paths())
        raise UnknownNameError(f"{name!r} is no shipped product{guess}; shipped: {known}")
    return _paths()[name]


@cache
def _paths() -> dict[str, Path]:
    root = Path(str(files("odc_bdc.product_defs")))
    found = {p.name.removesuffix(SUFFIX): p for p in root.rglob(f"*{SUFFIX}")}
    return dict(sorted(found.items()))


@cache
def _read(path: Path) -> dict[str, Any]:
    doc: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return doc
