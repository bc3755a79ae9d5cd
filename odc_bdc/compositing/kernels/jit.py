"""How kernels are compiled, and where the machine code is kept."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core.caching import FunctionCache

F = TypeVar("F", bound=Callable[..., Any])


def _fingerprint() -> str:
    """Give a digest of the sources of this package."""
    digest = hashlib.sha256()
    with suppress(OSError):  # of an archive; then numba has no place for a cache either
        for path in sorted(Path(__file__).parent.glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


_SOURCES = _fingerprint()


class _Cache(FunctionCache):  # type: ignore[misc]  # numba publishes no types
    """numba's cache on disk, that knows of helpers and does without a disk.

    numba looks at the file of a kernel only, not at those of the functions that it calls, and
    would run stale code after an upgrade. What cannot be read is compiled anew; what cannot be
    written is not kept.
    """

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(sig, codegen), _SOURCES)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        with suppress(OSError, EOFError, pickle.UnpicklingError):
            return super().load_overload(sig, target_context)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):
            super().save_overload(sig, data)


def kernel(function: F) -> F:
    """Compile a function when it is first called; it releases the GIL.

    The machine code is kept in ``NUMBA_CACHE_DIR`` if that is set, else in ``__pycache__`` beside
    the source, else in the user's cache folder. If none can be written, each process compiles for
    itself.
    """
    return _compiled(function, numba.njit(nogil=True, error_model="numpy"))


def inner(function: F) -> F:
    """Compile a function that kernels call and that makes no array; all else as `kernel`.

    numba then leaves out that it counts references to slices of arrays. Those are atomic
    operations, and cost as much as the loop over a strip that the slices are for.
    """
    return _compiled(function, numba.njit(nogil=True, error_model="numpy", _nrt=False))


def _compiled(function: F, compiler: Callable[[F], Any]) -> F:
    compiled = compiler(function)
    with suppress(RuntimeError):  # "no locator available": no folder can be written
        compiled._cache = _Cache(function)  # noqa: SLF001  # what `enable_caching` does
    return compiled  # type: ignore[no-any-return]
