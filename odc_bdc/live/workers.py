"""What all live images of a process share: blocks that were computed, and workers without work."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from odc_bdc.building.reading import OPEN_FILES
from odc_bdc.live.cache import SharedCache, nbytes_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from odc_bdc.building.tile import Tile, Worker

Bands = dict[str, "npt.NDArray[Any]"]

CACHE_BYTES = 256_000_000
"""What computed blocks of all images may take in a process, unless `limit_cache` says otherwise."""

_IDLE_BYTES = 128_000_000
"""What workers may hold that wait for the next block."""

_IDLE = 16

FILES_PER_WORKER = OPEN_FILES // 2
"""Files that a worker keeps open, where it needs GDAL to read them."""


class IdleWorkers:
    """Workers without work, those of all images together; of too many the oldest go."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: OrderedDict[Worker, Tile] = OrderedDict()

    def __len__(self) -> int:
        return len(self._workers)

    @property
    def bytes_held(self) -> int:
        """Bytes of the room that they keep."""
        return sum(worker.bytes_held for worker in self._workers)

    def take(self, tile: Tile) -> Worker | None:
        """Give a worker of a tile, if there is one; it is nobody else's then."""
        with self._lock:
            found = next((w for w, own in reversed(self._workers.items()) if own is tile), None)
            if found is not None:
                del self._workers[found]
        return found

    def put(self, tile: Tile, worker: Worker) -> None:
        """Take a worker back."""
        gone = []
        with self._lock:
            self._workers[worker] = tile
            while self._is_too_much():
                gone.append(self._workers.popitem(last=False)[0])
        for old in gone:
            old.close()

    def _is_too_much(self) -> bool:
        files = sum(worker.files_open for worker in self._workers)
        return len(self) > _IDLE or self.bytes_held > _IDLE_BYTES or files > OPEN_FILES


class ProcessState:
    """What is of this process, and of no child of it."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self.pid = os.getpid()
        self.blocks: SharedCache[Bands] = SharedCache(limit, nbytes_of)
        self.idle = IdleWorkers()


_state = ProcessState()
# Of a parent: neither closed nor collected, for that would disturb what it reads.
_strays: list[ProcessState] = []


def process_state() -> ProcessState:
    """Give what the images of this process share."""
    return _state


def limit_cache(nbytes: int) -> None:
    """Set how many bytes of computed blocks this process keeps, of all live images together."""
    _state.blocks.limit = nbytes


def _begin_anew() -> None:
    """Let a child begin with nothing: locks may be held there for ever, open files are shared."""
    global _state  # noqa: PLW0603 (it is the process's)
    _strays.append(_state)
    _state = ProcessState(_state.blocks.limit)


os.register_at_fork(after_in_child=_begin_anew)
