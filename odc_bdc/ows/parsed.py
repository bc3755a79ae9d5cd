"""A configuration as datacube-ows understands it, and what it complains of."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from odc_bdc.errors import DatabaseError, InvalidValueError
from odc_bdc.ows.extra import require_ows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class ParsedConfig:
    """What datacube-ows made of a configuration.

    Attributes
    ----------
    layers
        Its layer objects by name: those that it can serve, or could if they had ranges.
    complaints
        What it logged, warnings and errors.
    """

    layers: Mapping[str, Any]
    complaints: Sequence[str]

    def complaint_about(self, layer: Mapping[str, Any]) -> str:
        """Give what was logged about a layer; some words if nothing was."""
        names = (layer["name"], layer["title"], *products_of(layer))
        about = [c for c in self.complaints if any(name in c for name in names)]
        return about[-1] if about else "datacube-ows cannot load it"


@contextmanager
def parsed_config(config: Mapping[str, Any]) -> Iterator[ParsedConfig]:
    """Let datacube-ows parse a configuration, connected to its index for the time being.

    Raises
    ------
    InvalidValueError
        If the configuration as a whole is refused.
    DatabaseError
        If the index cannot be opened.
    """
    require_ows()
    from odc_bdc.ows.style_types import register_styles  # noqa: PLC0415 (needs the extra)
    from odc_bdc.ows.upstream import (  # noqa: PLC0415 (an extra)
        ConfigException,
        ODCInitException,
        OWSConfig,
    )

    register_styles()
    with _complaints() as complaints:
        try:
            ows = OWSConfig(refresh=True, cfg=dict(config), called_from_update_ranges=True)
            ows.make_ready()
        except ConfigException as e:
            raise InvalidValueError(f"datacube-ows refuses the configuration: {e}") from e
        except ODCInitException as e:
            raise DatabaseError(f"datacube-ows cannot open the index: {e}") from e
    ready = {name: layer for name, layer in ows.layer_index.items() if layer.ready}
    try:
        yield ParsedConfig(ready, complaints)
    finally:
        ows.dc.close()


def read_configuration(path: str, *, env: Any) -> dict[str, Any]:
    """Read a configuration of datacube-ows, and bind it to an ODC environment.

    Parameters
    ----------
    path
        As in ``DATACUBE_OWS_CFG``: a dotted Python name, or the path or text of a JSON document.
    env
        The ODC environment that is to be used, whatever the configuration says.

    Raises
    ------
    InvalidValueError
        If it cannot be read.
    """
    require_ows()
    from odc_bdc.ows.upstream import ConfigException, read_config  # noqa: PLC0415 (an extra)

    try:
        config: dict[str, Any] = read_config(path)
        return {**config, "global": {**config["global"], "env": env}}
    except (ConfigException, KeyError) as e:
        raise InvalidValueError(f"DATACUBE_OWS_CFG={path} cannot be read: {e}") from e


def named_layers(layers: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Give each layer of a configuration that has a name, whatever its folders."""
    for layer in layers:
        if "layers" in layer:
            yield from named_layers(layer["layers"])
        else:
            yield layer


def products_of(layer: Mapping[str, Any]) -> list[str]:
    """Give the names of the products of a layer, mostly one."""
    return list(layer.get("product_names") or [layer["product_name"]])


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what datacube-ows logs, and keep it off the screen."""
    collector, logger = _Collector(), logging.getLogger("datacube_ows")
    propagate = logger.propagate
    logger.addHandler(collector)
    logger.propagate = False
    try:
        yield collector.lines
    finally:
        logger.removeHandler(collector)
        logger.propagate = propagate
