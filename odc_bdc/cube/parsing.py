"""From a cube's YAML form, valid by the schema, to a `CubeSpec`; all faults are told at once."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from odc_bdc.cube.encoding import NO_CODES, Encoding, encoding_faults
from odc_bdc.cube.measurement import (
    AUXILIARY,
    CATEGORICAL,
    DATA_MASK,
    Measurement,
    measurement_keys,
    results,
    usual_auxiliary,
)
from odc_bdc.cube.spec import CubeSpec, IndexBand, Source
from odc_bdc.document import Faults, KeyPath
from odc_bdc.errors import InvalidValueError, UnknownNameError
from odc_bdc.function import CompositeFunction, composite_function
from odc_bdc.grid import Grid, find_grid
from odc_bdc.naming import CollectionName
from odc_bdc.product import shipped_measurements
from odc_bdc.quality import QualityPolicy
from odc_bdc.spectral_index import spectral_index
from odc_bdc.timeline import find_timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path


_T = TypeVar("_T")


def parse_cube(doc: Mapping[str, Any], faults: Faults, folder: Path) -> CubeSpec:
    """Make a cube from its YAML form, which `check_against_schema` found no fault with.

    Parameters
    ----------
    faults
        What is wrong goes here.
    folder
        Where files that the definition names are looked for.

    Raises
    ------
    InvalidValueError
        With all faults, a line each.
    """
    part = _Parts(faults)
    doc = _without_quality(doc)
    quality = part.of(("quality",), QualityPolicy.from_dict, doc["quality"])
    grid = part.of(("grid",), _grid, doc["grid"], folder)
    timeline = part.of(("timeline",), find_timeline, doc["timeline"])
    function = part.of(("function",), composite_function, doc["function"])
    if quality is None or grid is None or timeline is None or function is None:
        faults.check()
        raise AssertionError
    # Where its periods lie would depend on the question, so a cube of it has no pixels of its own.
    part.of(("timeline",), timeline.period_of, date(2020, 1, 1))
    sources = _sources(doc, quality, part)
    measurements = _measurements(doc, sources, quality, faults)
    cube = CubeSpec(
        **{k: doc[k] for k in ("name", "title", "description", "license")},
        sources=sources,
        grid=grid,
        resolution=float(doc["resolution"]),
        timeline=timeline,
        function=function,
        quality=quality,
        measurements=measurements,
        rounding=doc.get("rounding"),
        extent=tuple(doc["extent"]) if doc.get("extent") else None,
        platform=doc.get("platform"),
        instrument=doc.get("instrument"),
        mask=doc.get("mask"),
    )
    outputs = doc.get("outputs") or {}
    cube = cube.patch(
        indices=_indices(outputs.get("indices") or (), cube, faults),
        auxiliary=_auxiliary(outputs.get("auxiliary"), cube, function, faults),
    )
    _check_names(cube, faults)
    _check_own_name(cube, faults)
    _check_function(cube, faults)
    _check_codings(cube, faults)
    _check_encodings(doc["measurements"], cube, faults)
    _check_saturation(doc["sources"], cube, faults)
    faults.check()
    return cube


def _without_quality(doc: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write out what `quality: none` means: the first band tells where there is data.

    It is read a second time as the quality band, under a name that no image has.
    """
    first = doc["measurements"][0]
    given: dict[str, Any] = {"name": first} if isinstance(first, str) else dict(first)

    def band(source: Mapping[str, Any]) -> dict[str, Any]:
        name = (source.get("bands") or {}).get(given["name"], given["name"])
        known = shipped_measurements(source["product"]).get(name, given)
        return {**known, "name": name}

    def mask(told: Mapping[str, Any]) -> dict[str, Any]:
        # Of floating point it is made: 1 where there is data.
        if _is_float(told):
            return {"dtype": "uint8", "nodata": 0}
        return {key: told[key] for key in ("dtype", "nodata") if key in told}

    def all_clear(source: Mapping[str, Any]) -> dict[str, Any]:
        told = band(source)
        nodata = mask(told).get("nodata")
        return {"band": told["name"], "clear": [], "bits": True, "nodata": nodata}

    sources = [
        {**s, "quality": all_clear(s)} if s.get("quality", doc["quality"]) == "none" else s
        for s in doc["sources"]
    ]
    doc = {**doc, "sources": sources}
    if doc["quality"] != "none":
        return doc
    told = band(sources[0])
    more = {**mask(told), "name": DATA_MASK, "resampling": "nearest"}
    quality = {**all_clear(sources[0]), "band": DATA_MASK}
    return {**doc, "quality": quality, "measurements": [*doc["measurements"], more]}


