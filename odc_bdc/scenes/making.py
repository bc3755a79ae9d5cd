"""Make a folder of scenes: plan, observe, write each in one rename, describe."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio.errors import RasterioError

from odc_bdc.cog import Compression, write_cog
from odc_bdc.errors import InvalidValueError, SceneError
from odc_bdc.grid import bdc_grid
from odc_bdc.scenes import acquisition, stac
from odc_bdc.scenes.landscape import landscape
from odc_bdc.scenes.noise import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from odc_bdc.grid import BBox
    from odc_bdc.scenes.acquisition import Pass
    from odc_bdc.scenes.landscape import Landscape

_GRID = stac.GRID
_TILE = 6600  # pixels along the side of a tile
_MIDDLE = 5120  # row and column in the tile about which windows lie: farmland at 12.4 S
_MEMORY = 2_000_000_000  # bytes for the scenes under work
_VERSION = 1  # of the generator; raise it when pixels change

DEFAULT_TILES = ("007004", "008004")
DEFAULT_START, DEFAULT_END = date(2019, 11, 1), date(2020, 2, 29)


@dataclass(frozen=True, slots=True)
class ScenesReport:
    """What a folder of made scenes holds.

    Attributes
    ----------
    collection
        The collection's STAC file.
    items
        The STAC item files, by tile and date.
    made
        How many of them this run made; 0 if all were there.
    extent
        xmin, ymin, xmax, ymax of all windows in the grid's CRS, metres.
    """

    collection: Path
    items: tuple[Path, ...]
    made: int
    extent: BBox

    @property
    def count(self) -> int:
        """The number of scenes."""
        return len(self.items)


@dataclass(frozen=True, slots=True)
class _Plan:
    """One scene to be made: what `overpass` sees of `tile`, into `folder`."""

    tile: str
    overpass: Pass
    folder: Path

    @property
    def name(self) -> str:
        return stac.item_id(self.tile, self.overpass.time.date())

    @property
    def item(self) -> Path:
        return self.folder / f"{self.name}.json"

    def raster(self, band: str) -> Path:
        return self.folder / f"{self.name}_{band}.tif"

    def is_made(self) -> bool:
        bands = (*stac.SPECTRAL, stac.QUALITY)
        return self.item.is_file() and all(self.raster(band).is_file() for band in bands)


def demo_extent(size: int = 512, tiles: Sequence[str] = DEFAULT_TILES) -> BBox:
    """Give the box that scenes of `size` pixels a side cover together.

    Returns
    -------
    tuple
        xmin, ymin, xmax, ymax in the CRS of the grid BDC_LG_V2, metres.

    Raises
    ------
    InvalidValueError
        If `size` or `tiles` are not what `make_scenes` takes.

    Examples
    --------
    >>> demo_extent(512)
    (5970432.0, 9919936.0, 6035968.0, 9952704.0)
    """
    boxes = [_geobox(tile, w).boundingbox.bbox for tile, w in _windows(size, tiles).items()]
    xmin, ymin, xmax, ymax = zip(*boxes, strict=True)
    return min(xmin), min(ymin), max(xmax), max(ymax)


def make_scenes(
    folder: Path,
    *,
    seed: int = 0,
    size: int = 512,
    tiles: Sequence[str] = DEFAULT_TILES,
    start: date = DEFAULT_START,
    end: date = DEFAULT_END,
    dates_per_month: int = 12,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ScenesReport:
    """Make CBERS-4 WFI look-alikes, as ``CB4-WFI-L4-SR-1/v001/<tile>/<date>/`` under `folder`.

    The same arguments give the same bytes; a folder which already holds them is left as it is, and
    one that an interrupted run left is completed.

    Parameters
    ----------
    folder
        Where; made if absent.
    seed
        Which landscape, weather and orbit; 0 to 2**31 - 1.
    size
        Side in pixels (64 m) of the part of each tile that is made: where the tiles meet, and
        about row 5120 of the tile; 6600 gives whole tiles.
    tiles
        One tile of the grid BDC_LG_V2, or two that share an edge.
    start, end
        First and last day.
    dates_per_month
        Days of each calendar month with an overpass, 1 to 31; each sees every tile.
    workers
        Threads; None takes the number of processors. Fewer run if memory would not do.
    progress
        Called with the number of scenes that are ready and the number of all.

    Raises
    ------
    InvalidValueError
        If an argument is not allowed, `folder` cannot be written or holds another set.
    SceneError
        If a scene cannot be written (disk full); nothing of it is left.
    """
    windows = _windows(size, tiles)
    _check("seed", seed, 0, 2**31 - 1)
    _check("dates_per_month", dates_per_month, 1, 31)
    _check("workers", 1 if workers is None else workers, 1, 1024)
    if start > end:
        raise InvalidValueError(f"start {start} lies after end {end}")
    days = acquisition.pass_dates(seed, start, end, dates_per_month)
    if not days:
        raise InvalidValueError(f"seed {seed} has no overpass from {start} to {end}; take longer")
    made = {"generator": _VERSION, "seed": seed, "size": size, "tiles": list(tiles)}
    made |= {"start": f"{start}", "end": f"{end}", "dates_per_month": dates_per_month}

    home = Path(folder) / stac.COLLECTION_ID
    _claim(home, made)
    passes = [acquisition.plan_pass(seed, day, _anchor(tiles)) for day in days]
    plans = [
        _Plan(tile, overpass, home / "v001" / tile / f"{overpass.time:%Y-%m-%d}")
        for tile in windows
        for overpass in passes
    ]
    count = _make_missing(plans, windows, seed, workers, progress)
    items = tuple(plan.item for plan in plans)
    collection = home / "collection.json"
    if not collection.exists():
        documents = {f"{p.relative_to(home).as_posix()}": json.loads(p.read_text()) for p in items}
        _write_json(collection, stac.collection_document(documents, made))
        (home / "making.json").unlink(missing_ok=True)
    return ScenesReport(collection, items, count, demo_extent(size, tiles))


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise InvalidValueError(f"{name} must lie between {low} and {high}, not {value}")


def _windows(size: int, tiles: Sequence[str]) -> dict[str, Window]:
    """Give each tile's window in absolute pixels; two tiles' windows meet at their shared edge."""
    _check("size", size, 1, _TILE)
    grid = bdc_grid(_GRID)
    x0, y0 = grid.origin
    corners = [(y0 - ymax, xmin - x0) for xmin, _, _, ymax in map(grid.bbox, tiles)]
    places = np.rint(np.reshape(corners, (-1, 2)) / grid.tile_size[0]).astype(int)  # row, column
    apart = np.ptp(places, axis=0) if len(places) else np.zeros(2, int)
    if (len(places), apart.sum()) not in {(1, 0), (2, 1)}:
        raise InvalidValueError(
            f"tiles must be one tile of {_GRID} or two that share an edge, "
            f"as {','.join(DEFAULT_TILES)}, not {','.join(tiles)!r}"
        )
    middle = min(max(_MIDDLE - size // 2, 0), _TILE - size)
    at_edge = np.where(places == places.min(axis=0), _TILE - size, 0)
    corner = places * _TILE + np.where(apart, at_edge, middle)
    return {t: Window(int(r), int(c), size, size) for t, (r, c) in zip(tiles, corner, strict=True)}


def _anchor(tiles: Sequence[str]) -> tuple[int, int]:
    """Give the absolute row and column about which windows of every size lie."""
    rows, cols = zip(*((w.row, w.col) for w in _windows(2, tiles).values()), strict=True)
    return (min(rows) + max(rows)) // 2 + 1, (min(cols) + max(cols)) // 2 + 1


def _geobox(tile: str, window: Window) -> GeoBox:
    whole = bdc_grid(_GRID).geobox(tile, stac.RESOLUTION)
    row, col = window.row % _TILE, window.col % _TILE
    return whole[row : row + window.height, col : col + window.width]


def _claim(home: Path, made: dict[str, Any]) -> None:
    """Write down what is being made; refuse a folder that holds something else."""
    try:
        marks = [m for m in (home / "collection.json", home / "making.json") if m.exists()]
        for mark in marks:
            there = json.loads(mark.read_text()).get("odc_bdc:made")
            if there != made:
                raise InvalidValueError(
                    f"{home} holds other scenes (made with {there}); "
                    "give another folder, or delete that one"
                )
        if not marks:
            home.mkdir(parents=True, exist_ok=True)
            _write_json(home / "making.json", {"odc_bdc:made": made})
    except json.JSONDecodeError as e:
        raise InvalidValueError(f"{home} holds a broken JSON file ({e}); delete it") from e
    except OSError as e:
        raise InvalidValueError(f"cannot write in {home}: {e}; give another folder") from e


def _make_missing(
    plans: list[_Plan],
    windows: dict[str, Window],
    seed: int,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> int:
    """Make what is not there, tile by tile so that one landscape is in memory; give the number."""
    report = progress or (lambda _ready, _all: None)
    missing = [plan for plan in plans if not plan.is_made()]
    ready = len(plans) - len(missing)
    report(ready, len(plans))
    for tile, window in windows.items():
        todo = [plan for plan in missing if plan.tile == tile]
        if not todo:
            continue
        land = landscape(seed, window)
        # Bands, mask, and the COG driver's copies: some 14 bytes a pixel for each thread.
        fit = max(1, _MEMORY // (14 * window.height * window.width))
        pool = ThreadPoolExecutor(min(workers or os.cpu_count() or 1, fit))
        try:
            for task in as_completed([pool.submit(_make, p, land, seed, window) for p in todo]):
                task.result()
                ready += 1
                report(ready, len(plans))
        finally:
            pool.shutdown(cancel_futures=True)
    return len(missing)


def _make(plan: _Plan, land: Landscape, seed: int, window: Window) -> None:
    bands, cmask = acquisition.observe(plan.overpass, land, seed, window)
    geobox = _geobox(plan.tile, window)
    hidden = plan.folder.with_name(f".{plan.folder.name}.partial")
    shutil.rmtree(hidden, ignore_errors=True)
    try:
        hidden.mkdir(parents=True)
        for band, pixels in zip(stac.SPECTRAL, bands, strict=True):
            _write_band(hidden / plan.raster(band).name, pixels, geobox, acquisition.NODATA)
        _write_band(hidden / plan.raster(stac.QUALITY).name, cmask, geobox, 0)
        item = stac.item_document(plan.tile, plan.overpass.time, geobox, _cloud_cover(cmask))
        _write_json(hidden / plan.item.name, item)
        shutil.rmtree(plan.folder, ignore_errors=True)  # a scene that lacks a file
        hidden.rename(plan.folder)
    except (OSError, RasterioError) as e:
        shutil.rmtree(hidden, ignore_errors=True)
        raise SceneError(f"cannot write scene {plan.folder}: {e}; nothing of it is left") from e


def _cloud_cover(cmask: NDArray[np.uint8]) -> float:
    """Percent of the seen pixels that are not clear; 100 if none is seen, as the BDC has it."""
    seen = np.count_nonzero(cmask)
    return (
        round(100 * np.count_nonzero(cmask == acquisition.CMASK_CLOUD) / seen, 2) if seen else 100.0
    )


def _write_band(path: Path, pixels: NDArray[Any], geobox: GeoBox, nodata: int) -> None:
    side = 256 if max(pixels.shape) <= 1024 else 512
    # Level 1 is as small as 6 on such data, and faster; every reader knows DEFLATE.
    write_cog(
        path, pixels, geobox, nodata=nodata, blocksize=side, compression=Compression("DEFLATE", 1)
    )


def _write_json(path: Path, document: dict[str, Any]) -> None:
    hidden = path.with_name(f".{path.name}.partial")
    try:
        hidden.write_text(json.dumps(document, indent=1) + "\n")
        hidden.rename(path)
    except OSError as e:
        hidden.unlink(missing_ok=True)
        raise SceneError(f"cannot write {path}: {e}") from e
