"""Making tiles before anybody asks for them."""

from __future__ import annotations

import urllib.error
import urllib.request
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import quote

from odc.geo.geom import box as box_of

from odc_bdc.errors import UnknownNameError, first_line
from odc_bdc.ows.caching import HIT, STATUS
from odc_bdc.ows.restful import ROOT
from odc_bdc.ows.tiles import TILE_MATRIX_SETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from odc.geo.geom import Geometry

    from odc_bdc.ows.tiles import TileMatrixSet

_POINTS_PER_EDGE = 32
_SECONDS = 300.0


@dataclass(slots=True)
class SeedReport:
    """What became of tiles: made, there already, or failed; of these some, with the reason."""

    made: int = 0
    found: int = 0
    failed: int = 0
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Tiles that were asked for."""
        return self.made + self.found + self.failed


def find_tiles(name: str) -> TileMatrixSet:
    """Give a tile matrix set by its name.

    Raises
    ------
    UnknownNameError
        If there is none of this name.
    """
    for tiles in TILE_MATRIX_SETS:
        if tiles.name == name:
            return tiles
    names = ", ".join(tiles.name for tiles in TILE_MATRIX_SETS)
    raise UnknownNameError(f"there are no tiles {name}: {names} are there")


def tiles_of_area(
    tiles: TileMatrixSet, levels: Iterable[int], area: Geometry
) -> Iterator[tuple[int, int, int]]:
    """Give level, row and column of all tiles that share something with an area.

    Parameters
    ----------
    levels
        Those that the set does not have are passed over.
    area
        In any CRS that can be transformed into that of the tiles.
    """
    densified = area.segmented(max(area.boundingbox.span_x, 1e-9) / _POINTS_PER_EDGE)
    shape = densified.to_crs(tiles.crs)
    west, south, east, north = shape.boundingbox.bbox
    for level in levels:
        if not 0 <= level < tiles.levels:
            continue
        side = tiles.bbox(level, 0, 0)[2] - tiles.origin[0]
        rows = _span(tiles.origin[1] - north, tiles.origin[1] - south, side, 2**level)
        columns = _span(
            west - tiles.origin[0], east - tiles.origin[0], side, 2**level << tiles.wide
        )
        for row in rows:
            for column in columns:
                if box_of(*tiles.bbox(level, row, column), tiles.crs).intersects(shape):
                    yield level, row, column


def tile_path(layer: str, style: str, time: str, tiles: str, place: tuple[int, int, int]) -> str:
    """Give the path of a tile, see `odc_bdc.ows.restful`."""
    named = "/".join(quote(part, safe="") for part in (layer, style, time, tiles))
    return f"{ROOT}/{named}/{place[0]}/{place[1]}/{place[2]}.png"


def seed(
    url: str,
    paths: Iterable[str],
    *,
    workers: int,
    progress: Callable[[SeedReport], None] | None = None,
) -> SeedReport:
    """Ask a server for tiles, so that it keeps them; those that it has cost next to nothing.

    Parameters
    ----------
    url
        Of the server, which must have a cache.
    paths
        Read as they are needed, for there may be millions.
    workers
        Requests at once.
    progress
        Called after each tile.
    """
    report = SeedReport()
    rest = iter(paths)
    with ThreadPoolExecutor(workers) as pool:
        waiting = {pool.submit(_ask, url, path): path for path in islice(rest, 2 * workers)}
        while waiting:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                path, (status, reason) = waiting.pop(future), future.result()
                _count(report, path, status, reason)
                if progress:
                    progress(report)
                for more in islice(rest, 1):
                    waiting[pool.submit(_ask, url, more)] = more
    return report


def _ask(url: str, path: str) -> tuple[str, str]:
    try:
        with urllib.request.urlopen(f"{url}{path}", timeout=_SECONDS) as answer:  # noqa: S310 (our own)
            answer.read()
            return str(answer.headers.get(STATUS, "")), ""
    except urllib.error.HTTPError as e:
        with e:
            return "", f"status {e.code}"
    except OSError as e:
        return "", first_line(e)


def _count(report: SeedReport, path: str, status: str, reason: str) -> None:
    if reason:
        report.failed += 1
        if len(report.reasons) < 3:
            report.reasons[path] = reason
    elif status == HIT:
        report.found += 1
    else:
        report.made += 1


def _span(low: float, high: float, side: float, count: int) -> range:
    """Give the numbers of the tiles between two distances from the origin."""
    return range(max(0, int(low // side)), min(count, int(high // side) + 1))
