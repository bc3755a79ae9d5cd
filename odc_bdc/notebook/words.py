"""The words of maps, animations and pages in both languages."""

from __future__ import annotations

from odc_bdc.errors import InvalidValueError
from odc_bdc.ows.languages import LANGUAGES, Text

_WORDS = {
    "coarser": Text(
        "Shown at {shown} m, coarser than the data ({native} m)",
        "Mostrado a {shown} m, mais grosseiro que os dados ({native} m)",
    ),
    "time": Text("Date", "Data"),
    "left": Text("Left", "Esquerda"),
    "right": Text("Right", "Direita"),
    "opacity": Text("Opacity", "Opacidade"),
    "countries": Text("Countries", "Países"),
    "play": Text("Play", "Reproduzir"),
    "stop": Text("Stop", "Parar"),
    "previous": Text("Previous date", "Data anterior"),
    "next": Text("Next date", "Próxima data"),
    "map": Text("Map", "Mapa"),
    "legend": Text("Legend", "Legenda"),
    "swipe": Text("Border between the images", "Divisa entre as imagens"),
    "skip": Text("To the map", "Ir para o mapa"),
    "outlines": Text("Outlines of countries", "Contornos de países"),
    "no_images": Text(
        "The map server does not answer: is {server} running?",
        "O servidor de mapas não responde: {server} está em execução?",
    ),
    "needs_script": Text("This page needs JavaScript.", "Esta página precisa de JavaScript."),
    "zoom_in": Text("Zoom in", "Aproximar"),
    "zoom_out": Text("Zoom out", "Afastar"),
    "whole": Text("All of it", "Tudo"),
    "tile": Text("tile", "tile"),
    "live": Text("live", "sob demanda"),
    "built": Text("built", "construído"),
    "scene": Text("scene", "cena"),
    "grid": Text("Tiles of {grid}", "Tiles de {grid}"),
    "footprints": Text("Footprints", "Contornos dos datasets"),
    "datasets": Text("{count} datasets", "{count} datasets"),
}


def say(key: str, language: str = "en", **values: object) -> str:
    """Give a word or sentence in a language.

    Raises
    ------
    InvalidValueError
        If it is none of the languages there are.
    """
    if language not in LANGUAGES:
        raise InvalidValueError(f"language {language!r}: there are {' and '.join(LANGUAGES)}")
    return str(getattr(_WORDS[key], language)).format(**values)
