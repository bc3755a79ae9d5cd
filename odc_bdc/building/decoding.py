"""Decoding the observations of a window, no more of them than its image takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from odc_bdc.building.choosing import order_of_choice, try_in_order
from odc_bdc.quality import CLEAR, NODATA

if TYPE_CHECKING:
    from odc_bdc.building.observing import Bands, Look, ObservationReader
    from odc_bdc.building.tile import Tile

_COUNT_LIMIT = 255


class Decoded:
    """The observations of a window that are decoded, in the order in which they were."""

    def __init__(
        self, tile: Tile, reader: ObservationReader, looks: Sequence[Look], stacks: Bands
    ) -> None:
        self._tile, self._reader, self._looks, self._stacks = tile, reader, looks, stacks
        self._has_data: dict[int, npt.NDArray[np.bool_]] = {}
        self.positions: list[int] = []
        # Of which observations `codes` tells what all bands would.
        self._exact = [self._correct(i) for i in range(len(looks))]

    def choose(self, order: npt.NDArray[np.intp]) -> None:
        """Decode what the function looks at, and what must be decoded to be counted."""
        tile, looks = self._tile, self._looks
        if tile.strategy == "in order":
            tried = order_of_choice(tile.cube, order).tolist()
            try_in_order(tile.cube, looks, tried, self._data_of)
        for i, look in enumerate(looks):
            looked_at = tile.strategy == "all" or (tile.strategy == "clear" and look.n_clear)
            if looked_at or (tile.counted and look.any_seen and not self._exact[i]):
                self._decode(i)

    def bands(self) -> Bands:
        """Give the bands (time, y, x) by name."""
        return {name: stack[: len(self.positions)] for name, stack in self._stacks.items()}

    def quality(self) -> npt.NDArray[Any]:
        """Give the quality (time, y, x)."""
        if not self.positions:
            return self._looks[0].quality[np.newaxis][:0]
        return np.stack([self._looks[i].quality for i in self.positions])

    def classes(self) -> npt.NDArray[np.uint8] | None:
        """Give what the quality means (time, y, x), where codes alone do not say it."""
        if self._looks[0].classes is None:
            return None
        return np.stack([self._looks[i].codes for i in self.positions or [0]])[
            : len(self.positions)
        ]

    def count_others(self, image: Bands) -> None:
        """Add the observations that are not decoded, of which the quality tells all."""
        for i, look in enumerate(self._looks):
            if look.any_seen and i not in self.positions:
                for name, counts in (
                    ("TOTALOB", look.codes != NODATA),
                    ("CLEAROB", look.codes == CLEAR),
                ):
                    # Counts beyond 255 stay 255.
                    image[name] += counts & (image[name] < _COUNT_LIMIT)

    def learn(self, totalob: npt.NDArray[np.uint8]) -> None:
        """Find out where the bands of observations have gaps."""
        tile = self._tile
        open_ = [i for i in self.positions if not self._exact[i]]
        if not (tile.known.is_kept and tile.counted and open_):
            return
        seen = np.zeros(totalob.shape, np.int64)
        for i in self.positions:
            seen += self._looks[i].codes != NODATA
        complete = np.array_equal(np.minimum(seen, _COUNT_LIMIT), totalob)
        for i in open_:
            look = self._looks[i]
            gaps = None if complete else (look.codes != NODATA) & ~self._data_of(i)
            tile.known[i].learn(look.window, tile.shape, gaps)

    def _correct(self, position: int) -> bool:
        """Take known gaps from what quality shows; tell if nothing is unknown."""
        look = self._looks[position]
        gaps = self._tile.known[position].gaps_in(look.window)
        if gaps is not None and gaps.any():
            look.codes = np.where(gaps, np.uint8(NODATA), look.codes)
            look.any_seen = bool((look.codes != NODATA).any())
        return gaps is not None

    def _data_of(self, position: int) -> npt.NDArray[np.bool_]:
        """Decode an observation, and tell where it has data."""
        if position not in self._has_data:
            look = self._looks[position]
            self._decode(position)
            k = self.positions.index(position)
            bands = {name: stack[k] for name, stack in self._stacks.items()}
            self._has_data[position] = (
                look.codes != NODATA
                if self._exact[position]
                else self._reader.has_data(look, bands)
            )
        return self._has_data[position]

    def _decode(self, position: int) -> None:
        if position in self.positions:
            return
        k = len(self.positions)
        self._reader.decode(
            self._looks[position], {name: stack[k] for name, stack in self._stacks.items()}
        )
        self.positions.append(position)
