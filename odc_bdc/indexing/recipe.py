"""Ingest recipes: which STAC collection becomes which ODC product, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from odc_bdc.document import Faults, KeyPath, check_against_schema, read_document
from odc_bdc.errors import InvalidValueError, UnknownNameError, did_you_mean
from odc_bdc.grid import Grid, find_grid
from odc_bdc.indexing.quirks import QUIRKS
from odc_bdc.indexing.sources import Hosts, Limits
from odc_bdc.naming import product_name
from odc_bdc.product import shipped_measurements
from odc_bdc.quality import QualityPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from odc_bdc.indexing.quirks import Quirk

Kind: TypeAlias = Literal["stac-api", "static", "folder"]
"""What a source is: a STAC API, STAC documents in files, scene folders without STAC."""


@dataclass(frozen=True, slots=True)
class AssetRule:
    """Which file of an item is a measurement.

    Attributes
    ----------
    keys
        Asset keys; the first that an item has is taken.
    band
        Number of the band in the file, from 1.
    member
        Where the asset is an archive, the name of the file inside: text with ``{id}``,
        ``{measurement}`` and names of item properties in braces. None where the asset is the file.
    resolution
        Nominal pixel size; files of one item that have the same lie on one pixel grid.
    """

    keys: tuple[str, ...]
    band: int = 1
    member: str | None = None
    resolution: float | None = None


@dataclass(frozen=True, slots=True)
class ItemSource:
    """Where the items of a collection are.

    Attributes
    ----------
    kind
        What there is.
    href
        Address or path; None where every user has an own one.
    layout
        How the files of a folder are named, one of `odc_bdc.indexing.folders.LAYOUTS`; None to
        find out.
    """

    kind: Kind
    href: str | None = None
    layout: str | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """What an item property must say for the item to be of the recipe's product.

    Attributes
    ----------
    name
        Of the property.
    values
        What it may say, in lower case; empty where bounds tell.
    start, end
        Text from which on and before which, in order of characters, it may be.
    """

    name: str
    values: tuple[str, ...] = ()
    start: str | None = None
    end: str | None = None

    def holds(self, value: Any) -> bool:
        """Tell whether a property of this value is right; case does not matter."""
        text = str(value).lower()
        if value is None or (self.values and text not in self.values):
            return False
        return (self.start is None or text >= self.start) and (self.end is None or text < self.end)

    def __str__(self) -> str:
        bounds = (("from", self.start), ("before", self.end))
        allowed = [" or ".join(self.values), *(f"{word} {b}" for word, b in bounds if b)]
        return f"{self.name} {' '.join(filter(None, allowed))}"


@dataclass(frozen=True, slots=True)
class Correction:
    """What is right of a measurement where items say otherwise; None where they are believed."""

    dtype: str | None = None
    nodata: float | None = None
    scale: float | None = None
    offset: float | None = None


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
    rules
        Which file is which measurement.
    source
        Where the items are, if that is known.
    grid, resolution
        Grid of the collection's tiles and nominal pixel size, for items that tell neither pixels
        nor CRS.
    mixed_resolutions
        Whether files of one item differ in pixel size.
    corrections
        By measurement, what items say wrong.
    quality
        The measurement of quality: its name, or a policy where the product has no flags.
    conditions
        What properties of an item must say; others are of another product.
    tile_property
        Item property that holds the tile id, or a list of one.
    id_property
        Item property that identifies a scene; None for the item's id.
    quirks
        Functions that put items right, in order.
    files
        Folders that items may name files in beside their own, and buckets; if it names some, others
        are left out.
    hosts
        Hosts, networks and buckets beside those of the sources that links may lead to, as of
        `odc_bdc.indexing.sources.Hosts`. Where it names some, files lie there or at the sources.
    limits
        How much is read of a source.
    """

    name: str
    collection: str
    product: str
    rules: Mapping[str, AssetRule] = field(hash=False)
    source: ItemSource | None = None
    grid: Grid | None = None
    resolution: float | None = None
    mixed_resolutions: bool = False
    corrections: Mapping[str, Correction] = field(default_factory=dict, hash=False)
    quality: str | QualityPolicy | None = None
    conditions: tuple[Condition, ...] = ()
    tile_property: str = "bdc:tiles"
    id_property: str | None = None
    quirks: tuple[Quirk, ...] = ()
    files: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    @property
    def assets(self) -> dict[str, str]:
        """Asset key by measurement; where a recipe names several, the first."""
        return {name: rule.keys[0] for name, rule in self.rules.items()}

    @classmethod
    def from_yaml(cls, path: str | Path) -> IngestRecipe:
        """Read a recipe.

        Raises
        ------
        InvalidValueError
            With one line per fault: file, line, key and what is allowed.
        """
        doc, faults = read_document(Path(path))
        return _parse(doc, Path(path).stem, faults)

    @classmethod
    def from_dict(cls, doc: Mapping[str, Any], name: str) -> IngestRecipe:
        """Make a recipe from its YAML form; `InvalidValueError` has one line per fault."""
        return _parse(doc, name, Faults(name))


def shipped_recipes() -> dict[str, IngestRecipe]:
    """Give the recipes that come with odc_bdc, by name."""
    return {name: _read(path) for name, path in _paths().items()}


