"""The words of the page in both languages; ``{name}`` stands for what the browser puts in."""

from __future__ import annotations

from odc_bdc.ows.languages import Text

NAMES = {"en": "English", "pt": "Português"}

WORDS = {
    "skip": Text("Skip to the map", "Ir para o mapa"),
    "language": Text("Language", "Idioma"),
    "loading": Text("Loading…", "Carregando…"),
    "needs_script": Text(
        "The map needs JavaScript. The services work without it; their addresses are below.",
        "O mapa precisa de JavaScript. Os serviços funcionam sem ele; os endereços estão abaixo.",
    ),
    # What is here
    "layers": Text("Layers", "Camadas"),
    "summary": Text("{layers} layers, {first} to {last}", "{layers} camadas, de {first} a {last}"),
    "about_layer": Text("About this layer", "Sobre esta camada"),
    "name": Text("Name", "Nome"),
    "time_range": Text("Time", "Datas"),
    "to": Text("to", "a"),
    "images": Text("Dates", "Número de datas"),
    "tiles": Text("Tiles", "Tiles"),
    "one_tile": Text("1 tile", "1 tile"),
    "some_tiles": Text("{count} tiles", "{count} tiles"),
    "datasets": Text("Datasets", "Conjuntos de dados"),
    "pixel": Text("Pixel", "Pixel"),
    "crs": Text("Projection", "Projeção"),
    "nothing": Text(
        "There is no image yet. Index scenes or build a cube, run `odc-bdc ows update`, and "
        "restart the server.",
        "Ainda não há imagens. Indexe cenas ou construa um cubo, execute `odc-bdc ows update` e "
        "reinicie o servidor.",
    ),
    "hidden": Text(
        "Not shown, for their times are not known: {names}. Run `odc-bdc ows update`, and restart "
        "the server.",
        "Não são mostradas, pois suas datas são desconhecidas: {names}. Execute `odc-bdc ows "
        "update` e reinicie o servidor.",
    ),
    # View
    "view": Text("View", "Visualização"),
    "style": Text("Style", "Estilo"),
    "legend": Text("Legend of {style}", "Legenda de {style}"),
    "opacity": Text("Opacity", "Opacidade"),
    "compare": Text("Compare", "Comparar"),
    "compare_none": Text("One date", "Uma data"),
    "compare_swipe": Text("Two dates, swipe", "Duas datas, cortina"),
    "compare_difference": Text("Two dates, difference", "Duas datas, diferença"),
    "same_dates": Text(
        "Both dates are the same, so there is no difference to show.",
        "As duas datas são iguais, portanto não há diferença a mostrar.",
    ),
    "second_date": Text("Second date", "Segunda data"),
    "swipe": Text(
        "Border between the two dates; arrow keys move it",
        "Limite entre as duas datas; as setas o movem",
    ),
    "map_projection": Text("Map", "Mapa"),
    "set_BDC_Albers": Text("BDC Albers", "BDC Albers"),
    "set_WholeWorld_WebMercator": Text("Web Mercator", "Web Mercator"),
    "tile_grid": Text("Tile grid", "Grade de tiles"),
    "none": Text("None", "Nenhuma"),
    "graticule": Text("Degrees", "Graus"),
    "borders": Text("Countries", "Países"),
    "to_layer": Text("Show all of the layer", "Mostrar toda a camada"),
    # Map
    "map": Text(
        "Map. Arrow keys move it, plus and minus zoom, Enter reads the values at its centre.",
        "Mapa. As setas o movem, mais e menos dão zoom, Enter lê os valores no seu centro.",
    ),
    "zoom_in": Text("Zoom in", "Aproximar"),
    "zoom_out": Text("Zoom out", "Afastar"),
    "busy": Text("Loading images…", "Carregando imagens…"),
    # Time
    "time": Text("Date", "Data"),
    "previous": Text("Previous date", "Data anterior"),
    "next": Text("Next date", "Próxima data"),
    "play": Text("Play", "Reproduzir"),
    "stop": Text("Stop", "Parar"),
    # Values
    "pixel_values": Text("Values of a pixel", "Valores de um pixel"),
    "values_hint": Text(
        "Click on the map to see values, and how they change over time.",
        "Clique no mapa para ver valores e como mudam no tempo.",
    ),
    "values_centre": Text("Values at the centre", "Valores no centro"),
    "close": Text("Close", "Fechar"),
    "no_image": Text(
        "There is no image at this place and date.", "Não há imagem neste local e data."
    ),
    "series": Text("Time series of", "Série temporal de"),
    "series_chart": Text(
        "{band} at {count} dates from {first} to {last}. Arrow keys go from date to date, Enter "
        "shows it on the map.",
        "{band} em {count} datas de {first} a {last}. As setas vão de data em data, Enter a mostra "
        "no mapa.",
    ),
    "series_empty": Text("{band} has no value here at any date.", "{band} não tem valor aqui."),
    "series_part": Text(
        "The {count} dates around the one shown, of {all}.",
        "As {count} datas em torno da mostrada, de {all}.",
    ),
    "as_table": Text("As a table", "Como tabela"),
    "as_csv": Text("Download as CSV", "Baixar como CSV"),
    "period": Text("Period", "Período"),
    "date_chosen": Text("Observed on", "Observado em"),
    "quality": Text("Quality", "Qualidade"),
    "no data": Text("no data", "sem dados"),
    "not clear": Text("not clear", "não limpo"),
    "clear": Text("clear", "limpo"),
    # Addresses
    "addresses": Text("In QGIS and other programs", "No QGIS e em outros programas"),
    "addresses_how": Text(
        "In QGIS: Layer, Data Source Manager, WMS/WMTS (or WCS), New, and paste the address.",
        "No QGIS: Camada, Gerenciador de fontes de dados, WMS/WMTS (ou WCS), Novo, e cole o "
        "endereço.",
    ),
    "address_xyz": Text("XYZ, this layer and date", "XYZ, esta camada e data"),
    "address_image": Text("This view as an image", "Esta vista como imagem"),
    "address_page": Text("This page as it is now", "Esta página como está agora"),
    "copy": Text("Copy", "Copiar"),
    "copied": Text("Copied", "Copiado"),
    "copy_failed": Text(
        "The browser did not copy: the address is selected, press Ctrl+C",
        "O navegador não copiou: o endereço está selecionado, tecle Ctrl+C",
    ),
    "licences": Text("Licences of map and outlines", "Licenças do mapa e dos contornos"),
    "documentation": Text("Documentation", "Documentação"),
    # Errors
    "again": Text("Try again", "Tentar de novo"),
    "unreachable": Text(
        "The server does not answer. Is it running, and is the network up?",
        "O servidor não responde. Ele está em execução, e há rede?",
    ),
    "overloaded": Text(
        "The server is busy or being restarted (status {status}). Try again soon.",
        "O servidor está ocupado ou sendo reiniciado (status {status}). Tente em breve.",
    ),
    "refused": Text("The server says: {reason}", "O servidor diz: {reason}"),
    "failed": Text(
        "The server failed (status {status}); its log says why.",
        "O servidor falhou (status {status}); o registro dele diz por quê.",
    ),
}
"""By the name that ``static/`` and the template know."""


def words_in(language: str) -> dict[str, str]:
    """Give the words of a language."""
    return {key: str(getattr(text, language)) for key, text in WORDS.items()}