class _Parts:
    """Makes the parts of a cube; a part that cannot be made is a fault."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def of(self, path: KeyPath, make: Callable[..., _T], *given: Any) -> _T | None:
        try:
            return make(*given)
        except (InvalidValueError, UnknownNameError) as e:
            self._faults.add(path, str(e).removeprefix(f"{path[-1]}: "))
            return None


def _grid(given: Any, folder: Path) -> Grid:
    if not isinstance(given, str):
        return Grid.from_dict(given)
    # A path in a definition is relative to it, an absolute one stays as it is.
    return find_grid(str(folder / given) if given.endswith((".yaml", ".yml")) else given)


def _sources(doc: Mapping[str, Any], quality: QualityPolicy, part: _Parts) -> tuple[Source, ...]:
    out = []
    for number, given in enumerate(doc["sources"]):
        bands = dict(given.get("bands") or {})
        own = given.get("quality")
        path = ("sources", number, "quality")
        policy = part.of(path, QualityPolicy.from_dict, own) if own else quality
        policy = policy or quality
        if not own:
            policy = quality.rename(bands)
        bands[quality.band] = policy.band
        pairs = tuple(sorted((ours, theirs) for ours, theirs in bands.items() if ours != theirs))
        where = tuple(sorted((given.get("where") or {}).items()))
        out.append(Source(given["product"], policy, given.get("platform"), pairs, where))
    return tuple(out)


def _measurements(
    doc: Mapping[str, Any], sources: Sequence[Source], quality: QualityPolicy, faults: Faults
) -> tuple[Measurement, ...]:
    shipped = {s.product: shipped_measurements(s.product) for s in sources}
    common = Counter(g.get("common_name") for g in doc["measurements"] if isinstance(g, dict))
    out = []
    for number, item in enumerate(doc["measurements"]):
        path = ("measurements", number)
        given = {"name": item} if isinstance(item, str) else dict(item)
        _check_sources(given["name"], path, sources, shipped, faults)
        keys = _of_product(given["name"], sources[0], shipped)
        codes = sources[0].quality
        if given["name"] == quality.band and (
            quality.band == DATA_MASK or not codes.same_codes(quality)
        ):
            keys = {"name": quality.band}
        keys["resampling"] = "nearest" if given["name"] == quality.band else "bilinear"
        keys = _inherited(keys, given) | given
        if "dtype" not in keys:
            faults.add(
                path,
                f"{keys['name']!r} lacks `dtype`, and product {sources[0].product}, which would "
                "tell, does not come with odc_bdc",
            )
            continue
        aliases = [a for a in keys.get("aliases", ()) if a != keys["name"]]
        name = keys.get("common_name")
        if name and common[name] == 1 and name not in (*aliases, keys["name"]):
            aliases.insert(0, name)
        out.append(Measurement(**{**keys, "aliases": tuple(aliases)}))
        _check_nodata(out[-1], path, faults)
        if out[-1].name == quality.band and out[-1].encoding.is_float:
            faults.add((*path, "dtype"), f"is {out[-1].dtype}; {NO_CODES}")
        if out[-1].name == quality.band and out[-1].resampling not in CATEGORICAL:
            faults.add(
                (*path, "resampling"),
                f"{out[-1].resampling} would make codes of quality that no scene has; it must be "
                + " or ".join(CATEGORICAL),
            )
    if quality.band not in {m.name for m in out}:
        known = ", ".join(m.name for m in out)
        faults.add(("quality", "band"), f"{quality.band!r} is not in measurements: {known}")
    if all(m.missing is None for m in out if m.name != quality.band):
        faults.add(("measurements",), "at least one band needs a nodata value")
    return tuple(out)


def _of_product(name: str, source: Source, shipped: Mapping[str, Any]) -> dict[str, Any]:
    """Give what the first source's product says of a measurement, if it comes with odc_bdc."""
    found = shipped[source.product].get(source.band(name))
    return {} if found is None else {**measurement_keys(found), "name": name}


