"""ODC product documents: those of scenes, written by hand, and those rendered from cubes."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from odc_bdc.cube import shipped_cubes
from odc_bdc.errors import DatabaseError, InvalidValueError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from datacube import Datacube

SUFFIX = ".odc-product.yaml"
CATALOGUE = "virtual/catalogue.yaml"


def shipped_products() -> dict[str, dict[str, Any]]:
    """Give the product documents that come with odc_bdc, by product name."""
    root = Path(str(files("odc_bdc.product_defs")))
    documents = (yaml.safe_load(p.read_text("utf-8")) for p in sorted(root.rglob(f"*{SUFFIX}")))
    return {doc["name"]: doc for doc in documents}


def product_document(name: str) -> dict[str, Any]:
    """Give the shipped product document of that name; `UnknownNameError` lists the known ones."""
    products = shipped_products()
    if name not in products:
        known = ", ".join(sorted(products))
        raise UnknownNameError(f"{name!r} is no shipped product; shipped: {known}")
    return products[name]


def render_documents() -> dict[str, str]:
    """Render all that follows from the shipped cubes: text by path below ``product_defs``.

    A product document for each cube, and the catalogue of virtual products.
    """
    cubes = shipped_cubes().values()
    out = {
        f"{cube.mission}/{cube.name}{SUFFIX}": _yaml(f"cubes/{cube.name}.yaml", cube.to_product())
        for cube in cubes
    }
    recipes = {cube.name: cube.to_virtual_recipe() for cube in cubes}
    catalogue = {"products": {n: {"recipe": r} for n, r in recipes.items() if r is not None}}
    return {**out, CATALOGUE: _yaml("cubes/*.yaml", catalogue)}


def write_documents(folder: Path, *, check: bool = False) -> list[str]:
    """Bring the rendered documents below `folder` up to date; give the paths that were not.

    With `check` nothing is written.
    """
    stale = []
    for name, text in render_documents().items():
        path = folder / name
        if path.is_file() and path.read_text("utf-8") == text:
            continue
        stale.append(name)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return stale


def _yaml(source: str, doc: Mapping[str, Any]) -> str:
    head = f"# Rendered by `odc-bdc product render` from {source}: change that, then render anew.\n"
    body = yaml.safe_dump(
        dict(doc), sort_keys=False, allow_unicode=True, width=100, default_flow_style=None
    )
    return f"---\n{head}{body}"


def add_products(dc: Datacube, documents: Iterable[Mapping[str, Any]]) -> list[str]:
    """Add the products that the index lacks; give their names.

    Raises
    ------
    InvalidValueError
        If the index holds a product of that name which differs, or the document is not valid.
    DatabaseError
        If the index refuses to write.
    """
    added = []
    for doc in documents:
        name = str(doc["name"])
        known = dc.index.products.get_by_name(name)
        if known is None:
            _add_product(dc, doc)
            added.append(name)
        elif _comparable(known.definition) != _comparable(doc):
            raise InvalidValueError(
                f"product {name} is in the index already but differs from its definition; "
                f"update it with `datacube product update`, or give the cube a new version"
            )
    return added


def _add_product(dc: Datacube, doc: Mapping[str, Any]) -> None:
    from datacube.index.exceptions import TransactionException  # noqa: PLC0415 (heavy)

    try:
        dc.index.products.add_document(dict(doc))
    except (ValueError, TransactionException) as e:
        raise InvalidValueError(f"product {doc['name']}: {e}") from e
    except Exception as e:
        if "permission" in str(e).lower() or "read-only" in str(e).lower():
            raise DatabaseError(f"the index refuses product {doc['name']}: {e}") from e
        raise


def _comparable(doc: Mapping[str, Any]) -> Any:
    # Through JSON, as the database stores it: keys become text, tuples lists.
    return json.loads(json.dumps({k: v for k, v in doc.items() if v is not None}))
