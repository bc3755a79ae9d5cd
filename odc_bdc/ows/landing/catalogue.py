"""What the services have, as one document for the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from odc_bdc.grid import BDC_PROJ
from odc_bdc.ows.crs import BDC_CODE, BDC_KEY
from odc_bdc.ows.styles import ANIMATION
from odc_bdc.ows.tile_grid import GRID_LAYERS
from odc_bdc.ows.tiles import BDC, WEB_MERCATOR

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from odc_bdc.ows.ranges import Contents
    from odc_bdc.ows.tiles import TileMatrixSet
    from odc_bdc.timeline import Period

MAP_SETS = (BDC, WEB_MERCATOR)
"""The tiles that the map may be drawn of."""


def catalogue(
    cfg: Any,
    *,
    language: str,
    portuguese: Mapping[str, str],
    periods: Callable[[str], Sequence[Period] | None],
    contents: Mapping[str, Contents],
) -> dict[str, Any]:
    """Describe folders, layers, styles, times and tiles, ready to be written as JSON.

    Parameters
    ----------
    cfg
        The `OWSConfig` of datacube-ows, whether it is ready or not.
    language
        Of the texts, one of `odc_bdc.ows.languages.LANGUAGES`.
    portuguese
        Portuguese texts by the English ones.
    periods
        Gives the periods of a layer by its name, in order; None of a layer that clients do not see.
    contents
        Numbers of tiles and datasets by name of layer, as far as they are known.

    Returns
    -------
    dict
        ``layers`` has those that can be shown, ``folders`` their tree, ``hidden`` the names of
        those that lack ranges, ``tile_sets`` and ``grids`` what the map needs.
    """
    texts = _Texts(cfg, portuguese if language == "pt" else {})
    layers = {}
    for name, layer in cfg.layer_index.items():
        found = periods(name)
        if found:
            layers[name] = _layer(layer, texts, found, contents.get(name))
    hidden = [name for name in cfg.layer_index if name not in layers]
    folders = _folders(cfg.root_layer_folder.child_layers, layers, texts)
    if len(folders) == 1 and isinstance(folders[0], dict):
        # The root, whose title is the page's.
        folders = folders[0]["children"]
    return {
        "language": language,
        "folders": folders,
        "layers": layers,
        "hidden": hidden,
        "tile_sets": [_tile_set(s) for s in MAP_SETS if s.name in cfg.tile_matrix_sets],
        "grids": [
            {"name": name, "title": getattr(title, language)} for name, title in GRID_LAYERS.items()
        ],
    }


class _Texts:
    """Texts of a configuration, which datacube-ows itself gives while it answers a request only."""

    def __init__(self, cfg: Any, translated: Mapping[str, str]) -> None:
        self.by_label = {m.id: m.string for m in cfg.export_metadata() if m.id}
        self.translated = translated

    def of(self, part: Any, field: str, default: str = "") -> str:
        text = str(self.by_label.get(f"{part.get_obj_label()}.{field}") or default)
        return self.translated.get(text, text)


def _folders(parts: Sequence[Any], layers: Mapping[str, Any], texts: _Texts) -> list[Any]:
    """Give the tree of folders; leaves are names of layers, folders without any are left out."""
    found: list[Any] = []
    for part in parts:
        children = getattr(part, "child_layers", None)
        if children is None:
            found += [part.name] if part.name in layers else []
            continue
        inner = _folders(children, layers, texts)
        if inner:
            found.append({"title": texts.of(part, "title"), "children": inner})
    return found


def _layer(
    layer: Any, texts: _Texts, periods: Sequence[Period], contents: Contents | None
) -> dict[str, Any]:
    ranges = layer.ranges
    return {
        "title": texts.of(layer, "title", layer.name),
        "about": texts.of(layer, "abstract"),
        "bbox": [ranges.lon.min, ranges.lat.min, ranges.lon.max, ranges.lat.max],
        "periods": [[str(p.start), str(p.end)] for p in periods],
        "tiles": contents.tiles if contents else None,
        "datasets": contents.datasets if contents else None,
        "crs": BDC_CODE if layer.native_CRS == BDC_KEY else str(layer.native_CRS),
        "pixel": abs(float(layer.resolution_x)),
        # The page plays all styles.
        "styles": [_style(s, texts) for s in layer.styles if not s.name.endswith(ANIMATION)],
        "default_style": layer.default_style.name,
    }


def _style(style: Any, texts: _Texts) -> dict[str, Any]:
    # A handler that animates makes a picture of several frames, which tiles are not.
    differs = any(
        not handler.animate and handler.min_count <= 2 <= handler.max_count
        for handler in style.multi_date_handlers
    )
    return {
        "name": style.name,
        "title": texts.of(style, "title", style.name),
        "about": texts.of(style, "abstract"),
        "difference": differs,
    }


def _tile_set(tiles: TileMatrixSet) -> dict[str, Any]:
    """Describe a tile matrix set; pixel sizes are in units of its CRS."""
    is_bdc = tiles.crs == BDC_KEY
    side = tiles.pixel * tiles.size
    left, top = tiles.origin
    return {
        "name": tiles.name,
        "crs": BDC_CODE if is_bdc else tiles.crs,
        "proj": BDC_PROJ if is_bdc else None,
        "origin": [left, top],
        "extent": [left, top - side, left + side, top],
        "resolutions": [tiles.pixel / 2**level for level in range(tiles.levels)],
        "size": tiles.size,
    }