def _inherited(product: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Give what a measurement takes from its product: in another type some of it has no meaning."""
    theirs, ours = map(_is_float, (product, product | given))
    left = {"nodata"} if ours else set()
    if "scale" in given:
        left.add("offset")  # that of another scale would be a surprise
    if theirs != ours:
        left |= {"nodata", "scale", "offset"}
    return {key: value for key, value in product.items() if key not in left}


def _is_float(keys: Mapping[str, Any]) -> bool:
    return Encoding(str(keys.get("dtype"))).is_float


def _check_sources(
    name: str,
    path: KeyPath,
    sources: Sequence[Source],
    shipped: Mapping[str, Any],
    faults: Faults,
) -> None:
    for source in sources:
        known = shipped[source.product]
        if known and source.band(name) not in known:
            faults.add(path, _lacks(source.product, source.band(name), known))


def _lacks(product: str, band: str, known: Iterable[str]) -> str:
    return f"product {product} has no measurement {band!r}; it has {', '.join(known)}"


def _check_nodata(measurement: Measurement, path: KeyPath, faults: Faults) -> None:
    if measurement.nodata is None:
        return
    if measurement.encoding.is_float:
        faults.add(
            (*path, "nodata"),
            f"bands of {measurement.dtype} have NaN where there is no data: leave `nodata` out",
        )
        return
    low, high = np.iinfo(measurement.dtype).min, np.iinfo(measurement.dtype).max
    if not (low <= measurement.nodata <= high and float(measurement.nodata).is_integer()):
        faults.add(
            (*path, "nodata"),
            f"{measurement.nodata} does not fit {measurement.dtype}, {low} to {high}",
        )


def _indices(given: Sequence[Any], cube: CubeSpec, faults: Faults) -> tuple[IndexBand, ...]:
    out = []
    by_name = cube.labels
    for number, item in enumerate(given):
        path = ("outputs", "indices", number)
        wanted: dict[str, Any] = {"name": item} if isinstance(item, str) else item
        index = _Parts(faults).of(path, spectral_index, wanted["name"], wanted.get("constants"))
        if index is None:
            continue
        chosen = dict(wanted.get("bands") or {})
        bands = {c: by_name.get(chosen.get(c, c)) for c in index.bands}
        lacking = [c for c, name in bands.items() if name is None]
        strange = sorted(set(chosen) - set(index.bands))
        if lacking or strange:
            example = (
                f"{{name: {index.name}, bands: {{{(lacking or index.bands)[0]}: MEASUREMENT}}}}"
            )
            faults.add(
                path,
                f"{index.name} takes bands {', '.join(index.bands)}; "
                f"{', '.join(lacking or strange)} is not known: write {example}",
            )
            continue
        pairs = tuple((c, name) for c, name in bands.items() if name is not None)
        out.append(IndexBand(index, pairs, _stored_index(index.name, wanted.get("dtype"))))
    return tuple(out)


def _stored_index(name: str, dtype: str | None) -> Measurement:
    if dtype == "float32":
        return Measurement(name, dtype)
    return Measurement(name, "int16", nodata=-9999, scale=0.0001)


def _auxiliary(
    given: Sequence[str] | None, cube: CubeSpec, function: CompositeFunction, faults: Faults
) -> tuple[str, ...]:
    dated = ("PROVENANCE", "DATASOURCE")
    if given is None:
        usual = usual_auxiliary(function, several_platforms=len(cube.platforms) > 1)
        return tuple(m.name for m in usual)
    for number, name in enumerate(given):
        if name in dated and not function.picks_date:
            faults.add(
                ("outputs", "auxiliary", number),
                f"{name} tells where a pixel was taken from, but {function.name} picks no date",
            )
    return tuple(given)


def _check_own_name(cube: CubeSpec, faults: Faults) -> None:
    """See that a name of the BDC's grammar says what the definition says."""
    try:
        said = CollectionName.parse(cube.name)
    except InvalidValueError:
        return
    if said.generation != "ODC" or said.function is None:
        return
    timeline = cube.timeline
    period = f"{timeline.step}{timeline.unit[0].upper()}"
    pairs = (
        ("resolution", f"{said.resolution}", f"{cube.resolution:g}"),
        ("timeline", f"{said.step}{str(said.unit)[0].upper()}", period),
        ("function", _function_name(said.function), cube.function.name),
    )
    for key, by_name, defined in pairs:
        if by_name != defined:
            faults.add(("name",), f"{cube.name} says {key} {by_name}, but {key} is {defined}")


def _function_name(alias: str) -> str:
    try:
        return composite_function(alias).name
    except UnknownNameError:
        return alias


def _check_names(cube: CubeSpec, faults: Faults) -> None:
    """See that every name and alias means one band."""
    outputs = [*cube.measurements, *(i.measurement for i in cube.indices)]
    labels = Counter(
        [label.lower() for m in outputs for label in (m.name, *m.aliases)]
        + [name.lower() for name in AUXILIARY]
    )
    for label, times in labels.items():
        if times > 1:
            faults.add(
                ("measurements",),
                f"{label!r} stands for {times} bands, as name or as alias; a common name that "
                "several bands share is none of their aliases",
            )


def _check_function(cube: CubeSpec, faults: Faults) -> None:
    """See that the bands which the function has to know are there, where indices look for them."""
    lacking = [name for name in cube.function.common_names if name not in cube.labels]
    if lacking:
        faults.add(
            ("function",),
            f"{cube.function.name} needs a band with the name or alias {', '.join(lacking)}",
        )
    else:
        _check_compared(cube, faults)
    made = {m.name for m in results(cube.function, cube.bands)}
    for number, index in enumerate(cube.indices):
        gone = [name for _, name in index.bands if name not in made]
        if gone:
            faults.add(
                ("outputs", "indices", number),
                f"{index.index.name} is computed of {', '.join(gone)}, which {cube.function.name} "
                "does not give",
            )


def _check_compared(cube: CubeSpec, faults: Faults) -> None:
    """See that the bands which the function compares mean something together."""
    stored = {(m.dtype, m.encoding.unit) for m in cube.bands}
    if cube.function.name == "GEOMED" and len(stored) > 1:
        faults.add(
            ("function",),
            "GEOMED takes bands of one type, scale and offset: give all measurements the same",
        )
    names = list(cube.common.values())
    silent = [name for name in names if cube.measurement(name).encoding.unit is None]
    if silent and len(silent) < len(names):
        faults.add(
            ("function",),
            f"{cube.function.name} compares {', '.join(names)}, and {', '.join(silent)} has no "
            "`scale`",
        )


def _check_encodings(given: Sequence[Any], cube: CubeSpec, faults: Faults) -> None:
    """See that values of products that come with odc_bdc can become those of the cube."""
    names = [item if isinstance(item, str) else item["name"] for item in given]
    for source in cube.sources:
        told = shipped_measurements(source.product)
        stored = {name: Encoding.from_odc(doc) for name, doc in told.items()}
        for m, fault in encoding_faults(cube, source, stored):
            faults.add(("measurements", names.index(m.name)), f"{source.product}: {fault}")


def _check_codings(cube: CubeSpec, faults: Faults) -> None:
    """See that quality bands of other codings can be recoded to the cube's."""
    same = [source.quality.same_codes(cube.quality) for source in cube.sources]
    coding = cube.quality.not_clear and cube.quality.nodata is not None and not cube.quality.bits
    if not all(same) and not coding:
        faults.add(
            ("quality",),
            "sources code quality otherwise, so the cube's own coding needs values for `clear`, "
            "`not_clear` and `nodata`",
        )


def _check_saturation(given: Sequence[Mapping[str, Any]], cube: CubeSpec, faults: Faults) -> None:
    """See that bands of saturation are the products' own, and that nothing is made of them."""
    for number, source in enumerate(cube.sources):
        saturation = source.quality.saturation
        if saturation is None:
            continue
        own: KeyPath = ("sources", number) if given[number].get("quality") else ()
        path = (*own, "quality", "saturation", "band")
        known = shipped_measurements(source.product)
        if known and saturation.band not in known:
            faults.add(path, _lacks(source.product, saturation.band, known))
        taken = [m.name for m in cube.measurements if source.band(m.name) == saturation.band]
        if taken:
            faults.add(
                path,
                f"{saturation.band!r} is measurement {taken[0]} as well; the band of saturation is "
                "read beside the measurements, and no image has it",
            )
