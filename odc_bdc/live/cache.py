"""A cache for all threads of a process, bounded in bytes; what is wanted twice is computed once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

V = TypeVar("V")


class SharedCache(Generic[V]):
    """Keeps what was used last.

    Parameters
    ----------
    limit
        Bytes that all values may take. A larger value is given, and not kept.
    size
        Tells the bytes of a value.
    """

    def __init__(self, limit: int, size: Callable[[V], int]) -> None:
        self._limit, self._size = limit, size
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()
        self._coming: dict[Hashable, Future[V]] = {}
        self._nbytes = 0

    @property
    def nbytes(self) -> int:
        """Bytes that are kept."""
        return self._nbytes

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._values

    @property
    def limit(self) -> int:
        """Bytes that may be kept."""
        return self._limit

    @limit.setter
    def limit(self, nbytes: int) -> None:
        with self._lock:
            self._limit = nbytes
            self._shrink()

    def get(self, key: Hashable, compute: Callable[[], V]) -> V:
        """Give a value; of several threads that want one, one computes it and the others wait.

        What goes wrong in computing goes wrong for all that wait, and is not kept.
        """
        with self._lock:
            kept = self._values.get(key)
            if kept is not None:
                self._values.move_to_end(key)
                return kept[0]
            future = self._coming.get(key)
            if mine := future is None:
                future = self._coming[key] = Future()
        return self._computed(key, compute, future) if mine else future.result()

    def clear(self) -> None:
        """Forget all values."""
        with self._lock:
            self._values.clear()
            self._nbytes = 0

    def _computed(self, key: Hashable, compute: Callable[[], V], future: Future[V]) -> V:
        try:
            value = compute()
        except BaseException as e:
            with self._lock:
                del self._coming[key]
            future.set_exception(e)
            raise
        with self._lock:
            del self._coming[key]
            size = self._size(value)
            self._values[key] = value, size
            self._nbytes += size
            self._shrink()
        future.set_result(value)
        return value

    def _shrink(self) -> None:
        while self._nbytes > self._limit:
            _, (_, size) = self._values.popitem(last=False)
            self._nbytes -= size


def nbytes_of(arrays: dict[str, Any]) -> int:
    """Give the bytes of arrays by name."""
    return sum(array.nbytes for array in arrays.values())
