"""Ingest recipes: which STAC collection becomes which ODC product, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from odc_bdc.errors import InvalidValueError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class IngestRecipe:
    """How the items of one STAC collection are indexed.

    Attributes
    ----------
    name
        Of the recipe, its file's stem.
    collection
        Id of the STAC collection.
    product
        ODC product that the items become.
    assets
        Asset key by measurement.
    tile_property
        Item property that holds the tile id, or a list of one.
    """

    name: str
    collection: str
    product: str
    assets: Mapping[str, str] = field(hash=False)
    tile_property: str = "bdc:tiles"

    @classmethod
    def from_yaml(cls, path: Path) -> IngestRecipe:
        """Read a recipe; `InvalidValueError` names the file and the fault."""
        try:
            doc: Any = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
            raise InvalidValueError(f"{path}: cannot be read as YAML: {e}") from e
        required, optional = {"collection", "product", "assets"}, {"tile_property"}
        if not isinstance(doc, dict) or not required <= set(doc) <= required | optional:
            raise InvalidValueError(
                f"{path}: a recipe has the keys {', '.join(sorted(required))} and may have "
                f"{', '.join(sorted(optional))}"
            )
        assets = doc["assets"]
        if isinstance(assets, list):
            assets = {name: name for name in assets}
        if not isinstance(assets, dict) or not assets:
            raise InvalidValueError(f"{path}: `assets` must map measurements to asset keys")
        return cls(name=Path(path).stem, **{**doc, "assets": assets})


def shipped_recipes() -> dict[str, IngestRecipe]:
    """Give the recipes that come with odc_bdc, by name."""
    folder = files("odc_bdc.ingest")
    found = sorted(p.name for p in folder.iterdir() if p.name.endswith(".yaml"))
    recipes = (IngestRecipe.from_yaml(Path(str(folder / name))) for name in found)
    return {recipe.name: recipe for recipe in recipes}


def find_recipe(name: str) -> IngestRecipe:
    """Give a shipped recipe by its name or its collection, or read the YAML file of that path."""
    if name.endswith((".yaml", ".yml")):
        return IngestRecipe.from_yaml(Path(name))
    recipes = shipped_recipes()
    by_collection = {recipe.collection: recipe for recipe in recipes.values()}
    found = recipes.get(name) or by_collection.get(name)
    if found is None:
        known = ", ".join(sorted([*recipes, *by_collection]))
        raise UnknownNameError(f"{name!r} is no shipped recipe and no .yaml file; known: {known}")
    return found
