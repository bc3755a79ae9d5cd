"""Searches of datacube-ows for several times, on the index driver ``postgis``.

datacube-ows 1.9.14 searches for the first of them only, so that a difference of two dates, an
animation and a time series are empty or short. It also takes datasets whose period merely touches
the first day. This module needs the extra ``[ows]`` to be imported.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from datacube_ows.index.postgis.api import OWSPostgisIndex, OWSPostgisIndexDriver

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from uuid import UUID

    from datacube.model import Dataset

_MOMENT = timedelta(seconds=1)


class AllTimes(OWSPostgisIndex):
    """The index with searches for all times that are asked for."""

    def ds_search(
        self,
        layer: Any,
        times: Iterable[Any] | None = None,
        geom: Any = None,
        products: Iterable[Any] | None = None,
    ) -> Iterator[Dataset]:
        """Give the datasets of all times, each once."""
        if times is None:
            yield from super().ds_search(layer, None, geom, products)
            return
        asked, products = list(times), None if products is None else list(products)
        if layer.time_resolution.is_summary() and all(isinstance(t, datetime) for t in asked):
            yield from self._beginning(layer, set(asked), geom, products)
            return
        seen: set[UUID] = set()
        for time in asked:
            for dataset in super().ds_search(layer, [time], geom, products):
                if dataset.id not in seen:
                    seen.add(dataset.id)
                    yield dataset

    def _beginning(
        self, layer: Any, starts: set[datetime], geom: Any, products: list[Any] | None
    ) -> Iterator[Dataset]:
        """Give the composites that begin at these times, by one search for what lies between."""
        between = (min(starts), max(starts) + _MOMENT)
        for dataset in super().ds_search(layer, [between], geom, products):
            if dataset.time.begin in starts:
                yield dataset

    def dsid_search(
        self,
        layer: Any,
        times: Iterable[Any] | None = None,
        geom: Any = None,
        products: Iterable[Any] | None = None,
    ) -> Iterator[UUID]:
        """Give the ids of `ds_search`."""
        for dataset in self.ds_search(layer, times, geom, products):
            yield dataset.id

    def count(
        self,
        layer: Any,
        times: Iterable[Any] | None = None,
        geom: Any = None,
        products: Iterable[Any] | None = None,
    ) -> int:
        """Count the datasets of `ds_search`."""
        asked = None if times is None else list(times)
        if asked is None or len(asked) == 1:
            return int(super().count(layer, asked, geom, products))
        return sum(1 for _ in self.ds_search(layer, asked, geom, products))


def search_all_times() -> None:
    """Make datacube-ows search so, in this process."""
    OWSPostgisIndexDriver._driver = AllTimes()  # noqa: SLF001 (its only seam for this driver)
