"""Requests of WMTS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from odc_bdc.ows.checks.parameters import WHOLE, check_pixel, needed, whole_number
from odc_bdc.ows.checks.times import check_times
from odc_bdc.ows.exceptions import INVALID, MISSING, Refusal, shown

if TYPE_CHECKING:
    from odc_bdc.ows.checks.published import Published
    from odc_bdc.ows.requests import Protocol, Query


def check_tile(protocol: Protocol, query: Query, published: Published) -> Query:  # noqa: ARG001
    """Check a GetTile.

    Raises
    ------
    Refusal
        If a parameter is missing, or the tile does not exist.
    """
    for name in ("layer", "format", "tilematrixset", "tilematrix", "tilerow", "tilecol"):
        needed(query, name)
    if "style" not in query:
        raise Refusal("STYLE is missing: give one, or none for the default", MISSING, "style")
    check_times(query, "time", published.limits.times)
    tiles = published.tiles.get(query.get("tilematrixset"))
    if tiles is None:
        raise Refusal(
            f"tile matrix set {shown(query.get('tilematrixset'))} is not served: "
            f"{', '.join(published.tiles)} are",
            INVALID,
            "tilematrixset",
        )
    level, levels = query.get("tilematrix"), tiles.levels
    if not WHOLE.fullmatch(level) or not 0 <= int(level) < len(levels):
        raise Refusal(
            f"tile matrix {shown(level)} does not exist: 0 to {len(levels) - 1} do",
            INVALID,
            "tilematrix",
        )
    for name, count in zip(("tilerow", "tilecol"), levels[int(level)], strict=True):
        number = whole_number(query, name)
        if not 0 <= number < count:
            raise Refusal(
                f"{name.upper()} {shown(number)} does not exist: 0 to {count - 1} do",
                "TileOutOfRange",
                name,
            )
    return query


def check_tile_info(protocol: Protocol, query: Query, published: Published) -> Query:
    """Check a GetFeatureInfo of WMTS.

    Raises
    ------
    Refusal
        If the tile does not exist, or the pixel lies outside of it.
    """
    query = check_tile(protocol, query, published)
    size = published.tiles[query.get("tilematrixset")].size
    for name, side in zip(("i", "j"), size, strict=True):
        check_pixel(query, name, name, side, "PointIJOutOfRange")
    return query
