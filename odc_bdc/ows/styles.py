"""How layers look: the styles that their bands allow.

Bands are found by their common names (``red``, ``nir``), which products carry as aliases.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from odc_bdc.cube import Encoding
from odc_bdc.errors import InvalidValueError
from odc_bdc.ows import ramps, rendering
from odc_bdc.ows.bands import SPREAD, by_common_name, reflectance_encoding, stretch
from odc_bdc.ows.languages import Text
from odc_bdc.quality import CLEAR, SEEN
from odc_bdc.spectral_index import spectral_index

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from odc_bdc.function import CompositeFunction
    from odc_bdc.quality import QualityPolicy

TRUE_COLOUR = ("red", "green", "blue")

MAX_TIMES = 46
"""Times that an animation or an amplitude may have: two years of 16 days."""

FRAME = 600
"""Milliseconds that an animation shows each image."""


@dataclass(frozen=True, slots=True)
class _Composition:
    """Three bands as red, green and blue."""

    name: str
    title: Text
    abstract: Text
    shown: tuple[str, str, str]


COMPOSITIONS = (
    _Composition(
        "true_colour",
        Text("True colour", "Cor verdadeira"),
        Text("Red, green, blue: as the eye sees it", "Vermelho, verde, azul: como o olho vê"),
        TRUE_COLOUR,
    ),
    _Composition(
        "false_colour",
        Text("False colour", "Falsa cor"),
        Text(
            "Near infrared, red, green: vegetation is red",
            "Infravermelho próximo, vermelho, verde: a vegetação aparece em vermelho",
        ),
        ("nir", "red", "green"),
    ),
    _Composition(
        "shortwave",
        Text("Shortwave infrared", "Infravermelho de ondas curtas"),
        Text(
            "Shortwave infrared, near infrared, red: bare soil and burnt areas are red and brown",
            "Infravermelho de ondas curtas, infravermelho próximo, vermelho: solo exposto e áreas "
            "queimadas em vermelho e marrom",
        ),
        ("swir16", "nir", "red"),
    ),
)

_INSTEAD = {"swir16": "swir22"}

_BAND_TITLES = {
    "blue": Text("blue", "azul"),
    "green": Text("green", "verde"),
    "red": Text("red", "vermelho"),
    "nir": Text("near infrared", "infravermelho próximo"),
    "swir16": Text("shortwave infrared", "infravermelho de ondas curtas"),
    "swir22": Text("shortwave infrared", "infravermelho de ondas curtas"),
}
_LIGHTS = {"red": "#d1242f", "green": "#1a7f37", "blue": "#0969da"}

INDICES = ("NDVI", "EVI", "NDWI", "NBR")
"""Indices that layers have a style for, if nothing else is asked for."""

ANIMATED = "NDVI"
ANIMATION = "_animation"
"""End of the names of styles that are like another, but of several times make an animation."""

_INDEX_TITLES = {
    "NDVI": Text(
        "Normalised difference vegetation index", "Índice de vegetação por diferença normalizada"
    ),
    "EVI": Text("Enhanced vegetation index", "Índice de vegetação realçado"),
    "NDWI": Text("Normalised difference water index", "Índice de água por diferença normalizada"),
    "NBR": Text("Normalised burn ratio", "Razão normalizada de queimada"),
}
_INDEX_RAMPS = {
    "NDVI": ramps.VEGETATION,
    "EVI": ramps.VEGETATION,
    "NDWI": ramps.WATER,
    "NBR": ramps.BURN,
}


@dataclass(frozen=True, slots=True)
class Look:
    """What decides on a layer's styles, besides its bands.

    Attributes
    ----------
    mission
        Which measured ranges the colours cover (`odc_bdc.ows.bands.BRIGHTEST`).
    quality
        What the quality band says; None if nobody knows.
    days
        Length of a period, None for scenes; a count of observations goes up to about half of it.
    indices
        Names of spectral indices, those of spyndex too; those that lack bands are left out.
    function
        What made the images; None for scenes. Spectral indices of differences would mean nothing,
        and of several percentiles each has its styles.
    """

    mission: str = ""
    quality: QualityPolicy | None = None
    days: int | None = None
    indices: tuple[str, ...] = INDICES
    function: CompositeFunction | None = None

    @property
    def share(self) -> float:
        """Of the ranges of reflectances, which part the images cover."""
        return SPREAD.get(self.function.name, 1.0) if self.function else 1.0

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Ends of the names of bands that belong together; those in the middle come first."""
        if self.function is None or len(self.function.suffixes) < 2:
            return ("",)
        known = list(self.function.suffixes)
        return (known.pop(len(known) // 2), *known)


def styles(
    measurements: Sequence[Mapping[str, Any]], look: Look | None = None
) -> list[dict[str, Any]]:
    """Give the styles for a layer with these bands; at least one, the default first.

    Parameters
    ----------
    measurements
        As ODC product documents have them.

    Raises
    ------
    UnknownNameError, InvalidValueError
        If there is no index of a name, or it needs more than reflectances.
    """
    look = look or Look()
    bands = by_common_name(measurements)
    found: list[dict[str, Any]] = []
    for suffix in look.suffixes:
        alike = by_common_name(measurements, suffix)
        seen = [*_compositions(alike, look)]
        if look.function is None or not look.function.is_difference:
            seen += _indices(alike, look.indices)
        found += (_of_suffix(style, suffix) for style in seen)
    found += _auxiliary(bands, look)
    first = str(measurements[0]["name"])
    grey = _Composition(
        "grey",
        Text.same(first),
        Text(f"Band {first} in grey", f"Banda {first} em tons de cinza"),
        (first,) * 3,
    )
    return found or [_composition(grey, bands, look)]


def _of_suffix(style: dict[str, Any], suffix: str) -> dict[str, Any]:
    """Tell the styles of several percentiles apart."""
    if not suffix:
        return style
    title = Text(
        *(f"{text}, {suffix.strip('_')}" for text in (style["title"].en, style["title"].pt))
    )
    return style | {"name": style["name"] + suffix.lower(), "title": title}


def _compositions(bands: Mapping[str, Mapping[str, Any]], look: Look) -> Iterator[dict[str, Any]]:
    for composition in COMPOSITIONS:
        shown = composition.shown
        if shown[0] not in bands:  # MODIS products have the longer of the two shortwave bands only
            shown = (_INSTEAD.get(shown[0], shown[0]), *shown[1:])
        if bands.keys() >= set(shown):
            yield _composition(replace(composition, shown=shown), bands, look)


def _composition(
    composition: _Composition, bands: Mapping[str, Mapping[str, Any]], look: Look
) -> dict[str, Any]:
    lights = list(zip(TRUE_COLOUR, composition.shown, strict=True))
    return {
        "name": composition.name,
        "title": composition.title,
        "abstract": composition.abstract,
        "components": {
            light: {
                bands[band]["name"]: 1.0,
                "scale_range": list(stretch(bands[band], band, look.mission, look.share)),
            }
            for light, band in lights
        },
        "multi_date": [
            {"allowed_count_range": [2, MAX_TIMES], "animate": True, "frame_duration": FRAME}
        ],
        "legend": {
            "entries": [
                {"color": _LIGHTS[light], "title": _light_title(bands[band], band, look)}
                for light, band in lights
            ]
        },
    }


def _light_title(measurement: Mapping[str, Any], band: str, look: Look) -> Text:
    """Say what a light shows: band, its name, and the reflectances from dark to bright."""
    name = str(measurement["name"])
    title = _BAND_TITLES.get(band, Text.same(band))
    low, high = stretch(measurement, band, look.mission, look.share)
    if measurement["dtype"] != "uint8":
        known = reflectance_encoding(measurement)
        low, high = (v * (known.scale or 1) + (known.offset or 0) for v in (low, high))
    of = "" if name == band else f" ({name})"
    return Text(
        f"{title.en}{of}, {low:.3g} to {high:.3g}", f"{title.pt}{of}, {low:.3g} a {high:.3g}"
    )


def _indices(
    bands: Mapping[str, Mapping[str, Any]], names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    for name in names:
        index = spectral_index(name)
        stored = bands.get(index.name) or bands.get(index.name.lower())
        if stored is not None:
            own = {"band": _described(stored, Encoding.from_odc(stored))}
            yield from _index_styles(index.name, index.title, "stored_values", own, stored)
        elif bands.keys() >= set(index.bands):
            inputs = {
                band: _described(bands[band], reflectance_encoding(bands[band]))
                for band in index.bands
            }
            computed = {"index": index.name, "bands": inputs}
            yield from _index_styles(
                index.name, index.title, "index_values", computed, *(bands[b] for b in index.bands)
            )


def _index_styles(
    name: str, title: str, function: str, given: dict[str, Any], *needed: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Give the style of an index, in which several times are a difference or an amplitude.

    Of `ANIMATED` also one in which they are an animation, as in compositions of bands.
    """
    full = _INDEX_TITLES.get(name, Text.same(title))
    ramp = _INDEX_RAMPS.get(name, ramps.ANY)
    common = {
        "index_function": _function(function, given),
        "needed_bands": [str(m["name"]) for m in needed],
        **_ramp(ramp, Text.same(name)),
    }
    yield {
        "name": name.lower(),
        "title": Text.same(name),
        "abstract": Text(
            f"{full.en}; of two times their difference, of more the amplitude",
            f"{full.pt}; de duas datas a diferença, de mais datas a amplitude",
        ),
        **common,
        "multi_date": [
            {
                "allowed_count_range": [2, 2],
                "preserve_user_date_order": True,
                "aggregator_function": _path("difference"),
                **_ramp(ramps.DIFFERENCE, Text(f"{name}: difference", f"{name}: diferença")),
            },
            {
                "allowed_count_range": [3, MAX_TIMES],
                "aggregator_function": _path("amplitude"),
                **_ramp(ramps.AMPLITUDE, Text(f"{name}: amplitude", f"{name}: amplitude")),
            },
        ],
    }
    if name != ANIMATED:
        return
    yield {
        "name": name.lower() + ANIMATION,
        "title": Text(f"{name}, animation", f"{name}, animação"),
        "abstract": Text(
            f"{full.en}; several times are frames", f"{full.pt}; várias datas são quadros"
        ),
        "include_in_feature_info": False,
        **common,
        "multi_date": [
            {"allowed_count_range": [2, MAX_TIMES], "animate": True, "frame_duration": FRAME}
        ],
    }


def _auxiliary(bands: Mapping[str, Mapping[str, Any]], look: Look) -> Iterator[dict[str, Any]]:
    most = min(48, max(5, (look.days or 16) // 2))
    for name, title in (
        ("CLEAROB", Text("Clear observations", "Observações limpas")),
        ("TOTALOB", Text("All observations", "Todas as observações")),
        ("COUNT", Text("Observations", "Observações")),
    ):
        if name in bands:
            about = Text("How many there are in the period", "Quantas há no período")
            yield _stored(bands[name], name.lower(), title, about, ramps.count_ramp(most), places=0)
    if "PROVENANCE" in bands:
        yield _stored(
            bands["PROVENANCE"],
            "provenance",
            Text("Day of the year", "Dia do ano"),
            Text("On which day the pixel was observed", "Em que dia o pixel foi observado"),
            ramps.DAY_OF_YEAR,
            places=0,
        )
    if "DATASOURCE" in bands:
        yield _datasource(bands["DATASOURCE"])
    if look.quality and look.quality.band in bands:
        yield _quality(look.quality)
    burnt = ("red", "rededge2", "nir", "swir16")
    if bands.keys() >= set(burnt):
        yield _stubble({name: bands[name] for name in burnt})


def _stored(
    measurement: Mapping[str, Any],
    name: str,
    title: Text,
    abstract: Text,
    ramp: ramps.Ramp,
    *,
    places: int,
) -> dict[str, Any]:
    given = {"band": _described(measurement, Encoding.from_odc(measurement))}
    return {
        "name": name,
        "title": title,
        "abstract": abstract,
        "index_function": _function("stored_values", given),
        "needed_bands": [measurement["name"]],
        "include_in_feature_info": False,
        **_ramp(ramp, title, places=places),
    }


def _quality(policy: QualityPolicy) -> dict[str, Any]:
    return _classes(
        "quality",
        Text("Quality", "Qualidade"),
        Text("Which pixels show the ground", "Quais pixels mostram o solo"),
        function=_function("quality_classes", {"policy": policy.to_dict()}),
        needed=[policy.band],
        values=[
            (CLEAR, "#2da44e", Text("clear", "limpo")),
            (
                SEEN,
                "#bf8700",
                Text("not clear: cloud, shadow, saturated", "não limpo: nuvem, sombra, saturado"),
            ),
        ],
    )


_SOURCE_COLOURS = ("#0969da", "#bc4c00", "#8250df", "#1a7f37", "#bf3989", "#6e7781")


def _datasource(measurement: Mapping[str, Any]) -> dict[str, Any]:
    flags = (measurement.get("flags_definition") or {}).get("datasource") or {}
    numbers = [(int(n), str(s)) for n, s in (flags.get("values") or {}).items() if int(n) != 255]
    return _classes(
        "datasource",
        Text("Satellite", "Satélite"),
        Text("Which satellite the pixel is from", "De qual satélite vem o pixel"),
        function=_function("stored_codes", {"band": str(measurement["name"])}),
        needed=[str(measurement["name"])],
        values=[
            (number, _SOURCE_COLOURS[i % len(_SOURCE_COLOURS)], Text.same(satellite))
            for i, (number, satellite) in enumerate(numbers)
        ],
    )


def _stubble(bands: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    inputs = {name: _described(m, reflectance_encoding(m)) for name, m in bands.items()}
    return _classes(
        "stubble_burning",
        Text("Stubble burning", "Queima de palhada"),
        Text(
            "Dark in the visible and near infrared, but not in the shortwave infrared",
            "Escuro no visível e no infravermelho próximo, mas não no de ondas curtas",
        ),
        function=_function("stubble_burning", {"bands": inputs}),
        needed=[str(m["name"]) for m in bands.values()],
        values=[(1, "#00ff00", Text("burnt", "queimado"))],
    )


def _classes(
    name: str,
    title: Text,
    abstract: Text,
    *,
    function: dict[str, Any],
    needed: list[str],
    values: Sequence[tuple[int, str, Text]],
) -> dict[str, Any]:
    if not values:
        raise InvalidValueError(f"style {name} has no classes")
    return {
        "name": name,
        "title": title,
        "abstract": abstract,
        "classes": {
            "function": function,
            "needed_bands": needed,
            "values": [{"value": v, "color": c} for v, c, _ in values],
        },
        "legend": {"entries": [{"color": c, "title": t} for _, c, t in values]},
    }


def _ramp(ramp: ramps.Ramp, title: Text, *, places: int = 1) -> dict[str, Any]:
    values = [f"{value:.{places}f}" for value, _ in ramp]
    return {
        "color_ramp": [{"value": value, "color": colour} for value, colour in ramp],
        "legend": {
            "title": title,
            "begin": values[0],
            "end": values[-1],
            "ticks": values,
            "decimal_places": places,
        },
    }


def _described(measurement: Mapping[str, Any], encoding: Encoding) -> dict[str, Any]:
    return {"label": str(measurement["name"]), **asdict(encoding)}


def _path(function: str) -> str:
    return f"{rendering.__name__}.{function}"


def _function(function: str, given: dict[str, Any]) -> dict[str, Any]:
    return {"function": _path(function), "mapped_bands": True, "kwargs": given}
