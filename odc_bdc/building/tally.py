"""What was done for an image, counted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
import numpy.typing as npt


@dataclass(slots=True)
class Tally:
    """What was done for an image.

    Attributes
    ----------
    scenes
        Ids of scenes of which a band was read; the quality band is read of all.
    blocks_read, blocks_skipped
        Windows of a band of an observation that were decoded, and that needed not be.
    bytes_read
        Of decoded pixels, quality included.
    seconds
        By step, ``read``, ``composite`` and ``write``, of all threads together.
    seen, clear
        Pixels that any observation saw, and that any saw clear.
    n_clear
        int64: clear pixels of each observation, by its quality.
    """

    scenes: set[UUID] = field(default_factory=set)
    blocks_read: int = 0
    blocks_skipped: int = 0
    bytes_read: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    seen: int = 0
    clear: int = 0
    n_clear: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))

    def add(self, other: Tally) -> None:
        """Add what another did."""
        self.scenes |= other.scenes
        self.n_clear = self.n_clear + other.n_clear
        for name in ("blocks_read", "blocks_skipped", "bytes_read", "seen", "clear"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for step, seconds in other.seconds.items():
            self.seconds[step] = self.seconds.get(step, 0.0) + seconds

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Take the time of a step."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            more = time.perf_counter() - begun
            self.seconds[name] = self.seconds.get(name, 0.0) + more
