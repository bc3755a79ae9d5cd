"""What changed in the index since a worker started: its layers follow, and so do kept answers."""

from __future__ import annotations

import json
import logging
import threading
import time
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from odc_bdc.ows.ranges import stamps
from odc_bdc.ows.versions import IndexVersions, digest, index_connection
from odc_bdc.services_driver import NAME as SERVICES_DRIVER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

INTERVAL = 1.0
"""Seconds for which a worker believes what it saw in the index last."""

_LOG = logging.getLogger(__name__)


class Freshness:
    """What a worker knows of its index, looked at anew by requests, a second after the last look.

    Ranges that `odc-bdc ows update` has written since are read again, so that the worker need not
    be restarted for new dates. New layers are for new workers.

    Parameters
    ----------
    cfg
        Configuration of datacube-ows, ready.
    config
        The same as it was read, plain data but for an ODC environment, which does not count.
    programs
        Whatever else answers depend on: versions of programs.
    clock, interval
        Seconds, and how many of them a look is good for.
    """

    def __init__(
        self,
        cfg: Any,
        config: Mapping[str, Any],
        programs: Sequence[str] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
        interval: float = INTERVAL,
    ) -> None:
        self._cfg = cfg
        self._whole = _fingerprint(config, programs)
        # Where clients reach the services is nothing to an image.
        shown = {name: part for name, part in config.items() if name != "global"}
        shown["crss"] = config["global"].get("published_CRSs")
        self._shown = _fingerprint(shown, programs)
        self._clock = clock
        self._interval = interval
        self._lock = threading.Lock()
        self._looked = -float("inf")
        self._reachable = False
        self._versions: dict[str, IndexVersions] = {}
        self._stamps: dict[str, dict[str, str]] = {}

    def look(self) -> bool:
        """Look at the index if the last look is too old; tell whether it could be reached."""
        if not self._cfg.ready:
            return False
        with self._lock:
            if self._clock() - self._looked >= self._interval:
                self._reachable = self._look_everywhere()
                # After the look, which may take a while when the index is away.
                self._looked = self._clock()
            return self._reachable

    def of_documents(self) -> str | None:
        """Give the version of capabilities and descriptions; None if the index is away."""
        if not self.look():
            return None
        return digest([self._whole, self._address(), sorted(self._stamps.items())])

    def of_image(self, name: str, times: Sequence[str]) -> str | None:
        """Give the version of a layer's image of some times.

        Parameters
        ----------
        name
            Of the layer.
        times
            As datacube-ows takes them, an ISO date or time each; none of them means the layer's
            default.

        Returns
        -------
        str or None
            None if nobody knows: the index is away, or of another driver, or the layer unknown.
        """
        layer = self._cfg.layer_index.get(name)
        if not self.look() or layer is None or not layer.ready or layer.hide or layer.dynamic:
            return None
        versions = self._versions.get(_name_of(self._cfg, layer))
        if versions is None:
            return None
        days = None if layer.mosaic_date_func else _days(layer, times)
        version = versions.of(products_behind(layer), days)
        return digest([self._shown, self._address(), name, version])

    def last_change(self, layer: Any, product: str, day: date) -> datetime | None:
        """Give when a dataset of a product that begins on a day changed last."""
        versions = self._versions.get(_name_of(self._cfg, layer)) if self.look() else None
        return versions.last_change(product, day) if versions else None

    def _address(self) -> list[str]:
        return [str(dc.index.url) for dc in self._cfg.all_dcs.values()]

    def _look_everywhere(self) -> bool:
        for again in (True, False):
            try:
                for name, dc in self._cfg.all_dcs.items():
                    if dc.index.environment.index_driver in {"postgis", SERVICES_DRIVER}:
                        self._look_at(name, dc)
            except SQLAlchemyError as e:
                # A connection of before may be dead; the next is a new one.
                if not again:
                    _LOG.warning("the index cannot be looked at: %s", type(e).__name__)
            else:
                return True
        return False

    def _look_at(self, name: str, dc: Any) -> None:
        with index_connection(dc) as connection:
            found = stamps(connection)
            self._versions.setdefault(name, IndexVersions()).refresh(connection)
        # At the first look all are read again, for they may have changed since the worker's start.
        before = self._stamps.get(name, {})
        if found != before:
            for layer in self._cfg.layer_index.values():
                changed = found.get(layer.name) != before.get(layer.name)
                if layer.dc is dc and changed and found.get(layer.name):
                    read_ranges(layer)
        self._stamps[name] = found


def read_ranges(layer: Any) -> None:
    """Let a layer of datacube-ows that has had ranges read them anew."""
    if layer.ready and not layer.hide and layer.force_range_update() and layer.global_cfg.wcs:
        layer.ready_wcs()


def products_behind(layer: Any) -> list[str]:
    """Give the names of all products that images of a layer of datacube-ows may be made of."""
    flags = [name for band in layer.flag_bands.values() for name in band.pq_names]
    coarse = [product.name for product in layer.low_res_products]
    return sorted({*layer.product_names, *coarse, *flags})


def _fingerprint(config: Mapping[str, Any], programs: Sequence[str]) -> str:
    return digest([json.dumps(config, default=lambda _: "", sort_keys=True), *programs])


def _name_of(cfg: Any, layer: Any) -> str:
    return str(next(name for name, dc in cfg.all_dcs.items() if dc is layer.dc))


def _days(layer: Any, times: Sequence[str]) -> list[date] | None:
    """Give the days on which datasets of an image may begin; None if the times are none."""
    try:
        asked = [_day(t) for t in times] if times else [_plain_day(layer.default_time)]
    except ValueError:
        return None
    if layer.time_resolution.is_summary():
        return asked
    # The Sun's date, or an instant in another time zone, may be the neighbour of UTC's.
    return [day + timedelta(days=n) for day in asked for n in (-1, 0, 1)]


def _day(text: str) -> date:
    return datetime.fromisoformat(text.strip()).date()


def _plain_day(day: date) -> date:
    return day.date() if isinstance(day, datetime) else day
