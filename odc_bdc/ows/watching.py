"""Keeping the layers up to date while a server runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from odc_bdc.ows.extra import require_ows, services_driver
from odc_bdc.ows.inventory import config_of_index
from odc_bdc.ows.ranges import LayerUpdate, stamps, update_ranges
from odc_bdc.ows.versions import IndexVersions, index_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from datacube import Datacube


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at the index led to.

    Attributes
    ----------
    updates
        Of the ranges of layers, without those that were left as they are.
    needs_reload
        Whether there are other layers than before, or layers with other settings (a first overview
        is one), for which a server needs new workers.
    """

    updates: tuple[LayerUpdate, ...] = ()
    needs_reload: bool = False


@dataclass(slots=True)
class Watch:
    """Looks at an index again and again; each look costs little while nothing has changed.

    Parameters
    ----------
    dc
        The open index.
    configure
        Gives the configuration of datacube-ows for the index as it is now; None for that of all it
        has to publish.
    """

    dc: Datacube
    configure: Callable[[], Mapping[str, Any] | None] = lambda: None
    _versions: IndexVersions = field(default_factory=IndexVersions, init=False)
    _known: str | None = field(default=None, init=False)
    _layers: frozenset[str] | None = field(default=None, init=False)
    _settings: str | None = field(default=None, init=False)

    def look(self) -> Seen:
        """Bring the ranges up to date if the index has changed.

        Raises
        ------
        SQLAlchemyError
            If the index cannot be reached; the next look begins as if this one had not been.
        """
        require_ows()
        services_driver(self.dc.index.environment.index_driver)
        with index_connection(self.dc) as connection:
            self._versions.refresh(connection)
            before = frozenset(stamps(connection))
        products = sorted(str(product.name) for product in self.dc.index.products.get_all())
        version = self._versions.of(products, None)
        updates: tuple[LayerUpdate, ...] = ()
        settings = self._settings
        if version != self._known:
            config = self.configure() or config_of_index(self.dc)
            settings = repr(config["layers"])
            done = update_ranges(self.dc, config)
            updates = tuple(u for u in done if u.action != "unchanged")
        with index_connection(self.dc) as connection:
            layers = frozenset(stamps(connection))
        # Another program may have written them as well; a server that has just started has read
        # those that were there before.
        known = before if self._layers is None else self._layers
        changed = self._settings is not None and settings != self._settings
        self._known, self._layers, self._settings = version, layers, settings
        return Seen(updates, needs_reload=changed or layers != known)
