"""What one request may cost, and how many costly ones are served at once.

`Bounds.admit` stands where all pixels of the services are read, and decides before any is: what is
known there are the datasets, bands and dates, and of live images the scenes.
"""

from __future__ import annotations

import ctypes
import fcntl
import math
import os
import shutil
import tempfile
import threading
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import flask
import numpy as np
from dask.system import CPU_COUNT
from datacube.storage import BandInfo

from odc_bdc.errors import InvalidValueError, OdcBdcError
from odc_bdc.formats import LIVE_FORMAT
from odc_bdc.ows.cost import (
    Cost,
    Overlap,
    built_work,
    coverage_memory,
    live_work,
    map_memory,
    overlap,
)
from odc_bdc.ows.exceptions import INVALID, Refusal, Unavailable
from odc_bdc.ows.store import parse_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from odc.geo.geobox import GeoBox

WORK_VARIABLE = "ODC_BDC_OWS_MAX_WORK"
MEMORY_VARIABLE = "ODC_BDC_OWS_MAX_MEMORY"
HEAVY_VARIABLE = "ODC_BDC_OWS_HEAVY"

LIVE_CACHE = 96_000_000
"""Bytes of computed blocks of live images that a worker of the services keeps."""

PATIENCE = 5.0
"""Seconds that a request waits for others to end, of each worker one."""

_LOOK = 0.05
_EXTENSION = "odc_bdc_bounds"
_COST, _PLACES = "odc_bdc_cost", "odc_bdc_places"  # of a request, in Flask's g
_HEAVY_SHARE = 0.25
"""Of a limit: what costs more is a heavy request."""


