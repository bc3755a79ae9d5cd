"""Product documents: rendered from cubes, and added to an index."""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import yaml

from odc_bdc.cube import read_cubes
from odc_bdc.errors import DatabaseError, InvalidValueError
from odc_bdc.product import SUFFIX, product_document, shipped_measurements

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from datacube import Datacube
    from datacube.model import Product

CATALOGUE = "virtual/catalogue.yaml"
_MARK = "# Rendered by `odc-bdc product render` from "

State: TypeAlias = Literal["missing", "stale", "left over"]


@dataclass(frozen=True, slots=True)
class StaleDocument:
    """A rendered document that is not what its cube definition gives now.

    Attributes
    ----------
    name
        Path below the folder of definitions.
    state
        ``missing``, ``stale``, or ``left over`` from a cube that is gone.
    changes
        Lines that a fresh rendering takes away (``-``) and adds (``+``).
    """

    name: str
    state: State
    changes: tuple[str, ...] = ()


def render_documents(definitions: Path) -> dict[str, str]:
    """Render all that follows from the cubes ``cubes/*.yaml`` of a folder: text by path below it.

    A product document for each cube, and the catalogue of virtual products. Each document names the
    checksum of its definition, so that any change of that makes it stale.
    """
    cubes = read_cubes(definitions)
    out = {}
    for cube in cubes.values():
        source = f"cubes/{cube.name}.yaml"
        checksum = hashlib.sha256((definitions / source).read_bytes()).hexdigest()[:16]
        out[f"{cube.mission}/{cube.name}{SUFFIX}"] = _yaml(
            f"{source} (sha256 {checksum})", cube.to_product()
        )
    catalogue = {"products": {n: {"recipe": c.to_virtual_recipe()} for n, c in cubes.items()}}
    return {**out, CATALOGUE: _yaml("cubes/*.yaml", catalogue)}


def write_documents(definitions: Path, *, check: bool = False) -> list[StaleDocument]:
    """Bring the rendered documents of a folder of definitions up to date.

    Parameters
    ----------
    definitions
        Folder with the cubes, ``cubes/*.yaml``; the documents lie beside that.
    check
        Write nothing.

    Returns
    -------
    list
        The documents that were not up to date. Rendered ones whose cube is gone are removed.

    Raises
    ------
    InvalidValueError
        If a cube definition is not valid.
    """
    rendered = render_documents(definitions)
    stale = [
        found
        for name, text in rendered.items()
        if (found := _compare(name, definitions / name, text)) is not None
    ]
    for path in sorted(definitions.rglob(f"*{SUFFIX}")):
        name = path.relative_to(definitions).as_posix()
        if name not in rendered and _MARK in path.read_text("utf-8"):
            stale.append(StaleDocument(name, "left over"))
    for document in () if check else stale:
        path = definitions / document.name
        if document.state == "left over":
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(rendered[document.name], encoding="utf-8")
    return stale


def _compare(name: str, path: Path, text: str) -> StaleDocument | None:
    if not path.is_file():
        return StaleDocument(name, "missing")
    there = path.read_text("utf-8")
    if there == text:
        return None
    lines = difflib.unified_diff(there.splitlines(), text.splitlines(), lineterm="", n=0)
    changes = tuple(line for line in lines if not line.startswith(("---", "+++", "@@")))
    return StaleDocument(name, "stale", changes)


def _yaml(source: str, doc: Mapping[str, Any]) -> str:
    head = f"{_MARK}{source}: change that, then render anew.\n"
    body = yaml.dump(
        dict(doc),
        Dumper=_WithoutAliases,
        sort_keys=False,
        allow_unicode=True,
        width=100,
        default_flow_style=None,
    )
    return f"---\n{head}{body}"


class _WithoutAliases(yaml.SafeDumper):
    """Writes every value where it stands, even if an equal one stands elsewhere."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


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
            raise InvalidValueError(_differs(name))
    return added


def find_product(dc: Datacube, name: str) -> Product:
    """Give a product of the index that datasets may be added to.

    Raises
    ------
    InvalidValueError
        If the index lacks it, or has one that differs from the definition of that name which comes
        with odc_bdc.
    """
    product = dc.index.products.get_by_name(name)
    if product is None:
        raise InvalidValueError(
            f"the index has no product {name}; add it with `odc-bdc product add {name}`"
        )
    known = product_document(name) if shipped_measurements(name) else product.definition
    if _comparable(product.definition) != _comparable(known):
        raise InvalidValueError(_differs(name))
    return product


def _differs(name: str) -> str:
    return (
        f"product {name} is in the index already but differs from its definition; "
        f"update it with `datacube product update`, or give the cube a new version"
    )


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
    # Through JSON, as the database stores it: keys become text, tuples lists, NaN text.
    told = json.dumps({k: v for k, v in doc.items() if v is not None})
    return json.loads(told, parse_constant=str)