def find_recipe(name: str) -> IngestRecipe:
    """Give a shipped recipe by its name or its collection, or read the YAML file of that path.

    Of several recipes for a collection the one is taken that has its name (in lower case, with
    ``_`` for ``-``).

    Raises
    ------
    UnknownNameError
        If it is neither; or if several recipes are for that collection, and none has its name.
    InvalidValueError
        If the file is not a recipe; the message has a line for each fault.
    """
    if name.endswith((".yaml", ".yml")):
        return IngestRecipe.from_yaml(Path(name))
    if name in _paths():
        return _read(_paths()[name])
    recipes = shipped_recipes().values()
    found = [recipe for recipe in recipes if recipe.collection == name]
    named = [recipe for recipe in found if recipe.name == product_name(name).lower()]
    if len(found) > 1 and not named:
        choice = " or ".join(f"{recipe.name} (product {recipe.product})" for recipe in found)
        raise UnknownNameError(f"collection {name!r} becomes several products; name {choice}")
    if not found:
        known = sorted({*_paths(), *(recipe.collection for recipe in recipes)})
        raise UnknownNameError(
            f"{name!r} is no shipped recipe and no .yaml file{did_you_mean(name, known)}; "
            f"known: {', '.join(known)}"
        )
    return (named or found)[0]


@cache
def _paths() -> dict[str, Path]:
    folder = Path(str(files("odc_bdc.ingest")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


@cache
def _read(path: Path) -> IngestRecipe:
    return IngestRecipe.from_yaml(path)


def _parse(doc: Any, name: str, faults: Faults) -> IngestRecipe:
    check_against_schema(doc, "odc_bdc.indexing", "recipe.schema.yaml", faults)
    faults.check()
    rules = _rules(doc["assets"])
    given = doc.get("grid") or {}
    recipe = IngestRecipe(
        name=name,
        collection=doc["collection"],
        product=doc["product"],
        rules=rules,
        source=ItemSource(**doc["source"]) if "source" in doc else None,
        grid=_grid(given, faults),
        resolution=given.get("resolution"),
        mixed_resolutions=doc.get("mixed_resolutions", False),
        corrections={m: Correction(**c) for m, c in doc.get("corrections", {}).items()},
        quality=_quality(doc.get("quality"), faults),
        conditions=tuple(_condition(*pair) for pair in doc.get("where", {}).items()),
        tile_property=doc.get("tile_property", "bdc:tiles"),
        id_property=doc.get("id"),
        quirks=_quirks(doc.get("quirks", ()), faults),
        files=tuple(doc.get("files", ())),
        hosts=_hosts(doc.get("hosts", ()), faults),
        limits=Limits(**doc.get("limits", {})),
    )
    _check_measurements(recipe, faults)
    faults.check()
    return recipe


def _rules(given: Any) -> dict[str, AssetRule]:
    if isinstance(given, list):
        return {name: AssetRule((name,)) for name in given}
    return {name: _rule(value) for name, value in given.items()}


def _rule(given: Any) -> AssetRule:
    if isinstance(given, dict):
        return AssetRule(
            _rule(given["asset"]).keys,
            given.get("band", 1),
            given.get("member"),
            given.get("resolution"),
        )
    return AssetRule((given,) if isinstance(given, str) else tuple(given))


def _grid(given: Mapping[str, Any], faults: Faults) -> Grid | None:
    try:
        return find_grid(given["name"]) if given else None
    except (InvalidValueError, UnknownNameError) as e:
        faults.add(("grid", "name"), str(e))
        return None


def _quality(given: Any, faults: Faults) -> str | QualityPolicy | None:
    try:
        return QualityPolicy.from_dict(given) if isinstance(given, dict) else given
    except (InvalidValueError, UnknownNameError) as e:
        faults.add(("quality",), str(e))
        return None


def _condition(name: str, given: Any) -> Condition:
    if isinstance(given, dict):
        return Condition(name, start=given.get("from"), end=given.get("before"))
    values = [given] if isinstance(given, str) else given
    return Condition(name, tuple(value.lower() for value in values))


def _quirks(given: Any, faults: Faults) -> tuple[Quirk, ...]:
    for number, name in enumerate(given):
        if name not in QUIRKS:
            guess = did_you_mean(name, QUIRKS)
            faults.add(("quirks", number), f"{name!r} is not known{guess}; known: {_list(QUIRKS)}")
    return tuple(QUIRKS[name] for name in given if name in QUIRKS)


def _hosts(given: Any, faults: Faults) -> tuple[str, ...]:
    try:
        Hosts.of(given)
    except InvalidValueError as e:
        faults.add(("hosts",), str(e))
    return tuple(given)


def _check_measurements(recipe: IngestRecipe, faults: Faults) -> None:
    """See that all that is said of measurements is said of some that there are."""
    band = recipe.quality.band if isinstance(recipe.quality, QualityPolicy) else recipe.quality
    said: list[tuple[KeyPath, str]] = [(("corrections", name), name) for name in recipe.corrections]
    said += [(("quality",), band)] if band else []
    for path, name in said:
        if name not in recipe.rules:
            faults.add(path, f"{name!r} is no measurement in assets: {_list(recipe.rules)}")
    known = shipped_measurements(recipe.product)
    for name in [name for name in recipe.rules if known and name not in known]:
        guess = did_you_mean(name, known)
        faults.add(
            ("assets", name),
            f"product {recipe.product} has no measurement {name!r}{guess}; it has {_list(known)}",
        )
    if lacking := [name for name in known if name not in recipe.rules]:
        faults.add(
            ("assets",),
            f"product {recipe.product} also has {_list(lacking)}, and a dataset must have all",
        )


def _list(names: Any) -> str:
    return ", ".join(names)