@dataclass(frozen=True, slots=True)
class CostLimits:
    """What one request may cost.

    Attributes
    ----------
    work
        Millions of values, as of `odc_bdc.ows.cost`.
    memory
        Bytes.
    heavy
        Requests that cost more than a quarter of either, which are served at once by all workers;
        each worker has but one.
    """

    work: int = 4000
    memory: int = 800 * 2**20
    heavy: int = 1

    @classmethod
    def of_environment(cls, environ: Mapping[str, str]) -> Self:
        """Read them from the environment.

        Raises
        ------
        InvalidValueError
            If one is no number, or less than 1.
        """
        return cls(
            _number(environ, WORK_VARIABLE, cls().work),
            max(1, parse_size(environ.get(MEMORY_VARIABLE) or "800M")),
            _number(environ, HEAVY_VARIABLE, max(1, int(CPU_COUNT) // 2)),
        )

    def check(self, cost: Cost, about: str) -> None:
        """Raise `Refusal` if a request costs too much; `about` says what it is made of."""
        millions = cost.work / 1e6
        if millions > self.work:
            raise Refusal(
                f"too much work: {about}, {millions:.0f} million values; {self.work} million are "
                f"the limit ({WORK_VARIABLE}): ask for fewer pixels, dates or bands",
                INVALID,
            )
        if cost.memory > self.memory:
            raise Refusal(
                f"too much memory: {about}, {cost.memory / 2**20:.0f} MB; "
                f"{self.memory / 2**20:.0f} MB are the limit ({MEMORY_VARIABLE}): ask for fewer "
                "pixels, dates or bands",
                INVALID,
            )

    def is_heavy(self, cost: Cost) -> bool:
        """Tell whether a request is one of those of which few are served at once."""
        most = max(cost.work / 1e6 / self.work, cost.memory / self.memory)
        return most > _HEAVY_SHARE


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise InvalidValueError(f"{name}={text} is no whole number from 1 on")
    return int(text)


@dataclass(frozen=True, slots=True)
class Place:
    """What a request that was let in holds.

    Attributes
    ----------
    memory
        Bytes.
    lock
        Descriptor of the lock of a heavy request; None of others.
    """

    memory: int
    lock: int | None = None


class Gate:
    """Lets requests in: so many heavy ones, and of each process as many as its memory is for.

    Heavy ones are counted in all processes that share a folder, and each process has but one. Their
    places are locks of files, which are the system's: those of a process that is killed are free.

    Parameters
    ----------
    folder
        Of the processes; without it this one is alone.
    places
        How many heavy requests are let in.
    memory
        Bytes that all requests of this process may take together.
    patience
        Seconds that one request waits to be let in; while it does, others are turned away at once.
    """

    def __init__(
        self, folder: Path | None, places: int, memory: int, *, patience: float = PATIENCE
    ) -> None:
        self._folder = folder or Path(tempfile.mkdtemp(prefix="odc_bdc_gate_"))
        if folder is None:
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._places, self._memory, self._patience = places, memory, patience
        self._lock, self._waiting = threading.Lock(), threading.Lock()
        self._taken, self._heavy = 0, False

    def enter(self, memory: int, *, heavy: bool) -> Place | None:
        """Take a place, which is to be given to `leave`; None if there is none."""
        place = self._take(memory, heavy=heavy)
        if place is not None or not self._waiting.acquire(blocking=False):
            return place
        try:
            until = time.monotonic() + self._patience
            while place is None and time.monotonic() < until:
                time.sleep(_LOOK)
                place = self._take(memory, heavy=heavy)
            return place
        finally:
            self._waiting.release()

    def leave(self, place: Place) -> None:
        """Give a place back."""
        with self._lock:
            self._taken -= place.memory
            if place.lock is not None:
                os.close(place.lock)
                self._heavy = False

    def _take(self, memory: int, *, heavy: bool) -> Place | None:
        with self._lock:
            # One that is alone may have more: what it may cost is not for the gate to say.
            if (self._taken and self._taken + memory > self._memory) or (heavy and self._heavy):
                return None
            lock = self._file_lock() if heavy else None
            if heavy and lock is None:
                return None
            self._taken += memory
            self._heavy = self._heavy or heavy
            return Place(memory, lock)

    def _file_lock(self) -> int | None:
        for number in range(self._places):
            path = self._folder / f"heavy_{number}.lock"
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            os.close(lock)
        return None


class Bounds:
    """Decides on the reads of requests.

    Parameters
    ----------
    limits
        What one may cost.
    folder
        As of `Gate`.
    """

    def __init__(self, limits: CostLimits, folder: Path | None) -> None:
        self.limits = limits
        self.gate = Gate(folder, limits.heavy, limits.memory)

    def install(self, app: Any) -> None:
        """Let `admit` find it in a Flask application, and let requests end what they began."""
        app.extensions[_EXTENSION] = self
        app.teardown_appcontext(lambda _: self._leave())

    def admit(self, stacker: Any, datasets: Any, bands: Sequence[Any], view: GeoBox) -> None:
        """Let a request read, or raise.

        Parameters
        ----------
        stacker, datasets, bands, view
            As `DataStacker.read_data` of datacube-ows has them.

        Raises
        ------
        Refusal
            If the request, with what it has read before, costs too much.
        Unavailable
            If it costs much, and as many of its kind as may are served just now.
        """
        before, places = flask.g.get(_COST, Cost()), flask.g.setdefault(_PLACES, [])
        cost = self._cost(stacker, datasets, bands, view)
        setattr(flask.g, _COST, cost)
        heavy = self.limits.is_heavy(cost) and not any(p.lock is not None for p in places)
        place = self.gate.enter(cost.memory - before.memory, heavy=heavy)
        if place is None:
            raise Unavailable(
                "the server is busy with requests as large as this one, of which it serves "
                f"{self.limits.heavy} at once ({HEAVY_VARIABLE}), and "
                f"{self.limits.memory / 2**20:.0f} MB of them in a worker ({MEMORY_VARIABLE}): "
                "try again later, or ask for less"
            )
        places.append(place)
        if heavy:
            _make_room()

    def _cost(self, stacker: Any, datasets: Any, bands: Sequence[Any], view: GeoBox) -> Cost:
        """Add a read to what a request costs; raise `Refusal` as soon as it is too much."""
        pixels, dates = view.height * view.width, len(datasets)
        sizes = [np.dtype(band["dtype"]).itemsize for band in bands]
        memory = map_memory if stacker.style is not None else coverage_memory
        about = f"{view.width} x {view.height} pixels, {_plural(dates, 'date')}, {len(bands)} bands"
        cost: Cost = flask.g.get(_COST, Cost()) + Cost(0, memory(pixels, dates, sizes))
        self.limits.check(cost, about)
        found = [dataset for group in datasets.values for dataset in group]
        if pixels == 1:
            found = [dataset for dataset in found if dataset.format == LIVE_FORMAT]
        boxes: dict[str, tuple[float, float, float, float]] = {}
        for dataset in found:
            work, told = _work(dataset, bands, view, boxes)
            cost += Cost(work)
            self.limits.check(cost, about + told)
        return cost

    def _leave(self) -> None:
        for place in flask.g.pop(_PLACES, ()):
            self.gate.leave(place)


def admit(stacker: Any, datasets: Any, bands: Any, view: GeoBox) -> None:
    """Let the request of this moment read (`Bounds.admit`); outside of one, anybody may."""
    if flask.has_app_context():
        bounds = flask.current_app.extensions.get(_EXTENSION)
        if bounds is not None:
            bounds.admit(stacker, datasets, list(bands.values()), view)


def _work(
    dataset: Any,
    bands: Sequence[Any],
    view: GeoBox,
    boxes: dict[str, tuple[float, float, float, float]],
) -> tuple[float, str]:
    """Give the work of reading a dataset, and what it is for people."""
    grid = next(iter((dataset.metadata_doc.get("grids") or {}).values()), None)
    crs = str(dataset.crs)
    if crs not in boxes:
        boxes[crs] = _box(view, dataset.crs)
    if grid is None or dataset.bounds is None or not all(map(math.isfinite, boxes[crs])):
        # Nobody knows, or the view reaches beyond what its CRS shows.
        return float(len(bands) * view.height * view.width), ""
    bounds, shape = dataset.bounds, tuple(grid["shape"])
    box = bounds.left, bounds.bottom, bounds.right, bounds.top
    seen = overlap(boxes[crs], (view.height, view.width), box, (shape[0], shape[1]))
    if seen is None:
        return 0.0, ""
    if dataset.format == LIVE_FORMAT:
        return _live(dataset, bands[0], seen)
    return built_work(seen, (view.height, view.width), len(bands)), ""


def _box(view: GeoBox, crs: Any) -> tuple[float, float, float, float]:
    try:
        left, bottom, right, top = view.extent.to_crs(crs).boundingbox.bbox
    except (ArithmeticError, ValueError, RuntimeError):  # of PROJ too
        return (math.nan,) * 4
    return left, bottom, right, top


def _live(dataset: Any, band: Any, seen: Overlap) -> tuple[float, str]:
    from odc_bdc.live.opening import open_image  # noqa: PLC0415 (few servers have live layers)

    try:
        task = open_image(BandInfo(dataset, band.name).uri).recipe.task
    except OdcBdcError:
        return 0.0, ""  # who reads it tells why it cannot be read
    function, scenes = task.cube.function, len(task.scenes)
    work = live_work(seen, scenes=scenes, bands=len(task.cube.measurements), function=function.cost)
    return work, f", of images that {function.name} makes of {_plural(scenes, 'scene')} each"


def _plural(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _make_room() -> None:
    """Let go of blocks of live images that are kept: a heavy request needs the memory."""
    from odc_bdc.live.workers import process_state  # noqa: PLC0415 (few servers have live layers)

    process_state().blocks.clear()


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc


def bound_memory() -> None:
    """Keep this process from holding memory that nothing needs any more.

    GDAL keeps blocks up to 5 % of the machine's memory. glibc raises by itself the size above which
    an array gets memory of its own, which goes back to the system when it is freed; and it gives
    each thread a heap.
    """
    from odc_bdc.live.workers import limit_cache  # noqa: PLC0415 (few servers have live layers)

    os.environ.setdefault("GDAL_CACHEMAX", "64")
    limit_cache(LIVE_CACHE)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for setting, value in (
            (_M_MMAP_THRESHOLD, 2**20),
            (_M_TRIM_THRESHOLD, 2**22),
            (_M_ARENA_MAX, 2),
        ):
            mallopt(setting, value)
